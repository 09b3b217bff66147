"""Programs that write a request target in their own way."""

import shutil
import subprocess

import pytest

from daemon import DEADLINE, environment
from origin import read_request

URLLIB = """
import sys, urllib.parse, urllib.request
proxy, url = sys.argv[1:]
urllib.request.install_opener(urllib.request.build_opener(
    urllib.request.ProxyHandler({"http": proxy})))
print(urllib.request.urlopen(urllib.parse.quote(url, ":/?#@")).read().decode())
"""
TINY = """
use HTTP::Tiny;
print HTTP::Tiny->new(http_proxy => $ARGV[0])->get($ARGV[1])->{content};
"""
LWP = """
use LWP::UserAgent;
my $agent = LWP::UserAgent->new;
$agent->proxy("http", $ARGV[0]);
print $agent->get($ARGV[1])->content;
"""
JAVA = """
import java.net.*;

public class Get {
	public static void main(String[] args) throws Exception {
		URI proxy = URI.create(args[0]);
		URLConnection c = new URL(args[1]).openConnection(new Proxy(
		    Proxy.Type.HTTP, new InetSocketAddress(proxy.getHost(),
			proxy.getPort())));
		System.out.write(c.getInputStream().readAllBytes());
		System.out.flush();
	}
}
"""

# The proxy and the URL come after these.
PROGRAMS = {
    "curl": ["curl", "-s", "-x"],
    "wget": ["wget", "-q", "-O", "-", "-e", "use_proxy=yes", "-e"],
    "urllib": ["/usr/bin/python3", "-c", URLLIB],
    "HTTP::Tiny": ["perl", "-e", TINY],
    "LWP": ["perl", "-e", LWP],
    "HttpURLConnection": ["java"],
}


def is_installed(name):
    module = {"LWP": "LWP::UserAgent", "HTTP::Tiny": "HTTP::Tiny"}.get(name)
    if module: # perl-base has neither
        return subprocess.run(["perl", f"-M{module}", "-e", "1"],
                              capture_output=True, check=False,
                              timeout=DEADLINE).returncode == 0
    if name == "HttpURLConnection": # which takes the compiler as well
        return shutil.which("java") and shutil.which("javac")
    return shutil.which(PROGRAMS[name][0])


def row(name):
    program = PROGRAMS[name][0]
    marks = () if "python" in program else pytest.mark.needs(program)
    return pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", map(row, PROGRAMS))
def test_user_information_and_utf_8(embedded, origin, tmp_path, name):
    """Neither reaches the origin as it was written."""
    heads = []

    def answer(sock):
        heads.append(read_request(sock)[0])
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    if not is_installed(name):
        pytest.skip(f"{name} is not installed")
    argv = [*PROGRAMS[name]]
    if name == "HttpURLConnection":
        (tmp_path / "Get.java").write_text(JAVA)
        argv.append(tmp_path / "Get.java")
    proxy = f"http://127.0.0.1:{embedded.port}"
    port = origin(answer).port
    url = f"http://user:pass@127.0.0.1:{port}/ü?ü#fragment"
    if name == "wget":
        proxy = f"http_proxy={proxy}"
    done = subprocess.run([*argv, proxy, url], capture_output=True,
                          check=False, timeout=DEADLINE,
                          env={**environment(), "no_proxy": ""})
    assert done.stdout.strip() == b"hello", done.stderr.decode()
    assert heads[-1].startswith("GET /%C3%BC?%C3%BC HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{port}\r\n" in heads[-1]
    assert "pass" not in heads[-1]
