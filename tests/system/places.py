"""Two places with networks between them: namespaces, and lines of ours.

The edge has one address, EDGE, at the far place; by which line the near place
reaches it is up to the near place's routes.
"""

import contextlib
import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import threading

from daemon import BUILD, wait_until
from origin import Origin

EDGE = "10.99.99.1"
EDGE6 = "fd99:99::1"

CLONE_NEWNET = 0x40000000
CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
LIBC = ctypes.CDLL(None, use_errno=True)


class Forbidden(Exception):
    """Why there are no namespaces here."""


def ip(*args, check=True):
    done = subprocess.run(["ip", *map(str, args)], capture_output=True,
                          text=True, check=False, timeout=60)
    if check and done.returncode != 0:
        raise Forbidden(f"ip {' '.join(map(str, args))}: "
                        f"{done.stderr.strip()}")
    return done.stdout


class Place:
    """A network namespace of ip-netns(8)."""

    def __init__(self, name):
        self.name = name
        ip("netns", "add", name)
        try:
            self.ip("link", "set", "lo", "up")
        except Forbidden:  # it can be made, but not entered
            self.close()
            raise

    def ip(self, *args, **options):
        return ip("-n", self.name, *args, **options)

    def enter(self):
        """Takes the calling thread, or the process before exec, there."""
        with open(f"/run/netns/{self.name}", "rb") as namespace:
            if LIBC.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    def enter_with(self, etc):
        """The same for a process before exec, which sees `etc` as /etc."""
        self.enter()
        for call in ((LIBC.unshare, CLONE_NEWNS),
                     (LIBC.mount, b"none", b"/", None, MS_REC | MS_PRIVATE,
                      None),
                     (LIBC.mount, bytes(etc), b"/etc", None, MS_BIND, None)):
            if call[0](*call[1:]) != 0:
                raise OSError(ctypes.get_errno(), "a file system of its own")

    def inside(self, function, *args, **options):
        """The result of function() there; its sockets stay there."""
        results = []

        def run():
            try:
                self.enter()
                results.append((function(*args, **options), None))
            except BaseException as error:
                results.append((None, error))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        value, error = results[0]
        if error is not None:
            raise error
        return value

    def close(self):
        ip("netns", "del", self.name, check=False)


class Line:
    """A network between both places: a device of its name at each."""

    def __init__(self, places, number, name, rtt, mtu, device_mtu, rate):
        self.near, self.far = places.near, places.far
        self.name = name
        self.metric = 100 * number
        self.address = f"10.99.{number}.1"
        self.process = subprocess.Popen(
            [BUILD / "bench" / "link", "-d", str(rtt / 2), "-m", str(mtu),
             "-q", "1000", *(("-r", str(rate)) if rate else ()), "-n", name,
             self.near.name, self.far.name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            self.process.wait()
            raise Forbidden("no TUN devices")
        for place, host in ((self.near, 1), (self.far, 2)):
            place.ip("address", "add", f"10.99.{number}.{host}/24", "dev",
                     name)
            place.ip("address", "add", f"fd99:{number}::{host}/64", "dev",
                     name, "nodad")
            place.ip("link", "set", name, "up", "mtu", device_mtu,
                     "txqueuelen", "10000")
        self.up()

    def up(self):
        """The near device comes up, with its routes."""
        self.near.ip("link", "set", self.name, "up")
        self.prefer(self.metric)

    def prefer(self, metric):
        """Gives the near routes to the edge this metric, instead of theirs."""
        for prefix in (f"{EDGE}/32", f"{EDGE6}/128"):
            self.near.ip("route", "add", prefix, "dev", self.name, "metric",
                         metric)
        if metric != self.metric:
            self.avoid(self.metric)
            self.metric = metric

    def avoid(self, metric=None):
        """Takes the near routes to the edge away."""
        for prefix in (f"{EDGE}/32", f"{EDGE6}/128"):
            self.near.ip("route", "del", prefix, "dev", self.name, "metric",
                         metric or self.metric)

    def down(self):
        """The near device goes down, and its routes with it."""
        self.near.ip("link", "set", self.name, "down")

    def becomes(self, *options):
        """Replaces the line, with options of tests/bench/link.c."""
        print(*options, file=self.process.stdin, flush=True)

    def close(self):
        self.process.communicate("")


class Places(contextlib.ExitStack):
    """Near and far, and the line between them; removed at the end."""

    numbers = itertools.count()

    def __enter__(self):
        if os.geteuid() != 0 or shutil.which("ip") is None:
            raise Forbidden("that takes root, and ip(8)")
        if not (BUILD / "bench" / "link").exists():
            raise Forbidden(f"{BUILD}/bench/link is not built")
        try:
            name = f"culvert-{os.getpid()}-{next(self.numbers)}"
            self.near = self.place(f"{name}-near")
            self.far = self.place(f"{name}-far")
            self.far.ip("address", "add", f"{EDGE}/32", "dev", "lo")
            self.far.ip("address", "add", f"{EDGE6}/128", "dev", "lo",
                        "nodad")
        except BaseException:
            self.close()
            raise
        self.lines = []
        return self

    def place(self, name):
        place = Place(name)
        self.callback(place.close)
        return place

    def line(self, name, rtt, mtu=1500, device_mtu=1500, rate=None):
        """Another network; the first one is preferred. Packets larger than
        `mtu` vanish; `mtu` may be "UP,DOWN". The rate is in Mbit/s."""
        line = Line(self, len(self.lines) + 1, name, rtt, mtu, device_mtu,
                    rate)
        self.callback(line.close)
        self.lines.append(line)
        return line

    def origin(self, handler):
        origin = self.far.inside(Origin, handler)
        self.callback(origin.close)
        return origin


def listens(place, port):
    """Waits until a TCP port there is open."""
    def connects():
        with contextlib.suppress(OSError):
            place.inside(socket.create_connection, ("127.0.0.1", port)).close()
            return True
        return False

    wait_until(connects, f"a listener on {port}")
