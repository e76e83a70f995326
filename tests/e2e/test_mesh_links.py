# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_links - hosts of a mesh, over links that break, stall and are slow"""

import errno
import os
import subprocess
import time

import pytest

from harness import PATIENCE, TCP_ECHO, TCP_HALF, TCP_PEER, UDP_ECHO, python, wait_for
from mesh_tools import AGENT_KIND, BACK_S, TRY, Box, Hiccups, Site, Steady, at_once, connects, echoed, in_time
from tools import tool

pytestmark = pytest.mark.agents(thorough=True)

# a host without a stack is no sandbox: no program in there has ports or addresses of the mesh, and one
# of a plain host is let in before the other end is asked
SANDBOX_ONLY = pytest.mark.agents(but=("streams",), thorough=True)

VIPS = {name: f"127.0.42.{101 + i}" for i, name in enumerate(("a", "b", "c"))}
ECHO, SINK = 7000, 9  # nobody is at the second
BULK = 10 << 20
# the longest time between two round trips of a connection over a good link, in seconds
UNNOTICED_S = 0.5


def wan(*options):
    """A long-distance link in front of an agent."""
    return [tool("wanpipe"), *map(str, options), "--"]


class Triangle:
    """Three sandboxes in a mesh, or hosts without a stack, each with an echo server."""

    def __init__(self, nswrap, directory, links=None, **manifest):
        self.site = Site(nswrap, directory)
        self.boxes = {name: Box(nswrap, name) for name in VIPS}
        for name, box in self.boxes.items():
            is_sandbox = AGENT_KIND.name != "streams"
            offers = {"anyPort": True} if is_sandbox else {
                "ports": [f"{ECHO}:127.0.0.1:{ECHO}", f"{SINK}:127.0.0.1:{SINK}/udp"]}
            self.site.host(name, VIPS[name], [*(links or {}).get(name, []), *box.agent()],
                           **{**offers, **manifest.get(name, {})})
            box.serve(TCP_ECHO, "0.0.0.0" if is_sandbox else "127.0.0.1", ECHO, port=ECHO)

    def __enter__(self):
        self.site.__enter__()
        return self

    def __exit__(self, *how):
        self.site.__exit__(*how)

    def __getattr__(self, name):
        return self.boxes[name]

    def bulk(self, size=BULK):
        """Every pair, both ways of each connection, all at once."""
        at_once(*(lambda box=box, others=others: echoed(box, os.urandom(size), *others)
                  for box, others in self.pairs()))

    def pairs(self):
        return [(box, [f"{vip}:{ECHO}" for other, vip in VIPS.items() if other != name])
                for name, box in self.boxes.items()]


@pytest.fixture
def triangle(nswrap, short_dir):
    return lambda **options: Triangle(nswrap, short_dir, **options)


# --- all with all ---------------------------------------------------------------------------------


def test_every_pair_in_every_direction_at_once(triangle):
    with triangle() as mesh:
        mesh.bulk()
        status = mesh.site.status()
    for name in VIPS:
        # four connections' worth, both ways: two of its own, one of each of the others
        assert status[name]["in"]["bytes"] > 4 * BULK and status[name]["out"]["bytes"] > 4 * BULK
        assert status[name]["restarts"] == 0
        assert {k: n for k, n in status[name]["drops"].items() if n and k != "queue_full"} == {}


@SANDBOX_ONLY
def test_a_thousand_connections_at_once(triangle):
    """All open before the first one says anything."""
    client = """
import socket, sys
socks = [socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=50) for _ in range(1000)]
for n, s in enumerate(socks):
    s.sendall(b'%08d' % n)
print(sum(s.recv(8, socket.MSG_WAITALL) == b'%08d' % n for n, s in enumerate(socks)))
"""
    with triangle() as mesh:
        # a select loop: threads take longer than the mesh
        server = """
import selectors, socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=1024)
ready = selectors.DefaultSelector()
ready.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in ready.select():
        if key.fileobj is listener:
            ready.register(listener.accept()[0], selectors.EVENT_READ)
        elif data := key.fileobj.recv(100):
            key.fileobj.sendall(data)
        else:
            ready.unregister(key.fileobj)
            key.fileobj.close()
"""
        limits = ["sh", "-c", 'ulimit -n 4096 && exec "$@"', "sh"]
        popen = mesh.b.popen(*limits, *python(server, "0.0.0.0", 7001), stdin=subprocess.DEVNULL)
        wait_for(lambda: connects(mesh.a, VIPS["b"], 7001), "the server")
        assert mesh.a.do(*limits, *python(client, VIPS["b"], 7001), timeout=60) == b"1000\n"
        popen.terminate()


@SANDBOX_ONLY
def test_what_a_connection_can_do(triangle):
    """Half-closed it goes on, its client is seen at its address, and a refusal is one, at once."""
    offers = {"ports": ["8080:127.0.0.1:80", "8081:127.0.0.1:81"], "anyPort": False}
    with triangle(b=offers) as mesh:
        mesh.b.serve(TCP_PEER, "127.0.0.1", 80, port=80)
        half = mesh.a.popen(*python(TCP_HALF, "0.0.0.0", 7001), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE)
        wait_for(lambda: any(row[1].endswith(":1B59") for row in mesh.a.table("tcp")), "port 7001")
        talk = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as s:
    while part := s.recv(100):
        sys.stdout.buffer.write(part)
    for _ in range(100 if len(sys.argv) > 3 else 0):
        s.sendall(bytes(50000))
"""
        for name in ("a", "c"):
            assert mesh.boxes[name].do(*python(talk, VIPS["b"], 8080)) == VIPS[name].encode()
        # the server ends its direction at once and reads on
        assert mesh.c.do(*python(talk, VIPS["a"], 7001, "send")) == b"bye"
        assert half.communicate(timeout=20 * PATIENCE)[0] == b"5000000\n"
        mesh.c.serve(TCP_PEER, "127.0.0.1", 80, port=80)
        # nobody behind an offer; nobody at an open port, or at 127.0.0.1 alone; not offered, though
        # somebody listens in there
        for vip, port in ((VIPS["b"], 8081), (VIPS["c"], 9999), (VIPS["c"], 80),
                          (VIPS["b"], ECHO), (VIPS["b"], 80)):
            assert in_time(lambda: map(float, mesh.a.do(*python(TRY, vip, port, 20)).split())) == errno.ECONNREFUSED


@SANDBOX_ONLY
def test_udp(triangle):
    """Offered, or any port; the client is seen at its own address; answers come from where it asked."""
    offers = {"ports": ["5300:127.0.0.1:53/udp"], "anyPort": False}
    client = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
s.connect((sys.argv[1], int(sys.argv[2])))
for size in (0, 1, 1472, 60000):
    s.send(bytes(size))
    head, _, data = s.recv(65536).partition(b' ')
    port, _, data = data.partition(b' ')
    assert int(port) == s.getsockname()[1] and data == bytes(size), (port, len(data))
print(head.decode())
"""
    with triangle(b=offers) as mesh:
        mesh.b.serve(UDP_ECHO, "127.0.0.1", 53, port=53, udp=True)
        mesh.c.serve(UDP_ECHO, "0.0.0.0", 5301, port=5301, udp=True)
        assert mesh.a.do(*python(client, VIPS["b"], 5300)).decode().strip() == VIPS["a"]
        assert mesh.a.do(*python(client, VIPS["c"], 5301)).decode().strip() == VIPS["a"]


@SANDBOX_ONLY
def test_ping(triangle):
    with triangle() as mesh:
        for box, others in mesh.pairs():
            for vip in (other.split(":")[0] for other in others):
                # the most that fits into a packet
                for size in (56, 65507):
                    # one at a time: for the last of several ping waits twice the longest trip only
                    box.do("sh", "-c", 'for i in 1 2 3; do "$@" || exit; done', "sh",
                           "ping", "-n", "-c", "1", "-W", "5", "-s", size, vip)


# --- links that are bad ---------------------------------------------------------------------------


@SANDBOX_ONLY
def test_a_link_that_breaks(triangle):
    """Once and again: it is made anew, what goes over other links does not notice."""
    with Hiccups() as hiccups, triangle(links={"c": wan("-k", int(1500 * PATIENCE))}) as mesh:
        steady = Steady(mesh.a, VIPS["b"], ECHO)
        for _ in range(2):
            # it may break before there is one
            broken = wait_for(lambda: Steady.begun(mesh.a, VIPS["c"], ECHO), "a connection", 20)
            pause = mesh.site.next_loss("c", len(mesh.site.losses("c")))
            lost = time.monotonic()
            wait_for(lambda: connects(mesh.a, VIPS["c"], ECHO), "a new connection", pause + 10)
            assert time.monotonic() - lost < pause + 0.1 + BACK_S * PATIENCE + hiccups.lost_s
            broken.popen.kill()
            broken.popen.wait()
        status = mesh.site.status()
        assert status["c"]["restarts"] >= 2 and status["a"]["restarts"] == status["b"]["restarts"] == 0
        count, longest = steady.end()
    assert count > 100 and longest < UNNOTICED_S * PATIENCE + hiccups.lost_s


# sends datagrams, 12 MB a second; argv: address port
FLOOD = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], int(sys.argv[2])))
while True:
    try:
        s.send(bytes(60000))
    except ConnectionRefusedError:
        pass  # nobody listens, which is said once in a while
    time.sleep(0.005)
"""


@pytest.mark.parametrize("is_full, options", [
    (True, ("-s", 1500, "-e", 2000, "-b", 64)), (False, ("-d", 300)), (True, ("-r", 6, "-b", 64))],
    ids=["stalls", "far", "slow"])
def test_a_bad_link_is_nobody_elses(triangle, is_full, options):
    """One that stands still, is far away or slow, and gets more than it can take: others go on as ever."""
    with Hiccups() as hiccups, triangle(links={"c": wan(*options)}) as mesh:
        across = Steady(mesh.c, VIPS["b"], ECHO)
        flood = mesh.a.popen(*python(FLOOD, VIPS["c"], SINK), stdin=subprocess.DEVNULL)
        steady = Steady(mesh.a, VIPS["b"], ECHO)
        end = time.monotonic() + 3
        while (began := time.monotonic()) < end:
            echoed(mesh.a, os.urandom(2 << 20), f"{VIPS['b']}:{ECHO}")
            assert time.monotonic() - began < 3 * PATIENCE + hiccups.lost_s
        status = wait_for(lambda: (now := mesh.site.status())["c"]["out"]["bytes"] > 500000 and
                          (now["c"]["drops"]["queue_full"] > 0 or not is_full) and now, "it to be full")
        count, longest = steady.end()
        flood.kill()
        flood.wait()
        # what went over the bad one has waited (behind the flood, but for a moment), it is still there
        assert across.end()[1] > (0.02 if "-r" in options else 0.5)
        assert [status[name]["drops"]["queue_full"] for name in ("a", "b")] == [0, 0]
        assert {host["restarts"] for host in mesh.site.status().values()} == {0}
    assert count > 100 and longest < UNNOTICED_S * PATIENCE + hiccups.lost_s


def test_bulk_over_a_long_link_with_stalls(triangle):
    """What waits is not lost, and what is lost is sent again: it arrives as it was."""
    with triangle(links={"c": wan("-d", 25, "-r", 500, "-s", 200, "-e", 1000)}) as mesh:
        server = f"{VIPS['c']}:{ECHO}"
        began = time.monotonic()
        echoed(mesh.a, os.urandom(BULK), server)
        at_once(lambda: echoed(mesh.a, os.urandom(BULK), server),
                lambda: echoed(mesh.b, os.urandom(BULK), server),
                lambda: echoed(mesh.c, os.urandom(BULK), f"{VIPS['a']}:{ECHO}", f"{VIPS['b']}:{ECHO}"))
        # 10 MB and 40 MB each way at 50 MB a second
        assert time.monotonic() - began < 20 * PATIENCE
        assert {host["restarts"] for host in mesh.site.status().values()} == {0}
        assert 45 <= mesh.site.status()["c"]["rtt_ms"] < 2000
