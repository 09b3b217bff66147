"""Bytes that were sent before a reset arrive, and then the reset."""

import array
import contextlib
import fcntl
import socket
import termios
import threading

import pytest

from client import (connect, expect_reset, http_connect, http_head, receive,
                    reset, socks5_tunnel)
from daemon import wait_until
from origin import expect_pattern, pattern, send_pattern

# Often enough that a race shows, and seldom enough for a test.
TIMES = 20

# Bytes: one packet's worth, and more than a stream has room for at first.
SIZES = [100, 1_000_000]

UPLOAD = 20_000_000


def sent(sock):
    """All that was written is acknowledged."""
    queued = array.array("i", [0])
    try:
        fcntl.ioctl(sock, termios.TIOCOUTQ, queued)
    except ValueError:
        raise EOFError("the test is over") from None
    return queued[0] == 0


def say_and_reset(sock, data):
    sock.sendall(data)
    wait_until(lambda: sent(sock), "that the other end has it")
    reset(sock)


def socks(culvert, server):
    return socks5_tunnel(culvert.port, "127.0.0.1", server.port)


def http(culvert, server):
    sock, status, _ = http_connect(culvert.port, "127.0.0.1", server.port)
    assert status == 200
    return sock


@pytest.fixture(params=[socks, http])
def tunnel(request):
    return request.param


@pytest.fixture(params=SIZES)
def size(request):
    return request.param


def request_head(sock):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += receive(sock, 1)


def received(sock):
    """Returns what arrives, and whether it ends by RST."""
    data = bytearray()
    try:
        while part := sock.recv(1 << 20):
            data += part
    except ConnectionResetError:
        return bytes(data), True
    return bytes(data), False


# ---- The origin answers and resets ----

def answer_and_reset(size):
    def serve(sock):
        receive(sock, 4)
        say_and_reset(sock, pattern(size))

    return serve


def test_origin_resets(culvert, origin, tunnel, size):
    server = origin(answer_and_reset(size))
    for _ in range(TIMES):
        with tunnel(culvert, server) as sock:
            sock.sendall(b"ping")
            data, was_reset = received(sock)
        assert len(data) == size and data == pattern(size)
        assert was_reset
    culvert.wait_idle()
    assert not server.errors


def test_origin_resets_half_closed(culvert, origin, tunnel, size):
    server = origin(answer_and_reset(size))
    for _ in range(TIMES):
        with tunnel(culvert, server) as sock:
            sock.sendall(b"ping")
            sock.shutdown(socket.SHUT_WR)
            data, was_reset = received(sock)
        assert len(data) == size and data == pattern(size)
        assert was_reset
    culvert.wait_idle()


def test_slow_client(culvert, origin, tunnel):
    """It reads when all the rest is over."""
    size = 4_000_000
    over = threading.Event()

    def serve(sock):
        receive(sock, 4)
        say_and_reset(sock, pattern(size))
        over.set()

    server = origin(serve)
    with tunnel(culvert, server) as sock:
        sock.sendall(b"ping")
        assert over.wait(30)
        expect_pattern(sock, size)
        expect_reset(sock)
    culvert.wait_idle()


def http_answer(status, size, framing):
    def serve(sock):
        request_head(sock)
        body = pattern(size)
        if framing == "length":
            field = f"Content-Length: {size}\r\n"
        elif framing == "chunked":
            field = "Transfer-Encoding: chunked\r\n"
            body = b"%x\r\n" % size + body + b"\r\n0\r\n\r\n"
        else:
            field = ""
        say_and_reset(sock, f"HTTP/1.1 {status}\r\n{field}\r\n".encode() +
                      body)

    return serve


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_origin_resets_http(culvert, origin, size, framing):
    """A complete response stays so; others end by RST."""
    server = origin(http_answer("200 OK", size, framing))
    for _ in range(TIMES):
        with connect(culvert.port) as sock:
            sock.sendall(f"GET http://127.0.0.1:{server.port}/ HTTP/1.1\r\n"
                         "Host: x\r\nConnection: close\r\n\r\n".encode())
            status, head = http_head(sock)
            assert status == 200
            body, was_reset = received(sock)
        assert was_reset == (framing == "close")
        if "chunked" in head.lower():
            # Whatever chunks it is in.
            assert body.endswith(b"\r\n0\r\n\r\n") or framing == "close"
            assert len(body) > size
        else:
            assert body == pattern(size)
    culvert.wait_idle()


# ---- The origin answers early, and resets while the client uploads ----

def refuse_upload(sock):
    """It has not read the body: closing resets."""
    request_head(sock)
    receive(sock, 1000)
    sock.sendall(b"HTTP/1.1 413 Content Too Large\r\n"
                 b"Connection: close\r\nContent-Length: 5\r\n\r\nlarge")


def upload(sock, url):
    """Sends until that fails; returns the response."""
    sock.sendall(f"POST {url} HTTP/1.1\r\nHost: x\r\n"
                 f"Content-Length: {UPLOAD}\r\n\r\n".encode())
    answer = {}

    def listen():
        with contextlib.suppress(EOFError, OSError):
            answer["status"], _ = http_head(sock)
            answer["body"] = receive(sock, 5)

    listener = threading.Thread(target=listen)
    listener.start()
    with contextlib.suppress(OSError):
        send_pattern(sock, UPLOAD)
    listener.join()
    return answer


def test_early_413_tunnel(culvert, origin, tunnel):
    server = origin(refuse_upload)
    seen = []
    for _ in range(TIMES):
        with tunnel(culvert, server) as sock:
            seen.append(upload(sock, "/").get("status"))
    assert seen == TIMES * [413]
    culvert.wait_idle()


def test_early_413_http(culvert, origin):
    server = origin(refuse_upload)
    seen = []
    for _ in range(TIMES):
        with connect(culvert.port) as sock:
            url = f"http://127.0.0.1:{server.port}/"
            seen.append(upload(sock, url).get("status"))
    assert seen == TIMES * [413]
    culvert.wait_idle()


# ---- The client sends and resets ----

def keep(endings):
    def serve(sock):
        endings.append(received(sock))

    return serve


def test_client_resets(culvert, origin, tunnel, size):
    endings = []
    server = origin(keep(endings))
    for _ in range(TIMES):
        say_and_reset(tunnel(culvert, server), pattern(size))
    wait_until(lambda: len(endings) == TIMES, "all ends")
    for data, was_reset in endings:
        assert len(data) == size and data == pattern(size)
        assert was_reset
    culvert.wait_idle()


def test_client_resets_http(culvert, origin, size):
    endings = []
    server = origin(keep(endings))
    for _ in range(TIMES):
        say_and_reset(connect(culvert.port),
                      f"POST http://127.0.0.1:{server.port}/ HTTP/1.1\r\n"
                      f"Host: x\r\nContent-Length: {size}\r\n\r\n".encode() +
                      pattern(size))
    wait_until(lambda: len(endings) == TIMES, "all ends")
    for data, was_reset in endings:
        assert data.endswith(pattern(size))
        assert was_reset
    culvert.wait_idle()


def test_client_asks_and_resets(culvert, origin):
    """It is gone before there is a tunnel, and the request is made."""
    endings = []
    server = origin(keep(endings))
    for _ in range(TIMES):
        say_and_reset(connect(culvert.port),
                      f"GET http://127.0.0.1:{server.port}/ HTTP/1.1\r\n"
                      "Host: x\r\n\r\n".encode())
    wait_until(lambda: len(endings) == TIMES, "all ends")
    for data, was_reset in endings:
        assert data.startswith(b"GET / HTTP/1.1\r\n")
        assert data.endswith(b"\r\n\r\n") and was_reset
    culvert.wait_idle()


# Bytes: more than fits into the kernel on the way.
LARGE = 3_000_000


def talk(sock):
    """Sends until that fails."""
    with contextlib.suppress(OSError):
        while True:
            sock.sendall(pattern(10_000))


def start_talking(sock):
    threading.Thread(target=talk, args=(sock,), daemon=True).start()


def all_ended(endings):
    wait_until(lambda: len(endings) == TIMES, "all ends")
    for data, _ in endings:  # one of two threads gets the reset
        assert len(data) == LARGE and data == pattern(LARGE)


def test_client_resets_answered(culvert, origin, tunnel):
    """The origin's bytes cannot be delivered; those for it can."""
    endings = []

    def serve(sock):
        start_talking(sock)
        endings.append(received(sock))

    server = origin(serve)
    for _ in range(TIMES):
        sock = tunnel(culvert, server)
        receive(sock, 1000)
        say_and_reset(sock, pattern(LARGE))
    all_ended(endings)
    culvert.wait_idle()


def test_client_resets_answered_http(culvert, origin):
    endings = []

    def serve(sock):
        request_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        start_talking(sock)
        endings.append(received(sock))

    server = origin(serve)
    for _ in range(TIMES):
        sock = connect(culvert.port)
        sock.sendall(f"POST http://127.0.0.1:{server.port}/ HTTP/1.1\r\n"
                     f"Host: x\r\nContent-Length: {LARGE + 1}\r\n\r\n"
                     .encode())
        receive(sock, 1000)
        say_and_reset(sock, pattern(LARGE))
    all_ended(endings)
    culvert.wait_idle()
