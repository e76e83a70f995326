# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_streams - hosts without namespaces, TUN and libslirp: their connections are streams"""

import errno
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from harness import BINARY, HTTP, PATIENCE, TCP_ECHO, UDP_ECHO, descendants, proc_status, python
from mesh_tools import TRY, Box, Site, Steady, at_once, echoed
from test_mesh_allow import ASK
from test_mesh_host import CROWD, DATAGRAMS, ENDING

VIPS = {name: f"127.0.42.10{number}" for number, name in enumerate("abc", 1)}
PORT, NOBODY, WEB = 7000, 7001, 7002
FAKE = [sys.executable, str(pathlib.Path(__file__).parent / "fake_agent.py")]


def bare(box, *words):
    """The command of a host in a box that has no stack and takes it for a machine."""
    return [BINARY, "exec", box.name, "env", BINARY, "agent", "--stack", "streams", *words]


def serve(box):
    box.serve(TCP_ECHO, "127.0.0.1", PORT, port=PORT)
    box.serve(HTTP, "127.0.0.1", WEB, port=WEB)
    box.serve(UDP_ECHO, "127.0.0.1", PORT, port=PORT, udp=True)


PORTS = [*(f"{port}:127.0.0.1:{port}" for port in (PORT, NOBODY, WEB)),
         f"{PORT}:localhost:{PORT}/udp", f"{NOBODY}:127.0.0.1:{NOBODY}/udp"]

# asks for a name by UDP; prints the address; argv: name server, its port, name
LOOK_UP = """
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
s.connect((sys.argv[1], int(sys.argv[2])))
name = b''.join(bytes([len(part)]) + part.encode() for part in sys.argv[3].split('.')) + b'\\0'
s.send(struct.pack('!6H', 7, 0x100, 1, 0, 0, 0) + name + struct.pack('!2H', 1, 1))
print(socket.inet_ntoa(s.recv(600)[-4:]))
"""

# one datagram through a SOCKS proxy and back; argv: proxy's port, address, port
DATAGRAM = """
import socket, struct, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
s.sendall(b"\\5\\1\\0\\5\\3\\0\\1" + 6 * b"\\0")
answer = s.makefile("rb").read(12)
relay = socket.inet_ntoa(answer[6:10]), int.from_bytes(answer[10:], "big")
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.settimeout(20)
head = b"\\0\\0\\0\\1" + socket.inet_aton(sys.argv[2]) + struct.pack("!H", int(sys.argv[3]))
u.sendto(head + b"hello", relay)
print(u.recv(100)[10:].decode())
"""

# asks for a name by TCP through a SOCKS proxy, and prints the address; argv: proxy's port, address, port, name
NAME_BY_TCP = """
import socket, struct, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
s.sendall(b"\\5\\1\\0\\5\\1\\0\\1" + socket.inet_aton(sys.argv[2]) + struct.pack("!H", int(sys.argv[3])))
name = bytes([len(sys.argv[4])]) + sys.argv[4].encode() + b"\\0"
query = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + name + struct.pack("!2H", 1, 1)
s.sendall(struct.pack("!H", len(query)) + query)
with s.makefile("rb") as file:
    assert file.read(12)[:4] == b"\\5\\0\\5\\0"
    print(socket.inet_ntoa(file.read(int.from_bytes(file.read(2), "big"))[-4:]))
"""

# sends datagrams from one socket until one comes back, and prints how many there were; argv: address port
PATIENT = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], int(sys.argv[2])))
s.settimeout(0.05)
for i in range(1000):
    try:
        s.send(b'there?')
        s.recv(100)
        break
    except TimeoutError:
        print('sent', flush=True)
print('back', flush=True)
"""


def tries(box, vip, port):
    """The errno of a connection, and what ends it, both known at once."""
    code, took = box.do(*python(TRY, vip, port, 20)).split()
    assert float(took) < 5 * PATIENCE
    return int(code)


def ends(box, vip, port):
    return int(box.do(*python(ENDING, vip, port)).split()[0])


def check_datagrams(box, vip):
    """Datagrams of all sizes come back."""
    assert box.do(*python(DATAGRAMS, vip, PORT, 30)) == b"30\n"


def get(box, *words):
    return box.do("curl", "-sS", "--max-time", str(20 * PATIENCE), *words).decode()


def test_hosts_without_a_stack(nswrap, tmp_path):
    """Bytes of many connections at once, ends, refusals; names and proxies; what status says."""
    boxes = {name: Box(nswrap, name) for name in "ab"}
    site = Site(nswrap, tmp_path)
    proxies = {"http": {"listen": "127.0.0.1:18080"}, "socks": {"listen": "127.0.0.1:18081"}}
    for name, box in boxes.items():
        serve(box)
        site.host(name, VIPS[name], bare(box), ports=PORTS, **proxies)
    a, b = boxes.values()
    with site:
        data = os.urandom(3 << 20)
        at_once(lambda: echoed(a, data, *[f"{VIPS['b']}:{PORT}"] * 4),
                lambda: echoed(b, data, f"{VIPS['a']}:{PORT}"))
        assert a.do(*python(CROWD, VIPS["b"], PORT, 200)) == b"200\n"
        assert ends(a, VIPS["b"], NOBODY) == errno.ECONNRESET
        for host in ("b", "a", VIPS["a"]):  # itself as well
            url = f"http://{host}:{WEB}/x"
            assert get(a, "--proxy", "http://127.0.0.1:18080", url) == "path /x"
            assert get(a, "--socks5-hostname", "127.0.0.1:18081", url) == "path /x"
            for port in (NOBODY, NOBODY + 100):
                refused = a.run("curl", "-sS", "--socks5-hostname", "127.0.0.1:18081", f"http://{host}:{port}/")
                assert refused.returncode == 97 and b"(5)" in refused.stderr, refused
        assert a.do(*python(DATAGRAM, 18081, VIPS["a"], PORT)).endswith(b" hello\n")
        assert a.do(*python(NAME_BY_TCP, 18081, VIPS["a"], 10053, "b")).decode() == f"{VIPS['b']}\n"
        check_datagrams(a, VIPS["b"])
        assert a.do(*python(LOOK_UP, VIPS["b"], 10053, "a")).decode() == f"{VIPS['a']}\n"
        status = site.status()
        assert {(h["stack"], h["stack_why"]) for h in status.values()} == {("streams", "wanted by --stack")}
        assert "streams" in status["a"]["features"]
        done = nswrap.run("mesh", "status", "site")
        text = done.stdout.decode() + done.stderr.decode()
        assert "a: its connections are streams: wanted by --stack\n" in text


def test_sandboxes_and_hosts_without_a_stack(nswrap, tmp_path):
    """Both directions; refusals come before anything is accepted; a host that comes later."""
    a, b = Box(nswrap, "a"), Box(nswrap, "b")
    site = Site(nswrap, tmp_path)
    site.host("a", VIPS["a"], a.agent(), ports=PORTS)
    site.host("b", VIPS["b"], bare(b), ports=PORTS)
    serve(a)
    serve(b)
    with site:
        data = os.urandom(3 << 20)
        at_once(lambda: echoed(a, data, *[f"{VIPS['b']}:{PORT}"] * 3),
                lambda: echoed(b, data, *[f"{VIPS['a']}:{PORT}"] * 3))
        check_datagrams(a, VIPS["b"])
        check_datagrams(b, VIPS["a"])
        # nobody listens there; it is no offer
        for port in (NOBODY, NOBODY + 100):
            assert int(a.do(*python(ASK, VIPS["b"], port))) == errno.ECONNREFUSED, port
        # who was refused is heard when somebody listens
        patient = b.popen(*python(PATIENT, VIPS["a"], NOBODY), stdout=subprocess.PIPE)
        assert [patient.stdout.readline() for _ in range(3)] == 3 * [b"sent\n"]
        a.serve(UDP_ECHO, "127.0.0.1", NOBODY, port=NOBODY, udp=True)
        assert patient.communicate(timeout=20 * PATIENCE)[0].endswith(b"back\n")
        assert b"1 received" in a.do("ping", "-c1", "-W5", VIPS["b"])
        assert tries(a, VIPS["b"], PORT) == 0
        assert tries(a, VIPS["b"], NOBODY) == errno.ECONNREFUSED
        assert tries(a, VIPS["b"], PORT + 100) == errno.ECONNREFUSED
        assert ends(b, VIPS["a"], NOBODY) == errno.ECONNRESET
        status = site.status()
        assert [status[n]["stack"] for n in "ab"] == ["kernel", "streams"]
        rows = [line.split() for line in nswrap.run("mesh", "status", "site").stdout.decode().splitlines()]
        assert [row[rows[0].index("STACK")] for row in rows[1:3]] == ["kernel", "streams"]
        assert status["a"]["stack_why"] is None
        # the agent without a stack starts again: what was open is reset, what begins goes on
        steady = Steady(a, VIPS["b"], PORT)
        agent = next(pid for pid in descendants(status["b"]["pid"])
                     if proc_status(pid)["Name"].startswith("nswrap: agent"))
        os.kill(agent, signal.SIGKILL)
        with pytest.raises(AssertionError, match="broke"):
            steady.popen.wait(20 * PATIENCE)
            steady.end()
        site.wait_state("b", restarts=1, timeout=20)
        echoed(a, data[:100000], f"{VIPS['b']}:{PORT}")
        # and the other one
        agent = next(pid for pid in descendants(site.status()["a"]["pid"])
                     if proc_status(pid)["Name"].startswith("nswrap: agent"))
        os.kill(agent, signal.SIGKILL)
        site.wait_state("a", restarts=1, timeout=20)
        echoed(a, data[:100000], f"{VIPS['b']}:{PORT}")


def test_who_may_begin(nswrap, tmp_path):
    """allow counts for each stream, wherever the packets of both go."""
    a, b = Box(nswrap, "a"), Box(nswrap, "b")
    site = Site(nswrap, tmp_path)
    site.host("a", VIPS["a"], a.agent(), ports=PORTS)
    site.host("b", VIPS["b"], bare(b), ports=PORTS, allow=[f"a:{PORT}"])
    site.host("c", VIPS["c"], FAKE, ports=["8080:127.0.0.1:8080"])
    serve(a)
    serve(b)
    with site:
        echoed(a, b"x" * 1000, f"{VIPS['b']}:{PORT}")
        assert tries(a, VIPS["b"], WEB) == errno.ECONNREFUSED
        echoed(b, b"x" * 1000, f"{VIPS['a']}:{PORT}")
        # one that knows nothing of streams is refused at once, and never sees a packet of them
        assert ends(b, VIPS["c"], 8080) == errno.ECONNRESET
        site.running.wait_line(f"the host at {VIPS['c']} cannot be reached from this one, at {VIPS['b']}: ")


def test_what_is_behind_a_host_without_a_stack(nswrap, tmp_path):
    """From a sandbox and from another such host; what is not there refuses, what is not exposed, too."""
    behind, hidden = "198.51.100.7", "198.51.100.8"
    boxes = {"a": Box(nswrap, "a"), "b": Box(nswrap, "b", "--root"), "c": Box(nswrap, "c")}
    a, b, c = boxes.values()
    for address in (behind, hidden):
        b.do("ip", "address", "add", f"{address}/32", "dev", "lo")
    b.serve(TCP_ECHO, "0.0.0.0", PORT, port=PORT)
    b.serve(HTTP, "0.0.0.0", WEB, port=WEB)
    site = Site(nswrap, tmp_path, routes=[{"to": ["198.51.100.0/24"], "via": "b"}])
    site.host("a", VIPS["a"], a.agent())
    site.host("b", VIPS["b"], bare(b, "--expose", f"{behind}/32"))
    site.host("c", VIPS["c"], bare(c), socks={"listen": "127.0.0.1:18081"})
    with site:
        echoed(a, os.urandom(1 << 20), f"{behind}:{PORT}")
        assert tries(a, behind, NOBODY) == errno.ECONNREFUSED
        assert tries(a, hidden, PORT) == errno.ECONNREFUSED
        assert int(a.do(*python(ASK, behind, NOBODY))) == errno.ECONNREFUSED
        assert get(c, "--socks5", "127.0.0.1:18081", f"http://{behind}:{WEB}/x") == "path /x"


def test_a_stopped_host_holds_up_nobody(nswrap, tmp_path):
    boxes = {name: Box(nswrap, name) for name in "abc"}
    site = Site(nswrap, tmp_path)
    for name, box in boxes.items():
        site.host(name, VIPS[name], bare(box), ports=PORTS)
        serve(box)
    a, b, c = boxes.values()
    with site:
        filler = Steady(a, VIPS["c"], PORT)
        agent = next(pid for pid in descendants(site.status()["c"]["pid"])
                     if proc_status(pid)["Name"].startswith("nswrap: agent"))
        os.kill(agent, signal.SIGSTOP)
        echoed(a, os.urandom(4 << 20), f"{VIPS['b']}:{PORT}")
        os.kill(agent, signal.SIGCONT)
        assert filler.end()[0] > 0
        echoed(a, os.urandom(1 << 20), f"{VIPS['c']}:{PORT}")
