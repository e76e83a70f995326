# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_socks - the SOCKS proxy of a host: real clients, who may use it, how many at once"""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest

from harness import (BINARY, HTTP, PATIENCE, TCP_COUNT, TCP_ECHO, UDP_ECHO, describe, free_port, is_refused,
                     open_fds, other_user, python, wait_for)
from mesh_tools import Box, Site, network, sshd

TREE = pathlib.Path(__file__).parents[2]
PASSWORD = "s3cret: with blanks"

# stdin and stdout through a SOCKS 5 proxy, as nc -X 5; argv: proxy-port host port
THROUGH = """
import os, socket, struct, sys, threading
proxy, host, port = int(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3])
s = socket.create_connection(('127.0.0.1', proxy))
s.sendall(b'\\5\\1\\0' + b'\\5\\1\\0\\3' + bytes([len(host)]) + host + struct.pack('!H', port))
reply = b''
while len(reply) < 12:
    reply += s.recv(12 - len(reply))
assert reply[:4] == b'\\5\\0\\5\\0', reply
def send():
    while data := os.read(0, 65536):
        s.sendall(data)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
while data := s.recv(65536):
    os.write(1, data)
"""

# argv[2] connections to argv[3]:argv[4] through a SOCKS 5 proxy, all open at once, each with bytes of
# its own; prints how many came back whole
CROWD = """
import asyncio, os, socket, struct, sys
proxy, n, host, port = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
async def one(gate, i):
    reader, writer = await asyncio.open_connection('127.0.0.1', proxy)
    writer.write(b'\\5\\1\\0\\5\\1\\0\\1' + socket.inet_aton(host) + struct.pack('!H', port) + b'%d' % i)
    assert (await reader.readexactly(12))[:4] == b'\\5\\0\\5\\0'
    assert await reader.readexactly(len(str(i))) == b'%d' % i
    await gate.wait()  # all of them are through
    data = os.urandom(5000 + i)
    writer.write(data)
    writer.write_eof()
    back = await reader.read(-1)
    writer.close()
    return back == data
async def main():
    gate = asyncio.Barrier(n)
    print(sum(await asyncio.gather(*[one(gate, i) for i in range(n)])))
asyncio.run(main())
"""


# the same answer at whatever address, IPv6 too; argv: address port
HTTP6 = HTTP.replace("import", "import socket\nimport", 1).replace(
    "http.server.ThreadingHTTPServer((", "type('', (http.server.ThreadingHTTPServer,), {'address_family': socket.AF_INET6})((")


class Servers:
    """Programs of this machine, outside of the mesh."""

    def __init__(self):
        self.popens = []

    def start(self, program, address="127.0.0.1", udp=False):
        port = free_port()
        popen = subprocess.Popen([*python(program, address, port)], stdin=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        self.popens.append(popen)
        if udp:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(0.1)
                s.connect((address, port))
                wait_for(lambda: answers_datagram(s), f"a server at {port}")
        else:
            wait_for(lambda: not is_refused(port, address), f"a server at {port}")
        return port

    def close(self):
        for popen in self.popens:
            popen.terminate()
            popen.wait()


def answers_datagram(s):
    with contextlib.suppress(OSError):
        s.send(b"there?")
        return s.recv(100)
    return None


@pytest.fixture
def servers():
    found = Servers()
    yield found
    found.close()


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    return path


class Mesh(Site):
    """`here` has the proxy; `web` offers ports; both are on this machine."""

    def __init__(self, nswrap, directory, ports=(), here=None, **socks):
        super().__init__(nswrap, directory)
        self.port = free_port()
        self.vip = f"{network()}.102"
        self.socks = {"listen": f"127.0.0.1:{self.port}", **socks}
        self.host("here", f"{network()}.101", here, socks=self.socks, loopback={"disable": True})
        self.host("web", self.vip, ports=list(ports), aliases=["www.example"], loopback={"disable": True})

    def connect(self, timeout=20):
        return socket.create_connection(("127.0.0.1", self.port), timeout * PATIENCE)

    def ask(self, host, port, command=1, version=5):
        """(the socket, what came of it)."""
        s = self.connect()
        if version == 5:
            s.sendall(b"\5\1\0")
            assert s.recv(2) == b"\5\0"
            s.sendall(b"\5%c\0\3%c%s%s" % (command, len(host), host.encode(), port.to_bytes(2, "big")))
            reply = s.recv(300)
            return s, reply[1]
        s.sendall(b"\4%c%s\0\0\0\1\0%s\0" % (command, port.to_bytes(2, "big"), host.encode()))
        return s, s.recv(8)[1]


def curl(*args, **options):
    return subprocess.run(["curl", "-q", "-sS", "--max-time", str(int(20 * PATIENCE)), *map(str, args)],
                          capture_output=True, env={"PATH": os.environ["PATH"]}, **options)


def body(*args):
    done = curl(*args)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.agents
def test_curl(nswrap, tmp_path, servers):
    """Every kind of SOCKS that it knows, to names and addresses of the mesh and of this host."""
    port, port6 = servers.start(HTTP), servers.start(HTTP6, "::1")
    with Mesh(nswrap, tmp_path, [f"8080:127.0.0.1:{port}"]) as mesh:
        at = f"127.0.0.1:{mesh.port}"
        direct = body(f"http://127.0.0.1:{port}/x")
        for kind in ("--socks4a", "--socks5-hostname"):
            for host in ("web", "WEB.", "www.example", mesh.vip):
                assert body(kind, at, f"http://{host}:8080/x") == direct
        for kind in ("--socks4", "--socks4a", "--socks5", "--socks5-hostname"):
            assert body(kind, at, f"http://{mesh.vip}:8080/x") == direct
            assert body(kind, at, f"http://127.0.0.1:{port}/x") == direct
        for kind in ("--socks5", "--socks5-hostname"):
            assert body(kind, at, f"http://[::1]:{port6}/x") == body(f"http://[::1]:{port6}/x")
        assert body("-x", f"socks5h://{at}", f"http://localhost:{port}/x") == direct
        # a refusal looks like one, wherever it comes from
        for host, closed in (("web", 8081), ("127.0.0.1", free_port())):
            done = curl("--socks5-hostname", at, f"http://{host}:{closed}/")
            assert done.returncode == 97 and b"(5)" in done.stderr, done.stderr
        done = curl("--socks5-hostname", at, "http://no.such.name.invalid/")
        assert done.returncode == 97 and b"(4)" in done.stderr, done.stderr
        # who takes it for another kind of proxy reads what it is
        assert b"this is a SOCKS proxy" in body("-x", f"http://{at}", "http://web:8080/")
        assert "socks" in mesh.status()["here"]["features"]


@pytest.mark.agents(thorough=True)
def test_ends_and_early_bytes(nswrap, tmp_path, servers):
    """Half-closed both ways; what is sent with the request is not lost."""
    count, echo = servers.start(TCP_COUNT), servers.start(TCP_ECHO)
    with Mesh(nswrap, tmp_path, [f"81:127.0.0.1:{count}", f"82:127.0.0.1:{echo}"]) as mesh:
        for host, port in (("web", 81), ("127.0.0.1", count)):
            with mesh.connect() as s:
                ask = b"\5\1\0\5\1\0\3%c%s%s" % (len(host), host.encode(), port.to_bytes(2, "big"))
                for at in range(len(ask)):
                    s.sendall(ask[at:at + 1])
                s.sendall(b"all that there is")
                s.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: s.recv(1000), b""))
                assert answer[:4] == b"\5\0\5\0" and answer[12:].startswith(b"17 "), answer
        data = os.urandom(3 << 20)
        done = subprocess.run([*python(THROUGH, mesh.port, "web", 82)], input=data, capture_output=True)
        assert done.stdout == data, done.stderr
        for version, code in ((5, 7), (4, 0x5b)):  # BIND
            s, reply = mesh.ask("127.0.0.1", echo, 2, version)
            with s:
                assert reply == code and s.recv(1) == b""


@pytest.mark.agents
def test_datagrams(nswrap, tmp_path, servers):
    """UDP ASSOCIATE: names and addresses of the mesh and of this host; it ends with the connection."""
    port = servers.start(UDP_ECHO, udp=True)
    with Mesh(nswrap, tmp_path, [f"83:127.0.0.1:{port}/udp"]) as mesh:
        with mesh.connect() as s, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            s.sendall(b"\5\1\0\5\3\0\1" + bytes(6))
            reply = b""
            while len(reply) < 12:
                reply += s.recv(12 - len(reply))
            assert reply[:10] == b"\5\0\5\0\0\1\x7f\0\0\1"
            mine.connect(("127.0.0.1", int.from_bytes(reply[10:], "big")))
            mine.settimeout(20 * PATIENCE)

            def ask(host, at, data):
                mine.send(b"\0\0\0\3" + bytes([len(host)]) + host.encode() + at.to_bytes(2, "big") + data)
                answer = mine.recv(70000)
                assert answer[:4] == b"\0\0\0\1"
                return socket.inet_ntoa(answer[4:8]), int.from_bytes(answer[8:10], "big"), answer[10:].split(b" ", 2)[2]

            for host in ("web", "WWW.example.", mesh.vip):
                assert ask(host, 83, b"into the mesh") == (mesh.vip, 83, b"into the mesh")
            for host in ("localhost", "127.0.0.1"):
                data = os.urandom(30000)
                assert ask(host, port, data) == ("127.0.0.1", port, data)
            s.shutdown(socket.SHUT_WR)
            assert s.recv(1) == b""

            def hears_a_refusal():  # by ICMP
                try:
                    mine.send(b"?")
                    return False
                except ConnectionRefusedError:
                    return True

            wait_for(hears_a_refusal, "the end of the socket")


@pytest.mark.agents(thorough=True)
def test_user_and_password(nswrap, tmp_path, servers, secret):
    port = servers.start(HTTP)
    with Mesh(nswrap, tmp_path, [f"8080:127.0.0.1:{port}"],
              auth={"user": "ann", "passwordFile": "password"}) as mesh:  # where the manifest is
        at, url = f"127.0.0.1:{mesh.port}", "http://web:8080/x"
        right = ["--proxy-user", f"ann:{PASSWORD}"]
        assert body("--socks5-hostname", at, *right, url) == body(f"http://127.0.0.1:{port}/x")
        for words in ([], ["--proxy-user", "ann:wrong"], ["--proxy-user", f"bob:{PASSWORD}"]):
            assert curl("--socks5-hostname", at, *words, url).returncode == 97
        assert curl("--socks4a", at, *right, url).returncode == 97
        mesh.running.wait_line(r"here: .*refused a connection of 127\.0\.0\.1 to the SOCKS proxy")
        # the password is where it is needed, and nowhere to be seen
        shown = nswrap.run("mesh", "status", "--json", mesh.name).stdout.decode()
        lines = [describe(pid) for pid in mesh.running.tree()]
        for text in (shown, mesh.running.stderr.text(), *lines):
            assert "s3cret" not in text
        # another one is followed, also by those who are connected already
        secret.write_text("another")
        assert nswrap.run("mesh", "reload", mesh.name).returncode == 0
        wait_for(lambda: curl("--socks5-hostname", at, *right, url).returncode == 97, "the new password")
        assert body("--socks5-hostname", at, "--proxy-user", "ann:another", url)
        secret.chmod(0o640)
        done = nswrap.run("mesh", "reload", mesh.name)
        assert done.returncode != 0 and b"0640" in done.stderr
        assert body("--socks5-hostname", at, "--proxy-user", "ann:another", url)


def test_only_the_user(nswrap, tmp_path, servers):
    port = servers.start(HTTP)
    with Mesh(nswrap, tmp_path, onlyUser=True) as mesh:
        ask = ["curl", "-q", "-sS", "--socks5", f"127.0.0.1:{mesh.port}", f"http://127.0.0.1:{port}/x"]
        assert subprocess.run(ask, capture_output=True).returncode == 0
        other = subprocess.run([*other_user(), *ask], capture_output=True)
        assert other.returncode in (7, 97), other.stderr  # a reset, sooner or later
        mesh.running.wait_line(r"refused a connection of user \d+ to the SOCKS proxy")


def test_manifests_that_are_refused(nswrap, tmp_path, secret):
    """One line with its place, exit 2, nothing started; none of them shows what is in a file."""
    cases = {
        "{listen: ':18081'}": ":1:48: host a: socks.listen: \":18081\" is open to other machines",
        "{listen: '192.0.2.1'}": ":1:48: host a: socks.listen: \"192.0.2.1\" is open to other machines",
        "{listen: '[::]:1', onlyUser: false}": "is open to other machines",
        "{auth: {user: u}}": ": host a: socks.auth has no passwordFile",
        "{auth: {user: 'a:b', passwordFile: password}}": "socks.auth.user is \"a:b\"",
        "{auth: {user: u, passwordFile: nowhere}}": "socks.auth.passwordFile: \"nowhere\" cannot be read: No such file",
        "{auth: {user: u, passwordFile: .}}": "is no file",
    }
    path = tmp_path / "m.yaml"
    for text, words in cases.items():
        path.write_text("hosts: {a: {vip: 127.0.42.101, socks: %s}}\n" % text)
        for options in (["--check"], []):
            done = nswrap.run("mesh", *options, path)
            lines = done.stderr.decode().splitlines()
            assert done.returncode == 2 and done.stdout == b"", done
            assert len(lines) == 1 and words in lines[0], lines
    path.write_text("hosts: {a: {vip: 127.0.42.101, socks: {listen: ':1', "
                    "auth: {user: u, passwordFile: password}}}}\n")
    for mode in (0o600, 0o400, 0o644, 0o606):
        secret.chmod(mode)
        done = nswrap.run("mesh", "--check", path)
        assert done.returncode == (2 if mode & 0o077 else 0)
        assert PASSWORD.encode() not in done.stderr and (not mode & 0o077) == (done.stderr == b"")
    for fine in ("{listen: ':18081', open: true}", "{listen: ':18081', onlyUser: true}",
                 "{listen: 'LOCALHOST:1'}", "{listen: '127.9.9.9'}", "{listen: '[::1]'}"):
        path.write_text("hosts: {a: {vip: 127.0.42.101, socks: %s}}\n" % fine)
        done = nswrap.run("mesh", "--check", path)
        assert done.returncode == 0 and done.stderr == b"", done


def test_no_proxy_without_its_guard(nswrap, tmp_path, secret):
    """An agent that cannot ask for passwords is not told where to listen, not even at first."""
    log = tmp_path / "log"
    fake = [sys.executable, str(TREE / "tests/e2e/fake_agent.py"), "--log", str(log)]
    site = Site(nswrap, tmp_path)
    site.host("old", f"{network()}.101", fake, restart="never", socks={
        "listen": "127.0.0.1:1", "auth": {"user": "u", "passwordFile": str(secret)}})
    site.path.write_text(json.dumps({"hosts": site.hosts}))
    done = nswrap.popen("mesh", site.path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                        stderr=subprocess.PIPE)
    for line in done.stderr:
        if b"does not support proxy.access, which the manifest asks for" in line:
            break
    else:
        raise AssertionError("it was not refused")
    done.terminate()
    done.communicate(timeout=20 * PATIENCE)
    assert "127.0.0.1:1" not in log.read_text() and "s3cret" not in log.read_text()
    assert '"configure"' in log.read_text()


@pytest.mark.agents(thorough=True)
def test_reload(nswrap, tmp_path, servers):
    """The proxy moves, goes and comes; connections stay. A port that is taken is missing, no more."""
    echo = servers.start(TCP_ECHO)
    with Mesh(nswrap, tmp_path, [f"82:127.0.0.1:{echo}"]) as mesh:
        s, code = mesh.ask("web", 82)
        assert code == 0

        def follow(**socks):
            mesh.hosts["here"]["socks"] = socks
            mesh.path.write_text(json.dumps({"hosts": mesh.hosts}))
            assert nswrap.run("mesh", "reload", mesh.name).returncode == 0

        def works():
            s.sendall(b"still there")
            return s.recv(100) == b"still there"

        other = free_port()
        follow(listen=f"127.0.0.1:{other}")
        wait_for(lambda: is_refused(mesh.port) and not is_refused(other), "the proxy to move")
        assert works()
        follow(listen="")
        wait_for(lambda: is_refused(other), "the proxy to go")
        assert works()
        with socket.create_server(("127.0.0.1", mesh.port)):
            follow(listen=f"127.0.0.1:{mesh.port}")
            missing = wait_for(lambda: mesh.status()["here"]["missing"], "the port to be missed")
            assert (missing[0]["ip"], missing[0]["port"]) == ("127.0.0.1", mesh.port)
            assert "is in use by" in missing[0]["why"]
            assert mesh.status()["here"]["state"] == "ready" and works()
        wait_for(lambda: not mesh.status()["here"]["missing"], "the port to be there", 20)
        assert mesh.ask("web", 82)[1] == 0 and works()
        s.close()


@pytest.mark.agents(thorough=True)
def test_in_a_sandbox(nswrap, short_dir, servers):
    """The proxy listens inside, and nowhere else; what is reached is what the sandbox reaches."""
    port = servers.start(HTTP)
    box = Box(nswrap, "box")
    mesh = Mesh(nswrap, short_dir, [f"8080:127.0.0.1:{port}"], box.agent())
    with mesh:
        assert is_refused(mesh.port)
        at = f"127.0.0.1:{mesh.port}"
        ask = ["curl", "-q", "-sS", "--socks5-hostname", at]
        assert box.do(*ask, "http://web:8080/x") == body(f"http://127.0.0.1:{port}/x")
        outside = box.run(*ask, "http://192.0.2.1/")  # --network none
        assert outside.returncode == 97 and b"(3)" in outside.stderr, outside.stderr
    box.running.stop()


@pytest.mark.agents(thorough=True)
@pytest.mark.limit(120)
def test_a_thousand_at_once(nswrap, tmp_path, servers):
    echo = servers.start(TCP_ECHO)
    with Mesh(nswrap, tmp_path) as mesh:
        done = subprocess.run([*python(CROWD, mesh.port, 1000, "127.0.0.1", echo)], capture_output=True,
                              timeout=100 * PATIENCE)
        assert done.stdout == b"1000\n", done.stderr


@pytest.mark.agents(thorough=True)
def test_few_descriptors_slow_it_down(nswrap, tmp_path, servers):
    """Clients beyond what there is wait in the kernel; nobody is refused, nothing is lost."""
    echo = servers.start(TCP_ECHO)
    with Mesh(nswrap, tmp_path, here=["prlimit", "--nofile=256:256", BINARY]) as mesh:
        idle = [mesh.connect() for _ in range(150)]
        late = mesh.connect(60)
        late.sendall(b"\5\1\0\5\1\0\1\x7f\0\0\1" + echo.to_bytes(2, "big") + b"hello")
        late.settimeout(0.5)
        with pytest.raises(TimeoutError):
            late.recv(1)
        for s in idle:
            s.close()
        late.settimeout(20 * PATIENCE)
        answer = b""
        while len(answer) < 17:
            answer += late.recv(100)
        assert answer[:4] == b"\5\0\5\0" and answer[12:] == b"hello"
        late.close()


@pytest.mark.agents(thorough=True)
def test_openssh(nswrap, tmp_path, short_dir):
    """By name, through ProxyCommand."""
    with sshd(short_dir) as server:
        with Mesh(nswrap, tmp_path, [f"22:127.0.0.1:{server.port}"]) as mesh:
            script = pathlib.Path(short_dir, "through.py")
            script.write_text(THROUGH)
            command = f"ProxyCommand={sys.executable} {script} {mesh.port} web 22"
            done = subprocess.run([server.bin / "ssh", "-o", command, "web", "echo", "at", "$((6*7))"],
                                  capture_output=True, timeout=30 * PATIENCE)
            assert done.stdout == b"at 42\n", done.stderr


def test_hostile_clients(nswrap, tmp_path, servers):
    """Whatever is said, somebody else is served afterwards."""
    echo = servers.start(TCP_ECHO)
    with Mesh(nswrap, tmp_path) as mesh:
        whole = b"\5\2\0\2\5\1\0\3\x09127.0.0.1" + echo.to_bytes(2, "big")
        for at in range(len(whole)):  # a reset at every byte
            with mesh.connect() as s:
                s.sendall(whole[:at])
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        for nonsense in (b"\0" * 5000, b"\xff" * 5000, b"\5\xff" + b"\7" * 255 + b"\xff" * 900,
                         b"\4\1\0P\0\0\0\1" + b"a" * 5000, b"\5\1\0\5\1\0\3\0\0\0",
                         os.urandom(3000)):
            with mesh.connect() as s, contextlib.suppress(OSError):
                s.sendall(nonsense)
                while s.recv(1000):
                    pass
        with mesh.ask("127.0.0.1", echo)[0] as s:
            s.sendall(b"hello")
            assert s.recv(5) == b"hello"
        agent = next(p for p in mesh.running.tree() if re.search("agent", describe(p)))
        wait_for(lambda: len(open_fds(agent)) < 60, "descriptors to be closed")
