"""The connection to the edge: made, lost, made again, and shared by many."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from client import (SUCCEEDED, connect, http_connect, ping, receive_all, socks5_connect,
                    socks5_greet, socks5_reply, socks5_request, socks5_tunnel,
                    works)
from daemon import DEADLINE, wait_until
from messages import CONNECTED, LAST_TUNNEL_ENDED, NEXT_ATTEMPT, SHUTTING_DOWN

# Linux's unshare(2) and mount(2).
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_BIND = 4096

LIMIT = 10  # tunnels that one connection may have
CONNECTIONS = 4  # that culvert makes to one edge by itself
CLIENTS = 300


def name(edge):
    return f"127.0.0.1:{edge.port}"


def connections(culvert, edge):
    """The states of the connections to an edge, and their tunnels."""
    return [(c["state"], c["tunnels"])
            for c in culvert.status()["connections"]
            if c["edge"] == name(edge)]


@pytest.fixture
def start_pair(start, start_edge, ca):
    """start_pair(*flags) → two edges, the preferred one first, and a culvert
    that is connected to that one."""

    def start_it(*flags):
        edges = start_edge(*flags), start_edge()
        culvert = start("culvert", "-v", "-l", "127.0.0.1:0",
                        "--ca", ca.root.cert,
                        *(arg for edge in edges for arg in ("-e", name(edge))))
        culvert.wait_for(f"{CONNECTED}{name(edges[0])}")
        return *edges, culvert

    return start_it


@contextlib.contextmanager
def silent(host, port):
    """A UDP port that takes everything and says nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((host, port))
        sock.settimeout(DEADLINE)
        yield sock


# ---- All addresses ----

def with_hosts(path):
    """For a child: makes it find names in this file."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()

    def write(file, text):
        fd = os.open(file, os.O_WRONLY)
        os.write(fd, text.encode())
        os.close(fd)

    def preexec():
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        write("/proc/self/setgroups", "deny")
        write("/proc/self/uid_map", f"0 {uid} 1")
        write("/proc/self/gid_map", f"0 {gid} 1")
        if libc.mount(bytes(path), b"/etc/hosts", None, MS_BIND, None) != 0:
            raise OSError(ctypes.get_errno(), "mount")

    return preexec


@pytest.fixture
def both(tmp_path):
    """A preexec that gives the name localhost both of its addresses."""
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n::1 localhost\n")
    if subprocess.run(["unshare", "-rm", "mount", "--bind", path,
                       "/etc/hosts"], check=False).returncode != 0:
        pytest.skip("no name of our own: user namespaces are not allowed")
    if not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("there is no IPv6")
    return with_hosts(path)


def test_dead_address_first(start, edge, origin, ca, both):
    """IPv6 is tried first, is silent, and is not waited for."""
    with silent("::1", edge.port) as dead:
        culvert = start("culvert", "-v", "-l", "127.0.0.1:0", "-e",
                        f"localhost:{edge.port}", "--ca", ca.root.cert,
                        preexec=both)
        culvert.wait_for(f"{CONNECTED}{name(edge)} ")
        assert len(dead.recv(65536)) >= 1200
        works(culvert, origin())
        assert culvert.status()["edge"] == f"localhost:{edge.port}"
        assert len(culvert.status()["connections"]) == 1


def test_live_address_first(start, start_edge, origin, ca, both):
    with silent("127.0.0.1", 0) as dead:
        port = dead.getsockname()[1]
        start("culvert-edge", "-v", "-l", f"[::1]:{port}", "--open",
              "--cert", ca.good.cert, "--key", ca.good.key,
              "--allow", "127.0.0.0/8")
        culvert = start("culvert", "-v", "-l", "127.0.0.1:0", "-e",
                        f"localhost:{port}", "--ca", ca.root.cert,
                        preexec=both)
        culvert.wait_for(rf"{CONNECTED}\[::1\]:{port} ")
        works(culvert, origin())


# ---- The next edge, and back ----

def test_fail_over_and_return(start_pair, start_edge, origin):
    first, second, culvert = start_pair()
    server = origin()
    lost = socks5_tunnel(culvert.port, "127.0.0.1", server.port)
    ping(lost)
    first.kill()
    began = time.monotonic()
    kept = socks5_tunnel(culvert.port, "127.0.0.1", server.port)
    ping(kept)
    print(f"a tunnel after {time.monotonic() - began:.3f} s")
    assert culvert.status()["edge"] == name(second)
    with pytest.raises(ConnectionResetError):
        lost.sendall(b"x")
        lost.recv(1)
    lost.close()

    # New tunnels return, and the one that is open stays where it is.
    first = start_edge(port=first.port)
    culvert.wait_for(f"new tunnels go to edge {name(first)}")
    works(culvert, server)
    assert culvert.status()["edge"] == name(first)
    assert connections(culvert, second) == [("draining", 1)]
    ping(kept)
    kept.close()
    second.wait_for(LAST_TUNNEL_ENDED)
    wait_until(lambda: not connections(culvert, second), "the old one's end")
    assert culvert.status()["tunnels"]["failed"] == 0


def test_return_without_clients(start_pair, start_edge):
    """The connection to the second edge ends, though no client comes."""
    first, second, culvert = start_pair()
    first.kill()
    culvert.wait_for(f"{CONNECTED}{name(second)}")
    first = start_edge(port=first.port)
    culvert.wait_for(f"new tunnels go to edge {name(first)}")
    second.wait_for(LAST_TUNNEL_ENDED)


def test_silent_edge(start_pair, origin):
    """No event from the network, no answer: the next edge serves new tunnels,
    and open ones wait for the first."""
    first, second, culvert = start_pair()
    server = origin()
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        ping(sock)
        first.process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            works(culvert, server)
            print(f"a tunnel after {time.monotonic() - began:.3f} s")
            assert culvert.status()["edge"] == name(second)
            assert connections(culvert, first)[0][0] == "draining"
        finally:
            first.process.send_signal(signal.SIGCONT)
        ping(sock)
        culvert.wait_for(f"new tunnels go to edge {name(first)}")
    works(culvert, server)
    assert culvert.status()["tunnels"]["failed"] == 0


def test_edge_that_wants_to_go(start_pair, origin):
    """GOAWAY: the tunnels end by themselves, new ones go elsewhere."""
    first, second, culvert = start_pair("--grace", 3600)
    server = origin()
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        ping(sock)
        first.terminate()
        culvert.wait_for(f"{name(first)} {SHUTTING_DOWN}")
        works(culvert, server)
        assert culvert.status()["edge"] == name(second)
        assert connections(culvert, first)[0] == ("draining", 1)
        ping(sock)
        assert first.process.poll() is None
    first.wait()
    assert culvert.status()["tunnels"]["failed"] == 0


def test_other_edges(start, start_edge, origin, ca, tmp_path):
    """A reload removes an edge: its tunnels end by themselves. An edge that
    stays in the list keeps the connection, also at another place."""
    first, second, third = start_edge(), start_edge(), start_edge()
    path = tmp_path / "culvert.conf"

    def write(*edges):
        path.write_text("[proxy]\nlisten = 127.0.0.1:0\n[edge]\n" +
                        "".join(f"edge = {name(edge)}\n" for edge in edges) +
                        f"ca = {ca.root.cert}\n")

    def reload(*edges):
        write(*edges)
        culvert.process.send_signal(signal.SIGHUP)

    write(first, second)
    culvert = start("culvert", "-f", path)
    culvert.wait_for(f"{CONNECTED}{name(first)}")
    server = origin()
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        ping(sock)
        reload(third, first)
        culvert.wait_for(f"new tunnels go to edge {name(third)}")
        assert connections(culvert, first) == [("draining", 1)]
        works(culvert, server)
        reload(second)
        culvert.wait_for(f"{CONNECTED}{name(second)}")
        works(culvert, server)
        assert culvert.status()["edge"] == name(second)
        assert connections(culvert, first) == [("draining", 1)]
        ping(sock)
    first.wait_for(LAST_TUNNEL_ENDED)
    assert culvert.status()["tunnels"]["failed"] == 0


# ---- The same edge again ----

def test_restart(start_edge, start_culvert, origin):
    """Killed and restarted: open tunnels are reset, new ones work."""
    edge = start_edge()
    culvert = start_culvert(edge)
    server = origin()
    socks = [socks5_tunnel(culvert.port, "127.0.0.1", server.port)
             for _ in range(20)]
    edge.kill()
    edge = start_edge(port=edge.port)
    began = time.monotonic()
    works(culvert, server)
    print(f"a tunnel after {time.monotonic() - began:.3f} s")
    for sock in socks:
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        sock.close()
    print(f"all reset after {time.monotonic() - began:.3f} s")
    status = culvert.status()
    assert status["tunnels"]["failed"] == 0
    assert status["reconnects"] == 1
    assert status["resumed"] is False  # the key of the tickets died with it


def test_orderly_restart(start_edge, start_culvert, origin):
    """A client that comes between two edges waits for the second."""
    edge = start_edge()
    culvert = start_culvert(edge)
    server = origin()
    kept = socks5_tunnel(culvert.port, "127.0.0.1", server.port)
    edge.terminate()
    culvert.wait_for(SHUTTING_DOWN)
    waiting = connect(culvert.port)
    assert socks5_greet(waiting)
    waiting.sendall(socks5_request("127.0.0.1", server.port))
    culvert.wait_status(lambda s: s["tunnels"]["waiting"] == 1, "a client")
    kept.sendall(b"the end")
    kept.shutdown(socket.SHUT_WR)
    assert receive_all(kept) == b"the end"
    kept.close()
    edge.wait()
    began = time.monotonic()
    start_edge(port=edge.port)
    assert socks5_reply(waiting) == SUCCEEDED
    print(f"served {time.monotonic() - began:.3f} s after the start")
    ping(waiting)
    waiting.close()
    assert culvert.status()["tunnels"]["failed"] == 0


@contextlib.contextmanager
def no_version_1(port):
    """A server of QUIC that answers whatever comes with another version."""
    with silent("127.0.0.1", port) as sock:
        def answer():
            with contextlib.suppress(OSError):
                while True:
                    data, peer = sock.recvfrom(2000)
                    if not data:
                        return
                    if data[0] & 0x80 == 0:
                        continue # of a connection that was before
                    their = data[6:6 + data[5]]
                    ours = data[7 + len(their):][:data[6 + len(their)]]
                    sock.sendto(b"\x80\0\0\0\0" +
                                bytes([len(ours)]) + ours +
                                bytes([len(their)]) + their +
                                b"\x6b\x33\x43\xcf", peer)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            sock.sendto(b"", ("127.0.0.1", port)) # the end
            thread.join()


def test_restart_with_another_version(start_edge, start_culvert, origin):
    """While an edge restarts, a server in its place may not support version 1.
    """
    edge = start_edge()
    culvert = start_culvert(edge)
    server = origin()
    edge.kill()
    with connect(culvert.port) as sock:
        with no_version_1(edge.port):
            culvert.ctl("reconnect")
            assert socks5_greet(sock)
            sock.sendall(socks5_request("127.0.0.1", server.port))
            culvert.wait_for("QUIC version 1: .* it may be restarting", 3)
        start_edge(port=edge.port)
        assert socks5_reply(sock) == SUCCEEDED
        ping(sock)
    assert culvert.status()["tunnels"]["failed"] == 0


def test_edge_without_version_1(start_culvert):
    """A server that never supported it will not: clients need not wait."""
    with silent("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
    with no_version_1(port):
        culvert = start_culvert(port, wait=False)
        sock, status, _ = http_connect(culvert.port, "127.0.0.1", 1)
        with sock:
            assert status == 502
            assert "does not support QUIC version 1: it may be outdated, or " \
                "no HTTP/3 proxy" in receive_all(sock).decode()


def test_client_before_its_edge(start_edge, start_culvert, origin):
    """It waits, and need not try again; so the pauses are short."""
    with silent("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
    culvert = start_culvert(port, wait=False)
    server = origin()
    with connect(culvert.port) as sock:
        assert socks5_greet(sock)
        sock.sendall(socks5_request("127.0.0.1", server.port))
        culvert.wait_for("no answer", 4)
        start_edge(port=port)
        assert socks5_reply(sock) == SUCCEEDED
        ping(sock)


# ---- Room for many ----

def test_limit_of_ten(start_edge, start_culvert, origin):
    """An edge that allows few tunnels gets more connections, which end when
    they are not needed; every client is served."""
    edge = start_edge("--streams-max", LIMIT)
    culvert = start_culvert(edge)
    server = origin()
    room = CONNECTIONS * LIMIT
    held = [connect(culvert.port) for _ in range(room + 1)]
    for sock in held:
        assert socks5_greet(sock)
        sock.sendall(socks5_request("127.0.0.1", server.port))
    for sock in held[:room]:
        assert socks5_reply(sock) == SUCCEEDED
    assert connections(culvert, edge) == [("up", LIMIT)] * CONNECTIONS
    assert culvert.status()["tunnels"]["waiting"] == 1
    held.pop(0).close()
    assert socks5_reply(held[-1]) == SUCCEEDED

    served = []

    def come():
        sock, code = socks5_connect(culvert.port, "127.0.0.1", server.port)
        with sock:
            ping(sock)
            served.append(code)

    threads = [threading.Thread(target=come) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for sock in held:
        ping(sock)
        sock.close()
    for thread in threads:
        thread.join()
    assert served == [SUCCEEDED] * CLIENTS
    wait_until(lambda: connections(culvert, edge) == [("up", 0)],
               "one connection is left")
    status = culvert.status()
    assert status["tunnels"]["failed"] == status["reconnects"] == 0
    edge.wait_for(LAST_TUNNEL_ENDED, CONNECTIONS - 1)


def test_edge_with_few_connections(start_edge, start_culvert, origin):
    """An edge that allows fewer connections than culvert would use is not
    asked for more again and again, and nobody is warned."""
    edge = start_edge("--streams-max", 2, "--source-connections", 2)
    culvert = start_culvert(edge)
    server = origin()
    held = [connect(culvert.port) for _ in range(5)]
    for sock in held:
        assert socks5_greet(sock)
        sock.sendall(socks5_request("127.0.0.1", server.port))
    for sock in held[:4]:
        assert socks5_reply(sock) == SUCCEEDED
    culvert.wait_for("no further connection beside 2")
    # A third try would be made while more clients come.
    for _ in range(4):
        held.pop(0).close()
        assert socks5_reply(held[3]) == SUCCEEDED
        held.append(connect(culvert.port))
        assert socks5_greet(held[-1])
        held[-1].sendall(socks5_request("127.0.0.1", server.port))
    assert connections(culvert, edge) == [("up", 2)] * 2
    assert culvert.log.count("no further connection beside") == 1
    assert NEXT_ATTEMPT not in "".join(
        line for line in culvert.log.splitlines() if "warning" in line)
    for sock in held:
        sock.close()


def test_who_closed_it(start_edge, start_culvert, origin):
    """An orderly end is distinguished from a loss, on both sides."""
    edge = start_edge("--grace", "0")
    culvert = start_culvert(edge)
    server = origin()
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        ping(sock)
        culvert.ctl("reconnect")
        edge.wait_for(" s: closed by the client")
    culvert.wait_for(CONNECTED, 2)
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        ping(sock)
        edge.terminate()
        culvert.wait_for(" s: (the edge closed its connection|"
                         "reset by the other side)")


def test_reconnect_drops_all(start_edge, start_culvert, origin):
    edge = start_edge("--streams-max", 1)
    culvert = start_culvert(edge, "--connections", 2)
    server = origin()
    socks = [socks5_tunnel(culvert.port, "127.0.0.1", server.port)
             for _ in range(2)]
    assert connections(culvert, edge) == [("up", 1)] * 2
    culvert.ctl("reconnect")
    for sock in socks:
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        sock.close()
    works(culvert, server)
    assert connections(culvert, edge) in ([("up", 0)], [("up", 1)])
    assert culvert.status()["reconnects"] == 1
