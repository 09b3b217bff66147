"""The proxies that are measured, each with its far side where it has one."""

import dataclasses
import getpass
import json
import os
import pathlib
import subprocess

from world import BENCH, BUILD, Missing, free_port, last_line, need, run

SOURCES = pathlib.Path(__file__).parent / "peers"
GOPATH = pathlib.Path("/usr/share/gocode")

GCM = "aes128-gcm@openssh.com"
PASSWORD = "culvert"  # of shadowsocks, on addresses of this machine
STREAMS = 20000  # that the Go edge grants: the idle tunnels at once

SSHD = """\
ListenAddress {address}:{port}
HostKey {key}
AuthorizedKeysFile {key}.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
Ciphers {ciphers}
ClientAliveInterval 10
ClientAliveCountMax 2
"""


@dataclasses.dataclass
class Proxy:
    """A proxy that runs; without an address, the direct path."""

    address: str = None
    processes: dict = dataclasses.field(default_factory=dict)
    early: bool = True  # it keeps data that clients send before its response
    files: int = 1  # that the hungriest of the processes has for a tunnel
    control: os.PathLike = None

    def cpu(self):
        return sum(process.cpu() for process in self.processes.values())

    def status(self):
        done = run(BUILD / "culvertctl", "--control", self.control, "--json",
                   "status")
        return json.loads(done)


@dataclasses.dataclass
class Peer:
    """A name, how it is started in a world, and whom it is compared with."""

    name: str
    start: object  # start(world) → Proxy
    base: str = "direct"


def direct(_world):
    return Proxy()


def microsocks(world):
    """On the far side, for there is only one."""
    port = free_port()
    process = world.spawn(world.far, need("microsocks"), "-i",
                          world.far.address, "-p", port)
    process.wait_listening(port)
    return Proxy(f"{world.far.address}:{port}", {"microsocks": process},
                 early=False, files=2)


def ssh(world):
    port, listen = free_port(), free_port()
    key = world.directory / "ssh.key"
    run(need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", key)
    config = world.directory / "sshd_config"
    config.write_text(SSHD.format(address=world.far.address, port=port,
                                  key=key, ciphers=GCM))
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    server = world.spawn(world.far, need("sshd"), "-D", "-e", "-f", config)
    server.wait_listening(port)
    client = world.spawn(
        world.near, need("ssh"), "-F", "none", "-N", "-D",
        f"127.0.0.1:{listen}", "-p", port, "-i", key, "-c", GCM,
        "-o", "UserKnownHostsFile=/dev/null",
        "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes",
        f"{getpass.getuser()}@{world.far.address}")
    client.wait_listening(listen)
    return Proxy(f"127.0.0.1:{listen}", {"ssh": client, "sshd": server})


def shadowsocks(world):
    port, listen = free_port(), free_port()
    both = ("-s", world.far.address, "-p", port, "-k", PASSWORD,
            "-m", "aes-128-gcm")
    server = world.spawn(world.far, need("ss-server"), *both)
    server.wait_listening(port)
    client = world.spawn(world.near, need("ss-local"), *both, "-b",
                         "127.0.0.1", "-l", listen)
    client.wait_listening(listen)
    return Proxy(f"127.0.0.1:{listen}",
                 {"ss-local": client, "ss-server": server}, files=2)


def start_culvert(world, pair, port, edge, *flags):
    """The near half; `edge` is the process of the far one."""
    listen = free_port()
    control = world.directory / f"{listen}.sock"
    local = world.spawn(
        world.near, BUILD / "culvert", "-q", "-l", f"127.0.0.1:{listen}",
        "-e", f"{world.far.address}:{port}", "--pin", pair.pin(),
        "--control", control, *flags)
    local.wait_listening(listen)
    return Proxy(f"127.0.0.1:{listen}",
                 {"culvert": local, "edge": edge}, control=control)


def culvert(pair, cc, mtu=1500):
    """culvert with culvert-edge; `mtu` is the most that either may send."""
    flags = ("--cc", cc, "--mtu-max", mtu)

    def start(world):
        port = free_port()
        edge = world.spawn(
            world.far, BUILD / "culvert-edge", "-l",
            f"{world.far.address}:{port}", "--cert", pair.cert, "--key",
            pair.key, "--open", "--allow", "127.0.0.0/8", "--allow",
            "10.0.0.0/8", *flags)
        edge.wait_line("listening on")
        return start_culvert(world, pair, port, edge, *flags)

    return start


def build_go_edge():
    """Builds the strangers' edge that the system tests have: its path."""
    need("go")
    try:
        from quic_go import build
        return build("edge", BENCH)
    except (ImportError, OSError, subprocess.SubprocessError) as error:
        raise Missing(f"the Go edge: {error}") from None
    except AssertionError as error:
        raise Missing(f"the Go edge: {last_line(str(error))}") from None


def newest_go():
    """Debian 12 has one from backports beside its own."""
    found = [path.parents[1] for path in
             pathlib.Path("/usr/lib").glob("go-*/bin/go")]
    if not found:
        return need("go")
    version = max(found, key=lambda path: [
        int(part) for part in path.name.removeprefix("go-").split(".")])
    return version / "bin/go"


def build_wireguard():
    """Builds the proxy of a TCP stack in user space and WireGuard: its path."""
    for package, part in (
            ("golang-golang.zx2c4-wireguard-dev", "golang.zx2c4.com/wireguard"),
            ("golang-gvisor-gvisor-dev", "gvisor.dev/gvisor")):
        if not (GOPATH / "src" / part).exists():
            raise Missing(f"{package} is not installed")
    env = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GOPATH)}
    if not os.access(env.get("HOME", ""), os.W_OK):
        env["GOCACHE"] = str(BENCH / "cache")
    path = BENCH / "wireguard"
    done = subprocess.run([newest_go(), "build", "-o", path, "."],
                          cwd=SOURCES / "wireguard", env=env,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Missing("gVisor with WireGuard: it does not build: "
                      f"{last_line(done.stderr)}")
    return path


def wireguard(path):
    """SOCKS, TCP in user space, WireGuard. A path that is an exception is why
    there is none."""

    def start(world):
        if isinstance(path, Missing):
            raise path
        port, listen = free_port(), free_port()
        edge = world.spawn(world.far, path, "-port", port)
        edge.wait_line("listening")
        local = world.spawn(world.near, path, "-listen", f"127.0.0.1:{listen}",
                            "-edge", f"{world.far.address}:{port}")
        local.wait_listening(listen)
        return Proxy(f"127.0.0.1:{listen}",
                     {"wireguard": local, "wireguard edge": edge})

    return start


def go_edge(pair, path, cc):
    """culvert with an edge on quic-go. A path that is an exception is why
    there is none."""

    def start(world):
        if isinstance(path, Missing):
            raise path
        port = free_port()
        edge = world.spawn(world.far, path, "-listen",
                           f"{world.far.address}:{port}", "-cert", pair.cert,
                           "-key", pair.key, "-max-streams", STREAMS)
        edge.wait_line("listening")
        return start_culvert(world, pair, port, edge, "--cc", cc)

    return start
