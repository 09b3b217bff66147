"""What is done through the proxies, and the figures that come of it.

A work is a function of a world and a proxy that yields (name, unit, value)
or (name, unit, value, CPU seconds).
"""

import dataclasses
import resource
import subprocess

from world import BENCH, Missing

GIB = 1 << 30
MBIT = 1e6 / 8  # bytes
OBJECT_SIZE, CONNECTIONS = 50000, 32
PAGE_MAX = 60  # seconds: a page that takes longer is none
ECHOES, ECHO_HZ = 20, 10
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
WITHOUT_END = 1 << 40  # bytes: until the time is over


@dataclasses.dataclass
class Size:
    """How much of each work is done at a time; in seconds, where not said."""

    runs: int  # of what is short
    line_runs: int
    bulk_loopback: float
    bulk_line: float
    tunnels: float
    echo: float
    requests: int  # on a line; on loopback many more
    objects: int  # of a page
    idle: int  # tunnels


# Ten peers take turns on loopback, and each rests for more than the five
# seconds after which BBR measures its path: it does that in the rest.  With
# less, each of its runs would begin with that.
# On a line of 50 ms congestion control is steady after some seconds, and three
# such runs are what twenty minutes have room for.
FULL = Size(runs=5, line_runs=3, bulk_loopback=0.7, bulk_line=8, tunnels=0.4,
            echo=1.0, requests=20, objects=100, idle=10000)
QUICK = Size(runs=1, line_runs=1, bulk_loopback=0.2, bulk_line=0.3,
             tunnels=0.1, echo=0.2, requests=3, objects=10, idle=500)


def name_bulk(way, width):
    return f"{way}, {width} tunnel{'s' if width > 1 else ''}"


def bulk_loopback(way, width, share=1):
    """Up to 1 GiB, all of which arrives; with the processors' time."""

    def work(world, proxy, size):
        cpu, trains = proxy.cpu(), count_trains(proxy)
        done = world.client(proxy, way, GIB // width, width, flags=["-w"],
                            seconds=share * size.bulk_loopback)
        if done["bytes"] == 0:
            raise Missing(f"{name_bulk(way, width)}: nothing arrived in time")
        gib = done["bytes"] / GIB
        yield (name_bulk(way, width), "s/GiB", done["seconds"] / gib,
               (proxy.cpu() - cpu) / gib if proxy.processes else None)
        if trains and way == "up":
            packets, calls = (now - before for now, before in
                              zip(count_trains(proxy), trains))
            yield (f"packets per send call, {name_bulk(way, width)}", "",
                   packets / max(calls, 1))

    return work


def count_trains(proxy):
    """Packets and send calls of the local side, which counts them."""
    if proxy.control is None:
        return None
    packets = proxy.status()["packets"]
    return "trains" in packets and (packets["sent"], packets["trains"])


def bulk_line(way, width, share=1):
    """As much as goes through in a share of the time."""

    def work(world, proxy, size):
        done = world.client(proxy, way, GIB // width, width,
                            seconds=share * size.bulk_line)
        yield (name_bulk(way, width), "Mbit/s",
               done["bytes"] / MBIT / done["seconds"])

    return work


def early(proxy):
    return ["-e"] if proxy.early else []


def tunnels(world, proxy, size):
    done = world.client(proxy, "tunnels", WITHOUT_END, 64, flags=early(proxy),
                        seconds=size.tunnels)
    yield "tunnels opened and closed", "1/s", done["count"] / done["seconds"]


def page(world, proxy, size):
    done = world.client(proxy, "page", size.objects, OBJECT_SIZE, CONNECTIONS,
                        seconds=PAGE_MAX)
    if done["count"] < size.objects:
        raise Missing(f"a page takes more than {PAGE_MAX} s")
    yield "page, an object, p50", "ms", done["p50"] * 1e3
    yield "page, an object, p95", "ms", done["p95"] * 1e3
    yield "page, in total", "ms", done["seconds"] * 1e3


def first_byte(times):
    """`times` as many requests as on a line."""

    def work(world, proxy, size):
        count = times * size.requests
        for kind, todo, flags in (
                ("open tunnel", ("requests", count), []),
                ("new tunnel", ("tunnels", count, 1), []),
                ("said at once", ("tunnels", count, 1), ["-e"])):
            if flags and not proxy.early:
                continue
            done = world.client(proxy, *todo, flags=flags)
            for p in ("p50", "p99"):
                yield f"first byte, {kind}, {p}", "ms", done[p] * 1e3

    return work


def from_edge(world, proxy, size):
    """The same request by an open connection of the edge's."""
    if proxy.processes:
        return
    done = world.client(proxy, "requests", size.requests, place=world.far)
    yield "first byte, from the edge, p50", "ms", done["p50"] * 1e3


def echo(world, proxy, size):
    def run(seconds, load):
        return world.client(proxy, "echo", ECHOES, ECHO_HZ,
                            int(seconds * 1e3), load)

    alone = run(size.echo / 3, 0)
    beside = run(size.echo, WITHOUT_END)
    yield "echo alone, p50", "ms", alone["p50"] * 1e3
    yield "echo beside bulk, p95", "ms", beside["p95"] * 1e3
    yield ("bulk beside echo", "Mbit/s",
           beside["bytes"] / MBIT / beside["seconds"])


def idle(world, proxy, size):
    """Holds tunnels open: what each of them costs each process."""
    if not proxy.processes:
        return
    # The process with the most files has some besides.
    count = min(size.idle, (FILES - 200) // proxy.files)
    before = {name: p.rss() for name, p in proxy.processes.items()}
    client = subprocess.Popen(
        [BENCH / "client", "-p", proxy.address, world.origin, "idle",
         str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    try:
        if not client.stdout.readline().startswith("count"):
            raise Missing(client.stderr.read().strip() or "no idle tunnels")
        for name, process in proxy.processes.items():
            grown = process.rss() - before[name]
            yield f"idle tunnel, RSS of {name}", "KiB", grown / 1024 / count
    finally:
        client.communicate()
