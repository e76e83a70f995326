# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_wire - agents and the manager with who speaks as the recordings of NoRouter do"""

import errno
import json
import os
import pathlib
import random
import socket
import struct
import subprocess
import threading

import pytest

from harness import HTTP, PATIENCE, PYTHON, TCP_ECHO, TREE, Lines, python, wait_for
from mesh_tools import TRY, Box, Site
from norouter_peer import ACK, FIN, MSS, PSH, RST, SYN, Connection, Ports, Segment
from standin import MESSAGE, PACKET, PIPES, RECORDED_REQUEST, Link, frame

STREAMS = TREE / "tests/data/norouter/streams"
# as recorded: the agent's own address, what it offers, and another host that offers the same
ME, OTHER = "127.0.42.101", "127.0.42.102"
PORT, TARGET = 8080, 18081
# the payload of a packet that is as long as any
FULL = MSS - 12


# --- an agent -------------------------------------------------------------------------------------


class Plain:
    """An agent on a host with a network of its own."""

    def __init__(self, nswrap, outer):
        self.nswrap, self.host = nswrap, outer()

    def agent(self, **options):
        return self.nswrap.popen("agent", "--automated", prefix=self.host.prefix(), **options)

    def serve(self, program):
        return self.host.serve(program, "127.0.0.1", TARGET)

    def do(self, *command):
        done = self.host.run(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def popen(self, *command, **options):
        return self.host.popen(*command, **options)


class Inside(Box):
    """An agent in a sandbox."""

    def __init__(self, nswrap, outer):
        super().__init__(nswrap, "inside")

    def agent(self, **options):
        return self.popen("nswrap", "agent", "--automated", **options)

    def serve(self, program):
        return super().serve(program, "127.0.0.1", TARGET, port=TARGET)


@pytest.fixture(params=[Plain, Inside], ids=["plain host", "sandbox"])
def place(request, nswrap, outer):
    return request.param(nswrap, outer)


@pytest.fixture
def joined(place):
    """joined(): an agent that took the recorded request; the packets by which to talk to it."""
    links = []

    def join():
        err_read, err_write = os.pipe()
        link = Link(place.agent(stderr=err_write, **PIPES))
        os.close(err_write)
        links.append((link, Lines(err_read)))
        link.ports = Ports(link.send_packet)
        link.on_packet = link.ports.on_packet
        link.send(RECORDED_REQUEST)
        result = link.result()
        assert (result["request_id"], result["op"], result.get("error")) == (1, "configure", None)
        assert "tcp" in result["data"]["features"]
        return link.ports

    yield join
    for link, lines in links:
        link.hang_up()
        assert link.popen.wait(5 * PATIENCE) == 0, lines.text()
        assert link.ended.wait(5)
        # nothing but what was asked for, not even an event
        assert link.messages.empty()


def begin(ports, port=PORT):
    return Connection(ports, (OTHER, random.randrange(1024, 65536)), (ME, port))


def check_options(syn):
    """Those of a NoRouter, so that both sides are as fast as they can be."""
    assert syn.mss == MSS
    assert syn.options[4] == b"" and 1 <= syn.options[3][0] <= 14
    assert not syn.data


def test_handshake_and_get(place, joined):
    """The other side ends first."""
    place.serve(HTTP)
    c = begin(joined())
    first, answer = c.open()
    check_options(answer)
    assert answer.times[1] == Segment(first).times[0]
    c.send(PSH | ACK, b"GET /x HTTP/1.1\r\nHost: 127.0.42.101:8080\r\nConnection: close\r\n\r\n")
    data = c.read_to_fin()
    assert data.startswith(b"HTTP/1.1 200 OK\r\n") and data.endswith(b"\r\n\r\npath /x")
    c.send(FIN | ACK)
    assert c.wait_acked().flags == ACK


def test_our_end_first(place, joined):
    """What was sent before the end comes back after it."""
    place.serve(TCP_ECHO)
    c = begin(joined())
    c.open()
    data = os.urandom(5000)
    c.send(PSH | ACK, data[:2000])
    c.send(FIN | ACK, data[2000:])
    assert c.read_to_fin() == data


def test_packets_as_long_as_any(place, joined):
    place.serve(TCP_ECHO)
    c = begin(joined())
    c.open()
    longest = 0
    for _ in range(5):
        data = os.urandom(FULL)
        c.send(PSH | ACK, data)
        sizes = []
        assert c.read(lambda so_far, seen: sizes.append(seen.size) or len(so_far) == FULL) == data
        longest = max(longest, *sizes)
    assert longest > 60000
    c.send(FIN | ACK)
    c.read_to_fin()


def test_refusals(place, joined):
    """Nobody at the target, and a port that is not offered, as recorded: a RST to the SYN."""
    ports = joined()
    for port in (PORT, 9999):
        c = begin(ports, port)
        c.send(SYN)
        answer = c.next()
        assert answer.flags == RST | ACK and answer.ack == c.seq and not answer.data


# answers each client with how many there were so far; argv: address port
COUNT = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    for n in range(1, 1000):
        with server.accept()[0] as c:
            c.recv(1)
            c.sendall(b'%d' % n)
"""


def test_packets_that_come_again(place, joined):
    """A SYN, before and after its answer, and data: one connection, and nothing twice."""
    place.serve(COUNT)
    ports = joined()
    c = begin(ports)
    first = c.send(SYN)
    ports.send(first)
    answer = c.next()
    ports.send(first)
    c.ack = (answer.seq + 1) & 0xffffffff
    c.send(ACK)
    ports.send(c.send(PSH | ACK, b"x"))
    data = b""
    while True:
        segment = c.next()
        assert not segment.flags & RST
        if segment.flags & SYN:
            assert segment.flags == SYN | ACK and segment.seq == answer.seq
            continue
        if segment.seq == c.ack and segment.data:
            data += segment.data
            c.ack += len(segment.data)
        if segment.flags & FIN:
            break
    assert data == b"1"
    c.ack += 1
    c.send(FIN | ACK)
    # the next client is the second one
    c = begin(ports)
    c.open()
    c.send(PSH | ACK, b"x")
    assert c.read_to_fin() == b"2"
    c.send(FIN | ACK)


def test_data_in_the_wrong_order(place, joined):
    place.serve(TCP_ECHO)
    ports = joined()
    c = begin(ports)
    c.open()
    data = os.urandom(3000)
    late = c.packet(PSH | ACK, data[:1000])
    c.seq = (c.seq + 1000) & 0xffffffff
    c.send(PSH | ACK, data[1000:])
    hole = c.next()
    # what came is acknowledged selectively
    left, right = struct.unpack("!II", hole.options[5][:8])
    assert (right - left) & 0xffffffff == 2000 and left == (hole.ack + 1000) & 0xffffffff
    ports.send(late)
    assert c.read(lambda so_far, _: len(so_far) == 3000) == data
    c.send(FIN | ACK)
    c.read_to_fin()


CURL = """
import http.client, sys
client = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=30)
client.request('GET', '/')
print(client.getresponse().read().decode())
"""


def test_clients_there(place, joined):
    """A program at the agent's side reaches us, or is refused by us."""
    ports = joined()
    client = place.popen(*python(CURL, OTHER, PORT), stdout=subprocess.PIPE)
    syn = ports.begun.get(timeout=10 * PATIENCE)
    assert syn.is_syn() and syn.source == socket.inet_aton(ME) and syn.ack == 0
    check_options(syn)
    c = Connection(ports, (OTHER, PORT), (ME, syn.sport), seen=syn)
    c.accept()
    request = c.read(lambda data, _: data.endswith(b"\r\n\r\n"))
    assert request.startswith(b"GET / HTTP/1.1\r\n")
    c.send(PSH | ACK, b"HTTP/1.0 200 OK\r\n\r\nhello from NoRouter")
    c.send(FIN | ACK)
    assert client.communicate(timeout=20 * PATIENCE)[0] == b"hello from NoRouter\n"
    c.read_to_fin()

    client = place.popen(*python(CURL, OTHER, PORT), stderr=subprocess.PIPE)
    syn = ports.begun.get(timeout=10 * PATIENCE)
    c = Connection(ports, (OTHER, PORT), (ME, syn.sport), seen=syn)
    ports.send(c.packet(RST | ACK, seq=0))
    said = client.communicate(timeout=20 * PATIENCE)[1]
    assert b"ConnectionRefusedError" in said or b"ConnectionResetError" in said, said


# --- the manager ----------------------------------------------------------------------------------


# an agent that answers configure and then sends what is recorded; argv: stream, file for what
# comes, FIFO that says when, bytes a write
REPLAY = """
import json, os, re, struct, sys, threading
stream = open(sys.argv[1], 'rb').read()
log = open(sys.argv[2], 'wb', buffering=0)
def next_frame():
    head = sys.stdin.buffer.read(4)
    if not head:
        os._exit(0)
    whole = head + sys.stdin.buffer.read(struct.unpack('!I', head)[0] & 0xffffff)
    log.write(whole)
    return whole
def send(data):
    while data:
        data = data[os.write(1, data[:int(sys.argv[4])]):]
asked = json.loads(next_frame()[8:])['body']['id']
size = 4 + (struct.unpack('!I', stream[:4])[0] & 0xffffff)
send(re.sub(rb'"request_id":\\d', b'"request_id":%d' % asked, stream[:size]))
def replay():
    open(sys.argv[3]).read()
    send(stream[size:])
threading.Thread(target=replay).start()
while True:
    next_frame()
"""


def frames(data):
    """(type, payload) of each frame."""
    while data:
        word, kind, _ = struct.unpack("!IHH", data[:8])
        size = 4 + (word & 0xffffff)
        yield kind, data[8:size]
        data = data[size:]


def by_source(packets):
    """{source: its packets, in their order}; between sources there is no order."""
    found = {}
    for packet in packets:
        found.setdefault(packet[12:16], []).append(packet)
    return found


def recorded_mesh(site):
    """The manifest that was recorded."""
    off = {"disable": True}
    site.host("host1", "127.0.42.101", ports=["8080:127.0.0.1:18081"], stateDir=off,
              http={"listen": "127.0.0.1:18180"}, socks={"listen": "127.0.0.1:18181"})
    site.host("host2", "127.0.42.102", stateDir=off, loopback=off, ports=[
        "8080:127.0.0.1:18082", "9000:127.0.0.1:18092", "9001:127.0.0.1:18099"])
    site.host("host3", "127.0.42.103", ports=["8080:127.0.0.1:18083"], stateDir=off, loopback=off)


@pytest.mark.parametrize("size", [1 << 20, 13, 1])
def test_the_manager_replays_the_recording(nswrap, short_dir, size):
    """Every agent gets what it got then, however it is cut; nothing is asked that it does not know."""
    site = Site(nswrap, short_dir)
    recorded_mesh(site)
    files = {}
    for name, host in site.hosts.items():
        files[name] = pathlib.Path(short_dir, f"{name}.in")
        go = pathlib.Path(short_dir, f"{name}.go")
        os.mkfifo(go)
        host["cmd"] = [PYTHON, "-I", "-c", REPLAY, *map(str, (
            STREAMS / f"{name}.a2m.bin", files[name], go, size))]
    expected = {name: list(frames((STREAMS / f"{name}.m2a.bin").read_bytes())) for name in files}
    with site:
        for name in files:
            pathlib.Path(short_dir, f"{name}.go").write_text("go")
        wait_for(lambda: all(len(list(frames(files[name].read_bytes()))) >= len(expected[name])
                             for name in files), "all packets")
        status = site.status()
    for name in files:
        (kind, request), *packets = frames(files[name].read_bytes())
        assert kind == MESSAGE and {kind for kind, _ in packets} == {PACKET}
        assert by_source(p for _, p in packets) == by_source(p for _, p in expected[name][1:])
        asked, then = json.loads(request)["body"], json.loads(expected[name][0][1])["body"]
        assert (asked["op"], asked["args"]) == (then["op"], then["args"])
        assert set(status[name]["drops"].values()) == {0} and status[name]["rtt_ms"] is None


class Joined:
    """A NoRouter in a mesh of ours: packets by way of a stand-in."""

    def __init__(self, directory, name):
        self.path = str(pathlib.Path(directory, f"{name}.sock"))
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sock.bind(self.path + ".test")
        self.ports = Ports(lambda packet: self.sock.sendto(frame(PACKET, packet), self.path))
        self.cmd = [PYTHON, str(TREE / "tests/e2e/fake_agent.py"), "--packets", self.path]
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        while packet := self.sock.recv(1 << 17):
            self.ports.on_packet(packet)

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self.path + ".test")
        self.thread.join()
        self.sock.close()


def test_norouter_beside_a_sandbox(nswrap, short_dir):
    """Our manager, an agent of theirs, and one of ours: each reaches the other."""
    box = Box(nswrap, "box")
    box.serve(TCP_ECHO, "127.0.0.1", TARGET, port=TARGET)
    site = Site(nswrap, short_dir)
    theirs = Joined(short_dir, "theirs")
    site.host("ours", ME, box.agent(), ports=[f"{PORT}:127.0.0.1:{TARGET}"])
    site.host("theirs", OTHER, theirs.cmd, ports=["8080:127.0.0.1:80"])
    try:
        with site:
            c = begin(theirs.ports)
            c.open()
            data = os.urandom(FULL)
            c.send(PSH | ACK, data)
            assert c.read(lambda so_far, _: len(so_far) == FULL) == data
            c.send(FIN | ACK)
            c.read_to_fin()
            client = box.popen(*python(TRY, OTHER, PORT, 20), stdout=subprocess.PIPE)
            syn = theirs.ports.begun.get(timeout=10 * PATIENCE)
            c = Connection(theirs.ports, (OTHER, PORT), (ME, syn.sport), seen=syn)
            theirs.ports.send(c.packet(RST | ACK, seq=0))
            assert int(client.communicate()[0].split()[0]) == errno.ECONNREFUSED
            status = site.status()
            assert status["theirs"]["features"] and status["theirs"]["rtt_ms"] is None
            assert all(set(host["drops"].values()) == {0} for host in status.values())
    finally:
        theirs.close()
