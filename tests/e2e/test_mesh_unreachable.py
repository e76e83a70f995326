# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_unreachable - hosts of a mesh that are down, start, go and come back: who talks to
them is told"""

import errno
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import time

import pytest

from harness import (BINARY, PATIENCE, TCP_ECHO, UDP_ECHO, free_port, proc_status, python,
                     wait_for)
from mesh_tools import BACK_S, TRY, Box, Hiccups, Site, Steady, in_time, network
from standin import PIPES, Link, frame

A, B = "127.0.42.101", "127.0.42.102"
PORT = 7000
# src/mesh/manager/early.h
EARLY_S = 5

# sends a datagram; prints the errno of the error that comes, or what comes, and when; argv: address port
# (only with IP_RECVERR the kernel tells UDP of hosts that are unreachable)
ASK = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 11, 1)
s.connect((sys.argv[1], int(sys.argv[2])))
s.settimeout(20)
began = time.monotonic()
s.send(b'question')
try:
    print(0, len(s.recv(1000)), time.monotonic() - began)
except OSError as e:
    print(e.errno, 0, time.monotonic() - began)
"""

# host b: `open` lets its command start, `slow` holds it up
GATE = """
while [ -e "$0/slow" ]; do sleep 0.02; done
[ -e "$0/open" ] && exec "$@"
exit 1
"""


class Pair:
    """Sandboxes a and b in a mesh, b behind a gate."""

    def __init__(self, nswrap, directory):
        self.gate = pathlib.Path(directory)
        (self.gate / "open").touch()
        self.site = Site(nswrap, directory)
        self.a, self.b = Box(nswrap, "a"), Box(nswrap, "b")
        self.site.host("a", A, self.a.agent(), anyPort=True)
        self.site.host("b", B, ["sh", "-c", GATE, str(directory), *self.b.agent()], anyPort=True)
        self.b.serve(TCP_ECHO, "0.0.0.0", PORT, port=PORT)
        self.b.serve(UDP_ECHO, "0.0.0.0", PORT, port=PORT, udp=True)

    def __enter__(self):
        self.site.__enter__()
        return self

    def __exit__(self, *how):
        (self.gate / "slow").unlink(missing_ok=True)
        self.site.__exit__(*how)

    def break_b(self):
        """b's command is killed, and starts again when it may."""
        os.kill(self.site.status()["b"]["pid"], signal.SIGKILL)

    def try_b(self, seconds=20):
        """(errno, how long it took) of a connection to b."""
        done = self.a.do(*python(TRY, B, PORT, seconds)).split()
        return int(done[0]), float(done[1])

    def ask_b(self):
        """(errno, bytes of the answer, how long it took) of a datagram to b."""
        done = self.a.do(*python(ASK, B, PORT)).split()
        return int(done[0]), int(done[1]), float(done[2])


@pytest.fixture
def pair(nswrap, short_dir):
    return Pair(nswrap, short_dir)


@pytest.mark.agents(but=("streams",), thorough=True)
def test_a_host_that_is_down_is_said_at_once(pair):
    with pair:
        assert pair.try_b()[0] == 0 and pair.ask_b()[0] == 0
        (pair.gate / "open").unlink()
        pair.break_b()
        pair.site.wait_state("b", "waiting")
        for ask in pair.try_b, lambda: pair.ask_b()[::2]:
            assert in_time(ask) == errno.EHOSTUNREACH
        done = pair.a.run("ping", "-c", "1", "-W", "20", B)
        assert b"Host Unreachable" in done.stdout, done.stdout
        (pair.gate / "open").touch()
        pair.site.wait_state("b")
        assert pair.try_b()[0] == 0


@pytest.mark.agents(but=("streams",), thorough=True)
def test_what_cannot_leave_or_come_in_is_said_at_once(pair):
    """From another address of the sandbox than its VIP; to a UDP port that is not offered."""
    pair.site.hosts["b"]["anyPort"] = False
    bound = """
import socket, sys, time
s = socket.socket()
s.settimeout(20)
s.bind(("127.0.0.1", 0))
began = time.monotonic()
print(s.connect_ex((sys.argv[1], int(sys.argv[2]))), time.monotonic() - began)
"""
    with pair:
        assert in_time(lambda: map(float, pair.a.do(*python(bound, B, PORT)).split())) == errno.EHOSTUNREACH
        assert in_time(lambda: pair.ask_b()[::2]) == errno.ECONNREFUSED


# --- who abuses it --------------------------------------------------------------------------------


def test_a_flood_to_nowhere_is_its_senders_alone(nswrap, short_dir):
    """SYNs and datagrams from a to nobody, to a host that is down and to one that starts for ever:
    b and c talk as ever, and the manager does not grow."""
    flood = """
import os, random, socket, struct, sys
socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(50)]
while True:
    for s in socks:
        for vip in sys.argv[1:]:
            try:
                s.sendto(bytes(random.randrange(1200)), (vip, random.randrange(1, 65536)))
            except OSError:
                pass  # it was told
"""
    boxes = {name: Box(nswrap, name) for name in ("a", "b", "c")}
    site = Site(nswrap, short_dir)
    gate = pathlib.Path(short_dir)
    (gate / "open").touch()
    for number, (name, box) in enumerate(boxes.items()):
        site.host(name, f"127.0.42.{101 + number}", box.agent(), anyPort=True)
    site.host("starts", "127.0.42.104", ["sh", "-c", GATE, str(gate), BINARY],
              loopback={"disable": True})
    site.host("down", "127.0.42.105", ["sh", "-c", 'exec "$@"', "sh", BINARY],
              loopback={"disable": True}, restart="never")
    boxes["b"].serve(TCP_ECHO, "0.0.0.0", PORT, port=PORT)
    with site:
        (gate / "slow").touch()
        for name in ("starts", "down"):
            os.kill(site.status()[name]["pid"], signal.SIGKILL)
        site.wait_state("starts", "starting")
        before = rss_kib(site)
        floods = [boxes["a"].popen(*python(flood, "127.0.42.104", "127.0.42.105"),
                                   stdin=subprocess.DEVNULL) for _ in range(2)]
        wait_for(lambda: site.status()["down"]["drops"]["not_ready"] > 5000, "the flood", 20)
        with Hiccups() as hiccups:
            steady, began = Steady(boxes["c"], B, PORT), time.monotonic()
            wait_for(lambda: time.monotonic() > began + 1 and
                     site.status()["starts"]["drops"]["not_ready"] > 5000, "more", 30)
            count, longest = steady.end()
        assert count > 20 and longest < 0.5 * PATIENCE + hiccups.lost_s, (count, longest)
        # somebody else finds a place to wait, and is told
        popen = boxes["c"].popen(*python(TRY, "127.0.42.104", PORT, 30), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE)
        (gate / "slow").unlink()
        assert int(popen.communicate(timeout=20 * PATIENCE)[0].split()[0]) == errno.ECONNREFUSED
        for popen in floods:
            popen.terminate()
        assert rss_kib(site) - before < 8 << 10


def rss_kib(site):
    return int(proc_status(site.running.popen.pid)["VmRSS"].split()[0])


def test_only_connections_of_the_mesh_are_ended(nswrap):
    """Whatever a manager says that is gone: what a sandbox talks to on other ways stays."""
    box = Box(nswrap, "a")
    box.serve(TCP_ECHO, "0.0.0.0", PORT, port=PORT)
    link = Link(nswrap.popen("exec", "a", "nswrap", "agent", "--automated", **PIPES))
    link.configure(A, anyPort=True, hostnameMap={"a": A, "b": B})
    steady = Steady(box, "127.0.0.1", PORT)
    own = Steady(box, A, PORT)
    for gone in (["127.0.0.1", A, B, "127.0.42.77", "10.0.2.2"], ["x"], 7, []):
        body = {"type": "gone", "data": {"ip": gone}}
        link.send(frame(2, json.dumps({"type": "event", "body": body}).encode()))
    assert link.request("ping", {}).get("error") is None
    assert steady.end()[0] > 0 and own.end()[0] > 0
    link.hang_up()
    assert link.popen.wait(10) == 0


# --- ends are told --------------------------------------------------------------------------------

# says what it gets from an echo server, and then nothing; prints the errno with which that ends, and
# reads no more than it has to; argv: address port [bind address]
IDLE = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
s.sendall(b'hello')
print(s.recv(5, socket.MSG_WAITALL).decode(), flush=True)
s.settimeout(100)
try:
    print(len(s.recv(10)), flush=True)
except OSError as e:
    print(e.errno, flush=True)
"""

# prints the errno with which each of its idle connections ends; argv: address port
IDLE_SERVER = """
import socket, sys, threading
def serve(c):
    c.sendall(c.recv(5, socket.MSG_WAITALL))
    try:
        print(len(c.recv(10)), flush=True)
    except OSError as e:
        print(e.errno, flush=True)
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    print('listens', flush=True)
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""

# who is idle waits for 100 s
TOLD_S = 5


def idle(popen):
    """The client has its answer."""
    assert popen.stdout.readline() == b"hello\n"
    return popen


def told(popen):
    """The line that comes in time, a number."""
    ready, _, _ = select.select([popen.stdout], [], [], TOLD_S * PATIENCE)
    assert ready, "nobody was told"
    return int(popen.stdout.readline())


@pytest.mark.agents(but=("streams",), thorough=True)
def test_who_is_idle_is_told_that_the_other_host_went(pair):
    """Both ends, in sandboxes that stay where they are; and through a port that is mapped."""
    pair.site.hosts["b"]["ports"] = ["80:127.0.0.1:7001"]
    out = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    with pair:
        servers = [pair.b.popen(*python(IDLE_SERVER, ip, port), **out)
                   for ip, port in ((B, 7002), ("127.0.0.1", 7001))]
        assert all(server.stdout.readline() == b"listens\n" for server in servers)
        clients = [idle(pair.a.popen(*python(IDLE, B, port), **out)) for port in (7002, 80)]
        (pair.gate / "open").unlink()
        pair.break_b()
        for client in clients:
            assert told(client) == errno.ECONNRESET
        # its agent cannot say so any more, the next one can
        (pair.gate / "open").touch()
        pair.site.wait_state("b")
        for server in servers:
            assert told(server) == errno.ECONNRESET
            server.terminate()


def test_a_host_that_is_taken_out_of_the_manifest(pair):
    """Who talked to it is told before it is forgotten."""
    out = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    with pair:
        client = idle(pair.a.popen(*python(IDLE, B, PORT), **out))
        del pair.site.hosts["b"]
        pair.site.path.write_text(json.dumps({"hosts": pair.site.hosts}))
        done = pair.a.nswrap.run("mesh", "reload", pair.site.name)
        assert done.returncode == 0, done.stderr
        assert told(client) == errno.ECONNRESET


def test_the_end_of_a_mesh_is_told(pair):
    out = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    with pair:
        server = pair.b.popen(*python(IDLE_SERVER, B, 7002), **out)
        assert server.stdout.readline() == b"listens\n"
        client = idle(pair.a.popen(*python(IDLE, B, 7002), **out))
    assert told(client) == told(server) == errno.ECONNRESET
    server.terminate()


def reset(address):
    """(True, how long it took) of a connection that is reset."""
    began = time.monotonic()
    with pytest.raises(ConnectionResetError):
        with socket.create_connection(address, timeout=20) as s:
            s.recv(1)
    return True, time.monotonic() - began


def test_programs_of_a_plain_host_are_told(nswrap, short_dir):
    """Plain host c, by way of its loopback, to sandbox b; and sandbox a to what c offers."""
    pair = Pair(nswrap, short_dir)
    vip, net = f"{network()}.103", network()
    target, own = free_port(), free_port()
    pair.site.hosts = {name: {**host, "vip": host["vip"].replace("127.0.42", net)}
                       for name, host in pair.site.hosts.items()}
    b = f"{net}.102"
    pair.site.hosts["b"]["ports"] = [f"{PORT}:127.0.0.1:{PORT}"]
    pair.site.host("c", vip, ["sh", "-c", GATE, str(pair.gate), BINARY],
                   ports=[f"{own}:127.0.0.1:{target}"])
    out = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    started = []
    try:
        with pair:
            started += [subprocess.Popen(python(IDLE_SERVER, "127.0.0.1", target), **out)]
            assert started[0].stdout.readline() == b"listens\n"
            started += [idle(subprocess.Popen(python(IDLE, b, PORT), **out)),
                        idle(pair.a.popen(*python(IDLE, vip, own), **out))]
            os.kill(pair.site.status()["c"]["pid"], signal.SIGKILL)
            # what c relayed is gone with it, and its kernel says so
            for popen in started:
                told(popen)
            pair.site.wait_state("c", restarts=1)
            client = idle(subprocess.Popen(python(IDLE, b, PORT), **out))
            started.append(client)
            (pair.gate / "open").unlink()
            pair.break_b()
            assert told(client) == errno.ECONNRESET
            # b is down: the listener on the loopback device is there, and nobody waits behind it
            pair.site.wait_state("b", "waiting")
            assert in_time(lambda: reset((b, PORT)))
    finally:
        for popen in started:
            popen.terminate()
            popen.wait(10)


def begin(pair):
    """A connection and a datagram to b, which have left."""
    popens = [pair.a.popen(*python(program, B, PORT, 30), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE) for program in (TRY, ASK)]
    wait_for(lambda: any(row[3] == "02" for row in pair.a.table("tcp")), "the SYN")
    wait_for(lambda: any(row[3] == "01" for row in pair.a.table("udp")), "the datagram")
    return [popen.communicate for popen in popens]


def test_a_host_that_starts_is_waited_for(pair):
    """What was sent to it is delivered as soon as it is there, before TCP repeats it."""
    with pair:
        for attempt in range(3):
            (pair.gate / "slow").touch()
            pair.break_b()
            pair.site.wait_state("b", "starting")
            ends = begin(pair)
            began = time.monotonic()
            # TCP repeats its SYN after 1 s and after 3 s
            wait_for(lambda: time.monotonic() - began > 1.2, "the time between")
            (pair.gate / "slow").unlink()
            tcp, udp = (end(timeout=20 * PATIENCE)[0].split() for end in ends)
            assert tcp[0] == b"0" and float(tcp[1]) > 1.1, tcp
            assert udp[0] == b"0" and udp[1] != b"0", udp
            if float(tcp[1]) < 2.8:
                break
            # the host was late, on a busy machine
            assert attempt < 2, tcp
            pair.site.wait_state("b", restarts=attempt + 1)


@pytest.mark.waits
def test_a_host_that_starts_for_long_is_not_waited_for(pair):
    with pair:
        (pair.gate / "slow").touch()
        pair.break_b()
        pair.site.wait_state("b", "starting")
        for end in begin(pair):
            found = end(timeout=20 * PATIENCE)[0].split()
            assert int(found[0]) == errno.EHOSTUNREACH, (found, pair.site.running.stderr.text())
            assert EARLY_S - 1 < float(found[-1]) < EARLY_S + 5 * PATIENCE, found
        assert pair.site.status()["b"]["drops"]["not_ready"] >= 2
        (pair.gate / "slow").unlink()
        pair.site.wait_state("b", timeout=10 + BACK_S)
        assert pair.try_b()[0] == 0
