# SPDX-License-Identifier: Apache-2.0
"""e2e/test_terminal - nswrap in a terminal: keys, job control, sizes, full-screen programs"""

import contextlib
import fcntl
import json
import os
import re
import shlex
import signal
import struct
import subprocess
import termios
import time

import pytest

from harness import (
    BINARY, PATIENCE, called, connect, descendants, free_port, is_alive, proc_status, process_table, python, wait_for)
from test_confine import GET_KEYS, HAVE_KEYS
from tools import Roles, tool

SESSIONS = pytest.mark.parametrize("options", [[], ["--new-session"]], ids=["same", "new"])
PID_NS = pytest.mark.parametrize("options", [[], ["--pid"]], ids=["plain", "pid"])


class Terminal:
    """A program on a terminal of its own, as in a terminal window; what it shows is collected."""

    def __init__(self, nswrap, line, rows=24, columns=80):
        self.master, slave = os.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)  # the program may change them at once
        self.shown = b""
        env = {**nswrap.env, "TERM": "xterm", "PS1": "outside$ ", "HISTFILE": "", "LC_ALL": "C"}

        def attach():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.popen = subprocess.Popen(list(map(str, line)), stdin=slave, stdout=slave, stderr=slave,
                                      env=env, preexec_fn=attach)
        nswrap.started.append(self.popen)
        os.close(slave)
        os.set_blocking(self.master, False)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def read(self):
        """What has been shown so far."""
        with contextlib.suppress(BlockingIOError, OSError):
            while part := os.read(self.master, 65536):
                self.shown += part
        return self.shown.decode(errors="replace")

    def expect(self, pattern, timeout=10):
        """Wait until pattern is shown; what came before it and it itself are taken away."""

        def look():
            found = re.search(pattern, self.read(), re.M)
            if found:
                self.shown = self.shown.decode(errors="replace")[found.end():].encode()
            return found

        try:
            return wait_for(look, pattern, timeout)
        except AssertionError:
            raise AssertionError(f"no {pattern!r} in {self.read()!r}") from None

    def wait(self, timeout=15):
        """Exit status; what is shown is read all the time, or a full terminal would stop it."""
        wait_for(lambda: (self.read(), self.popen.poll() is not None)[1], "the end", timeout)
        code = self.popen.returncode
        if code == 125:
            print(self.read())  # what went wrong
        return code if code >= 0 else 128 - code

    def flag(self, number):
        """A local mode of the terminal, e.g. termios.ICANON."""
        return bool(termios.tcgetattr(self.master)[3] & number)

    def foreground(self):
        return os.tcgetpgrp(self.master)

    def close(self):
        with contextlib.suppress(OSError):
            os.close(self.master)


@pytest.fixture
def terminal(nswrap):
    made = []

    def start(line, **options):
        made.append(Terminal(nswrap, line, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def shell(terminal):
    """An interactive bash outside, with job control."""

    def start(**options):
        term = terminal(["bash", "--norc", "--noprofile", "-i"], **options)
        term.type(f"nswrap() {{ {shlex.quote(BINARY)} \"$@\"; }}; echo re''ady\n")
        term.expect("ready")
        return term

    return start


# says which signals come, in the order in which they do, one a line; argv: what it listens to.
# Ends at SIGINT, SIGTERM or SIGHUP by itself, with a status of its own, when told to by "end".
LISTEN = """
import os, signal, sys
numbers = [getattr(signal, name) for name in sys.argv[2:]]
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
print('listens', flush=True)
while True:
    got = signal.sigwait(numbers)
    print('got', got.name, flush=True)
    if got.name == sys.argv[1]:
        sys.exit(7)
"""


def listen(*names, end="none"):
    return python(LISTEN, end, *names)


# --- keys ------------------------------------------------------------------------------------------


@SESSIONS
def test_ctrl_c_ends_the_command(terminal, options):
    term = terminal([BINARY, "-q", *options, "-c", "echo re''ady; exec sleep 1000"])
    term.expect("ready")
    term.type("\x03")
    assert term.wait() == 130


@SESSIONS
def test_ctrl_c_ends_what_a_shell_waits_for(terminal, options):
    # not `sleep`: bash forgets a SIGINT that comes before its child has become another program
    child = shlex.join(python("import signal; signal.signal(2, signal.SIG_DFL)\n"
                              "print('wai' + 'ts', flush=True); signal.pause()"))
    term = terminal([BINARY, "-q", *options, "-c", child + "; echo goes on"])
    term.expect("waits")
    term.type("\x03")
    assert term.wait() == 130
    assert "goes on" not in term.read()


@SESSIONS
def test_ctrl_c_comes_once(terminal, options):
    """COMMAND decides what it means, and hears it once."""
    term = terminal([BINARY, "-q", *options, "--", *listen("SIGINT", "SIGTERM", end="SIGTERM")])
    term.expect("listens")
    for _ in range(3):
        term.type("\x03")
        term.expect("got SIGINT")
    # a second copy would come before what is sent later
    os.kill(term.popen.pid, signal.SIGTERM)
    between = term.expect("got SIGTERM").string
    assert "SIGINT" not in between[:between.index("got SIGTERM")]
    assert term.wait() == 7


@SESSIONS
def test_ctrl_backslash(terminal, options):
    term = terminal([BINARY, "-q", *options, "-c", "ulimit -c 0; echo re''ady; exec sleep 1000"])
    term.expect("ready")
    term.type("\x1c")
    assert term.wait() == 131


def test_ctrl_z_and_fg(shell):
    """The shell outside has its job back, and the job goes on where it was."""
    term = shell()
    script = "echo begun; while read line; do echo answer $line; done"
    term.type(f"nswrap -q -c '{script}'\n")
    term.expect(r"[\r\n]begun")
    for turn in ("one", "two"):
        # an answer shows that it runs: SIGCONT discards a SIGTSTP that comes before it
        term.type(f"{turn}\n")
        term.expect(f"answer {turn}")
        term.type("\x1a")
        term.expect("Stopped")
        term.type("jobs; echo jobs''-end\n")
        term.expect("Stopped.*nswrap")
        term.expect("jobs-end")
        term.type("fg\n")
        term.expect("nswrap")
    term.type("three\n")
    term.expect("answer three")
    term.type("\x04")
    term.type("echo status $?\n")
    term.expect("status 0")
    term.type("exit\n")
    assert term.wait() == 0


@PID_NS
def test_everything_rests_after_ctrl_z(shell, options):
    """COMMAND is stopped and continues with bg; Ctrl-C ends it after fg."""
    term = shell()
    term.type(f"nswrap -q {' '.join(options)} -c 'echo pid $$; exec sleep 1000'\n")
    term.expect(r"[\r\n]pid \d+")
    term.type("\x1a")
    term.expect("Stopped")
    job = next(p for p in children_of(term.popen.pid) if comm(p).startswith("nswrap"))
    roles = Roles(_Job(job))
    assert state(job) == "T" and state(roles.command) == "T"
    # the sandbox itself is not stopped
    assert state(roles.init) not in "Tt" and state(roles.net) not in "Tt"
    term.type("bg\n")
    wait_for(lambda: state(job) in "SR" and state(roles.command) in "SR", "bg to continue it")
    term.type("fg\n")
    term.expect("nswrap")
    wait_for(lambda: term.foreground() == os.getpgid(job), "fg")
    term.type("\x03")
    term.type("echo status $?\n")
    term.expect("status 130")
    assert not is_alive(roles.command)
    term.type("exit\n")
    assert term.wait() == 130 or term.popen.returncode == 0


class _Job:
    def __init__(self, pid):
        self.pid = pid


def children_of(pid):
    return [p for p, row in process_table().items() if row[0] == pid]


def comm(pid):
    return (proc_status(pid) or {}).get("Name", "")


def state(pid):
    status = proc_status(pid)
    return status["State"][0] if status else "X"


# --- sizes ---------------------------------------------------------------------------------------------


def test_size_of_the_terminal(terminal):
    term = terminal([BINARY, "-q", "stty", "size"], rows=33, columns=111)
    term.expect("33 111")
    assert term.wait() == 0


def test_resizing(terminal):
    """COMMAND hears of it, once, and sees the new size."""
    program = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH, signal.SIGTERM])
print('listens', flush=True)
while signal.sigwait([signal.SIGWINCH, signal.SIGTERM]) == signal.SIGWINCH:
    size = os.get_terminal_size()
    print('now', size.lines, size.columns, flush=True)
print('over', flush=True)
"""
    term = terminal([BINARY, "-q", "--", *python(program)])
    term.expect("listens")
    for rows, columns in ((40, 100), (50, 120)):
        term.resize(rows, columns)
        term.expect(f"now {rows} {columns}")
    os.kill(term.popen.pid, signal.SIGTERM)
    assert "now" not in term.expect("over").string.split("over")[0]
    assert term.wait() == 0


# --- programs ------------------------------------------------------------------------------------------


def test_shell_with_job_control(terminal):
    """nswrap bash: jobs of its own, Ctrl-Z for them, fg, exit."""
    term = terminal([BINARY, "-q", "bash", "--norc", "--noprofile", "-i"])
    term.type("PS1='in''side$ '\n")
    term.expect("inside[$] ")
    assert "no job control" not in term.read()
    term.type("sleep 1000 &\n")
    term.expect(r"\[1\] \d+")
    term.type("sleep 2000\n")
    wait_for(lambda: term.foreground() not in (term.popen.pid, 0) and is_sleep(term, "2000"), "sleep")
    term.type("\x1a")
    term.expect("Stopped")
    term.type("jobs\n")
    term.expect("Running.*1000")
    term.type("kill %1; fg %2\n")
    wait_for(lambda: is_sleep(term, "2000"), "sleep to be in the foreground again")
    term.type("\x03")
    term.expect("inside[$] ")
    term.type("exit 5\n")
    assert term.wait() == 5


def is_sleep(term, argument):
    """The program in the foreground is `sleep ARGUMENT`."""
    with contextlib.suppress(OSError), open(f"/proc/{term.foreground()}/cmdline", "rb") as f:
        return f.read().split(b"\0")[:2] == [b"sleep", argument.encode()] and \
            state(term.foreground()) == "S"
    return False


def test_suspend_inside(shell):
    """`suspend` in the shell inside gives the terminal to the shell outside."""
    term = shell()
    term.type("nswrap -q bash --norc --noprofile -i\n")
    term.type("PS1='in''side$ '\n")
    term.expect("inside[$] ")
    for _ in range(2):
        term.type("suspend\n")
        term.expect("Stopped")
        term.type("echo out''side\n")
        term.expect(r"[\r\n]outside")
        term.type("fg\n")
        term.type("echo ag''ain $NSWRAP_NAME\n")
        term.expect(r"[\r\n]again bash-1")
    term.type("exit 6\n")
    term.type("echo status $?\n")
    term.expect("status 6")
    term.type("exit 0\n")
    assert term.wait() == 0


CURSES = """
import curses, sys
def main(screen):
    curses.curs_set(0)
    screen.timeout(50)  # a new size is heard of in refresh(), or by a getch() that it interrupts
    while True:
        rows, columns = screen.getmaxyx()
        screen.erase()
        screen.addstr(rows - 1, 0, f'size {rows} {columns}')
        screen.refresh()
        key = screen.getch()
        if key == ord('q'):
            return
curses.wrapper(main)
print('restored')
"""


def test_full_screen_program(terminal):
    """It draws, hears keys and of a new size, and leaves the terminal as it was."""
    term = terminal([BINARY, "-q", "--", *python(CURSES)], rows=20, columns=70)
    term.expect("size 20 70")
    assert not term.flag(termios.ICANON) and not term.flag(termios.ECHO)
    term.resize(25, 90)
    term.expect("25 90|25.*90")
    term.type("q")
    term.expect("restored")
    assert term.wait() == 0
    assert term.flag(termios.ICANON) and term.flag(termios.ECHO)


# --- --new-session ---------------------------------------------------------------------------------------

PUSH = """
import fcntl, os, sys, termios
try:
    os.close(os.open('/dev/tty', os.O_RDWR))
    print('has a terminal')
except OSError:
    print('has no terminal')
try:
    fcntl.ioctl(0, termios.TIOCSTI, b'!')
    print('pushed')
except OSError:
    print('not pushed')
print('session', os.getsid(0) == os.getpid(), flush=True)
"""


def test_new_session_cannot_type(terminal):
    """No controlling terminal, so nothing can be put into its input."""
    term = terminal([BINARY, "-q", "--new-session", "--", *python(PUSH)])
    term.expect("has no terminal")
    term.expect("not pushed")
    term.expect("session True")
    assert term.wait() == 0


def test_same_session_has_the_terminal(terminal):
    """The control of the test above."""
    term = terminal([BINARY, "-q", "--", *python(PUSH)])
    term.expect("has a terminal")
    term.expect("session False")
    assert term.wait() == 0


# --- signals ---------------------------------------------------------------------------------------------

PASSED_ON = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGWINCH", "SIGTERM",
             "SIGURG", "SIGIO", "SIGTSTP"]


@pytest.mark.parametrize("options", [[], ["--new-session"], ["--pid"]], ids=["same", "new", "pid"])
def test_signals_are_passed_on_once(nswrap, options):
    running = nswrap.start("-q", *options, "--", *listen(*PASSED_ON, "SIGRTMIN", end="SIGRTMIN"))
    assert running.read_line() == "listens"
    for name in PASSED_ON:
        running.signal(getattr(signal, name))
        assert running.read_line() == f"got {name}"
    running.signal(signal.SIGRTMIN)
    assert running.read_line() == "got SIGRTMIN"
    assert running.wait() == 7


@SESSIONS
def test_hangup(nswrap, terminal, options):
    """The terminal is closed: COMMAND hears SIGHUP, everything ends."""
    term = terminal([BINARY, "-q", *options, "-c", "echo re''ady; exec sleep 1000"])
    term.expect("ready")
    os.close(term.master)
    code = term.popen.wait(15 * PATIENCE)
    assert code == 129
    assert nswrap.registry() in ([], ["nswrap/.lock"])


def test_hangup_of_a_command_that_goes_on(nswrap, terminal, short_dir):
    """nohup: who ignores SIGHUP stays, with its forwards."""
    path = os.path.join(short_dir, "s")
    term = terminal(["nohup", BINARY, "-f", f"unix:{path}:7000", "--", tool("guest"), 7000])
    wait_for(lambda: os.path.exists(path), "the forward")
    os.close(term.master)
    # signals are passed on in their order: had SIGHUP ended it, the status would be 129
    term.popen.terminate()
    assert term.popen.wait(15 * PATIENCE) == 143


def test_stopped_command_without_a_terminal(nswrap):
    """Nobody would continue nswrap: it does not stop, its forwards and its socket live."""
    running = nswrap.start("-p", 0, "-P", 7000, "--", tool("guest"), 7000, start_new_session=True)
    running.guest_listening()
    roles = Roles(running)
    os.kill(roles.command, signal.SIGSTOP)
    wait_for(lambda: state(roles.command) == "T", "COMMAND to stop")
    with connect(running.host_port()) as s:
        s.sendall(b"early")
        assert nswrap.run("ps").returncode == 0
        assert state(running.pid) in "SR"
        os.kill(roles.command, signal.SIGCONT)
        assert s.recv(100) == b"early"
    assert running.stop() == 143


def test_a_command_that_is_killed_while_it_is_stopped(shell):
    """nswrap, which stopped with it, ends: nobody else would continue it."""
    term = shell()
    term.type("nswrap -q -c 'echo pid $$; exec sleep 1000'\n")
    term.expect(r"[\r\n]pid \d+")
    term.type("\x1a")
    term.expect("Stopped")
    job = next(p for p in children_of(term.popen.pid) if comm(p).startswith("nswrap"))
    command = Roles(_Job(job)).command
    assert state(job) == "T" and state(command) == "T"
    os.kill(command, signal.SIGKILL)
    wait_for(lambda: not is_alive(job), "nswrap to end")
    term.type("exit\n")
    term.wait()


@pytest.mark.parametrize("end", [False, True], ids=["continued", "ended"])
def test_command_that_is_continued_at_once(terminal, end):
    """nswrap hears of the stop when it is over: who would continue it then?"""
    term = terminal([BINARY, "-q", "sleep", 1000])
    command = wait_for(lambda: next(iter(called("sleep", descendants(term.popen.pid))), None), "COMMAND")
    init = int(proc_status(command)["PPid"])
    wait_for(lambda: called("nswrap: witness", descendants(term.popen.pid)), "nswrap to know of COMMAND")
    term.popen.send_signal(signal.SIGSTOP)
    wait_for(lambda: state(term.popen.pid) == "T", "nswrap to stop")
    for number, wanted in ((signal.SIGSTOP, "T"), *([] if end else [(signal.SIGCONT, "S")])):
        os.kill(command, number)
        wait_for(lambda: state(command) == wanted, "COMMAND to do so")
        wait_for(lambda: int(proc_status(init)["ShdPnd"], 16) == 0 and state(init) == "S", "init to know of it")
    if end:
        os.kill(command, signal.SIGKILL)
        wait_for(lambda: not is_alive(command), "COMMAND to end")
        term.popen.send_signal(signal.SIGCONT)
        assert term.wait() == 137
        return
    # init has continued nswrap, which ends if it has not stopped again
    term.popen.terminate()
    assert term.wait() == 143


def test_sigcont_to_nswrap_continues_the_command(nswrap):
    running = nswrap.start("sleep", 1000, start_new_session=True)
    running.wait_event("started")
    roles = Roles(running)
    os.kill(roles.command, signal.SIGSTOP)
    wait_for(lambda: state(roles.command) == "T", "COMMAND to stop")
    running.signal(signal.SIGCONT)
    wait_for(lambda: state(roles.command) == "S", "COMMAND to go on")
    assert running.stop() == 143


def test_sigterm_ends_a_stopped_command(nswrap):
    running = nswrap.start("sleep", 1000, start_new_session=True)
    running.wait_event("started")
    roles = Roles(running)
    os.kill(roles.command, signal.SIGSTOP)
    wait_for(lambda: state(roles.command) == "T", "COMMAND to stop")
    begun = time.monotonic()
    assert running.stop() == 143
    assert time.monotonic() - begun < 9


# --- what comes after ------------------------------------------------------------------------------

# a shell with job control has a group of its own, and raw settings of its own while it waits for keys
ENDS = {"exits": "exit 3", "killed": "kill -9 $$"}


def is_as_before(terminal):
    """The terminal has its settings and its foreground group, and who started nswrap reads from it."""
    assert termios.tcgetattr(terminal.master) == terminal.before
    assert os.tcgetpgrp(terminal.master) == terminal.popen.pid
    terminal.type("word\n")
    terminal.expect("got=word")
    assert terminal.popen.wait(10) == 0
    os.close(terminal.master)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("how", ["", "--pid", "--new-session", "exec", "exec --pid"])
def test_the_terminal_is_given_back(nswrap, how, end):
    """A script's next read from the terminal works, with the settings of before."""
    options = [word for word in how.split() if word != "exec"]
    line = [BINARY, *options, "--network", "none", "--"]
    if how.startswith("exec"):
        other = nswrap.start("-n", "other", *options, "--network", "none", "sleep", "1000")
        other.wait_event("started")
        line = [BINARY, "exec", "other"]
    shell = shlex.join([*line, "bash", "--norc", "-i"])
    script = f"stty -g >/dev/null; {shell}; echo after; read x && echo got=$x"
    terminal = Terminal(nswrap, ["sh", "-c", script])
    terminal.expect(r"outside\$ |bash.*\$ ")
    terminal.type(ENDS[end] + "\n")
    terminal.expect("after\r\n")
    is_as_before(terminal)


# what takes a terminal away from who has it next, and is none of the settings that shells put back
TAKES = """
import fcntl, os, struct, termios
fcntl.ioctl(0, termios.TIOCEXCL)
os.set_blocking(0, False)
print('ta' + 'ken', flush=True)
termios.tcdrain(1)
termios.tcflow(0, termios.TCOOFF)
fcntl.ioctl(0, termios.TIOCSETD, struct.pack('i', 27))  # N_NULL, which passes nothing
os._exit(3)
"""

LOOKS = """
import fcntl, os, struct, termios
os.close(os.open('/dev/tty', os.O_RDWR))
print('line', *struct.unpack('i', fcntl.ioctl(0, termios.TIOCGETD, b'1234')), os.get_blocking(0), flush=True)
"""


@pytest.mark.parametrize("options", [["--network", "none"], ["--pid"], ["--new-session"], "exec"], ids=str)
def test_nobody_keeps_the_terminal(nswrap, options):
    """Exclusive use, suspended output, a line discipline that passes nothing, reads that do not wait: gone with it."""
    line = [BINARY, "-q", *options, "--"]
    if options == "exec":
        nswrap.start("-n", "other", "--network", "none", "sleep", "1000").wait_event("started")
        line = [BINARY, "exec", "other"]
    script = f"{shlex.join([*line, *python(TAKES)])} 2>/dev/null; echo status $?; {shlex.join(python(LOOKS))}"
    terminal = Terminal(nswrap, ["sh", "-c", script])
    terminal.expect("taken\r\n")
    terminal.expect("status 3\r\n")
    terminal.expect("line 0 True\r\n")
    assert terminal.wait() == 0
    terminal.close()


# in the group that COMMAND began with, and without a cooked mode, as full-screen programs have it
RAW = ["sh", "-c", "stty raw -echo; printf 'dr''awn'; exec sleep 1000"]


@pytest.mark.parametrize("how, end", [("", "stop"), ("", "init"), ("--pid", "init"), ("--new-session", "init"),
                                      ("exec", "stop"), ("exec", "init"), ("exec --pid", "stop")])
def test_the_terminal_of_a_sandbox_that_is_ended(nswrap, how, end):
    """Whoever ends it, and with whatever status: COMMAND could not tidy up."""
    options = ["-q", "-n", "box", "--network", "none", *(word for word in how.split() if word != "exec")]
    line = [BINARY, *options, "--", *RAW]
    if how.startswith("exec"):
        box = nswrap.start(*options, "sleep", "1000")
        box.wait_event("started")
        line = [BINARY, "exec", "box", *RAW]
    terminal = Terminal(nswrap, ["sh", "-c", f"stty -g >/dev/null; {shlex.join(line)}; echo after; read x && echo got=$x"])
    terminal.expect("drawn")
    assert termios.tcgetattr(terminal.master) != terminal.before
    if end == "stop":
        assert nswrap.run("stop", "box").returncode == 0
    else:
        top = box if how.startswith("exec") else _Job(children_of(terminal.popen.pid)[0])
        os.kill(Roles(top).init, signal.SIGKILL)
    terminal.expect("after\r?\n")
    is_as_before(terminal)


# --- the link's command asks -------------------------------------------------------------------------


ASKS = """#!/bin/sh
# as ssh asks for a password
exec 3<>/dev/tty || exit 9
old=$(stty -g <&3)
stty -echo <&3
printf 'password: ' >&3
read -r word <&3
stty "$old" <&3
[ "$word" = secret ] || exit 255
exec "$NSWRAP" exit --expose 192.0.2.0/24
"""


@pytest.fixture
def asks(short_dir):
    path = os.path.join(short_dir, "asks")
    with open(path, "w") as file:
        file.write(ASKS.replace("$NSWRAP", str(BINARY)))
    os.chmod(path, 0o755)
    return path


def test_the_link_asks_for_a_password(nswrap, asks):
    """At the terminal and without an echo, before COMMAND begins, which has the terminal then."""
    terminal = Terminal(nswrap, [BINARY, "--via", f"exec:{asks}", "--", "sh", "-c",
                                 "echo begun; read -r line; echo \"read $line\"; ip -4 route"])
    terminal.expect("password: ")
    terminal.type("secret\n")
    shown = terminal.expect("begun\r?\n") or ""
    assert "secret" not in str(shown) and "secret" not in terminal.read()
    terminal.type("typed\n")
    terminal.expect("read typed")
    terminal.expect("via0")
    assert terminal.popen.wait(20 * PATIENCE) == 0


def test_the_wrong_password(nswrap, asks):
    """It is said that the link is not up, and COMMAND begins with the terminal."""
    terminal = Terminal(nswrap, [BINARY, "--via", f"exec:{asks}", "--", "sh", "-c", "read -r line; echo \"read $line\""])
    terminal.expect("password: ")
    terminal.type("guess\n")
    terminal.expect("cannot be opened: its command ended with status 255")
    terminal.type("typed\n")
    terminal.expect("read typed")
    assert terminal.popen.wait(20 * PATIENCE) == 0


def test_an_interrupt_at_the_prompt(nswrap, asks):
    """Everything ends, and the terminal echoes again."""
    terminal = Terminal(nswrap, [BINARY, "--via", f"exec:{asks}", "--", "sh", "-c", "echo begun; sleep 1000"])
    terminal.expect("password: ")
    terminal.type("\x03")
    assert terminal.popen.wait(20 * PATIENCE) == 130
    assert "begun" not in terminal.read()
    assert termios.tcgetattr(terminal.master)[3] & termios.ECHO


@pytest.mark.parametrize("how", ["stop", "alive"])
def test_an_end_at_the_prompt(nswrap, asks, short_dir, how):
    """Asked for from elsewhere: it is no later than without a prompt, and COMMAND does not begin."""
    fifo = os.path.join(short_dir, "alive")
    os.mkfifo(fifo)
    alive = os.open(fifo, os.O_RDWR | os.O_CLOEXEC)
    line = shlex.join([BINARY, "-n", "box", "--alive-fd", "3", "--via", f"exec:{asks}", "--", "echo", "begun"])
    terminal = Terminal(nswrap, ["sh", "-c", f"exec {line} 3<{shlex.quote(fifo)}"])
    terminal.expect("password: ")
    asked = time.monotonic()
    if how == "stop":
        assert nswrap.run("stop", "box").returncode == 0
    os.close(alive)
    assert terminal.wait() == 143
    assert time.monotonic() - asked < 5 * PATIENCE
    assert "begun" not in terminal.read()
    assert termios.tcgetattr(terminal.master)[3] & termios.ECHO


def test_what_is_asked_at_the_prompt(nswrap, asks):
    """COMMAND does not run, which is nothing that a process could be taken for; all else is there."""
    terminal = Terminal(nswrap, [BINARY, "-n", "box", "--via", f"exec:{asks}", "--", "sh", "-c", "echo begun; read -r line"])
    terminal.expect("password: ")
    [status] = json.loads(nswrap.run("ps", "--json").stdout)
    assert status["name"] == "box" and status["pid"] is None
    assert re.search(rb"^box +- +\d+s ", nswrap.run("ps").stdout, re.M)
    assert nswrap.run("exec", "box", "true").returncode == 0
    port = free_port()
    added = nswrap.run("port", "add", "box", f"{port}:80")
    assert added.returncode == 0, added.stderr
    terminal.type("secret\n")
    terminal.expect("begun")
    assert json.loads(nswrap.run("ps", "--json").stdout)[0]["pid"] > 0
    connect(port).close()
    terminal.type("typed\n")
    assert terminal.popen.wait(20 * PATIENCE) == 0


def test_what_comes_at_the_prompt(nswrap, asks):
    """What is said of a port that is added is said once, and is true; keys outside are out of reach as earlier ones are."""
    terminal = Terminal(nswrap, [BINARY, "-n", "box", "--client-address", "--via", f"exec:{asks}", "--", "sh", "-c",
                                 'echo begun; read -r numbers; exec "$@" $numbers', "sh", *python(GET_KEYS)])
    terminal.expect("password: ")
    assert nswrap.run("port", "add", "box", "-R", "5432").returncode == 0
    added = nswrap.run("port", "add", "box", f"{free_port()}:80")
    assert (added.returncode, b"sees itself" in added.stderr) == (0, False), added.stderr
    with subprocess.Popen(python(HAVE_KEYS, f"nswrap-test-{os.getpid()}"), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as holder:
        numbers = holder.stdout.readline().decode()
        terminal.type("secret\n")
        told = terminal.expect("begun\r?\n").string
        assert (told.count("leads to port 80 inside"), told.count(":5432 inside leads to")) == (1, 1), told
        terminal.type(numbers)
        terminal.expect("(?s)" + 6 * "    -\r?\n.*")
        holder.stdin.close()
    assert terminal.popen.wait(20 * PATIENCE) == 0


def test_ctrl_z_at_the_prompt(shell, asks):
    """The shell has its terminal; `bg` stays stopped, `fg` asks on, without an echo."""
    term = shell()
    term.type(f"nswrap -q --via exec:{asks} -- sh -c 'echo beg''un; read -r line; echo \"read $line\"'\n")
    term.expect("password: ")
    term.type("\x1a")
    term.expect("Stopped")
    term.type("echo he''re\n")
    term.expect("here")
    [job] = [pid for pid in children_of(term.popen.pid) if comm(pid) == "nswrap"]
    # the shell hears of its own child, not of those below it
    wait_for(lambda: {state(pid) for pid in descendants(job)} == {"T"}, "all of it to be stopped")
    term.type("bg; echo he''re\n")
    term.expect("here")
    wait_for(lambda: state(job) == "T", "it to be stopped again")
    term.type("fg\n")
    wait_for(lambda: comm(term.foreground()) == "asks" and not term.flag(termios.ECHO), "the prompt")
    term.type("secret\n")
    term.expect("begun")
    term.type("typed\n")
    term.expect("read typed")
    term.type("echo st''atus $?\n")
    term.expect("status 0")
    assert not descendants(term.popen.pid)


def test_the_end_of_a_stopped_prompt(shell, asks):
    """`kill %1` is a SIGTERM and a SIGCONT: COMMAND does not begin."""
    term = shell()
    term.type(f"nswrap -q --via exec:{asks} -- sh -c 'echo beg''un'\n")
    term.expect("password: ")
    term.type("\x1a")
    term.expect("Stopped")
    term.type("kill %1\n")
    wait_for(lambda: not descendants(term.popen.pid), "the end")
    term.type("\n")
    term.expect("Exit 143")


def test_ctrl_z_where_nobody_goes_on(terminal, asks):
    """No shell would: as with any program in a window of its own, nothing stops."""
    term = terminal([BINARY, "-q", "--via", f"exec:{asks}", "--", "echo", "begun"])
    term.expect("password: ")
    term.type("\x1asecret\n")
    term.expect("begun")
    assert term.popen.wait(20 * PATIENCE) == 0


def test_nobody_is_asked_in_the_background(nswrap, asks):
    """What is to be done instead is said where it is heard: at once, or in the log."""
    started = nswrap.run("-d", "--via", f"exec:{asks}", "--", "sleep", "1000")
    name = started.stdout.decode().strip()
    wait_for(lambda: b"an agent or a ControlMaster" in started.stderr + nswrap.run("logs", name).stdout,
             "what is to be done")
    assert nswrap.run("stop", name).returncode == 0


@pytest.mark.parametrize("line", [("exit", "--link"), ("tunnel", "client", "--server")], ids=" ".join)
def test_links_elsewhere_ask_too(nswrap, asks, line):
    """An exit's, a tunnel's: at the terminal and without an echo."""
    terminal = Terminal(nswrap, [BINARY, *line, f"exec:sh -c '{asks}; echo $? >{asks}.status; sleep 1000'"])
    terminal.expect("password: ")
    terminal.type("guess\n")
    wait_for(lambda: os.path.exists(f"{asks}.status") and open(f"{asks}.status").read() == "255\n", "it to be read")
    assert "guess" not in terminal.read()
    terminal.popen.terminate()
    assert terminal.popen.wait(20 * PATIENCE) in (0, 143)
