"""Programs with a proxy protocol of their own habits."""

import contextlib
import getpass
import hashlib
import os
import pty
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess

import pytest

from client import receive
from daemon import DEADLINE, FULL, environment
from origin import Handler, pattern, read_request

SIZE = 300_000


def which(program):
    """sshd is where only root looks."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")


def with_programs(*names):
    """For tests that need these optional programs."""
    def mark(test):
        for name in names:
            test = pytest.mark.needs(name)(pytest.mark.skipif(
                which(name) is None, reason=f"{name} is not installed")(test))
        return test

    return mark


def run(*args, env=None, deadline=DEADLINE, **options):
    """To its end: returncode, stdout and stderr, which are bytes."""
    return subprocess.run([*map(str, args)], capture_output=True, check=False,
                          timeout=deadline, **options,
                          env={**environment(), **(env or {})})


# ---- Targets that are not as they are sent ----

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


# ---- Programs with two kinds of proxy, or one that is done by hand ----

KINDS = ["http", "socks5h"]

NODE = """
const http = require("http");
const [proxy, url] = process.argv.slice(1).map(s => new URL(s));
const at = { host: proxy.hostname, port: proxy.port, agent: false };
const print = answer => answer.on("data", data => process.stdout.write(data));
const tunnel = () => http.request({ ...at, method: "CONNECT", path: url.host })
    .on("connect", (answer, socket) =>
	http.get(url, { createConnection: () => socket }, print))
    .end();
http.get({ ...at, path: url.href, headers: { Host: url.host } },
    answer => print(answer).on("end", tunnel));
"""


@with_programs("node")
def test_node(embedded, http_origin):
    """Its own http knows no proxy: people write the two requests by hand."""
    done = run("node", "-e", NODE, f"http://127.0.0.1:{embedded.port}",
               http_origin().url(f"/bytes/{SIZE}"))
    assert done.stdout == pattern(SIZE) * 2, done.stderr.decode()
    assert embedded.wait_idle()["tunnels"]["total"] == 2


class GitHandler(Handler):
    """git http-backend, by CGI (RFC 3875)."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        done = run("git", "http-backend", input=self.body(), env={
            "GIT_PROJECT_ROOT": self.server.directory,
            "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
            "QUERY_STRING": query, "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "somebody"})
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        fields = dict(re.findall(r"(\S+): (.*?)\r?$", head.decode(), re.M))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in {**fields, "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data


@with_programs("git")
@pytest.mark.parametrize("kind", KINDS)
def test_git(embedded, http_origin, tmp_path, kind):
    """A clone, a push whose pack is too long to be sent with a length, and a
    fetch of that by the first clone."""
    server = http_origin(handler=GitHandler)
    server.directory = str(tmp_path)

    def git(*args):
        done = run("git", "-c", "user.name=me", "-c", "user.email=me@localhost",
                   "-c", f"http.proxy={kind}://127.0.0.1:{embedded.port}", "-c",
                   f"http.postBuffer={SIZE // 3}", *args,
                   env={"GIT_CONFIG_NOSYSTEM": "1", "HOME": tmp_path})
        assert done.returncode == 0, done.stderr.decode()

    git("init", "-q", "--bare", tmp_path / "bare")
    git("-C", tmp_path / "bare", "config", "http.receivepack", "true")
    for name in "one", "two":
        git("clone", "-q", server.url("/bare"), tmp_path / name)
    (tmp_path / "one/file").write_bytes(os.urandom(SIZE))
    git("-C", tmp_path / "one", "add", "file")
    git("-C", tmp_path / "one", "commit", "-q", "-m", "a file")
    git("-C", tmp_path / "one", "push", "-q", "origin", "HEAD:refs/heads/main")
    git("-C", tmp_path / "two", "pull", "-q", "origin", "main")
    assert (tmp_path / "two/file").read_bytes() == \
        (tmp_path / "one/file").read_bytes()
    assert embedded.wait_idle()["tunnels"]["failed"] == 0


PACKAGES = 12


@with_programs("apt-get")
@pytest.mark.parametrize("kind", KINDS)
def test_apt(embedded, http_origin, tmp_path, kind):
    """It may send ten requests before it reads an answer."""
    files, index = {}, ""
    for i in range(PACKAGES):
        data = files[f"/some{i}.deb"] = pattern(1000 + i, i)
        index += (f"Package: some{i}\nVersion: 1\nArchitecture: all\n"
                  f"Filename: some{i}.deb\nSize: {len(data)}\n"
                  f"SHA256: {hashlib.sha256(data).hexdigest()}\n\n")
    files["/Packages"] = index.encode()

    class Files(Handler):
        def do_GET(self):
            path = self.path.replace("/./", "/")
            if path in files:
                self.answer(files[path])
            else:
                self.send_error(404)

    apt = tmp_path / "apt"
    for name in "state/lists/partial", "cache/archives/partial":
        (apt / name).mkdir(parents=True)
    (apt / "sources.list").write_text(
        f"deb [trusted=yes] {http_origin(handler=Files).url()} ./\n")
    (apt / "status").write_text("")
    (apt / "config").write_text(f"""
        APT::Sandbox::User "{getpass.getuser()}";
        Dir::Etc::SourceList "{apt}/sources.list";
        Dir::Etc::SourceParts "-";
        Dir::State "{apt}/state";
        Dir::State::Status "{apt}/status";
        Dir::Cache "{apt}/cache";
        Acquire::http::Proxy "{kind}://127.0.0.1:{embedded.port}";
        """)
    for arguments in ["update"], ["install", "--download-only", "-y",
                                  *(f"some{i}" for i in range(PACKAGES))]:
        done = run("apt-get", *arguments, env={"APT_CONFIG": apt / "config"})
        assert done.returncode == 0, (done.stdout + done.stderr).decode()
    assert {path.read_bytes() for path in apt.glob("cache/archives/*.deb")} == \
        {data for path, data in files.items() if path.endswith(".deb")}
    assert embedded.wait_idle()["tunnels"]["failed"] == 0


SSHD = """
ListenAddress 127.0.0.1:{port}
HostKey {key}
AuthorizedKeysFile {key}.pub
PidFile none
UsePAM no
StrictModes no
"""


@pytest.fixture
def sshd(tmp_path):
    """The port of one that lets this user in with tmp_path / "key"."""
    key, config = tmp_path / "key", tmp_path / "sshd_config"
    assert run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
               key).returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    config.write_text(SSHD.format(port=port, key=key))
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    with subprocess.Popen([which("sshd"), "-D", "-e", "-f", config],
                          stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        assert "listening" in line, line
        yield port
        process.kill()


@with_programs("sshd", "nc")
@pytest.mark.parametrize("protocol", ["4", "5", "connect"])
def test_ssh(embedded, sshd, tmp_path, protocol):
    """By netcat's three proxy protocols: the bytes both ways, and the ends."""
    if "-X" not in run("nc", "-h").stderr.decode():
        pytest.skip("nc is not OpenBSD's")
    data = pattern(SIZE)
    done = run("ssh", "-F", "none", "-i", tmp_path / "key",
               "-o", f"ProxyCommand=nc -X {protocol} -x "
               f"127.0.0.1:{embedded.port} %h %p",
               "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
               "-o", "StrictHostKeyChecking=no", "-p", sshd,
               f"{getpass.getuser()}@127.0.0.1", "cat; exit 3", input=data)
    assert done.stdout == data, done.stderr.decode()
    assert done.returncode == 3
    assert embedded.wait_idle()["tunnels"]["total"] == 1


@with_programs("testssl")
@pytest.mark.skipif(not FULL, reason="takes a minute: make system-full")
def test_testssl(embedded, http_origin, ca):
    """Its CONNECT is of HTTP/1.0, and has bare line feeds."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca.good.cert, ca.good.key)
    server = http_origin(context=context)
    done = run("testssl", "--proxy", f"127.0.0.1:{embedded.port}", "--warnings",
               "off", "--color", "0", "--protocols",
               f"127.0.0.1:{server.port}", env={"TERM": "dumb"},
               deadline=5 * DEADLINE)
    text = done.stdout.decode()
    assert re.search(r"TLS 1\.3 +offered \(OK\)", text), text
    assert re.search(r"SSLv3 +not offered \(OK\)", text), text
    assert embedded.wait_idle()["tunnels"]["total"] > 1


IRSSI = r"""
settings = {{
  core = {{
    use_proxy = "yes";
    proxy_address = "127.0.0.1";
    proxy_port = "{port}";
    proxy_string = "CONNECT %s:%d HTTP/1.0\n\n";
  }};
}};
"""
IRC = {b"CAP LS": b":irc CAP * LS :\r\n",
       b"USER ": b":irc 001 nobody :welcome\r\n",
       b"QUIT": b"ERROR :bye\r\n"}


@with_programs("irssi")
def test_irssi(embedded, origin, tmp_path):
    """It ends its CONNECT with two bare line feeds, adds CR LF, and sends to
    the server without waiting for the tunnel."""
    heard = b""

    def serve(sock):
        nonlocal heard
        for word, answer in IRC.items():
            while word not in heard:
                heard += receive(sock, 1)
            sock.sendall(answer)

    server = origin(serve)
    (tmp_path / "config").write_text(IRSSI.format(port=embedded.port))
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("irssi", ["irssi", "--home", str(tmp_path),
                             "-c", "127.0.0.1", "-p", str(server.port),
                             "-n", "nobody"],
                   {**environment(), "TERM": "vt100"})
    try:
        screen = b""
        while b"welcome" not in screen:
            assert select.select([terminal], [], [], DEADLINE)[0], screen
            screen += os.read(terminal, 1 << 16)
        os.write(terminal, b"/quit\r")
        with contextlib.suppress(OSError):
            while os.read(terminal, 1 << 16):
                pass
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
    assert heard.startswith(b"\r\nCAP LS 302\r\n")
    assert not server.errors
