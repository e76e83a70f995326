# SPDX-License-Identifier: Apache-2.0
"""e2e/test_subcommands - exec, ps, port, stop and doctor, against sandboxes that run"""

import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import (
    BINARY, PATIENCE, PYTHON, TCP_ECHO, called, connect, descendants, exchange, free_port, is_alive,
    is_refused, namespace, proc_status, python, rights, wait_for)
from tools import listed as ps, table

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
SHOW_RIGHTS = "cat /proc/self/status; for n in %s; do readlink /proc/self/ns/$n; done" % " ".join(
    KINDS)
MODES = pytest.mark.parametrize("mode", [[], ["--root"], ["--pid"], ["--network", "none"]],
                                ids=["plain", "root", "pid", "no-network"])


def box(nswrap, *args, name="box", command=("sleep", "1000")):
    """A sandbox that runs."""
    running = nswrap.start("-q", "-n", name, *args, "--", *command)
    running.wait_event("started")
    return running


def ports(nswrap, name="box"):
    result = nswrap.run("port", "list", name, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def command_pid(nswrap, name="box"):
    """COMMAND, when it is executed (what it is called is what this waits for)."""
    [pid] = [s["pid"] for s in ps(nswrap) if s["name"] == name]
    return wait_for(lambda: not proc_status(pid)["Name"].startswith("nswrap") and pid, "COMMAND")


def takes(act):
    """Seconds. That they are few is for wait_for(): the machine stands still for some now and then."""
    started = time.monotonic()
    act()
    return time.monotonic() - started


def no_socket_left(nswrap):
    return not [f for f in nswrap.registry() if f.endswith(".sock")]


def said(result):
    """The one line on stderr."""
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def exec_popen(nswrap, *args, **options):
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
               **options}
    return nswrap.popen("exec", *args, **options)


# --- names ---------------------------------------------------------------------------------------


def test_names(nswrap):
    box(nswrap, name="given")
    first = nswrap.start("-q", "--", "/bin/sleep", "1000")
    assert first.wait_event("started")["name"] == "sleep-1"
    second = nswrap.start("-q", "sleep", "1000")
    assert second.wait_event("started")["name"] == "sleep-2"
    assert [s["name"] for s in ps(nswrap)] == ["given", "sleep-1", "sleep-2"]
    taken = nswrap.run("-n", "given", "true")
    assert taken.returncode == 125
    assert '"given"' in said(taken)
    first.stop()
    assert nswrap.run("-q", "-n", "sleep-1", "true").returncode == 0, "a free name again"


# --- exec ----------------------------------------------------------------------------------------


@MODES
def test_exec_has_the_rights_of_command(nswrap, mode):
    """Capabilities, no_new_privs, ids and namespaces are COMMAND's."""
    running = box(nswrap, *mode)
    command = command_pid(nswrap)
    assert command in running.tree()
    inside = exec_popen(nswrap, "box", "--", "sleep", "1000")
    pid = wait_for(lambda: next((p for p in descendants(inside.pid)
                                 if proc_status(p)["Name"] == "sleep"), None), "what exec started")
    assert rights(pid) == rights(command)
    assert rights(pid)["NoNewPrivs"] == 1
    status, expected = proc_status(pid), proc_status(command)
    for row in ("Uid", "Gid", "Groups", "SigBlk", "SigIgn", "Umask"):
        assert status[row] == expected[row], row
    assert [namespace(pid, k) for k in KINDS] == [namespace(command, k) for k in KINDS]
    # a program that is being loaded has its libraries open for a moment
    wait_for(lambda: sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"], "no other descriptor")
    inside.send_signal(signal.SIGTERM)
    assert inside.wait(10 * PATIENCE) == 128 + signal.SIGTERM


def test_exec_itself_keeps_no_rights(nswrap):
    """The process that waits outside of the command is inside with its user namespace, too."""
    box(nswrap, "--root")
    inside = exec_popen(nswrap, "box", "sh", "-c", "echo up; sleep 1000")
    assert inside.stdout.readline() == b"up\n"
    status = wait_for(lambda: (lambda s: s if int(s["CapPrm"], 16) == 0 else None)(
        proc_status(inside.pid)), "capabilities to be dropped", 5)
    for row in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[row], 16) == 0, row
    assert status["NoNewPrivs"] == "1"
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):
            os.readlink(f"/proc/{inside.pid}/cwd")  # it cannot be traced: not dumpable
    inside.terminate()
    inside.wait(10 * PATIENCE)


def test_exec_exit_status(nswrap, short_dir):
    box(nswrap)
    for code in (0, 1, 2, 77, 125, 255):
        assert nswrap.run("exec", "box", "sh", "-c", f"exit {code}").returncode == code
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGPIPE):
        result = nswrap.run("exec", "box", "sh", "-c", f"kill -{int(number)} $$")
        assert result.returncode == 128 + number, number
    plain = os.path.join(short_dir, "plain")
    pathlib.Path(plain).write_text("text")
    for command, status in {"/nonexistent/program": 127, plain: 126}.items():
        result = nswrap.run("exec", "box", command)
        assert result.returncode == status, result.stderr
        assert command in said(result)


@pytest.mark.parametrize("args, status, names", [
    ([], 2, "SANDBOX"),
    (["box"], 2, "COMMAND"),
    (["box", "--"], 2, "COMMAND"),
    (["--nonsense", "box", "true"], 2, "--nonsense"),
    (["-e", "=1", "box", "true"], 2, "=1"),
    (["a/b", "true"], 125, "a/b"),
    (["nobody", "true"], 125, "nobody.*running: box"),
    (["-C", "/nonexistent", "box", "true"], 125, "/nonexistent"),
])
def test_exec_bad_input(nswrap, args, status, names):
    box(nswrap)
    result = nswrap.run("exec", *args)
    assert result.returncode == status
    assert re.search(names, said(result))


def test_exec_streams_byte_for_byte(nswrap):
    box(nswrap)
    data = os.urandom(3_000_000)
    result = nswrap.run("exec", "box", "cat", input=data)
    assert result.returncode == 0
    assert result.stdout == data
    assert result.stderr == b""


def test_exec_leaves_stdout_to_the_command(nswrap):
    """A reader sees the end of the output when the command closes it, not when exec ends."""
    box(nswrap)
    inside = exec_popen(nswrap, "box", "sh", "-c", "echo last; exec >&-; exec sleep 1000")
    reader = threading.Thread(target=inside.stdout.read, daemon=True)
    reader.start()
    reader.join(10 * PATIENCE)
    assert not reader.is_alive()
    assert inside.poll() is None
    inside.terminate()
    inside.wait(10 * PATIENCE)


def test_exec_environment_and_directory(nswrap, short_dir):
    port = free_port()
    box(nswrap, "-p", port, "-P", 8888)
    env = {"KEPT": "1", "GONE": "1", "NSWRAP_NAME": "wrong", "NSWRAP_OTHER": "wrong"}
    result = nswrap.run("exec", "-e", "NEW=a=b", "box", "--unset-env", "GONE", "--", "env", env=env)
    have = dict(line.split("=", 1) for line in result.stdout.decode().splitlines())
    assert have["KEPT"] == "1" and have["NEW"] == "a=b" and "GONE" not in have
    assert {k: v for k, v in have.items() if k.startswith("NSWRAP")} == {
        "NSWRAP_NAME": "box", "NSWRAP_GUEST_PORT": "8888", "NSWRAP_HOST_PORT": str(port)}

    assert nswrap.run("exec", "box", "pwd", cwd=short_dir).stdout.decode().strip() == short_dir
    assert nswrap.run("exec", "-C", "/usr", "box", "pwd").stdout == b"/usr\n"
    inner = os.path.join(short_dir, "inner")
    os.mkdir(inner)
    assert nswrap.run("exec", "-C", "inner", "box", "pwd",
                      cwd=short_dir).stdout.decode().strip() == inner


@pytest.mark.parametrize("words", [["ps"], ["exec", "box", "true"], ["stop", "box"], ["port", "list", "box"], ["mesh", "status"]],
                         ids=["ps", "exec", "stop", "port", "mesh"])
def test_from_inside(nswrap, words):
    """Sandboxes outside are hidden there: who is told that none runs is told from where that is so."""
    nswrap.start("-q", "-n", "box", "sleep", 60).wait_event("started")
    result = nswrap.run("-q", "-n", "within", BINARY, *words)
    assert b'is running, as seen from inside of the sandbox "within"; ask from outside' in result.stderr, result.stderr


def test_exec_does_not_lead_around_the_hidden_directory(nswrap):
    """Started in the runtime directory, the command sees the empty one that COMMAND sees."""
    box(nswrap)
    hidden = nswrap.runtime_dir / "nswrap"
    assert "box.sock" in os.listdir(hidden)
    result = nswrap.run("exec", "box", "ls", "-A", ".", cwd=hidden)
    assert (result.returncode, result.stdout) == (0, b""), result


@pytest.mark.parametrize("mode", [[], ["--pid"]], ids=["plain", "pid"])
@pytest.mark.parametrize("how", ["stop", "SIGKILL"])
def test_exec_ends_with_the_sandbox(nswrap, mode, how):
    running = box(nswrap, *mode)
    inside = exec_popen(nswrap, "box", "sh", "-c",
                        "trap '' TERM HUP; setsid sleep 1000 & echo up; while :; do sleep 1; done")
    assert inside.stdout.readline() == b"up\n"
    below = wait_for(lambda: descendants(inside.pid), "what exec started")
    if how == "stop":
        assert nswrap.run("stop", "box").returncode == 0
    else:
        running.signal(signal.SIGKILL)
    assert inside.wait(10 * PATIENCE) == 125
    assert inside.stderr.read().decode().splitlines() == ['nswrap: the sandbox "box" has ended']
    wait_for(lambda: not any(map(is_alive, below)), "everything exec started to be gone", 5)
    wait_for(lambda: no_socket_left(nswrap), "the socket to be gone", 5)


@pytest.mark.parametrize("mode", [[], ["--pid"]], ids=["plain", "pid"])
def test_stopped_exec_does_not_hold_the_sandbox_up(nswrap, mode):
    """The kernel ends a PID namespace only when exec has reaped its child there."""
    box(nswrap, *mode)
    inside = exec_popen(nswrap, "box", "sh", "-c", "echo up; exec sleep 1000")
    assert inside.stdout.readline() == b"up\n"
    inside.send_signal(signal.SIGSTOP)
    try:
        assert nswrap.run("stop", "box", timeout=10).returncode == 0
        assert inside.wait(10 * PATIENCE) == 125
    finally:
        inside.send_signal(signal.SIGCONT)


def exec_sleep(nswrap):
    """(exec, its command)"""
    inside = exec_popen(nswrap, "box", "sleep", "1000")
    return inside, wait_for(lambda: called("sleep", descendants(inside.pid)), "what exec started")[0]


def test_exec_is_killed_with_the_namespace(nswrap):
    """The kernel has ended all in it before the supervisor comes to say so."""
    running = box(nswrap, "--pid")
    inside, sleeper = exec_sleep(nswrap)
    init = running.init_pid()
    running.signal(signal.SIGSTOP)
    try:
        os.kill(init, signal.SIGKILL)
        wait_for(lambda: not is_alive(sleeper), "the kernel")
        with pytest.raises(subprocess.TimeoutExpired):
            inside.wait(1)
    finally:
        running.signal(signal.SIGCONT)
    assert inside.wait(10 * PATIENCE) == 125
    assert inside.stderr.read().decode().splitlines() == ['nswrap: the sandbox "box" has ended']


def test_exec_of_what_is_killed_does_not_wait_for_the_sandbox(nswrap):
    """Somebody else's SIGKILL is no end of the namespace."""
    box(nswrap, "--pid")

    def kill():
        inside, sleeper = exec_sleep(nswrap)
        os.kill(sleeper, signal.SIGKILL)
        assert inside.wait(20 * PATIENCE) == 128 + signal.SIGKILL

    wait_for(lambda: takes(kill) < 5, "it to wait for nothing")


@pytest.mark.parametrize("ignores", [False, True])
def test_exec_ends_what_its_command_leaves(nswrap, ignores):
    box(nswrap)
    trap = "trap '' TERM; " if ignores else ""

    def leave():
        inside = exec_popen(nswrap, "box", "sh", "-c",
                            f"({trap}setsid sh -c '{trap}while :; do sleep 1; done' &) ; exit 5")
        assert inside.wait(15 * PATIENCE) == 5

    # the fixture nothing_left looks for what might be there still
    if ignores:
        assert takes(leave) > 1.9
    else:
        wait_for(lambda: takes(leave) < 1.9, "it to end them in less than the time they have")


BEFORE = 'sleep 1000 & echo $! >"$0"; '


@pytest.mark.parametrize("mode", [[], ["--pid"]], ids=["plain", "pid"])
def test_exec_leaves_children_of_before_alone(nswrap, short_dir, mode):
    """What a script began before it became exec is neither waited for nor ended: by SIGTERM, or with the sandbox."""
    running = box(nswrap, *mode)
    file, log = (pathlib.Path(short_dir, name) for name in ("pid", "log"))

    def shell(script, **options):
        return nswrap.popen("-c", script, file, program="bash", stdin=subprocess.DEVNULL, **options)

    def end_sleep():
        pid = int(file.read_text())
        assert is_alive(pid)
        os.kill(pid, signal.SIGKILL)

    inside = shell(f"{BEFORE} exec {BINARY} exec box sh -c 'seq 20000; setsid sleep 1000 >/dev/null & exit 3' "
                   f"> >(sleep 0.3; cat >{log}; echo end >>{log})")
    assert inside.wait(10 * PATIENCE) == 3
    end_sleep()
    wait_for(lambda: log.exists() and log.read_text().endswith("20000\nend\n"), "the whole log")
    for how, status in (("TERM", 128 + signal.SIGKILL), ("stop", 125)):
        stubborn = 'trap "" TERM; echo up; while :; do sleep 1; done'
        inside = shell(f"{BEFORE} exec {BINARY} exec -t 0.2 box sh -c '{stubborn}'",
                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert inside.stdout.readline() == b"up\n"
        if how == "TERM":
            inside.terminate()
        else:
            assert nswrap.run("stop", "-t", 0, "box").returncode == 0
        assert inside.wait(10 * PATIENCE) == status
        end_sleep()
    running.wait()


def test_exec_passes_signals_on(nswrap):
    box(nswrap)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
                   signal.SIGQUIT):
        inside = exec_popen(nswrap, "box", "sh", "-c",
                            f"trap 'exit 9' {int(number)}; echo up; while :; do sleep 0.1; done")
        assert inside.stdout.readline() == b"up\n"
        inside.send_signal(number)
        assert inside.wait(10 * PATIENCE) == 9, number


def test_exec_sigterm_is_followed_by_sigkill(nswrap):
    box(nswrap)
    inside = exec_popen(nswrap, "-t", "0.2", "box", "sh", "-c",
                        "trap '' TERM; echo up; while :; do sleep 1; done")
    assert inside.stdout.readline() == b"up\n"
    inside.terminate()
    assert inside.wait(10 * PATIENCE) == 128 + signal.SIGKILL


@contextlib.contextmanager
def leased(path):
    """(path, does anybody wait?): who executes the program there does, until it is killed or the lease ends (45 s)."""
    shutil.copy(shutil.which("true"), path)
    old = signal.signal(signal.SIGIO, signal.SIG_IGN)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        yield path, lambda: fcntl.fcntl(fd, fcntl.F_GETLEASE) != fcntl.F_WRLCK
    finally:
        os.close(fd)
        signal.signal(signal.SIGIO, old)


@pytest.mark.parametrize("mode", [[], ["--pid"]], ids=["plain", "pid"])
@pytest.mark.parametrize("how", ["term", "stopped", "stop"])
def test_exec_of_what_does_not_begin(nswrap, short_dir, mode, how):
    """Those inside can stop the child before it is the command: exec hears signals and the sandbox's end even so."""
    box(nswrap, *mode)
    with leased(os.path.join(short_dir, "program")) as (program, is_waited_for):
        inside = exec_popen(nswrap, "-t", "0.2", "box", program)
        wait_for(is_waited_for, "the child")
        # not the witness, which waits for signals
        child = next(pid for pid in descendants(inside.pid) if int(proc_status(pid)["SigBlk"], 16) == 0)
        if how != "term":
            os.kill(child, signal.SIGSTOP)
        if how == "stop":
            assert nswrap.run("stop", "box", timeout=10).returncode == 0
            assert inside.wait(10 * PATIENCE) == 125
            assert inside.stderr.read() == b'nswrap: the sandbox "box" has ended\n'
        else:
            inside.terminate()
            assert inside.wait(10 * PATIENCE) == 128 + signal.SIGTERM
    assert not is_alive(child)


# a thread that is traced keeps its process from ending until the tracer has waited for it
THREADED = """
import signal, threading, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=lambda: (print(threading.get_native_id(), flush=True), time.sleep(1000))).start()
"""


def trace(thread):
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.ptrace(0x4206, thread, None, None) == 0, os.strerror(ctypes.get_errno())  # PTRACE_SEIZE


@pytest.mark.waits
def test_run_of_what_the_kernel_does_not_let_end(nswrap):
    """COMMAND's status is there even so: init says it before the supervisor takes it for stuck."""
    running = nswrap.start("-t", "0.2", "sh", "-c", f"{shlex.join(python(THREADED))} & read -r line; exit 3",
                           stdin=subprocess.PIPE)
    thread = int(running.read_line())
    trace(thread)
    running.stdin.write(b"\n")
    running.stdin.flush()
    assert running.wait(30) == 3
    running.wait_line("processes that the kernel does not let end are left behind")
    os.waitpid(thread, 0x40000000)  # __WALL


@pytest.mark.waits
def test_exec_of_what_the_kernel_does_not_let_end(nswrap):
    box(nswrap)
    inside = exec_popen(nswrap, "-t", "0.2", "box", *python(THREADED))
    thread = int(inside.stdout.readline())
    trace(thread)
    inside.terminate()
    assert inside.wait(20 * PATIENCE) == 128 + signal.SIGKILL
    assert inside.stderr.read() == b"nswrap: processes that the kernel does not let end are left behind\n"
    os.waitpid(thread, 0x40000000)  # __WALL


@pytest.mark.parametrize("name", ["USR1", "TERM"])
def test_exec_ends_with_signals_without_end(nswrap, name):
    """What the command has left sends them to exec, which is to end it."""
    box(nswrap)
    inside = exec_popen(nswrap, "box", "sh", "-c",
                        f"(trap '' TERM; while :; do kill -{name} $PPID; sleep 0.01; done) & exit 3")
    assert inside.wait(20 * PATIENCE) == 3


class Terminal:
    """A shell with job control on a terminal of its own."""

    def __init__(self, nswrap):
        pid, self.fd = pty.fork()
        if pid == 0:
            os.environ.clear()
            os.environ.update(nswrap.env, PS1="$ ", PATH=os.environ.get("PATH", os.defpath))
            os.execv("/bin/sh", ["sh", "-im"])
        self.pid = pid
        self.seen = ""

    def send(self, text):
        os.write(self.fd, text.encode())

    def expect(self, pattern):
        def look():
            if select.select([self.fd], [], [], 0)[0]:
                with contextlib.suppress(OSError):
                    self.seen += os.read(self.fd, 65536).decode(errors="replace")
            found = re.search(pattern, self.seen)
            if found:
                self.seen = self.seen[found.end():]
            return found

        try:
            wait_for(look, f"{pattern!r} on the terminal")
        except AssertionError as e:
            raise AssertionError(f"{e}; there is: {self.seen!r}") from None

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.close(self.fd)
        os.waitpid(self.pid, 0)


@pytest.fixture
def terminal(nswrap):
    shell = Terminal(nswrap)
    yield shell
    shell.close()


# no shell: one that has just forked may not be stopped before its child is executed
ON_TERMINAL = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # pause() could miss one
print('now', 'up', flush=True)
for count in (1, 2):
    signal.sigwait({signal.SIGINT})
    print('interrupt', count, flush=True)
sys.exit(4)
"""


@pytest.mark.parametrize("mode", [[], ["--pid"]], ids=["plain", "pid"])
def test_exec_in_a_terminal(nswrap, terminal, short_dir, mode):
    """Ctrl-Z and fg, Ctrl-C: the command gets each signal once."""
    box(nswrap, *mode)
    pathlib.Path(short_dir, "program").write_text(ON_TERMINAL)
    terminal.send(f"{BINARY} exec box {PYTHON} -I {short_dir}/program\r")
    terminal.expect("now up")
    terminal.send("\x1a")
    terminal.expect("Stopped|Suspended")
    terminal.send("echo a$((1+1))z\r")
    terminal.expect("a2z")
    terminal.send("fg\r")
    wait_for(lambda: os.tcgetpgrp(terminal.fd) != terminal.pid, "the job in the foreground")
    terminal.send("\x03")
    terminal.expect("interrupt 1")
    terminal.send("\x03")
    terminal.expect("interrupt 2")
    terminal.send("echo status-$?\r")
    terminal.expect("status-4\r")


# --- ps ------------------------------------------------------------------------------------------


def test_ps(nswrap):
    assert nswrap.run("ps").stdout.split() == [b"NAME", b"PID", b"AGE", b"FORWARDS", b"COMMAND"]
    assert ps(nswrap) == []
    port = free_port()
    before = time.time()
    running = box(nswrap, "-f", f"127.0.0.1:{port}:80")
    running.wait_event("forward")
    [status] = ps(nswrap)
    assert status["name"] == "box"
    assert status["command"] == ["sleep", "1000"]
    assert proc_status(status["pid"])["Name"] == "sleep"
    assert status["pid"] in running.tree()
    assert int(before) <= status["started"] <= time.time() + 1
    assert 0 <= status["age"] <= time.time() - before + 1
    assert status["forwards"] == [
        {"spec": f"127.0.0.1:{port}:80/tcp", "host": "127.0.0.1", "host_port": port,
         "guest_port": 80, "proto": "tcp", "driver": "splice", "listening": False}]
    head, row = table(nswrap).splitlines()
    assert row.split()[0] == "box" and row.split()[1] == str(status["pid"])
    assert re.search(rf" {port}:80 +sleep 1000$", row)
    assert row.index("sleep") == head.index("COMMAND")
    wait_for(lambda: ps(nswrap)[0]["age"] >= 1, "the first second")
    assert ps(nswrap)[0]["age"] <= time.time() - before + 1 and ps(nswrap)[0]["started"] == status["started"]


def test_ps_survives_odd_arguments(nswrap):
    odd = [b"sh", b"-c", b"sleep 1000", b"bad\xff\xc3", b"esc\x1b[31m", b"line\nbreak", "gr\u00fc\u00df".encode(),
           "b\u202ei\u2066d\u2028i\u200b".encode(), b"long" * 20000]
    line = [BINARY, "-q", "-n", "box", "--", *odd]
    popen = subprocess.Popen(line, env=nswrap.env, stdin=subprocess.DEVNULL)
    nswrap.started.append(popen)
    [status] = wait_for(lambda: [s for s in ps(nswrap) if s["pid"]], "the sandbox to run")
    assert status["command"][:7] == [
        "sh", "-c", "sleep 1000", "bad\\xff\\xc3", "esc\x1b[31m", "line\nbreak", "gr\u00fc\u00df"]
    assert len("".join(status["command"])) <= 16384, "what is too long is cut"
    shown = table(nswrap).encode()
    assert len(shown.splitlines()) == 2
    assert b"\x1b" not in shown and b"\xff" not in shown and "\u202e".encode() not in shown
    assert rb"esc\x1b[31m line\x0abreak" in shown
    assert rb"b\xe2\x80\xaei\xe2\x81\xa6d\xe2\x80\xa8i\xe2\x80\x8b" in shown


def test_ps_cuts_to_the_terminal(nswrap):
    box(nswrap, command=("sh", "-c", "sleep 1000; : " + "x" * 300))
    rows = nswrap.lines_on_terminal(60, "ps")
    assert len(rows) == 2
    assert len(rows[1]) == 60


def test_ps_forgets_the_dead(nswrap):
    running = box(nswrap)
    other = box(nswrap, name="other")
    running.signal(signal.SIGKILL)
    running.popen.wait()
    # its net process holds the socket a moment longer
    wait_for(lambda: [s["name"] for s in ps(nswrap)] == ["other"], "the end of the other one", 5)
    # with init stopped nobody cleans up after the supervisor: the file is ps's to remove
    init = int(proc_status(command_pid(nswrap, "other"))["PPid"])
    os.kill(init, signal.SIGSTOP)
    other.signal(signal.SIGKILL)
    other.popen.wait()
    try:
        # also here the net process may hold the socket a moment longer, and hear who connects
        wait_for(lambda: ps(nswrap) == [] and no_socket_left(nswrap), "the dead one to be forgotten")
    finally:
        os.kill(init, signal.SIGCONT)


def test_ps_does_not_wait_for_one_that_hangs(nswrap):
    boxes = [box(nswrap, name=f"box{i}") for i in range(4)]
    for hung in boxes[:3]:
        hung.signal(signal.SIGSTOP)
    found = ps(nswrap, hung=["box0", "box1", "box2"])
    shown = nswrap.run("ps").stdout.decode()
    # a second each is three
    wait_for(lambda: takes(lambda: nswrap.run("ps")) < 2.5, "it to wait for all of them together")
    for hung in boxes[:3]:
        hung.signal(signal.SIGCONT)
    assert [s["name"] for s in found] == ["box0", "box1", "box2", "box3"]
    assert [s.get("error") for s in found] == ["does not answer"] * 3 + [None]
    assert shown.count("does not answer") >= 3


# --- port ----------------------------------------------------------------------------------------


def test_port_add_and_remove_while_traffic_flows(nswrap):
    running = box(nswrap, "-f", "0:8000", command=python(TCP_ECHO, "127.0.0.1", 8000))
    running.guest_listening()
    first = running.host_port()
    client = connect(first)
    client.sendall(b"before")
    assert client.recv(100) == b"before"

    added = nswrap.run("port", "add", "box", "0:8000")
    assert added.returncode == 0, added.stderr
    second = int(re.match(r"127\.0\.0\.1:(\d+):8000/tcp \(splice", added.stdout.decode())[1])
    wait_for(lambda: exchange(second, b"x") == b"x", "the new forward")
    client.sendall(b"between")
    assert client.recv(100) == b"between"

    other = connect(second)
    other.sendall(b"other")
    assert other.recv(100) == b"other"
    assert nswrap.run("port", "remove", "box", str(second)).returncode == 0
    wait_for(lambda: is_refused(second), "the forward to be gone")
    for s in (client, other):
        s.sendall(b"after")
        assert s.recv(100) == b"after", "an established connection goes on"
        s.close()
    assert exchange(first, b"y") == b"y"
    assert [f["host_port"] for f in ports(nswrap)] == [first]


@pytest.mark.parametrize("short", ["{port}", "127.0.0.1:{port}", "{port}:80", "127.0.0.1:{port}:80/tcp",
                                   "unix:{dir}/s", "unix:s", "unix:{dir}/s:81", "[::1]:{port6}"])
def test_port_remove_by_what_stands_outside(nswrap, short_dir, short):
    port, port6 = free_port(), free_port()
    box(nswrap, "-f", f"{port}:80", "-f", f"unix:{short_dir}/s:81", "-f", f"[::1]:{port6}:82")
    before = {f["guest_port"] for f in ports(nswrap)}
    assert before == {80, 81, 82}
    spec = short.format(port=port, port6=port6, dir=short_dir)
    result = nswrap.run("port", "remove", "box", spec, cwd=short_dir)
    assert result.returncode == 0, result.stderr
    gone = 81 if "unix" in short else 82 if "[" in short else 80
    assert {f["guest_port"] for f in ports(nswrap)} == before - {gone}
    assert os.path.exists(f"{short_dir}/s") == (gone != 81)


def test_port_remove_must_be_clear(nswrap):
    port = free_port()
    box(nswrap, "-f", f"127.0.0.1:{port}:80", "-f", f"127.0.0.2:{port}:81")
    result = nswrap.run("port", "remove", "box", port)
    assert result.returncode == 125 and str(port) in said(result)
    assert nswrap.run("port", "remove", "box", f"127.0.0.2:{port}").returncode == 0
    assert nswrap.run("port", "remove", "box", port).returncode == 0
    assert ports(nswrap) == []
    result = nswrap.run("port", "remove", "box", port)
    assert result.returncode == 125 and str(port) in said(result)


def test_port_add_is_all_or_nothing(nswrap):
    free = free_port()
    box(nswrap)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = nswrap.run("port", "add", "box", f"{free}:80", f"{port}:81")
    assert result.returncode == 125
    assert str(port) in said(result)
    assert ports(nswrap) == []
    assert is_refused(free)


def test_port_add_takes_paths_from_here(nswrap, short_dir):
    """A relative path is relative to the caller of port add, not to the sandbox."""
    running = box(nswrap, command=python(TCP_ECHO, "127.0.0.1", 8000))
    result = nswrap.run("port", "add", "box", "unix:here.sock:8000", cwd=short_dir)
    assert result.returncode == 0, result.stderr
    path = os.path.join(short_dir, "here.sock")
    assert path in result.stdout.decode()

    def talk():
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(path)
            s.sendall(b"hello")
            return s.recv(100)

    assert wait_for(talk, "an answer") == b"hello"
    assert running.stop() == 128 + signal.SIGTERM
    assert not os.path.exists(path)


@pytest.mark.parametrize("args, names", [
    ([], "list, add or remove"),
    (["lst", "box"], "lst"),
    (["list"], "SANDBOX"),
    (["add"], "SANDBOX"),
    (["add", "box"], "SPEC"),
    (["list", "box", "8080:80"], "8080:80"),
    (["add", "box", "80x:80"], "80x"),
    (["add", "box", "8080:0"], "8080:0"),
    (["add", "box", "8000-8010:9000-9005"], "8000-8010:9000-9005"),
    (["add", "box", "8080"], "8080"),
    (["add", "box", "unix:" + "x" * 200 + ":80"], "xxx"),
    (["add", "box", "unix::80"], "unix::80"),
    (["remove", "box", "65536"], "65536"),
    (["remove", "box", "unix:"], "unix:"),
    (["--jsn", "list", "box"], "--json"),
])
def test_port_bad_input(nswrap, args, names):
    """Refused here, before the sandbox (there is none) is asked."""
    result = nswrap.run("port", *args)
    assert result.returncode == 2, result
    assert names in said(result)


# --- stop ----------------------------------------------------------------------------------------


def test_stop(nswrap):
    running = box(nswrap)
    tree = running.tree()
    assert nswrap.run("stop", "box").returncode == 0
    # gone means gone: at this moment, not soon
    assert no_socket_left(nswrap)
    assert not any(map(is_alive, tree))
    assert running.wait() == 128 + signal.SIGTERM


STUBBORN = ("sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done")


@pytest.mark.parametrize("args", [["-t", "0.3", "box"], ["box", "-t", "0.3"], ["box", "--stop-timeout=0"]])
def test_stop_ends_what_ignores_sigterm(nswrap, args):
    running = box(nswrap, command=STUBBORN)
    assert running.read_line() == "up"
    started = time.monotonic()
    assert nswrap.run("stop", *args).returncode == 0
    took = time.monotonic() - started
    assert took > (0 if "--stop-timeout=0" in args else 0.29)
    assert took < 9, "less than the usual ten seconds"
    assert running.wait() == 128 + signal.SIGKILL


def test_stop_several(nswrap):
    boxes = [box(nswrap, name=n, command=STUBBORN) for n in ("one", "two")]
    for running in boxes:
        assert running.read_line() == "up"
    result = nswrap.run("stop", "one", "nobody", "two", "-t", "0.1")
    assert result.returncode == 125
    assert "nobody" in said(result)
    assert ps(nswrap) == []


def test_stop_all(nswrap):
    def stop(*options):
        result = nswrap.run("stop", "--all", *options)
        assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")

    def takes_three():
        stop()  # with none there is nothing to do, and nothing to say
        boxes = [box(nswrap, name=n, command=STUBBORN) for n in ("one", "two", "three")]
        for running in boxes:
            assert running.read_line() == "up"
        took = takes(lambda: stop("-t", "1"))
        assert took >= 1
        assert ps(nswrap) == []
        for running in boxes:
            assert running.wait() == 128 + signal.SIGKILL
        return took

    wait_for(lambda: takes_three() < 2.5, "them to be stopped at the same time")
    stop()


@pytest.mark.parametrize("args, names", [
    ([], "SANDBOX"), (["--all", "box"], "--all"), (["box", "--all"], "box"), (["-a"], "--all"),
    (["-t"], "-t"), (["-t", "soon", "box"], "soon"), (["-t", "-1", "box"], "-1")])
def test_stop_bad_input(nswrap, args, names):
    result = nswrap.run("stop", *args)
    assert result.returncode == 2
    assert names in said(result)


# --- the control socket --------------------------------------------------------------------------


def control(nswrap, name="box"):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(10 * PATIENCE)

    def connected():
        with contextlib.suppress(BlockingIOError):  # the backlog is full
            s.connect(str(nswrap.runtime_dir / "nswrap" / f"{name}.sock"))
            return True

    wait_for(connected, "room in the backlog")
    return s


def ask(s, message):
    s.send(message)
    answer = s.recv(1 << 20)
    return json.loads(answer) if answer else None


def test_control_survives_anything(nswrap):
    running = box(nswrap, "-f", "0:8000", command=python(TCP_ECHO, "127.0.0.1", 8000))
    running.guest_listening()
    client = connect(running.host_port())
    garbage = [b"\0" * 1000, b"\xff", b"{", b"null", b"[" * 50000, b'{"op":"\xc3\xa4"}',
               b'{"op":"' + "\u00e4".encode() * 500 + b'"}', b'{"op":"status","specs":[]}']
    with control(nswrap) as s:
        for message in garbage:
            answer = ask(s, message)
            assert answer["ok"] is False and answer["error"], message
        assert ask(s, b'{"op":"status"}')["name"] == "box", "the same connection goes on"
    with control(nswrap) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        with contextlib.suppress(OSError):
            s.send(b" " * 300_000)
            assert s.recv(100) == b"", "what is too long ends the connection"
    with control(nswrap) as s:
        s.send(b"")
    with control(nswrap) as s, open("/dev/null") as null:
        socket.send_fds(s, [b'{"op":"status"}'], [null.fileno()] * 100)
        with contextlib.suppress(ConnectionResetError):
            assert s.recv(100) == b"", "nobody asked for descriptors"
    fds = len(os.listdir(f"/proc/{running.pid}/fd")) if os.access(f"/proc/{running.pid}/fd", os.R_OK) else 0
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(control(nswrap)) for _ in range(200)]
        assert ask(many[0], b'{"op":"status"}')["ok"]
        client.sendall(b"still")
        assert client.recv(100) == b"still"
    if fds:
        wait_for(lambda: len(os.listdir(f"/proc/{running.pid}/fd")) <= fds, "connections to be closed")
    assert [s["name"] for s in ps(nswrap)] == ["box"]
    client.close()


def test_control_does_not_wait_for_a_client_that_never_reads(nswrap):
    box(nswrap)
    with control(nswrap) as s:
        s.setblocking(False)
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            for _ in range(10000):
                s.send(b'{"op":"status"}')
        assert [found["name"] for found in ps(nswrap)] == ["box"]


def test_control_is_for_the_owner_only(nswrap):
    box(nswrap)
    directory = nswrap.runtime_dir / "nswrap"
    assert os.stat(directory).st_mode & 0o777 == 0o700
    assert os.stat(directory / "box.sock").st_mode & 0o777 == 0o600


# --- doctor --------------------------------------------------------------------------------------


def test_doctor(nswrap):
    result = nswrap.run("doctor")
    assert result.returncode == 0, result.stdout
    for line in result.stdout.decode().splitlines():
        assert re.match(r"(fine|note) +\S", line), line
    found = json.loads(nswrap.run("doctor", "--json").stdout)
    assert {"namespaces", "tun", "seccomp", "runtime directory", "libslirp", "dns", "ping",
            "descriptors"} <= {f["check"] for f in found}
    for f in found:
        assert set(f) == {"check", "state", "text", "cure"}
        assert (f["cure"] is None) == (f["state"] == "fine")
    assert len(found) == len(result.stdout.splitlines())


def in_namespace(nswrap, setup, *args, flags=("-U", "-r", "-m")):
    """Run nswrap where setup, as root of a user namespace, has spoilt something."""
    script = f'{setup}; exec "$0" "$@"'
    return nswrap.run(*args, prefix=["unshare", *flags, "sh", "-ec", script])


SPOILT = [
    ("echo 0 >/proc/sys/user/max_user_namespaces", "namespaces", "max_user_namespaces", "sysctl -w"),
    ("echo 0 >/proc/sys/user/max_net_namespaces", "namespaces", "max_net_namespaces", "sysctl -w"),
    ("echo 0 >/proc/sys/user/max_mnt_namespaces", "namespaces", "max_mnt_namespaces", "sysctl -w"),
    ("mount --bind /dev/null /dev/net/tun", "tun", "tap0", "/dev/net/tun"),
    ("mount -t tmpfs none /dev/net", "tun", "/dev/net/tun", "modprobe tun"),
    ("mount -t tmpfs none /dev/net", "tun", "is missing", "in a unit of systemd: PrivateDevices=no"),
]


@pytest.mark.parametrize("setup, check, what, cure", SPOILT, ids=[s[1] + " " + s[2] for s in SPOILT])
def test_doctor_and_run_say_what_is_wrong(nswrap, setup, check, what, cure):
    result = in_namespace(nswrap, setup, "doctor", "--json")
    assert result.returncode == 1, result
    found = {f["check"]: f for f in json.loads(result.stdout)}
    assert found[check]["state"] == "wrong"
    assert what in found[check]["text"]
    assert cure in found[check]["cure"]
    assert [f["check"] for f in found.values() if f["state"] == "wrong"] == [check]
    plain = in_namespace(nswrap, setup, "doctor")
    assert plain.returncode == 1
    assert re.search(rf"^wrong .*{re.escape(what)}.*: .*{re.escape(cure)}", plain.stdout.decode(), re.M)
    run = in_namespace(nswrap, setup, "true")
    assert run.returncode == 125
    assert found[check]["text"] in said(run), "run says the same"


NOTED = [
    ("mount --bind /dev/null /etc/resolv.conf", "dns", "names no server"),
    ("echo nameserver 127.0.0.53 >$XDG_RUNTIME_DIR/r; mount --bind $XDG_RUNTIME_DIR/r /etc/resolv.conf",
     "dns", "10.0.2.3"),
    ("ulimit -n 1000", "descriptors", "1000"),
]


@pytest.mark.parametrize("setup, check, what", NOTED, ids=[n[1] + " " + n[2] for n in NOTED])
def test_doctor_notes(nswrap, setup, check, what):
    result = in_namespace(nswrap, setup, "doctor", "--json")
    assert result.returncode == 0, result
    found = {f["check"]: f for f in json.loads(result.stdout)}
    assert what in found[check]["text"]
    with contextlib.suppress(FileNotFoundError):
        os.unlink(nswrap.runtime_dir / "r")


def test_doctor_ping(nswrap):
    """In a new network namespace nobody may ping: that is noted."""
    result = in_namespace(nswrap, "true", "doctor", "--json", flags=("-U", "-r", "-n"))
    found = {f["check"]: f for f in json.loads(result.stdout)}
    assert found["ping"]["state"] == "note"
    assert "ping_group_range" in found["ping"]["cure"]
