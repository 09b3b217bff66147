"""Which room of the tree may use which: the includes of its files, and the
symbols that its objects leave to others. `make layers` runs it.

    tests/layers.py BUILD       the directory with an archive of each room
"""

import pathlib
import re
import subprocess
import sys

# A room: where its files are, and the rooms that it may use.
ROOMS = {
    "quic": ("quic", ()),
    "io": ("quic", ("quic",)),
    "base": ("proxy/base", ("quic",)),
    "http1": ("proxy/http1", ("base",)),
    "config": ("proxy/config", ("base", "http1", "quic")),
    "control": ("proxy/control", ("base", "http1")),
    "relay": ("proxy", ("base",)),
    "outbound": ("proxy/local/outbound", ("base",)),
    "upstream": ("proxy/local/upstream", ("base", "outbound", "io", "quic")),
    "http": ("proxy/local/http", ("base", "http1", "outbound")),
    "local": ("proxy/local", ("base", "http1", "config", "control", "relay",
                              "outbound", "upstream", "http")),
    "edge": ("proxy/edge", ("base", "relay", "io", "quic")),
}

# These use all rooms, and no room uses them.
PROGRAMS = {"culvert.c", "culvert-edge.c", "culvertctl.c", "daemon.c",
            "daemon.h"}


def room_of(path):
    """The room of a file, or None: it is a program's."""
    path = pathlib.PurePath(path)
    if str(path.parent) == "quic":
        return "io" if path.stem in ("io", "socket") else "quic"
    if str(path.parent) == "proxy":
        return None if path.name in PROGRAMS else "relay"
    return next(room for room, (folder, _) in ROOMS.items()
                if folder == str(path.parent))


def uses(room, other):
    return other == room or other in ROOMS[room][1]


def includes():
    """Sentences about files that include what they may not."""
    for path in sorted([*pathlib.Path("quic").glob("*.[ch]"),
                        *pathlib.Path("proxy").rglob("*.[ch]")]):
        room = room_of(path)
        if room is None:
            continue
        for name in re.findall(r'^#include "(.*)"', path.read_text(), re.M):
            other = room_of(name)
            if other is None or not uses(room, other):
                yield (f"{path} includes {name}, but {room} may not use "
                       f"{other or 'a program'}")


def symbols(archive, which):
    out = subprocess.run(["nm", "-P", "-g", which, archive], check=True,
                         capture_output=True, text=True).stdout
    return {line.split()[0] for line in out.splitlines() if " " in line}


def calls(build):
    """Sentences about symbols that a room takes from where it may not."""
    archives = {room: build / f"{room}.a" for room in ROOMS}
    owner = {symbol: room for room, archive in archives.items()
             for symbol in symbols(archive, "--defined-only")}
    for room, archive in archives.items():
        for symbol in sorted(symbols(archive, "--undefined-only")):
            other = owner.get(symbol, room)
            if not uses(room, other):
                yield f"{room} calls {symbol}(), but may not use {other}"


def main():
    wrong = [*includes(), *calls(pathlib.Path(sys.argv[1]))]
    for sentence in wrong:
        print(f"layers: {sentence}", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"layers: {len(ROOMS)} rooms, and every arrow as it may be")


if __name__ == "__main__":
    main()
