"""The origin of the soak: what it does, each request says in its path.

    GET /bytes/N/AT      N bytes of the pattern from AT, with their length
    GET /chunked/N/AT    ... in chunks
    GET /close/N/AT      ... until the end of the connection
    GET /reset/N/AT      ... of which half come, and then a reset
    GET /early/N/AT      ... until FIN; then as many come back, and theirs
    GET /back/N/AT       the client's bytes until its FIN, then all of them back
    GET /echo/0/0        whatever comes, as it comes, until FIN
    POST /hash/N/AT      N bytes come and are compared
    POST /fickle/N/AT    N bytes may come, and the client may think otherwise

What a client has left or a fault has cut is no error here; bytes that are
wrong, or missing before a clean end, are.
"""

import hashlib
import socket

from client import reset
from origin import echo, expect_pattern, pattern, send_pattern

CHUNK = 10000  # bytes


def read_head(sock):
    """The first line of a request, or None at the end."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            # Between two requests, and at any time from a client that gives
            # up.
            return None
        head += byte
    return head.split(b"\r\n")[0].decode()


def respond(sock, *fields):
    sock.sendall("\r\n".join(["HTTP/1.1 200 OK", *fields, "", ""]).encode())


def expect_end(sock):
    assert not sock.recv(1), "more bytes than there are"


def give_bytes(sock, n, at):
    respond(sock, f"Content-Length: {n}")
    send_pattern(sock, n, at)


def give_chunked(sock, n, at):
    respond(sock, "Transfer-Encoding: chunked")
    for start in range(0, n, CHUNK):
        data = pattern(min(CHUNK, n - start), at + start)
        sock.sendall(b"%x\r\n%b\r\n" % (len(data), data))
    sock.sendall(b"0\r\n\r\n")


def give_until_close(sock, n, at):
    respond(sock, "Connection: close")
    send_pattern(sock, n, at)
    sock.shutdown(socket.SHUT_WR)


def give_half(sock, n, at):
    respond(sock, f"Content-Length: {n}")
    send_pattern(sock, n // 2, at)
    reset(sock)


def end_early(sock, n, at):
    send_pattern(sock, n, at)
    sock.shutdown(socket.SHUT_WR)
    expect_pattern(sock, n, at)
    expect_end(sock)


def give_back(sock, n, at):
    expect_pattern(sock, n, at)
    expect_end(sock)
    send_pattern(sock, n, at)
    sock.shutdown(socket.SHUT_WR)


def take(sock, n, at):
    expect_pattern(sock, n, at)
    digest = hashlib.sha256(pattern(n, at)).hexdigest()
    respond(sock, f"Content-Length: {len(digest)}")
    sock.sendall(digest.encode())


def take_some(sock, n, _at):
    while n > 0 and (data := sock.recv(1 << 16)):
        n -= len(data)


def do_echo(sock, _n, _at):
    echo(sock)


# A connection is kept after these.
ASKED = {"bytes": give_bytes, "chunked": give_chunked, "hash": take}
LAST = {"close": give_until_close, "reset": give_half, "early": end_early,
        "back": give_back, "echo": do_echo, "fickle": take_some}


def serve(sock):
    """The handler of an Origin."""
    while line := read_head(sock):
        try:
            _, kind, n, at = line.split()[1].split("/")
            do = {**ASKED, **LAST}[kind]
        except (IndexError, KeyError, ValueError):
            raise AssertionError(f"nobody has asked {line!r}") from None
        do(sock, int(n), int(at))
        if kind in LAST:
            return
