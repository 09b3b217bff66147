"""SIGHUP: new settings for new clients, and no tunnel ends."""

import signal
import socket
import subprocess

import pytest

from client import (SUCCEEDED, USER, receive, socks5_connect, socks5_greet,
                    socks5_tunnel)
from daemon import DEADLINE
from messages import CONNECTED, NOT_RELOADED, RELOAD_DONE, UNTRUSTED

OTHER = ("bob", "battery staple")


def crypted(user):
    """A line of a users file."""
    done = subprocess.run(["openssl", "passwd", "-6", user[1]], check=True,
                          text=True, capture_output=True, timeout=60)
    return f"{user[0]}:{done.stdout}"


def reload(daemon):
    """Sends SIGHUP and waits for the last line about it."""
    said = daemon.log.count("is reloaded")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for(RELOAD_DONE, said + 1)


def renew(path, text):
    """Puts a new file in the place of the old one, as renewals do."""
    beside = path.with_suffix(".new")
    beside.write_bytes(text if isinstance(text, bytes) else text.encode())
    beside.rename(path)


class Pair:
    """Files of a certificate and a key that can be replaced."""

    def __init__(self, directory, pair):
        self.cert = directory / "edge.pem"
        self.key = directory / "edge.key"
        self.become(pair)

    def become(self, pair):
        renew(self.cert, pair.cert.read_bytes())
        renew(self.key, pair.key.read_bytes())


@pytest.fixture
def pair(tmp_path, ca):
    return Pair(tmp_path, ca.good)


class Tunnel:
    """One that echoes, and must outlive whatever happens."""

    def __init__(self, culvert, server):
        self.sock = socks5_tunnel(culvert.port, "127.0.0.1", server.port)
        self.said = 0
        self.works()

    def works(self):
        self.said += 1
        word = f"word {self.said}".encode()
        self.sock.sendall(word)
        assert receive(self.sock, len(word)) == word


# ---- The edge ----

def test_certificate_is_renewed(start_edge, start_culvert, ca, origin, pair):
    """New connections get the new certificate, with any ticket."""
    edge = start_edge(pair=pair)
    old = start_culvert(edge)
    # Before the reload it has the old certificate, and a ticket.
    tunnel = Tunnel(old, origin())
    pair.become(ca.untrusted)
    reload(edge)
    tunnel.works()
    start_culvert(edge, trust=("--pin", ca.untrusted.pin()))
    refused = start_culvert(edge, wait=False)
    refused.wait_for(UNTRUSTED)
    tunnel.works()
    old.ctl("reconnect")
    old.wait_for(UNTRUSTED)


def test_broken_certificate_changes_nothing(start_edge, start_culvert, ca,
                                            origin, pair):
    edge = start_edge(pair=pair)
    tunnel = Tunnel(start_culvert(edge), origin())
    renew(pair.key, ca.untrusted.key.read_bytes())
    reload(edge)
    edge.wait_for(rf"error: {NOT_RELOADED}{pair.cert}: the certificate "
                  "and key cannot be used: .*do not match")
    renew(pair.cert, "no certificate")
    reload(edge)
    tunnel.works()
    start_culvert(edge)


def test_users_come_and_go(start_edge, start_culvert, origin, users):
    edge = start_edge("--users", users)
    server = origin()

    def serves(user):
        culvert = start_culvert(edge, "--user", ":".join(user))
        sock, code = socks5_connect(culvert.port, "127.0.0.1", server.port)
        sock.close()
        return code == SUCCEEDED

    tunnel = Tunnel(start_culvert(edge, "--user", ":".join(USER)), server)
    assert serves(USER) and not serves(OTHER)
    renew(users, crypted(OTHER))
    reload(edge)
    assert serves(OTHER) and not serves(USER)
    tunnel.works()
    renew(users, crypted(USER) + "carol\n")
    reload(edge)
    edge.wait_for(rf"{NOT_RELOADED}{users}:2: the line is not name:hash")
    assert serves(OTHER) and not serves(USER)


def test_configuration_of_an_edge(start, start_culvert, ca, origin, tmp_path):
    """Policy and log level change; options that cannot are named."""
    server = origin()
    path = tmp_path / "edge.conf"
    text = (f"[edge]\nlisten = 127.0.0.1:0\ncert = {ca.good.cert}\n"
            f"key = {ca.good.key}\nopen = yes\n")
    path.write_text(text + "[policy]\nallow = 127.0.0.0/8\n")
    edge = start("culvert-edge", "-f", path)
    culvert = start_culvert(edge)
    tunnel = Tunnel(culvert, server)

    def serves():
        sock, code = socks5_connect(culvert.port, "127.0.0.1", server.port)
        sock.close()
        return code == SUCCEEDED

    assert serves()
    renew(path, text + "[log]\nverbose = 1\n[path]\nccc = cubic\n")
    reload(edge)
    edge.wait_for(rf"{NOT_RELOADED}{path}:9: unknown key 'ccc'")
    assert serves()
    renew(path, text.replace("127.0.0.1:0", "127.0.0.1:1") +
          "[log]\nverbose = 1\n")
    reload(edge)
    edge.wait_for("warning: culvert-edge: a change of 'listen' requires a "
                  "restart")
    assert not serves()
    edge.wait_for("destination_ip_prohibited")
    tunnel.works()


def test_systemd_is_told(start, ca, tmp_path):
    """A reload has a beginning and an end (sd_notify(3))."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(DEADLINE)
        edge = start("culvert-edge", "-l", "127.0.0.1:0", "--open", "--cert",
                     ca.good.cert, "--key", ca.good.key,
                     env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert sock.recv(100) == b"READY=1"
        reload(edge)
        state = dict(line.split("=") for line in
                     sock.recv(100).decode().splitlines())
        assert state["RELOADING"] == "1"
        assert int(state["MONOTONIC_USEC"]) > 0
        assert sock.recv(100) == b"READY=1"
        edge.terminate()
        assert sock.recv(100) == b"STOPPING=1"


# ---- The local proxy ----

def test_configuration_of_a_proxy(start, start_edge, ca, origin, tmp_path,
                                  users):
    """Users, edges and their CAs change; a tunnel goes on."""
    server = origin()
    first, second = start_edge(), start_edge(pair=ca.untrusted)
    path = tmp_path / "culvert.conf"
    listener = f"[proxy]\nlisten = 127.0.0.1:0\nlisten-users = {users}\n"
    path.write_text(f"{listener}[edge]\nedge = 127.0.0.1:{first.port}\n"
                    f"ca = {ca.root.cert}\n[log]\nverbose = 1\n")
    culvert = start("culvert", "-f", path)
    culvert.wait_for(CONNECTED)

    def lets_in(user):
        sock = socket.create_connection(("127.0.0.1", culvert.port), DEADLINE)
        with sock:
            return socks5_greet(sock, user)

    sock = socks5_tunnel(culvert.port, "127.0.0.1", server.port, USER)
    sock.sendall(b"before")
    assert receive(sock, 6) == b"before"
    renew(users, crypted(OTHER))
    renew(path, f"{listener}[edge]\nedge = 127.0.0.1:{second.port}\n"
          f"pin = {ca.untrusted.pin()}\n[log]\nverbose = 1\n")
    reload(culvert)
    assert lets_in(OTHER) and not lets_in(USER)
    sock.sendall(b"after")
    assert receive(sock, 5) == b"after"
    culvert.ctl("reconnect")
    culvert.wait_for(f"{CONNECTED}127.0.0.1:{second.port}")
    socks5_tunnel(culvert.port, "127.0.0.1", server.port, OTHER).close()


def test_user_of_a_proxy(start_edge, start_culvert, origin, users, tmp_path):
    """The user at the edge changes, from the next tunnel on."""
    server = origin()
    user_file = tmp_path / "user"
    user_file.write_text("nobody:nothing\n")
    user_file.chmod(0o600)
    edge = start_edge("--users", users)
    culvert = start_culvert(edge, "--user-file", user_file)
    sock, code = socks5_connect(culvert.port, "127.0.0.1", server.port)
    assert code != SUCCEEDED
    sock.close()
    renew(user_file, ":".join(USER))
    user_file.chmod(0o600)
    reload(culvert)
    Tunnel(culvert, server)
    assert culvert.status()["reconnects"] == 0
    renew(user_file, "no colon")
    reload(culvert)
    culvert.wait_for(f"{NOT_RELOADED}{user_file}:1: the line is not ")
    Tunnel(culvert, server)


def test_mark_takes_a_restart(start_edge, start, ca, origin, tmp_path):
    """The privilege is gone, and without it no connection could be made."""
    edge = start_edge()
    path = tmp_path / "culvert.conf"
    text = (f"[proxy]\nlisten = 127.0.0.1:0\n[edge]\n"
            f"edge = 127.0.0.1:{edge.port}\nca = {ca.root.cert}\n")
    path.write_text(text)
    culvert = start("culvert", "-f", path)
    culvert.wait_for(CONNECTED)
    renew(path, f"{text}[path]\nfwmark = 5\n")
    reload(culvert)
    culvert.wait_for("nothing is reloaded: --fwmark requires a restart")
    culvert.ctl("reconnect")
    culvert.wait_for(CONNECTED, 2)
    Tunnel(culvert, origin())


def test_embedded_edge_stays(start_embedded, origin, tmp_path):
    culvert = start_embedded("--qlog", tmp_path)
    tunnel = Tunnel(culvert, origin())
    reload(culvert)
    tunnel.works()
    culvert.ctl("reconnect")
    culvert.wait_for(CONNECTED, 2)
    Tunnel(culvert, origin())
