"""HTTP/3 of another implementation: quic-go at the other end of the
connection, as an edge for our proxy and as a client of our edge. Our own
two ends could agree on a mistake; with these they cannot."""

import contextlib
import hashlib
import json
import re
import socket
import subprocess
import threading
import types

import pytest

from client import (connect, http_connect, http_head, ping, receive, receive_all, reset, socks5_connect,
                    socks5_greet, socks5_reply, socks5_request, socks5_tunnel,
                    GENERAL_FAILURE, SUCCEEDED)
from daemon import DEADLINE, wait_until
from messages import ACCEPTED, CONNECTED
from origin import echo, expect_pattern, pattern, send_pattern
from places import EDGE
from test_qlog import records

BULK = 100_000_000
TUNNELS = 200
STREAMS = 100  # that their edge grants at once

# As "openssl passwd -6" makes it.
USERS = ("alice:$6$culvert$8/nG80QCcCAHeS1iuuHYeS2juJzp2iGEF.KAEqN49mOY2e.lbv"
         "dFOw78sVmQn1kQy1rlauBr5/vwwizUMc/.8/\n")


@pytest.fixture
def their_edge(peers, ca):
    """their_edge(*flags, preexec=None) → the port of one that runs."""
    processes = []

    def start_it(*flags, preexec=None):
        process = subprocess.Popen(
            [peers["edge"], "-cert", ca.good.cert, "-key", ca.good.key,
             *map(str, flags)], stdout=subprocess.PIPE, text=True,
            preexec_fn=preexec)
        processes.append(process)
        line = process.stdout.readline()
        return int(re.fullmatch(r"listening \S+:(\d+)\n", line)[1])

    yield start_it
    for process in processes:
        with process:
            process.kill()


@pytest.fixture
def their_client(peers, ca):
    """their_client(edge or its address, origin, *flags) → its report."""

    def run_it(edge, server, *flags):
        done = subprocess.run(
            [peers["client"], "-edge", edge if isinstance(edge, str)
             else f"127.0.0.1:{edge.port}",
             "-target", f"127.0.0.1:{server.port}", "-ca", ca.root.cert,
             *map(str, flags)], stdout=subprocess.PIPE, text=True,
            timeout=DEADLINE, check=False)
        report = json.loads(done.stdout)
        assert (done.returncode == 0) == (report["failed"] == 0)
        return report

    return run_it


# ---- Our proxy, their edge ----

def test_download_through_their_edge(their_edge, start_culvert, origin):
    server = origin(lambda sock: send_pattern(sock, BULK))
    culvert = start_culvert(their_edge())
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        expect_pattern(sock, BULK)
        assert sock.recv(1) == b""


def test_upload_through_their_edge(their_edge, start_culvert, origin):
    def sink(sock):
        expect_pattern(sock, BULK)
        assert sock.recv(1) == b""
        sock.sendall(b"all of it")

    server = origin(sink)
    culvert = start_culvert(their_edge())
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        send_pattern(sock, BULK)
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock) == b"all of it", server.errors


def test_said_at_once_to_their_edge(their_edge, start_culvert, origin):
    """Data that comes with the request waits for the origin."""
    server = origin()
    culvert = start_culvert(their_edge())
    with connect(culvert.port) as sock:
        sock.sendall(b"\5\1\0" + socks5_request("127.0.0.1", server.port) +
                     pattern(10_000))
        sock.shutdown(socket.SHUT_WR)
        assert receive(sock, 2) == b"\5\0"
        assert socks5_reply(sock) == SUCCEEDED
        assert receive_all(sock) == pattern(10_000)


def test_queue_before_their_edge(their_edge, start_culvert, origin):
    """Requests beyond their limit of streams wait in order."""
    server = origin()
    culvert = start_culvert(their_edge("-max-streams", STREAMS))
    socks = [connect(culvert.port) for _ in range(TUNNELS)]
    for sock in socks:
        assert socks5_greet(sock)
        sock.sendall(socks5_request("127.0.0.1", server.port))
    culvert.wait_status(
        lambda s: s["tunnels"]["open"] == STREAMS and
        s["tunnels"]["waiting"] == TUNNELS - STREAMS,
        "as many tunnels as they grant, and the rest waiting")
    for i, sock in enumerate(socks):
        assert socks5_reply(sock) == SUCCEEDED
        sock.sendall(pattern(1000, i))
        assert receive(sock, 1000) == pattern(1000, i)
        sock.close()
    status = culvert.wait_idle()
    assert status["tunnels"]["total"] == TUNNELS
    assert status["tunnels"]["failed"] == 0
    assert status["reconnects"] == 0
    assert server.connections == TUNNELS


def test_reset_through_their_edge(their_edge, start_culvert, origin):
    """A truncated transfer must not look whole."""
    def cut(sock):
        send_pattern(sock, 10)
        sock.recv(1)
        reset(sock)

    culvert = start_culvert(their_edge())
    with socks5_tunnel(culvert.port, "127.0.0.1", origin(cut).port) as sock:
        expect_pattern(sock, 10)
        sock.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_refusal_of_their_edge(their_edge, start_culvert):
    """They say 502 and not why: that may be anything."""
    culvert = start_culvert(their_edge())
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        sock, code = socks5_connect(culvert.port, *nobody.getsockname())
        sock.close()
        assert code == GENERAL_FAILURE
        with connect(culvert.port) as sock:
            sock.sendall(b"\5\1\0" + socks5_request(*nobody.getsockname()) +
                         pattern(10_000))
            assert receive(sock, 2) == b"\5\0"
            assert socks5_reply(sock) == GENERAL_FAILURE


def said_and_closed(size):
    """An origin that answers a request's head and closes."""
    def serve(sock):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += receive(sock, 1)
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        send_pattern(sock, size)

    return serve


def ask_socks(culvert, server):
    sock = socks5_tunnel(culvert.port, "127.0.0.1", server.port)
    sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
    return sock


def ask_connect(culvert, server):
    sock, status, _ = http_connect(culvert.port, "127.0.0.1", server.port)
    assert status == 200
    sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
    return sock


def ask_http(culvert, server):
    sock = connect(culvert.port)
    sock.sendall(f"GET http://127.0.0.1:{server.port}/ HTTP/1.0\r\n\r\n"
                 .encode())
    return sock


@pytest.mark.parametrize("ask", [ask_socks, ask_connect, ask_http])
def test_stop_after_the_end(their_edge, start_culvert, origin, ask):
    """An edge that stops a client whose origin has closed, as h2o does, has
    sent all: that arrives whole, however late the client reads it."""
    server = origin(said_and_closed(3_000_000))
    culvert = start_culvert(their_edge("-stop-after-fin"))
    for turn in range(20):
        with ask(culvert, server) as sock:
            if turn % 2 == 0:
                wait_until(lambda: not server.sockets, "the origin's close")
            status, _ = http_head(sock)
            assert status == 200
            expect_pattern(sock, 3_000_000)
            assert sock.recv(1) == b""
    culvert.wait_idle()
    assert not server.errors
    assert "reset" not in culvert.log


@pytest.mark.parametrize("alpn", ["hq-interop", ""])
def test_server_without_h3(their_edge, start_culvert, alpn):
    """QUIC alone is not enough; the status and the clients' replies say so."""
    culvert = start_culvert(their_edge("-alpn", alpn), wait=False)
    status = culvert.wait_status(lambda s: s["error"], "an error")
    assert status["state"] != "up"
    assert "does not support HTTP/3 (ALPN h3)" in status["error"]
    sock, code = socks5_connect(culvert.port, "127.0.0.1", 1)
    sock.close()
    assert code == GENERAL_FAILURE


def test_move_from_their_edge(places, their_edge, start, ca):
    """If the edge does not support connection migration, tunnels stay on the
    old network while it is there, and new ones are on a new connection.
    quic-go 0.50 is such an edge; with 0.59 (sid) the connection moves, and
    all tunnels."""
    a, b = places.line("A", rtt=20), places.line("B", rtt=20)
    port = their_edge("-listen", f"{EDGE}:0", preexec=places.far.enter)
    culvert = start("culvert", "-v", "-l", "127.0.0.1:0", "-e",
                    f"{EDGE}:{port}", "--pin", ca.good.pin(),
                    preexec=places.near.enter)
    server = places.origin(echo)

    def tunnel():
        return places.near.inside(socks5_tunnel, culvert.port, "127.0.0.1",
                                  server.port)

    with tunnel() as old:
        b.prefer(50)
        if culvert.wait_for("does not support connection migration|"
                            "moved: ")[0] == "moved: ":
            a.down()
            ping(old)
            with tunnel() as new:
                ping(new)
            status = culvert.status()
            assert status["migrations"] == 1
            assert status["tunnels"]["failed"] == 0
            return
        culvert.wait_for(CONNECTED, count=2)
        with tunnel() as new:
            ping(new)
            ping(old)
            a.down()
            culvert.wait_for("the edge does not support connection migration")
            with pytest.raises(ConnectionResetError):
                old.recv(1)
            ping(new)
    status = culvert.status()
    assert status["migrations"] == 0
    assert status["tunnels"]["failed"] == 0


# ---- Their client, our edge ----

def test_their_download(their_client, edge, origin):
    server = origin(lambda sock: send_pattern(sock, BULK))
    report = their_client(edge, server, "-mode", "download", "-bytes", BULK)
    assert report["errors"] == []
    assert report["bytes"] == BULK
    assert report["sha256"] == hashlib.sha256(pattern(BULK)).hexdigest()


def test_their_upload(their_client, edge, origin):
    """The origin reports what it has read, and their client compares."""
    def digest(sock):
        seen = hashlib.sha256()
        while data := sock.recv(1 << 20):
            seen.update(data)
        sock.sendall(seen.hexdigest().encode())

    report = their_client(edge, origin(digest), "-mode", "upload",
                          "-bytes", BULK)
    assert report["errors"] == []
    assert report["bytes"] == BULK
    assert report["answer"] == report["sha256"]


def test_their_tunnels(their_client, edge, origin):
    server = origin()
    report = their_client(edge, server, "-mode", "echo", "-bytes", 100_000,
                          "-tunnels", TUNNELS)
    assert report["errors"] == []
    assert report["ok"] == TUNNELS
    assert server.connections == TUNNELS
    assert len(re.findall(ACCEPTED + r"\S+ \(", edge.log)) == 1


def test_their_deaf_client(peers, ca, edge, origin):
    """Their client sends STOP_SENDING and goes on sending: the origin gets all
    of that, and the FIN, and a reset for what it sends."""
    heard = []

    def talk(sock):
        try:
            while True:
                sock.sendall(pattern(10_000))
        except (ConnectionResetError, BrokenPipeError):
            heard.append("reset")

    def listen(sock):
        talker = threading.Thread(target=talk, args=(sock,))
        talker.start()
        n = 0
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(1 << 20):
                n += len(data)
        heard.append(n)
        talker.join()

    server = origin(listen)
    with subprocess.Popen(
            [peers["client"], "-edge", f"127.0.0.1:{edge.port}", "-target",
             f"127.0.0.1:{server.port}", "-ca", ca.root.cert, "-mode", "deaf",
             "-bytes", str(2_000_000)], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL) as client:
        wait_until(lambda: len(heard) == 2, "both ends")
        client.stdin.close()
    assert set(heard) == {2_000_000, "reset"}


@pytest.mark.parametrize("password, ok", [("secret", 2), ("guess", 0)])
def test_their_user(their_client, start_edge, origin, tmp_path, password, ok):
    users = tmp_path / "users"
    users.write_text(USERS)
    server = origin()
    report = their_client(start_edge("--users", users), server, "-user",
                          f"alice:{password}", "-mode", "echo", "-bytes", 1000,
                          "-tunnels", 2)
    assert report["ok"] == server.connections == ok
    assert all("status 407" in error for error in report["errors"])


def test_embedded_edge_is_for_its_culvert(their_client, start_embedded, origin,
                                          tmp_path):
    """Another user of this machine who finds the port of the embedded edge
    cannot bypass --listen-users by it."""
    users = tmp_path / "users"
    users.write_text(USERS)
    server = origin()
    culvert = start_embedded("-v", "--listen-users", users)
    status = culvert.wait_status(lambda s: s["state"] == "up", "up")
    report = their_client(status["address"], server, "-insecure", "-mode",
                          "echo", "-bytes", 1000)
    assert report["ok"] == server.connections == 0
    assert "bad certificate" in report["errors"][0] or \
        "certificate required" in report["errors"][0]
    assert culvert.status()["reconnects"] == 0


def test_their_refusal(their_client, edge):
    """A client that goes on sending gets the refusal, and then stops."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        server = types.SimpleNamespace(port=nobody.getsockname()[1])
        report = their_client(edge, server, "-mode", "upload", "-bytes",
                              10 * BULK, "-insist", "-tunnels", 20)
    assert report["statuses"] == {"502": 20}
    assert all(error.endswith(": status 502") for error in report["errors"])


@pytest.mark.parametrize("insists", [True, False])
def test_no_stop_comes_with_a_refusal(their_client, start_edge, tmp_path,
                                      insists):
    """Firefox loses a response that STOP_SENDING comes with in one packet: it
    comes a round trip later, if the client is not silent by then."""
    edge = start_edge("--qlog", tmp_path)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        server = types.SimpleNamespace(port=nobody.getsockname()[1])
        report = their_client(edge, server, "-mode", "upload", "-bytes", BULK,
                              *(["-insist"] if insists else []))
    assert report["statuses"] == {"502": 1}
    edge.stop()
    (trace,) = tmp_path.glob("*.sqlog")
    packets = [{frame["frame_type"] for frame in event["data"]["frames"]}
               for event in records(trace)[1:]
               if event["name"] == "transport:packet_sent"]
    stops = [types for types in packets if "stop_sending" in types]
    assert len(stops) == insists
    assert not any("stream" in types for types in stops)
    assert any("stream" in types for types in packets)
