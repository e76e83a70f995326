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
                           ('thread', lambda: libc.tgkill(pid, pid, sig) < 0 and 1 / 0)):
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


# --- keys ------------------------------------------------------------------------------------------------

KEYS = """
import ctypes, os, sys
ADD_KEY, KEYCTL = {'x86_64': (248, 250), 'aarch64': (217, 219)}[os.uname().machine]
JOIN, SET, LINK, UNLINK, SEARCH, READ, PERSISTENT, MOVE = 1, 5, 8, 9, 10, 11, 22, 30
PROCESS, SESSION, USER = -2, -3, -4
libc = ctypes.CDLL(None)
def call(*args):
    return libc.syscall(*(arg if isinstance(arg, bytes) else ctypes.c_long(arg) for arg in args))
"""
KEYRING = KEYS + "print(call(KEYCTL, 0, SESSION, 0))"


@pytest.mark.parametrize("options", [[], ["--pid"], ["--root"]], ids=["plain", "pid", "root"])
def test_session_keyring(nswrap, options):
    """COMMAND does not have the keys of the caller's session."""
    prefix = ["keyctl", "session", "-"] if shutil.which("keyctl") else []
    join = KEYS + ("call(KEYCTL, JOIN, 0); print(call(KEYCTL, 0, SESSION, 0), flush=True); "
                   "os.execvp(sys.argv[1], sys.argv[1:])")
    line = [*prefix, *python(join), BINARY, "-q", *options, "--", *python(KEYRING)]
    outside, inside = subprocess.run(line, capture_output=True, check=True, env=nswrap.env).stdout.split()
    assert inside != outside or int(outside) < 0  # a kernel without


# has keys in the keyrings that a user can have, prints their numbers and waits; argv: a name for them
HAVE_KEYS = KEYS + """
name = sys.argv[1].encode()
call(KEYCTL, JOIN, name)
persistent = call(KEYCTL, PERSISTENT, -1, PROCESS)
keys = [call(ADD_KEY, b'user', name + b'%d' % i, b'secret', 6, ring) for i, ring in
        enumerate([USER, SESSION, PROCESS, persistent])]
call(KEYCTL, SET, keys[2], 0x3f3f0000)
print(*keys, flush=True)
sys.stdin.read()
call(KEYCTL, UNLINK, keys[0], USER)
call(KEYCTL, UNLINK, keys[3], persistent)
"""

# brings the keyrings that it sees into its own session's, in one way after the other, and prints what the keys then
# say; at the end the keyrings that it could change; argv: the keys
GET_KEYS = KEYS + """
rings = [line.split() for line in open('/proc/keys')]
rings = [(int(words[0], 16), words[4], words[8].rstrip(':').encode()) for words in rings if words[7] == 'keyring']
for way in (lambda ring, permissions, name: call(KEYCTL, LINK, ring, SESSION),
            lambda ring, permissions, name: call(KEYCTL, MOVE, ring, USER, SESSION, 0),
            lambda ring, permissions, name: call(KEYCTL, SEARCH, ring, b'keyring', name, SESSION),
            lambda ring, permissions, name: call(KEYCTL, SEARCH, ring, b'user', name, SESSION),
            lambda ring, permissions, name: call(KEYCTL, PERSISTENT, -1, SESSION),
            lambda ring, permissions, name: call(KEYCTL, SET, ring, int(permissions, 16)) == 0 and print(ring)):
    call(KEYCTL, JOIN, 0)
    for ring in rings:
        way(*ring)
    for key in sys.argv[1:]:
        said = ctypes.create_string_buffer(99)
        libc.syscall(KEYCTL, READ, int(key), said, 99)
        print(said.value.decode(), end=' ')
    print('-')
"""

# makes keyrings and links them by their numbers, as Kerberos does with its caches; prints how often that worked
KERBEROS = KEYS + """
name = b'_nswrap_test_%d' % os.getpid()
call(KEYCTL, JOIN, 0)
persistent = call(KEYCTL, PERSISTENT, -1, PROCESS)
for parent in (USER, SESSION, persistent):
    ring = call(ADD_KEY, b'keyring', name, 0, 0, PROCESS)
    key = call(ADD_KEY, b'user', b'ticket', b'told', 4, ring)
    print(ring > 0 and call(KEYCTL, LINK, ring, parent),
          call(KEYCTL, SEARCH, parent, b'keyring', name, 0) > 0,
          call(KEYCTL, SEARCH, ring, b'user', b'ticket', SESSION) == key, call(KEYCTL, UNLINK, ring, parent))
"""


@pytest.fixture
def keys():
    """The numbers of keys that a process outside has."""
    line = python(HAVE_KEYS, f"nswrap-test-{os.getpid()}")  # one of its own: tests run side by side
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        yield holder.stdout.readline().decode().split()
        holder.stdin.close()


def read_said(output):
    """What the keys said each time, and the keyrings that could be changed, of GET_KEYS."""
    lines = output.decode().splitlines()
    return [line for line in lines if line.endswith("-")], {line for line in lines if line.isdigit()}


@pytest.mark.parametrize("options", [[], ["--root"], ["--pid"]], ids=["plain", "root", "pid"])
@pytest.mark.parametrize("by_exec", [False, True], ids=["command", "exec"])
def test_keys_of_the_user(nswrap, keys, options, by_exec):
    """COMMAND gets hold neither of the keys in keyrings of the user's nor of those that the user may read, and it does
    not change the keyrings."""
    looks = python(GET_KEYS, *keys)

    def look():
        said, rings = read_said(subprocess.run(looks, capture_output=True, check=True).stdout)
        return "-1" in keys or (said[0] == "secret secret secret  -" and rings), rings

    # tests side by side have one quota of keys
    outside = wait_for(lambda: (seen := look())[0] and seen, "the keys to be seen outside")[1]
    if not by_exec:
        result = nswrap.run("-q", *options, "--", *looks)
    else:
        nswrap.start("-q", *options, "-n", "box", "sleep", 60).wait_event("started")
        result = nswrap.run("exec", "box", *looks)
    said, changed = read_said(result.stdout)
    assert said == 6 * ["    -"]
    assert not changed & outside  # other tests make some at any time


@pytest.mark.parametrize("options", [[], ["--root"], ["--pid"]], ids=["plain", "root", "pid"])
@pytest.mark.parametrize("by_exec", [False, True], ids=["command", "exec"])
def test_keys_of_its_own(nswrap, options, by_exec):
    outside = subprocess.run(python(KERBEROS), capture_output=True, check=True).stdout
    if not by_exec:
        result = nswrap.run("-q", *options, "--", *python(KERBEROS))
    else:
        nswrap.start("-q", *options, "-n", "box", "--", "sh", "-c", '"$@"; exec sleep 60', "sh",
                     *python(KERBEROS)).wait_event("started")
        result = nswrap.run("exec", "box", *python(KERBEROS))
    assert result.stdout == outside and result.returncode == 0, result.stderr


# in a user namespace, where the user has no keyring yet: it is made when COMMAND runs; argv: a command line that writes
# a line and takes the numbers of keys
LATER = KEYS + """
import subprocess
inside = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
inside.stdout.readline()
key = call(ADD_KEY, b'user', b'nswrap-test', b'secret', 6, USER)
print(inside.communicate(b'%d\\n' % key)[0].decode())
"""


def test_keyring_of_the_user_that_is_new(nswrap):
    words = read_pids("-q", program=GET_KEYS)
    words[words.index("-c") + 1] = f'echo on; {words[words.index("-c") + 1]}'
    line = ["unshare", "-U", "--map-current-user", *python(LATER, BINARY, *words)]
    said, _ = read_said(subprocess.run(line, capture_output=True, check=True, env=nswrap.env).stdout)
    assert said == 6 * [" -"]
