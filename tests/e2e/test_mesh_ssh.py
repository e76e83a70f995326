# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_ssh - a laptop, an ssh host and a container in one mesh, as the README has it"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest

import harness
from harness import PATIENCE, TCP_ECHO, TREE, http_get, is_alive, python, wait_for
from mesh_tools import BACK_S, Box, Hiccups, Site, connects, echoed, network, settled, sshd
from test_mesh_sandbox import bound, opened

WEB = harness.free_port()  # at a virtual IP; in the sandbox it is 8080

PAGE = b"only for the mesh\n"


class World:
    """An sshd, and sandboxes that it starts, with a runtime directory of their own."""

    def __init__(self, nswrap, directory, server, far):
        self.nswrap = nswrap
        self.directory = directory
        self.sshd = server
        self.far = far
        self.net = network()

    def site(self, **top):
        path = f"{self.sshd.bin}:{os.environ['PATH']}"
        return Site(self.nswrap, self.directory, env={"PATH": path}, **top)

    def web(self, pages=None):
        """The command of an ssh host with a web server in a sandbox."""
        server = f"exec python3 -m http.server --bind 127.0.0.1 --directory {pages or self.pages()} 8080"
        return ["ssh", "me@web.example.com", "--", f"nswrap -c '{server}'"]

    def pages(self):
        path = pathlib.Path(self.directory, "pages")
        path.mkdir(exist_ok=True)
        (path / "page").write_bytes(PAGE)
        return path


@pytest.fixture
def world(nswrap, short_dir):
    far = pathlib.Path(short_dir, "far")
    far.mkdir(0o700)
    with sshd(short_dir, XDG_RUNTIME_DIR=far) as server:
        yield World(nswrap, short_dir, server, far)
        wait_for(lambda: not server.below(), "all sessions to end")
    wait_for(lambda: not [f for f in far.rglob("*") if f.is_socket()], "the end of all sandboxes there")


def fetched(host):
    """curl of a page; None while there is no answer."""
    done = subprocess.run(["curl", "-s", "-S", "-f", "-m", "10", "--noproxy", "*",
                           f"http://{host}:{WEB}/page"], capture_output=True)
    return done.stdout if done.returncode == 0 else None


def test_the_readme(world):
    """Its manifest as it stands; a script in the place of podman leads to another sandbox."""
    readme = (TREE / "README.md").read_text()
    text = re.search(r"```\n(hosts:\n  laptop:.*?)```", readme, re.S)[1]
    # in the sessions of the sshd it is in PATH
    text = text.replace("~/.local/bin/nswrap", "nswrap")
    assert "cmd: ssh " in text and "cmd: podman exec -i some-postgres nswrap\n" in text
    (podman := world.sshd.bin / "podman").write_text('#!/bin/sh\nshift 2\nexec nswrap exec "$@"\n')
    podman.chmod(0o755)
    database = Box(world.nswrap, "some-postgres")
    database.serve(TCP_ECHO, "127.0.0.1", 5432, port=5432)
    site = world.site()
    site.text, ports = settled(text)
    web, db = f"{world.net}.101", f"{world.net}.102"
    with site:
        answer = wait_for(lambda: http_answer(web, ports[8080]), "the web server")
        assert answer == 200
        assert harness.exchange(ports[5432], b"select 1", host=db) == b"select 1"


def http_answer(host, port):
    try:
        return http_get(port, "/", host)[0]
    except OSError:
        return None


def test_other_users_of_the_ssh_host(world):
    """Sandboxes at both ends: what is in the mesh cannot be connected to by who is not."""
    laptop, box = Box(world.nswrap, "laptop"), Box(world.nswrap, "box")
    box.serve(TCP_ECHO, "0.0.0.0", 7000, port=7000)
    vips = [f"{world.net}.{n}" for n in (100, 101, 102)]
    site = world.site()
    site.host("laptop", vips[0], laptop.agent())
    site.host("web", vips[1], world.web(), ports=[f"{WEB}:127.0.0.1:8080"])
    site.host("box", vips[2], box.agent(), anyPort=True)
    with site:
        curl = ["curl", "-s", "-S", "-m", "10", f"http://{vips[1]}:{WEB}/page"]
        wait_for(lambda: laptop.run(*curl).stdout == PAGE, "the web server")
        assert box.do(*curl) == PAGE
        echoed(laptop, os.urandom(1 << 20), f"{vips[2]}:7000")
        assert opened(f"{world.net}.9", *vips) == set()
        hexadecimal = {socket.inet_aton(vip)[::-1].hex().upper() for vip in vips}
        assert [at for at in bound() if at[0] in hexadecimal] == []


@pytest.mark.parametrize("victim", ["ssh", "session", "agent"])
def test_a_connection_that_is_killed_comes_back(world, victim):
    """Within the pause that is told and a second, or as long as it took at first; and the loopback of the
    laptop is its again."""
    web = f"{world.net}.101"
    site = world.site()
    site.host("laptop", f"{world.net}.100")
    site.host("web", web, world.web(), ports=[f"{WEB}:127.0.0.1:8080"])
    began = time.monotonic()
    with site, Hiccups() as hiccups:
        wait_for(lambda: fetched(web) == PAGE, "the web server")
        first = time.monotonic() - began
        before = world.sshd.below()
        if victim == "ssh":
            os.kill(site.status()["web"]["pid"], signal.SIGKILL)
        elif victim == "session":
            world.sshd.kill_session()
        else:
            os.kill(harness.called("nswrap: agent", before)[0], signal.SIGKILL)
        lost = time.monotonic()
        pause = site.next_loss("web", 0)
        wait_for(lambda: fetched(web) == PAGE, "the page again", pause + 10)
        took = time.monotonic() - lost - hiccups.lost_s
        assert took < pause + 0.1 + max(BACK_S * PATIENCE, 2 * first), f"{took} s with a pause of {pause} s, {first} s at first"
        # the first ones were ended by the end of their link
        wait_for(lambda: not any(map(is_alive, before)), "the end of what was there before")
        status = site.status()
        assert status["web"]["restarts"] == 1 and status["laptop"]["restarts"] == 0


def test_a_stopped_ssh_costs_the_others_nothing(world):
    """A connection that is neither there nor gone; others go on, and the end comes all the same."""
    boxes = [Box(world.nswrap, name) for name in ("one", "two")]
    boxes[1].serve(TCP_ECHO, "0.0.0.0", 7000, port=7000)
    site = world.site()
    site.host("web", f"{world.net}.101", world.web(), ports=[f"{WEB}:127.0.0.1:8080"])
    for n, box in enumerate(boxes):
        site.host(box.name, f"{world.net}.{n + 102}", box.agent(), anyPort=True)
    with site:
        wait_for(lambda: connects(boxes[0], f"{world.net}.101", WEB), "the web server")
        stopped = site.status()["web"]["pid"]
        os.kill(stopped, signal.SIGSTOP)
        began = time.monotonic()
        echoed(boxes[0], os.urandom(4 << 20), f"{world.net}.103:7000")
        assert time.monotonic() - began < 10 * PATIENCE
        assert site.status()["web"]["restarts"] == 0


def test_bulk_by_ssh(world):
    """Both ways at once, with the payload intact."""
    laptop = Box(world.nswrap, "laptop")
    site = world.site()
    far = f"exec {' '.join(map(shell_quoted, python(TCP_ECHO, '0.0.0.0', 7000)))}"
    site.host("laptop", f"{world.net}.100", laptop.agent())
    site.host("far", f"{world.net}.101",
              ["ssh", "far.example.com", "--", f"nswrap -c {shell_quoted(far)}"], anyPort=True)
    with site:
        wait_for(lambda: connects(laptop, f"{world.net}.101", 7000), "the server")
        echoed(laptop, os.urandom(10 << 20), f"{world.net}.101:7000")


def shell_quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"
