# SPDX-License-Identifier: Apache-2.0
"""e2e/test_ends - a COMMAND that leaves a server behind; signals that end it come once"""

import os
import shlex
import signal
import socket
import subprocess
import time

import pytest

from harness import PATIENCE, PYTHON, called, connect, descendants, is_alive, process_table, python, wait_for

# a daemon as in a book: forks, a session of its own, forks; it listens, and is all that is left, once COMMAND ends
DAEMON = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", 7000))
if middle := os.fork():
    os.waitpid(middle, 0)
    os._exit(int(sys.argv[1]))
os.setsid()
if os.fork():
    os._exit(0)
for i in range(3):
    os.dup2(os.open("/dev/null", os.O_RDWR), i)
while True:
    client, _ = server.accept()
    client.sendall(str(os.getpid()).encode())
    client.close()
"""
LINE = "left 1 process in the background"
PID_NS = pytest.mark.parametrize("options", [[], ["--pid"], ["--new-session"]], ids=" ".join)


@PID_NS
def test_a_daemon_is_ended_with_a_word(nswrap, options):
    done = nswrap.run(*options, "--network", "none", "--", *python(DAEMON, 0))
    assert done.returncode == 0
    assert LINE in done.stderr.decode() and "--wait-all" in done.stderr.decode()


@PID_NS
def test_what_is_to_go_on_is_ended_with_a_word(nswrap, options):
    """nohup(1) leaves a program in the session of its shell, and means it to outlive that."""
    script = "nohup sleep 1000 >/dev/null 2>&1 & until grep -q 'SigIgn.*[13579bdf]$' /proc/$!/status; do :; done"
    done = nswrap.run(*options, "--network", "none", "-c", script)
    assert done.returncode == 0 and LINE in done.stderr.decode()


def test_what_ends_by_itself_meanwhile(nswrap):
    """The last of what COMMAND left ends just when it would be asked to: nothing is waited for, or said."""
    started = [nswrap.start("--network", "none", "-c", f"sleep {0.15 + 0.004 * i:.3f} & exit 0") for i in range(20)]
    for running in started:
        assert running.wait(5) == 0
        assert running.stderr.text() == ""


@PID_NS
def test_no_word_where_nobody_meant_it(nswrap, options):
    """Of failures, and of what a shell has in the background."""
    failed = nswrap.run(*options, "--network", "none", "--", *python(DAEMON, 3))
    usual = nswrap.run(*options, "--network", "none", "-c", "sleep 1000 & exit 0")
    assert (failed.returncode, usual.returncode) == (3, 0)
    assert failed.stderr + usual.stderr == b""


@pytest.mark.parametrize("options", [[], ["--new-session"]], ids=" ".join)
def test_a_daemon_of_exec_is_ended_with_a_word(nswrap, options):
    """And so is not what nobody meant to stay: of failures, and of what a shell has in the background."""
    nswrap.start("-q", "-n", "box", "--network", "none", "sleep", 1000).wait_event("started")
    done = nswrap.run("exec", *options, "box", *python(DAEMON, 0))
    failed = nswrap.run("exec", *options, "box", *python(DAEMON, 3))
    usual = nswrap.run("exec", *options, "box", "sh", "-c", "sleep 1000 & exit 0")
    assert (done.returncode, failed.returncode, usual.returncode) == (0, 3, 0)
    [line] = done.stderr.decode().splitlines()
    assert LINE in line and "in the foreground" in line
    assert failed.stderr + usual.stderr == b""


@PID_NS
@pytest.mark.parametrize("how", ["TERM", "INT", "stop", "by itself"])
def test_wait_all(nswrap, options, how):
    running = nswrap.start(
        *options, "--wait-all", "-n", "all", "-p", 0, "-P", 7000, "--", *python(DAEMON, 5))
    running.guest_listening()
    command = running.wait_event("started")["pid"]
    wait_for(lambda: not is_alive(command), "the end of COMMAND")
    with connect(running.host_port()) as s:
        assert s.recv(10)
    [daemon] = called(os.path.basename(PYTHON), running.tree())
    assert running.popen.poll() is None
    if how == "stop":
        assert nswrap.run("stop", "all").returncode == 0
    elif how == "by itself":
        os.kill(daemon, signal.SIGKILL)
    else:
        running.signal(getattr(signal, f"SIG{how}"))
    assert running.wait() == 5
    assert "background" not in running.stderr.text()
    assert not is_alive(daemon)


# --- signals to more than nswrap ----------------------------------------------------------------------------

COUNTS = """
import os, signal, sys
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
               signal.SIGALRM):
    signal.signal(number, lambda found, frame: os.write(1, signal.Signals(found).name.encode() + b'\\n'))
print('ready', flush=True)
sys.stdin.readline()
print('end', flush=True)
"""
# SIGWINCH is Apache's word for a graceful stop
SENT = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGWINCH, signal.SIGALRM]


def witness(running):
    """The process that tells which signals come to all, when it is there (src/proc/witness.h)."""
    [pid] = wait_for(lambda: called("nswrap: witness", descendants(running.pid)), "the witness")
    return pid


def send(running, number, to):
    """To nswrap alone, to its process group (`kill %1`), or to each process of it (systemd's stop)."""
    if to == "process":
        os.kill(running.pid, number)
    elif to == "group":
        os.killpg(running.pid, number)
    else:
        for pid in [running.pid, *descendants(running.pid)]:
            os.kill(pid, number)


def count_signals(nswrap, how, to):
    """What COMMAND had of SENT, what it said of one more, and how long the slowest took to be sent."""
    if how == "exec":
        popen = nswrap.popen("exec", "box", *python(COUNTS), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             start_new_session=True)
    else:
        popen = nswrap.popen("-q", *how, "--", *python(COUNTS), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             start_new_session=True)
    assert popen.stdout.readline() == b"ready\n"
    witness(popen)
    slowest = 0
    for number in SENT:
        began = time.monotonic()
        send(popen, number, to)
        slowest = max(slowest, time.monotonic() - began)
    seen = sorted(popen.stdout.readline().strip().decode() for _ in SENT)
    # held as long as the others were: one of them that came again would come before it
    send(popen, signal.SIGUSR2, "process")
    out, _ = popen.stdout.readline(), popen.communicate(b"\n", timeout=20)
    return seen, out, slowest


@pytest.mark.parametrize("to", ["process", "group", "cgroup"])
@pytest.mark.parametrize("how", [[], ["--pid"], ["--new-session"], "exec"], ids=["plain", "pid", "session", "exec"])
def test_a_signal_comes_once(nswrap, how, to):
    """However it is sent: a second one makes many programs end without finishing what they do."""
    if how == "exec":
        nswrap.start("-q", "-n", "box", "sleep", 60).wait_event("started")
    for _ in range(10):
        seen, out, slowest = count_signals(nswrap, how, to)
        # who is held up between two kills for as long as nswrap waits has sent two
        if slowest < 0.02:
            break
    assert (seen, out) == (sorted(number.name for number in SENT), b"SIGUSR2\n")


LEAVES = """
import os, signal, sys, time
had = []
for number in (signal.SIGTERM, signal.SIGCONT):
    signal.signal(number, lambda number, frame: had.append(signal.Signals(number).name))
print('ready', flush=True)
while 'SIGTERM' not in had:
    time.sleep(0.01)
end = time.monotonic() + 1
while time.monotonic() < end:
    time.sleep(0.01)
print(' '.join(name for name in had if name == 'SIGTERM'), flush=True)
"""


@pytest.mark.parametrize("script", ["{}; true", "trap 'exit 0' TERM; {} & wait", "trap 'exit 3' TERM; {} & wait"],
                         ids=["ends", "traps", "fails"])
@pytest.mark.parametrize("to", ["process", "group", "cgroup", "command"])
@pytest.mark.parametrize("how", [[], ["--pid"], "exec"], ids=["plain", "pid", "exec"])
def test_what_a_script_leaves_has_a_signal_once(nswrap, how, to, script):
    """A script ends by SIGTERM at once, and its server, which had it with the script, is not told again."""
    shell = ["sh", "-c", script.format(shlex.join(python(LEAVES)))]
    if how == "exec":
        nswrap.start("-q", "-n", "box", "sleep", 60).wait_event("started")
    popen = nswrap.popen(*(["exec", "box"] if how == "exec" else ["-q", *how, "--"]), *shell,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
    assert popen.stdout.readline() == b"ready\n"
    witness(popen)
    began = time.monotonic()
    if to == "command":
        table = process_table()
        os.kill(next(pid for pid in descendants(popen.pid) if table[pid][2] == "sh"), signal.SIGTERM)
    else:
        send(popen, signal.SIGTERM, to)
    out, _ = popen.communicate(timeout=20 * PATIENCE)
    assert out == b"SIGTERM\n"
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("to", ["group", "cgroup"])
@pytest.mark.parametrize("how", [[], ["--pid"], "exec"], ids=["plain", "pid", "exec"])
def test_what_a_script_leaves_is_not_told_early(nswrap, how, to):
    """The script has ended long before nswrap knows that all had the signal: the witness has not run meanwhile."""
    shell = ["sh", "-c", f"{shlex.join(python(LEAVES))}; true"]
    if how == "exec":
        nswrap.start("-q", "-n", "box", "sleep", 60).wait_event("started")
    popen = nswrap.popen(*(["exec", "box"] if how == "exec" else ["-q", *how, "--"]), *shell,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
    assert popen.stdout.readline() == b"ready\n"
    late = witness(popen)
    os.kill(late, signal.SIGSTOP)
    send(popen, signal.SIGTERM, to)
    time.sleep(0.5)  # what has not had it is told after 0.2 s
    os.kill(late, signal.SIGCONT)
    assert popen.communicate(timeout=20 * PATIENCE)[0] == b"SIGTERM\n"


@pytest.mark.parametrize("session", ["", "setsid "], ids=["same", "own"])
@pytest.mark.parametrize("to", ["process", "group", "cgroup"])
@pytest.mark.parametrize("how", [[], ["--pid"], ["--new-session"]], ids=["plain", "pid", "session"])
def test_what_is_waited_for_has_a_signal_once(nswrap, how, to, session):
    """A daemon, whose parent has ended long ago, in COMMAND's session or one of its own."""
    running = nswrap.start("-q", "--wait-all", *how, "-c", f"{session}{shlex.join(python(LEAVES))} &",
                           start_new_session=True)
    assert running.read_line() == "ready"
    command = running.wait_event("started")["pid"]
    wait_for(lambda: not is_alive(command), "the end of COMMAND")
    witness(running)
    send(running, signal.SIGTERM, to)
    assert running.read_line() == "SIGTERM"
    assert running.wait() == 0


SLOW = """
import http.server, signal, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'begin')
        # a handler could come while the thread that it comes in takes a lock
        if signal.sigtimedwait([signal.SIGTERM], 20):
            time.sleep(0.3)
            self.wfile.write(b'end')
    def log_message(self, *words):
        pass
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
http.server.HTTPServer(('127.0.0.1', 8000), Handler).handle_request()
"""


@pytest.mark.parametrize("driver", ["splice", "slirp"])
@pytest.mark.parametrize("to", ["process", "group", "cgroup"])
def test_what_is_asked_for_is_answered(nswrap, driver, to):
    """A server that ends with grace when it is told to can do so: its clients are served until it has ended."""
    running = nswrap.start("-q", "--port-driver", driver, "-p", 0, "-P", 8000, "--", *python(SLOW),
                           start_new_session=True)
    running.guest_listening()
    with socket.create_connection(("127.0.0.1", running.host_port()), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        got = b""
        while b"begin" not in got:
            got += client.recv(4096)
        send(running, signal.SIGTERM, to)
        while more := client.recv(4096):
            got += more
    assert got.endswith(b"beginend")
    assert running.popen.wait(20) == 0
