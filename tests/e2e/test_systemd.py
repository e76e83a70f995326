# SPDX-License-Identifier: Apache-2.0
"""Under a service manager: what COMMAND tells it, and what it is told of it."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess

import pytest

from harness import BINARY, PATIENCE, TCP_ECHO, Lines, called, is_alive, python, wait_for
from systemd import Manager, kill_unit

# tells what stands on its lines of stdin; "barrier" as sd_notify_barrier(3) does
TELLS = """
import array, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ['NOTIFY_SOCKET'])
print(os.getpid(), os.environ.get('WATCHDOG_PID'), os.environ.get('WATCHDOG_USEC'), flush=True)
for line in sys.stdin:
    words = line.strip().encode().decode('unicode_escape').encode()
    if words == b'barrier':
        read, write = os.pipe()
        s.sendmsg([b'BARRIER=1'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [write]))])
        os.close(write)
        os.read(read, 1)
    elif words.startswith(b'FDSTORE'):
        fds = array.array('i', [0, 1])
        s.sendmsg([words], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    else:
        s.send(words)
    print('told', flush=True)
"""


@pytest.fixture(params=["path", "abstract"])
def manager(request, short_dir):
    address = os.path.join(short_dir, "manager") if request.param == "path" else f"@{secrets.token_hex(8)}"
    manager = Manager(address)
    yield manager
    manager.close()


@pytest.fixture
def plain_manager(short_dir):
    manager = Manager(os.path.join(short_dir, "manager"))
    yield manager
    manager.close()


class Teller:
    """A sandbox whose COMMAND tells the manager what it is told to tell."""

    def __init__(self, nswrap, manager, *words, env=None):
        self.manager = manager
        self.running = nswrap.start("--sdnotify", "command", "--network", "none", *words, "--", *python(TELLS),
                                    stdin=subprocess.PIPE, env={**manager.env, **(env or {})})
        self.pid, self.watchdog_pid, self.watchdog_usec = self.running.read_line().split()

    def say(self, words):
        self.running.stdin.write(words.encode("unicode_escape") + b"\n")
        self.running.stdin.flush()

    def tell(self, words):
        self.say(words)
        assert self.running.read_line() == "told"


# --- what COMMAND says -------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["--pid"], ["--root"]], ids=["plain", "pid", "root"])
def test_messages_of_command(nswrap, manager, words):
    """They come from the main process, whatever its number inside is, line by line as they were."""
    teller = Teller(nswrap, manager, *words)
    for text in ("READY=1\nSTATUS=serves", "WATCHDOG=1", "WATCHDOG=trigger", "WATCHDOG_USEC=7",
                 "RELOADING=1\nMONOTONIC_USEC=1\n", "STOPPING=1", "ERRNO=2", "X_OWN=a=b c"):
        teller.tell(text)
        message = manager.receive()
        assert (message.lines, message.pid) == (text.splitlines(), teller.running.pid)
    assert not called("nswrap: notify", teller.running.tree()), "nobody else has said anything"


def test_who_is_not_command(nswrap, plain_manager):
    """Its children are not the main process here either: NotifyAccess= is the manager's to judge."""
    running = nswrap.start("-q", "--sdnotify", "command", "--", "sh", "-c",
                           "systemd-notify --ready --status=child; systemd-notify STATUS=again; echo end; read x",
                           env=plain_manager.env, stdin=-1)
    first = plain_manager.wait_for("READY=1")
    assert first.lines == ["READY=1", "STATUS=child"]
    second = plain_manager.wait_for("STATUS=again")
    plain_manager.receive().close()  # its barrier
    assert first.pid == second.pid != running.pid
    assert first.pid in running.tree(), "of the unit, where systemd looks for it"
    assert running.read_line() == "end"
    # one that is killed is another one the next time
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(first.pid), "the end of the courier")
    running.stdin.close()
    assert running.wait() == 1


def test_exec_has_no_manager(nswrap, plain_manager):
    """Who joins is none of the service's processes."""
    running = nswrap.start("-n", "box", "sleep", 60, env=plain_manager.env)
    running.wait_event("started")
    shown = nswrap.run("exec", "box", "env", env={"LISTEN_FDS": "1", "LISTEN_PID": "1", "WATCHDOG_USEC": "1",
                                                  "WATCHDOG_PID": "1", "FDSTORE": "1", **plain_manager.env})
    assert shown.returncode == 0
    for name in (b"NOTIFY_SOCKET", b"LISTEN_", b"WATCHDOG_", b"FDSTORE"):
        assert name not in shown.stdout


def test_barrier(nswrap, manager):
    """Who waits at it waits for the manager, not for nswrap."""
    teller = Teller(nswrap, manager)
    teller.tell("READY=1")
    teller.say("barrier")
    manager.wait_for("READY=1")
    barrier = manager.receive()
    assert barrier.lines == ["BARRIER=1"] and len(barrier.fds) == 1
    os.set_blocking(teller.running.stdout.fileno(), False)
    assert teller.running.stdout.read(1) is None
    os.set_blocking(teller.running.stdout.fileno(), True)
    barrier.close()
    assert teller.running.read_line() == "told"


def test_main_process_and_descriptors(nswrap, plain_manager):
    """The main process stays nswrap; descriptors are not kept, which is said once."""
    teller = Teller(nswrap, plain_manager, "-v", env={"FDSTORE": "7"})
    teller.tell("STATUS=1\nMAINPID=1\nMAINPIDFDID=9")
    assert plain_manager.receive().lines == ["STATUS=1"]
    for _ in range(2):
        teller.tell("FDSTORE=1\nFDNAME=x\nSTATUS=2\nFDPOLL=0")
        message = plain_manager.receive()
        assert (message.lines, message.fds) == (["STATUS=2"], [])
    teller.tell("FDSTORE=1")
    teller.tell("FDSTOREREMOVE=1\nFDNAME=x")
    teller.tell("STATUS=3")
    assert plain_manager.receive().lines == ["STATUS=3"], "no empty messages"
    teller.running.wait_line("stays nswrap")
    assert len(teller.running.wait_lines("FDSTORE", 1)) == 1
    environment = open(f"/proc/{teller.running.command_pid()}/environ", "rb").read()
    assert b"FDSTORE" not in environment, "who looks before it asks knows"


@pytest.mark.parametrize("words", [[], ["--pid"]], ids=["plain", "pid"])
def test_watchdog(nswrap, plain_manager, words):
    """COMMAND is the process that is watched, by its number inside."""
    teller = Teller(nswrap, plain_manager, *words, env={"WATCHDOG_USEC": "1000000"})
    assert (teller.watchdog_pid, teller.watchdog_usec) == ("None", "1000000")
    # a variable can name nswrap only from a process that becomes it
    script = 'export WATCHDOG_PID=$$; exec "$@"'
    shell = ["sh", "-c", script, "sh"]
    line = [*shell, BINARY, "-q", *words, "--", *python(TELLS)]
    env = {**nswrap.env, **plain_manager.env, "WATCHDOG_USEC": "5000000"}
    done = subprocess.run(line, env=env, input=b"", capture_output=True, timeout=20 * PATIENCE)
    pid, watchdog_pid, usec = done.stdout.split()
    assert pid == watchdog_pid and usec == b"5000000"


@pytest.mark.parametrize("env", [{"WATCHDOG_PID": "1", "WATCHDOG_USEC": "1000000"}, {"WATCHDOG_USEC": "soon"},
                                 {"WATCHDOG_USEC": "0"}], ids=["another's", "no number", "never"])
def test_no_watchdog(nswrap, plain_manager, env):
    teller = Teller(nswrap, plain_manager, env=env)
    assert (teller.watchdog_pid, teller.watchdog_usec) == ("None", "None")


# --- who tells that all is ready ---------------------------------------------------------------------

LATE = "import sys; sys.stdin.readline();" + TCP_ECHO


@pytest.mark.parametrize("who", ["auto", "port", "command", "none"])
def test_sdnotify(nswrap, plain_manager, who):
    ready = "[ -z \"$NOTIFY_SOCKET\" ] || systemd-notify STATUS=command; echo told;"
    running = nswrap.start("-q", "--sdnotify", who, "-f", "0:7000", "--", "sh", "-c", ready + ' exec "$@"', "sh",
                           *python(LATE, "127.0.0.1", 7000), stdin=subprocess.PIPE, env=plain_manager.env)
    if who in ("auto", "command"):
        plain_manager.wait_for("STATUS=command")
        plain_manager.receive().close()  # its barrier
    assert running.read_line() == "told"
    assert plain_manager.receive_all() == [], "nothing listens yet"
    running.stdin.write(b"\n")
    running.stdin.flush()
    running.guest_listening()
    if who in ("auto", "port"):
        assert plain_manager.receive().lines == ["READY=1"]
    running.stop()
    ends = [line for message in plain_manager.receive_all() for line in message.lines]
    assert ends == ([] if who == "none" else ["STOPPING=1"])


def fill(manager):
    """The manager's queue, as another service may."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s, contextlib.suppress(BlockingIOError):
        s.connect(manager.address)
        s.setblocking(False)
        while True:
            s.send(b"STATUS=other")


def test_a_manager_that_has_no_room(nswrap, plain_manager):
    """It is told when there is some, and nothing waits for that: not COMMAND, and the end for a second."""
    fill(plain_manager)
    running = nswrap.start("-n", "box", "--network", "none", "sleep", 60, env=plain_manager.env)
    running.wait_event("started")
    assert nswrap.run("exec", "box", "true").returncode == 0
    assert plain_manager.wait_for("READY=1").pid == running.pid
    fill(plain_manager)
    running.signal(signal.SIGTERM)
    wait_for(lambda: not called("sleep", running.tree()), "COMMAND's end")
    assert plain_manager.wait_for("STOPPING=1").pid == running.pid
    assert running.wait() == 143
    # of one that reads nothing
    fill(plain_manager)
    assert nswrap.run("--network", "none", "true", env=plain_manager.env).returncode == 0
    assert {"READY=1"} not in [set(message.lines) for message in plain_manager.receive_all()]


@pytest.mark.parametrize("who", ["command", "child"])
def test_a_flood_of_commands_own(nswrap, plain_manager, who):
    """What we tell goes before it: else it would have all the room that there ever is."""
    script = ("import os, socket, threading; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM);"
              "s.connect(os.environ['NOTIFY_SOCKET'])\n"
              "def flood():\n"
              "    while True: s.send(b'STATUS=flood')\n"
              f"{'os.fork() or flood()' if who == 'child' else 'threading.Thread(target=flood, daemon=True).start()'}\n"
              "input(); listener = socket.create_server(('127.0.0.1', 7000)); input()")
    running = nswrap.start("-q", "-n", "box", "-f", "0:7000", "--", *python(script), env=plain_manager.env, stdin=subprocess.PIPE)
    plain_manager.wait_for("STATUS=flood")
    running.stdin.write(b"\n")
    running.stdin.flush()
    running.guest_listening()
    assert nswrap.run("exec", "box", "true").returncode == 0
    # what the queue holds, and what COMMAND had sent before
    for _ in range(1000):
        if plain_manager.receive().lines == ["READY=1"]:
            break
    else:
        raise AssertionError("it was never told")
    assert plain_manager.receive().lines == ["STATUS=flood"], "and COMMAND is heard again"


def test_last_words(nswrap, plain_manager):
    """What COMMAND has said in the moment of its end is told on, though the manager has no room for it yet."""
    # until nobody reads on: the manager's queue is full, and ours behind it
    script = ("import os, select, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM);"
              "s.connect(os.environ['NOTIFY_SOCKET'])\n"
              "n = 0\n"
              "while n < 100000 and select.select([], [s], [], 1)[1]:\n"
              "    s.send(b'STATUS=%d' % n); n += 1\n"
              "print(n, flush=True); os._exit(3)")
    running = nswrap.start("-q", "--sdnotify", "command", "--network", "none", "--", *python(script),
                           env=plain_manager.env)
    count = int(running.read_line())
    assert running.stdout.read() == b"", "COMMAND has ended"
    for i in range(count):
        assert plain_manager.receive().lines == [f"STATUS={i}"]
    assert running.wait() == 3


def test_manager_that_does_not_read(nswrap, plain_manager):
    """Nothing is lost, and nothing else waits for it; the end does for a second."""
    script = ("import os, socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM);"
              "s.connect(os.environ['NOTIFY_SOCKET']); s.setblocking(False)\n"
              "n = 0\n"
              "try:\n"
              "    while n < 100000:\n"
              "        s.send(b'STATUS=%d' % n); n += 1\n"
              "except BlockingIOError: pass\n"
              "print(n, flush=True); sys.stdin.readline()")
    running = nswrap.start("-q", "-n", "box", "--sdnotify", "command", "--", *python(script),
                           env=plain_manager.env, stdin=subprocess.PIPE)
    count = int(running.read_line())
    assert 0 < count < 100000, "COMMAND is held up as it would be by the manager"
    assert nswrap.run("exec", "box", "true").returncode == 0
    for i in range(count):
        assert plain_manager.receive().lines == [f"STATUS={i}"]
    assert plain_manager.receive_all() == []


def test_a_descriptor_that_waits_when_it_is_closed(nswrap, plain_manager):
    """COMMAND cannot hold the supervisor up with one: `nswrap stop` is answered."""
    script = ("import array, os, socket, struct, sys\n"
              "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
              "s.connect(os.environ['NOTIFY_SOCKET'])\n"
              "listener = socket.create_server(('127.0.0.1', 0))\n"
              "held = socket.create_connection(listener.getsockname())\n"
              "held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 1000))\n"
              "held.setblocking(False)\n"
              "try:\n"
              "    while True: held.send(bytes(65536))\n"
              "except BlockingIOError: print('full', flush=True)\n"
              "sys.stdin.readline()\n"
              "fds = array.array('i', [held.fileno()])\n"
              "s.sendmsg([b'STATUS=held'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])\n"
              "held.close(); print('sent', flush=True); sys.stdin.readline()\n")
    running = nswrap.start("-q", "-n", "box", "--sdnotify", "command", "--network", "none", "--", *python(script),
                           env=plain_manager.env, stdin=subprocess.PIPE)
    assert running.read_line() == "full"
    running.signal(signal.SIGSTOP)  # so it has the last one
    running.stdin.write(b"\n")
    running.stdin.flush()
    assert running.read_line() == "sent"
    running.signal(signal.SIGCONT)
    plain_manager.wait_for("STATUS=held")
    assert nswrap.run("stop", "box", timeout=20 * PATIENCE).returncode == 0
    assert running.wait() == 143


def test_manager_that_goes(nswrap, short_dir):
    """COMMAND hears nothing of it; a manager that comes back at its place is told again."""
    path = os.path.join(short_dir, "manager")
    first = Manager(path)
    teller = Teller(nswrap, first)
    teller.tell("READY=1")
    assert first.receive().lines == ["READY=1"]
    first.close()
    os.unlink(path)
    teller.tell("STATUS=nobody")
    second = Manager(path)
    teller.tell("STATUS=here")
    assert second.wait_for("STATUS=here").pid == teller.running.pid
    second.close()
    os.unlink(path)
    assert teller.running.stop() == 128 + signal.SIGTERM


@pytest.mark.parametrize("address", ["relative", "/nowhere/at/all", "vsock:2:1", "@" + 200 * "x", ""])
def test_no_manager(nswrap, address):
    """One line, and COMMAND runs without."""
    done = nswrap.run("--network", "none", "sh", "-c", "echo ${NOTIFY_SOCKET-none}", env={"NOTIFY_SOCKET": address})
    assert (done.returncode, done.stdout) == (0, b"none\n")
    assert done.stderr.count(b"\n") == (1 if address else 0)
    assert not address or b"NOTIFY_SOCKET=" in done.stderr


@pytest.mark.parametrize("words", [["--sdnotify", "x"], ["--sdnotify"]])
def test_bad_input(nswrap, words):
    done = nswrap.run(*words)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1


# --- the journal -------------------------------------------------------------------------------------


def journal():
    """(read end, write end, variable) of what stderr is under systemd."""
    read, write = os.pipe()
    info = os.fstat(write)
    return read, write, {"JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino}"}


def in_journal(nswrap, *words, env=None):
    """The lines that nswrap writes there; COMMAND's are its own."""
    read, write, variable = journal()
    popen = nswrap.popen(*words, stderr=write, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                         env={**variable, **(env or {})})
    os.close(write)
    lines = Lines(read)
    popen.wait(20 * PATIENCE)
    lines.join()
    return lines.lines


def test_journal(nswrap):
    """Each line has its level, also those that init and the net process have said."""
    lines = in_journal(nswrap, "-v", "-t", 0.1, "-p", 0, "-P", 7000, "sh", "-c",
                       "echo mine >&2; trap '' TERM; while :; do sleep 1; done & exit 0", env={"NOTIFY_SOCKET": "x"})
    levels = {line.split("nswrap: ", 1)[1].split()[0]: line[:3] for line in lines if "nswrap: " in line}
    assert "mine" in lines
    assert all(line.startswith("<") for line in lines if "nswrap: " in line), lines
    assert [line[:3] for line in lines if "NOTIFY_SOCKET" in line] == ["<4>"]
    assert [line[:3] for line in lines if "leads to port" in line] == ["<5>"]
    assert [line[:3] for line in lines if "SIGKILL to what" in line] == ["<6>"], levels
    assert [line[:3] for line in in_journal(nswrap, "--mtu", "1", "true")] == ["<3>"]


def test_journal_of_a_mesh(nswrap, tmp_path):
    manifest = tmp_path / "site.yaml"
    manifest.write_text("hosts:\n  a: {vip: 127.0.42.101, cmd: [\"false\"], restart: never}\n")
    lines = [line for line in in_journal(nswrap, "mesh", manifest) if "nswrap: " in line]
    assert lines and all(line.startswith("<") for line in lines), lines


def test_another_journal(nswrap):
    """Who has put something else in its place has inherited the variable all the same."""
    for words in [], ["-d"]:
        done = nswrap.run(*words, "--mtu", "1", "true", env={"JOURNAL_STREAM": "9:1"})
        assert done.stderr.startswith(b"nswrap: ")
    read, write, variable = journal()
    done = nswrap.popen("-d", "-n", "box", "-p", 0, "-P", 80, "sh", "-c", "echo $JOURNAL_STREAM", stderr=write,
                        stdout=subprocess.DEVNULL, env=variable)
    os.close(write)
    os.close(read)
    assert done.wait(20 * PATIENCE) == 0
    wait_for(lambda: b"box" not in nswrap.run("ps").stdout, "the end")
    assert b"<5>" not in nswrap.run("logs", "box").stdout, "the log is no journal"


# --- the end -------------------------------------------------------------------------------------------

FINISHES = """
import os, signal, subprocess, sys, time
def finish(*_):
    subprocess.run(['systemd-notify', '--no-block', '--status=finishing', 'STOPPING=1'])
    sys.exit(7)
signal.signal(signal.SIGTERM, finish)
subprocess.run(['systemd-notify', '--ready'])
subprocess.Popen(['sleep', '1000'])
while True:
    signal.pause()
"""


@pytest.mark.parametrize("words", [[], ["--pid"]], ids=["plain", "pid"])
@pytest.mark.parametrize("mode", ["mixed", "control-group"])
def test_kill_mode(nswrap, plain_manager, mode, words):
    """Either way COMMAND has one SIGTERM, finishes, and nothing is left for the manager to kill."""
    running = nswrap.start("-v", "--sdnotify", "command", *words, "--", *python(FINISHES), env=plain_manager.env)
    plain_manager.wait_for("READY=1")
    plain_manager.receive().close()
    wait_for(lambda: called("sleep", running.tree()), "its child")
    tree = running.tree()
    kill_unit(running.pid, signal.SIGTERM, mode)
    assert sorted(plain_manager.wait_for("STATUS=finishing").lines) == ["STATUS=finishing", "STOPPING=1"]
    status = running.wait()
    assert status == 7, (running.popen.returncode, running.stderr.text())
    assert not any(map(is_alive, tree))


@pytest.mark.parametrize("mode", ["mixed", "control-group"])
def test_kill_mode_of_what_does_not_end(nswrap, plain_manager, mode):
    """SIGKILL to the main process, or to all at once, is the manager's last word."""
    script = "trap '' TERM; systemd-notify --ready; sleep 1000 & while :; do wait; done"
    running = nswrap.start("-q", "-n", "box", "--sdnotify", "command", "-t", 1000, "--", "sh", "-c", script, env=plain_manager.env)
    plain_manager.wait_for("READY=1")
    plain_manager.receive().close()
    wait_for(lambda: called("sleep", running.tree()), "its child")
    tree = running.tree()
    kill_unit(running.pid, signal.SIGTERM, mode)
    kill_unit(running.pid, signal.SIGKILL, mode)
    assert running.wait() == 128 + signal.SIGKILL
    wait_for(lambda: not any(map(is_alive, tree)), "the end of all of it")
    # all at once: nobody was left to take the name away, so the next start does
    assert nswrap.run("-n", "box", "true").returncode == 0
