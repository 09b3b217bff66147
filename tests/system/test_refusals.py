"""A refusal has a reply in each protocol."""

import socket
import threading

import pytest

from client import (BIND, COMMAND_NOT_SUPPORTED, CONNECTION_REFUSED,
                    GENERAL_FAILURE, HOST_UNREACHABLE, NETWORK_UNREACHABLE,
                    NOT_ALLOWED, TTL_EXPIRED, UDP_ASSOCIATE, USER, connect,
                    http_connect, receive, receive_all, socks5_connect, socks5_greet,
                    socks5_request, socks5_tunnel, works)
from messages import TARGET_SILENT
from names import A, AAAA, BadServer
from origin import silent_port

SOCKS4_REJECTED = b"\0\x5b"
ADDRESS_TYPE_NOT_SUPPORTED = 8


def closed_port():
    """A closed port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def refused_everywhere(culvert, host, port, code, status, text):
    """Sends a request in each protocol, and expects this refusal and then the
    end."""
    sock, got = socks5_connect(culvert.port, host, port)
    assert got == code
    assert sock.recv(1) == b""
    sock.close()

    with connect(culvert.port) as sock:
        sock.sendall(b"\4\1" + port.to_bytes(2, "big") + b"\0\0\0\1\0" +
                     host.encode() + b"\0")
        assert receive_all(sock)[:2] == SOCKS4_REJECTED

    sock, got, head = http_connect(culvert.port, host, port)
    assert got == status
    assert "content-type: text/plain" in head.lower()
    assert text in receive_all(sock).decode()
    sock.close()

    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with connect(culvert.port) as sock:
        sock.sendall(f"GET http://{authority}/ HTTP/1.1\r\n"
                     f"Host: {authority}\r\n\r\n".encode())
        answer = receive_all(sock).decode()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert text in answer


# ---- The target ----

@pytest.mark.parametrize("name", ["nowhere.invalid", "127.1", "0x7f000001"])
def test_dns_error(culvert, name):
    """A name that only looks like an address is a name that does not exist."""
    refused_everywhere(culvert, name, 80, HOST_UNREACHABLE, 502,
                       "the name does not resolve")


def test_dns_timeout(start_edge, start_culvert):
    """No server has said that the name does not exist."""
    server = BadServer({}, drops={A, AAAA})
    edge = start_edge("--connect-timeout", "2", "--resolver",
                      f"127.0.0.1:{server.port}")
    refused_everywhere(start_culvert(edge), "silent.test", 80,
                       HOST_UNREACHABLE, 504, "name servers that the edge "
                       "uses do not answer")
    server.close()


def test_connection_refused(culvert, edge):
    port = closed_port()
    refused_everywhere(culvert, "127.0.0.1", port, CONNECTION_REFUSED, 502,
                       f"127.0.0.1:{port}: the target refused the connection")
    edge.wait_for("connection_refused", 4)


def test_name_refused(culvert):
    refused_everywhere(culvert, "localhost", closed_port(),
                       CONNECTION_REFUSED, 502, "refused the connection")


def test_the_edge_is_heard_first(start_embedded):
    """Both have the same time, and the user reads whose fault it is."""
    culvert = start_embedded("--connect-timeout", "1")
    with silent_port() as port:
        sock, status, head = http_connect(culvert.port, "127.0.0.1", port)
        with sock:
            assert status == 504
            assert "the target does not answer; it may be down" in \
                head + receive_all(sock).decode()


def test_connection_timeout(start_culvert, start_edge):
    """Both wait at the same time, for as long as the edge dials."""
    edge = start_edge("--connect-timeout", "2")
    culvert = start_culvert(edge)
    answers = {}

    def by_socks(port):
        sock, answers["socks"] = socks5_connect(culvert.port, "127.0.0.1",
                                                port)
        sock.close()

    def by_http(port):
        sock, answers["http"], _ = http_connect(culvert.port, "127.0.0.1",
                                                port)
        answers["text"] = receive_all(sock).decode()
        sock.close()

    with silent_port() as port:
        threads = [threading.Thread(target=ask, args=(port,))
                   for ask in (by_socks, by_http)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers["socks"] == TTL_EXPIRED
    assert answers["http"] == 504
    assert TARGET_SILENT in answers["text"]
    edge.wait_for("connection_timeout", 2)


def test_unroutable(start_culvert, start_edge):
    """TCP cannot reach a multicast group, whatever the routes are."""
    edge = start_edge("--allow", "224.0.0.0/4")
    refused_everywhere(start_culvert(edge), "224.0.0.1", 80,
                       NETWORK_UNREACHABLE, 502, "no route to the target")
    edge.wait_for("destination_ip_unroutable", 4)


@pytest.mark.parametrize("host", [
    "127.0.0.1", "localhost", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
    "::ffff:0:127.0.0.1", "64:ff9b:1::7f00:1", "2002:7f00:1::1", "200::1",
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "168.63.129.16", "169.254.169.254",
    "192.168.1.1", "224.0.0.1", "fe80::1", "fd00::1"])
def test_prohibited(start_culvert, start_edge, origin, host):
    edge = start_edge(allow=False)
    server = origin()
    refused_everywhere(start_culvert(edge), host, server.port, NOT_ALLOWED,
                       403, "the edge does not allow this address")
    edge.wait_for("destination_ip_prohibited", 4)
    assert server.connections == 0


def test_denied_although_allowed(start_culvert, start_edge, origin):
    edge = start_edge("--deny", "127.0.0.2/32")
    culvert = start_culvert(edge)
    server = origin(host="0.0.0.0")
    socks5_tunnel(culvert.port, "127.0.0.1", server.port).close()
    refused_everywhere(culvert, "127.0.0.2", server.port, NOT_ALLOWED, 403,
                       "does not allow")


# ---- The edge ----

def test_limit(culvert, edge, origin):
    """An edge without descriptors says so, and recovers."""
    server = origin()
    before = edge.limit_files(0)
    refused_everywhere(culvert, "127.0.0.1", server.port, GENERAL_FAILURE,
                       503, "the edge has reached one of its limits")
    edge.limit_files(before)
    socks5_tunnel(culvert.port, "127.0.0.1", server.port).close()


@pytest.mark.parametrize("flags", [
    (), ("--user", "alice:wrong"), ("--user", "bob:" + USER[1])],
    ids=["none", "password", "name"])
def test_credentials(start_culvert, start_edge, users, origin, flags):
    """407 is between culvert and its edge: the client has no part in it."""
    server = origin()
    edge = start_edge("--users", users)
    refused_everywhere(start_culvert(edge, *flags), "127.0.0.1", server.port,
                       NOT_ALLOWED, 502,
                       "the edge does not accept culvert's user and password")
    assert server.connections == 0


def test_right_credentials(start_culvert, start_edge, users, origin,
                           tmp_path):
    server = origin()
    edge = start_edge("--users", users)
    path = tmp_path / "user"
    path.write_text(":".join(USER) + "\n")
    for flags in (("--user", ":".join(USER)), ("--user-file", path)):
        works(start_culvert(edge, *flags), server)
    edge.wait_for(r"alice at \S+ to 127\.0\.0\.1", 2)


# ---- The request ----

@pytest.mark.parametrize("command", [BIND, UDP_ASSOCIATE, 9])
def test_command(embedded, command):
    sock, code = socks5_connect(embedded.port, "127.0.0.1", 80,
                                command=command)
    assert code == COMMAND_NOT_SUPPORTED
    assert sock.recv(1) == b""
    sock.close()


def test_address_type(embedded):
    with connect(embedded.port) as sock:
        assert socks5_greet(sock)
        sock.sendall(b"\5\1\0\2\1\2\3\4\0\x50")
        assert receive_all(sock)[:2] == bytes([5, ADDRESS_TYPE_NOT_SUPPORTED])


@pytest.mark.parametrize("greeting", [b"\5\1\1", b"\5\2\1\3", b"\5\0"])
def test_no_method_in_common(embedded, greeting):
    """RFC 1928 §3."""
    with connect(embedded.port) as sock:
        sock.sendall(greeting)
        assert receive_all(sock) == b"\5\xff"


def test_names_in_socks(embedded, origin):
    """Addresses as names, also in brackets; a name in UTF-8 is encoded."""
    four, six = origin(), origin(host="::1")
    for host in (b"::1", b"[::1]", b"0:0:0:0:0:0:0:1", b"[127.0.0.1]",
                 b"127.0.0.1.", b"localhost."):
        server = six if b":" in host else four
        for version in (4, 5):
            with connect(embedded.port) as sock:
                port = server.port.to_bytes(2, "big")
                if version == 5:
                    sock.sendall(b"\5\1\0\5\1\0\3" + bytes([len(host)]) +
                                 host + port + b"said at once")
                    assert receive(sock, 12) == b"\5\0\5\0\0\1" + bytes(6)
                else:
                    sock.sendall(b"\4\1" + port + b"\0\0\0\1me\0" + host +
                                 b"\0said at once")
                    assert receive(sock, 8) == b"\0\x5a" + bytes(6)
                assert receive(sock, 12) == b"said at once"
    sock, code = socks5_connect(embedded.port, "b\xfccher.invalid", 80)
    sock.close()
    assert code == HOST_UNREACHABLE
    embedded.wait_for(r"to xn--bcher-kva\.invalid:80")


def test_password_of_another_version(start_embedded, users):
    """RFC 1929 §2: a version of 1 it is, and a failure is answered."""
    culvert = start_embedded("--listen-users", users)
    with connect(culvert.port) as sock:
        sock.sendall(b"\5\1\2" + b"\5\5alice\6secret")
        assert receive_all(sock) == b"\5\2\1\1"
    culvert.wait_for("not in the form of RFC 1929")


@pytest.mark.parametrize("line", [
    "CONNECT 127.0.0.1 HTTP/1.1", "CONNECT 127.0.0.1:0 HTTP/1.1",
    "CONNECT 127.0.0.1:65536 HTTP/1.1", "CONNECT http://x/ HTTP/1.1",
    "GET https://127.0.0.1/ HTTP/1.1", "nonsense"])
def test_http_request(embedded, line):
    with connect(embedded.port) as sock:
        sock.sendall(f"{line}\r\nHost: x\r\n\r\n".encode())
        assert receive_all(sock).startswith(b"HTTP/1.1 400 ")


def test_refused_with_data_behind(culvert):
    """Data that was sent in advance does not destroy the reply."""
    with connect(culvert.port) as sock:
        sock.sendall(b"\5\1\0" + socks5_request("127.0.0.1", closed_port()) +
                     bytes(100000))
        assert receive_all(sock)[:4] == b"\5\0\5" + bytes(
            [CONNECTION_REFUSED])
