"""Bytes through tunnels: all of them, in order, and how they end."""

import hashlib
import socket

import pytest

from client import (connect, expect_reset, receive, receive_all, reset,
                    socks5_reply, socks5_request, socks5_tunnel, SUCCEEDED)
from daemon import SAN, wait_until
from messages import ACCEPTED
from origin import (close_at_once, echo, expect_pattern, pattern,
                    send_pattern)

BIG = (256 if SAN else 1024) << 20

TUNNELS_AT_ONCE = 1000
TUNNELS_IN_TURN = 10000

# Bytes by which a daemon may have grown over TUNNELS_IN_TURN: a tenth of
# what it would be if each of them had left its struct behind.
GROWTH_MAX = 1 << 20


# ---- Much ----

def test_download(culvert, origin):
    server = origin(lambda sock: send_pattern(sock, BIG))
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        expect_pattern(sock, BIG)
        assert sock.recv(1) == b""


def test_upload(culvert, origin):
    def sink(sock):
        expect_pattern(sock, BIG)
        assert sock.recv(1) == b""
        sock.sendall(b"all of it")

    server = origin(sink)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        send_pattern(sock, BIG)
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock) == b"all of it"
    assert not server.errors


# ---- Many ----

def test_a_thousand_at_once(culvert, edge, origin):
    server = origin()
    socks = [connect(culvert.port) for _ in range(TUNNELS_AT_ONCE)]
    for sock in socks:
        sock.sendall(b"\5\1\0" + socks5_request("127.0.0.1", server.port))
    for sock in socks:
        assert receive(sock, 2) == b"\5\0"
        assert socks5_reply(sock) == SUCCEEDED
    for i, sock in enumerate(socks):
        sock.sendall(hashlib.sha256(b"%d" % i).digest() * 32)
    status = culvert.status()
    for i, sock in enumerate(socks):
        assert receive(sock, 1024) == hashlib.sha256(b"%d" % i).digest() * 32
        sock.close()
    assert status["tunnels"]["open"] == TUNNELS_AT_ONCE
    assert status["tunnels"]["failed"] == 0
    assert status["reconnects"] == 0
    assert edge.log.count(ACCEPTED) == 1


def open_and_close(proxy, port, n):
    request = b"\5\1\0" + socks5_request("127.0.0.1", port)
    for _ in range(n):
        with connect(proxy) as sock:
            sock.sendall(request)
            assert receive(sock, 12)[:4] == b"\5\0\5\0"
            assert sock.recv(1) == b""


def test_nothing_is_left_of_ten_thousand(culvert, edge, origin):
    server = origin(close_at_once)
    daemons = (culvert, edge)
    open_and_close(culvert.port, server.port, TUNNELS_IN_TURN // 5)
    culvert.wait_idle()
    level = [(d.fds(), d.rss()) for d in daemons]
    open_and_close(culvert.port, server.port, TUNNELS_IN_TURN)
    assert culvert.wait_idle()["tunnels"]["failed"] == 0
    for daemon, (fds, rss) in zip(daemons, level):
        if not SAN:
            assert daemon.rss() - rss < GROWTH_MAX, daemon.program
        if fds is not None:
            wait_until(lambda d=daemon, n=fds: d.fds() <= n,
                       "the descriptors are closed")
    if level[0][0] is None:
        pytest.skip("only root sees the descriptors of a daemon")


@pytest.mark.skipif(SAN, reason="sanitizers keep what was freed")
def test_memory_of_a_busy_hour_comes_back(culvert, edge, origin):
    server = origin(lambda sock: send_pattern(sock, 1 << 20))

    def fetch(n):
        socks = [socks5_tunnel(culvert.port, "127.0.0.1", server.port)
                 for _ in range(n)]
        for sock in socks:
            expect_pattern(sock, 1 << 20)
            sock.close()
        culvert.wait_idle()

    fetch(1)
    level = {daemon: daemon.rss() for daemon in (culvert, edge)}
    fetch(200)
    for daemon, rss in level.items():
        wait_until(lambda d=daemon, n=rss: d.rss() < 1.3 * n,
                   f"{daemon.program} is as small as before")


# ---- The beginning ----

def test_everything_in_one_packet(culvert, origin):
    server = origin()
    with connect(culvert.port) as sock:
        sock.sendall(b"\5\1\0" + socks5_request("127.0.0.1", server.port) +
                     b"early")
        sock.shutdown(socket.SHUT_WR)
        assert receive(sock, 2) == b"\5\0"
        assert socks5_reply(sock) == SUCCEEDED
        assert receive_all(sock) == b"early"


@pytest.mark.parametrize("greeting, reply", [
    (b"\5\2\0\2" + b"\5\1\0\1\x7f\0\0\1%p", b"\5\0"),
    (b"\5\1\0" + b"\5\1\0\3\x09localhost%p", b"\5\0"),
    (b"\4\1%p\x7f\0\0\1somebody\0", b"\0\x5a"),
    (b"\4\1%p\0\0\0\1\0localhost\0", b"\0\x5a"),
    (b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 "),
], ids=["socks5", "socks5-name", "socks4", "socks4a", "http"])
def test_byte_by_byte(culvert, origin, greeting, reply):
    server = origin()
    greeting = greeting.replace(b"%p", server.port.to_bytes(2, "big"))
    greeting = greeting.replace(b"%d", b"%d" % server.port)
    with connect(culvert.port) as sock:
        for i in range(len(greeting)):
            sock.sendall(greeting[i:i + 1])
        sock.sendall(b"payload")
        assert receive(sock, len(reply)) == reply
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock).endswith(b"payload")


# ---- The end ----

def test_client_ends_first(culvert, origin):
    def late(sock):
        question = receive_all(sock)
        sock.sendall(question)
        send_pattern(sock, 10 << 20)

    server = origin(late)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        sock.sendall(b"question")
        sock.shutdown(socket.SHUT_WR)
        assert receive(sock, 8) == b"question"
        expect_pattern(sock, 10 << 20)
        assert sock.recv(1) == b""
    assert not server.errors


def test_origin_ends_first(culvert, origin):
    got = []

    def early(sock):
        sock.sendall(b"farewell")
        sock.shutdown(socket.SHUT_WR)
        got.append(receive_all(sock))

    server = origin(early)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        assert receive_all(sock) == b"farewell"
        send_pattern(sock, 10 << 20)
    wait_until(lambda: got or server.errors, "the origin has everything")
    assert got == [pattern(10 << 20)]


def test_origin_resets(culvert, origin):
    def abort(sock):
        receive(sock, 1)
        reset(sock)

    server = origin(abort)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        sock.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_origin_resets_behind_its_last_bytes(culvert, edge, origin):
    def abort(sock):
        receive(sock, 1)
        with edge.halted():
            sock.sendall(b"half of it")
            reset(sock)

    server = origin(abort)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        sock.sendall(b"x")
        expect_reset(sock)


def test_client_resets_behind_its_last_bytes(culvert, origin):
    seen = []

    def watch(sock):
        sock.sendall(b"x")
        try:
            seen.append(receive_all(sock))
        except ConnectionResetError as error:
            seen.append(error)

    server = origin(watch)
    sock = socks5_tunnel(culvert.port, "127.0.0.1", server.port)
    receive(sock, 1)
    with culvert.halted():
        sock.sendall(b"half of it")
        reset(sock)
    wait_until(lambda: seen, "the origin notices")
    assert isinstance(seen[0], ConnectionResetError)


def test_client_resets(culvert, origin):
    seen = []

    def watch(sock):
        sock.sendall(b"x")
        try:
            seen.append(sock.recv(1))
        except ConnectionResetError as error:
            seen.append(error)

    server = origin(watch)
    sock = socks5_tunnel(culvert.port, "127.0.0.1", server.port)
    receive(sock, 1)
    reset(sock)
    wait_until(lambda: seen, "the origin notices")
    assert isinstance(seen[0], ConnectionResetError)


def test_reset_in_full_flow(culvert, edge, origin):
    """Neither daemon may keep data that was under way."""
    server = origin(lambda sock: send_pattern(sock, 1 << 40))
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        expect_pattern(sock, 64 << 20)
        reset(sock)
    wait_until(lambda: server.errors, "the origin is told")
    assert isinstance(server.errors[0], (ConnectionResetError,
                                         BrokenPipeError))
    culvert.wait_idle()
    edge.wait_for(r"bytes up, [1-9]\d* down, .*: reset by the peer")


def test_slow_reader_stops_nobody(culvert, origin):
    """One tunnel is full to the brim; another one flows as if alone."""
    server = origin(lambda sock: send_pattern(sock, BIG))
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as slow:
        receive(slow, 1)
        with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
            expect_pattern(sock, BIG)
        assert receive(slow, 1 << 20) == pattern(1 << 20, 1)


# ---- Peers that vanish ----

KEEPALIVE = "02"  # the timer of an idle socket (the kernel's proc_net_tcp)


def timers(*ports):
    """Of the sockets in this machine that are bound to one of `ports` and
    joined to a peer: local port → timer."""
    found = {}
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in list(table)[1:]:
            _, local, _, state, _, timer = line.split()[:6]
            port = int(local.split(":")[1], 16)
            if port in ports and state == "01":
                found[port] = timer.split(":")[0]
    return found


def test_idle_tunnels_are_kept_alive_on_both_sides(culvert, origin):
    peers = []

    def note_peer(sock):
        peers.append(sock.getpeername()[1])
        echo(sock)

    server = origin(note_peer)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        wait_until(lambda: timers(culvert.port, peers[0]) == {
            culvert.port: KEEPALIVE, peers[0]: KEEPALIVE}, "keep-alive")
