# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_sandbox - agents inside sandboxes: beside COMMAND, and by exec"""

import contextlib
import errno
import os
import pathlib
import pty
import re
import shlex
import signal
import socket
import subprocess
import time

import pytest

from harness import (PATIENCE, TCP_ECHO, TCP_PEER, Lines, called, descendants, exchange, free_port, is_alive,
                     namespace, other_user, proc_status, process_table, python, rights, wait_for)
from mesh_tools import in_time, network
from standin import PIPES, RECORDED_REQUEST, Link, Switch

ONE, TWO = "127.0.42.101", "127.0.42.102"
CAP_NET_ADMIN = 1 << 12


class Agent(Link):
    """An agent that was started with these words, as a manager would."""

    def __init__(self, nswrap, *words, **options):
        err_read, err_write = os.pipe()
        super().__init__(nswrap.popen(*words, stderr=err_write, **PIPES, **options))
        os.close(err_write)
        self.stderr = Lines(err_read)

    def wait_line(self, pattern):
        def look():
            lines = list(self.stderr.lines)
            return next((line for line in lines if re.search(pattern, line)), None)

        try:
            return wait_for(look, f"a line {pattern!r}")
        except AssertionError as e:
            raise AssertionError(f"{e}; so far: {self.stderr.text()}") from None

    def wait(self, timeout=20):
        """The exit status, as a shell shows it."""
        code = self.popen.wait(timeout * PATIENCE)
        self.stderr.join()
        return code if code >= 0 else 128 - code

    def child(self, name):
        """Pid of a process below it."""
        return wait_for(lambda: called(name, descendants(self.popen.pid)), f"a process {name!r}")[0]


@pytest.fixture
def beside(nswrap):
    """beside("COMMAND", "--option"...): an agent beside COMMAND, as a NoRouter manager starts it."""

    def start(command, *options, **more):
        return Agent(nswrap, *options, "-c", command, "agent", "--automated", **more)

    return start


@pytest.fixture
def join(nswrap):
    """join("SANDBOX"): an agent in a sandbox that runs."""

    def start(sandbox, *options):
        return Agent(nswrap, "exec", *options, sandbox, "nswrap", "agent", "--automated")

    return start


@pytest.fixture
def sandbox(nswrap):
    """sandbox("NAME", *OPTIONS_AND_COMMAND): one without an agent; it runs when this returns."""

    def start(name, *words):
        running = nswrap.start("-n", name, *words)
        running.wait_event("started")
        return running

    return start


def shell(words):
    """A command line of words for sh -c."""
    return "exec " + shlex.join(words)


def inside(nswrap, sandbox, *command, **options):
    """Run a command in a sandbox; its stdout."""
    result = nswrap.run("exec", sandbox, *command, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


def command_of(agent):
    """The pid of COMMAND beside which an agent runs."""
    init = agent.child("nswrap: init")
    return wait_for(lambda: next((p for p in descendants(init) if proc_status(p) and not
                                  proc_status(p)["Name"].startswith("nswrap")), None), "COMMAND")


def name_of(agent):
    """The name of the sandbox in which it is."""
    env = pathlib.Path(f"/proc/{command_of(agent)}/environ").read_text()
    return re.search(r"NSWRAP_NAME=([^\0]+)", env)[1]


# connects to every port of the addresses given and prints the open ones; argv: address...
SCAN = """
import socket, sys
for address in sys.argv[1:]:
    for port in range(1, 65536):
        with socket.socket() as s:
            s.bind(('127.0.0.8', 0))  # from there no port can meet itself
            if s.connect_ex((address, port)) == 0:
                print(address, port)
"""

# connects, sends what comes on stdin, ends its direction, prints what comes back; argv: address port
CLIENT = """
import socket, sys, threading
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
data = sys.stdin.buffer.read()
def send():
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
while part := s.recv(65536):
    sys.stdout.buffer.write(part)
"""

# prints the errno with which a connection fails, 0 if it does not; argv: address port [seconds]
TRY = """
import socket, sys
s = socket.socket()
s.settimeout(int(sys.argv[3]) if len(sys.argv) > 3 else 20)
print(s.connect_ex((sys.argv[1], int(sys.argv[2]))))
"""


# --- what a mesh of sandboxes does ---------------------------------------------------------------


EVERYTHING = ["--pid", "--root", "--network", "none"]


@pytest.mark.parametrize("options", [[], ["--pid"], ["--root"], ["--network", "none"], EVERYTHING],
                         ids=lambda o: "".join(o) or "plain")
def test_two_sandboxes(nswrap, beside, join, sandbox, options):
    """A server of one, bound to 127.0.0.1 only, is reached by the other at its VIP, with data intact."""
    switch = Switch()
    server = switch.add(ONE, beside(shell(python(TCP_ECHO, "127.0.0.1", 8000)), *options))
    sandbox("other", *options, "sleep", "1000")
    other = switch.add(TWO, join("other"))
    result = server.configure(ONE, [(80, "127.0.0.1", 8000)])
    assert {"tcp", "sandbox"} <= set(result["data"]["features"])
    other.configure(TWO, others=[(ONE, 80)])
    name = name_of(server)
    wait_for(lambda: inside(nswrap, name, *python(TRY, "127.0.0.1", 8000)) == b"0\n", "the server")
    data = os.urandom(3 << 20)
    assert inside(nswrap, "other", *python(CLIENT, ONE, 80), input=data) == data
    assert switch.dropped == []


def test_a_client_is_seen_at_its_own_address(nswrap, beside, join, sandbox):
    switch = Switch()
    server = switch.add(ONE, beside(shell(python(TCP_PEER, "127.0.0.1", 8000))))
    sandbox("other", "sleep", "1000")
    other = switch.add(TWO, join("other"))
    server.configure(ONE, [(80, "127.0.0.1", 8000)])
    other.configure(TWO, others=[(ONE, 80)])
    wait_for(lambda: inside(nswrap, "other", *python(TRY, ONE, 80)) == b"0\n", "the server")
    assert inside(nswrap, "other", *python(CLIENT, ONE, 80), input=b"") == TWO.encode()


def test_what_is_not_offered_is_closed(nswrap, beside, join, sandbox):
    """Nobody listens at an offer: refused. No offer: no answer that would say what is there."""
    switch = Switch()
    server = switch.add(ONE, beside(shell(python(TCP_ECHO, "0.0.0.0", 8000))))
    sandbox("other", "sleep", "1000")
    other = switch.add(TWO, join("other"))
    server.configure(ONE, [(80, "127.0.0.1", 8000), (81, "127.0.0.1", 8001)])
    other.configure(TWO, others=[(ONE, 80), (ONE, 81)])
    wait_for(lambda: inside(nswrap, "other", *python(TRY, ONE, 80)) == b"0\n", "the server")
    assert int(inside(nswrap, "other", *python(TRY, ONE, 81))) == errno.ECONNREFUSED
    # the server listens at every address, the VIP among them
    blocked = inside(nswrap, "other", *python(TRY, ONE, 8000, 1))
    assert int(blocked) in (errno.ECONNREFUSED, errno.EAGAIN, errno.ETIMEDOUT)
    # with anyPort it is reached
    server.configure(ONE, [(80, "127.0.0.1", 8000)], anyPort=True)
    assert int(inside(nswrap, "other", *python(TRY, ONE, 8000))) == 0


def test_forwards_work_beside_the_mesh(beside):
    port = free_port()
    agent = beside(shell(python(TCP_ECHO, "127.0.0.1", 8000)), "-p", port, "-P", "8000")
    agent.configure(ONE, [(80, "127.0.0.1", 8000)])
    assert exchange(port, b"hello") == b"hello"


def test_two_meshes_in_one_sandbox(nswrap, beside, join, sandbox):
    """Each has its device; one that goes takes its own with it, and the name is used again."""
    box = sandbox("box", "sleep", "1000")
    first, second = join("box"), join("box")
    first.configure(ONE)
    second.configure("127.0.43.1")
    devices = {"mesh0", "mesh1"}
    assert devices <= set(inside(nswrap, "box", "ls", "/proc/sys/net/ipv4/conf").decode().split())
    first.hang_up()
    assert first.wait() == 0
    left = devices & set(inside(nswrap, "box", "ls", "/proc/sys/net/ipv4/conf").decode().split())
    assert len(left) == 1
    third = join("box")
    third.configure(ONE)
    assert devices <= set(inside(nswrap, "box", "ls", "/proc/sys/net/ipv4/conf").decode().split())
    assert box.popen.poll() is None


def test_recorded_configure(beside, join, sandbox):
    """What NoRouter's manager sends is taken by both."""
    sandbox("box", "sleep", "1000")
    for agent in (beside("exec sleep 1000"), join("box")):
        agent.send(RECORDED_REQUEST)
        result = agent.result()
        assert (result["request_id"], result["op"], result.get("error")) == (1, "configure", None)
        assert "tcp" in result["data"]["features"]


# --- nothing of it is on the host ----------------------------------------------------------------


def reachable(*addresses):
    """Ports at these addresses that another user can connect to."""
    result = subprocess.run([*other_user(), *python(SCAN, *addresses)], capture_output=True,
                            timeout=60 * PATIENCE)
    assert result.returncode == 0, result.stderr
    return {line.split()[1] for line in result.stdout.decode().splitlines()}


def opened(nobody, *vips):
    """Ports that answer at virtual IPs, but not at an address of nobody's, as those of all addresses do.

    What comes and goes meanwhile on the host is looked at again."""
    for _ in range(4):
        before = reachable(nobody)
        if not (found := reachable(*vips) - before - reachable(nobody)):
            break
    return found


def bound():
    """(address, port), as hexadecimal digits, where the host's network takes what comes."""
    found = set()
    for kind in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        for row in pathlib.Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A" or not kind.startswith("tcp"):
                found.add(tuple(fields[1].split(":")))
    return found


@pytest.mark.limit(180)
def test_another_user_reaches_nothing(beside, join, sandbox):
    """What listens at every address of the host answers at a VIP as well, and nothing else does."""
    port, offer = free_port(), free_port()
    # other runs on this host may have listeners at ONE and TWO
    one, two, nobody = (f"{network()}.{n}" for n in (101, 102, 9))
    beside(shell(python(TCP_ECHO, "0.0.0.0", port))).configure(
        one, [(offer, "127.0.0.1", port)], [(two, offer)], anyPort=True)
    sandbox("box", *python(TCP_ECHO, "0.0.0.0", port))
    join("box").configure(two, [(offer, "127.0.0.1", port)], [(one, offer)])
    assert opened(nobody, one, two) == set()
    vips = {socket.inet_aton(vip)[::-1].hex().upper() for vip in (one, two)}
    assert [at for at in bound() if at[0] in vips or int(at[1], 16) in (offer, port)] == []
    assert not any(pathlib.Path("/proc/sys/net/ipv4/conf", f"mesh{i}").exists() for i in range(10))


def test_the_scan_sees_what_is_there():
    one = f"{network()}.101"
    with socket.create_server((one, 0)) as server:
        assert str(server.getsockname()[1]) in reachable(one)


# --- the rights of the processes -----------------------------------------------------------------


def test_rights(beside, join, sandbox):
    sandbox("box", "sleep", "1000")
    for agent in (beside("exec sleep 1000"), join("box")):
        agent.configure(ONE)
        for name, caps in ("nswrap: agent", 0), ("nswrap: stack", CAP_NET_ADMIN):
            pid = agent.child(name)
            assert rights(pid) == {"CapInh": 0, "CapPrm": caps, "CapEff": caps, "CapBnd": 0, "CapAmb": 0,
                                   "NoNewPrivs": 1, "Seccomp": rights(pid)["Seccomp"]}
            # nobody of the same user looks into its memory or takes its descriptors
            for entry in ("mem", "ns/net", "fd/3"):
                with pytest.raises(PermissionError):
                    open(f"/proc/{pid}/{entry}", "rb")


def test_command_has_none_of_it(beside):
    agent = beside("grep -E 'Cap(Prm|Eff)' /proc/self/status; ls -l /proc/self/fd; exec sleep 1000")
    agent.configure(ONE)
    assert agent.wait_line("CapEff").split()[1] == "0" * 16
    assert rights(command_of(agent))["CapPrm"] == 0


# --- streams and the end -------------------------------------------------------------------------


def test_streams_of_command(beside):
    """Its output goes to stderr, it reads nothing, and the link carries frames alone."""
    agent = beside("cat; echo out; echo err >&2; readlink /proc/self/fd/0; exec sleep 1000")
    agent.send(RECORDED_REQUEST)
    assert agent.result()["op"] == "configure"
    agent.wait_line("^out$")
    agent.wait_line("^err$")
    agent.wait_line("^/dev/null$")


def test_nobody_else_holds_the_link(beside):
    """An agent that is killed closes it, while COMMAND and nswrap live on for a while."""
    agent = beside("trap '' TERM; echo here; sleep 1000", "-t", "1000")
    agent.wait_line("here")
    agent.configure(ONE)
    os.kill(agent.child("nswrap: agent"), signal.SIGKILL)
    assert agent.ended.wait(10 * PATIENCE)

    def is_broken():
        """The kernel closes one end after the other."""
        try:
            agent.popen.stdin.write(RECORDED_REQUEST)
            agent.popen.stdin.flush()
        except BrokenPipeError:
            return True
        return False

    wait_for(is_broken, "the other end of the link to go")
    with contextlib.suppress(OSError):
        agent.popen.stdin.close()
    assert agent.popen.poll() is None
    agent.wait_line(r"the agent was ended by signal 9")
    for pid in reversed(descendants(agent.child("nswrap: init"))):
        with contextlib.suppress(ProcessLookupError):  # it has ended as its child has
            os.kill(pid, signal.SIGKILL)
    assert agent.wait() == 125


def test_exec_does_not_hold_the_link(join, sandbox):
    sandbox("box", "sleep", "1000")
    agent = join("box")
    agent.configure(ONE)
    agent.popen.send_signal(signal.SIGSTOP)
    os.kill(agent.child("nswrap: agent"), signal.SIGKILL)
    assert agent.ended.wait(10 * PATIENCE)
    agent.popen.send_signal(signal.SIGCONT)
    assert agent.wait() == 137


@pytest.mark.parametrize("command, status", [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_end_of_command_is_the_end_of_the_agent(beside, short_dir, command, status):
    agent = beside(f"mkfifo {short_dir}/go; read line <{short_dir}/go; {command}")
    agent.configure(ONE)
    wait_for(lambda: os.path.exists(f"{short_dir}/go"), "COMMAND")
    with open(f"{short_dir}/go", "w") as go:
        go.write("on\n")
    assert agent.wait() == status
    assert agent.ended.wait(10 * PATIENCE)


@pytest.mark.parametrize("options", [[], ["--pid"], ["--root"]], ids=lambda o: "".join(o) or "plain")
def test_the_end_of_stdin_is_the_end_of_all(beside, options):
    """Within a second, also of a COMMAND that ignores SIGTERM and has left its session."""
    def end():
        agent = beside("trap '' TERM; setsid sleep 1000 & echo here; sleep 1000; sleep 1000", *options)
        agent.wait_line("here")
        agent.configure(ONE)
        tree = descendants(agent.popen.pid)
        inside_ns = namespace(command_of(agent), "net")
        assert len(tree) >= 5
        began = time.monotonic()
        agent.hang_up()
        assert agent.wait() == 0
        took = time.monotonic() - began
        assert [pid for pid in tree if is_alive(pid)] == []
        assert inside_ns not in namespaces()
        return True, took

    assert in_time(end, 1)


def namespaces():
    """Network namespaces of all processes that we may look at."""
    found = set()
    for pid in process_table():
        with contextlib.suppress(OSError):
            found.add(namespace(pid, "net"))
    return found


def test_end_before_configure(beside):
    agent = beside("exec sleep 1000")
    agent.hang_up()
    assert agent.wait() == 0


@pytest.mark.parametrize("sig", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_the_end_of_the_link(nswrap, sig):
    agent = Agent(nswrap, "agent")
    agent.configure(ONE)
    tree = descendants(agent.popen.pid)
    assert len(tree) == 1
    agent.popen.send_signal(sig)
    assert agent.wait() == 0
    assert not any(map(is_alive, tree)) and agent.ended.wait(10 * PATIENCE)


@pytest.mark.parametrize("victim", ["nswrap: agent", "nswrap: stack", "nswrap: init"])
def test_a_part_that_dies_ends_all(beside, victim):
    agent = beside("exec sleep 1000")
    agent.configure(ONE)
    os.kill(agent.child(victim), signal.SIGKILL)
    assert agent.wait() == 125
    assert agent.stderr.lines


def test_killed(beside, nswrap):
    """By SIGKILL: nothing stays (the fixtures look), not even a socket file."""
    agent = beside("exec sleep 1000")
    agent.configure(ONE)
    tree = descendants(agent.popen.pid)
    agent.popen.kill()
    agent.wait()
    wait_for(lambda: not any(map(is_alive, tree)), "the end of everything")
    wait_for(lambda: not [f for f in nswrap.registry() if f.endswith(".sock")], "the socket file to go")


@pytest.mark.parametrize("options", [[], ["--pid"]], ids=lambda o: "".join(o) or "plain")
def test_exec_ends(join, sandbox, options):
    """The end of stdin ends the agent alone; the end of the sandbox ends the agent."""
    box = sandbox("box", *options, "sleep", "1000")
    one, two, three = join("box"), join("box"), join("box")
    for agent in (one, two, three):
        agent.configure(ONE)
    stacks = [agent.child("nswrap: stack") for agent in (one, two, three)]
    one.hang_up()
    assert one.wait(5) == 0
    two.popen.terminate()
    assert two.wait() in (0, 143)
    assert box.popen.poll() is None and three.popen.poll() is None
    assert box.stop() == 143
    assert three.wait(5) == 125
    assert 'the sandbox "box" has ended' in three.stderr.text()
    wait_for(lambda: not any(map(is_alive, stacks)), "the end of the stacks")


# --- refusals ------------------------------------------------------------------------------------

NO_TUN = ["unshare", "-U", "-r", "-m", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"]
NO_NAMESPACES = ["unshare", "-U", "-r", "sh", "-c",
                 'echo 0 >/proc/sys/user/max_net_namespaces && exec "$@"', "sh"]


def test_no_tun(nswrap):
    """COMMAND may run without it; its agent may not, and then neither does."""
    agent = Agent(nswrap, "--network", "none", "-c", "exec sleep 1000", "agent", prefix=NO_TUN)
    assert agent.wait() == 125
    said = agent.wait_line("no network for the mesh")
    assert "/dev/net/tun is missing" in said and "nswrap doctor" in said and "--network" not in said


@pytest.mark.parametrize("prefix, cause", [
    (NO_TUN, "/dev/net/tun is missing"), (NO_NAMESPACES, "max_net_namespaces")], ids=["tun", "namespaces"])
def test_plain_host_refuses(nswrap, prefix, cause):
    agent = Agent(nswrap, "agent", "--stack", "kernel", "--automated", prefix=prefix)
    assert agent.wait() == 125
    lines = agent.stderr.lines
    assert len(lines) == 1 and cause in lines[0] and "nswrap doctor" in lines[0]
    assert agent.ended.wait(10 * PATIENCE)


def test_no_such_sandbox(join):
    agent = join("nowhere")
    assert agent.wait() == 125
    assert "nowhere" in agent.stderr.text()


WORDS = {"plain": ["agent"], "beside": ["-c", "true", "agent"], "exec": ["exec", "nowhere", "nswrap", "agent"]}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_help(nswrap, words):
    result = nswrap.run(*words, "--automated", "--help")
    assert result.returncode == 0 and b"nswrap agent" in result.stdout


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_not_for_a_terminal(nswrap, words, stream):
    master, slave = pty.openpty()
    popen = nswrap.popen(*words, "--automated", "a b", stderr=subprocess.PIPE, **{**PIPES, stream: slave})
    os.close(slave)
    said = popen.stderr.read().decode().splitlines()
    assert popen.wait(20) == 2
    os.close(master)
    assert said[0] == 'nswrap: agent: ignoring "a b"', "and not what managers always say"
    assert "manager" in said[1] and "terminal" in said[1] and len(said) == 2


def test_what_may_stand_behind_c(nswrap):
    result = nswrap.run("-c", "true", "agents")
    assert result.returncode == 2 and b"expected nothing behind it, or agent" in result.stderr


def test_a_device_deleted_before_it_is_set_up_ends_the_agent(nswrap):
    agent = Agent(nswrap, "--root", "--network", "none",
                  "-c", "until ip link del mesh0 2>/dev/null; do sleep 0.01; done; exec sleep 1000", "agent")
    agent.wait_line("the network device of the mesh was deleted|cannot set up mesh0: No such device")
    assert agent.wait() == 125
    agent.popen.stdin.close()


def test_a_deleted_device_ends_the_agent(nswrap, tmp_path):
    """Root inside has deleted mesh0: the agent says so and ends, it does not spin."""
    go = tmp_path / "go"
    agent = Agent(nswrap, "--root", "--network", "none",
                  "-c", f"until [ -e {go} ]; do sleep 0.01; done; ip link del mesh0; exec sleep 1000", "agent")
    agent.configure(ONE)  # before it runs it would say that it cannot set mesh0 up
    go.touch()
    agent.wait_line("the network device of the mesh was deleted")
    assert agent.wait() == 125
    agent.popen.stdin.close()
