# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_host - agents on plain hosts: listeners on their loopback, relays, names"""

import errno
import os
import pathlib
import queue
import re
import socket
import struct
import subprocess
import time

import pytest

from harness import (HTTP, PATIENCE, TCP_COUNT, TCP_ECHO, TCP_HALF, UDP_ECHO, Lines, descendants,
                     is_alive, process_table, python, wait_for)
from mesh_tools import AGENT_KIND
from standin import PIPES, Link, Switch, arguments

ONE, TWO, THREE = "127.0.42.101", "127.0.42.102", "127.0.42.103"
TARGET = "127.0.0.1"
MANY = 1000
pytestmark = pytest.mark.agents(thorough=True)
# what only a stack does
STACK_ONLY = pytest.mark.agents(but=("streams",), thorough=True)
# from the end of stdin until everything is gone
END_S = 5

# sends argv[3] MiB of random bytes and the end, reads the answer, which is their length and SHA-256
COUNTED = """
import hashlib, os, socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=50)
digest, n = hashlib.sha256(), 0
for _ in range(int(sys.argv[3])):
    part = os.urandom(1 << 20)
    digest.update(part)
    n += len(part)
    s.sendall(part)
s.shutdown(socket.SHUT_WR)
answer = b''.join(iter(lambda: s.recv(1000), b''))
print(answer == b'%d %s' % (n, digest.hexdigest().encode()), n)
"""

# argv[3] connections that are all open at once, each with bytes of its own; prints how many came back
CROWD = """
import asyncio, os, sys
async def one(gate, n):
    reader, writer = await asyncio.open_connection(sys.argv[1], int(sys.argv[2]))
    writer.write(b'%d' % n)
    assert await reader.readexactly(len(str(n))) == b'%d' % n
    await gate.wait()  # all of them are through
    data = os.urandom(5000 + n)
    writer.write(data)
    writer.write_eof()
    back = await reader.read(-1)
    writer.close()
    return back == data
async def main():
    n = int(sys.argv[3])
    gate = asyncio.Barrier(n)
    print(sum(await asyncio.gather(*[one(gate, i) for i in range(n)])))
asyncio.run(main())
"""

# prints the errno that ends a connection and how much came before, 0: its end; argv: address port
ENDING = """
import socket, sys
s = socket.socket()
s.settimeout(20)
n = 0
try:
    s.connect((sys.argv[1], int(sys.argv[2])))
    while data := s.recv(65536):
        n += len(data)
    print(0, n)
except OSError as e:
    print(e.errno, n)
"""

# connects, says what it gets, answers a line of stdin, and so on; argv: address port
TALK = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
print('open', flush=True)
for line in sys.stdin:
    s.sendall(line.encode())
    print(s.makefile().readline(), end='', flush=True)
"""

# sends argv[3] datagrams of odd sizes, one after the other, and counts those that come back right
DATAGRAMS = """
import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
s.connect((sys.argv[1], int(sys.argv[2])))
right = 0
for i in range(int(sys.argv[3])):
    data = os.urandom(1 + i * 997 % 9000)
    s.send(data)
    right += s.recv(65536).endswith(data)
print(right)
"""

HOLDER = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))):
    print('holds', flush=True)
    sys.stdin.read()
"""


class Host(Link):
    """A host with a network of its own, and an agent on it."""

    def __init__(self, nswrap, outer, switch, vip, wrap=()):
        self.vip = vip
        self.outer = outer
        self.switch = switch
        err_read, err_write = os.pipe()
        super().__init__(nswrap.popen("agent", "--automated", *AGENT_KIND.words, program=AGENT_KIND.program,
                                      prefix=[*outer.prefix(), *wrap], stderr=err_write, **PIPES))
        os.close(err_write)
        self.stderr = Lines(err_read)
        switch.add(vip, self)

    def set(self, offers=(), others=(), **more):
        """Configure; offers: (port, host, port), others: (ip, port), both with "udp" behind if so."""
        def proto(entry, n):
            return entry[n] if len(entry) > n else "tcp"

        return self.request("configure", {
            **arguments(self.vip),
            "forwards": [{"listen_port": o[0], "connect_ip": o[1], "connect_port": o[2],
                          "proto": proto(o, 3)} for o in offers],
            "others": [{"ip": o[0], "port": o[1], "proto": proto(o, 2)} for o in others],
            **more,
        })

    def run(self, program, *args, **options):
        """What a program on this host prints."""
        done = self.outer.run(*python(program, *args), **options)
        assert done.returncode == 0, done.stderr.decode() + self.stderr.text()
        return done.stdout.decode().split()

    def pids(self):
        table = process_table()
        return {table[pid][2]: pid for pid in [self.popen.pid, *descendants(self.popen.pid)] if pid in table}


@pytest.fixture
def host(nswrap, outer):
    """host(VIP, "shell lines that make it", words before its agent's): all of them are joined."""
    switch = Switch()

    def make(vip, setup="", wrap=()):
        return Host(nswrap, outer(setup), switch, vip, wrap)

    return make


@pytest.fixture
def pair(host):
    """Two of them. What the first offers at 8080 leads to its 127.0.0.1:8000."""
    one, two = host(ONE), host(TWO)
    for result in one.set([(8080, TARGET, 8000)]), two.set(others=[(ONE, 8080)]):
        assert result.get("error") is None, result
        assert {"tcp", "udp", "loopback"} <= set(result["data"]["features"])
    return one, two


def replaced(path, text):
    """Shell lines that give a host its own version of a file."""
    return f"echo '{text}' >/tmp/nse.$$ && mount --bind /tmp/nse.$$ {path} && rm /tmp/nse.$$\n"


# --- through the mesh ----------------------------------------------------------------------------


@pytest.mark.agents
def test_curl(pair):
    """From the other host, and at its own VIP."""
    one, two = pair
    one.outer.serve(HTTP, TARGET, 8000)
    for at in two, one:
        done = at.outer.run("curl", "-sS", "--noproxy", "*", f"http://{ONE}:8080/a")
        assert (done.returncode, done.stdout) == (0, b"path /a"), done.stderr
    assert one.switch.dropped == []


@pytest.mark.agents
def test_many_bytes_and_half_close(pair):
    """The server answers only behind the end of what it was sent."""
    one, two = pair
    one.outer.serve(TCP_COUNT, TARGET, 8000)
    assert two.run(COUNTED, ONE, 8080, 50) == ["True", str(50 << 20)]
    assert one.run(COUNTED, ONE, 8080, 50) == ["True", str(50 << 20)]


@pytest.mark.agents
def test_the_server_ends_first(pair):
    one, two = pair
    server = one.outer.popen(*python(TCP_HALF, TARGET, 8000), stdout=-1)
    wait_for(lambda: one.outer.is_bound(8000), "the server")
    client = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
got = s.makefile('rb').read()
s.sendall(bytes(1 << 20))
print(got.decode())
"""
    assert two.run(client, ONE, 8080) == ["bye"]
    assert server.stdout.readline() == b"%d\n" % (1 << 20)
    server.stdout.close()


def test_both_ways_at_once(host):
    one, two = host(ONE), host(TWO)
    for at in one, two:
        at.set([(8080, TARGET, 8000)], [(ONE if at is two else TWO, 8080)])
        at.outer.serve(TCP_COUNT, TARGET, 8000)
    clients = [at.outer.popen(*python(COUNTED, peer, 8080, 20), stdout=-1)
               for at, peer in ((one, TWO), (two, ONE)) for _ in range(3)]
    for client in clients:
        out, _ = client.communicate(timeout=60 * PATIENCE)
        assert out.split() == [b"True", b"%d" % (20 << 20)]


def test_a_thousand_at_once(pair):
    """Into the mesh, and at the own VIP; nothing is kept of them."""
    one, two = pair
    one.outer.serve(TCP_ECHO, TARGET, 8000)
    agents = [at.popen.pid for at in pair]
    before = [len(os.listdir(f"/proc/{pid}/fd")) for pid in agents]
    assert two.run(CROWD, ONE, 8080, MANY, timeout=50 * PATIENCE) == [str(MANY)]
    assert one.run(CROWD, ONE, 8080, MANY, timeout=50 * PATIENCE) == [str(MANY)]
    # some pipes and sockets stay in stock
    wait_for(lambda: all(len(os.listdir(f"/proc/{pid}/fd")) < n + 200
                         for pid, n in zip(agents, before)), "the descriptors to be closed")


# opens argv[3] connections that say nothing, and keeps them until stdin ends; prints when it has
IDLE = """
import socket, sys
kept = []
for _ in range(int(sys.argv[3])):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex((sys.argv[1], int(sys.argv[2])))
    kept.append(s)
print('open', flush=True)
sys.stdin.read()
"""

# argv[3] echoes, one after the other, each on a connection of its own that stays; prints how many
# came back
ECHOES = """
import socket, sys
kept = []
for i in range(int(sys.argv[3])):
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
    s.sendall(b'%d' % i)
    assert s.recv(10) == b'%d' % i
    kept.append(s)
print(len(kept))
"""


@pytest.mark.agents
@pytest.mark.parametrize("greedy", ["another", "itself"])
def test_idle_connections_keep_nobody_out(host, greedy):
    """Of 500 idle ones of a host where 150 are possible some end when others want one, or send datagrams."""
    one = host(ONE, wrap=["prlimit", "--nofile=400", "--"])
    two, three = host(TWO), host(THREE)
    one.set([(8080, TARGET, 8000), (8080, TARGET, 8000, "udp")])
    one.outer.serve(TCP_ECHO, TARGET, 8000)
    one.outer.serve(UDP_ECHO, TARGET, 8000, udp=True)
    for at in two, three:
        at.set(others=[(ONE, 8080), (ONE, 8080, "udp")])
    flooder = {"another": two, "itself": one}[greedy]
    idle = flooder.outer.popen(*python(IDLE, ONE, 8080, 500), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert idle.stdout.readline() == b"open\n"
    fds = pathlib.Path(f"/proc/{one.popen.pid}/fd")
    # SYNs that meet a full queue come again after a second, and two, and four
    wait_for(lambda: len(list(fds.iterdir())) > 290, "the flood", 30)
    for at in (three, one) if greedy == "another" else (two, three):
        assert at.run(DATAGRAMS, ONE, 8080, 20) == ["20"]
        assert at.run(ECHOES, ONE, 8080, 20) == ["20"]
    idle.stdin.close()
    idle.wait(20)


# a datagram from each of argv[3] ports, which stay until stdin ends; argv: address port count
SCATTERED = """
import socket, sys
kept = []
for i in range(int(sys.argv[3])):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((sys.argv[1], int(sys.argv[2])))
    s.send(b'x')
    kept.append(s)
print('open', flush=True)
sys.stdin.read()
"""


@pytest.mark.agents
def test_datagrams_of_many_ports_keep_nobody_out(host):
    """Of 500 flows of a host where 150 descriptors are left some end when another host wants one; and
    datagrams do not take all of them from connections."""
    one = host(ONE, wrap=["prlimit", "--nofile=400", "--"])
    two, three = host(TWO), host(THREE)
    one.set([(8080, TARGET, 8000), (8080, TARGET, 8000, "udp")])
    one.outer.serve(UDP_ECHO, TARGET, 8000, udp=True)
    one.outer.serve(TCP_ECHO, TARGET, 8000)
    for at in two, three:
        at.set(others=[(ONE, 8080), (ONE, 8080, "udp")])
    scattered = two.outer.popen(*python(SCATTERED, ONE, 8080, 500), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert scattered.stdout.readline() == b"open\n"
    fds = pathlib.Path(f"/proc/{one.popen.pid}/fd")
    wait_for(lambda: len(list(fds.iterdir())) > 220, "the flood", 30)
    assert three.run(DATAGRAMS, ONE, 8080, 20) == ["20"]
    assert three.run(ECHOES, ONE, 8080, 20) == ["20"]
    scattered.stdin.close()
    scattered.wait(20)


@pytest.mark.agents
def test_datagrams(host):
    one, two = host(ONE), host(TWO)
    one.set([(8080, TARGET, 8000, "udp"), (8080, TARGET, 8000)])
    two.set(others=[(ONE, 8080, "udp"), (ONE, 8080)])
    one.outer.serve(UDP_ECHO, TARGET, 8000, udp=True)
    one.outer.serve(TCP_COUNT, TARGET, 8000)
    for at in two, one:
        assert at.run(DATAGRAMS, ONE, 8080, 100) == ["100"]
    assert two.run(COUNTED, ONE, 8080, 1)[0] == "True"


def test_three_hosts(host):
    """Each offers and uses: who is in the middle of a connection does not matter."""
    hosts = [host(vip) for vip in (ONE, TWO, THREE)]
    for at in hosts:
        at.set([(8080, TARGET, 8000)], [(o.vip, 8080) for o in hosts if o is not at])
        at.outer.serve(TCP_COUNT, TARGET, 8000)
    clients = [at.outer.popen(*python(COUNTED, to.vip, 8080, 5), stdout=-1)
               for at in hosts for to in hosts]
    for client in clients:
        assert client.communicate(timeout=60 * PATIENCE)[0].split()[0] == b"True"


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.agents
def test_a_refusal_resets_the_client(pair):
    """Nobody is there; a server that comes later is found."""
    one, two = pair
    for at in two, one:
        assert at.run(ENDING, ONE, 8080) == [str(errno.ECONNRESET), "0"]
    one.outer.serve(TCP_COUNT, TARGET, 8000)
    assert two.run(COUNTED, ONE, 8080, 1)[0] == "True"


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def make_syn(src, dst, src_port, dst_port, seq):
    """The first packet of a connection, without options, as another stack might send it."""
    ips = socket.inet_aton(src) + socket.inet_aton(dst)
    tcp = struct.pack("!HHIIBBHHH", src_port, dst_port, seq, 0, 5 << 4, 2, 65535, 0, 0)
    tcp = tcp[:16] + struct.pack("!H", checksum(ips + struct.pack("!HH", 6, 20) + tcp)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0) + ips
    return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + tcp


class Peer:
    """A member of the mesh whose packets the test makes itself."""

    def __init__(self, switch, vip, to):
        self.vip, self.to = vip, to
        self.packets = queue.Queue()
        switch.add(vip, self)

    def send_packet(self, packet):
        self.packets.put(packet)

    def syn(self, src_port, dst_port, seq=1000):
        self.to.send_packet(make_syn(self.vip, self.to.vip, src_port, dst_port, seq))

    def answer(self, timeout=20):
        """(destination port, flags, acknowledged number) of the next packet, which must be right."""
        packet = self.packets.get(timeout=timeout * PATIENCE)
        size, tcp = struct.unpack("!H", packet[2:4])[0], packet[20:]
        assert size == len(packet) and checksum(packet[:20]) == 0
        assert packet[12:20] == socket.inet_aton(self.to.vip) + socket.inet_aton(self.vip)
        assert checksum(packet[12:20] + struct.pack("!HH", 6, len(tcp)) + tcp + tcp[:len(tcp) % 2]) == 0
        _, port, _, ack, _, flags = struct.unpack("!HHIIBB", tcp[:14])
        return port, flags, ack


SYN_ACK, RST_ACK = 0x12, 0x14


@STACK_ONLY
def test_a_refusal_is_a_rst(host):
    """To the first packet, at once; with a server, the same packet is answered by SYN and ACK."""
    one = host(ONE)
    peer = Peer(one.switch, TWO, one)
    one.set([(8080, TARGET, 8000)], [(TWO, 80)])
    peer.syn(5000, 8080, 1000)
    assert peer.answer() == (5000, RST_ACK, 1001)
    one.outer.serve(TCP_ECHO, TARGET, 8000)
    peer.syn(5001, 8080, 2000)
    assert peer.answer() == (5001, SYN_ACK, 2001)
    peer.syn(5002, 8081, 3000)  # no offer: no answer
    peer.syn(5003, 8080, 4000)
    wait_for(lambda: peer.answer() == (5003, SYN_ACK, 4001), "the last answer")  # 5001 is sent again


@STACK_ONLY
def test_what_nobody_will_answer_is_said_in_icmp(host):
    """Once for each packet, but no more than so many a second; not to ICMP, not to all hosts."""
    one = host(ONE)
    peer = Peer(one.switch, TWO, one)
    one.set([(8080, TARGET, 8000)], [(TWO, 80)])

    def packet(dst, proto, payload):
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, proto, 0)
        ip += socket.inet_aton(TWO) + socket.inet_aton(dst)
        return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + payload

    udp, echo = struct.pack("!HHHH", 9, 53, 8, 0), struct.pack("!BBHHH", 8, 0, 0xf7ff, 0, 0)
    silent = [packet("127.0.42.9", 1, struct.pack("!BBHI", 3, 1, 0, 0) + packet(ONE, 17, udp)),
              packet("224.0.0.1", 17, udp), packet("255.255.255.255", 17, udp)]
    asked = [(packet(ONE, 17, udp), 3), (packet(ONE, 132, bytes(8)), 2),
             (packet("127.0.42.9", 17, udp), 1), (packet("10.1.2.3", 1, echo), 1),
             (make_syn(TWO, "10.1.2.3", 9, 80, 1), 1)]
    for data in silent:
        one.send_packet(data)
    for data, code in asked:
        one.send_packet(data)
        answer = peer.packets.get(timeout=5 * PATIENCE)
        assert answer[9] == 1 and answer[12:20] == socket.inet_aton(ONE) + socket.inet_aton(TWO)
        assert (answer[20], answer[21]) == (3, code) and checksum(answer[20:]) == 0
        assert answer[28:] == data
    began = time.monotonic()
    for _ in range(3000):
        one.send_packet(asked[0][0])
    peer.syn(5000, 8081)  # TCP has its answer beside that
    answers = []
    while (data := peer.packets.get(timeout=5 * PATIENCE))[9] == 1:
        answers.append(data)
    assert 50 < len(answers) < 110 * (2 + time.monotonic() - began)


# --- names ---------------------------------------------------------------------------------------


NAMES = (replaced("/etc/hosts", "127.0.0.5 web.test\n127.0.0.1 localhost")
         + replaced("/etc/resolv.conf", "nameserver 127.0.0.1"))  # nobody answers there


def test_names_as_targets(host):
    one, two = host(ONE, NAMES), host(TWO)
    one.set([(8080, "web.test", 8000), (8081, "localhost", 8001), (8082, "nowhere.test", 1),
             (8080, "web.test", 8000, "udp")])
    two.set(others=[(ONE, p) for p in (8080, 8081, 8082)] + [(ONE, 8080, "udp")])
    one.outer.serve(TCP_COUNT, "127.0.0.5", 8000)
    one.outer.serve(UDP_ECHO, "127.0.0.5", 8000, udp=True)
    one.outer.serve(TCP_COUNT, TARGET, 8001)
    for at in two, one:
        assert at.run(COUNTED, ONE, 8080, 1)[0] == "True"
        assert at.run(COUNTED, ONE, 8081, 1)[0] == "True"
        assert at.run(DATAGRAMS, ONE, 8080, 10) == ["10"]
        assert at.run(ENDING, ONE, 8082) == [str(errno.ECONNRESET), "0"]


@pytest.mark.agents
def test_targets_at_every_loopback(host):
    """[::1], and of localhost both, also where /etc/hosts knows one of them only."""
    one, two = host(ONE, NAMES), host(TWO)
    targets = {8080: ("::1", 8000), 8081: ("localhost", 8000), 8082: ("localhost", 8001)}
    one.set([(port, *target, proto) for port, target in targets.items() for proto in ("tcp", "udp")])
    two.set(others=[(ONE, port, proto) for port in targets for proto in ("tcp", "udp")])
    for address, port in (("::1", 8000), (TARGET, 8001)):
        one.outer.serve(TCP_ECHO, address, port)
        one.outer.serve(UDP_ECHO, address, port, udp=True)
    for at in two, one:
        for port in targets:
            assert at.run(ECHOES, ONE, port, 3) == ["3"], port
            assert at.run(DATAGRAMS, ONE, port, 3) == ["3"], port


@pytest.mark.waits
def test_a_name_that_hangs_holds_up_nobody(host):
    """Its server never answers; meanwhile others are served, and it is refused in the end."""
    one = host(ONE, replaced("/etc/resolv.conf", "nameserver 192.0.2.10"))
    two = host(TWO)
    asked = one.outer.popen(*python("""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('192.0.2.10', 53))
print(s.recv(512).split(b'\\0', 1)[0] and 'asked', flush=True)
s.recv(1 << 20)
while True:
    s.recv(512)
"""), stdout=-1)
    wait_for(lambda: one.outer.is_bound(53, udp=True), "the name server")
    one.outer.serve(TCP_COUNT, TARGET, 8000)
    one.set([(8080, "slow.test", 8000), (8081, TARGET, 8000)])
    two.set(others=[(ONE, 8080), (ONE, 8081)])
    began = time.monotonic()
    slow = two.outer.popen(*python(ENDING, ONE, 8080), stdout=-1)
    assert asked.stdout.readline() != b""
    asked.stdout.close()
    for _ in range(3):
        assert two.run(COUNTED, ONE, 8081, 1)[0] == "True"
    assert slow.poll() is None
    out, _ = slow.communicate(timeout=20 * PATIENCE)
    assert out.split()[0] == b"%d" % errno.ECONNRESET
    assert time.monotonic() - began < 15 * PATIENCE


# a name server at argv[1] that never answers; prints the first label of what it is asked
SILENT = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 53))
while True:
    data = s.recv(512)
    print(data[13:13 + data[12]].decode(), flush=True)
"""

# asks argv[1]:argv[2] by argv[3] for argv[5] names that begin with argv[4], TCP with a connection for
# each; then waits until stdin ends
ASKING = """
import contextlib, socket, struct, sys, time
address, by, count = (sys.argv[1], int(sys.argv[2])), sys.argv[3], int(sys.argv[5])
kept = []
for i in range(count):
    name = b'%s-%d' % (sys.argv[4].encode(), i)
    asked = (struct.pack('!6H', i, 256, 1, 0, 0, 0) + bytes([len(name)]) + name
             + bytes([4]) + b'test' + struct.pack('!BHH', 0, 1, 1))
    with contextlib.suppress(OSError):  # one too many is reset, maybe before its connect has ended
        if by == 'tcp' or not kept:
            kept.append(socket.socket(type=socket.SOCK_STREAM if by == 'tcp' else socket.SOCK_DGRAM))
            kept[-1].settimeout(20)
            kept[-1].connect(address)
        kept[-1].send(struct.pack('!H', len(asked)) + asked if by == 'tcp' else asked)
    time.sleep(0.001)  # no queue of datagrams overflows
print('asked', flush=True)
sys.stdin.read()
"""


@pytest.mark.agents
@pytest.mark.parametrize("by", ["tcp", "udp"])
def test_who_asks_too_much_keeps_no_names_from_others(host, by):
    """More of its names wait for a server that does not answer than there is room for."""
    one = host(ONE, replaced("/etc/resolv.conf", "nameserver 192.0.2.10"))
    two, three = host(TWO), host(THREE)
    server = one.outer.popen(*python(SILENT, "192.0.2.10"), stdout=subprocess.PIPE)
    wait_for(lambda: one.outer.is_bound(53, udp=True), "the name server")
    asked = Lines(os.dup(server.stdout.fileno()))
    for at in one, two, three:
        at.set(nameServers=[{"ip": ONE, "port": 10053, "proto": proto} for proto in ("tcp", "udp")])
    clients = []
    for at, name, count in (two, "much", 140 if by == "tcp" else 400), (three, "one", 1):
        clients.append(at.outer.popen(*python(ASKING, ONE, 10053, by, name, count), stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE))
        assert clients[-1].stdout.readline() == b"asked\n"
        wait_for(lambda: f"{name}-0" in asked.lines, name, 5)
    for client in clients:
        client.communicate(b"")


# --- configure -----------------------------------------------------------------------------------


def listening(host):
    """(address, port) of all TCP listeners of a host."""
    rows = pathlib.Path(f"/proc/{host.outer.holder.pid}/net/tcp").read_text().splitlines()[1:]
    found = set()
    for row in rows:
        local, _, state = row.split()[1:4]
        if state == "0A":
            ip, port = local.split(":")
            found.add((socket.inet_ntoa(bytes.fromhex(ip)[::-1]), int(port, 16)))
    return found


def test_a_busy_port_is_missing_alone(host):
    """A line names the address, the port and who has it; the others work, and it does later."""
    one = host(ONE)
    one.set()  # it is there, and has its namespaces
    # in the agent's own user namespace, as on a host: only there it can see whose port it is
    enter = [[*f"nsenter -t {pid} --preserve-credentials".split(), *what, "--"] for pid, what in
             ((one.outer.holder.pid, ("-U", "-n", "-m")), (one.popen.pid, ("-U",)))]
    holder = subprocess.Popen([*enter[0], *enter[1], *python(HOLDER, TWO, 8080)], **PIPES)
    assert holder.stdout.readline() == b"holds\n"
    assert one.set(others=[(THREE, 8080), (TWO, 8080)]).get("error") is None
    assert listening(one) == {(TWO, 8080), (THREE, 8080)}  # the first one is the holder's
    [missing] = one.request("report", {})["data"]["missing"]
    assert (missing["ip"], missing["port"]) == (TWO, 8080)
    assert re.search(rf"python3?\S* \(pid {holder.pid}\)", missing["why"]), missing
    wait_for(lambda: missing["why"] in one.stderr.text(), "the line")
    holder.communicate(b"")
    wait_for(lambda: "works now" in one.stderr.text(), "the port")
    while (event := one.messages.get(timeout=20 * PATIENCE))["body"]["data"]["missing"]:
        assert event["type"] == "event"
    assert listening(one) == {(TWO, 8080), (THREE, 8080)}


def test_listens_at_the_addresses_of_others_and_nowhere_else(host):
    one = host(ONE)
    one.set([(8080, TARGET, 8000)], [(TWO, 80), (TWO, 81), (THREE, 80), ("10.1.2.3", 80)])
    assert listening(one) == {(ONE, 8080), (TWO, 80), (TWO, 81), (THREE, 80)}
    wait_for(lambda: "10.1.2.3" in one.stderr.text(), "a line about the address that is left out")
    one.set([(8080, TARGET, 8000)], [(TWO, 80)], loopback={"disable": True})
    assert listening(one) == set()
    one.set([], [(TWO, 80)])
    assert listening(one) == {(TWO, 80)}


def test_reconfigure_breaks_nothing(host):
    """A connection through a port that is no longer offered goes on, as does one that stays."""
    one, two = host(ONE), host(TWO)
    one.outer.serve(TCP_ECHO, TARGET, 8000)
    one.set([(8080, TARGET, 8000), (8081, TARGET, 8000)])
    two.set(others=[(ONE, 8080), (ONE, 8081)])
    talks = [two.outer.popen(*python(TALK, ONE, port), stdin=-1, stdout=-1) for port in (8080, 8081)]
    for talk in talks:
        assert talk.stdout.readline() == b"open\n"

    def talk_on(word):
        for talk in talks:
            talk.stdin.write(word + b"\n")
            talk.stdin.flush()
            assert talk.stdout.readline() == word + b"\n"

    talk_on(b"one")
    one.set([(8081, TARGET, 8000), (8082, TARGET, 8000)])
    two.set(others=[(ONE, 8081), (ONE, 8082)])
    talk_on(b"two")
    assert two.run(ENDING, ONE, 8080) == [str(errno.ECONNREFUSED), "0"]
    for talk in talks:
        talk.communicate()


# --- the end -------------------------------------------------------------------------------------


@STACK_ONLY
def test_ends_with_its_stdin_and_takes_all_with_it(pair):
    one, two = pair
    one.outer.serve(TCP_ECHO, TARGET, 8000)
    talk = two.outer.popen(*python(TALK, ONE, 8080), stdin=-1, stdout=-1)
    assert talk.stdout.readline() == b"open\n"
    pids = two.pids()
    assert "nswrap: stack" in pids
    began = time.monotonic()
    two.hang_up()
    assert two.popen.wait(END_S * PATIENCE) == 0
    wait_for(lambda: not any(map(is_alive, pids.values())), "its processes to be gone",
             max(END_S - (time.monotonic() - began), 0.1))
    assert listening(two) == set()
    talk.communicate()


def test_connections_at_rest_cost_nothing(pair):
    """Nothing is polled: neither listeners nor connections cost time while nothing comes."""
    one, two = pair
    one.outer.serve(TCP_ECHO, TARGET, 8000)
    rest = two.outer.popen(*python("""
import socket, sys
open = [socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) for _ in range(200)]
for s in open:
    s.sendall(b'x')
    s.recv(1)
print('open', flush=True)
sys.stdin.read()
""", ONE, 8080), stdin=-1, stdout=-1)
    assert rest.stdout.readline() == b"open\n"

    def ticks():
        return [sum(map(int, pathlib.Path(f"/proc/{at.popen.pid}/stat").read_text().split()[13:15]))
                for at in pair]

    def is_quiet():
        before = ticks()
        time.sleep(1)
        return all(now - then <= 1 for then, now in zip(before, ticks()))

    wait_for(is_quiet, "both agents to rest")
    rest.communicate()
