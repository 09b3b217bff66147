"""culvertctl, as people and scripts see it."""

import re
import socket
import threading

import pytest

from client import socks5_tunnel
from daemon import run


def ctl(daemon, *args):
    """What culvertctl prints when all is well."""
    done = run("culvertctl", "--control", daemon.control, *args)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_status(start_culvert, edge):
    culvert = start_culvert(edge)
    text = ctl(culvert, "status")
    assert re.search(r"^state +up$", text, re.M)
    assert re.search(rf"^edge +127\.0\.0\.1:{edge.port} ", text, re.M)
    assert re.search(r"^tls +TLS1\.3, AES-128-GCM, \w+", text, re.M)
    assert re.search(rf"^listen +127\.0\.0\.1:{culvert.port}$", text, re.M)
    assert f"process {culvert.pid}, " in text
    status = culvert.status()
    assert status["state"] == "up"
    assert status["alpn"] == "h3"
    assert status["error"] is None
    assert status["rtt_ms"] > 0
    assert status["pid"] == culvert.pid
    assert status["listen"] == [f"127.0.0.1:{culvert.port}"]


def test_down_says_why(start_culvert):
    """Without an edge, culvert serves and says what is wrong; exit 0."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    culvert = start_culvert(port, wait=False)
    status = culvert.wait_status(lambda s: s["error"], "an error")
    assert status["state"] != "up"
    assert status["rtt_ms"] is None
    assert f"127.0.0.1:{port}" in status["error"]
    text = ctl(culvert, "status")
    assert re.search(r"^state +(down|connecting)$", text, re.M)
    assert re.search(rf"^error .*127\.0\.0\.1:{port}", text, re.M)
    assert "tls" not in text


def test_tunnels(culvert, origin):
    server = origin()
    assert ctl(culvert, "tunnels").split() == [
        "TARGET", "AGE", "UP", "DOWN", "STATE", "KIND", "CLIENT"]
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
        sock.sendall(b"x" * 5)
        assert sock.recv(5, socket.MSG_WAITALL) == b"x" * 5
        client = "127.0.0.1:%d" % sock.getsockname()[1]
        [tunnel] = culvert.ctl("tunnels")["tunnels"]
        assert tunnel.pop("age_s") < 60
        assert tunnel == {
            "target": f"127.0.0.1:{server.port}", "client": client,
            "kind": "socks5", "state": "open",
            "bytes": {"up": 5, "down": 5}}
        row = ctl(culvert, "tunnels").splitlines()[1].split()
        assert row[0] == tunnel["target"]
        assert row[-3:] == ["open", "socks5", client]
        status = culvert.status()
        assert status["tunnels"] == {
            "open": 1, "waiting": 0, "total": 1, "failed": 0}
        assert status["clients"] == {"open": 1, "total": 1}
    culvert.wait_idle()
    assert culvert.status()["bytes"] == {"up": 5, "down": 5}


def test_reconnect(culvert):
    ctl(culvert, "reconnect")
    culvert.wait_status(
        lambda s: s["reconnects"] == 1 and s["state"] == "up", "up again")
    culvert.wait_for("connected to ", count=2)


# ---- Without a culvert ----

def test_nobody_is_there(tmp_path):
    path = tmp_path / "c.sock"
    done = run("culvertctl", "--control", path, "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (f"culvertctl: culvert is not running (no answer at "
                           f"{path}: No such file or directory)\n")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    done = run("culvertctl", "--control", path, "--json", "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert "not running" in done.stderr and "refused" in done.stderr


@pytest.mark.parametrize("answer, sentence", [
    (b"", "hung up before its answer"),
    (b"HTTP/1.1 200 OK\r\nContent-Le", "hung up before its answer"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
     "hung up before its answer"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{", "is not culvert"),
    (b"HTTP/1.1 200 OK\r\n\r\n{}", "is not culvert"),
    (b"220 mail.example\r\n\r\n", "is not culvert"),
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 16\r\n\r\n"
     b'{"error":"what"}', "culvert answers 404: what"),
    (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}",
     "culvert answers 500: Internal Server Error"),
])
def test_strange_answers(tmp_path, answer, sentence):
    """Whatever sits at the path: one sentence, and exit 1."""
    path = tmp_path / "c.sock"

    def serve(server):
        peer, _ = server.accept()
        with peer:
            assert b"\r\n\r\n" in peer.recv(4096)
            peer.sendall(answer)

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        done = run("culvertctl", "--control", path, "status")
        thread.join()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("culvertctl: ")
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr


def test_no_answer_in_time(tmp_path):
    """A culvert that hangs is given up, and not waited for."""
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        done = run("culvertctl", "--control", path, "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not answer within 5 s" in done.stderr


@pytest.mark.parametrize("args", [
    (), ("unknown",), ("status", "tunnels"), ("--unknown", "status"),
    ("-x", "status"), ("--control",)])
def test_usage(args):
    done = run("culvertctl", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: culvertctl " in done.stderr


def test_version():
    done = run("culvertctl", "-V")
    assert done.returncode == 0
    assert re.fullmatch(r"culvertctl \d+\.\d+\.\d+\n", done.stdout)


# ---- The control socket of a real culvert ----

def test_socket_file(embedded):
    """Private, exclusive while it lives, and gone with its culvert."""
    assert embedded.control.stat().st_mode & 0o7777 == 0o600
    done = run("culvert", "--embedded-edge", "-l", "127.0.0.1:0",
               "--control", embedded.control)
    assert done.returncode == 1
    assert "another culvert answers there" in done.stderr
    assert embedded.status()["state"] == "up"
    embedded.stop()
    assert not embedded.control.exists()


def test_socket_of_the_dead(start_embedded):
    first = start_embedded()
    first.kill()
    assert first.control.exists()
    done = run("culvertctl", "--control", first.control, "status")
    assert done.returncode == 1
    second = start_embedded("--control", first.control)
    assert run("culvertctl", "--control", first.control,
               "status").returncode == 0
    second.stop()
    assert not first.control.exists()
