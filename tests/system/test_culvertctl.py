"""culvertctl, as people and scripts see it."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading

import pytest

from client import ping, receive, socks5_tunnel
from daemon import BUILD, DEADLINE, environment, run
from messages import CONNECTED


def ctl(daemon, *args):
    """The output of culvertctl in normal operation."""
    done = run("culvertctl", "--control", daemon.control, *args)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_status(start_culvert, edge):
    culvert = start_culvert(edge)
    text = ctl(culvert, "status")
    assert re.search(r"^state +up$", text, re.M)
    assert re.search(rf"^edge +127\.0\.0\.1:{edge.port} ", text, re.M)
    assert re.search(r"^tls +TLS1\.3, AES-128-GCM[^,]*, \w+", text, re.M)
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
    """Without an edge, culvert serves and reports the reason; exit 0."""
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
    culvert.wait_for(CONNECTED, count=2)


# ---- Watching ----

class Watch:
    """culvertctl watch into a pipe, or on a terminal of its own."""

    def __init__(self, daemon, *args, terminal=False, term="xterm"):
        self.seen = ""
        self.modes = None
        ours, theirs = pty.openpty() if terminal else os.pipe()
        self.fd = ours
        if terminal:
            self.resize(24, 80)
            self.modes = termios.tcgetattr(theirs)
        self.process = subprocess.Popen(
            [BUILD / "culvertctl", "--control", daemon.control, "watch",
             *map(str, args)], stdin=theirs if terminal else None,
            stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
            if terminal else None,
            env={**environment(), "TERM": term})
        os.close(theirs)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ,
                    struct.pack("HHHH", rows, columns, 0, 0))

    def is_restored(self):
        """The shell that comes next finds its terminal as it was."""
        return termios.tcgetattr(self.fd) == self.modes

    def read(self):
        """False at the end."""
        assert select.select([self.fd], [], [], DEADLINE)[0], self.seen
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # how the end of a terminal is reported
            data = b""
        self.seen += data.decode()
        return bool(data)

    def wait_for(self, pattern):
        """Reads until the text is there; earlier output is dropped."""
        while not (found := re.search(pattern, self.seen, re.S)):
            assert self.read(), self.seen
        self.seen = self.seen[found.end():]
        return found

    def rest(self):
        while self.read():
            pass
        return self.seen

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(DEADLINE)
        os.close(self.fd)


def rows(frame):
    """The rows of a window after a refresh, by number."""
    return {int(n): text for n, text in re.findall(
        r"\x1b\[(\d+);1H\x1b\[K([^\x1b]*)", frame)}


def test_watch_shows_what_moves(culvert, origin):
    server, over = origin(), threading.Event()
    with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock, \
            socks5_tunnel(culvert.port, "127.0.0.1", server.port) as quiet:
        def talk():
            while not over.is_set():
                ping(sock)

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            with Watch(culvert, "-i", 0.2) as watch:
                watch.wait_for(r"\nrate +not known yet\n")
                watch.wait_for(r"\nrate +[1-9]\S* \w+/s up, [1-9]\S* \w+/s "
                               r"down\ntunnels +2 open, 0 waiting; 2 clients\n"
                               r"path +rtt \S+ ms, MTU \d+, loss \S+ % \(")
                client = "127.0.0.1:%d" % sock.getsockname()[1]
                watch.wait_for(rf"\nTARGET [^\n]*\n127.0.0.1:{server.port} +"
                               rf"[1-9]\S* \w+/s +[1-9]\S* \w+/s [^\n]*"
                               rf" {client}\n")
            quiet.sendall(b"x" * 10_000)
            receive(quiet, 10_000)
            top = {t["client"]: t for t in culvert.status()["top"]}
        finally:
            over.set()
            thread.join()
        assert top.pop(client)["state"] == "open"
        [other] = top.values()
        assert other["bytes"] == {"up": 10_000, "down": 10_000}
        assert other["target"] == f"127.0.0.1:{server.port}"


def test_watch_into_a_pipe(embedded):
    """As many blocks of plain text as --count says."""
    done = run("culvertctl", "--control", embedded.control, "watch", "-n", 3,
               "--interval", 0.1, env={"TERM": "xterm"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout and "\r" not in done.stdout
    blocks = done.stdout.split("\n\n")
    assert len(blocks) == 3
    assert all(block.startswith("state      up\n") for block in blocks)
    done = run("culvertctl", "--control", embedded.control, "--json", "watch",
               "-n", 2, "-i", 0.1)
    assert [json.loads(line)["pid"] for line in done.stdout.splitlines()] == \
        [embedded.pid] * 2


@pytest.mark.parametrize("key", [b"\x03", b"q", b"\x1c"])
def test_watch_on_a_terminal(embedded, key):
    """It fits the window, follows it, and leaves the screen as it was."""
    with Watch(embedded, "-i", 3600, terminal=True) as watch:
        watch.wait_for(r"^\x1b\[\?1049h\x1b\[\?25l\x1b\[H\x1b\[J")
        frame = watch.wait_for(r"(.*?)\x1b\[7;1H\x1b\[J")[1]
        seen = rows(frame)
        assert [seen[n].split()[0] for n in range(1, 7)] == [
            "state", "edge", "rate", "tunnels", "path", "culvert"]
        watch.resize(5, 20)
        while len(watch.seen) < 5 or 5 not in rows(watch.seen):
            assert watch.read()
        assert rows(watch.seen) == {n: seen[n][:20] for n in range(1, 6)}
        watch.seen = ""
        assert not watch.is_restored()
        os.write(watch.fd, b"xyz" + key)
        assert watch.rest() == "\x1b[?25h\x1b[?1049l"
        assert watch.process.wait(DEADLINE) == 0


def test_watch_while_nothing_answers(embedded):
    """The window and the keys go on, and the terminal is left as it was."""
    with Watch(embedded, "-i", 0.1, terminal=True) as watch:
        seen = rows(watch.wait_for(r"(.*?)\x1b\[7;1H\x1b\[J")[1])
        os.kill(embedded.pid, signal.SIGSTOP)
        try:
            watch.resize(3, 20)
            while not rows(watch.seen) == {
                    n: seen[n][:20] for n in range(1, 4)}:
                assert watch.read()
                watch.seen = watch.seen[watch.seen.rfind("\x1b[1;1H"):]
            watch.seen = ""
            os.write(watch.fd, b"q")
            while not watch.seen.endswith("\x1b[?25h\x1b[?1049l"):
                assert watch.read()
            assert watch.process.wait(DEADLINE) == 0
        finally:
            os.kill(embedded.pid, signal.SIGCONT)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_watch_ends_while_nothing_answers(tmp_path, end):
    """The screen is restored at once, though culvert hangs."""
    class Hung:
        control = tmp_path / "c.sock"

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(Hung.control))
        server.listen()
        with Watch(Hung, terminal=True) as watch:
            watch.wait_for(r"\x1b\[J")
            server.accept()[0].detach()
            watch.process.send_signal(end)
            assert watch.rest() == "\x1b[?25h\x1b[?1049l"
            assert watch.process.wait(DEADLINE) == 0


def test_watch_is_stopped_and_goes_on(embedded):
    """The shell has its own screen meanwhile."""
    with Watch(embedded, "-i", 3600, terminal=True) as watch:
        watch.wait_for(r"\x1b\[7;1H\x1b\[J")
        os.kill(watch.process.pid, signal.SIGTSTP)
        watch.wait_for(r"^\x1b\[\?25h\x1b\[\?1049l")
        os.waitid(os.P_PID, watch.process.pid, os.WSTOPPED)
        assert watch.is_restored()
        os.kill(watch.process.pid, signal.SIGCONT)
        watch.wait_for(r"^\x1b\[\?1049h.*state +up.*\x1b\[7;1H\x1b\[J")
        assert not watch.is_restored()
        # It is stopped by SIGSTOP, and the terminal is used.
        os.kill(watch.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, watch.process.pid, os.WSTOPPED)
        termios.tcsetattr(watch.fd, termios.TCSANOW, watch.modes)
        os.kill(watch.process.pid, signal.SIGCONT)
        watch.wait_for(r"^\x1b\[\?1049h.*state +up.*\x1b\[7;1H\x1b\[J")
        assert not watch.is_restored()


def test_watch_on_a_plain_terminal(embedded):
    with Watch(embedded, "-n", 1, terminal=True, term="dumb") as watch:
        assert "\x1b" not in watch.rest()
        assert watch.seen.startswith("state      up\r\n")


def test_watch_leaves_the_last_refresh(embedded):
    with Watch(embedded, "-n", 2, "-i", 0.1, terminal=True) as watch:
        text = watch.rest().rpartition("\x1b[?25h\x1b[?1049l")[2]
        assert text.startswith("state      up\r\n") and "\x1b" not in text
        assert watch.process.wait(DEADLINE) == 0


def test_watch_sees_culvert_go_and_come(start_embedded):
    first = start_embedded()
    with Watch(first, "-i", 0.1) as watch:
        watch.wait_for(rf"state +up\n.*\nculvert [^\n]* process {first.pid},")
        first.kill()
        watch.wait_for(r"\n\nstate +no answer for \d+ s\n"
                       r"error +culvert is not running \([^\n]*\)\n\n")
        second = start_embedded("--control", first.control)
        watch.wait_for(rf"\nculvert [^\n]* process {second.pid},[^\n]*\n"
                       r"note +culvert answers again after \d+ s\n")
        second.stop()
        watch.wait_for(r"state +no answer for ")


# ---- Without a culvert ----

def test_watch_without_an_answer(tmp_path):
    done = run("culvertctl", "--control", tmp_path / "c.sock", "watch", "-n",
               2, "-i", 0.1)
    assert (done.returncode, done.stderr) == (1, "")
    assert len(re.findall(r"^state +no answer for \d+ s\nerror +culvert is not "
                          r"running \(", done.stdout, re.M)) == 2
    done = run("culvertctl", "--control", tmp_path / "c.sock", "--json",
               "watch", "-n", 1)
    assert done.returncode == 1
    assert "not running" in json.loads(done.stdout)["error"]


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
    (b"", "closed the connection"),
    (b"HTTP/1.1 200 OK\r\nContent-Le", "closed the connection"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
     "closed the connection"),
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
    ("-x", "status"), ("--control",), ("-n", "1", "status"),
    ("watch", "-n", "0"), ("watch", "-n", "-1"), ("watch", "-n", "1x"),
    ("watch", "-n", "99999999999999999999"), ("watch", "-n"),
    ("watch", "-i", "0"), ("watch", "-i", "nan"), ("watch", "-i", "1s"),
    ("watch", "-i", "86401"), ("watch", "--interval=")])
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
    assert "another culvert is using it" in done.stderr
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
