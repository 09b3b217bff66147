"""TCP peers that are gone are noticed, in every state; those that live stay."""

import base64
import contextlib
import socket
import threading

import pytest

from client import (USER, connect, http_head, outlives, receive, receive_all,
                    reset, socks5_greet, socks5_request)
from daemon import FULL, wait_until
from messages import CONNECTED, TUNNEL_IDLE
from origin import expect_pattern, send_pattern
from test_isolation import report
from test_reset import http, request_head, socks

# Seconds; the kernel's own patience is hours, or a quarter of one.
KEEPALIVE = 2

# Bytes that fill every buffer of the path.
MUCH = 30_000_000


def no_tunnel(edge):
    wait_until(lambda: report(edge).startswith("tunnels: 0 of"),
               "no tunnel at the edge")


def states(culvert):
    return [t["state"] for t in culvert.ctl("tunnels")["tunnels"]]


def no_client(culvert):
    """Sooner than Daemon.wait_idle(), since streams may wait for the edge."""
    wait_until(lambda: not states(culvert), "no client")


BASIC = base64.b64encode(":".join(USER).encode()).decode()


def get(server):
    return (f"GET http://127.0.0.1:{server.port}/ HTTP/1.1\r\nHost: x\r\n"
            f"Proxy-Authorization: Basic {BASIC}\r\n\r\n").encode()


class Quiet:
    """Origins that read and send nothing, until the end."""

    def __init__(self):
        self.received, self.over = [], threading.Event()

    def __call__(self, sock):
        self.received.append(sock.recv(1))
        self.over.wait(300)


@pytest.fixture
def quiet():
    handler = Quiet()
    yield handler
    handler.over.set()


def start_sending(sock):
    """Sends until nothing more is taken."""
    def send():
        with contextlib.suppress(OSError):
            send_pattern(sock, MUCH)

    threading.Thread(target=send, daemon=True).start()


# ---- By RST ----

@pytest.mark.parametrize("tunnel", [socks, http])
def test_half_closed_client_resets(edge, culvert, origin, quiet, tunnel):
    server = origin(quiet)
    sock = tunnel(culvert, server)
    sock.sendall(b"x")
    sock.shutdown(socket.SHUT_WR)
    wait_until(lambda: quiet.received, "the origin receives it")
    reset(sock)
    culvert.wait_idle()
    no_tunnel(edge)


def test_half_closed_origin_resets(edge, culvert, origin):
    gone = threading.Event()

    def serve(sock):
        sock.shutdown(socket.SHUT_WR)
        gone.wait(60)
        reset(sock)

    server = origin(serve)
    with socks(culvert, server) as sock:
        assert sock.recv(1) == b""
        gone.set()
        no_tunnel(edge)
    culvert.wait_idle()


@pytest.mark.parametrize("half_closed", [False, True])
def test_exchange_client_resets(edge, culvert, origin, quiet, half_closed):
    server = origin(quiet)
    sock = connect(culvert.port)
    sock.sendall(get(server))
    wait_until(lambda: quiet.received, "the origin receives it")
    if half_closed:
        sock.shutdown(socket.SHUT_WR)
    reset(sock)
    culvert.wait_idle()
    no_tunnel(edge)


def test_pipelining_client_resets(culvert, origin, quiet):
    """Its next request is here, and nothing more is read."""
    server = origin(quiet)
    sock = connect(culvert.port)
    sock.sendall(get(server))
    wait_until(lambda: quiet.received, "the origin receives it")
    sock.sendall(get(server))
    wait_until(lambda: states(culvert) == ["open"], "an exchange")
    reset(sock)
    culvert.wait_idle()


def test_waiting_client_resets(start_edge, start_culvert, origin):
    edge = start_edge("--grace", 1)
    culvert = start_culvert(edge, "--connect-timeout", 3600)
    server = origin()
    with edge.halted():
        sock = connect(culvert.port)
        assert socks5_greet(sock)
        sock.sendall(socks5_request("127.0.0.1", server.port))
        sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: states(culvert) == ["waiting"], "it waits")
        reset(sock)
        no_client(culvert)


# ---- Peers that vanish ----

class Cable:
    """The daemons at the near place, clients and origins at the far one."""

    near, far = "10.99.1.1", "10.99.1.2"

    def __init__(self, places, start, ca, users):
        self.places = places
        self.line = places.line("cable", 1)
        limit = ("--keepalive-timeout", KEEPALIVE, "--grace", 1)
        self.edge = start(
            "culvert-edge", "-v", "-l", "127.0.0.1:0", "--open", "--cert",
            ca.good.cert, "--key", ca.good.key, "--allow", "10.99.0.0/16",
            "--allow", "127.0.0.0/8", *limit, preexec=places.near.enter)
        self.culvert = start(
            "culvert", "-v", "-l", f"{self.near}:0", "-e",
            f"127.0.0.1:{self.edge.port}", "--pin", ca.good.pin(),
            "--connect-timeout", 3600, "--listen-users", users, *limit,
            preexec=places.near.enter)
        self.culvert.wait_for(CONNECTED)

    def client(self):
        return self.places.far.inside(connect, self.culvert.port, self.near)

    def tunnel(self, server, host):
        return self.places.far.inside(self.socks, host, server.port)

    def near_tunnel(self, server):
        """A tunnel whose client is near, and its origin far."""
        return self.places.near.inside(self.socks, self.far, server.port)

    def socks(self, host, port):
        sock = connect(self.culvert.port, self.near)
        assert socks5_greet(sock, USER)
        sock.sendall(socks5_request(host, port))
        receive(sock, 10)
        return sock

    def pull(self):
        self.places.far.ip("link", "set", "cable", "down")


@pytest.fixture
def cable(places, start, ca, users):
    return Cable(places, start, ca, users)


def near_origin(cable, origin, handler):
    return cable.places.near.inside(origin, handler)


def test_clients_vanish(cable, origin, quiet):
    """Idle, half-closed, in an exchange, with data under way or waiting to be
    read: all at once, since each takes its time."""
    silent = near_origin(cable, origin, quiet)
    giving = near_origin(cable, origin, lambda sock: send_pattern(sock, MUCH))
    socks = [cable.tunnel(server, "127.0.0.1")
             for server in (silent, silent, giving, giving)]
    idle, half_closed, reading, paused = socks
    half_closed.sendall(b"x")
    half_closed.shutdown(socket.SHUT_WR)
    expect_pattern(reading, 1_000_000)
    for half in (False, True):
        socks.append(cable.client())
        socks[-1].sendall(get(silent))
        if half:
            socks[-1].shutdown(socket.SHUT_WR)
    wait_until(lambda: len(quiet.received) == 3, "the origin receives them")
    assert states(cable.culvert) == 6 * ["open"]
    cable.pull()
    no_client(cable.culvert)
    cable.culvert.wait_idle()
    no_tunnel(cable.edge)


@pytest.mark.skipif(not FULL, reason="takes half a minute: system-full")
def test_blocked_client_vanishes(cable, origin, quiet):
    """The origin reads nothing, and so the client is not read."""
    sock = cable.tunnel(near_origin(cable, origin, quiet), "127.0.0.1")
    start_sending(sock)
    wait_until(lambda: quiet.received, "the origin receives it")
    cable.pull()
    cable.culvert.wait_idle()
    no_tunnel(cable.edge)


def test_waiting_client_vanishes(cable, origin):
    server = near_origin(cable, origin, receive_all)
    with cable.edge.halted():
        sock = cable.client()
        assert socks5_greet(sock, USER)
        sock.sendall(socks5_request("127.0.0.1", server.port))
        sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: states(cable.culvert) == ["waiting"], "it waits")
        cable.pull()
        no_client(cable.culvert)


def far_origin(cable, origin, handler):
    return cable.places.far.inside(origin, handler, host="0.0.0.0")


def test_origins_vanish(cable, origin, quiet):
    """Idle, after FIN, and with data under way."""
    def half_close(sock):
        sock.shutdown(socket.SHUT_WR)
        quiet(sock)

    def take(sock):
        while sock.recv(1 << 16):
            pass

    idle, half_closed, taking = (
        cable.near_tunnel(far_origin(cable, origin, handler))
        for handler in (quiet, half_close, take))
    with idle, half_closed, taking:
        assert half_closed.recv(1) == b""
        idle.sendall(b"x")
        half_closed.sendall(b"x")
        wait_until(lambda: len(quiet.received) == 2, "the origins receive it")
        start_sending(taking)
        wait_until(lambda: cable.culvert.status()["bytes"]["up"] > 100_000,
                   "bytes on their way")
        cable.pull()
        no_tunnel(cable.edge)
        cable.culvert.wait_idle()


# ---- Those that live ----

def age(culvert):
    return min(t["age_s"] for t in culvert.ctl("tunnels")["tunnels"])


def test_living_peers_stay(start_edge, start_culvert, origin):
    """Half-closed, idle, and with its window closed: much longer than it
    takes to give up on one that is gone."""
    limit = ("--keepalive-timeout", 1)
    edge = start_edge(*limit)
    culvert = start_culvert(edge, *limit)
    go_on = threading.Event()

    def serve(sock):
        data = receive_all(sock)
        go_on.wait(60)
        sock.sendall(data)

    slow = origin(lambda sock: send_pattern(sock, MUCH))
    late, idle = origin(serve), origin()
    with socks(culvert, slow) as paused, socks(culvert, late) as half, \
            socks(culvert, idle) as quiet_one, \
            connect(culvert.port) as exchange:
        half.sendall(b"half")
        half.shutdown(socket.SHUT_WR)
        http_late = origin(lambda sock: (
            request_head(sock), go_on.wait(60), sock.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")))
        exchange.sendall(get(http_late))
        exchange.shutdown(socket.SHUT_WR)
        wait_until(lambda: age(culvert) > 8, "8 s")
        go_on.set()
        expect_pattern(paused, MUCH)
        assert receive_all(half) == b"half"
        quiet_one.sendall(b"ping")
        assert receive(quiet_one, 4) == b"ping"
        assert http_head(exchange)[0] == 200
        assert receive_all(exchange) == b"late"


# ---- The tunnel-timeout ----

def test_exchange_times_out(start_culvert, edge, origin, quiet):
    """It is answered if that can be, and the one at fault is named."""
    culvert = start_culvert(edge, "--tunnel-timeout", 1)
    server = origin(quiet)
    with connect(culvert.port) as sock:
        sock.sendall(get(server))
        assert http_head(sock)[0] == 504
        assert b"tunnel-timeout" in receive_all(sock)
    with connect(culvert.port) as sock:
        sock.sendall(f"POST http://127.0.0.1:{server.port}/ HTTP/1.1\r\n"
                     "Host: x\r\nContent-Length: 10\r\n\r\nhalf".encode())
        assert http_head(sock)[0] == 408
        assert b"tunnel-timeout" in receive_all(sock)
    culvert.wait_idle()
    assert culvert.status()["limits"]["tunnel_timeout"]["hits"] == 2
    no_tunnel(edge)


def test_answer_times_out(start_culvert, edge, origin, quiet):
    culvert = start_culvert(edge, "--tunnel-timeout", 1)

    def serve(sock):
        request_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        quiet(sock)

    with connect(culvert.port) as sock:
        sock.sendall(get(origin(serve)))
        assert http_head(sock)[0] == 200
        assert receive(sock, 4) == b"half"
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    culvert.wait_idle()


def test_edge_times_out(start_edge, start_culvert, origin):
    """An idle tunnel ends, and a busy one does not."""
    edge = start_edge("--tunnel-timeout", 1)
    culvert = start_culvert(edge)
    server = origin()
    with socks(culvert, server) as idle, socks(culvert, server) as busy:
        outlives(busy, idle)
    edge.wait_for(TUNNEL_IDLE)
