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
OBJECTS, OBJECT_SIZE, CONNECTIONS = 100, 50000, 32
ECHOES, ECHO_HZ = 20, 10
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
WITHOUT_END = 1 << 40  # bytes: until the time is over


@dataclasses.dataclass
class Size:
    """How much of each work is done at a time."""

    runs: int
    bulk: float  # seconds at most
    tunnels: float  # seconds
    echo: int  # seconds
    requests: int
    idle: int  # tunnels


FULL = Size(runs=5, bulk=2, tunnels=0.5, echo=2, requests=20, idle=10000)
QUICK = Size(runs=1, bulk=0.3, tunnels=0.2, echo=1, requests=3, idle=500)


def name_bulk(way, width):
    return f"{way}, {width} tunnel{'s' if width > 1 else ''}"


def move(world, proxy, size, way, width):
    """Moves up to 1 GiB: its share of one, seconds and CPU seconds."""
    before = proxy.cpu()
    done = world.client(proxy, way, GIB // width, width, seconds=size.bulk)
    return done["bytes"] / GIB, done["seconds"], proxy.cpu() - before


def bulk_loopback(way, width):
    def work(world, proxy, size):
        share, seconds, cpu = move(world, proxy, size, way, width)
        if share == 0:
            raise Missing("nothing arrived in time")
        yield (name_bulk(way, width), "s/GiB", seconds / share,
               cpu / share if proxy.processes else None)

    return work


def bulk_line(way, width):
    def work(world, proxy, size):
        share, seconds, _ = move(world, proxy, size, way, width)
        yield name_bulk(way, width), "Mbit/s", share * GIB / MBIT / seconds

    return work


def tunnels(world, proxy, size):
    done = world.client(proxy, "tunnels", 1 << 20, 64, seconds=size.tunnels,
                        early=proxy.early)
    yield "tunnels opened and closed", "1/s", done["count"] / done["seconds"]


def page(world, proxy, _size):
    done = world.client(proxy, "page", OBJECTS, OBJECT_SIZE, CONNECTIONS)
    yield "page, an object, p50", "ms", done["p50"] * 1e3
    yield "page, an object, p95", "ms", done["p95"] * 1e3
    yield "page, in total", "ms", done["seconds"] * 1e3


def first_byte(world, proxy, size):
    done = world.client(proxy, "requests", size.requests)
    yield "first byte, open tunnel, p50", "ms", done["p50"] * 1e3
    yield "first byte, open tunnel, p99", "ms", done["p99"] * 1e3
    done = world.client(proxy, "tunnels", size.requests, 1)
    yield "first byte, new tunnel, p50", "ms", done["p50"] * 1e3
    yield "first byte, new tunnel, p99", "ms", done["p99"] * 1e3
    if proxy.early:
        done = world.client(proxy, "tunnels", size.requests, 1, early=True)
        yield "first byte, said at once, p50", "ms", done["p50"] * 1e3
        yield "first byte, said at once, p99", "ms", done["p99"] * 1e3


def from_edge(world, proxy, size):
    """The same request by an open connection of the edge's."""
    if proxy.processes:
        return
    done = world.client(proxy, "requests", size.requests, place=world.far)
    yield "first byte, from the edge, p50", "ms", done["p50"] * 1e3


def echo(world, proxy, size):
    alone = world.client(proxy, "echo", ECHOES, ECHO_HZ, 1, 0)
    beside = world.client(proxy, "echo", ECHOES, ECHO_HZ, size.echo,
                          WITHOUT_END)
    yield "echo alone, p50", "ms", alone["p50"] * 1e3
    yield "echo beside bulk, p95", "ms", beside["p95"] * 1e3
    yield ("bulk beside echo", "Mbit/s",
           beside["bytes"] / MBIT / beside["seconds"])


def train(world, proxy, size):
    """Packets for each send call of the local side, which has the counts."""
    if proxy.control is None:
        return
    before = proxy.status()["packets"]
    if "trains" not in before:
        raise Missing("the status has no count of trains")
    move(world, proxy, size, "up", 1)
    after = proxy.status()["packets"]
    trains = after["trains"] - before["trains"]
    yield ("packets per send call", "", (after["sent"] - before["sent"]) /
           max(trains, 1))


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
