# SPDX-License-Identifier: Apache-2.0
"""-R: a port inside leads to one of the host's, and nothing else of the host's loopback opens"""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from harness import BINARY, PATIENCE, TCP_ECHO, UDP_ECHO, connect, cpu_ticks, free_port, free_ports, http_get, open_fds, proc_status, python, \
    wait_for
from mesh_tools import Site, network
from tools import listed as ps, table

# lines of "tcp HOST PORT", "unix PATH" or "udp HOST PORT": what came back for "hello", or an error's name
CLIENT = """
import errno, socket, sys
for line in sys.stdin:
    kind, *where = line.split()
    where = where[0] if kind == 'unix' else (where[0], int(where[1]))
    family = socket.AF_UNIX if kind == 'unix' else socket.AF_INET6 if ':' in where[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == 'udp' else socket.SOCK_STREAM) as s:
        s.settimeout(20)
        try:
            s.connect(where)
            s.sendall(b'hello')
            print(s.recv(100).decode() or 'end', flush=True)
        except OSError as e:
            print(errno.errorcode.get(e.errno, e), flush=True)
"""


@contextlib.contextmanager
def served(family, where, kind=socket.SOCK_STREAM):
    """An echo that says "host:" first, on the host."""
    with socket.socket(family, kind) as s:
        s.bind(where)
        if kind == socket.SOCK_STREAM:
            s.listen(64)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    if kind == socket.SOCK_DGRAM:
                        data, peer = s.recvfrom(100)
                        if not peer:
                            return
                        s.sendto(b"host:" + data, peer)
                        continue
                    with s.accept()[0] as c, contextlib.suppress(ConnectionError):
                        c.sendall(b"host:" + c.recv(100))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        with contextlib.suppress(OSError):
            s.shutdown(socket.SHUT_RDWR)


class Inside:
    """A sandbox whose command connects to where it is told."""

    def __init__(self, nswrap, *options):
        self.running = nswrap.start(*options, *python(CLIENT), stdin=-1)
        self.running.wait_event("started")

    def ask(self, *where):
        self.running.stdin.write(" ".join(map(str, where)).encode() + b"\n")
        self.running.stdin.flush()
        return self.running.read_line()


@pytest.fixture
def target():
    port = free_port()
    with served(socket.AF_INET, ("127.0.0.1", port)):
        yield port


NETWORKS = [[], ["--network", "none"], ["--outbound", "slirp"]]


@pytest.mark.parametrize("network_options", NETWORKS, ids=["outbound", "none", "slirp"])
def test_ports_that_lead_outwards(nswrap, target, tmp_path, network_options):
    """TCP of both families, a refusal that is one, unix sockets on either side, and nothing else."""
    nobody = free_ports(2)
    six = nobody + 1
    path, inner = tmp_path / "target", tmp_path / "inner"
    with served(socket.AF_UNIX, str(path)), served(socket.AF_INET6, ("::1", six)):
        inside = Inside(nswrap, *network_options, "-R", f"5432:{target}", "-R", f"127.0.0.1:5433:127.0.0.1:{nobody}",
                        "-R", f"5434:unix:{path}", "-R", f"5435:unix:{tmp_path}/none", "-R", f"[::1]:5436:{target}",
                        "-R", f"[::1]:5437:127.0.0.1:{nobody}", "-R", f"{inner}:{target}",
                        "-R", f"127.0.0.9:5432:localhost:{six}", "-R", f"0.0.0.0:5438:[::1]:{six}")
        for _ in range(3):
            assert inside.ask("tcp", "127.0.0.1", 5432) == "host:hello"
            assert inside.ask("tcp", "127.0.0.1", 5433) == "ECONNREFUSED"
            assert inside.ask("tcp", "127.0.0.1", 5434) == "host:hello"
            assert inside.ask("tcp", "127.0.0.1", 5435) == "ECONNREFUSED"
            assert inside.ask("tcp", "::1", 5436) == "host:hello"
            assert inside.ask("tcp", "::1", 5437) == "ECONNREFUSED"
            assert inside.ask("unix", inner) == "host:hello"
            assert inside.ask("tcp", "127.0.0.9", 5432) == "host:hello"
            assert inside.ask("tcp", "127.0.0.7", 5438) == "host:hello"
            # the address that a client means with it
            assert inside.ask("tcp", "0.0.0.0", 5432) == "host:hello"
        # not another address inside, and nothing of the host by its own number
        assert inside.ask("tcp", "::1", 5432) == "ECONNREFUSED"
        assert inside.ask("tcp", "127.0.0.1", target) == "ECONNREFUSED"
        assert inside.ask("tcp", "::1", six) == "ECONNREFUSED"
        assert inside.running.stop() == 128 + signal.SIGTERM
    assert not inner.exists()


@pytest.mark.parametrize("network_options", NETWORKS[:2], ids=["outbound", "none"])
def test_datagrams_lead_outwards(nswrap, network_options):
    port = free_port()
    with served(socket.AF_INET, ("127.0.0.1", port), socket.SOCK_DGRAM):
        inside = Inside(nswrap, *network_options, "-R", f"53:{port}/udp")
        assert inside.ask("udp", "127.0.0.1", 53) == "host:hello"
        assert inside.ask("tcp", "127.0.0.1", 53) == "ECONNREFUSED"


# lines of "HOST PORT": what comes of a datagram there, by a connected socket that is kept, and of one by another that
# asks for errors, if there is one: "PORT ERROR". "flood HOST PORT N": so many, and how many of them were refused
DATAGRAMS = """
import errno, socket, struct, sys
kept = {}
def family(host):
    return socket.AF_INET6 if ':' in host else socket.AF_INET
def answer(s):
    return s.recv(100).decode().split()[-1]
def error_queued(where):
    with socket.socket(family(where[0]), socket.SOCK_DGRAM) as s:
        level, option = (socket.IPPROTO_IPV6, 25) if ':' in where[0] else (socket.IPPROTO_IP, 11)  # IP_RECVERR
        s.setsockopt(level, option, 1)
        s.settimeout(20)
        s.sendto(b'hello', where)
        try:
            return answer(s)
        except OSError:
            _, control, _, asked = s.recvmsg(100, 500, socket.MSG_ERRQUEUE)
            return '%d %s' % (asked[1], errno.errorcode[struct.unpack('I', control[0][2][:4])[0]])
for line in sys.stdin:
    *flood, host, port, count = line.split() if line.startswith('flood') else [*line.split(), 1]
    where = host, int(port)
    s = kept.setdefault(where, socket.socket(family(host), socket.SOCK_DGRAM))
    s.settimeout(20)
    s.connect(where)
    said, refused = '', 0
    for _ in range(int(count)):
        try:
            s.send(b'hello')
            said = said if flood else answer(s)
        except ConnectionRefusedError:
            said, refused = 'ECONNREFUSED', refused + 1
    print(refused if flood else (said, error_queued(where)), flush=True)
"""


class Datagrams:
    """A sandbox that does the above, on a host of its own: how many errors a kernel sends a second is for all of it."""

    def __init__(self, nswrap, outer, *options):
        self.host = outer()
        self.running = nswrap.start(*options, *python(DATAGRAMS), stdin=-1, prefix=self.host.prefix())
        self.running.wait_event("started")

    def ask(self, *words):
        self.running.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        self.running.stdin.flush()
        return self.running.read_line()


@pytest.mark.parametrize("options", [[], ["--network", "none"], ["--root"]], ids=["outbound", "none", "root"])
def test_datagrams_that_are_refused(nswrap, outer, options):
    """As on the host's own loopback; and the socket that was refused goes on, when there is a server after all."""
    inside = Datagrams(nswrap, outer, *options, "--cidr", "10.77.0.0/24", "--cidr6", "fd77::/64",
                       "-R", "53:7000/udp", "-R", "[::1]:54:127.0.0.1:7000/udp", "-R", "*:55:[::1]:7006/udp",
                       "-R", "[::]:56:[::1]:7006/udp")
    wheres = [("127.0.0.1", 53), ("::1", 54), ("127.0.0.1", 55), ("127.0.0.9", 55), ("::1", 56)]
    if "none" not in options:
        wheres += [("10.77.0.100", 55), ("fd77::100", 56)]
    for where in wheres:
        assert inside.ask(*where) == str(("ECONNREFUSED", f"{where[1]} ECONNREFUSED")), where
    servers = [inside.host.serve(UDP_ECHO, *at, udp=True) for at in (("127.0.0.1", 7000), ("::1", 7006))]
    for where in wheres:
        assert inside.ask(*where) == str(("hello", "hello")), where
    for server in servers:
        server.kill()
        server.wait()
    os.kill(inside.running.net_pid(), signal.SIGKILL)
    inside.running.wait_line("another one takes over")
    assert inside.ask(*wheres[0]) == str(("ECONNREFUSED", "53 ECONNREFUSED"))


def test_a_flood_that_is_refused(nswrap, outer):
    """It is told of, costs nobody else the port, and ends when it ends."""
    inside = Datagrams(nswrap, outer, "-R", "53:7000/udp", "-R", "54:7001/udp")
    inside.host.serve(UDP_ECHO, "127.0.0.1", 7001, udp=True)
    assert 0 < int(inside.ask("flood", "127.0.0.1", 53, 20000)) <= 20000
    assert inside.ask("127.0.0.1", 54) == str(("hello", "hello"))
    net = inside.running.net_pid()

    def is_at_rest():
        before = proc_status(net)["voluntary_ctxt_switches"], cpu_ticks(net)
        time.sleep(0.5)
        return before == (proc_status(net)["voluntary_ctxt_switches"], cpu_ticks(net))

    wait_for(is_at_rest, "the end of the flood")


def test_the_port_is_taken_inside(nswrap, target):
    """From before COMMAND runs: it cannot listen there itself, and others than its network's cannot either."""
    program = "import socket; socket.create_server(('127.0.0.1', 5432))"
    done = nswrap.run("-R", f"5432:{target}", *python(program))
    assert b"Address already in use" in done.stderr
    assert done.returncode == 1


def test_many_connections_and_much(nswrap):
    """A burst of connections, and 32 MiB both ways at once."""
    program = """
import hashlib, socket, sys, threading
def talk(i):
    with socket.create_connection(("127.0.0.1", 5432), timeout=30) as s:
        s.sendall(b"%d" % i)
        assert s.recv(100) == b"%d" % i
threads = [threading.Thread(target=talk, args=(i,)) for i in range(200)]
[t.start() for t in threads]
[t.join() for t in threads]
s = socket.create_connection(("127.0.0.1", 5432), timeout=30)
data = bytes(range(256)) * 4096
sent = threading.Thread(target=lambda: ([s.sendall(data) for _ in range(32)], s.shutdown(socket.SHUT_WR)))
sent.start()
digest = hashlib.sha256()
while part := s.recv(1 << 16):
    digest.update(part)
print(digest.hexdigest() == hashlib.sha256(data * 32).hexdigest())
"""
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", TCP_ECHO, "127.0.0.1", str(port)]) as echo:
        try:
            wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "the echo")
            done = nswrap.run("-q", "-R", f"5432:{port}", *python(program), timeout=60)
        finally:
            echo.kill()
    assert (done.returncode, done.stdout, done.stderr) == (0, b"True\n", b"")


def test_while_it_runs(nswrap, target, tmp_path):
    """Added and removed, shown, and still there when another net process takes over."""
    path = tmp_path / "inner"
    inside = Inside(nswrap, "-n", "box", "-p", "0:80", "-R", f"6000:{target}")
    assert inside.running.wait_event("reverse")["target"] == f"localhost:{target}"
    assert inside.ask("tcp", "127.0.0.1", 6001) == "ECONNREFUSED"
    done = nswrap.run("port", "add", "box", "-R", f"6001:{target}", "--reverse", f"unix:inner:{target}", cwd=tmp_path)
    assert done.stdout.decode() == (f"127.0.0.1:6001:localhost:{target}/tcp (leads outwards)\n"
                                    f"unix:{path}:localhost:{target}/tcp (leads outwards)\n"), done.stderr
    assert inside.ask("tcp", "127.0.0.1", 6001) == "host:hello"
    assert inside.ask("unix", path) == "host:hello"
    listed = json.loads(nswrap.run("port", "list", "--json", "box").stdout)
    assert listed[1] == {"spec": f"127.0.0.1:6000:localhost:{target}/tcp", "guest": "127.0.0.1", "guest_port": 6000,
                         "proto": "tcp", "target": f"localhost:{target}"}
    assert listed[3]["path"] == str(path)
    assert f"-R 6000:localhost:{target}," in table(nswrap)
    assert [reverse["spec"] for reverse in ps(nswrap)[0]["reverses"]] == [entry["spec"] for entry in listed[1:]]
    os.kill(inside.running.net_pid(), signal.SIGKILL)
    inside.running.wait_line("another one takes over")
    for port in (6000, 6001):
        wait_for(lambda port=port: inside.ask("tcp", "127.0.0.1", port) == "host:hello", "the next net process")
    # named by the port inside, whole, or by what stands in front of the target
    assert nswrap.run("port", "remove", "box", "-R", "6001", "-R", f"unix:{path}:{target}").returncode == 0
    for front in (str(path), "unix:inner"):
        assert nswrap.run("port", "add", "box", "-R", f"{path}:{target}").returncode == 0
        done = nswrap.run("port", "remove", "box", "-R", front, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    wait_for(lambda: inside.ask("tcp", "127.0.0.1", 6001) == "ECONNREFUSED", "the net process to hear of it")
    assert not path.exists()
    assert inside.ask("tcp", "127.0.0.1", 6000) == "host:hello"


@pytest.mark.parametrize("words, said", [
    (["add", "box", "-R", "6000:1"], "127.0.0.1:6000:localhost:{target}/tcp is there already"),
    (["add", "box", "-R", "198.51.100.1:6001:1"], "198.51.100.1:6001 .*no address of the sandbox"),
    (["add", "box", "-R", "7000:1"], "127.0.0.1:7000 in the sandbox is in use"),
    (["remove", "box", "-R", "6001"], "no port 6001 leads outwards"),
    (["add", "box", "-R", "6001:"], "is no host port"),
    (["list", "box", "-R", "6001"], "list has no SPEC"),
])
def test_what_cannot_be_while_it_runs(nswrap, target, words, said):
    inside = nswrap.start("-n", "box", "-R", f"6000:{target}", "-p", "0:7000", *python(TCP_ECHO, "127.0.0.1", 7000))
    inside.guest_listening()
    done = nswrap.run("port", *words)
    assert done.returncode in (2, 125)
    assert re.search(said.replace("{target}", str(target)), done.stderr.decode()) or \
        "198.51.100.1:6001 is no address of the sandbox" in done.stderr.decode(), done.stderr
    listed = nswrap.run("port", "list", "box").stdout.decode()
    assert listed.count("leads outwards") == 1


def test_circles_while_it_runs(nswrap):
    """A port that leads back is refused, whichever of the two comes last; what only looks like one is not."""
    port, other = free_port(), free_port()
    nswrap.start("-n", "box", "-p", f"*:{port}:7000", "-R", f"7001:{other}", "sleep", "1000").wait_event("started")
    for words, said in [
            (["-R", f"7000:{port}"], f"-R 127.0.0.1:7000:localhost:{port}/tcp and -p 0.0.0.0:{port}:7000/tcp lead to one another"),
            (["-R", f"7000:127.0.0.1:{port}"], "lead to one another"),
            ([f"{other}:7001"], f"-R 127.0.0.1:7001:localhost:{other}/tcp and -p 127.0.0.1:{other}:7001/tcp lead to one another"),
            ([f"[::1]:{other}:7001"], "lead to one another")]:
        done = nswrap.run("port", "add", "box", *words)
        assert done.returncode == 125 and said in done.stderr.decode(), done.stderr
    assert len(json.loads(nswrap.run("port", "list", "--json", "box").stdout)) == 2
    # the wildcard is not that of IPv6
    done = nswrap.run("port", "add", "box", "-R", f"7000:[::1]:{port}")
    assert done.returncode == 0, done.stderr


def test_both_kinds_or_none(nswrap, target, tmp_path):
    """Forwards and ports that lead outwards in one call: all are there, or none is and nothing is left."""
    port, other, path = free_port(), free_port(), tmp_path / "inner"
    inside = Inside(nswrap, "-n", "box", "-R", f"6000:{target}")
    for words, said in [
            ([f"{port}:80", "-R", f"unix:{path}:{target}", "-R", "6000:1"], "6000.*is there already"),
            ([f"{port}:80", f"{port}:81", "-R", f"unix:{path}:{target}"], f"{port}"),
            ([f"{port}:80", f"{other}:7001", "-R", f"unix:{path}:{target}", "-R", f"7001:{other}"], "lead to one another")]:
        done = nswrap.run("port", "add", "box", *words)
        assert done.returncode == 125 and re.search(said, done.stderr.decode()), done.stderr
        assert len(json.loads(nswrap.run("port", "list", "--json", "box").stdout)) == 1
        assert not path.exists()
        with pytest.raises(ConnectionRefusedError):
            connect(port)
    done = nswrap.run("port", "add", "--json", "box", f"{port}:80", "-R", f"unix:{path}:{target}")
    assert [entry["guest_port"] for entry in json.loads(done.stdout) if "guest_port" in entry] == [80], done
    assert inside.ask("unix", path) == "host:hello"
    assert nswrap.run("port", "remove", "box", str(port), "-R", "6001").returncode == 125
    assert len(json.loads(nswrap.run("port", "list", "--json", "box").stdout)) == 3
    assert nswrap.run("port", "remove", "box", str(port), "-R", str(path)).returncode == 0
    assert len(json.loads(nswrap.run("port", "list", "--json", "box").stdout)) == 1


@pytest.mark.parametrize("options, said", [
    (["-R", "5432:1", "-R", "5432:2"], "need the same port inside"),
    (["-R", "x"], "no guest port"),
    (["-R", f"1:{'a' * 64}:2"], "a" * 64),
    (["-R", "198.51.100.1:1:2"], "198.51.100.1:1 is no address of the sandbox"),
    (["--x11"], "DISPLAY is not set"),
    (["-R", "5432:nowhere.invalid:2"], "-R 127.0.0.1:5432:nowhere.invalid:2/tcp: nowhere.invalid: "),
    (["-p", "PORT", "-R", "PORT"], "-R 127.0.0.1:PORT:localhost:PORT/tcp and -p 127.0.0.1:PORT:PORT/tcp lead to one another"),
    (["-p", "*:PORT:80", "-R", "80:127.0.0.1:PORT"], "lead to one another"),
    (["-p", "[::1]:PORT:53/udp", "-R", "53:[::1]:PORT/udp"], "lead to one another"),
    (["-p", "[::1]:PORT:PORT", "-R", "PORT"], "-R 127.0.0.1:PORT:localhost:PORT/tcp and -p [::1]:PORT:PORT/tcp lead to one another"),
])
def test_what_cannot_be(nswrap, options, said):
    nswrap.env.pop("DISPLAY", None)
    port = str(free_port())
    done = nswrap.run(*(word.replace("PORT", port) for word in options), "true")
    assert done.returncode in (2, 125)
    assert said.replace("PORT", port) in done.stderr.decode()


def test_a_name_is_looked_up(nswrap, target):
    """Such as one of /etc/hosts that is this machine's loopback."""
    lines = [line.split() for line in pathlib.Path("/etc/hosts").read_text().splitlines()]
    names = [words[-1] for words in lines if words and words[0] in ("127.0.0.1", "::1")] or ["localhost"]
    running = nswrap.start("-R", f"5432:{names[-1]}:{target}", "true")
    leads = running.wait_event("reverse")["target"]
    assert leads in (f"127.0.0.1:{target}", f"[::1]:{target}", f"localhost:{target}")
    assert running.wait() == 0


NODE = socket.gethostname()
# a host whose name is an address of its loopback, as Debian's installer writes it
OWN_NAME = f"echo '127.0.0.1 localhost\n127.0.1.1 {NODE}' >/tmp/nse.$$ && mount --bind /tmp/nse.$$ /etc/hosts && rm /tmp/nse.$$\n"


class Pointed:
    """An outer host with a server at its loopback that a variable of the environment names."""

    def __init__(self, nswrap, outer, address, port):
        self.nswrap, self.host = nswrap, outer(OWN_NAME)
        self.host.serve(TCP_ECHO, address, port)

    def run(self, variable, value, *options, client=None):
        """What is said; client: whom a program inside connects to."""
        program = "" if client is None else f"""
import socket
with socket.create_connection({client}) as s:
    s.sendall(b"hello")
    print(s.recv(100).decode())
"""
        done = self.nswrap.run(*options, "-e", f"{variable}={value}", *python(program), prefix=self.host.prefix())
        assert (done.returncode, done.stdout) == (0, b"" if client is None else b"hello\n"), done.stderr
        return done.stderr.decode()


@pytest.mark.parametrize("variable, value, client, served, told", [
    ("http_proxy", "http://user:w@rd@127.0.0.1:3128/", ("127.0.0.1", 3128), "127.0.0.1", "port 3128 of loopback"),
    ("HTTPS_PROXY", "localhost:3128", ("localhost", 3128), "127.0.0.1", "port 3128 of loopback"),
    ("all_proxy", "socks5h://[::1]:3128", ("::1", 3128), "::1", "port 3128 of loopback"),
    ("http_proxy", "http://ip6-localhost:3128/x", ("ip6-localhost", 3128), "::1", "port 3128 of loopback"),
    ("http_proxy", "http://127.0.0.9", ("127.0.0.9", 80), "127.0.0.9", "port 80 of loopback"),
    ("https_proxy", "https://127.1/", ("127.1", 443), "127.0.0.1", "port 443 of loopback"),
    ("ALL_PROXY", "socks5://localhost", ("localhost", 1080), "127.0.0.1", "port 1080 of loopback"),
    ("http_proxy", "http://0.0.0.0:3128/", ("0.0.0.0", 3128), "127.0.0.1", "port 3128 of loopback"),
    ("http_proxy", "http://[::]:3128/", ("::", 3128), "::1", "port 3128 of loopback"),
    ("http_proxy", f"http://{NODE}:3128", (NODE, 3128), "127.0.1.1", "port 3128 of this machine"),
])
def test_variables_that_lead_nowhere_are_told(nswrap, outer, variable, value, client, served, told):
    """Who does as is advised reaches what the variable names, and is told nothing more."""
    pointed = Pointed(nswrap, outer, served, client[1])
    [advice] = re.findall(f"{variable} names {told}, .* inside: (-R [^ ]+) leads", pointed.run(variable, value))
    assert variable not in pointed.run(variable, value, *advice.split(), client=client)


def test_ports_in_both_directions(nswrap, target):
    """A port that is led in and one that leads out, of one number: no circle, where the target is another."""
    port = free_port()
    done = nswrap.run("-p", port, "-R", f"{port}:{target}", *python(CLIENT), input=f"tcp 127.0.0.1 {port}\n".encode())
    assert (done.returncode, done.stdout) == (0, b"host:hello\n"), done.stderr


def test_rules_that_do_not_lead_there(nswrap):
    """Another protocol, another address; nor is a proxy elsewhere worth a word."""
    for value, rule in (("127.0.0.1:3128", "3128/udp"), ("127.0.0.1:3128", "127.0.0.9:3128:3128"), ("[::1]:3128", "3128")):
        assert b"http_proxy names port 3128" in nswrap.run("-R", rule, "-e", f"http_proxy={value}", "true").stderr
    for value, options in (("proxy.example.com:3128", []), ("127.0.0.9:3128", ["-R", "0.0.0.0:3128:3128"])):
        assert b"http_proxy" not in nswrap.run(*options, "-e", f"http_proxy={value}", "true").stderr


@pytest.mark.parametrize("display, client, served", [
    ("localhost:10.0", ("localhost", 6010), "127.0.0.1"),
    ("[::1]:78", ("::1", 6078), "::1"),
    ("::1:78", ("::1", 6078), "::1"),
    (f"{NODE}:11.0", (NODE, 6011), "127.0.1.1"),
])
def test_the_display_of_ssh(nswrap, outer, display, client, served):
    """Who would be at DISPLAY is reached, as by ssh -X."""
    pointed = Pointed(nswrap, outer, served, client[1])
    assert re.search("DISPLAY names a port of .*: --x11 leads", pointed.run("DISPLAY", display))
    assert "DISPLAY" not in pointed.run("DISPLAY", display, "--x11", client=client)


def test_the_cookie_of_ssh(nswrap, tmp_path):
    """libX11's own client shows the server of DISPLAY the cookie that sshd has put down for it, and no other."""
    client = "import ctypes; ctypes.CDLL('libxcb.so.1').xcb_connect(None, None)"
    nswrap.env["XAUTHORITY"] = str(tmp_path / "xauthority")
    cookie = os.urandom(16)
    port = free_port()
    display = port - 6000
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(30 * PATIENCE)
        for number, secret in ((display, cookie), (display + 1, os.urandom(16))):
            subprocess.run(["xauth", "-f", nswrap.env["XAUTHORITY"], "add", f"{NODE}/unix:{number}", ".", secret.hex()],
                           check=True, capture_output=True)
        running = nswrap.start("--x11", "-e", f"DISPLAY=localhost:{display}.0", *python(client))
        with server.accept()[0] as connection, connection.makefile("rb") as stream:
            order, major, minor, name_len, data_len = struct.unpack("<c1xHHHH2x", stream.read(12))
            assert (order, major, minor, name_len, data_len) == (b"l", 11, 0, 18, 16)
            assert stream.read(20) == b"MIT-MAGIC-COOKIE-1\0\0"
            assert stream.read(16) == cookie
            connection.sendall(struct.pack("<BBHHH", 0, 0, 11, 0, 0))  # refused, without a reason
        assert running.wait() == 0


def test_a_display_with_a_socket_file(nswrap):
    """It needs nothing."""
    for options in ([], ["--x11"]):
        done = nswrap.run(*options, "-e", "DISPLAY=:0", "true")
        assert (done.returncode, b"leads to" in done.stderr, b"DISPLAY" in done.stderr) == (0, False, False)


def test_only_what_a_rule_names_is_dialled(nswrap, target, tmp_path):
    """The net process, should it be another's, has the supervisor dial the paths of rules and no others."""
    running = nswrap.start("-R", f"5434:unix:{tmp_path}/none", "-R", f"5432:{target}", *python("input()"), stdin=-1)
    running.wait_event("started")
    assert str(tmp_path) not in " ".join(open_fds(running.pid).values())
    running.stdin.close()
    running.wait()


def test_in_a_manifest(nswrap, target, tmp_path):
    """A database on the loopback of that machine, for the command of its sandbox."""
    server = """
import http.server, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with socket.create_connection(("127.0.0.1", 5432)) as s:
            s.sendall(b"select")
            body = s.recv(100)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
    port, guest = free_port(), free_port()
    site = Site(nswrap, tmp_path, "reverse", env={"XDG_STATE_HOME": str(tmp_path)})
    site.host("laptop", f"{network()}.101")
    vip = f"{network()}.102"
    site.host("lab", vip, cmd=[str(BINARY)], ports=[f"{port}:127.0.0.1:{guest}"],
              sandbox={"command": python(server, guest), "guestPort": guest, "reverse": [f"5432:{target}"]})
    with site:
        site.wait_state("lab")

        def get():
            with contextlib.suppress(OSError):
                return http_get(port, host=vip)
            return None

        assert "host:select" in str(wait_for(get, "the server"))
