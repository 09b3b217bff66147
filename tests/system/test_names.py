"""Name servers that change while an edge runs, or fail, and many addresses."""

import contextlib
import os
import pathlib
import shutil
import tempfile

import pytest

from client import HOST_UNREACHABLE, SUCCEEDED, socks5_connect, works
from names import (A, AAAA, FORMERR, NOTIMP, NXDOMAIN, REFUSED, SERVFAIL,
                   BadServer, NameServer)
from origin import Origin, echo
from places import Forbidden, Place
from test_reload import reload, renew

# Other files that a program needs there.
FILES = ("passwd", "group", "hosts", "nsswitch.conf")

FIRST, SECOND = "127.0.0.1", "127.0.0.2"


class Names:
    """A place whose /etc is ours, with an origin and name servers."""

    def __init__(self, stack, etc):
        self.etc = etc
        self.stack = stack
        self.place = Place("culvert-names")
        stack.callback(self.place.close)
        etc.mkdir(mode=0o755)
        for name in FILES:
            if (path := pathlib.Path("/etc", name)).exists():
                shutil.copy(path, etc)
        self.conf = etc / "resolv.conf"
        self.origin = self.place.inside(Origin, echo)
        stack.callback(self.origin.close)

    def enter(self):
        self.place.enter_with(self.etc)

    def server(self, host):
        server = self.place.inside(NameServer, host, 53)
        self.stack.callback(server.close)
        return server

    def ask(self, culvert, name):
        sock, code = self.place.inside(socks5_connect, culvert.port, name,
                                       self.origin.port)
        sock.close()
        return code


@pytest.fixture
def names(tmp_path):
    try:
        with contextlib.ExitStack() as stack:
            yield Names(stack, tmp_path / "etc")
    except Forbidden as error:
        pytest.skip(f"no network namespaces here: {error}")


@pytest.fixture(params=["edge", "embedded"])
def proxy(request, names, start_edge, start_culvert, start_embedded):
    """A culvert whose edge is where `names` is, and that edge."""
    if request.param == "embedded":
        culvert = start_embedded(preexec=names.enter)
        return culvert, culvert
    edge = start_edge(preexec=names.enter)
    return start_culvert(edge, preexec=names.enter), edge


def test_no_servers_at_start(names, proxy):
    """There was no network, and no file, when the edge was started."""
    culvert, _ = proxy
    assert names.ask(culvert, "a.fast") == HOST_UNREACHABLE
    names.server(SECOND)
    renew(names.conf, f"nameserver {SECOND}\n")
    assert names.ask(culvert, "a.fast") == SUCCEEDED


def test_empty_at_start(names, start_edge, start_culvert):
    names.conf.write_text("")
    culvert = start_culvert(start_edge(preexec=names.enter),
                            preexec=names.enter)
    assert names.ask(culvert, "a.fast") == HOST_UNREACHABLE
    names.server(SECOND)
    names.conf.write_text(f"nameserver {SECOND}\n")
    assert names.ask(culvert, "a.fast") == SUCCEEDED


def test_another_network(names, proxy):
    """The servers are others now, and the old ones are out of reach."""
    culvert, edge = proxy
    first = names.server(FIRST)
    renew(names.conf, f"nameserver {FIRST}\n")
    assert names.ask(culvert, "a.fast") == SUCCEEDED
    first.close()
    names.server(SECOND)
    renew(names.conf, f"nameserver {SECOND}\n")
    assert names.ask(culvert, "b.fast") == SUCCEEDED
    # A symbolic link that changes, as by resolvconf(8).
    names.conf.unlink()
    (names.etc / "elsewhere").write_text(f"nameserver {FIRST}\n")
    names.conf.symlink_to("elsewhere")
    again = names.server(FIRST)
    assert names.ask(culvert, "c.fast") == SUCCEEDED
    again.close()
    (names.etc / "elsewhere").write_text(f"nameserver {SECOND}\n")
    reload(edge)
    assert names.ask(culvert, "d.fast") == SUCCEEDED


def test_file_of_another(names, start_edge, start_culvert):
    """It is a file of another program, which renames new ones into place, as
    connman(8) does: the link to it stays as it was."""
    with tempfile.TemporaryDirectory() as run:
        file = pathlib.Path(run, "connman/resolv.conf")
        file.parent.mkdir(mode=0o755)
        file.parent.parent.chmod(0o755)
        names.conf.symlink_to(os.path.relpath(file, "/etc"))
        renew(file, f"nameserver {FIRST}\n")
        culvert = start_culvert(start_edge(preexec=names.enter),
                                preexec=names.enter)
        names.server(SECOND)
        renew(file, f"nameserver {SECOND}\n")
        assert names.ask(culvert, "a.fast") == SUCCEEDED


def test_server_of_a_link(names, start_edge, start_culvert):
    """As a router announces it, with the interface for its zone."""
    culvert = start_culvert(start_edge(preexec=names.enter),
                            preexec=names.enter)
    names.place.ip("link", "add", "wlan0", "type", "veth", "peer", "ap0")
    names.place.ip("address", "add", "fe80::53/64", "dev", "wlan0", "nodad")
    for interface in "wlan0", "ap0":
        names.place.ip("link", "set", interface, "up")
    names.server("fe80::53%wlan0")
    renew(names.conf, "nameserver fe80::53%wlan0 # of the router\n")
    assert names.ask(culvert, "a.fast") == SUCCEEDED


def test_hosts(names, proxy):
    culvert, _ = proxy
    names.server(FIRST)
    renew(names.conf, f"nameserver {FIRST}\n")
    assert names.ask(culvert, "a.fast") == SUCCEEDED
    hosts = names.etc / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    renew(hosts, "127.0.0.1 localhost printer.slow\n")
    assert names.ask(culvert, "printer.slow") == SUCCEEDED


def test_servers_that_fail(names, proxy):
    """The first one is gone, the second one silent, the third drops AAAA."""
    culvert, _ = proxy
    for host, drops in ((SECOND, {A, AAAA}), ("127.0.0.3", {AAAA})):
        server = names.place.inside(BadServer, ZONE, host, 53, drops)
        names.stack.callback(server.close)
    renew(names.conf, f"nameserver {FIRST}\nnameserver {SECOND}\n"
          "nameserver 127.0.0.3\n")
    for name in ("both.test", "four.test", "short.test"):
        assert names.ask(culvert, name) == SUCCEEDED


# ---- Servers that fail, and many addresses ----

ZONE = {
    "both.test": ["::1", "127.0.0.1"],
    "four.test": ["127.0.0.1"],
    "short.test": "long.test", "long.test": "longer.test",
    "longer.test": ["127.0.0.1"],
} | {f"name{i}.test": ["127.0.0.1"] for i in range(20)}
ERRORS = (FORMERR, SERVFAIL, NOTIMP, REFUSED)


@pytest.fixture
def ask(start_edge, start_culvert, origin):
    """ask(server, ..., names=...): a tunnel to each name, within a second; the
    edge uses the given servers."""
    server = origin()
    closing = []

    def connect(*servers, names, timeout=1):
        closing.extend(servers)
        resolvers = [flag for s in servers
                     for flag in ("--resolver", f"127.0.0.1:{s.port}")]
        edge = start_edge("--connect-timeout", timeout, *resolvers)
        culvert = start_culvert(edge)
        for name in names:
            works(culvert, server, name)

    yield connect
    for closed in closing:
        closed.close()


@pytest.mark.parametrize("fault", [
    {"drops": {AAAA}}, {"codes": {AAAA: SERVFAIL}},
    {"codes": {AAAA: REFUSED}}, {"codes": {AAAA: FORMERR}},
    {"codes": {AAAA: NOTIMP}}, {"codes": {AAAA: NXDOMAIN}},
    {"only_tcp": True}, {"only_tcp": True, "drops": {AAAA}}], ids=str)
def test_half_an_answer(ask, fault):
    """A is enough, whatever becomes of AAAA, and TCP will do."""
    ask(BadServer(ZONE, **fault), names=["four.test", "both.test",
                                         "short.test"])


@pytest.mark.parametrize("fault", [
    {"drops": {A, AAAA}}, *({"codes": {A: code, AAAA: code}}
                            for code in ERRORS)], ids=str)
def test_first_server_fails(ask, fault):
    ask(BadServer(ZONE, **fault), BadServer(ZONE), names=["both.test",
                                                          "four.test"])


def test_first_server_is_gone(ask):
    gone = BadServer(ZONE)
    gone.close()
    ask(gone, BadServer(ZONE), names=["both.test", "four.test"])


def test_silent_server_is_remembered(ask):
    """It is queried now and then, but not for each name."""
    silent = BadServer(ZONE, drops={A, AAAA})
    ask(silent, BadServer(ZONE), names=[f"name{i}.test" for i in range(20)])
    assert len({name for name, _ in silent.queries}) < 10


# Unreachable prefixes: the kernel refuses, or drops silently.
UNREACHABLE = ["198.51.100.{}", "2001:db8:1::{}"]
SILENT = ["192.0.2.{}", "2001:db8:2::{}"]
REFUSING = ["127.0.1.{}"]


def nowhere(names):
    """Makes the prefixes so, and an origin, whose address it returns."""
    place = names.place
    place.ip("tuntap", "add", "mode", "tun", "name", "nowhere")
    place.ip("link", "set", "nowhere", "up")
    place.ip("address", "add", "192.0.2.250/24", "dev", "nowhere")
    place.ip("address", "add", "2001:db8:2::ffff/64", "dev", "nowhere",
             "nodad")
    place.ip("route", "add", "unreachable", "198.51.100.0/24")
    place.ip("route", "add", "unreachable", "2001:db8:1::/64")
    # Not in a prefix of those above.
    last = "203.0.113.1"
    place.ip("address", "add", last, "dev", "lo")
    names.origin = place.inside(Origin, echo, last)
    names.stack.callback(names.origin.close)
    return last


@pytest.mark.parametrize(("n", "prefixes"), [
    (64, REFUSING), (64, UNREACHABLE), (10, SILENT), (64, SILENT),
    (64, REFUSING + UNREACHABLE + SILENT)],
    ids=["refused", "unreachable", "silent", "more silent", "mixed"])
def test_last_of_many(names, start_edge, start_culvert, n, prefixes):
    """Of many addresses the last one is reached within the connect time."""
    last = nowhere(names)
    addresses = [prefixes[i % len(prefixes)].format(i + 1)
                 for i in range(n - 1)] + [last]
    # Those that the policy denies are no attempts.
    denied = [f"10.1.1.{i + 1}" for i in range(64)]
    server = names.place.inside(
        BadServer, {"many.test": denied + addresses}, FIRST, 53)
    names.stack.callback(server.close)
    names.conf.write_text(f"nameserver {FIRST}\n")
    edge = start_edge("--connect-timeout", 2,
                      *(flag for prefix in ("192.0.2.0/24", "198.51.100.0/24",
                                            last, "2001:db8::/32")
                        for flag in ("--allow", prefix)), preexec=names.enter)
    culvert = start_culvert(edge, preexec=names.enter)
    assert names.ask(culvert, "many.test") == SUCCEEDED


def test_last_of_many_embedded(names, start_embedded):
    """The embedded edge has the connect time of its culvert."""
    last = nowhere(names)
    addresses = [SILENT[0].format(i + 1) for i in range(63)] + [last]
    server = names.place.inside(BadServer, {"many.test": addresses}, FIRST,
                                53)
    names.stack.callback(server.close)
    names.conf.write_text(f"nameserver {FIRST}\n")
    culvert = start_embedded("--connect-timeout", 2, preexec=names.enter)
    assert names.ask(culvert, "many.test") == SUCCEEDED
