"""Hardening by the compiler and the linker."""

import os
import platform
import re
import shutil
import subprocess

import pytest

from daemon import BUILD, ROOT, SAN

PROGRAMS = ("culvert", "culvert-edge", "culvertctl")

# Where functions that overflow a buffer are caught (_FORTIFY_SOURCE).
CHECKED = re.compile(r"UND __\w+_chk@")

needs_readelf = pytest.mark.skipif(shutil.which("readelf") is None,
                                   reason="there is no readelf")
x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "i686"),
                         reason="that is a feature of x86 alone")


def readelf(*args):
    done = subprocess.run(["readelf", "-W", *map(str, args)], check=True,
                          capture_output=True, text=True, timeout=60)
    return done.stdout


def row(text, name):
    """The line of a table that has this name in it."""
    return next((line for line in text.splitlines() if name in line), "")


@needs_readelf
@pytest.mark.parametrize("program", PROGRAMS)
def test_programs(program):
    path = BUILD / program
    dynamic = readelf("-d", path)
    segments = readelf("-l", path)
    symbols = readelf("--dyn-syms", path)
    assert "DYN" in row(readelf("-h", path), "Type:")
    assert " PIE" in row(dynamic, "(FLAGS_1)")
    assert " NOW" in row(dynamic, "(FLAGS_1)")
    assert "BIND_NOW" in row(dynamic, "(FLAGS)")
    assert "(TEXTREL)" not in dynamic
    assert "GNU_RELRO" in segments
    assert " RW " in row(segments, "GNU_STACK")
    assert not re.search(r"LOAD.* RWE ", segments)
    assert "__stack_chk_fail" in symbols
    assert SAN or CHECKED.search(symbols)


@needs_readelf
@x86
def test_control_flow():
    """Every object can have its branches and returns checked (CET); the
    programs say so where the C library's own start does."""
    objects = [*BUILD.glob("proxy/**/*.o"), *BUILD.glob("quic/*.o")]
    assert objects
    for path in objects:
        assert "IBT, SHSTK" in readelf("-n", path), path
    start = subprocess.run(["cc", "-print-file-name=crti.o"], check=True,
                           capture_output=True, text=True, timeout=60).stdout
    if "IBT, SHSTK" not in readelf("-n", start.strip()):
        return
    for program in PROGRAMS:
        assert "IBT, SHSTK" in readelf("-n", BUILD / program)


# ---- Flags of builders ----

def commands(tmp_path, target, *assignments, **env):
    """How make would make a target that is not there."""
    kept = {name: value for name, value in os.environ.items()
            if name in ("PATH", "HOME")}
    done = subprocess.run(
        ["make", "-n", f"BUILD={tmp_path}", *assignments,
         target.format(tmp_path)], cwd=ROOT, env={**kept, **env}, check=True,
        capture_output=True, text=True, timeout=120)
    return [line for line in done.stdout.splitlines() if " -o " in line]


@pytest.mark.parametrize("by", ["environment", "command line"])
def test_flags_of_the_builder(tmp_path, by):
    """They come last, and the build's own flags stay."""
    flags = {"CPPFLAGS": "-DTHEIRS", "CFLAGS": "-O1 -fno-stack-protector",
             "LDFLAGS": "-Wl,-z,lazy"}
    given = ([f"{name}={value}" for name, value in flags.items()],
             flags)[by == "environment"]
    args, env = ((), given) if by == "environment" else (given, {})
    *compiled, linked = commands(tmp_path, "{}/culvertctl", *args, **env)
    for line in compiled:
        assert "-D_GNU_SOURCE" in line and " -I. " in line
        assert " -DTHEIRS " in line and " -O2 " not in line
        assert (line.index("-fstack-protector-strong") <
                line.index("-fno-stack-protector"))
        assert "-D_FORTIFY_SOURCE=" in line
    assert linked.index("-z,now") < linked.index("-z,lazy")
    assert " -pie " in linked


@pytest.mark.parametrize("flags", [
    {"CFLAGS": "-O0 -g"}, {"CFLAGS": "-g"}, {"CFLAGS": "-O2 -O0"},
    {"SAN": "1"}, {"CFLAGS": "-O2 -D_FORTIFY_SOURCE=2"},
    {"CPPFLAGS": "-D_FORTIFY_SOURCE=2"}],
    ids=lambda flags: " ".join(map("=".join, flags.items())))
def test_fortified_only_where_it_works(tmp_path, flags):
    """It takes optimization, upsets sanitizers, and is said once."""
    line, = commands(tmp_path, "{}/proxy/base/log.o", **flags)
    assert "-D_FORTIFY_SOURCE=3" not in line
    assert line.count("_FORTIFY_SOURCE") == " ".join(
        flags.values()).count("_FORTIFY_SOURCE")


def test_other_flags_make_other_objects(tmp_path):
    """A build that is there already is not taken for a hardened one."""
    source = tmp_path / "flags"
    for flags, made in (("-O2", True), ("-O2", False), ("-O1", True)):
        before = source.read_text() if source.exists() else None
        subprocess.run(["make", "-s", f"BUILD={tmp_path}", source,
                        f"CFLAGS={flags}"], cwd=ROOT, check=True, timeout=120)
        assert (source.read_text() != before) == made


def test_compilers_without_them(tmp_path):
    """Flags that the compiler does not support are left out."""
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\nfor arg; do case $arg in '
                        '-fcf-protection|*SOURCE=3) exit 1;; esac; done\n'
                        'exec cc "$@"\n')
    compiler.chmod(0o755)
    line, = commands(tmp_path, "{}/proxy/base/log.o", f"CC={compiler}")
    assert "-fcf-protection" not in line
    assert "-D_FORTIFY_SOURCE=2" in line
    assert "-fstack-protector-strong" in line
