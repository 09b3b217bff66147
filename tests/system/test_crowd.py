"""Ten thousand tunnels, and then their edge is gone."""

import select
import socket
import subprocess
import sys
import time

import pytest

from client import SUCCEEDED, receive, socks5_request, works
from conftest import FILES
from daemon import DEADLINE, SAN, wait_until

TUNNELS = 1000 if SAN else 10000
AT_ONCE = 500  # that are being opened
SPARE = 200  # descriptors, for all else in a process
MIB = 1 << 20
GROWTH_MAX = 2 * MIB  # of memory that is left of a crowd, and not given back

# An origin in a process of its own: this one has the clients' ends.
HOLD = f"""
import resource, selectors, socket
resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))
listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
print(listener.getsockname()[1], flush=True)
held = selectors.DefaultSelector()
held.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in held.select():
        if key.fileobj is listener:
            held.register(listener.accept()[0], selectors.EVENT_READ)
        else:
            held.unregister(key.fileobj)
            key.fileobj.close()
"""


@pytest.fixture
def holder():
    """The port of an origin that accepts, and says nothing."""
    if FILES < TUNNELS + SPARE:
        pytest.skip(f"the hard limit of open files is {FILES}")
    process = subprocess.Popen([sys.executable, "-c", HOLD],
                               stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait(DEADLINE)
        process.stdout.close()


def begin(culvert, port):
    """A client that has sent all its data and FIN."""
    sock = socket.create_connection(("127.0.0.1", culvert.port), DEADLINE)
    sock.sendall(b"\5\1\0" + socks5_request("127.0.0.1", port))
    return sock


def come(culvert, port):
    """All tunnels of a crowd."""
    crowd = []
    while len(crowd) < TUNNELS:
        some = [begin(culvert, port) for _ in range(AT_ONCE)]
        for sock in some:
            assert receive(sock, 12)[3] == SUCCEEDED
        crowd += some
    return crowd


def expect_resets(crowd):
    """Waits until each has been reset, and not closed."""
    poll, left = select.poll(), {sock.fileno(): sock for sock in crowd}
    for fd in left:
        poll.register(fd, select.POLLIN)
    while left:
        found = poll.poll(1000 * DEADLINE)
        assert found, f"{len(left)} of {len(crowd)} tunnels are not reset"
        for fd, _ in found:
            poll.unregister(fd)
            with left.pop(fd) as sock, \
                    pytest.raises(ConnectionResetError):
                sock.recv(1)


def lose(crowd, culvert, start_edge, edge, server):
    """The edge is killed and replaced at once, and new tunnels work."""
    killed = time.monotonic()
    edge.kill()
    edge = start_edge(port=edge.port)
    began = time.monotonic()
    works(culvert, server)
    worked = time.monotonic()
    expect_resets(crowd)
    print(f"{TUNNELS} tunnels: a new one works after {worked - began:.3f} s, "
          f"the last reset after {time.monotonic() - began:.3f} s; the edge "
          f"was gone for {began - killed:.3f} s")
    return edge


def test_crowd_loses_its_edge(start_edge, start_culvert, origin, holder):
    """All are reset, and their memory is freed."""
    edge = start_edge()
    culvert = start_culvert(edge)
    server = origin()
    works(culvert, server)
    culvert.wait_idle()
    fds, rss = culvert.fds(), culvert.rss()
    for _ in range(2):
        crowd = come(culvert, holder)
        most = culvert.rss()
        edge = lose(crowd, culvert, start_edge, edge, server)
        culvert.wait_idle()
        wait_until(lambda: culvert.fds() == fds, "descriptors come back")
        wait_until(lambda: SAN or culvert.rss() < rss + GROWTH_MAX,
                   "memory comes back")
        print(f"memory: {rss / MIB:.1f} MiB without tunnels, {most / MIB:.1f} "
              f"with them, {culvert.rss() / MIB:.1f} afterwards")
    assert culvert.status()["tunnels"]["failed"] == 0
