"""A log that is not read, or has no space, does not block a proxy."""

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess

import pytest

from client import works
from daemon import BUILD, DEADLINE, environment, run, wait_until


class Silent:
    """A culvert with an edge in it, whose log goes to `log`."""

    def __init__(self, directory, log):
        self.control = directory / "c.sock"
        self.process = subprocess.Popen(
            [BUILD / "culvert", "-vv", "-l", "127.0.0.1:0", "--embedded-edge",
             "--control", self.control], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=log, env=environment())

        def status():
            done = run("culvertctl", "--control", self.control, "--json",
                       "status")
            return done.returncode == 0 and json.loads(done.stdout)

        found = wait_until(lambda: (s := status()) and s["state"] == "up" and
                           s, "culvert is up")
        self.port = int(re.search(r'"127\.0\.0\.1:(\d+)"',
                                  json.dumps(found["listen"]))[1])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(DEADLINE) == 0


def filled_pipe():
    """A pipe that takes no more, and how much was in it."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writer, b"x" * 4095 + b"\n"):
            pass
    os.set_blocking(writer, True)
    return reader, writer


def filled_socket():
    """A stream socket, as journald has it, in the same state."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while writer.send(b"x" * 4095 + b"\n"):
            pass
    writer.setblocking(True)
    return reader.detach(), writer.detach()


@pytest.mark.parametrize("filled", [filled_pipe, filled_socket])
def test_nobody_reads(tmp_path, origin, filled):
    """The proxy goes on; and its lines are there when the log is read."""
    reader, writer = filled()
    server = origin()
    culvert = Silent(tmp_path, writer)
    for _ in range(20):
        works(culvert, server)
    # The file is shared with others: their writes still wait.
    assert not fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK
    os.close(writer)
    os.set_blocking(reader, False)
    text = b""

    def all_told():
        nonlocal text
        with contextlib.suppress(BlockingIOError):
            text += os.read(reader, 1 << 20)
        return text.count(b"by socks5 to") >= 20

    wait_until(all_told, "what waited is written by itself")
    culvert.stop()
    os.close(reader)


def test_the_reader_goes(tmp_path, origin):
    reader, writer = os.pipe()
    culvert = Silent(tmp_path, writer)
    os.close(writer)
    os.close(reader)
    server = origin()
    for _ in range(5):
        works(culvert, server)
    culvert.stop()


def test_no_room(tmp_path, origin):
    """A log file on a full disk."""
    server = origin()
    with open("/dev/full", "wb") as full:
        culvert = Silent(tmp_path, full)
        for _ in range(5):
            works(culvert, server)
        culvert.stop()


def test_an_end_that_nobody_reads(tmp_path):
    """It waits for a reader, but not long."""
    reader, writer = filled_pipe()
    culvert = Silent(tmp_path, writer)
    culvert.stop()
    os.close(reader)
    os.close(writer)
