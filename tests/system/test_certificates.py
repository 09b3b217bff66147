"""Authentication of the edge and of its clients, and the messages when it
fails."""

import re
import socket
import threading

import pytest

from client import (GENERAL_FAILURE, TTL_EXPIRED, http_connect, receive_all,
                    socks5_connect, works)
from daemon import DEADLINE, run
from messages import ACCEPTED, CONNECTED, NEXT_ATTEMPT, UNTRUSTED

NOT_A_PIN = "sha256//" + "A" * 43 + "="


def refused(culvert, error):
    """The client has the reason at once, and so has culvertctl."""
    sock, code = socks5_connect(culvert.port, "127.0.0.1", 80)
    assert code == GENERAL_FAILURE
    assert sock.recv(1) == b""
    sock.close()
    sock, status, _ = http_connect(culvert.port, "127.0.0.1", 80)
    assert status == 502
    assert re.search(error, receive_all(sock).decode())
    sock.close()
    status = culvert.wait_status(lambda s: re.search(error, s["error"] or ""),
                                 f"an error like {error!r}")
    assert status["state"] != "up"
    assert status["alpn"] is None and status["rtt_ms"] is None
    assert status["tunnels"]["failed"] == 2
    culvert.wait_for(error)


# ---- The edge's certificate ----

@pytest.mark.parametrize("kind, error", [
    ("untrusted", UNTRUSTED),
    ("expired", "expired"),
    ("wrong_name", "is for another name")],
    ids=["untrusted", "expired", "name"])
def test_wrong_certificate(start_edge, start_culvert, ca, kind, error):
    edge = start_edge(pair=getattr(ca, kind))
    refused(start_culvert(edge, wait=False), error)
    assert ACCEPTED not in edge.log


@pytest.mark.parametrize("trust", ["stranger", "system"])
def test_wrong_ca(edge, start_culvert, ca, trust):
    trust = () if trust == "system" else ("--ca", ca.stranger.cert)
    refused(start_culvert(edge, trust=trust, wait=False), UNTRUSTED)


def test_right_certificate(culvert, origin):
    works(culvert, origin())
    status = culvert.status()
    assert status["state"] == "up" and status["error"] is None
    assert status["alpn"] == "h3"
    assert status["tls"]["version"] == "TLS1.3"
    assert status["tls"]["cipher"] == "AES-128-GCM"
    fast = "AES-GCM by libipsec-mb" in culvert.log
    assert fast or "AES-GCM by GnuTLS: " in culvert.log
    assert status["tls"]["aead"] == ("libipsec-mb" if fast else "GnuTLS")


def test_gnutls_alone(start_edge, start_culvert, origin):
    edge = start_edge("--no-ipsec-mb")
    culvert = start_culvert(edge, "--no-ipsec-mb")
    works(culvert, origin())
    assert culvert.status()["tls"]["aead"] == "GnuTLS"
    assert "AES-GCM by" not in culvert.log + edge.log


def test_name_is_verified(start_edge, start, ca, origin):
    """`localhost` is in the certificate, and so is its address."""
    edge = start_edge()
    culvert = start("culvert", "-v", "-l", "127.0.0.1:0", "-e",
                    f"localhost:{edge.port}", "--ca", ca.root.cert)
    culvert.wait_for(CONNECTED)
    works(culvert, origin())


# ---- Pins ----

def test_wrong_pin(edge, start_culvert, ca):
    """A pin rules, whatever the CA says."""
    refused(start_culvert(edge, "--pin", NOT_A_PIN, wait=False), "pin")
    refused(start_culvert(edge, "--pin", ca.untrusted.pin(), wait=False),
            "pin")


@pytest.mark.parametrize("kind", ["untrusted", "expired", "wrong_name"])
def test_right_pin(start_edge, start_culvert, ca, origin, kind):
    pair = getattr(ca, kind)
    culvert = start_culvert(start_edge(pair=pair),
                            trust=("--pin", NOT_A_PIN, "--pin", pair.pin()))
    works(culvert, origin())


def test_self_signed(start, start_culvert, origin, tmp_path):
    """The pin is in the log, and stays the same."""
    pins = []
    for _ in range(2):
        edge = start("culvert-edge", "-v", "--open", "--self-signed", "-l",
                     "127.0.0.1:0", "--allow", "127.0.0.0/8",
                     env={"XDG_STATE_HOME": str(tmp_path)})
        pins.append(edge.wait_for(r"--pin (sha256//\S+)")[1])
        culvert = start_culvert(edge, trust=("--pin", pins[-1]))
        works(culvert, origin())
        culvert.stop()
        edge.stop()
    assert pins[0] == pins[1]
    assert (tmp_path / "culvert-edge/key.pem").stat().st_mode & 0o77 == 0


@pytest.mark.parametrize("harm, same, word", [
    (lambda cert, key: cert.unlink(), True, "the pin is unchanged"),
    (lambda cert, key: cert.write_text(""), True, "the pin is unchanged"),
    (lambda cert, key: cert.write_text(cert.read_text()[:200]), True,
     "the pin is unchanged"),
    (lambda cert, key: key.unlink(), False, "clients must use the new pin"),
    (lambda cert, key: key.write_text(""), False,
     "clients must use the new pin")],
    ids=["no cert", "empty cert", "half a cert", "no key", "empty key"])
def test_what_self_signed_has_lost(start, tmp_path, harm, same, word):
    """Only a lost key changes the pin, and the log says so."""
    def pin():
        edge = start("culvert-edge", "-v", "--open", "--self-signed", "-l",
                     "127.0.0.1:0", env={"XDG_STATE_HOME": str(tmp_path)})
        found = edge.wait_for(r"--pin (sha256//\S+)")[1]
        edge.stop()
        return found, edge.log

    cert, key = (tmp_path / "culvert-edge" / name
                 for name in ("cert.pem", "key.pem"))
    first, log = pin()
    assert "warning" not in log.replace("warning: this kernel", "")
    harm(cert, key)
    second, log = pin()
    assert (second == first) == same
    assert word in log
    third, log = pin()
    assert third == second and word not in log
    assert key.stat().st_mode & 0o77 == 0
    assert sorted(path.name for path in cert.parent.iterdir()) == \
        ["cert.pem", "key.pem"]


def test_half_a_key(start, tmp_path):
    """It is not replaced: the operator may have a copy to restore."""
    args = ("--open", "--self-signed", "-l", "127.0.0.1:0")
    env = {"XDG_STATE_HOME": str(tmp_path)}
    start("culvert-edge", *args, env=env).stop()
    key = tmp_path / "culvert-edge/key.pem"
    key.write_text(key.read_text()[:60])
    done = run("culvert-edge", *args, env=env)
    assert done.returncode == 1
    assert f"{key}: the file is not a private key; restore it" in done.stderr
    assert len(key.read_text()) == 60


def test_a_key_for_all_to_read(start, tmp_path):
    """As a backup may leave it: a user who can read it can pose as this edge.
    """
    args = ("--open", "--self-signed", "-l", "127.0.0.1:0")
    env = {"XDG_STATE_HOME": str(tmp_path)}
    start("culvert-edge", *args, env=env).stop()
    key = tmp_path / "culvert-edge/key.pem"
    key.chmod(0o644)
    edge = start("culvert-edge", *args, env=env)
    assert f"{key} contains a private key, and every user of this machine " \
        f'can read it; use "chmod o= {key}"' in edge.log


# ---- No edge ----

def closed_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_nobody_there(start, start_culvert, ca):
    """Clients wait for an edge that may come, but not for ever: all of them
    at the same time, since it takes the whole time-out."""
    soon = ("--connect-timeout", "5") # but longer than a handshake may take
    answers = []

    def by_socks(culvert, _):
        sock, code = socks5_connect(culvert.port, "127.0.0.1", 80)
        answers.append(code == TTL_EXPIRED)
        sock.close()

    def by_http(culvert, error):
        sock, status, _ = http_connect(culvert.port, "127.0.0.1", 80)
        answers.append(status == 504)
        answers.append(error in receive_all(sock).decode())
        sock.close()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.settimeout(DEADLINE)
        culverts = {
            "no answer": start_culvert(silent.getsockname()[1], *soon,
                                       wait=False),
            "no answer: no edge is listening": start_culvert(
                closed_port(), *soon, wait=False),
            "nowhere.invalid:443: the name does not resolve": start(
                "culvert", "-v", "-l", "127.0.0.1:0", "-e",
                "nowhere.invalid", "--ca", ca.root.cert, *soon),
        }
        assert len(silent.recv(65536)) >= 1200
        assert culverts["no answer"].status()["state"] == "connecting"
        threads = [threading.Thread(target=ask, args=(culvert, error))
                   for error, culvert in culverts.items()
                   for ask in (by_socks, by_http)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [True] * 9
    for error, culvert in culverts.items():
        culvert.wait_status(lambda s: error in (s["error"] or ""), error)
        culvert.wait_for(re.escape(error))


def test_next_edge(start, edge, start_edge, ca, origin):
    """The second edge serves while the first one is not right."""
    wrong = start_edge(pair=ca.expired)
    culvert = start("culvert", "-v", "-l", "127.0.0.1:0",
                    "-e", f"127.0.0.1:{wrong.port}",
                    "-e", f"127.0.0.1:{edge.port}", "--ca", ca.root.cert)
    culvert.wait_for("expired")
    culvert.wait_for(f"{CONNECTED}127.0.0.1:{edge.port}")
    works(culvert, origin())
    assert culvert.status()["edge"] == f"127.0.0.1:{edge.port}"


def test_edge_comes_later(start_edge, start_culvert, edge, origin):
    """A client's request ends the back-off."""
    port = edge.port
    edge.stop()
    culvert = start_culvert(port, wait=False)
    culvert.wait_for(NEXT_ATTEMPT)
    start_edge(port=port)
    works(culvert, origin())


# ---- Our certificate ----

def test_client_certificate(start_edge, start_culvert, ca, origin):
    edge = start_edge("--client-ca", ca.root.cert)
    works(start_culvert(edge, "--cert", ca.client.cert,
                        "--key", ca.client.key), origin())


def test_no_client_certificate(start_edge, start_culvert, ca):
    edge = start_edge("--client-ca", ca.root.cert)
    refused(start_culvert(edge, wait=False),
            "rejected the TLS handshake: .*[Cc]ertificate")


def test_wrong_client_certificate(start_edge, start_culvert, ca):
    edge = start_edge("--client-ca", ca.root.cert)
    refused(start_culvert(edge, "--cert", ca.wrong_client.cert,
                          "--key", ca.wrong_client.key, wait=False),
            "rejected the TLS handshake: ")


# ---- Tickets ----

def test_resumption(culvert, edge, origin):
    """The second connection recognizes the edge by its ticket."""
    works(culvert, origin())
    assert culvert.status()["resumed"] is False
    culvert.ctl("reconnect")
    status = culvert.wait_status(lambda s: s["reconnects"] == 1,
                                 "another connection")
    assert status["resumed"] is True
    works(culvert, origin())
    edge.wait_for(ACCEPTED + ".*resumed")
