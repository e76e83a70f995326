# SPDX-License-Identifier: Apache-2.0
"""e2e/test_confine - what COMMAND cannot do to processes, terminals and kernel objects outside"""

import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from harness import BINARY, PATIENCE, descendants, process_table, python, wait_for
from tools import Roles

# tries to stop or end processes in every way there is; argv: pids
SIGNAL = """
import ctypes, os, resource, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
for pid in map(int, sys.argv[1:]):
    done = []
    for sig in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
        for name, call in (('kill', lambda: os.kill(pid, sig)), ('group', lambda: os.killpg(os.getpgid(pid), sig)),
                           ('pidfd', lambda: signal.pidfd_send_signal(os.pidfd_open(pid), sig)),
                           ('thread', lambda: libc.syscall(234, pid, pid, sig) < 0 and 1 / 0)):
            if name == 'group' and os.getpgid(pid) == os.getpgrp():
                continue  # which would be ourselves
            try:
                call()
                done.append(f'{name} {sig}')
            except (OSError, ZeroDivisionError):
                pass
    try:
        resource.prlimit(pid, resource.RLIMIT_CPU, (0, 0))  # SIGKILL before long
        done.append('limit')
    except OSError:
        pass
    print(done, flush=True)
"""


@pytest.fixture
def keeps_signals(nswrap):
    checks = json.loads(nswrap.run("doctor", "--json").stdout)
    if next(check for check in checks if check["check"] == "signals")["state"] != "fine":
        pytest.skip("this kernel has no Landlock signal scope")


def read_pids(*options, program=SIGNAL):
    """The words of a sandbox whose COMMAND runs @program on the pids that are written to its stdin."""
    return [*options, "--", "sh", "-c", 'read pids; exec "$@" $pids', "sh", *python(program)]


@pytest.mark.usefixtures("keeps_signals")
@pytest.mark.parametrize("options", [[], ["--root"], ["--new-session"]], ids=["plain", "root", "session"])
def test_command_cannot_signal_its_guards(nswrap, options):
    running = nswrap.start(*read_pids(*options, "-p", 0, "-P", 7000), stdin=subprocess.PIPE)
    running.wait_event("started")
    roles = Roles(running)
    with subprocess.Popen(["sleep", "60"]) as other:
        pids = [roles.supervisor, roles.init, roles.net, other.pid]
        running.stdin.write(f"{' '.join(map(str, pids))}\n".encode())
        running.stdin.flush()
        try:
            assert [running.read_line() for _ in pids] == ["[]"] * len(pids)
        finally:
            other.kill()
    assert running.wait() == 0


@pytest.mark.usefixtures("keeps_signals")
def test_the_whole_group_is_not_its_guards(nswrap):
    """kill(0) reaches COMMAND's own processes, and not the supervisor, which is in its group."""
    running = nswrap.start("-q", "--", "sh", "-c", "trap '' TERM; kill -TERM 0; echo on; kill -KILL 0")
    assert running.read_line() == "on"
    assert running.wait() == 128 + signal.SIGKILL


@pytest.mark.parametrize("options", [[], ["--pid"], ["--root"]], ids=["plain", "pid", "root"])
def test_own_children_can_be_signalled(nswrap, options):
    result = nswrap.run("-q", *options, "-c", "sleep 60 & kill -STOP $!; kill -CONT $!; kill $!; wait $!; echo $?")
    assert result.stdout == b"143\n"


@pytest.mark.parametrize("inner", [
    [BINARY, "-q", "-p", "0", "-P", "80", "--", "sh", "-c", "kill -0 $$ && echo in"],
    [BINARY, "-q", "--pid", "--", "sh", "-c", "kill -0 $$ && echo in"],
    [BINARY, "-q", "--network", "none", "--root", "--", "sh", "-c", "kill -0 $$ && echo in"],
    ["unshare", "-Urmpf", "--mount-proc", "sh", "-c", "kill -0 $$ && echo in"],
    ["prlimit", "--nofile=64", "sh", "-c", "ulimit -c 0; kill -0 $$ && [ $(ulimit -n) = 64 ] && echo in"],
    ["timeout", "5", "sh", "-c", "kill -0 $$ && echo in"],
    ["setsid", "-w", "bash", "-c", "set -m; sleep 9 & kill %1; wait %1; echo in"],
], ids=["nswrap", "nswrap-pid", "nswrap-root", "unshare", "limits", "timeout", "job"])
@pytest.mark.parametrize("options", [[], ["--pid"]], ids=["plain", "pid"])
def test_what_programs_do_inside(nswrap, options, inner):
    """Sandboxes in sandboxes, and what ends its own children."""
    result = nswrap.run("-q", *options, "--", *inner)
    assert result.stdout == b"in\n", result.stderr


@pytest.mark.parametrize("options", [[], ["--pid"]], ids=["plain", "pid"])
def test_a_shell_of_exec_signals_what_runs_inside(nswrap, options):
    running = nswrap.start("-q", *options, "-n", "box", "--", "sh", "-c",
                           "sleep 300 & echo $!; wait $!; echo $?; exec sleep 300")
    inner = running.read_line()
    assert nswrap.run("exec", "box", "prlimit", "--pid", inner, "--core=0:0").returncode == 0
    assert nswrap.run("exec", "box", "kill", inner).returncode == 0
    assert running.read_line() == "143"


@pytest.mark.usefixtures("keeps_signals")
def test_command_beside_an_agent_cannot_signal_it(nswrap, short_dir):
    """COMMAND of `-c CMD agent` may know the pids of its agent and the stack, and reaches neither."""
    pids = pathlib.Path(short_dir, "pids")
    script = (f"until [ -e {pids} ]; do sleep 0.05; done; for p in $(cat {pids}); do "
              "kill -STOP $p 2>/dev/null && echo reached; echo tried; done >&2; sleep 60")
    popen = nswrap.popen("-q", "--network", "none", "-c", script, "agent", stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def own():
        names = {pid: name for pid, (_, _, name) in process_table().items() if name.startswith("nswrap: ")}
        found = [pid for pid in descendants(popen.pid) if pid in names]
        return found if {"nswrap: init", "nswrap: agent", "nswrap: stack"} <= {names[p] for p in found} else None

    found = wait_for(own, "all processes")
    pids.with_suffix(".new").write_text(" ".join(map(str, found)))
    pids.with_suffix(".new").rename(pids)
    tried = [popen.stderr.readline() for _ in found]
    popen.stdin.close()
    popen.wait(20 * PATIENCE)
    assert tried == [b"tried\n"] * len(found)


# --- kernel objects --------------------------------------------------------------------------------------

OBJECTS = """
import ctypes, errno, fcntl, socket, termios
libc = ctypes.CDLL(None, use_errno=True)
def says(call):
    try:
        call()
        return 'open'
    except OSError as error:
        return errno.errorcode[error.errno]
def rings():
    if libc.syscall(425, 4, 0) < 0:
        raise OSError(ctypes.get_errno(), '')
print(says(lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)),
      says(lambda: fcntl.ioctl(0, termios.TIOCSTI, b'!')), says(rings))
"""


@pytest.mark.parametrize("options, rings", [(["--network", "none"], "EPERM"), ([], "EFAULT"), (["--root"], "EFAULT")],
                         ids=["none", "plain", "root"])
@pytest.mark.parametrize("by_exec", [False, True], ids=["command", "exec"])
def test_kernel_objects(nswrap, options, rings, by_exec):
    if not by_exec:
        result = nswrap.run("-q", *options, "--", *python(OBJECTS))
    else:
        nswrap.start("-q", *options, "-n", "box", "sleep", 60).wait_event("started")
        result = nswrap.run("exec", "box", *python(OBJECTS))
    assert result.stdout.decode().split() == ["EAFNOSUPPORT", "EPERM", rings], result.stderr


def ipc_of(nswrap, *words):
    return nswrap.run(*words, "readlink", "/proc/self/ns/ipc").stdout


def test_ipc(nswrap):
    """With --pid the objects of SysV IPC and message queues are the sandbox's, and go with it."""
    outside = os.readlink("/proc/self/ns/ipc").encode() + b"\n"
    assert ipc_of(nswrap, "-q", "--") == outside
    nswrap.start("-q", "--pid", "-n", "box", "sleep", 60).wait_event("started")
    inside = ipc_of(nswrap, "exec", "box")
    assert inside and inside != outside
    if os.path.isdir("/dev/mqueue"):
        shown = nswrap.run("exec", "box", "stat", "-fc", "%T", "/dev/mqueue").stdout
        assert shown == b"mqueue\n"
        assert nswrap.run("exec", "box", "stat", "-c", "%d", "/dev/mqueue").stdout != \
            f"{os.stat('/dev/mqueue').st_dev}\n".encode()


KEYRING = "import ctypes; print(ctypes.CDLL(None).syscall(250, 0, -3, 0))"


@pytest.mark.parametrize("options", [[], ["--pid"], ["--root"]], ids=["plain", "pid", "root"])
def test_session_keyring(nswrap, options):
    """COMMAND does not have the keys of the caller's session."""
    prefix = ["keyctl", "session", "-"] if shutil.which("keyctl") else []
    join = ("import ctypes, os, sys; libc = ctypes.CDLL(None); libc.syscall(250, 1, 0); "
            "print(libc.syscall(250, 0, -3, 0), flush=True); os.execvp(sys.argv[1], sys.argv[1:])")
    line = [*prefix, *python(join), BINARY, "-q", *options, "--", *python(KEYRING)]
    outside, inside = subprocess.run(line, capture_output=True, check=True, env=nswrap.env).stdout.split()
    if int(outside) < 0:
        pytest.skip("no keyrings here")
    assert int(inside) > 0 and inside != outside


# links the keyrings of users that it sees to its own session's, and prints what a key then says; argv: the key
LINK_KEYS = """
import ctypes, sys
libc = ctypes.CDLL(None)
keys = [line.split() for line in open('/proc/keys')]
libc.syscall(250, 1, 0)  # a session keyring of its own
for serial, name in [(int(key[0], 16), key[8]) for key in keys]:
    if name.startswith(('_uid.', '_persistent.')):
        libc.syscall(250, 8, serial, -3)  # KEYCTL_LINK
        libc.syscall(250, 30, serial, -5, -3, 0)  # KEYCTL_MOVE
said = ctypes.create_string_buffer(99)
libc.syscall(250, 11, int(sys.argv[1]), said, 99)  # KEYCTL_READ
print('said', said.value.decode())
"""


@pytest.mark.parametrize("options", [[], ["--root"], ["--pid"]], ids=["plain", "root", "pid"])
def test_keys_of_the_user(nswrap, options):
    """COMMAND does not get hold of the keys in the user's keyring (@u)."""
    libc = ctypes.CDLL(None)
    name = f"nswrap-test {os.getpid()} {options}".encode()  # one of its own: tests run side by side
    key = libc.syscall(248, b"user", name, b"secret", ctypes.c_long(6), ctypes.c_long(-4))
    if key < 0:
        pytest.skip("no keyrings here")
    try:
        looks = python(LINK_KEYS, key)
        assert subprocess.run(looks, capture_output=True, check=True).stdout == b"said secret\n"
        assert nswrap.run("-q", *options, "--", *looks).stdout == b"said \n"
    finally:
        libc.syscall(250, 9, key, ctypes.c_long(-4))  # KEYCTL_UNLINK
