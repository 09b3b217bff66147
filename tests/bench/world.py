"""Where the proxies are measured: this machine, or two ends of a bad line.

A world has a near place, of the clients and the local proxies, and a far one,
of the edges and the origin.  On leaving it everything that ran there has
ended.
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

BUILD = pathlib.Path(os.environ["CULVERT_BUILD"])
BENCH = BUILD / "bench"

START_SECONDS = 20  # after which a proxy counts as one that does not work
STOP_SECONDS = 5  # that a process has to end in order
TICKS = os.sysconf("SC_CLK_TCK")
LISTENING = "0A"  # a state in /proc/net/tcp

# Whatever becomes of the benchmark, what it started ends with it.
DIE_TOGETHER = ["setpriv", "--pdeathsig", "TERM"]


class Missing(Exception):
    """A peer, a stage or a figure is not to be had, and why."""


def need(program):
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin")
    if path is None:
        raise Missing(f"{program} is not installed")
    return path


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True,
                          text=True, check=False)
    if done.returncode != 0:
        raise Missing(f"{command[0]}: {last_line(done.stderr)}")
    return done.stdout


def last_line(text):
    return (text.strip().splitlines() or ["no word"])[-1]


class Process:
    """A program that runs in one of the places, and what it uses."""

    def __init__(self, prefix, command, log):
        self.log = log
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                [*DIE_TOGETHER, *prefix, *map(str, command)], stdin=subprocess.PIPE,
                stdout=output, stderr=output)
        self.pid = self.process.pid

    def text(self):
        return self.log.read_text(errors="replace")

    def wait_for(self, condition, what):
        """Polls until condition() is true, and returns that."""
        end = time.monotonic() + START_SECONDS
        while not (value := condition()):
            if self.process.poll() is not None or time.monotonic() > end:
                raise Missing(f"{what}: {last_line(self.text())}")
            time.sleep(0.01)
        return value

    def wait_line(self, pattern):
        return self.wait_for(lambda: re.search(pattern, self.text()), pattern)

    def wait_listening(self, port):
        """Waits for a listener on a TCP port of the process's namespace."""
        entry = re.compile(rf":{port:04X} \S+ {LISTENING} ")

        def listens():
            with contextlib.suppress(OSError):
                path = pathlib.Path(f"/proc/{self.pid}/net/tcp")
                return entry.search(path.read_text(encoding="ascii"))
            return None

        self.wait_for(listens, f"no listener on port {port}")

    def family(self):
        """The process and all that came of it."""
        pids, new = [], [self.pid]
        while new:
            pids += new
            new = [int(child) for pid in new for child in children(pid)]
        return pids

    def cpu(self):
        """Seconds of processor time, with what ended before."""
        total = 0
        for pid in self.family():
            with contextlib.suppress(OSError):
                stat = pathlib.Path(f"/proc/{pid}/stat").read_text("ascii")
                fields = stat.rpartition(")")[2].split()
                total += sum(map(int, fields[11:15]))
        return total / TICKS

    def rss(self):
        """Bytes in memory."""
        total = 0
        for pid in self.family():
            with contextlib.suppress(OSError):
                status = pathlib.Path(f"/proc/{pid}/status").read_text("ascii")
                total += 1024 * int(re.search(r"VmRSS:\s+(\d+)", status)[1])
        return total

    def stop(self):
        """Ends the process, and what it has left to live on alone."""
        self.process.stdin.close()
        for pid in self.family() if self.process.poll() is None else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def children(pid):
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            path = pathlib.Path(f"/proc/{pid}/task/{task}/children")
            found += path.read_text("ascii").split()
    return found


class Place:
    """One side: how a program gets there, and the address it has there."""

    def __init__(self, address, namespace=None):
        self.address = address
        self.prefix = [] if namespace is None else [
            need("ip"), "netns", "exec", namespace]


@contextlib.contextmanager
def allowed(*ccs):
    """Lets the namespaces choose these algorithms of the kernel's TCP: only
    those that everybody may use can be their default."""
    path = pathlib.Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
    before = path.read_text("ascii")
    for cc in ccs:
        with contextlib.suppress(OSError):
            subprocess.run(["modprobe", "-q", f"tcp_{cc}"], check=False)
        with contextlib.suppress(OSError):
            path.write_text(f"{path.read_text('ascii').strip()} {cc}\n")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.write_text(before)


class World(contextlib.ExitStack):
    """Both sides, an origin on the far one, and what is started there."""

    def __init__(self, cc=None):
        super().__init__()
        self.cc = cc
        self.count = 0

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="culvert-"))
        self.callback(shutil.rmtree, self.directory, ignore_errors=True)
        try:
            self.near, self.far = self.open_places()
            origin = self.spawn(self.far, BENCH / "origin",
                                f"{self.far.address}:0")
            port = origin.wait_line(r"port (\d+)\n")[1]
        except BaseException:
            self.close()
            raise
        self.origin = f"{self.far.address}:{port}"
        return self

    def spawn(self, place, *command):
        """Starts a program, which ends with this world."""
        self.count += 1
        log = self.directory / f"{self.count}.log"
        process = Process(place.prefix, command, log)
        self.callback(process.stop)
        return process

    def client(self, proxy, *work, seconds=None, flags=(), place=None):
        """Runs the clients through a proxy: their figures by name."""
        command = [*(place or self.near).prefix, BENCH / "client", *flags]
        command += ["-p", proxy.address] if proxy.address else []
        command += ["-t", seconds] if seconds else []
        done = subprocess.run(
            [*map(str, command), self.origin, *map(str, work)],
            capture_output=True, text=True, check=False,
            timeout=(seconds or 60) + START_SECONDS)
        if done.returncode != 0:
            raise Missing(last_line(done.stderr).removeprefix("client: "))
        return {name: float(value) for name, value in
                map(str.split, done.stdout.splitlines())}


class Loopback(World):
    """Everything on this machine's own addresses."""

    def open_places(self):
        return Place("127.0.0.1"), Place("127.0.0.1")


class Line(World):
    """Two network namespaces with a bad line between them.

    The queue in front of it holds what the line takes in a round trip.
    """

    taken = 0  # namespaces so far: each has a name of its own

    def __init__(self, rtt, rate, loss, cc):
        super().__init__(cc)
        self.rtt, self.rate, self.loss = rtt, rate, loss
        Line.taken += 1
        self.seed = Line.taken
        self.names = [f"culvert-{os.getpid()}-{self.seed}-{side}"
                      for side in ("near", "far")]

    def open_places(self):
        if os.geteuid() != 0:
            raise Missing("network namespaces need root")
        for name in self.names:
            run(need("ip"), "netns", "add", name)
            self.callback(run, "ip", "netns", "del", name)
        line = self.spawn(
            Place(None), BENCH / "link", "-d", self.rtt / 2, "-r", self.rate,
            "-q", self.rtt, "-l", self.loss, "-s", self.seed, *self.names)
        line.wait_line("ready")
        return [self.configure(name, f"10.99.0.{i}")
                for i, name in enumerate(self.names, 1)]

    def configure(self, name, address):
        place = Place(address, name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "line")
        # Bursts wait for the line's next tick in the device.
        run("ip", "-n", name, "link", "set", "line", "up", "mtu", "1500",
            "txqueuelen", "10000")
        try:
            run(*place.prefix, "sysctl", "-qw",
                f"net.ipv4.tcp_congestion_control={self.cc}")
        except Missing:
            raise Missing(f"this kernel has no TCP {self.cc}") from None
        return place
