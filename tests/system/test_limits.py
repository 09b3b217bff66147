"""Limits: the effect of each, status shows it, and others go on."""

import contextlib
import re
import resource
import select
import signal
import socket
import threading
from pathlib import Path

import pytest

from client import (GENERAL_FAILURE, SUCCEEDED, USER, connect, http_connect,
                    http_head, outlives, receive, receive_all, socks5_connect,
                    socks5_greet, socks5_reply, socks5_request, socks5_tunnel,
                    works)
from daemon import SAN, wait_until
from messages import LISTENING, TUNNEL_IDLE
from origin import expect_pattern, hold, pattern, send_pattern
from test_reload import reload

MIB = 1 << 20

# Readers that stop, and what all their tunnels may take: all that is shared
# and the first window of each, of 64 KiB, fit in three quarters of it.
STOPPED = 100 if SAN else 200
MEMORY = (32 if SAN else 64) * MIB

# What a process may grow by besides: sockets, structs, the chunks kept warm.
# 9 KiB for each tunnel, measured; and some to spare.
BESIDES = 24 * MIB

RUNNING = 50
EACH = (2 if SAN else 8) * MIB


def limit(culvert, name):
    return culvert.status()["limits"][name]


def limited(start_culvert, edge, **limits):
    flags = [text for name, value in limits.items()
             for text in ("--" + name.replace("_", "-"), str(value))]
    return start_culvert(edge, *flags)


@contextlib.contextmanager
def held(culvert, origin, n):
    """n tunnels that carry nothing."""
    server = origin(hold)
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(
            socks5_tunnel(culvert.port, "127.0.0.1", server.port))
            for _ in range(n)]


# ---- Clients at once ----

def test_status(culvert, origin):
    with held(culvert, origin, 3):
        limits = culvert.status()["limits"]
    assert limits["clients_max"] == {"use": 3, "max": 65536, "hits": 0}
    assert limits["clients_per_source"] == {"use": 3, "max": 16384, "hits": 0}
    assert limits["clients_per_listener"] == {"use": 3, "max": None,
                                              "hits": 0}
    assert limits["memory_max"]["max"] == 256 * MIB
    assert limits["head_timeout"] == {"use": None, "max": 15, "hits": 0}
    assert limits["tunnel_timeout"]["max"] is None


@pytest.mark.parametrize("name", ["clients_max", "clients_per_listener"])
def test_clients_wait(start_culvert, edge, origin, name):
    """No client is refused: each is served as soon as another has ended."""
    culvert = limited(start_culvert, edge, **{name: 3})
    socks = [connect(culvert.port) for _ in range(9)]
    for sock in socks:
        sock.sendall(b"\5\1\0")
    culvert.wait_for("no clients are accepted: too many clients")
    for sock in socks[:3]:
        assert receive(sock, 2) == b"\5\0"
    assert not select.select(socks[3:], [], [], 0)[0]
    assert limit(culvert, name)["use"] == 3
    for sock in socks:
        sock.close()
    works(culvert, origin())
    assert limit(culvert, name)["hits"] > 0


def test_limits_are_reloaded(start, edge, ca, origin, tmp_path):
    path = tmp_path / "culvert.conf"
    text = (f"[proxy]\nlisten = 127.0.0.1:0\n"
            f"[edge]\nedge = 127.0.0.1:{edge.port}\nca = {ca.root.cert}\n"
            "[limits]\nclients-max = {}\nmemory-max = {}\n")
    path.write_text(text.format(1, "16M"))
    culvert = start("culvert", "-f", path)
    with held(culvert, origin, 1), connect(culvert.port) as second:
        second.sendall(b"\5\1\0")
        culvert.wait_for("no clients are accepted: too many clients")
        path.write_text(text.format(2, "32M"))
        reload(culvert)
        assert receive(second, 2) == b"\5\0"
        limits = culvert.status()["limits"]
        assert limits["clients_max"]["max"] == 2
        assert limits["memory_max"]["max"] == 32 * MIB


def test_listeners_are_apart(start_culvert, edge, origin):
    """One that is full leaves the other one open."""
    culvert = start_culvert(edge, "-l", "127.0.0.1:0",
                            "--clients-per-listener", "2")
    other = int(culvert.wait_for(LISTENING, 2)[1])
    with held(culvert, origin, 2), connect(culvert.port) as third:
        third.sendall(b"\5\1\0")
        culvert.wait_for("no clients are accepted: too many clients")
        with connect(other) as sock:
            assert socks5_greet(sock)
        assert not select.select([third], [], [], 0)[0]


def test_too_many_of_one_source(start_culvert, edge, origin):
    """Each gets a reply in its protocol; others are served."""
    culvert = limited(start_culvert, edge, clients_per_source=3)
    server = origin()
    with held(culvert, origin, 3) as socks:
        sock, code = socks5_connect(culvert.port, "127.0.0.1", server.port)
        assert code == GENERAL_FAILURE
        assert sock.recv(1) == b""
        sock.close()
        sock, status, _ = http_connect(culvert.port, "127.0.0.1", server.port)
        assert status == 503
        assert "too many connections" in receive_all(sock).decode()
        sock.close()
        with connect(culvert.port) as sock:
            sock.sendall(f"GET http://127.0.0.1:{server.port}/ HTTP/1.1\r\n"
                         "Host: x\r\n\r\n".encode())
            assert http_head(sock)[0] == 503
        with socket.create_connection(("127.0.0.1", culvert.port),
                                      source_address=("127.0.0.2", 0)) as sock:
            assert socks5_greet(sock)
            sock.sendall(socks5_request("127.0.0.1", server.port))
            assert socks5_reply(sock) == SUCCEEDED
        assert limit(culvert, "clients_per_source")["hits"] == 3
        socks[0].close()
        culvert.wait_status(lambda s: s["clients"]["open"] <= 2,
                            "one has gone")
        socks5_tunnel(culvert.port, "127.0.0.1", server.port).close()
    assert culvert.log.count("too many connections from this address") == 3


def test_no_password_is_checked_of_too_many(start_culvert, edge, origin,
                                            users):
    culvert = start_culvert(edge, "--clients-per-source", "1",
                            "--listen-users", users)
    server = origin()
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port, USER):
        sock, code = socks5_connect(culvert.port, "127.0.0.1", server.port,
                                    (USER[0], "whatever"))
        assert code == GENERAL_FAILURE
        sock.close()
        sock, status, _ = http_connect(culvert.port, "127.0.0.1", server.port)
        assert status == 503
        sock.close()


@pytest.mark.parametrize("program", ["culvert", "culvert-edge"])
def test_descriptors_are_raised(start_culvert, start_edge, program):
    """As far as the system goes, and no test of the daemon's own."""
    def low():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 3000))

    if program == "culvert-edge":
        daemon = start_edge(preexec=low)
    else:
        daemon = start_culvert(start_edge(), preexec=low)
        descriptors = limit(daemon, "descriptors")
        assert descriptors["max"] == 3000
        assert 3 < descriptors["use"] < 64
    limits = Path(f"/proc/{daemon.pid}/limits").read_text()
    assert re.search(r"^Max open files +3000 +3000 ", limits, re.M)


# ---- Heads and times ----

def test_head_max(start_culvert, edge, origin):
    culvert = limited(start_culvert, edge, head_max=4096)
    server = origin()
    start = f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\nHost: x\r\nX: "
    end = "\r\n\r\n"
    for size, status in ((4096, 200), (4097, 431), (20000, 431)):
        head = start + "y" * (size - len(start) - len(end)) + end
        assert len(head) == size
        with connect(culvert.port) as sock:
            sock.sendall(head.encode())
            assert http_head(sock)[0] == status
    assert limit(culvert, "head_max")["hits"] == 2


def ended(sock):
    """Reads to the end, however it comes."""
    with contextlib.suppress(ConnectionResetError):
        while sock.recv(4096):
            pass


def test_times_of_a_request(start_culvert, edge, origin):
    culvert = limited(start_culvert, edge, head_timeout=1, idle_timeout=1)
    for start in (b"", b"\5"):
        with connect(culvert.port) as sock:
            sock.sendall(start)
            ended(sock)
    # SOCKS has no code for it.
    culvert.wait_for("by socks5: .* not complete in time")
    with connect(culvert.port) as sock:
        sock.sendall(b"GET http://x/ HTTP/1.1\r\n") # typed by hand
        answer = receive_all(sock).decode()
    assert answer.startswith("HTTP/1.1 408 ")
    assert "was not complete within 1 seconds" in answer
    limits = culvert.status()["limits"]
    assert limits["idle_timeout"]["hits"] == 1
    assert limits["head_timeout"]["hits"] == 2
    with held(culvert, origin, 1) as (tunnel,):
        with connect(culvert.port) as sock:
            ended(sock)
        assert not select.select([tunnel], [], [], 0)[0]


def test_connect_timeout(start_culvert):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        culvert = start_culvert(nobody.getsockname()[1], "--connect-timeout",
                                "1", wait=False)
        sock, status, _ = http_connect(culvert.port, "127.0.0.1", 80)
        assert status == 504
        assert "does not answer" in receive_all(sock).decode()
        sock.close()


def test_tunnel_timeout(start_culvert, edge, origin):
    """An idle tunnel is reset at both ends, and a busy one is not."""
    culvert = limited(start_culvert, edge, tunnel_timeout=1)
    seen = []

    def watch(sock):
        try:
            seen.append(sock.recv(1))
        except ConnectionResetError as error:
            seen.append(error)

    server, echo = origin(watch), origin()
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as idle, \
            socks5_tunnel(culvert.port, "127.0.0.1", echo.port) as busy:
        outlives(busy, idle)
    wait_until(lambda: seen, "the origin is told")
    assert isinstance(seen[0], ConnectionResetError)
    assert limit(culvert, "tunnel_timeout")["hits"] == 1
    culvert.wait_for(TUNNEL_IDLE)


# ---- Memory, and isolation ----

def narrow(proxy, port):
    """A tunnel whose client's kernel takes little."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(60)
    sock.connect(("127.0.0.1", proxy))
    sock.sendall(b"\5\1\0" + socks5_request("127.0.0.1", port))
    return sock


def flood(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    send_pattern(sock, 1 << 40)


def edge_memory(edge):
    """KiB in use and at most, and aborted tunnels, by SIGUSR1."""
    said = edge.log.count(" memory: ")
    edge.process.send_signal(signal.SIGUSR1)
    line = edge.wait_for(r" memory: (\d+) of (\d+) KiB; (\d+) tunnels",
                         said + 1)
    return [int(number) for number in line.groups()]


def wait_until_full(culvert, edge):
    """Until nothing moves any more, and much is held at both ends."""
    wait_until(lambda: limit(culvert, "memory_max")["use"] > STOPPED * 16384
               and edge_memory(edge)[0] > STOPPED * 16, "readers have stopped")
    last = [None]

    def same():
        now = (culvert.status()["packets"]["received"] // 100, edge.rss())
        last[0], before = now, last[0]
        return now == before

    for _ in range(3):
        wait_until(same, "all of them are full")


def test_memory_of_stopped_readers(start_culvert, start_edge, origin):
    """Endless data that is not read: both daemons stay within bounds."""
    flags = ("--memory-max", MEMORY)
    edge = start_edge(*flags)
    culvert = start_culvert(edge, *flags)
    endless = origin(flood)
    server = origin(lambda sock: send_pattern(sock, EACH))
    level = {d: d.rss() for d in (culvert, edge)}
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(narrow(culvert.port, endless.port))
                 for _ in range(STOPPED)]
        for sock in socks:
            assert receive(sock, 2) == b"\5\0"
            assert socks5_reply(sock) == SUCCEEDED
        wait_until_full(culvert, edge)
        memory = limit(culvert, "memory_max")
        assert memory["use"] <= memory["max"] and memory["hits"] == 0
        held, most, aborted = edge_memory(edge)
        assert held <= most == MEMORY // 1024 and aborted == 0
        for daemon, rss in level.items():
            if not SAN:
                assert daemon.rss() - rss < MEMORY + BESIDES, daemon.program
        with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
            expect_pattern(sock, EACH)
        for sock in socks[::STOPPED // 20]:
            assert receive(sock, MIB) == pattern(MIB)
    culvert.wait_idle()
    culvert.wait_status(
        lambda s: s["limits"]["memory_max"]["use"] < MIB,
        "all memory is free but for that of the connection")


def test_memory_of_stopped_origins(start_culvert, start_edge, origin):
    """The same upwards: clients send, and no origin reads."""
    flags = ("--memory-max", MEMORY)
    edge = start_edge(*flags)
    culvert = start_culvert(edge, *flags)
    release = threading.Event()

    def stopped(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        release.wait()

    deaf, server = origin(stopped), origin()
    block = pattern(MIB)
    with contextlib.ExitStack() as stack:
        stack.callback(release.set)
        socks = [stack.enter_context(socks5_tunnel(
            culvert.port, "127.0.0.1", deaf.port))
            for _ in range(STOPPED // 4)]
        for sock in socks:
            sock.setblocking(False)
        waiting = set(socks)
        while waiting:
            # A socket that has accepted nothing for a while is full.
            ready = select.select([], list(waiting), [], 0.5)[1]
            for sock in ready:
                with contextlib.suppress(BlockingIOError):
                    sock.send(block)
            if not ready:
                break
        memory = limit(culvert, "memory_max")
        assert STOPPED // 4 * 16384 < memory["use"] <= memory["max"]
        works(culvert, server)
    culvert.wait_idle()


def download(proxy, port, errors):
    try:
        with socks5_tunnel(proxy, "127.0.0.1", port) as sock:
            expect_pattern(sock, EACH)
    except (OSError, EOFError, AssertionError) as error:
        errors.append(error)


def slow_clients(proxy, port):
    """Clients that stop at one point or another, and stay."""
    head = f"Host: 127.0.0.1:{port}\r\n"
    url = f"http://127.0.0.1:{port}"
    requests = {
        "in a greeting": b"\5\2\0",
        "in a head": f"GET {url}/ HTTP/1.1\r\n{head}X".encode(),
        "in a body": f"POST {url}/ HTTP/1.1\r\n{head}"
                     "Content-Length: 10000000\r\n\r\nbegin".encode(),
        "in a response":
            f"GET {url}/bytes/1000000000 HTTP/1.1\r\n{head}\r\n".encode(),
    }
    for request in requests.values():
        sock = connect(proxy)
        sock.sendall(request)
        yield sock


def test_stopped_ones_stop_nobody(culvert, origin, http_origin):
    """Fifty tunnels run beside those whose clients have stopped."""
    endless = origin(lambda sock: send_pattern(sock, 1 << 40))
    server = origin(lambda sock: send_pattern(sock, EACH))
    web = http_origin()
    errors = []
    with contextlib.ExitStack() as stack:
        stopped = stack.enter_context(
            socks5_tunnel(culvert.port, "127.0.0.1", endless.port))
        receive(stopped, 16 * MIB) # its windows are large now
        for sock in slow_clients(culvert.port, web.port):
            stack.enter_context(sock)
        threads = [threading.Thread(target=download, args=(
            culvert.port, server.port, errors)) for _ in range(RUNNING)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert receive(stopped, MIB) == pattern(MIB, 16 * MIB)
