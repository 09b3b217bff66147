"""Edges that are well-formed and odd: GOAWAY, STOP_SENDING, RESET_STREAM and
CONNECTION_CLOSE of any ID and code at any time, a version that is negotiated
away, and a small max_udp_payload_size."""

import contextlib
import select
import socket
import threading

import pytest

from client import (connect, expect_reset, http_connect, http_head, ping,
                    receive, receive_all, socks5_connect, socks5_greet,
                    socks5_reply, socks5_request, socks5_tunnel, works,
                    GENERAL_FAILURE, SUCCEEDED)
from daemon import DEADLINE, wait_until
from datagrams import Path
from messages import CONNECTED, NO_QUIC_V1, SHUTTING_DOWN
from origin import expect_pattern, read_request, send_pattern
from quic_go import Scripted

BULK = 3_000_000
LITTLE = 10_000  # bytes that go out at once

HEADERS = 28      # of IPv4 and UDP
ETHERNET = 1500 - HEADERS
PADDED = 1000     # bytes: what carries one small message is shorter
ROUNDS = 40       # trips: there was a padded PING in each of the first 15

# RFC 9114 §8.1
H3_NO_ERROR = 0x100
H3_ID_ERROR = 0x108
H3_REQUEST_CANCELLED = 0x10c
H3_MESSAGE_ERROR = 0x10e

ID_MAX = (1 << 62) - 4  # of a request
CODE_MAX = (1 << 62) - 1
CODES = [0, H3_NO_ERROR, H3_MESSAGE_ERROR, CODE_MAX]


@pytest.fixture
def scripted(peers, ca):
    """scripted(origin, *flags, max_udp_payload_size=1452) → Scripted."""
    with contextlib.ExitStack() as stack:
        def start_it(server, *flags, **options):
            edge = Scripted(peers["scripted"], ca.good, server, *flags,
                            **options)
            stack.callback(edge.close)
            return edge

        yield start_it


@pytest.fixture
def path():
    """path(port, largest=...) → Path, whose own port is .port."""
    with contextlib.ExitStack() as stack:
        def start_it(*args):
            line = Path(*args)
            stack.callback(line.close)
            return line

        yield start_it


def http_tunnel(*args):
    """As socks5_tunnel, by CONNECT."""
    sock, status, _ = http_connect(*args)
    assert status == 200
    return sock


def exchange(sock):
    """Megabytes through an origin that echoes, both ways at once, and FIN."""
    sender = threading.Thread(target=send_pattern, args=(sock, BULK))
    sender.start()
    expect_pattern(sock, BULK)
    sender.join()
    sock.shutdown(socket.SHUT_WR)
    assert receive_all(sock) == b""


def ask(culvert, server):
    """A client whose request is under way: no response yet."""
    sock = connect(culvert.port)
    assert socks5_greet(sock)
    sock.sendall(socks5_request("127.0.0.1", server.port))
    return sock


# ---- GOAWAY (RFC 9114 §5.2) ----

@pytest.mark.parametrize("ids", [
    [0], [4], [8], [ID_MAX], [4, 4, 4], [ID_MAX, ID_MAX], [ID_MAX, 8, 4, 0],
    [ID_MAX, 0, 0]])
def test_goaway_does_not_end_what_flows(scripted, start_culvert, origin, ids):
    """Two tunnels have their answers, on streams 0 and 4; some servers name
    the last stream that they serve where they mean the next one."""
    server = origin()
    edge = scripted(server)
    culvert = start_culvert(edge.port)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as first, \
            socks5_tunnel(culvert.port, "127.0.0.1", server.port) as last:
        ping(first)
        ping(last)
        for id in ids:
            edge.command("goaway", 0, id)
        culvert.wait_for(SHUTTING_DOWN)
        works(culvert, server)
        edge.wait_for("request", 1, 0)
        exchange(last)
        exchange(first)
    status = culvert.wait_idle()
    assert status["tunnels"]["failed"] == 0
    assert "request 0 8" not in edge.events


@pytest.mark.parametrize("ids, served", [
    ([0], False), ([ID_MAX, 0], False), ([4], True), ([ID_MAX], True)])
def test_goaway_before_the_answer(scripted, start_culvert, origin, ids,
                                  served):
    """A request that GOAWAY names or follows goes to another connection; one
    before it has its answer where it is."""
    server = origin()
    edge = scripted(server, "-hold")
    culvert = start_culvert(edge.port)
    with ask(culvert, server) as sock:
        edge.wait_for("request", 0, 0)
        for id in ids:
            edge.command("goaway", 0, id)
        culvert.wait_for(SHUTTING_DOWN)
        if not served:
            edge.wait_for("request", 1, 0)
        edge.command("answer", 0 if served else 1, 0, 200)
        assert socks5_reply(sock) == SUCCEEDED
        exchange(sock)
    assert culvert.wait_idle()["tunnels"]["failed"] == 0


@pytest.mark.parametrize("ids", [[0, 4], [4, ID_MAX], [1], [3], [ID_MAX + 3]])
def test_goaway_that_is_wrong(scripted, start_culvert, origin, ids):
    """An ID that grows, or is none of a request, is an error of the
    connection; the next one is better."""
    server = origin()
    edge = scripted(server)
    culvert = start_culvert(edge.port)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        ping(sock)
        for id in ids:
            edge.command("goaway", 0, id)
        assert f"{H3_ID_ERROR:#x}" in edge.wait_for("closed", 0)
        expect_reset(sock)
    works(culvert, server)
    edge.wait_for("request", 1, 0)


@pytest.mark.parametrize("first", [[], ["goaway 0 0"], ["goaway 0 4"],
                                   [f"goaway 0 {ID_MAX}"]])
def test_close_without_an_error(scripted, start_culvert, origin, first):
    """Requests without a response are sent again; others are reset."""
    server = origin()
    edge = scripted(server, "-hold")
    culvert = start_culvert(edge.port)
    with ask(culvert, server) as answered, ask(culvert, server) as waits:
        edge.wait_for("request", 0, 4)
        edge.command("answer", 0, 0, 200)
        assert socks5_reply(answered) == SUCCEEDED
        for command in first:
            edge.command(command)
        edge.command("close", 0, H3_NO_ERROR)
        expect_reset(answered)
        edge.wait_for("request", 1, 0)
        edge.command("answer", 1, 0, 200)
        assert socks5_reply(waits) == SUCCEEDED
        exchange(waits)


# ---- STOP_SENDING and RESET_STREAM (RFC 9000 §3.5) ----

class Halves:
    """An origin that sends half a file, and the rest when it may. Another
    connection is for an echo, which comes after what was commanded before."""

    def __init__(self):
        self.rest = threading.Event()

    def __call__(self, sock):
        if receive(sock, 4) == b"ping":
            sock.sendall(b"ping")
            return
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BULK)
        send_pattern(sock, BULK // 2)
        assert self.rest.wait(DEADLINE)
        send_pattern(sock, BULK - BULK // 2, BULK // 2)
        sock.shutdown(socket.SHUT_WR)
        receive_all(sock)


def half_by_tunnel(open_tunnel):
    def half(culvert, server):
        sock = open_tunnel(culvert.port, "127.0.0.1", server.port)
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        return sock

    return half


def half_by_http(culvert, server):
    sock = connect(culvert.port)
    sock.sendall(f"GET http://127.0.0.1:{server.port}/ HTTP/1.1\r\n"
                 "Host: x\r\n\r\n".encode())
    return sock


@pytest.mark.parametrize("begin", [
    half_by_tunnel(socks5_tunnel), half_by_tunnel(http_tunnel), half_by_http],
    ids=["socks", "connect", "http"])
@pytest.mark.parametrize("code", CODES)
def test_stop_ends_one_direction(scripted, start_culvert, play, begin, code):
    """A client reads all bytes of an edge that sends STOP_SENDING."""
    server = play(Halves)()
    edge = scripted(server)
    culvert = start_culvert(edge.port)
    with begin(culvert, server) as sock:
        assert http_head(sock)[0] == 200
        edge.command("stop", 0, 0, code)
        with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as other:
            ping(other)
        server.rest.set()
        expect_pattern(sock, BULK)
        if begin is not half_by_http:
            sock.sendall(b"nobody reads this")
            assert sock.recv(1) == b""
    culvert.wait_idle()
    assert "reset" not in culvert.log


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("status", [200, 403])
def test_stop_before_the_answer(scripted, start_culvert, origin, code, status):
    """The answer counts, and all that follows it."""
    server = origin(lambda sock: send_pattern(sock, BULK))
    edge = scripted(server, "-hold")
    culvert = start_culvert(edge.port)
    with ask(culvert, server) as sock:
        edge.wait_for("request", 0, 0)
        edge.command("stop", 0, 0, code)
        edge.command("answer", 0, 0, status)
        assert (socks5_reply(sock) == SUCCEEDED) == (status == 200)
        if status == 200:
            expect_pattern(sock, BULK)
        assert sock.recv(1) == b""


@pytest.mark.parametrize("code", CODES)
def test_reset_is_no_end(scripted, start_culvert, origin, code):
    """A stream that is cut before its FIN must not look whole, whatever the
    code."""
    def send(sock):
        send_pattern(sock, 1000)
        sock.recv(1)

    server = origin(send)
    edge = scripted(server)
    culvert = start_culvert(edge.port)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        expect_pattern(sock, 1000)
        edge.command("cut", 0, 0, code)
        expect_reset(sock)


@pytest.mark.parametrize("open_tunnel", [socks5_tunnel, http_tunnel])
@pytest.mark.parametrize("code", CODES)
def test_reset_after_the_end(scripted, path, start_culvert, origin,
                             open_tunnel, code):
    """All has arrived, FIN included, and the acknowledgement is under way:
    then a reset changes nothing, and the other direction goes on."""
    heard = []

    def serve(sock):
        send_pattern(sock, LITTLE)
        sock.shutdown(socket.SHUT_WR)
        heard.append(receive_all(sock))

    server = origin(serve)
    edge = scripted(server)
    line = path(edge.port)
    culvert = start_culvert(line.port)
    with open_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        line.deaf = True
        sock.sendall(b"go")
        end = select.poll()
        end.register(sock, select.POLLRDHUP)
        assert end.poll(DEADLINE * 1000)
        edge.command("cut", 0, 0, code)
        edge.wait_for("cut", 0, 0)
        line.wait_down(len(line.down) + 1)
        line.deaf = False
        expect_pattern(sock, LITTLE)
        assert sock.recv(1) == b""
        sock.sendall(b"on")
        sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: heard == [b"goon"], "both words at the origin")
    culvert.wait_idle()
    assert "reset" not in culvert.log


# ---- Version Negotiation (RFC 9000 §6) ----

def test_edge_that_has_lost_its_version(scripted, path, start_culvert, origin):
    """A server that drains may answer new connections by Version Negotiation:
    clients wait for the one that follows it, and tunnels go on."""
    server = origin()
    edge = scripted(server)
    line = path(edge.port)
    culvert = start_culvert(line.port)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as old:
        ping(old)
        line.negotiates = True
        edge.command("goaway", 0, 4)
        with ask(culvert, server) as sock:
            wait_until(lambda: line.negotiated >= 3, "three attempts")
            ping(old)
            line.negotiates = False
            assert socks5_reply(sock) == SUCCEEDED
            exchange(sock)
        exchange(old)
    assert culvert.wait_idle()["tunnels"]["failed"] == 0


def test_another_edge_than_that(scripted, path, start, ca, origin):
    """Clients do not wait for it if there is another edge."""
    server = origin()
    edges = [scripted(server) for _ in range(2)]
    line = path(edges[0].port)
    culvert = start("culvert", "-vv", "-l", "127.0.0.1:0", "-e",
                    f"127.0.0.1:{line.port}", "-e",
                    f"127.0.0.1:{edges[1].port}", "--ca", ca.root.cert)
    culvert.wait_for(f"{CONNECTED}127.0.0.1:{line.port}")
    works(culvert, server)
    line.negotiates = True
    edges[0].command("goaway", 0, 4)
    culvert.wait_for(SHUTTING_DOWN)
    works(culvert, server)
    edges[1].wait_for("request", 0, 0)
    assert culvert.status()["tunnels"]["failed"] == 0


def test_server_of_other_versions(scripted, path, start_culvert, origin):
    """One that never spoke version 1 never will: no client waits for it."""
    server = origin()
    line = path(scripted(server).port)
    line.negotiates = True
    culvert = start_culvert(line.port, wait=False)
    culvert.wait_for(NO_QUIC_V1)
    sock, code = socks5_connect(culvert.port, "127.0.0.1", server.port)
    sock.close()
    assert code == GENERAL_FAILURE


# ---- max_udp_payload_size (RFC 9000 §18.2) ----

@pytest.mark.parametrize("size", [1200, 1300, 1452, 1471, 1472, 1473, 65527])
def test_probes_have_an_end(scripted, path, start_culvert, origin, size):
    """Sizes beyond the peer's limit are never probed, and after the search
    none is."""
    largest = min(size, ETHERNET)
    server = origin()
    line = path(scripted(server, max_udp_payload_size=size).port, ETHERNET)
    culvert = start_culvert(line.port)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        status = culvert.wait_status(
            lambda s: s["mtu_state"] == "complete", "the end of the search")
        assert largest - 8 < status["path_mtu"] - HEADERS <= largest
        ping(sock)
        before = culvert.ctl("mtu")["probes_sent"], len(line.up)
        for _ in range(ROUNDS):
            ping(sock)
        assert culvert.ctl("mtu")["probes_sent"] == before[0]
    assert max(line.up[before[1]:]) < PADDED
    assert max(line.up) <= largest
