# SPDX-License-Identifier: Apache-2.0
"""e2e/test_faults - whatever of nswrap is killed, whenever: nothing stays behind"""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import threading
import time

import pytest

from harness import (
    BINARY, PATIENCE, Lines, descendants, exchange, free_port, is_alive, left_below, open_fds, python, settled_fds,
    wait_for)
from tools import HIDE_LIBSLIRP, THOROUGH, Roles, tool

GONE_S = 2
RECOVERY_S = 0.2
PID_NS = pytest.mark.parametrize("options", [[], ["--pid"]], ids=["plain", "pid"])
DRIVERS = pytest.mark.parametrize("driver", ["splice", "slirp"])
SUPERVISOR, INIT, COMMAND, NET = "0", "0.1", "0.1.1", "0.2"


def echoes(port):
    """One exchange through a forward; False while nobody answers."""
    with contextlib.suppress(OSError):
        return exchange(port, b"hello") == b"hello"
    return False


class Leftovers:
    """What of a sandbox is still there: processes (all are below us, a subreaper) and files."""

    def __init__(self, nswrap, path):
        self.nswrap = nswrap
        self.path = path
        self.before = set(descendants(os.getpid()))

    def processes(self):
        return left_below(self.before)

    def files(self):
        found = [f for f in self.nswrap.registry() if not f.endswith(".lock")]
        return found + ([self.path] if os.path.lexists(self.path) else [])

    def wait(self):
        """What is left when nothing should be; and removes it."""
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not self.processes() and not self.files(), "all to go", GONE_S)
            return ""
        text = f"processes {[self.name(p) for p in self.processes()]}, files {self.files()}"
        self.clean()
        return text

    @staticmethod
    def name(pid):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8") as f:
            return f"{pid} {f.read().strip()}"
        return str(pid)

    def clean(self):
        while self.processes():
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for name in self.nswrap.registry():
            (self.nswrap.runtime_dir / name).unlink()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


# --- at each phase of the start --------------------------------------------------------------------


class Strike:
    """One start under tools/killer: role gets SIGKILL as it enters its nth system call."""

    def __init__(self, nswrap, role, n, *args):
        info_read, info_write = os.pipe()
        err_read, err_write = os.pipe()
        self.killer = subprocess.Popen(
            [tool("killer"), role, str(n), *nswrap_line(info_write, *args)], env=nswrap.env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err_write,
            pass_fds=(info_write,))
        os.close(info_write)
        os.close(err_write)
        self.info = Lines(info_read)
        self.stderr = Lines(err_read)
        self.pid = int(self.killer.stdout.readline().split()[1])
        self._says = Lines(os.dup(self.killer.stdout.fileno()))

    def is_up(self):
        return any(json.loads(line)["event"] == "guest-listening" for line in list(self.info.lines))

    def strike(self):
        """Wait for the call or the end of the start; True if the call came."""
        wait_for(lambda: self._says.ended or self.is_up(), "the start or its end")
        self.killer.stdin.close()
        self.killer.wait(10 * PATIENCE)
        self._says.join()
        self.killer.stdout.close()
        return self.killer.returncode == 0

    def calls(self):
        """How many calls were counted."""
        return int(self._says.lines[-1].split()[1])

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def nswrap_line(info, *args):
    return [BINARY, "--info-fd", str(info), *map(str, args)]


def guest(port, path, *options):
    return [*options, "-p", port, "-P", 7000, "-f", f"unix:{path}:7000", "--",
            tool("guest"), "-d", 7000]


def sweep(nswrap, path, role, options, after, step=2):
    """Kill role at every step-th call of its start; after(strike) may look at what goes on."""
    port = free_port()
    args = guest(port, path, *options)
    left = Leftovers(nswrap, path)
    count = Strike(nswrap, role, 0, *args)
    assert not count.strike()
    count.kill()
    assert left.wait() == ""
    assert count.calls() > 50, "the sweep sees the process"
    bad = []
    reached = tried = 0
    # with --pid the supervisor reads all of /proc: some hundred calls alike, more where more runs
    calls = count.calls()
    tries = calls if THOROUGH else min(calls // step, 100)
    for i in range(tries):
        n = 1 + i * calls // tries
        tried += 1
        one = Strike(nswrap, role, n, *args)
        if one.strike():
            reached += 1
            trouble = after(one, port)
        else:
            trouble = None
            calls = max(min(calls, one.calls()), 1)
            one.kill()
        trouble = trouble or left.wait()
        left.clean()
        if trouble:
            bad.append(f"call {n}: {trouble}; {one.stderr.text()}")
        if len(bad) > 4:
            break
    assert not bad, "\n".join(bad)
    assert reached > tried / 3, f"{reached} of {tried} calls came"


@PID_NS
@pytest.mark.parametrize("role", [SUPERVISOR, INIT, COMMAND], ids=["supervisor", "init", "command"])
@pytest.mark.limit(300)
def test_start_is_cut_short(nswrap, short_dir, role, options):
    """Without more ado: processes, socket files and registry entry go."""
    sweep(nswrap, os.path.join(short_dir, "s"), role, options, lambda strike, port: "")


@pytest.mark.limit(300)
@pytest.mark.waits
def test_start_without_net_process(nswrap, short_dir):
    """It is the only one that is not missed: another one takes over, the sandbox comes up."""

    def comes_up(strike, port):
        def said():
            return sum("another one takes over" in line for line in list(strike.stderr.lines))

        with contextlib.suppress(AssertionError):
            wait_for(lambda: echoes(port), "the forward to work", 5)
            # what is written is read by a thread of its own
            wait_for(said, "a line that says so", 5)
            os.kill(strike.pid, signal.SIGTERM)
            return "" if said() == 1 else f"{said()} lines say so"
        return f"the forward does not work, or nothing says why ({said()} lines)"

    sweep(nswrap, os.path.join(short_dir, "s"), NET, [], comes_up)


# --- while it runs -----------------------------------------------------------------------------------


def run_guest(nswrap, path, *options, daemon_options="-d"):
    running = nswrap.start(*options, "-p", 0, "-P", 7000, "-f", f"unix:{path}:7000", "--",
                           tool("guest"), daemon_options, 7000)
    running.guest_listening()
    assert echoes(running.host_port())
    # below the supervisor: init, net, the witness, COMMAND and its daemon
    wait_for(lambda: len(running.tree()) == 5, "the daemon")
    return running


@PID_NS
@pytest.mark.parametrize("victim", ["supervisor", "init", "command"])
def test_killed_while_it_runs(nswrap, short_dir, victim, options):
    path = os.path.join(short_dir, "s")
    left = Leftovers(nswrap, path)
    running = run_guest(nswrap, path, *options)
    os.kill(getattr(Roles(running), victim), signal.SIGKILL)
    assert running.wait() == {"supervisor": 137, "init": 125, "command": 137}[victim]
    assert left.wait() == ""
    if victim == "init":
        assert re.search("init.*signal 9", running.stderr.text())


@PID_NS
def test_command_that_ignores_sigterm(nswrap, short_dir, options):
    path = os.path.join(short_dir, "s")
    left = Leftovers(nswrap, path)
    running = run_guest(nswrap, path, "-t", 1, *options, daemon_options="-di")
    begun = time.monotonic()
    assert running.stop() == 137
    assert 0.9 < time.monotonic() - begun < 1 + GONE_S * PATIENCE
    assert left.wait() == ""


@PID_NS
def test_leftovers_of_the_command(nswrap, short_dir, options):
    """COMMAND ends; what it left gets SIGTERM, then SIGKILL. The exit status is COMMAND's."""
    path = os.path.join(short_dir, "s")
    left = Leftovers(nswrap, path)
    script = f"{tool('guest')} -d 7000 & trap '' TERM; sleep 1000 & exit 3"
    running = nswrap.start("-t", 1, "-f", f"unix:{path}:7000", *options, "-c", script)
    assert running.wait() == 3
    assert left.wait() == ""


def test_stopped_leftovers_end_at_once(nswrap):
    """A stopped process is woken for its SIGTERM."""
    begun = time.monotonic()
    assert nswrap.run("-c", "sleep 1000 & kill -STOP $!; exit 4").returncode == 4
    assert time.monotonic() - begun < 9


def test_children_of_before_are_left_alone(tmp_path):
    """What a script began before it became nswrap is not the sandbox's: who logs what COMMAND says reads all of it."""
    path = tmp_path / "log"
    script = f"exec {BINARY} -q -- sh -c 'seq 20000; exit 3' > >(sleep 0.3; cat >{path}; echo end >>{path})"
    assert subprocess.run(["bash", "-c", script]).returncode == 3
    wait_for(lambda: path.exists() and path.read_text().endswith("20000\nend\n"), "the whole log")


# --- one that is stopped -------------------------------------------------------------------------------

MANY = 400  # messages: some hundred are more than a pair of sockets holds

# greets at many ports, argv: the first, how many; then dials the path that is said on stdin, prints what comes
GREETS = """
import selectors, socket, sys, threading
first, count = map(int, sys.argv[1:])
def dial(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        print('dials', flush=True)
        print(s.recv(100), flush=True)
waiting = selectors.DefaultSelector()
for port in range(first, first + count):
    waiting.register(socket.create_server(('127.0.0.1', port)), selectors.EVENT_READ)
waiting.register(sys.stdin, selectors.EVENT_READ)
print('listens', flush=True)
while True:
    for key, _ in waiting.select():
        if key.fileobj is sys.stdin:
            threading.Thread(target=dial, args=[sys.stdin.readline().strip()]).start()
            continue
        with key.fileobj.accept()[0] as s:
            s.send(b'hello')
"""


def greeting(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10 * PATIENCE)
        s.connect(path)
        return s.recv(100)


@pytest.mark.limit(120)
def test_what_a_stopped_supervisor_hears(nswrap, short_dir):
    """It is told of all that listens meanwhile; who has a path dialled waits for it, and is not refused."""
    paths = [f"{short_dir}/{i}" for i in range(MANY)]
    words = [word for i, path in enumerate(paths) for word in ("-f", f"unix:{path}:{7000 + i}")]
    with socket.create_server(f"{short_dir}/target", family=socket.AF_UNIX) as target:
        running = nswrap.start("-q", *words, "-R", f"unix:{short_dir}/inner:unix:{short_dir}/target", "--",
                               *python("input();" + GREETS, 7000, MANY), stdin=subprocess.PIPE)
        running.wait_event("started")
        assert Roles(running).net
        running.signal(signal.SIGSTOP)
        running.stdin.write(b"\n")
        running.stdin.flush()
        assert running.read_line() == "listens"
        # the net process has found each, and has told of it or cannot
        assert all(greeting(path) == b"hello" for path in paths)
        running.stdin.write(f"{short_dir}/inner\n".encode())
        running.stdin.flush()
        assert running.read_line() == "dials"
        assert greeting(paths[0]) == b"hello"  # so the net process has seen it
        running.signal(signal.SIGCONT)
        running.guest_listening(MANY)
        assert sorted(e["path"] for e in running.events if e["event"] == "guest-listening") == sorted(paths)
        target.settimeout(10 * PATIENCE)
        accepted = target.accept()[0]
        accepted.sendall(b"dialled")
        assert running.read_line() == "b'dialled'"
        accepted.close()


def test_what_a_stopped_init_hears(nswrap, short_dir):
    """The socket files of many rules, which it removes should nswrap be killed, and signals behind them."""
    paths = [f"{short_dir}/{i}" for i in range(MANY)]
    left = Leftovers(nswrap, paths[0])
    script = "import signal; signal.signal(signal.SIGUSR1, lambda *_: print('told', flush=True)); print('runs', flush=True)\n" \
             "while True: signal.pause()"
    running = nswrap.start("-q", "-n", "box", "-f", f"unix:{paths[0]}:7000", "--", *python(script))
    assert running.read_line() == "runs"
    os.kill(Roles(running).init, signal.SIGSTOP)
    added = nswrap.run("port", "add", "box", *[f"unix:{path}:7000" for path in paths[1:]])
    assert added.returncode == 0, added.stderr
    running.signal(signal.SIGUSR1)
    os.kill(Roles(running).init, signal.SIGCONT)
    assert running.read_line() == "told"
    assert all(map(os.path.exists, paths))
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait() == 137
    assert left.wait() == ""
    assert not any(map(os.path.exists, paths))


# --- the net process ---------------------------------------------------------------------------------


def kill_net(running):
    """SIGKILL; seconds until the forward works again."""
    pid = Roles(running).net
    os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()
    # the listener may lead to the dead one for a moment
    wait_for(lambda: not is_alive(pid), "the net process to end")
    wait_for(lambda: echoes(running.host_port()), "the forward to work again")
    return time.monotonic() - begun


def test_libslirp_that_is_replaced(nswrap):
    """While it is not there the net process has no successor, and COMMAND lives; then it has one."""
    running = nswrap.start("-p", 0, "-P", 7000, "--", tool("guest"), 7000, prefix=["unshare", "-Urm"])
    running.guest_listening()
    port = running.host_port()
    inside = ["nsenter", "-t", str(running.pid), "-U", "-m", "--preserve-credentials", "sh", "-ec"]
    subprocess.run([*inside, HIDE_LIBSLIRP, "sh", "true"], check=True)
    os.kill(running.net_pid(), signal.SIGKILL)
    running.wait_line("cannot load libslirp: ")
    subprocess.run([*inside, HIDE_LIBSLIRP.replace("mount --bind /dev/null", "umount -l"), "sh", "true"], check=True)
    running.wait_line("a net process works again", 20)
    wait_for(lambda: echoes(port), "the forward to work again")
    assert running.stop() == 143
    assert sum("libslirp" in line for line in running.stderr.lines) == 1, "it is told once"


def test_added_port_that_cannot_be_served(nswrap):
    """COMMAND has begun without a net process: it does not end because there is none later."""
    running = nswrap.start("-n", "box", "--network", "none", "sleep", "1000", prefix=["unshare", "-Ur"])
    running.wait_event("started")
    inside = ["nsenter", "-t", str(running.pid), "-U", "--preserve-credentials"]
    limit = [*inside, "sh", "-c", "echo $0 >/proc/sys/user/max_user_namespaces"]
    subprocess.run([*limit, "0"], check=True)
    assert nswrap.run("port", "add", "box", f"{free_port()}:80", prefix=inside).returncode == 0
    running.wait_line("trying again")
    subprocess.run([*limit, "100"], check=True)
    running.wait_line("a net process works again", 20)
    assert running.stop() == 143


@DRIVERS
@PID_NS
def test_net_process_comes_back(nswrap, driver, options):
    """New connections work within 200 ms (the median of three), COMMAND lives on, a line says so."""
    running = nswrap.start("--port-driver", driver, *options, "-p", 0, "-P", 7000, "--",
                           tool("guest"), 7000)
    running.guest_listening()
    command = Roles(running).command
    times = [kill_net(running) for _ in range(3)]
    assert statistics.median(times) < RECOVERY_S * PATIENCE, times
    assert Roles(running).command == command
    said = running.wait_lines("another one takes over", 3)
    assert len(said) == 3 and all("signal 9" in line for line in said)
    assert running.stop() == 143


def busy_seconds(pid):
    """Processor time that it has used."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("how", ["ip link del tap0", "ip link set tap0 down", "ip addr flush tap0", "ss -K -l -t >/dev/null"])
def test_root_inside_takes_the_network_away(nswrap, how):
    """The net process says so if it sees it, and sleeps; forwards that need no TAP go on."""
    running = nswrap.start("--root", "-p", 0, "-P", 7000, "-c", f"{how} && exec {tool('guest')} 7000")
    running.guest_listening()
    said = {"ip link del tap0": "the network device inside was deleted",
            "ss -K -l -t >/dev/null": "a listening socket was ended by somebody else"}.get(how)
    if said:
        running.wait_line(said)
    net = Roles(running).net
    before, start = busy_seconds(net), time.monotonic()
    while time.monotonic() - start < 1:
        assert echoes(running.host_port())
        time.sleep(0.05)
    assert busy_seconds(net) - before < 0.5
    if said:
        kill_net(running) # so does the next one
        assert busy_seconds(Roles(running).net) < 0.5
    assert running.stop() == 143


@DRIVERS
@pytest.mark.limit(120)
@pytest.mark.waits
def test_net_process_killed_again_and_again(nswrap, driver):
    """Under load, 20 times: the supervisor keeps nothing of the dead ones."""
    running = nswrap.start("--port-driver", driver, "-p", 0, "-P", 7000, "--", tool("guest"), 7000)
    running.guest_listening()
    port = running.host_port()
    kill_net(running)
    before = settled_fds(running.pid)
    stop = threading.Event()

    def load():
        while not stop.is_set():
            subprocess.run([tool("hammer"), "-t", "2", "127.0.0.1", str(port), "200", "8"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(20):
            kill_net(running)
    finally:
        stop.set()
        thread.join()
    assert echoes(port)
    wait_for(lambda: len(open_fds(running.pid)) <= before, "the supervisor's descriptors to be closed")
    assert len(running.tree()) == 4
    assert running.stop() == 143


# --- many starts at once ---------------------------------------------------------------------------

# has the lock for one start after the other; argv: its file, how many starts of a second. 0: for ever
HOLDER = """
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(fd, fcntl.LOCK_EX)
for turn in range(int(sys.argv[2])):
    os.pwrite(fd, b'%10d %020d\\n' % (os.getpid() + turn, turn), 0)
    print(turn, flush=True)
    time.sleep(1)
print('all', flush=True)
if sys.argv[2] == '0':
    sys.stdin.read()
"""


@pytest.mark.waits
@pytest.mark.parametrize("turns", [0, 7], ids=["stopped", "many"])
def test_the_runtime_directory_is_held(nswrap, turns):
    """Who waits to start gives up when one of the others does not get on, and not because they are many."""
    assert nswrap.run("true").returncode == 0
    lock = nswrap.runtime_dir / "nswrap/.lock"
    with subprocess.Popen(python(HOLDER, lock, turns), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline()
        result = nswrap.run("--network", "none", "true")
        holder.stdin.close()
    if turns:
        assert (result.returncode, result.stderr) == (0, b"")
    else:
        assert result.returncode == 125
        assert b"holds the runtime directory and does not get on" in result.stderr
