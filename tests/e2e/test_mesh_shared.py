# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_shared - an ssh connection that is shared (ControlMaster) outlives who made it"""

import contextlib
import os
import shlex
import signal
import subprocess

import pytest

import harness
from harness import is_alive, wait_for
from mesh_tools import Site, network, sshd


class Shared:
    """An sshd, the configuration of ssh with a shared connection, and a mesh of hosts behind it."""

    def __init__(self, nswrap, directory, server):
        self.nswrap = nswrap
        self.server = server
        self.socket = server.directory / "master"
        config = server.directory / "ssh_config"
        config.write_text(config.read_text() + f"                ControlPath {self.socket}\n")
        self.site = Site(nswrap, directory, env={"PATH": f"{server.bin}:{os.environ['PATH']}"})

    def host(self, number, *options):
        self.site.host(f"h{number}", f"{network()}.{number}",
                       ["ssh", "-o", "ControlMaster=auto", *options, f"h{number}.example.com", "nswrap"])

    def ssh(self, *words, **options):
        return subprocess.Popen([self.server.bin / "ssh", *words], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True, **options)

    def master(self):
        """The pid of who listens at the socket."""
        done = subprocess.run([self.server.bin / "ssh", "-O", "check", "h1.example.com"],
                              capture_output=True, text=True)
        return int(done.stderr.split("pid=")[1].split(")")[0]) if "pid=" in done.stderr else None


def asked_to_end(pid):
    """Ask again and again: a signal just before its poll(2) is one that ssh sees after the next event only."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    return not is_alive(pid)


@pytest.fixture
def shared(nswrap, short_dir):
    with sshd(short_dir) as server:
        made = Shared(nswrap, short_dir, server)
        yield made
        if pid := made.master():
            wait_for(lambda: asked_to_end(pid), "the end of the master")


JUMP = "ProxyJump=jump.example.com"


def pipes(pid):
    return {target for target in harness.open_fds(pid).values() if target.startswith("pipe:")}


def kept(master, below):
    """The master, and the ssh of its ProxyJump, which is none of its children; who came as early has one of its own."""
    jumps = [pid for pid in below if " -W " in harness.describe(pid)]
    return {master, *(pid for pid in jumps if pipes(pid) & pipes(master))}


def lives(popen):
    """A cat at the other end of a connection."""
    popen.stdin.write("still there\n")
    popen.stdin.flush()
    return popen.stdout.readline() == "still there\n"


@pytest.mark.parametrize("options", [(), ("-o", JUMP)], ids=["alone", "by a jump"])
def test_a_daemonised_master(shared, options):
    """It is left when its host ends, and with the mesh; so are those who are connected by way of it."""
    shared.host(1, "-o", "ControlPersist=60", *options)
    shared.host(2, "-o", "ControlPersist=60", *options)
    site = shared.site.__enter__()
    try:
        master = wait_for(shared.master, "the master")
        user = shared.ssh("-o", "ControlMaster=no", "h1.example.com", "cat")
        assert lives(user)
        os.kill(site.status()["h1"]["pid"], signal.SIGKILL)
        site.wait_state("h1", restarts=1)
        assert is_alive(master) and lives(user)
        assert site.status()["h2"]["restarts"] == 0
        below = set(site.running.tree())
        stay = kept(master, below)
        assert master in below and len(stay) == 1 + bool(options)
    finally:
        assert site.running.stop() == 0
    wait_for(lambda: not any(is_alive(pid) for pid in below - stay), "the end of the rest")
    assert lives(user) and all(is_alive(pid) for pid in stay)
    user.stdin.close()
    assert user.wait(10) == 0
    wait_for(lambda: asked_to_end(master), "the end of the master")
    wait_for(lambda: not any(is_alive(pid) for pid in stay), "the end of what it had")


def test_a_master_that_is_a_host(shared):
    """Without ControlPersist the first ssh has the connection: it goes on until nobody needs it."""
    shared.host(1)
    with shared.site as site:
        master = wait_for(shared.master, "the master")
        assert master == site.status()["h1"]["pid"]
        user = shared.ssh("-o", "ControlMaster=no", "h1.example.com", "cat")
        assert lives(user)
        [agent] = harness.called("nswrap: agent", shared.server.below())
        os.kill(agent, signal.SIGKILL)
        site.running.wait_line("h1: its command goes on, as others are connected", 20)
        site.wait_state("h1", restarts=1, timeout=20)
        assert is_alive(master) and lives(user)
        user.stdin.close()
        assert user.wait(10) == 0


VIA = (["--via", "{link}", "sleep", "1000"], "nswrap exit")


@pytest.mark.parametrize("line, far, dies, option", [
    (*VIA, False, ""),
    (*VIA, True, ""),
    (*VIA, False, f"-o {JUMP}"),
    (*VIA, True, f"-o {JUMP}"),
    (["exit", "--link", "{link}"], "cat >/dev/null", False, ""),
    (["tunnel", "client", "--server", "{link}"], "nswrap tunnel server --bind-client - --bind-proxy 127.0.0.1:0",
     False, ""),
], ids=["via", "via that is killed", "via by a jump", "via by a jump that is killed", "exit", "tunnel"])
def test_the_master_of_a_link(shared, nswrap, line, far, dies, option):
    """As a host's of a mesh: what the link's command left for others goes on, what it left for itself ends."""
    ssh = f"ssh -o ControlMaster=auto -o ControlPersist=60 {option} h1.example.com {shlex.quote(far)}"
    link = f"exec:sh -c {shlex.quote(f'sleep 999 </dev/null >/dev/null 2>&1 & exec {ssh}')}"
    popen = nswrap.popen(*[word.format(link=link) for word in line], env=shared.site.env)
    master = wait_for(shared.master, "the master")
    user = shared.ssh("-o", "ControlMaster=no", "h1.example.com", "cat")
    assert lives(user)
    below = set(harness.descendants(popen.pid))
    stay = kept(master, below)
    assert master in below and len(stay) == 1 + bool(option)
    assert any("sleep 999" in harness.describe(pid) for pid in below)
    if dies:
        [via] = harness.called("nswrap: via", below)
        os.kill(via, signal.SIGKILL)
        wait_for(lambda: not is_alive(via), "its end")
    popen.terminate()
    assert popen.wait(20 * harness.PATIENCE) in (0, 143, -signal.SIGTERM)
    wait_for(lambda: not any(is_alive(pid) for pid in below - stay), "the end of the rest")
    assert lives(user) and all(is_alive(pid) for pid in stay)
    user.stdin.close()
    assert user.wait(10) == 0
