# SPDX-License-Identifier: Apache-2.0
"""nswrap tunnel status: what the ends of tunnels say of themselves"""

import contextlib
import os
import signal
import socket
import time

import pytest
from harness import PATIENCE, connect, exchange, wait_for
from test_tunnel import LennutServer, target, tunnel  # noqa: F401 (fixtures)
from tools import listed, table


def status(nswrap, hung=()):
    return {one["name"]: one for one in listed(nswrap, "tunnel", "status", hung=hung)}


def test_status(nswrap, tunnel, target):
    assert status(nswrap) == {}
    server = tunnel.server()
    found = status(nswrap)["server"]
    assert (found["end"], found["state"], found["waiting"], found["key"]) == ("server", "waiting", 0, False)
    assert (found["pid"], found["age"] < 60) == (server.pid, True)
    wait_for(lambda: 1 <= status(nswrap)["server"]["age"] < 60, "the first second")
    assert found["clients"] == f"127.0.0.1:{tunnel.clients}"
    assert found["proxies"] == [f"127.0.0.1:{tunnel.proxy}"] and found["from"] == found["proxies"][0]
    client = tunnel.client(target)
    client.wait_line("connected to")
    assert exchange(tunnel.proxy, b"x") == b"x"
    with connect(tunnel.proxy) as s:
        s.sendall(b"x")
        wait_for(lambda: [status(nswrap)[end]["connections"] for end in ("server", "client")] == [1, 1],
                 "a connection that is counted")
        found = status(nswrap)
    assert found["server"]["state"] == found["client"]["state"] == "up"
    assert found["server"]["served"] == found["client"]["served"] == 2
    assert found["server"]["waiting"] >= 1 and found["client"]["waiting"] >= 1
    assert (found["server"]["held"], found["server"]["unserved"]) == (0, 0)
    assert found["client"]["from"] == f"127.0.0.1:{tunnel.clients}"
    assert found["client"]["to"].endswith(":%d" % target.getsockname()[1])
    assert not found["client"]["lennut"] and found["client"]["connecting"] == 0
    target.shutdown(socket.SHUT_RDWR)
    target.close()
    with contextlib.suppress(ConnectionResetError), connect(tunnel.proxy) as s:
        s.recv(1)
    wait_for(lambda: [status(nswrap)[end]["refused"] for end in ("server", "client")] == [1, 1],
             "a refusal that is counted")
    server.signal(signal.SIGKILL)
    server.popen.wait()
    wait_for(lambda: status(nswrap)["client"]["state"] == "trying", "the client's news")
    assert list(status(nswrap)) == ["client"]
    other = tunnel.client("127.0.0.1:1")
    wait_for(lambda: "client-2" in status(nswrap), "the second client")
    lines = table(nswrap, "tunnel", "status").splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "client", "client-2"]
    assert lines[0].split()[3:] == ["STATE", "OPEN", "READY", "SERVED", "REFUSED", "FROM"]
    assert str(other.pid) in lines[2]
    os.kill(other.pid, signal.SIGSTOP)
    found = status(nswrap, ["client-2"])["client-2"]
    os.kill(other.pid, signal.SIGCONT)
    assert found["error"] == "does not answer"


def test_those_that_hang_take_a_second_together(nswrap, tunnel, target):
    """And who does not is shown."""
    ends = [tunnel.server(), *(tunnel.client(target) for _ in range(4))]
    wait_for(lambda: len(status(nswrap)) == 5, "all of them")
    for end in ends[1:]:
        end.signal(signal.SIGSTOP)

    def is_quick():
        began = time.monotonic()
        found = status(nswrap, [f"client{n}" for n in ("", "-2", "-3", "-4")])
        assert [name for name, one in found.items() if "error" not in one] == ["server"]
        return time.monotonic() - began < 2

    try:
        wait_for(is_quick, "a second for all of them")
    finally:
        for end in ends[1:]:
            end.signal(signal.SIGCONT)


@pytest.mark.waits
def test_what_is_held_and_lost_is_counted(nswrap, tunnel, target):
    """Who comes while there is no client, and what is over with one that is killed."""
    server = tunnel.server()
    client = tunnel.client(target)
    wait_for(lambda: status(nswrap)["server"]["waiting"] >= 1, "a lane")
    client.signal(signal.SIGKILL)
    client.popen.wait()
    wait_for(lambda: status(nswrap)["server"]["lost"] >= 1, "what is lost")
    began = time.monotonic()
    with connect(tunnel.proxy) as s:
        wait_for(lambda: status(nswrap)["server"]["held"] == 1, "one that is held")
        assert status(nswrap)["server"]["unserved"] == 0
        with contextlib.suppress(ConnectionResetError):
            s.settimeout(40 * PATIENCE)
            assert s.recv(1) == b""
    assert time.monotonic() - began > 1
    found = status(nswrap)["server"]
    assert (found["held"], found["unserved"], found["pid"]) == (0, 1, server.pid)


def test_what_is_being_connected_is_counted(nswrap, tunnel):
    """To a target that neither accepts nor refuses: its backlog is full."""
    tunnel.server()
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        tunnel.client(full).wait_line("connected to")
        with connect(tunnel.proxy) as s:
            s.sendall(b"x")
            wait_for(lambda: status(nswrap)["client"]["connecting"] == 1, "one that is under way")
    wait_for(lambda: status(nswrap)["client"]["connecting"] == 0, "nobody to be under way")


def test_lennuts_protocol_is_told(nswrap, tunnel, target):
    server = LennutServer(tunnel.proxy, tunnel.clients)
    client = tunnel.client(target)
    client.wait_line("lennut's protocol")
    assert status(nswrap)["client"]["lennut"] is True
    server.close()


def test_json_is_for_status(nswrap):
    done = nswrap.run("tunnel", "client", "--json")
    assert done.returncode == 2 and b"--json is for nswrap tunnel status" in done.stderr
