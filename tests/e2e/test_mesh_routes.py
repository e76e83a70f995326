# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_routes - what is behind hosts of a mesh: networks that this machine cannot reach"""

import errno
import re
import subprocess

import pytest
from harness import BINARY, NEIGHBOUR_SETUP, TCP_ECHO, TCP_PEER, UDP_ECHO, descendants, open_fds, python, wait_for
from mesh_tools import TRY, Box, Site, echoed

LAB = "127.0.42.101"
BASTION = "127.0.42.102"
FAR = "192.0.2.1"  # of the neighbour's, which the bastion reaches and nobody else


class Cloud:
    """A bastion (an OuterHost) and a machine behind it, whose programs start here."""

    def __init__(self, outer, setup=""):
        self.bastion = outer(NEIGHBOUR_SETUP + setup)
        self.popens = []

    def agent(self, *options):
        return [*self.bastion.prefix(), BINARY, *(("agent", *options) if options else ())]

    def serve(self, program, *args, udp=False):
        """Run a program of the harness on the far machine, until it is bound."""
        popen = subprocess.Popen([*self.bastion.neighbour(), *python(program, *args)],
                                 stdin=subprocess.DEVNULL)
        self.popens.append(popen)
        look = [*self.bastion.neighbour(), "ss", "-Hln", "-u" if udp else "-t"]
        wait_for(lambda: re.search(rf":{args[1]}\s", subprocess.run(
            look, capture_output=True, check=True, text=True).stdout), f"port {args[1]}")
        return popen

    def close(self):
        for popen in self.popens:
            popen.kill()
            popen.wait()


@pytest.fixture
def cloud(outer):
    clouds = []

    def make(**options):
        clouds.append(Cloud(outer, **options))
        return clouds[-1]

    yield make
    for made in clouds:
        made.close()


def attempt(box, address, port, seconds=5):
    """(errno of a connection from the box, 0 if there was one; how long it took)."""
    number, took = box.do(*python(TRY, address, port, seconds)).split()
    return int(number), float(took)


@pytest.fixture
def world(nswrap, cloud, tmp_path):
    """A sandbox, a bastion and what is behind it, in a mesh with this route."""
    made = cloud()
    box = Box(nswrap, "lab")
    site = Site(nswrap, tmp_path, routes=[{"to": ["192.0.2.0/24"], "via": "bastion"}])
    site.host("lab", LAB, box.agent())
    site.host("bastion", BASTION, made.agent())
    return made, box, site


def test_a_sandbox_reaches_what_is_behind_a_bastion(world):
    """No proxy, no setting: bytes and ends both ways; who refuses, refuses."""
    made, box, site = world
    made.serve(TCP_ECHO, FAR, 7001)
    with site:
        echoed(box, bytes(3 << 20), f"{FAR}:7001")
        number, took = attempt(box, FAR, 7002)
        assert number == errno.ECONNREFUSED and took < 2
