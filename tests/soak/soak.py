"""Shakes both daemons for some minutes, and sees whether they are well.

Two rounds, a short one to warm up and a long one, of the same parts: first
everything may happen; then only what must cut no tunnel; then what lets the
edges live.  After each round all is quiet, and the daemons must not hold more
after the second than after the first.
"""

import argparse
import concurrent.futures
import random
import resource
import shutil
import signal
import sys
import tempfile
import time

from daemon import SAN
from faults import DAEMONS, LINE, Killer
from measure import (fault_lines, settled, traffic_lines, wait_alone,
                     wait_quiet)
from traffic import WAYS, Traffic, fetch
from world import World

WARM_UP_SHARE = 0.3  # of the time, at most WARM_UP_MAX
WARM_UP_MAX = 60  # seconds

# Shorter runs have no first round, so the memory that they leave means
# nothing.
SHORT = 120  # seconds

# Seconds without a change of memory: more than until a heap is trimmed; and
# of descriptors alone.
SETTLED, SETTLED_SHORT = 4, 0.5

# The faults of each part of a round, and the part of its time.
PARTS = ((0.4, lambda fault: True),
         (0.3, lambda fault: not fault.cuts),
         (0.3, lambda fault: not fault.ends_edge))

# Requests that must succeed when the faults have ended.
FRESH, FRESH_AT_ONCE = 100, 25
FRESH_SIZE = 1000000  # bytes
LOG_SHOWN = 3000  # characters of each log, with a failure


def fetch_one(world, i):
    way = WAYS[i % len(WAYS)]
    with way(world.proxy, world.origin.port) as sock:
        fetch(sock, "hash" if i % 2 else "bytes", FRESH_SIZE, i)


class Soak:
    """The world, and the faults so far."""

    def __init__(self, world, seconds):
        self.world, self.seconds = world, seconds
        self.short = seconds < SHORT
        self.traffics, self.killers = [], []
        self.storms = 0

    def storm(self, seconds, may_happen):
        """Traffic and faults for some time."""
        self.storms += 1
        world, seed = self.world, f"{self.world.seed} {self.storms}"
        traffic = Traffic(world, seed)
        killers = [Killer(world, name, list(filter(may_happen, faults)), seed)
                   for name, faults in (("line", LINE), ("daemons", DAEMONS))]
        self.traffics.append(traffic)
        self.killers += killers
        end = time.monotonic() + seconds
        with traffic, killers[0], killers[1]:
            while time.monotonic() < end:
                world.failed.wait(0.1)
                world.check()

    def calm(self):
        """Without faults everything works, and nothing is left of it. Returns
        what each daemon holds then."""
        world = self.world
        world.restore()
        with concurrent.futures.ThreadPoolExecutor(FRESH_AT_ONCE) as pool:
            for done in [pool.submit(fetch_one, world, i)
                         for i in range(FRESH)]:
                done.result()
        wait_quiet(world)
        # The memory of QUIC for a connection depends on its past.
        world.culvert.ctl("reconnect")
        fetch_one(world, 0)
        wait_quiet(world)
        wait_alone(world)
        world.check()
        return settled(world.daemons(),
                       SETTLED_SHORT if self.short else SETTLED)

    def round(self, seconds):
        for share, may_happen in PARTS:
            if seconds > 0:
                self.storm(share * seconds, may_happen)
        return self.calm()

    def run(self):
        warm_up = 0 if self.short else min(WARM_UP_SHARE * self.seconds,
                                           WARM_UP_MAX)
        first = self.round(warm_up)
        last = self.round(self.seconds - warm_up)
        for line in (*traffic_lines(self.traffics), "",
                     *fault_lines(self.killers), "",
                     *(b.line(a) for a, b in zip(first, last))):
            print(line)
        complaints = [b.complaint(a, not SAN and not self.short)
                      for a, b in zip(first, last)]
        assert not any(complaints), "; ".join(filter(None, complaints))


def show_logs(world):
    for daemon in world.daemons():
        print(f"---- the end of {daemon.path}", file=sys.stderr)
        print(daemon.log[-LOG_SHOWN:], file=sys.stderr)


def run(directory, seed, minutes):
    """The failure, or None."""
    world = World(directory, seed)
    try:
        with world:
            Soak(world, 60 * minutes).run()
    except Exception as error:
        show_logs(world)
        return world.failure or str(error)
    return None


def on_signal(*_):
    """Whatever was started ends, too."""
    sys.exit("soak: told to end")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int,
                        default=random.SystemRandom().randrange(1 << 32))
    args = parser.parse_args()
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, on_signal)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    print(f"soak: {args.minutes:g} minutes, SEED={args.seed}", flush=True)
    directory = tempfile.mkdtemp(prefix="culvert-soak-")
    why = run(directory, args.seed, args.minutes)
    if why is not None:
        sys.exit(f"soak: {why}\nsoak: failed with SEED={args.seed}; the logs "
                 f"are in {directory}")
    shutil.rmtree(directory)
    print("soak: all is well")


if __name__ == "__main__":
    main()
