# SPDX-License-Identifier: Apache-2.0
"""nswrap tunnel: who connected to what, told to targets by the PROXY protocol; and ends of 0.1"""

import ipaddress
import socket
import struct

import pytest

from harness import PATIENCE, connect, free_port, is_refused, read_all, wait_for
from test_tunnel import LennutServer, echo, run_server
from test_tunnel import target, tunnel  # noqa: F401 (fixtures)


def read_header(version, data):
    """((source, its port), (destination, its port), what follows), None for what is not known, as a reader of the
    protocol's text does it."""
    if version == "1":
        line, found, rest = data.partition(b"\r\n")
        assert found and len(line) <= 105 and line.startswith(b"PROXY "), data
        words = line.decode("ascii").split(" ")
        if words[1] == "UNKNOWN":
            return None, None, rest
        _, family, *ips, port, there = words
        addresses = [str(ipaddress.ip_address(ip)) for ip in ips]
        assert addresses == ips and all(ipaddress.ip_address(ip).version == int(family[3:]) for ip in ips), line
        return (ips[0], int(port)), (ips[1], int(there)), rest
    signature, kind, family, size = struct.unpack(">12sBBH", data[:16])
    assert signature == b"\r\n\r\n\0\r\nQUIT\n", data
    rest = data[16 + size:]
    if kind == 0x20:
        return None, None, rest
    assert kind == 0x21 and size == {0x11: 12, 0x21: 36}[family], data
    each = (size - 4) // 2
    ips = [str(ipaddress.ip_address(data[at:at + each])) for at in (16, 16 + each)]
    ports = struct.unpack(">HH", data[16 + size - 4:16 + size])
    return (ips[0], ports[0]), (ips[1], ports[1]), rest


@pytest.mark.parametrize("version", ["1", "2"])
def test_who_and_what(tunnel, target, version):  # noqa: F811
    """Who connected, and the address and port that were dialled, whatever is listened at; by name, too."""
    named, to = free_port(), target.getsockname()[1]
    server = tunnel._start("server", "--bind-proxy", f"0.0.0.0:{tunnel.proxy}", "--bind-proxy", f"[::1]:{tunnel.proxy}",
                           "--bind-client", f"127.0.0.1:{tunnel.clients}", "--allow-forward", f"*:{named}")
    server.wait_line("clients come to")
    client = tunnel.client(target, "--forward", f"four=0.0.0.0:{named}:127.0.0.1:{to}", "--forward",
                           f"six=[::1]:{named}:127.0.0.1:{to}", "--proxy-protocol", version)
    client.wait_line("connected to")
    for host in "127.0.0.1", "127.0.0.9", "::1":
        for port in tunnel.proxy, named:
            wait_for(lambda: not is_refused(port, host), f"a listener at {host} {port}")
            with connect(port, host) as s:
                own = s.getsockname()[:2]
                s.sendall(b"request")
                s.shutdown(socket.SHUT_WR)
                assert read_header(version, read_all(s)) == (own, (host, port), b"request")


@pytest.mark.parametrize("version", ["1", "2"])
def test_who_is_not_known(tunnel, target, version, short_dir):  # noqa: F811
    """Who comes by a path, or over lennut's wire, is not known, and where is not either."""
    path = f"{short_dir}/proxy"
    server = tunnel._start("server", "--bind-proxy", f"unix:{path}", "--bind-client", f"127.0.0.1:{tunnel.clients}")
    server.wait_line("clients come to")
    client = tunnel.client(target, "--proxy-protocol", version)
    client.wait_line("connected to")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(b"by path")
        s.shutdown(socket.SHUT_WR)
        assert read_header(version, read_all(s)) == (None, None, b"by path")
    assert client.stop() == 0 and server.stop() == 0
    with run_server(echo) as other:
        lennuts = LennutServer(tunnel.proxy, tunnel.clients)
        tunnel.client(other, "--proxy-protocol", version)
        wait_for(lambda: lennuts.waiting, "the first connection")
        with connect(tunnel.proxy) as s:
            s.sendall(b"by theirs")
            assert read_header(version, read_until(s, b"theirs")) == (None, None, b"by theirs")
        lennuts.close()


# --- ends of 0.1 -----------------------------------------------------------------------------------


def read_hail(s):
    """(type, text) of a message, signs of life left out."""
    while True:
        kind, _, size = struct.unpack(">cBH", read_exactly(s, 4))
        text = read_exactly(s, size)
        if kind != b"P":
            return kind, text


def read_until(s, end):
    data = b""
    while not data.endswith(end) and (part := s.recv(1000)):
        data += part
    return data


def read_exactly(s, size):
    data = b""
    while len(data) < size and (part := s.recv(size - len(data))):
        data += part
    assert len(data) == size, data
    return data


def test_a_client_of_0_1(tunnel):  # noqa: F811
    """It takes what stands in front of a first NUL for a name, and has no more than an address for who came."""
    tunnel.server()
    with connect(tunnel.clients) as link:
        assert read_exactly(link, 8) == b"nswrapt1"
        link.sendall(b"nswrapt1H\0\0\x09abcdefgha")
        assert read_hail(link)[0] == b"W"
        with connect(tunnel.proxy) as s:
            kind, text = read_hail(link)
            name, _, rest = text.partition(b"\0")
            assert (kind, name) == (b"O", b"")
            assert rest.split(b"\0")[0] == b"127.0.0.1:%d" % s.getsockname()[1]
            link.sendall(b"T\0\0\0A\0\0\0back")
            assert s.recv(100) == b"back"


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_server_of_0_1(tunnel, version):  # noqa: F811
    """It does not say what was dialled: that is nobody's address then."""
    with run_server(echo) as to, socket.create_server(("127.0.0.1", tunnel.clients)) as listener:
        tunnel.client(to, "--proxy-protocol", version)
        with listener.accept()[0] as link:
            link.settimeout(20 * PATIENCE)
            link.sendall(b"nswrapt1")
            assert read_exactly(link, 8) == b"nswrapt1" and read_hail(link)[0] == b"H"
            link.sendall(b"W\0\0\4\0\0\x10\0O\0\0\x0b192.0.2.1:9")
            assert [read_hail(link)[0] for _ in range(2)] == [b"T", b"A"]
            link.sendall(b"!")
            assert read_header(version, read_until(link, b"!")) == (("192.0.2.1", 9), ("0.0.0.0", 0), b"!")
