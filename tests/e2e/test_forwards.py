# SPDX-License-Identifier: Apache-2.0
"""e2e/test_forwards - whose the ports are, from the first line to the end; and who is answered there"""

import concurrent.futures
import json
import os
import pathlib
import re
import resource
import signal
import subprocess

import pytest

from harness import (PATIENCE, TCP_ECHO, TREE, Lines, connect, exchange, free_port, free_ports, is_alive, is_free,
                     other_user, proc_status, python, wait_for)
from tools import listed as ps, table

DRIVERS = pytest.mark.parametrize("driver", ["splice", "slirp"])

# --- nobody else gets a port ---------------------------------------------------------------------

# tries for ports again and again, however one can, until stdin ends; says what it got and how often
# it tried all; argv: KIND,ADDRESS,PORT...
THIEF = """
import errno, os, select, socket, sys
wanted = [(k, a, int(p)) for k, a, p in (arg.split(',') for arg in sys.argv[1:])]
rounds = 0
def attempt(kind, address, port, option):
    v6 = ':' in address
    type = socket.SOCK_DGRAM if kind == 'udp' else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, type) as s:
        if v6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if option:
            s.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            s.bind((address, port))
            if kind == 'tcp':
                s.listen()
        except OSError as e:
            assert e.errno == errno.EADDRINUSE, e
        else:
            print('got', kind, address, port, option, flush=True)
def attempt_path(path):
    try:
        os.unlink(path)
        print('got', path, flush=True)
    except PermissionError:
        pass
while not select.select([0], [], [], 0)[0]:
    for kind, address, port in wanted:
        if kind == 'unix':
            attempt_path(address)
            continue
        for option in (0, socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            attempt(kind, address, port, option)
    rounds += 1
    if rounds in (1, 100):
        print('rounds', rounds, flush=True)
"""

# listens once its stdin says so; argv: address port
LATE_ECHO = "import sys; sys.stdin.readline()\n" + TCP_ECHO


class Thief:
    """Another user who wants ports."""

    def __init__(self, *wanted):
        self.popen = subprocess.Popen(
            [*other_user(), *python(THIEF, *(",".join(map(str, w)) for w in wanted))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.lines = Lines(os.dup(self.popen.stdout.fileno()))

    def tries(self):
        """Wait until it has tried for everything."""
        wait_for(lambda: self.lines.lines or self.lines.ended, "the other user to try")

    def end(self):
        """What it got."""
        self.popen.stdin.close()
        self.popen.wait(10 * PATIENCE)
        self.lines.join()
        self.popen.stdout.close()
        assert self.lines.lines, "it has not tried"
        return [line for line in self.lines.lines if not line.startswith("rounds")]


def kill_net(running):
    pid = running.net_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid), "the net process to end")


@DRIVERS
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1"])
def test_nobody_else_gets_the_port(nswrap, short_dir, driver, address):
    """Held, without a net process, in use: another user gets no port and no socket, clients wait."""
    host = f"[{address}]" if ":" in address else address
    os.chmod(short_dir, 0o755)
    sticky = pathlib.Path(short_dir, "tmp")
    sticky.mkdir()
    sticky.chmod(0o1777)
    running = nswrap.start("--port-driver", driver, "-f", f"{host}:0:7000", "-f", f"{host}:0:7001/udp",
                           "-f", f"unix:{sticky}/s:7000", "--", *python(LATE_ECHO, "127.0.0.1", 7000),
                           stdin=subprocess.PIPE)
    tcp, udp = running.host_port(1), running.host_port(2)
    running.wait_event("forward", 3)
    any_address = "::" if ":" in address else "0.0.0.0"
    local = "::1" if ":" in address else "127.0.0.1"
    thief = Thief(*((kind, where, port) for kind, port in (("tcp", tcp), ("udp", udp))
                    for where in {address, any_address, local}), ("unix", sticky / "s", 0))
    thief.tries()
    kill_net(running)
    with connect(tcp, local, 20) as held:
        held.sendall(b"held")
        kill_net(running)
        # nobody is there to accept it yet, and it is not refused
        with connect(tcp, local, 20) as waiting:
            waiting.sendall(b"waits")
            running.net_pid()
            running.popen.stdin.write(b"\n")
            running.popen.stdin.flush()
            assert waiting.recv(100) == b"waits"
    for _ in range(2):  # and not more: then the next one would be started after a pause
        kill_net(running)
    assert exchange(tcp, b"hello", local) == b"hello"
    assert thief.end() == []
    assert running.stop() == 143


def test_added_and_removed_ports(nswrap):
    """Ours from the answer on, and anybody's when they are removed."""
    running = nswrap.start("-n", "box", "--port-driver", "slirp", "sleep", "1000")
    running.wait_event("started")
    added = json.loads(nswrap.run("port", "add", "--json", "box", "0:7000", "0.0.0.0:0:7001",
                                  "0.0.0.0:0:7002/udp").stdout)
    wanted = [("udp" if f["proto"] == "udp" else "tcp", f["host"], f["host_port"]) for f in added]
    thief = Thief(*wanted)
    thief.tries()
    kill_net(running)
    running.net_pid()
    assert thief.end() == []
    assert nswrap.run("port", "remove", "box", *(f["spec"] for f in added)).returncode == 0

    def is_free():
        thief = Thief(*wanted)
        thief.tries()
        return len({tuple(line.split()[1:4]) for line in thief.end()}) == len(wanted)

    wait_for(is_free, "the ports to be free")


@DRIVERS
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_what_was_removed_is_free(nswrap, kind, driver):
    """Also if the net process, which has the socket as well, has its turn late. Others are served meanwhile."""
    port = free_port()
    running = nswrap.start("-q", "-n", "box", "--port-driver", driver, "-f", f"127.0.0.1:{port}:80/{kind}",
                           "sleep", "1000")
    running.wait_event("started")
    net = running.net_pid()
    os.kill(net, signal.SIGSTOP)
    remover = nswrap.popen("port", "remove", "box", f"127.0.0.1:{port}/{kind}", stdin=subprocess.DEVNULL)
    wait_for(lambda: not ps(nswrap)[0]["forwards"], "the removal")
    assert remover.poll() is None
    os.kill(net, signal.SIGCONT)
    assert remover.wait(10 * PATIENCE) == 0
    added = nswrap.run("port", "add", "box", f"0.0.0.0:{port}:80/{kind}")
    assert added.returncode == 0, added.stderr
    running.stop()


def test_many_that_were_removed_are_free(nswrap):
    """More than the net process can be told at once."""
    first = free_ports(100)
    hosts, ports = [f"127.0.0.{i}" for i in range(1, 11)], range(first, first + 100)
    rules = [f"{host}:{first}-{first + 99}:{first}-{first + 99}" for host in hosts]
    running = nswrap.start("-q", "-n", "box", *(word for rule in rules for word in ("-f", rule)), "sleep", "1000")
    running.wait_event("started")
    running.net_pid()
    result = nswrap.run("port", "remove", "box", *rules)
    assert result.returncode == 0 and result.stderr == b"", result.stderr
    assert not [(host, port) for host in hosts for port in ports if not is_free(port, host)]
    running.stop()


def test_what_is_not_closed_is_told(nswrap):
    """A net process that stands still is not waited for without an end."""
    port = free_port()
    running = nswrap.start("-q", "-n", "box", "-p", port, "-P", 80, "sleep", "1000")
    running.wait_event("started")
    net = running.net_pid()
    os.kill(net, signal.SIGSTOP)
    result = nswrap.run("port", "remove", "box", f"127.0.0.1:{port}")
    assert result.returncode == 0 and f"127.0.0.1:{port} is still in use".encode() in result.stderr, result.stderr
    os.kill(net, signal.SIGCONT)
    running.stop()


def test_added_and_removed_paths(nswrap, short_dir):
    """As many as one likes one after another, and COMMAND outlives one for which there is no room."""
    pathlib.Path(short_dir, "taken").touch()
    running = nswrap.start("-n", "box", "--network", "none", "sleep", "1000")
    running.wait_event("started")
    init = running.init_pid()
    resource.prlimit(init, resource.RLIMIT_NOFILE, (48, 48))
    for _ in range(24):
        for how, path in [("add", "s"), ("remove", "s"), ("add", "taken")]:
            done = nswrap.run("port", how, "box", f"unix:{short_dir}/{path}:80")
            assert done.returncode == (125 if path == "taken" else 0), done.stderr
    assert "too many open files" not in running.stderr.text()
    resource.prlimit(init, resource.RLIMIT_NOFILE, (3, 48))
    assert nswrap.run("port", "add", "box", f"unix:{short_dir}/s:80").returncode == 0
    running.wait_line("too many open files: should nswrap be killed, s stays behind")
    resource.prlimit(init, resource.RLIMIT_NOFILE, (48, 48))
    assert running.stop() == 143


@pytest.mark.parametrize("end, status", [(None, 0), (signal.SIGTERM, 143), (signal.SIGKILL, 9)])
def test_the_same_name_and_port_again(nswrap, end, status):
    """Who has waited for the end never meets it; what was killed leaves nothing a second later."""
    port = free_port()
    for _ in range(20 if end is None else 10):
        running = nswrap.start("-n", "again", "-p", port, "-P", 7000, *(["true"] if end is None else ["sleep", "1000"]))
        if end is not None:
            running.wait_event("started")
            running.popen.send_signal(end)
        # at once, whoever may still have its stderr
        assert abs(running.popen.wait(20 * PATIENCE)) == status, running.stderr.text()
        if end == signal.SIGKILL:
            wait_for(lambda: is_free(port), "the port to be free", 1)


# --- what is lost --------------------------------------------------------------------------------


@DRIVERS
def test_a_lost_forward_comes_back(nswrap, driver):
    """The net process may have no more descriptors, and may again: shown, told once, back by itself."""
    running = nswrap.start("-n", "box", "--port-driver", driver, "-p", 0, "-P", 7000, "--",
                           *python(TCP_ECHO, "127.0.0.1", 7000))
    running.guest_listening()
    net = running.net_pid()
    before = resource.prlimit(net, resource.RLIMIT_NOFILE)
    resource.prlimit(net, resource.RLIMIT_NOFILE, (0, before[1]))
    port = json.loads(nswrap.run("port", "add", "--json", "box", "0:7000").stdout)[0]["host_port"]
    lost = running.wait_event("forward-lost")
    assert lost["host_port"] == port and "Too many open files" in lost["error"]
    line = running.wait_line("Too many open files")
    assert "trying again" in line and str(port) in line
    shown = json.loads(nswrap.run("port", "list", "--json", "box").stdout)
    assert [f.get("error") for f in shown] == [None, lost["error"]]
    assert ps(nswrap)[0]["forwards"] == shown
    assert f"{port}:7000(lost)" in table(nswrap)
    listed = nswrap.run("port", "list", "box").stdout.decode().splitlines()
    assert "lost" not in listed[0] and "lost" in listed[1] and "trying again" in listed[1]
    with connect(port) as client:
        client.sendall(b"early")
        resource.prlimit(net, resource.RLIMIT_NOFILE, before)
        assert running.wait_event("forward-back")["host_port"] == port
        assert client.recv(100) == b"early"
    running.wait_line(f"127.0.0.1:{port}:7000/tcp works again")
    assert all("error" not in f for f in json.loads(nswrap.run("port", "list", "--json", "box").stdout))
    assert len(running.wait_lines("Too many open files", 1)) == 1
    assert exchange(port, b"hello") == b"hello"


# --- every client is answered --------------------------------------------------------------------

# TCP and UDP, and says whom it sees; argv: address port
GUEST = """
import socket, sys, threading
host, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ':' in host else socket.AF_INET
udp = socket.socket(family, socket.SOCK_DGRAM)
udp.bind((host, port))
def answer():
    while True:
        data, peer = udp.recvfrom(65536)
        udp.sendto(data + b' ' + peer[0].encode(), peer)
threading.Thread(target=answer, daemon=True).start()
with socket.create_server((host, port), family=family, backlog=100, dualstack_ipv6=host == '::') as server:
    while True:
        c, peer = server.accept()
        with c:
            c.sendall(c.recv(100) + b' ' + peer[0].encode())
"""

# asks all, each by a connected socket, and says whom each server sees; argv: KIND,ADDRESS,PORT...
CLIENT = """
import concurrent.futures, socket, sys
def ask(arg):
    kind, address, port = arg.split(',')
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == 'udp' else socket.SOCK_STREAM) as s:
        s.settimeout(10)
        try:
            s.connect((address, int(port)))
            for attempt in range(20):
                s.settimeout(10 if kind == 'tcp' else 0.5)
                s.send(b'hello')
                try:
                    said, peer = s.recv(100).decode().split()
                    return f'{arg} {peer.removeprefix("::ffff:")}' if said == 'hello' else f'{arg} {said!r}'
                except TimeoutError:
                    if attempt == 19 or kind == 'tcp':
                        return f'{arg} timeout'
        except (OSError, ValueError) as e:
            return f'{arg} {e!r}'
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    print('\\n'.join(pool.map(ask, sys.argv[1:])))
"""

ADDRESSES = {"127.0.0.1": ["127.0.0.1"], "192.0.2.10": ["192.0.2.10"],
             "0.0.0.0": ["127.0.0.1", "192.0.2.10", "192.0.2.11"],
             "::1": ["::1"], "2001:db8::10": ["2001:db8::10"],
             "::": ["::1", "2001:db8::10", "2001:db8::11"]}
SECOND_ADDRESSES = """
ip addr add 192.0.2.11/24 dev ext0
ip -6 addr add 2001:db8::11/64 dev ext0 nodad
"""
FAR_SIDE = """
ip link set lo up
ip addr add 192.0.2.20/24 dev ext1
ip -6 addr add 2001:db8::20/64 dev ext1 nodad
ip link set ext1 up
"""


class FarHost:
    """A host at the other end of an outer host's wire: 192.0.2.20, 2001:db8::20."""

    def __init__(self, host):
        enter = ["nsenter", "-t", str(host.holder.pid), "-U", "-n", "-m", "--preserve-credentials", "--"]
        self.holder = subprocess.Popen([*enter, "unshare", "-n", "sh", "-c", "echo ready; exec cat"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"ready\n"
        subprocess.run([*enter, "ip", "link", "set", "ext1", "netns", str(self.holder.pid)], check=True)
        self.enter = ["nsenter", "-t", str(self.holder.pid), "-U", "-n", "--preserve-credentials", "--"]
        subprocess.run([*self.enter, "sh", "-ec", FAR_SIDE], check=True)

    def run(self, *command):
        return subprocess.run([*self.enter, *command], capture_output=True, timeout=60 * PATIENCE)

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(10)
        self.holder.stdout.close()


@pytest.fixture
def far(outer):
    host = outer(SECOND_ADDRESSES)
    far = FarHost(host)
    yield host, far
    far.close()


def manual(forward, choice):
    """The driver of the manual's table, and a function: whom may a guest see for a client at a place?"""
    text = (TREE / "man" / "nswrap.1").read_text()
    table = re.search(r"\.Bl -column \"other IPv4, TCP\".*?\n(.*?)\.El", text, re.S).group(1)
    rows = [[cell.removeprefix("Cm ") for cell in line.removeprefix(".It ").split(" Ta ")]
            for line in table.splitlines()]
    kind = forward["proto"].upper()
    is_loopback = forward["host"] in ("127.0.0.1", "::1")
    name = "UDP" if kind == "UDP" else \
        f"{'loopback' if is_loopback else 'other'} IPv{6 if ':' in forward['host'] else 4}, TCP"
    driver = dict(zip(rows[0], next(row for row in rows if row[0] == name)))[choice]

    def seen(guest, place):
        # libslirp leads IPv4 to IPv4 and IPv6 to the guest's IPv6 address; splice does the rest
        leads = (guest in ("::", "fd00::100") if ":" in forward["host"]
                 else guest in ("127.0.0.1", "0.0.0.0", "::", "10.0.2.100"))
        own = {"127.0.0.1", "::1", "10.0.2.100", "fd00::100"}
        if driver == "splice" or not leads:
            # a client comes as itself where a guest of its family can be reached
            is_of_family = guest == "::" or (":" in guest) == (":" in forward["host"])
            if kind == "UDP" or is_loopback or not is_of_family:
                return own
            if place == "outside":
                return {"192.0.2.20", "2001:db8::20"}
            return own | {"192.0.2.10", "192.0.2.11", "2001:db8::10", "2001:db8::11"}
        if place == "outside":
            return {"192.0.2.20", "2001:db8::20"}
        return {"10.0.2.2", "fd00::2", "192.0.2.10", "192.0.2.11", "2001:db8::10", "2001:db8::11"}

    return driver, seen


# asks by datagrams that are not for one address alone, or for one of the link; who answers; argv: ADDRESS,PORT...
ODD_CLIENT = """
import socket, sys
for arg in sys.argv[1:]:
    address, port = arg.split(',')
    family, kind, _, _, where = socket.getaddrinfo(address, int(port), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'ext1')
        s.settimeout(1)
        said = b'', ('nobody',)
        for attempt in range(20):  # neighbours may have to be found first
            try:
                s.sendto(b'hello', where)
                said = s.recvfrom(100)
                break
            except OSError:
                pass
        print(said[0].decode().split(' ')[0], *said[1][:2])
"""


def test_odd_clients_are_answered(nswrap, far):
    """Broadcast and multicast from an address of this machine's, which they cannot be answered from; link-local."""
    host, outside = far
    running = nswrap.start("-f", "0.0.0.0:0:7000/udp", "-f", "[::]:0:7000/udp", *python(GUEST, "127.0.0.1", 7000),
                           prefix=host.prefix())
    running.guest_listening()
    ports = {e["host"]: e["host_port"] for e in running.events if e["event"] == "forward"}
    interface = json.loads(host.run("ip", "-j", "addr", "show", "ext0").stdout)[0]
    local = next(a["local"] for a in interface["addr_info"] if a["local"].startswith("fe80"))
    done = outside.run(*python(ODD_CLIENT, *(f"{address},{ports['::' if ':' in address else '0.0.0.0']}" for address in (
        "192.0.2.255", "255.255.255.255", "ff02::1%ext1", f"{local}%ext1"))))
    said = [line.split() for line in done.stdout.decode().splitlines()]
    assert [s[0] for s in said] == ["hello"] * 4, said
    assert [s[1] for s in said[:2]] == ["192.0.2.10"] * 2 and said[2][1][:4] in ("fe80", "2001")
    assert said[3][1].split("%")[0] == local
    assert [int(s[2]) for s in said] == [ports["0.0.0.0"]] * 2 + [ports["::"]] * 2


# says whom it sees, with the port; argv: address port
PEERS = """
import socket, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
with socket.create_server((sys.argv[1], int(sys.argv[2])), family=family, dualstack_ipv6=sys.argv[1] == '::') as server:
    while True:
        c, peer = server.accept()
        with c:
            c.sendall(f'{peer[0].removeprefix("::ffff:")} {peer[1]}'.encode())
"""
# argv: the address to come from, and where to; whom the server sees, and whether that is us to the port: one of those
# that kernels choose, or another one
COME = """
import socket, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
for i in range(40):
    with socket.socket(family) as s:
        s.settimeout(20)
        s.bind((sys.argv[1], (0, 0, 20000 + i, 61000 + i)[i % 4]))
        s.connect((sys.argv[2], int(sys.argv[3])))
        with s.makefile() as whole:  # to its end: who ends first cannot have that port again so soon
            said = whole.read().split()
        own = s.getsockname()
        print(said[0], said == [own[0], str(own[1])])
"""


@pytest.mark.parametrize("options, source, listener, guest, seen", [
    ([], "192.0.2.20", "192.0.2.10", "127.0.0.1", "192.0.2.20 True"),
    ([], "2001:db8::20", "2001:db8::10", "::1", "2001:db8::20 True"),
    (["--port-driver", "splice"], "192.0.2.20", "192.0.2.10", "10.0.2.100", "192.0.2.20 True"),
    (["--only-user", "--allow-network"], "192.0.2.20", "192.0.2.10", "127.0.0.1", "192.0.2.20 True"),
    (["--network", "none"], "192.0.2.20", "192.0.2.10", "127.0.0.1", "192.0.2.20 True"),
    (["--network", "none"], "2001:db8::20", "2001:db8::10", "::1", "2001:db8::20 True"),
    (["--no-ipv6"], "2001:db8::20", "2001:db8::10", "::1", "2001:db8::20 True"),
    (["--via", "exec:sleep 1000"], "192.0.2.20", "192.0.2.10", "127.0.0.1", "192.0.2.20 True"),
    # an address that the sandbox has, too: a guest may trust itself
    (["--cidr", "192.0.2.0/24"], "192.0.2.100", "192.0.2.10", "127.0.0.1", "127.0.0.1 False"),
    (["--outbound", "slirp"], "192.0.2.20", "192.0.2.10", "127.0.0.1", "192.0.2.20 True"),
    (["--outbound", "slirp", "--port-driver", "splice"], "192.0.2.20", "192.0.2.10", "127.0.0.1", "127.0.0.1 False"),
])
def test_clients_come_as_themselves(nswrap, far, options, source, listener, guest, seen):
    host, outside = far
    subprocess.run([*outside.enter, "ip", "addr", "add", "192.0.2.100/24", "dev", "ext1"], check=True)
    rule = f"[{listener}]" if ":" in listener else listener
    running = nswrap.start(*options, "-f", f"{rule}:0:7000", "--", *python(PEERS, guest, 7000), prefix=host.prefix())
    running.guest_listening()
    result = outside.run(*python(COME, source, listener, running.host_port()))
    assert result.stdout.decode().splitlines() == [seen] * 40, result.stderr


@pytest.mark.parametrize("source, listener, guest", [("192.0.2.20", "192.0.2.10", "127.0.0.1"), ("2001:db8::20", "2001:db8::10", "::1")])
def test_root_inside_changes_which_ports_are_chosen(nswrap, far, source, listener, guest):
    """Then clients by such a port come as themselves by another one, and all by loopback are served."""
    host, outside = far
    rule = f"[{listener}]" if ":" in listener else listener
    running = nswrap.start("--root", "-f", f"{rule}:0:7000", "-p", "0:7000", "--", "sh", "-c",
                           'echo 1024 1100 >/proc/sys/net/ipv4/ip_local_port_range && exec "$@"', "sh",
                           *python(PEERS, guest, 7000), prefix=host.prefix())
    running.guest_listening()
    result = outside.run(*python(COME, source, listener, running.host_port()))
    assert result.stdout.decode().splitlines() == [f"{source} {i % 4 > 1}" for i in range(40)], result.stderr
    result = host.run(*python(COME, "127.0.0.1", "127.0.0.1", running.host_port(2)))
    assert result.stdout.decode().splitlines() == [f"{guest} False"] * 40, result.stderr


# from one port to two places; argv: the address to come from, ADDRESS,PORT...
TWICE = """
import socket, sys
kept = []
for place in sys.argv[2:]:
    address, port = place.split(',')
    s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
    kept.append(s)
    s.settimeout(20)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((sys.argv[1], 33333))
    s.connect((address, int(port)))
    print(s.recv(100).decode())
"""


@pytest.mark.parametrize("rule, source, listeners, guest", [
    ("0.0.0.0", "192.0.2.20", ["192.0.2.10", "192.0.2.11"], "127.0.0.1"),
    ("[::]", "2001:db8::20", ["2001:db8::10", "2001:db8::11"], "::1")])
def test_one_port_of_a_client_twice(nswrap, far, rule, source, listeners, guest):
    """It is here already: the second time it has its address, and another port."""
    host, outside = far
    running = nswrap.start("-f", f"{rule}:0:7000", "--", *python(PEERS, guest, 7000), prefix=host.prefix())
    running.guest_listening()
    result = outside.run(*python(TWICE, source, *(f"{listener},{running.host_port()}" for listener in listeners)))
    first, second = result.stdout.decode().splitlines()
    assert first == f"{source} 33333" and second.split()[0] == source and second != first, result.stderr


def test_one_port_of_a_client_to_two_servers(nswrap, far):
    """Nothing is in the way: they are two connections inside as well."""
    host, outside = far
    running = nswrap.start("-f", "0.0.0.0:0:7000", "-f", "0.0.0.0:0:7001", "--", "sh", "-c", '"$@" 7001 & "$@" 7000', "sh",
                           *python(PEERS, "127.0.0.1"), prefix=host.prefix())
    running.guest_listening(2)
    for _ in range(2):
        places = [f"192.0.2.10,{port}" for port in (running.host_port(1), running.host_port(2))]
        result = outside.run(*python(TWICE, "192.0.2.20", *places))
        assert result.stdout.decode().splitlines() == ["192.0.2.20 33333"] * 2, result.stderr


# many clients one after the other; argv: ADDRESS PORT
FOLLOW = """
import socket, sys
for _ in range(160):
    with socket.create_connection(sys.argv[1:], timeout=20) as s:
        while s.recv(100):
            pass
"""


@pytest.mark.parametrize("listener, guest", [("192.0.2.10", "127.0.0.1"), ("2001:db8::10", "::1")])
def test_sockets_with_a_clients_address_are_used_again(nswrap, far, listener, guest):
    """init is not asked for a new one each time, where there is IP_LOCAL_PORT_RANGE."""
    host, outside = far
    rule = f"[{listener}]" if ":" in listener else listener
    running = nswrap.start("-f", f"{rule}:0:7000", "--", *python(PEERS, guest, 7000), prefix=host.prefix())
    running.guest_listening()
    woken = []
    for _ in range(2):
        outside.run(*python(FOLLOW, listener, running.host_port()))
        woken.append(int(proc_status(running.init_pid())["voluntary_ctxt_switches"]))
    are_used_again = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (6, 3)
    assert (woken[1] - woken[0] < 5) == are_used_again


# with a listening socket for both families, as a service manager gives it; argv: COMMAND
GIVE = """
import os, socket, sys
s = socket.create_server(('::', int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.execvpe(sys.argv[2], sys.argv[2:], {**os.environ, 'LISTEN_FDS': '1', 'LISTEN_PID': str(os.getpid())})
"""


@pytest.mark.parametrize("guest, families", [("::", "46"), ("0.0.0.0", "4"), ("::1", "6")])
def test_clients_of_a_socket_for_both_families(nswrap, far, guest, families):
    """Each by turns comes as itself to the address of its own family."""
    host, outside = far
    with open(os.devnull):  # so that the events' descriptor is not 3
        running = nswrap.start("-p", "fd:3:7000", "--", *python(PEERS, guest, 7000),
                               prefix=[*host.prefix(), *python(GIVE, 7007)])
    running.guest_listening()
    for _ in range(2):
        for family, source, listener in ("4", "192.0.2.20", "192.0.2.10"), ("6", "2001:db8::20", "2001:db8::10"):
            result = outside.run(*python(COME, source, listener, 7007))
            seen = f"{source} True" if family in families else f"{'127.0.0.1' if guest == '0.0.0.0' else '::1'} False"
            assert result.stdout.decode().splitlines() == [seen] * 40, result.stderr


READ_ONLY = "mount -o bind,ro /proc/sys /proc/sys"


@pytest.mark.parametrize("setup, options, source, seen, is_told", [
    ("", [], "192.0.2.10", "127.0.0.1 False", False),
    ("", ["--client-address"], "192.0.2.10", "192.0.2.10 True", False),
    ("", ["--client-address"], "127.0.0.5", "127.0.0.1 False", False),
    ("", ["--client-address", "--network", "none"], "192.0.2.10", "192.0.2.10 True", False),
    # what libslirp can do in its place
    (READ_ONLY, [], "192.0.2.10", "127.0.0.1 False", False),
    (READ_ONLY, ["--client-address"], "192.0.2.10", "192.0.2.10 True", False),
    ("", ["--client-address", "--outbound", "slirp"], "192.0.2.10", "192.0.2.10 True", False),
    (READ_ONLY, ["--client-address", "--network", "none"], "192.0.2.10", "127.0.0.1 False", True),
    (READ_ONLY, ["--client-address", "--port-driver", "splice"], "192.0.2.10", "127.0.0.1 False", True)])
def test_clients_of_loopback(nswrap, outer, setup, options, source, seen, is_told):
    """On request, and never an address of 127.0.0.0/8; where it cannot be had that is said, once."""
    host = outer(setup)
    running = nswrap.start(*options, "-f", "127.0.0.1:0:7000", "--", *python(PEERS, "127.0.0.1", 7000),
                           prefix=host.prefix())
    running.guest_listening()
    result = host.run(*python(COME, source, "127.0.0.1", running.host_port()))
    assert result.stdout.decode().splitlines() == [seen] * 40, result.stderr
    assert running.stderr.text().count("--client-address needs") == is_told


@pytest.mark.parametrize("choice", ["auto", "splice", "slirp"])
@pytest.mark.parametrize("guest", ["127.0.0.1", "0.0.0.0", "::1", "::", "10.0.2.100", "fd00::100"])
def test_every_client_is_answered(nswrap, far, choice, guest):
    """Whatever listens, wherever the guest does, from here and from outside, and as the manual says."""
    host, outside = far
    rules = []
    for listener in ADDRESSES:
        for kind in ("tcp", "udp"):
            text = f"[{listener}]" if ":" in listener else listener
            rules += ["-f", f"{text}:0:7000/{kind}"]
    running = nswrap.start("--port-driver", choice, *rules, "--", *python(GUEST, guest, 7000),
                           prefix=host.prefix())
    running.guest_listening(len(rules) // 2)
    forwards = [e for e in running.events if e["event"] == "forward"]
    asked = [(f, address) for f in forwards for address in ADDRESSES[f["host"]]]
    # not by port: the kernel chooses one for one address that another address has, too
    of_target = {f"{f['proto']},{address},{f['host_port']}": f for f, address in asked}
    here = list(of_target)
    there = [line for line in here if line.split(",")[1] not in ("127.0.0.1", "::1")]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda run: run().stdout.decode().splitlines(),
                                (lambda: host.run(*python(CLIENT, *here)),
                                 lambda: outside.run(*python(CLIENT, *there)))))
    assert [len(a) for a in answers] == [len(here), len(there)]
    wrong = []
    for place, lines in zip(("here", "outside"), answers):
        for line in lines:
            target, said = line.split(" ", 1)
            forward = of_target[target]
            driver, seen = manual(forward, choice)
            if forward["driver"] != driver or said not in seen(guest, place):
                wrong.append((place, forward["spec"], forward["driver"], line))
    assert not wrong, "\n".join(map(str, wrong))
    assert running.stop() == 143
