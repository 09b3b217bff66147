"""Responses of sites that no RFC allows, and that browsers show."""

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 5\r\n"
CODING = b"Transfer-Encoding: chunked\r\n"
CHUNK = b"5\r\nhello\r\n0\r\n\r\n"

# Responses that RFC 9112 forbids, and that curl and Chromium show. Their
# content is "hello", and only the framing shows where it ends.
FRAMED = {
    "two framings": OK + b"Content-Length: 3\r\n" + CODING + b"\r\n" + CHUNK,
    "two equal lengths": OK + LENGTH * 2 + b"\r\nhello",
    "a list of lengths": OK + b"Content-Length: 5, 5\r\n\r\nhello",
    "a list with an empty length": OK + b"Content-Length: 5,\r\n\r\nhello",
    "chunked twice": OK + CODING * 2 + b"\r\n" + CHUNK,
    "identity and chunked": OK + b"Transfer-Encoding: identity\r\n" + CODING +
                            b"\r\n" + CHUNK,
    "identity and length": OK + b"Transfer-Encoding: identity\r\n" + LENGTH +
                           b"\r\nhello",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "CR CR LF": b"HTTP/1.1 200 OK\r\r\nContent-Length: 5\r\r\n\r\r\nhello",
    "folded": OK + b"X: a\r\n  b\r\nContent-Length:\r\n 5\r\n\r\nhello",
    "space before the colon": OK + b"Content-Length : 5\r\n\r\nhello",
    "no colon": OK + b"a line\r\n" + LENGTH + b"\r\nhello",
    "no name": OK + b": x\r\n" + LENGTH + b"\r\nhello",
    "two digits": b"HTTP/1.1 20 OK\r\n" + LENGTH + b"\r\nhello",
    "chunks with LF": OK + CODING + b"\r\n5\nhello\n0\n\n",
    "an empty line first": b"\r\n" + OK + LENGTH + b"\r\nhello",
}
UNFRAMED = {
    "no number": OK + b"Content-Length: five\r\n\r\nhello",
    "negative": OK + b"Content-Length: -1\r\n\r\nhello",
    "an empty length": OK + b"Content-Length:\r\n\r\nhello",
    "no status": b"HTTP/1.1\r\n\r\nhello",
    "no version": b"HTTP 200 OK\r\n\r\nhello",
    "shoutcast": b"ICY 200 OK\r\n\r\nhello",
}
# With these the origin's connection is as good as with any.
REUSED = {
    "a control character": OK + b"X: a\x01b\r\n" + LENGTH + b"\r\nhello",
    "Latin-1": OK + b"X: \xe4\r\n" + LENGTH + b"\r\nhello",
    "1000 fields": OK + b"X: y\r\n" * 1000 + LENGTH + b"\r\nhello",
    "200 KB": OK + b"X: " + b"y" * 200_000 + b"\r\n" + LENGTH +
              b"\r\nhello",
    "lower case": b"http/1.1 200 OK\r\n" + LENGTH + b"\r\nhello",
    "padded chunks": OK + CODING + b"\r\n5  \r\nhello\r\n000 \r\n\r\n",
    "spaces before a size": OK + CODING + b"\r\n 5\r\nhello\r\n0\r\n\r\n",
    "a long extension": OK + CODING + b"\r\n5;" + b"x" * 9000 +
                        b"\r\nhello\r\n0\r\n\r\n",
}

# Shown by no browser, or only in part; we are more tolerant.
BEYOND = {"CR CR LF", "spaces before a size", "a list with an empty length"}
# Media players read this one as a head, browsers as text.
OTHERWISE = {"shoutcast"}

# Responses on which only browsers agree.
SHOWN = {
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\n" + CODING + b"\r\n" + CHUNK,
    "gzip and chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" +
                        CHUNK,
    "interim responses": b"HTTP/1.1 100 Continue\r\n\r\n" * 50 +
                         b"HTTP/1.1 199 Hm\nX: y\n\n" + OK + LENGTH +
                         b"\r\nhello",
    "a redirect in UTF-8": b"HTTP/1.1 302 Found\r\nLocation: /plain?\xc3\xa4\n"
                           b"Content-Length: 0\n\n",
    "plain": OK + LENGTH + b"\r\nhello",
    **{name: answer
       for name, answer in {**FRAMED, **UNFRAMED, **REUSED}.items()
       if name not in BEYOND | OTHERWISE},
}
