# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_norouter_program - meshes of ours and NoRouter's own program, where NOROUTER is its file (conftest.py)"""

import errno
import os
import pathlib
import signal
import subprocess

import pytest

import harness
from harness import AGENT, BINARY, HTTP, TCP_ECHO, free_port, python, wait_for
from mesh_tools import TRY, Box, Site, echoed, network, start_mesh
from test_mesh_host import ENDING
from test_mesh_routes import FAR, NAMED, OWN_RESOLVER, cloud, named  # noqa: F401: fixtures

NOROUTER = os.environ.get("NOROUTER", "")
ECHO, DEAD, UNKNOWN = 7000, 7009, 7999  # offered; offered, with nobody at the target; not offered

# prints how many of 200 connections bring back what is sent, 60 at a time; argv: address port
MANY = """
import concurrent.futures, os, socket, sys
def talk(_):
    data, got = os.urandom(10000), b''
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        while part := s.recv(65536):
            got += part
    return got == data
with concurrent.futures.ThreadPoolExecutor(60) as pool:
    print(sum(pool.map(talk, range(200))))
"""

# begins, and prints the errno with which it ends, or 0; argv: address port
IDLE = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as s:
    print('begun', flush=True)
    try:
        s.recv(1)
        print(0)
    except OSError as e:
        print(e.errno)
"""


class TheirSite(Site):
    """The same manifest, run by their manager."""

    def start(self):
        return start_mesh(self.nswrap, self.path, self.env, (NOROUTER,))

    def wait_ready(self):
        self.running.wait_lines("Ready: ", len(self.hosts), 20)


MANAGERS = pytest.mark.parametrize("manager", [Site, TheirSite], ids=["our manager", "their manager"])


class World:
    """Machines with an agent of theirs, of ours, and our static one; and a sandbox."""

    def __init__(self, nswrap, outer, site):
        self.site, self.at, self.vips = site, {}, {}
        for name, program in ("theirs", NOROUTER), ("other", NOROUTER), ("ours", BINARY), ("static", AGENT):
            machine = outer()
            machine.name = name
            machine.serve(TCP_ECHO, "127.0.0.1", 7001)
            self.add(name, machine, [*machine.prefix(), program], stateDir={"disable": True})
        box = Box(nswrap, "box")
        box.serve(TCP_ECHO, "127.0.0.1", 7001, port=7001)
        self.add("box", box, box.agent())

    def add(self, name, place, cmd, **manifest):
        self.at[name], self.vips[name] = place, f"127.0.42.{101 + len(self.vips)}"
        self.site.host(name, self.vips[name], cmd, ports=[f"{ECHO}:127.0.0.1:7001", f"{DEAD}:127.0.0.1:9"],
                       **manifest)

    def ending(self, name, to, port):
        """The errno with which a connection ends, or 0."""
        return int(self.at[name].run(*python(ENDING, self.vips[to], port)).stdout.split()[0])

    def refusal(self, name, to, port):
        return int(self.at[name].run(*python(TRY, self.vips[to], port, 10)).stdout.split()[0])


@MANAGERS
def test_each_with_each(nswrap, outer, short_dir, manager):
    """Data both ways, and what is sent before an end comes back after it, also of many at once."""
    world = World(nswrap, outer, manager(nswrap, short_dir))
    servers = [f"{vip}:{ECHO}" for vip in world.vips.values()]
    with world.site:
        for place in world.at.values():
            echoed(place, os.urandom(1 << 20), *servers)
        for name, to in ("theirs", "box"), ("theirs", "ours"), ("box", "theirs"), ("static", "other"):
            done = world.at[name].run(*python(MANY, world.vips[to], ECHO))
            assert done.stdout == b"200\n", (name, to, done.stderr)


@MANAGERS
def test_refusals(nswrap, outer, short_dir, manager):
    """What is not offered is refused, and what leads nowhere ends at once, whoever offers it to whom."""
    world = World(nswrap, outer, manager(nswrap, short_dir))
    with world.site:
        assert world.refusal("box", "theirs", UNKNOWN) == errno.ECONNREFUSED
        # their agent takes a connection before it knows whether it leads anywhere
        assert world.ending("box", "theirs", DEAD) in (0, errno.ECONNRESET)
        assert world.ending("ours", "theirs", DEAD) in (0, errno.ECONNRESET)
        for to in "ours", "static", "box":
            assert world.ending("theirs", to, DEAD) in (0, errno.ECONNRESET)
            world.site.running.wait_line(rf"{to}\b.*port {DEAD} does not lead anywhere: .*Connection refused")


@MANAGERS
@pytest.mark.parametrize("near, far", [(BINARY, NOROUTER), (NOROUTER, BINARY)], ids=["out by theirs", "out by ours"])
def test_names_proxies_and_routes(nswrap, cloud, short_dir, manager, near, far):  # noqa: F811
    made = cloud(setup=OWN_RESOLVER.format(directory=short_dir))
    named(made)
    made.serve(HTTP, NAMED, 8080)
    made.serve(HTTP, FAR, 8081)
    http, socks = free_port(), free_port()
    state = pathlib.Path(short_dir, "state")
    site = manager(nswrap, short_dir, routes=[{"to": ["192.0.2.0/26", "*.cloud1.example.com"], "via": "bastion"}])
    laptop, bastion = f"{network()}.101", f"{network()}.102"
    site.host("laptop", laptop, [near], http={"listen": f"127.0.0.1:{http}"},
              socks={"listen": f"127.0.0.1:{socks}"}, stateDir={"pathOnAgent": str(state)})
    site.host("bastion", bastion, [*made.bastion.prefix(), far], aliases=["gate.example.com"],
              ports=[f"8080:{FAR}:8081"], loopback={"disable": True}, stateDir={"disable": True})
    with site:
        for proxy in (["-x", f"http://127.0.0.1:{http}"], ["-p", "-x", f"http://127.0.0.1:{http}"],
                      ["--socks5-hostname", f"127.0.0.1:{socks}"], ["--socks4a", f"127.0.0.1:{socks}"]):
            for where in f"{FAR}:8081", "www.cloud1.example.com:8080", "GATE.example.com:8080", f"{bastion}:8080":
                done = subprocess.run(["curl", "-sS", "-m", "20", "--noproxy", "", *proxy, f"http://{where}/x"],
                                      capture_output=True)
                assert done.stdout == b"path /x", (proxy, where, done.stderr)
        for vip in laptop, bastion:  # each has a name server, which the loopback of the laptop leads to
            done = subprocess.run(["dig", "+tcp", "+short", "-p", "10053", "gate.example.com", f"@{vip}"],
                                  capture_output=True, timeout=30)
            assert done.stdout.split() == [bastion.encode()], (vip, done.stdout)
        assert f"{bastion} gate.example.com" in (state / "hosts").read_text().splitlines()
        assert f"bastion {bastion}.nip.io" in (state / "hostaliases").read_text().splitlines()


def test_their_agent_is_killed(nswrap, outer, short_dir):
    """Our manager starts it again; who talked to it is told."""
    world = World(nswrap, outer, Site(nswrap, short_dir))
    with world.site as site:
        client = world.at["box"].popen(*python(IDLE, world.vips["theirs"], ECHO), stdout=subprocess.PIPE)
        assert client.stdout.readline() == b"begun\n"
        os.kill(site.status()["theirs"]["pid"], signal.SIGKILL)
        assert int(client.communicate(timeout=30)[0]) == errno.ECONNRESET
        site.wait_state("theirs", restarts=1)
        echoed(world.at["box"], os.urandom(100000), f"{world.vips['theirs']}:{ECHO}")


def test_their_manager_is_killed(nswrap, outer, short_dir):
    """Nothing of ours goes on."""
    world = World(nswrap, outer, TheirSite(nswrap, short_dir))
    world.site.__enter__()
    below = world.site.running.tree()
    world.site.running.popen.kill()
    world.site.running.popen.wait()
    wait_for(lambda: not any(map(harness.is_alive, below)), "the end of all agents", 3)


def test_one_without_a_stack(nswrap, outer, short_dir):
    """Under their manager, which tells nobody what the other is: refused both ways, at once, and why."""
    site = TheirSite(nswrap, short_dir)
    theirs, bare = outer(), outer()
    site.host("theirs", "127.0.42.101", [*theirs.prefix(), NOROUTER], ports=["7000:127.0.0.1:1"],
              stateDir={"disable": True})
    site.host("bare", "127.0.42.102", [*bare.prefix(), BINARY, "agent", "--stack", "streams"],
              ports=["7000:127.0.0.1:1"], stateDir={"disable": True})
    with site:
        for place, vip in (theirs, "127.0.42.102"), (bare, "127.0.42.101"):
            place.run(*python(ENDING, vip, 7000), timeout=10)
        site.running.wait_line("the agent of that one knows of no streams")
        site.running.wait_line("cannot connect to port 7000 of this one")
