"""Measures culvert beside other proxies that a user could choose.

Needs no network.  Prints one table, and writes bench.csv, and bench.html with
plots.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import pathlib
import re
import resource
import shutil
import signal
import sys
import tempfile

import peers
import work
from certificate import NAMES, SERVER, Pair
from goals import CCS, LOSS, MATRIX, NO_LOSS, WAYS, WIREGUARD, Goals
from page import Page
from peers import Peer
from report import Report, machine
from stage import Stage, load, stopped
from world import BENCH, Line, Loopback, Missing, allowed

# Round trip in ms, Mbit/s, per cent of packets lost, and the name.
CLEAN = (50, 100, 0, NO_LOSS)
LOSSY = (50, 100, 1, LOSS.format(1))
BAD = [CLEAN, LOSSY, (50, 100, 3, LOSS.format(3))]
FAST = (10, 1000, 0, "10 ms, 1 Gbit/s, no loss")


@dataclasses.dataclass
class Built:
    """The Go programs' paths, or why there are none."""

    edge: object
    wireguard: object


def built_or_why(build):
    try:
        return build()
    except Missing as why:
        return why


def others(pair, built, suffix=""):
    """All that are not ours alone, compared under the same conditions."""
    starts = {"direct": peers.direct, "microsocks": peers.microsocks,
              "ssh -D": peers.ssh, "shadowsocks": peers.shadowsocks}
    # The Go programs have no BBR.
    if suffix != ", bbr":
        starts[WIREGUARD] = peers.wireguard(built.wireguard)
        starts["culvert, Go edge"] = peers.go_edge(pair, built.edge, "cubic")
    return [Peer(name + suffix, start, "direct" + suffix)
            for name, start in starts.items()]


def loopback(pair, built):
    """Large packets matter to bulk alone."""
    ours = [Peer(f"culvert, {cc}, {mtu}", peers.culvert(pair, cc, mtu))
            for mtu, cc in ((1500, "cubic"), (1500, "bbr"), (9000, "cubic"),
                            (65535, "cubic"), (65535, "bbr"))]
    bulk = [work.bulk_loopback(way, width, share)
            for width, share in ((1, 1), (8, 0.5)) for way in ("down", "up")]
    rest = [work.tunnels, work.page, work.first_byte(10), work.echo]
    return [Stage("loopback", Loopback, others(pair, built) + ours, bulk,
                  short=True),
            Stage("loopback", Loopback, others(pair, built) + ours[:2], rest,
                  short=True)]


def idle(pair, built):
    """With processes that have done nothing else."""
    ours = [Peer("culvert, cubic, 1500", peers.culvert(pair, "cubic"))]
    return Stage("idle", Loopback, others(pair, built)[1:] + ours, [work.idle],
                 once=True)


def line(pair, built, cc, rtt, rate, loss, name, works, once=False):
    mine = f", {cc}"
    ours = [Peer("culvert" + mine, peers.culvert(pair, cc), "direct" + mine)]
    return Stage(name, functools.partial(Line, rtt, rate, loss, cc),
                 others(pair, built, mine) + ours, works, once)


def matrix(pair):
    """No proxy, with either congestion control, and culvert as it comes; the
    lines at once are few enough for two processors."""
    works = [work.page, *(work.bulk_line(way, width) for way, width in
                          (("down", 1), ("down", 8), ("down", 32), ("up", 8)))]
    stages = []
    for rtt, rate, loss, name in MATRIX:
        mine = [Peer("direct, cubic", peers.direct)]
        stages.append(Stage(name, functools.partial(
            Line, rtt, rate, loss, "cubic"), mine, works))
        mine = [Peer("direct, bbr", peers.direct),
                Peer("culvert", peers.culvert(pair, "bbr"), "direct, bbr")]
        stages.append(Stage(name, functools.partial(
            Line, rtt, rate, loss, "bbr"), mine, works))
    return [stages[i:i + 7] for i in range(0, len(stages), 7)]


def sparse(pair, built, runs):
    """Runs that take long and little of a line go side by side, each on a line
    of its own. Loss leaves CUBIC a few per cent of the rate."""
    first_byte = [work.first_byte(1), work.from_edge]
    return [line(pair, built, cc, *bad, works, once=True)
            for cc, bad, works in [*((cc, CLEAN, first_byte) for cc in CCS),
                                   ("cubic", LOSSY, [work.page])]
            for _ in range(runs)]


def groups(pair, built, runs):
    """Stages that run at once, group after group.  A line of 100 Mbit/s takes
    little of a processor, and there are many of them."""
    bulk = [work.bulk_line("down", 1), work.bulk_line("up", 1)]
    # A round trip of 10 ms: it is steady five times as soon.
    soon = [work.bulk_line(way, 1, share=0.2) for way in ("down", "up")]
    alone = [*loopback(pair, built), idle(pair, built),
             *(line(pair, built, cc, *FAST, soon) for cc in CCS)]
    return [*([stage] for stage in alone),
            [line(pair, built, cc, *bad, works) for bad, works in
             [*((bad, bulk) for bad in BAD), (CLEAN, [work.echo, work.page])]
             for cc in CCS],
            [line(pair, built, "bbr", *LOSSY, [work.page]),
             *sparse(pair, built, runs)],
            *matrix(pair)]


def measure(stages, size):
    """All figures of stages that run at once, in the order of the stages."""
    with concurrent.futures.ThreadPoolExecutor(len(stages)) as pool:
        for figures in pool.map(lambda stage: stage.measure(size), stages):
            yield from figures


def stop(_signal, _frame):
    stopped.set()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true",
                        help="one short run of everything, to see it work")
    parser.add_argument("--only", metavar="REGEX", default="",
                        help="the stages whose names match")
    parser.add_argument("--out", type=pathlib.Path, default=BENCH,
                        help="directory of bench.csv and bench.html")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    built = Built(built_or_why(peers.build_go_edge),
                  built_or_why(peers.build_wireguard))
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="culvert-"))
    try:
        pair = Pair(scratch, "edge", SERVER, NAMES)
        size = work.QUICK if args.quick else work.FULL
        stages = [[stage for stage in group
                   if re.search(args.only, stage.name)]
                  for group in groups(pair, built, size.line_runs)]
        stages = [group for group in stages if group]
        if args.quick:
            stages = [sum(stages, [])]
        with allowed(*CCS):
            report = Report(figure for group in stages
                            for figure in measure(group, size))
    finally:
        shutil.rmtree(scratch)
    if stopped.is_set():
        sys.exit("bench: stopped")
    publish(report, args.out)


def publish(report, out):
    goals = Goals(report)
    page = Page(report, goals)
    for text in (*machine(), load(), *report.lines(), "", *goals.lines(), "",
                 *page.lines()):
        print(text)
    report.write_csv(out / "bench.csv")
    print(f"written: {out / 'bench.csv'}")
    page.write(out / "bench.html", load())
    print(f"written: {out / 'bench.html'}")


if __name__ == "__main__":
    main()
