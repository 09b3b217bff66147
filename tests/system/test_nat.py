"""A NAT between the proxy and its edge that cannot make up its mind."""

import select
import socket
import threading
import time

import pytest

from busy import Busy
from client import ping, receive_all, socks5_tunnel
from daemon import FULL, SAN, wait_until
from messages import ACCEPTED, CONNECTED, MIGRATED, MOVED
from origin import echo, expect_pattern, send_pattern

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
    """Relays datagrams to the edge, each client's from one of two ports.

    Every `period` datagrams, `away` of them leave from the second port. The
    first of these makes the edge validate the new path (RFC 9000 §8.2), and
    the one that comes back does so while that is under way.
    """

    def __init__(self, edge, period=None, away=1):
        self.inside = udp()
        self.outside = {}  # by the client's address
        self.port = self.inside.getsockname()[1]
        self.edge = ("127.0.0.1", edge.port)
        self.period, self.away = period, away
        self.sent = self.flaps = self.rebinds = 0
        self.moved = False
        self.to_rebind = False
        self.blocked = set()
        self.deaf = False
        self.ended = False
        self.thread = threading.Thread(target=self.relay, daemon=True)
        self.thread.start()

    def way(self, client):
        """The socket for the next datagram."""
        if client not in self.outside:
            self.outside[client] = udp(), udp()
        pair = self.outside[client]
        if self.moved:
            return pair[1]
        if self.period is None:
            return pair[0]
        phase = self.sent % self.period
        if phase == self.period - 1:
            self.flaps += 1
        return pair[phase >= self.period - self.away]

    def up(self):
        data, client = self.inside.recvfrom(65536)
        if self.deaf or client in self.blocked:
            return
        way = self.way(client)
        self.sent += 1
        way.sendto(data, self.edge)

    def down(self, sock):
        data = sock.recv(65536)
        client = next(client for client, pair in self.outside.items()
                      if sock in pair)
        if not self.deaf and client not in self.blocked:
            self.inside.sendto(data, client)

    def block(self):
        """Nothing passes any more from or to the ports that clients have."""
        self.blocked.update(self.outside)

    def rebind(self):
        """Forgets the ports outside, and takes others."""
        before = self.rebinds
        self.to_rebind = True
        wait_until(lambda: self.rebinds > before, "other ports")

    def forget(self):
        for pair in self.outside.values():
            for sock in pair:
                sock.close()
        self.outside.clear()

    def relay(self):
        while not self.ended:
            if self.to_rebind:
                self.forget()
                self.to_rebind = False
                self.rebinds += 1
            sockets = [self.inside]
            for pair in self.outside.values():
                sockets += pair
            for sock in select.select(sockets, [], [], 0.1)[0]:
                try:
                    for _ in range(64):
                        self.up() if sock is self.inside else self.down(sock)
                except OSError:
                    continue

    def close(self):
        self.ended = True
        self.thread.join()
        self.forget()
        self.inside.close()


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
    assert edge.log.count(ACCEPTED) == 1


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
            ping(sock)
    one_connection(culvert, edge)


def test_rebinds(nat, edge, start_culvert, origin):
    """A NAT that forgets every five seconds, for a minute if there is time."""
    relay = nat()
    culvert = start_culvert(relay.port)
    tunnels = Busy(culvert, origin(echo), 10)
    for _ in range(12 if FULL else 4):
        begin = time.monotonic()
        relay.rebind()
        tunnels.wait_blocks(3)
        if FULL:
            wait_until(lambda since=begin: time.monotonic() > since + 5, "5 s")
    tunnels.finish()
    print(f"\nrebinds: {relay.rebinds}, longest gap "
          f"{tunnels.longest_gap():.3f} s")
    one_connection(culvert, edge)


def test_a_port_that_is_dead(nat, edge, start_culvert, origin):
    """Silence without a reason: another port solves it."""
    relay = nat()
    culvert = start_culvert(relay.port)
    tunnels = Busy(culvert, origin(echo), 10)
    relay.block()
    begin = time.monotonic()
    culvert.wait_for(MOVED)
    moved = time.monotonic() - begin
    tunnels.wait_blocks(1)
    tunnels.finish()
    print(f"\na dead port: moved after {moved:.3f} s, longest gap "
          f"{tunnels.longest_gap():.3f} s")
    edge.wait_for(MIGRATED)
    assert culvert.status()["migrations"] == 1
    assert culvert.status()["tunnels"]["failed"] == 0


@pytest.mark.skipif(not FULL, reason="takes 15 s: make system-full")
def test_silence_for_good(nat, edge, start_culvert, origin):
    """No port helps: the tunnels are reset, and the next ones wait."""
    relay = nat()
    culvert = start_culvert(relay.port)
    tunnels = Busy(culvert, origin(echo), 10)
    relay.deaf = True
    begin = time.monotonic()
    tunnels.lost()
    print(f"\nsilence: given up after {time.monotonic() - begin:.3f} s")
    relay.deaf = False
    culvert.wait_for(CONNECTED, count=2)
