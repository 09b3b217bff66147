"""The programs under test as processes: start, wait, query, stop."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import time

from messages import LISTENING

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CULVERT_BUILD", ROOT / "build")).resolve()

# The sanitizers' build is slower, and its memory is not the program's.
SAN = BUILD.name == "san"

# make system-full: tests that take minutes, too.
FULL = os.environ.get("CULVERT_TESTS") == "full"

# Seconds after which whatever is awaited counts as never happening.
DEADLINE = 120 if SAN or FULL else 60

SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=16",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}
REPORT = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:")


def wait_until(condition, what, deadline=DEADLINE):
    """Polls until condition() is true, and returns what it returned."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"never came true: {what}"
        time.sleep(0.01)


def environment():
    """The environment of a program: nothing in it names the user's own files.
    """
    kept = {name: value for name, value in os.environ.items()
            if name in ("PATH", "HOME", "LANG")}
    return {**kept, **SANITIZERS}


def run(program, *args, env=None, deadline=DEADLINE, preexec=None):
    """Runs one of the programs to its end: returncode, stdout, stderr."""
    return subprocess.run(
        [BUILD / program, *map(str, args)], capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=deadline, check=False,
        preexec_fn=preexec,
        env={**environment(), **(env or {})})


class Daemon:
    """A culvert or a culvert-edge, with its log in a file."""

    def __init__(self, program, directory, *args, preexec=None, env=None,
                 control=True, stdin=subprocess.DEVNULL, pass_fds=()):
        self.program = program
        self.control = directory / "c.sock"
        if program == "culvert" and control:
            args = ("--control", self.control, *args)
        self.path = directory / f"{program}.log"
        with open(self.path, "wb") as log:
            self.process = subprocess.Popen(
                [BUILD / program, *map(str, args)], stderr=log, stdout=log,
                stdin=stdin, preexec_fn=preexec, pass_fds=pass_fds,
                env={**environment(), **(env or {})})
        self.pid = self.process.pid
        self.killed = False
        try:
            self.port = int(self.wait_for(LISTENING)[1])
        except AssertionError:
            self.kill()
            raise

    @property
    def log(self):
        return self.path.read_text(errors="replace")

    def wait_for(self, pattern, count=1, deadline=DEADLINE):
        """Waits until the log holds `count` matches; returns the last."""
        expression = re.compile(pattern)
        end = time.monotonic() + deadline
        while True:
            over = self.process.poll() is not None
            found = list(expression.finditer(self.log))
            if len(found) >= count:
                return found[count - 1]
            assert not over, f"{self.program} has ended:\n{self.log}"
            assert time.monotonic() < end, \
                f"no {count} × {pattern!r} in the log:\n{self.log[-4000:]}"
            time.sleep(0.005)

    # ---- The control socket ----

    def ctl(self, command, *args):
        """The output of culvertctl --json, as an object."""
        done = run("culvertctl", "--control", self.control, "--json",
                   command, *args)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def status(self):
        return self.ctl("status")

    def wait_status(self, condition, what):
        """Waits until condition(status) holds; returns that status."""
        seen = {}

        def holds():
            seen.update(self.status())
            return condition(seen) and seen

        try:
            return wait_until(holds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}: {seen}") from None

    def wait_idle(self):
        """Waits until no client is left."""
        return self.wait_status(lambda s: s["tunnels"]["open"] == 0,
                                "no open tunnels")

    # ---- The process ----

    def fds(self):
        """Open descriptors; None when they are hidden from us."""
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        except PermissionError:
            return None

    def limit_files(self, most):
        """How many it may have open; returns how many that were before."""
        limits = pathlib.Path(f"/proc/{self.pid}/limits").read_text()
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        user, group = (int(re.search(rf"^{name}:\s+(\d+)", status, re.M)[1])
                       for name in ("Uid", "Gid"))
        # Root may change those of its own processes alone in a container.
        become = {"user": user, "group": group, "extra_groups": []} \
            if os.geteuid() == 0 else {}
        subprocess.run(["prlimit", f"--pid={self.pid}", f"--nofile={most}:"],
                       check=True, timeout=DEADLINE, **become)
        return int(re.search(r"^Max open files +(\d+)", limits, re.M)[1])

    def rss(self):
        """Bytes in memory."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])

    def cpu(self):
        """Seconds of processor time so far."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @contextlib.contextmanager
    def halted(self):
        """Stops it with SIGSTOP; afterwards it has all events at once."""
        def state():
            with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
                return stat.read().rpartition(")")[2].split()[0]

        self.process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: state() == "T", "it stands still")
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self):
        """Waits for an orderly end."""
        status = self.process.wait(DEADLINE)
        assert not REPORT.search(self.log), self.log
        assert status == 0, f"exit status {status}:\n{self.log[-4000:]}"

    def kill(self):
        """SIGKILL, for tests of the other side."""
        self.killed = True
        self.process.kill()
        self.process.wait(DEADLINE)

    def stop(self):
        """The end of every test: no program may have died, crashed or leaked.
        """
        if self.killed:
            return
        if self.process.poll() is None:
            self.terminate()
        self.killed = True
        try:
            self.wait()
        finally:
            self.process.kill()
            self.process.wait(DEADLINE)
