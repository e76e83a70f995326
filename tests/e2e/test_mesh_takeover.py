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

from harness import (BINARY, PATIENCE, called, descendants, free_port, is_alive, open_fds, proc_status,
                     python, wait_for)
from mesh_tools import AGENT_KIND, Box, Site, in_time, network
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
    def popen(words=None):
        program = BINARY if words else AGENT_KIND.program
        return Link(nswrap.popen(*(words or ["agent", *AGENT_KIND.words]), program=program, **PIPES,
                                 stderr=subprocess.DEVNULL))

    return popen


def listener(address, port):
    """The inode of who listens there, or None."""
    at = f"{socket.inet_aton(address)[::-1].hex().upper()}:{port:04X}"
    with open("/proc/net/tcp") as table:
        return next((row.split()[9] for row in table if row.split()[1] == at and row.split()[3] == "0A"),
                    None)


def serves(pid, address, port):
    inode = listener(address, port)
    return inode and f"socket:[{inode}]" in open_fds(pid).values()


def first(start, ports, **more):
    link = start()
    link.configure(**ports)
    link.configure(**ports, **{"identity": IDENTITY, **more})
    assert serves(link.popen.pid, ports["me"], 8080)
    return link


@pytest.mark.agents(thorough=True)
@pytest.mark.parametrize("state", ["blackhole", "stopped"])
def test_the_next_agent_takes_over_at_once(start, ports, state):
    """As a manager of ours does: what is its own comes with a second configure."""
    def take_over():
        old = first(start, ports)
        if state == "stopped":
            os.kill(old.popen.pid, signal.SIGSTOP)
        new = start()
        new.configure(**ports)
        assert old.popen.poll() is None
        began = time.monotonic()
        new.configure(**ports, identity=IDENTITY)
        took = time.monotonic() - began
        old.popen.wait(10 * PATIENCE)
        for address in ports["me"], ports["others"][0][0]:
            assert serves(new.popen.pid, address, 8080)
        print(f"{state}: taken over in {took * 1000:.0f} ms")
        return new, took

    new = in_time(take_over, AT_ONCE_S)
    # and the one after that
    last = first(start, ports)
    new.popen.wait(10 * PATIENCE)
    last.hang_up()
    assert last.popen.wait(10) == 0


@pytest.mark.agents(thorough=True)
def test_others_are_left_alone(start, ports):
    """Another identity is another host or mesh, and who has none is of a manager that knows none."""
    old = first(start, ports)
    other = start()
    other.configure(**ports, identity=IDENTITY[::-1])
    without = start()
    without.configure(**ports)
    old.configure(**ports, identity=IDENTITY)
    assert serves(old.popen.pid, ports["me"], 8080)


@pytest.mark.agents(thorough=True)
def test_two_at_once(start, ports):
    """One stays, with all ports."""
    old = first(start, ports)
    rivals = [start() for _ in range(4)]
    for rival in rivals:
        rival.configure(**ports)
    for rival in rivals:
        body = {"id": 7, "op": "configure", "args": arguments(**ports, identity=IDENTITY)}
        rival.send(frame(MESSAGE, json.dumps({"type": "request", "body": body}).encode()))
    old.popen.wait(10 * PATIENCE)
    wait_for(lambda: sum(r.popen.poll() is None for r in rivals) == 1, "one to stay", 10)
    [last] = [r for r in rivals if r.popen.poll() is None]
    wait_for(lambda: serves(last.popen.pid, ports["me"], 8080), "its port", 10)


@pytest.mark.agents(thorough=True)
@pytest.mark.parametrize("identity", ["../x", "", "A", "f" * 65])
def test_an_identity_that_is_none(start, ports, identity):
    link = start()
    result = link.request("configure", arguments(**ports, identity=identity))
    assert ("identity" in (result.get("error") or "")) == (identity != "")


@pytest.mark.agents(thorough=True)
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


@pytest.mark.agents(thorough=True)
@pytest.mark.waits
def test_silence_ends_an_agent(start, ports):
    """Whatever comes is a sign of life; who is told of no silence waits for ever."""
    for_ever = start()
    for_ever.configure(**{**ports, "forwards": [], "others": []})
    link = first(start, ports, silence=4)
    began = time.monotonic()
    while time.monotonic() - began < 5:
        last = time.monotonic()
        assert link.request("ping", {})["op"] == "ping"
        time.sleep(0.2)
    assert link.popen.wait(20 * PATIENCE) != 0
    took = time.monotonic() - last
    assert took > 3.9
    print(f"silence of 4 s: ended after {took:.1f} s")
    assert for_ever.popen.poll() is None
    # it takes back what it was told
    patient = first(start, ports, silence=3)
    patient.configure(**ports, identity=IDENTITY)
    time.sleep(4)
    assert patient.popen.poll() is None


@pytest.mark.agents(thorough=True)
@pytest.mark.waits
def test_who_was_stopped_has_not_heard_silence(start, ports):
    link = first(start, ports, silence=4)
    os.kill(link.popen.pid, signal.SIGSTOP)
    time.sleep(5)
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
    assert old.popen.wait(10 * PATIENCE) != 0
    routes = box.do("ip", "route", "show", "table", "local").decode()
    assert f"{other} dev mesh1" in routes, routes


# --- agents that come with their sandbox ------------------------------------------------------------


@pytest.fixture
def beside(nswrap, tmp_path):
    """beside(*options, command=..., says_more=...): such an agent; its COMMAND notes that it runs.

    It has a port and a name of its own, which there can be only one of.
    """
    port = free_port()

    def popen(*options, command="exec sleep 1000", says_more=True):
        link = Link(nswrap.popen(
            "--network", "none", "-n", "web", "-p", port, "-P", 80, *options, "-c",
            f"echo $$ >>{tmp_path}/runs; {command}", "agent", **PIPES, stderr=subprocess.PIPE), says_more)
        link.tree = lambda: [pid for pid in descendants(link.popen.pid) if is_alive(pid)]
        return link

    popen.runs = lambda: (tmp_path / "runs").read_text().split() if (tmp_path / "runs").exists() else []
    return popen


def told(link, **more):
    """As a manager of ours does that does not know yet whom it asks."""
    link.configure("10.78.1.1")
    link.configure("10.78.1.1", identity=IDENTITY, **more)
    return link


STUBBORN = "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 1000 & wait' & sleep 1001 & wait; wait; wait"


@pytest.mark.parametrize("state", ["blackhole", "stopped", "all stopped", "stubborn", "init stopped"])
def test_a_sandbox_takes_over_from_a_sandbox(beside, state):
    """The old one is gone, with all of it, before COMMAND runs again; name and port are free by then."""
    def take_over():
        known = len(beside.runs())
        old = told(beside(command=STUBBORN if state == "stubborn" else "sleep 1000 & exec sleep 1001"))
        wait_for(lambda: len(beside.runs()) == known + 1 and len(old.tree()) >= 4, "the first COMMAND")
        family = old.tree()
        stopped = {"stopped": [old.popen.pid], "all stopped": [*family, old.popen.pid],
                   "init stopped": [pid for pid in family if proc_status(pid)["Name"] == "nswrap: init"]}
        for pid in stopped.get(state, []):
            os.kill(pid, signal.SIGSTOP)
        new = beside(command="exec sleep 1000")
        new.configure("10.78.1.1")
        assert old.popen.poll() is None and len(beside.runs()) == known + 1, "who it is is not known yet"
        began = time.monotonic()
        new.configure("10.78.1.1", identity=IDENTITY)
        took = time.monotonic() - began
        assert not [pid for pid in family if is_alive(pid)]
        old.popen.wait(10 * PATIENCE)
        wait_for(lambda: len(beside.runs()) == known + 2, "the second COMMAND")
        assert new.popen.poll() is None
        print(f"{state}: taken over in {took * 1000:.0f} ms")
        new.hang_up()
        assert new.popen.wait(10) == 0
        assert b"has taken over" in new.popen.stderr.read()
        return True, took

    assert in_time(take_over, 4 if state in ("stubborn", "init stopped") else AT_ONCE_S)


def test_a_sandbox_that_knows_at_once(beside):
    """The manager has known the agent before: identity comes with the first configure, and nobody waits."""
    old = told(beside())
    new = beside()
    new.configure("10.78.1.1", identity=IDENTITY)
    old.popen.wait(10 * PATIENCE)
    wait_for(lambda: len(beside.runs()) == 2, "the second COMMAND")


@pytest.mark.agents(thorough=True)
def test_an_agent_and_a_sandbox(nswrap, start, beside, ports):
    """The manifest is another one now: each takes over from the other kind."""
    first(start, ports)
    sandbox = told(beside())
    wait_for(lambda: len(beside.runs()) == 1, "COMMAND")
    family = sandbox.tree()
    first(start, ports)
    sandbox.popen.wait(10 * PATIENCE)
    assert not [pid for pid in family if is_alive(pid)]


def test_others_sandboxes_are_left_alone(nswrap, beside):
    """An impostor, too: a sandbox of another identity."""
    old = told(beside())
    other = Link(nswrap.popen("--network", "none", "-c", "exec sleep 1000", "agent", **PIPES), True)
    other.configure("10.78.1.1")
    other.configure("10.78.1.1", identity=IDENTITY[::-1])
    assert old.request("ping", {})["op"] == "ping"


def test_a_manager_that_says_no_more(beside):
    """NoRouter's: COMMAND does not wait for what will not come."""
    def run():
        known, began = len(beside.runs()), time.monotonic()
        link = beside(says_more=False)
        link.configure("10.78.1.1")
        wait_for(lambda: len(beside.runs()) > known, "COMMAND")
        took = time.monotonic() - began
        link.hang_up()
        assert link.popen.wait(10 * PATIENCE) == 0
        return True, took

    assert in_time(run, 1.5)


def test_a_manager_that_says_nothing(beside):
    """COMMAND waits for two seconds, not for ever; then the agent serves as it would have."""
    began = time.monotonic()
    link = beside()
    time.sleep(0.5)
    assert not beside.runs() or time.monotonic() - began > 1.5, "it does not wait"
    wait_for(beside.runs, "COMMAND", 10)
    told(link)
    assert link.request("ping", {})["op"] == "ping"


def test_a_link_that_ends_before_anything(beside):
    """There is no host to be, so COMMAND does not run."""
    link = beside()
    link.hang_up()
    assert link.popen.wait(10) == 0
    assert not beside.runs() and link.popen.stderr.read() == b""


@pytest.mark.parametrize("data, reason", [
    (b"SSH-2.0-x\r\n", b'at byte 0: expected a frame, found other bytes: "SSH-2.0-'),
    (frame(MESSAGE, b"{}")[:9], b"at byte 9: it ended within a frame")])
def test_a_link_that_is_none(beside, data, reason):
    link = beside()
    link.send(data)
    link.hang_up()
    assert link.popen.wait(10) == 125
    assert reason in link.popen.stderr.read()
    assert not beside.runs()


def test_what_comes_first_is_not_lost(beside):
    """Other messages, bytes in crumbs, several requests at once: each is answered once, in order."""
    link = beside()
    requests = [("ping", {}), ("configure", arguments("10.78.1.1")), ("ping", {}),
                ("configure", arguments("10.78.1.1", identity=IDENTITY)), ("ping", {}), ("nonsense", {})]
    data = frame(9, b"unknown") + frame(MESSAGE, b"no json") + b"".join(
        frame(MESSAGE, json.dumps({"type": "request", "body": {"id": n, "op": op, "args": args}}).encode() + b"\n")
        for n, (op, args) in enumerate(requests))
    for at in range(0, len(data), 97):
        link.send(data[at:at + 97])
        time.sleep(0.002)
    answers = [link.result() for _ in requests]
    assert sorted(answer["request_id"] for answer in answers) == list(range(len(requests)))
    assert answers[0]["op"] == "configure" and "acknowledge" not in answers[0]["data"]["features"]
    [second] = [answer for answer in answers if answer["request_id"] == 3]
    assert "acknowledge" in second["data"]["features"]
    wait_for(beside.runs, "COMMAND")


def test_who_reads_the_link_first_has_no_rights(beside):
    """And it does not outlive who asks it."""
    link = beside()
    [pid] = wait_for(lambda: link.tree(), "who reads the link")
    status = wait_for(lambda: proc_status(pid)["NoNewPrivs"] == "1" and proc_status(pid), "its rights gone")
    assert status["Name"] == "nswrap: agent" and int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    with pytest.raises(PermissionError):
        os.listdir(f"/proc/{pid}/fd")
    os.kill(link.popen.pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid), "its end with the one that asks")


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
            [pipe] = called("wanpipe", site.running.tree())
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
