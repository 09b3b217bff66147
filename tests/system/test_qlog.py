"""--qlog: one trace for each connection."""

import json


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
