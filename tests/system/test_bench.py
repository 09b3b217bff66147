"""The benchmark works; its figures are not judged here."""

import csv
import os

import pytest

from daemon import SAN

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
    svg = (made.directory / "bench.svg").read_text()
    assert "<svg" in svg and "Linux" in svg
