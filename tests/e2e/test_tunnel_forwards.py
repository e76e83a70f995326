# SPDX-License-Identifier: Apache-2.0
"""nswrap tunnel: what clients have led through by name, in both directions, and datagrams"""

import contextlib
import json
import os
import signal
import socket
import threading

import pytest
from harness import PATIENCE, connect, exchange, free_port, is_refused, wait_for
from test_tunnel import BURST, answer_at_the_end, is_reset, run_server, serve_each
from test_tunnel import target, tunnel  # noqa: F401 (fixtures)
from test_tunnel_links import far, keys  # noqa: F401 (a fixture)
from test_tunnel_status import status


def at(port):
    return f"127.0.0.1:{port}"


def order(name, port, to, proto=""):
    return f"{name}={at(port)}:{to if isinstance(to, str) else at(to.getsockname()[1])}{proto}"


def client_of(tunnel, *options, server=None):
    return tunnel._start("client", "--server", server or at(tunnel.clients), *options)


@pytest.fixture
def echo():
    """Datagrams that come back in capitals."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))

        def run():
            with contextlib.suppress(OSError):
                while True:
                    data, peer = s.recvfrom(65536)
                    if data == b"end":
                        return
                    s.sendto(data.upper(), peer)

        thread = threading.Thread(target=run)
        thread.start()
        yield s
        s.sendto(b"end", s.getsockname())
        thread.join()


def say(s, data):
    """A datagram and its answer."""
    s.settimeout(10)
    s.send(data)
    return s.recv(65536)


def datagrams(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect(("127.0.0.1", port))
    return s


def answer(text):
    def serve(client):
        with client:
            client.sendall(text)

    return serve


def hear(port):
    with connect(port) as s:
        return s.recv(100)


# --- forwards --------------------------------------------------------------------------------------


def test_several(tunnel, target):
    """Each to its own, and the server's --bind-proxy to none of them."""
    a, b = free_port(), free_port()
    tunnel.server()
    with run_server(answer(b"one")) as one, run_server(answer(b"two")) as two:
        client = client_of(tunnel, "--forward", order("one", a, one), "--forward", order("two", b, two))
        client.wait_line(f"one: {at(a)}/tcp at the server leads to {at(one.getsockname()[1])}")
        client.wait_line(f"two: {at(b)}/tcp at the server")
        assert [hear(port) for port in (a, b, a, b)] == [b"one", b"two", b"one", b"two"]
        with connect(tunnel.proxy) as s:
            s.settimeout(0.3)
            with pytest.raises(TimeoutError):
                s.recv(1)  # it is held: there may be somebody for it later
            tunnel.client(target).wait_line("connected to")
            s.sendall(b"later")
            s.shutdown(socket.SHUT_WR)
            s.settimeout(10)
            assert s.recv(100) == b"later"
        assert client.stop() == 0
        wait_for(lambda: is_refused(a) and is_refused(b), "the listeners' end")


def test_with_what_is_not_named(tunnel, target):
    """--to is served, too; a burst by name, and a port that the server picks."""
    tunnel.server()
    client = tunnel.client(target, "--forward", order("named", 0, target))
    line = client.wait_line(r"named: 127\.0\.0\.1:\d+/tcp at the server")
    port = int(line.split("127.0.0.1:")[1].split("/")[0])
    assert exchange(tunnel.proxy, b"unnamed") == b"unnamed"
    data = os.urandom(1 << 20)
    assert exchange(port, data) == data
    clients = [connect(port) for _ in range(BURST)]
    for i, s in enumerate(clients):
        s.sendall(b"%d" % i)
        s.shutdown(socket.SHUT_WR)
    assert [s.recv(100) for s in clients] == [b"%d" % i for i in range(BURST)]
    for s in clients:
        s.close()


def test_paths(tunnel, target, short_dir):
    """At both ends; only with --allow-forward."""
    path, to = f"{short_dir}/at", f"{short_dir}/to"
    server = tunnel.server("--allow-forward", f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(to)
        listener.listen()
        client = client_of(tunnel, "--forward", f"x=unix:{path}:unix:{to}", "--forward",
                           f"y=unix:{short_dir}/other:unix:{to}")
        client.wait_line("x: .*at the server leads to unix:")
        client.wait_line("y: .*does not allow it")
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.sendall(b"by path")
            with listener.accept()[0] as there:
                assert there.recv(100) == b"by path"
    assert server.stop() == 0 and not os.path.exists(path)
    assert not os.path.exists(f"{short_dir}/other")


def test_a_refusal(tunnel, target):
    """A reset, and the others go on."""
    dead, port = free_port(), free_port()
    tunnel.server()
    client = client_of(tunnel, "--forward", order("dead", dead, at(free_port())), "--forward",
                       order("live", port, target))
    client.wait_line("live: ")
    assert is_reset(dead) and is_reset(dead)
    assert exchange(port, b"live") == b"live"


def test_a_port_that_is_taken(tunnel, target, nswrap):
    """Said at the client, once, and had as soon as it is free."""
    tunnel.server()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        client = client_of(tunnel, "--forward", order("web", port, target))
        client.wait_line(f"web: {at(tunnel.clients)}: it cannot listen at {at(port)}: Address already in use; asking again")
        found = status(nswrap)["client"]["forwards"][0]
        assert (found["state"], "in use" in found["why"]) == ("denied", True)
    client.wait_line(f"web: {at(port)}/tcp at the server")
    assert exchange(port, b"free") == b"free"
    assert len([line for line in client.stderr.lines if "in use" in line]) == 1


def test_another_clients_place(tunnel, target):
    """It is that one's until it goes; who asks for the same takes turns with it."""
    port = free_port()
    server = tunnel.server()
    with run_server(answer(b"1")) as one, run_server(answer(b"2")) as two:
        first = client_of(tunnel, "--forward", order("web", port, one))
        first.wait_line("web: .*at the server")
        other = client_of(tunnel, "--forward", order("other", port, target))
        other.wait_line('other: .*is where another client has its "web"')
        second = client_of(tunnel, "--forward", order("web", port, two))
        second.wait_line("web: .*at the server")
        wait_for(lambda: {hear(port) for _ in range(10)} == {b"1", b"2"}, "both")
        first.signal(signal.SIGSTOP)  # its turn comes, and goes to the other one
        assert [hear(port) for _ in range(4)] == [b"2"] * 4
        first.signal(signal.SIGKILL)
        assert second.stop() == 0
        other.wait_line("other: .*at the server")
        assert exchange(port, b"mine") == b"mine"
        assert server.popen.poll() is None


@pytest.mark.parametrize("end", ["client", "server"])
def test_an_end_comes_back(tunnel, target, end):
    """Who connected to a killed client's port is held, and served by the next one; a server is asked again."""
    port = free_port()
    server = tunnel.server()
    options = ("--forward", order("web", port, target))
    client = client_of(tunnel, *options)
    client.wait_line("web: ")
    assert exchange(port, b"before") == b"before"
    if end == "client":
        client.signal(signal.SIGKILL)
        client.popen.wait()
        with connect(port) as s:
            s.sendall(b"held")
            s.shutdown(socket.SHUT_WR)
            client_of(tunnel, *options)
            assert s.recv(100) == b"held"
    else:
        server.signal(signal.SIGKILL)
        server.popen.wait()
        tunnel.server()
        client.wait_lines("web: .*at the server", 2)
    assert exchange(port, b"after") == b"after"


@pytest.mark.parametrize("options, place, is_allowed", [
    ([], "127.0.0.1", True),
    ([], "0.0.0.0", False),
    (["--allow-forward", "0.0.0.0:*"], "0.0.0.0", True),
    (["--allow-forward", "0.0.0.0:1-9999"], "0.0.0.0", False),
    (["--allow-forward", "0.0.0.0:*"], "127.0.0.1", False),
    (["--key-file"], "0.0.0.0", True),
    (["--key-file", "--allow-forward", "127.0.0.1:*"], "0.0.0.0", False),
])
def test_where_a_server_may_listen(tunnel, target, keys, options, place, is_allowed):  # noqa: F811
    port = free_port()
    key = ["--key-file", keys[0]] if "--key-file" in options else []
    tunnel.server(*key, *(option for option in options if option != "--key-file"))
    client = client_of(tunnel, *key, "--forward", f"web={place}:{port}:{at(target.getsockname()[1])}")
    if is_allowed:
        client.wait_line("web: .*at the server")
        assert exchange(port, b"x") == b"x"
    else:
        client.wait_line(r"web: .*does not allow it \(--allow-forward\)")
        assert is_refused(port)


def test_over_a_command(tunnel, target, echo):
    """All of it over one stream."""
    port, back, udp = free_port(), free_port(), free_port()
    options = ["--forward", order("web", port, target), "--reverse", order("back", back, target),
               "--forward", order("udp", udp, echo, "/udp")]
    client = client_of(tunnel, *options, server=far(
        tunnel, "--allow-reverse", at(target.getsockname()[1])))
    for name in ("web", "back", "udp"):
        client.wait_line(f"{name}: .*leads to")
    data = os.urandom(1 << 20)
    assert exchange(port, data) == data
    assert exchange(back, data) == data
    with datagrams(udp) as s:
        assert say(s, b"datagram") == b"DATAGRAM"


def test_lennuts_server_has_none(tunnel, target):
    """It is told nothing that it would pass on."""
    heard = []

    def serve(client):
        with client, contextlib.suppress(OSError):
            client.settimeout(5)
            heard.append(client.recv(100))

    with socket.create_server(("127.0.0.1", tunnel.clients)) as listener:
        serve_each(listener, serve)
        client = client_of(tunnel, "--forward", order("web", free_port(), target))
        client.wait_line("does not answer; trying again")
        wait_for(lambda: heard, "the end of the connection")
        assert heard[0] == b"" and client.stop() == 0


# --- the other direction ---------------------------------------------------------------------------


def test_reverse(tunnel, target, nswrap):
    """The client listens, the server connects: only to what is allowed."""
    port, bad = free_port(), free_port()
    tunnel.server("--allow-reverse", at(target.getsockname()[1]))
    client = client_of(tunnel, "--reverse", f"db={at(port)}:localhost:{target.getsockname()[1]}",
                       "--reverse", order("bad", bad, at(tunnel.proxy)))
    client.wait_line(f"db: {at(port)}/tcp here leads to localhost")
    client.wait_line(r"bad: .*does not allow it \(--allow-reverse\)")
    data = os.urandom(1 << 20) * 4
    assert exchange(port, data) == data
    assert is_reset(bad)
    clients = [connect(port) for _ in range(BURST)]
    for i, s in enumerate(clients):
        s.sendall(b"%d" % i)
        s.shutdown(socket.SHUT_WR)
    assert [s.recv(100) for s in clients] == [b"%d" % i for i in range(BURST)]
    for s in clients:
        s.close()
    found = status(nswrap)
    assert found["server"]["reached"] == BURST + 1
    assert {one["name"]: (one["direction"], one["state"], one["served"], one["refused"])
            for one in found["client"]["forwards"]} == {
        "db": ("reverse", "up", BURST + 1, 0), "bad": ("reverse", "denied", 0, 1)}


def test_reverse_to_what_refuses(tunnel, nswrap):
    port, dead = free_port(), free_port()
    tunnel.server("--allow-reverse", at(dead))
    client = client_of(tunnel, "--reverse", order("db", port, at(dead)))
    client.wait_line("db: .*here")
    assert is_reset(port)
    assert status(nswrap)["server"]["unreached"] == 1


def test_reverse_is_held(tunnel, target):
    """Before the server is there, and while it is away."""
    port = free_port()
    allowed = ("--allow-reverse", at(target.getsockname()[1]))
    client = client_of(tunnel, "--reverse", order("db", port, target))
    client.wait_line("trying again")
    for _ in range(2):
        with connect(port) as s:
            s.sendall(b"early")
            s.shutdown(socket.SHUT_WR)
            server = tunnel.server(*allowed)
            assert s.recv(100) == b"early"
        server.signal(signal.SIGKILL)
        server.popen.wait()
        client.wait_lines("trying again", 2)


def test_a_client_that_asks_for_what_is_not_allowed(tunnel, target):
    """Whoever does not ask first is asked all the same."""
    tunnel.server("--allow-reverse", "127.0.0.1:1")
    for to in (target.getsockname()[1], tunnel.proxy):
        with connect(tunnel.clients) as s:
            place = b"rt\0" + at(to).encode()
            s.sendall(b"nswrapt1H\0\0\x0912345678rC\0\0" + bytes([len(place)]) + place)
            s.settimeout(10)
            got = b""
            with contextlib.suppress(ConnectionResetError):
                while part := s.recv(1000):
                    got += part
            assert b"R\0" in got and b"allow-reverse" in got


# --- datagrams -------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--forward", "--reverse"])
def test_datagrams(tunnel, echo, option):
    """Borders are kept, of empty and of the longest ones; each sender has its own answers."""
    port = free_port()
    tunnel.server("--allow-reverse", at(echo.getsockname()[1]))
    client = client_of(tunnel, option, order("dns", port, echo, "/udp"))
    client.wait_line(f"dns: {at(port)}/udp")
    with contextlib.ExitStack() as stack:
        senders = [stack.enter_context(datagrams(port)) for _ in range(20)]
        for i, s in enumerate(senders):
            assert say(s, b"hello %d" % i) == b"HELLO %d" % i
        for i, s in enumerate(senders):
            assert say(s, b"again %d" % i) == b"AGAIN %d" % i
        s = senders[0]
        for data in (b"", b"x" * 60000, b"", b"y"):
            assert say(s, data) == data.upper()


def wait_for_an_answer(s):
    s.settimeout(0.5)

    def is_served():
        with contextlib.suppress(OSError):
            s.send(b"after")
            return s.recv(100) == b"AFTER"

    wait_for(is_served, "an answer")


def test_a_new_port_for_each_question(tunnel, echo):
    """As for names: what its address has asked before gives way, long before it is forgotten."""
    port = free_port()
    client = client_of(tunnel, "--forward", order("dns", port, echo, "/udp"), server=far(tunnel))
    client.wait_line("dns: .*leads to")
    for n in range(500):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.2", 0))
            s.connect(("127.0.0.1", port))
            assert say(s, b"question %d" % n) == b"QUESTION %d" % n


def test_datagrams_outlive_a_server(tunnel, echo):
    """Who goes on sending is served again."""
    port = free_port()
    server = tunnel.server()
    client = client_of(tunnel, "--forward", order("dns", port, echo, "/udp"))
    client.wait_line("dns: ")
    with datagrams(port) as s:
        assert say(s, b"before") == b"BEFORE"
        server.signal(signal.SIGKILL)
        server.popen.wait()
        tunnel.server()
        client.wait_lines("dns: .*at the server", 2)
        wait_for_an_answer(s)


def test_datagrams_outlive_a_client(tunnel, echo):
    port = free_port()
    tunnel.server()
    options = ("--forward", order("dns", port, echo, "/udp"))
    client = client_of(tunnel, *options)
    client.wait_line("dns: ")
    with datagrams(port) as s:
        assert say(s, b"before") == b"BEFORE"
        client.signal(signal.SIGKILL)
        client.popen.wait()
        client_of(tunnel, *options).wait_line("dns: ")
        wait_for_an_answer(s)


# --- status ----------------------------------------------------------------------------------------


def test_status_of_forwards(nswrap, tunnel, target):
    port, dead = free_port(), free_port()
    tunnel.server()
    client = client_of(tunnel, "--forward", order("web", port, target), "--forward",
                       order("dead", dead, at(free_port())))
    client.wait_line("web: ")
    client.wait_line("dead: ")
    assert exchange(port, b"x") == b"x" and is_reset(dead)
    found = status(nswrap)
    assert found["client"]["to"] == ""
    web, other = found["client"]["forwards"]
    assert web == {"name": "web", "direction": "forward", "proto": "tcp", "state": "up", "from": at(port),
                   "to": at(target.getsockname()[1]), "served": 1, "refused": 0}
    assert (other["served"], other["refused"]) == (0, 1)
    there = {one["name"]: one for one in found["server"]["forwards"]}
    assert there["web"] == {"name": "web", "direction": "forward", "proto": "tcp", "from": at(port),
                            "clients": 1, "held": 0, "served": 1, "refused": 0, "unserved": 0}
    assert (there["dead"]["served"], there["dead"]["refused"]) == (0, 1)
    client.signal(signal.SIGKILL)
    client.popen.wait()

    def row():
        lines = nswrap.run("tunnel", "status").stdout.decode().splitlines()
        return next((line.split() for line in lines if line.startswith("server/web ")), None)

    with connect(port):
        wait_for(lambda: status(nswrap)["server"]["forwards"][0]["held"] == 1, "the one that is held")
        assert wait_for(row, "its row") == ["server/web", "held", "1", "0", f"{at(port)}/tcp"]
    assert json.dumps(status(nswrap))


@pytest.mark.waits
def test_who_is_held_in_vain_counts_for_that_forward(nswrap, tunnel, target):
    """Its client is there, and stopped."""
    ports = {"web": free_port(), "other": free_port()}
    tunnel.server()
    client = client_of(tunnel, *(word for name, port in ports.items()
                                 for word in ("--forward", order(name, port, target))))
    for name in ports:
        client.wait_line(f"{name}: ")
    client.signal(signal.SIGSTOP)
    with connect(ports["web"]) as s:
        s.settimeout(40 * PATIENCE)
        with contextlib.suppress(ConnectionResetError):
            assert s.recv(1) == b""
    found = status(nswrap, ["client"])["server"]
    client.signal(signal.SIGCONT)
    assert found["unserved"] == 1
    assert {one["name"]: one["unserved"] for one in found["forwards"]} == {"web": 1, "other": 0}


# --- what is wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize("words, wrong", [
    (["client", "--forward", "web"], '--forward web: "web": expected NAME=ADDR:TO'),
    (["client", "--forward", "web=127.0.0.1:80"], "expected NAME=ADDR:TO"),
    (["client", "--forward", "a b=127.0.0.1:1:web:1"], "expected a name"),
    (["client", "--forward", "web=example.com:1:web:1"], "is no address"),
    (["client", "--forward", "web=127.0.0.1:1:web:0"], "expected"),
    (["client", "--reverse", "web=127.0.0.1:1:web:1/icmp"], "icmp"),
    (["client", "--forward", "web=unix:/a:web:1/udp"], "a path is for connections"),
    (["client", "--forward", "web=127.0.0.1:1:a:1", "--reverse", "web=127.0.0.1:2:a:1"], "another one of that name"),
    (["server", "--forward", "web=127.0.0.1:1:a:1"], "for nswrap tunnel client"),
    (["client", "--allow-forward", "127.0.0.1:1"], "for nswrap tunnel server"),
    (["server", "--allow-forward", "127.0.0.1"], "expected HOST:PORT, HOST:FIRST-LAST"),
    (["server", "--allow-reverse", "db:9-1"], "below the first"),
])
def test_bad_forwards(nswrap, words, wrong):
    done = nswrap.run("tunnel", *words)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 2 and len(lines) == 1 and wrong in lines[0], lines


def test_a_port_here_that_is_taken(nswrap, tunnel):
    """Nothing is begun."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = nswrap.run("tunnel", "client", "--server", at(tunnel.clients), "--reverse", order("web", port, at(1)))
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 125 and len(lines) == 1 and f"port {port} of 127.0.0.1 is in use" in lines[0]


# --- targets that cannot be reached ----------------------------------------------------------------


def test_wrong_targets_are_told(tunnel):
    """Refused, unknown, at either end, named or not: one line of each, however often it was."""
    tunnel.server("--allow-reverse", "127.0.0.1:*")
    a, b, c = (free_port() for _ in range(3))
    nobody = at(free_port())
    client = client_of(tunnel, "--to", nobody, "--forward", order("a", a, "") + nobody,
                       "--forward", f"n={at(b)}:nowhere.invalid:9", "--reverse", order("r", c, "") + nobody)
    for name in "a", "n", "r":
        client.wait_line(f"{name}: .* leads? to")
    for port in (tunnel.proxy, a, b, c) * 3:
        with contextlib.suppress(ConnectionResetError), connect(port) as s:
            assert s.recv(1) == b""
    for name, where, why in (("--to", nobody, "Connection refused"), ("a", nobody, "Connection refused"),
                             ("n", "nowhere.invalid:9", ".*name"), ("r", nobody, "Connection refused")):
        client.wait_line(f"tunnel: {name} does not lead anywhere: {where}: {why}")
        told = [line for line in client.stderr.lines if f"{name} does not lead" in line]
        assert len(told) == 1, told
