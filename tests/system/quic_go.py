"""The peers under peers/, which are built with whichever quic-go there is."""

import json
import os
import pathlib
import re
import subprocess
import threading

from daemon import environment, wait_until

SOURCES = pathlib.Path(__file__).parent / "peers"
GOPATH = pathlib.Path("/usr/share/gocode")
GITHUB = GOPATH / "src/github.com"
IS_NEWER = (GITHUB / "quic-go/quic-go").exists()

# From Debian 13 on quic-go has a new name and a newer interface.
NEWER = [
    ("lucas-clemente/quic-go", "quic-go/quic-go"),
    ("http3.RoundTripper", "http3.Transport"),
    ("QuicConfig:", "QUICConfig:"),
    ("quic.VersionNumber", "quic.Version"),
    ("r.Body.(http3.HTTPStreamer)", "w.(http3.HTTPStreamer)"),
]

# quic-go has no setting for this: it advertises a max_udp_payload_size of 1452
# and has buffers of that size. These replace the text in its files.
CHOSEN = {
    "internal/wire/transport_parameters.go": [
        (r"(maxUDPPayloadSizeParameterID, )uint64\(.*\)(\))",
         r"\1chosenMaxUDPPayloadSize()\2")],
    "internal/protocol/protocol.go": [
        (r"(const MaxPacketBufferSize .*= )1452", r"\g<1>2048")],
}
CHOSEN_SIZE = """package wire

import (
	"os"
	"strconv"
)

func chosenMaxUDPPayloadSize() uint64 {
	if size, err := strconv.Atoi(os.Getenv("MAX_UDP_PAYLOAD_SIZE")); err == nil {
		return uint64(size)
	}
	return 1452
}
"""

# Seconds: with an empty cache Go compiles its own library too.
BUILD_DEADLINE = 600


def overlay(directory):
    """A file for go build -overlay: CHOSEN is done to copies of quic-go's."""
    library = GITHUB / ("quic-go" if IS_NEWER else "lucas-clemente") / "quic-go"
    replaced = {library / "internal/wire/chosen.go": CHOSEN_SIZE}
    for name, changes in CHOSEN.items():
        text = (library / name).read_text()
        for old, new in changes:
            text, count = re.subn(old, new, text)
            assert count == 1, f"{old} in quic-go's {name}"
        replaced[library / name] = text
    for path, text in replaced.items():
        (directory / path.name).write_text(text)
    path = directory / "overlay.json"
    path.write_text(json.dumps({"Replace": {
        str(path): str(directory / path.name) for path in replaced}}))
    return path


def build(name, directory, *flags):
    text = (SOURCES / name / "main.go").read_text()
    if IS_NEWER:
        for old, new in NEWER:
            text = text.replace(old, new)
    (directory / f"{name}.go").write_text(text)
    env = {**environment(), "GO111MODULE": "off", "GOPATH": str(GOPATH)}
    if not os.access(env.get("HOME", ""), os.W_OK):
        env["GOCACHE"] = str(directory / "cache")
    done = subprocess.run(
        ["go", "build", *flags, "-o", name, f"{name}.go"], cwd=directory,
        env=env, capture_output=True, text=True, timeout=BUILD_DEADLINE,
        check=False)
    assert done.returncode == 0, done.stderr
    return directory / name


def build_all(directory):
    """The programs, by name."""
    changed = directory / "changed"
    changed.mkdir()
    return {"edge": build("edge", directory),
            "client": build("client", directory),
            "scripted": build("scripted", directory, "-overlay",
                              overlay(changed))}


class Scripted:
    """An edge that obeys a script: see its source."""

    def __init__(self, program, pair, server, *flags,
                 max_udp_payload_size=1452):
        self.events = []
        self.process = subprocess.Popen(
            [program, "-cert", pair.cert, "-key", pair.key, "-target",
             f"127.0.0.1:{server.port}", *map(str, flags)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**environment(),
                 "MAX_UDP_PAYLOAD_SIZE": str(max_udp_payload_size)})
        line = self.process.stdout.readline()
        self.port = int(re.fullmatch(r"listening \S+:(\d+)\n", line)[1])
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.events.append(line.strip())

    def command(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def wait_for(self, *words):
        """The first event that begins so."""
        wanted = " ".join(map(str, words))
        return wait_until(
            lambda: next((event for event in self.events
                          if f"{event} ".startswith(f"{wanted} ")), None),
            f"{wanted} among {self.events}")

    def close(self):
        with self.process:
            self.process.kill()
