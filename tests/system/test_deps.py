"""deps.sh with a fake apt: what it would do to a machine."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

STUBS = {
    "dpkg-query": 'cat "$STATE/installed"',
    "id": "echo 0",
    "dpkg": '[ "$1" != --print-architecture ] || exec cat "$STATE/arch"\n'
            'exec /usr/bin/dpkg "$@"\n',
    "apt-cache": '! grep -qx "$2" "$STATE/unknown"',
    "systemctl": 'echo "$@" >>"$STATE/services"',
    # The options -o and -t take an argument each; the rest are names.
    "apt-get": """
echo "$@" >>"$STATE/log"
[ "$3" = install ] || exit 0
[ ! -e "$POLICY" ] || cp "$POLICY" "$STATE/policy"
new=99
while [ $# -gt 0 ]; do
    case $1 in
    -o) shift ;;
    -t) shift ;;
    -*|install) ;;
    *) echo "ii  $1 $new" >>"$STATE/installed" ;;
    esac
    shift
done
[ ! -e "$STATE/broken" ] || { echo "E: broken"; exit 100; }
""",
}

STANZAS = """\
Types: deb
# a comment inside
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main
"""

ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb http://other.example/php bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main # x
deb http://mirror.example/debian bookworm-updates main contrib
deb-src http://mirror.example/debian bookworm-backports main
"""


class Machine:
    """A pretended machine below a directory."""

    def __init__(self, root):
        self.root = root
        self.apt = root / "apt"
        self.backports = self.apt / "sources.list.d/culvert-backports.sources"
        self.backports.parent.mkdir(parents=True)
        self.bin = root / "bin"
        self.bin.mkdir()
        for name, text in STUBS.items():
            (self.bin / name).write_text("#!/bin/sh\n" + text)
            (self.bin / name).chmod(0o755)
        for name in ("installed", "unknown", "log"):
            (root / name).write_text("")
        (root / "arch").write_text("amd64\n")
        self.codename("bookworm")

    def codename(self, name):
        (self.root / "os-release").write_text(f"VERSION_CODENAME={name}\n")

    def run(self, *args):
        (self.root / "log").write_text("")
        return subprocess.run(
            [str(ROOT / "deps.sh"), *args], capture_output=True, text=True,
            timeout=30, check=False,
            env={"PATH": f"{self.bin}:{os.environ['PATH']}",
                 "STATE": str(self.root), "APT_DIR": str(self.apt),
                 "OS_RELEASE": str(self.root / "os-release"),
                 "POLICY": str(self.root / "policy-rc.d")})

    def calls(self):
        return (self.root / "log").read_text().splitlines()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_installs_once_and_then_nothing(machine):
    (machine.apt / "sources.list.d/debian.sources").write_text(STANZAS)
    first = machine.run("build")
    assert first.returncode == 0, first.stderr
    update, quic, rest = machine.calls()
    assert update.endswith("update")
    assert "-t bookworm-backports" in quic and "libngtcp2-dev" in quic
    assert "-t" not in rest.split() and "libuv1-dev" in rest
    assert "libcmocka-dev" not in rest
    second = machine.run("build")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert machine.calls() == []


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_one_package_is_for_one_architecture(machine, arch):
    machine.codename("trixie")
    (machine.root / "arch").write_text(arch + "\n")
    assert machine.run("build").returncode == 0
    names = machine.calls()[-1].split()
    assert ("libipsec-mb-dev" in names) == (arch == "amd64")


def test_most_tests_need_little(machine):
    machine.codename("trixie")
    assert machine.run("test").returncode == 0
    names = set(machine.calls()[-1].split())
    assert {"libcmocka-dev", "python3-pytest", "gcc"} < names
    assert not names & {"curl", "chromium", "golang-go", "openvpn", "mandoc",
                        "iproute2", "clang"}
    assert machine.run("test").stdout == ""
    assert machine.run().returncode == 0
    names = set(machine.calls()[-1].split())
    assert {"curl", "chromium", "golang-go", "openvpn", "mandoc", "iproute2",
            "clang"} < names


def test_backports_of_the_bench_come_last(machine):
    """The compiler and libraries of quic-go are the release's own."""
    (machine.apt / "sources.list.d/debian.sources").write_text(STANZAS)
    assert machine.run("bench").returncode == 0
    update, rest, wireguard = machine.calls()
    assert update.endswith("update")
    assert "-t" not in rest.split() and "golang-go" in rest.split()
    assert "golang-gvisor" not in rest
    assert "-t bookworm-backports" in wireguard
    assert {"golang-golang.zx2c4-wireguard-dev", "golang-gvisor-gvisor-dev",
            "golang-1.23-go"} < set(wireguard.split())
    assert machine.run("bench").stdout == ""
    assert machine.calls() == []


def test_no_server_is_started(machine):
    """The tests run an sshd of their own: dpkg must start none."""
    machine.codename("trixie")
    assert machine.run().returncode == 0
    assert "openssh-server" in machine.calls()[-1].split()
    assert "exit 101" in (machine.root / "policy").read_text()
    assert not (machine.root / "policy-rc.d").exists()


@pytest.mark.parametrize("name, text, key", [
    ("sources.list.d/debian.sources", STANZAS,
     "/usr/share/keyrings/debian.gpg"),
    ("sources.list", ONE_LINE, "/k.gpg")], ids=["stanza", "line"])
def test_a_mirror_gives_its_backports(machine, name, text, key):
    (machine.apt / name).write_text(text)
    assert machine.run("build").returncode == 0
    assert machine.backports.read_text() == (
        "Types: deb\n"
        "URIs: http://mirror.example/debian\n"
        "Suites: bookworm-backports\n"
        "Components: main\n"
        f"Signed-By: {key}\n")


def test_a_key_inside_a_stanza_is_kept(machine):
    key = "Signed-By:\n -----BEGIN-----\n .\n abc\n -----END-----\n"
    (machine.apt / "sources.list.d/a.sources").write_text(
        "Enabled: no\nTypes: deb\nURIs: http://off.example/debian\n"
        "Suites: bookworm\nComponents: main\n\n"
        "Types: deb deb-src\nURIs: http://mirror.example/debian\n"
        "Suites:\n bookworm\n bookworm-updates\nComponents: contrib main\n"
        + key)
    assert machine.run("build").returncode == 0
    text = machine.backports.read_text()
    assert "URIs: http://mirror.example/debian\n" in text
    assert text.endswith(key)


@pytest.mark.parametrize("name, text", [
    ("sources.list.d/b.sources", STANZAS.replace("-security\n", "-backports\n")),
    ("sources.list.d/b.list", "deb http://m.example/d bookworm-backports main\n"),
])
def test_backports_that_are_there_are_left_alone(machine, name, text):
    (machine.apt / name).write_text(text)
    assert machine.run("build").returncode == 0
    assert not machine.backports.exists()


def test_without_a_source_it_says_so(machine):
    done = machine.run("build")
    assert done.returncode == 1
    assert "no apt source has bookworm" in done.stderr
    assert machine.calls() == []


def test_other_releases_need_no_backports(machine):
    machine.codename("trixie")
    assert machine.run("build").returncode == 0
    assert not machine.backports.exists()
    assert not any(" -t " in call for call in machine.calls())


def test_what_is_too_old_counts_as_missing(machine):
    machine.codename("trixie")
    assert machine.run("build").returncode == 0
    installed = machine.root / "installed"
    text = installed.read_text()
    installed.write_text(text.replace("libnghttp3-dev 99",
                                      "libnghttp3-dev 1.7.0-1"))
    done = machine.run("build")
    assert done.stdout == "deps.sh: installing libnghttp3-dev>=1.8\n"
    installed.write_text(text.replace("libngtcp2-dev 99",
                                      "libngtcp2-dev 1.11.0-1~bpo12+1"))
    assert machine.run("build").stdout == ""


def test_other_names_of_a_package_will_do(machine):
    machine.codename("trixie")
    (machine.root / "unknown").write_text("chromium\nchromium-sandbox\n")
    assert machine.run().returncode == 0
    names = " ".join(machine.calls()).split()
    assert "chromium-browser" in names
    assert "chromium" not in names and "chromium-sandbox" not in names
    assert machine.run().stdout == ""


@pytest.mark.parametrize("ending, uri", [
    ((), "http://mirror.example/debian\n"),
    (("-security",), "http://security.example/debian-security\n"),
    (("-nowhere",), "")])
def test_the_mirror_is_told(machine, ending, uri):
    (machine.apt / "sources.list.d/debian.sources").write_text(STANZAS)
    done = machine.run("mirror", *ending)
    assert (done.returncode, done.stdout, done.stderr) == (0, uri, "")
    assert machine.calls() == []


def test_chroots_need_no_backports(machine):
    assert machine.run("releases").returncode == 0
    assert "debootstrap" in machine.calls()[-1].split()
    assert not machine.backports.exists()


def test_a_package_that_nobody_knows_is_named(machine):
    machine.codename("trixie")
    (machine.root / "unknown").write_text("libngtcp2-dev\n")
    done = machine.run("build")
    assert done.returncode == 1
    assert "this release has no package libngtcp2-dev" in done.stderr


def test_a_failure_of_apt_is_shown(machine):
    machine.codename("trixie")
    (machine.root / "broken").write_text("")
    done = machine.run("build")
    assert done.returncode == 1
    assert "E: broken" in done.stderr
    assert "apt-get" in done.stderr


def test_elsewhere_it_lists_what_is_needed():
    done = subprocess.run(["/bin/sh", str(ROOT / "deps.sh")], check=False,
                          capture_output=True, text=True, timeout=30,
                          env={"PATH": "/nonexistent"})
    assert done.returncode == 1
    assert "neither Debian nor Ubuntu" in done.stderr
    assert "ngtcp2 >= 1.11" in done.stderr
