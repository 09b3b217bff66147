"""The figures as a page of plots, each with the sentence that it proves.

The page needs no network and no program: its plots are SVG inside it.  The
sentences are made of the figures, so a plot that proves the opposite says so.
"""

import dataclasses
import html

from goals import (CCS, FIRST_BYTE, MATRIX, NO_LOSS, PAGE, WAYS, WIDTHS,
                   WIREGUARD)
from report import machine

OURS = "culvert, bbr, 1500"  # as it comes, on loopback
LINES = {"direct, cubic": "no proxy, TCP CUBIC",
         "direct, bbr": "no proxy, TCP BBR", "culvert": "culvert"}

WIDTH, LABEL, VALUE, BAR, GAP = 760, 210, 120, 18, 8
PLOT = WIDTH - LABEL - VALUE
HEIGHT = 300  # of plots with lines
STEPS = 6  # of an axis, at most
COLOURS = ("#9aa0a6", "#5f6368", "#1a73e8")
TEXT_WIDTH = 40  # characters of the longest bar in text

STYLE = """
body { font: 16px/1.45 sans-serif; margin: 2em auto; max-width: 800px;
       color: #202124; background: #fff; padding: 0 1em }
h1 { font-size: 1.5em } h2 { font-size: 1.1em; margin: 2.2em 0 .2em }
p { margin: .2em 0 .6em } .small { color: #5f6368; font-size: .8em }
svg { display: block; width: 100%; height: auto }
svg text { font: 13px sans-serif }
pre { font-size: 12px; overflow-x: auto }
"""


def number(value):
    """With three digits that matter."""
    digits = max(0, 2 - len(str(int(value))) + 1) if value >= 1 else 2
    return f"{value:,.{digits}f}"


def times(ratio):
    return f"{ratio:.1f} times" if ratio >= 1.05 else f"{ratio:.2f} times"


@dataclasses.dataclass
class Bars:
    """A bar for each of some rows; the whiskers are their least and most."""

    title: str
    unit: str
    bars: list  # (label, median, least, most, is ours)
    sentence: str

    def svg(self):
        top = max(most for _, _, _, most, _ in self.bars) or 1
        height = len(self.bars) * (BAR + GAP) + GAP
        yield f'<svg viewBox="0 0 {WIDTH} {height}" role="img">'
        for i, (label, median, least, most, ours) in enumerate(self.bars):
            y = GAP + i * (BAR + GAP)
            middle = y + BAR / 2
            low, mid, high = (LABEL + PLOT * value / top
                              for value in (least, median, most))
            yield text(LABEL - 8, middle, label, "end", bold=ours)
            yield (f'<rect x="{LABEL}" y="{y}" width="{mid - LABEL:.1f}" '
                   f'height="{BAR}" fill="{COLOURS[2 if ours else 0]}"/>')
            yield (f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} '
                   f'{middle - 4}v8M{high:.1f} {middle - 4}v8" '
                   'stroke="#202124" fill="none"/>')
            yield text(high + 8, middle, f"{number(median)} {self.unit}")
        yield "</svg>"

    def text(self):
        """The same for a terminal."""
        top = max(median for _, median, *_ in self.bars) or 1
        for label, median, *_ in self.bars:
            bar = "#" * max(1, round(TEXT_WIDTH * median / top))
            yield f"    {label:24}{bar} {number(median)} {self.unit}"


@dataclasses.dataclass
class Curves:
    """Values over categories, a line for each series."""

    title: str
    unit: str
    categories: list
    series: list  # (label, values, of which some may be None)
    sentence: str
    across: str

    def svg(self):
        left, bottom, right = 60, HEIGHT - 46, WIDTH - 190
        top = max((value for _, values in self.series for value in values
                   if value is not None), default=0) or 1
        step = nice_step(top)
        end = step * -(-top // step)
        xs = [left + 30 + i * (right - left - 60) / max(
            1, len(self.categories) - 1) for i in range(len(self.categories))]
        yield f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        value = 0
        while value <= end + step / 2:
            y = bottom - (bottom - 20) * value / end
            yield (f'<path d="M{left} {y:.1f}H{right}" stroke="#dadce0"/>')
            yield text(left - 6, y, f"{value:g}", "end")
            value += step
        yield text(left - 30, 6, self.unit)
        for x, name in zip(xs, self.categories):
            yield text(x, bottom + 16, name, "middle")
        yield text((left + right) / 2, bottom + 36, self.across, "middle")
        for i, (label, values) in enumerate(self.series):
            points = [(x, bottom - (bottom - 20) * value / end)
                      for x, value in zip(xs, values) if value is not None]
            colour = COLOURS[i]
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            yield (f'<polyline points="{line}" fill="none" stroke="{colour}" '
                   'stroke-width="2.5"/>')
            for x, y in points:
                yield (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" '
                       f'fill="{colour}"/>')
            y = 30 + 22 * i
            yield (f'<path d="M{right + 12} {y}h22" stroke="{colour}" '
                   'stroke-width="3"/>')
            yield text(right + 40, y, label)
        yield "</svg>"


@dataclasses.dataclass
class Dots:
    """Ratios in rows, with a line at 1; left of it is slower."""

    title: str
    unit: str
    rows: list  # (label, [(ratio, work)])
    works: list
    sentence: str
    limit: float = 3.0  # at the right edge; greater ones are put there

    def svg(self):
        marks = "circle square diamond cross triangle".split()
        legend = len(self.works) * 20 + 8
        height = legend + len(self.rows) * 30 + 46
        left, right = LABEL, WIDTH - 30
        scale = (right - left) / self.limit
        yield f'<svg viewBox="0 0 {WIDTH} {height}" role="img">'
        for i, work in enumerate(self.works):
            yield mark(marks[i], left + 8, 10 + 20 * i, "#1a73e8")
            yield text(left + 22, 10 + 20 * i, work)
        end = legend + len(self.rows) * 30
        for i in range(int(self.limit * 2) + 1):
            x = left + scale * i / 2
            colour = "#202124" if i == 2 else "#dadce0"
            yield f'<path d="M{x:.1f} {legend}V{end}" stroke="{colour}"/>'
            more = " or more" if i == self.limit * 2 else ""
            yield text(x, end + 14, f"{i / 2:g}{more}",
                       "end" if more else "middle")
        yield text((left + right) / 2, end + 34, self.unit, "middle")
        for i, (label, ratios) in enumerate(self.rows):
            y = legend + 15 + 30 * i
            yield text(left - 8, y, label, "end")
            for ratio, work in ratios:
                i = self.works.index(work)
                x = left + scale * min(ratio, self.limit)
                yield mark(marks[i], x, y + 4 * (i - len(self.works) // 2),
                           "#1a73e8" if ratio >= 1 else "#d93025")
        yield "</svg>"


def text(x, y, words, anchor="start", bold=False):
    weight = ' font-weight="bold"' if bold else ""
    return (f'<text x="{x:.1f}" y="{y:.1f}" dy=".35em" '
            f'text-anchor="{anchor}"{weight}>{html.escape(words)}</text>')


def mark(kind, x, y, colour):
    shape = {
        "circle": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z",
        "square": "M-4.5 -4.5h9v9h-9Z", "diamond": "M0 -6L6 0L0 6L-6 0Z",
        "triangle": "M0 -6L6 5H-6Z",
        "cross": "M-5 -5L5 5M5 -5L-5 5"}[kind]
    return (f'<path d="{shape}" transform="translate({x:.1f} {y:.1f})" '
            f'fill="{colour}" fill-opacity=".6" stroke="{colour}" '
            'stroke-width="1.5"/>')


def nice_step(top):
    """Of steps like 0.2, 0.5, 1, 2, 5: the least that makes few of them."""
    return next(step for power in range(-3, 6) for step in
                (10 ** power, 2 * 10 ** power, 5 * 10 ** power)
                if top / step <= STEPS)


class Page:
    """What the report has figures for."""

    def __init__(self, report, goals):
        self.report, self.goals = report, goals

    def plots(self):
        for plot in (self.bulk(), self.first_byte(), self.lossy(WIDTHS[0]),
                     self.lossy(WIDTHS[1]), self.pages(), self.never_slower(),
                     self.echo()):
            if plot is not None:
                yield plot

    def bars(self, stage, work, peers, convert=float):
        """(label, median, least, most, is ours) of those that have a row."""
        rows = [(label, self.report.row(stage, work, peer))
                for peer, label in peers.items()]
        return [(label, convert(row.median), *sorted(
            map(convert, (min(row.values), max(row.values)))),
                 label.startswith("culvert (") or label == "culvert")
                for label, row in rows if row is not None]

    @staticmethod
    def beside(suffix=""):
        """The others, by name."""
        names = {"direct": "no proxy"}
        return {name + suffix: names.get(name, name) for name in (
            "direct", "microsocks", "ssh -D", "shadowsocks", WIREGUARD,
            "culvert, Go edge")}

    def bulk(self):
        """Down, since both ways look alike; the sentence is of both. No proxy
        is ten times as fast and would hide the rest."""
        peers = {**self.beside(), OURS: "culvert (BBR)",
                 "culvert, cubic, 1500": "culvert (CUBIC)"}
        del peers["direct"]
        bars = self.bars("loopback", WAYS[0], peers,
                         lambda seconds: 1024 / seconds)
        rates = [self.goals.over("loopback", way, WIREGUARD, OURS)
                 for way in WAYS]
        if not bars or None in rates:
            return None
        return Bars("Throughput of one connection on one machine", "MiB/s",
                    bars, f"culvert has {times(rates[0])} the throughput of "
                    f"{WIREGUARD} down and {times(rates[1])} up; the goal is "
                    f"2 times, which it {reached(min(rates) >= 2)}.")

    def first_byte(self):
        bars = self.bars("loopback", FIRST_BYTE,
                         {**self.beside(), OURS: "culvert"})
        ratio = self.goals.over("loopback", FIRST_BYTE, OURS, WIREGUARD)
        if ratio is None:
            return None
        return Bars("First byte of a new connection on one machine, median",
                    "ms", bars, "The first byte through culvert takes "
                    f"{times(ratio)} as long as through {WIREGUARD}: "
                    f"the latency is {'lower' if ratio < 1 else 'not lower'}.")

    def lossy(self, work):
        lines = by_loss()
        series = [(label, [self.report.median(name, work, peer)
                           for _, name in lines])
                  for peer, label in LINES.items()]
        cubic, ours = series[0][1], series[2][1]
        pairs = [(loss, mine / theirs) for (loss, _), theirs, mine in
                 zip(lines, cubic, ours) if mine and theirs]
        if not pairs:
            return None
        said = ", ".join(f"{times(ratio)} at {loss:g} % of loss"
                         for loss, ratio in pairs)
        return Curves(f"Throughput by loss, {work}, 50 ms, 100 Mbit/s",
                      "Mbit/s", [f"{loss:g} %" for loss, _ in lines], series,
                      "The throughput of culvert beside that of TCP CUBIC "
                      f"without a proxy: {said}.", "packets lost at random")

    def pages(self):
        lines = by_loss()
        series = [(label, [scaled(self.report.median(name, PAGE, peer))
                           for _, name in lines])
                  for peer, label in LINES.items()]
        pairs = [(loss, mine / theirs) for (loss, _), theirs, mine in
                 zip(lines, series[0][1], series[2][1]) if mine and theirs]
        if not pairs:
            return None
        slower = [f"{loss:g} %" for loss, ratio in pairs if ratio > 1]
        said = ("at no loss rate is it slower than without a proxy"
                if not slower else
                f"at {listed(slower)} of loss it is slower than "
                "without a proxy")
        return Curves("A page of 100 objects by loss, 50 ms, 100 Mbit/s, "
                      "in total", "s", [f"{loss:g} %" for loss, _ in lines],
                      series, f"A page through culvert: {said} (TCP CUBIC).",
                      "packets lost at random")

    def never_slower(self):
        works = [PAGE, *WIDTHS]
        rows = []
        for *_, stage in MATRIX:
            ratios = []
            for work in works:
                ratio = self.goals.over(stage, work, "culvert",
                                        "direct, cubic")
                if ratio:
                    # More is better: of times the inverse.
                    ratios.append((1 / ratio if work == PAGE else ratio, work))
            if ratios:
                rows.append((stage.removesuffix(", steady"), ratios))
        if not rows:
            return None
        every = [(ratio, f"{work}, {stage}") for stage, ratios in rows
                 for ratio, work in ratios]
        good = sum(ratio >= 1 for ratio, _ in every)
        worst, where = min(every)
        return Dots("Never slower than no proxy?",
                    "speed of culvert over that of TCP CUBIC without a proxy",
                    rows, works, f"culvert is no slower than no proxy in "
                    f"{good} of {len(every)} figures; the least is "
                    f"{worst:.2f} times as fast ({where}).")

    def echo(self):
        work = "echo beside bulk, p95"
        peers = {"direct, cubic": "no proxy, CUBIC",
                 "direct, bbr": "no proxy, BBR",
                 **{peer: f"{label}, CUBIC" for peer, label in
                    self.beside(", cubic").items() if label != "no proxy"},
                 **{f"culvert, {cc}": f"culvert ({cc.upper()})" for cc in CCS}}
        bars = self.bars(NO_LOSS, work, peers)
        mine = self.report.median(NO_LOSS, work, "culvert, bbr")
        theirs = self.report.median(NO_LOSS, work, "direct, cubic")
        if not mine or not theirs:
            return None
        return Bars(f"Answers beside a download, p95, {NO_LOSS}", "ms", bars,
                    "Beside a download, small answers through culvert take "
                    f"{times(mine / theirs)} as long as without a proxy "
                    "(TCP CUBIC), on a line with a queue of one round trip.")

    def html(self, load):
        yield "<!DOCTYPE html>"
        yield '<html lang="en"><head><meta charset="utf-8">'
        yield '<meta name="viewport" content="width=device-width">'
        yield f"<title>culvert, measured</title><style>{STYLE}</style></head>"
        yield "<body><h1>culvert, measured</h1>"
        yield ("<p>Bars, points and numbers are medians; whiskers are the "
               "least and the greatest of the runs. Lines with a round-trip "
               "time are two network namespaces with a simulated line between "
               "them.</p>")
        for plot in self.plots():
            yield f"<h2>{html.escape(plot.title)}</h2>"
            yield f"<p>{html.escape(plot.sentence)}</p>"
            yield from plot.svg()
        yield "<h2>Goals</h2><pre>"
        yield html.escape("\n".join(self.goals.lines()))
        yield "</pre>"
        for line in (*machine(), load):
            yield f'<p class="small">{html.escape(line)}</p>'
        yield "</body></html>"

    def lines(self):
        """One of the plots, for a terminal."""
        plot = self.bulk()
        if plot is not None:
            yield f"{plot.title}: {plot.sentence}"
            yield from plot.text()

    def write(self, path, load):
        path.write_text("\n".join(self.html(load)) + "\n", encoding="utf-8")


def by_loss():
    """The lines that differ in loss alone: (per cent, stage)."""
    return sorted((loss, stage) for rtt, rate, loss, stage in MATRIX
                  if (rtt, rate) == (50, 100))


def listed(words):
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def reached(is_reached):
    return "reaches" if is_reached else "does not reach"


def scaled(milliseconds):
    return None if milliseconds is None else milliseconds / 1e3
