"""The world of the system tests: real programs, real sockets, no sleeps.

Every fixture that starts a program stops it again, and fails the test when
it did not end in order.
"""

import collections
import concurrent.futures
import contextlib
import os
import resource
import signal
import subprocess

import pytest

from certificate import Authority
from client import USER
from daemon import DEADLINE, ROOT, SAN, Daemon, environment
from messages import CONNECTED
from origin import Handler, HttpOrigin, Origin, echo
from places import Forbidden, Places
from quic_go import build_all

# Characters of each log that are shown with a failure.
LOG_SHOWN = 4000

# A thousand tunnels have two ends each in this process.
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


# ---- Programs that culvert's build does not need ----

# The needs of these fixtures; a test, or a file of them, names them by a
# marker.
NEEDS = {"peers": "go", "places": "ip", "place": "ip", "names": "ip",
         "vpn": "openvpn"}


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "needs(program): takes a program that is neither built here"
        " nor part of what that takes; make test leaves it out")
    config.addinivalue_line(
        "markers", "make(target, variable=value, ...): what `made` has run")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        for fixture in item.fixturenames:
            if fixture in NEEDS:
                item.add_marker(pytest.mark.needs(NEEDS[fixture]))


left_out = collections.Counter()


def pytest_deselected(items):
    for item in items:
        left_out.update({program for mark in item.iter_markers("needs")
                         for program in mark.args})


def pytest_terminal_summary(terminalreporter, config):
    if left_out and config.option.markexpr:
        terminalreporter.write_line("left to make check: " + ", ".join(
            f"{n} that need {program}"
            for program, n in sorted(left_out.items())))


# ---- Targets of make that take a minute ----

class Run:
    """One make, with a directory of its own for what it writes: DIRECTORY in
    its arguments."""

    def __init__(self, args, directory):
        self.directory = directory
        self.process = subprocess.Popen(
            ["make", *(arg.replace("DIRECTORY", str(directory))
                       for arg in args), *(["SAN=1"] if SAN else [])],
            cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True)

    def wait(self):
        self.stdout, self.stderr = self.process.communicate(
            timeout=10 * DEADLINE)

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="session")
def make_runs(request, tmp_path_factory):
    """The Run of each make(...) marker of this session. They run side by side,
    since they wait most of the time, and nothing else runs meanwhile."""
    wanted = {mark.args for item in request.session.items
              for mark in item.iter_markers("make")
              if not any(skip.args[0] for skip in item.iter_markers("skipif"))}
    runs = {args: Run(args, tmp_path_factory.mktemp("make"))
            for args in wanted}
    try:
        with concurrent.futures.ThreadPoolExecutor(len(runs)) as pool:
            list(pool.map(Run.wait, runs.values()))
    finally:
        for run in runs.values():
            run.kill()
    return runs


@pytest.fixture
def made(request, make_runs):
    """The result of the test's own make."""
    run = make_runs[request.node.get_closest_marker("make").args]
    print(run.stdout)
    assert run.process.returncode == 0, run.stderr
    return run


@pytest.fixture(scope="session")
def ca(tmp_path_factory):
    """The test CA, and a certificate of each kind that it signed."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def peers(tmp_path_factory):
    """The programs that quic-go drives, by name."""
    return build_all(tmp_path_factory.mktemp("peers"))


@pytest.fixture
def users(tmp_path):
    """A users file that knows USER."""
    crypted = subprocess.run(
        ["openssl", "passwd", "-6", USER[1]], check=True, text=True,
        capture_output=True, timeout=60).stdout
    path = tmp_path / "users"
    path.write_text(f"{USER[0]}:{crypted}")
    path.chmod(0o600)
    return path


@pytest.fixture
def start(request, tmp_path):
    """start(program, *args) → Daemon; each has a directory of its own."""
    daemons = []

    def start_daemon(program, *args, **options):
        directory = tmp_path / str(len(daemons))
        directory.mkdir()
        daemons.append(Daemon(program, directory, *args, **options))
        return daemons[-1]

    yield start_daemon
    def show():
        for daemon in daemons:
            request.node.add_report_section("teardown", daemon.program,
                                            daemon.log[-LOG_SHOWN:])

    # The proxies first: an edge that goes away under one is worth a warning.
    with contextlib.ExitStack() as stack:
        stack.callback(show)
        for daemon in daemons:
            stack.callback(daemon.stop)


@pytest.fixture
def start_edge(start, ca):
    """start_edge(*flags, port=0, pair=ca.good, allow=True) → Daemon."""

    def start_it(*flags, port=0, pair=None, allow=True, **options):
        pair = pair or ca.good
        loopback = ("--allow", "127.0.0.0/8", "--allow", "::1/128")
        if "--users" not in flags:
            flags = ("--open", *flags)
        return start("culvert-edge", "-vv", "-l", f"127.0.0.1:{port}",
                     "--cert", pair.cert, "--key", pair.key,
                     *(loopback if allow else ()), *flags, **options)

    return start_it


@pytest.fixture
def start_culvert(start, ca):
    """start_culvert(edge or port, *flags, trust=..., wait=True) → Daemon."""

    def start_it(edge, *flags, trust=None, wait=True, **options):
        port = edge if isinstance(edge, int) else edge.port
        culvert = start("culvert", "-vv", "-l", "127.0.0.1:0",
                        "-e", f"127.0.0.1:{port}",
                        *(("--ca", ca.root.cert) if trust is None else trust),
                        *flags, **options)
        if wait:
            culvert.wait_for(CONNECTED)
        return culvert

    return start_it


@pytest.fixture
def start_embedded(start):
    """start_embedded(*flags) → a culvert with an edge in it."""

    def start_it(*flags, **options):
        culvert = start("culvert", "-vv", "-l", "127.0.0.1:0",
                        "--embedded-edge", *flags, **options)
        culvert.wait_for(CONNECTED)
        return culvert

    return start_it


@pytest.fixture
def edge(start_edge):
    """An edge that permits loopback destinations."""
    return start_edge()


@pytest.fixture
def culvert(start_culvert, edge):
    """A proxy that is connected to `edge`."""
    return start_culvert(edge)


@pytest.fixture
def embedded(start_embedded):
    """A proxy with an edge in it."""
    return start_embedded()


@pytest.fixture
def origin():
    """origin(handler=echo, host="127.0.0.1") → Origin."""
    with contextlib.ExitStack() as stack:
        def start_origin(handler=echo, **options):
            server = Origin(handler, **options)
            stack.callback(server.close)
            return server

        yield start_origin


@pytest.fixture
def play(origin):
    """play(kind) → start(...) → a `kind`, which is an origin with .port."""
    def choose(kind):
        def start(*args, **options):
            actor = kind(*args, **options)
            actor.port = origin(actor).port
            return actor

        return start

    return choose


@pytest.fixture
def places():
    """Two places, to be connected by lines; see places.py."""
    try:
        with Places() as both:
            yield both
    except Forbidden as error:
        pytest.skip(f"no network namespaces here: {error}")


@pytest.fixture
def http_origin():
    """http_origin(host="127.0.0.1", context=None) → HttpOrigin."""
    with contextlib.ExitStack() as stack:
        def start_origin(handler=Handler, **options):
            server = HttpOrigin(handler=handler, **options)
            stack.callback(server.close)
            return server

        yield start_origin
