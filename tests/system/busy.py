"""Tunnels that always carry data, and how long they stall."""

import threading
import time

from client import receive, socks5_tunnel
from daemon import DEADLINE, wait_until
from origin import pattern

BLOCK = 4096  # bytes that go to and fro in each


class Busy:
    """Tunnels in which blocks of the pattern go to and fro all the time.

    `origin` echoes; connect(function) runs function() where the proxy is.
    """

    def __init__(self, culvert, origin, count, connect=lambda open: open()):
        self.origin = origin
        self.ended = False
        self.errors = []
        self.blocks = [0] * count
        self.gap = [0.0] * count
        self.sockets = connect(lambda: [
            socks5_tunnel(culvert.port, "127.0.0.1", origin.port)
            for _ in range(count)])
        self.last = [time.monotonic()] * count
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
        """Waits until each tunnel has carried n more; how long it took."""
        begin = time.monotonic()
        goal = [blocks + n for blocks in self.blocks]
        wait_until(lambda: self.errors or all(
            have >= want for have, want in zip(self.blocks, goal)),
            f"{n} more blocks in each tunnel: {self.blocks}")
        assert not self.errors, self.errors[:3]
        return time.monotonic() - begin

    def forget_gaps(self):
        self.gap = [0.0] * len(self.gap)

    def longest_gap(self):
        """Seconds without a block, of the tunnel that had to wait longest."""
        return max(self.gap)

    def join(self):
        for thread in self.threads:
            thread.join(DEADLINE)
            assert not thread.is_alive(), "a tunnel hangs"
        for sock in self.sockets:
            sock.close()

    def finish(self):
        """Every tunnel ends in order; none has seen a wrong byte."""
        self.ended = True
        self.join()
        assert not self.errors, self.errors[:3]
        assert not self.origin.errors, self.origin.errors[:3]

    def lost(self):
        """Every tunnel was reset, and none just hung."""
        self.join()
        assert len(self.errors) == len(self.sockets), self.errors
        for error in self.errors:
            assert isinstance(error, ConnectionResetError), error
