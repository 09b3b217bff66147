"""One client does not affect others: limits of an edge, and floods."""

import contextlib
import re
import resource
import selectors
import signal
import threading

import pytest

from client import (GENERAL_FAILURE, SUCCEEDED, USER, connect, http_connect,
                    receive, reset, socks5_connect, socks5_request,
                    socks5_tunnel, works)
from daemon import DEADLINE, SAN, wait_until
from messages import CONNECTED, REFUSES_CONNECTIONS
from names import NameServer
from origin import BLOCK, silent_port
from test_reload import OTHER, crypted, reload, renew


def report(edge):
    """The report that SIGUSR1 makes an edge log, from its first line on."""
    said = edge.log.count("connections: ")
    edge.process.send_signal(signal.SIGUSR1)
    edge.wait_for("connections: .*refused", said + 1)
    return edge.log[edge.log.rindex("tunnels: "):]


# ---- Limits ----

def test_tunnels_in_all(start, ca, start_culvert, origin, tmp_path):
    """Beyond it 503; when one has ended, or by a reload, there is room."""
    server = origin()
    path = tmp_path / "edge.conf"
    text = (f"[edge]\nlisten = 127.0.0.1:0\ncert = {ca.good.cert}\n"
            f"key = {ca.good.key}\nopen = yes\n[policy]\n"
            "allow = 127.0.0.0/8\n[limits]\ntunnels-max = ")
    path.write_text(text + "2\n")
    edge = start("culvert-edge", "-v", "-f", path)
    culvert = start_culvert(edge)

    def refused():
        sock, status, _ = http_connect(culvert.port, "127.0.0.1",
                                       server.port)
        sock.close()
        return status == 503

    first, _ = (socks5_tunnel(culvert.port, "127.0.0.1", server.port)
                for _ in range(2))
    assert refused() and refused()
    assert edge.log.count("tunnels are refused: tunnels-max is 2") == 1
    assert re.match(r"tunnels: 2 of 2; at most 2 of 10240 of one address: "
                    r"127\.0\.0\.1; 2 refused", report(edge))
    first.close()
    wait_until(lambda: report(edge).startswith("tunnels: 1 of 2"), "room")
    second = socks5_tunnel(culvert.port, "127.0.0.1", server.port)
    assert refused()
    renew(path, text + "3\n")
    reload(edge)
    works(culvert, server)
    second.close()


def test_tunnels_of_one_user(start_edge, start_culvert, origin, users):
    server = origin()
    renew(users, crypted(USER) + crypted(OTHER))
    edge = start_edge("--users", users, "--tunnels-per-user", 2)
    alice, again, bob = (start_culvert(edge, "--user", ":".join(user))
                         for user in (USER, USER, OTHER))
    tunnels = [socks5_tunnel(alice.port, "127.0.0.1", server.port)
               for _ in range(2)]
    # Wherever she comes from.
    for culvert in (alice, again):
        sock, code = socks5_connect(culvert.port, "127.0.0.1", server.port)
        assert code == GENERAL_FAILURE
        sock.close()
    edge.wait_for("tunnels-per-user is 2, reached by alice")
    works(bob, server)
    assert "at most 2 of 2 of one user: alice; 2 refused" in report(edge)
    for sock in tunnels:
        sock.close()
    wait_until(lambda: report(edge).startswith("tunnels: 0 "), "an end")
    works(again, server)


@pytest.mark.parametrize("files", [200, 56])
def test_files_of_one_user(start_edge, start_culvert, origin, users, files):
    """With few file descriptors, one user leaves some for the others."""
    server = origin()
    renew(users, crypted(USER) + crypted(OTHER))
    edge = start_edge("--users", users, preexec=lambda: resource.setrlimit(
        resource.RLIMIT_NOFILE, (files, files)))
    alice, bob = (start_culvert(edge, "--user", ":".join(user))
                  for user in (USER, OTHER))
    spare = files // 2 - edge.fds()
    with contextlib.ExitStack() as stack:
        codes = []
        for _ in range(files):
            sock, code = socks5_connect(alice.port, "127.0.0.1", server.port)
            stack.callback(sock.close)
            codes.append(code)
        assert codes.count(SUCCEEDED) >= spare * 3 // 4
        edge.wait_for(r"one user's share of the open files \(raise their "
                      r"hard limit\) is \d+, reached by alice")
        for _ in range(max(spare // 8, 1)):
            stack.enter_context(socks5_tunnel(bob.port, "127.0.0.1",
                                              server.port))
        # There are some for itself as well.
        reload(edge)
    wait_until(lambda: "tunnels: 0 of" in report(edge), "the end of all")
    works(alice, server)


def test_connections_of_one_source(start_edge, start_culvert, origin):
    server = origin()
    edge = start_edge("--source-connections", 1)
    first = start_culvert(edge)
    works(first, server)
    second = start_culvert(edge, wait=False)
    second.wait_for(REFUSES_CONNECTIONS)
    works(first, server)
    assert re.search("connections: 1, .* [1-9][0-9]* refused", report(edge))
    first.stop()
    works(second, server)


def test_idle_connections_make_room(start_edge, start_culvert, origin):
    """A connection without a request may be evicted."""
    server = origin()
    edge = start_edge("--source-connections", 1)
    first = start_culvert(edge)
    second = start_culvert(edge)
    first.wait_status(lambda s: s["state"] != "up", "the end of the idle one")
    assert "the edge closes idle connections to make room" in first.log
    assert "connection lost" not in first.log
    assert "WARN" not in first.log.upper()
    works(first, server)
    second.wait_status(lambda s: s["state"] != "up", "the end of the other")
    assert "2 closed to make room" in report(edge)
    assert first.log.count(CONNECTED) == 2


# ---- Floods ----

def ask(culvert, host, port):
    """A SOCKS client that has sent its request and waits."""
    sock = connect(culvert.port)
    sock.sendall(b"\5\1\0")
    assert receive(sock, 2) == b"\5\0"
    sock.sendall(socks5_request(host, port))
    return sock


@contextlib.contextmanager
def flood(culvert, host, port, n):
    """Clients with one target; `answered()` counts the replies."""
    with contextlib.ExitStack() as stack:
        poll = stack.enter_context(selectors.DefaultSelector())
        for _ in range(n):
            sock = ask(culvert, host, port)
            stack.callback(reset, sock)
            poll.register(sock, selectors.EVENT_READ)
        yield lambda: len(poll.select(0))


def few_files():
    """As many descriptors as a careless service manager gives."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))


def test_unreachable_origin(start_edge, start_culvert, origin):
    """A flood to one origin takes neither time nor descriptors of others."""
    server = origin()
    edge = start_edge("--connect-timeout", 3, preexec=few_files)
    culvert = start_culvert(edge)
    with silent_port() as port, \
            flood(culvert, "127.0.0.1", port, 600) as answered:
        wait_until(lambda: "for their turn: 344\n" in report(edge), "a queue")
        for _ in range(20):
            works(culvert, server)
        assert answered() == 0
        # Waiting dials and running ones end by their time-outs.
        wait_until(lambda: answered() == 600, "refusals")
    wait_until(lambda: report(edge).startswith("tunnels: 0 "), "an end")
    assert "for their turn: 0\n" in report(edge)


def opening(port):
    """How many handshakes with that port of loopback have no answer yet."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        return sum(line.split()[2].endswith(f":{port:04X}") and
                   line.split()[3] == "02" for line in table)


def test_many_names_of_one_address(start_edge, start_culvert, origin):
    """Many names of one host share its queue."""
    server = origin()
    names = NameServer()
    edge = start_edge("--resolver", f"127.0.0.1:{names.port}",
                      "--dials-per-origin", 16)
    culvert = start_culvert(edge, "--grace", 0)
    with silent_port() as port, contextlib.ExitStack() as stack:
        others = opening(port)
        for i in range(600):
            stack.callback(reset, ask(culvert, f"name{i}.fast", port))

        def dials():
            waiting = re.search(r"for their turn: (\d+)\n", report(edge))
            return opening(port) - others, int(waiting[1])

        wait_until(lambda: sum(dials()) == 600, "600 dials")
        assert dials() == (16, 584)
        for _ in range(20):
            works(culvert, server)
        works(culvert, server, "name.fast")
    names.close()


def test_slow_name(start_edge, start_culvert, origin):
    """Nor does a name whose servers are silent, whatever the port."""
    server = origin()
    names = NameServer()
    edge = start_edge("--resolver", f"127.0.0.1:{names.port}")
    culvert = start_culvert(edge, "--grace", 0)
    with flood(culvert, "one.slow", 80, 300) as one, \
            flood(culvert, "two.slow", 81, 300) as two, \
            flood(culvert, "two.slow", 82, 300) as three:
        wait_until(lambda: len(names.unanswered) == 2, "questions")
        for i in range(20):
            works(culvert, server, f"name{i}.fast")
            works(culvert, server)
        assert one() + two() + three() == 0
    names.close()


# ---- Readers that stop ----

class Stuffed:
    """An origin or a client's end that takes nothing, until it is full."""

    def __init__(self):
        self.full = threading.Event()
        self.over = threading.Event()

    def keep(self, _):
        """Takes nothing, and stays."""
        self.over.wait(DEADLINE)

    def send(self, sock):
        """Sends until nothing has gone for a second."""
        sock.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while True:
                sock.send(BLOCK)
        self.full.set()
        self.over.wait(DEADLINE)


def pour(sock):
    """Sends for ever."""
    while True:
        sock.sendall(BLOCK)


def drain(sock):
    """Receives for ever."""
    while sock.recv(1 << 18):
        pass


class Meter:
    """Moves bytes over many sockets and counts those of each group."""

    def __init__(self, upwards):
        self.upwards = upwards
        self.poll = selectors.DefaultSelector()
        self.bytes = [0, 0]

    def add(self, sock, group):
        sock.setblocking(False)
        event = selectors.EVENT_WRITE if self.upwards else \
            selectors.EVENT_READ
        self.poll.register(sock, event, group)

    def run(self, n):
        """Until n bytes have gone in all."""
        buffer = bytearray(1 << 18)
        until = sum(self.bytes) + n
        while sum(self.bytes) < until:
            for key, _ in self.poll.select():
                with contextlib.suppress(BlockingIOError):
                    self.bytes[key.data] += (
                        key.fileobj.send(buffer) if self.upwards
                        else key.fileobj.recv_into(buffer))


RUNNING = 50
TO_MOVE = (20 if SAN else 200) * 1000 * 1000


@pytest.mark.parametrize("upwards", [False, True], ids=["down", "up"])
def test_one_who_stops(start_edge, start_culvert, origin, upwards):
    """Fifty tunnels beside one that has stopped, and fifty on a connection of
    their own: both groups share machine and time, so they are equally fast.
    A stopped one that delayed the others would leave them nothing."""
    edge = start_edge()
    beside, alone = start_culvert(edge), start_culvert(edge)
    stuffed = Stuffed()
    far = origin(stuffed.keep if upwards else stuffed.send)
    server = origin(drain if upwards else pour)
    with contextlib.ExitStack() as stack:
        stack.callback(stuffed.over.set)
        stopped = stack.enter_context(
            socks5_tunnel(beside.port, "127.0.0.1", far.port))
        if upwards:
            threading.Thread(target=stuffed.send, args=(stopped,),
                             daemon=True).start()
        assert stuffed.full.wait(DEADLINE)
        meter = Meter(upwards)
        for _ in range(RUNNING):
            for group, culvert in enumerate((beside, alone)):
                meter.add(stack.enter_context(socks5_tunnel(
                    culvert.port, "127.0.0.1", server.port)), group)
        meter.run(TO_MOVE // 4)
        meter.bytes = [0, 0]
        meter.run(TO_MOVE)
        ratio = meter.bytes[0] / meter.bytes[1]
        print(f"beside one that stopped: {ratio:.2f} of the rate alone")
        assert ratio > 0.5
