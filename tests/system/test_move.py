"""A machine that goes from network to network, with its tunnels.

What took how long is printed (pytest -s), and held against nothing: only what
must not be lost is. `make system-full` takes each row at its full length.
"""

import os
import signal
import threading
import time

import pytest

from client import receive, socks5_tunnel
from daemon import DEADLINE, SAN, wait_until
from origin import echo, pattern
from places import EDGE, EDGE6, Forbidden, Places

FULL = os.environ.get("CULVERT_TESTS") == "full"

TUNNELS = 50
BLOCK = 4096  # bytes that go to and fro in each


@pytest.fixture
def places():
    try:
        with Places() as both:
            yield both
    except Forbidden as error:
        pytest.skip(f"no network namespaces here: {error}")


@pytest.fixture
def world(places, start, ca):
    """world(*flags, edge_flags=(), address=EDGE) → a connected culvert, whose
    `edge` is at the far place; the lines must be there."""

    def start_it(*flags, edge_flags=(), address=EDGE, enter=None, wait=True):
        host = f"[{address}]" if ":" in address else address
        edge = start("culvert-edge", "-v", "-l", f"{host}:0", "--open",
                     "--cert", ca.good.cert, "--key", ca.good.key, "--allow",
                     "127.0.0.0/8", *edge_flags, preexec=places.far.enter)
        culvert = start("culvert", "-v", "-l", "127.0.0.1:0", "-e",
                        f"{host}:{edge.port}", "--pin", ca.good.pin(), *flags,
                        preexec=enter or places.near.enter)
        culvert.edge = edge
        if wait:
            culvert.wait_for("connected to ")
        return culvert

    return start_it


class Busy:
    """Tunnels in which blocks of the pattern go to and fro all the time."""

    def __init__(self, places, culvert, count=TUNNELS):
        self.origin = places.origin(echo)
        self.ended = False
        self.errors = []
        self.blocks = [0] * count
        self.last = [time.monotonic()] * count
        self.gap = [0.0] * count
        self.sockets = places.near.inside(lambda: [
            socks5_tunnel(culvert.port, "127.0.0.1", self.origin.port)
            for _ in range(count)])
        self.threads = [threading.Thread(target=self.run, args=(i,))
                        for i in range(count)]
        for thread in self.threads:
            thread.start()
        self.wait_blocks(3)

    def run(self, i):
        try:
            self.exchange(i, self.sockets[i])
        except (OSError, EOFError, AssertionError) as error:
            self.errors.append(error)

    def exchange(self, i, sock):
        at = 0
        while not self.ended:
            block = pattern(BLOCK, at)
            sock.sendall(block)
            assert receive(sock, BLOCK) == block, f"other bytes at {at}"
            now = time.monotonic()
            self.gap[i] = max(self.gap[i], now - self.last[i])
            self.last[i] = now
            self.blocks[i] += 1
            at += BLOCK
        sock.shutdown(1)
        assert sock.recv(1) == b""

    def wait_blocks(self, n):
        """Waits until each tunnel has carried n more."""
        goal = [blocks + n for blocks in self.blocks]
        wait_until(lambda: self.errors or all(
            have >= want for have, want in zip(self.blocks, goal)),
            f"{n} more blocks in each tunnel: {self.blocks}")
        assert not self.errors, self.errors[:3]

    def forget_gaps(self):
        self.gap = [0.0] * len(self.gap)

    def longest_gap(self):
        """Seconds without a block, of the tunnel that had to wait longest."""
        return max(self.gap)

    def finish(self):
        """Every tunnel ends in order; none has seen a wrong byte."""
        self.ended = True
        for thread in self.threads:
            thread.join(DEADLINE)
        for sock in self.sockets:
            sock.close()
        assert not self.errors, self.errors[:3]
        assert not self.origin.errors, self.origin.errors[:3]


def one_connection(culvert):
    assert culvert.status()["reconnects"] == 0
    assert culvert.edge.log.count("connection from") == 1


def print_row(name, **figures):
    print(f"\n{name}: " + ", ".join(
        f"{key} {value}" for key, value in figures.items()))


def found(mtu):
    """A condition on the status: the search is over, within 8 bytes."""
    return lambda s: s["mtu_state"] == "complete" and \
        mtu - 8 <= s["path_mtu"] <= mtu


# ---- From network to network ----

@pytest.mark.parametrize("address", [EDGE, EDGE6])
def test_the_network_goes_away(places, world, address):
    """A is taken down; B is another network, with smaller packets."""
    a = places.line("A", rtt=20)
    places.line("B", rtt=60, mtu=1300)
    culvert = world(address=address)
    culvert.wait_status(found(1500), "the size of A")
    busy = Busy(places, culvert)
    busy.forget_gaps()
    a.down()
    down = time.monotonic()
    busy.wait_blocks(1)
    moved = time.monotonic() - down
    culvert.wait_for("moved: the edge is now reached from")
    status = culvert.wait_status(found(1300), "the size of B")
    size = time.monotonic() - down
    busy.finish()
    print_row(f"A to B, {address}", all_tunnels_s=round(moved, 3),
              longest_gap_s=round(busy.longest_gap(), 3),
              mtu_found_s=round(size, 3), mtu=status["path_mtu"])
    assert status["migrations"] == 1
    assert status["tunnels"]["open"] == TUNNELS
    one_connection(culvert)


def test_a_better_network_comes(places, world):
    """While the old one works, nobody waits for the new one."""
    a = places.line("A", rtt=60)
    b = places.line("B", rtt=20)
    culvert = world()
    busy = Busy(places, culvert)
    busy.forget_gaps()
    b.prefer(50)
    culvert.wait_for("moved: the edge is now reached from " + b.address)
    busy.wait_blocks(3)
    gap = busy.longest_gap()
    a.down()
    busy.wait_blocks(3)
    busy.finish()
    print_row("a better network", longest_gap_s=round(gap, 3))
    assert culvert.status()["migrations"] == 1
    one_connection(culvert)


def test_networks_flap(places, world):
    """Down and up again, one after the other."""
    a = places.line("A", rtt=20)
    b = places.line("B", rtt=60)
    culvert = world()
    busy = Busy(places, culvert, count=TUNNELS if FULL else 10)
    rss = culvert.rss()
    flaps = 10 if FULL else 3
    begin = time.monotonic()
    for i in range(flaps):
        a.down()
        culvert.wait_for("reached from " + b.address, count=i + 1)
        busy.wait_blocks(3)
        a.up()
        culvert.wait_for("reached from " + a.address, count=i + 1)
        busy.wait_blocks(3)
    busy.finish()
    print_row("flaps", flaps=2 * flaps,
              seconds=round(time.monotonic() - begin, 1),
              longest_gap_s=round(busy.longest_gap(), 3),
              rss_mib=f"{rss >> 20} to {culvert.rss() >> 20}")
    assert culvert.status()["migrations"] == 2 * flaps
    assert SAN or culvert.rss() < rss + (16 << 20)
    one_connection(culvert)


def test_no_network_for_a_while(places, world):
    """Tunnels wait for one."""
    a = places.line("A", rtt=20)
    culvert = world()
    busy = Busy(places, culvert, count=10)
    a.down()
    culvert.wait_for("no way to the edge")
    a.up()
    begin = time.monotonic()
    busy.wait_blocks(1)
    print_row("no network", again_s=round(time.monotonic() - begin, 3))
    busy.finish()
    one_connection(culvert)
