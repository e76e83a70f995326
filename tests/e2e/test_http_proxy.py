# SPDX-License-Identifier: Apache-2.0
"""e2e/test_http_proxy - the HTTP proxy of an agent, with the programs that people use, and hostile ones"""

import contextlib
import hashlib
import http.server
import os
import pathlib
import re
import select
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

import pytest

from harness import PATIENCE, Lines, Nswrap, free_port, python, remove_tree
from mesh_tools import Box, Site, network
from standin import PIPES, Link
from tools import THOROUGH

LOCAL = "127.0.0.1"
CLIENTS = 1000
# a variable of the environment would lead somewhere else
CLEAN = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}


class Handler(http.server.BaseHTTPRequestHandler):
    """Says what it was asked."""

    protocol_version = "HTTP/1.1"

    def body(self):
        if self.headers["Transfer-Encoding"] == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            while (line := self.rfile.readline()) != b"\r\n":
                data += b"[" + line.strip() + b"]"
            return data
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def do_GET(self):
        body = self.body()
        self.server.seen.append((self.command, self.path, self.headers, body, self.client_address))
        if self.path.startswith("/file/"):
            path = pathlib.Path(self.server.files, self.path[6:].split("?")[0])
            if not path.is_file():
                self.send_error(404)
                return
            answer = path.read_bytes()
        elif self.path.startswith("/status/"):
            self.send_response(int(self.path[8:]))
            self.end_headers()
            return
        elif self.path == "/chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for size in (1, 5000, 70000):
                self.wfile.write(b"%x;some=thing\r\n%s\r\n" % (size, b"c" * size))
            self.wfile.write(b"0\r\nX-Sum: 75001\r\n\r\n")
            return
        else:
            answer = f"{self.command} {self.path} ".encode() + body
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_PROPFIND = do_BREW = do_GET

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True

    def handle_error(self, *_):
        pass

    def __enter__(self):
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.thread.join()
        self.server_close()


@contextlib.contextmanager
def serving(files=None, tls=None, address=LOCAL):
    server = Server((address, free_port()), Handler)
    server.seen, server.files, server.port = [], files, server.server_address[1]
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with server:
        yield server


class Proxy(Link):
    """An agent with nothing but a proxy, and the manager's end of its stdio."""

    def __init__(self, nswrap):
        err_read, err_write = os.pipe()
        super().__init__(nswrap.popen("agent", "--automated", stderr=err_write, **PIPES))
        os.close(err_write)
        self.stderr = Lines(err_read)
        self.port = free_port()
        self.configure("127.0.42.101", http={"listen": f"{LOCAL}:{self.port}"})
        self.url = f"http://{LOCAL}:{self.port}"

    def connect(self, *requests):
        s = socket.create_connection((LOCAL, self.port), timeout=20 * PATIENCE)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in requests:
            s.sendall(request)
        return s

    def tunnel(self, port):
        s = self.connect(b"CONNECT %s:%d HTTP/1.1\r\nHost: x\r\n\r\n" % (LOCAL.encode(), port))
        assert read_head(s).startswith("HTTP/1.1 200 Connection established\r\n")
        return s


@pytest.fixture(scope="module")
def proxy():
    directory = tempfile.mkdtemp(prefix="nse.", dir="/tmp")
    nswrap = Nswrap(directory)
    proxy = Proxy(nswrap)
    yield proxy
    assert proxy.popen.poll() is None, proxy.stderr.text()
    proxy.hang_up()
    nswrap.close()
    remove_tree(directory)


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def certificate():
    with tempfile.TemporaryDirectory() as directory:
        pem = pathlib.Path(directory, "pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", pem, "-out", pem.with_suffix(".crt")], check=True, capture_output=True)
        pem.write_text(pem.read_text() + pem.with_suffix(".crt").read_text())
        yield pem


def run(*args, **env):
    """A program's stdout; it must succeed."""
    done = subprocess.run(list(map(str, args)), env={**CLEAN, **env}, capture_output=True,
                          timeout=40 * PATIENCE, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout.decode()


def curl(proxy, *args):
    return run("curl", "-sS", "-x", proxy.url, *args)


def read_head(s):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = s.recv(1)
        assert byte, head
        head += byte
    return head.decode()


def read_exactly(s, n):
    data = b""
    while len(data) < n:
        part = s.recv(n - len(data))
        assert part, data
        data += part
    return data


# --- curl -----------------------------------------------------------------------------------------


def test_curl(proxy, server):
    url = f"http://{LOCAL}:{server.port}"
    assert curl(proxy, f"{url}/a?b=c", "-H", "Connection: x-hop", "-H", "X-Hop: 1",
                "-H", "Host: other") == "GET /a?b=c "
    _, _, headers, _, _ = server.seen[0]
    assert headers["Host"] == f"{LOCAL}:{server.port}"
    assert headers["Via"] == "1.1 nswrap"
    assert not [name for name in headers if name.lower() in ("proxy-connection", "x-hop", "connection")]
    assert curl(proxy, url, "-d", "data") == "POST / data"
    assert curl(proxy, url, "-X", "BREW") == "BREW / "
    assert curl(proxy, url, "-X", "OPTIONS", "--request-target", url) == "OPTIONS * "
    assert curl(proxy, "-0", f"{url}/old") == "GET /old "
    assert curl(proxy, url, "-H", "Expect: 100-continue", "-d", "data") == "POST / data"
    assert "Content-Length: 7" in curl(proxy, "-I", url)
    for status in (204, 304):
        out = curl(proxy, "-D", "-", f"{url}/status/{status}", f"{url}/next", "-o", "/dev/stdout")
        assert re.match(f"HTTP/1.1 {status} .*GET /next $", out, re.S), out
    out = curl(proxy, "-D", "-", f"{url}/chunks")
    assert "Via: 1.1 nswrap" in out and out.endswith("c" * 75001 + "X-Sum:75001\r\n")
    assert curl(proxy, "-0", f"{url}/chunks") == "c" * 75001


def test_uploads_and_downloads_are_whole(proxy, server, tmp_path):
    data = os.urandom(20_000_000)
    (tmp_path / "large").write_bytes(data)
    url = f"http://{LOCAL}:{server.port}"
    curl(proxy, f"{url}/file/large", "-o", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == data
    for options in (["-T", tmp_path / "large"],
                    ["-T", tmp_path / "large", "-H", "Transfer-Encoding: chunked"],
                    ["--data-binary", f"@{tmp_path}/large", "-H", "Expect:"]):
        del server.seen[:]
        curl(proxy, *options, f"{url}/up", "-o", "/dev/null")
        assert server.seen[0][3] == data, options


def test_connections_are_kept(proxy, server):
    url = f"http://{LOCAL}:{server.port}"
    err = subprocess.run(["curl", "-sv", "-x", proxy.url, f"{url}/1", f"{url}/2", f"{url}/3"],
                         env=CLEAN, capture_output=True).stderr.decode()
    assert err.count("Connected to") == 1 and err.count("Re-using existing connection") == 2
    assert len({address for *_, address in server.seen}) == 1


def test_https(proxy, certificate, tmp_path):
    with serving(tmp_path, tls=certificate) as server:
        url = f"https://{LOCAL}:{server.port}"
        trust = ("--cacert", certificate.with_suffix(".crt"))
        assert curl(proxy, *trust, f"{url}/a", "-d", "x") == "POST /a x"
        assert "via" not in str(server.seen[0][2]).lower()
        assert run("wget", "-qO-", f"--ca-certificate={trust[1]}", f"{url}/b",
                   https_proxy=proxy.url) == "GET /b "


def test_proxytunnel(proxy, server):
    url = f"http://{LOCAL}:{server.port}"
    assert curl(proxy, "--proxytunnel", f"{url}/a", "-u", "me:secret") == "GET /a "
    assert server.seen[0][2]["Authorization"] == "Basic bWU6c2VjcmV0"
    assert curl(proxy, f"{url}/a", "-u", "me:secret") == "GET /a "
    assert server.seen[1][2]["Authorization"] == "Basic bWU6c2VjcmV0"


def test_what_failed_is_readable(proxy, server):
    """One line, in the body and, as curl does not show a body after CONNECT, in a field."""
    closed, silent = free_port(), socket.create_server((LOCAL, 0))
    cases = [(f"http://{LOCAL}:{closed}/", "502", f"{LOCAL}:{closed}: cannot connect: Connection refused"),
             ("http://[::1]:1/", "502", "[::1]:1: cannot connect: "),
             (f"http://u:p@{LOCAL}/", None, None),
             ("ftp://a/", "400", "expected http://")]
    with silent:
        for url, status, words in cases:
            for tunnel in (["--proxytunnel"], []) if words and url.startswith("http:") else ([],):
                done = subprocess.run(["curl", "-sv", *tunnel, "-x", proxy.url, url], env=CLEAN,
                                      capture_output=True, timeout=30)
                if words:
                    assert f"HTTP/1.1 {status} " in done.stderr.decode(), done.stderr
                    assert words in done.stderr.decode(), done.stderr
                    if not tunnel:
                        assert re.fullmatch(r"nswrap: .*\n", done.stdout.decode()), done.stdout
                        assert words in done.stdout.decode()
    out = run("curl", "-sS", "--noproxy", "*", "-i", f"{proxy.url}/")
    assert "HTTP/1.1 400" in out and "this is a proxy" in out


def test_wget(proxy, server):
    url = f"http://{LOCAL}:{server.port}"
    assert run("wget", "-qO-", f"{url}/a", f"{url}/b", http_proxy=proxy.url) == "GET /a GET /b "
    assert len({address for *_, address in server.seen}) == 1


def test_git(proxy, certificate, tmp_path):
    """Through http and, by CONNECT, https."""
    repo = tmp_path / "repo"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", repo]
    run("git", "init", "-q", repo)
    (repo / "file").write_text("content" * 10000)
    for command in (["add", "."], ["commit", "-qm", "first"], ["update-server-info"]):
        run(*git, *command)

    for tls in (None, certificate):
        with serving(repo, tls=tls) as server:
            where = tmp_path / f"clone-{bool(tls)}"
            # a server of plain files: no smart protocol
            scheme = "https" if tls else "http"
            run("git", "-c", f"http.proxy={proxy.url}", "-c", "http.sslVerify=false", "clone", "-q",
                f"{scheme}://{LOCAL}:{server.port}/file/.git", where, HOME=str(tmp_path))
            assert (where / "file").read_text() == "content" * 10000
            assert server.seen


def test_pip(proxy, tmp_path):
    """Installs from an index of the test."""
    name = "something-1.0-py3-none-any.whl"
    with zipfile.ZipFile(tmp_path / name, "w") as wheel:
        wheel.writestr("something.py", "word = 'installed'\n")
        wheel.writestr("something-1.0.dist-info/METADATA",
                       "Metadata-Version: 2.1\nName: something\nVersion: 1.0\n")
        wheel.writestr("something-1.0.dist-info/WHEEL",
                       "Wheel-Version: 1.0\nGenerator: a\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("something-1.0.dist-info/RECORD", "")
    (tmp_path / "index").write_text(f"<a href='/file/{name}'>{name}</a>")
    with serving(tmp_path) as server:
        class Index(Handler):
            def do_GET(self):
                if self.path == "/simple/something/":
                    answer = (tmp_path / "index").read_bytes()
                    self.server.seen.append(self.headers)
                    self.send_response(200)
                    self.send_header("Content-Type", "text/html")
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                else:
                    super().do_GET()

        server.RequestHandlerClass = Index
        run(sys.executable, "-m", "pip", "install", "-q", "--target", tmp_path / "here", "--no-deps",
            "--no-cache-dir", "--disable-pip-version-check", "--trusted-host", LOCAL,
            "-i", f"http://{LOCAL}:{server.port}/simple/", "something", http_proxy=proxy.url,
            HOME=str(tmp_path))
        assert server.seen[0]["Via"] == "1.1 nswrap"
    assert "installed" in (tmp_path / "here/something.py").read_text()


# --- connections that are held by hand ------------------------------------------------------------


def test_apt(proxy, tmp_path):
    """Reads the list of a repository of the test by http_proxy, and gets a package."""
    repo, root = tmp_path / "repo", tmp_path / "root"
    for part in ("made/DEBIAN", "state/lists/partial", "cache/archives/partial", "etc/apt.conf.d",
                 "etc/preferences.d", "etc/trusted.gpg.d"):
        (root / part).mkdir(parents=True)
    repo.mkdir()
    fields = "Package: something\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@b.invalid>\nDescription: a\n"
    (root / "made/DEBIAN/control").write_text(fields)
    (root / "made/word").write_text("installed\n" * 10000)
    run("dpkg-deb", "-Zgzip", "--root-owner-group", "-b", root / "made", repo / "something.deb")
    deb = (repo / "something.deb").read_bytes()
    digest = hashlib.sha256(deb).hexdigest()
    (repo / "Packages").write_text(f"{fields}Filename: file/something.deb\nSize: {len(deb)}\nSHA256: {digest}\n")
    (root / "state/status").touch()
    with serving(repo) as server:
        (root / "etc/sources.list").write_text(
            f"deb [trusted=yes] http://{LOCAL}:{server.port}/ file/\n")
        options = [word for key, value in {
            "Dir::State": root / "state", "Dir::State::status": root / "state/status", "Dir::Cache": root / "cache",
            "Dir::Etc": root / "etc", "APT::Sandbox::User": "", "Debug::NoLocking": "1",
            "APT::Architecture": "amd64", "Acquire::Languages": "none"}.items() for word in ("-o", f"{key}={value}")]
        for words in (["update"], ["download", "something"]):
            done = subprocess.run(["apt-get", "-q", *options, *words], cwd=root, capture_output=True, timeout=60,
                                  env={**CLEAN, "http_proxy": proxy.url, "LC_ALL": "C"})
            assert done.returncode == 0, (words, done.stdout, done.stderr)
        assert server.seen and all(each[2]["Via"] == "1.1 nswrap" for each in server.seen)
    assert (root / "something_1.0_all.deb").read_bytes() == deb


def test_websocket_and_events(proxy):
    """A handshake with frames right behind it; events that arrive one by one."""
    with socket.create_server((LOCAL, 0)) as listener:
        port = listener.getsockname()[1]
        client = proxy.connect(
            f"GET http://{LOCAL}:{port}/chat HTTP/1.1\r\nHost: {LOCAL}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Key: a2V5\r\nSec-WebSocket-Version: 13\r\n\r\n".encode(),
            b"\x81\x85early")
        server, _ = listener.accept()
        head = read_head(server)
        assert "Upgrade: websocket\r\nConnection: upgrade\r\n" in head
        assert "Sec-WebSocket-Key: a2V5" in head
        server.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                       b"Connection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n\x81\x02hi")
        assert read_head(client).startswith("HTTP/1.1 101 Switching Protocols\r\n")
        assert read_exactly(client, 4) == b"\x81\x02hi"
        assert read_exactly(server, 7) == b"\x81\x85early"
        client.sendall(b"\xff" * 100000)
        assert read_exactly(server, 100000) == b"\xff" * 100000
        client.close()
        assert server.recv(1) == b""
        server.close()

        client = proxy.connect(f"GET http://{LOCAL}:{port}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        server, _ = listener.accept()
        read_head(server)
        server.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        read_head(client)
        for n in range(5):
            server.sendall(b"data: %d\n\n" % n)
            assert read_exactly(client, 9) == b"data: %d\n\n" % n
        server.close()
        assert client.recv(1) == b""
        client.close()


def test_what_is_sent_early_goes_through(proxy):
    with socket.create_server((LOCAL, 0)) as listener:
        port = listener.getsockname()[1]
        data = os.urandom(300000)
        client = proxy.connect(f"CONNECT {LOCAL}:{port} HTTP/1.1\r\n\r\n".encode() + data[:50000])
        server, _ = listener.accept()
        assert read_head(client) == "HTTP/1.1 200 Connection established\r\n\r\n"
        client.sendall(data[50000:])
        client.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: server.recv(65536), b"")) == data
        server.sendall(data)  # half-closed
        server.close()
        assert b"".join(iter(lambda: client.recv(65536), b"")) == data
        client.close()


def test_trailers_go_both_ways(proxy, server):
    client = proxy.connect(f"POST http://{LOCAL}:{server.port}/ HTTP/1.1\r\nHost: x\r\nTrailer: X-Sum\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n".encode())
    assert "200" in read_head(client)
    assert read_exactly(client, 17) == b"POST / abc[X-Sum:3]"[:17]
    client.close()
    client = proxy.connect(f"GET http://{LOCAL}:{server.port}/chunks HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    read_head(client)
    data = b""
    while not data.endswith(b"\r\n0\r\nX-Sum:75001\r\n\r\n"):
        part = client.recv(65536)
        assert part, data[-100:]
        data += part
    client.close()


# --- who does not keep to the rules ---------------------------------------------------------------


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def works(proxy, server):
    assert curl(proxy, f"http://{LOCAL}:{server.port}/alive") == "GET /alive "


SMUGGLED = "GET http://{0}/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
HEADS = [
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Content-Length: 5\r\nContent-Length: 0\r\n",
    "Content-Length: 5\r\nContent-Length: 5\r\n",
    "Content-Length : 5\r\n",
    "Content-Length: 0\n",
    "X: a\r\n Content-Length: 5\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding:\x0bchunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "X: \0\r\n",
]


def test_nothing_is_smuggled(proxy, server):
    """Heads in which another reader may see another end: none goes on, nor what follows."""
    where = f"{LOCAL}:{server.port}"
    for head in HEADS:
        request = f"POST http://{where}/ HTTP/1.1\r\nHost: {where}\r\n{head}\r\n0\r\n\r\n"
        client = proxy.connect((request + SMUGGLED.format(where)).encode("latin-1"))
        answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert re.match(rb"HTTP/1.1 (400|501) ", answer) and answer.count(b"HTTP/1.1") == 1, head
        client.close()
    assert not server.seen
    works(proxy, server)


def test_clients_that_break_anywhere(proxy, server):
    """Resets and ends at every byte, heads without end: everybody else is served."""
    where = f"{LOCAL}:{server.port}"
    request = (f"POST http://{where}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
               "3\r\nabc\r\n0\r\nA: b\r\n\r\n").encode()
    for n in range(len(request) + 1):
        for end in (reset, lambda s: s.close()):
            end(proxy.connect(request[:n]))
    for endless in (b"A" * 100000, b"GET http://a/ HTTP/1.1\r\n" + b"A: b\r\n" * 20000,
                    b"GET http://a/ HTTP/1.1\r\nA: " + b"b" * 100000):
        client = proxy.connect()
        with contextlib.suppress(OSError):
            client.sendall(endless)
        answer = b""
        with contextlib.suppress(OSError):
            answer = client.recv(65536)
        assert not answer or re.match(rb"HTTP/1.1 (400|431) ", answer), answer
        client.close()
    works(proxy, server)


def test_targets_that_break_anywhere(proxy, server):
    """A reset, or an end, at every byte of an answer; answers that are none."""
    answers = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n"]
    ends = [(answer[:n], how) for answer in answers for n in range(len(answer))
            for how in (reset, socket.socket.close)]
    others = [b"HTTP/1.1 200 OK\n\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100000,
              b"HTTP/1.1 100 Go\r\n\r\n" * 1000,
              b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"]
    with socket.create_server((LOCAL, 0)) as listener:
        port = listener.getsockname()[1]
        for text, how in [*ends, *((other, reset) for other in others)]:
            client = proxy.connect(f"GET http://{LOCAL}:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            target, _ = listener.accept()
            target.recv(65536)
            with contextlib.suppress(OSError):
                target.sendall(text)
            how(target)
            data = b""
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
                while part := client.recv(65536):
                    data += part
            last = data[data.rindex(b"HTTP/1.1 "):] if data else b""
            assert not data or last.startswith(b"HTTP/1.1 502 ") or not data.endswith(b"0\r\n\r\n"), data
            assert data or text.startswith(b"HTTP/1.1 200 OK\r\nT"), text
            client.close()
    works(proxy, server)


CROWD = """
import asyncio, sys
proxy, target, n = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
async def one(gate, i):
    reader, writer = await asyncio.open_connection('127.0.0.1', proxy)
    for path in ('first', 'second'):
        writer.write(b'GET http://127.0.0.1:%d/%s%d HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' % (target, path.encode(), i))
        head = await reader.readuntil(b'\\r\\n\\r\\n')
        assert head.startswith(b'HTTP/1.1 200 '), head
        body = b'GET /%s%d ' % (path.encode(), i)
        assert await reader.readexactly(len(body)) == body
        await gate.wait()  # all of them are there
    if i == 0:
        print('all', flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await gate.wait()
    writer.close()
    return 1
async def main():
    gate = asyncio.Barrier(n)
    print(sum(await asyncio.gather(*[one(gate, i) for i in range(n)])))
asyncio.run(main())
"""

# a server that answers all that it is asked with what it was asked; argv: port
ANSWERS = """
import asyncio, sys
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b'\\r\\n\\r\\n')
            body = b' '.join(head.split()[:2]) + b' '
            writer.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s' % (len(body), body))
    except asyncio.IncompleteReadError:
        writer.close()
async def main():
    async with await asyncio.start_server(serve, '127.0.0.1', int(sys.argv[1]), backlog=2000) as server:
        print('ready', flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
asyncio.run(main())
"""


def resident_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


if THOROUGH:  # a minute of silence

    @pytest.mark.limit(240)
    def test_silent_and_slow_clients(nswrap, server):
        """By the clock: who says nothing, or goes on for ever saying it, is ended; who is through is not."""
        proxy, socks = Proxy(nswrap), free_port()
        proxy.configure("127.0.42.101", http={"listen": f"{LOCAL}:{proxy.port}"},
                        socks={"listen": f"{LOCAL}:{socks}"})

        def ask_socks(*words):
            s = socket.create_connection((LOCAL, socks), timeout=20 * PATIENCE)
            for word in words:
                s.sendall(word)
            return s

        post = f"POST http://{LOCAL}:{server.port}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1".encode()
        head = f"GET http://{LOCAL}:{server.port}/ HTTP/1.1\r\nHost: x\r\nX-Slow: ".encode()
        ways = {  # what is sent, and once more every two seconds: when it ends, and what the end is like
            "silent": (proxy.connect(), b"", (29, 40), b""),
            "dripping head": (proxy.connect(head), b"x", (29, 40), b"HTTP/1.1 408 "),
            "half a body": (proxy.connect(post), b"", (59, 75), b"HTTP/1.1 408 "),
            "socks, silent": (ask_socks(), b"", (29, 40), b""),
            "socks, half a greeting": (ask_socks(b"\5"), b"", (29, 40), b""),
            "socks, no request": (ask_socks(b"\5\1\0"), b"", (29, 40), b"\5\0"),
            "socks4, dripping user": (ask_socks(b"\4\1\0\120\177\0\0\1"), b"u", (29, 40), None),
        }
        tunnel, began, ends = proxy.tunnel(server.port), time.monotonic(), {}
        said = dict.fromkeys(ways, b"")
        while len(ends) < len(ways) and time.monotonic() - began < 100:
            open_ways = {way[0]: name for name, way in ways.items() if name not in ends}
            for s in select.select(list(open_ways), [], [], 2)[0]:
                try:
                    part = s.recv(4096)
                except ConnectionError:
                    part = b""
                said[open_ways[s]] += part
                if not part:
                    ends[open_ways[s]] = time.monotonic() - began
            for s, name in open_ways.items():
                with contextlib.suppress(OSError):
                    s.sendall(ways[name][1] if name not in ends else b"")
        for name, (_, _, (earliest, latest), answer) in ways.items():
            assert earliest < ends[name] < latest * PATIENCE, (name, ends)
            assert answer is None or (said[name].startswith(answer) and bool(said[name]) == bool(answer)), (name, said)
        tunnel.sendall(b"GET /still HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_head(tunnel).startswith("HTTP/1.1 200 ")
        proxy.hang_up()


def test_a_thousand_clients(proxy):
    """All at once, each with a server's connection of its own; who waits costs little."""
    port = free_port()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(python(ANSWERS, port), **pipes) as target:
        assert target.stdout.readline() == "ready\n"
        before = resident_kib(proxy.popen.pid)
        with subprocess.Popen(python(CROWD, proxy.port, port, CLIENTS), **pipes) as crowd:
            assert crowd.stdout.readline() == "all\n"
            more = resident_kib(proxy.popen.pid) - before
            out, _ = crowd.communicate()
        target.stdin.close()
    assert out == f"{CLIENTS}\n"
    assert more < 10000, f"{more} KiB for {CLIENTS} idle clients"


# --- who may use it -------------------------------------------------------------------------------


def test_password(nswrap, server):
    proxy = Proxy(nswrap)
    proxy.configure("127.0.42.101", http={"listen": f"{LOCAL}:{proxy.port}", "user": "ann",
                                          "password": "a:b"})
    url = f"http://{LOCAL}:{server.port}/a"
    assert curl(proxy, "-U", "ann:a:b", url) == "GET /a "
    assert "Proxy-Authorization" not in server.seen[0][2]
    assert curl(proxy, "-U", "ann:a:b", "--proxytunnel", url) == "GET /a "
    assert curl(proxy, "-U", "ann:a:b", "--proxy-anyauth", url, "-d", "x") == "POST /a x"
    for wrong in (["-U", "ann:a"], ["-U", "bob:a:b"], []):
        out = curl(proxy, "-i", *wrong, url)
        assert "HTTP/1.1 407 " in out and 'Proxy-Authenticate: Basic realm="nswrap"' in out
        done = subprocess.run(["curl", "-sv", "--proxytunnel", "-x", proxy.url, *wrong, url], env=CLEAN,
                              capture_output=True)
        assert done.returncode == 56 and b"407" in done.stderr
    assert len(server.seen) == 3
    proxy.hang_up()


# --- examples of NoRouter's documentation ---------------------------------------------------------


def test_names_of_the_mesh(nswrap, short_dir, tmp_path):
    """"HTTP proxy mode": a program of each host reaches host1:8080 by name."""
    net = network()
    with serving(tmp_path) as web:
        site = Site(nswrap, short_dir)
        ports = {}
        for n, name in enumerate(("host0", "host1", "host2")):
            ports[name] = free_port()
            site.host(name, f"{net}.10{n}", http={"listen": f"{LOCAL}:{ports[name]}"},
                      **({"ports": [f"8080:{LOCAL}:{web.port}"]} if n else {}), loopback={"disable": True})
        with site:
            for name, port in ports.items():
                proxy_url = f"http://{LOCAL}:{port}"
                assert run("wget", "-qO-", f"http://host1:8080/{name}", http_proxy=proxy_url) == f"GET /{name} "
            # by VIP, letters in either case, tunnelled; and what is outside of the mesh
            one = f"http://{LOCAL}:{ports['host0']}"
            for url in (f"http://{net}.101:8080/a", "http://HOST2.:8080/a", f"http://{LOCAL}:{web.port}/a"):
                assert run("curl", "-sS", "-x", one, url) == "GET /a "
                assert run("curl", "-sS", "-px", one, url) == "GET /a "
            assert "502" in run("curl", "-sSi", "-x", one, "http://host1:81/")


def test_in_a_sandbox(nswrap, short_dir, tmp_path):
    """A proxy that a sandbox's manifest asks for listens inside of it."""
    net = network()
    with serving(tmp_path) as web:
        box = Box(nswrap, "box")
        site = Site(nswrap, short_dir)
        site.host("lab", f"{net}.101", ports=[f"80:{LOCAL}:{web.port}"], loopback={"disable": True})
        site.host("box", f"{net}.102", box.agent(), http={"listen": f"{LOCAL}:18080"})
        with site:
            assert box.do("curl", "-sS", "-x", f"http://{LOCAL}:18080", "http://lab/a") == b"GET /a "
