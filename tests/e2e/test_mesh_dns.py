# SPDX-License-Identifier: Apache-2.0
"""The built-in DNS of a mesh's hosts, at port 10053 of each VIP, as NoRouter's documentation has it"""

import json
import os
import pathlib
import socket
import struct
import subprocess

import pytest

import harness
from harness import PATIENCE, Nswrap, python, wait_for
from mesh_tools import Box, Site, network
from standin import PIPES, Link, Switch
from test_names import Host

PORT = 10053
A, PTR, TXT, AAAA = 1, 12, 16, 28
NXDOMAIN, SERVFAIL = 3, 2

# asks a name server for what stands on stdin, a line "name type" each, all at once over one
# connection (or in datagrams); prints "name type rcode answers..." as they come;
# argv: tcp|udp address port
CLIENT = """
import socket, struct, sys
kind, host, port = sys.argv[1:]
is_tcp = kind == 'tcp'
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if is_tcp else socket.SOCK_DGRAM)
s.settimeout(15)
s.connect((host, int(port)))
def name_at(data, at):
    name = []
    while data[at]:
        if data[at] >= 0xc0:
            name.append(name_at(data, (data[at] & 63) << 8 | data[at + 1])[0])
            return '.'.join(name), at + 2
        name.append(data[at + 1:at + 1 + data[at]].decode())
        at += 1 + data[at]
    return '.'.join(name), at + 1
asked = [line.split() for line in sys.stdin]
out = b''
for number, (name, type_) in enumerate(asked):
    labels = b''.join(bytes([len(l)]) + l.encode() for l in name.split('.'))
    query = struct.pack('!HHHHHH', number, 0x100, 1, 0, 0, 0) + labels + b'\\0' + struct.pack('!HH', int(type_), 1)
    if is_tcp:
        out += struct.pack('!H', len(query)) + query
    else:
        s.send(query)
if is_tcp:
    s.sendall(out)
def receive(count):
    data = b''
    while len(data) < count:
        part = s.recv(count - len(data))
        assert part, 'the end'
        data += part
    return data
for _ in asked:
    data = receive(struct.unpack('!H', receive(2))[0]) if is_tcp else s.recv(65535)
    number, flags, _, answers = struct.unpack('!HHHH', data[:8])
    name, at = name_at(data, 12)
    type_, = struct.unpack('!H', data[at:at + 2])
    at += 4
    found = []
    for _ in range(answers):
        owner, at = name_at(data, at)
        rtype, _, ttl, length = struct.unpack('!HHIH', data[at:at + 10])
        at += 10
        value = data[at:at + length]
        found.append(socket.inet_ntop(socket.AF_INET if rtype == 1 else socket.AF_INET6, value)
                     if rtype in (1, 28) else name_at(data, at)[0] if rtype == 12 else str(length))
        at += length
    assert asked[number] == [name, str(type_)], (asked[number], name, type_)
    print(name, type_, flags & 15, *found, flush=True)
"""

# a name server over TCP and UDP: big.test has a TXT answer of 60,000 bytes, x.test an A record,
# slow.test one after a while (less than a server is given over TCP, 4 s), the rest does not exist; argv: address port
UPSTREAM = """
import socket, struct, sys, threading, time
def answer(ask):
    name, at = [], 12
    while ask[at]:
        name.append(ask[at + 1:at + 1 + ask[at]].decode().lower())
        at += ask[at] + 1
    kind, name = struct.unpack('!H', ask[at + 1:at + 3])[0], '.'.join(name)
    records = []
    if name == 'slow.test':
        time.sleep(3)
    if name in ('x.test', 'slow.test') and kind == 1:
        records = [socket.inet_aton('192.0.2.77')]
    if name == 'big.test':
        records = [(bytes([250]) + b'x' * 250) * 239]
    head = ask[:2] + struct.pack('!HHHHH', 0x8180 if name.endswith('.test') else 0x8183, 1, len(records), 0, 0)
    return head + ask[12:at + 5] + b''.join(
        b'\\xc0\\x0c' + struct.pack('!HHIH', kind, 1, 60, len(r)) + r for r in records)
def serve_tcp(c):
    while len(head := c.recv(2, socket.MSG_WAITALL)) == 2:
        ask = c.recv(struct.unpack('!H', head)[0], socket.MSG_WAITALL)
        made = answer(ask)
        c.sendall(struct.pack('!H', len(made)) + made)
    c.close()
def listen():
    l = socket.socket()
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.bind((sys.argv[1], int(sys.argv[2])))
    l.listen()
    while True:
        threading.Thread(target=serve_tcp, args=(l.accept()[0],), daemon=True).start()
threading.Thread(target=listen, daemon=True).start()
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
while True:
    ask, peer = s.recvfrom(4096)
    made = answer(ask)
    s.sendto(made if len(made) <= 512 else made[:2] + b'\\x83\\x80' + ask[4:6] + bytes(6) + ask[12:], peer)
"""


class Etc:
    """An outer host whose resolver is at 192.0.2.10, or wherever its resolv.conf says."""

    def __init__(self, outer, short_dir, nswrap, name="resolv.conf"):
        self.resolv = pathlib.Path(short_dir, name)
        self.resolv.write_text("nameserver 192.0.2.10\n")
        self.outer = outer(f"mount --bind {self.resolv} /etc/resolv.conf")
        self.nswrap = Nswrap(nswrap.runtime_dir, self.outer.prefix())
        self.nswrap.env = {**nswrap.env, "HOME": short_dir}
        nswrap.started = self.nswrap.started

    def ask(self, server, *lines, kind="tcp"):
        """The client's lines, sorted."""
        done = self.outer.run(*python(CLIENT, kind, server, PORT), input="\n".join(lines).encode())
        assert done.returncode == 0, done.stderr.decode()
        return sorted(done.stdout.decode().splitlines())


@pytest.fixture
def etc(outer, short_dir, nswrap):
    return Etc(outer, short_dir, nswrap)


def site_of(nswrap, directory):
    """The mesh of NoRouter's example; two of its hosts are one machine, and one is a sandbox."""
    site = Site(nswrap, directory)
    site.host("host0", "127.0.42.100")
    site.host("host1", "127.0.42.101", aliases=["Web.Example.com"])
    site.host("box", "127.0.42.102", cmd=[harness.BINARY, "--network", "none", "-c", "sleep 1000"])
    return site


MESH = [f"host1 {A}", f"HoSt1 {A}", f"web.example.com {A}", f"host1 {AAAA}", f"host1 {TXT}",
        f"101.42.0.127.in-addr.arpa {PTR}"]
MESH_ANSWERS = sorted([
    f"host1 {A} 0 127.0.42.101", f"HoSt1 {A} 0 127.0.42.101", f"web.example.com {A} 0 127.0.42.101",
    f"host1 {AAAA} 0", f"host1 {TXT} 0", f"101.42.0.127.in-addr.arpa {PTR} 0 host1"])


@pytest.mark.agents
def test_names_of_the_mesh(etc, short_dir):
    """dig +short -p 10053 +tcp host1 @127.0.42.100, at the VIP of each host, and in UDP."""
    with site_of(etc.nswrap, short_dir) as site:
        for vip in ("127.0.42.100", "127.0.42.101", "127.0.42.102"):
            for kind in ("tcp", "udp"):
                wait_for(lambda: etc.outer.is_bound(PORT, kind == "udp"), "the port")
                assert etc.ask(vip, *MESH, kind=kind) == MESH_ANSWERS, (vip, kind)
        # two hosts at one machine is no trouble of anybody's
        assert "tried again" not in site.running.stderr.text()
        assert not any(host["missing"] for host in site.status().values())
        assert all("dns" in host["features"] for host in site.status().values())
        # names follow a reload
        site.path.write_text(json.dumps({"hosts": {**site.hosts, "new": {"vip": "127.0.42.103"}}}))
        assert etc.nswrap.run("mesh", "reload", site.name).returncode == 0
        wait_for(lambda: etc.ask("127.0.42.100", f"new {A}") == [f"new {A} 0 127.0.42.103"], "the name")


def test_in_a_sandbox(nswrap, short_dir):
    """At every VIP, its own too, without a listener of the host's."""
    box = Box(nswrap, "box")
    site = Site(nswrap, short_dir)
    site.host("box", f"{network()}.101", cmd=box.agent())
    site.host("other", f"{network()}.102", cmd=[harness.BINARY, "--network", "none", "-c", "sleep 1000"])
    with site:
        for vip in (f"{network()}.101", f"{network()}.102"):
            for kind in ("tcp", "udp"):
                found = box.do(*python(CLIENT, kind, vip, PORT), input=f"other {A}\nother {AAAA}\n".encode())
                assert found.decode().splitlines() == [f"other {A} 0 {network()}.102", f"other {AAAA} 0"]
        assert harness.is_refused(PORT, f"{network()}.101")
    box.running.stop()


@pytest.mark.agents(thorough=True)
def test_the_rest_is_the_hosts_resolvers(etc, short_dir):
    """Pipelined, up to 64 KiB, whatever the servers say; the resolver may change."""
    etc.outer.serve(UPSTREAM, "192.0.2.10", 53, udp=True)
    popen = etc.nswrap.popen("agent", "--automated", **PIPES)
    link = Link(popen)
    servers = [{"ip": "127.0.42.101", "port": PORT, "proto": kind} for kind in ("tcp", "udp")]
    link.configure("127.0.42.101", nameServers=servers)
    lines = [f"slow.test {A}", f"x.test {A}", f"big.test {TXT}", f"no.such {A}", f"host2 {A}", f"x.test {AAAA}"]
    expected = [f"slow.test {A} 0 192.0.2.77", f"x.test {A} 0 192.0.2.77", f"big.test {TXT} 0 59989",
                f"no.such {A} {NXDOMAIN}", f"host2 {A} 0 127.0.42.102", f"x.test {AAAA} 0"]
    done = etc.outer.run(*python(CLIENT, "tcp", "127.0.42.101", PORT), input="\n".join(lines).encode())
    said = done.stdout.decode().splitlines()
    assert sorted(said) == sorted(expected), done
    # nobody waits for the slow one
    assert said[-1] == expected[0]
    assert etc.ask("127.0.42.101", f"x.test {A}", f"no.such {A}", kind="udp") == sorted(expected[1:4:2])
    # another network, another resolver
    etc.resolv.write_text("nameserver 127.0.0.9\n")
    wait_for(lambda: etc.ask("127.0.42.101", f"x.test {A}") == [f"x.test {A} {SERVFAIL}"], "the change")
    etc.resolv.write_text("# back\nnameserver 192.0.2.10\n")
    wait_for(lambda: etc.ask("127.0.42.101", f"x.test {A}") == [expected[1]], "the change")
    link.hang_up()
    assert popen.wait(10) == 0


@pytest.mark.agents(thorough=True)
def test_names_behind_another_host(etc, outer, short_dir, nswrap):
    """What a route's pattern has is asked of that host's resolver, and routed there from then on."""
    far = Etc(outer, short_dir, nswrap, "far")
    far.outer.serve(UPSTREAM, "192.0.2.10", 53, udp=True)
    etc.resolv.write_text("nameserver 127.0.0.9\n")
    switch, links = Switch(), {}
    servers = [{"ip": f"127.0.42.{n}", "port": PORT, "proto": "tcp"} for n in (101, 102)]
    routes = [{"toCIDR": None, "toHostnameGlob": ["*.test"], "via": "127.0.42.102"}]
    for vip, host in (("127.0.42.101", etc), ("127.0.42.102", far)):
        links[host] = switch.add(vip, Link(host.nswrap.popen("agent", "--automated", **PIPES)))
        links[host].configure(vip, nameServers=servers, routes=routes)
    assert etc.ask("127.0.42.101", f"X.test {A}", f"x.test {AAAA}", f"no.such {A}", f"host2 {A}") == sorted([
        f"X.test {A} 0 192.0.2.77", f"x.test {AAAA} 0", f"no.such {A} {SERVFAIL}", f"host2 {A} 0 127.0.42.102"])
    event = links[etc].messages.get(timeout=10 * PATIENCE)
    assert event == {"type": "event", "body": {"type": "routeSuggestion", "data": {
        "ip": ["192.0.2.77"], "route": "127.0.42.102"}}}
    # who asks that host itself asks its resolver
    assert far.ask("127.0.42.102", f"x.test {A}") == [f"x.test {A} 0 192.0.2.77"]
    for link in links.values():
        link.hang_up()
        assert link.popen.wait(10) == 0


@pytest.mark.agents(thorough=True)
def test_no_name_leaves(outer, short_dir, nswrap):
    """Nobody outside hears a name of the mesh from a plain host either, nor what programs make of one."""
    host = Host(outer, short_dir, "nameserver 192.0.2.10\nsearch corp.example\n", ("192.0.2.10", "fine"))
    popen = nswrap.popen("agent", "--automated", prefix=host.outer.prefix(), env={"HOME": short_dir}, **PIPES)
    link = Link(popen)
    link.configure("127.0.42.101",
                   nameServers=[{"ip": "127.0.42.101", "port": PORT, "proto": kind} for kind in ("tcp", "udp")],
                   routes=[{"toCIDR": [], "toHostnameGlob": ["*.own.test"], "via": "127.0.42.101"}])
    ours = {f"x.host1 {A}": [NXDOMAIN], f"_http._tcp.host1 {AAAA}": [NXDOMAIN], f"host1.corp.example {A}": [NXDOMAIN],
            f"a.own.test.corp.example {A}": [NXDOMAIN], f"77.42.0.127.in-addr.arpa {PTR}": [NXDOMAIN],
            f"localhost {A}": [0, "127.0.0.1"], f"x.localhost {AAAA}": [0, "::1"],
            f"1.0.0.127.in-addr.arpa {PTR}": [0, "localhost"]}
    # the control; who asks the host of a pattern itself asks its resolver
    others = {f"{name} {A}": [0, "192.0.2.77"] for name in ("x.example", "host9.corp.example", "a.own.test")}
    for kind in ("tcp", "udp"):
        done = host.outer.run(*python(CLIENT, kind, "127.0.42.101", PORT), input="\n".join(ours | others).encode())
        assert sorted(done.stdout.decode().splitlines()) == sorted(
            " ".join(map(str, [asked, *answer])) for asked, answer in (ours | others).items()), done
    assert sorted({" ".join(line.split()[2:4]) for line in host.asked()}) == sorted(others)
    link.hang_up()
    assert popen.wait(10) == 0


@pytest.mark.agents(thorough=True)
def test_no_resolver(outer, short_dir, nswrap):
    """SERVFAIL, and names of the mesh all the same."""
    host = outer(f"mkdir {short_dir}/etc; mount --bind {short_dir}/etc /etc")
    popen = nswrap.popen("agent", "--automated", prefix=host.prefix(), env={"HOME": short_dir}, **PIPES)
    link = Link(popen)
    link.configure("127.0.42.101", nameServers=[{"ip": "127.0.42.101", "port": PORT, "proto": "tcp"}])
    done = host.run(*python(CLIENT, "tcp", "127.0.42.101", PORT), input=f"x.test {A}\nhost1 {A}".encode())
    assert done.stdout.decode().splitlines() == [f"x.test {A} {SERVFAIL}", f"host1 {A} 0 127.0.42.101"], done
    link.hang_up()
    assert popen.wait(10) == 0


def test_with_a_norouter_manager(nswrap):
    """Told of TCP only; one agent asks the other through the mesh, and from its loopback."""
    switch, links = Switch(), []
    servers = [{"ip": f"{network()}.{n}", "port": PORT, "proto": "tcp"} for n in (101, 102)]
    names = {"host1": f"{network()}.101", "host2": f"{network()}.102"}
    box = Box(nswrap, "box")
    for number, command in ((101, ["agent"]), (102, ["exec", "box", "nswrap", "agent"])):
        link = switch.add(f"{network()}.{number}", Link(nswrap.popen(*command, **PIPES)))
        link.configure(f"{network()}.{number}", nameServers=servers, hostnameMap=names)
        links.append(link)
    for server in servers:
        done = subprocess.run(python(CLIENT, "tcp", server["ip"], PORT), input=f"host2 {A}".encode(),
                              capture_output=True, timeout=20, check=True)
        assert done.stdout.decode() == f"host2 {A} 0 {network()}.102\n"
    for link in links:
        link.hang_up()
        assert link.popen.wait(10) == 0
    box.running.stop()


def sockets(pid):
    return {target for target in harness.open_fds(pid).values() if target.startswith("socket:")}


def test_idle_and_hostile_clients(nswrap):
    """Crumbs, resets at every byte, wrong lengths, what is no query hurt nobody else; who is idle is ended."""
    popen = nswrap.popen("agent", "--automated", **PIPES)
    link = Link(popen)
    vip = f"{network()}.101"
    link.configure(vip, nameServers=[{"ip": vip, "port": PORT, "proto": kind} for kind in ("tcp", "udp")],
                   hostnameMap={"lab": vip})
    with socket.create_connection((vip, PORT)) as idle, socket.create_connection((vip, PORT)) as crumbs:
        query = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\x03lab\0" + struct.pack("!HH", A, 1)
        for byte in struct.pack("!H", len(query)) + query:
            crumbs.sendall(bytes([byte]))
        assert crumbs.recv(2, socket.MSG_WAITALL) and socket.inet_aton(vip) in crumbs.recv(512)
        for junk in (b"\0\0", b"\0\1x", b"\xff\xff" + b"\0" * 65535, b"\0\x0c" + b"\xc0" * 12):
            with socket.create_connection((vip, PORT)) as client:
                client.sendall(junk)
                client.shutdown(socket.SHUT_WR)
                harness.read_all(client)
        framed = struct.pack("!H", len(query)) + query
        before = sockets(popen.pid)
        for sent in range(len(framed) + 1):
            with socket.create_connection((vip, PORT)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
                client.sendall(framed[:sent])
        with socket.create_connection((vip, PORT)) as after:
            after.sendall(framed)
            assert after.recv(2, socket.MSG_WAITALL) and socket.inet_aton(vip) in after.recv(512)
        # all were accepted before that one; the agent's own at its start, 16, may have come since
        wait_for(lambda: len(sockets(popen.pid) - before) < len(framed), "the end of what was reset")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect((vip, PORT))
            client.settimeout(10)
            for junk in (b"", b"x", b"\xc0" * 512, query[:-1], query):
                client.send(junk)
            while socket.inet_aton(vip) not in client.recv(512):
                pass
        if os.environ.get("NSWRAP_TEST_THOROUGH"):
            idle.settimeout(20)
            assert idle.recv(1) == b"", "an idle one is ended"
    link.hang_up()
    assert popen.wait(10) == 0
