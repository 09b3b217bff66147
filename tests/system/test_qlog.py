"""--qlog: one trace for each connection."""

import json
import re
import resource

from client import socks5_tunnel
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
        culvert.wait_for("path MTU to")
        culvert.stop()
    edge.stop()
    for directory, role in (ours, "client"), (theirs, "server"):
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


def test_a_trace_that_finds_no_room(start_embedded, origin, tmp_path):
    """Its end is told once, and the transfers go on."""
    def little():
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_MAX, FILE_MAX))

    culvert = start_embedded("--qlog", tmp_path, preexec=little)
    server = origin(lambda sock: send_pattern(sock, SIZE))
    for _ in range(2):
        with socks5_tunnel(culvert.port, "127.0.0.1", server.port) as sock:
            expect_pattern(sock, SIZE)
    culvert.stop()
    told = re.findall(r"(\S+\.sqlog) ends early: File too large", culvert.log)
    assert sorted(told) == sorted(map(str, tmp_path.glob("*.sqlog")))
