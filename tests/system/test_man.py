"""The manual pages say what the programs do."""

import re
import subprocess

import pytest

from daemon import ROOT, run

MAN = ROOT / "man"

# Each program, its own page, and the page of its file.
PROGRAMS = {
    "culvert": ("culvert.1", "culvert.conf.5"),
    "culvert-edge": ("culvert-edge.8", "culvert-edge.conf.5"),
    "culvertctl": ("culvertctl.1", None),
}
DAEMONS = ("culvert", "culvert-edge")

# Flags that are no keys of a file.
COMMAND_LINE = {"config", "option", "check", "help", "version"}


def words(text):
    """The text with every run of white space made one space."""
    return " ".join(text.split())


def render(page):
    """The page as a terminal shows it, without bold and underlined."""
    text = subprocess.run(["mandoc", "-Tascii", MAN / page], check=True,
                          text=True, capture_output=True, timeout=60).stdout
    return re.sub(".\b", "", text)


def usage(program):
    """The usage line, and all long flags of the list that follows it."""
    done = run(program, "-h")
    assert done.returncode == 0
    line, _, rest = done.stdout.partition("\n\n")
    flags = re.findall(r"^ +(?:-\w, )?--([\w-]+)", rest, re.M)
    return words(line.removeprefix("usage: ")), set(flags)


def keys(page):
    """The keys that a page of a file describes, with their sections."""
    section = None
    for line in (MAN / page).read_text().splitlines():
        if line.startswith(".Ss Section "):
            section = line.split()[2]
        elif line.startswith(".It Ic ") and section:
            yield section, line.split()[2]


@pytest.mark.parametrize("page", sorted(
    page for pages in PROGRAMS.values() for page in pages if page))
def test_lint(page):
    done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", MAN / page],
                          text=True, capture_output=True, timeout=60,
                          check=False)
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.parametrize("program", PROGRAMS)
def test_synopsis_is_the_usage(program):
    page = render(PROGRAMS[program][0])
    synopsis = re.search(r"^SYNOPSIS\n(.*?)^\w", page, re.M | re.S)[1]
    assert words(synopsis) == usage(program)[0]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_flag_is_described(program):
    source = (MAN / PROGRAMS[program][0]).read_text()
    items = "\n".join(re.findall(r"^\.It Fl .*", source, re.M))
    assert set(re.findall(r"Fl -([\w-]+)", items)) == usage(program)[1]


@pytest.mark.parametrize("program", DAEMONS)
def test_every_key_is_described(program):
    described = [key for _, key in keys(PROGRAMS[program][1])]
    assert sorted(described) == sorted(usage(program)[1] - COMMAND_LINE)


@pytest.mark.parametrize("program", DAEMONS)
def test_keys_are_in_their_sections(program):
    """An empty value is wrong for every key, and says so by its name."""
    for section, key in keys(PROGRAMS[program][1]):
        done = run(program, "-n", "-o", f"{section}.{key}=")
        assert done.returncode == 2
        assert f"--{key}: the value is not " in done.stderr or \
            f"--{key}: '' is not " in done.stderr


def test_every_member_of_the_status_is_described(embedded):
    source = (MAN / "culvertctl.1").read_text()
    described = set(re.findall(r"\b[a-z_]+\b", " ".join(
        re.findall(r"^\.(?:It|Pq)? ?Va (.*)", source, re.M))))
    status = embedded.status()
    members = set(status)
    for value in status.values():
        members |= set(value) if isinstance(value, dict) else set()
    assert members <= described
