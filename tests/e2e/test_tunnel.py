# SPDX-License-Identifier: Apache-2.0
"""nswrap tunnel: a server that cannot be dialled"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading

import pytest

from harness import (BINARY, PATIENCE, Lines, Running, clients, connect, exchange, free_port, full_pipe, python,
                     read_all, wait_for)

GREETING = b"lennet01"
BURST = 200


def serve_each(listener, serve):
    """A thread of its own for each client, until the listener is closed."""
    def accept():
        for client in clients(listener):
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def run_server(serve):
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    serve_each(listener, serve)
    return listener


def answer_at_the_end(client):
    """All that came, once the client has ended."""
    with client, contextlib.suppress(OSError):
        client.sendall(read_all(client))


def greet(client):
    """A server that speaks first."""
    with client, contextlib.suppress(OSError):
        client.sendall(b"hello\n")
        client.sendall(client.recv(100))


@pytest.fixture
def target():
    with run_server(answer_at_the_end) as listener:
        yield listener


class Tunnel:
    """Both ends, or one of them, as processes of nswrap."""

    def __init__(self, nswrap):
        self.nswrap = nswrap
        self.proxy, self.clients = free_port(), free_port()

    def _start(self, *words, inside=None, **options):
        read, write = os.pipe()
        popen = self.nswrap.popen(*(["exec", inside, BINARY] if inside else []), "tunnel", *words, stdin=subprocess.DEVNULL, stderr=write, **options)
        os.close(write)
        return Running(popen, Lines(read), None)

    def server(self, *options):
        running = self._start("server", "--bind-proxy", f"127.0.0.1:{self.proxy}",
                              "--bind-client", f"127.0.0.1:{self.clients}", *options)
        running.wait_line(f"clients come to 127.0.0.1:{self.clients}")
        return running

    def client(self, target, *options, server=None):
        running = self._start("client", "--server", server or f"127.0.0.1:{self.clients}", "--to",
                              target if isinstance(target, str)
                              else "127.0.0.1:%d" % target.getsockname()[1], *options)
        return running

    def up(self, target, *options):
        server, client = self.server(), self.client(target, *options)
        client.wait_line("connected to")
        return server, client


@pytest.fixture
def tunnel(nswrap):
    return Tunnel(nswrap)


def is_reset(port, data=b""):
    try:
        with connect(port) as s:  # it may come at once
            s.sendall(data)
            return s.recv(1) == b"" and False
    except ConnectionResetError:
        return True


# --- both ends are ours --------------------------------------------------------------------------


def test_bytes_both_ways(tunnel, target):
    """Each direction ends by itself, however much there is."""
    tunnel.up(target)
    data = os.urandom(1 << 20) * 16
    assert exchange(tunnel.proxy, data) == data
    for i in range(20):
        assert exchange(tunnel.proxy, b"%d" % i) == b"%d" % i


def is_served(tunnel):
    with contextlib.suppress(OSError):
        return exchange(tunnel.proxy, b"first") == b"first"


def test_nobody_waits_for_who_reads_stderr(tunnel, target):
    read, write = full_pipe()
    ends = [tunnel.nswrap.popen("tunnel", *words, "-vv", stderr=write) for words in (
        ["server", "--bind-proxy", f"127.0.0.1:{tunnel.proxy}", "--bind-client", f"127.0.0.1:{tunnel.clients}"],
        ["client", "--server", f"127.0.0.1:{tunnel.clients}", "--to", "127.0.0.1:%d" % target.getsockname()[1]])]
    os.close(write)
    wait_for(lambda: is_served(tunnel), "an answer")
    assert all(exchange(tunnel.proxy, b"%d" % number) == b"%d" % number for number in range(50))
    for popen in ends:
        popen.terminate()
        assert popen.wait(10 * PATIENCE) == 0
    os.close(read)


def test_the_server_speaks_first(tunnel):
    with run_server(greet) as target:
        tunnel.up(target)
        with connect(tunnel.proxy) as s:
            assert s.recv(100) == b"hello\n"


def test_a_burst(tunnel, target):
    """All are served, with few connections ready before."""
    tunnel.up(target)
    clients = [connect(tunnel.proxy) for _ in range(BURST)]
    for i, client in enumerate(clients):
        client.sendall(b"%d" % i)
        client.shutdown(socket.SHUT_WR)
    assert [read_all(client) for client in clients] == [b"%d" % i for i in range(BURST)]
    for client in clients:
        client.close()


def test_the_server_comes_later(tunnel, target):
    """The client waits for it; who connects meanwhile is held."""
    client = tunnel.client(target)
    client.wait_line("Connection refused; trying again")
    tunnel.server()
    assert exchange(tunnel.proxy, b"late") == b"late"
    client.wait_line("connected to")


def test_the_server_is_restarted(tunnel, target):
    server, client = tunnel.up(target)
    server.signal(signal.SIGKILL)
    server.popen.wait()
    client.wait_line("trying again")  # closed, reset, or refused where it was just coming once more
    tunnel.server()
    clients = [connect(tunnel.proxy) for _ in range(BURST)]
    for i, s in enumerate(clients):
        s.sendall(b"%d" % i)
        s.shutdown(socket.SHUT_WR)
    assert [read_all(s) for s in clients] == [b"%d" % i for i in range(BURST)]
    for s in clients:
        s.close()


def test_a_refused_target(tunnel, target):
    """A reset, and the tunnel goes on."""
    tunnel.up(target)
    port = target.getsockname()[1]
    target.shutdown(socket.SHUT_RDWR)
    target.close()
    wait_for(lambda: is_reset(tunnel.proxy), "the refusal", 5)
    with socket.create_server(("127.0.0.1", port)) as again:
        threading.Thread(target=lambda: answer_at_the_end(again.accept()[0]), daemon=True).start()
        assert exchange(tunnel.proxy, b"again") == b"again"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_client_that_dies(tunnel, target, number):
    """Only its own connections are lost: those that come afterwards go to the other one."""
    server, first = tunnel.up(target)
    second = tunnel.client(target)
    second.wait_line("connected to")
    first.signal(number)
    assert [exchange(tunnel.proxy, b"%d" % i) for i in range(20)] == [b"%d" % i for i in range(20)]
    if number == signal.SIGSTOP:
        server.stop()
        first.signal(signal.SIGCONT)


def test_clients_take_turns(tunnel):
    counts = [0, 0]

    def count(index):
        def serve(client):
            counts[index] += 1
            answer_at_the_end(client)

        return serve

    with run_server(count(0)) as one, run_server(count(1)) as two:
        tunnel.up(one)
        tunnel.client(two).wait_line("connected to")

        def take_turns():
            """Not while one of them has lost what it had waiting, of not running for long."""
            counts[:] = 0, 0
            for _ in range(40):
                assert exchange(tunnel.proxy, b"x") == b"x"
            return min(counts) >= 10

        wait_for(take_turns, "turns")


def test_a_dead_end_is_noticed(tunnel, target):
    """A stopped client, with nobody connecting; and a stopped server."""
    server = tunnel.server("--dead-after", "1", "-v")
    client = tunnel.client(target)
    client.wait_line("connected to")
    client.signal(signal.SIGSTOP)
    server.wait_line("a client does not answer")
    client.signal(signal.SIGCONT)
    assert exchange(tunnel.proxy, b"back") == b"back"
    server.signal(signal.SIGSTOP)
    client.wait_line("it does not answer; trying again")
    server.signal(signal.SIGCONT)
    assert exchange(tunnel.proxy, b"back") == b"back"


def test_connections_may_finish(tunnel):
    """--drain: SIGTERM ends what is new, not what runs."""
    with run_server(greet) as target:
        server = tunnel.server("--drain", "20")
        client = tunnel.client(target, "--drain", "20")
        with connect(tunnel.proxy) as s:
            assert s.recv(100) == b"hello\n"
            client.signal(signal.SIGTERM)
            server.signal(signal.SIGTERM)
            wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", tunnel.proxy)), "the listener to go")
            s.sendall(b"still there")
            assert s.recv(100) == b"still there"
        assert server.wait() == 0 and client.wait() == 0


def test_drain_has_an_end(tunnel):
    with run_server(greet) as target:
        server, client = tunnel.server("--drain", "0.1"), tunnel.client(target)
        with connect(tunnel.proxy) as s:
            assert s.recv(100) == b"hello\n"
            assert server.stop() == 0
            assert client.stop() == 0


def test_unix_sockets(nswrap, short_dir, target):
    """A directory that both ends see is enough."""
    tunnel = Tunnel(nswrap)
    link, proxy = f"{short_dir}/link", f"{short_dir}/proxy"
    server = tunnel._start("server", "--bind-proxy", f"unix:{proxy}", "--bind-client", f"unix:{link}")
    server.wait_line("clients come to")
    tunnel.client(target, server=f"unix:{link}").wait_line("connected to")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(proxy)
        s.sendall(b"by path")
        s.shutdown(socket.SHUT_WR)
        assert read_all(s) == b"by path"
    assert server.stop() == 0
    assert not os.path.exists(link) and not os.path.exists(proxy)


# --- the other end is lennut ---------------------------------------------------------------------


class LennutClient:
    """As lennut's binary does it: one connection waits, says nothing, reads the greeting at once."""

    def __init__(self, port, target):
        self.port, self.target, self.errors, self.ended = port, target.getsockname(), 0, False
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while not self.ended:
            with contextlib.suppress(OSError):
                self._once()

    def _once(self):
        link = socket.create_connection(("127.0.0.1", self.port))
        if link.recv(8) != GREETING:
            self.errors += 1
            link.close()
            threading.Event().wait(0.2)
            return
        there = socket.create_connection(self.target)
        threading.Thread(target=self._copy, args=(link, there), daemon=True).start()
        threading.Thread(target=self._copy, args=(there, link), daemon=True).start()

    @staticmethod
    def _copy(a, b):
        with contextlib.suppress(OSError):
            while part := a.recv(65536):
                b.sendall(part)
        for s in (a, b):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)


class LennutServer:
    """The longest waiting client connection is greeted and used; without one the inbound is closed."""

    def __init__(self, proxy, entrance):
        self.waiting, self.noise = [], b""
        self.listeners = [socket.create_server(("127.0.0.1", port), backlog=256) for port in (proxy, entrance)]
        for listener, serve in zip(self.listeners, (self._inbound, self.waiting.append)):
            threading.Thread(target=self._accept, args=(listener, serve), daemon=True).start()

    @staticmethod
    def _accept(listener, serve):
        with contextlib.suppress(OSError):
            for client in clients(listener):
                serve(client)

    def _inbound(self, inbound):
        if not self.waiting:
            inbound.close()
            return
        link = self.waiting.pop(0)
        link.sendall(GREETING)
        for a, b in ((inbound, link), (link, inbound)):
            threading.Thread(target=LennutClient._copy, args=(a, b), daemon=True).start()

    def close(self):
        for s in [*self.listeners, *self.waiting]:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()


def ask(port, data):
    with connect(port) as s:
        s.sendall(data)
        return s.recv(65536)


def echo(client):
    with client, contextlib.suppress(OSError):
        while part := client.recv(65536):
            client.sendall(part)


def test_lennuts_client(tunnel):
    """It is found out what it is once, and that costs it two connections; a burst is held for it."""
    with run_server(echo) as target:
        tunnel.server()
        client = LennutClient(tunnel.clients, target)
        assert ask(tunnel.proxy, b"first") == b"first"
        assert client.errors <= 2
        clients = [connect(tunnel.proxy) for _ in range(50)]
        for i, s in enumerate(clients):
            s.sendall(b"%d" % i)
        assert [s.recv(100) for s in clients] == [b"%d" % i for i in range(50)]
        assert client.errors <= 2
        client.ended = True
        for s in clients:
            s.close()


def test_lennuts_server(tunnel):
    """It is not told a byte that it would pass on, and finds some connections ready."""
    with run_server(echo) as target:
        server = LennutServer(tunnel.proxy, tunnel.clients)
        client = tunnel.client(target)
        client.wait_line("lennut's protocol")
        wait_for(lambda: len(server.waiting) >= 4, "connections that wait")
        for i in range(30):
            wait_for(lambda: server.waiting, "one that waits")
            assert ask(tunnel.proxy, b"%d" % i) == b"%d" % i
        server.close()


def test_lennuts_server_is_used_before_it_is_known(tunnel):
    with run_server(echo) as target:
        server = LennutServer(tunnel.proxy, tunnel.clients)
        tunnel.client(target)
        wait_for(lambda: server.waiting, "the first connection")
        assert ask(tunnel.proxy, b"at once") == b"at once"
        server.close()


@pytest.mark.parametrize("server, client", [
    ("-server -bind-proxy {}:{proxy} -bind-client {}:{clients}", "-server-addr {}:{clients} -proxy-to {}:{target}"),
    ("-bind-client={}:{clients} -bind-proxy={}:{proxy}", "-proxy-to={}:{target} -server-addr={}:{clients}"),
    ("-server=true -bind-proxy :{proxy} -bind-client :{clients}", "--server-addr :{clients} --proxy-to=:{target}"),
    ("server -server -bind-proxy {}:{proxy} --bind-client {}:{clients}", "-v client --server-addr={}:{clients} -proxy-to {}:{target}"),
    ("-q --bind-proxy {}:{proxy} server --bind-client {}:{clients}", "--to {}:{target} --server {}:{clients} client -v"),
])
def test_the_words_of_both(tunnel, target, server, client):
    """Lennut's as Go takes them; and which end it is may stand anywhere."""
    ports = {"proxy": tunnel.proxy, "clients": tunnel.clients, "target": target.getsockname()[1]}
    read = lambda line: line.replace("{}", "127.0.0.1").format(**ports).split()  # noqa: E731
    tunnel._start(*read(server))
    tunnel._start(*read(client)).wait_line("connected to")
    assert exchange(tunnel.proxy, b"words") == b"words"


def ask_inside(nswrap, box, port):
    """What comes back of what is said to a port inside."""
    done = nswrap.run("exec", box, *python(
        f'import socket; s = socket.create_connection(("localhost", {port})); s.sendall(b"from inside"); '
        's.shutdown(socket.SHUT_WR); print(s.recv(100).decode())'))
    assert done.stdout.strip() == b"from inside", done.stderr


def test_lennuts_example(nswrap, target, tunnel):
    """The two lines of its README; a sandbox is the container, and the ports of the host are others."""
    box = nswrap.start("-n", "box", "-p", tunnel.clients, "-P", 3001, "--", "sleep", "1000")
    box.wait_event("forward")
    inside = nswrap.popen("exec", "box", BINARY, "tunnel", *"-bind-proxy localhost:8080".split(), stdin=subprocess.DEVNULL)
    tunnel._start(*f"-server-addr localhost:{tunnel.clients} -proxy-to localhost:{target.getsockname()[1]}".split()
                  ).wait_line("connected to")
    ask_inside(nswrap, "box", 8080)
    inside.terminate()
    assert inside.wait(10 * PATIENCE) in (0, 143)
    assert box.stop() == 143


ECHO = """import socket
with socket.create_server(("localhost", 8080)) as listener:
    print("up", flush=True)
    while True:
        with listener.accept()[0] as s:
            s.sendall(s.recv(100))
"""


def test_either_end_in_a_sandbox(nswrap, tunnel, short_dir):
    """Neither has a network; a socket in a directory that both see is the link."""
    link = f"unix:{short_dir}/link"
    nswrap.start("-n", "near", "--network", "none", "--", "sleep", "1000").wait_event("started")
    far = nswrap.start("-n", "far", "--network", "none", "--", *python(ECHO))
    assert far.read_line() == "up"
    tunnel._start("server", "--bind-client", link, inside="near").wait_line(f"clients come to {link}")
    tunnel._start("client", "--server", link, inside="far").wait_line("connected to")
    ask_inside(nswrap, "near", 3000)


# --- who is neither ------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [
    b"GET / HTTP/1.1\r\n\r\n", b"nswrapt1", b"nswrapt1H\0\xff\xff", b"nswrapt1O\0\0\0", b"nswrapt1A\0\0\0",
    b"nswrapt1H\0\0\x08abcdefghA\0\0\0", b"nswrapt1H\0\0\x08abcdefghR\0\0\0", b"lennet01", b"nswrap"])
def test_hostile_clients(tunnel, target, words):
    """They are dropped, or wait as lennut's would; nobody is led astray for more than they say."""
    tunnel.up(target)
    with connect(tunnel.clients) as s:
        s.sendall(words)
        s.settimeout(0.3)
        with contextlib.suppress(OSError):
            s.recv(100)
    assert [exchange(tunnel.proxy, b"%d" % i) for i in range(5)] == [b"%d" % i for i in range(5)]


@pytest.mark.parametrize("words", [
    b"HTTP/1.1 400 Bad Request\r\n\r\n", b"nswrapt1W\0\xff\xff", b"nswrapt1O\0\0\0", b"nswrapt1W\0\0\x04\0\0\0\1M\0\0\4\xff\xff\xff\xff",
    b"nswrapt1W\0\0\x04\0\0\4\0O\0\1\0" + b"x" * 255])
def test_hostile_servers(tunnel, target, words):
    """The client leaves them, and comes again; it never opens more than some connections."""
    peak = [0, 0]

    def serve(client):
        peak[0] += 1
        peak[1] = max(peak[:2])
        with client, contextlib.suppress(OSError):
            client.sendall(words)
            while client.recv(1000):
                pass
        peak[0] -= 1

    with socket.create_server(("127.0.0.1", tunnel.clients), backlog=1024) as listener:
        serve_each(listener, serve)
        client = tunnel.client(target)
        wait_for(lambda: peak[1], "the client")
        threading.Event().wait(0.5)
        assert client.popen.poll() is None and peak[1] <= 1024
        assert client.stop() == 0


@pytest.mark.parametrize("words, wrong", [
    (["tunnel"], "expected server, client or status"),
    (["tunnel", "both"], '"both": expected server, client or status'),
    (["tunnel", "-v", "both"], '"both": expected server, client or status'),
    (["tunnel", "-q", "client", "more"], '"more": expected no more words'),
    (["tunnel", "client", "-server"], "-server is lennut's word for nswrap tunnel server"),
    (["tunnel", "-bind-proxy", ":1", "-proxy-to", ":2"], "for nswrap tunnel server"),
    (["tunnel", "-proxy-to"], "--to needs an argument"),
    (["tunnel", "client", "--to", "224.0.0.1:80"], "224.0.0.1 is no address of a host"),
    (["tunnel", "client", "--forward", "x=255.255.255.255:8000:localhost:80"], '"255.255.255.255" is no address'),
    (["tunnel", "client", "--reverse", "x=127.0.0.1:8000:[ff02::1]:80"], "is no address of a host"),
    (["tunnel", "server", "--bind-proxy", "224.0.0.1:80"], '"224.0.0.1" is no address'),
    (["tunnel", "server", "--bind-client", "[ff02::1]:80"], '"ff02::1" is no address'),
    (["tunnel", "server", "--to", "localhost:1"], "for nswrap tunnel client"),
    (["tunnel", "client", "--bind-proxy", "127.0.0.1:1"], "for nswrap tunnel server"),
    (["tunnel", "client", "--server", "host"], '--server host: "host": expected HOST:PORT'),
    (["tunnel", "client", "--to", "::1:80"], "in brackets"),
    (["tunnel", "client", "--to", "unix:"], "expected a path"),
    (["tunnel", "client", "--proxy-protocol", "3"], "expected 1 or 2"),
    (["tunnel", "server", "--bind-client", "example.com:1"], "\"example.com\" is no address: expected one of this host's"),
    (["tunnel", "server", "--bind-proxy", "127.0.0.1:99999"], "port 99999 is out of range"),
    (["tunnel", "client", "--dead-after", "3"], "--dead-after is for nswrap tunnel server"),
    (["tunnel", "client", "--dead-after", "3", "--server", "unix:link"], "--dead-after is for nswrap tunnel server"),
    (["tunnel", "status", "--dead-after", "3"], "--dead-after is for nswrap tunnel server"),
    (["tunnel", "server", "--dead-after", "0"], "expected 0.1 to 3600"),
    (["tunnel", "server", "--drain", "x"], "--drain x"),
])
def test_wrong_words(nswrap, words, wrong):
    done = nswrap.run(*words)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 2 and len(lines) == 1 and wrong in lines[0], lines


@pytest.mark.parametrize("words, n", [([], 2), (["--quiet"], 0), (["--verbose"], 2)])
def test_how_much_is_said(tunnel, words, n):
    """nswrap tunnel server"""
    running = tunnel._start("server", "--bind-proxy", f"127.0.0.1:{tunnel.proxy}", "--bind-client",
                            f"127.0.0.1:{tunnel.clients}", *words)
    wait_for(lambda: not socket.socket().connect_ex(("127.0.0.1", tunnel.clients)), "the server")
    assert running.stop() == 0
    assert len(running.stderr.lines) == n, running.stderr.text()


def test_a_port_in_use(nswrap, tunnel):
    with socket.create_server(("127.0.0.1", tunnel.clients)):
        done = nswrap.run("tunnel", "server", "--bind-proxy", f"127.0.0.1:{tunnel.proxy}",
                          "--bind-client", f"127.0.0.1:{tunnel.clients}")
    assert done.returncode == 125 and re.search("in use", done.stderr.decode())
