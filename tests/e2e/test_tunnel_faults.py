# SPDX-License-Identifier: Apache-2.0
"""nswrap tunnel: ends that die or stop, links that break, too few descriptors, at each moment"""

import contextlib
import os
import resource
import select
import signal
import socket
import threading
import time

import pytest
from harness import PATIENCE, clients, connect, exchange, free_port, open_fds, settled_fds, wait_for
from test_tunnel import echo, run_server, serve_each, tunnel  # noqa: F401 (a fixture)
from test_tunnel import target  # noqa: F401 (a fixture)
from test_tunnel_forwards import at, client_of, order
from test_tunnel_links import far, far_ends, keys  # noqa: F401 (a fixture)
from test_tunnel_status import status

HELLO = b"nswrapt1H\0\0\x0912345678"
WELCOME = b"nswrapt1W\0\0\x04\0\0\x0e\xa6"
PART = 1 << 16


def will_reset(s):
    """Whenever it is closed."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


class Wire:
    """A TCP port that leads to another one, and can cut what goes over it or hold it up."""

    def __init__(self, port):
        self.to, self.pairs, self.goes_on = port, [], threading.Event()
        self.goes_on.set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            for a in clients(self.listener):
                try:
                    b = socket.create_connection(("127.0.0.1", self.to))
                except OSError:
                    a.close()
                    continue
                pair = [a, b]
                self.pairs.append(pair)
                for ends in ((a, b), (b, a)):
                    threading.Thread(target=self._pump, args=(*ends, pair), daemon=True).start()

    def _pump(self, a, b, pair):
        try:
            while part := a.recv(PART):
                self.goes_on.wait()
                b.sendall(part)
            self.goes_on.wait()
            if pair:
                b.shutdown(socket.SHUT_WR)
        except OSError:
            self._reset(pair)

    @staticmethod
    def _reset(pair):
        ends, pair[:] = pair[:], []
        for s in ends:
            with contextlib.suppress(OSError):
                will_reset(s)
                s.shutdown(socket.SHUT_RD)  # who reads it wakes up
        for s in ends:
            s.close()

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            self._reset(pair)

    def close(self):
        self.listener.close()
        self.goes_on.set()
        self.cut()


@pytest.fixture
def wire(tunnel):
    """One that leads to where clients come in."""
    with contextlib.closing(Wire(tunnel.clients)) as one:
        yield one


def pour(client):
    """All that can be sent, and all that comes is thrown away."""
    def send():
        with contextlib.suppress(OSError):
            while True:
                client.sendall(bytes(PART))

    threading.Thread(target=send, daemon=True).start()
    with client, contextlib.suppress(OSError):
        while client.recv(PART):
            pass


def wait_for_the_end(s):
    """It ends, whether or not it says that it is broken."""
    s.settimeout(20 * PATIENCE)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while s.recv(1 << 20):
            pass


# --- during the handshake --------------------------------------------------------------------------


def test_clients_that_stop_anywhere(tunnel, target):
    """Half a hello, and then nothing or the end: nobody is kept waiting, and nothing is left."""
    server, client = tunnel.up(target)
    fds = settled_fds(server.pid)
    whole = HELLO + b"cF\0\0\x12ft" + b"web\0" + b"127.0.0.1:0"
    with contextlib.ExitStack() as stack:
        for cut in [*range(len(whole) + 1)] * 3:
            s = stack.enter_context(connect(tunnel.clients))
            s.sendall(whole[:cut])
            if cut % 2:
                s.shutdown(socket.SHUT_WR)
        assert [exchange(tunnel.proxy, b"%d" % i) for i in range(10)] == [b"%d" % i for i in range(10)]
    wait_for(lambda: len(open_fds(server.pid)) <= fds + 2, "strangers to be forgotten")


def test_servers_that_stop_anywhere(tunnel, target):
    """The client says so, and has the real one as soon as that is there."""
    said = iter(range(len(WELCOME)))

    def serve(s):
        with s, contextlib.suppress(OSError):
            s.sendall(WELCOME[:next(said, len(WELCOME) - 1)])
            s.settimeout(0.05)
            s.recv(1000)

    with socket.create_server(("127.0.0.1", tunnel.clients)) as listener:
        serve_each(listener, serve)
        client = tunnel.client(target)
        client.wait_line("it closed the connection|reset by peer")
        wait_for(lambda: next(said, 99) > 2, "some tries")
        listener.shutdown(socket.SHUT_RDWR)
    tunnel.server()
    client.wait_line("connected to")
    assert exchange(tunnel.proxy, b"real") == b"real"


def test_another_key_midway(tunnel, target, keys):
    """A server comes back with another key: it is not taken, and the right one is."""
    port = free_port()
    server = tunnel.server("--key-file", keys[0])
    client = client_of(tunnel, "--key-file", keys[0], "--forward", order("web", port, target))
    client.wait_line("web: .*at the server")
    server.signal(signal.SIGKILL)
    server.popen.wait()
    client.wait_line("trying again")
    other = tunnel.server("--key-file", keys[1], "-v")
    other.wait_line("a client at .* was turned away")
    assert other.stop() == 0
    tunnel.server("--key-file", keys[0])
    client.wait_lines("web: .*at the server", 2)
    assert exchange(port, b"ours") == b"ours"


# --- during a transfer -----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["client", "server"])
def test_an_end_is_killed_under_load(tunnel, end):
    """What went over it ends at once, at both sides, and its successor serves."""
    with run_server(pour) as sink:
        server, client = tunnel.up(sink)
        with contextlib.ExitStack() as stack:
            users = [stack.enter_context(connect(tunnel.proxy)) for _ in range(8)]
            for s in users:
                assert s.recv(PART)
            (client if end == "client" else server).signal(signal.SIGKILL)
            for s in users:
                wait_for_the_end(s)
        if end == "client":
            tunnel.client(sink).wait_line("connected to")
        else:
            tunnel.server()  # the client may have it before it has lost the last of what it had
        with connect(tunnel.proxy) as s:
            assert s.recv(PART)


@contextlib.contextmanager
def connect_up(tunnel, target):
    server, client = tunnel.up(target)
    with connect(tunnel.proxy) as s:
        yield s, server, client


@pytest.mark.parametrize("end", ["client", "server"])
def test_an_end_stops_for_a_while(tunnel, end):
    """Nothing of a transfer is lost."""
    data = os.urandom(1 << 20) * 32
    with run_server(echo) as target, connect_up(tunnel, target) as (s, server, client):
        stopped = client if end == "client" else server

        def send():
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        s.sendall(b"begun")
        assert s.recv(100) == b"begun"
        stopped.signal(signal.SIGSTOP)
        sender.start()
        s.settimeout(0.3)
        with pytest.raises(TimeoutError):
            s.recv(1)
        s.settimeout(20 * PATIENCE)
        stopped.signal(signal.SIGCONT)
        got = b""
        while part := s.recv(1 << 20):
            got += part
        sender.join()
        assert got == data


def test_links_break_under_load(tunnel, wire):
    """Those that were over them end; all else goes on, for as often as it happens."""
    port = free_port()
    with run_server(pour) as sink:
        tunnel.server()
        client = client_of(tunnel, "--to", at(sink.getsockname()[1]), "--forward", order("web", port, sink),
                           server=at(wire.port))
        for i in range(3):
            client.wait_lines("web: .*at the server", i + 1)
            with contextlib.ExitStack() as stack:
                users = [stack.enter_context(connect(p)) for p in (tunnel.proxy, port) * 4]
                for s in users:
                    assert s.recv(PART)
                wire.cut()
                for s in users:
                    wait_for_the_end(s)
        client.wait_lines("web: .*at the server", 4)
        with connect(port) as s:
            assert s.recv(PART)


def test_a_link_that_stalls(tunnel, wire, target):
    """Nothing comes through, and nothing says so: both ends notice, and the port is served again."""
    port = free_port()
    server = tunnel.server("--dead-after", "1", "-v")
    client = client_of(tunnel, "--forward", order("web", port, target), server=at(wire.port))
    client.wait_line("web: .*at the server")
    assert exchange(port, b"before") == b"before"
    wire.goes_on.clear()
    client.wait_line("it does not answer; trying again")
    server.wait_line("a client does not answer")
    with connect(port) as s:
        s.sendall(b"held")
        s.shutdown(socket.SHUT_WR)
        wire.cut()
        wire.goes_on.set()
        s.settimeout(20 * PATIENCE)
        assert s.recv(100) == b"held"
    client.wait_lines("web: .*at the server", 2)


@pytest.mark.waits
def test_a_link_that_stalls_for_a_while(tunnel, wire):
    """Shorter than what makes an end dead, and longer than a client may take to say that it has heard."""
    port = free_port()
    with run_server(echo) as target:
        tunnel.server()
        client = client_of(tunnel, "--forward", order("web", port, target), server=at(wire.port))
        client.wait_line("web: .*at the server")
        with connect(port) as before:
            before.sendall(b"before")
            assert before.recv(100) == b"before"
            wire.goes_on.clear()
            before.sendall(b"meanwhile")
            late = [connect(port) for _ in range(5)]
            for i, s in enumerate(late):
                s.sendall(b"%d" % i)
            time.sleep(3)  # the stall
            wire.goes_on.set()
            for s in [before, *late]:
                s.settimeout(20 * PATIENCE)
            assert before.recv(100) == b"meanwhile"
            assert [s.recv(100) for s in late] == [b"%d" % i for i in range(5)]
            for s in late:
                s.close()


def look_in(port):
    s = connect(port)
    assert s.recv(100) == HELLO[:8]
    return s


def test_links_that_break_are_not_lennuts(tunnel, target):
    """Before a word was said; that they end is no sign of anything."""
    tunnel.server()
    for _ in range(3):
        s = look_in(tunnel.clients)
        will_reset(s)
        s.close()
    client = client_of(tunnel, "--forward", order("web", free_port(), target))
    client.wait_line("connected to")
    client.wait_line("web: .*at the server")
    assert client.stop() == 0
    assert not any("does not answer" in line for line in client.stderr.lines)


@pytest.mark.waits
def test_who_looks_like_lennuts(tunnel, target):
    """Clients of ours that come from where somebody has left as lennut's client does are known in the end."""
    port = free_port()
    tunnel.server()
    for _ in range(2):
        look_in(tunnel.clients).close()
    with connect(tunnel.clients) as s, pytest.raises(TimeoutError):
        s.settimeout(0.5)  # it would have been greeted
        s.recv(100)
    # two clients of ours at an address that is lennut's: what waits there may be theirs
    for _ in range(2):
        look_in(tunnel.clients).close()
    client_of(tunnel, "--forward", order("web", port, target)).wait_line("web: .*at the server")
    assert exchange(port, b"named") == b"named"


def test_a_command_is_killed_under_load(tunnel):
    """The same over one stream."""
    with run_server(pour) as sink:
        client = tunnel.client(sink, server=far(tunnel))
        client.wait_line("connected to exec:")
        with contextlib.ExitStack() as stack:
            users = [stack.enter_context(connect(tunnel.proxy)) for _ in range(8)]
            for s in users:
                assert s.recv(PART)
            for pid in far_ends(client):
                os.kill(pid, signal.SIGKILL)
            for s in users:
                wait_for_the_end(s)
        client.wait_lines("connected to exec:", 2)
        with connect(tunnel.proxy) as s:
            assert s.recv(PART)


# --- a part never looks like the whole -------------------------------------------------------------


class Ends:
    """A target that sends without end, and notes how what is sent to it ended."""

    def __init__(self):
        self.seen = []
        self.listener = run_server(self._serve)

    def _serve(self, s):
        # not a thread each way: an error is told to one of them only
        s.setblocking(False)
        reads = [s]
        with s, contextlib.suppress(BrokenPipeError):
            try:
                while True:
                    readable, writable, _ = select.select(reads, [s], [])
                    if readable and not s.recv(1 << 20):
                        self.seen.append("an end")
                        reads = []
                    if writable:
                        s.send(bytes(PART))
            except ConnectionResetError:
                if reads:
                    self.seen.append("a reset")


def how_it_ends(s):
    """After whatever comes before."""
    s.settimeout(20 * PATIENCE)
    try:
        while s.recv(1 << 20):
            pass
        return "an end"
    except ConnectionResetError:
        return "a reset"


@pytest.mark.parametrize("link, killed", [("tcp", "client"), ("tcp", "server"), ("exec", "client"), ("exec", "server"),
                                          ("tcp", "wire")])
def test_a_part_is_no_whole(tunnel, wire, link, killed):
    """Whichever dies: who still reads sees a reset, and so does the target; who has ended, too."""
    ends = Ends()
    with ends.listener as sink, contextlib.ExitStack() as stack:
        if link == "exec":
            client = tunnel.client(sink, server=far(tunnel))
            client.wait_line("connected to exec:")
            server = far_ends(client)
        else:
            server = [tunnel.server().pid]
            client = tunnel.client(sink, server=at(wire.port) if killed == "wire" else None)
            client.wait_line("connected to")
        users = [stack.enter_context(connect(tunnel.proxy)) for _ in range(6)]
        for s in users:
            assert s.recv(PART)
        for s in users[::2]:
            s.shutdown(socket.SHUT_WR)
        wait_for(lambda: ends.seen == ["an end"] * 3, "the ends that were meant")
        if killed == "wire":
            wire.cut()
        else:
            for pid in [client.pid] if killed == "client" else server:
                os.kill(pid, signal.SIGKILL)
        assert [how_it_ends(s) for s in users] == ["a reset"] * 6
        wait_for(lambda: len(ends.seen) == 6, "the target's ends")
        assert ends.seen[3:] == ["a reset"] * 3


@pytest.mark.parametrize("link", ["tcp", "exec"])
@pytest.mark.parametrize("who", ["target", "user"])
def test_a_reset_stays_one(tunnel, link, who):
    """What broke behind one end is broken in front of the other one."""
    seen = []

    def serve(s):
        s.sendall(bytes(1000))
        if who == "target":
            assert s.recv(3) == b"now"
            will_reset(s)
        else:
            seen.append(how_it_ends(s))
        s.close()

    with run_server(serve) as target:
        if link == "exec":
            tunnel.client(target, server=far(tunnel)).wait_line("connected to exec:")
        else:
            tunnel.up(target)
        for is_half_closed in (False, True):
            s = connect(tunnel.proxy)
            got = 0
            while got < 1000:
                got += len(s.recv(1000))
            if who == "target":
                s.sendall(b"now")
                if is_half_closed:
                    with contextlib.suppress(OSError):  # it came already
                        s.shutdown(socket.SHUT_WR)
                assert how_it_ends(s) == "a reset"
            elif not is_half_closed:
                will_reset(s)
            s.close()
            if who == "user":  # one after the other: each is served by a thread of its own
                wait_for(lambda: len(seen) == 1 + is_half_closed, "what the target sees")
                assert seen[-1] == ("an end" if is_half_closed else "a reset")


# --- too much --------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["client", "server"])
def test_too_few_descriptors(tunnel, target, end):
    """Who finds no place waits for one; nobody is lost."""
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))

    options = {end: {"preexec_fn": few}}
    server = tunnel._start("server", "--bind-proxy", at(tunnel.proxy), "--bind-client", at(tunnel.clients),
                           **options.get("server", {}))
    server.wait_line("clients come to")
    client = tunnel._start("client", "--server", at(tunnel.clients), "--to", at(target.getsockname()[1]),
                           **options.get("client", {}))
    client.wait_line("connected to")
    users = [connect(tunnel.proxy) for _ in range(100)]
    for i, s in enumerate(users):  # each makes room for another one
        s.sendall(b"%d" % i)
        s.shutdown(socket.SHUT_WR)
    for i, s in enumerate(users):
        s.settimeout(20 * PATIENCE)
        assert s.recv(100) == b"%d" % i
        s.close()
    assert len(open_fds((server if end == "server" else client).pid)) < 160


def test_a_server_that_is_full_of_strangers(tunnel, target):
    """More lanes of one address than it may have; its client goes on, and so does one that comes later."""
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))

    server = tunnel._start("server", "--bind-proxy", at(tunnel.proxy), "--bind-client", at(tunnel.clients),
                           "--dead-after", 600, preexec_fn=few)
    server.wait_line("clients come to")
    client = tunnel.client(target)
    client.wait_line("connected to")
    with contextlib.ExitStack() as stack:
        for i in range(150):
            s = stack.enter_context(socket.create_connection(("127.0.0.1", tunnel.clients), 10 * PATIENCE,
                                                             ("127.0.0.2", 0)))
            with contextlib.suppress(OSError):  # it has been one too many
                s.sendall(HELLO[:-8] + b"%08d" % i + b"n")
        assert exchange(tunnel.proxy, b"x") == b"x"
        late = tunnel.client(target)
        late.wait_line("connected to")
        assert client.stop() == 0
        assert [exchange(tunnel.proxy, b"%d" % i) for i in range(10)] == [b"%d" % i for i in range(10)]
    assert server.popen.poll() is None and late.stop() == 0


def come_from(address, port):
    s = socket.socket()
    s.settimeout(20 * PATIENCE)
    s.bind((address, 0))
    with contextlib.suppress(OSError):  # it has been one too many
        s.connect(("127.0.0.1", port))
        s.sendall(b"x")
    return s


def is_answered(s):
    try:
        return s.recv(1) == b"x"
    except OSError:  # a reset, which connect(2) may have told
        return False


def comes_through(address, port):
    with come_from(address, port) as s:
        return is_answered(s)


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def few_descriptors(number):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))


@pytest.mark.parametrize("link,many", [("few descriptors", 130), ("few at the client", 130), ("a command", 600)])
def test_idle_connections_keep_nobody_out_of_a_tunnel(tunnel, many_descriptors, link, many):
    """Half of what there can be is one address's, whatever it has done before, also of what is led the other way; none
    of them ends for another one."""
    with run_server(echo) as target:
        to = at(target.getsockname()[1])
        words = ["--to", to, "--reverse", order("back", back := free_port(), to)]
        if link == "a command":
            near = client = client_of(tunnel, *words, server=far(tunnel, "--allow-reverse", to))
        else:
            near = tunnel._start("server", "--bind-proxy", at(tunnel.proxy), "--bind-client", at(tunnel.clients),
                                 "--allow-reverse", to, preexec_fn=few_descriptors(400 if link == "few descriptors" else 4000))
            near.wait_line("clients come to")
            client = tunnel._start("client", "--server", at(tunnel.clients), *words,
                                   preexec_fn=few_descriptors(4000 if link == "few descriptors" else 400))
            if link == "few at the client":
                near = client
        client.wait_line("back: .*leads to")
        for _ in range(6):
            for s in [come_from("127.0.0.2", tunnel.proxy) for _ in range(34)]:
                s.close()
        wait_for(lambda: comes_through("127.0.0.2", tunnel.proxy), "their end")
        with contextlib.ExitStack() as stack:
            idle = [stack.enter_context(come_from("127.0.0.2", tunnel.proxy)) for _ in range(many)]
            assert is_answered(idle[0]) and not is_answered(idle[-1])
            for address in ("127.0.0.3", "127.0.0.1"):
                for port in [tunnel.proxy, back] * 4:
                    assert is_answered(stack.enter_context(come_from(address, port))), (address, port == back)
            near.wait_line("127.0.0.2.* has as many connections as others leave it")
            if link != "a command":  # which has its server at the other end
                assert status(tunnel.nswrap)["server" if near != client else "client"]["refused"] > 0
            idle[0].sendall(b"x")
            assert is_answered(idle[0])
        wait_for(lambda: comes_through("127.0.0.2", tunnel.proxy), "places that are given back")
        assert client.stop() == 0


@pytest.mark.waits
def test_forwards_without_end(tunnel, target):
    """A client may have so many and no more, and what it had goes with it."""
    server = tunnel.server()
    fds = settled_fds(server.pid)
    with connect(tunnel.clients) as s:
        s.sendall(HELLO + b"c")
        s.settimeout(10 * PATIENCE)
        with contextlib.suppress(OSError):
            for i in range(100):
                text = b"ftx%02d\0" % i + b"127.0.0.1:0"
                s.sendall(b"F\0" + len(text).to_bytes(2, "big") + text)
        with contextlib.suppress(OSError):
            while s.recv(PART):
                pass
        assert len(open_fds(server.pid)) < fds + 70
    wait_for(lambda: len(open_fds(server.pid)) <= fds, "the end of what it had", 15)
    tunnel.client(target).wait_line("connected to")
    assert exchange(tunnel.proxy, b"x") == b"x"


# --- who means harm --------------------------------------------------------------------------------


def test_a_flood_of_orders(tunnel, target):
    """For a port that is taken, without reading the answers."""
    server, client = tunnel.up(target)
    text = b"ftweb\0" + at(tunnel.proxy).encode()
    with connect(tunnel.clients) as s:
        s.sendall(HELLO + b"c")
        s.settimeout(1)
        with contextlib.suppress(OSError):
            s.sendall((b"F\0" + len(text).to_bytes(2, "big") + text) * 20000)
        assert [exchange(tunnel.proxy, b"%d" % i) for i in range(10)] == [b"%d" % i for i in range(10)]
    assert server.popen.poll() is None and client.stop() == 0


@pytest.mark.parametrize("answers", [
    [b"Gother\0" + b"127.0.0.1:1"], [b"Gweb\0\x1b[31m\n"], [b"Nweb\0" + b"1\x1b[31mred\nline"], [b"Nweb"], [b"N"],
    [b"Gweb\0x", b"Gweb\0x"], [b"G" + b"n" * 40 + b"\0x"], [b"Nweb\0" + b"1" + b"x" * 500], [b"Oweb\0" + b"y" * 200],
    [b"Oother\0127.0.0.1:1"], [b"A"], [b"R"], [b"T"], [b"H12345678"], [b"\0"], [b"L"], [b"C"], [b"F"]])
def test_answers_of_a_hostile_server(tunnel, target, answers):
    """The client goes on, shows nothing as it came, and connects to nothing that it has not offered."""
    asked = threading.Event()

    def serve(s):
        with s, contextlib.suppress(OSError):
            s.sendall(b"nswrapt1")
            said = s.recv(1000)
            s.sendall(WELCOME[8:])
            if said.startswith(b"nswrapt1H\0\0\x09") and said[20:21] == b"c":
                s.recv(1000)
                for answer in answers:
                    s.sendall(answer[:1] + b"\0" + (len(answer) - 1).to_bytes(2, "big") + answer[1:])
                asked.set()
            while s.recv(1000):
                pass

    with socket.create_server(("127.0.0.1", tunnel.clients)) as listener:
        serve_each(listener, serve)
        client = client_of(tunnel, "--forward", order("web", free_port(), target), "-v")
        assert asked.wait(20 * PATIENCE)
        assert client.stop() == 0
        assert all(line.isprintable() and line.startswith("nswrap: ") for line in client.stderr.lines)
        listener.shutdown(socket.SHUT_RDWR)


def test_an_open_for_what_was_not_offered(tunnel, target):
    """It is refused: neither --to's default nor another name's target is connected to."""
    got = []

    def serve(s):
        with s, contextlib.suppress(OSError):
            s.sendall(b"nswrapt1")
            kind = s.recv(1000)[20:21]
            s.sendall(WELCOME[8:])
            s.settimeout(10 * PATIENCE)
            if kind == b"n":
                for text in (b"127.0.0.1:1", b"other\0" + b"127.0.0.1:1"):
                    s.sendall(b"O\0\0" + bytes([len(text)]) + text)
                said = b""
                while len(said) < 16 and (part := s.recv(16 - len(said))):
                    said += part
                got.append(said)
            while s.recv(1000):
                pass

    with run_server(serve) as listener:
        client = client_of(tunnel, "--forward", order("web", free_port(), target),
                           server=at(listener.getsockname()[1]))
        wait_for(lambda: got, "its answers")
        assert got[0] == b"T\0\0\0R\0\0\0" * 2
        assert client.stop() == 0
