# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_kept - what a plain host listens at stays its own while there is no agent"""

import contextlib
import json
import os
import pathlib
import resource
import secrets
import signal
import socket
import subprocess
import threading
import time

import pytest

import harness
from harness import PATIENCE, Lines, hub_dir, is_alive, other_user, python, wait_for
from mesh_tools import AGENT_KIND, Site, network
from standin import MESSAGE, PIPES, Link, arguments, frame

pytestmark = pytest.mark.agents(thorough=True)

IDENTITY = secrets.token_hex(8)  # the pytest beside this one may have others of these tests

# binds at each "PROTO,ADDRESS,PORT", in every way, until its stdin ends; tells what it got
THIEF = """
import select, socket, sys
kinds = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
wanted = [(kinds[p], (a, int(n))) for p, a, n in (w.split(",") for w in sys.argv[1:])]
ways = [(), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)]
rounds = 0
while not select.select([0], [], [], 0)[0]:
    for kind, (address, port) in wanted:
        for at in address, "0.0.0.0":
            for way in ways:
                with socket.socket(socket.AF_INET, kind) as s:
                    for option in way:
                        s.setsockopt(socket.SOL_SOCKET, option, 1)
                    try:
                        s.bind((at, port))
                        kind == socket.SOCK_STREAM and s.listen()
                        print("got", at, port, way, flush=True)
                    except OSError:
                        pass
    rounds += 1
    if rounds == 1:
        print("tried", flush=True)
print("rounds", rounds, flush=True)
"""


@contextlib.contextmanager
def thief(*wanted):
    """Another user, who gets nothing of that at any time."""
    with subprocess.Popen([*other_user(), *python(THIEF, *(",".join(map(str, w)) for w in wanted))],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as popen:
        lines = Lines(os.dup(popen.stdout.fileno()))
        wait_for(lambda: lines.lines or lines.ended, "the other user to try")
        try:
            yield
            time.sleep(0.2)
        finally:
            popen.stdin.close()
            popen.wait(10 * PATIENCE)
            lines.join()
        assert lines.lines[0] == "tried" and lines.lines[-1].startswith("rounds"), lines.lines
        assert len(lines.lines) == 2, lines.lines


class Target:
    """An echo server for TCP and UDP at one port of loopback."""

    def __init__(self):
        self.port = harness.free_port()
        self.tcp = socket.create_server(("127.0.0.1", self.port))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.threads = [threading.Thread(target=serve, daemon=True)
                        for serve in (self._stream, self._datagrams)]
        for thread in self.threads:
            thread.start()

    def _stream(self):
        for client in harness.clients(self.tcp):
            with client, contextlib.suppress(OSError):
                client.sendall(client.recv(100))

    def _datagrams(self):
        while (got := self.udp.recvfrom(100))[0] != b"end":
            self.udp.sendto(*got)

    def close(self):
        """The thread of datagrams first: it would read from whatever has that number then."""
        self.tcp.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"end", self.udp.getsockname())
        for thread in self.threads:
            thread.join()
        self.udp.close()


@pytest.fixture
def target():
    with contextlib.closing(Target()) as server:
        yield server


@pytest.fixture
def args(target):
    """configure of a host that offers a port of TCP and one of UDP, and enters another host's."""
    one, two = f"{network()}.101", f"{network()}.102"
    args = arguments(one, [(8080, "127.0.0.1", target.port)], [(two, 8080)])
    args["forwards"].append({"listen_port": 8053, "connect_ip": "127.0.0.1", "connect_port": target.port,
                             "proto": "udp"})
    return args


@pytest.fixture
def start(nswrap):
    """start(): an agent of this host. The socket of one that is killed is the next one's to remove."""
    yield lambda: Link(nswrap.popen("agent", *AGENT_KIND.words, program=AGENT_KIND.program, **PIPES,
                                    stderr=subprocess.DEVNULL))
    (nswrap.runtime_dir / "nswrap" / f"agent-{IDENTITY}").unlink(missing_ok=True)


def configure(link, args, **more):
    result = link.request("configure", {**args, **more})
    assert result.get("error") is None, result
    return result


def kept(start, args, keep=60):
    link = start()
    assert "keep" in configure(link, args)["data"]["features"]
    configure(link, args, identity=IDENTITY, keep=keep)
    wait_for(keepers, "the keeper")
    return link


def keepers():
    return harness.called("nswrap: keeper", harness.descendants(os.getpid()))


def is_left_behind(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        try:
            sock.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            pass
    return False


def keeper_files():
    """Sockets that nobody listens at: tests beside this one may have keepers that live, or were just killed."""
    hub = hub_dir()
    return [path for path in hub.glob("keeper-*") if is_left_behind(path)]


@pytest.fixture(scope="module", autouse=True)
def nothing_from_before():
    """A run that was killed may have left some."""
    for path in keeper_files():
        path.unlink()


def leave(link):
    """As a manager of ours does."""
    event = {"type": "event", "body": {"type": "leave", "data": {}}}
    link.send(frame(MESSAGE, json.dumps(event).encode()))
    link.hang_up()
    link.popen.wait(10)


def wanted(args):
    return [("tcp", args["me"], 8080), ("udp", args["me"], 8053), ("tcp", args["others"][0]["ip"], 8080)]


def ask_both(args):
    """Clients that have asked, and wait."""
    stream = socket.create_connection((args["me"], 8080), timeout=10 * PATIENCE)
    stream.sendall(b"stream")
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.settimeout(10 * PATIENCE)
    datagrams.connect((args["me"], 8053))
    datagrams.send(b"datagram")
    return stream, datagrams


def hear_both(clients):
    stream, datagrams = clients
    with stream, datagrams:
        assert stream.recv(100) == b"stream"
        assert datagrams.recv(100) == b"datagram"


@pytest.mark.parametrize("death", ["killed", "cut", "terminated", "taken over", "silence"])
def test_nobody_else_gets_what_a_host_listens_at(start, args, death):
    """Neither while there is no agent, nor while one comes; who connects meanwhile is served then."""
    old = kept(start, args)
    with thief(*wanted(args)):
        if death == "taken over":
            os.kill(old.popen.pid, signal.SIGSTOP)
        elif death == "cut":
            old.hang_up()
        elif death == "silence":
            configure(old, args, identity=IDENTITY, keep=60, silence=1)
        else:
            os.kill(old.popen.pid, signal.SIGKILL if death == "killed" else signal.SIGTERM)
        if death != "taken over":
            old.popen.wait(10)
        clients = ask_both(args)
        time.sleep(0.3)
        new = kept(start, args)
        old.popen.wait(10)
        hear_both(clients)
        # and that one is as good as the first
        new.popen.kill()
        new.popen.wait(10)
        last = kept(start, args)
        hear_both(ask_both(args))
    assert len(keepers()) == 1
    leave(last)
    wait_for(lambda: not keepers(), "the keeper's end")
    wait_for(lambda: not keeper_files(), "the end of their sockets")


def test_what_is_not_wanted_any_more_is_free(start, args):
    """Of the next agent, and of the same one with another configuration."""
    port = args["others"][0]["ip"], 8080

    def is_free():
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(port)
            return True

    old = kept(start, args)
    for _ in range(20):
        assert not is_free()
        configure(old, {**args, "others": []}, identity=IDENTITY, keep=60)
        assert is_free()
        configure(old, args, identity=IDENTITY, keep=60)
    old.popen.kill()
    old.popen.wait(10)
    assert not is_free()
    new = start()
    configure(new, {**args, "others": []}, identity=IDENTITY, keep=60)
    # more may come: as yet it is kept
    assert not is_free()
    configure(new, {**args, "others": []}, identity=IDENTITY, keep=60)
    assert is_free()
    hear_both(ask_both(args))
    # nor is anything kept for a manager that does not want it any more
    configure(new, args, identity=IDENTITY)
    wait_for(lambda: not keepers(), "the keeper's end")
    hear_both(ask_both(args))
    new.popen.kill()
    new.popen.wait(10)
    assert is_free()


@pytest.mark.parametrize("more", [{}, {"keep": 60}, {"identity": IDENTITY}])
def test_nothing_is_kept_for_who_has_not_asked(start, args, more):
    """NoRouter's manager, or somebody by hand."""
    link = start()
    configure(link, args, **more)
    assert keepers() == []
    link.popen.kill()
    link.popen.wait(10)
    with socket.socket() as sock:
        sock.bind((args["others"][0]["ip"], 8080))


def test_where_nothing_is_listened_at_there_is_no_keeper(start, args):
    """It comes with the first port, and has all of them then."""
    link = start()
    more = {"identity": IDENTITY, "keep": 60}
    configure(link, args, loopback={"disable": True})
    configure(link, args, loopback={"disable": True}, **more)
    assert link.request("ping", {})["op"] == "ping"
    assert keepers() == []
    wait_for(lambda: not keeper_files(), "the end of their sockets")
    configure(link, args, **more)
    wait_for(keepers, "the keeper")
    link.popen.kill()
    link.popen.wait(10)
    with thief(*wanted(args)):
        new = kept(start, args)
    leave(new)
    wait_for(lambda: not keepers(), "the keeper's end")


def seconds_of(pid):
    """Of processor time."""
    return sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")


def test_for_want_of_descriptors_it_pauses(nswrap, start, args):
    """The keeper, and an agent, that cannot accept who connects: it does so later, and takes no processor until then."""
    link = kept(start, args)
    for pid, path in ((keepers()[0], hub_dir() / f"keeper-{IDENTITY}"),
                      (link.popen.pid, nswrap.runtime_dir / "nswrap" / f"agent-{IDENTITY}")):
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE, (4, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.connect(str(path))
            before = seconds_of(pid)
            time.sleep(1)
            assert seconds_of(pid) - before < 0.2
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
            sock.settimeout(10 * PATIENCE)
            assert sock.recv(1) == b""
    leave(link)
    wait_for(lambda: not keepers(), "the keeper's end")


def test_without_an_agent_it_ends(start, args):
    old = kept(start, args, keep=1)
    time.sleep(1.2)
    assert len(keepers()) == 1
    began = time.monotonic()
    old.popen.kill()
    old.popen.wait(10)
    assert len(keepers()) == 1 or time.monotonic() - began > 0.9
    wait_for(lambda: not keepers(), "the keeper's end", 5)
    assert time.monotonic() - began > 0.8
    wait_for(lambda: not keeper_files(), "the end of their sockets")


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGSTOP])
def test_a_keeper_that_dies_or_hangs(start, args, sig):
    """The agent serves on, and has another one; the next agent does not wait for one that hangs."""
    old = kept(start, args)
    [first] = keepers()
    os.kill(first, sig)
    if sig == signal.SIGKILL:
        wait_for(lambda: keepers() and first not in keepers(), "another keeper")
        old.request("ping", {})  # when it answers, that one has all
        with thief(*wanted(args)):
            old.popen.kill()
            old.popen.wait(10)
            new = kept(start, args)
    else:
        old.popen.kill()
        old.popen.wait(10)
        new = start()
        configure(new, args)
        configure(new, args, identity=IDENTITY, keep=60)
        assert not is_alive(first)
    hear_both(ask_both(args))
    leave(new)
    wait_for(lambda: not keepers(), "the keeper's end")


def test_a_keeper_that_is_slow(start, args):
    """As on a machine that has no time for it: it is not ended for that, and nobody else gets the ports."""
    old = kept(start, args)
    [first] = keepers()
    os.kill(first, signal.SIGSTOP)
    old.popen.kill()
    old.popen.wait(10)
    with thief(*wanted(args)):
        new = start()
        configure(new, args)
        goes_on = threading.Timer(2.5, os.kill, (first, signal.SIGCONT))
        goes_on.start()
        configure(new, args, identity=IDENTITY, keep=60)
        goes_on.join()
        hear_both(ask_both(args))
    assert keepers() == [first]
    leave(new)
    wait_for(lambda: not keepers(), "the keeper's end", 1)


def test_a_keeper_that_is_none(start, args):
    """A program of the same user has its place: it is asked nothing, and the agent works."""
    hub = hub_dir()
    hub.mkdir(mode=0o700, exist_ok=True)
    place = hub / f"keeper-{IDENTITY}"
    with subprocess.Popen([*python(
            "import socket, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
            "s.bind(sys.argv[1])\ns.listen()\nprint(flush=True)\nc = s.accept()[0]\n"
            "print(c.recv(100), flush=True)\nsys.stdin.read()", place)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE) as impostor:
        impostor.stdout.readline()
        link = start()
        configure(link, args, identity=IDENTITY, keep=60)
        hear_both(ask_both(args))
        assert impostor.stdout.readline() == b"b''\n"
        impostor.stdin.close()
        leave(link)
    place.unlink()


def test_nobody_gets_them_who_is_no_agent(start, args):
    """A program of the same user that is no nswrap connects while there is no agent: it is told nothing."""
    old = kept(start, args)
    old.popen.kill()
    old.popen.wait(10)
    for _ in range(3):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(10 * PATIENCE)
            sock.connect(str(hub_dir() / f"keeper-{IDENTITY}"))
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1000) == b""
    new = kept(start, args)
    hear_both(ask_both(args))
    leave(new)
    wait_for(lambda: not keepers(), "the keeper's end")


def test_a_keeper_that_has_somebody_else(start, args):
    """As if the last agent were not quite dead: the next one has the ports when it is, with all clients."""
    old = kept(start, args)
    old.popen.kill()
    old.popen.wait(10)
    with subprocess.Popen([*python(
            "import ctypes, socket, sys\nctypes.CDLL(None).prctl(15, b'nswrap: other', 0, 0, 0)\n"
            "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\ns.connect(sys.argv[1])\n"
            "s.recv(1000)\nprint(flush=True)\nsys.stdin.read()",
            hub_dir() / f"keeper-{IDENTITY}")], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        [first] = keepers()
        new = start()
        configure(new, args, identity=IDENTITY, keep=60)
        clients = ask_both(args)
        time.sleep(1)
        assert keepers() == [first]
        other.stdin.close()
        other.wait(10)
        hear_both(clients)
    assert keepers() == [first]
    leave(new)
    wait_for(lambda: not keepers(), "the keeper's end")


def agent_of(site):
    """The process that serves the only host, which is this machine."""
    [agent] = harness.called("nswrap: agent", site.running.tree())
    return agent


def test_a_mesh_that_runs(nswrap, short_dir, target):
    """Agents of a manager are killed again and again; in the end nothing is left of all that."""
    vip = f"{network()}.101"
    site = Site(nswrap, short_dir)
    site.host("a", vip, ports=[f"8080:127.0.0.1:{target.port}", f"8053:127.0.0.1:{target.port}/udp"])
    args = {"me": vip}
    with site:
        wait_for(keepers, "the keeper")
        [first] = keepers()
        with thief(("tcp", vip, 8080), ("udp", vip, 8053)):
            for restarts in range(1, 4):
                os.kill(agent_of(site), signal.SIGKILL)
                wait_for(lambda known=restarts: len(site.losses("a")) == known, "the loss")
                clients = ask_both(args)
                site.wait_state("a", restarts=restarts)
                hear_both(clients)
        assert keepers() == [first]
        assert "in use" not in site.running.stderr.text()
    wait_for(lambda: not keepers(), "the keeper's end")
    wait_for(lambda: not keeper_files(), "the end of their sockets")


def test_a_mesh_that_ends_while_a_host_is_gone(nswrap, short_dir, target):
    """The keeper is without an agent then, and ends with the manager."""
    vip = f"{network()}.101"
    site = Site(nswrap, short_dir)
    site.host("a", vip, ports=[f"8080:127.0.0.1:{target.port}"])
    with site:
        wait_for(keepers, "the keeper")
        [place] = [path for path in (nswrap.runtime_dir / "nswrap").glob("agent-*")]
        for known in range(3):  # until the pause is long
            site.wait_state("a", restarts=known)
            os.kill(agent_of(site), signal.SIGKILL)
            site.next_loss("a", known)
        assert len(keepers()) == 1
    wait_for(lambda: not keepers(), "the keeper's end")
    wait_for(lambda: not keeper_files(), "the end of their sockets")
    place.unlink()  # of the agent that was killed, for the next one to remove


def test_a_manager_that_is_killed(nswrap, short_dir, target):
    """On its own machine nothing stays behind, and the next one begins anew."""
    site = Site(nswrap, short_dir)
    site.host("a", f"{network()}.101", ports=[f"8080:127.0.0.1:{target.port}"])
    with contextlib.suppress(ProcessLookupError), site:
        wait_for(keepers, "the keeper")
        site.running.popen.kill()
        site.running.popen.wait(10)
        wait_for(lambda: not keepers(), "the keeper's end", 2)
    with site:
        pass
