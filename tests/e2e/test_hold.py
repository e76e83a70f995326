# SPDX-License-Identifier: Apache-2.0
"""The port that a program prints leads to it, or to nobody: the host's port of the guest's number"""

import re
import socket
import subprocess

import pytest

from harness import HTTP, PATIENCE, free_port, http_get, is_refused, other_user, python, wait_for

# prints "ADDRESS yes|no" for each address, in all the ways to ask; argv: port address...
TAKE = """
import itertools, socket, sys
port = int(sys.argv[1])
for address in sys.argv[2:]:
    taken = False
    for reuse_addr, reuse_port, only in itertools.product((0, 1), repeat=3):
        family = socket.AF_INET6 if ':' in address else socket.AF_INET
        with socket.socket(family) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse_addr)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse_port)
            if family == socket.AF_INET6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
            try:
                s.bind((address, port))
                s.listen()
                taken = True
            except OSError:
                pass
    print(address, 'yes' if taken else 'no')
"""

# listens there until its stdin ends; argv: address port
SIT = """
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
s = socket.create_server((host, port), family=socket.AF_INET6 if ':' in host else socket.AF_INET)
print('sits', flush=True)
sys.stdin.read()
"""

@pytest.fixture
def start(nswrap):
    return nswrap.start


EVERYWHERE = ["127.0.0.1", "127.0.1.1", "0.0.0.0", "::1", "::"]


def taken_by_others(port, *addresses):
    """Those of the addresses at whose port another user of the host can listen."""
    done = subprocess.run([*other_user(), *python(TAKE, port, *(addresses or EVERYWHERE))],
                          capture_output=True, timeout=30 * PATIENCE)
    assert done.returncode == 0, done.stderr
    return {line.split()[0] for line in done.stdout.decode().splitlines() if line.endswith("yes")}


@pytest.fixture
def squatter():
    """Have another user listen at an address."""
    started = []

    def sit(host, port):
        popen = subprocess.Popen([*other_user(), *python(SIT, host, port)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(popen)
        assert popen.stdout.readline() == b"sits\n"

    yield sit
    for popen in started:
        popen.communicate()


def warnings(running):
    return [line for line in running.stderr.lines if "is in use by" in line]


@pytest.mark.parametrize("forward", ["-p 0 -P {}", "-f 0:{}", "-f unix:sock:{}", "-b ::1 -p 0 -P {}",
                                     "-b 0.0.0.0 -p 0 -P {}", "--network none -p 0 -P {}"])
def test_the_printed_port_is_nobody_elses(start, short_dir, forward):
    """A client of what the program prints is refused, and nobody else can listen there."""
    port = free_port()
    assert taken_by_others(port) == set(EVERYWHERE)
    running = start(*forward.format(port).split(), *python(HTTP, "127.0.0.1", port), cwd=short_dir)
    running.guest_listening()
    assert taken_by_others(port) == set()
    assert is_refused(port) and is_refused(port, "::1") and is_refused(port, "127.0.1.1")
    assert warnings(running) == []
    running.stop()
    assert taken_by_others(port) == set(EVERYWHERE)


def test_localhost_is_the_forward_alone(start):
    """One number for both: "localhost" is ::1 first."""
    port = free_port()
    running = start("-p", port, *python(HTTP, "127.0.0.1", port))
    running.guest_listening()
    assert taken_by_others(port) == set()
    assert http_get(port, host="localhost")[1] == b"path /"
    assert is_refused(port, "::1")


@pytest.mark.parametrize("forward", ["-p {}:80", "-f [::1]:{}:80", "-b 0.0.0.0 -p {}:80",
                                     "--only-user -p {}:80", "--network none -p {}:80"])
def test_the_port_that_leads_in_is_nobody_elses(start, forward):
    """Two numbers: who types "localhost" and the one that leads in gets there, or nowhere."""
    port = free_port()
    running = start(*forward.format(port).split(), "sleep", "1000")
    running.wait_event("forward")
    assert taken_by_others(port) == set()
    assert warnings(running) == []
    running.stop()
    assert taken_by_others(port) == set(EVERYWHERE)


def test_a_forward_at_another_address_leaves_localhost_alone(start):
    """Nobody says "localhost" for it, and may have the same port there for something else."""
    port = free_port()
    start("-p", f"127.0.0.2:{port}:80", "sleep", "1000").wait_event("forward")
    assert taken_by_others(port) == set(EVERYWHERE) - {"0.0.0.0"}


def test_somebody_beside_the_port_that_leads_in_is_named(start, squatter):
    port = free_port()
    squatter("::1", port)
    running = start("-p", f"{port}:80", "sleep", "1000")
    line = running.wait_line("is in use by")
    assert re.search(rf"port {port} of ::1 on this host is in use by .*localhost, open 127.0.0.1:{port} instead",
                     line)
    assert len(warnings(running)) == 1
    # the rest is held all the same
    assert "127.0.1.1" not in taken_by_others(port, "127.0.1.1")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "127.0.1.1", "0.0.0.0"])
def test_somebody_elses_port_is_named(start, squatter, host):
    port = free_port()
    squatter(host, port)
    running = start("-p", 0, "-P", port, "sleep", "1000")
    line = running.wait_line("is in use by")
    at = "127.0.0.1" if host == "0.0.0.0" else host
    assert re.search(rf"port {port} of {re.escape(at)} on this host is in use by .*: if the command "
                     rf"prints an address with that port, open 127.0.0.1:{running.host_port()} instead",
                     line)
    assert len(warnings(running)) == 1
    # the rest is held all the same
    assert "::" not in taken_by_others(port, "::")
    assert not ({"127.0.0.1", "127.0.1.1", "::1"} - {host} & taken_by_others(port))


def test_two_servers_that_want_the_same_port(start):
    """README's example: no word about it; the port is held until the second one has ended, too."""
    port = free_port()
    two = [start("-p", 0, "-P", port, *python(HTTP, "127.0.0.1", port)) for _ in range(2)]
    for running in two:
        running.guest_listening()
        assert http_get(running.host_port())[1] == b"path /"
        assert warnings(running) == []
    two[0].stop()
    assert taken_by_others(port) == set()
    two[1].stop()
    assert taken_by_others(port) == set(EVERYWHERE)


def test_a_held_port_can_be_led_in(start, nswrap, squatter):
    """By another sandbox of the same user; then nobody has to be told, and it is in use as any."""
    port = free_port()
    holder = start("-n", "holder", "-p", 0, "-P", port, "sleep", "1000")
    holder.wait_event("forward")
    leader = start("-p", port, *python(HTTP, "127.0.0.1", port))
    leader.guest_listening()
    assert http_get(port)[1] == b"path /"
    assert warnings(leader) == warnings(holder) == []
    again = nswrap.run("-p", port, "true")
    assert again.returncode == 125 and b"is in use by the sandbox python3-1" in again.stderr
    leader.stop()
    assert taken_by_others(port) == set()
    # and by itself, while it runs, and back
    assert nswrap.run("port", "add", "holder", f"{port}:{port}").returncode == 0
    assert taken_by_others(port) == set()
    assert nswrap.run("port", "remove", "holder", port).returncode == 0
    assert taken_by_others(port) == set()
    other = free_port()
    added = nswrap.run("port", "add", "holder", f"0:{other}")
    assert added.returncode == 0 and taken_by_others(other) == set()
    spec = [e for e in holder.events if e["event"] == "forward"][-1]["spec"]
    assert nswrap.run("port", "remove", "holder", spec).returncode == 0
    assert taken_by_others(other) == set(EVERYWHERE)


def test_what_was_led_in_is_held_when_that_ends(start, nswrap):
    """By the rule that is left, once the net process has closed it."""
    port, other = free_port(), free_port()
    running = start("-n", "box", "-f", f"127.0.0.1:{port}:80", "-f", f"127.0.0.1:{other}:{port}", "sleep", "1000")
    running.wait_event("forward", 2)
    running.net_pid()
    assert nswrap.run("port", "remove", "box", port).returncode == 0
    wait_for(lambda: taken_by_others(port) == set(), "the port to be held")
    running.stop()


def test_ports_of_the_administrator_make_no_noise(start):
    running = start("-p", 0, "-P", 80, "sleep", "1000")
    running.wait_event("forward")
    running.wait_line("leads to port 80 inside")
    assert [x for x in running.stderr.lines if re.search("port 80 of|hold|denied", x)] == []


def test_no_hold(start):
    port = free_port()
    running = start("--no-hold", "-p", 0, "-P", port, *python(HTTP, "127.0.0.1", port))
    running.guest_listening()
    assert taken_by_others(port) == set(EVERYWHERE)
    with socket.create_server(("127.0.0.1", port)):
        pass
