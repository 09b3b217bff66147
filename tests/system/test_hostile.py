"""Every act of the hostile clients at once, for seconds; `make hostile` takes
minutes, and measures."""

import subprocess

from daemon import DEADLINE, ROOT, SAN, environment


def test_hostile():
    done = subprocess.run(
        ["make", "hostile", "TRY=1", *(["SAN=1"] if SAN else [])],
        cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=5 * DEADLINE, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
