"""What the soak shakes: a proxy, two edges with a line to each, an origin.

    clients ──▶ culvert ═╦═▶ line ══▶ culvert-edge ─┬─▶ origin
                         ╚═▶ line ══▶ culvert-edge ─┘
"""

import contextlib
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time
import traceback

from certificate import NAMES, SERVER, Pair
from daemon import BUILD, DEADLINE, REPORT, Daemon
from messages import CONNECTED, RELOAD_DONE
from origin import Origin
from server import serve

# Outside the range of client ports: while an edge or its line is down, the
# kernel gives their ports to no other program.
EDGES = "127.0.0.2"

# Tunnels on a connection to the second edge, as many as others allow: a
# crowd must wait for further connections.
STREAMS_MAX = 100

# Seconds for open tunnels when an edge shuts down; none lasts longer.
GRACE = 45

VERBOSE = "[log]\nverbose = 1\n"
BROKEN = "[log]\nvebrose = 1\n"  # no daemon takes such a configuration


class Line:
    """The program that carries the datagrams, and its commands."""

    def __init__(self, edge_port, seed):
        self.process = subprocess.Popen(
            [BUILD / "soak" / "line", "-s", str(seed), f"{EDGES}:{edge_port}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lock = threading.Lock()
        self.port = int(self.process.stdout.readline().split()[1])

    def say(self, order):
        with self.lock:
            self.process.stdin.write(order + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        assert answer == "ok\n", f"the line does not obey: {order}"

    def stop(self):
        self.process.stdin.close()
        self.process.wait(DEADLINE)
        self.process.stdout.close()


def starved():
    """TCP connections that the kernel has cut to get their memory."""
    with open("/proc/net/netstat", encoding="ascii") as file:
        names, values = next(file).split(), next(file).split()
    return int(values[names.index("TCPAbortOnMemory")])


class Harm:
    """When tunnels could be cut: the time of each fault that may do so."""

    def __init__(self):
        self.lock = threading.Lock()
        self.times = []  # [begin, end], of which the end is None at first
        self.starved, self.looked = starved(), time.monotonic()

    def look(self):
        """Other programs may have taken TCP's memory."""
        with self.lock:
            now, count = time.monotonic(), starved()
            if count > self.starved:
                self.times.append([self.looked, now])
            self.starved, self.looked = count, now

    @contextlib.contextmanager
    def during(self):
        time_ = [time.monotonic(), None]
        with self.lock:
            self.times.append(time_)
        try:
            yield
        finally:
            time_[1] = time.monotonic()

    def since(self, began):
        """Whether there was any since then."""
        with self.lock:
            return any(end is None or end >= began for _, end in self.times)


class Side:
    """An edge and its successors, and the line to it."""

    def __init__(self, world, name, *flags):
        self.directory = world.directory / name
        self.directory.mkdir()
        self.conf = self.directory / "edge.conf"
        self.flags = ("--open", "--cert", world.pair.cert, "--key",
                      world.pair.key, "--allow", "127.0.0.0/8", "--allow",
                      "::1/128", "--grace", GRACE, "--cc", world.cc, "-f",
                      self.conf, *flags)
        self.port = self.lives = 0
        self.start()
        self.port = self.edge.port
        world.callback(lambda: self.edge.stop())
        self.line = Line(self.port, world.seed)
        world.callback(self.line.stop)
        self.name = f"{EDGES}:{self.line.port}"

    def start(self):
        self.lives += 1
        directory = self.directory / str(self.lives)
        directory.mkdir()
        self.conf.write_text(VERBOSE)
        self.edge = Daemon("culvert-edge", directory, "-l",
                           f"{EDGES}:{self.port}", *self.flags)
        self.ended = False

    def end(self, how):
        """Ends the edge by one of its methods."""
        self.ended = True
        how(self.edge)
        assert not REPORT.search(self.edge.log), self.edge.log


def reload(daemon, path, text):
    """Gives a daemon another configuration, and waits until it is loaded."""
    path.write_text(text)
    said = daemon.log.count("is reloaded")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for(RELOAD_DONE, said + 1)


class World(contextlib.ExitStack):
    """Everything that runs, and the first thing that went wrong."""

    deadline = DEADLINE

    def __init__(self, directory, seed):
        super().__init__()
        self.directory, self.seed = pathlib.Path(directory), seed
        self.cc = random.Random(seed).choice(("bbr", "cubic"))
        self.harm = Harm()
        self.began = time.monotonic()
        self.failed = threading.Event()
        self.failure = None

    def __enter__(self):
        self.pair = Pair(self.directory, "edge", SERVER, NAMES)
        self.origin = Origin(serve)
        self.callback(self.origin.close)
        closed = self.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))  # and never listens
        self.closed_port = closed.getsockname()[1]
        self.sides = [Side(self, "first"),
                      Side(self, "second", "--streams-max", STREAMS_MAX)]
        self.conf = self.directory / "culvert.conf"
        self.conf.write_text(self.configuration(self.sides))
        self.culvert = Daemon("culvert", self.directory, "-f", self.conf)
        self.callback(self.culvert.stop)
        self.proxy = self.culvert.port
        self.culvert.wait_for(CONNECTED)
        return self

    def configuration(self, sides):
        """The proxy's, with its edges in this order."""
        edges = "".join(f"edge = {side.name}\n" for side in sides)
        return (f"[proxy]\nlisten = 127.0.0.1:0\n[edge]\n{edges}"
                f"pin = {self.pair.pin()}\n[path]\ncc = {self.cc}\n{VERBOSE}")

    def daemons(self):
        return [self.culvert, *(side.edge for side in self.sides)]

    def used(self):
        """The side that gets the new tunnels, and the other one."""
        edge = self.culvert.status()["edge"]
        return sorted(self.sides, key=lambda side: side.name != edge)

    def restore(self):
        """The lines as they were, and the proxy on its first edge."""
        for side in self.sides:
            side.line.say("clear")
        reload(self.culvert, self.conf, self.configuration(self.sides))

    # ---- Failures ----

    def fail(self, why):
        """The first failure counts; later ones may follow from it."""
        if not self.failed.is_set():
            self.failure = f"{time.monotonic() - self.began:.1f} s: {why}"
            self.failed.set()

    @contextlib.contextmanager
    def watching(self, who):
        """Whatever is raised inside is a failure of the soak."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            self.fail(f"{who}: {type(error).__name__}: {error}")

    def excuse(self, what, began, error):
        """Tunnels are cut and clients refused for a reason, or not at all."""
        self.harm.look()
        if not self.harm.since(began):
            raise AssertionError(
                f"{what}: {error!r}, and nothing has happened that would "
                "cut or refuse a tunnel") from error

    def check(self):
        """Raises the first failure, if any."""
        self.harm.look()
        errors = [error for error in self.origin.errors
                  if not isinstance(error, OSError)
                  or isinstance(error, TimeoutError)]
        if errors:
            self.fail(f"the origin: {errors[0]!r}")
        alive = [self.culvert, *(side.edge for side in self.sides
                                 if not side.ended)]
        for daemon in alive:
            if daemon.process.poll() is not None:
                self.fail(f"{daemon.program} has died")
        if self.failed.is_set():
            raise AssertionError(self.failure)
