# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_own - hosts whose command the manifest has: a sandbox of its own for each"""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from harness import BINARY, PATIENCE, descendants, free_port, http_get, is_alive, namespace, proc_status, python, wait_for
from mesh_tools import Site, network, sshd
from standin import PIPES, Link, arguments

FAKE = [sys.executable, pathlib.Path(__file__).parent / "fake_agent.py"]
IDENTITY = "00112233445566778899"

# a server of HTTP at the port argv[1], which says who it is; a line a start goes to the file argv[2]
SERVER = """
import http.server, json, os, sys
with open(sys.argv[2], "a") as starts:
    print(os.getpid(), file=starts)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"pid": os.getpid(), "cwd": os.getcwd(), "env": dict(os.environ),
                           "argv": sys.argv[1:], "in": os.readlink("/proc/self/fd/0"),
                           "net": os.readlink("/proc/self/ns/net")}).encode()
        if self.path == "/end":
            os._exit(3)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Lab:
    """A mesh of this host and one more, lab, whose port leads to a server in a sandbox."""

    def __init__(self, nswrap, directory, **host):
        self.nswrap, self.directory = nswrap, pathlib.Path(directory)
        self.port, self.guest = free_port(), free_port()
        self.starts = self.directory / "starts"
        self.vip = f"{network()}.102"
        self.sandbox = {"command": python(SERVER, "{guest-port}", self.starts), "guestPort": self.guest}
        self.sandbox["command"] = [str(word) for word in self.sandbox["command"]]
        self.host = {"cmd": [str(BINARY)], "ports": [f"{self.port}:127.0.0.1:{self.guest}"], **host}

    def site(self, **sandbox):
        site = Site(self.nswrap, self.directory, "own", env={"XDG_STATE_HOME": str(self.directory)})
        site.host("laptop", f"{network()}.101")
        site.host("lab", self.vip, **self.host, sandbox={**self.sandbox, **sandbox})
        return site

    def lost(self, **sandbox):
        """What a manager says whose only host is lab, which is lost for good."""
        site = self.site(**sandbox)
        site.path.write_text(json.dumps({"hosts": {"lab": site.hosts["lab"]}}))
        done = self.nswrap.run("mesh", site.path, env=site.env)
        assert done.returncode != 0
        return done.stderr.decode()

    def ask(self, path="/"):
        """What the server says, when it does."""
        def look():
            try:
                return http_get(self.port, path, self.vip)[-1]
            except OSError:
                return None

        return json.loads(wait_for(look, "the server in the sandbox"))

    def end(self):
        """Have the command end with status 3."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            http_get(self.port, "/end", self.vip)

    def pids(self):
        """Of all servers that were started."""
        return list(map(int, self.starts.read_text().split())) if self.starts.exists() else []


@pytest.fixture
def lab(nswrap, tmp_path):
    lab = Lab(nswrap, tmp_path)
    yield lab
    for pid in lab.pids():
        wait_for(lambda pid=pid: not is_alive(pid), "the end of the command", 5)


def names(nswrap):
    return [box["name"] for box in json.loads(nswrap.run("ps", "--json").stdout)]


@pytest.mark.agents(thorough=True)
def test_a_command_becomes_a_host(lab, tmp_path):
    """Its port is reached through the mesh, and nothing of the machine itself."""
    with lab.site(env={"FLAVOUR": "lemon", "HOME": None}, cwd=str(tmp_path), network="none",
                  pid=False) as site:
        said = lab.ask()
        assert said["argv"] == [str(lab.guest), str(lab.starts)]
        assert said["cwd"] == str(tmp_path) and said["in"] == "/dev/null"
        assert said["env"]["FLAVOUR"] == "lemon" and "HOME" not in said["env"]
        assert said["env"]["NSWRAP_GUEST_PORT"] == str(lab.guest)
        assert said["net"] != os.readlink("/proc/self/ns/net")
        [pid] = lab.pids()
        assert namespace(pid, "net") == said["net"]
        host = site.status()["lab"]
        assert "sandbox.run" in host["features"] and "sandbox" in host["features"]
        assert host["ended"] is None
        # the port that the program prints is nobody's on this machine
        with socket.socket() as sock, pytest.raises(OSError):
            sock.bind(("127.0.0.1", lab.guest))
    assert names(lab.nswrap) == []


@pytest.mark.agents(thorough=True)
def test_by_way_of_ssh(nswrap, tmp_path):
    lab = Lab(nswrap, tmp_path, cmd=["ssh", "gpu-box", "nswrap"])
    with sshd(tmp_path, XDG_RUNTIME_DIR=nswrap.runtime_dir) as server:
        site = lab.site()
        site.env["PATH"] = f"{server.bin}:{os.environ['PATH']}"
        with site:
            lab.ask()
            server.kill_session()
            site.wait_state("lab", restarts=1, timeout=15)
            first, second = lab.ask() and lab.pids()
            wait_for(lambda: not is_alive(first), "the end of the first one")
            assert is_alive(second)
        wait_for(lambda: not is_alive(second), "the end of the command", 5)


def test_what_it_says_comes_with_its_name(nswrap, tmp_path):
    """Also what is no text, has no end of line, or does not end."""
    site = Site(nswrap, tmp_path, "own")
    script = r"printf 'to stdout\n'; printf 'to stderr\n' >&2; printf 'a\033[31mb\377\000c\n'; " \
             r"head -c 100000 /dev/zero | tr '\0' x; echo; sleep 1000"
    site.host("lab", f"{network()}.102", [str(BINARY)], sandbox={"command": ["sh", "-c", script]})
    with site:
        for line in r"^lab: to stdout$", r"^lab: to stderr$", r"^lab: a\\x1b\[31mb", r"^lab: x{500}":
            site.running.wait_line(line)
        assert max(map(len, site.running.stderr.lines)) < 3000
    flood = Site(nswrap, tmp_path, "flood")
    flood.host("lab", f"{network()}.102", [str(BINARY)], sandbox={"command": ["yes", "it floods"]})
    with flood:
        flood.running.wait_line("^lab: it floods")
        wait_for(lambda: flood.status()["lab"]["rtt_ms"] is not None, "an answer to a ping")


@pytest.mark.parametrize("restart, status, state", [
    ("always", 3, "waiting"), ("on-failure", 3, "waiting"), ("on-failure", 0, "ended"),
    ("never", 3, "ended")])
def test_how_it_ended_is_known(nswrap, tmp_path, restart, status, state):
    go = tmp_path / "go"
    site = Site(nswrap, tmp_path, "own")
    site.host("laptop", f"{network()}.101")
    site.host("lab", f"{network()}.102", [str(BINARY)], restart=restart,
              sandbox={"command": ["sh", "-c", f"while ! test -e {go}; do sleep 0.02; done; exit {status}"]})
    with site:
        go.touch()
        host = site.wait_state("lab", state)
        assert host["ended"] == {"status": status, "reason": None}
        assert host["reason"] == f"its command ended with status {status}"
        table = nswrap.run("mesh", "status", "own").stdout.decode()
        assert f"its command ended with status {status}" in table
        if state == "waiting":
            go.unlink()
            assert site.wait_state("lab", restarts=1)["ended"]["status"] == status


@pytest.mark.parametrize("sandbox, line", [
    ({"cwd": "/nowhere"}, r"lab: lost: cannot be configured: sandbox: --chdir=/nowhere: cannot change to "
                          r"/nowhere: No such file or directory"),
    ({"command": ["/no/such/program"]}, r"lab: lost: its sandbox: cannot execute /no/such/program: No such"),
    ({"cidr": "10.0.0.0/30"}, r"lab: lost: cannot be configured: sandbox: --cidr=10.0.0.0/30: .*has no room"),
])
def test_what_only_that_machine_knows(nswrap, tmp_path, sandbox, line):
    """One line that says it; nothing is started, and nothing stays."""
    lab = Lab(nswrap, tmp_path, restart="never")
    assert len(re.findall(line, lab.lost(**sandbox))) == 1
    assert lab.pids() == [] and names(nswrap) == []


@pytest.mark.parametrize("agent", ["norouter", "older", "unwilling"])
def test_who_cannot_is_refused(nswrap, tmp_path, agent):
    """By one line, and it was not told a port of that machine before."""
    log = tmp_path / "log"
    older = "tcp,loopback,loopback.disable,udp,icmp,reconfigure,ping,error,sandbox,takeover,keep"
    lab = Lab(nswrap, tmp_path, cmd={
        "norouter": [*map(str, FAKE), "--log", str(log)],
        "older": [*map(str, FAKE), "--log", str(log), "--features", older],
        "unwilling": ["sh", "-c", f"exec {BINARY} agent --no-sandbox"]}[agent], restart="never")
    assert lab.lost().count("lab: lost: its agent cannot run the command of `sandbox`") == 1
    if log.exists():
        [told] = [line["configure"] for line in map(json.loads, log.read_text().splitlines())
                  if "configure" in line]
        assert told["me"] == lab.vip and "sandbox" not in told and "identity" not in told
        assert not told.get("forwards") and not told.get("others") and not told.get("hostnameMap")


def test_an_agent_in_a_sandbox_makes_none(nswrap, tmp_path):
    box = nswrap.start("-n", "box", "--network", "none", "sleep", "1000")
    box.wait_event("started")
    lab = Lab(nswrap, tmp_path, cmd=[str(BINARY), "exec", "box", "nswrap"], restart="never")
    assert "outside of sandboxes" in lab.lost()
    assert lab.pids() == []


def test_an_agent_says_itself_what_it_does_not_do(nswrap):
    """To a manager that asks all the same."""
    link = Link(nswrap.popen("agent", "--no-sandbox", **PIPES, stderr=subprocess.DEVNULL))
    assert "sandbox.run" not in link.configure(f"{network()}.101")["data"]["features"]
    result = link.request("configure", arguments(f"{network()}.101", identity=IDENTITY,
                                                 sandbox={"command": ["true"]}))
    assert result["error"] == "sandbox: this agent runs no commands (--no-sandbox)"
    assert link.request("ping", {})["op"] == "ping"
    link.hang_up()
    other = Link(nswrap.popen("agent", **PIPES, stderr=subprocess.DEVNULL))
    for option, why in (("--pcap=/tmp/x", "no option that a manifest may give"), ("-d", "no option"),
                        ("--mtu=7", "is no MTU"), ("--pid=1", "--pid")):
        result = other.request("configure", arguments(
            f"{network()}.101", identity=IDENTITY, sandbox={"command": ["true"], "options": [option]}))
        assert why in result["error"], result
    other.hang_up()


class Direct:
    """The agent of a manager of the test, with a sandbox; its server writes to the file starts."""

    def __init__(self, nswrap, starts, keep=False, port=None):
        self.popen = nswrap.popen("agent", **PIPES, stderr=subprocess.DEVNULL)
        self.link = Link(self.popen)
        vip = f"{network()}.101"
        self.link.configure(vip)
        command = [str(word) for word in python(SERVER, "{guest-port}", starts)]
        self.features = self.link.request("configure", arguments(
            vip, identity=IDENTITY, sandbox={"command": command, "guestPort": port, "keep": keep})
        )["data"]["features"]


@pytest.mark.parametrize("state", ["silent", "stopped"])
def test_no_command_runs_twice(nswrap, tmp_path, state):
    """The next agent of that host ends the sandbox of the one before, whose link is dead."""
    starts, port = tmp_path / "starts", free_port()

    def pids():
        return list(map(int, starts.read_text().split())) if starts.exists() else []

    old = Direct(nswrap, starts, port=port)
    [first] = wait_for(pids, "the first one")
    if state == "stopped":
        os.kill(old.popen.pid, signal.SIGSTOP)
    new = Direct(nswrap, starts, port=port)
    # it has an answer when there is a sandbox, and then the one before is no more
    assert not is_alive(first)
    wait_for(lambda: len(pids()) == 2, "the second one")
    old.popen.wait(5 * PATIENCE)
    assert is_alive(pids()[1])
    new.link.hang_up()
    assert new.popen.wait(5 * PATIENCE) == 0
    wait_for(lambda: not is_alive(pids()[1]), "its end")


@pytest.mark.agents(thorough=True)
@pytest.mark.parametrize("victim", ["manager", "agent", "inside"])
def test_a_kill_leaves_nothing(lab, victim):
    with lab.site() as site:
        lab.ask()
        agent = site.status()["lab"]["pid"]
        below = descendants(agent)
        [pid] = lab.pids()
        assert pid in below
        if victim == "manager":
            site.running.popen.kill()
        elif victim == "agent":
            os.kill(agent, signal.SIGKILL)
        else:
            # the one that has the link
            [inside] = [pid for pid in below if b"nswrap: agent" in
                        pathlib.Path(f"/proc/{pid}/comm").read_bytes()][:1]
            os.kill(inside, signal.SIGKILL)
        wait_for(lambda: not any(map(is_alive, below)), "the end of all of it", 5)
        if victim != "manager":
            site.wait_state("lab", restarts=1)
            assert len(wait_for(lambda: lab.ask() and lab.pids(), "the next one")) == 2
        else:
            site.running.popen.wait()
            site.running.stop = lambda: 0
    if victim == "manager":
        # the next one takes its socket away
        with lab.site():
            assert len(lab.ask() and lab.pids()) == 2


# --- kept -----------------------------------------------------------------------------------------


@pytest.mark.agents(thorough=True)
def test_a_kept_one_outlives_links_and_managers(lab):
    """It is joined again by the next agent; a proper end is its end."""
    with lab.site(keep=True) as site:
        first = lab.ask()["pid"]
        [name] = names(lab.nswrap)
        os.kill(site.status()["lab"]["pid"], signal.SIGKILL)
        site.wait_state("lab", restarts=1)
        assert lab.ask()["pid"] == first
        site.running.wait_line("lab: nswrap: is again in the sandbox that was kept")
        # a manager ends what a dead command has left, after two seconds at the latest
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            assert lab.ask()["pid"] == first
        site.running.popen.kill()
        site.running.popen.wait()
        site.running.stop = lambda: 0
    time.sleep(0.3)
    assert is_alive(first) and names(lab.nswrap) == [name]
    with lab.site(keep=True):
        assert lab.ask()["pid"] == first
    wait_for(lambda: not is_alive(first), "the end of the command", 5)
    wait_for(lambda: names(lab.nswrap) == [], "the end of its sandbox")
    assert lab.pids() == [first]


def test_a_kept_one_with_other_options_is_another_one(lab):
    site = lab.site(keep=True)
    with site:
        first = lab.ask()["pid"]
        # by a reload
        site.hosts["lab"]["sandbox"]["env"] = {"FLAVOUR": "lemon"}
        site.path.write_text(json.dumps({"hosts": site.hosts}))
        assert lab.nswrap.run("mesh", "reload", "own").returncode == 0
        wait_for(lambda: not is_alive(first), "the end of the first one", 10)
        second = lab.ask()
        assert second["env"]["FLAVOUR"] == "lemon" and len(names(lab.nswrap)) == 1
        site.running.popen.kill()
        site.running.popen.wait()
        site.running.stop = lambda: 0
    # by a manager that comes later
    with lab.site(keep=True, env={"FLAVOUR": "mint"}) as site:
        site.running.wait_line("lab: nswrap: the sandbox that was kept, mesh-.*, is another one than is wanted")
        third = lab.ask()
        assert third["env"]["FLAVOUR"] == "mint" and not is_alive(second["pid"])
        assert len(names(lab.nswrap)) == 1


@pytest.mark.waits
def test_a_kept_one_that_does_not_end(lab):
    """Its supervisor is stopped again as often as it goes on: it is left behind, with a word."""
    site = lab.site(keep=True)
    over = threading.Event()
    with site:
        first = lab.ask()["pid"]
        supervisor = int(proc_status(proc_status(first)["PPid"])["PPid"])

        def hold():
            while not over.wait(0.001):
                os.kill(supervisor, signal.SIGSTOP)

        holder = threading.Thread(target=hold)
        holder.start()
        try:
            site.hosts["lab"]["sandbox"]["env"] = {"FLAVOUR": "lemon"}
            site.path.write_text(json.dumps({"hosts": site.hosts}))
            assert lab.nswrap.run("mesh", "reload", "own").returncode == 0
            site.running.wait_line("lab: nswrap: it does not end, and is left behind", 30)
            wait_for(lambda: lab.ask()["env"].get("FLAVOUR") == "lemon", "the other one")
        finally:
            over.set()
            holder.join()
            os.kill(supervisor, signal.SIGCONT)
        wait_for(lambda: not is_alive(first), "the end of the first one")


@pytest.mark.agents(thorough=True)
def test_two_that_are_kept(lab):
    """Of one mesh on one machine: each has its own."""
    site = lab.site(keep=True)
    site.host("other", f"{network()}.103", [str(BINARY)], sandbox={"command": ["sleep", "1000"], "keep": True})
    with site:
        first = lab.ask()["pid"]
        wait_for(lambda: len(names(lab.nswrap)) == 2, "both")
        os.kill(site.status()["other"]["pid"], signal.SIGKILL)
        site.wait_state("other", restarts=1)
        assert len(names(lab.nswrap)) == 2 and lab.ask()["pid"] == first
    wait_for(lambda: names(lab.nswrap) == [], "the end of both", 5)


@pytest.mark.waits
def test_a_kept_one_that_nobody_comes_for(lab, tmp_path):
    """Its host leaves the mesh while the link is down: it ends when nobody was there for as long as keep says."""
    down = tmp_path / "down"
    lab.host["cmd"] = ["sh", "-c", f'test ! -e "$0" && exec {BINARY} agent', str(down)]
    with lab.site(keep=4) as site:
        first = lab.ask()["pid"]
        until = time.monotonic() + 5
        while time.monotonic() < until:
            assert is_alive(first)
            time.sleep(0.1)
        down.touch()
        os.kill(site.status()["lab"]["pid"], signal.SIGKILL)
        del site.hosts["lab"]
        site.path.write_text(json.dumps({"hosts": site.hosts}))
        assert lab.nswrap.run("mesh", "reload", "own").returncode == 0
        assert is_alive(first)
        wait_for(lambda: not is_alive(first) and names(lab.nswrap) == [], "its end", 20)
    log = next(pathlib.Path(tmp_path, "nswrap", "logs").glob("mesh-*/*")).parent
    assert any("nobody was in here for 4 s" in file.read_text() for file in log.iterdir())


def test_the_end_of_a_kept_one_is_not_missed(lab):
    """Whether somebody was there to hear of it or not; it is told once."""
    lab.host["restart"] = "always"
    with lab.site(keep=True) as site:
        lab.ask()
        lab.end()
        wait_for(lambda: (site.status()["lab"]["ended"] or {}).get("status") == 3, "its end to be known")
        site.wait_state("lab", restarts=1)
        second = lab.ask()["pid"]
        assert len(lab.pids()) == 2
        site.running.popen.kill()
        site.running.popen.wait()
        site.running.stop = lambda: 0
    os.kill(second, signal.SIGKILL)
    wait_for(lambda: names(lab.nswrap) == [], "the end of the sandbox")
    lab.host["restart"] = "on-failure"
    with lab.site(keep=True) as site:
        host = site.status()["lab"]
        assert host["ended"]["status"] == 137 and host["restarts"] >= 1
        third = lab.ask()["pid"]
    assert lab.pids()[2:] == [third]
