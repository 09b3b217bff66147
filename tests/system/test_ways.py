"""Ways in beside SOCKS and HTTP."""

import socket
import subprocess

import pytest

from client import connect, receive, receive_all
from daemon import DEADLINE, run
from messages import CONNECTED
from test_refusals import closed_port


@pytest.fixture
def forwarded(start_culvert):
    """forwarded(edge, host, port, *flags) → a culvert with `forward`, the port
    that leads to that target."""
    def start(edge, host, port, *flags):
        culvert = start_culvert(edge, "--forward",
                                f"127.0.0.1:0={host}:{port}", *flags)
        culvert.forward = int(culvert.wait_for(
            r"forwarding 127.0.0.1:(\d+) to ")[1])
        return culvert

    return start


def test_forward(forwarded, edge, origin):
    """Bytes of both sides, and the end of each."""
    culvert = forwarded(edge, "localhost", origin().port)
    for _ in range(3):
        with connect(culvert.forward) as sock:
            sock.sendall(b"first")
            assert receive(sock, 5) == b"first"
            block = bytes(range(256)) * 1000
            sock.sendall(block)
            sock.shutdown(socket.SHUT_WR)
            assert receive_all(sock) == block
    culvert.wait_for(r" by forward to localhost:\d+.*: 256005 bytes up")


def greet(sock):
    """A handler whose side speaks first, as SSH and SMTP do."""
    sock.sendall(b"220 ready\r\n")
    sock.sendall(sock.recv(100))
    sock.close()


def test_forward_of_a_target_that_speaks_first(forwarded, edge, origin):
    culvert = forwarded(edge, "127.0.0.1", origin(greet).port)
    with connect(culvert.forward) as sock:
        assert receive(sock, 11) == b"220 ready\r\n"
        sock.sendall(b"HELO")
        assert receive_all(sock) == b"HELO"


@pytest.mark.needs("curl")
def test_forward_of_curl(forwarded, edge, http_origin):
    server = http_origin()
    culvert = forwarded(edge, "127.0.0.1", server.port)
    done = subprocess.run(
        ["curl", "-sS", f"http://127.0.0.1:{culvert.forward}/"],
        capture_output=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr


def test_forward_that_fails(forwarded, edge):
    """The connection is reset, and the log has the reason."""
    culvert = forwarded(edge, "127.0.0.1", closed_port())
    with connect(culvert.forward) as sock, \
            pytest.raises(ConnectionResetError):
        sock.sendall(b"hello")
        receive_all(sock)
        raise AssertionError("a FIN in place of a reset")
    culvert.wait_for("by forward to .*: the target refused the connection")


def test_forward_has_rules(forwarded, edge, origin, tmp_path):
    rules = tmp_path / "rules"
    rules.write_text("block localhost\n")
    culvert = forwarded(edge, "localhost", origin().port, "--rules", rules)
    with connect(culvert.forward) as sock, \
            pytest.raises(ConnectionResetError):
        sock.sendall(b"hello")
        receive_all(sock)
        raise AssertionError("a FIN in place of a reset")
    culvert.wait_for(f"a rule of culvert blocks it \\({rules}:1\\)")


@pytest.mark.parametrize("value", [
    "127.0.0.1:1", "127.0.0.1:1=", "127.0.0.1:1=a.example", "=a.example:1",
    "localhost:1=a.example:1", "127.0.0.1:1=a.example:0",
    "127.0.0.1:1=a b:1", "1.2.3.4:70000=a.example:1"])
def test_wrong_forward(value):
    done = run("culvert", "--embedded-edge", "--forward", value)
    assert done.returncode == 2
    assert "--forward: the value is not an address and a target" in done.stderr


def test_exposed_forward(start):
    culvert = start("culvert", "-vv", "-l", "127.0.0.1:0", "--embedded-edge",
                    "--forward", "0.0.0.0:0=a.example:1")
    culvert.wait_for(CONNECTED)
    assert "warning: --forward: other machines can reach" in culvert.log
