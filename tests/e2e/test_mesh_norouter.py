# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_norouter - routes, names and proxies where NoRouter is on the other side"""

import errno
import os
import pathlib
import re
import socket
import struct
import subprocess

import pytest

from harness import BINARY, HTTP, PATIENCE, TCP_ECHO, free_port, python, wait_for
from mesh_tools import Box, Site, network
from norouter_peer import ACK, FIN, PSH, RST, SYN, Connection, Ports
from standin import PIPES, Link, Switch
from test_mesh_host import ENDING
from test_mesh_routes import FAR, NAMED, OWN_RESOLVER, cloud, named  # noqa: F401: fixtures
from test_mesh_wire import Joined

# says what stands on stdin to a server, prints what it says until its end; argv: name port
SAY = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30) as s:
    s.sendall(sys.stdin.buffer.read())
    s.shutdown(socket.SHUT_WR)
    while part := s.recv(65536):
        sys.stdout.buffer.write(part)
"""


def test_routes_and_proxies_under_its_manager(nswrap, cloud, short_dir):  # noqa: F811
    """Two agents of ours, told what it tells: each proxy reaches a network and names behind the other."""
    made = cloud(setup=OWN_RESOLVER.format(directory=short_dir))
    named(made)
    made.serve(HTTP, NAMED, 8080)
    made.serve(HTTP, FAR, 8081)
    laptop, bastion = f"{network()}.101", f"{network()}.102"
    http, socks = free_port(), free_port()
    told = {"hostnameMap": {"laptop": laptop, "bastion": bastion},
            "routes": [{"toCIDR": ["192.0.2.0/26"], "toHostnameGlob": None, "via": bastion},
                       {"toCIDR": None, "toHostnameGlob": ["*.cloud1.example.com"], "via": bastion}],
            "nameServers": [{"ip": vip, "port": 10053, "proto": "tcp"} for vip in (laptop, bastion)]}
    switch, links = Switch(told["routes"]), []
    for vip, prefix, own in (
            (laptop, [], {"http": {"listen": f"127.0.0.1:{http}"}, "socks": {"listen": f"127.0.0.1:{socks}"}}),
            (bastion, made.bastion.prefix(), {"loopback": {"disable": True}})):
        links.append(switch.add(vip, Link(nswrap.popen("agent", "--automated", prefix=prefix, env={
            **nswrap.env, "HOME": short_dir}, **PIPES))))
        links[-1].configure(vip, **told, **own)
    for proxy in (["-x", f"http://127.0.0.1:{http}"], ["-p", "-x", f"http://127.0.0.1:{http}"],
                  ["--socks5-hostname", f"127.0.0.1:{socks}"], ["--socks4a", f"127.0.0.1:{socks}"]):
        for where in (f"{FAR}:8081", "www.cloud1.example.com:8080"):
            done = subprocess.run(["curl", "-sS", "-m", "20", "--noproxy", "", *proxy, f"http://{where}/x"],
                                  capture_output=True)
            assert done.stdout == b"path /x", (proxy, where, done.stderr)
    assert switch.suggested == {socket.inet_aton(NAMED): socket.inet_aton(bastion)}
    for link in links:
        link.hang_up()
        assert link.popen.wait(10) == 0


def take(theirs, address, port, client):
    """The connection that one of ours begins to an address."""
    syn = theirs.ports.begun.get(timeout=10 * PATIENCE)
    assert (syn.destination, syn.dport, syn.source) == (
        socket.inet_aton(address), port, socket.inet_aton(client))
    c = Connection(theirs.ports, (address, port), (client, syn.sport), seen=syn)
    c.accept()
    return c


def test_its_agent_is_the_way_out(nswrap, short_dir):
    """A sandbox of ours in our mesh; the network and the names are behind an agent of theirs."""
    box = Box(nswrap, "box")
    ours, theirs_vip = f"{network()}.101", f"{network()}.102"
    theirs = Joined(short_dir, "theirs")
    site = Site(nswrap, short_dir,
                routes=[{"to": ["192.0.2.0/26", "*.cloud1.example.com"], "via": "theirs"}])
    site.host("ours", ours, box.agent())
    site.host("theirs", theirs_vip, theirs.cmd)
    try:
        with site:
            for name, address in ((FAR, FAR), ("db.cloud1.example.com", "198.51.100.7")):
                client = box.popen(*python(SAY, name, 5432), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                data = os.urandom(50000)
                client.stdin.write(data)
                client.stdin.close()
                if name != address:
                    answer(take(theirs, theirs_vip, 10053, ours), address)
                c = take(theirs, address, 5432, ours)
                assert c.read_to_fin() == data
                c.send(PSH | ACK, b"hello")
                c.send(FIN | ACK)
                assert client.stdout.read() == b"hello" and client.wait(10) == 0
            assert set(site.status()["ours"]["drops"].values()) == {0}
    finally:
        theirs.close()


def answer(c, address):
    """What its name server says to the first question on a connection."""
    def is_whole(data, _):
        return len(data) >= 2 and len(data) >= 2 + struct.unpack("!H", data[:2])[0]

    query = c.read(is_whole)[2:]
    end = query.index(b"\0", 12) + 5
    assert query[12:end].lower() == b"\2db\6cloud1\7example\3com\0\0\1\0\1"
    made = query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + query[12:end]
    made += b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(address)
    c.send(PSH | ACK, struct.pack("!H", len(made)) + made)


def without_a_stack(nswrap, directory):
    """(a site of ours with a host that has no stack and one whose agent is theirs; that)."""
    box, theirs = Box(nswrap, "box"), Joined(directory, "theirs")
    box.serve(TCP_ECHO, "127.0.0.1", 7000, port=7000)
    site = Site(nswrap, directory)
    site.host("bare", f"{network()}.101", [BINARY, "exec", "box", "env", BINARY, "agent", "--stack", "streams"],
              ports=["7000:127.0.0.1:7000"])
    site.host("theirs", f"{network()}.102", theirs.cmd, ports=["8080:127.0.0.1:80"])
    return site, box, theirs


def test_its_agent_and_one_without_a_stack(nswrap, short_dir):
    """They have nothing in common: said when both are ready, and refused both ways, at once."""
    site, box, theirs = without_a_stack(nswrap, short_dir)
    bare, other = f"{network()}.101", f"{network()}.102"
    try:
        with site:
            site.running.wait_line(r" theirs: no connections between it and bare: .*wanted by --stack.*0\.6\.5")
            assert int(box.do(*python(ENDING, other, 8080)).split()[0]) == errno.ECONNRESET
            site.running.wait_line(f"bare: .*the host at {other} cannot be reached from this one, at {bare}: ")
            c = Connection(theirs.ports, (other, 40000), (bare, 7000))
            c.send(SYN)
            assert c.next().flags & RST
            site.running.wait_line(f"bare: .*the host at {other} cannot connect to port 7000 of this one, at {bare}: ")
    finally:
        theirs.close()


@pytest.mark.waits
@pytest.mark.parametrize("is_mute", [False, True], ids=["as of now", "mute"])
def test_its_manager_and_one_without_a_stack(nswrap, short_dir, is_mute):
    """Nobody says that their agent does not know of streams. It does when it is asked, at once; one that
    is mute is found out, as it goes on asking."""
    box = Box(nswrap, "box")
    bare, other = f"{network()}.101", f"{network()}.102"
    said = open(short_dir + "/said", "wb+", buffering=0)
    link = Link(nswrap.popen("exec", "box", "env", BINARY, "agent", "--stack", "streams", stderr=said, **PIPES))
    ports = Ports(link.send_packet, is_mute)
    link.on_packet = ports.on_packet
    link.configure(bare, [(7000, "127.0.0.1", 7000)], [(other, 8080)], loopback={})

    def is_told():
        return int(box.do(*python(ENDING, other, 8080)).split()[0]) == errno.ECONNRESET

    def words():
        return pathlib.Path(said.name).read_text()

    apart = f"the host at {other} cannot be reached from this one, at {bare}: .*the agent of that one knows of no streams"
    if not is_mute:  # nothing of TCP has come yet by which it could be known
        assert is_told()
        wait_for(lambda: re.search(apart, words()), "what it answers to be understood", 3)
    c = Connection(ports, (other, 40000), (bare, 7000))
    syn = c.send(SYN)
    wait_for(lambda: link.send_packet(syn) or not c.seen.empty(), "a refusal", 8)
    assert c.next().flags & RST
    assert is_told()
    link.hang_up()
    assert link.popen.wait(10) == 0
    assert re.search(apart, words())
    assert f"the host at {other} cannot connect to port 7000 of this one, at {bare}: " in words()
