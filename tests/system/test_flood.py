"""Floods of wrong passwords: other users are not delayed, and an overload is
never reported as a wrong password."""

import base64
import contextlib
import functools
import itertools
import re
import select
import socket
import subprocess
import threading

import pytest

from client import (GENERAL_FAILURE, SUCCEEDED, USER, http_head, receive,
                    receive_all, socks5_connect, socks5_reply, socks5_request,
                    works)
from daemon import DEADLINE, wait_until
from test_peers import their_client  # a fixture
from test_reload import reload

OTHER = ("bob", "battery staple")
THIRD = ("carol", "letmein, please")
ALL = (USER, OTHER, THIRD)

GUESSES = itertools.count()

# So slow that a flood waits for seconds: some 100 ms each.
SALT = "rounds=200000$culvert"

# One whose hash takes so long that the checks of a flood of his name wait for
# longer than they may.
LATE = ("dave", "open, sesame")
LATE_SALT = "rounds=2000000$culvert"

# More than one source may have waiting (proxy/base/fair_queue.h).
FLOOD = 300
SHARE = 256


# For a flood that is one however quickly it is answered.
BRISK_SALT = "rounds=20000$culvert"


@functools.cache
def line(user, salt=SALT):
    done = subprocess.run(["openssl", "passwd", "-6", "-salt", salt, user[1]],
                          check=True, text=True, capture_output=True,
                          timeout=60)
    return f"{user[0]}:{done.stdout}"


@pytest.fixture
def slow_users(tmp_path):
    """A users file that knows ALL, with hashes that take their time."""
    path = tmp_path / "slow"
    path.write_text("".join(map(line, ALL)) + line(LATE, LATE_SALT))
    path.chmod(0o600)
    return path


def basic(user):
    value = base64.b64encode(":".join(user).encode()).decode()
    return f"Proxy-Authorization: Basic {value}\r\n"


def ask(culvert, server, source, user):
    """A request for a tunnel, whose answer is not waited for."""
    sock = socket.create_connection(("127.0.0.1", culvert.port), DEADLINE,
                                    (source, 0))
    sock.sendall(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n"
                 f"Host: x\r\n{basic(user)}\r\n".encode())
    return sock


def status(culvert, server, source, user):
    with ask(culvert, server, source, user) as sock:
        return http_head(sock)[0]


@contextlib.contextmanager
def flooded(culvert, server, sources, name=OTHER[0], each=FLOOD):
    """Wrong passwords from these sources are under way; yields their sockets.
    """
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(
                   ask(culvert, server, source,
                       (name, f"guess {next(GUESSES)}")))
               for source in sources for _ in range(each)]


def answered(socks):
    """The sockets that have an answer to read."""
    poll = select.poll()
    by_fd = {sock.fileno(): sock for sock in socks}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    return [by_fd[fd] for fd, _ in poll.poll(0)]


@pytest.fixture
def guarded(start_embedded, slow_users):
    """A proxy that requires a password."""
    return start_embedded("--listen-users", slow_users, "--grace", "0")


@pytest.fixture
def brisk(start_embedded, tmp_path):
    """The same, with hashes that take less time."""
    path = tmp_path / "brisk"
    path.write_text("".join(line(user, BRISK_SALT) for user in ALL))
    path.chmod(0o600)
    return start_embedded("--listen-users", path, "--grace", "0")


# ---- The listener ----

def test_others_get_in(guarded, origin):
    """A user with a cached result, and new ones: from another address, and by
    another name from the same one."""
    server = origin()
    assert status(guarded, server, "127.0.0.2", USER) == 200
    with flooded(guarded, server, ("127.0.0.2", "127.0.0.3")) as socks:
        assert len(answered(socks)) < len(socks)
        assert status(guarded, server, "127.0.0.2", USER) == 200
        assert status(guarded, server, "127.0.0.4", OTHER) == 200
        assert status(guarded, server, "127.0.0.2", THIRD) == 200
        # They did not have to wait until the flood was over.
        assert len(answered(socks)) < len(socks)


def test_from_many_addresses(guarded, origin):
    server = origin()
    sources = [f"127.0.1.{i}" for i in range(1, 31)]
    with flooded(guarded, server, sources, each=20) as socks:
        assert status(guarded, server, "127.0.0.4", USER) == 200
        assert len(answered(socks)) < len(socks)


def test_in_a_row(brisk, origin):
    """260 clients that try again at once, whatever they are answered."""
    server = origin()
    over = threading.Event()

    def guess(number):
        count = 0
        while not over.is_set():
            count += 1
            with contextlib.suppress(OSError, EOFError):
                status(brisk, server, f"127.0.0.{2 + number % 3}",
                       (f"{OTHER[0]}{number % 7}", f"{number} {count}"))

    assert status(brisk, server, "127.0.0.9", USER) == 200
    threads = [threading.Thread(target=guess, args=(i,)) for i in range(260)]
    for thread in threads:
        thread.start()
    try:
        brisk.wait_for("authentication failed from 127.0.0.2: .* wrong")
        assert status(brisk, server, "127.0.0.9", USER) == 200
        assert status(brisk, server, "127.0.0.8", OTHER) == 200

        # A new user from an address of the flood may get 503.
        def third():
            answer = status(brisk, server, "127.0.0.2", THIRD)
            assert answer in (200, 503)
            return answer == 200

        wait_until(third, "a new user is let in")
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_overload_is_no_wrong_password(guarded, origin):
    """Checks beyond the limit get 503 with Retry-After, or a reply that does
    not blame the password."""
    server = origin()
    with flooded(guarded, server, ("127.0.0.2",), LATE[0]) as socks:
        refused = wait_until(
            lambda: (lambda found: len(found) >= FLOOD - SHARE - 2 and found)
            (answered(socks)), "some are refused at once")
        heads = [http_head(sock) for sock in refused]
        busy = [head for code, head in heads if code == 503]
        assert {code for code, _ in heads} <= {407, 503} and busy
        assert all(re.search(r"\r\nRetry-After: \d+\r\n", head)
                   for head in busy)
        with ask(guarded, server, "127.0.0.2", LATE) as sock:
            assert http_head(sock)[0] == 503
            assert "too many checks are waiting" in receive_all(sock).decode()
        assert overloaded_socks(guarded, server)


def overloaded_socks(culvert, server):
    """Whether the password passes, and the request is then refused."""
    name, password = (part.encode() for part in LATE)
    with socket.create_connection(("127.0.0.1", culvert.port), DEADLINE,
                                  ("127.0.0.2", 0)) as sock:
        sock.sendall(b"\5\1\2" + bytes([1, len(name)]) + name +
                     bytes([len(password)]) + password +
                     socks5_request("127.0.0.1", server.port))
        return (receive(sock, 4) == b"\5\2\1\0" and
                socks5_reply(sock) == GENERAL_FAILURE and
                sock.recv(1) == b"")


def test_the_log(guarded, origin):
    """A line at once, and then one that counts: with address, no names."""
    server = origin()
    assert status(guarded, server, "127.0.0.2", ("mallory", "x")) == 407
    guarded.wait_for(r"(?m)warning: authentication failed from 127\.0\.0\.2: "
                     r"1 wrong name or password$")
    for i in range(5):
        assert status(guarded, server, "127.0.0.3", ("mallory", f"{i}")) == 407
    guarded.wait_for(r"(?m)warning: authentication failed from 127\.0\.0\.3: "
                     r"5 wrong names or passwords$")
    assert guarded.log.count("warning: authentication") == 2
    assert "mallory" not in guarded.log


def test_a_reload_forgets_nobody(guarded, origin, slow_users):
    """Cached users pass a flood after a reload, unless their line has changed.
    """
    server = origin()
    for user in (USER, OTHER):
        assert status(guarded, server, "127.0.0.2", user) == 200
    changed = (OTHER[0], "another one")
    slow_users.write_text(line(USER) + line(changed))
    reload(guarded)
    with flooded(guarded, server, ("127.0.0.2",), USER[0]) as socks:
        before = len(answered(socks))
        assert before < FLOOD
        assert status(guarded, server, "127.0.0.2", USER) == 200
        assert status(guarded, server, "127.0.0.3", OTHER) == 407
        assert status(guarded, server, "127.0.0.3", changed) == 200
        assert status(guarded, server, "127.0.0.3", THIRD) == 407


# ---- The edge ----

def succeeds(culvert, server):
    sock, code = socks5_connect(culvert.port, "127.0.0.1", server.port)
    sock.close()
    assert code in (SUCCEEDED, GENERAL_FAILURE)
    return code == SUCCEEDED


def test_at_the_edge(start_edge, start_culvert, their_client, slow_users,
                     origin):
    """The same by HTTP/3."""
    server = origin()
    edge = start_edge("--users", slow_users)
    known = start_culvert(edge, "--user", ":".join(USER))
    works(known, server)
    fresh = start_culvert(edge, "--user", ":".join(THIRD))
    unlucky = start_culvert(edge, "--user", ":".join(LATE))
    reports = []

    def flood():
        reports.append(their_client(edge, server, "-user", f"{LATE[0]}:guess",
                                    "-guess", "-mode", "echo", "-bytes", "1",
                                    "-tunnels", str(FLOOD)))

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        edge.wait_for("authentication failed from 127.0.0.1: .* refused|"
                      "proxy_internal_error; details=")
        works(known, server)
        works(fresh, server)
        # A user whose name is flooded may have to try again, but never gets
        # "wrong password".
        succeeds(unlucky, server)
    finally:
        thread.join()
    report, = reports
    assert set(report["statuses"]) == {"407", "503"}
    assert report["statuses"]["503"] >= FLOOD - SHARE - 2
    assert re.fullmatch(r"\d+: culvert-edge: 503 .*\n",
                        report["told"]["503"])
    # When it is over the same password is right.
    wait_until(lambda: succeeds(unlucky, server), "dave gets in")
