# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_routes - what is behind hosts of a mesh: networks that this machine cannot reach"""

import errno
import json
import pathlib
import re
import subprocess

import pytest
from harness import (HTTP, NAME_SERVER, Behind, TCP_ECHO, TCP_PEER, UDP_ECHO, descendants,
                     free_port, namespace, open_fds, python, settled_fds, wait_for)
from mesh_tools import AGENT_KIND, TRY, Box, Site, Steady, echoed, in_time, settled

pytestmark = pytest.mark.agents(thorough=True)

LAB = "127.0.42.101"
BASTION = "127.0.42.102"
FAR = "192.0.2.1"  # of the neighbour's, which the bastion reaches and nobody else


class Cloud(Behind):
    """A bastion, and the machine behind it."""

    @property
    def bastion(self):
        return self.machine

    def agent(self, *options):
        words = [*AGENT_KIND.words, *options]
        return [*self.bastion.prefix(), AGENT_KIND.program, *(("agent", *words) if words else ())]


@pytest.fixture
def cloud(outer):
    clouds = []

    def make(**options):
        clouds.append(Cloud(outer, **options))
        return clouds[-1]

    yield make
    for made in clouds:
        made.close()


def attempt(box, address, port, seconds=20):
    """(errno of a connection from the box, 0 if there was one; how long it took)."""
    number, took = box.do(*python(TRY, address, port, seconds)).split()
    return int(number), float(took)


@pytest.fixture
def world(nswrap, cloud, tmp_path):
    """make(routes, **manifest of the bastion): a sandbox "lab", a bastion, what is behind it, their mesh."""

    def make(to=("192.0.2.0/24",), options=(), box_options=(), setup="", **manifest):
        made = cloud(setup=setup)
        box = Box(nswrap, "lab", *box_options)
        site = Site(nswrap, tmp_path, routes=[{"to": list(to), "via": "bastion"}])
        site.host("lab", LAB, box.sandbox_agent())
        site.host("bastion", BASTION, made.agent(*options), **manifest)
        return made, box, site

    return make


# asks a UDP server until it answers, prints what it said, or the errno; argv: address port
ASK = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.5)
s.connect((sys.argv[1], int(sys.argv[2])))
end = time.monotonic() + 10
while time.monotonic() < end:
    try:
        s.send(b'hello')
        print(s.recv(65536).decode())
        break
    except TimeoutError:
        continue
    except OSError as error:
        print(error.errno)
        break
"""

# opens connections to an echo server, all at once, each of which says something else; prints how many
# had the right answer; argv: address port number
MANY = """
import selectors, socket, sys
where, count = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3])
look, good, left = selectors.DefaultSelector(), 0, count
for i in range(count):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(where)
    look.register(s, selectors.EVENT_WRITE, b'number %d' % i)
while left:
    ready = look.select(30)
    if not ready:
        break
    for key, events in ready:
        s, text = key.fileobj, key.data
        try:
            if events & selectors.EVENT_WRITE:
                s.sendall(text)
                s.shutdown(socket.SHUT_WR)
                look.modify(s, selectors.EVENT_READ, text)
            else:
                good += s.recv(100) == text
                look.unregister(s)
                left -= 1
                s.close()
        except OSError:
            look.unregister(s)
            left -= 1
print(good)
"""


def test_a_sandbox_reaches_what_is_behind_a_bastion(world):
    """No proxy, no setting: bytes and ends both ways; who refuses, refuses, and silence is silence."""
    made, box, site = world(setup="ip route add blackhole 192.0.2.66; ip route add unreachable 192.0.2.67;")
    made.serve(TCP_ECHO, FAR, 7001)
    made.serve(UDP_ECHO, FAR, 7003, udp=True)
    with site:
        echoed(box, bytes(3 << 20), f"{FAR}:7001")
        assert in_time(lambda: attempt(box, FAR, 7002)) == errno.ECONNREFUSED
        assert in_time(lambda: attempt(box, "192.0.2.67", 80)) == errno.EHOSTUNREACH
        assert attempt(box, "192.0.2.77", 80, 1.5)[0] == errno.EAGAIN  # nobody has it: no answer
        # datagrams, and who refuses them
        assert box.do(*python(ASK, FAR, 7003)).split()[0] == b"192.0.2.10"
        assert int(box.do(*python(ASK, FAR, 7004))) == errno.ECONNREFUSED
        for _ in range(2):  # for the last of several ping waits twice the longest trip only
            box.do("ping", "-c", "1", "-W", "5", FAR)


def test_many_at_once_and_nothing_is_left(world):
    made, box, site = world()
    made.serve(TCP_ECHO, FAR, 7001)
    with site:
        agent = next(pid for pid in descendants(site.running.popen.pid) if is_agent(pid, made))
        before = settled_fds(agent)
        assert int(box.do(*python(MANY, FAR, 7001, 1000), timeout=60)) == 1000
        # the listener stays for a minute, in case that there are more
        wait_for(lambda: len(open_fds(agent)) <= before + 2, "the end of all connections", 20)


def is_agent(pid, made):
    """Is this process the bastion's agent?"""
    command = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    return command == "nswrap: agent" and namespace(pid, "net") == namespace(made.bastion.holder.pid, "net")


def test_what_is_not_exposed_is_refused_and_counted(world):
    """The host has the last word, by its agent; what is not named as such no wide word exposes."""
    made, box, site = world(
        to=["192.0.2.0/24", "169.254.0.0/16"], options=["--expose", f"{FAR}:7001-7003", "--expose=192.0.2.9"],
        expose=["192.0.2.0/24:7001,7005"])
    made.serve(TCP_ECHO, FAR, 7001)
    made.serve(TCP_ECHO, FAR, 7002)
    made.serve(TCP_ECHO, FAR, 7005)
    with site:
        assert attempt(box, FAR, 7001)[0] == 0
        # by the manifest, by the agent, by nobody
        for address, port in ((FAR, 7002), (FAR, 7005), ("169.254.169.254", 80)):
            found = in_time(lambda: attempt(box, address, port))
            assert found == errno.ECONNREFUSED, (address, port)
        assert int(box.do(*python(ASK, FAR, 53))) == errno.EHOSTUNREACH
        site.running.wait_line(r"bastion: .*127\.0\.42\.101 asks for 192\.0\.2\.1:7002, which this host "
                               r"does not expose")
        # packets, which may come more than once
        wait_for(lambda: site.status()["bastion"]["unexposed"] >= 4, "the count")
        assert site.status()["bastion"]["unexposed_last"] == f"{FAR}:53"
        table = site.nswrap.run("mesh", "status", site.name).stdout.decode()
        assert re.search(r"bastion: asked [4-9]\d* times for what it does not expose, the last time for "
                         rf"{re.escape(FAR)}:53", table), table


def test_metadata_is_not_exposed_by_default(world):
    made, box, site = world(to=["0.0.0.0/0"], setup="ip addr add 169.254.169.254/32 dev ext0;")
    made.bastion.serve(TCP_ECHO, "169.254.169.254", 8080)
    made.serve(TCP_ECHO, FAR, 7001)
    with site:
        assert attempt(box, FAR, 7001)[0] == 0
        assert attempt(box, "169.254.169.254", 8080)[0] == errno.ECONNREFUSED


def test_loopback_is_reached_when_it_is_named_and_not_else(world):
    """At the host's own VIP, by the ports that are named, TCP and UDP; routes lead to none of it."""
    made, box, site = world(to=["0.0.0.0/0"], ports=["7009:127.0.0.1:7001"],
                            options=["--expose", "0.0.0.0/0", "--expose", "127.0.0.1:7001-7004"])
    for port in (7001, 7002, 7005):
        made.bastion.serve(TCP_ECHO, "127.0.0.1", port)
    made.bastion.serve(UDP_ECHO, "127.0.0.1", 7003, udp=True)
    with site:
        echoed(box, bytes(100000), f"{BASTION}:7001")
        echoed(box, bytes(100000), "bastion:7002")
        echoed(box, bytes(1000), f"{BASTION}:7009")  # offers are beside it
        assert box.do(*python(ASK, BASTION, 7003)).split()[0] == b"127.0.0.1"
        assert attempt(box, BASTION, 7004)[0] == errno.ECONNREFUSED  # nobody is there
        assert int(box.do(*python(ASK, BASTION, 7004))) == errno.ECONNREFUSED
        assert attempt(box, BASTION, 7005)[0] == errno.ECONNREFUSED
        wait_for(lambda: site.status()["bastion"]["unexposed_last"] == f"{BASTION}:7005", "the count")
        done = box.run("ping", "-c", "1", "-W", "5", BASTION)
        assert done.returncode == 0, done.stdout
        # the manifest may take it away, and not give it
        site.hosts["bastion"]["expose"] = ["127.0.0.1:7002,7005"]
        reload(site)
        wait_for(lambda: attempt(box, BASTION, 7001)[0] == errno.ECONNREFUSED, "what is not exposed any more")
        assert attempt(box, BASTION, 7002)[0] == 0
        assert attempt(box, BASTION, 7005)[0] == errno.ECONNREFUSED
        site.hosts["bastion"]["expose"] = ["0.0.0.0/0"]
        reload(site)
        wait_for(lambda: attempt(box, BASTION, 7002)[0] == errno.ECONNREFUSED, "nothing of it")


def test_wrong_words_of_expose_start_nothing(nswrap):
    for words, text in ((["--expose", "10.0.0.1/8"], "10.0.0.1/8"), (["--expose=127.0.0.2"], "127.0.0.1"),
                        (["--expose"], "expose")):
        done = nswrap.run("agent", *words)
        assert done.returncode == 2 and text in done.stderr.decode(), done.stderr
        assert len(done.stderr.splitlines()) == 1
    done = nswrap.run("-c", "sleep 100", "agent", "--expose", "10.0.0.0/8")
    assert done.returncode == 2 and "sandbox" in done.stderr.decode()


def test_the_sandboxs_own_networks_stay_its_own(nswrap, cloud, tmp_path):
    """With a TAP: what is within its network is not taken, of what is wider the rest is, also of
    everything."""
    made = cloud()
    made.serve(TCP_PEER, FAR, 7001)
    running = nswrap.start("-n", "lab", "sleep", "1000")
    running.wait_event("started")
    box = Box.__new__(Box)
    box.nswrap, box.name, box.running = nswrap, "lab", running
    site = Site(nswrap, tmp_path, routes=[{"to": ["10.0.2.0/25"], "via": "bastion"},
                                          {"to": ["0.0.0.0/0"], "via": "bastion"}])
    site.host("lab", LAB, box.sandbox_agent())
    site.host("bastion", BASTION, made.agent())
    with site:
        site.running.wait_line(r"lab: .*10\.0\.2\.0/25 is not taken: the network of this sandbox has it")
        routes = box.do("ip", "route").decode()
        assert "0.0.0.0/1 dev mesh0" in routes and "128.0.0.0/1 dev mesh0" in routes, routes
        assert "10.0.2.0/25" not in routes and "10.0.2.0/24 dev tap0" in routes, routes
        assert attempt(box, FAR, 7001)[0] == 0
    wait_for(lambda: "mesh0" not in box.do("ip", "route").decode(), "the routes to go")


def test_reload_changes_routes_and_nothing_else(world):
    made, box, site = world()
    made.serve(TCP_ECHO, FAR, 7001)
    with site:
        steady = Steady(box, FAR, 7001)
        site.top["routes"][0]["to"] = ["192.0.2.0/24", "198.51.100.0/24"]
        reload(site)
        wait_for(lambda: b"198.51.100.0/24" in box.do("ip", "route"), "the new route")
        assert steady.end()[0] > 0
        site.top["routes"] = []
        reload(site)
        wait_for(lambda: b"192.0.2.0/24" not in box.do("ip", "route"), "the route to go")
        assert attempt(box, FAR, 7001)[0] == errno.ENETUNREACH


def reload(site):
    site.path.write_text(json.dumps({"hosts": site.hosts, **site.top}, indent=1))
    done = site.nswrap.run("mesh", "reload", site.name)
    assert done.returncode == 0, done.stderr


# the bastion's own name server is the machine behind it, and nobody else's
OWN_RESOLVER = """
echo 'nameserver 192.0.2.1' >{directory}/resolv.conf
mount --bind {directory}/resolv.conf /etc/resolv.conf
"""
NAMED = "192.0.2.77"  # what that name server says of every name


def named(made):
    """Let the machine behind the bastion have every name, at an address of its own."""
    subprocess.run([*made.bastion.neighbour(), "ip", "addr", "add", f"{NAMED}/32", "dev", "ext1"], check=True)
    made.serve(NAME_SERVER, FAR, 53, udp=True)


def test_names_of_a_cloud_are_its_own(world, short_dir):
    """NoRouter's "VPN-ish mode", for every program of a sandbox: the name is asked there, and where it
    leads is known before the program is told; nothing has a route but what was found."""
    made, box, site = world(to=["*.cloud1.example.com"], setup=OWN_RESOLVER.format(directory=short_dir))
    named(made)
    made.serve(TCP_ECHO, NAMED, 7001)
    made.serve(UDP_ECHO, NAMED, 7003, udp=True)
    with site:
        assert attempt(box, NAMED, 7001, 1)[0] == errno.ENETUNREACH
        wait_for(lambda: box.run("getent", "hosts", "db.cloud1.example.com").stdout.split()[:1] ==
                 [NAMED.encode()], "the name")
        echoed(box, bytes(100000), "DB2.cloud1.example.com:7001")
        assert box.do(*python(ASK, "db.cloud1.example.com", 7003)).split()[0] == b"192.0.2.10"
        assert attempt(box, "db.cloud1.example.com", 7002)[0] == errno.ECONNREFUSED
        # no IPv6 of it, which would go another way
        assert b":" not in box.do("getent", "ahosts", "db.cloud1.example.com")
        # a restart of the agent forgets, and learns it again
        assert NAMED in box.do("ip", "route").decode()
        site.top["routes"] = [{"to": ["*.cloud2.example.com"], "via": "lab"}]
        reload(site)
        wait_for(lambda: NAMED not in box.do("ip", "route").decode(), "the address to be forgotten")


def test_a_plain_host_reaches_the_cloud_by_its_proxies(nswrap, cloud, tmp_path, short_dir):
    """NoRouter's examples of routes, with both proxies: an address, a name of the cloud, a refusal."""
    made = cloud(setup=OWN_RESOLVER.format(directory=short_dir))
    named(made)
    made.serve(HTTP, NAMED, 8080)
    made.serve(HTTP, FAR, 8081)
    http, socks = free_port(), free_port()
    text = json.dumps({"hosts": {
        "laptop": {"vip": "127.0.42.100", "cmd": [AGENT_KIND.program, "agent", *AGENT_KIND.words], "http": {"listen": f"127.0.0.1:{http}"},
                   "socks": {"listen": f"127.0.0.1:{socks}"}},
        "bastion": {"vip": "127.0.42.101", "cmd": made.agent()}},
        "routes": [{"to": ["192.0.2.0/26", "*.cloud1.example.com"], "via": "bastion"}]})
    site = Site(nswrap, tmp_path)
    site.text = settled(text)[0]
    with site:
        for proxy in (("-x", f"http://127.0.0.1:{http}"), ("-p", "-x", f"http://127.0.0.1:{http}"),
                      ("--socks5-hostname", f"127.0.0.1:{socks}"), ("--socks4a", f"127.0.0.1:{socks}")):
            for where in (f"{FAR}:8081", "www.cloud1.example.com:8080"):
                done = subprocess.run(["curl", "-sS", "-m", "10", "--noproxy", "", *proxy, f"http://{where}/x"],
                                      capture_output=True)
                assert done.stdout == b"path /x", (proxy, where, done.stderr)
            done = subprocess.run(["curl", "-sS", "-f", "-m", "10", *proxy, f"http://{FAR}:9/"], capture_output=True)
            assert done.returncode != 0


def test_routes_that_lead_nowhere_are_refused(nswrap, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("hosts: {a: {vip: 127.0.42.1, expose: [10.0.0.0/33]}, b: {vip: 127.0.42.2, expose: 5}}\n"
                    "routes:\n  - {to: [127.0.5.0/24], via: a}\n  - {to: [224.0.0.0/4], via: a}\n")
    done = nswrap.run("mesh", "--check", path)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 2 and len(lines) == 4, lines
    for line, words in zip(sorted(lines), ("1:39: host a", "1:83: host b", "3:11: route 1: \"127.0.5.0/24\" is every host's own",
                                           "4:11: route 2")):
        assert words in line, (line, words)
