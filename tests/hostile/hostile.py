"""Hostile clients play against an edge while an honest one moves data.

Each act of theirs comes alone, in an order of chance, then several come at a
time; first with an edge that has the default memory, then with one that has
the least.  Before and after each, the honest client is alone: its rate then is
what its rate beside the others is held against.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time

from stage import Sampler, Stage, acts, finish, processors, wait_fds

MEMORY = ("256M", "16M")
MIB = 1 << 20

CALM = 2  # seconds of the honest client alone, between two attacks
SHARE_ALONE = 0.7  # of the time in which each act comes alone
AT_ONCE = (2, 4)  # acts at a time, after that
SPELL_MIN, SPELL_MAX = 3, 12  # seconds of an attack

LATE = 0.75  # of an attack: then a new client connects
GOOD = 0.8  # of the honest client's rates alone: the goal

# Seconds after the last attack: the edge waits for peers that have vanished
# (30 s), and for origins that do not answer.
SETTLE = 75

FEW = 60  # streams or connections, when it is only tried
TRIED = 4  # seconds


@dataclasses.dataclass
class Rate:
    """The honest client's bytes per second."""

    down: float
    up: float

    @classmethod
    def of(cls, account):
        return cls(*(account["counts"].get(name, 0) / account["seconds"]
                     for name in ("down", "up")))

    def most(self, other):
        return Rate(max(self.down, other.down), max(self.up, other.up))


def worst(times):
    return max(times, default=None)


def median(times):
    return statistics.median(times) if times else None


def show(value, width, digits=0):
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"


class Attack:
    """One or more acts at the same time, and the result."""

    def __init__(self, stage, names, seconds, seed, most=None):
        self.stage, self.names, self.seconds = stage, names, seconds
        self.seed, self.most = seed, most
        self.failures = []
        self.newcomer = None

    def come_new(self):
        """Another client connects for the first time meanwhile."""
        try:
            self.newcomer = self.stage.newcomer(f"newcomer {self.seed}")
        except Exception as error:
            self.failures.append(f"a new proxy: {str(error)[:300]}")

    def run(self):
        stage = self.stage
        began, cpu = time.monotonic(), stage.cpu()
        stage.watch.clear()
        stage.account()
        with Sampler(stage) as sampler:
            running = [stage.attack(name, self.seconds, self.seed, self.most,
                                    10 * i + 10)
                       for i, name in enumerate(self.names)]
            visitor = threading.Thread(target=self.come_new, daemon=True)
            threading.Timer(LATE * self.seconds, visitor.start).start()
            self.tallies = [finish(process, self.seconds + 60)
                            for process in running]
            account = stage.account()
        self.wall, self.cpu_max = stage.watch.longest()
        if self.wall is not None:
            self.wall = max(self.wall, *sampler.loop)
        self.load = (stage.cpu() - cpu) / (time.monotonic() - began)
        self.rate = Rate.of(account)
        self.times = account["times"]
        self.failures += account["failures"]
        self.rss, self.fds = worst(sampler.rss), worst(sampler.fds)
        visitor.join()
        stage.check()

    def judge(self, before, after):
        """Compared with the honest client alone."""
        alone = before.most(after)
        self.down = self.rate.down / alone.down if alone.down else 0
        self.up = self.rate.up / alone.up if alone.up else 0

    def line(self):
        word, fresh = (worst(self.times.get(name, []))
                       for name in ("word", "fresh"))
        return (f"{'+'.join(self.names):26.26}{self.down:6.2f}{self.up:6.2f}"
                f"{show(word, 8, 2)}{show(fresh, 8, 2)}"
                f"{show(self.newcomer, 8, 2)}{show(self.wall, 8)}"
                f"{show(self.cpu_max, 7)}{self.load:6.2f}"
                f"{self.rss / MIB:7.0f}{show(self.fds, 7)}"
                f"{len(self.failures):6}")

    HEAD = (f"{'act':26}{'down':>6}{'up':>6}{'word':>8}{'fresh':>8}{'new':>8}"
            f"{'loop':>8}{'cpu':>7}{'load':>6}{'MiB':>7}{'files':>7}"
            f"{'fails':>6}")

    def record(self):
        return {"acts": self.names, "seed": self.seed,
                "memory_max": self.stage.memory, "seconds": self.seconds,
                "down_bytes_s": self.rate.down, "up_bytes_s": self.rate.up,
                "down_ratio": self.down, "up_ratio": self.up,
                "word_max_s": worst(self.times.get("word", [])),
                "fresh_median_s": median(self.times.get("fresh", [])),
                "fresh_max_s": worst(self.times.get("fresh", [])),
                "newcomer_s": self.newcomer, "loop_max_ms": self.wall,
                "loop_cpu_max_ms": self.cpu_max, "edge_load": self.load,
                "rss_max": self.rss, "fds_max": self.fds,
                "failures": self.failures,
                "hostile": dict(zip(self.names, self.tallies))}


LEGEND = """\
down, up: the honest client's rates, of its rates alone
word, fresh, new: seconds that a word in an open tunnel, a new tunnel and a
    new proxy took, at most
loop, cpu: the longest iteration of the edge's loop in ms, by the clock and of
    CPU time; load: the part of a CPU that the edge has used
MiB, files: memory and descriptors of the edge, at most
fails: failures of the honest client, of which there must be none"""


class Play:
    """All attacks on one edge."""

    def __init__(self, stage, chance):
        self.stage, self.chance = stage, chance
        self.attacks = []

    def calm(self, seconds=CALM):
        self.stage.account()
        time.sleep(seconds)
        account = self.stage.account()
        self.late += account["failures"]
        return Rate.of(account)

    def attack(self, names, seconds, before):
        attack = Attack(self.stage, names, seconds,
                        self.chance.randrange(1 << 32))
        attack.run()
        after = self.calm()
        attack.judge(before, after)
        attack.failures += self.late
        self.late = []
        self.attacks.append(attack)
        print(attack.line(), flush=True)
        for failure in sorted(set(attack.failures)):
            print(f"    {failure}", flush=True)
        return after

    def run(self, seconds, names, spell):
        self.late = []
        end = time.monotonic() + seconds
        singles = self.chance.sample(names, len(names))
        if spell is None:
            spell = SHARE_ALONE * seconds / len(names) - CALM
            spell = min(max(spell, SPELL_MIN), SPELL_MAX)
        self.alone = before = self.calm(2 * CALM)
        fds = self.stage.fds()
        print(f"memory-max {self.stage.memory}: alone "
              f"{before.down / MIB:.0f} MiB/s down, "
              f"{before.up / MIB:.0f} MiB/s up; "
              f"{self.stage.rss() / MIB:.0f} MiB, {fds} descriptors")
        print(Attack.HEAD, flush=True)
        for name in singles:
            before = self.attack([name], spell, before)
        while time.monotonic() < end:
            some = self.chance.sample(names, min(
                len(names), self.chance.randint(*AT_ONCE)))
            before = self.attack(some, spell, before)
        return self.settle(fds)

    def settle(self, fds):
        """What remains after the attackers; None: nothing too much."""
        rss, left = self.stage.rss(), fds
        if fds is not None:
            left = wait_fds(self.stage, fds + SLACK, SETTLE)
        print(f"afterwards: {rss / MIB:.0f} MiB, then "
              f"{self.stage.rss() / MIB:.0f} MiB; {left} descriptors, before "
              f"{fds}")
        if left is not None and left > fds + SLACK:
            return f"the edge had {fds} descriptors, and has {left}"
        return None


# The honest client's new tunnels come and go.
SLACK = 4  # descriptors


def summary(plays):
    attacks = [attack for play in plays for attack in play.attacks]
    failures = sum(len(attack.failures) for attack in attacks)
    for attack in sorted(attacks, key=lambda a: min(a.down, a.up)):
        if min(attack.down, attack.up) < GOOD:
            yield (f"less than {GOOD}: {attack.down:.2f} down, "
                   f"{attack.up:.2f} up beside {'+'.join(attack.names)} "
                   f"({attack.stage.memory}, seed {attack.seed})")
    for play in plays:
        most = max(play.attacks, key=lambda a: a.rss)
        yield (f"memory-max {play.stage.memory}: at most "
               f"{most.rss / MIB:.0f} MiB ({'+'.join(most.names)})")
    watched = [attack for attack in attacks if attack.wall is not None]
    if watched:
        longest = max(watched, key=lambda a: a.cpu_max)
        yield (f"longest iteration {max(a.wall for a in watched):.0f} ms by "
               f"the clock, {longest.cpu_max:.0f} ms of CPU time "
               f"({'+'.join(longest.names)})")
    yield f"failures of the honest client: {failures}"


def judge(plays):
    """The failures, as sentences."""
    for play in plays:
        for attack in play.attacks:
            if attack.failures:
                yield (f"{'+'.join(attack.names)}, {attack.stage.memory}: "
                       f"{len(attack.failures)} failures")


def try_out(directory):
    """Every act once, all at the same time: does everything work?"""
    others, mine = processors()
    with Stage(directory / "try", MEMORY[-1], others | mine) as stage:
        attack = Attack(stage, acts(), TRIED, 1, FEW)
        attack.run()
        attack.judge(attack.rate, attack.rate)
    for name, tally in zip(attack.names, attack.tallies):
        assert tally["sent"] > 0, f"{name} has done nothing"
    print(f"every act: {attack.rss / MIB:.0f} MiB and {attack.fds} descriptors "
          f"of the edge, at most; {len(attack.failures)} failures")
    return attack.failures, [attack]


def play_all(directory, args):
    chance = random.Random(args.seed)
    seconds = 60 * args.minutes / len(args.memory)
    attackers_have, others_have = processors()
    wrong, plays = [], []
    with pinned(others_have):
        for size in args.memory:
            with Stage(directory / size, size, attackers_have,
                       args.files) as stage:
                play = Play(stage, chance)
                plays.append(play)
                wrong.append(play.run(seconds, args.acts or acts(),
                                      args.spell))
    print()
    for line in (*LEGEND.splitlines(), "", *summary(plays)):
        print(line)
    wrong = [*filter(None, wrong), *judge(plays)]
    return wrong, [attack for play in plays for attack in play.attacks]


@contextlib.contextmanager
def pinned(to):
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, to)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def on_signal(*_):
    """Whatever was started ends, too."""
    sys.exit("hostile: told to end")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int,
                        default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--memory", nargs="*", default=MEMORY)
    parser.add_argument("--files", type=int,
                        help="descriptors that the edge may have")
    parser.add_argument("--acts", nargs="*", help="these alone")
    parser.add_argument("--spell", type=float, help="seconds of each attack")
    parser.add_argument("--try", action="store_true", dest="tried")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, on_signal)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    directory = pathlib.Path(tempfile.mkdtemp(prefix="culvert-hostile-"))
    if args.tried:
        wrong, attacks = try_out(directory)
    else:
        print(f"hostile: {args.minutes:g} minutes, SEED={args.seed}",
              flush=True)
        wrong, attacks = play_all(directory, args)
    if args.json:
        args.json.write_text(json.dumps(
            {"seed": args.seed, "wrong": wrong,
             "attacks": [attack.record() for attack in attacks]}, indent=1))
    if wrong:
        sys.exit("\n".join(["hostile:", *wrong, f"the logs are in "
                            f"{directory}"]))
    shutil.rmtree(directory)
    print("hostile: the honest client has noticed nothing wrong")


if __name__ == "__main__":
    main()
