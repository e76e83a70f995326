# SPDX-License-Identifier: Apache-2.0
"""e2e/test_outbound - TCP from a sandbox to the outside looks as it does without one"""

import itertools
import json
import os
import re
import signal
import struct
import subprocess

import pytest

from harness import NEIGHBOUR_SETUP, PATIENCE, TCP_ECHO, python, wait_for
from tools import THOROUGH

# what stands before each of the programs below; argv: an address outside, and its first port
PRELUDE = """
import array, errno, os, select, socket, struct, sys, threading, time
HOST, PORT = sys.argv[1], int(sys.argv[2])
FAMILY = socket.AF_INET6 if ':' in HOST else socket.AF_INET
ECHO, RESET, COUNT, CLOSED, LATE, TOLD = ((HOST, PORT + i) for i in range(6))
def new():
    s = socket.socket(FAMILY)
    s.settimeout(20)
    return s
def to(address, timeout=20):
    s = new()
    s.settimeout(timeout)
    s.connect(address)
    return s
def rest(s):
    parts = []
    while part := s.recv(65536):
        parts.append(part)
    return b''.join(parts)
def name(call):
    try:
        call()
        return 'fine'
    except OSError as e:  # without a number: our own patience has ended, not the kernel's
        return errno.errorcode[e.errno] if e.errno else 'silence'
"""

# PORT: echo; + 1: resets who has sent something; + 2: counts, and answers behind the end; + 3: nobody;
# + 4: echo, half a second late; + 5: how many have reset the counting one
SERVERS = """
import contextlib, socket, struct, sys, threading, time
def listen(i):
    s = socket.create_server(('::', int(sys.argv[1]) + i), family=socket.AF_INET6, backlog=4096, dualstack_ipv6=True)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)  # and what is accepted
    return s
def echo(c):
    with c, contextlib.suppress(ConnectionError):
        while data := c.recv(1 << 16):
            c.sendall(data)
def reset(c):
    c.recv(1)
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    c.close()
def count(c):
    n = 0
    with c:
        try:
            while data := c.recv(1 << 16):
                n += len(data)
            c.sendall(b'%d' % n)
        except ConnectionResetError:
            resets.append(n)
resets = []
def late(c):
    time.sleep(0.5)
    echo(c)
def serve(i, handle):
    server = listen(i)
    while True:
        c = server.accept()[0]
        threading.Thread(target=handle, args=(c,), daemon=True).start()
def tell(c):
    with c:
        c.recv(1)
        c.sendall(b'%d' % len(resets))
for i, handle in ((1, reset), (2, count), (4, late), (5, tell)):
    threading.Thread(target=serve, args=(i, handle), daemon=True).start()
serve(0, echo)
"""

# what each prints is the same inside and outside
PROGRAMS = {
    "refused": "print(name(lambda: to(CLOSED)))",
    "peer and own address": """
s = to(ECHO)
print(s.getpeername()[:2] == (HOST, PORT), s.getsockname()[1] > 1023)
s.sendall(b'x' * 70000)
s.shutdown(socket.SHUT_WR)
print(len(rest(s)))""",
    "non-blocking": """
s = new()
s.setblocking(False)
print(errno.errorcode[s.connect_ex(ECHO)], [len(x) for x in select.select([], [s], [], 20)],
      s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), s.connect_ex(ECHO))
s = new()
s.setblocking(False)
print(errno.errorcode[s.connect_ex(CLOSED)], [len(x) for x in select.select([], [s], [], 20)],
      errno.errorcode[s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)])""",
    "happy eyeballs": """
# the first one does not answer: the second one does, after a quarter of a second
first, second = new(), new()
for s, address in ((first, ('2001:db8:77::1' if ':' in HOST else '198.51.100.77', 9)), (second, ECHO)):
    s.setblocking(False)
    s.connect_ex(address)
    ready = select.select([], [first, second], [], 0.25 if s is first else 20)[1]
print(ready == [second], second.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
first.close()
second.setblocking(True)
second.sendall(b'eyes')
print(second.recv(10))""",
    "fast open": """
for i in range(3):
    s = new()
    s.settimeout(None)
    print(s.sendto(b'x' * 900, socket.MSG_FASTOPEN, ECHO))
    got = b''
    while len(got) < 900:
        got += s.recv(1000)
    print(len(got))
s = new()
s.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
s.connect(ECHO)
s.sendall(b'later')
print(s.recv(10))
s = new()
s.settimeout(None)
s.setsockopt(socket.IPPROTO_TCP, 34, 1)  # TCP_FASTOPEN_NO_COOKIE: data at once
print(s.sendto(b'x' * 3000, socket.MSG_FASTOPEN, COUNT) > 0)
s.shutdown(socket.SHUT_WR)
print(int(rest(s)) > 0)""",
    "bound to the device": """
device = next(n for _, n in socket.if_nameindex() if n in ('tap0', 'ext0'))
for address in (ECHO, CLOSED):
    s = new()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    print(name(lambda: (s.connect(address), s.sendall(b'bound'), s.recv(10))))""",
    "bound to a port": """
s = new()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('', 23456))
s.connect(ECHO)
print(s.getsockname()[1])
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
s.close()
s = new()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('', 23456))
s.connect(ECHO)
s.sendall(b'again')
print(s.recv(10))
# who ends first keeps the port in TIME_WAIT, and has it again for another connection
s.shutdown(socket.SHUT_WR)
print(rest(s))
s.close()
s = new()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('', 23456))
print(name(lambda: s.connect(COUNT)))""",
    "500 at once": """
ready, answers = threading.Barrier(500), []
def one():
    ready.wait()
    try:
        s = to(ECHO, 60)
        s.sendall(b'%d' % s.getsockname()[1])
        answers.append(int(s.recv(10)) == s.getsockname()[1])
    except OSError as e:
        answers.append(e)
threads = [threading.Thread(target=one) for _ in range(500)]
for t in threads: t.start()
for t in threads: t.join()
print(len(answers), answers.count(True), [a for a in answers if a is not True][:3])""",
    "close before the answer": """
for i in range(50):
    s = new()
    s.setblocking(False)
    s.connect_ex(ECHO)
    s.close()
print(name(lambda: to(ECHO)))""",
    "urgent data": """
s = to(COUNT)
s.send(b'one')
s.send(b'!', socket.MSG_OOB)
s.send(b'two')
s.shutdown(socket.SHUT_WR)
print(rest(s))""",
    "half-close": """
s = to(COUNT)
for i in range(100):
    s.sendall(bytes(50000))
s.shutdown(socket.SHUT_WR)
print(rest(s))""",
    "keep-alive": """
s = to(ECHO)
s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 1)
print(select.select([s], [], [], 1.5)[0])
s.sendall(b'alive')
print(s.recv(10))""",
    "linger 0 of the other side": """
s = to(RESET)
s.sendall(b'go')
print(name(lambda: s.recv(1)))""",
    "linger 0 of this side": """
def told():
    s = to(TOLD)
    s.sendall(b'?')
    return int(rest(s))
before = told()
s = to(COUNT)
s.sendall(b'some')
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
s.close()
end = time.monotonic() + 20
while told() == before and time.monotonic() < end:
    time.sleep(0.01)
print(told() - before)""",
    "without copies": """
s = to(COUNT)
s.setsockopt(socket.SOL_SOCKET, 60, 1)  # SO_ZEROCOPY
sent = 0
for i in range(20):
    sent += s.send(bytes(100000), 0x4000000)
s.shutdown(socket.SHUT_WR)
print(int(rest(s)) == sent)""",
    "late": """
s = to(LATE)
s.sendall(b'late')
print(s.recv(10))""",
}


# runs them all, and says what each prints; argv as above
ALL = PRELUDE + """
import contextlib, io, json
said = {}
for title, program in json.loads(sys.argv[3]).items():
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            exec(program, dict(globals()))
        except Exception as e:
            print(repr(e))
    said[title] = out.getvalue()
print(json.dumps(said))
"""


@pytest.fixture
def servers(outer):
    """A host of which something answers for every address outside, or nobody; and servers on it."""
    host = outer(NEIGHBOUR_SETUP)
    host.popen(*python(SERVERS, 7000))
    wait_for(lambda: all(host.is_bound(7000 + i) for i in (0, 1, 2, 4, 5)), "the servers")
    return host


@pytest.mark.parametrize("address", ["192.0.2.10", "2001:db8::10"])
def test_programs_see_no_difference(nswrap, servers, address):
    words = python(ALL, address, 7000, json.dumps(PROGRAMS))
    plain = json.loads(servers.run(*words, timeout=90 * PATIENCE).stdout)
    inside = json.loads(nswrap.run("-q", "--outbound", "kernel", "--", *words, prefix=servers.prefix(),
                                   timeout=90 * PATIENCE).stdout)
    assert not {title: said for title, said in plain.items() if "Error(" in said}
    assert {title: (said, inside[title]) for title, said in plain.items() if inside[title] != said} == {}


@pytest.mark.parametrize("address", ["192.0.2.10", "2001:db8::10"])
@pytest.mark.parametrize("carrier", ["kernel", "slirp"])
def test_a_reset_is_no_end_outside(nswrap, servers, carrier, address):
    words = python(PRELUDE + PROGRAMS["linger 0 of this side"], address, 7000)
    result = nswrap.run("-q", "--outbound", carrier, "--", *words, prefix=servers.prefix())
    assert result.stdout == b"1\n", result.stderr


ERRORS = """
for address in sys.argv[3:]:
    FAMILY = socket.AF_INET6 if ':' in address else socket.AF_INET
    said, took, silent = 'silence', [], 0
    while len(took) < 9 and silent < 3:
        begun = time.monotonic()
        result = name(lambda: to((address, 7003), 0.4))
        if result == 'silence':  # or the machine let nothing run for so long
            silent += 1
        else:
            said = result
            took.append(time.monotonic() - begun)
    print(address, said, min(took, default=0))
"""
UNREACHABLE = """
ip route add unreachable 198.51.100.64/28
ip route add prohibit 198.51.100.80/28
ip route add throw 203.0.113.0/24
ip -6 route add unreachable 2001:db8:64::/64
ip -6 route add prohibit 2001:db8:80::/64
ip -6 route add default via 2001:db8::1
ip -6 route add throw 2001:db8:81::/64
ip route del default
ip route add 198.51.100.0/24 via 192.0.2.1
"""
# IPv4's ICMP has no word for "not permitted"
UNLIKE = {"198.51.100.80": "EHOSTUNREACH"}


def test_errors_come_as_they_are_and_when_they_do(nswrap, outer):
    host = outer(NEIGHBOUR_SETUP + UNREACHABLE)
    addresses = ["192.0.2.10", "198.51.100.1", "198.51.100.64", "198.51.100.80", "203.0.113.1",
                 "2001:db8::10", "2001:db8:7::1", "2001:db8:64::1", "2001:db8:80::1"]
    words = python(PRELUDE + ERRORS, "192.0.2.10", 7000, *addresses)
    plain = host.run(*words).stdout.decode().split("\n")
    inside = nswrap.run("-q", "--outbound", "kernel", "--", *words, prefix=host.prefix()).stdout.decode().split("\n")
    assert len(plain) == len(inside) == len(addresses) + 1
    seen = set()
    for one, other in zip(plain[:-1], inside[:-1]):
        (address, error, took), (_, error_inside, took_inside) = one.split(), other.split()
        assert error_inside == UNLIKE.get(address, error), (one, other)
        assert error == "silence" or abs(float(took_inside) - float(took)) < 0.005 * PATIENCE, (one, other)
        seen.add(error)
    assert {"ECONNREFUSED", "silence", "EHOSTUNREACH", "ENETUNREACH", "EACCES"} <= seen, plain


# at each second port a listener whose queue is full, until 1.3 s after somebody has come to the port before it;
# argv: the first, and how many of them
FULL = """
import socket, sys, threading, time
def serve(port):
    full = socket.socket(socket.AF_INET6)
    full.bind(('::', port + 1))
    full.listen(0)
    first = socket.create_connection(('::1', port + 1))
    with socket.create_server(('::', port), family=socket.AF_INET6, dualstack_ipv6=True) as told:
        told.accept()
    time.sleep(1.3)
    full.accept()
    c = full.accept()[0]
    while data := c.recv(100):
        c.sendall(data)
for i in range(int(sys.argv[2])):
    threading.Thread(target=serve, args=(int(sys.argv[1]) + 2 * i,)).start()
"""
SLOW = """
told = to(ECHO)
s = new()
begun = time.monotonic()
print(name(lambda: s.connect(RESET)), time.monotonic() - begun)
s.sendall(b'slow')
print(s.recv(10))
"""


@pytest.mark.waits
def test_a_target_that_takes_its_time(nswrap, outer):
    """Its SYN has to be sent again, and once more: the program sees what it sees without nswrap, then."""
    host = outer()
    host.popen(*python(FULL, 7000, 4))
    wait_for(lambda: all(host.is_bound(7000 + i) for i in range(8)), "the servers")
    popens = []
    for address in "192.0.2.10", "2001:db8::10":
        words = python(PRELUDE + SLOW, address)
        popens.append(host.popen(*words, 7000 + 2 * len(popens), stdout=subprocess.PIPE))
        popens.append(nswrap.popen("-q", "--outbound", "kernel", "--", *words, 7000 + 2 * len(popens),
                                   stdout=subprocess.PIPE, prefix=host.prefix()))
    said = [popen.communicate(timeout=30 * PATIENCE)[0].split() for popen in popens]
    assert [(words[0], words[2]) for words in said] == [(b"fine", b"b'slow'")] * 4, said
    took = [float(words[1]) for words in said]
    assert min(took) > 1.2, took
    for plain, inside in (took[:2], took[2:]):
        assert abs(inside - plain) < 1.3 * PATIENCE, took  # the SYN after that is the one, perhaps


if THOROUGH:  # a minute of silence

    @pytest.mark.waits
    @pytest.mark.limit(200)
    def test_a_minute_in_which_nobody_speaks(nswrap, servers):
        program = PRELUDE + """
four = to(ECHO)
FAMILY = socket.AF_INET6
six = to(('2001:db8::10', PORT))
time.sleep(70)
for s in four, six:
    s.sendall(b'still')
    print(s.recv(10))
"""
        done = nswrap.run("-q", "--outbound", "kernel", "--", *python(program, "192.0.2.10", 7000),
                          prefix=servers.prefix(), timeout=150)
        assert done.stdout == b"b'still'\n" * 2, done.stderr


@pytest.mark.parametrize("carrier", ["kernel", "slirp"])
def test_who_is_bound_to_loopback_hears_of_it(nswrap, servers, carrier):
    """And need not wait. Without nswrap it is EINVAL, for which ICMP has no code. Nor need who asks the gateway."""
    program = PRELUDE + """
for own in ('127.0.0.1', '127.9.9.9'):
    s = new()
    s.bind((own, 0))
    print(name(lambda: s.connect(('192.0.2.1', PORT))))
    s = socket.socket(FAMILY, socket.SOCK_DGRAM)
    s.settimeout(20)
    s.bind((own, 0))
    print(name(lambda: (s.connect(('192.0.2.1', PORT)), s.send(b'bound'), s.recv(10))))
for gateway in sys.argv[3:]:
    FAMILY = socket.AF_INET6 if ':' in gateway else socket.AF_INET
    print(name(lambda: to((gateway, PORT))))
"""
    words = python(program, "192.0.2.10", 7000)
    assert servers.run(*words).stdout == b"EINVAL\n" * 4
    done = nswrap.run("-q", "--outbound", carrier, "--", *words, "10.0.2.2", "fd00::2", prefix=servers.prefix())
    assert done.stdout == b"ENETUNREACH\nEHOSTUNREACH\n" * 2 + b"ENETUNREACH\n" * 2, done.stderr


TIMED_OUT = """
def one(address):
    global FAMILY
    FAMILY = socket.AF_INET6 if ':' in address else socket.AF_INET
    s = new()
    s.settimeout(12)
    def go():
        begun = time.monotonic()
        print(address, name(lambda: s.connect((address, 7003))), time.monotonic() - begun, flush=True)
    threading.Thread(target=go).start()
for address in sys.argv[3:]:
    one(address)
"""


@pytest.mark.waits
def test_nobody_answers_for_as_long_as_the_host_has_it(nswrap, outer):
    """A new namespace has the kernel's own number of SYNs, which is a minute more."""
    host = outer("""
ip neigh add 192.0.2.99 lladdr 02:00:00:00:00:99 dev ext0
ip neigh add 2001:db8::99 lladdr 02:00:00:00:00:99 dev ext0
echo 1 >/proc/sys/net/ipv4/tcp_syn_retries
[ ! -e /proc/sys/net/ipv4/tcp_syn_linear_timeouts ] || echo 0 >/proc/sys/net/ipv4/tcp_syn_linear_timeouts
""")
    words = python(PRELUDE + TIMED_OUT, "192.0.2.10", 7000, "192.0.2.99", "2001:db8::99")
    plain = host.popen(*words, stdout=subprocess.PIPE)
    inside = nswrap.run("-q", "--outbound", "kernel", "--", *words, prefix=host.prefix())
    with plain.stdout:
        said = [sorted(text.decode().splitlines()) for text in (plain.stdout.read(), inside.stdout)]
    assert [len(lines) for lines in said] == [2, 2], (said, inside.stderr)
    for one, other in zip(*said):
        (address, error, took), (address_inside, error_inside, took_inside) = one.split(), other.split()
        assert (address, error) == (address_inside, "ETIMEDOUT") and error_inside == error, (one, other)
        assert abs(float(took_inside) - float(took)) < 0.25 * PATIENCE, (one, other)


# --- who carries -----------------------------------------------------------------------------------

# is the other end of a connection a socket of this kernel, too?
CARRIED = """
import socket, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
s = socket.socket(family)
s.settimeout(20)
s.connect((sys.argv[1], int(sys.argv[2])))
s.sendall(b'question')
assert s.recv(100) == b'question'
path = '/proc/net/tcp6' if family == socket.AF_INET6 else '/proc/net/tcp'
rows = [line.split() for line in open(path)][1:]
ends = {(row[1], row[2]) for row in rows}
print('kernel' if any((b, a) in ends for a, b in ends) else 'slirp', flush=True)
"""


@pytest.mark.parametrize("address, port", [("192.0.2.10", 7000), ("2001:db8::10", 7001)])
@pytest.mark.parametrize("options, carrier", [
    ([], "kernel"), (["--outbound", "auto"], "kernel"), (["--outbound", "kernel"], "kernel"),
    (["--outbound", "slirp"], "slirp")])
def test_who_carries(nswrap, outer, address, port, options, carrier):
    host = outer()
    host.serve(TCP_ECHO, address, port)
    result = nswrap.run("-q", *options, "--", *python(CARRIED, address, port), prefix=host.prefix())
    assert result.stdout.decode().strip() == carrier, result.stderr


def test_without_nf_tables_libslirp_carries(nswrap, outer):
    """Here for want of a /proc/sys that can be written, as in many containers."""
    host = outer("mount -o bind,ro /proc/sys /proc/sys")
    host.serve(TCP_ECHO, "192.0.2.10", 7000)
    words = python(CARRIED, "192.0.2.10", 7000)
    result = nswrap.run("-v", "--", *words, prefix=host.prefix())
    assert result.stdout == b"slirp\n", result.stderr
    assert b"libslirp carries outbound IPv4 connections: /proc/sys/net cannot be written" in result.stderr
    result = nswrap.run("--outbound", "kernel", "--", *words, prefix=host.prefix())
    assert result.returncode == 125 and b"--outbound kernel cannot be had: " in result.stderr
    found = nswrap.run("doctor", prefix=host.prefix()).stdout.decode()
    assert re.search(r"(?m)^note  .*libslirp carries .*: /proc/sys/net cannot be written", found), found


def test_doctor_says_who_carries(nswrap):
    found = nswrap.run("doctor").stdout.decode()
    assert re.search(r"(?m)^fine  the kernel carries TCP that leaves a sandbox", found), found


# --- nothing is left, nothing is gained ---------------------------------------------------------------

MANY = """
for n in range(int(sys.argv[3]) // 50):
    sockets = []
    for i in range(50):
        s = new()
        s.setblocking(False)
        s.connect_ex(ECHO)
        sockets.append(s)
    for s in sockets:
        s.settimeout(60)
        s.sendall(b'one')
        assert s.recv(10) == b'one'
    if n == 0:
        print('first', flush=True)
        sys.stdin.readline()
    for s in sockets:
        if n % 2:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        s.close()
print('done', flush=True)
sys.stdin.read()
"""


@pytest.mark.limit(900 if THOROUGH else 120)
@pytest.mark.parametrize("address", ["192.0.2.10", "2001:db8::10"])
def test_nothing_is_left_of_many(nswrap, servers, address):
    as_root = servers.prefix()[:servers.prefix().index("--") + 1]  # who may look at the net process
    running = nswrap.start("--", *python(PRELUDE + MANY, address, 7000, 100_000 if THOROUGH else 2000),
                           stdin=subprocess.PIPE, prefix=as_root)

    def sockets():
        listed = subprocess.run([*as_root, "ls", "-l", f"/proc/{running.net_pid()}/fd"], capture_output=True)
        return listed.stdout.count(b"socket:")

    assert running.read_line() == "first"
    wait_for(lambda: sockets() > 60, "connections of the net process")
    running.stdin.write(b"\n")
    running.stdin.flush()
    assert running.read_line() == "done"
    wait_for(lambda: sockets() < 30, "sockets to be closed")
    running.popen.stdin.close()
    assert running.wait() == 0


STAY = """
s = to(ECHO)
s.sendall(b'there')
assert s.recv(10) == b'there'
print('open', flush=True)
try:
    print('end' if s.recv(10) == b'' else 'data', flush=True)
except ConnectionResetError:
    print('end', flush=True)
s = to(ECHO, 60)
s.sendall(b'again')
print(s.recv(10).decode(), flush=True)
"""


def test_the_net_process_is_killed(nswrap, servers):
    """Connections end, COMMAND lives, and the next net process takes over."""
    running = nswrap.start("--", *python(PRELUDE + STAY, "192.0.2.10", 7000), prefix=servers.prefix())
    assert running.read_line() == "open"
    os.kill(running.net_pid(), signal.SIGKILL)
    assert running.read_line() == "end"
    assert running.read_line() == "again"
    assert running.wait() == 0


# our rules, of either family, by netlink
NO_RULES = """
import socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
def message(kind, flags, family, resource, attributes=b''):
    return struct.pack('=IHHIIBBH', 20 + len(attributes), kind, flags, 1, 0, family, 0, socket.htons(resource)) + attributes
for family in (socket.AF_INET, socket.AF_INET6):
    name = struct.pack('=HH', 11, 1) + b'nswrap' + bytes(2)
    s.send(message(16, 1, 0, 10) + message(10 << 8 | 2, 5, family, 0, name) + message(17, 1, 0, 10))  # NFT_MSG_DELTABLE
    assert struct.unpack('=i', s.recv(4096)[16:20]) == (0,)
"""


@pytest.mark.parametrize("undo", [
    "ip rule del fwmark 0x6e7310; ip rule del fwmark 0x6e7311",
    "ip neigh flush dev tap0 nud permanent; ip neigh del 10.0.2.4 dev tap0",
    "ip rule add priority 1 fwmark 0x6e7311 lookup main",
    "ip link set tap0 down; ip link set tap0 up; ip route add default via 10.0.2.2",
    "echo 0 >/proc/sys/net/ipv4/tcp_fwmark_accept",
    NO_RULES,
], ids=["ip rule", "neighbour", "another rule", "device", "sysctl", "nf_tables"])
def test_root_inside_gains_nothing(nswrap, servers, undo):
    """Whatever it does to rules and routes: what may not be reached is not, and the host goes on."""
    program = PRELUDE + """
if sys.argv[3].startswith('\\n'):
    exec(sys.argv[3], {})
else:
    os.system(sys.argv[3] + ' 2>/dev/null')
def reach(at):
    s = socket.socket(socket.AF_INET6 if ':' in at else socket.AF_INET)
    s.settimeout(0.5)
    if name(lambda: s.connect((at, PORT))) == 'fine':
        print('reached', at)
threads = [threading.Thread(target=reach, args=(at,)) for at in (
    '10.0.2.2', '10.0.2.3', '10.0.2.4', '240.0.0.1', 'fd00::2', 'fd00::3', 'fd00::4')]
for t in threads: t.start()
for t in threads: t.join()
print('tried')
"""
    result = nswrap.run("-q", "--root", "--", *python(program, "192.0.2.10", 7000, undo), prefix=servers.prefix())
    assert result.stdout == b"tried\n", result
    for address in "192.0.2.10", "2001:db8::10":
        result = nswrap.run("-q", "--", *python(CARRIED, address, 7000), prefix=servers.prefix())
        assert result.stdout == b"kernel\n", result.stderr


# argv: the port; frames to the place that is asked, and a plain connection to the listener inside
FORGED = """
import fcntl, socket, struct, sys
port = int(sys.argv[1])
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(('tap0', 0))
own = fcntl.ioctl(raw, 0x8927, b'tap0'.ljust(40, b'\\0'))[18:24].hex()  # SIOCGIFHWADDR
def sum16(data):
    data += b'\\0' * (len(data) % 2)
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
def syn(source, target, n):
    family = socket.AF_INET6 if ':' in target else socket.AF_INET
    ends = socket.inet_pton(family, source) + socket.inet_pton(family, target)
    tcp = struct.pack('!HHIIBBHHH', 30000 + n, port, 1, 0, 80, 2, 65535, 0, 0)
    tcp = tcp[:16] + struct.pack('!H', sum16(ends + struct.pack('!HH', 6, 20) + tcp)) + tcp[18:]
    if family == socket.AF_INET6:
        kind, head = '86dd', struct.pack('!IHBB', 6 << 28, 20, 6, 64) + ends
    else:
        kind, head = '0800', struct.pack('!BBHHHBBH', 69, 0, 40, 0, 16384, 64, 6, 0) + ends
        head = head[:10] + struct.pack('!H', sum16(head)) + head[12:]
    raw.send(bytes.fromhex('026e7361736b' + own + kind) + head + tcp)
for n, (source, target) in enumerate((s, t) for s in ('10.0.2.100', '127.0.0.1', '198.51.100.9')
                                     for t in ('127.0.0.1', '10.0.2.2', '0.0.0.0', '10.0.2.3', '127.9.9.9')):
    syn(source, target, n)
for n, (source, target) in enumerate((s, t) for s in ('fd00::100', '::1', '2001:db8::9')
                                     for t in ('::1', '::ffff:127.0.0.1', '::127.0.0.1', 'fd00::2', '::', 'fd00::3')):
    syn(source, target, 100 + n)
listeners = [line.split()[1] for line in open('/proc/net/tcp') if line.split()[3] == '0A']
at = next(int(end.split(':')[1], 16) for end in listeners if end.startswith('0202000A'))
s = socket.socket()
s.settimeout(0.5)
try:
    s.connect(('10.0.2.2', at))
    print('connected')
except OSError as e:
    print('not connected')
s = socket.create_connection((sys.argv[2], port), 20)  # behind all of them
s.sendall(b'last')
print(s.recv(10))
"""


def test_forged_questions_reach_nothing(nswrap, outer):
    host = outer()
    host.serve(TCP_ECHO, "192.0.2.10", 7009)
    watch = host.popen(*python("""
import select, socket
servers = [socket.create_server(('127.0.0.1', 7009)), socket.create_server(('::1', 7009), family=socket.AF_INET6)]
print('ready', flush=True)
while True:
    for server in select.select(servers, [], [])[0]:
        print('reached', server.getsockname()[0], flush=True)
        server.accept()
"""), stdout=-1)
    assert watch.stdout.readline() == b"ready\n"
    result = nswrap.run("-q", "--root", "--", *python(FORGED, 7009, "192.0.2.10"), prefix=host.prefix())
    assert result.stdout == b"not connected\nb'last'\n", result.stderr
    watch.kill()
    assert watch.stdout.read() == b""


# --- what it goes along with ----------------------------------------------------------------------------


def test_a_capture_has_both_directions_of_the_beginning(nswrap, servers, short_dir):
    """What is refused, and what is let in; the bytes do not cross the device."""
    path = os.path.join(short_dir, "frames")
    program = PRELUDE + "name(lambda: to(CLOSED)); s = to(ECHO); s.sendall(b'not to be seen'); print(s.recv(20))"
    result = nswrap.run("-q", "--pcap", path, "--", *python(program, "192.0.2.10", 7000), prefix=servers.prefix())
    assert result.stdout == b"b'not to be seen'\n", result.stderr
    with open(path, "rb") as f:
        data = f.read()[24:]
    os.unlink(path)
    seen = []
    while data:
        size = struct.unpack("=IIII", data[:16])[2]
        frame, data = data[16:16 + size], data[16 + size:]
        if frame[12:14] == b"\x08\0" and frame[23] == 6:
            seen.append((frame[:6] == b"\x02nsask", frame[6:12] == b"\x02nsask", frame[47]))
        assert b"not to be seen" not in frame
    # asked and refused; asked and let in, each of which may be said again
    assert [which for which, _ in itertools.groupby(seen)] == [(True, False, 2), (False, True, 0x14), (True, False, 2), (False, True, 2)]


# a server at a port inside, and beside it CARRIED; argv: an address outside, its port, the port inside
BESIDE = """
import threading
def serve():
    with socket.create_server(('127.0.0.1', int(sys.argv[3]))) as server:
        while True:
            c = server.accept()[0]
            while data := c.recv(65536):
                c.sendall(data)
            c.close()
threading.Thread(target=serve, daemon=True).start()
sys.stdin.read()
"""


def test_together_with_libslirps_forwards(nswrap, outer):
    """Answers of servers inside go where their clients came from, whoever carries the rest."""
    host = outer()
    host.serve(TCP_ECHO, "192.0.2.10", 7000)
    running = nswrap.start("--port-driver", "slirp", "-b", "192.0.2.10", "-p", 7100, "-P", 7000, "--",
                           *python(CARRIED + BESIDE, "192.0.2.10", 7000, 7000), stdin=subprocess.PIPE,
                           prefix=host.prefix())
    assert running.read_line() == "kernel"
    running.guest_listening()
    for _ in range(3):
        result = host.run(*python(PRELUDE + "s = to((HOST, 7100)); s.sendall(b'in'); print(s.recv(10))",
                                  "192.0.2.10", 7000))
        assert result.stdout == b"b'in'\n", result.stderr


def test_an_end_does_not_wait_for_a_device(nswrap):
    """The kernel takes its time to take one down: not in the close(2) of who has it, but with the namespace."""
    for options, device in ([], "tap0"), (["--via", "exec:sleep 1000"], "via0"):
        done = nswrap.run("-q", *options, "ip", "-d", "link", "show", device)
        assert b"persist on" in done.stdout, done


def test_no_such_carrier(nswrap):
    result = nswrap.run("--outbound", "pigeon", "true")
    assert result.returncode == 2
    assert b'"pigeon" carries no connections: expected auto, kernel or slirp' in result.stderr
