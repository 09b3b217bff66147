"""The benchmark works; its figures are not judged here."""

import csv
import os
import pathlib
import sys

import pytest

from daemon import SAN

sys.path.append(str(pathlib.Path(__file__).parents[1] / "bench"))

from goals import (FIRST_BYTE, MATRIX, PAGE, WAYS, WIDTHS, WIREGUARD,
                   Goals)
from page import OURS, Page
from peers import Peer
from report import Report
from stage import Figure

PEERS = ["direct", "microsocks", "ssh -D", "shadowsocks",
         "gVisor with WireGuard", "culvert, Go edge",
         "culvert, cubic, 1500", "culvert, bbr, 1500", "culvert, cubic, 9000",
         "culvert, cubic, 65535", "culvert, bbr, 65535"]
LINES = ["50 ms, 100 Mbit/s, no loss", "50 ms, 100 Mbit/s, 1 % loss",
         "50 ms, 100 Mbit/s, 3 % loss", "10 ms, 1 Gbit/s, no loss"]


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        lines = [line for line in file if not line.startswith("#")]
    return list(csv.DictReader(lines))


@pytest.mark.needs("ssh")
@pytest.mark.make("bench", "QUICK=1", "BENCH_ARGS=--out=DIRECTORY")
@pytest.mark.skipif(SAN, reason="sanitizers have no speed to measure")
def test_quick_bench(made):
    found = rows(made.directory / "bench.csv")

    # Each peer has figures, or the reason why it has none.
    for stage, peers in [("loopback", PEERS)] + [
            (line, [f"{peer}, {cc}"]) for line in LINES
            for peer in ("direct", "ssh -D", "culvert")
            for cc in ("cubic", "bbr")]:
        for peer in peers:
            mine = [row for row in found
                    if (row["stage"], row["peer"]) == (stage, peer)]
            assert mine, f"{stage}: no row of {peer}"
            assert all(row["why"] or float(row["median"]) >= 0
                       for row in mine)
            assert os.geteuid() != 0 or stage != "loopback" or \
                not any("not installed" in row["why"] for row in mine)
    ours = {row["work"]: row for row in found
            if row["peer"] == "culvert, cubic, 1500" and row["work"]}
    # On a busy machine a short run may use less than a tick.
    assert float(ours["down, 1 tunnel"]["cpu"]) >= 0
    assert "idle tunnel, RSS of edge" in ours

    # The output is the table with the goals.
    for text in ("loopback", "down, 1 tunnel", "packets per send call",
                 "Goals"):
        assert text in made.stdout
    # Each plot has its sentence, and nothing of the page is elsewhere.
    page = (made.directory / "bench.html").read_text()
    assert "<svg" in page and "Linux" in page
    assert "culvert is no slower than no proxy in" in page
    assert page.count("<svg") == page.count("</h2>\n<p>")
    assert not any(text in page for text in ("<script", "http:", "https:",
                                             "src=", "url("))


def sentences(speed):
    """What the plots say when culvert is `speed` times as fast as all else."""
    figures = []

    def add(stage, peer, work, value):
        figures.append(Figure(stage, Peer(peer, None), work, "", value))

    for work in (*WAYS, FIRST_BYTE):
        add("loopback", WIREGUARD, work, 100)
        add("loopback", OURS, work, 100 / speed)
    for *_, stage in MATRIX:
        for work in (PAGE, *WIDTHS):
            ratio = 1 / speed if work == PAGE else speed
            add(stage, "direct, cubic", work, 50)
            add(stage, "culvert", work, 50 * ratio)
    report = Report(figures)
    return "\n".join(plot.sentence for plot in Page(report, Goals(report))
                     .plots())


@pytest.mark.parametrize("speed, said", [
    (4, ["4.0 times the throughput of gVisor with WireGuard down",
         "which it reaches", "takes 0.25 times as long", "latency is lower",
         "4.0 times at 3 % of loss", "at no loss rate is it slower",
         "no slower than no proxy in 35 of 35 figures"]),
    (0.5, ["0.50 times the throughput of gVisor with WireGuard down",
           "which it does not reach", "takes 2.0 times as long",
           "latency is not lower", "0.50 times at 3 % of loss",
           "at 0 %, 0.1 %, 1 % and 3 % of loss it is slower",
           "no slower than no proxy in 0 of 35 figures"])])
def test_the_page_says_what_the_figures_do(speed, said):
    text = sentences(speed)
    for words in said:
        assert words in text
