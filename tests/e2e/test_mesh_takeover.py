# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_takeover - links that die without a word: agents that end, and those that come next"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

from harness import BINARY, PATIENCE, free_port, is_alive, process_table, python, wait_for
from mesh_tools import Box, Site, network
from standin import MESSAGE, PIPES, Link, arguments, frame
from tools import THOROUGH, tool

IDENTITY = "0123456789abcdef"
# a new agent does not wait for the old one
AT_ONCE_S = 2


@pytest.fixture
def ports():
    """(what an agent offers and enters, its own VIP, another host's)."""
    one, two = f"{network()}.101", f"{network()}.102"
    return {"me": one, "forwards": [(8080, "127.0.0.1", free_port())], "others": [(two, 8080)]}


@pytest.fixture
def start(nswrap):
    """start(words): an agent of this host, over pipes that nobody closes before the test's end."""
    def popen(words=("agent",)):
        return Link(nswrap.popen(*words, **PIPES, stderr=subprocess.DEVNULL))

    return popen


def listener(address, port):
    """The inode of who listens there, or None."""
    at = f"{socket.inet_aton(address)[::-1].hex().upper()}:{port:04X}"
    with open("/proc/net/tcp") as table:
        return next((row.split()[9] for row in table if row.split()[1] == at and row.split()[3] == "0A"),
                    None)


def serves(pid, address, port):
    inode = listener(address, port)
    return inode and any(os.readlink(f"/proc/{pid}/fd/{fd}") == f"socket:[{inode}]"
                         for fd in os.listdir(f"/proc/{pid}/fd"))


def first(start, ports, **more):
    link = start()
    link.configure(**ports)
    link.configure(**ports, **{"identity": IDENTITY, **more})
    assert serves(link.popen.pid, ports["me"], 8080)
    return link


@pytest.mark.parametrize("state", ["blackhole", "stopped"])
def test_the_next_agent_takes_over_at_once(start, ports, state):
    """As a manager of ours does: what is its own comes with a second configure."""
    old = first(start, ports)
    if state == "stopped":
        os.kill(old.popen.pid, signal.SIGSTOP)
    new = start()
    new.configure(**ports)
    assert old.popen.poll() is None
    began = time.monotonic()
    new.configure(**ports, identity=IDENTITY)
    took = time.monotonic() - began
    old.popen.wait(1 * PATIENCE)
    for address in ports["me"], ports["others"][0][0]:
        assert serves(new.popen.pid, address, 8080)
    assert took < AT_ONCE_S * PATIENCE
    print(f"{state}: taken over in {took * 1000:.0f} ms")
    # and the one after that
    last = first(start, ports)
    new.popen.wait(1 * PATIENCE)
    last.hang_up()
    assert last.popen.wait(10) == 0


def test_others_are_left_alone(start, ports):
    """Another identity is another host or mesh, and who has none is of a manager that knows none."""
    old = first(start, ports)
    other = start()
    other.configure(**ports, identity=IDENTITY[::-1])
    without = start()
    without.configure(**ports)
    old.configure(**ports, identity=IDENTITY)
    assert serves(old.popen.pid, ports["me"], 8080)


def test_two_at_once(start, ports):
    """One stays, with all ports."""
    old = first(start, ports)
    rivals = [start() for _ in range(4)]
    for rival in rivals:
        rival.configure(**ports)
    for rival in rivals:
        body = {"id": 7, "op": "configure", "args": arguments(**ports, identity=IDENTITY)}
        rival.send(frame(MESSAGE, json.dumps({"type": "request", "body": body}).encode()))
    old.popen.wait(5 * PATIENCE)
    wait_for(lambda: sum(r.popen.poll() is None for r in rivals) == 1, "one to stay", 10)
    [last] = [r for r in rivals if r.popen.poll() is None]
    wait_for(lambda: serves(last.popen.pid, ports["me"], 8080), "its port", 10)


@pytest.mark.parametrize("identity", ["../x", "", "A", "f" * 65])
def test_an_identity_that_is_none(start, ports, identity):
    link = start()
    result = link.request("configure", arguments(**ports, identity=identity))
    assert ("identity" in (result.get("error") or "")) == (identity != "")


def test_an_impostor_is_not_killed(nswrap, start, ports):
    """A program of the same user that is no nswrap: it lives, and the agent works all the same."""
    first(start, ports).hang_up()
    place = nswrap.runtime_dir / "nswrap" / f"agent-{IDENTITY}"
    wait_for(lambda: not place.exists(), "the end of the first")
    with subprocess.Popen([*python(
            "import socket, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
            "s.bind(sys.argv[1])\ns.listen()\nprint(flush=True)\nsys.stdin.read()\n", place)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE) as impostor:
        impostor.stdout.readline()
        first(start, ports)
        assert impostor.poll() is None
        impostor.stdin.close()
    place.unlink()


def test_silence_ends_an_agent(start, ports):
    """Whatever comes is a sign of life; who is told of no silence waits for ever."""
    for_ever = start()
    for_ever.configure(**{**ports, "forwards": [], "others": []})
    link = first(start, ports, silence=2)
    began = time.monotonic()
    while time.monotonic() - began < 4:
        assert link.request("ping", {})["op"] == "ping"
        time.sleep(0.2)
    assert link.popen.poll() is None
    began = time.monotonic()
    assert link.popen.wait(4 * PATIENCE) != 0
    assert time.monotonic() - began > 1.4
    print(f"silence of 2 s: ended after {time.monotonic() - began:.1f} s")
    assert for_ever.popen.poll() is None
    # it takes back what it was told
    patient = first(start, ports, silence=1)
    patient.configure(**ports, identity=IDENTITY)
    time.sleep(2)
    assert patient.popen.poll() is None


def test_who_was_stopped_has_not_heard_silence(start, ports):
    link = first(start, ports, silence=2)
    os.kill(link.popen.pid, signal.SIGSTOP)
    time.sleep(3)
    os.kill(link.popen.pid, signal.SIGCONT)
    assert link.request("ping", {})["op"] == "ping"


def test_agents_of_a_sandbox(nswrap, start):
    """They have the mesh's addresses in one and the same namespace."""
    box = Box(nswrap, "box")
    words = ("exec", "box", "nswrap", "agent")
    me, other = "10.77.1.1", "10.77.1.2"
    agents = []
    for _ in range(2):
        agents.append(start(words))
        agents[-1].configure(me, others=[(other, 80)])
    for link in agents:
        link.configure(me, others=[(other, 80)], identity=IDENTITY)
    old = agents[0]
    assert old.popen.wait(2 * PATIENCE) != 0
    routes = box.do("ip", "route", "show", "table", "local").decode()
    assert f"{other} dev mesh1" in routes, routes


if THOROUGH:  # half a minute
    @pytest.mark.limit(90)
    def test_no_command_runs_twice(nswrap, short_dir):
        """A link that takes nothing any more, both ways, and has no end: wanpipe is stopped."""
        log = pathlib.Path(short_dir, "log")
        site = Site(nswrap, short_dir)
        site.host("a", f"{network()}.101", [tool("wanpipe"), "--", BINARY, "--network", "none", "-c",
                                           f"echo $$ >>{log}; exec sleep 1000"])
        with site:
            [first] = log.read_text().split()
            [pipe] = [pid for pid, row in process_table().items()
                      if row[2] == "wanpipe" and pid in site.running.tree()]
            os.kill(pipe, signal.SIGSTOP)
            began = time.monotonic()
            wait_for(lambda: not is_alive(int(first)), "the end of the first COMMAND", 25)
            ended = time.monotonic() - began
            assert log.read_text().split() == [first]
            wait_for(lambda: site.losses("a"), "the loss to be noticed", 30)
            noticed = time.monotonic() - began
            site.wait_state("a", restarts=1)
            print(f"blackhole: agent ended after {ended:.1f} s, noticed after {noticed:.1f} s, "
                  f"ready again after {time.monotonic() - began:.1f} s")
            assert len(log.read_text().split()) == 2
