"""--qlog: one trace for each connection."""

import json
import os
import re
import resource
import signal
import subprocess

import pytest

from client import socks5_tunnel
from messages import CONNECTED, PATH_MTU, RELOADED
from origin import expect_pattern, send_pattern

FILE_MAX = 65536  # bytes: like a full disk, for one process
SIZE = 4 << 20    # bytes, whose trace is longer


def records(path):
    """The records of a JSON-SEQ file (RFC 7464)."""
    return [json.loads(text) for text in path.read_text().split("\x1e")[1:]]


def test_qlog(start_edge, start_culvert, tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    edge = start_edge("--qlog", theirs)
    for _ in range(3):
        culvert = start_culvert(edge, "--qlog", ours)
        culvert.wait_for(PATH_MTU)
        culvert.stop()
    edge.stop()
    for directory, role in (ours, "client"), (theirs, "server"):
        # Traces of root stay root's, though the daemon has another user by
        # then.
        assert {path.stat().st_uid for path in directory.iterdir()} == \
            {os.geteuid()}
        traces = [records(path) for path in directory.iterdir()]
        assert len(traces) == 3
        for head, *events in traces:
            assert head["trace"]["vantage_point"]["type"] == role
            assert any(event["name"] == "transport:packet_received"
                       for event in events)
            times = [event["time"] for event in events]
            assert times == sorted(times)
            assert role == "server" or any(
                event["name"] == "quic:mtu_updated" for event in events)


def little():
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_MAX, FILE_MAX))


def transfers(culvert, server, count=2):
    """Each goes by a connection of its own."""
    for _ in range(count):
        with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
            expect_pattern(sock, SIZE)
        seen = culvert.log.count(CONNECTED)
        culvert.ctl("reconnect")
        culvert.wait_for(CONNECTED, seen + 1)


def told(daemon, pattern):
    return re.findall(rf"warning: .*{pattern}", daemon.log)


def test_a_trace_that_finds_no_room(start_embedded, origin, tmp_path):
    """That is logged once for all traces, and the transfers go on."""
    culvert = start_embedded("--qlog", tmp_path, preexec=little)
    transfers(culvert, origin(lambda sock: send_pattern(sock, SIZE)))
    culvert.stop()
    assert len(list(tmp_path.glob("*.sqlog"))) >= 4
    assert len(told(culvert, r"\.sqlog is truncated: File too large")) == 1


@pytest.fixture
def tiny(tmp_path):
    """A file system with room for a part of one trace."""
    path = tmp_path / "tiny"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none",
                           path], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr}")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_a_disk_that_is_full(start_edge, start_culvert, origin, tiny):
    """Both ends log it once, and the transfers go on."""
    server = origin(lambda sock: send_pattern(sock, SIZE))
    edge = start_edge("--qlog", tiny)
    culvert = start_culvert(edge, "--qlog", tiny)
    transfers(culvert, server, 3)
    for daemon in (culvert, edge):
        daemon.stop()
        assert len(told(daemon, "No space left on device")) == 1


def test_a_directory_that_takes_no_trace(start_edge, start_culvert, origin,
                                         tmp_path):
    """One warning with the reason, another one after a reload, and none
    any more when it is mended."""
    server = origin(lambda sock: send_pattern(sock, SIZE))
    gone = tmp_path / "gone"
    edge = start_edge("--qlog", gone)
    culvert = start_culvert(edge, "--qlog", gone)
    transfers(culvert, server)
    for count in (1, 2):
        for daemon in (culvert, edge):
            lines = told(daemon, "")
            assert len(lines) == count
            assert f"cannot write {gone}/" in lines[-1]
            assert "No such file or directory" in lines[-1]
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_for(RELOADED, count)
        transfers(culvert, server, 1)
    for daemon in (culvert, edge):
        assert len(told(daemon, "")) == 3
