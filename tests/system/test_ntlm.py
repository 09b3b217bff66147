"""Origins that authenticate connections: NTLM and Negotiate (RFC 4559). The
origin here has no passwords. It checks what such origins depend on: whether
the three legs of a handshake came on one connection, and what follows on
it."""

import base64
import contextlib
import struct

import pytest

from client import http_head, receive
from test_curl import curl, proxy
from test_forward import HELLO, Client, Script
from test_forward import client, script  # fixtures

SIGNATURE = b"NTLMSSP\0"
NEGOTIATE = SIGNATURE + struct.pack("<II", 1, 0x0000a207)
AUTHENTICATE = SIGNATURE + struct.pack("<I", 3) + bytes(52)
# Target name of no bytes, flags (Unicode, NTLM), challenge, context, no info.
CHALLENGE = SIGNATURE + struct.pack("<IHHII", 2, 0, 0, 48, 0x00008201) + \
    bytes(range(8)) + bytes(8) + struct.pack("<HHI", 0, 0, 48)


def token(message):
    return base64.b64encode(message).decode()


class Guarded:
    """An origin that serves connections which are authenticated."""

    def __init__(self, scheme="NTLM", body="short", offer=None):
        self.scheme = scheme
        self.body = body
        self.offer = offer or f"WWW-Authenticate: {scheme}\r\n"
        self.served = []  # number of the connection, method, body
        self.refused = 0
        self.accepted = 0
        self.close_after = None  # a kind of message

    def __call__(self, sock):
        self.accepted += 1
        number, state = self.accepted, "none"
        with contextlib.suppress(EOFError):
            while state != "over":
                state = self.serve(sock, number, state)

    def serve(self, sock, number, state):
        head = Script.read_head(sock)
        body = Script.read_body(sock, head)
        message = self.message(head)
        if message[8:9] == b"\1":
            self.unauthorized(sock, f"WWW-Authenticate: {self.scheme} "
                              f"{token(CHALLENGE)}\r\n")
            state = "challenged"
        elif state == "served" or (message[8:9] == b"\3" and
                                   state == "challenged"):
            self.served.append((number, head.split()[0], body))
            sock.sendall(HELLO)
            state = "served"
        else:
            self.refused += 1
            self.unauthorized(sock, self.offer)
            state = "none"
        return "over" if state == self.close_after else state

    def message(self, head):
        for line in head.split("\r\n"):
            if line.startswith(f"Authorization: {self.scheme} "):
                return base64.b64decode(line.split()[2])
        return b""

    def unauthorized(self, sock, fields):
        size = 300_000 if self.body == "large" else 10
        if self.body == "chunked":
            framing = "Transfer-Encoding: chunked\r\n"
            body = b"a\r\n" + bytes(10) + b"\r\n0\r\n\r\n"
        else:
            framing = f"Content-Length: {size}\r\n"
            body = bytes(size)
        sock.sendall(f"HTTP/1.1 401 Unauthorized\r\n{fields}{framing}\r\n"
                     .encode() + body)


@pytest.fixture
def guarded(play):
    return play(Guarded)


def ask(client, server, message=None, method="POST", body=b""):
    """One exchange; its status."""
    fields = f"Content-Length: {len(body)}\r\n" if method == "POST" else ""
    if message:
        fields += f"Authorization: {server.scheme} {token(message)}\r\n"
    client.send(server, fields, body, method=method)
    status, head = http_head(client.sock)
    assert (status == 401) == ("\r\nProxy-Support: Session-Based-"
                               "Authentication\r\n" in head)
    if "chunked" in head:
        client.chunked()
    else:
        receive(client.sock, int(head.split("Content-Length: ")[1].split()[0]))
    return status


def shake_hands(client, server):
    """The three legs, with the methods and lengths that clients give them."""
    assert ask(client, server, method="GET") == 401
    assert ask(client, server, NEGOTIATE) == 401
    assert ask(client, server, AUTHENTICATE, body=b"hello") == 200


OFFERS = {
    "NTLM": ("NTLM", None),
    "Negotiate": ("Negotiate", None),
    "several": ("NTLM", "WWW-Authenticate: Basic realm=\"a, b\"\r\n"
                "www-authenticate: Negotiate\r\nWWW-Authenticate: ntlm\r\n"),
    "one list": ("NTLM", "WWW-Authenticate: Basic realm=x, NTLM\r\n"),
}


@pytest.mark.parametrize("scheme, offer", OFFERS.values(), ids=OFFERS)
def test_handshake(client, guarded, scheme, offer):
    server = guarded(scheme, offer=offer)
    shake_hands(client, server)
    assert ask(client, server, body=b"again") == 200
    assert ask(client, server, method="GET") == 200
    assert server.served == [(1, "POST", b"hello"), (1, "POST", b"again"),
                             (1, "GET", b"")]
    assert server.accepted == 1


@pytest.mark.parametrize("body", ["large", "chunked"])
def test_401_with_a_body(client, guarded, body):
    server = guarded(body=body)
    shake_hands(client, server)
    assert server.accepted == 1


def test_another_origin_meanwhile(client, guarded, script):
    server, other = guarded(), script(*4 * [HELLO])
    for message in (None, NEGOTIATE):
        assert ask(client, server, message) == 401
        client.send(other)
        assert client.answer()[1] == b"hello"
    assert ask(client, server, AUTHENTICATE, body=b"hello") == 200
    client.send(other, "Content-Length: 1\r\n", b"x", method="POST")
    assert client.answer()[1] == b"hello"
    assert ask(client, server, body=b"again") == 200
    assert [number for number, *_ in server.served] == [1, 1]


def test_two_origins_in_turn(client, guarded):
    servers = [guarded(), guarded("Negotiate")]
    for message, status in ((None, 401), (NEGOTIATE, 401),
                            (AUTHENTICATE, 200), (None, 200)):
        for server in servers:
            assert ask(client, server, message) == status
    assert [server.accepted for server in servers] == [1, 1]


def test_not_for_another_client(embedded, client, guarded):
    server = guarded()
    shake_hands(client, server)
    with Client(embedded) as other:
        assert ask(other, server, method="GET") == 401
        assert ask(client, server) == 200
        assert ask(other, server, AUTHENTICATE) == 401


@pytest.mark.parametrize("state", ["none", "challenged", "served"])
def test_the_origin_closes(client, guarded, state):
    """So the client does not go on with what has become void."""
    server = guarded()
    server.close_after = state
    assert ask(client, server) == 401
    if state != "none":
        assert ask(client, server, NEGOTIATE) == 401
    if state == "served":
        assert ask(client, server, AUTHENTICATE) == 200
    assert client.is_closed()
    assert server.accepted == 1


@pytest.mark.needs("curl")
@pytest.mark.parametrize("kind", ["plain", "connect"])
@pytest.mark.parametrize("body", ["short", "large", "chunked"])
def test_curl(embedded, guarded, kind, body):
    if " NTLM " not in curl("--version").stdout.decode():
        pytest.skip("this curl has no NTLM")
    server = guarded(body=body)
    url = f"http://127.0.0.1:{server.port}/"
    common = ["--ntlm", "--user", "alice:secret", "--fail",
              *proxy(kind, embedded.port)]
    done = curl(*common, "--data", "first", url,
                "--next", "--silent", *common, url,
                "--next", "--silent", *common, "--data", "x" * 100_000, url)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b"hello" * 3
    assert server.served == [(1, "POST", b"first"), (1, "GET", b""),
                             (1, "POST", b"x" * 100_000)]
