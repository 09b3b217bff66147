"""Clients of the proxy, spelt out byte by byte."""

import contextlib
import ipaddress
import select
import socket
import struct

from daemon import DEADLINE

# RFC 1928 §6
SUCCEEDED = 0
GENERAL_FAILURE = 1
NOT_ALLOWED = 2
NETWORK_UNREACHABLE = 3
HOST_UNREACHABLE = 4
CONNECTION_REFUSED = 5
TTL_EXPIRED = 6
COMMAND_NOT_SUPPORTED = 7

# A user of the `users` file, and the password.
USER = ("alice", "correct horse")

CONNECT = 1
BIND = 2
UDP_ASSOCIATE = 3


def connect(port, host="127.0.0.1"):
    """A TCP connection that turns a hang into a failure."""
    sock = socket.create_connection((host, port), DEADLINE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def receive(sock, n):
    """Exactly n bytes."""
    data = bytearray()
    while len(data) < n:
        part = sock.recv(n - len(data))
        if not part:
            raise EOFError(f"the end after {bytes(data)!r}, not {n} bytes")
        data += part
    return bytes(data)


def receive_all(sock):
    """Everything until the FIN."""
    data = bytearray()
    while part := sock.recv(1 << 20):
        data += part
    return bytes(data)


def expect_reset(sock):
    """Whatever there is to receive, and then not a clean end but RST."""
    try:
        while sock.recv(1 << 20):
            pass
    except ConnectionResetError:
        return
    raise AssertionError("a clean end")


def reset(sock):
    """Closes with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                    struct.pack("ii", 1, 0))
    sock.close()


def socks5_address(host):
    """ATYP and address; anything but a literal is sent as a name."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        return bytes([1 if address.version == 4 else 4]) + address.packed
    name = host.encode()
    return bytes([3, len(name)]) + name


def socks5_request(host, port, command=CONNECT):
    return bytes([5, command, 0]) + socks5_address(host) + \
        struct.pack(">H", port)


def socks5_reply(sock):
    """The code of one reply, which is read to its last byte."""
    _, code, _, kind = receive(sock, 4)
    receive(sock, {1: 4, 4: 16}[kind] + 2)
    return code


def socks5_greet(sock, user=None):
    """Agrees on a method; returns whether we are let in."""
    sock.sendall(b"\5\1\0" if user is None else b"\5\1\2")
    version, method = receive(sock, 2)
    assert version == 5
    if method == 0xff or user is None:
        return method == 0
    assert method == 2
    name, password = (part.encode() for part in user)
    sock.sendall(bytes([1, len(name)]) + name + bytes([len(password)]) +
                 password)
    return receive(sock, 2)[1] == 0


def socks5_connect(proxy, host, port, user=None, command=CONNECT):
    """A socket and the reply's code; `user` is (name, password)."""
    sock = connect(proxy)
    assert socks5_greet(sock, user), "the greeting was refused"
    sock.sendall(socks5_request(host, port, command))
    return sock, socks5_reply(sock)


def socks5_tunnel(proxy, host, port, user=None):
    """A socket that must have been connected."""
    sock, code = socks5_connect(proxy, host, port, user)
    assert code == SUCCEEDED
    return sock


def ping(sock):
    """Asserts that an origin echoes at the other end."""
    sock.sendall(b"ping")
    assert receive(sock, 4) == b"ping"


def outlives(busy, idle):
    """A tunnel with an echo goes on until the idle one is reset, and after."""
    while not select.select([idle], [], [], 0.1)[0]:
        ping(busy)
    expect_reset(idle)
    ping(busy)


def works(culvert, server, host="127.0.0.1"):
    """A new tunnel carries bytes to an origin that echoes, and their end."""
    with socks5_tunnel(culvert.port, host, server.port) as sock:
        sock.sendall(b"ping")
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock) == b"ping"


def http_head(sock):
    """A response's head, and not a byte more: its status and its text."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        head += receive(sock, 1)
    return int(head.split()[1]), head.decode("latin-1")


def http_connect(proxy, host, port, fields=""):
    """A socket, the status of the response and its head."""
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    sock = connect(proxy)
    sock.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"
                 f"{fields}\r\n".encode())
    return sock, *http_head(sock)
