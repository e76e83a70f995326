# SPDX-License-Identifier: Apache-2.0
"""A peer that vanishes without a word is noticed, and the other side is told by a reset"""

import re
import socket
import subprocess
import threading

import pytest

from harness import NEIGHBOUR_SETUP, PATIENCE, TCP_ECHO, connect, free_port, python, wait_for
from mesh_tools import Box, Site, network
from test_exit import FAR, far  # noqa: F401 (a fixture)
from test_tunnel import answer_at_the_end, run_server, tunnel  # noqa: F401 (a fixture)
from tools import THOROUGH

# says what it got from each client, and how that ended; argv: address port
TELL_END = """
import socket, sys, threading
def serve(c):
    try:
        while data := c.recv(100):
            print('got', data.decode(), flush=True)
        print('end', flush=True)
    except OSError as e:
        print(e.strerror, flush=True)
host, port = sys.argv[1], int(sys.argv[2])
with socket.create_server((host, port)) as server:
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""

# connects, says hello, and stays until stdin ends; says how the connection ended; argv: address port
STAY = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as s:
    s.sendall(b'hello')
    print('there', flush=True)
    try:
        while s.recv(100):
            print('answered', flush=True)
        print('end', flush=True)
    except OSError as e:
        print(e.strerror, flush=True)
"""

LISTENS = "until ss -Hltn | grep -q :7000; do :; done"

KEPT = re.compile(r"timer:\(keepalive,([\d.]+)(min|sec|ms)")


def timers(prefix, where):
    """Seconds until the next question, of each connection of that port; None: there is none."""
    rows = subprocess.run([*prefix, "ss", "-Htno", "state", "established", where], capture_output=True)
    assert rows.returncode == 0, rows.stderr
    found = [KEPT.search(row) for row in rows.stdout.decode().splitlines()]
    unit = {"min": 60, "sec": 1, "ms": 0.001}
    return [float(m[1].rstrip(".")) * unit[m[2]] if m else None for m in found]


@pytest.mark.parametrize("driver", ["splice", "slirp"])
def test_clients_are_kept_alive(nswrap, outer, driver):
    """The kernel asks for signs of life, on the host's side of a forward."""
    host = outer(NEIGHBOUR_SETUP)
    running = nswrap.start("--port-driver", driver, "-f", "0.0.0.0:6000:7000",
                           *python(TCP_ECHO, "127.0.0.1", 7000), prefix=host.prefix())
    running.guest_listening()
    client = subprocess.Popen([*host.neighbour(), *python(STAY, host.address, 6000)],
                              stdout=subprocess.PIPE)
    try:
        assert client.stdout.readline() == b"there\n" and client.stdout.readline() == b"answered\n"
        found = wait_for(lambda: timers(host.prefix(), "sport = :6000"), "the connection")
        assert [t for t in found if t is None or t > 10] == []
    finally:
        client.kill()
        client.wait()


def test_servers_outside_are_kept_alive(nswrap, outer):
    """The same for what a program inside connects to."""
    host = outer(NEIGHBOUR_SETUP)
    server = subprocess.Popen([*host.neighbour(), *python(TCP_ECHO, "192.0.2.1", 7000)])
    try:
        subprocess.run([*host.neighbour(), "sh", "-c", LISTENS], check=True, timeout=20)
        running = nswrap.start(*python(STAY, "192.0.2.1", 7000), prefix=host.prefix())
        assert running.read_line() == "there" and running.read_line() == "answered"
        found = wait_for(lambda: timers(host.prefix(), "dport = :7000"), "the connection")
        assert [t for t in found if t is None or t > 10] == []
        running.stop()
    finally:
        server.kill()
        server.wait()


def are_kept(*ends, prefix=()):
    """The kernel asks at each of these ends ("sport = :80") of connections, and soon."""
    for where in ends:

        def are_asked():
            found = timers(prefix, where)
            return found and all(t is not None and t <= 10 for t in found)

        # while bytes are under way there is another timer
        wait_for(are_asked, f"the kernel to ask at {where}")


@pytest.fixture
def target():
    """A port of this machine, where all that comes is answered at its end."""
    with run_server(answer_at_the_end) as listener:
        yield listener.getsockname()[1]


def test_both_ends_of_a_tunnel(tunnel, target):  # noqa: F811
    tunnel.server()
    tunnel.client(f"127.0.0.1:{target}").wait_line("connected to")
    with connect(tunnel.proxy) as s:
        s.sendall(b"hello")
        are_kept(f"sport = :{tunnel.proxy}", f"sport = :{tunnel.clients}", f"dport = :{tunnel.clients}",
                 f"dport = :{target}")


def test_plain_hosts_of_a_mesh(nswrap, short_dir, target):
    """What they accept for others and dial for others, and both proxies."""
    site, box, led = Site(nswrap, short_dir), Box(nswrap, "box"), free_port()
    http, socks = free_port(), free_port()
    site.host("here", f"{network()}.101", ports=[f"{target}:127.0.0.1:{target}"], http={"listen": f"127.0.0.1:{http}"},
              socks={"listen": f"127.0.0.1:{socks}"})
    site.host("box", f"{network()}.102", box.agent(), ports=[f"{led}:127.0.0.1:{led}"])
    box.serve(TCP_ECHO, "127.0.0.1", led, port=led)
    with site:
        inside = box.popen(*python(STAY, f"{network()}.101", target), stdout=subprocess.PIPE)
        assert inside.stdout.readline() == b"there\n"
        are_kept(f"dport = :{target}")
        with connect(led, f"{network()}.102") as s, connect(http) as asks, connect(socks) as hails:
            s.sendall(b"hello")
            assert s.recv(5) == b"hello"
            asks.sendall(b"CONNECT box:%d HTTP/1.1\r\nHost: box\r\n\r\n" % led)
            assert b" 200 " in asks.recv(1000)
            hails.sendall(b"\5\1\0" + b"\5\1\0\1" + socket.inet_aton(f"{network()}.102") + led.to_bytes(2, "big"))
            assert hails.recv(1, socket.MSG_PEEK) == b"\5"
            are_kept(f"sport = :{led}", f"sport = :{http}", f"sport = :{socks}")
        inside.kill()
        inside.wait()


@pytest.mark.parametrize("options", [[], ["--network", "none"], ["--pid", "--root"]], ids=" ".join)
def test_what_reverse_rules_dial(nswrap, target, options):
    running = nswrap.start(*options, "-R", target, *python(STAY, "127.0.0.1", target))
    assert running.read_line() == "there"
    are_kept(f"dport = :{target}")
    running.stop()


def test_what_an_exit_dials(nswrap, far):  # noqa: F811
    made = far()
    made.serve(TCP_ECHO, FAR, 7001)
    running = nswrap.start("--via", made.link(), *python(STAY, FAR, 7001))
    assert running.read_line() == "there" and running.read_line() == "answered"
    are_kept("dport = :7001", prefix=made.machine.prefix())
    running.stop()


class Vanishing:
    """A connection between a program inside and the neighbour, whose cable is cut."""

    def __init__(self, nswrap, host, way):
        if way == "outbound":
            self.far = subprocess.Popen([*host.neighbour(), *python(TCP_ECHO, "192.0.2.1", 7000)])
            subprocess.run([*host.neighbour(), "sh", "-c", LISTENS], check=True, timeout=20)
            self.running = nswrap.start(*python(STAY, "192.0.2.1", 7000), prefix=host.prefix())
            greeting = ["there", "answered"]
        else:
            self.running = nswrap.start("--port-driver", way, "-f", "0.0.0.0:6000:7000",
                                        *python(TELL_END, "127.0.0.1", 7000), prefix=host.prefix())
            self.running.guest_listening()
            self.far = subprocess.Popen([*host.neighbour(), *python(STAY, host.address, 6000)],
                                        stdout=subprocess.DEVNULL)
            greeting = ["got hello"]
        assert [self.running.read_line() for _ in greeting] == greeting
        subprocess.run([*host.neighbour(), "ip", "link", "set", "ext1", "down"], check=True)
        self.said = []
        self.reader = threading.Thread(target=lambda: self.said.append(self.running.read_line()))
        self.reader.start()

    def close(self):
        self.far.kill()
        self.far.wait()
        self.running.stop()


if THOROUGH:  # half a minute of silence

    @pytest.mark.limit(120)
    def test_vanished_peers(nswrap, outer):
        """Within 40 s the program inside sees an error, not an end: what it has is not complete."""
        all_ways = {way: Vanishing(nswrap, outer(NEIGHBOUR_SETUP), way)
                    for way in ("splice", "slirp", "outbound")}
        for vanishing in all_ways.values():
            vanishing.reader.join(40 * PATIENCE)
            vanishing.close()
        assert {way: vanishing.said for way, vanishing in all_ways.items()} == \
            {way: ["Connection reset by peer"] for way in all_ways}
