"""The stage of hostile clients and an honest one: all of it processes.

    attackers ════════════════╗
                              ╠═▶ culvert-edge ──▶ two origins
    honest ──▶ culvert ═══════╝
"""

import contextlib
import json
import os
import pathlib
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

from certificate import NAMES, SERVER, Pair
from daemon import BUILD, DEADLINE, SAN, Daemon, environment, wait_until
from messages import CONNECTED
from names import NameServer
from origin import Origin
from server import serve

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = BUILD / "hostile"

# Where attackers come from: not from the honest client's address.
SOURCES = "127.0.{}.1"

# Bytes of queries that wait at the name server: it is slow, and its losses are
# no fault of the edge.
QUEUE = 1 << 24

SAMPLE = 0.05  # seconds between two looks at the edge's memory
TARGETS = 6  # lines that the program target prints
MS = 1e6  # nanoseconds

# A record of watch.h.
RECORD = struct.Struct("=5Q")
RECORDS = 8


def processors():
    """The processors of the attackers, and those of all others: an attacker
    takes from the honest client only what it takes from the edge, and not
    what its own program needs."""
    all_ = sorted(os.sched_getaffinity(0))
    return set(all_[-1:]), set(all_[:-1] or all_)


class Watch:
    """The longest iterations of the edge's loop, by watch.so."""

    def __init__(self, directory):
        self.path = directory / "watch"
        self.path.write_bytes(bytes(RECORDS * RECORD.size))
        # A sanitizer must be the first library.
        self.env = {} if SAN else {"LD_PRELOAD": str(PROGRAMS / "watch.so"),
                                   "CULVERT_WATCH": str(self.path)}

    def records(self):
        return list(RECORD.iter_unpack(self.path.read_bytes()))

    def clear(self):
        """The maxima alone."""
        with open(self.path, "r+b") as file:
            for i in range(RECORDS):
                file.seek(i * RECORD.size + 24)
                file.write(bytes(16))

    def pid(self):
        """The process that polls most: others may only look after it."""
        pid, iterations, *_ = max(self.records(), key=lambda r: r[1])
        return pid if iterations else None

    def longest(self):
        """Milliseconds by the clock, and of CPU time if it has ended."""
        if not self.pid():
            return None, None
        _, _, began, wall, cpu = max(self.records(), key=lambda r: r[1])
        if began:
            wall = max(wall, time.monotonic_ns() - began)
        return wall / MS, cpu / MS


class Sampler:
    """Watches the edge's memory and descriptors from entry to exit."""

    def __init__(self, stage):
        self.stage = stage
        self.over = threading.Event()
        self.rss, self.fds, self.loop = [], [], []

    def run(self):
        while not self.over.wait(SAMPLE):
            self.loop.append(self.stage.watch.longest()[0])
            self.rss.append(self.stage.rss())
            if len(self.rss) % 10 == 0:
                self.fds.append(self.stage.fds() or 0)

    def __enter__(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_exc):
        self.over.set()
        self.thread.join()


class Stage(contextlib.ExitStack):
    """An edge with so much memory, and its users."""

    def __init__(self, directory, memory, attackers_have, files=None):
        super().__init__()
        self.directory, self.memory = pathlib.Path(directory), memory
        self.files = files
        self.attackers_have = attackers_have

    def __enter__(self):
        self.directory.mkdir()
        self.pair = Pair(self.directory, "edge", SERVER, NAMES)
        self.origin = Origin(serve)
        self.callback(self.origin.close)
        self.names = NameServer()
        self.names.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE)
        self.callback(self.names.close)
        self.watch = Watch(self.directory)
        self.edge = Daemon(
            "culvert-edge", self.directory, "-l", "127.0.0.1:0", "--open",
            "--cert", self.pair.cert, "--key", self.pair.key, "--allow",
            "127.0.0.0/8", "--memory-max", self.memory, "--grace", 1,
            "--resolver", f"127.0.0.1:{self.names.port}", preexec=self.limit_files,
            env=self.watch.env)
        self.callback(self.edge.stop)
        self.start_target()
        self.culvert = self.start_culvert("honest")
        self.callback(self.culvert.stop)
        self.honest = subprocess.Popen(
            [sys.executable, HERE / "honest.py", str(self.culvert.port),
             str(self.origin.port)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.callback(self.stop_honest)
        return self

    def start_target(self):
        """The origin of the hostile clients."""
        process = subprocess.Popen(
            [PROGRAMS / "target"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, preexec_fn=self.step_aside)
        self.targets = ["{}={}".format(*process.stdout.readline().split())
                        for _ in range(TARGETS)]

        def stop():
            process.stdin.close()
            process.wait(DEADLINE)
            process.stdout.close()

        self.callback(stop)

    def limit_files(self):
        if self.files:
            resource.setrlimit(resource.RLIMIT_NOFILE,
                               (self.files, self.files))

    def step_aside(self):
        os.sched_setaffinity(0, self.attackers_have)

    def start_culvert(self, name):
        directory = self.directory / name
        directory.mkdir()
        culvert = Daemon("culvert", directory, "-l", "127.0.0.1:0", "-e",
                         f"127.0.0.1:{self.edge.port}", "--pin",
                         self.pair.pin())
        try:
            culvert.wait_for(CONNECTED)
        except AssertionError:
            culvert.kill()
            raise
        return culvert

    def stop_honest(self):
        self.honest.kill()
        self.honest.wait(DEADLINE)
        self.honest.stdin.close()
        self.honest.stdout.close()

    # ---- The edge ----

    def pid(self):
        return self.watch.pid() or self.edge.pid

    def rss(self):
        with open(f"/proc/{self.pid()}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def fds(self):
        try:
            return len(os.listdir(f"/proc/{self.pid()}/fd"))
        except PermissionError:
            return None

    def cpu(self):
        with open(f"/proc/{self.pid()}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def check(self):
        for daemon in (self.edge, self.culvert):
            assert daemon.process.poll() is None, \
                f"{daemon.program} has died:\n{daemon.log[-2000:]}"
        wrong = [error for error in self.origin.errors
                 if not isinstance(error, OSError)]
        assert not wrong, f"the origin: {wrong[0]!r}"

    # ---- The clients ----

    def account(self):
        """The honest client's counts since the last call."""
        self.honest.stdin.write("\n")
        self.honest.stdin.flush()
        return json.loads(self.honest.stdout.readline())

    def newcomer(self, name):
        """Seconds until a proxy that starts now can be used."""
        began = time.monotonic()
        culvert = self.start_culvert(name)
        took = time.monotonic() - began
        culvert.stop()
        return took

    def attack(self, act, seconds, seed, most, place):
        """Starts a hostile client."""
        return subprocess.Popen(
            [PROGRAMS / "attacker", "-t", f"{seconds:.1f}", "-s", str(seed),
             *(["-n", str(most)] if most else []),
             f"127.0.0.1:{self.edge.port}", SOURCES.format(place), act,
             *self.targets], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, preexec_fn=self.step_aside, env=environment())


def finish(process, deadline):
    """The tally of a hostile client that has come to its end."""
    try:
        out, err = process.communicate(timeout=deadline)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        raise AssertionError("a hostile client does not end") from None
    assert process.returncode == 0, \
        f"a hostile client has failed ({process.returncode}): {err}"
    return {name: int(value) for name, value in
            (line.split() for line in out.splitlines())}


def acts():
    return subprocess.run([PROGRAMS / "attacker"], capture_output=True,
                          text=True, check=True).stdout.split()


def wait_fds(stage, count, deadline):
    """The descriptors, once they are as many again, or after the deadline."""
    with contextlib.suppress(AssertionError):
        wait_until(lambda: stage.fds() is None or stage.fds() <= count,
                   "the edge closes its descriptors", deadline)
    return stage.fds()
