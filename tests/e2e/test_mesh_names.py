# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_names - in a sandbox of a mesh its names just resolve, and leave the machine never"""

import json
import os
import pathlib
import shlex
import socket
import subprocess

import pytest

from harness import TCP_ECHO, python, wait_for
from mesh_tools import Box, Site, network
from test_mesh_sandbox import Agent, name_of
from test_names import DIG, FOLLOW, Host

ONE, TWO = "127.0.42.101", "127.0.42.102"


def dig(run, *queries):
    """[(rcode, number of answers)...]; run: words to a CompletedProcess."""
    done = run(*python(DIG, *" / ".join(queries).split()))
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    assert len(lines) == len(queries), done.stderr
    return [(int(line[0]), int(line[2])) for line in lines]


@pytest.fixture
def site(nswrap, short_dir):
    made = Site(nswrap, short_dir)
    made.boxes = [Box(nswrap, name) for name in ("box-lab", "box-web")]
    made.vips = [f"{network()}.101", f"{network()}.102"]
    made.host("lab", made.vips[0], made.boxes[0].agent(), aliases=["Lab.Example.COM"],
              ports=["80:127.0.0.1:8000"])
    made.host("web", made.vips[1], made.boxes[1].agent())
    return made


@pytest.mark.agents(but=("streams",), thorough=True)
def test_names_just_resolve(nswrap, site):
    """By the C library, by programs with a resolver of their own, by address; static or not."""
    lab, web = site.boxes
    vip = site.vips[0]
    lab.serve(TCP_ECHO, "127.0.0.1", 8000, port=8000)
    with site:
        assert web.do("getent", "hosts", "lab").split() == [vip.encode(), b"lab"]
        assert web.do("getent", "hosts", "LAB.example.com").split()[0] == vip.encode()
        assert web.do("getent", "hosts", vip).split() == [vip.encode(), b"lab"]
        reverse = ".".join(reversed(vip.split("."))) + ".in-addr.arpa"
        assert dig(web.run, "lab 1", "lab 28", "lab 15", "LaB.eXample.com 1 tcp", f"{reverse} 12",
                   "nobody 1", "x.lab 1", "web 1") == [
            (0, 1), (0, 0), (0, 0), (0, 1), (0, 1), (5, 0), (3, 0), (0, 1)]
        assert web.do(*python("""
import socket
s = socket.create_connection(("lab", 80), timeout=20)
s.sendall(b"hello")
print(s.recv(5).decode(), s.getpeername()[0])
""")) == f"hello {vip}\n".encode()
        assert web.run("ping", "-c", "1", "-W", "10", "lab").returncode == 0


# as Go's resolver asks (net/dnsclient_unix.go): A and AAAA at once, EDNS0 with 1232 bytes, one id each;
# here from one socket, as musl does, then over one connection; argv: name. Prints, of each, in the order
# of types: rcode, number of answers, has it an OPT
GO = """
import socket, struct, sys
name = b''.join(bytes([len(p)]) + p.encode() for p in sys.argv[1].split('.')) + bytes(1)
def query(id, type):
    return (struct.pack('!6H', id, 0x0120, 1, 0, 0, 1) + name + struct.pack('!2H', type, 1)
            + bytes(1) + struct.pack('!2HIH', 41, 1232, 0, 0))
queries = {0x1234: query(0x1234, 1), 0x4321: query(0x4321, 28)}
server = next(line.split()[1] for line in open('/etc/resolv.conf') if line.startswith('nameserver'))
def show(answers):
    for id in queries:
        head = struct.unpack('!6H', answers[id][:12])
        print(head[1] & 15, head[3], head[5])
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.settimeout(20)
u.connect((server, 53))
for text in queries.values():
    u.send(text)
show({struct.unpack('!H', data[:2])[0]: data for data in (u.recv(1232), u.recv(1232))})
t = socket.create_connection((server, 53), timeout=20)
t.sendall(b''.join(struct.pack('!H', len(text)) + text for text in queries.values()))
f, answers = t.makefile('rb'), {}
for _ in queries:
    data = f.read(struct.unpack('!H', f.read(2))[0])
    answers[struct.unpack('!H', data[:2])[0]] = data
show(answers)
"""


@pytest.mark.agents(but=("streams",), thorough=True)
def test_as_go_asks(site):
    """Both families at once, from one socket and over one connection: an address, and none; no name; each
    with its own id."""
    web = site.boxes[1]
    with site:
        assert web.do(*python(GO, "lab")).decode().splitlines() == 2 * ["0 1 1", "0 0 1"]
        assert web.do(*python(GO, "x.lab")).decode().splitlines() == 2 * ["3 0 1", "3 0 1"]


@pytest.mark.agents(but=("streams",), thorough=True)
def test_names_change_while_programs_run(nswrap, site):
    web = site.boxes[1]
    running = web.popen(*python(FOLLOW), stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def look_up(name):
        running.stdin.write(name.encode() + b"\n")
        running.stdin.flush()
        return running.stdout.readline().decode().strip()

    def raw(name):
        return dig(web.run, f"{name} 1")[0]

    assert raw("lab") == (5, 0)
    with site:
        assert look_up("lab") == site.vips[0] and raw("lab") == (0, 1)
        site.hosts["lab"]["aliases"] = ["fresh"]
        site.path.write_text(json.dumps({"hosts": site.hosts}))
        assert nswrap.run("mesh", "reload", site.name).returncode == 0
        wait_for(lambda: look_up("fresh") == site.vips[0], "the new alias")
        assert raw("fresh") == (0, 1)
        assert raw("lab.example.com") == (5, 0)
        assert look_up("lab.example.com") != site.vips[0]
    # the agent has gone
    wait_for(lambda: raw("lab") == (5, 0), "the names to go")
    assert look_up("lab") != site.vips[0]
    running.stdin.close()
    running.wait(10)


NAMES = {"lab": ONE, "web": TWO, "db.example.com": TWO}


@pytest.fixture
def outside(outer, short_dir):
    return Host(outer, short_dir, "nameserver 192.0.2.10\nsearch corp.example\n",
                ("192.0.2.10", "fine"))


# runs what it is told: a JSON list of words a connection, its stdout is the answer; argv: path
RUNNER = """
import json, os, socket, subprocess, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1] + '.new')
s.listen()
os.rename(sys.argv[1] + '.new', sys.argv[1])
while True:
    c, _ = s.accept()
    done = subprocess.run(json.loads(c.makefile().readline()), stdout=subprocess.PIPE)
    c.sendall(done.stdout)
    c.close()
"""


class Beside:
    """An agent beside a COMMAND that runs programs for us, on an outer host."""

    def __init__(self, nswrap, outside, directory, names, **more):
        self.path = str(directory / "runner")
        self.agent = Agent(nswrap, "-c", "exec " + shlex.join(python(RUNNER, self.path)), "agent",
                           prefix=outside.outer.prefix())
        self.agent.configure(ONE, hostnameMap=names, **more)
        wait_for(lambda: os.path.exists(self.path), "COMMAND")

    def run(self, *words):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.path)
            s.sendall(json.dumps([str(word) for word in words]).encode() + b"\n")
            return subprocess.CompletedProcess(words, 0, s.makefile("rb").read(), "")

    def end(self):
        self.agent.hang_up()
        self.agent.wait()


def test_no_name_leaves(nswrap, outside, short_dir):
    """Nobody outside hears a name of the mesh, whatever is asked of it."""
    beside = Beside(nswrap, outside, pathlib.Path(short_dir), NAMES)
    run = beside.run
    wait_for(lambda: dig(run, "lab 1")[0] == (0, 1), "the names")
    asked = [f"{name} {kind}{tcp}" for name in ("lab", "Web", "db.example.com")
             for kind in (1, 28, 15, 16, 33, 65, 255) for tcp in ("", " tcp")]
    asked += ["_http._tcp.lab 33", "_8443._https.web 65", "x.lab 1", "lab.corp.example 1",
              "web.corp.example 28", "_443._tcp.db.example.com 52", "102.42.0.127.in-addr.arpa 12",
              "77.42.0.127.in-addr.arpa 12"]
    assert all(rcode in (0, 3) for rcode, _ in dig(run, *asked))
    assert dig(run, "lab 16 class=3", "x.lab 1 class=255 tcp") == [(5, 0), (5, 0)]
    for words in (["getent", "ahosts", "lab"], ["getent", "hosts", "db.example.com"]):
        assert run(*words).stdout
    names = [line.split()[2].lower() for line in outside.asked()]
    assert not names, names
    # the control: other names do
    assert dig(run, "x.db.example.com 1", "lab.example 1") == [(0, 1), (0, 1)]
    assert len(outside.asked()) == 2
    beside.end()


# answers one A question over TCP with 203.0.113.9, and says what it was asked; argv: address port
ONE_ANSWER = """
import socket, struct, sys
s = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    c, _ = s.accept()
    ask = c.recv(4096)[2:]
    end = 12
    while ask[end]:
        end += ask[end] + 1
    text = ask[:2] + struct.pack('!HHHHH', 0x8180, 1, 1, 0, 0) + ask[12:end + 5] + b'\\xc0\\x0c' + \\
        struct.pack('!HHIH', 1, 1, 60, 4) + bytes([203, 0, 113, 9])
    c.sendall(struct.pack('!H', len(text)) + text)
    c.close()
"""


def test_patterns_are_asked_inside(nswrap, outside, short_dir):
    """What a route's pattern matches is asked of the agent's name server, and of nobody else."""
    beside = Beside(nswrap, outside, pathlib.Path(short_dir), NAMES,
                    routes=[{"toCIDR": [], "toHostnameGlob": ["*.cloud1.example.com"], "via": TWO}])
    run = beside.run
    # nobody listens there: no answer, but a prompt one
    wait_for(lambda: dig(run, "db.cloud1.example.com 1")[0] == (2, 0), "the pattern")
    run("sh", "-c", shlex.join(python(ONE_ANSWER, ONE, 10053)) + " >/dev/null 2>&1 &")
    wait_for(lambda: run("getent", "ahostsv4", "db.cloud1.example.com").stdout.startswith(b"203.0.113.9 "),
             "the server inside")
    assert dig(run, "DB.cloud1.example.com 1 tcp", "cloud1.example.com 1") == [(0, 1), (0, 1)]
    assert [line.split()[2] for line in outside.asked()] == ["cloud1.example.com"]
    beside.end()


def test_many_names(nswrap, short_dir):
    """10,000 names in one telling, and one that is none of a host."""
    agent = Agent(nswrap, "--network", "none", "-c", "exec sleep 1000", "agent")
    names = {f"host-{i}.with-a-name-that-is-rather-long.example": f"127.1.{i // 250}.{i % 250 + 1}"
             for i in range(10000)}
    agent.configure(ONE, hostnameMap={**names, "lab": ONE, "evil 6.6.6.6 bank.example": TWO})
    name = name_of(agent)

    def look_up(wanted):
        return nswrap.run("exec", name, "getent", "hosts", wanted).stdout.decode().split()

    last = list(names)[-1]
    wait_for(lambda: look_up(last)[:1] == [names[last]], "the names")
    assert dig(lambda *words: nswrap.run("exec", name, *words), f"{last} 1", "lab 1") == [(0, 1), (0, 1)]
    assert look_up("bank.example") == []
    agent.hang_up()
    agent.wait()


def test_own_names_and_the_meshs(nswrap, short_dir):
    """A mesh that calls a host as this machine is called does not take the own name away."""
    agent = Agent(nswrap, "--network", "none", "-c", "exec sleep 1000", "agent")
    own = socket.gethostname()
    agent.configure(ONE, hostnameMap={own: TWO})
    name = name_of(agent)
    wait_for(lambda: TWO in nswrap.run("exec", name, "cat", "/etc/hosts").stdout.decode(), "the names")
    first = nswrap.run("exec", name, *python("import socket; print(socket.gethostbyname(socket.gethostname()))"))
    assert first.stdout == b"127.0.0.1\n", first.stderr
    agent.hang_up()
    agent.wait()
