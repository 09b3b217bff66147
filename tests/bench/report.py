"""The figures as a table and as CSV."""

import csv
import os
import platform
import statistics
import subprocess

from world import BUILD

COLUMNS = ("stage", "work", "unit", "peer", "runs", "median", "min", "max",
           "ratio", "cpu", "why")
PACKAGES = ("libngtcp2-dev", "libnghttp3-dev", "libgnutls28-dev", "libuv1-dev",
            "microsocks", "openssh-server", "shadowsocks-libev", "golang-go",
            "golang-gvisor-gvisor-dev", "golang-golang.zx2c4-wireguard-dev")


class Row:
    """What one peer had of one work on one stage."""

    def __init__(self, figure):
        self.stage, self.work = figure.stage, figure.work
        self.unit, self.peer = figure.unit, figure.peer
        self.values, self.cpus = [], []

    def add(self, figure):
        self.values.append(figure.value)
        if figure.cpu is not None:
            self.cpus.append(figure.cpu)

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def cpu(self):
        return statistics.median(self.cpus) if self.cpus else None


class Report:
    """Rows in the order of their first figures, and what is missing."""

    def __init__(self, figures):
        self.rows, self.missing = {}, {}
        for figure in figures:
            if figure.why is not None:
                key = figure.stage, figure.why
                self.missing.setdefault(key, {})[figure.peer.name] = True
                continue
            key = figure.stage, figure.work, figure.peer.name
            self.rows.setdefault(key, Row(figure)).add(figure)

    def row(self, stage, work, peer):
        return self.rows.get((stage, work, peer))

    def median(self, stage, work, peer):
        row = self.row(stage, work, peer)
        return row.median if row else None

    def ratio(self, row):
        """To direct TCP, or None."""
        base = self.median(row.stage, row.work, row.peer.base)
        return row.median / base if base else None

    def groups(self):
        """The rows by stage and work, those of a stage together."""
        groups = {}
        stages = list(dict.fromkeys(row.stage for row in self.rows.values()))
        for row in sorted(self.rows.values(),
                          key=lambda row: stages.index(row.stage)):
            groups.setdefault((row.stage, row.work), []).append(row)
        return groups

    def lines(self):
        """The table."""
        last = None
        for (stage, work), rows in self.groups().items():
            if stage != last:
                yield ""
                yield (f"{stage:44}{'median':>10}{'min':>10}{'max':>10}"
                       f"{'× direct':>10}{'CPU':>8}")
                last = stage
            yield f"  {work}" + (f", {rows[0].unit}" if rows[0].unit else "")
            for row in rows:
                yield self.line(row)
        yield ""
        for (stage, why), peers in self.missing.items():
            yield f"missing: {stage}: {why}: {'; '.join(peers)}"

    def line(self, row):
        ratio, cpu = self.ratio(row), row.cpu
        return (f"    {row.peer.name:40}{row.median:10.2f}"
                f"{min(row.values):10.2f}{max(row.values):10.2f}"
                f"{f'{ratio:.2f}' if ratio else '-':>10}"
                f"{f'{cpu:.2f}' if cpu is not None else '-':>8}")

    def write_csv(self, path):
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.writelines(f"# {line}\n" for line in machine())
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for row in self.rows.values():
                writer.writerow([
                    row.stage, row.work, row.unit, row.peer.name,
                    len(row.values), row.median, min(row.values),
                    max(row.values), self.ratio(row), row.cpu, None])
            for (stage, why), peers in self.missing.items():
                for peer in peers:
                    writer.writerow([stage, "", "", peer, 0, *[None] * 5, why])


def machine():
    """What was measured, and on what."""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = next((line.split(":")[1].strip() for line in info
                      if line.startswith("model name")), platform.machine())
    version = subprocess.run([BUILD / "culvert", "-V"], capture_output=True,
                             text=True, check=False).stdout.split()
    with open("/proc/sys/net/ipv4/tcp_congestion_control",
              encoding="ascii") as cc:
        kernel_cc = cc.read().strip()
    packages = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}, ", *PACKAGES],
        capture_output=True, text=True, check=False).stdout.strip(" ,")
    return [
        f"{model}, {os.cpu_count()} processors; Linux {platform.release()}, "
        f"TCP {kernel_cc}; {' '.join(version)}",
        packages]
