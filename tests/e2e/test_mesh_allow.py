# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_allow - who may begin something with a host, and that the rest goes on"""

import errno
import json

import pytest

from harness import TCP_ECHO, UDP_ECHO, python
from mesh_tools import TRY, Box, Site, Steady
from standin import HOSTS, PIPES, Link, Switch

VIPS = {name: f"127.0.42.10{number}" for number, name in enumerate("abc", 1)}
PORT, OTHER = 7000, 7001

# sends a datagram, prints the errno of what comes instead of an answer, or 0; argv: address port
ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
try:
    s.connect((sys.argv[1], int(sys.argv[2])))
    s.send(b'question')
    s.recv(100)
    print(0)
except OSError as e:
    print(e.errno)
"""


class Three:
    """Sandboxes a, b and c with echo servers at both ports; `allow` is a's."""

    def __init__(self, nswrap, directory, allow):
        self.nswrap = nswrap
        self.site = Site(nswrap, directory)
        self.boxes = {name: Box(nswrap, name) for name in VIPS}
        for name, box in self.boxes.items():
            more = {"allow": allow} if name == "a" else {}
            self.site.host(name, VIPS[name], box.agent(), anyPort=True, **more)
            for port in (PORT, OTHER):
                box.serve(TCP_ECHO, "0.0.0.0", port, port=port)
                box.serve(UDP_ECHO, "0.0.0.0", port, port=port, udp=True)

    def tries(self, client, server, port):
        """The errno of a connection, which is known at once."""
        code, took = self.boxes[client].do(*python(TRY, VIPS[server], port, 20)).split()
        assert float(took) < 8
        return int(code)

    def asks(self, client, server, port):
        return int(self.boxes[client].do(*python(ASK, VIPS[server], port)))

    def pings(self, client, server):
        """What ping says of its one packet."""
        return self.boxes[client].run("ping", "-c1", "-W5", VIPS[server]).stdout.decode()

    def reload(self, allow):
        self.site.hosts["a"].pop("allow", None)
        self.site.hosts["a"].update({} if allow is None else {"allow": allow})
        self.site.path.write_text(json.dumps({"hosts": self.site.hosts}))
        done = self.nswrap.run("mesh", "reload")
        assert done.returncode == 0, done.stderr

    def refused(self):
        return self.site.status()["a"]["drops"]["not_allowed"]


@pytest.mark.agents(but=("streams",), thorough=True)
def test_who_may(nswrap, short_dir):
    """A host with a port at that port, one without at all; others are refused, told so, and counted."""
    three = Three(nswrap, short_dir, [f"b:{PORT}"])
    with three.site:
        assert three.tries("b", "a", PORT) == 0 and three.asks("b", "a", PORT) == 0
        assert "1 received" in three.pings("b", "a")
        assert three.refused() == 0
        for client, port in (("b", OTHER), ("c", PORT), ("c", OTHER)):
            assert three.tries(client, "a", port) == errno.ECONNREFUSED
            assert three.asks(client, "a", port) == errno.ECONNREFUSED
        assert "Packet filtered" in three.pings("c", "a")
        refused = three.refused()
        assert refused >= 7  # a busy machine's TCP sends its SYN again
        # what a begins itself is answered
        assert three.tries("a", "c", PORT) == 0 and three.asks("a", "c", PORT) == 0
        assert "1 received" in three.pings("a", "c")
        assert three.refused() == refused
        table = nswrap.run("mesh", "status").stdout.decode().splitlines()
        assert table[1].split()[table[0].split().index("DROPS")] == str(refused)


@pytest.mark.agents(but=("streams",), thorough=True)
def test_reload_obeys_at_once(nswrap, short_dir):
    """Connections that are there go on; new ones are as the manifest says now."""
    three = Three(nswrap, short_dir, None)
    with three.site:
        assert three.tries("c", "a", PORT) == 0
        steady = Steady(three.boxes["c"], VIPS["a"], PORT)
        three.reload([])
        assert three.tries("c", "a", PORT) == three.tries("b", "a", PORT) == errno.ECONNREFUSED
        assert steady.end()[0] > 0
        three.reload(["*"])
        assert three.tries("c", "a", PORT) == three.tries("b", "a", PORT) == 0
        three.reload(["c:7000/udp"])
        assert three.asks("c", "a", PORT) == 0
        assert three.tries("c", "a", PORT) == errno.ECONNREFUSED


def test_the_agent_refuses_as_well(nswrap):
    """A manager that lets everything through is not enough."""
    boxes = {name: Box(nswrap, name) for name in ("a", "b")}
    boxes["a"].serve(TCP_ECHO, "0.0.0.0", PORT, port=PORT)
    switch, vips = Switch(), dict(zip(boxes, HOSTS.values()))
    for name, box in boxes.items():
        link = switch.add(vips[name], Link(box.popen("nswrap", "agent", "--automated", **PIPES)))
        assert "allow" in link.configure(vips[name], anyPort=True)["data"]["features"]

    def told(*allow):
        link = switch.links[bytes(map(int, vips["a"].split(".")))]
        link.configure(vips["a"], anyPort=True, allow=[{"ip": vips["a"]}, *allow])
        return int(boxes["b"].do(*python(TRY, vips["a"], PORT, 20)).split()[0])

    assert told({"ip": vips["b"], "port": PORT}) == 0
    assert told({"ip": vips["b"], "port": PORT, "proto": "udp"}) == errno.ECONNREFUSED
    assert told({"ip": vips["b"]}) == 0
    assert told() == errno.ECONNREFUSED
