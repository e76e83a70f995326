# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_ports - ports of hosts: those that cannot be bound, and where they lead"""

import json
import re
import socket
import threading

import pytest

from harness import BINARY, TCP_ECHO, UDP_ECHO, free_port, free_ports, python, wait_for
from mesh_tools import Box, Site, network


@pytest.fixture
def box(nswrap):
    return Box(nswrap, "portbox")


def vip(number):
    return f"{network()}.{number}"


def tcp_works(ip, port, timeout=20):
    try:
        with socket.create_connection((ip, port), timeout=timeout) as s:
            s.sendall(b"echo")
            return s.recv(10) == b"echo"
    except OSError:
        return False


def udp_works(ip, port, timeout=20):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        try:
            s.connect((ip, port))
            s.send(b"echo")
            return s.recv(100).endswith(b"echo")
        except OSError:
            return False


# --- ports that cannot be bound ------------------------------------------------------------------


@pytest.mark.agents(but=("streams",), thorough=True)
def test_one_port_that_is_taken(nswrap, box, tmp_path):
    """All others of the host work, this one is told of, and works when it is let go of."""
    ports = [free_port() for _ in range(2)]
    for n in range(2):
        box.serve(TCP_ECHO, "127.0.0.1", 7000 + n, port=7000 + n)
        box.serve(UDP_ECHO, "127.0.0.1", 7000 + n, port=7000 + n, udp=True)
    site = Site(nswrap, tmp_path)
    site.host("box", vip(11), box.agent(),
              ports=[f"{port}:127.0.0.1:{7000 + n}{proto}" for n, port in enumerate(ports)
                    for proto in ("", "/udp")])
    site.host("plain", vip(12))
    taken = [socket.create_server(("0.0.0.0", ports[0])), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]
    taken[1].bind(("0.0.0.0", ports[0]))
    with site:
        assert tcp_works(vip(11), ports[1]) and udp_works(vip(11), ports[1])
        missing = wait_for(lambda: site.status()["plain"]["missing"], "what is missing")
        assert {(m["ip"], m["port"], m["proto"]) for m in missing} == {
            (vip(11), ports[0], "tcp"), (vip(11), ports[0], "udp")}
        assert all("in use by python3" in m["why"] for m in missing)
        for proto in "", "/udp":
            assert re.search(rf"^plain: port {ports[0]}{proto} of {vip(11)} is missing: in use by",
                             nswrap.run("mesh", "status", "site").stdout.decode(), re.M)
        site.running.wait_line(rf"plain: .*port {ports[0]} of {vip(11)} is in use by .*tried again", 5)
        for sock in taken:
            sock.close()
        site.running.wait_line(rf"plain: .*: port {ports[0]} of {vip(11)} works now", 10)
        wait_for(lambda: site.status()["plain"]["missing"] == [], "nothing to be missing", 10)
        assert tcp_works(vip(11), ports[0]) and udp_works(vip(11), ports[0])


def test_two_hosts_on_one_machine(nswrap, box, tmp_path):
    """Each has what the other one has not: nothing is missing, nothing is said of it, and one is enough."""
    ports = [free_port() for _ in range(2)]
    box.serve(TCP_ECHO, "127.0.0.1", 7000, port=7000)
    site = Site(nswrap, tmp_path)
    site.host("box", vip(31), box.agent(), ports=[f"{port}:127.0.0.1:7000" for port in ports])
    for n in range(3):
        site.host(f"plain{n}", vip(32 + n), f"{BINARY} agent")
    with site:
        for host in site.hosts:
            wait_for(lambda host=host: site.status()[host].get("missing") == [], "nothing to be missing", 10)
        assert all(tcp_works(vip(31), port) for port in ports)
        for n in range(2):
            del site.hosts[f"plain{n}"]
            site.path.write_text(json.dumps({"hosts": site.hosts}))
            assert nswrap.run("mesh", "reload", "site").returncode == 0
            wait_for(lambda: all(tcp_works(vip(31), port) for port in ports), "the next one to have it", 10)
        assert "in use" not in site.running.stderr.text()


# --- where ports lead ----------------------------------------------------------------------------


# says of each address and port what a datagram there comes to; argv: address:port...
DATAGRAMS = """
import errno, socket, sys
for where in sys.argv[1:]:
    ip, port = where.rsplit(':', 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((ip, int(port)))
        s.settimeout(10)
        try:
            s.send(b'x')
            print(s.recv(100).split()[-1].decode())
        except OSError as e:
            print(errno.errorcode.get(e.errno, e))
"""


@pytest.mark.agents(but=("streams",), thorough=True)
def test_datagrams_that_are_refused(nswrap, box, tmp_path):
    """In a sandbox, of any host, as on the target's own machine; and they come when somebody is there."""
    other = Box(nswrap, "otherbox")
    first, nobody = free_ports(3), free_port()
    site = Site(nswrap, tmp_path)
    site.host("box", vip(11), box.agent())
    site.host("other", vip(13), other.agent(), ports=[f"{first}:127.0.0.1:9/udp", f"{first + 1}:localhost:9/udp"])
    site.host("plain", vip(12), ports=[f"{first}:127.0.0.1:{nobody}/udp", f"{first + 1}:localhost:{nobody}/udp"])
    site.host("bare", vip(14), f"{BINARY} agent --stack streams", ports=site.hosts["plain"]["ports"])
    wheres = [f"{vip(host)}:{first + n}" for host in (12, 13, 14) for n in (0, 1)]

    def said():
        done = box.run(*python(DATAGRAMS, *wheres))
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().split()

    with site:
        assert said() == ["ECONNREFUSED"] * 6
        other.serve(UDP_ECHO, "127.0.0.1", 9, port=9, udp=True)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", nobody))
            server.settimeout(20)
            echo = threading.Thread(target=lambda: [server.sendto(*server.recvfrom(100)) for _ in range(4)])
            echo.start()
            try:
                assert said() == ["x"] * 6
            finally:
                echo.join()


@pytest.mark.agents(but=("streams",), thorough=True)
def test_wrong_targets_are_told(nswrap, box, tmp_path):
    """Refused, unknown, out of reach: of each port one line, and how often it was in the status."""
    first = free_ports(6)
    nobody = free_port()
    site = Site(nswrap, tmp_path)
    site.host("box", vip(11), box.agent(), ports=[
        f"{first}:192.0.2.1:80", f"{first + 1}:nowhere.invalid:80", f"{first + 2}:127.0.0.1:9",
        f"{first + 5}:127.0.0.1:9/udp"])
    site.host("plain", vip(12), ports=[f"{first + 3}:127.0.0.1:{nobody}",
                                       f"{first + 4}:127.0.0.1:{nobody}/udp"])
    wrong = {  # port: (host, how it is to be asked, target, reason)
        first: ("box", tcp_works, "192.0.2.1:80", "unreachable"),
        first + 1: ("box", tcp_works, "nowhere.invalid:80", "name"),
        first + 2: ("box", tcp_works, "127.0.0.1:9", "refused"),
        first + 3: ("plain", tcp_works, f"127.0.0.1:{nobody}", "refused"),
        first + 4: ("plain", udp_works, f"127.0.0.1:{nobody}", "refused"),
        first + 5: ("box", udp_works, "127.0.0.1:9", "refused"),
    }
    with site:
        for port, (name, works, _, _) in wrong.items():
            # nothing says that a datagram is lost
            timeout = 1 if works is udp_works else 20
            assert not any(works(site.hosts[name]["vip"], port, timeout) for _ in range(3))

        def failing():
            found = {f["port"]: f for host in site.status().values() for f in host["failing"]}
            return found if len(found) == len(wrong) and all(f["count"] >= 3 for f in found.values()) else None

        found = wait_for(failing, "what fails", 10)
        told = nswrap.run("mesh", "status", "site").stdout.decode()
        wait_for(lambda: all(f["age"] >= 1 for f in failing().values()), "the first second")
        for port, (name, works, target, reason) in wrong.items():
            assert target in found[port]["why"] and reason in found[port]["why"], found[port]
            assert found[port]["age"] < 30
            proto = "/udp" if works is udp_works else ""
            line = rf"{name}: .*port {port}{proto} does not lead anywhere: {re.escape(target)}: .*{reason}"
            site.running.wait_line(line, 5)
            assert len([1 for said in site.running.stderr.lines if re.search(line, said)]) == 1
            assert re.search(rf"^{name}: port {port}{proto} of \S+ does not lead anywhere: {re.escape(target)}.*"
                             rf"\({found[port]['count']} times", told, re.M), told


def test_a_crowd_of_wrong_ports(nswrap, box, tmp_path):
    """Some are listed, and how many there are."""
    first = free_ports(12)
    site = Site(nswrap, tmp_path)
    site.host("box", vip(11), box.agent(), ports=[f"{first + n}:127.0.0.1:9" for n in range(12)])
    site.host("plain", vip(12))
    taken = [socket.create_server(("0.0.0.0", first + n)) for n in range(10)]
    with site:
        for n in range(12):
            with socket.socket() as s:
                s.connect_ex((vip(11), first + n))
                s.settimeout(5)
        status = wait_for(lambda: s if (s := site.status()["plain"])["missing"] else None, "the report")
        assert len(status["missing"]) == 8 and status["missing_total"] == 10
        assert status["failing"] == [] and status["failing_total"] == 0
        assert "plain: 2 more ports are missing" in nswrap.run("mesh", "status", "site").stdout.decode()
        for sock in taken:
            sock.close()
        wait_for(lambda: site.status()["plain"]["missing_total"] == 0, "all of them", 10)


# prints what an echo server answers, with the address that it saw if it is one for UDP; argv:
# tcp|udp address port
ASK = """
import socket, sys
kind = socket.SOCK_STREAM if sys.argv[1] == 'tcp' else socket.SOCK_DGRAM
with socket.socket(socket.AF_INET, kind) as s:
    s.settimeout(10)
    s.connect((sys.argv[2], int(sys.argv[3])))
    s.send(b'echo')
    print(s.recv(100).decode().split()[-1])
"""


def answers(at, proto, ip, port):
    """Whether a program there is answered from that port."""
    done = at.run(*python(ASK, proto, ip, port))
    return done.stdout == b"echo\n" or done.stderr.decode()


@pytest.fixture
def boxes(nswrap, box, tmp_path):
    """boxes(ports of the first one): a mesh of two sandboxes and this host."""
    def make(ports):
        site = Site(nswrap, tmp_path)
        site.host("box", vip(11), box.agent(), ports=ports)
        site.host("other", vip(12), other.agent())
        site.host("plain", vip(13))
        return site

    other = Box(nswrap, "otherbox")
    make.other = other
    return make


@pytest.mark.agents(but=("streams",), thorough=True)
def test_two_ports_lead_to_one_place(boxes, box):
    """Each is answered from where it was asked, of every host, the sandbox itself, TCP and UDP."""
    first = free_ports(3)
    box.serve(TCP_ECHO, "127.0.0.1", 9000, port=9000)
    box.serve(UDP_ECHO, "127.0.0.1", 9000, port=9000, udp=True)
    with boxes([f"{first + n}:127.0.0.1:9000{proto}" for n in range(3) for proto in ("", "/udp")]):
        for port in range(first, first + 3):
            for at in box, boxes.other:
                for proto in "tcp", "udp":
                    assert answers(at, proto, vip(11), port) is True, (at.name, proto, port)
            assert tcp_works(vip(11), port) and udp_works(vip(11), port), port


@pytest.mark.agents(but=("streams",), thorough=True)
def test_a_sandbox_reaches_its_own_ports(boxes, box):
    """At its VIP, wherever they lead; and other ports of it as ever."""
    first = free_ports(4)
    for proto, program in (("", TCP_ECHO), ("/udp", UDP_ECHO)):
        box.serve(program, "127.0.0.1", 9000, port=9000, udp=bool(proto))
        box.serve(program, "0.0.0.0", first + 2, port=first + 2, udp=bool(proto))
        box.serve(program, vip(11), 9001, port=9001, udp=bool(proto))
    with boxes([f"{port}:{target}{proto}" for proto in ("", "/udp") for port, target in (
            (first, "127.0.0.1:9000"), (first + 1, "localhost:9000"), (first + 2, f"127.0.0.1:{first + 2}"))]):
        for port in first, first + 1, first + 2, 9001:
            for proto in "tcp", "udp":
                assert answers(box, proto, vip(11), port) is True, (port, proto)
        assert "refused" in answers(box, "tcp", vip(11), first + 3)


@pytest.mark.agents(but=("streams",), thorough=True)
def test_targets_at_every_loopback(boxes, box):
    """[::1] and localhost, of which both are tried; no listener of ours is in a program's way."""
    first = free_ports(6)
    for proto, program in (("", TCP_ECHO), ("/udp", UDP_ECHO)):
        box.serve(program, "::1", 9000, port=9000, udp=bool(proto))
        box.serve(program, "127.0.0.1", 9001, port=9001, udp=bool(proto))
    ports = {first: "[::1]:9000", first + 1: "localhost:9000", first + 2: "localhost:9001",
             first + 3: f"localhost:{first + 3}"}
    with boxes([f"{port}:{target}{proto}" for port, target in ports.items() for proto in ("", "/udp")]):
        # after the agent has begun
        box.serve(TCP_ECHO, "0.0.0.0", first + 3, port=first + 3)
        box.serve(UDP_ECHO, "0.0.0.0", first + 3, port=first + 3, udp=True)
        for port in ports:
            for at in box, boxes.other:
                for proto in "tcp", "udp":
                    assert answers(at, proto, vip(11), port) is True, (at.name, proto, port)
            assert tcp_works(vip(11), port) and udp_works(vip(11), port), port
