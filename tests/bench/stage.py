"""A world, the peers that are measured in it, and what they do in turn."""

import dataclasses
import os
import statistics
import sys
import threading
import time

from peers import Peer
from world import START_SECONDS, Missing


stopped = threading.Event()  # the work that is being done is the last


loads = []  # of the machine, as each run began


def load():
    """How busy the machine was, with what the bench does itself."""
    if not loads:
        return "nothing was measured"
    return (f"load average, with the bench's own: {min(loads):.1f} to "
            f"{max(loads):.1f}, median {statistics.median(loads):.1f}")


@dataclasses.dataclass
class Figure:
    """One value of one peer; or None, and why there is none."""

    stage: str
    peer: Peer
    work: str = None
    unit: str = None
    value: float = None
    cpu: float = None
    why: str = None


@dataclasses.dataclass
class Stage:
    """Each run does each work with each peer: A B C, A B C, ..."""

    name: str
    world: object  # world() → World
    peers: list
    works: list
    once: bool = False
    short: bool = False  # its runs are, and there are more of them

    def measure(self, size):
        """All figures, those that are missing too."""
        try:
            with self.world() as world:
                return list(self.measure_in(world, size))
        except Missing as why:
            return [Figure(self.name, peer, why=str(why))
                    for peer in self.peers]

    def measure_in(self, world, size):
        running = []
        for peer in self.peers:
            try:
                running.append((peer, self.start(peer, world)))
            except Missing as why:
                yield Figure(self.name, peer, why=str(why))
        runs = size.runs if self.short else size.line_runs
        runs = 1 if self.once else runs
        for run in range(runs):
            loads.append(os.getloadavg()[0])
            print(f"bench: {self.name}: run {run + 1} of {runs}",
                  file=sys.stderr)
            for work in self.works:
                for peer, proxy in running:
                    if stopped.is_set():
                        return
                    yield from self.do(work, world, peer, proxy, size)

    @staticmethod
    def start(peer, world):
        """Starts a peer, and waits until a request goes through it."""
        proxy = peer.start(world)
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                world.client(proxy, "requests", 1, seconds=5)
                return proxy
            except Missing:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def do(self, work, world, peer, proxy, size):
        try:
            for name, unit, value, *cpu in work(world, proxy, size):
                yield Figure(self.name, peer, name, unit, value, *cpu)
        except Missing as why:
            yield Figure(self.name, peer, why=str(why))
