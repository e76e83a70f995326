# SPDX-License-Identifier: Apache-2.0
"""nswrap tunnel: a key that both ends have, and all connections over a command's stdin and stdout"""

import contextlib
import os
import shlex
import signal
import socket

import pytest
from harness import BINARY, called, connect, descendants, exchange, open_fds, read_all, settled_fds, wait_for
from test_tunnel import BURST
from test_tunnel import target, tunnel  # noqa: F401 (fixtures)


def key_file(directory, name, text, mode=0o600):
    path = os.path.join(directory, name)
    with open(path, "w", opener=lambda p, flags: os.open(p, flags, mode)) as file:
        file.write(text)
    return path


@pytest.fixture
def keys(short_dir):
    """Two keys that are not the same."""
    return [key_file(short_dir, f"key{i}", f"{i}, of a secret that nobody knows\n") for i in (1, 2)]


# --- a key -----------------------------------------------------------------------------------------


def test_the_same_key(tunnel, target, keys):
    server = tunnel.server("--key-file", keys[0])
    client = tunnel.client(target, "--key-file", keys[0])
    client.wait_line("connected to")
    assert exchange(tunnel.proxy, b"known") == b"known"
    clients = [connect(tunnel.proxy) for _ in range(BURST)]
    for c in clients:
        c.sendall(b"burst")
        c.shutdown(socket.SHUT_WR)
    assert all(read_all(c) == b"burst" for c in clients)
    for c in clients:
        c.close()
    assert client.stop() == 0 and server.stop() == 0


@pytest.mark.parametrize("at_server, at_client", [(0, 1), (0, None), (None, 0)])
def test_another_key(tunnel, target, keys, at_server, at_client):
    """Neither end takes the other; who connects gets nowhere."""
    option = lambda n: () if n is None else ("--key-file", keys[n])  # noqa: E731
    server = tunnel.server("-v", *option(at_server))
    client = tunnel.client(target, *option(at_client))
    if at_client is None:
        client.wait_line("lennut's protocol")  # it may be one: nothing was said
    else:
        client.wait_line("trying again")
    if (at_server, at_client) == (None, 0):
        server.wait_line("a client with a key was turned away")
    elif at_client is not None:
        server.wait_line("a client at .* was turned away")
    with connect(tunnel.proxy) as s:
        s.settimeout(0.3)
        s.sendall(b"x")
        with pytest.raises(OSError):
            assert s.recv(1) == b"", "what was said reached somebody"
            raise ConnectionResetError
    assert not any("connected to" in line and "lennut" not in line for line in client.stderr.lines)


def test_strangers_at_a_server_with_a_key(tunnel, target, keys):
    """They are told nothing, are no lanes, and keep nobody else out."""
    server = tunnel.server("--key-file", keys[0])
    fds = settled_fds(server.pid)
    with contextlib.ExitStack() as stack:
        for said in [b"", b"nswrapt1H\0\0\x08" + bytes(8), b"GET / HTTP/1.0\r\n\r\n", os.urandom(200),
                     b"nswrap\x01A" + b"tunnel\0\0" + bytes(32)] * 60:
            s = stack.enter_context(connect(tunnel.clients))
            s.sendall(said)
        with connect(tunnel.clients) as s:
            s.settimeout(0.3)
            with pytest.raises(OSError):
                assert s.recv(1) == b"", "it was greeted"
                raise ConnectionResetError
        client = tunnel.client(target, "--key-file", keys[0])
        client.wait_line("connected to")
        assert exchange(tunnel.proxy, b"ours") == b"ours"
    client.stop()
    wait_for(lambda: len(open_fds(server.pid)) <= fds, "strangers to be forgotten")


@pytest.mark.parametrize("mode, text, wrong", [
    (0o644, "a secret that anybody can read\n", "key-file"),
    (0o600, "short\n", "16"),
    (None, None, "No such file"),
])
def test_bad_key_files(nswrap, short_dir, mode, text, wrong):
    path = os.path.join(short_dir, "key")
    if text:
        key_file(short_dir, "key", text, mode)
        os.chmod(path, mode)
    done = nswrap.run("tunnel", "server", "--key-file", path)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 2 and len(lines) == 1 and wrong in lines[0] and path in lines[0], lines


def test_a_flood_of_clients_that_are_turned_away(tunnel, target):
    """Few lines for many of them, the rest is counted, and who is welcome is served."""
    server, client = tunnel.up(target)
    for _ in range(60):
        with connect(tunnel.clients) as s, contextlib.suppress(ConnectionResetError):
            s.sendall(b"nswrap\1")
            read_all(s)
    assert exchange(tunnel.proxy, b"served") == b"served"
    assert client.stop() == 0 and server.stop() == 0
    server.stderr.join()
    lines = server.stderr.lines
    assert sum("was turned away" in line for line in lines) == 20, lines
    assert lines[-1].endswith("left out in a minute: 40"), lines


# --- exec: -----------------------------------------------------------------------------------------


def far(tunnel, *options):
    """A server at the other end of a command."""
    words = [BINARY, "tunnel", "server", "--bind-client", "-", "--bind-proxy", f"127.0.0.1:{tunnel.proxy}"]
    return "exec:" + shlex.join([*words, *options])


def far_ends(client):
    """Their numbers; without those who have their stderr."""
    return called("nswrap: tunnel", descendants(client.pid))


def up(tunnel, target, *options, server=None):
    client = tunnel.client(target, *options, server=server or far(tunnel))
    client.wait_line("connected to exec:")
    return client


def test_over_a_command(tunnel, target):
    """Each direction ends by itself, a burst is served, and a slow one keeps no other one up."""
    client = up(tunnel, target)
    data = os.urandom(1 << 20) * 8
    with connect(tunnel.proxy) as slow:
        slow.settimeout(1)
        with contextlib.suppress(TimeoutError):
            for _ in range(64):
                slow.sendall(data[:1 << 20])  # it is answered at its end only
        assert exchange(tunnel.proxy, data) == data
    clients = [connect(tunnel.proxy) for _ in range(BURST)]
    for i, c in enumerate(clients):
        c.sendall(b"%d" % i)
        c.shutdown(socket.SHUT_WR)
    assert [read_all(c) for c in clients] == [b"%d" % i for i in range(BURST)]
    for c in clients:
        c.close()
    assert client.stop() == 0
    wait_for(lambda: not descendants(client.pid), "the server's end")


def test_a_banner_and_a_key(tunnel, target, keys):
    """What a login says in front is no matter."""
    server = "exec:sh -c " + shlex.quote(
        "echo Welcome; exec " + far(tunnel, "--key-file", keys[0])[len("exec:"):])
    up(tunnel, target, "--key-file", keys[0], server=server)
    assert exchange(tunnel.proxy, b"hello") == b"hello"


def test_a_command_that_refuses_the_key(tunnel, target, keys):
    client = tunnel.client(target, "--key-file", keys[1], server=far(tunnel, "--key-file", keys[0]))
    client.wait_line("key.*trying again")
    assert not any("connected" in line for line in client.stderr.lines)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_far_end_dies(tunnel, target, number):
    """Its connections end; it is started again, and the port is there again."""
    client = up(tunnel, target, "--dead-after", "1")
    with connect(tunnel.proxy) as s:
        s.sendall(b"x")
        for pid in far_ends(client):
            os.kill(pid, number)
        with contextlib.suppress(ConnectionResetError):
            assert s.recv(1) == b""
    client.wait_line("trying again")
    client.wait_lines("connected to exec:", 2)
    assert exchange(tunnel.proxy, b"again") == b"again"


def test_the_near_end_dies(tunnel, target):
    """The server ends with its stdin, and its port is free."""
    client = up(tunnel, target)
    server, = far_ends(client)
    with connect(tunnel.proxy) as s:
        s.sendall(b"x")
        client.signal(signal.SIGKILL)
        client.popen.wait()
        with contextlib.suppress(ConnectionResetError):
            assert s.recv(1) == b""
    wait_for(lambda: not os.path.exists(f"/proc/{server}/fd/0"), "the server's end")


def test_a_command_that_is_none(tunnel, target):
    client = tunnel.client(target, server="exec:/nonexistent/program")
    client.wait_line("/nonexistent/program.*trying again")
    other = tunnel.client(target, server="exec:echo no tunnel here")
    other.wait_line("trying again")
    assert client.stop() == 0 and other.stop() == 0


@pytest.mark.parametrize("words, wrong", [
    (["client", "--server", "exec:"], "names no command"),
    (["client", "--server", "exec:'a"], "pairs of quotes"),
    (["server", "--bind-client", "exec:true"], "expected an ADDR, - or fd:N"),
    (["client", "--bind-client", "-"], "for nswrap tunnel server"),
    (["server", "--server", "exec:true"], "for nswrap tunnel client"),
])
def test_bad_links(nswrap, words, wrong):
    done = nswrap.run("tunnel", *words)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 2 and len(lines) == 1 and wrong in lines[0], lines
