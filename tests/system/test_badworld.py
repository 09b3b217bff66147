"""Faults of clients, origins and networks: limits and time-outs hold, and the
proxy goes on."""

import contextlib
import random
import resource
import select
import socket
import time

import pytest

from client import (connect, expect_reset, http_head, receive, receive_all,
                    reset, socks5_connect, socks5_tunnel, works, SUCCEEDED)
from daemon import DEADLINE, wait_until
from messages import (ACCEPTED, LAST_TUNNEL_ENDED, REFUSES_CONNECTIONS,
                      SHUTTING_DOWN)
from origin import hold, send_pattern

# The first bytes of a TLS handshake (RFC 8446 §5.1, §4.1.2).
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)

GARBAGE = 1000


def is_well(culvert, origin):
    """The proxy works, and holds nothing but this request."""
    works(culvert, origin())
    culvert.wait_idle()


# ---- Clients that stop in the middle ----

STOPPED = {
    "tls": CLIENT_HELLO,
    "version": b"\5",
    "methods": b"\5\3\0\1",
    "request": b"\5\1\0" + b"\5\1\0\3\x20half a name",
    "socks4": b"\4\1\0\x50\x7f\0\0\1no end",
    "method": b"CONN",
    "line": b"GET http://127.0.0.1/ HTTP/1.1",
    "field": b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: x\r\nX: y",
}
DRIPPED = {
    "socks": b"\5\xff" + bytes(255),
    "http": b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 200,
}


def is_closed(sock):
    """Reads all that arrives; returns whether it ended by FIN or by a reset.
    """
    try:
        return not sock.recv(4096)
    except ConnectionResetError:
        return True


def drip(streams, waiting):
    """A byte a second into each stream, until all that wait are closed."""
    at = 0
    end = time.monotonic() + DEADLINE
    while waiting:
        for sock, data in streams.items():
            with contextlib.suppress(OSError):
                sock.send(data[at:at + 1])
        at += 1
        second = time.monotonic() + 1
        while waiting and time.monotonic() < second:
            for sock in select.select(list(waiting), [], [], 0.1)[0]:
                if is_closed(sock):
                    waiting.discard(sock)
        assert time.monotonic() < end, "somebody may stay for ever"


def test_half_a_request(start_culvert, edge, origin):
    """All at once, since each of them takes the whole time-out."""
    culvert = start_culvert(edge, "--head-timeout", "3")
    stopped = [connect(culvert.port) for _ in STOPPED]
    for sock, data in zip(stopped, STOPPED.values()):
        sock.sendall(data)
    dripped = {connect(culvert.port): data for data in DRIPPED.values()}
    drip(dripped, {*stopped, *dripped})
    is_well(culvert, origin)


def test_last_word_is_not_read(embedded):
    """A client that has its response and does not close is closed."""
    with connect(embedded.port) as sock:
        sock.sendall(b"nonsense\r\n\r\n")
        assert receive(sock, 12) == b"HTTP/1.1 400"
        embedded.wait_idle()


# ---- Clients that say too much ----

@pytest.mark.parametrize("request_", [
    b"GET http://127.0.0.1/ HTTP/1.1\r\nX: " + b"x" * 1000000,
    b"GET http://127.0.0.1/ HTTP/1.1\r\n" + b"X: y\r\n" * 200000,
    b"GET http://127.0.0.1/" + b"x" * 1000000], ids=["field", "fields", "uri"])
def test_endless_head(embedded, origin, request_):
    with connect(embedded.port) as sock:
        sock.sendall(request_)
        sock.shutdown(socket.SHUT_WR)
        answer = receive_all(sock)
    assert answer.split()[1] in (b"414", b"431"), answer[:100]
    is_well(embedded, origin)


def test_garbage(culvert, edge, origin):
    chance = random.Random(1928)
    starts = [b"", b"\5", b"\4", b"GET ", b"CONNECT ", b"\r\n"]
    for i in range(GARBAGE):
        data = starts[i % len(starts)] + chance.randbytes(
            chance.randrange(1, 2000))
        with connect(culvert.port) as sock, contextlib.suppress(OSError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            receive_all(sock)
    is_well(culvert, origin)
    assert culvert.status()["reconnects"] == 0
    assert edge.log.count(ACCEPTED) == 1


def test_garbage_at_the_edge(edge, culvert, origin):
    """A datagram that means nothing changes nothing."""
    chance = random.Random(9000)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", edge.port))
        for i in range(GARBAGE):
            first = bytes([chance.randrange(256)])
            version = b"\0\0\0\1" if i % 2 else b""
            sock.send(first + version + chance.randbytes(
                chance.randrange(1, 1400)))
    is_well(culvert, origin)
    assert culvert.status()["reconnects"] == 0


# ---- Nothing left to serve with ----

def test_out_of_descriptors(start_culvert, edge, origin):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    culvert = start_culvert(edge, preexec=few)
    socks = [connect(culvert.port) for _ in range(200)]
    for sock in socks:
        sock.sendall(b"\5\1\0")
    culvert.wait_for("no clients are accepted: out of file descriptors")
    assert len(select.select(socks, [], [], 0)[0]) < 64
    assert culvert.status()["state"] == "up" # a few are kept for such
    # Each that ends makes room for one that waits.
    for sock in socks:
        assert receive(sock, 2) == b"\5\0"
        sock.close()
    is_well(culvert, origin)


# ---- The edge dies ----

def test_edge_killed_in_full_flow(edge, culvert, start_edge, origin):
    """A truncated transfer must look truncated; the next one must work."""
    server = origin(lambda sock: send_pattern(sock, 1 << 40))
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        receive(sock, 1 << 20)
        edge.kill()
        expect_reset(sock)
    culvert.wait_status(lambda s: s["state"] != "up", "the edge is missed")
    start_edge(port=edge.port)
    is_well(culvert, origin)
    assert culvert.status()["reconnects"] == 1


def test_edge_killed_in_an_upload(edge, culvert, origin):
    """The origin must notice that the body is not complete."""
    seen = []

    def sink(sock):
        try:
            seen.append(len(receive_all(sock)))
        except ConnectionResetError as error:
            seen.append(error)

    server = origin(sink)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        sock.sendall(bytes(1000))
        wait_until(lambda: server.connections, "the upload begins")
        edge.kill()
        wait_until(lambda: seen, "the origin notices")
    assert isinstance(seen[0], ConnectionResetError)


def test_killed_in_full_flow(culvert, edge, origin):
    server = origin(lambda sock: send_pattern(sock, 1 << 40))
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        receive(sock, 1 << 20)
        culvert.kill()
        expect_reset(sock)


def test_edge_killed_while_idle(edge, culvert, start_edge, origin):
    """The next edge does not know the connection, and says so."""
    # A connection of less than a second is a failed attempt and no lost
    # connection.
    culvert.wait_status(lambda s: s["uptime_s"] >= 2, "some time")
    port = edge.port
    edge.kill()
    start_edge(port=port)
    is_well(culvert, origin)
    status = culvert.status()
    assert status["reconnects"] == 1 and status["tunnels"]["failed"] == 0


def test_edge_ends_in_order(edge, culvert, origin):
    server = origin(hold)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        edge.terminate()
        edge.wait_for("SIGTERM: finishing open tunnels")
        edge.stop()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    culvert.wait_status(lambda s: s["state"] != "up", "the edge is missed")


def test_edge_lets_tunnels_finish(edge, culvert, start_culvert, origin):
    """New clients are refused, and it ends with the last tunnel."""
    server = origin()
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        edge.terminate()
        edge.wait_for("SIGTERM: finishing open tunnels")
        late = start_culvert(edge, wait=False)
        late.wait_for(REFUSES_CONNECTIONS)
        sock.sendall(b"still here")
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock) == b"still here"
    edge.wait()
    assert "bytes up, 10 down" in edge.log and ": done" in edge.log
    # Either side may close the drained connection first.
    culvert.wait_for(rf"ended: ({LAST_TUNNEL_ENDED}|"
                     r"closed by the peer \(HTTP/3 error 0x100)")


def test_edge_has_patience(start_edge, start_culvert, origin):
    """But not more than was announced."""
    edge = start_edge("--grace", 1)
    culvert = start_culvert(edge)
    server = origin(hold)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        edge.terminate()
        edge.wait_for("SIGTERM: finishing open tunnels, at most 1 s")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    edge.wait()


# ---- Our own end ----

def test_sigterm_lets_tunnels_finish(culvert, origin):
    server = origin()
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        culvert.terminate()
        culvert.wait_for("SIGTERM: finishing open tunnels")
        with pytest.raises(ConnectionRefusedError):
            connect(culvert.port)
        sock.sendall(b"still here")
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock) == b"still here"
    culvert.wait()


@pytest.mark.parametrize("signals", [1, 2], ids=["patient", "at once"])
def test_sigterm_ends_tunnels(start_culvert, edge, origin, signals):
    """A second signal is not as patient as the first."""
    patience = ("--grace", 1) if signals == 1 else ("--grace", 86400)
    culvert = start_culvert(edge, *patience)
    server = origin(hold)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        culvert.terminate()
        culvert.wait_for("SIGTERM: finishing open tunnels")
        if signals == 2:
            culvert.terminate()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    culvert.wait()
    assert not culvert.control.exists()
    edge.wait_for(f"ended: .*culvert {SHUTTING_DOWN}")


def answer(sock):
    """Answers one request, and keeps the connection."""
    while not sock.recv(4096).endswith(b"\r\n\r\n"):
        continue
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    sock.recv(1)


def test_sigterm_waits_for_nobody_idle(start_embedded, origin):
    """Browsers open connections in advance, and keep used ones."""
    culvert = start_embedded("--grace", 86400)
    server = origin(answer)
    with connect(culvert.port), connect(culvert.port) as kept:
        kept.sendall(f"GET http://127.0.0.1:{server.port}/ HTTP/1.1\r\n"
                     f"Host: 127.0.0.1:{server.port}\r\n\r\n".encode())
        assert http_head(kept)[0] == 200
        assert receive(kept, 2) == b"ok"
        culvert.terminate()
        culvert.wait()


# ---- Clients that leave early ----

def test_gone_before_the_answer(culvert, edge, origin):
    """A client that sends a request and resets leaves nothing behind."""
    server = origin(hold)
    for _ in range(200):
        sock = connect(culvert.port)
        sock.sendall(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n"
                     "Host: x\r\n\r\n".encode())
        reset(sock)
    is_well(culvert, origin)
    sock, code = socks5_connect(culvert.port, "127.0.0.1", server.port)
    assert code == SUCCEEDED
    sock.close()
    assert culvert.status()["reconnects"] == 0
    assert edge.log.count(ACCEPTED) == 1
