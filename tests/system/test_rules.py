"""Rules: which target goes where, as the user wrote them."""

import json
import random
import re
import socket
import subprocess

import pytest

from client import (CONNECTION_REFUSED, HOST_UNREACHABLE, NOT_ALLOWED,
                    SUCCEEDED, connect, http_connect, receive, receive_all,
                    socks5_connect, socks5_tunnel)
from daemon import DEADLINE, environment, run
from messages import NOT_RELOADED
from test_browser import CHROMIUM, FLAGS
from test_refusals import closed_port, refused_everywhere
from test_reload import Tunnel, reload, renew


@pytest.fixture
def ruled(tmp_path, start_culvert):
    """ruled(edge, text) → a culvert with these rules, which has `rules`."""
    def start(edge, text, *flags):
        path = tmp_path / "work.rules"
        path.write_text(text)
        culvert = start_culvert(edge, "--rules", path, *flags)
        culvert.rules = path
        return culvert

    return start


@pytest.fixture
def closed(start_edge):
    """An edge that allows no loopback: only direct connections get there."""
    return start_edge(allow=False)


def reaches(culvert, host, port):
    """Echoes over a tunnel of each front end, half-close included."""
    sock = socks5_tunnel(culvert.port, host, port)
    sock.sendall(b"by SOCKS")
    sock.shutdown(socket.SHUT_WR)
    assert receive_all(sock) == b"by SOCKS"
    sock.close()
    sock, status, _ = http_connect(culvert.port, host, port)
    assert status == 200
    sock.sendall(b"by HTTP")
    assert receive(sock, 7) == b"by HTTP"
    sock.close()


def test_direct(ruled, closed, origin):
    """The edge does not allow this origin, and this machine reaches it."""
    server = origin()
    culvert = ruled(closed, f"direct 127.0.0.1:{server.port} localhost\n")
    reaches(culvert, "127.0.0.1", server.port)
    reaches(culvert, "localhost", server.port)
    other = origin()
    _, code = socks5_connect(culvert.port, "127.0.0.1", other.port)
    assert code == NOT_ALLOWED


def test_direct_plain_http(ruled, closed, http_origin):
    server = http_origin()
    culvert = ruled(closed, "direct 127.0.0.0/8\n")
    host = f"127.0.0.1:{server.port}"
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", culvert.port)) as sock:
            sock.sendall(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n"
                         "Connection: close\r\n\r\n".encode())
            assert receive_all(sock).startswith(b"HTTP/1.1 200 ")


def test_direct_transfer(ruled, closed, origin):
    """Ten megabytes both ways."""
    server = origin()
    culvert = ruled(closed, "direct *\n")
    sock = socks5_tunnel(culvert.port, "127.0.0.1", server.port)
    sock.settimeout(60)
    block = bytes(range(256)) * 4096
    for _ in range(10):
        sock.sendall(block)
        assert receive(sock, len(block)) == block
    sock.close()


@pytest.mark.parametrize("host, code, status, text", [
    ("127.0.0.1", CONNECTION_REFUSED, 502, "refused the connection"),
    ("nowhere.invalid", HOST_UNREACHABLE, 502, "does not resolve"),
    ("127.1", HOST_UNREACHABLE, 502, "does not resolve")])
def test_direct_fails(ruled, closed, host, code, status, text):
    culvert = ruled(closed, "direct *\n")
    if host == "nowhere.invalid":
        # Without a name server it is a time-out, after a while.
        try:
            socket.getaddrinfo(host, 80)
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                pytest.skip("no name server here")
    refused_everywhere(culvert, host, closed_port(), code, status, text)


def test_block(ruled, edge, origin):
    """In each protocol, with the place where the rule is written."""
    server = origin()
    culvert = ruled(edge, "# what I do not want\n"
                    "block ads.example *.tracker.example :25\ntunnel *\n")
    for host in ("ads.example", "ADS.example", "a.b.tracker.example"):
        refused_everywhere(culvert, host, 443, NOT_ALLOWED, 403,
                           f"{culvert.rules}:2")
    refused_everywhere(culvert, "127.0.0.1", 25, NOT_ALLOWED, 403,
                       f"{culvert.rules}:2")
    reaches(culvert, "127.0.0.1", server.port)


def test_lists(ruled, edge, tmp_path):
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n"
                                    "0.0.0.0 ads.example other.example\n")
    culvert = ruled(edge, "block @hosts\n")
    refused_everywhere(culvert, "other.example", 80, NOT_ALLOWED, 403,
                       f"{tmp_path}/hosts:2")


def test_no_rule_covers_it(ruled, edge, origin):
    culvert = ruled(edge, "block ads.example\n")
    reaches(culvert, "127.0.0.1", origin().port)


def test_rules_are_replaced(ruled, edge, origin, tmp_path):
    """All at once, or not at all; open tunnels go on."""
    server = origin()
    (tmp_path / "list").write_text("ads.example\n")
    culvert = ruled(edge, "block @list\n")
    tunnel = Tunnel(culvert, server)
    renew(culvert.rules, "block @list 127.0.0.1\n")
    renew(tmp_path / "list", "other.example\n")
    reload(culvert)
    for host in ("127.0.0.1", "other.example"):
        _, code = socks5_connect(culvert.port, host, server.port)
        assert code == NOT_ALLOWED
    tunnel.works()
    renew(culvert.rules, "tunnel *\nblock a*b\n")
    reload(culvert)
    assert f"{culvert.rules}:2: a*b: a * stands alone" in culvert.log
    assert NOT_RELOADED in culvert.log
    _, code = socks5_connect(culvert.port, "127.0.0.1", server.port)
    assert code == NOT_ALLOWED
    renew(culvert.rules, "tunnel *\n")
    reload(culvert)
    _, code = socks5_connect(culvert.port, "127.0.0.1", server.port)
    assert code == SUCCEEDED
    tunnel.works()


def test_rules_of_a_connection_that_is_kept(ruled, edge, http_origin):
    """A client that keeps its connection is told, too."""
    server = http_origin()
    culvert = ruled(edge, "tunnel *\n")
    host = f"127.0.0.1:{server.port}"
    request = f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    with connect(culvert.port) as sock:
        sock.sendall(request)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        renew(culvert.rules, "block 127.0.0.1\n")
        reload(culvert)
        sock.sendall(request)
        got = receive_all(sock)
    assert b"HTTP/1.1 403 " in got


def test_final_dot_and_empty_labels(ruled, edge):
    """Others take these for the address, or for the name."""
    culvert = ruled(edge, "block 127.0.0.0/8 ads.example\n")
    for host in ("127.0.0.1.", "ads.example."):
        refused_everywhere(culvert, host, 80, NOT_ALLOWED, 403,
                           f"{culvert.rules}:1")
    for host in ("ads.example..", "ads..example", ".ads.example"):
        _, code = socks5_connect(culvert.port, host, 80)
        assert code != SUCCEEDED
        assert "ads" not in edge.log


@pytest.mark.parametrize("text, error", [
    ("direct\n", ":1: the rule has no pattern behind its action"),
    ("allow *\n", ":1: allow is no action: tunnel, edge:NAME, direct or block"),
    ("\nblock 10.0.0.1/8\n", ":2: 10.0.0.1/8: this is not a network"),
    ("block @nothing\n", "nothing: No such file or directory"),
    ("edge:eu *\n", ": there is no edge of the name eu")])
def test_wrong_rules(tmp_path, text, error):
    path = tmp_path / "work.rules"
    path.write_text(text)
    done = run("culvert", "-l", "127.0.0.1:0", "--control", tmp_path / "sock",
               "--embedded-edge", "--rules", path)
    assert done.returncode == 1
    assert error in done.stderr


def test_culvertctl_route(ruled, edge, tmp_path):
    culvert = ruled(edge, "direct *.corp.example\nblock ads.example:443\n"
                    "tunnel *.example\n")

    def route(target, *flags):
        return run("culvertctl", "--control", culvert.control, *flags, "route",
                   target)

    assert route("www.corp.example:22").stdout == (
        "target     www.corp.example:22\n"
        "action     direct\n"
        f"rule       {culvert.rules}:1\n")
    assert json.loads(route("ads.example", "--json").stdout) == {
        "target": "ads.example:443", "action": "block",
        "file": str(culvert.rules), "line": 2, "edge": None}
    answer = route("b.example").stdout
    assert "action     tunnel" in answer
    assert f"edge       127.0.0.1:{edge.port}" in answer
    assert "rule       none covers it" in route("[2001:db8::1]:80").stdout
    wrong = route("a b")
    assert wrong.returncode == 2
    assert "HOST or HOST:PORT" in wrong.stderr
    assert run("culvertctl", "route").returncode == 2


# ---- The PAC ----

WORDS = ["a", "b", "www", "corp", "x1", "bücher"]


def random_pattern(chance):
    name = ".".join(chance.choice(WORDS)
                    for _ in range(chance.randint(1, 3))) + ".example"
    kinds = [name, "*." + name, "." + name, chance.choice(["", "*."]) + name,
             f"10.{chance.randrange(4)}.0.0/{chance.choice([16, 17, 24])}",
             f"10.{chance.randrange(4)}.{chance.randrange(3)}.1",
             f"2001:db8:{chance.randrange(4)}::/{chance.choice([48, 64])}",
             f"[2001:db8:{chance.randrange(4)}::1]"]
    port = chance.choice(["", "", ":80", ":443", ":1-100", ":8000-9000"])
    pattern = chance.choice(kinds)
    if ":" in pattern and "/" not in pattern and "[" not in pattern:
        port = ""
    return pattern + port


def random_target(chance):
    """A host as a browser has it in a URL, and a port."""
    name = ".".join(chance.choice(WORDS)
                    for _ in range(chance.randint(1, 4))) + ".example"
    host = chance.choice([
        name.encode("idna").decode(), name.encode("idna").decode() + ".",
        f"10.{chance.randrange(4)}.{chance.randrange(3)}.{chance.randrange(3)}",
        f"[2001:db8:{chance.randrange(4):x}::{chance.randrange(3):x}]",
        f"[::ffff:a{chance.randrange(4):02x}:1]"])
    return host, chance.choice([80, 443, 8080, 99, 101])


def ask_route(culvert, host, port):
    """What the control socket says of a target."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(str(culvert.control))
        sock.sendall(f"GET /route?{host}:{port} HTTP/1.1\r\n"
                     "Host: culvert\r\n\r\n".encode())
        answer = receive_all(sock)
    return json.loads(answer.partition(b"\r\n\r\n")[2])["action"]


PAC_PAGE = """<meta charset="utf-8"><pre id="answers"></pre><script>
function isPlainHostName(host) { return host.indexOf(".") < 0; }
%s
const answers = %s.map(([url, host]) => FindProxyForURL(url, host));
document.getElementById("answers").textContent = JSON.stringify(answers);
</script>"""


def ask_pac(pac, targets, directory):
    """What the function says of each target, in Chromium."""
    urls = [(f"{'https' if port == 443 else 'http'}://{host}"
             f"{'' if port in (80, 443) else f':{port}'}/", host.strip("[]"))
            for host, port in targets]
    page = directory / "pac.html"
    page.write_text(PAC_PAGE % (pac, json.dumps(urls)))
    done = subprocess.run(
        [CHROMIUM, *FLAGS, "--no-sandbox",
         f"--user-data-dir={directory}/profile", "--dump-dom",
         f"file://{page}"], env=environment(), capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=DEADLINE, check=True)
    return json.loads(re.search(r'id="answers">(.*?)</pre>', done.stdout)[1])


def get_pac(culvert, query="?all"):
    with connect(culvert.port) as sock:
        sock.sendall(f"GET /proxy.pac{query} HTTP/1.1\r\n"
                     f"Host: 127.0.0.1:{culvert.port}\r\n\r\n".encode())
        return receive_all(sock).decode().partition("\r\n\r\n")[2]


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("seed", range(3))
def test_pac_is_as_the_rules(ruled, edge, tmp_path, seed):
    """Both answer alike for a thousand targets."""
    chance = random.Random(seed)
    culvert = ruled(edge, "".join(
        f"{chance.choice(['direct', 'direct', 'block', 'tunnel'])} "
        f"{' '.join(random_pattern(chance) for _ in range(3))}\n"
        for _ in range(30)))
    targets = [random_target(chance) for _ in range(1000)]
    answers = ask_pac(get_pac(culvert), targets, tmp_path)
    wrong = [(target, answer) for target, answer in zip(targets, answers)
             if (answer == "DIRECT") !=
             (ask_route(culvert, *target) == "direct")]
    assert wrong == []
    assert answers.count("DIRECT") > 100


@pytest.mark.needs("chromium")
def test_pac_of_many_rules(ruled, edge, tmp_path):
    """It has the first ones, and leaves the rest to culvert."""
    culvert = ruled(edge, "direct a.example\n" + "".join(
        f"block {'long-name-' * 5}{i}.example\n" for i in range(100000)) +
        "direct z.example\n")
    pac = get_pac(culvert, "")
    assert len(pac) <= 32768
    targets = [("a.example", 80), ("z.example", 80), ("10.0.0.1", 80)]
    answers = ask_pac(pac, targets, tmp_path)
    assert answers[0] == "DIRECT"
    assert "DIRECT" not in answers[1:]
    assert ask_route(culvert, *targets[1]) == "direct"
