"""The manual pages say what the programs do."""

import contextlib
import os
import pty
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


@pytest.mark.needs("mandoc")
@pytest.mark.parametrize("page", sorted(
    page for pages in PROGRAMS.values() for page in pages if page))
def test_lint(page):
    done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", MAN / page],
                          text=True, capture_output=True, timeout=60,
                          check=False)
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.needs("mandoc")
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


# ---- Commands in the pages ----

def typed(shell, text, tmp_path):
    """A terminal that such a text is pasted to, and then a password."""
    pid, fd = pty.fork()
    if pid == 0:
        os.umask(0o022)
        os.chdir(tmp_path)
        os.execvp(shell, [shell])
    os.write(fd, text.encode())
    seen = b""
    for prompt in (b"Password:", b"Verifying"):
        while prompt not in seen:
            seen += os.read(fd, 4096)
        os.write(fd, b"sesame\n")
    os.write(fd, b"\nexit\n")
    with contextlib.suppress(OSError):  # the terminal is gone
        while os.read(fd, 4096):
            pass
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


EXAMPLE = re.compile(r"^.*\$\(openssl passwd.*$(?:\n.*culvert-edge.*$)?", re.M)


@pytest.mark.parametrize("page", ["README", *(
    pytest.param(page, marks=pytest.mark.needs("mandoc"))
    for page in ("culvert-edge.8", "culvert.1"))])
def test_users_file(tmp_path, page):
    """Typed or pasted, the line makes a file that no other user may read, and
    its user is accepted."""
    text = (ROOT / page).read_text() if page == "README" else render(page)
    text, = EXAMPLE.findall(text)
    path = tmp_path / "users"
    ran = tmp_path / "ran"
    # Input after the line is not taken for the password.
    text = re.sub(r"culvert-edge .*", f"echo it ran >{ran}", text)
    text = re.sub(r">(/etc/culvert\.)?users", f">{path}", text)
    assert typed("sh", text + "\n", tmp_path) == 0
    assert path.stat().st_mode & 0o077 == 0
    name, crypted = path.read_text().strip().split(":")
    assert name == "alice"
    salt = crypted.split("$")[2]
    again = subprocess.run(["openssl", "passwd", "-6", "-salt", salt,
                            "sesame"], check=True, text=True,
                           capture_output=True, timeout=60).stdout
    assert again.strip() == crypted
    assert page == "culvert.1" or ran.read_text() == "it ran\n"
