# SPDX-License-Identifier: Apache-2.0
"""UDP datagrams of every size that the manual promises arrive, each way"""

import subprocess

import pytest

from harness import BINARY, PATIENCE, Behind, OuterHost, free_port, python
from mesh_tools import Box, Site, network
from test_tunnel import tunnel  # noqa: F401 (a fixture)
from test_tunnel_forwards import client_of
from test_tunnel_links import far

# answers with as many bytes as the text in front says, or with their number; argv: address port
SIZES = """
import socket, sys
host = sys.argv[1]
s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((host, int(sys.argv[2])))
while True:
    data, peer = s.recvfrom(70000)
    asked = data.rstrip(b'.')
    s.sendto(b'.' * int(asked) if asked else b'%d' % len(data), peer)
"""

# prints which of the sizes go out, and which come in; argv: address port size...
ASK = """
import socket, sys, time
host, port, *sizes = sys.argv[1:]
s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((host, int(port)))
def answers(data, expected):
    s.settimeout(PATIENCE_S)
    for _ in range(20):
        try:
            s.send(data)
            while s.recv(70000) != expected:  # to what was asked before, and was late
                pass
            return True
        except TimeoutError:  # lost in a busy machine
            pass
        except OSError:  # refused while the server starts
            time.sleep(0.05)
    return False
for size in map(int, sizes):
    print(size, answers(b'.' * size, b'%d' % size), answers(b'%d' % size, b'.' * size))
"""

GOES = "True True"


def asked(runner, *where_and_sizes):
    program = ASK.replace("PATIENCE_S", str(0.5 * PATIENCE))
    done = runner(*python(program, *where_and_sizes))
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.decode().splitlines())


@pytest.mark.parametrize("mtu", [65520, 9000, 1280])
@pytest.mark.parametrize("version, headers", [(4, 28), (6, 48)])
def test_outbound(nswrap, outer, version, headers, mtu):
    """Up to the MTU of the TAP less the headers."""
    made = Behind(outer)
    address = "192.0.2.1" if version == 4 else "2001:db8::1"
    try:
        made.serve(SIZES, address, 7000, udp=True)
        sizes = [n for n in (1, 1200, 1452, 1453, 8192, 16360, 16361, 16384, 32768) if n < mtu - headers]
        sizes.append(mtu - headers)
        found = asked(lambda *words: nswrap.run("--mtu", mtu, *words, prefix=made.machine.prefix()),
                      address, 7000, *sizes)
        assert found == {str(size): GOES for size in sizes}
    finally:
        made.close()


# what a connected socket hears of a port where nobody is; argv: address port
REFUSED = """
import errno, socket, sys
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
s.connect((sys.argv[1], int(sys.argv[2])))
try:
    s.send(b'x')
    s.recv(1)
except OSError as e:
    print(errno.errorcode.get(e.errno, e))
"""


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_outbound_refusals(nswrap, outer, address):
    """What the far machine says, or this one of its own port, is what the program hears."""
    made = Behind(outer)
    try:
        for at in address, OuterHost.address if "." in address else OuterHost.address6:
            done = nswrap.run(*python(REFUSED, at, 7000), prefix=made.machine.prefix())
            assert done.stdout == b"ECONNREFUSED\n", (at, done.stderr)
    finally:
        made.close()


# whoever asks has an answer, and before that what others send to where it was asked from; argv: address port
STRANGERS = """
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
family, loopback = (socket.AF_INET6, '::1') if ':' in host else (socket.AF_INET, '127.0.0.1')
s = socket.socket(family, socket.SOCK_DGRAM)
s.bind((host, port))
while True:
    _, peer = s.recvfrom(99)
    for own in loopback, host:
        with socket.socket(family, socket.SOCK_DGRAM) as stranger:
            stranger.bind((own, 0))
            stranger.sendto(b'strange', (own, peer[1]))
    s.sendto(b'asked', peer)
"""

# asks until it is answered, and prints what else comes; argv: address port
WHO_COMES = """
import socket, sys
host = sys.argv[1]
s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('', 5000))
s.settimeout(2)
data = b''
while data != b'asked':
    s.sendto(b'?', (host, int(sys.argv[2])))
    try:
        data, peer = s.recvfrom(99)
        print(data.decode(), peer[0])
    except TimeoutError:
        pass
"""


@pytest.mark.parametrize("address", ["192.0.2.10", "2001:db8::10"])
def test_nobody_comes_in_who_was_not_asked(nswrap, outer, address):
    """Other users of the host see the port at which answers are awaited."""
    machine = outer()
    machine.serve(STRANGERS, address, 7000, udp=True)
    result = nswrap.run("-q", "--", *python(WHO_COMES, address, 7000), prefix=machine.prefix())
    assert result.stdout.decode() == f"asked {address}\n", result.stderr


@pytest.mark.parametrize("inside", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("listener", ["127.0.0.1", "::1"])
def test_forwards(nswrap, listener, inside):
    """Up to what UDP over IPv4 can carry, whatever the MTU of the TAP."""
    port = free_port()
    shown = f"[{listener}]" if ":" in listener else listener
    running = nswrap.start("-f", f"{shown}:{port}:7000/udp", *python(SIZES, inside, 7000))
    running.guest_listening()
    sizes = [1, 1472, 1473, 16384, 32768, 65472, 65507]
    found = asked(lambda *words: subprocess.run(words, capture_output=True), listener, port, *sizes)
    assert found == {str(size): GOES for size in sizes}


def test_forward_of_ipv6(nswrap):
    """To a guest at all addresses: what UDP over IPv6 can carry, which is more than IPv4 can."""
    port = free_port()
    running = nswrap.start("--network", "none", "-f", f"[::1]:{port}:7000/udp", *python(SIZES, "::", 7000))
    running.guest_listening()
    sizes = [1, 65507, 65508, 65527]
    assert asked(here, "::1", port, *sizes) == {str(size): GOES for size in sizes}


SIZES_MAX = [1, 1473, 16361, 65507]


@pytest.fixture
def answerer(host_server):
    """A port of this machine's loopback at which sizes are answered."""
    port = free_port()
    host_server(SIZES, port, udp=True)
    return port


def here(*words):
    return subprocess.run(words, capture_output=True)


def test_reverse(nswrap, answerer):
    """As forwards, in the other direction."""
    found = asked(lambda *words: nswrap.run("--network", "none", "-R", f"53:{answerer}/udp", "--", *words),
                  "127.0.0.1", 53, *SIZES_MAX)
    assert found == {str(size): GOES for size in SIZES_MAX}


@pytest.mark.parametrize("mtu", [65520, 1280])
@pytest.mark.parametrize("address, headers", [("192.0.2.1", 28), ("2001:db8::1", 48)])
def test_via(nswrap, outer, address, headers, mtu):
    """By an exit: up to the MTU of via0 less the headers."""
    made = Behind(outer)
    try:
        made.serve(SIZES, address, 7000, udp=True)
        link = "exec:" + " ".join([*made.machine.prefix(), BINARY, "exit"])
        sizes = [1, 1200, mtu - headers]
        found = asked(lambda *words: nswrap.run("--mtu", mtu, "--via", link, *words), address, 7000, *sizes)
        assert found == {str(size): GOES for size in sizes}
    finally:
        made.close()


@pytest.mark.agents
def test_mesh(nswrap, tmp_path):
    """From one host to another: what UDP can carry."""
    boxes = [Box(nswrap, "one"), Box(nswrap, "two")]
    boxes[1].serve(SIZES, "127.0.0.1", 7003, port=7003, udp=True)
    site, port = Site(nswrap, tmp_path), free_port()
    site.host("one", f"{network()}.11", boxes[0].agent())
    site.host("two", f"{network()}.12", boxes[1].agent(), ports=[f"{port}:127.0.0.1:7003/udp"])
    with site:
        found = asked(boxes[0].run, f"{network()}.12", port, *SIZES_MAX)
        assert found == {str(size): GOES for size in SIZES_MAX}


def test_tunnels(tunnel, answerer):  # noqa: F811
    """Both directions, over one stream."""
    forward, reverse = free_port(), free_port()
    target = f"127.0.0.1:{answerer}"
    client = client_of(tunnel, "--forward", f"to=127.0.0.1:{forward}:{target}/udp",
                       "--reverse", f"from=127.0.0.1:{reverse}:{target}/udp",
                       server=far(tunnel, "--allow-reverse", target))
    for name, port in ("to", forward), ("from", reverse):
        client.wait_line(f"{name}: .*leads to")
        assert asked(here, "127.0.0.1", port, *SIZES_MAX) == {str(size): GOES for size in SIZES_MAX}
