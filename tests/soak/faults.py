"""The faults of the line, the edge and the proxy, and their times."""

import collections
import contextlib
import dataclasses
import os
import random
import signal
import socket
import threading
import time

from client import SUCCEEDED, socks5_connect
from traffic import HOST, Refused, fetch
from world import BROKEN, EDGES, VERBOSE, reload

PAUSE = 0.5  # seconds between two faults, on average
FRESH_SIZE = 1000  # bytes


@dataclasses.dataclass
class Fault:
    """One kind of fault: `do(world, chance, hold)` begins and ends it.

    `cuts`: tunnels may be cut by it.  `ends_edge`: a new edge comes after it.
    """

    name: str
    do: object
    cuts: bool = False
    ends_edge: bool = False


def pick(world, chance):
    """The side in use, as a rule."""
    return world.used()[chance.choice((0, 0, 1))]


def pick_some(world, chance):
    """The side in use, the other one, or both."""
    used, other = world.used()
    return chance.choice(([used], [used], [other], [used, other]))


# ---- The lines ----

def line(order, low=0, high=0, seconds=(0.5, 4)):
    """A property of a line, or of both, for a while."""

    def do(world, chance, hold):
        sides = pick_some(world, chance)
        for side in sides:
            side.line.say(f"{order} {chance.uniform(low, high):.1f}")
        hold(chance.uniform(*seconds))
        for side in sides:
            side.line.say("clear")

    return do


def move(world, chance, hold):
    for _ in range(chance.randint(1, 4)):
        for side in world.sides:
            side.line.say("move")
        hold(chance.uniform(0, 0.5))


LINE = [
    Fault("line cut", line("cut", 1, 1, (0.5, 5))),
    Fault("line loses packets", line("loss", 0.5, 15)),
    Fault("line is slow to arrive", line("delay", 5, 150)),
    Fault("line changes their order", line("late", 1, 20)),
    Fault("line doubles packets", line("twin", 1, 20)),
    Fault("line corrupts packets", line("flip", 0.5, 10)),
    Fault("line has noise", line("noise", 1, 20)),
    Fault("line takes no large packets", line("size", 1228, 1450)),
    Fault("NAT forgets its ports", move),
    Fault("line unplugged", line("unplug", 0, 0, (0.2, 3)), cuts=True),
]


# ---- The daemons ----

def restart(world, chance, how):
    side = pick(world, chance)
    side.end(how)
    side.start()


def kill_edge(world, chance, _hold):
    restart(world, chance, lambda edge: edge.kill())


def kill_edge_for_long(world, chance, hold):
    def kill(edge):
        edge.kill()
        hold(chance.uniform(0.3, 4))

    restart(world, chance, kill)


def kill_edges(world, chance, hold):
    for side in world.sides:
        side.end(lambda edge: edge.kill())
    hold(chance.uniform(0, 3))
    for side in world.sides:
        side.start()


def drain_edge(world, chance, _hold):
    restart(world, chance, lambda edge: edge.stop())


def hurry_edge(world, chance, _hold):
    """A second signal ends a daemon at once."""

    def hurry(edge):
        edge.terminate()
        edge.wait_for("finishing open tunnels")
        edge.stop()

    restart(world, chance, hurry)


def stop_culvert(world, chance, hold):
    stand_still(world.culvert, chance, hold)


def stop_edge(world, chance, hold):
    stand_still(pick(world, chance).edge, chance, hold)


def stand_still(daemon, chance, hold):
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        hold(chance.uniform(0.1, 3))
    finally:
        os.kill(daemon.pid, signal.SIGCONT)


def reload_culvert(world, chance, _hold):
    """The edges in another order, or nothing that can be used."""
    sides = chance.sample(world.sides, len(world.sides))
    reload(world.culvert, world.conf, chance.choice(
        (BROKEN, world.configuration(sides))))


def reload_edge(world, chance, _hold):
    side = pick(world, chance)
    reload(side.edge, side.conf, chance.choice((BROKEN, VERBOSE)))


def order(command):
    def do(world, _chance, _hold):
        world.culvert.ctl(command)

    return do


def look(world, chance, hold):
    for _ in range(chance.randint(5, 20)):
        world.culvert.ctl(chance.choice(("status", "tunnels", "mtu")))
        hold(0)


def strangers(world, chance, hold):
    """Datagrams of unknown origin: noise, and the beginnings of handshakes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((EDGES, pick(world, chance).port))
        for _ in range(chance.randint(100, 1000)):
            first = bytes([chance.randrange(256)])
            version = chance.choice((b"", b"\0\0\0\1", b"\x1a\x2a\x3a\x4a"))
            with contextlib.suppress(ConnectionError):
                sock.send(first + version + chance.randbytes(
                    chance.randrange(1, 1400)))
        hold(0)


DAEMONS = [
    Fault("edge killed", kill_edge, cuts=True, ends_edge=True),
    Fault("edge killed, gone for long", kill_edge_for_long, cuts=True,
          ends_edge=True),
    Fault("edges killed, both", kill_edges, cuts=True, ends_edge=True),
    Fault("edge drained (SIGTERM)", drain_edge, ends_edge=True),
    Fault("edge ended (SIGTERM twice)", hurry_edge, cuts=True,
          ends_edge=True),
    Fault("edge stands still", stop_edge),
    Fault("edge reloads (SIGHUP)", reload_edge),
    Fault("culvert stands still", stop_culvert),
    Fault("culvert reloads (SIGHUP)", reload_culvert),
    Fault("culvertctl reconnect", order("reconnect"), cuts=True),
    Fault("culvertctl reprobe", order("reprobe")),
    Fault("culvertctl looks on", look),
    Fault("strangers at the edge", strangers),
]


# ---- When ----

def fetch_fresh(world):
    sock, code = socks5_connect(world.proxy, HOST, world.origin.port)
    with sock:
        if code != SUCCEEDED:
            return False
        fetch(sock, "bytes", FRESH_SIZE, 0)
    return True


def wait_fresh(world, began):
    """Waits until a fresh request is answered: the fault is survived."""
    end = time.monotonic() + world.deadline
    while True:
        try:
            if fetch_fresh(world):
                return
            world.excuse("a fresh request", began, Refused("fresh"))
        except (ConnectionResetError, BrokenPipeError) as error:
            world.excuse("a fresh request", began, error)
        assert time.monotonic() < end, "no fresh request is answered again"
        time.sleep(0.01)


class Killer:
    """One fault after another, from its entry to its exit."""

    def __init__(self, world, name, faults, seed):
        self.world, self.name, self.faults = world, name, faults
        self.chance = random.Random(f"{seed} {name}")
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.times = collections.defaultdict(list)  # seconds until survived

    def hold(self, seconds):
        self.over.wait(seconds)

    def strike(self, fault):
        with self.world.harm.during() if fault.cuts \
                else contextlib.nullcontext():
            began = time.monotonic()
            fault.do(self.world, self.chance, self.hold)
            ended = time.monotonic()
            wait_fresh(self.world, began)
        self.times[fault.name].append(time.monotonic() - ended)

    def deal(self):
        """Each fault comes once before one comes again."""
        while True:
            yield from self.chance.sample(self.faults, len(self.faults))

    def run(self):
        with self.world.watching(self.name):
            for fault in self.deal():
                if self.over.is_set() or self.world.failed.is_set():
                    return
                with self.world.watching(fault.name):
                    self.strike(fault)
                self.hold(self.chance.expovariate(1 / PAUSE))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_exc):
        self.over.set()
        self.thread.join(3 * self.world.deadline)
        if self.thread.is_alive():
            self.world.fail(f"{self.name}: the last fault does not end")
