# SPDX-License-Identifier: Apache-2.0
"""e2e/test_tunnel_lennut_program - tunnels with lennut's own program at either end, where LENNUT is its file (conftest.py)"""

import concurrent.futures
import contextlib
import os
import signal
import socket
import subprocess

import pytest

from harness import BINARY, Lines, Running, connect, free_port, is_refused, python, wait_for
from test_tunnel import echo, run_server, serve_each
from test_tunnel_status import status

LENNUT = os.environ.get("LENNUT", "")
BURST = 100
OURS, THEIRS = [BINARY, "tunnel"], [LENNUT]

# says each of the words to a port, one after the other, and prints what comes back; argv: port word...
TALK = """
import socket, sys
with socket.create_connection(("localhost", int(sys.argv[1])), timeout=20) as s:
    for word in sys.argv[2:]:
        s.sendall(word.encode() + b"\\n")
        print(s.makefile().readline(), end="")
"""


class Tunnel:
    """Both ends, as processes with the words of lennut's; either may be ours, which says more."""

    def __init__(self, nswrap, target):
        self.nswrap, self.to = nswrap, target.getsockname()[1]
        self.proxy, self.clients = free_port(), free_port()

    def start(self, program, *words, prefix=None):
        read, write = os.pipe()
        popen = self.nswrap.popen(*program[1:], *words, program=program[0], prefix=prefix, stdin=subprocess.DEVNULL,
                                  stderr=write)
        os.close(write)
        return Running(popen, Lines(read), None)

    def server(self, program):
        running = self.start(program, "-server", "-bind-proxy", f"127.0.0.1:{self.proxy}",
                             "-bind-client", f"127.0.0.1:{self.clients}")
        wait_for(lambda: not is_refused(self.clients), "the server")
        return running

    def client(self, program):
        running = self.start(program, "-server-addr", f"127.0.0.1:{self.clients}", "-proxy-to", f"127.0.0.1:{self.to}")
        self.wait_served()
        return running

    def ask(self, data):
        """What comes back of it; neither half is ended before, as theirs takes that for the end of all."""
        with connect(self.proxy, timeout=30) as s:
            s.sendall(data)
            return self.read(s, len(data))

    @staticmethod
    def read(s, size):
        found = b""
        while len(found) < size and (part := s.recv(1 << 18)):
            found += part
        return found

    def wait_served(self):
        def look():
            with contextlib.suppress(OSError):
                return self.ask(b"there?") == b"there?"

        wait_for(look, "to be served", 20)


@pytest.fixture
def target():
    with run_server(echo) as listener:
        yield listener


@pytest.fixture
def tunnel(nswrap, target):
    return Tunnel(nswrap, target)


WAYS = pytest.mark.parametrize("server, client", [(THEIRS, OURS), (OURS, THEIRS)], ids=["their server", "their client"])


@pytest.mark.parametrize("server, client", [(THEIRS, OURS), (OURS, THEIRS), (THEIRS, THEIRS)],
                         ids=["their server", "their client", "both theirs"])
def test_the_example(nswrap, tunnel, server, client):
    """Of its README: a container, here a sandbox, with the server in it; who is in there talks to what the host has."""
    box = nswrap.start("-n", "box", "-p", tunnel.clients, "-P", 3001, "--", "sleep", "1000")
    box.wait_event("forward")
    tunnel.start([BINARY, "exec", "box", *server], "-server", "-bind-proxy", "localhost:8080")
    tunnel.start(client, "-server-addr", f"localhost:{tunnel.clients}", "-proxy-to", f"localhost:{tunnel.to}")

    def talk():
        return nswrap.run("exec", "box", *python(TALK, 8080, "asd", "hello", "lennut")).stdout

    wait_for(lambda: talk() == b"asd\nhello\nlennut\n", "the echo", 20)


@WAYS
def test_bytes_both_ways(tunnel, server, client):
    tunnel.server(server)
    tunnel.client(client)
    data = os.urandom(1 << 22)
    with connect(tunnel.proxy, timeout=30) as s, concurrent.futures.ThreadPoolExecutor(1) as pool:
        sent = pool.submit(s.sendall, data)
        assert Tunnel.read(s, len(data)) == data
        sent.result()


@WAYS
def test_one_after_the_other(tunnel, server, client):
    """Some at once as well: where theirs is the server, as many as it finds ready."""
    tunnel.server(server)
    running = tunnel.client(client)
    for i in range(50):
        assert tunnel.ask(b"number %d" % i) == b"number %d" % i
        if server is THEIRS:  # it does not wait for the next one of the client's, but ends who comes
            tunnel.wait_served()
    count = BURST if server is OURS else 3
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        texts = [b"%d" % i for i in range(count)]
        assert list(pool.map(tunnel.ask, texts)) == texts
    assert running.popen.poll() is None


def test_it_is_known(nswrap, tunnel):
    """Our client says what the server is; and so does status."""
    tunnel.server(THEIRS)
    tunnel.client(OURS).wait_line("lennut's protocol")
    assert status(nswrap)["client"]["lennut"] is True


@WAYS
@pytest.mark.parametrize("which", ["server", "client"])
def test_one_end_is_killed(tunnel, server, client, which):
    """The other one goes on with the next that comes."""
    ends = {"server": (tunnel.server, server), "client": (tunnel.client, client)}
    running = {name: start(program) for name, (start, program) in ends.items()}
    with connect(tunnel.proxy, timeout=30) as s:
        s.sendall(b"begun")
        assert Tunnel.read(s, 5) == b"begun"
        running[which].popen.send_signal(signal.SIGKILL)
        running[which].popen.wait()
        with contextlib.suppress(ConnectionResetError):
            assert s.recv(1) == b""
    start, program = ends[which]
    start(program)
    tunnel.wait_served()
    assert running["client" if which == "server" else "server"].popen.poll() is None


@WAYS
def test_a_target_that_is_not_there(tunnel, target, server, client):
    """Who connects has an end; and is served again once it is there."""
    tunnel.server(server)
    tunnel.client(client)
    target.close()
    wait_for(lambda: is_refused(tunnel.to), "the target to go")
    with contextlib.suppress(ConnectionResetError), connect(tunnel.proxy, timeout=30) as s:
        assert s.recv(1) == b""
    with socket.create_server(("127.0.0.1", tunnel.to), backlog=1024) as listener:
        serve_each(listener, echo)
        tunnel.wait_served()
