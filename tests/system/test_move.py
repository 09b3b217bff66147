"""A machine that moves from network to network, with its tunnels. Durations
are printed (pytest -s) and not judged: only lost tunnels are faults. `make
system-full` takes each row at its full length."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from busy import Busy
from client import socks5_tunnel
from daemon import BUILD, FULL, SAN, wait_until
from messages import ACCEPTED, CONNECTED, MIGRATED, MOVED
from origin import echo
from places import EDGE, EDGE6, LIBC

TUNNELS = 50

VPN_NEAR, VPN_FAR = "10.98.0.1", "10.98.0.2"

# linux/capability.h and linux/prctl.h
CAP_NET_ADMIN, CAP_NET_RAW = 12, 13
PR_CAPBSET_DROP = 24


@pytest.fixture
def world(places, start, ca):
    """world(*flags, edge_flags=(), address=EDGE) → a connected culvert, whose
    `edge` is at the far place; the lines must be there."""

    def start_it(*flags, edge_flags=(), address=EDGE, enter=None, wait=True):
        host = f"[{address}]" if ":" in address else address
        edge = start("culvert-edge", "-v", "-l", f"{host}:0", "--open",
                     "--cert", ca.good.cert, "--key", ca.good.key, "--allow",
                     "127.0.0.0/8", *edge_flags, preexec=places.far.enter)
        culvert = start("culvert", "-v", "-l", "127.0.0.1:0", "-e",
                        f"{host}:{edge.port}", "--pin", ca.good.pin(), *flags,
                        preexec=enter or places.near.enter)
        culvert.edge = edge
        if wait:
            culvert.wait_for(CONNECTED)
        return culvert

    return start_it


@pytest.fixture
def busy(places):
    """busy(culvert, count=TUNNELS) → Busy, from near to an origin there."""

    def start_it(culvert, count=TUNNELS):
        return Busy(culvert, places.origin(echo), count,
                    connect=places.near.inside)

    return start_it


def one_connection(culvert):
    assert culvert.status()["reconnects"] == 0
    assert culvert.edge.log.count(ACCEPTED) == 1


def print_row(name, **figures):
    print(f"\n{name}: " + ", ".join(
        f"{key} {value}" for key, value in figures.items()))


def pause(seconds):
    """Waits for as long as a row of the table says."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= end, f"{seconds} s",
               2 * seconds)


def found(mtu):
    """A condition on the status: the search is over, within 8 bytes."""
    return lambda s: s["mtu_state"] == "complete" and \
        mtu - 8 <= s["path_mtu"] <= mtu


# ---- From network to network ----

@pytest.mark.parametrize("address", [EDGE, EDGE6])
def test_the_network_goes_away(places, world, busy, address):
    """A is taken down; B is another network, with smaller packets."""
    a = places.line("A", rtt=20)
    places.line("B", rtt=60, mtu=1300)
    culvert = world(address=address)
    culvert.wait_status(found(1500), "the size of A")
    tunnels = busy(culvert)
    tunnels.forget_gaps()
    a.down()
    down = time.monotonic()
    tunnels.wait_blocks(1)
    moved = time.monotonic() - down
    culvert.wait_for(MOVED)
    status = culvert.wait_status(found(1300), "the size of B")
    size = time.monotonic() - down
    tunnels.finish()
    print_row(f"A to B, {address}", all_tunnels_s=round(moved, 3),
              longest_gap_s=round(tunnels.longest_gap(), 3),
              mtu_found_s=round(size, 3), mtu=status["path_mtu"])
    assert status["migrations"] == 1
    assert status["tunnels"]["open"] == TUNNELS
    one_connection(culvert)


def test_a_better_network_comes(places, world, busy):
    """While the old one works, tunnels do not wait for the new one."""
    a = places.line("A", rtt=60)
    b = places.line("B", rtt=20)
    culvert = world()
    tunnels = busy(culvert)
    tunnels.forget_gaps()
    b.prefer(50)
    culvert.wait_for(MOVED + b.address)
    tunnels.wait_blocks(3)
    gap = tunnels.longest_gap()
    a.down()
    tunnels.wait_blocks(3)
    tunnels.finish()
    print_row("a better network", longest_gap_s=round(gap, 3))
    assert culvert.status()["migrations"] == 1
    one_connection(culvert)


def test_networks_flap(places, world, busy):
    """Down and up again, one after the other."""
    a = places.line("A", rtt=20)
    b = places.line("B", rtt=60)
    culvert = world()
    tunnels = busy(culvert, count=TUNNELS if FULL else 10)
    rss = culvert.rss()
    flaps = 10 if FULL else 3
    begin = time.monotonic()
    for i in range(flaps):
        if FULL:
            pause(begin + 3 * i - time.monotonic())
        a.down()
        culvert.wait_for(MOVED + b.address, count=i + 1)
        tunnels.wait_blocks(3)
        a.up()
        culvert.wait_for(MOVED + a.address, count=i + 1)
        tunnels.wait_blocks(3)
    tunnels.finish()
    print_row("flaps", flaps=2 * flaps,
              seconds=round(time.monotonic() - begin, 1),
              longest_gap_s=round(tunnels.longest_gap(), 3),
              rss_mib=f"{rss >> 20} to {culvert.rss() >> 20}")
    assert culvert.status()["migrations"] == 2 * flaps
    assert SAN or culvert.rss() < rss + (16 << 20)
    one_connection(culvert)


def test_no_network_for_a_while(places, world, busy):
    """Tunnels wait for one."""
    a = places.line("A", rtt=20)
    culvert = world()
    tunnels = busy(culvert, count=10)
    a.down()
    culvert.wait_for("no route to the edge")
    a.up()
    begin = time.monotonic()
    tunnels.wait_blocks(1)
    print_row("no network", again_s=round(time.monotonic() - begin, 3))
    tunnels.finish()
    one_connection(culvert)


# ---- By one interface, and not by another ----

def comes_from(culvert, address):
    """Waits until the edge has a connection from that address."""
    culvert.edge.wait_for(rf"({ACCEPTED}|{MIGRATED})"
                          rf"{re.escape(address)}:")


def capabilities(culvert):
    """Its capabilities: a set of bits."""
    with open(f"/proc/{culvert.pid}/status", encoding="ascii") as status:
        return int(re.search(r"CapEff:\s+(\w+)", status.read())[1], 16)


def test_interface(places, world, busy):
    """The routes say A, the flag says B; and B may be gone for a while."""
    places.line("A", rtt=20)
    b = places.line("B", rtt=20)
    culvert = world("--interface", "B")
    comes_from(culvert, b.address)
    assert capabilities(culvert) == 0
    tunnels = busy(culvert, count=5)
    b.down()
    culvert.wait_for("no route to the edge")
    b.up()
    tunnels.wait_blocks(1)
    tunnels.finish()
    assert places.lines[0].address not in culvert.edge.log
    one_connection(culvert)


def test_interface_that_is_not_there_yet(places, world):
    places.line("A", rtt=20)
    culvert = world("--interface", "B", wait=False)
    culvert.wait_for("the interface B does not exist; waiting for it")
    culvert.wait_for("there is no interface B; next attempt")
    b = places.line("B", rtt=20)
    comes_from(culvert, b.address)


def test_fwmark(places, world, busy):
    """A table of its own says B, and then A."""
    a, b = places.line("A", rtt=20), places.line("B", rtt=20)
    places.near.ip("rule", "add", "fwmark", "0x70", "table", "100")
    places.near.ip("route", "add", EDGE, "dev", "B", "table", "100")
    culvert = world("--fwmark", "112")
    comes_from(culvert, b.address)
    assert capabilities(culvert) in (1 << CAP_NET_ADMIN, 1 << CAP_NET_RAW)
    tunnels = busy(culvert, count=5)
    places.near.ip("route", "replace", EDGE, "dev", "A", "table", "100")
    comes_from(culvert, a.address)
    tunnels.wait_blocks(1)
    tunnels.finish()
    one_connection(culvert)


def drop_network_capabilities():
    """Capabilities that root gets back by exec are without them."""
    for capability in (CAP_NET_ADMIN, CAP_NET_RAW):
        if LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            raise OSError("prctl")


def test_fwmark_without_the_privilege():
    if os.geteuid() != 0:
        pytest.skip("that takes root")
    done = subprocess.run(
        [BUILD / "culvert", "-l", "127.0.0.1:0", "--embedded-edge",
         "--fwmark", "1"], capture_output=True, text=True, check=False,
        timeout=60, preexec_fn=drop_network_capabilities)
    assert done.returncode == 1
    assert "--fwmark requires the capability CAP_NET_RAW" in \
        done.stderr


# ---- Beside a VPN ----

@pytest.fixture
def vpn(places, ca, tmp_path):
    """vpn() starts OpenVPN over line A, which takes the default route; the
    near process."""
    openvpn = shutil.which("openvpn", path=os.environ["PATH"] + ":/usr/sbin")
    if openvpn is None:
        pytest.skip("openvpn is not installed")

    def start_end(place, pair, *flags):
        log = tmp_path / f"{place.name}.log"
        return log, subprocess.Popen(
            [openvpn, "--dev", "vpn", "--dev-type", "tun", "--tun-mtu",
             "1400", "--ca", ca.root.cert, "--cert", pair.cert, "--key",
             pair.key, "--log", log, *flags], preexec_fn=place.enter)

    def is_up(log):
        return log.exists() and \
            "Initialization Sequence Completed" in log.read_text()

    with contextlib.ExitStack() as stack:
        def start_it():
            ends = [
                start_end(places.far, ca.good, "--tls-server", "--dh", "none",
                          "--ifconfig", VPN_FAR, VPN_NEAR, "--local",
                          "10.99.1.2"),
                start_end(places.near, ca.client, "--tls-client",
                          "--ifconfig", VPN_NEAR, VPN_FAR, "--remote",
                          "10.99.1.2", "--nobind",
                          "--route", "0.0.0.0", "128.0.0.0",
                          "--route", "128.0.0.0", "128.0.0.0")]
            for log, process in ends:
                stack.callback(process.wait, 60)
                stack.callback(process.terminate)
            for log, _ in ends:
                wait_until(lambda log=log: is_up(log), "OpenVPN")
            return ends[1][1]

        yield start_it


@pytest.fixture
def wire(places):
    """Line A with the default route, of 1500 bytes."""
    line = places.line("A", rtt=20)
    line.avoid()
    places.near.ip("route", "add", "default", "dev", "A")
    return line


def test_through_a_vpn(wire, vpn, world, busy):
    """It comes and takes the tunnels along, and goes, and they go on."""
    culvert = world()
    culvert.wait_status(found(1500), "the size of A")
    tunnels = busy(culvert, count=10)
    tunnels.forget_gaps()
    process = vpn()
    comes_from(culvert, VPN_NEAR)
    inside = culvert.wait_status(found(1400), "the size of the VPN")
    process.terminate()
    culvert.wait_for(MOVED + wire.address)
    culvert.wait_status(found(1500), "the size of A again")
    tunnels.wait_blocks(1)
    tunnels.finish()
    print_row("through a VPN", mtu=inside["path_mtu"],
              longest_gap_s=round(tunnels.longest_gap(), 3))
    one_connection(culvert)


def test_beside_a_vpn(wire, vpn, world):
    vpn()
    culvert = world("--interface", "A")
    comes_from(culvert, wire.address)
    status = culvert.wait_status(found(1500), "the size of A")
    print_row("beside a VPN", mtu=status["path_mtu"])
    assert VPN_NEAR not in culvert.edge.log


# ---- When the process stands still ----

def stop_for(culvert, seconds):
    os.kill(culvert.pid, signal.SIGSTOP)
    pause(seconds)
    os.kill(culvert.pid, signal.SIGCONT)
    return time.monotonic()


def test_stopped_for_a_moment(places, world, busy):
    places.line("A", rtt=50)
    culvert = world()
    tunnels = busy(culvert, count=10)
    stop_for(culvert, 20 if FULL else 2)
    print_row("stopped, shorter than the time-out",
              again_s=round(tunnels.wait_blocks(1), 3))
    tunnels.finish()
    one_connection(culvert)


@pytest.mark.parametrize("count", [0, 10])
def test_stopped_for_too_long(places, world, busy, count):
    """Old tunnels do not hang, and a new one is there at once."""
    places.line("A", rtt=50)
    culvert = world(*(() if FULL else ("--edge-timeout", "2")))
    tunnels = busy(culvert, count)
    begin = stop_for(culvert, 90 if FULL else 3)
    places.near.inside(socks5_tunnel, culvert.port, "127.0.0.1",
                       tunnels.origin.port).close()
    ready = time.monotonic() - begin
    tunnels.lost()
    print_row(f"stopped, longer than the time-out, {count} tunnels",
              next_tunnel_s=round(ready, 3),
              all_reset_s=round(time.monotonic() - begin, 3))
    assert culvert.status()["reconnects"] == 1
