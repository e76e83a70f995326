# SPDX-License-Identifier: Apache-2.0
"""Names inside a sandbox: its own name server, the host's files, and what the host does to them."""

import os
import pathlib
import socket
import subprocess
import textwrap

import pytest

from harness import process_table, python, wait_for
from tools import THOROUGH, Roles

# a name server; argv: a log of what it is asked, then address and what it is like, again and again:
# fine, silent, refuses (with SERVFAIL), hostile, breaks (all is cut over UDP; over TCP a name of BYTES
# or BYTES-LENGTH has so many bytes of its answer, with that length in front, and a reset). It answers by
# the name: huge (TXT of 30,000 bytes), cut (TC over UDP, whole over TCP), always-cut, the rest 192.0.2.77,
# 2001:db8::77
SERVER = textwrap.dedent(r"""
    import socket, struct, sys, threading

    log = open(sys.argv[1], 'a', buffering=1)

    def read(ask):
        end, labels = 12, []
        while ask[end]:
            labels.append(ask[end + 1:end + 1 + ask[end]].decode())
            end += ask[end] + 1
        return '.'.join(labels), struct.unpack('!H', ask[end + 1:end + 3])[0], end + 5

    def record(kind, data):
        return b'\xc0\x0c' + struct.pack('!HHIH', kind, 1, 60, len(data)) + data

    def answer(ask, like, tcp):
        name, kind, end = read(ask)
        print(like, 'tcp' if tcp else 'udp', name, kind, ask[10:12] != b'\0\0' and 'edns' or 'plain',
              file=log)
        if like == 'silent':
            return []
        flags, records = 0x8180, []
        if like == 'refuses':
            flags |= 2
        elif name.lower().startswith('huge'):
            records = [record(16, b'\xff' + b'x' * 255)] * 115
        elif name.lower().startswith('many'):
            records = [record(1, socket.inet_aton('192.0.2.%d' % i)) for i in range(1, 90)]
        elif kind == 1:
            records = [record(1, socket.inet_aton('192.0.2.77'))]
        elif kind == 28:
            records = [record(28, socket.inet_pton(socket.AF_INET6, '2001:db8::77'))]
        if (name.startswith('cut') or like == 'breaks') and not tcp or name.startswith('always-cut'):
            flags, records = flags | 0x200, []
        head = struct.pack('!HHHHH', flags, 1, len(records), 0, 0) + ask[12:end]
        whole = ask[:2] + head + b''.join(records)
        if not tcp and len(whole) > 4000:
            whole = ask[:2] + struct.pack('!HHHHH', flags | 0x200, 1, 0, 0, 0) + ask[12:end]
        if like != 'hostile':
            return [whole]
        other = bytes([ask[0] ^ 1]) + ask[1:2]
        lies = [other + head + record(1, b'\x06\x06\x06\x06'),               # another id
                ask[:2] + head[:-4] + b'\0\x02\0\1' + record(1, b'\x06\x06\x06\x06'),  # question
                ask[:2], ask[:12], b'',                                       # parts
                ask[:2] + struct.pack('!HHHHH', 0x8180, 1, 1, 0, 0) + b'\xc0\x0c\0\1\0\1']
        return lies + [whole]

    def serve(address, like):
        family = socket.AF_INET6 if ':' in address else socket.AF_INET
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.bind((address, 53))
        tcp = socket.socket(family)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((address, 53))
        tcp.listen(50)

        def streams():
            while True:
                client, _ = tcp.accept()
                data = client.recv(65536)
                for text in answer(data[2:], like, True)[-1:]:
                    size, _, length = read(data[2:])[0].split('.')[0].partition('-')
                    if like != 'breaks' or not size.isdigit():
                        client.sendall(struct.pack('!H', len(text)) + text)
                        continue
                    text = struct.pack('!H', int(length or len(text))) + text
                    client.sendall(text[:int(size)])
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                    client.close()
        threading.Thread(target=streams, daemon=True).start()
        while True:
            ask, peer = udp.recvfrom(4096)
            for text in answer(ask, like, False):
                udp.sendto(text, peer)

    for i in range(2, len(sys.argv), 2):
        threading.Thread(target=serve, args=sys.argv[i:i + 2]).start()
""")

# argv: NAME TYPE [tcp] [edns=BYTES] [class=NUMBER] again and again, with "/" between; a line each: rcode, flags (tc),
# number of answers, bytes
DIG = textwrap.dedent("""
    import random, socket, struct, sys

    def ask(name, kind, *options):
        edns = [o for o in options if o.startswith('edns=')]
        text = struct.pack('!6H', random.randrange(65536), 0x100, 1, 0, 0, len(edns))
        for label in name.split('.'):
            text += bytes([len(label)]) + label.encode()
        classes = [int(o[6:]) for o in options if o.startswith('class=')]
        text += b'\\0' + struct.pack('!2H', int(kind), *(classes or [1]))
        for option in edns:
            text += b'\\0' + struct.pack('!2HIH', 41, int(option[5:]), 0, 0)
        server = [line.split()[1] for line in open('/etc/resolv.conf') if line.startswith('names')][0]
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if 'tcp' in options else socket.SOCK_DGRAM)
        s.settimeout(20)
        s.connect((server, 53))
        if 'tcp' in options:
            s.sendall(struct.pack('!H', len(text)) + text)
            stream = s.makefile('rb')
            got = stream.read(struct.unpack('!H', stream.read(2))[0])
        else:
            s.send(text)
            got = s.recv(65536)
        assert got[:2] == text[:2] and got[12:12 + len(name)] == text[12:12 + len(name)]
        print(got[3] & 15, 'tc' if got[2] & 2 else '-', struct.unpack('!H', got[6:8])[0], len(got))

    words = ' '.join(sys.argv[1:])
    for line in words.split(' / '):
        ask(*line.split())
""")


class Host:
    """An outer host whose /etc can be changed, and its name servers."""

    def __init__(self, outer, directory, lines, servers):
        self.etc = pathlib.Path(directory) / "etc"
        self.log = pathlib.Path(directory) / "asked"
        self.log.touch()
        self.etc.mkdir()
        files = [entry.path for entry in os.scandir("/etc") if not entry.is_dir()]
        subprocess.run(["cp", "-a", "/etc/alternatives", *files, self.etc], check=False,
                       stderr=subprocess.DEVNULL)
        for name in ("resolv.conf", "hosts"):
            (self.etc / name).unlink(missing_ok=True)
        if lines is not None:
            (self.etc / "resolv.conf").write_text(lines)
        (self.etc / "hosts").write_text(
            f"127.0.0.1 localhost\n127.0.1.1 {socket.gethostname()}.corp {socket.gethostname()}\n"
            "198.51.100.9 printer\n")
        self.outer = outer(f"mount --bind {self.etc} /etc")
        self.outer.popen(*python(SERVER, str(self.log), *servers))
        # the last one that it begins with
        wait_for(lambda: not servers or self.outer.is_bound(53), "the name servers")
        count = len(servers) // 2
        wait_for(lambda: self.bound() == count, "the name servers")

    def bound(self):
        rows = []
        for table in ("tcp", "tcp6"):
            path = pathlib.Path(f"/proc/{self.outer.holder.pid}/net/{table}")
            rows += [row.split() for row in path.read_text().splitlines()[1:]]
        return sum(row[1].endswith(":0035") and row[3] == "0A" for row in rows)

    def asked(self):
        return self.log.read_text().splitlines()

    def replace(self, name, text):
        """As resolvconf, NetworkManager and resolved do: another file is renamed over it."""
        new = self.etc / f"{name}.new"
        new.write_text(text)
        new.rename(self.etc / name)


@pytest.fixture
def host(outer, short_dir):
    def make(lines, *servers):
        return Host(outer, short_dir, lines, servers)
    return make


def shown(nswrap, host, *words):
    result = nswrap.run("-q", *words, prefix=host.outer.prefix(), timeout=60)
    return result.stdout.decode(), result.stderr.decode()


def dig(nswrap, host, *queries, options=()):
    out, err = shown(nswrap, host, *options, "--", *python(DIG, *" / ".join(queries).split()))
    lines = [line.split() for line in out.splitlines()]
    assert len(lines) == len(queries), err
    return [(int(rcode), tc == "tc", int(count), int(size)) for rcode, tc, count, size in lines]


FINE = "nameserver 192.0.2.10\nsearch corp.example\noptions ndots:2\n"


def test_as_it_was_asked(nswrap, host):
    """Large answers, EDNS, truncation and then TCP, search domains and options."""
    outside = host(FINE, "192.0.2.10", "fine")
    answers = dig(nswrap, outside, "www.example 1", "WWW.example 28 edns=4096", "huge.example 16",
                  "huge.example 16 tcp", "cut.example 1", "cut.example 1 tcp", "always-cut.example 1 tcp",
                  "many.example 1 edns=4096", "many.example 1 edns=1000")
    assert [a[:3] for a in answers] == [
        (0, False, 1), (0, False, 1), (0, True, 0), (0, False, 115), (0, True, 0), (0, False, 1),
        (0, True, 0), (0, False, 89), (0, True, 0)]
    assert answers[3][3] > 30000
    asked = outside.asked()
    assert asked[:4] == ["fine udp www.example 1 plain", "fine udp WWW.example 28 edns",
                         "fine udp huge.example 16 plain", "fine tcp huge.example 16 plain"]
    conf, _ = shown(nswrap, outside, "cat", "/etc/resolv.conf")
    assert conf == "nameserver 10.0.2.3\nsearch corp.example\noptions ndots:2\n"
    out, _ = shown(nswrap, outside, "getent", "ahosts", "some.name.example")
    assert "192.0.2.77" in out and "2001:db8::77" in out
    assert "fine udp some.name.example.corp.example 1 plain" in outside.asked()[-4:] or \
        "fine udp some.name.example 1 plain" in outside.asked()[-4:]


def test_several_servers(nswrap, host):
    """A silent one, one that refuses and one that is not there do not keep names away."""
    outside = host("nameserver 192.0.2.10\nnameserver 127.0.0.9\nnameserver 2001:db8::10\n",
                   "192.0.2.10", "silent", "127.0.0.9", "refuses", "2001:db8::10", "fine")
    assert dig(nswrap, outside, "a.example 1", "b.example 1", "c.example 28") == [
        (0, False, 1, 43), (0, False, 1, 43), (0, False, 1, 55)]
    asked = outside.asked()
    assert asked[:3] == ["silent udp a.example 1 plain", "refuses udp a.example 1 plain",
                         "fine udp a.example 1 plain"]
    # the silent one comes last from then on
    assert not any(line.startswith("silent") for line in asked[3:])


@pytest.mark.parametrize("options", [[], ["--no-ipv6"]], ids=["plain", "no-ipv6"])
def test_ipv6_servers_only(nswrap, host, options):
    outside = host("nameserver 2001:db8::10\n", "2001:db8::10", "fine")
    out, err = shown(nswrap, outside, *options, "getent", "ahostsv4", "some.example")
    assert out.startswith("192.0.2.77 "), err


@pytest.mark.parametrize("lines", ["nameserver ::1\n", "nameserver 127.0.0.9\n", None],
                         ids=["v6", "v4", "no-file"])
@pytest.mark.parametrize("server", ["192.0.2.10", "2001:db8::10"], ids=["v4", "v6"])
def test_dns_option(nswrap, host, lines, server):
    """--dns is asked whatever the host's file has, also where there is none."""
    outside = host(lines, server, "fine")
    out, err = shown(nswrap, outside, "--dns", server, "getent", "ahostsv4", "some.example")
    assert out.startswith("192.0.2.77 "), err


def test_hostile_server(nswrap, host):
    outside = host("nameserver 192.0.2.10\n", "192.0.2.10", "hostile")
    assert dig(nswrap, outside, "a.example 1", "b.example 28", "huge.example 16", "a.example 1 tcp") == [
        (0, False, 1, 43), (0, False, 1, 55), (0, True, 0, 30), (0, False, 1, 43)]


def test_server_that_breaks(nswrap, host):
    """A reset at every byte of an answer over TCP, and wrong lengths: SERVFAIL, and the next name is there."""
    outside = host("nameserver 192.0.2.10\n", "192.0.2.10", "breaks")
    size = 2 + 44  # "00.example" and an address
    names = [f"{sent:02}.example 1 tcp" for sent in range(size)]
    names += [f"{size - 1}-{length}.a 1 tcp" for length in (0, 1, 11, 20, 60000, 65535)]
    answers = dig(nswrap, outside, *names, f"{size}.example 1 tcp", "fine.example 1 tcp", "fine.example 1")
    assert [a[:3] for a in answers[:len(names)]] == len(names) * [(2, False, 0)]
    # all of it was sent; whether it came before the reset is the kernel's to say
    assert answers[-3][:3] in ((0, False, 1), (2, False, 0))
    assert [a[:3] for a in answers[-2:]] == [(0, False, 1), (0, True, 0)]


if THOROUGH:  # nine seconds of it
    def test_silence_ends(nswrap, host):
        outside = host("nameserver 192.0.2.10\n", "192.0.2.10", "silent")
        assert dig(nswrap, outside, "a.example 1")[0][0] == 2
        # asked again and again meanwhile: one lost datagram is not the end of a name
        assert len(outside.asked()) > 2


FOLLOW = """
import os, socket, sys
for line in sys.stdin:
    try:
        print(socket.gethostbyname(line.strip()), flush=True)
    except OSError as error:
        print(error, flush=True)
"""


def test_host_replaces_its_files(nswrap, host):
    """A rename over them leaves the sandbox its own; what they say is followed, by programs that run."""
    outside = host(FINE, "192.0.2.10", "fine", "127.0.0.9", "fine")
    running = nswrap.start("-q", "--", *python(FOLLOW), prefix=outside.outer.prefix(),
                           stdin=subprocess.PIPE)

    def look_up(name):
        running.stdin.write(name.encode() + b"\n")
        running.stdin.flush()
        return running.read_line()

    assert look_up("one.example") == "192.0.2.77"
    command = running.wait_event("started")["pid"]
    own = pathlib.Path(f"/proc/{command}/root/etc")
    for text in ("nameserver 127.0.0.9\nsearch vpn.example\n", FINE, "nameserver 127.0.0.9\n"):
        before = len(outside.asked())
        outside.replace("resolv.conf", text)
        assert (own / "resolv.conf").read_text().startswith("nameserver 10.0.2.3\n")
        search = [line for line in text.splitlines() if line.startswith("search")]
        wait_for(lambda: ([line for line in (own / "resolv.conf").read_text().splitlines()
                           if line.startswith("search")]) == search, "the search domains")
        assert look_up("one.example") == "192.0.2.77", before
    # hosts: its lines, but not of this machine
    outside.replace("hosts", f"127.0.1.1 {socket.gethostname()}\n198.51.100.10 printer scanner\n")
    wait_for(lambda: "scanner" in (own / "hosts").read_text(), "the host's hosts")
    assert look_up("printer") == "198.51.100.10"
    assert look_up(socket.gethostname()) == "10.0.2.100"
    # whatever comes and goes in /etc, without those
    (outside.etc / "fresh").write_text("1\n")
    wait_for((own / "fresh").exists, "a new file")
    assert (own / "fresh").read_text() == "1\n"
    (outside.etc / "fresh").unlink()
    wait_for(lambda: not os.path.lexists(own / "fresh"), "the file to go")
    (outside.etc / "passwd.new").write_text("x\n")
    (outside.etc / "passwd.new").rename(outside.etc / "passwd")
    assert (own / "passwd").read_text() == "x\n"
    (outside.etc / "resolv.conf").unlink()
    (outside.etc / "hosts").unlink()
    wait_for(lambda: "printer" not in (own / "hosts").read_text(), "the lines to go")
    assert (own / "resolv.conf").read_text() == "nameserver 10.0.2.3\n"
    running.stdin.close()
    assert running.wait() == 0


def test_which_server_is_asked_follows(nswrap, host):
    outside = host("nameserver 192.0.2.10\n", "192.0.2.10", "fine", "127.0.0.9", "refuses")
    running = nswrap.start("-q", "--", *python(FOLLOW), prefix=outside.outer.prefix(),
                           stdin=subprocess.PIPE)

    def look_up(name):
        running.stdin.write(name.encode() + b"\n")
        running.stdin.flush()
        return running.read_line()

    assert look_up("one.example") == "192.0.2.77"
    outside.replace("resolv.conf", "nameserver 127.0.0.9\n")
    wait_for(lambda: look_up("two.example") != "192.0.2.77", "the other server to be asked")
    assert outside.asked()[-1].startswith("refuses ")
    running.stdin.close()
    running.wait()


BIND = """
import socket
name = socket.gethostname()
address = socket.gethostbyname(name)
assert socket.gethostbyname(name + '.corp') == address
server = socket.create_server((address, 0))
client = socket.create_connection((name, server.getsockname()[1]))
print(address, {a[4][0] for a in socket.getaddrinfo(name, 1)} == {address}, socket.gethostbyaddr(address)[0])
"""


@pytest.mark.parametrize("options, address", [
    ([], "10.0.2.100"), (["--network", "none"], "127.0.0.1"), (["--no-dns"], "10.0.2.100"),
    (["--root"], "10.0.2.100"), (["--pid"], "10.0.2.100")], ids=["plain", "none", "no-dns", "root", "pid"])
def test_own_name_is_inside(nswrap, host, options, address):
    outside = host("nameserver 192.0.2.10\n", "192.0.2.10", "fine")
    out, err = shown(nswrap, outside, *options, "--", *python(BIND))
    name = "localhost" if address == "127.0.0.1" else socket.gethostname()
    assert out == f"{address} True {name}\n", err
    assert not any(socket.gethostname() in line for line in outside.asked())


def test_network_none(nswrap, host):
    """Own names are there, everything else is refused at once; nobody outside is asked."""
    outside = host(FINE, "192.0.2.10", "fine")
    own = socket.gethostname()
    answers = dig(nswrap, outside, f"{own} 1", f"{own} 28", f"{own} 1 tcp", "www.example 1",
                  "www.example 1 tcp", "x.localhost 1", options=["--network", "none"])
    assert [a[:3] for a in answers] == [(0, False, 1), (0, False, 0), (0, False, 1), (5, False, 0),
                                        (5, False, 0), (0, False, 1)]
    assert outside.asked() == []


def test_server_at_port_53(nswrap, host):
    """Who has all addresses inside may have port 53 as well; names still are resolved."""
    outside = host("nameserver 192.0.2.10\n", "192.0.2.10", "fine")
    program = """
import socket
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(('', 53))
tcp = socket.socket()
tcp.bind(('', 53))
tcp.listen()
print(socket.gethostbyname('some.example'))
"""
    out, err = shown(nswrap, outside, "--", *python(program))
    assert out == "192.0.2.77\n", err


def test_names_outlive_the_net_process(nswrap, host):
    outside = host("nameserver 192.0.2.10\n", "192.0.2.10", "fine")
    running = nswrap.start("-q", "--", *python(FOLLOW), prefix=outside.outer.prefix(),
                           stdin=subprocess.PIPE)
    running.stdin.write(b"one.example\n")
    running.stdin.flush()
    assert running.read_line() == "192.0.2.77"
    os.kill(Roles(running).net, 9)
    running.stdin.write(b"two.example\n")
    running.stdin.flush()
    assert running.read_line() == "192.0.2.77"
    running.stdin.close()
    assert running.wait() == 0


# argv: a name; each word on stdin, udp or tcp, asks the name server for it
ASK = """
import socket, struct, sys
labels = b''.join(bytes([len(label)]) + label.encode() for label in sys.argv[1].split('.'))
ask = struct.pack('!6H', 7, 0x100, 1, 0, 0, 0) + labels + struct.pack('!BHH', 0, 1, 1)
for line in sys.stdin:
    with socket.socket(type=socket.SOCK_STREAM if line == 'tcp\\n' else socket.SOCK_DGRAM) as server:
        server.settimeout(20)
        server.connect(('10.0.2.3', 53))
        server.send((struct.pack('!H', len(ask)) if line == 'tcp\\n' else b'') + ask)
        print(labels in server.recv(512), flush=True)
"""


@pytest.mark.parametrize("way", ["udp", "tcp", "port"])
def test_no_process_for_a_name_server_that_nobody_asks(nswrap, way):
    """With --network none: it is started by the first question, or for the first port."""
    running = nswrap.start("-q", "-n", "box", "--network", "none", "--", *python(ASK, "some.example"),
                           stdin=subprocess.PIPE)

    def processes():
        found = [comm for pid, (ppid, _, comm) in process_table().items() if ppid == running.pid]
        return sorted(found)

    wait_for(lambda: "nswrap: witness" in processes(), "COMMAND")
    assert processes() == ["nswrap: init", "nswrap: witness"]
    if way == "port":
        added = nswrap.run("port", "add", "box", "0:7000")
        assert added.returncode == 0, added.stderr
        wait_for(lambda: "nswrap: net" in processes(), "the net process")
    else:
        running.stdin.write(way.encode() + b"\n")
        running.stdin.flush()
        assert running.read_line() == "True"
        assert "nswrap: net" in processes()
    running.stdin.close()
    assert running.wait() == 0


def test_a_name_server_that_cannot_be_had_ends_nothing(nswrap):
    """Because there may be no more namespaces: COMMAND goes on without."""
    running = nswrap.start("--network", "none", "--", *python("""
import socket, sys
sys.stdin.readline()
socket.socket(type=socket.SOCK_DGRAM).sendto(b'which?', ('10.0.2.3', 53))
sys.stdin.readline()"""), prefix=["unshare", "-U", "-r"], stdin=subprocess.PIPE)
    wait_for(lambda: (running.pid, "nswrap: witness") in [(row[0], row[2]) for row in process_table().values()], "COMMAND")
    subprocess.run(["nsenter", f"--target={running.pid}", "--user", "--preserve-credentials", "sh", "-c",
                    "echo 0 >/proc/sys/user/max_user_namespaces"], check=True)
    running.stdin.write(b"now\n")
    running.stdin.flush()
    running.wait_line("names are not answered")
    running.stdin.close()
    assert running.wait() == 0


@pytest.mark.parametrize("options", [[], ["--root"], ["--no-dns"]], ids=["plain", "root", "no-dns"])
def test_etc_is_the_hosts(nswrap, host, options):
    """All that the host has in /etc, and nothing can be written there."""
    outside = host("nameserver 192.0.2.10\n")
    (outside.etc / "folder").mkdir()
    (outside.etc / "folder" / "up").symlink_to("../../etc/hostname-of-test")
    (outside.etc / "hostname-of-test").write_text("here\n")
    (outside.etc / "link").symlink_to("../etc/folder/up")
    script = ("cat /etc/folder/up /etc/link; ls /etc | tr '\\n' ' '; mount -o remount,rw /etc;"
              "umount /etc; touch /etc/x")
    out, err = shown(nswrap, outside, *options, "sh", "-c", script)
    assert out.startswith("here\nhere\n")
    assert sorted(out.splitlines()[2].split()) == sorted(
        name for name in os.listdir(outside.etc) if not name.startswith("."))
    assert err.count("Read-only file system") == 1 and not (outside.etc / "x").exists()
    # also for who is there at the start, and names it without its directory
    prefix = [*outside.outer.prefix(), "sh", "-c", 'cd /etc && exec "$@"', "-"]
    done = nswrap.run("-q", *options, "cat", "hosts", prefix=prefix)
    assert done.stdout.startswith(b"127.0.0.1 localhost\n::1 localhost"), done.stderr
