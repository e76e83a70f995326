# SPDX-License-Identifier: Apache-2.0
"""e2e/test_limits - many connections: none is lost, and nothing of them is left"""

import contextlib
import fcntl
import os
import socket
import subprocess
import tempfile

import pytest

from harness import PATIENCE, SANITIZED, TCP_ECHO, exchange, free_ports, is_refused, proc_status, python, wait_for
from tools import THOROUGH, Roles, tool

AT_ONCE = 2000
# one after another: more than there are ports; the slirp driver is slower
IN_ALL = {"splice": 100_000 if THOROUGH else 40_000, "slirp": 100_000 if THOROUGH else 10_000}
# libslirp keeps what it closed first for twice the segment lifetime
LINGER_S = 30
# stocks that are kept for the next clients: sockets of the inside, pipes
KEPT_FDS = 400
KEPT_KB = 2000

# libslirp keeps descriptors for 10 s, so the tests of it mostly wait
DRIVERS = pytest.mark.parametrize("driver", ["splice", pytest.param("slirp", marks=pytest.mark.waits)])


class Load:
    """A sandbox with an echo server on an outer host, where its net process can be looked at."""

    def __init__(self, nswrap, outer, driver, prefix=()):
        self.host = outer()
        line = self.host.prefix()
        # as the outer root: what hides from its user does not hide from it
        self.prefix = [*line[:line.index("--") + 1], *prefix]
        self.running = nswrap.start("--port-driver", driver, "-p", 0, "-P", 7000, "--",
                                    tool("guest"), 7000, prefix=self.prefix)
        self.running.guest_listening()
        self.roles = Roles(self.running)
        self.net = self.roles.net
        self.clients = []
        self.port = self.running.host_port()

    def hammer(self, *args, **options):
        """Start tools/hammer with these arguments, in the host's network."""
        *options_list, count, at_once = map(str, args)
        line = self.host.prefix()
        self.clients.append(subprocess.Popen(
            [*line[:line.index("--") + 1], tool("hammer"), *options_list, "127.0.0.1",
             str(self.port), count, at_once],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options))
        return self.clients[-1]

    def run(self, *args):
        """All connections, and none may fail. Returns the seconds it took."""
        client = self.hammer(*args)
        out, err = client.communicate(b"go\n")
        done, failed, seconds = out.decode().split("\n")[-2].split()
        assert client.returncode == 0, f"{failed} of {args} failed: {err.decode()}" + self.said()
        assert int(done) == int(args[-2])
        return float(seconds)

    def said(self):
        return "; nswrap said: " + self.running.stderr.text()

    def fds(self, pid=None):
        line = self.host.prefix()
        result = subprocess.run(
            [*line[:line.index("--") + 1], "ls", f"/proc/{pid or self.net}/fd"],
            capture_output=True, check=True)
        return len(result.stdout.split())

    def memory_kb(self):
        return int(proc_status(self.net)["VmRSS"].split()[0])

    def is_same(self):
        """The processes are those of the start, and no more."""
        return self.roles.net == self.net and len(self.running.tree()) == 4


@pytest.fixture
def start(nswrap, outer):
    loads = []

    def make(driver, prefix=()):
        loads.append(Load(nswrap, outer, driver, prefix))
        return loads[-1]

    yield make
    for load in loads:
        for client in load.clients:
            client.kill()
            client.communicate()


@DRIVERS
@pytest.mark.limit(180)
def test_many_at_once(start, driver):
    """All are open and carry bytes at the same time; afterwards no descriptor and no memory is kept."""
    load = start(driver)
    counts, peaks_kb = [], []
    least = 2 if driver == "slirp" and not THOROUGH else 3

    def is_steady():
        # what the allocator keeps is used again: a leak would raise each peak, and the end above them
        return max(peaks_kb[-1], load.memory_kb()) <= max(peaks_kb[:-1]) + KEPT_KB

    while len(counts) < least or not (SANITIZED or is_steady() or len(counts) > least):
        client = load.hammer("-h", AT_ONCE, AT_ONCE)
        said = client.stdout.readline()
        assert said == b"open\n", client.communicate()[1].decode() + load.said()
        assert load.fds() > AT_ONCE, "the connections are the net process's"
        peaks_kb.append(load.memory_kb())
        out, err = client.communicate(b"go\n")
        assert client.returncode == 0, out.decode() + err.decode() + load.said()
        # libslirp closes its ones over some time: the count may still be falling
        most = min([KEPT_FDS - 1] + [count + 64 for count in counts])
        wait_for(lambda: load.fds() <= most, "the descriptors to be closed", LINGER_S)
        counts.append(load.fds())
    assert SANITIZED or is_steady(), peaks_kb
    assert load.is_same()
    assert load.fds(load.roles.init) < 32


@DRIVERS
@pytest.mark.limit(180)
def test_many_one_after_another(start, driver):
    load = start(driver)
    load.run(1000, 16)
    supervisor = load.fds(load.running.pid)
    size = load.memory_kb()
    seconds = load.run("-t", int(150 * PATIENCE), IN_ALL[driver], 16)
    print(f"{IN_ALL[driver]} connections by {driver}: {seconds} s")
    # libslirp holds a descriptor for 10 s, so their number bounds its rate
    assert seconds < (120 if THOROUGH else 60) * PATIENCE
    wait_for(lambda: load.fds() < KEPT_FDS, "the descriptors to be closed", LINGER_S)
    assert load.is_same(), load.said()
    assert load.fds(load.running.pid) <= supervisor
    if not SANITIZED and driver == "splice":
        assert load.memory_kb() <= size + KEPT_KB
    assert load.run(100, 16) < 10 * PATIENCE


def limited(limit):
    """Words in front of a command that give it a hard limit of open files."""
    return ["sh", "-c", f'ulimit -Sn {limit}; ulimit -Hn {limit}; exec "$@"', "sh"]


@pytest.fixture
def in_turn():
    """Of those that have it one runs at a time (tests/e2e/beside.py): what they limit is counted by user."""
    with open(os.path.join(tempfile.gettempdir(), f"nswrap-test-limits-{os.getuid()}"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@DRIVERS
@pytest.mark.parametrize("limit", [16, 32, 64, 96, 128, 129, 130, 160])
def test_a_hard_limit_serves_or_is_refused(nswrap, in_turn, driver, limit):
    """Never a forward that is there and serves nobody."""
    words = ["--port-driver", driver, "-p", 0, "-P", 7000, "--", tool("guest"), 7000]
    prefix = limited(limit)
    least = 129 if driver == "splice" else 130  # libslirp has a copy of the listener
    if limit < least:
        result = nswrap.run(*words, prefix=prefix)
        assert result.returncode == 125
        said = result.stderr.decode().splitlines()
        assert len(said) == 1 and f"is {limit} (ulimit -Hn): expected at least {least}" in said[0]
        return
    running = nswrap.start(*words, prefix=prefix)
    running.guest_listening()
    assert exchange(running.host_port(), b"hello") == b"hello"


@DRIVERS
def test_many_forwards_at_the_hard_limit(nswrap, driver):
    """The least that is taken serves the first and the last of them."""
    first = free_ports(40)
    running = nswrap.start("--port-driver", driver, "--no-hold", "-f",
                           f"{first}-{first + 39}:7000-7039", "--", "sh", "-c", '"$@" 7000 & exec "$@" 7039', "sh",
                           tool("guest"), prefix=limited(128 + 40 * (1 if driver == "splice" else 2)))
    running.guest_listening(2)
    for port in (first, first + 39):
        assert exchange(port, b"hello") == b"hello"
    assert not [e for e in running.events if e["event"] == "forward-lost"]


@pytest.mark.parametrize("words", [
    ["agent"], ["tunnel", "server"], ["tunnel", "client"], ["exit", "--link", "listen-unix:exit.sock"]], ids=" ".join)
def test_a_hard_limit_is_too_low(nswrap, short_dir, words):
    """That is said at the start, not to each who comes."""
    result = nswrap.run(*words, prefix=limited(64), cwd=short_dir)
    assert result.returncode == 125
    assert b"is 64 (ulimit -Hn): expected at least 128" in result.stderr


# keeps more descriptors on their way than processes with a limit of 130 may add to, until stdin ends
IN_FLIGHT = """
import array, socket, sys
ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
ends[0].sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0] * 140))])
print('sent', flush=True)
sys.stdin.read()
"""


def test_many_descriptors_on_their_way(nswrap, in_turn, short_dir):
    """As unix(7) has it no more are taken then, of any process of this user: told, or done a moment later."""
    path, outside = os.path.join(short_dir, "s"), free_ports(1)
    server = subprocess.Popen(python(TCP_ECHO, "127.0.0.1", outside))
    box = nswrap.start("-n", "box", "sleep", "1000", prefix=limited(130))
    box.wait_event("started")
    held = subprocess.Popen(python(IN_FLIGHT), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert held.stdout.readline() == b"sent\n"
        refused = nswrap.run("--network", "none", "true", prefix=limited(130))
        assert (refused.returncode, b"cannot hand the namespaces over" in refused.stderr) == (125, True)
        refused = nswrap.run("port", "add", "box", "-R", f"6000:{outside}")
        assert (refused.returncode, b"Too many references" in refused.stderr) == (125, True), refused.stderr
        assert nswrap.run("port", "add", "box", "-R", f"unix:{path}:127.0.0.1:{outside}").returncode == 0
        wait_for(lambda: not is_refused(outside), "the server")
        held.communicate()
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5 * PATIENCE)
            s.connect(path)
            s.sendall(b"hello")
            assert s.recv(5) == b"hello"
    finally:
        for popen in (server, held):
            popen.kill()
            popen.wait()


@pytest.mark.parametrize("options, bytes_each", [([], 384 * 1024), (["--network", "none"], 0)])
def test_address_space_of_the_net_process(nswrap, options, bytes_each):
    """As SECURITY.md says."""
    running = nswrap.start(*options, "-p", 0, "-P", 7000, "--", tool("guest"), 7000,
                           prefix=["sh", "-c", 'ulimit -n 1000; exec "$@"', "sh"])
    running.guest_listening()
    with open(f"/proc/{Roles(running).net}/limits", encoding="utf-8") as limits:
        line = next(line for line in limits if line.startswith("Max address space"))
    assert SANITIZED or line.split()[3:5] == [str((4 << 30) + 1000 * bytes_each)] * 2


@DRIVERS
@pytest.mark.limit(180)
def test_few_descriptors(start, driver):
    """More clients than descriptors: accepting waits, who is connected is served, none is lost."""
    load = start(driver, prefix=["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"])
    load.run("-r", 50, "-t", 150, 400, 400)
    assert load.is_same(), load.said()
    assert load.run("-t", 60, 100, 8) < 60


def test_idle_connections_of_one_address_keep_nobody_out(nswrap):
    """Those of 127.0.0.2 are more than there can be: some of them end when one of 127.0.0.3 comes, which stays
    when even more of the others come."""
    running = nswrap.start("-p", 0, "-P", 7000, "--", *python(TCP_ECHO, "127.0.0.1", 7000), prefix=limited(256))
    running.guest_listening()
    port = running.host_port()

    def client(address):
        s = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20 * PATIENCE, (address, 0)))
        s.sendall(b"x")
        return s

    with contextlib.ExitStack() as stack:
        for _ in range(150):
            client("127.0.0.2")
        other = client("127.0.0.3")
        assert other.recv(1) == b"x"
        last = [client("127.0.0.2") for _ in range(20)][-1]
        other.sendall(b"y")
        assert other.recv(1) == b"y"
        assert last.recv(1) == b"x"


@DRIVERS
def test_few_descriptors_and_patient_clients(start, driver):
    """Established connections carry data while others wait in vain for a descriptor."""
    load = start(driver, prefix=["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"])
    held = load.hammer("-h", "-r", 20, 20, 20)
    assert held.stdout.readline() == b"open\n", load.said()
    crowd = load.hammer("-h", "-t", 20, 400, 400)
    # it can never be open in all; the first ones have had their answer when descriptors are short
    wait_for(lambda: load.fds() > 100, "descriptors to become short")
    out, err = held.communicate(b"go\n")
    assert held.returncode == 0, out.decode() + err.decode() + load.said()
    crowd.kill()
    assert load.run("-t", 40, 20, 4) < 40
    assert load.is_same(), load.said()
