"""What the daemons hold when idle, and the tables at the end."""

import collections
import dataclasses
import re
import statistics
import time

from daemon import wait_until
from messages import ACCEPTED

MIB = 1 << 20
GROWTH_MAX = 1.1  # of memory, from the first quiet to the last


@dataclasses.dataclass
class Level:
    """What a daemon holds; None where it cannot be seen."""

    program: str
    rss: int
    fds: int

    @classmethod
    def of(cls, daemon):
        return cls(daemon.program, daemon.rss(), daemon.fds())

    def complaint(self, first, memory):
        """A sentence, if this is more than it was at first."""
        if memory and self.rss > GROWTH_MAX * first.rss:
            return (f"{self.program} has grown from {first.rss / MIB:.1f} MiB "
                    f"to {self.rss / MIB:.1f} MiB")
        if self.fds != first.fds:
            return (f"{self.program} had {first.fds} descriptors, and has "
                    f"{self.fds}")
        return None

    def line(self, first):
        fds = "hidden" if self.fds is None else f"{first.fds} → {self.fds}"
        return (f"{self.program:14}{first.rss / MIB:8.1f} → "
                f"{self.rss / MIB:.1f} MiB      descriptors {fds}")


def wait_quiet(world):
    """Waits until no client is in a session."""
    try:
        world.culvert.wait_status(
            lambda s: s["tunnels"]["open"] == s["tunnels"]["waiting"] ==
            s["clients"]["open"] == 0, "no session is left")
    except AssertionError as error:
        stuck = world.culvert.ctl("tunnels")["tunnels"]
        raise AssertionError(f"{error}; stuck: {stuck[:5]}") from None
    # A connection whose end the line has swallowed is known by its silence.
    wait_until(lambda: not world.origin.sockets,
               "the edge closes its connections to the origin")


def connections(edge):
    """The connections that the edge has, as its log has it."""
    begun, ended = (len(re.findall(rf"{ACCEPTED}\S+ {how}", edge.log))
                    for how in (r"\(TLS", "ended: "))
    return begun - ended


def wait_alone(world):
    """Waits until the first edge has one connection, and no other has any."""
    first, *others = world.sides
    world.culvert.wait_status(
        lambda s: [c["edge"] for c in s["connections"]] == [first.name],
        "the proxy has one connection")
    wait_until(lambda: connections(first.edge) == 1 and
               not any(connections(side.edge) for side in others),
               "the edges have one connection")


def settled(daemons, seconds):
    """The level of each daemon, once none has changed for so long."""
    last, since = None, 0

    def holds():
        nonlocal last, since
        levels = [Level.of(daemon) for daemon in daemons]
        if levels != last:
            last, since = levels, time.monotonic()
        return time.monotonic() > since + seconds and levels

    return wait_until(holds, "the daemons' memory and descriptors settle")


def spread(times):
    return f"{statistics.median(times):8.2f} s {max(times):8.2f} s"


def fault_lines(killers):
    times = collections.defaultdict(list)
    for killer in killers:
        for name, found in killer.times.items():
            times[name] += found
    yield f"{'survived':34}{'times':>6}   answering again after"
    yield f"{'':40}{'median':>10} {'at most':>10}"
    for name, found in sorted(times.items()):
        yield f"{name:34}{len(found):6}{spread(found)}"
    yield f"{'in all':34}{sum(map(len, times.values())):6}"


def traffic_lines(traffics):
    counts, total = collections.Counter(), 0
    for traffic in traffics:
        for visitor in traffic.visitors:
            counts += visitor.counts
            total += visitor.bytes
    for name in sorted(counts.keys() - {"done", "reset", "refused"}):
        yield f"{name:34}{counts[name]:6}"
    yield (f"jobs: {counts['done']} done, {counts['reset']} cut and "
           f"{counts['refused']} refused for a reason; objects of "
           f"{total / 1e9:.2f} GB")
