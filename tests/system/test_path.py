"""The MTU of real paths, in network namespaces: the size that each end finds.
The rows run at the same time, each in places of its own, since most of
their time is spent waiting. Durations are printed (pytest -s) and not
judged: only sizes, counts and bytes are. `make system-full` takes them at
their full length."""

import concurrent.futures
import contextlib
import os
import re
import socket
import subprocess
import struct
import threading
import time

import pytest

from client import socks5_tunnel
from daemon import DEADLINE, FULL, Daemon, wait_until
from messages import ACCEPTED, CONNECTED, LOSSY, PATH_MTU
from origin import expect_pattern, pattern, send_pattern
from places import EDGE, EDGE6, Forbidden, Places

MB = 1000000
UDP = 17
STEP = 100000  # bytes
pytestmark = pytest.mark.needs("ip")

RTT = 50  # milliseconds
RATE = 20  # Mbit/s, where bytes flow for long
ROWS_AT_ONCE = 8


class Scene(contextlib.ExitStack):
    """Places, and in them an edge and a culvert that is connected to it."""

    def __init__(self, directory, ca, v6=False):
        super().__init__()
        self.directory = directory
        self.ca = ca
        self.v6 = v6
        self.address = EDGE6 if v6 else EDGE
        self.daemons = []
        self.figures = {}

    def __enter__(self):
        super().__enter__()
        try:
            self.places = self.enter_context(Places())
            self.begin = time.monotonic()
        except BaseException:
            self.close()
            raise
        return self

    def daemon(self, program, place, *args):
        daemon = Daemon(program, self.directory, "-v", *args,
                        preexec=place.enter)
        self.daemons.append(daemon)
        self.callback(daemon.stop)
        return daemon

    def connect(self, *flags, edge_flags=()):
        """Starts both; they have lines between them already."""
        host = f"[{self.address}]" if self.v6 else self.address
        good = self.ca.good
        self.edge = self.daemon(
            "culvert-edge", self.places.far, "-l", f"{host}:0", "--open",
            "--cert", good.cert, "--key", good.key, "--allow", "127.0.0.0/8",
            *edge_flags)
        self.culvert = self.daemon(
            "culvert", self.places.near, "-l", "127.0.0.1:0", "-e",
            f"{host}:{self.edge.port}", "--pin", good.pin(), *flags)
        self.culvert.wait_for(CONNECTED)
        self.begin = time.monotonic()

    def note(self, what):
        """A figure: the seconds since begin()."""
        self.figures[what] = round(time.monotonic() - self.begin, 3)

    # ---- Sizes ----

    def mtu(self):
        return self.culvert.ctl("mtu")

    def finds(self, mtu, what="found_s"):
        """Waits until the client's search is over, within 8 bytes."""
        self.culvert.wait_status(
            lambda s: s["mtu_state"] == "complete" and
            mtu - 8 < s["path_mtu"] <= mtu, f"{mtu} found")
        self.note(what)

    def edge_size(self):
        """The size that the edge has logged last; the first one is not logged.
        """
        sizes = re.findall(PATH_MTU, self.edge.log)
        return int(sizes[-1]) if sizes else 0

    def edge_finds(self, mtu, what="edge_found_s"):
        wait_until(lambda: mtu - 8 < self.edge_size() <= mtu,
                   f"{mtu} found by the edge, not {self.edge_size()}")
        self.note(what)

    def no_black_hole(self):
        assert self.mtu()["black_holes_confirmed"] == 0
        assert "black hole" not in self.edge.log

    # ---- Bytes ----

    def moves_again(self, flow):
        """Bytes arrive that were sent after begin(): nothing earlier is under
        way any more, or enough time has passed."""
        wait_until(lambda: time.monotonic() > self.begin + 2 * RTT / 1000 or
                   flow.errors, "two round trips")
        flow.moves(1)
        self.note("moves_again_s")

    def carry(self, up, down):
        """Carries so many bytes each way, at once, and compares each."""
        errors = []

        def guarded(function, sock, n):
            try:
                function(sock, n)
            except (OSError, AssertionError) as error:
                errors.append(error)

        def both_ways(sock, sends, expects):
            other = threading.Thread(target=guarded,
                                     args=(send_pattern, sock, sends))
            other.start()
            guarded(expect_pattern, sock, expects)
            other.join(DEADLINE)

        origin = self.places.origin(lambda sock: both_ways(sock, down, up))
        sock = self.places.near.inside(
            socks5_tunnel, self.culvert.port, "127.0.0.1", origin.port)
        with sock:
            both_ways(sock, up, down)
            sock.shutdown(socket.SHUT_WR)
            assert not errors, errors
            assert sock.recv(1) == b""
        assert not errors and not origin.errors, (errors, origin.errors)
        assert self.culvert.status()["reconnects"] == 0


class Flow:
    """Endless bytes of the pattern in one direction, until stop()."""

    def __init__(self, scene, way):
        self.received = 0
        self.ended = False
        self.errors = []
        send, receive = self.guarded(self.send), self.guarded(self.receive)
        origin = scene.places.origin(receive if way == "up" else send)
        self.sock = scene.places.near.inside(
            socks5_tunnel, scene.culvert.port, "127.0.0.1", origin.port)
        self.thread = threading.Thread(
            target=send if way == "up" else receive, args=(self.sock,))
        self.thread.start()
        self.moves(MB // 2)

    def guarded(self, function):
        def run(sock):
            try:
                function(sock)
            except (OSError, AssertionError) as error:
                self.errors.append(error)
        return run

    def send(self, sock):
        at = 0
        while not self.ended:
            sock.sendall(pattern(STEP, at))
            at += STEP
        sock.shutdown(socket.SHUT_WR)

    def receive(self, sock):
        while data := sock.recv(STEP):
            assert data == pattern(len(data), self.received), \
                f"other bytes at {self.received}"
            self.received += len(data)
        assert self.received % STEP == 0, "an end in the middle"

    def moves(self, n):
        """Waits until n more bytes have arrived."""
        goal = self.received + n
        wait_until(lambda: self.errors or self.received >= goal,
                   f"{n} more bytes")
        assert not self.errors, self.errors

    def stop(self):
        """The last byte arrives, and was the right one, like all others."""
        self.ended = True
        self.thread.join(DEADLINE)
        self.sock.close()
        assert not self.errors, self.errors


# ---- Searches ----

def search(mtu):
    """With bytes both ways."""
    def row(scene):
        scene.places.line("line", RTT, mtu)
        scene.connect()
        scene.carry(2 * MB, 2 * MB)
        scene.note("carried_s")
        scene.finds(mtu)
        scene.edge_finds(mtu)
        scene.no_black_hole()
    return row


def search_idly(scene):
    scene.places.line("line", RTT, 1400)
    scene.connect()
    scene.finds(1400)
    scene.edge_finds(1400)
    scene.carry(MB, MB)
    scene.no_black_hole()


def search_each_way(scene):
    scene.places.line("line", RTT, "1500,1300")
    scene.connect()
    scene.carry(2 * MB, 2 * MB)
    scene.finds(1500)
    scene.edge_finds(1300)
    scene.no_black_hole()


def search_for_more(scene):
    """Jumbo frames are allowed, but do not pass."""
    scene.places.line("line", RTT, 1500, device_mtu=9000)
    jumbo = "--mtu-max", "9000"
    scene.connect(*jumbo, edge_flags=jumbo)
    scene.finds(1500)
    scene.edge_finds(1500)
    scene.figures["probes"] = scene.mtu()["probes_sent"]
    assert scene.figures["probes"] <= 12
    scene.carry(MB, MB)


# ---- Black holes, and false alarms ----

def fall(way):
    """The path loses 200 bytes in mid transfer, and has them again."""
    def row(scene):
        line = scene.places.line("line", RTT, rate=RATE)
        scene.connect()
        finds = scene.finds if way == "up" else scene.edge_finds
        flow = Flow(scene, way)
        finds(1500)
        line.becomes("-m", 1300)
        scene.begin = time.monotonic()
        scene.moves_again(flow)
        finds(1300, "fell_s")
        flow.moves(MB)
        line.becomes("-m", 1500)
        scene.begin = time.monotonic()
        finds(1500, "healed_s")
        flow.stop()
        assert scene.culvert.status()["reconnects"] == 0
    return row


def lose(percent):
    """By chance."""
    def row(scene):
        line = scene.places.line("line", RTT, rate=RATE)
        scene.connect()
        scene.finds(1500)
        flows = {way: Flow(scene, way) for way in ("up", "down")}
        line.becomes("-l", percent)
        time.sleep(300 if FULL else 5)
        for way, flow in flows.items():
            flow.moves(MB // 10)
            scene.figures[f"{way}_mb"] = flow.received // MB
        line.becomes("-l", 0)
        for flow in flows.values():
            flow.stop()
        scene.no_black_hole()
        scene.finds(1500)
    return row


def spread(scene):
    """A good line has one connection; one that loses packets has several."""
    line = scene.places.line("line", RTT)
    scene.connect("--no-repair")
    scene.finds(1500)
    scene.carry(MB, MB)
    status = scene.culvert.status()
    assert status["spread"] == 1 and len(status["connections"]) == 1
    line.becomes("-l", 3)
    flow = Flow(scene, "down")
    scene.begin = time.monotonic()

    def is_spread():
        scene.carry(STEP, STEP)
        status = scene.culvert.status()
        return status["spread"] == 4 and len(status["connections"]) >= 4

    wait_until(is_spread, "new tunnels are spread")
    scene.note("spread_s")
    assert LOSSY in scene.culvert.log
    flow.moves(STEP)
    line.becomes("-l", 0)
    flow.stop()


def shape(place, device, queue):
    """The kernel's token bucket, with a queue of so many milliseconds."""
    size = RATE * 125 * queue
    done = subprocess.run(
        ["tc", "-n", place.name, "qdisc", "replace", "dev", device, "root",
         "tbf", "rate", f"{RATE}mbit", "burst", "3000", "limit", str(size)],
        capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise Forbidden(f"tc: {done.stderr.strip()}")


def fill(cc, queue=5, kernel=False):
    """A full queue is no bad line, however short it is, whoever makes it."""
    def row(scene):
        line = scene.places.line("line", RTT, rate=None if kernel else RATE)
        line.becomes("-q", queue)
        scene.connect("--cc", cc, edge_flags=("--cc", cc))
        scene.finds(1500)
        if kernel:
            shape(scene.places.near, "line", queue)
            shape(scene.places.far, "line", queue)
        flows = [Flow(scene, way) for way in ("up", "down")]
        end = time.monotonic() + (120 if FULL else 8)
        while time.monotonic() < end:
            scene.carry(STEP, STEP)
            status = scene.culvert.status()
            assert status["spread"] == len(status["connections"]) == 1
        for flow in flows:
            flow.stop()
        scene.figures["mb"] = [flow.received // MB for flow in flows]
        assert "loses packets" not in scene.culvert.log
    return row


def repair(scene):
    """Lost packets are made again."""
    line = scene.places.line("line", RTT, rate=RATE)
    scene.connect()
    scene.finds(1500)
    flows = {way: Flow(scene, way) for way in ("up", "down")}
    line.becomes("-l", 3)
    scene.begin = time.monotonic()

    def is_repaired():
        packets = scene.culvert.status()["packets"]
        return packets["repaired"] > 20 and packets["repairs_sent"] > 20

    wait_until(is_repaired, "lost packets are made again")
    scene.note("repair_s")
    line.becomes("-l", 0)
    for flow in flows.values():
        flow.moves(STEP)
        flow.stop()


def confirm(scene):
    """Small packets alone, and the path narrows: it is known in a minute."""
    line = scene.places.line("line", RTT)
    scene.connect()
    scene.finds(1500)
    line.becomes("-m", 1300)
    scene.begin = time.monotonic()

    def is_known():
        scene.carry(100, 100)
        return 1292 < scene.mtu()["size"] <= 1300

    wait_until(is_known, "1300 is known", deadline=2 * DEADLINE)
    scene.note("known_s")


def cut(scene):
    """Nothing passes for three seconds."""
    line = scene.places.line("line", RTT, rate=RATE)
    scene.connect()
    scene.finds(1500)
    flows = [Flow(scene, way) for way in ("up", "down")]
    line.becomes("-l", 100)
    time.sleep(3)
    line.becomes("-l", 0)
    scene.begin = time.monotonic()
    for flow in flows:
        flow.moves(MB)
    scene.note("moves_again_s")
    for flow in flows:
        flow.stop()
    scene.no_black_hole()
    scene.finds(1500)


# ---- Routers ----

def router(scene, mtu, last):
    """A router between near and far that sends ICMP: of its two links the last
    one, or else the first, takes packets of `mtu`."""
    places = scene.places
    middle = places.place(places.near.name.replace("near", "router"))
    for end, name, number in ((places.near, "first", 1),
                              (places.far, "last", 2)):
        size = mtu if last == (name == "last") else 1500
        middle.ip("link", "add", name, "type", "veth", "peer", "name", name,
                  "netns", end.name)
        for place, host in ((middle, 1), (end, 2)):
            place.ip("address", "add", f"10.99.{number}.{host}/24", "dev",
                     name)
            place.ip("address", "add", f"fd99:{number}::{host}/64", "dev",
                     name, "nodad")
            place.ip("link", "set", name, "up", "mtu", size)
        end.ip("route", "add", "default", "via", f"10.99.{number}.1")
        end.ip("route", "add", "default", "via", f"fd99:{number}::1")
    for prefix, by in ((f"{EDGE}/32", "10.99.2.2"),
                       (f"{EDGE6}/128", "fd99:2::2")):
        middle.ip("route", "add", prefix, "via", by)

    def forward():
        for switch in "ipv4/ip_forward", "ipv6/conf/all/forwarding":
            with open(f"/proc/sys/net/{switch}", "w", encoding="ascii") as f:
                f.write("1")

    middle.inside(forward)


def hear_a_router(scene):
    """Behind the router it is 1337: it says so to us, and to the edge its own
    interface does."""
    router(scene, 1337, last=True)
    scene.connect()
    scene.carry(5 * MB, 5 * MB)
    scene.note("carried_s")
    scene.finds(1337)
    scene.edge_finds(1337)
    mtu = scene.mtu()
    assert mtu["size"] == 1337
    assert mtu["ptb_valid"] > 0
    assert mtu["ptb_seen"] == mtu["ptb_valid"] + mtu["ptb_ignored"]
    assert mtu["black_holes_confirmed"] == 0
    scene.figures["probes"] = mtu["probes_sent"]


def have_a_small_interface(scene):
    """The same in the other direction."""
    router(scene, 1337, last=False)
    scene.connect()
    scene.finds(1337)
    scene.carry(5 * MB, 5 * MB)
    scene.edge_finds(1337)
    # A change of the network, such as a new address, starts another search.
    wait_until(lambda: scene.mtu()["ceiling"] == 1337, "1337 is the ceiling")
    mtu = scene.mtu()
    assert mtu["size"] == 1337
    assert mtu["ptb_seen"] == 0
    assert scene.edge_size() == 1337
    scene.figures["probes"] = mtu["probes_sent"]


def lose_an_interface_size(scene):
    """During an upload the interface's MTU falls, without an event."""
    scene.places.line("line", RTT)
    scene.connect()
    scene.carry(MB, 0)
    assert scene.mtu()["size"] == 1500

    def shrink():
        scene.places.near.ip("link", "set", "line", "mtu", "1300")

    timer = threading.Timer(0.3, shrink)
    timer.start()
    scene.carry(20 * MB, 0)
    timer.join()
    scene.carry(MB, 0)
    mtu = scene.mtu()
    assert mtu["size"] == 1300
    assert mtu["cause"] == "interface"
    assert mtu["black_holes_confirmed"] == 0


# ---- Forgeries ----

def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def too_big(source, target, mtu, quote):
    """An ICMP message about a packet from `source` to `target` (address,
    port)."""
    payload = struct.pack(">HHHH", source[1], target[1], 8 + 1472, 0) + quote
    packet = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 1500, 1, 0x4000, 60, UDP, 0,
                         socket.inet_aton(source[0]),
                         socket.inet_aton(target[0])) + payload
    head = struct.pack(">BBHHH", 3, 4, 0, 0, mtu)
    return struct.pack(">BBHHH", 3, 4, checksum(head + packet), 0,
                       mtu) + packet


def too_big6(source, target, mtu, quote):
    """The same of ICMPv6; the kernel adds the checksum."""
    payload = struct.pack(">HHHH", source[1], target[1], 8 + 1452, 0) + quote
    return struct.pack(">BBHI", 2, 0, 0, mtu) + struct.pack(
        ">IHBB16s16s", 6 << 28, 8 + 1452, UDP, 60,
        socket.inet_pton(socket.AF_INET6, source[0]),
        socket.inet_pton(socket.AF_INET6, target[0])) + payload


def flood(source, target):
    """Forgeries of which half name another port of ours."""
    if ":" in target[0]:
        kind = socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6
        forge = too_big6
    else:
        kind = socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP
        forge = too_big
    with socket.socket(*kind) as sock:
        for _ in range(FORGERIES):
            for port in source[1], source[1] ^ 1:
                sock.sendto(forge((source[0], port), target, 1300,
                                  os.urandom(64)), (source[0], 0))


FORGERIES = 50000 if FULL else 5000


def hear_forgeries(scene):
    """A flood that names our address and port but has not seen a packet."""
    scene.places.line("line", RTT)
    scene.connect()
    scene.finds(1500)
    before = scene.mtu()
    client = re.search(ACCEPTED + r"\[?(\S+?)\]?:(\d+) ", scene.edge.log)
    cpu = scene.culvert.cpu()
    thread = threading.Thread(
        target=scene.places.far.inside,
        args=(flood, (client[1], int(client[2])),
              (scene.address, scene.edge.port)))
    thread.start()
    scene.carry(10 * MB, 10 * MB)
    thread.join()
    after = scene.culvert.wait_status(
        lambda s: s["mtu"]["ptb_seen"] >= FORGERIES // 2, "forgeries")["mtu"]
    scene.figures["seen"] = after["ptb_seen"]
    scene.figures["cpu_s"] = round(scene.culvert.cpu() - cpu, 2)
    assert after["ptb_seen"] <= FORGERIES  # not those with another port
    assert after["ptb_ignored"] == after["ptb_seen"]
    assert after["ptb_valid"] == 0
    for same in "size", "cause", "black_holes_confirmed":
        assert after[same] == before[same]


ROWS = {
    "1400": search(1400),
    "1300": search(1300),
    "1281": search(1281),
    "1400, idle": search_idly,
    "1500 up, 1300 down": search_each_way,
    "9000 on 1500": search_for_more,
    "a hole in mid upload": fall("up"),
    "a hole in mid download": fall("down"),
    "10 % loss": lose(10),
    "15 % loss": lose(15),
    "an outage": cut,
    "a long queue": fill("cubic", queue=RTT),
    "a short queue": fill("bbr"),
    "a token bucket": fill("cubic", kernel=True),
    "3 % loss, repaired": repair,
    "a router": hear_a_router,
    "an interface": have_a_small_interface,
    "an interface shrinks": lose_an_interface_size,
    "forgeries": hear_forgeries,
}
CASES = [(name, v6) for name in ROWS for v6 in (False, True)]


def run_row(directory, ca, name, v6):
    with Scene(directory, ca, v6) as scene:
        try:
            ROWS[name](scene)
        except AssertionError as error:
            logs = [daemon.log[-2000:] for daemon in scene.daemons]
            raise AssertionError("\n".join([str(error), *logs])) from error
        return scene.figures


@pytest.fixture(scope="module")
def rows(request, tmp_path_factory, ca):
    """All rows that were selected, under way: a future for each."""
    cases = [(item.callspec.params["name"], item.callspec.params["v6"])
             for item in request.session.items
             if item.function is test_row]
    with concurrent.futures.ThreadPoolExecutor(ROWS_AT_ONCE) as pool:
        yield {case: pool.submit(run_row, tmp_path_factory.mktemp("row"), ca,
                                 *case) for case in cases}


@pytest.mark.parametrize("name,v6", CASES, ids=[
    f"{name}, IPv{6 if v6 else 4}" for name, v6 in CASES])
def test_row(rows, name, v6):
    try:
        figures = rows[name, v6].result()
    except Forbidden as error:
        pytest.skip(f"no network namespaces here: {error}")
    print(f"\n{name}, IPv{6 if v6 else 4}: " + ", ".join(
        f"{key} {value}" for key, value in figures.items()))


def test_spread(tmp_path, ca):
    """Not beside the rows: packets that a busy machine reads in bursts look
    like those that have filled a queue."""
    try:
        with Scene(tmp_path, ca) as scene:
            spread(scene)
            print(f"\n3 % loss: {scene.figures}")
    except Forbidden as error:
        pytest.skip(f"no network namespaces here: {error}")


@pytest.mark.skipif(not FULL, reason="takes a minute: make system-full")
def test_confirmation(tmp_path, ca):
    try:
        with Scene(tmp_path, ca) as scene:
            confirm(scene)
            print(f"\nsmall packets: {scene.figures}")
    except Forbidden as error:
        pytest.skip(f"no network namespaces here: {error}")
