"""Plain HTTP through the proxy: requests that name their origin. The clients
and origins here send bytes, so that everything that the proxy adds, drops
and frames anew can be seen (RFC 9110 §7.6, RFC 9112)."""

import contextlib
import gzip
import http.client
import os
import re
import shutil
import socket
import subprocess
import threading

import pytest

from client import connect, http_head, receive, receive_all, reset
from daemon import DEADLINE, wait_until
from origin import Handler, echo, pattern
from sites import CHUNK, CODING, FRAMED, LENGTH, OK, REUSED, UNFRAMED

HELLO = OK + b"Content-Length: 5\r\n\r\nhello"
VIA = "Via: 1.1 culvert\r\n" # with --via alone

NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")

# Seconds: as long a peer is waited for that takes nothing (proxy/relay.h).
STALL = 30

# More than all buffers between a client and its origin hold together.
LARGE = 64 << 20


class Script:
    """An origin that gives the next of its answers to each request.

    An answer is bytes, or a function of the socket, which has the request's
    head behind it. `closes` are the indices of answers that end with FIN.
    """

    def __init__(self, *answers, closes=()):
        self.answers = list(enumerate(answers))
        self.closes = closes
        self.heads = []       # of all requests
        self.bodies = []      # as they came, framing included
        self.connections = [] # for each request: the number of its connection
        self.accepted = 0
        self.ended = 0        # connections

    def __call__(self, sock):
        self.accepted += 1
        number = self.accepted
        with contextlib.suppress(EOFError):
            while self.answers:
                head = self.read_head(sock)
                self.heads.append(head)
                self.connections.append(number)
                index, answer = self.answers.pop(0)
                if callable(answer):
                    answer(sock)
                else:
                    self.bodies.append(self.read_body(sock, head))
                    sock.sendall(answer)
                if index in self.closes:
                    return
            sock.recv(1)
        self.ended += 1

    @staticmethod
    def read_head(sock):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += receive(sock, 1)
        return head.decode("latin-1")

    @staticmethod
    def read_body(sock, head):
        body = b""
        if "Transfer-Encoding: chunked\r\n" in head:
            while not re.search(rb"(^|\n)0\r\n(.+\r\n)*\r\n$", body):
                body += receive(sock, 1)
        elif "Content-Length: " in head:
            length = head.split("Content-Length: ")[1].split("\r\n")[0]
            body = receive(sock, int(length))
        return body


class Client:
    """A keep-alive connection to the proxy."""

    def __init__(self, proxy):
        self.sock = connect(proxy.port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, server, fields="", body=b"", method="GET", version="1.1",
             scheme="http"):
        authority = f"127.0.0.1:{server.port}"
        self.sock.sendall(
            f"{method} {scheme}://{authority}/path?query HTTP/{version}\r\n"
            f"Host: {authority}\r\n{fields}\r\n".encode() + body)

    def head(self):
        return http_head(self.sock)[1]

    def answer(self):
        """The head and the body of an answer that has a length."""
        head = self.head()
        assert "Content-Length: " in head, head
        length = head.split("Content-Length: ")[1].split("\r\n")[0]
        return head, receive(self.sock, int(length))

    def line(self):
        line = b""
        while not line.endswith(b"\r\n"):
            line += receive(self.sock, 1)
        return line

    def chunked(self, trailers=b"\r\n"):
        """The content of a chunked body, which ends with these."""
        content = b""
        while size := int(self.line(), 16):
            content += receive(self.sock, size)
            assert self.line() == b"\r\n"
        assert receive(self.sock, len(trailers)) == trailers
        return content

    def is_closed(self):
        return self.sock.recv(1) == b""

    def is_reset(self):
        with contextlib.suppress(ConnectionResetError):
            while self.sock.recv(1 << 16):
                pass
            return False
        return True


@pytest.fixture
def script(play):
    return play(Script)


@pytest.fixture
def client(embedded):
    with Client(embedded) as one:
        yield one


# ---- Connections ----

def test_one_tunnel_for_two_requests(client, script):
    server = script(HELLO, HELLO)
    for _ in range(2):
        client.send(server)
        assert client.answer() == (
            f"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"hello")
    assert server.connections == [1, 1]


def test_via(start_embedded, script):
    """With --via the proxy names itself in requests and responses."""
    server = script(HELLO)
    with Client(start_embedded("--via")) as one:
        one.send(server)
        assert one.answer() == (
            f"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{VIA}\r\n", b"hello")
    assert VIA in server.heads[0]


@pytest.mark.needs("nginx")
@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_nginx_compresses(embedded, tmp_path):
    """As it comes, nginx compresses nothing for a request that has a Via."""
    page = b"<p>All work and no play.</p>\n" * 2000
    (tmp_path / "index.html").write_bytes(page)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "nginx.conf").write_text(
        f"user root; daemon off; pid {tmp_path}/pid; error_log stderr;\n"
        "events {} http { access_log off; types { text/html html; } gzip on;"
        f" server {{ listen 127.0.0.1:{port}; root {tmp_path}; }} }}\n")
    nginx = subprocess.Popen([NGINX, "-p", tmp_path, "-c",
                              tmp_path / "nginx.conf"],
                             stderr=subprocess.DEVNULL)
    try:
        wait_until((tmp_path / "pid").exists, "nginx runs")
        done = subprocess.run(
            ["curl", "-s", "-x", f"127.0.0.1:{embedded.port}", "-H",
             "Accept-Encoding: gzip", f"http://127.0.0.1:{port}/"],
            capture_output=True, timeout=DEADLINE, check=True)
    finally:
        nginx.terminate()
        nginx.wait(DEADLINE)
    assert gzip.decompress(done.stdout) == page
    assert len(done.stdout) < len(page) / 50


def test_several_origins_in_turn(client, script):
    servers = [script(HELLO, HELLO) for _ in range(3)]
    for server in servers * 2:
        client.send(server)
        assert client.answer()[1] == b"hello"
    assert [server.connections for server in servers] == [[1, 2]] * 3


def test_pipelined(client, script):
    one = script(HELLO, HELLO)
    other = script(OK + b"Content-Length: 5\r\n\r\nworld")
    client.send(one, "Content-Length: 3\r\n", b"abc", method="POST")
    client.send(one)
    client.send(other)
    assert [client.answer()[1] for _ in range(3)] == \
        [b"hello", b"hello", b"world"]
    assert one.bodies == [b"abc", b""]


def test_a_kept_tunnel_that_was_closed(client, script):
    server = script(HELLO, HELLO, HELLO, closes=[0])
    for _ in range(3):
        client.send(server)
        assert client.answer()[1] == b"hello"
    assert server.connections == [1, 2, 2]


def test_a_kept_tunnel_that_closes_under_a_request(client, script):
    """Requests that may be repeated are, and the client does not notice."""
    server = script(HELLO, lambda sock: None, HELLO, closes=[1])
    for _ in range(2):
        client.send(server)
        assert client.answer()[1] == b"hello"
    assert server.connections == [1, 1, 2]


def test_a_post_takes_a_tunnel_of_its_own(client, script):
    server = script(HELLO, HELLO, HELLO)
    client.send(server)
    client.answer()
    client.send(server, "Content-Length: 0\r\n", method="POST")
    client.answer()
    client.send(server)
    client.answer()
    assert server.connections == [1, 2, 2]


def test_the_client_closes(client, script):
    client.send(script(HELLO), "Connection: close\r\n")
    head, body = client.answer()
    assert "\r\nConnection: close\r\n" in head and body == b"hello"
    assert client.is_closed()


def test_half_closed_client(client, script):
    """It has sent FIN, and still reads the whole response."""
    client.send(script(OK + f"Content-Length: {LARGE}\r\n\r\n".encode() +
                       bytes(LARGE)))
    client.sock.shutdown(socket.SHUT_WR)
    assert client.answer()[1] == bytes(LARGE)
    assert client.is_closed()


def test_half_closed_in_the_next_head(client, script):
    """The rest of the request never comes: the proxy does not wait for it."""
    half_closed = threading.Event()

    def answer(sock):
        receive(sock, 5)
        half_closed.wait(DEADLINE)
        sock.sendall(HELLO)

    client.send(script(answer), "Content-Length: 5\r\n", b"helloGET http://",
                method="POST")
    client.sock.shutdown(socket.SHUT_WR)
    half_closed.set()
    assert client.answer()[1] == b"hello"
    assert client.is_closed()


# ---- Heads ----

def test_fields_of_one_hop_to_the_origin(client, script):
    server = script(HELLO)
    client.send(server, "Connection: X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n"
                "Proxy-Connection: keep-alive\r\nKeep-Alive: 5\r\n"
                "Proxy-Authorization: Basic eDp5\r\nTE: trailers\r\n"
                "Connection: Upgrade\r\nUpgrade: websocket\r\n")
    client.answer()
    assert server.heads == [
        f"GET /path?query HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"X-End: 2\r\nTE: trailers\r\nConnection: TE\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"]


def test_fields_of_one_hop_to_the_client(client, script):
    client.send(script(
        OK + b"Connection: X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n"
        b"Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n"
        b"Upgrade: h2c\r\nTrailer: X\r\nContent-Length: 0\r\n\r\n"))
    assert client.head() == \
        f"HTTP/1.1 200 OK\r\nX-End: 2\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("method, answer, head", [
    ("HEAD", OK + b"Content-Length: 5\r\n\r\n",
     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"),
    ("GET", b"HTTP/1.1 204 No Content\r\n\r\n",
     "HTTP/1.1 204 No Content\r\n"),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n"
     b"Content-Length: 5\r\n\r\n",
     "HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 5\r\n"),
])
def test_no_body(client, script, method, answer, head):
    """Were a body awaited, the next request would wait with it."""
    server = script(answer, HELLO)
    client.send(server, method=method)
    assert client.head() == f"{head}\r\n"
    client.send(server)
    assert client.answer()[1] == b"hello"
    assert server.connections == [1, 1]


def test_interim_responses(client, script):
    server = script(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + HELLO)
    client.send(server)
    assert client.head() == \
        f"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    assert client.answer()[1] == b"hello"


def test_no_interim_response_to_http_1_0(client, script):
    client.send(script(b"HTTP/1.1 103 Early Hints\r\n\r\n" + HELLO),
                version="1.0")
    assert client.answer()[0].startswith("HTTP/1.1 200 OK\r\n")
    assert client.is_closed()


def test_unasked_switch_of_protocols(client, script):
    client.send(script(b"HTTP/1.1 101 Switching Protocols\r\n"
                       b"Upgrade: x\r\nConnection: upgrade\r\n\r\n"))
    head, body = client.answer()
    assert head.startswith("HTTP/1.1 502 ")
    assert b"switches to another protocol (101), which the request does not " \
        b"ask for; this is the fault of the site" in body


# ---- Bodies ----

def test_expect_continue(client, script):
    """The body leaves the client only after the origin's 100."""
    def answer(sock):
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert receive(sock, 5) == b"hello"
        sock.sendall(HELLO)

    server = script(answer)
    client.send(server, "Expect: 100-continue\r\nContent-Length: 5\r\n",
                method="PUT")
    assert client.head().startswith("HTTP/1.1 100 Continue\r\n")
    client.sock.sendall(b"hello")
    assert client.answer()[1] == b"hello"
    assert "\r\nExpect: 100-continue\r\n" in server.heads[0]


EXPECTS = "Expect: 100-continue\r\nContent-Length: 5\r\n"


def decline(status):
    """Answers at once, and reads no body."""
    answer = f"HTTP/1.1 {status} Hm\r\nContent-Length: 0\r\n\r\n".encode()
    return lambda sock: sock.sendall(answer)


@pytest.mark.parametrize("status, closes", [(417, False), (302, True),
                                            (200, False)])
def test_expected_continue_is_declined(client, script, status, closes):
    """Some clients ask again then, and send no body: on this connection that
    would be taken for the body."""
    client.send(script(decline(status)), EXPECTS, method="PUT")
    head = client.head()
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert ("\r\nConnection: close\r\n" in head) == closes
    if closes:
        assert client.sock.recv(1) == b""


def test_expectation_fails(client, script):
    """After 417 the client repeats the request on its connection."""
    server = script(decline(417), HELLO)
    client.send(server, EXPECTS, method="PUT")
    assert "Connection: close" not in client.head()
    client.send(server, "Content-Length: 5\r\n", b"hello", method="PUT")
    head, body = client.answer()
    assert body == b"hello" and "\r\nConnection: close\r\n" in head
    assert server.bodies == [b"hello"]
    assert client.is_closed()


@pytest.mark.parametrize("content", [
    b"hello", b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n",
    b"x y z\r\n\r\n"], ids=["text", "GET", "CONNECT", "no request"])
def test_content_is_no_request(client, script, content):
    """417 is late, and the content that the client sends is not executed."""
    server = script(decline(417))
    client.send(server, EXPECTS, method="PUT")
    client.head()
    if b"%d" in content:
        content %= server.port
    client.sock.sendall(content)
    client.sock.shutdown(socket.SHUT_WR)
    assert client.is_closed()
    assert len(server.heads) == 1


@pytest.mark.needs("curl")
def test_expectation_of_curl(embedded, http_origin, tmp_path):
    """curl repeats the upload without the expectation, as without a proxy."""
    class Simple(Handler):
        def do_PUT(self):
            expect = self.headers.get("Expect")
            self.server.requests.append(expect)
            if expect is not None:
                self.send_response(417)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.answer(self.rfile.read(int(self.headers["Content-Length"])))

        def handle_expect_100(self):
            return True

    server = http_origin(handler=Simple)
    path = tmp_path / "body"
    body = pattern(2_000_000) # for which it expects 100
    path.write_bytes(body)
    results = []
    for proxy in "", f"http://127.0.0.1:{embedded.port}":
        server.requests.clear()
        done = subprocess.run(["curl", "-sS", "-x", proxy, "-T", path,
                               server.url("/")], capture_output=True,
                              check=True, timeout=DEADLINE)
        results.append((done.stdout == body, [*server.requests]))
    assert results == [(True, ["100-continue", None])] * 2


def test_chunked_request(client, script):
    server = script(HELLO, HELLO)
    client.send(server, "Transfer-Encoding: chunked\r\n",
                b"5;name=value\r\nhello\r\n06\r\n world\r\n0\r\nX: y\r\n\r\n",
                method="POST")
    assert client.answer()[1] == b"hello"
    client.send(server)
    assert client.answer()[1] == b"hello"
    assert "\r\nTransfer-Encoding: chunked\r\n" in server.heads[0]
    assert server.bodies == [
        b"5\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\n", b""]


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n" \
    b"5;name=value\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
UNTIL_CLOSE = OK + b"\r\nhello world"


@pytest.mark.parametrize("answer", [CHUNKED, UNTIL_CLOSE])
def test_body_of_no_known_length(client, script, answer):
    server = script(answer, HELLO, closes=[0] if answer == UNTIL_CLOSE else ())
    client.send(server)
    assert client.head() == \
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert client.chunked() == b"hello world"
    client.send(server)
    assert client.answer()[1] == b"hello"


@pytest.mark.parametrize("answer", [CHUNKED, UNTIL_CLOSE])
def test_body_of_no_known_length_to_http_1_0(client, script, answer):
    client.send(script(answer, closes=[0]), version="1.0")
    assert client.head() == \
        f"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    assert receive_all(client.sock) == b"hello world"


@pytest.mark.parametrize("method, answer", [
    ("HEAD", OK + b"Content-Length: 12\r\n\r\n"),
    ("HEAD", OK + b"Transfer-Encoding: chunked\r\n\r\n"),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n"),
    ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ("GET", HELLO)])
@pytest.mark.parametrize("when", ["with it", "idle", "next request"])
def test_late_body(client, script, method, answer, when):
    """An origin sends a body where none is, or more than there is."""
    idle = threading.Event()

    def late(sock):
        sock.sendall(answer + (b"hello, world" if when == "with it" else b""))
        if when == "idle":
            assert idle.wait(DEADLINE)
            sock.sendall(b"hello, world")
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""
            idle.clear()
        if when == "next request":
            Script.read_head(sock)
            sock.sendall(b"hello, world" + OK + b"Content-Length: 3\r\n\r\nbad")
        raise EOFError

    server = script(late, HELLO)
    client.send(server, method=method)
    head = client.head()
    if answer == HELLO:
        assert receive(client.sock, 5) == b"hello"
    assert head.startswith(answer[:12].decode())
    if when == "idle":
        idle.set()
        wait_until(lambda: not idle.is_set(), "the end of the connection")
    for _ in range(2):
        client.send(server)
        head, content = client.answer()
        assert (head[:15], content) == ("HTTP/1.1 200 OK", b"hello")
        server.answers.append((9, HELLO))


# ---- Trailers ----

SUMS = b"X-Sum: 1\r\nHost: x\r\nX-Hop: 2\r\nSet-Cookie: a=b\r\n" \
    b"grpc-status:0\r\n\r\n"
PASSED = b"X-Sum: 1\r\ngrpc-status: 0\r\n\r\n"
WITH_SUMS = OK + b"Trailer: X-Sum\r\nConnection: X-Hop\r\n" \
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + SUMS


def test_trailers_of_a_response(client, script):
    server = script(WITH_SUMS, HELLO)
    client.send(server, "TE: trailers\r\nConnection: TE\r\n")
    assert "\r\nTrailer: X-Sum\r\n" in client.head()
    assert client.chunked(PASSED) == b"hello"
    assert "\r\nTE: trailers\r\nConnection: TE\r\n" in server.heads[0]
    client.send(server)
    assert client.answer()[1] == b"hello"
    assert server.connections == [1, 1]


def test_trailers_of_a_request(client, script):
    server = script(HELLO, HELLO)
    client.send(server, "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n"
                "Connection: X-Hop\r\n", b"5\r\nhello\r\n0\r\n" + SUMS,
                method="POST")
    assert client.answer()[1] == b"hello"
    assert server.bodies == [b"5\r\nhello\r\n0\r\n" + PASSED]
    assert "\r\nTrailer: X-Sum\r\n" in server.heads[0]
    client.send(server)
    assert client.answer()[1] == b"hello"


def test_no_trailers_to_http_1_0(client, script):
    client.send(script(WITH_SUMS), version="1.0")
    assert "\r\nTrailer:" not in client.head()
    assert receive_all(client.sock) == b"hello"


@pytest.mark.needs("curl")
def test_trailers_to_curl(embedded, script):
    """It shows them behind the head."""
    server = script(WITH_SUMS)
    done = subprocess.run(
        ["curl", "-sS", "-x", f"127.0.0.1:{embedded.port}", "-D", "/dev/stderr",
         f"http://127.0.0.1:{server.port}/"],
        capture_output=True, timeout=DEADLINE, check=True)
    assert done.stdout == b"hello"
    assert done.stderr.endswith(b"\r\n\r\nX-Sum: 1\r\ngrpc-status: 0\r\n")


def test_trailers_to_python(embedded, script):
    server = script(WITH_SUMS, HELLO)
    connection = http.client.HTTPConnection("127.0.0.1", embedded.port,
                                            timeout=DEADLINE)
    with contextlib.closing(connection):
        for _ in range(2):
            connection.request("GET", f"http://127.0.0.1:{server.port}/")
            assert connection.getresponse().read() == b"hello"
    assert server.connections == [1, 1]


# ---- Answers before the end of the request ----

def read_chunk(sock):
    """One chunk's data, b"" if it is the last."""
    size = b""
    while not size.endswith(b"\r\n"):
        size += receive(sock, 1)
    return receive(sock, int(size, 16) + 2)[:-2]


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_streaming_both_ways(client, script):
    """Each piece is answered before the client sends the next one."""
    def echo(sock):
        sock.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        while data := read_chunk(sock):
            sock.sendall(chunk(data.upper()))
        sock.sendall(b"0\r\n\r\n")

    server = script(echo, HELLO)
    client.send(server, "Transfer-Encoding: chunked\r\n", method="POST")
    assert client.head().startswith("HTTP/1.1 200 ")
    for i in range(20):
        piece = b"piece %d" % i
        client.sock.sendall(chunk(piece))
        assert read_chunk(client.sock) == piece.upper()
    client.sock.sendall(b"0\r\n\r\n")
    assert client.chunked() == b""
    client.send(server)
    assert client.answer()[1] == b"hello"
    assert server.connections == [1, 1]


EARLY = {
    "length": (HELLO, False),
    "length, close": (HELLO.replace(b"\r\n\r\n",
                                    b"\r\nConnection: close\r\n\r\n"), True),
    "until close": (OK + b"\r\nhello", True),
    "chunked": (OK + b"Transfer-Encoding: chunked\r\n\r\n"
                b"5\r\nhello\r\n0\r\n\r\n", False),
    "continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO, False),
}


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("answer, closes", EARLY.values(), ids=EARLY)
@pytest.mark.parametrize("size", [5, 5_000_000])
def test_upload_after_the_answer(client, script, answer, closes, chunked,
                                 size):
    """The origin has sent FIN, and still reads the whole request."""
    received = []

    def serve(sock):
        sock.sendall(answer)
        if closes:
            sock.shutdown(socket.SHUT_WR)
        if chunked:
            received.append(b"")
            while data := read_chunk(sock):
                received[0] += data
            assert receive(sock, 0) == b""
        else:
            received.append(receive(sock, size))

    server = script(serve, HELLO, closes=[0] if closes else ())
    client.send(server, "Transfer-Encoding: chunked\r\n" if chunked
                else f"Content-Length: {size}\r\n", method="POST")
    head = client.head()
    if " 100 " in head:
        head = client.head()
    assert head.startswith("HTTP/1.1 200 ")
    assert ("\r\nConnection: close\r\n" in head) == closes
    assert (client.chunked() if "chunked" in head
            else receive(client.sock, 5)) == b"hello"
    if closes:
        assert client.is_closed()  # the origin's end; ours goes on
    body = pattern(size)
    if chunked:
        body = b"".join(chunk(body[i:i + 70_000])
                        for i in range(0, size, 70_000)) + b"0\r\n\r\n"
    client.sock.sendall(body)
    wait_until(lambda: received and len(received[0]) == size, "the upload")
    assert received == [pattern(size)]
    if not closes:
        client.send(server)
        assert client.answer()[1] == b"hello"
        assert server.connections == [1, 1]


def test_early_answer_and_nobody_reads(client, script):
    """The response arrives although the body is not read."""
    released = threading.Event()

    def refuse(sock):
        sock.sendall(b"HTTP/1.1 413 Content Too Large\r\n"
                     b"Content-Length: 2\r\n\r\nno")
        released.wait(DEADLINE)

    def upload():
        with contextlib.suppress(OSError):
            client.sock.sendall(bytes(LARGE))

    client.send(script(refuse), f"Content-Length: {LARGE}\r\n", method="POST")
    uploading = threading.Thread(target=upload)
    uploading.start()
    head, body = client.answer()
    assert head.startswith("HTTP/1.1 413 ") and body == b"no"
    assert uploading.is_alive()
    released.set()
    client.sock.shutdown(socket.SHUT_RDWR)
    uploading.join(DEADLINE)
    assert not uploading.is_alive()


def test_early_answer_and_the_client_leaves(embedded, script):
    """The origin notices that the request is not complete."""
    ends = []

    def serve(sock):
        sock.sendall(HELLO)
        try:
            ends.append(receive_all(sock))
        except ConnectionResetError:
            ends.append("reset")

    with Client(embedded) as client:
        client.send(script(serve), "Content-Length: 10\r\n", b"12345",
                    method="POST")
        client.answer()
    wait_until(lambda: ends, "the end")
    assert ends == ["reset"]
    embedded.wait_idle()


# ---- Invalid responses ----

@pytest.mark.parametrize("name", [*FRAMED, *UNFRAMED, *REUSED])
def test_what_sites_send(client, script, name):
    answer = {**FRAMED, **UNFRAMED, **REUSED}[name]
    server = script(answer, HELLO, closes=[0] if name in UNFRAMED else ())
    client.send(server)
    head = client.head()
    if "Content-Length: 5\r\n" in head:
        assert receive(client.sock, 5) == b"hello"
    else:
        assert "Transfer-Encoding: chunked\r\n" in head
        assert client.chunked() == b"hello"
    client.send(server)
    assert client.answer()[1] == b"hello"
    assert server.connections == [1, 1 if name in REUSED else 2]


def test_fields_pass_in_order(client, script):
    """Fields that have a valid form get it; others are left out."""
    client.send(script(OK + b"A: 1\r\nB : \t2\r\n\t3\r\nno colon\r\n"
                       b"C: 4\x005\r\n".replace(b"\0", b"\x01") +
                       b"A: \xc3\xa4\rEvil: 6\r\nD:\r\n" + LENGTH +
                       b"\r\nhello"))
    head = client.head()
    assert head.split("\r\n")[1:6] == [
        "A: 1", "B: 2 3", "C: 4 5", "A: \u00c3\u00a4 Evil: 6", "D: "]


def test_chunked_in_http_1_0(client, script):
    """Some clients decode it and others do not: all get the bytes as sent."""
    client.send(script(b"HTTP/1.0 200 OK\r\n" + CODING + b"\r\n" + CHUNK,
                       closes=[0]))
    head = client.head()
    assert head.startswith("HTTP/1.0 200 OK\r\n")
    assert "\r\nTransfer-Encoding: chunked\r\n" in head
    assert "\r\nConnection: close\r\n" in head
    assert receive_all(client.sock) == CHUNK


@pytest.mark.parametrize("answer, why", [
    (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
     "two Content-Lengths, 5 and 6"),
    (OK + b"X: a\0b\r\n\r\n",
     "a NUL in the head: byte 0x00 at offset 1 of the field X"),
    (OK + CODING + b"\r\n5x\r\nhello",
     "byte 0x78 in the size of a chunk, in the chunked coding"),
    (b"<html>hello</html>",
     'no status line of HTTP/1: the first bytes are "<html>he"'),
])
def test_what_no_browser_shows(client, script, answer, why):
    server = script(answer, closes=[0])
    client.send(server)
    head, body = client.answer()
    assert head.startswith("HTTP/1.1 502 ")
    assert (f"\n127.0.0.1:{server.port}: the site's answer cannot be read: "
            f"{why}; this is the fault of the site") in body.decode()


# ---- Invalid requests ----

def ask(proxy, request):
    """The head of the answer to a request in bytes, and its content."""
    with connect(proxy.port) as sock:
        sock.sendall(request)
        head = http_head(sock)[1]
        length = head.split("Content-Length: ")[1].split("\r\n")[0]
        return head, receive(sock, int(length))


@pytest.mark.parametrize("target, path", [
    ("user:pass@127.0.0.1:%d/p", "/p"),
    ("127.0.0.1:%d/\u00fc?\u00fc", "/%C3%BC?%C3%BC"),
    ("127.0.0.1:%d/p#fragment", "/p"),
    ("127.0.0.1:%d#fragment", "/"),
    ("127.0.0.1:%d/a b", "/a%20b"),
    ('127.0.0.1:%d/|"{^\\}`<', '/|"{^\\}`<'),
    ("12%%37.%%30%%2e0.1:%d/p", "/p"),
])
def test_odd_targets(embedded, script, target, path):
    server = script(HELLO)
    url = "http://" + target % server.port
    head, body = ask(embedded, f"GET {url} HTTP/1.1\r\nHost: z\r\n\r\n"
                     .encode())
    assert head.startswith("HTTP/1.1 200 ") and body == b"hello"
    assert server.heads[0].startswith(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n")
    assert "pass" not in server.heads[0]
    assert "Authorization" not in server.heads[0]


@pytest.mark.parametrize("line", ["GET  %s HTTP/1.0 \n\n",
                                  "\r\n\nGET %s HTTP/1.1\nA: b\n\r\n",
                                  "GET\t%s\tHTTP/1.1\r\n\r\n"])
def test_odd_lines(embedded, script, line):
    server = script(HELLO)
    url = f"http://127.0.0.1:{server.port}/p"
    assert ask(embedded, (line % url).encode())[1] == b"hello"
    assert server.heads[0].startswith("GET /p HTTP/1.1\r\n")


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/", "/nothing"])
def test_refused_head(embedded, target):
    """A response to HEAD has no body, whoever answers."""
    with connect(embedded.port) as sock:
        sock.sendall(f"HEAD {target} HTTP/1.1\r\n"
                     f"Host: 127.0.0.1:{embedded.port}\r\n\r\n".encode())
        head, _, body = receive_all(sock).partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1.1 (502|404) ", head)
    assert re.search(rb"\r\nContent-Length: [1-9]", head)
    assert body == b""


def test_control_characters(client, script):
    """A space takes their place: a browser sends what a page has set."""
    server = script(HELLO)
    client.send(server, "Cookie: a=\x01b\x7f; c\r\n")
    assert client.answer()[1] == b"hello"
    assert "\r\nCookie: a= b ; c\r\n" in server.heads[0]


@pytest.mark.parametrize("head", ["CONNECT 127.0.0.1:%d HTTP/1.0\n\n",
                                  "CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n",
                                  "CONNECT 127.0.0.1:%d HTTP/1.1\n"
                                  "Host: z\n\n",
                                  "CONNECT u:p@127.0.0.1:%d HTTP/1.1\r\n"
                                  "\r\n"])
def test_odd_connect(embedded, origin, head):
    """As testssl.sh and irssi send it."""
    server = origin(echo)
    with connect(embedded.port) as sock:
        sock.sendall((head % server.port).encode())
        assert http_head(sock)[0] == 200
        sock.sendall(b"hello")
        assert receive(sock, 5) == b"hello"


@pytest.mark.parametrize("request_head, why", [
    (b"GET http://a/\x01 HTTP/1.1\r\n\r\n", "a control character in the head: "
     "byte 0x01 at offset 9 of the request target"),
    (b"GET https://a/ HTTP/1.1\r\n\r\n", "this proxy serves https sites "
     "only by CONNECT, not by an absolute URI"),
    (b"GET http://[fe80::1%25eth0]/ HTTP/1.1\r\n\r\n", "a % at offset 8"),
    (b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
     "two Host fields"),
    (b"GET http://a:0/ HTTP/1.1\r\n\r\n",
     "the port of the request target is not a number from 1 to 65535"),
    (b"GET http://[::1]:x/ HTTP/1.1\r\n\r\n",
     "the port of the request target is not a number from 1 to 65535"),
    (b"GET http:/// HTTP/1.1\r\n\r\n", "the request target has no host"),
    (b"GET http://:80/ HTTP/1.1\r\n\r\n", "the request target has no host"),
    (b"GET http://::1/ HTTP/1.1\r\n\r\n", "must be in brackets"),
    (b"GET http://fe80::1:80/ HTTP/1.1\r\n\r\n", "must be in brackets"),
    (b"GET http://[a]/ HTTP/1.1\r\n\r\n", "hold no IP address"),
    (b"GET http://a b/ HTTP/1.1\r\n\r\n", "byte 0x20 at offset 1 of it"),
    (b"GET http://a\\b/ HTTP/1.1\r\n\r\n", "byte 0x5c at offset 1 of it"),
    (b"GET http://" + b"a" * 300 + b"/ HTTP/1.1\r\n\r\n", "is longer than"),
    (b"CONNECT a HTTP/1.1\r\n\r\n", "a host and a port, as in name:443"),
    (b"CONNECT http://a:80/ HTTP/1.1\r\n\r\n",
     "a host and a port, as in name:443"),
    (b"CONNECT a:0 HTTP/1.1\r\n\r\n", "from 1 to 65535"),
    (b"CONNECT \xc3\xa4:443 HTTP/1.1\r\n\r\n", "is not ASCII: byte 0xc3"),
    (b"CONNECT a%00:443 HTTP/1.1\r\n\r\n", "a % at offset 1 of it"),
])
def test_refused_requests_say_why(embedded, request_head, why):
    head, body = ask(embedded, request_head)
    assert head.startswith("HTTP/1.1 400 ")
    assert why in body.decode()


# ---- A bad world ----

@pytest.mark.parametrize("fields", [
    "Content-Length: 5\r\nContent-Length: 6\r\n",
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "X: a\r\n b\r\n",
    "X: a\rb\r\n",
    "X: a\nContent-Length: 5\r\n",
    "X : a\r\n",
])
def test_ambiguous_request(client, script, fields):
    server = script(HELLO)
    client.send(server, fields, b"hello", method="POST")
    assert client.head().startswith("HTTP/1.1 400 ")
    receive_all(client.sock)
    assert server.accepted == 0


def test_malformed_chunk(client, script):
    def answer(sock):
        sock.recv(1)

    client.send(script(answer), "Transfer-Encoding: chunked\r\n",
                b"5\r\nhelloXX", method="POST")
    head, body = client.answer()
    assert head.startswith("HTTP/1.1 400 ")
    assert b"byte 0x58 where CRLF must end a chunk" in body


@pytest.mark.parametrize("answer", [
    OK + b"Content-Length: 50\r\n\r\nhello",
    OK + CODING + b"\r\n5\r\nhello\r\n",
    OK + CODING + b"\r\n5\r\nhello\r\nZZ\r\n",
    OK + CODING + b"\r\n5\r\nhello\r\n0\r\nX: " + b"y" * 100_000,
])
def test_cut_short(client, script, answer):
    """Bytes before the fault reach the client, as without a proxy."""
    client.send(script(answer, closes=[0]))
    assert client.head().startswith("HTTP/1.1 200 ")
    content = b""
    while b"hello" not in content:
        content += receive(client.sock, 1)
    assert client.is_reset()


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n",
    b"HTTP/1.0 302 Found\nLocation: /elsewhere\n",
])
def test_redirection_without_its_end(client, script, answer):
    """Chromium follows it."""
    client.send(script(answer, closes=[0]))
    head = client.head()
    assert head.startswith("HTTP/1.1 302 ")
    assert "\r\nLocation: /elsewhere\r\n" in head
    assert client.chunked() == b""


def test_reset_until_close(client, script):
    """Only the reset tells a body that was cut from one that has ended."""
    read = threading.Event()

    def answer(sock):
        sock.sendall(UNTIL_CLOSE)
        read.wait(DEADLINE)
        reset(sock)

    client.send(script(answer))
    client.head()
    assert receive(client.sock, 3) == b"b\r\n"
    read.set()
    assert client.is_reset()


@pytest.mark.parametrize("answer, why", [
    (b"", "it closed the connection without an answer"),
    (OK + b"Content-", "the head was cut short"),
    (OK + LENGTH, "the head was cut short"),
    (b"HTTP/1.1 302 Found\r\nLocation: /else", "the head was cut short"),
    (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
     "closed the connection after an interim response (103), without the "
     "final one; this is the fault of the site"),
    (b"SSH-2.0-OpenSSH\r\n\r\n", ""),
    (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", ""),
])
def test_no_answer(client, script, answer, why):
    server = script(answer, closes=[0])
    client.send(server)
    if b" 103 " in answer:
        assert client.head().startswith("HTTP/1.1 103 ")
    head, body = client.answer()
    assert head.startswith("HTTP/1.1 502 ")
    assert f"127.0.0.1:{server.port}" in body.decode()
    assert why in body.decode()
    assert client.is_closed()


def test_nobody_listens(client, script):
    server = script()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.port = listener.getsockname()[1]
    client.send(server)
    assert client.head().startswith("HTTP/1.1 502 ")


def test_client_goes_away_in_an_exchange(embedded, script):
    """The origin's connection ends when its client has gone."""
    gone = threading.Event()

    def wait(sock):
        with contextlib.suppress(ConnectionResetError):
            sock.recv(1)
        gone.set()

    server = script(wait)
    client = Client(embedded)
    client.send(server)
    wait_until(lambda: server.heads, "a request")
    reset(client.sock)
    assert gone.wait(DEADLINE)
    embedded.wait_idle()


def test_client_goes_away_before_the_answer(embedded, script):
    """The first write is answered by RST, and the second sees it."""
    gone = threading.Event()

    def answer(sock):
        gone.wait(DEADLINE)
        sock.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" + HELLO)

    server = script(answer)
    client = Client(embedded)
    client.send(server)
    wait_until(lambda: server.heads, "a request")
    client.sock.close()
    gone.set()
    wait_until(lambda: embedded.status()["clients"]["open"] == 0,
               "no client", STALL / 2)


def test_client_is_gone_before_it_is_heard(embedded, script):
    """After its next request the socket is not read, so the reset is noticed
    late."""
    server = script(lambda sock: sock.recv(1))
    client = Client(embedded)
    with embedded.halted():
        client.send(server)
        client.send(server)
        reset(client.sock)
    wait_until(lambda: server.heads, "a request")
    wait_until(lambda: embedded.status()["clients"]["open"] == 0,
               "no client", STALL / 2)


def test_client_goes_away_from_a_kept_tunnel(embedded, script):
    server = script(HELLO, HELLO)
    with Client(embedded) as client:
        client.send(server)
        client.answer()
    wait_until(lambda: server.ended == 1, "the end of the tunnel")
    embedded.wait_idle()


def test_slow_client(embedded, script):
    """The origin is stopped, not buffered; and the rest arrives."""
    sent = []

    def answer(sock):
        sock.sendall(OK + f"Content-Length: {LARGE}\r\n\r\n".encode())
        for _ in range(LARGE >> 16):
            sock.sendall(bytes(1 << 16))
            sent.append(1 << 16)

    with Client(embedded) as slow, Client(embedded) as other:
        slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        slow.send(script(answer))
        head = slow.head()
        wait_until(lambda: sent, "a beginning")
        other.send(script(HELLO))
        assert other.answer()[1] == b"hello"
        assert f"Content-Length: {LARGE}" in head
        assert sum(sent) < LARGE
        assert receive(slow.sock, LARGE) == bytes(LARGE)
