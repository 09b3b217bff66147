"""A NAT between the proxy and its edge that cannot make up its mind."""

import select
import socket
import threading

import pytest

from client import receive, receive_all, socks5_tunnel
from daemon import SAN
from origin import expect_pattern, send_pattern

SIZE = (8 if SAN else 32) << 20

# Bytes: bursts must not drown in the relay's own sockets.
BUFFER = 4 << 20


def udp(address=("127.0.0.1", 0)):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.setblocking(False)
    sock.bind(address)
    return sock


class Nat:
    """Relays datagrams to the edge from one of two source ports.

    Every `period` datagrams, `away` of them leave from the second port. The
    first of these makes the edge validate the new path (RFC 9000 §8.2), and
    the one that comes back does so while that is under way.
    """

    def __init__(self, edge, period=None, away=1):
        self.inside = udp()
        self.outside = (udp(), udp())
        self.port = self.inside.getsockname()[1]
        self.edge = ("127.0.0.1", edge.port)
        self.period, self.away = period, away
        self.client = None
        self.sent = self.flaps = 0
        self.moved = False
        self.ended = False
        self.thread = threading.Thread(target=self.relay, daemon=True)
        self.thread.start()

    def way(self):
        """The socket for the next datagram."""
        if self.moved:
            return self.outside[1]
        if self.period is None:
            return self.outside[0]
        phase = self.sent % self.period
        if phase == self.period - 1:
            self.flaps += 1
        return self.outside[phase >= self.period - self.away]

    def up(self):
        data, self.client = self.inside.recvfrom(65536)
        way = self.way()
        self.sent += 1
        way.sendto(data, self.edge)

    def down(self, sock):
        self.inside.sendto(sock.recv(65536), self.client)

    def relay(self):
        sockets = (self.inside, *self.outside)
        while not self.ended:
            for sock in select.select(sockets, [], [], 0.1)[0]:
                try:
                    for _ in range(64):
                        self.up() if sock is self.inside else self.down(sock)
                except OSError:
                    continue

    def close(self):
        self.ended = True
        self.thread.join()
        for sock in (self.inside, *self.outside):
            sock.close()


@pytest.fixture
def nat(edge):
    """nat(period=None, away=1) → Nat in front of `edge`."""
    nats = []

    def start(**options):
        nats.append(Nat(edge, **options))
        return nats[-1]

    yield start
    for each in nats:
        each.close()


def one_connection(culvert, edge):
    assert culvert.status()["reconnects"] == 0
    assert edge.process.poll() is None
    assert edge.log.count("connection from") == 1


@pytest.mark.parametrize("away", [1, 2, 7])
def test_flap_in_an_upload(nat, edge, start_culvert, origin, away):
    def sink(sock):
        expect_pattern(sock, SIZE)
        assert sock.recv(1) == b""
        sock.sendall(b"all of it")

    relay = nat(period=200, away=away)
    culvert = start_culvert(relay.port)
    server = origin(sink)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        send_pattern(sock, SIZE)
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock) == b"all of it"
    assert relay.flaps > 10
    one_connection(culvert, edge)


@pytest.mark.parametrize("away", [1, 2, 7])
def test_flap_in_a_download(nat, edge, start_culvert, origin, away):
    relay = nat(period=20, away=away)
    culvert = start_culvert(relay.port)
    server = origin(lambda sock: send_pattern(sock, SIZE))
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        expect_pattern(sock, SIZE)
        assert sock.recv(1) == b""
    assert relay.flaps > 10
    one_connection(culvert, edge)


def test_new_address_for_good(nat, edge, start_culvert, origin):
    """The tunnel that is open stays open."""
    relay = nat()
    culvert = start_culvert(relay.port)
    server = origin()
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        for i in range(20):
            relay.moved = i % 2 == 1
            sock.sendall(b"ping")
            assert receive(sock, 4) == b"ping"
    one_connection(culvert, edge)
