"""The clients of the soak: a browser's kind of traffic, and bad company.

Each visitor is a thread that does one job after another, as its own generator
of random numbers says.  A job ends well, or by a reset or a refusal, for which
there must have been a reason; all else is a failure.
"""

import collections
import contextlib
import errno
import hashlib
import math
import random
import select
import socket
import threading
import time

from client import (CONNECTION_REFUSED, NOT_ALLOWED, SUCCEEDED, connect,
                    http_connect, http_head, receive, receive_all, reset,
                    socks5_connect)
from origin import expect_pattern, pattern, send_pattern

HOST = "127.0.0.1"
FORBIDDEN = "10.0.0.1"  # no rule of the edge allows it

SMALLEST, LARGEST = 1000, 5000000  # bytes of an object
VISITORS = 16
THINK = 0.05  # seconds between two jobs, on average

# How a client notices that a tunnel was cut, by what it does then.
CUT = (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)

# The first bytes of a TLS handshake, which the receiver does not expect.
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)


class Refused(Exception):
    """The proxy refused the tunnel."""


# ---- Ways into a tunnel ----

def by_socks5(proxy, port, host=HOST):
    sock, code = socks5_connect(proxy, host, port)
    if code != SUCCEEDED:
        sock.close()
        raise Refused(code)
    return sock


def by_name(proxy, port):
    return by_socks5(proxy, port, "localhost")


def by_socks4a(proxy, port):
    sock = connect(proxy)
    sock.sendall(b"\4\1" + port.to_bytes(2, "big") + b"\0\0\0\1me\0"
                 b"localhost\0")
    if receive(sock, 8)[1] != 0x5a:
        sock.close()
        raise Refused("SOCKS4a")
    return sock


def by_connect(proxy, port):
    sock, status, _ = http_connect(proxy, HOST, port)
    if status != 200:
        sock.close()
        raise Refused(status)
    return sock


WAYS = (by_socks5, by_name, by_socks4a, by_connect)


# ---- Requests ----

def ask(sock, kind, n, at, host=""):
    method = "POST" if kind in ("hash", "fickle") else "GET"
    length = f"Content-Length: {n}\r\n" if method == "POST" else ""
    sock.sendall(f"{method} {host}/{kind}/{n}/{at} HTTP/1.1\r\n"
                 f"Host: {host.removeprefix('http://') or 'origin'}\r\n"
                 f"{length}\r\n".encode())


def head_of(sock):
    status, head = http_head(sock)
    if status != 200:
        raise Refused(status)
    return head.lower()


def read_line(sock):
    line = bytearray()
    while not line.endswith(b"\r\n"):
        line += receive(sock, 1)
    return bytes(line[:-2])


def expect_chunked(sock, n, at):
    """The chunks may be others than the origin's."""
    got = 0
    while size := int(read_line(sock), 16):
        expect_pattern(sock, size, at + got)
        assert read_line(sock) == b"", "a chunk is too long"
        got += size
    assert got == n, f"the last chunk after {got} of {n} bytes"
    assert read_line(sock) == b"", "trailers that nobody has sent"


def expect_end(sock):
    assert not sock.recv(1), "more bytes than there are"


def expect_answer(sock, kind, n, at):
    """The response to a request."""
    head = head_of(sock)
    if kind == "hash":
        digest = hashlib.sha256(pattern(n, at)).hexdigest().encode()
        assert receive(sock, len(digest)) == digest, "another hash"
    elif "transfer-encoding: chunked" in head:
        expect_chunked(sock, n, at)
    else:
        expect_pattern(sock, n, at)
        if "content-length:" not in head:
            expect_end(sock)


def fetch(sock, kind, n, at, host=""):
    """A request with its body, and the response."""
    ask(sock, kind, n, at, host)
    if kind == "hash":
        send_pattern(sock, n, at)
    expect_answer(sock, kind, n, at)


class Visitor:
    """One client; `world` is the proxy, its origin, and the faults."""

    def __init__(self, world, name, seed):
        self.world, self.name = world, name
        self.chance = random.Random(f"{seed} {name}")
        self.over = threading.Event()
        self.counts = collections.Counter()
        self.bytes = 0

    def pause(self, seconds):
        self.over.wait(seconds)

    def size(self, largest=LARGEST):
        """Most objects are small, and a few are large."""
        n = round(math.exp(self.chance.uniform(math.log(SMALLEST),
                                               math.log(largest))))
        self.bytes += n
        return n

    def at(self):
        return self.chance.randrange(1 << 20)

    def tunnel(self):
        way = self.chance.choice(WAYS)
        return way(self.world.proxy, self.world.origin.port)

    def fetch(self, sock, kind, n, host=""):
        fetch(sock, kind, n, self.at(), host)

    # ---- Good company ----

    def page(self, parts=10, largest=LARGEST):
        """Many tunnels at once, each for an object."""
        with contextlib.ExitStack() as stack:
            asked = []
            for _ in range(self.chance.randint(2, parts)):
                sock = stack.enter_context(self.tunnel())
                n, at = self.size(largest), self.at()
                ask(sock, "bytes", n, at)
                asked.append((sock, n, at))
            for sock, n, at in asked:
                expect_answer(sock, "bytes", n, at)

    def crowd(self):
        self.page(24, 20000)

    def keep_alive(self):
        """One tunnel for many requests, with pauses."""
        with self.tunnel() as sock:
            for _ in range(self.chance.randint(1, 6)):
                kind = self.chance.choice(("bytes", "chunked", "hash"))
                self.fetch(sock, kind, self.size(500000))
                self.pause(self.chance.expovariate(4))

    def idle(self):
        with self.tunnel() as sock:
            self.pause(self.chance.uniform(1, 6))
            self.fetch(sock, "bytes", self.size(10000))

    def upload(self):
        with self.tunnel() as sock:
            self.fetch(sock, "hash", self.size())

    def until_close(self):
        with self.tunnel() as sock:
            self.fetch(sock, "close", self.size())

    def talk(self):
        """Short messages, each of which is answered before the next one."""
        with self.tunnel() as sock:
            ask(sock, "echo", 0, 0)
            for _ in range(self.chance.randint(5, 50)):
                word = self.chance.randbytes(self.chance.randint(1, 2000))
                sock.sendall(word)
                assert receive(sock, len(word)) == word, "another echo"
            sock.shutdown(socket.SHUT_WR)
            expect_end(sock)

    def both_ways(self):
        """Bytes that go out and come back at the same time."""
        n, at = self.size(), self.at()
        data, gone, back = memoryview(pattern(n, at)), 0, 0
        with self.tunnel() as sock:
            ask(sock, "echo", 0, 0)
            while back < n:
                wants = [sock] if gone < n else []
                ready = select.select([sock], wants, [], self.world.deadline)
                assert any(ready), "neither way goes on"
                if ready[1]:
                    gone += sock.send(data[gone:gone + 65536],
                                      socket.MSG_DONTWAIT)
                    if gone == n:
                        sock.shutdown(socket.SHUT_WR)
                if ready[0]:
                    part = sock.recv(65536)
                    assert part, f"the end after {back} of {n} bytes"
                    assert data[back:back + len(part)] == part, "other bytes"
                    back += len(part)
            expect_end(sock)

    def half_close(self):
        """The question ends before the answer begins."""
        n, at = self.size(), self.at()
        with self.tunnel() as sock:
            ask(sock, "back", n, at)
            send_pattern(sock, n, at)
            sock.shutdown(socket.SHUT_WR)
            expect_pattern(sock, n, at)
            expect_end(sock)

    def answer_first(self):
        """The origin ends before the client begins."""
        n, at = self.size(), self.at()
        with self.tunnel() as sock:
            ask(sock, "early", n, at)
            expect_pattern(sock, n, at)
            expect_end(sock)
            send_pattern(sock, n, at)

    def plain_http(self):
        """No tunnel: the request for the object goes to the proxy itself."""
        host = f"http://{HOST}:{self.world.origin.port}"
        with connect(self.world.proxy) as sock:
            for _ in range(self.chance.randint(1, 6)):
                kind = self.chance.choice(("bytes", "chunked", "hash"))
                self.fetch(sock, kind, self.size(500000), host)
            if self.chance.random() < 0.3:
                self.fetch(sock, "close", self.size(), host)

    # ---- Bad company ----

    def slow_reader(self):
        with self.tunnel() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            n, at, got = self.size(500000), self.at(), 0
            ask(sock, "bytes", n, at)
            head_of(sock)
            while got < n:
                part = min(self.chance.randint(1, 200000), n - got)
                expect_pattern(sock, part, at + got)
                got += part
                self.pause(self.chance.expovariate(5))

    def origin_resets(self):
        """A truncated transfer must not look whole."""
        n, at = self.size(), self.at()
        with self.tunnel() as sock:
            ask(sock, "reset", n, at)
            try:
                expect_answer(sock, "bytes", n, at)
            except ConnectionResetError:
                return
        raise AssertionError("no reset, but all of it")

    def nobody_there(self):
        """A closed port, and an address that is forbidden."""
        for host, port, code in ((HOST, self.world.closed_port,
                                  CONNECTION_REFUSED),
                                 (FORBIDDEN, 80, NOT_ALLOWED)):
            sock, answer = socks5_connect(self.world.proxy, host, port)
            sock.close()
            if answer != code:
                raise Refused(answer)

    def garbage(self):
        start = self.chance.choice((b"", b"\5", b"\4", b"GET ", b"CONNECT ",
                                    CLIENT_HELLO))
        data = start + self.chance.randbytes(self.chance.randint(1, 5000))
        with connect(self.world.proxy) as sock, \
                contextlib.suppress(ConnectionError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            receive_all(sock)

    def leave(self, sock, where):
        how = self.chance.choice(("RST", "FIN"))
        self.counts[f"client leaves by {how} {where}"] += 1
        if how == "RST":
            reset(sock)
        else:
            sock.close()

    def leave_at_the_door(self):
        """Gone before the tunnel is there."""
        port = self.world.origin.port
        question, where = self.chance.choice((
            (b"", "before a word"),
            (b"\5\2\0", "in its greeting"),
            (b"\5\1\0\5\1\0\1\x7f\0", "in its request"),
            (b"GET http://127.0.0.1/ HTT", "in its request"),
            (b"\4\1%b\x7f\0\0\1me\0" % port.to_bytes(2, "big"),
             "while it waits"),
            (b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % port,
             "while it waits")))
        sock = connect(self.world.proxy)
        sock.sendall(question)
        self.pause(self.chance.choice((0, 0.001, 0.05)))
        self.leave(sock, where)

    def leave_inside(self):
        """Gone with the tunnel in use."""
        kind, where = self.chance.choice((
            ("bytes", "in a download"), ("fickle", "in an upload"),
            ("echo", "half-closed"), ("echo", "idle")))
        n, at = self.size(), self.at()
        sock = self.tunnel()
        ask(sock, kind, n, at)
        if kind == "bytes":
            receive(sock, n // 3)
        elif kind == "fickle":
            send_pattern(sock, n // 3, at)
        elif where == "half-closed":
            sock.shutdown(socket.SHUT_WR)
        self.leave(sock, where)

    JOBS = {page: 10, crowd: 1, keep_alive: 8, idle: 3, upload: 5,
            until_close: 5, talk: 6, both_ways: 4, half_close: 4,
            answer_first: 3, plain_http: 8, slow_reader: 2, origin_resets: 2,
            nobody_there: 2, garbage: 4, leave_at_the_door: 10,
            leave_inside: 10}

    # ---- The visitor's life ----

    def do(self, job):
        """Does a job, and counts how it ended."""
        began = time.monotonic()
        try:
            job(self)
            outcome = "done"
        except Refused as error:
            outcome = "refused"
            self.world.excuse(job.__name__, began, error)
        except OSError as error:
            if error.errno not in CUT:
                raise
            outcome = "reset"
            self.world.excuse(job.__name__, began, error)
        self.counts[outcome] += 1

    def run(self):
        jobs, weights = zip(*self.JOBS.items())
        with self.world.watching(f"visitor {self.name}"):
            while not self.over.is_set():
                self.do(self.chance.choices(jobs, weights)[0])
                self.pause(self.chance.expovariate(1 / THINK))


class Traffic:
    """All visitors, from its entry to its exit."""

    def __init__(self, world, seed):
        self.world = world
        self.visitors = [Visitor(world, i, seed) for i in range(VISITORS)]

    def __enter__(self):
        self.threads = [threading.Thread(target=visitor.run, daemon=True)
                        for visitor in self.visitors]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_exc):
        for visitor in self.visitors:
            visitor.over.set()
        for thread in self.threads:
            thread.join(2 * self.world.deadline)
            if thread.is_alive():
                self.world.fail("a client is stuck")
