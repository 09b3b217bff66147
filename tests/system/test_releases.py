"""tests/releases.sh with pretended releases: what it prints and where it
looks. The releases themselves are for "make releases"."""

import os
import shutil
import subprocess

import pytest

from daemon import ROOT

# unshare runs a release: its log, and whether it has passed.
STUBS = {
    "bin/id": "echo $TEST_UID",
    "bin/unshare": """
echo "$distribution $suite $mirror" >>"$STATE/runs"
[ "$version" != sid ] || { echo "make: *** Error 1"; exit 2; }
echo "1 passed before, it says"
echo "375 passed, 47 skipped in 312.99s (0:05:12)"
""",
    "deps.sh": '[ "$1" != mirror ] || echo http://mirror.example/debian',
}


class Tree:
    """A tree with nothing but the script, on a machine with Debian."""

    def __init__(self, root):
        self.root = root
        (root / "tests").mkdir()
        (root / "bin").mkdir()
        shutil.copy(ROOT / "tests/releases.sh", root / "tests")
        for name, text in STUBS.items():
            (root / name).write_text("#!/bin/sh\n" + text)
            (root / name).chmod(0o755)
        (root / "os-release").write_text("ID=debian\n")

    def run(self, *args, uid=0, **env):
        return subprocess.run(
            [str(self.root / "tests/releases.sh"), *args],
            capture_output=True, text=True, timeout=60, check=False,
            env={"PATH": f"{self.root}/bin:{os.environ['PATH']}",
                 "OS_RELEASE": str(self.root / "os-release"),
                 "STATE": str(self.root), "TEST_UID": str(uid), **env})

    def runs(self):
        return (self.root / "runs").read_text().splitlines()


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_a_line_for_each(tree):
    done = tree.run()
    assert done.stdout == (
        "debian 12: 375 passed, 47 skipped\n"
        "debian 13: 375 passed, 47 skipped\n"
        "debian sid: FAILED, see build/releases/sid/log\n"
        "ubuntu 25.10: not run, UBUNTU_MIRROR names no mirror\n")
    assert done.returncode == 1
    log = tree.root / "build/releases/sid/log"
    assert log.read_text() == "make: *** Error 1\n"


def test_some_of_them(tree):
    done = tree.run("13", "12")
    assert done.returncode == 0, done.stderr
    assert tree.runs() == ["debian bookworm http://mirror.example/debian",
                           "debian trixie http://mirror.example/debian"]


def test_a_release_that_is_unknown(tree):
    done = tree.run("11")
    assert done.returncode == 1
    assert "there is no release 11; there are 12 13 sid 25.10" in done.stderr


def test_other_mirrors(tree):
    done = tree.run("12", "25.10", MIRROR="http://other.example/debian",
                    UBUNTU_MIRROR="http://other.example/ubuntu")
    assert done.returncode == 0, done.stderr
    assert tree.runs() == ["debian bookworm http://other.example/debian",
                           "ubuntu questing http://other.example/ubuntu"]


def test_it_takes_root(tree):
    done = tree.run(uid=1000)
    assert done.returncode == 1
    assert "to be run as root" in done.stderr
    assert not (tree.root / "build").exists()
