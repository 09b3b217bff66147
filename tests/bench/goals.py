"""The goals of the proxy, beside its figures."""

import dataclasses

from work import name_bulk

# The design that culvert replaces.
WIREGUARD = "gVisor with WireGuard"

WAYS = [name_bulk("down", 1), name_bulk("up", 1)]
CCS = ("cubic", "bbr")
NO_LOSS = "50 ms, 100 Mbit/s, no loss"
LOSS = "50 ms, 100 Mbit/s, {} % loss"

# Where culvert is to be no slower than no proxy: round trip in ms, Mbit/s, per
# cent of packets lost, and the name.
MATRIX = [(rtt, rate, loss, f"{rtt} ms, {rate} Mbit/s, {loss} % loss, steady")
          for rtt, rate, loss in ((50, 100, 1), (50, 100, 3), (30, 100, 5),
                                  (150, 100, 5), (50, 100, 0.1), (50, 100, 0),
                                  (50, 20, 0))]
PAGE = "page, in total"
FIRST_BYTE = "first byte, new tunnel, p50"
WIDTHS = [name_bulk("down", 1), name_bulk("down", 8), name_bulk("down", 32),
          name_bulk("up", 8)]


@dataclasses.dataclass
class Goal:
    """A figure of ours; `most` or `least` is its limit."""

    text: str
    value: float
    most: float = None
    least: float = None

    def line(self):
        sign, limit = ("≤", self.most) if self.least is None else (
            "≥", self.least)
        if self.value is None:
            return f"  {self.text:72} {sign} {limit:<8g} missing"
        good = self.value <= limit if sign == "≤" else self.value >= limit
        return (f"  {self.text:72} {sign} {limit:<8g} {self.value:10.2f}  "
                f"{'reached' if good else 'missed'}")


class Goals:
    """All of them, from a report."""

    def __init__(self, report):
        self.report = report

    def lines(self):
        yield "Goals"
        for part in (self.headline, self.loopback, self.jumbo, self.loss,
                     self.matrix, self.never_slower, self.pages, self.latency,
                     self.counts):
            for goal in part():
                yield goal.line()

    def over(self, stage, work, peer, other):
        """Our figure as a multiple of the other's."""
        mine = self.report.median(stage, work, peer)
        theirs = self.report.median(stage, work, other)
        return mine / theirs if mine is not None and theirs else None

    def cpu_over(self, work, peer, other):
        mine = self.report.row("loopback", work, peer)
        theirs = self.report.row("loopback", work, other)
        if mine is None or theirs is None or not theirs.cpu:
            return None
        return mine.cpu / theirs.cpu

    def headline(self):
        """At its defaults, beside TCP in user space over WireGuard. The worse
        of both ways counts."""
        mine = "culvert, bbr, 1500"
        rates = [self.over("loopback", way, WIREGUARD, mine) for way in WAYS]
        yield Goal(f"1 tunnel, {mine}: rate over {WIREGUARD}",
                   None if None in rates else min(rates), least=2)
        yield Goal(f"{FIRST_BYTE}, culvert: over {WIREGUARD}",
                   self.over("loopback", FIRST_BYTE, mine, WIREGUARD), 1.0)

    def loopback(self):
        for cc in CCS:
            for way in WAYS:
                mine = f"culvert, {cc}, 1500"
                for other, most in (("ssh -D", 1.0), ("microsocks", 0.45),
                                    ("shadowsocks", 0.3)):
                    yield Goal(f"{way}, {mine}: wall over {other}",
                               self.over("loopback", way, mine, other), most)
                yield Goal(f"{way}, {mine}: CPU over ssh -D",
                           self.cpu_over(way, mine, "ssh -D"), 1.3)

    def jumbo(self):
        for mtu in (9000, 65535):
            for way in WAYS:
                mine = f"culvert, cubic, {mtu}"
                yield Goal(f"{way}, {mine}: wall over ssh -D",
                           self.over("loopback", way, mine, "ssh -D"), 0.7)
                yield Goal(f"{way}, {mine}: CPU over ssh -D",
                           self.cpu_over(way, mine, "ssh -D"), 0.6)

    def loss(self):
        for loss in (1, 3):
            stage = LOSS.format(loss)
            for cc in CCS:
                for way in WAYS:
                    for other, least in (("bbr", 0.9), ("cubic", 3)):
                        yield Goal(
                            f"{way}, {loss} % loss, culvert, {cc}: "
                            f"rate over TCP {other}",
                            self.over(stage, way, f"culvert, {cc}",
                                      f"direct, {other}"), least=least)

    def matrix(self):
        """Beside TCP with BBR, which hardly any machine uses by default."""
        for line, work, most, least in (
                (1, WIDTHS[0], None, 0.75), (1, WIDTHS[1], None, 0.9),
                (3, WIDTHS[1], None, 0.6), (3, WIDTHS[2], None, 0.6),
                (3, PAGE, 1.3, None)):
            stage = LOSS.format(line) + ", steady"
            yield Goal(f"{work}, {line} % loss: culvert over TCP bbr",
                       self.over(stage, work, "culvert", "direct, bbr"), most,
                       least)

    def never_slower(self):
        """Beside TCP with CUBIC, which is what there is without a proxy."""
        for *_, stage in MATRIX:
            yield Goal(f"{PAGE}, {stage}: over no proxy",
                       self.over(stage, PAGE, "culvert", "direct, cubic"), 1.0)
            for work in WIDTHS:
                yield Goal(f"{work}, {stage}: over no proxy",
                           self.over(stage, work, "culvert", "direct, cubic"),
                           least=1.0)

    def pages(self):
        stage, work = LOSS.format(1), "page, an object, p95"
        for cc in CCS:
            yield Goal(f"page, 1 % loss, culvert, {cc}: p95 over ssh -D, {cc}",
                       self.over(stage, work, f"culvert, {cc}",
                                 f"ssh -D, {cc}"), 0.6)

    def latency(self):
        for cc in CCS:
            base = self.report.median(
                NO_LOSS, "first byte, from the edge, p50", f"direct, {cc}")
            for kind in ("open tunnel", "said at once"):
                value = self.report.median(
                    NO_LOSS, f"first byte, {kind}, p50", f"culvert, {cc}")
                if value is not None and base is not None:
                    value -= base
                yield Goal(f"first byte, {kind}, culvert, {cc}: ms more "
                           "than from the edge", value, 50 + 3)
            alone, beside = (
                self.report.median(NO_LOSS, work, f"culvert, {cc}")
                for work in ("echo alone, p50", "echo beside bulk, p95"))
            yield Goal(f"echo beside bulk, culvert, {cc}: p95 over idle, ms",
                       None if beside is None or alone is None
                       else beside - alone, 20)

    def counts(self):
        for cc in CCS:
            mine = f"culvert, {cc}, 1500"
            yield Goal(f"tunnels a second, {mine}", self.report.median(
                "loopback", "tunnels opened and closed", mine), least=10000)
            yield Goal(f"packets per send call, {mine}", self.report.median(
                "loopback", f"packets per send call, {WAYS[1]}", mine),
                       least=20)
        for side in ("culvert", "edge"):
            yield Goal(f"RSS per idle tunnel, {side}, KiB", self.report.median(
                "idle", f"idle tunnel, RSS of {side}",
                "culvert, cubic, 1500"), 12)
