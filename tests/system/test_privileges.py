"""Privileges that root's daemon keeps once it serves."""

import contextlib
import ctypes
import errno
import os
import pwd
import re
import signal
import socket
from pathlib import Path

import pytest

from client import SUCCEEDED, USER, receive, socks5_connect, works
from daemon import DEADLINE, SAN, run, wait_until
from messages import CONNECTED, NOT_RELOADED, RELOADED
from test_reload import OTHER, crypted, reload, renew

pytestmark = pytest.mark.skipif(os.geteuid() != 0,
                                reason="only root has privileges to lose")

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_SETGID, CAP_SETUID = 1, 2, 6, 7
PR_CAPBSET_DROP = 24
LIBC = ctypes.CDLL(None)


def facts(pid):
    """The lines of /proc/PID/status, or of /proc/PID/task/TID/status."""
    text = Path(f"/proc/{pid}/status").read_text()
    return {name: value.strip() for name, value in
            (line.split(":", 1) for line in text.splitlines())}


def child_of(daemon):
    """The process that opens files for a daemon."""
    def parent(pid):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            return int(stat.rpartition(")")[2].split()[1])
        return None

    children = [int(pid) for pid in os.listdir("/proc") if pid.isdigit()
                and parent(pid) == daemon.pid]
    assert len(children) == 1
    return children[0]


@pytest.fixture
def start_edge(start_edge):
    """As that of all tests, when it has taken its last step."""
    def start_it(*flags, **options):
        edge = start_edge(*flags, **options)
        edge.wait_for(": ready")
        return edge

    return start_it


def default_user():
    """The user that root becomes by default."""
    for name in "culvert", "nobody":
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def expect_user(pid, user):
    has = facts(pid)
    assert has["Uid"].split() == 4 * [str(user.pw_uid)]
    assert has["Gid"].split() == 4 * [str(user.pw_gid)]
    assert has["Groups"] == ""
    for name in "CapEff", "CapPrm", "CapInh", "CapAmb":
        assert int(has[name], 16) == 0
    assert has["NoNewPrivs"] == "1"
    assert SAN or has["Seccomp"] == "2"


def groups():
    """Some that must not be left."""
    os.setgroups([0, 4, 42])


@pytest.mark.parametrize("program", ["culvert", "culvert-edge"])
def test_root_becomes_another(start_edge, start_culvert, origin, users,
                              program):
    """Every thread of it, also those that look up names and check passwords."""
    edge = start_edge("--users", users, preexec=groups)
    culvert = start_culvert(edge, "--user", ":".join(USER), preexec=groups)
    works(culvert, origin())
    daemon = edge if program == "culvert-edge" else culvert
    threads = os.listdir(f"/proc/{daemon.pid}/task")
    assert program == "culvert" or len(threads) > 1
    for thread in threads:
        expect_user(f"{daemon.pid}/task/{thread}", default_user())


@pytest.mark.parametrize("program", ["culvert", "culvert-edge"])
def test_the_child_that_opens_files_has_no_more_than_that(
        start_edge, start_culvert, program):
    edge = start_edge()
    daemon = edge if program == "culvert-edge" else start_culvert(edge)
    pid = child_of(daemon)
    has = wait_until(lambda: (found := facts(pid))["CapEff"] ==
                     found["CapPrm"] and int(found["CapEff"], 16) < 8 and
                     found, "its sandbox")
    assert has["Name"] == "culvert-privsep"
    # The local proxy removes its control socket at the end.
    allowed = 1 << CAP_DAC_READ_SEARCH | \
        (program == "culvert") << CAP_DAC_OVERRIDE
    assert int(has["CapEff"], 16) | allowed == allowed
    assert has["NoNewPrivs"] == "1"
    wait_until(lambda: SAN or facts(pid)["Seccomp"] == "2", "its filter")
    # Three times /dev/null, and its socket; none of the daemon's.
    links = sorted(os.readlink(f"/proc/{pid}/fd/{fd}")
                   for fd in os.listdir(f"/proc/{pid}/fd"))
    assert links[:3] == 3 * ["/dev/null"]
    assert len(links) == 4 and links[3].startswith("socket:")


@pytest.mark.parametrize("program", ["culvert", "culvert-edge"])
def test_open_files_are_not_inherited(start_edge, start_culvert, tmp_path,
                                      program):
    """Files in the home of root, who starts it, are not read."""
    path = tmp_path / "secret"
    path.write_text("of root")
    with open(path, "rb") as secret:
        options = {"stdin": secret, "pass_fds": (secret.fileno(),)}
        edge = start_edge(**(options if program == "culvert-edge" else {}))
        daemon = edge if program == "culvert-edge" \
            else start_culvert(edge, **options)
        assert [fd for fd in os.listdir(f"/proc/{daemon.pid}/fd")
                if os.readlink(f"/proc/{daemon.pid}/fd/{fd}")
                == str(path)] == []


# ---- The user ----

def test_run_as(start_edge):
    edge = start_edge("--run-as", "daemon")
    expect_user(edge.pid, pwd.getpwnam("daemon"))


def test_run_as_in_a_file(start, ca, tmp_path):
    path = tmp_path / "edge.conf"
    text = (f"[edge]\nlisten = 127.0.0.1:0\ncert = {ca.good.cert}\n"
            f"key = {ca.good.key}\nopen = yes\nrun-as = ")
    path.write_text(text + "daemon\n")
    edge = start("culvert-edge", "-f", path)
    edge.wait_for(": ready")
    expect_user(edge.pid, pwd.getpwnam("daemon"))
    renew(path, text + "nobody\n")
    reload(edge)
    edge.wait_for("warning: .*a change of 'run-as' requires a restart")
    expect_user(edge.pid, pwd.getpwnam("daemon"))


def test_run_as_root(start_edge, start_culvert, origin):
    """It is possible, and still there are no capabilities."""
    edge = start_edge("--run-as", "root")
    edge.wait_for("warning: running as root because of --run-as")
    has = facts(edge.pid)
    assert has["Uid"].split()[0] == "0"
    assert int(has["CapEff"], 16) == int(has["CapPrm"], 16) == 0
    assert SAN or has["Seccomp"] == "2"
    works(start_culvert(edge), origin())


def test_run_as_nobody_who_is_there():
    done = run("culvert", "--embedded-edge", "--run-as", "no-such-user", "-n")
    assert done.returncode == 2
    assert done.stderr == ("culvert: --run-as: the user 'no-such-user' does "
                           "not exist on this machine\n")


def become_nobody():
    user = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


@pytest.fixture
def open_dir(tmp_path_factory):
    """A directory of the user nobody that nobody can reach, too."""
    path = tmp_path_factory.mktemp("nobody")
    user = pwd.getpwnam("nobody")
    os.chown(path, user.pw_uid, user.pw_gid)
    for above in path, *path.parents[:3]:
        if above != Path("/tmp") and above.owner() in ("root", "nobody"):
            above.chmod(above.stat().st_mode | 0o011)
    return path


def test_no_root_stays_what_it_is(start, open_dir):
    culvert = start("culvert", "-l", "127.0.0.1:0", "--embedded-edge",
                    control=False, preexec=become_nobody,
                    env={"XDG_RUNTIME_DIR": str(open_dir)})
    culvert.wait_for("ready")
    expect_user(culvert.pid, pwd.getpwnam("nobody"))
    done = run("culvertctl", "--control",
               open_dir / "culvert" / "control.sock", "status")
    assert done.returncode == 0, done.stderr


def test_no_root_cannot_become_another(tmp_path):
    done = run("culvert", "--embedded-edge", "--run-as", "daemon",
               preexec=become_nobody)
    assert done.returncode == 2
    assert "--run-as: only root can switch to the user 'daemon'; start as " \
        "root or as that user" in done.stderr
    assert run("culvert", "--embedded-edge", "--run-as", "nobody", "-n",
               preexec=become_nobody).returncode == 0


def contained():
    """Root as in a container that may not change users."""
    for capability in CAP_SETGID, CAP_SETUID:
        assert LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0


def test_root_that_may_not_change_users(start_edge, start_culvert, origin):
    """All else holds; an option that was given is not left out."""
    edge = start_edge(preexec=contained)
    edge.wait_for(r"warning: running as root without capabilities: cannot "
                  r"switch to the user \w+ \(Operation not permitted\)")
    has = facts(edge.pid)
    assert int(has["CapEff"], 16) == int(has["CapPrm"], 16) == 0
    assert SAN or has["Seccomp"] == "2"
    works(start_culvert(edge), origin())
    done = run("culvert", "-l", "127.0.0.1:0", "--embedded-edge",
               "--run-as", "daemon", preexec=contained)
    assert done.returncode == 1
    assert "error: cannot switch to the user daemon: Operation not permitted" \
        in done.stderr


def without_landlock():
    """Root on a kernel of before Linux 5.13."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    allow, enosys = 0x7fff0000, 0x00050000 | errno.ENOSYS
    rules = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(allow)))
    call = library.seccomp_syscall_resolve_name(b"landlock_create_ruleset")
    assert library.seccomp_rule_add(rules, ctypes.c_uint32(enosys), call,
                                    0) == 0
    assert library.seccomp_load(rules) == 0


def test_what_the_kernel_lacks_is_a_warning(start_edge, start_culvert,
                                            origin):
    edge = start_edge(preexec=without_landlock)
    expect_user(edge.pid, default_user())
    assert len(re.findall("warning: ", edge.log)) == 1
    assert re.search(r"warning: Landlock is not available \(Function not "
                     r"implemented\), so access to files and to TCP is not "
                     r"restricted; it requires Linux 5.13", edge.log)
    works(start_culvert(edge), origin())
    reload(edge)
    assert RELOADED in edge.log


# ---- Files of root's ----

def private(path):
    assert path.stat().st_uid == 0
    path.chmod(0o600)
    return path


def test_files_of_root_are_found_again(start, start_culvert, ca, origin,
                                       tmp_path):
    """Replaced or rewritten, by a path that passes through a link."""
    server = origin()
    versions = [tmp_path / name for name in ("one", "two")]
    for version, pair in zip(versions, (ca.good, ca.untrusted)):
        version.mkdir(mode=0o700)
        for name in "cert", "key":
            copy = version / name
            copy.write_bytes(getattr(pair, name).read_bytes())
            private(copy)
    current = tmp_path / "current"
    current.symlink_to("one")
    users = tmp_path / "users"
    users.write_text(crypted(USER))
    path = tmp_path / "edge.conf"
    text = (f"[edge]\nlisten = 127.0.0.1:0\ncert = {current}/cert\n"
            f"key = {current}/key\nusers = {users}\n[policy]\n")
    path.write_text(text + "allow = 127.0.0.0/8\n")
    private(users), private(path)
    edge = start("culvert-edge", "-v", "-f", path)

    def serves(user, *trust):
        culvert = start_culvert(edge, "--user", ":".join(user), trust=trust)
        sock, code = socks5_connect(culvert.port, "127.0.0.1", server.port)
        sock.close()
        culvert.stop()
        return code == SUCCEEDED

    assert serves(USER, "--ca", ca.root.cert)
    renew(users, crypted(OTHER))
    private(users)
    beside = tmp_path / "beside"
    beside.symlink_to("two")
    beside.rename(current)
    reload(edge)
    assert serves(OTHER, "--pin", ca.untrusted.pin())
    assert not serves(USER, "--pin", ca.untrusted.pin())
    path.write_text(text)
    reload(edge)
    assert not serves(OTHER, "--pin", ca.untrusted.pin())
    assert NOT_RELOADED not in edge.log


def test_a_new_path_takes_a_restart(start, start_culvert, ca, origin,
                                    tmp_path):
    """Nothing that was not named at the start can be opened."""
    path, other = tmp_path / "edge.conf", tmp_path / "users"
    other.write_text(crypted(OTHER))
    text = (f"[edge]\nlisten = 127.0.0.1:0\ncert = {ca.good.cert}\n"
            f"key = {ca.good.key}\n")
    path.write_text(text + "open = yes\n[policy]\nallow = 127.0.0.0/8\n")
    edge = start("culvert-edge", "-f", path)
    culvert = start_culvert(edge)
    renew(path, f"{text}users = {other}\n[policy]\nallow = 127.0.0.0/8\n")
    reload(edge)
    edge.wait_for("error: nothing is reloaded: culvert-edge: --users: the file "
                  "cannot be read: it was not configured at the start")
    works(culvert, origin())


def test_self_signed_key_is_read_again(start, start_culvert, origin,
                                       tmp_path):
    """It is root's, made at the first start."""
    edge = start("culvert-edge", "--open", "--self-signed", "-l",
                 "127.0.0.1:0", "--allow", "127.0.0.0/8",
                 env={"STATE_DIRECTORY": str(tmp_path / "state")})
    pin = edge.wait_for(r"--pin (sha256//\S+)")[1]
    reload(edge)
    assert edge.wait_for(r"--pin (sha256//\S+)", 2)[1] == pin
    edge.wait_for(RELOADED)
    assert (tmp_path / "state" / "key.pem").stat().st_uid == 0
    works(start_culvert(edge, trust=("--pin", pin)), origin())


# ---- The child's life ----

def test_the_child_ignores_signals(start_edge, start_culvert, origin):
    """They are the daemon's; of a terminal, a whole group gets them."""
    edge = start_edge()
    child = child_of(edge)
    for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
        os.kill(child, number)
    reload(edge)
    assert RELOADED in edge.log
    works(start_culvert(edge), origin())


def test_the_child_is_missed(start_edge, start_culvert, origin):
    """Without it the daemon goes on, and says what it cannot do."""
    edge = start_edge()
    culvert = start_culvert(edge)
    os.kill(child_of(edge), signal.SIGKILL)
    reload(edge)
    edge.wait_for("nothing is reloaded: .*the child process that opens files "
                  "has died.*restart to recover")
    works(culvert, origin())


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_child_ends_with_the_daemon(start_edge, end):
    edge = start_edge()
    child = child_of(edge)
    if end == signal.SIGKILL:
        edge.kill()
        with contextlib.suppress(FileNotFoundError):
            wait_until(lambda: facts(child)["State"][0] in "ZX", "its end")
    else:
        edge.stop()
        # In order it waits for it, and leaves nothing to init.
        assert not Path(f"/proc/{child}").exists()


def test_an_abstract_notify_socket(start_edge):
    """It was opened before the sandbox, in which no path leads to one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = f"\0culvert-{os.getpid()}"
        sock.bind(name)
        sock.settimeout(DEADLINE)
        edge = start_edge(env={"NOTIFY_SOCKET": "@" + name[1:]})
        assert sock.recv(100) == b"READY=1"
        edge.terminate()
        assert sock.recv(100) == b"STOPPING=1"


# ---- Names ----

def test_names_are_looked_up(start, start_edge, ca, origin):
    """By threads that are in the sandbox, in files of the system's."""
    edge = start_edge()
    culvert = start("culvert", "-v", "-l", "127.0.0.1:0", "-e",
                    f"localhost:{edge.port}", "--pin", ca.good.pin())
    culvert.wait_for(CONNECTED)
    sock, code = socks5_connect(culvert.port, "localhost", origin().port)
    with sock:
        assert code == SUCCEEDED
        sock.sendall(b"there and back")
        assert receive(sock, 14) == b"there and back"
    assert not re.search("Permission denied|not implemented", culvert.log)
