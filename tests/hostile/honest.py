"""An honest client of the proxy, beside whom others are hostile.

    honest.py PROXY ORIGIN

Moves data through the proxy at PROXY to and from the origin at ORIGIN (ports
of this machine), all at once and without a pause: a download, an upload, new
tunnels for a little each, and a tunnel with a word now and then.  Every byte
is compared.  For each line of standard input it prints what has happened since
the line before, as a JSON object.
"""

import collections
import hashlib
import json
import sys
import threading
import time

from client import connect, http_head, receive, socks5_tunnel
from origin import BLOCK, pattern

HOST = "127.0.0.1"
NAME = "origin.fast"  # as names.py has it
OBJECT = 20_000_000  # bytes
SMALL = 1000  # bytes
SLICE = 1 << 16  # bytes
PAUSE = 0.05  # seconds between two messages, and between two new tunnels
RETRY = 0.5  # seconds after a failure


class Account:
    """The counts since the last reading."""

    def __init__(self):
        self.lock = threading.Lock()
        self.clear()

    def clear(self):
        self.since = time.monotonic()
        self.counts = collections.Counter()
        self.times = collections.defaultdict(list)
        self.failures = []

    def count(self, name, n):
        with self.lock:
            self.counts[name] += n

    def took(self, name, seconds):
        with self.lock:
            self.times[name].append(seconds)

    def failed(self, what, error):
        with self.lock:
            self.failures.append(f"{what}: {type(error).__name__}: {error}")

    def read(self):
        with self.lock:
            seen = {"seconds": time.monotonic() - self.since,
                    "counts": dict(self.counts), "times": dict(self.times),
                    "failures": self.failures}
            self.clear()
        return seen


class Honest:
    """The client; each of its works is a thread that never ends."""

    def __init__(self, proxy, port):
        self.proxy, self.port = proxy, port
        self.account = Account()

    def tunnel(self, host=HOST):
        return socks5_tunnel(self.proxy, host, self.port)

    def ask(self, sock, method, path, fields=""):
        sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: origin\r\n"
                     f"{fields}\r\n".encode())

    def expect(self, sock, n, at, name):
        """n bytes of the pattern, which are counted as they come."""
        status, _ = http_head(sock)
        assert status == 200, status
        data, got = memoryview(pattern(n, at)), 0
        while got < n:
            part = sock.recv(SLICE)
            assert part, f"the end after {got} of {n} bytes"
            assert data[got:got + len(part)] == part, "other bytes"
            got += len(part)
            self.account.count(name, len(part))

    def down(self):
        with self.tunnel() as sock:
            self.ask(sock, "GET", f"/bytes/{OBJECT}/0")
            self.expect(sock, OBJECT, 0, "down")

    def up(self):
        data = memoryview(pattern(OBJECT, 0))
        with self.tunnel() as sock:
            self.ask(sock, "POST", f"/hash/{OBJECT}/0",
                     f"Content-Length: {OBJECT}\r\n")
            for at in range(0, OBJECT, SLICE):
                sock.sendall(data[at:at + SLICE])
                self.account.count("up", len(data[at:at + SLICE]))
            status, _ = http_head(sock)
            assert status == 200, status
            digest = hashlib.sha256(data).hexdigest().encode()
            assert receive(sock, len(digest)) == digest, "another hash"

    def fresh(self):
        """A tunnel by address, and one by name."""
        for host in (HOST, NAME):
            began = time.monotonic()
            with self.tunnel(host) as sock:
                self.ask(sock, "GET", f"/bytes/{SMALL}/7")
                self.expect(sock, SMALL, 7, "fresh")
            self.account.took("fresh", time.monotonic() - began)
            time.sleep(PAUSE)

    def words(self):
        """One tunnel for all of the time."""
        with self.tunnel() as sock:
            self.ask(sock, "GET", "/echo/0/0")
            for at in range(1 << 30):
                word = BLOCK[at % 1000:at % 1000 + 64]
                began = time.monotonic()
                sock.sendall(word)
                assert receive(sock, len(word)) == word, "another echo"
                self.account.took("word", time.monotonic() - began)
                time.sleep(PAUSE)

    def work(self, job):
        while True:
            try:
                job()
            except Exception as error:
                self.account.failed(job.__name__, error)
                time.sleep(RETRY)

    def start(self):
        for job in (self.down, self.up, self.fresh, self.words):
            threading.Thread(target=self.work, args=(job,),
                             daemon=True).start()


def main():
    honest = Honest(*map(int, sys.argv[1:]))
    with connect(honest.proxy):
        honest.start()
    for _ in sys.stdin:
        print(json.dumps(honest.account.read()), flush=True)


if __name__ == "__main__":
    main()
