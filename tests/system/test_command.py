"""The programs as commands: what they refuse, and their messages."""

import os
import signal
import subprocess

import pytest

from daemon import BUILD, DEADLINE, environment, run, wait_until
from messages import CONNECTED, RELOADED


@pytest.fixture
def config(tmp_path):
    """config(text) → the path of a file with that text."""

    def write(text):
        path = tmp_path / "culvert.conf"
        path.write_text(text)
        return path

    return write


def rejected(done, *words):
    """Exit status 2, nothing on stdout, and a message with the reason."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr, done.stderr


# ---- Options ----

@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees descriptors of "
                    "a process that may not be traced")
def test_closed_descriptors(tmp_path):
    """No socket or pipe becomes standard error, into which the log goes."""
    control = tmp_path / "c.sock"
    with subprocess.Popen(
            [BUILD / "culvert", "--embedded-edge", "-l", "127.0.0.1:0",
             "--control", control], env=environment(),
            preexec_fn=lambda: os.closerange(0, 3)) as process:
        try:
            wait_until(lambda: control.exists() or process.poll() is not None,
                       "it listens")
            found = [os.readlink(f"/proc/{process.pid}/fd/{fd}")
                     for fd in range(3)]
        finally:
            process.terminate()
        assert process.wait(DEADLINE) == 0
    assert found == ["/dev/null"] * 3


def block_signals():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


@pytest.mark.parametrize("program", ["culvert", "culvert-edge"])
def test_blocked_signals(start_edge, start_culvert, program):
    """As a program leaves them blocked that starts others from a thread."""
    edge = start_edge(preexec=block_signals)
    daemon = edge if program == "culvert-edge" \
        else start_culvert(edge, preexec=block_signals)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for(RELOADED)
    daemon.stop()


@pytest.mark.parametrize("text", ["no PEM", None])
@pytest.mark.parametrize("program", ["culvert", "culvert-edge"])
def test_authorities_that_are_none(ca, tmp_path, program, text):
    """The message names the file and its fault."""
    path = tmp_path / "authorities"
    if text is None:
        path.mkdir()
    else:
        path.write_text(text)
    flags = ("-e", "127.0.0.1:1", "--ca", path) if program == "culvert" else (
        "--open", "--cert", ca.good.cert, "--key", ca.good.key,
        "--client-ca", path)
    done = run(program, "-l", "127.0.0.1:0", *flags)
    assert done.returncode == 1
    why = "Is a directory" if text is None else \
        "the file contains no certificate"
    assert f"{path}: {why}" in done.stderr, done.stderr


# ---- Listeners ----

@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"])
def test_open_listener(address):
    """A proxy for the whole network needs a password, and says so."""
    done = run("culvert", "--embedded-edge", "-l", address)
    rejected(done, f"other machines can reach {address}",
             "--listen-users")


def test_open_listener_with_users(start, users):
    culvert = start("culvert", "--embedded-edge", "-l", "0.0.0.0:0",
                    "--listen-users", users)
    assert "0.0.0.0" in culvert.wait_for(r"listening on (\S+)")[1]


def test_no_edge():
    rejected(run("culvert", "-l", "127.0.0.1:0"), "--edge",
             "--embedded-edge")


def test_edge_for_everybody(ca):
    """Without users, --open must be given."""
    done = run("culvert-edge", "-l", "127.0.0.1:0", "--cert", ca.good.cert,
               "--key", ca.good.key)
    rejected(done, "--users", "--open")


def test_address_in_use(start_embedded, tmp_path):
    """A run-time failure: the configuration is right, the world is not."""
    port = start_embedded().port
    done = run("culvert", "--embedded-edge", "-l", f"127.0.0.1:{port}",
               "--control", tmp_path / "other.sock")
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" \
        in done.stderr


def test_control_in_use(start_embedded):
    culvert = start_embedded()
    done = run("culvert", "--embedded-edge", "-l", "127.0.0.1:0",
               "--control", culvert.control)
    assert done.returncode == 1
    assert str(culvert.control) in done.stderr
    assert culvert.status()["pid"] == culvert.pid


# ---- Configuration files ----

GOOD = "[proxy]\nlisten = 127.0.0.1:0\n[edge]\nedge = edge.example\n"


def test_check(config):
    done = run("culvert", "-n", "-f", config(GOOD))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("text, line, word", [
    ("[proxy]\nlisten = 127.0.0.1:0\ncolour = blue\n", 3, "colour"),
    ("[garden]\nlisten = 127.0.0.1:0\n", 2, "garden"),
    ("[edge]\n\nedge = edge.example:0\n", 3, "edge: the value"),
    ("[proxy]\nlisten 127.0.0.1:0\n", 2, ""),
    ("[path]\ncc = reno\n", 2, "cubic or bbr"),
])
def test_error_has_a_line(config, text, line, word):
    path = config(text)
    for flags in ((), ("-n",)):
        rejected(run("culvert", *flags, "-e", "edge.example", "-f", path),
                 f"{path}:{line}: ", word)


def test_file_is_used(start, config):
    culvert = start("culvert", "-v", "-f",
                    config("[proxy]\nlisten = 127.0.0.1:0\n"
                           "[edge]\nembedded-edge = yes\n"))
    culvert.wait_for(CONNECTED)


def test_option_overrides_the_file(config):
    path = config(GOOD)
    rejected(run("culvert", "-n", "-f", path, "-o", "path.cc=reno"), "cc: ")
    assert run("culvert", "-n", "-f", path, "-o",
               "path.cc=bbr").returncode == 0


@pytest.mark.parametrize("flags", [
    ("--colour", "blue"), ("-l", "nowhere"), ("-f", "/nonexistent"),
    ("--ca", "/nonexistent"), ("-o", "proxy.colour=blue"),
    ("--pin", "sha256//short"), ("--user", "no password")])
def test_wrong_flag(flags):
    done = run("culvert", "-e", "edge.example", *flags)
    rejected(done)
    assert any(flag.lstrip("-") in done.stderr for flag in flags), done


def test_key_without_certificate(ca):
    rejected(run("culvert", "-e", "edge.example", "--key", ca.client.key),
             "--cert")


@pytest.mark.parametrize("program", ["culvert", "culvert-edge", "culvertctl"])
def test_help_and_version(program):
    usage = run(program, "-h")
    assert usage.returncode == 0
    assert usage.stdout.startswith(f"usage: {program}")
    version = run(program, "-V")
    assert version.returncode == 0
    assert version.stdout.startswith(program)


SECRET = "geheim"


@pytest.mark.parametrize("program", ["culvert", "culvert-edge", "culvertctl"])
@pytest.mark.parametrize("flags", [
    (f"--usr=alice:{SECRET}",), ("--usr", f"alice:{SECRET}"),
    (f"-xalice:{SECRET}",), (f"-zalice:{SECRET}",), (SECRET,),
    (f"alice:{SECRET}",), ("--edge", f"https://alice:{SECRET}@edge.example"),
    ("--user", SECRET), ("--user-file", f"alice:{SECRET}"),
    ("--users", f"alice:{SECRET}"), ("--ca", SECRET), ("-f", SECRET),
    ("-o", f"edge.usr=alice:{SECRET}"), (f"--json={SECRET}",)])
def test_a_secret_at_the_wrong_place(program, flags):
    """A mistyped option is named, and its value is not."""
    done = run(program, *flags)
    rejected(done, f"{program}: ")
    assert SECRET not in done.stderr


# ---- culvertctl ----

def test_ctl_without_culvert(tmp_path):
    done = run("culvertctl", "--control", tmp_path / "c.sock", "status")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("culvertctl: culvert is not running")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("flags", [(), ("dance",), ("status", "twice")])
def test_ctl_usage(flags):
    done = run("culvertctl", *flags)
    assert done.returncode == 2
    assert "usage: culvertctl" in done.stderr


def test_ctl_by_default_path(start, tmp_path):
    """Both programs agree on where the socket is."""
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    culvert = start("culvert", "-l", "127.0.0.1:0", "--embedded-edge",
                    control=False, env=env)
    culvert.wait_for(CONNECTED)
    path = tmp_path / "culvert" / "control.sock"
    assert path.stat().st_mode & 0o7777 == 0o600
    assert path.parent.stat().st_mode & 0o022 == 0
    done = run("culvertctl", "status", env=env)
    assert done.returncode == 0, done.stderr
    assert "up" in done.stdout
    culvert.stop()
    assert list(path.parent.iterdir()) == []
