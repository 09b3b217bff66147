"""Where an edge may connect to: rules, ports, and the addresses it has."""

import contextlib

import pytest

from client import NOT_ALLOWED, SUCCEEDED, USER, socks5_connect, works
from daemon import run
from origin import Origin, echo
from places import Forbidden, Place
from test_reload import reload, renew

OWN, LATER, ROUTED = "198.20.7.1", "198.20.8.1", "198.20.9.9"
OWN6 = "2a00:7::1"
MAIL = 25


def code(culvert, host, port):
    sock, got = socks5_connect(culvert.port, host, port)
    sock.close()
    return got


@pytest.fixture
def place():
    """A place with public addresses of its own."""
    try:
        with contextlib.ExitStack() as stack:
            here = Place("culvert-destinations")
            stack.callback(here.close)
            here.ip("address", "add", f"{OWN}/32", "dev", "lo")
            here.ip("address", "add", f"{OWN6}/128", "dev", "lo", "nodad")
            yield here
    except Forbidden as error:
        pytest.skip(f"no network namespaces here: {error}")


@pytest.fixture
def inside(place, start_edge, start_culvert):
    """inside(*flags) → code(host, port) of a pair of daemons there."""
    def start_pair(*flags, **options):
        edge = start_edge(*flags, preexec=place.enter, **options)
        culvert = start_culvert(edge, preexec=place.enter)
        return lambda host, port: place.inside(code, culvert, host, port)

    return start_pair


@pytest.fixture
def service(place):
    """service(port) → the port of an echo on all addresses there."""
    with contextlib.ExitStack() as stack:
        def serve(port=0):
            server = place.inside(Origin, echo, host="::", port=port)
            stack.callback(server.close)
            return server.port

        yield serve


def test_own_addresses(place, inside, service):
    """Services on the edge's own machine are out of reach."""
    port = service()
    ask = inside(allow=False)
    for host in (OWN, OWN6, f"::ffff:{OWN}", f"64:ff9b::{OWN}"):
        assert ask(host, port) == NOT_ALLOWED
    # One that comes later, and a range that a route alone makes its own.
    assert ask(LATER, port) not in (SUCCEEDED, NOT_ALLOWED)
    place.ip("address", "add", f"{LATER}/32", "dev", "lo")
    assert ask(LATER, port) == NOT_ALLOWED
    place.ip("route", "add", "local", f"{ROUTED}/32", "dev", "lo")
    assert ask(ROUTED, port) == NOT_ALLOWED
    # And one that is no longer its own.
    place.ip("address", "del", f"{LATER}/32", "dev", "lo")
    assert ask(LATER, port) not in (SUCCEEDED, NOT_ALLOWED)


def test_own_address_by_rule(inside, service):
    port, other = service(), service()
    ask = inside("--allow", f"{OWN}:{port}", "--allow", f"[{OWN6}]:{port}",
                 allow=False)
    for host in (OWN, OWN6):
        assert ask(host, port) == SUCCEEDED
        assert ask(host, other) == NOT_ALLOWED


def test_mail(inside, service):
    """Port 25 takes a rule that names it, whatever the address."""
    service(MAIL)
    port = service()
    ask = inside("--allow", f"{OWN}:{MAIL}")
    assert ask("127.0.0.1", port) == SUCCEEDED
    assert ask("127.0.0.1", MAIL) == NOT_ALLOWED
    assert ask("::1", MAIL) == NOT_ALLOWED
    assert ask(OWN, MAIL) == SUCCEEDED
    assert ask("1.1.1.1", MAIL) == NOT_ALLOWED


def test_families_are_apart(start_edge, start_culvert, origin):
    four, six = origin(), origin(host="::1")
    culvert = start_culvert(start_edge("--allow", "::/0", allow=False))
    assert code(culvert, "127.0.0.1", four.port) == NOT_ALLOWED
    assert code(culvert, "::ffff:127.0.0.1", four.port) == NOT_ALLOWED
    assert code(culvert, "::1", six.port) == SUCCEEDED
    culvert = start_culvert(start_edge("--deny", "::/0"))
    assert code(culvert, "127.0.0.1", four.port) == SUCCEEDED
    assert code(culvert, "::1", six.port) == NOT_ALLOWED


def test_what_is_inside(start_edge, start_culvert, origin):
    """Allowing a form of IPv6 does not allow the IPv4 address in it."""
    server = origin()
    ranges = ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96",
              "2002::/16")
    flags = [flag for text in ranges for flag in ("--allow", text)]
    culvert = start_culvert(start_edge(*flags, allow=False))
    for host in ("64:ff9b::7f00:1", "64:ff9b:1::7f00:1",
                 "::ffff:0:127.0.0.1", "2002:7f00:1::1"):
        assert code(culvert, host, server.port) == NOT_ALLOWED
    assert server.connections == 0


def test_rules_with_ports(start_edge, start_culvert, origin):
    first, second = origin(), origin()
    edge = start_edge("--deny", f"127.0.0.0/8:{first.port}")
    culvert = start_culvert(edge)
    assert code(culvert, "127.0.0.1", first.port) == NOT_ALLOWED
    works(culvert, second)
    edge = start_edge("--allow", f"127.0.0.0/8:{first.port}", "--deny",
                      "[::1]/128:1-65535", allow=False)
    culvert = start_culvert(edge)
    works(culvert, first)
    assert code(culvert, "127.0.0.1", second.port) == NOT_ALLOWED


# ---- The edge inside culvert ----

EVERYWHERE = ("-l", "0.0.0.0:0")
LOCALLY = ("-l", "127.0.0.1:0")


def embedded_code(culvert, server, host="127.0.0.1"):
    """The reply to a user who connects to a service of this machine."""
    sock, got = socks5_connect(culvert.port, host, server.port, USER)
    sock.close()
    return got


@pytest.mark.parametrize("flags", [EVERYWHERE, (*EVERYWHERE, *LOCALLY),
                                   (*LOCALLY, *EVERYWHERE)],
                         ids=["all", "all-first", "all-last"])
def test_embedded_for_others(start, users, origin, flags):
    """Other machines do not reach loopback here by a listener."""
    server = origin(host="::")
    culvert = start("culvert", "--embedded-edge", "--listen-users", users,
                    *flags)
    for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0",
                 "::ffff:127.0.0.1"):
        assert embedded_code(culvert, server, host) == NOT_ALLOWED
    assert server.connections == 0
    culvert.wait_for("ready, .* to public addresses and those of --allow only")


def test_embedded_with_rules(start, users, origin):
    server, other = origin(), origin()
    culvert = start("culvert", "--embedded-edge", "--listen-users", users,
                    *EVERYWHERE, "--allow", f"127.0.0.0/8:{server.port}")
    assert embedded_code(culvert, server) == SUCCEEDED
    assert embedded_code(culvert, other) == NOT_ALLOWED


def test_embedded_for_this_machine(start, users, origin):
    """There are no built-in rules for local clients, but configured ones
    count."""
    server, other = origin(), origin()
    culvert = start("culvert", "--embedded-edge", "--listen-users", users,
                    *LOCALLY, "-l", "[::1]:0", "--deny",
                    f"127.0.0.1:{other.port}")
    assert embedded_code(culvert, server) == SUCCEEDED
    assert embedded_code(culvert, other) == NOT_ALLOWED


def test_embedded_reloads_rules(start, users, origin, tmp_path):
    server = origin()
    path = tmp_path / "culvert.conf"
    text = (f"[proxy]\nlisten = 0.0.0.0:0\nlisten-users = {users}\n"
            "[edge]\nembedded-edge = yes\n[policy]\n")
    renew(path, text)
    culvert = start("culvert", "-f", path)
    assert embedded_code(culvert, server) == NOT_ALLOWED
    renew(path, f"{text}allow = 127.0.0.1:{server.port}\n")
    reload(culvert)
    assert embedded_code(culvert, server) == SUCCEEDED
    # The listener does not change, and the built-in rules stay.
    renew(path, text.replace("0.0.0.0", "127.0.0.1"))
    reload(culvert)
    culvert.wait_for("'listen' requires a restart")
    assert embedded_code(culvert, server) == NOT_ALLOWED


@pytest.mark.parametrize("rule", ["10.0.0.0/8:0", "10.0.0.1/8", ":", "[::1",
                                  "10.0.0.0/8:80-79", "example.org:25"])
def test_no_rule(rule):
    done = run("culvert-edge", "--self-signed", "--open", "--deny", rule,
               "-n")
    assert done.returncode == 2
    assert "--deny: the value is not a range of addresses, a port, or both" \
        in done.stderr
