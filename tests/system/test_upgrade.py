"""Upgrades to other protocols through the HTTP proxy (RFC 9110 §7.8)."""

import base64
import hashlib
import socket
import threading

import pytest

from client import http_head, ping, receive, receive_all
from daemon import wait_until
from messages import TUNNEL_IDLE
from origin import echo, expect_pattern, pattern, send_pattern
from test_curl import curl, proxy
from test_forward import HELLO, Client, Script
from test_forward import client, script  # fixtures

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = base64.b64encode(hashlib.sha1(
    f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()

UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
HANDSHAKE = f"{UPGRADE}Sec-WebSocket-Version: 13\r\n" \
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: chat\r\n"
SWITCH = (f"HTTP/1.1 101 Switching Protocols\r\n{UPGRADE}"
          f"Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n").encode()

SIZE = 3_000_000


class Switching:
    """An origin that switches protocols, and passes the connection to `speak`.
    """

    def __init__(self, speak=echo, switch=SWITCH):
        self.speak = speak
        self.switch = switch
        self.heads = []
        self.bodies = []

    def __call__(self, sock):
        head = Script.read_head(sock)
        self.heads.append(head)
        self.bodies.append(Script.read_body(sock, head))
        sock.sendall(self.switch)
        self.speak(sock)


@pytest.fixture
def switching(play):
    return play(Switching)


def upgrade(client, server, fields=HANDSHAKE, **options):
    """The head of the answer, which must be 101."""
    client.send(server, fields, **options)
    status, head = http_head(client.sock)
    assert status == 101
    assert "\r\nUpgrade: websocket\r\n" in head
    assert "\r\nConnection: Upgrade\r\n" in head
    return head


def frame(payload, mask=None):
    """A final text frame of RFC 6455 §5.2."""
    head = bytes([0x81, len(payload) | (0x80 if mask else 0)])
    if mask:
        payload = mask + bytes(byte ^ mask[i % 4]
                               for i, byte in enumerate(payload))
    return head + payload


def read_frame(sock):
    _, length = receive(sock, 2)
    mask = receive(sock, 4) if length & 0x80 else bytes(4)
    data = receive(sock, length & 0x7f)
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))


def test_websocket(embedded, switching):
    def shout(sock):
        while True:
            sock.sendall(frame(read_frame(sock).upper()))

    server = switching(shout)
    with Client(embedded) as client:
        head = upgrade(client, server)
        assert f"\r\nSec-WebSocket-Accept: {ACCEPT}\r\n" in head
        for text in (b"hello", b"world"):
            client.sock.sendall(frame(text, b"mask"))
            assert read_frame(client.sock) == text.upper()
        tunnel, = embedded.ctl("tunnels")["tunnels"]
        assert tunnel["state"] == "open"
        assert tunnel["target"] == f"127.0.0.1:{server.port}"
    for line in HANDSHAKE.split("\r\n"):
        assert line in server.heads[0].split("\r\n")
    embedded.wait_idle()
    embedded.wait_for(rf"by http to 127\.0\.0\.1:{server.port}: .* down")
    # Both heads, and the frames with and without a mask.
    assert embedded.status()["bytes"] == {
        "up": len(server.heads[0]) + 2 * 11, "down": len(head) + 2 * 7}


def test_scheme_of_websocket(client, switching):
    """Some libraries send their own URI to a proxy."""
    server = switching()
    client.send(server, HANDSHAKE, scheme="WS")
    assert http_head(client.sock)[0] == 101
    ping(client.sock)
    assert server.heads[0].startswith("GET /path?query HTTP/1.1\r\n")


def test_both_ways_at_once(client, switching):
    """More than all windows hold, and each end after the last byte."""
    def speak(sock):
        sender = threading.Thread(target=send_pattern, args=(sock, SIZE, 7))
        sender.start()
        expect_pattern(sock, SIZE)
        assert sock.recv(1) == b""
        sender.join()

    upgrade(client, switching(speak))
    sender = threading.Thread(target=send_pattern, args=(client.sock, SIZE))
    sender.start()
    expect_pattern(client.sock, SIZE, 7)
    sender.join()
    client.sock.shutdown(socket.SHUT_WR)
    assert client.is_closed()


def test_bytes_ahead_of_the_other_side(client, switching):
    """In one packet with the head, on both sides."""
    server = switching(lambda sock: (ping(sock), echo(sock)),
                       switch=SWITCH + b"welcome")
    client.send(server, HANDSHAKE, b"early")
    assert http_head(client.sock)[0] == 101
    assert receive(client.sock, 7) == b"welcome"
    assert receive(client.sock, 4) == b"ping"


def test_bytes_before_101(client, switching):
    """They are the new protocol's, and wait for it."""
    asked, go = threading.Event(), threading.Event()

    def wait(sock):
        assert receive(sock, SIZE) == pattern(SIZE)
        sock.sendall(b"thanks")

    class Late(Switching):
        def __call__(self, sock):
            self.heads.append(Script.read_head(sock))
            asked.set()
            assert go.wait(60)
            sock.sendall(SWITCH)
            self.speak(sock)

    server = switching(wait)
    server.__class__ = Late
    client.send(server, HANDSHAKE)
    sender = threading.Thread(target=send_pattern, args=(client.sock, SIZE))
    sender.start()
    assert asked.wait(60)
    go.set()
    assert http_head(client.sock)[0] == 101
    sender.join()
    assert receive(client.sock, 6) == b"thanks"


def test_half_closed_before_101(client, switching):
    client.send(switching(), HANDSHAKE, b"all I have")
    client.sock.shutdown(socket.SHUT_WR)
    assert http_head(client.sock)[0] == 101
    assert receive_all(client.sock) == b"all I have"


def test_origin_closes_first(client, switching):
    heard = []

    def speak(sock):
        sock.shutdown(socket.SHUT_WR)
        heard.append(receive_all(sock))

    upgrade(client, switching(speak))
    assert client.is_closed()
    client.sock.sendall(b"and yet")
    client.sock.shutdown(socket.SHUT_WR)
    wait_until(lambda: heard, "the end")
    assert heard == [b"and yet"]


@pytest.mark.parametrize("answer", [
    HELLO,
    b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nContent-Length: 5\r\n\r\nhello",
])
def test_the_origin_declines(client, script, answer):
    """It is an exchange like any other."""
    server = script(answer, HELLO)
    client.send(server, HANDSHAKE)
    head, body = client.answer()
    assert head.split(" ")[1] in ("200", "426") and body == b"hello"
    assert (" 426 " in head) == ("\r\nUpgrade: websocket\r\n" in head)
    client.send(server)
    assert client.answer()[1] == b"hello"
    assert server.connections == [1, 1]


@pytest.mark.parametrize("framing, body", [
    ("Content-Length: 5\r\n", b"hello"),
    ("Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
])
def test_with_a_body(client, switching, framing, body):
    server = switching()
    upgrade(client, server, HANDSHAKE + framing, body=body + b"frame",
            method="POST")
    assert receive(client.sock, 5) == b"frame"
    assert server.bodies == [body]


def test_101_before_the_body(client, switching):
    """The rest of the request, and then the other protocol."""
    class Early(Switching):
        def __call__(self, sock):
            head = Script.read_head(sock)
            sock.sendall(SWITCH)
            self.bodies.append(Script.read_body(sock, head))
            self.speak(sock)

    server = switching()
    server.__class__ = Early
    upgrade(client, server, HANDSHAKE + "Transfer-Encoding: chunked\r\n",
            body=b"5\r\nhel", method="POST")
    client.sock.sendall(b"lo\r\n0\r\n\r\nframe")
    assert receive(client.sock, 5) == b"frame"


@pytest.mark.parametrize("fields, options", [
    ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
     "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n", {}),
    (HANDSHAKE, {"version": "1.0"}),
    (HANDSHAKE.replace("Connection: Upgrade\r\n", ""), {}),
])
def test_not_asked_for(client, script, fields, options):
    """Not a field of it reaches the origin, which answers as ever."""
    server = script(HELLO)
    client.send(server, fields, **options)
    assert client.answer()[1] == b"hello"
    for name in ("Upgrade", "Connection", "HTTP2-Settings"):
        assert f"\r\n{name}:" not in server.heads[0]


@pytest.mark.needs("curl")
def test_curl_offers_http_2(embedded, script):
    server = script(HELLO)
    done = curl(*proxy("plain", embedded.port), "--http2", "--fail",
                f"http://127.0.0.1:{server.port}/")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b"hello"


def test_idle(start_embedded, switching):
    """It ends as a tunnel does, by its time."""
    embedded = start_embedded("--tunnel-timeout", "1")
    with Client(embedded) as client:
        upgrade(client, switching())
        ping(client.sock)
        assert client.is_reset()
    embedded.wait_for(TUNNEL_IDLE)


def test_connect_after_an_exchange(embedded, script, origin):
    """On one connection, and all bytes are counted."""
    server, other = script(HELLO), origin()
    with Client(embedded) as client:
        client.send(server)
        head = client.answer()[0]
        client.sock.sendall(f"CONNECT 127.0.0.1:{other.port} HTTP/1.1\r\n"
                            f"Host: x\r\n\r\n".encode())
        assert http_head(client.sock)[0] == 200
        ping(client.sock)
    embedded.wait_idle()
    assert embedded.status()["bytes"] == {
        "up": len(server.heads[0]) + 4, "down": len(head) + 5 + 4}
