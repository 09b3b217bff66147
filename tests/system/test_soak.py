"""The soak's short form; `make soak` is the long one."""

import subprocess

from daemon import DEADLINE, ROOT, SAN, environment

MINUTES = 0.75  # of faults; with what comes before and after, about one


def test_soak():
    done = subprocess.run(
        ["make", "soak", f"MINUTES={MINUTES}", *(["SAN=1"] if SAN else [])],
        cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=10 * DEADLINE, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
