# SPDX-License-Identifier: Apache-2.0
"""e2e/test_urgent - TCP's urgent data (MSG_OOB) on its way through a sandbox's relays is still urgent at its end"""

import subprocess

import pytest

from harness import NEIGHBOUR_SETUP, PATIENCE, free_port, is_bound, python, wait_for
from standin import Link

# two programs that speak to one another in turn, argv: listen|connect ADDRESS PORT, and where there is a proxy its port
# and, by turns, what it is told, in hexadecimal digits, and how many bytes it answers; each says what it has seen
TALK = """
import array, fcntl, os, select, signal, socket, sys, termios, time
MARK = 0x8905  # SIOCATMARK
JUNK = 30000  # within the window, or the urgent byte could only come when some of it is read
def ask(request):
    value = array.array('i', [0])
    fcntl.ioctl(s, request, value)
    return value[0]
def wait(condition):
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
def exactly(n):
    data = b''
    while len(data) < n and (part := s.recv(n - len(data))):
        data += part
    return data
def to_mark():
    data = b''
    while not ask(MARK) and (part := s.recv(1 << 16)):
        data += part
    return data
def urgent():
    begin = time.monotonic()
    seen = bool(select.select([], [], [s], 20)[2])
    if not seen:
        print('none after', time.monotonic() - begin, 's;', ask(termios.FIONREAD), 'bytes, mark', ask(MARK))
    return seen
def oob():
    s.setblocking(False)  # as no other byte may be there, which Python would wait for
    byte = s.recv(1, socket.MSG_OOB)
    s.settimeout(20)
    return byte
def heard():
    return s.recv(1) == b'g'
def go():
    s.sendall(b'g')
def speak():
    heard()
    s.sendall(b'one')
    s.send(b'!', socket.MSG_OOB)
    s.sendall(b'two')
    heard()
    s.sendall(b'x')
    s.send(b'a', socket.MSG_OOB)
    s.send(b'b', socket.MSG_OOB)
    s.sendall(b'y')
    for byte in b'cd':
        heard()
        s.send(bytes([byte]), socket.MSG_OOB)
    heard()
    s.sendall(bytes(JUNK))
    s.send(b'ABOR\\r\\n', socket.MSG_OOB)
    s.sendall(b'q')
    heard()
def hear():
    signals.clear()
    go()
    print('urgent', urgent(), 'signal', bool(signals), oob())
    print(exactly(3), bool(ask(MARK)), exactly(3))
    go()  # several at once: the last one is urgent; those before it are in line, as something is before them
    wait(lambda: ask(termios.FIONREAD) == 2)
    print(oob(), s.recv(9), bool(ask(MARK)), exactly(1))
    for _ in range(2):  # and one after the other
        signals.clear()
        go()
        print('urgent', urgent(), 'signal', bool(signals), oob())
    s.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    go()  # and as telnet's Synch or FTP's ABOR: all before it is to be dropped (the byte read last is there again)
    urgent()
    dropped = to_mark()
    print(len(dropped), dropped[-8:], exactly(1), bool(ask(MARK)), exactly(1))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 0)
    go()
family = socket.AF_INET6 if ':' in sys.argv[2] else socket.AF_INET
where = (sys.argv[2], int(sys.argv[3]))
if sys.argv[1] == 'listen':
    listener = socket.create_server(where, family=family)
    s = listener.accept()[0]
else:
    s = socket.socket(family)
    s.connect((where[0], int(sys.argv[4])) if sys.argv[4:] else where)
    for told, answer in zip(sys.argv[5::2], sys.argv[6::2]):
        s.sendall(bytes.fromhex(told))
        exactly(int(answer))
signals = []
signal.signal(signal.SIGURG, lambda *_: signals.append(1))
fcntl.fcntl(s, fcntl.F_SETOWN, os.getpid())
s.settimeout(20)
for role in (speak, hear) if sys.argv[1] == 'listen' else (hear, speak):
    role()
s.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
s.sendall(b'end')
s.send(b'.', socket.MSG_OOB)
s.shutdown(socket.SHUT_WR)
wait(lambda: ask(termios.FIONREAD) == 4)  # who waits for the byte in recv() reads on across it
print(to_mark(), exactly(9))
"""

SEEN = """\
urgent True signal True b'!'
b'one' True b'two'
b'b' b'xa' True b'y'
urgent True signal True b'c'
urgent True signal True b'd'
30006 b'\\x00\\x00\\x00ABOR\\r' b'\\n' False b'q'
b'end' b'.'
"""


def check(listening, connecting):
    """Both are Popens; each has seen what it sees without nswrap."""
    said = [p.communicate(timeout=60 * PATIENCE) for p in (listening, connecting)]
    assert [out.decode() for out, _ in said] == [SEEN] * 2, said


PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


def test_without_nswrap(outer):
    """Or all that is said below is of no use."""
    host = outer()
    listening = host.popen(*python(TALK, "listen", "127.0.0.1", 7000), **PIPES)
    wait_for(lambda: host.is_bound(7000), "the listener")
    check(listening, host.popen(*python(TALK, "connect", "127.0.0.1", 7000), **PIPES))


@pytest.mark.parametrize("address", ["192.0.2.10", "2001:db8::10"])
def test_outbound(nswrap, outer, address):
    host = outer(NEIGHBOUR_SETUP)
    listening = host.popen(*python(TALK, "listen", address, 7000), **PIPES)
    wait_for(lambda: host.is_bound(7000), "the listener")
    check(listening, nswrap.popen("-q", "--outbound", "kernel", "--", *python(TALK, "connect", address, 7000),
                                  prefix=host.prefix(), **PIPES))


@pytest.mark.parametrize("at, to", [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "192.0.2.10"), ("[::]", "2001:db8::10")])
def test_forwards(nswrap, outer, at, to):
    host = outer(NEIGHBOUR_SETUP)
    running = nswrap.start("-f", f"{at}:7100:7000", "--port-driver", "splice", "--",
                           *python(TALK, "listen", "127.0.0.1", 7000), prefix=host.prefix())
    running.guest_listening()
    connecting = subprocess.Popen([*host.neighbour(), *python(TALK, "connect", to, 7100)], **PIPES) \
        if to != "127.0.0.1" else host.popen(*python(TALK, "connect", to, 7100), **PIPES)
    check(running.popen, connecting)


@pytest.mark.parametrize("network", [[], ["--network", "none"]])
def test_ports_led_outwards(nswrap, outer, network):
    host = outer()
    listening = host.popen(*python(TALK, "listen", "127.0.0.1", 7000), **PIPES)
    wait_for(lambda: host.is_bound(7000), "the listener")
    check(listening, nswrap.popen("-q", *network, "-R", "7000", "--", *python(TALK, "connect", "127.0.0.1", 7000),
                                  prefix=host.prefix(), **PIPES))


@pytest.fixture
def proxies(nswrap):
    """The ports of an agent's proxies: {name: port}."""
    ports = {name: free_port() for name in ("http", "socks")}
    link = Link(nswrap.popen("agent", "--automated", stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    link.configure("127.0.42.101", **{name: {"listen": f"127.0.0.1:{port}"} for name, port in ports.items()})
    yield ports
    link.hang_up()


def words_of(proxy, port):
    """What it is told, and how many bytes it answers."""
    if proxy == "http":
        return [(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % port).hex(),
                len("HTTP/1.1 200 Connection established\r\n\r\n")]
    return ["050100", 2, (b"\5\1\0\1\x7f\0\0\1" + port.to_bytes(2, "big")).hex(), 10]


@pytest.mark.parametrize("proxy", ["http", "socks"])
def test_proxies(proxies, proxy):
    port = free_port()
    listening = subprocess.Popen(python(TALK, "listen", "127.0.0.1", port), **PIPES)
    wait_for(lambda: is_bound(port), "the listener")
    check(listening, subprocess.Popen(python(TALK, "connect", "127.0.0.1", port, proxies[proxy],
                                             *words_of(proxy, port)), **PIPES))


# argv as of the first; "urgent" or "in line" is how what the other one has sent as urgent came, and all that came
LINE = """
import select, socket, sys
family = socket.AF_INET6 if ':' in sys.argv[2] else socket.AF_INET
where = (sys.argv[2], int(sys.argv[3]))
s = socket.create_server(where, family=family).accept()[0] if sys.argv[1] == 'listen' else socket.create_connection(where, 20)
s.settimeout(20)
def speak():
    s.sendall(b'one')
    s.send(b'!', socket.MSG_OOB)
    s.sendall(b'two')
def hear():
    data, urgent = b'', False
    while len(data) < 7:
        urgent = urgent or bool(select.select([s], [], [s], 20)[2])
        if not (part := s.recv(7 - len(data))):
            break
        data += part
    print('urgent' if urgent else 'in line', data)
for role in (speak, hear) if sys.argv[1] == 'listen' else (hear, speak):
    role()
s.shutdown(socket.SHUT_WR)
print(s.recv(1))
"""


def check_line(listening, connecting):
    said = [p.communicate(timeout=60 * PATIENCE) for p in (listening, connecting)]
    assert [out for out, _ in said] == [b"in line b'one!two'\nb''\n"] * 2, said


@pytest.mark.parametrize("at, to", [("0.0.0.0", "192.0.2.10"), ("[::]", "2001:db8::10")])
def test_forwards_by_libslirp(nswrap, outer, at, to):
    host = outer(NEIGHBOUR_SETUP)
    running = nswrap.start("-f", f"{at}:7100:7000", "--port-driver", "slirp", "--",
                           *python(LINE, "listen", "::" if ":" in at else "127.0.0.1", 7000), prefix=host.prefix())
    running.guest_listening()
    check_line(running.popen, subprocess.Popen([*host.neighbour(), *python(LINE, "connect", to, 7100)], **PIPES))


@pytest.mark.parametrize("address", ["192.0.2.10", "2001:db8::10"])
def test_outbound_by_libslirp(nswrap, outer, address):
    host = outer(NEIGHBOUR_SETUP)
    listening = host.popen(*python(LINE, "listen", address, 7000), **PIPES)
    wait_for(lambda: host.is_bound(7000), "the listener")
    check_line(listening, nswrap.popen("-q", "--outbound", "slirp", "--", *python(LINE, "connect", address, 7000),
                                       prefix=host.prefix(), **PIPES))
