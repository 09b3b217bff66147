"""Name servers that change while an edge runs."""

import contextlib
import pathlib
import shutil

import pytest

from client import HOST_UNREACHABLE, SUCCEEDED, socks5_connect
from names import NameServer
from origin import Origin, echo
from places import Forbidden, Place
from test_reload import reload, renew

# What else a program wants to find there.
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
    # A link that leads elsewhere, as resolvconf(8) has it.
    names.conf.unlink()
    (names.etc / "elsewhere").write_text(f"nameserver {FIRST}\n")
    names.conf.symlink_to("elsewhere")
    again = names.server(FIRST)
    assert names.ask(culvert, "c.fast") == SUCCEEDED
    again.close()
    (names.etc / "elsewhere").write_text(f"nameserver {SECOND}\n")
    reload(edge)
    assert names.ask(culvert, "d.fast") == SUCCEEDED


def test_hosts(names, proxy):
    culvert, _ = proxy
    names.server(FIRST)
    renew(names.conf, f"nameserver {FIRST}\n")
    assert names.ask(culvert, "a.fast") == SUCCEEDED
    hosts = names.etc / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    renew(hosts, "127.0.0.1 localhost printer.slow\n")
    assert names.ask(culvert, "printer.slow") == SUCCEEDED
