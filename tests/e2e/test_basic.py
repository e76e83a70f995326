# SPDX-License-Identifier: Apache-2.0
"""e2e/test_basic - the main job: a command in its own network, and what is promised of it"""

import concurrent.futures
import hashlib
import ipaddress
import json
import os
import re
import signal
import socket
import stat
import subprocess

import pytest

from harness import (
    HTTP, NAME_SERVER, PATIENCE, TCP_COUNT, TCP_ECHO, TCP_HALF, TCP_PEER, UDP_ECHO, connect,
    descendants, describe, exchange, free_port, free_ports, http_get, is_alive, is_refused, python, read_all,
    wait_for)
from tools import HIDE_LIBSLIRP, listed as ps

DRIVERS = pytest.mark.parametrize("driver", ["splice", "slirp"])


# --- exit status -----------------------------------------------------------------------------


def test_exit_status_is_the_commands(nswrap):
    """All 256 of them."""
    def status(code):
        return nswrap.run("-q", "--", "sh", "-c", f"exit {code}").returncode

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(status, range(256))) == list(range(256))


def test_exit_status_of_a_signal(nswrap):
    fatal = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT, signal.SIGKILL,
             signal.SIGUSR1, signal.SIGSEGV, signal.SIGPIPE, signal.SIGALRM, signal.SIGTERM]
    for number in fatal:
        result = nswrap.run("-q", "-c", f"ulimit -c 0; kill -{int(number)} $$")
        assert result.returncode == 128 + number, number


def test_exit_status_of_what_cannot_run(nswrap, short_dir):
    plain = os.path.join(short_dir, "plain")
    with open(plain, "w") as f:
        f.write("text")
    cases = {"/nonexistent/program": 127, "no-such-program-anywhere": 127, plain: 126, "/tmp": 126}
    for command, status in cases.items():
        result = nswrap.run("-q", "--", command)
        assert result.returncode == status, result.stderr
        assert command in result.stderr.decode()


# --- bad input -------------------------------------------------------------------------------

BAD = [
    (["-P", "0", "true"], "0"),
    (["-p", "65536", "true"], "65536"),
    (["-p", "80x", "true"], "80x"),
    (["-p", "-1", "true"], "-1"),
    (["-p", "", "true"], "-p"),
    (["-p", "+80", "true"], "+80"),
    (["-p", " 80", "true"], " 80"),
    (["-p", "8080:80x", "true"], "80x"),
    (["-p", "8000-8010", "true"], "[ADDR:]HOST:GUEST"),
    (["-p", "8080:80", "-P", "81", "true"], "without a GUEST"),
    (["-f", "8080:0", "true"], "8080:0"),
    (["-f", "8080:65536", "true"], "65536"),
    (["-f", "300.0.0.1:8080:80", "true"], "300.0.0.1"),
    (["-f", "8080:80/sctp", "true"], "sctp"),
    (["-f", "[::1:8080:80", "true"], "[::1:8080:80"),
    (["-b", "no-address", "true"], "no-address"),
    (["-f", "8000-8010:9000-9005", "true"], "8000-8010:9000-9005"),
    (["-f", "8010-8000:9010-9000", "true"], "8010-8000"),
    (["-p", "8080", "-p", "8080", "-P", "1", "-P", "2", "true"], "8080"),
    (["-p", "8080", "-f", "127.0.0.1:8080:81", "true"], "8080"),
    (["-p", "8080", "-P", "80", "-P", "81", "true"], "-P"),
    (["-P", "80", "true"], "-P"),
    (["-n", "a/b", "true"], "a/b"),
    (["-n", "..", "true"], ".."),
    (["--wait", "soon", "true"], "soon"),
    (["--network", "some", "true"], "some"),
    (["--pcap", "-", "true"], "--pcap"),
    (["--port-driver", "fast", "true"], "fast"),
    (["--host-prot", "80", "true"], "--host-port"),
    (["--nonsense-nobody-knows", "true"], "--nonsense-nobody-knows"),
    (["-p", "8080"], "ommand|COMMAND"),
    *[([option, value, "true"], option) for option, value in [
        ("--cidr", "224.0.0.0/8"), ("--cidr", "240.0.0.0/8"), ("--cidr", "127.0.0.0/8"),
        ("--cidr", "0.0.0.0/8"), ("--cidr", "10.0.2.0/26"), ("--cidr", "10.0.0.0/7"), ("--cidr", "10.0.2.1/24"),
        ("--cidr", "fd00::/64"), ("--cidr", "255.255.255.0/24"), ("--cidr6", "10.0.2.0/24"),
        ("--cidr6", "fe80::/64"), ("--cidr6", "ff00::/64"), ("--cidr6", "::/64"), ("--cidr6", "::ffff:0:0/96"),
        ("--cidr6", "fd00::/113"), ("--cidr6", "fc00::/7"), ("--cidr6", "fd00::1/64"), ("--cidr6", "fd00::"),
        ("-b", "224.0.0.1"), ("-b", "255.255.255.255"), ("-b", "ff02::1"), ("-b", "::ffff:127.0.0.1"),
        ("-f", "224.0.0.1:8080:80"), ("-f", "[ff02::1]:8080:80/udp"), ("-p", "240.0.0.1:8080"),
        ("-R", "224.0.0.1:8080:80"), ("-R", "8080:255.255.255.255:80"), ("-R", "8080:[ff02::1]:80"),
        ("--mtu", "1279"), ("--mtu", "65521"), ("--mtu", "big"),
        ("--dns", "0.0.0.0"), ("--dns", "::"), ("--dns", "224.0.0.1"), ("--dns", "255.255.255.255"),
        ("--dns", "ff02::1"), ("--dns", "::ffff:10.0.0.1"), ("--dns", "dns.example"),
        ("--outbound-addr", "192.0.2.77"), ("--outbound-addr", "2001:db8::77"), ("--outbound-addr", "0.0.0.0"),
        ("--outbound-addr", "::"), ("--outbound-addr", "224.0.0.1"), ("--outbound-addr", "255.255.255.255"),
        ("--outbound-addr", "ff02::1"), ("--outbound-addr", "::ffff:127.0.0.1"), ("--outbound-addr", "eth0"),
        ("--outbound-addr", "127.255.255.255"), ("--outbound-addr", "fe80::1"), ("-b", "fe80::1"), ("--dns", "fe80::1"),
        ("-p", "[fe80::1]:8080"), ("-R", "8080:[fe80::1]:80"), ("-R", "[fe80::1]:8080:80"),
    ]],
    (["-p"], "-p"),
    (["-c"], "-c"),
]


@pytest.mark.parametrize("args, names", BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_bad_input(nswrap, args, names):
    """One line that names the argument, and exit status 2."""
    result = nswrap.run(*args)
    text = result.stderr.decode()
    assert result.returncode == 2, text
    assert len(text.splitlines()) == 1, text
    if "|" in names:
        assert re.search(names, text), text
    else:
        assert names in text
    assert result.stdout == b""


def test_bad_input_before_anything_starts(nswrap, short_dir):
    proof = os.path.join(short_dir, "started")
    result = nswrap.run("-p", "80x", "touch", proof)
    assert result.returncode == 2
    assert not os.path.exists(proof)


def test_host_port_in_use(nswrap):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = nswrap.run("-p", port, "true")
    text = result.stderr.decode()
    assert result.returncode == 125
    assert str(port) in text
    assert str(os.getpid()) in text, "the holder can be seen here"
    assert len(text.splitlines()) == 1


# --- streams, environment, signals ---------------------------------------------------------------


def test_streams_byte_for_byte(nswrap):
    data = os.urandom(1 << 20)
    result = nswrap.run("-q", "cat", input=data)
    assert (result.returncode, result.stdout, result.stderr) == (0, data, b"")
    result = nswrap.run("-q", "-c", "cat >&2", input=data)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", data)


def test_stdin_end_is_seen(nswrap):
    assert nswrap.run("-q", "wc", "-c").stdout.strip() == b"0"


def test_placeholders_and_environment(nswrap):
    host = free_ports(2)
    result = nswrap.run(
        "-q", "-n", "words", "-p", host, "-P", 81, "-p", host + 1, "-P", 82, "--", "sh", "-c",
        'echo "$@"; echo $NSWRAP_GUEST_PORT $NSWRAP_HOST_PORT $NSWRAP_NAME', "sh",
        "--port={guest-port}", "{host-port}", "<guest-port>", "{guest-port:2}{host-port:2}", "{x}")
    assert result.stdout.decode().splitlines() == [
        f"--port=81 {host} 81 82{host + 1} {{x}}", f"81 {host} words"], result.stderr


def test_callers_ids_inside(nswrap):
    mine = f"{os.getuid()} {os.getgid()}"
    assert nswrap.run("-q", "-c", "echo $(id -u) $(id -g)").stdout.decode().strip() == mine
    assert nswrap.run("-q", "--root", "-c", "id -u").stdout.strip() == b"0"


def test_stdout_is_commands_alone(nswrap):
    """Whoever reads it sees COMMAND close it, though nswrap goes on."""
    running = nswrap.start("-q", "-c", "exec >&-; sleep 60")
    assert running.stdout.read() == b""
    assert running.popen.poll() is None


@pytest.mark.parametrize("fd", range(3))
def test_a_closed_stream_stays_closed(nswrap, fd):
    """COMMAND, and what joins it, is told that nobody hears it, as it would be without nswrap. Our own processes have
    something in that place, or a socket of theirs would be there."""
    script = 'for n in 0 1 2; do [ -e /proc/self/fd/$n ] || closed=$closed$n; done; echo x; [ "$closed" = $0 ]'
    prefix = ["sh", "-c", f'exec "$@" {fd}>&-', "sh"]
    assert nswrap.run("--network", "none", "--", "sh", "-c", script, fd, prefix=prefix).returncode == 0
    running = nswrap.start("-n", "box", "--network", "none", "-c", "exec sleep 1000", prefix=prefix)
    running.wait_event("started")
    assert nswrap.run("exec", "box", "sh", "-c", script, fd, prefix=prefix).returncode == 0
    assert nswrap.run("exec", "box", "sh", "-c", script, fd).returncode == 1
    assert os.readlink(f"/proc/{running.pid}/fd/{fd}") == "/dev/null"


CATCHER = """
import os, signal, sys
wanted = {getattr(signal, name) for name in sys.argv[1:]}
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)  # pause() could miss one
os.write(1, b'ready\\n')
while True:
    number = signal.sigwait(wanted)
    os.write(1, number.name.encode() + b'\\n')
    if number == signal.SIGTERM:
        sys.exit(7)
"""


def test_signals_are_passed_on(nswrap):
    names = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGALRM", "SIGCONT",
             "SIGTERM"]
    running = nswrap.start("-q", "--", *python(CATCHER, *names))
    assert running.read_line() == "ready"
    for name in names:
        running.signal(getattr(signal, name))
        assert running.read_line() == name
    assert running.wait() == 7


@pytest.mark.waits
def test_sigterm_ends_the_tree(nswrap):
    """Also what has left COMMAND's session, and by SIGKILL what does not want to hear."""
    running = nswrap.start("-q", "-c", "setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 60; "
                           "done' & sleep 60 & echo; wait")
    wait_for(lambda: len(running.tree()) >= 6, "the whole tree")
    tree = running.tree()
    assert running.popen.poll() is None
    running.signal(signal.SIGTERM)
    assert running.wait(30) == 143
    assert [p for p in tree if is_alive(p)] == []


def test_stop_timeout(nswrap):
    running = nswrap.start("-q", "-n", "deaf", "-c", "trap '' TERM; echo ready; while :; do sleep 60; done")
    assert running.read_line() == "ready"
    result = nswrap.run("stop", "deaf", "-t", "1")
    assert result.returncode == 0, result.stderr
    assert running.wait() == 137


def test_sigkill_leaves_nothing(nswrap):
    running = nswrap.start("-q", "-p", 0, "-P", 80, "sleep", 60)
    running.wait_event("started")
    tree = running.tree()
    assert len(tree) >= 3
    running.signal(signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, tree)), "the sandbox to go")


def test_sigkill_while_it_starts(nswrap):
    """Init has not read yet which socket is to be removed."""
    name = nswrap.runtime_dir / "nswrap" / "box.sock"

    def children(popen):
        """Again and again, without delay."""
        while popen.poll() is None:
            with open(f"/proc/{popen.pid}/task/{popen.pid}/children", encoding="ascii") as f:
                yield from map(int, f.read().split())

    def title(pid):
        with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
            return f.read().strip()

    def strike():
        popen = nswrap.popen("-q", "-n", "box", "sleep", 60, stdout=subprocess.DEVNULL)
        init = next(pid for pid in children(popen) if title(pid) == "nswrap: init")
        os.kill(init, signal.SIGSTOP)
        wait_for(lambda: name.exists(), "the name")
        # once it has handed over what it has set up it hides
        is_early = os.stat(f"/proc/{init}/stat").st_uid == os.geteuid()
        tree = [init, *descendants(init)]
        popen.kill()
        popen.wait()
        os.kill(init, signal.SIGCONT)
        wait_for(lambda: not any(map(is_alive, tree)), "the sandbox to go")
        assert not name.exists()
        return is_early

    wait_for(strike, "a strike that is early enough", 20)


# --- forwards ----------------------------------------------------------------------------------


def serve(nswrap, driver, program, *options, address="127.0.0.1", guest=7000):
    """A sandbox with program on a guest port that is led to a free host port."""
    running = nswrap.start(
        "--port-driver", driver, "-p", 0, "-P", guest, *options, "--", *python(program, address, guest))
    running.guest_listening()
    return running, running.host_port()


@DRIVERS
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_http_through_the_forward(nswrap, driver, address):
    running, port = serve(nswrap, driver, HTTP, address=address)
    assert http_get(port, "/hello") == (200, b"path /hello")
    assert running.stop() == 143
    assert is_refused(port)


@pytest.mark.parametrize("address", ["::1", "::"])
def test_guest_on_ipv6_loopback(nswrap, address):
    _, port = serve(nswrap, "splice", TCP_ECHO, address=address)
    assert exchange(port, b"six") == b"six"


def test_start_line_says_what_leads_where(nswrap):
    running = nswrap.start("-p", 0, "-P", 8888, "sleep", 60)
    port = running.host_port()
    line = running.wait_line("8888")
    assert f"127.0.0.1:{port}" in line and "splice" in line


@DRIVERS
def test_half_close_by_the_client(nswrap, driver):
    """The server answers only after it has seen the end."""
    _, port = serve(nswrap, driver, TCP_COUNT)
    data = os.urandom(3_000_000)
    expected = f"{len(data)} {hashlib.sha256(data).hexdigest()}"
    assert exchange(port, data).decode() == expected


@DRIVERS
def test_half_close_by_the_server(nswrap, driver):
    """The client still sends after the server's end."""
    running, port = serve(nswrap, driver, TCP_HALF)
    with connect(port) as s:
        assert read_all(s) == b"bye"
        s.sendall(bytes(1_000_000))
        s.shutdown(socket.SHUT_WR)
        assert running.read_line() == "1000000"
    assert running.wait() == 0


# sends a part of an answer, and resets who has got it
TCP_RESET = """
import socket, struct, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    while True:
        with server.accept()[0] as c:
            c.sendall(b'x' * 1000)
            c.recv(1)
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
"""


@DRIVERS
def test_a_part_of_an_answer_is_not_all_of_it(nswrap, driver):
    _, port = serve(nswrap, driver, TCP_RESET)
    with connect(port) as s:
        assert s.recv(1000, socket.MSG_WAITALL) == b"x" * 1000
        s.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            s.recv(1)


@DRIVERS
def test_bytes_arrive_as_they_are(nswrap, driver):
    _, port = serve(nswrap, driver, TCP_ECHO)
    data = os.urandom(4_000_000)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(answer == data for answer in pool.map(lambda _: exchange(port, data), range(4)))


def test_slirp_shows_the_clients_address(nswrap, outer):
    host = outer()
    starter = nswrap
    running = starter.start(
        "--port-driver", "slirp", "-b", "192.0.2.10", "-p", 0, "-P", 7000, "--",
        *python(TCP_PEER, "0.0.0.0", 7000), prefix=host.prefix())
    running.guest_listening()
    port = running.host_port()
    client = ("import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10); "
              "print(s.recv(100).decode())")
    # a client on an address of its own
    seen = host.run(*python(client, "192.0.2.10", port)).stdout.decode().strip()
    assert seen == "192.0.2.10"


def test_forward_ranges(nswrap):
    first = free_ports(3)
    running = nswrap.start(
        "-f", f"{first}-{first + 2}:9000-9002", "--", "sh", "-c",
        'for p in 9000 9002; do "$@" $p & done; wait', "sh", *python(TCP_ECHO, "127.0.0.1"))
    running.guest_listening(2)
    assert exchange(first, b"a") == b"a"
    assert exchange(first + 2, b"c") == b"c"


@DRIVERS
def test_udp(nswrap, driver):
    running = nswrap.start(
        "--port-driver", driver, "-f", "0:7001/udp", "--", *python(UDP_ECHO, "127.0.0.1", 7001))
    port = running.host_port()

    def ask(client, data):
        """Until the guest is there, datagrams get lost."""
        client.settimeout(0.2)

        def attempt():
            client.send(data)
            try:
                while True:
                    peer, peer_port, rest = client.recv(65536).split(b" ", 2)
                    if rest == data:
                        return peer_port
            except (TimeoutError, ConnectionRefusedError):
                return None

        return wait_for(attempt, "an answer")

    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        one.connect(("127.0.0.1", port))
        two.connect(("127.0.0.1", port))
        flow = ask(one, b"first")
        assert ask(two, b"second") != flow, "each client is a flow of its own"
        for size in (0, 1, 1400, 9000):
            assert ask(one, os.urandom(size)) == flow


def test_wait_holds_a_connection(nswrap):
    """A client that comes before the guest listens is served when it does."""
    running = nswrap.start("-p", 0, "-P", 7000, "--", "sh", "-c", 'read go; exec "$@"', "sh",
                           *python(TCP_ECHO, "127.0.0.1", 7000), stdin=subprocess.PIPE)
    port = running.host_port()
    with connect(port) as s:
        s.sendall(b"early")
        running.stdin.write(b"go\n")
        running.stdin.flush()
        assert s.recv(100) == b"early"


def test_wait_zero_refuses(nswrap):
    running = nswrap.start("--wait", 0, "-p", 0, "-P", 7000, "sleep", 60)
    running.wait_event("started")
    try:
        with connect(running.host_port()) as s:
            assert s.recv(1) == b""
    except (ConnectionResetError, ConnectionRefusedError):
        pass


# --- unix sockets --------------------------------------------------------------------------------


def unix_exchange(path, data):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10 * PATIENCE)
        s.connect(path)
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        return read_all(s)


def test_unix_socket(nswrap, short_dir):
    path = os.path.join(short_dir, "s")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)  # nobody listens there any more: stale
    running = nswrap.start("-f", f"unix:{path}:7000", "--", *python(TCP_ECHO, "127.0.0.1", 7000))
    running.guest_listening()
    mode = os.stat(path).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    assert unix_exchange(path, b"by name") == b"by name"
    assert running.stop() == 143
    assert not os.path.exists(path)


def test_unix_socket_gone_after_sigkill(nswrap, short_dir):
    path = os.path.join(short_dir, "s")
    running = nswrap.start("-f", f"unix:{path}:7000", "sleep", 60)
    running.wait_event("started")
    assert os.path.exists(path)
    running.signal(signal.SIGKILL)
    wait_for(lambda: not os.path.exists(path), "the socket file to go")


def test_unix_socket_of_somebody_else(nswrap, short_dir):
    path = os.path.join(short_dir, "s")
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(path)
        live.listen()
        result = nswrap.run("-f", f"unix:{path}:7000", "true")
        assert result.returncode == 125 and path in result.stderr.decode()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


def test_unix_socket_does_not_replace_a_file(nswrap, short_dir):
    path = os.path.join(short_dir, "file")
    with open(path, "w") as f:
        f.write("precious")
    result = nswrap.run("-f", f"unix:{path}:7000", "true")
    assert result.returncode == 125 and path in result.stderr.decode()
    with open(path) as f:
        assert f.read() == "precious"


# --- isolation -----------------------------------------------------------------------------------

TWO_SERVERS = """
import socket, sys, threading
def serve(s, word):
    while True:
        c, _ = s.accept()
        with c:
            c.sendall(word)
second = socket.create_server(('0.0.0.0', int(sys.argv[2])))
threading.Thread(target=serve, args=(second, b'second'), daemon=True).start()
serve(socket.create_server(('0.0.0.0', int(sys.argv[1]))), b'first')
"""


@DRIVERS
def test_nothing_but_the_forward_is_reachable(nswrap, driver):
    hidden = free_port()
    running = nswrap.start("--port-driver", driver, "-n", "hide", "-p", 0, "-P", 7000, "--",
                           *python(TWO_SERVERS, 7000, hidden))
    running.guest_listening()
    with connect(running.host_port()) as s:
        assert read_all(s) == b"first"
    inside = nswrap.run("exec", "hide", "--", *python(
        "import socket, sys; print(socket.create_connection(('127.0.0.1', int(sys.argv[1])))"
        ".recv(100).decode())", hidden))
    assert inside.stdout.strip() == b"second", inside.stderr
    assert is_refused(hidden)
    assert is_refused(hidden, "127.0.0.2")


CANNOT_CONNECT = """
import socket, sys
for address, port in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        if address == 'abstract':
            with socket.socket(socket.AF_UNIX) as s:
                s.connect('\\0' + port)
        else:
            socket.create_connection((address, int(port)), timeout=3).close()
        print(address, 'reached')
    except OSError:
        print(address, 'not')
"""


@pytest.mark.waits
def test_the_hosts_loopback_is_out_of_reach(nswrap, host_server):
    port = free_port()
    host_server(TCP_ECHO, port)
    name = f"nswrap-test-{os.urandom(8).hex()}"
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0" + name)
        abstract.listen()
        probes = ["127.0.0.1", port, "10.0.2.2", port, "abstract", name]
        result = nswrap.run("-q", "--", *python(CANNOT_CONNECT, *probes))
        assert result.stdout.decode().split("\n")[:3] == ["127.0.0.1 not", "10.0.2.2 not", "abstract not"]
    result = nswrap.run("-q", "--host-loopback", "--", *python(CANNOT_CONNECT, "10.0.2.2", port))
    assert result.stdout.decode().strip() == "10.0.2.2 reached"


@pytest.mark.parametrize("network", ["outbound", "none"])
def test_forward_without_network(nswrap, network):
    _, port = serve(nswrap, "auto", TCP_ECHO, "--network", network)
    assert exchange(port, b"in") == b"in"


# --- outbound --------------------------------------------------------------------------------------

ASK = """
import socket, sys
kind, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET,
                  socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
s.settimeout(10)
s.connect((host, port))
s.send(b'question')
print(s.recv(1000).decode())
"""


def test_outbound_tcp_and_udp(nswrap, outer):
    host = outer()
    host.serve(TCP_ECHO, "192.0.2.10", 7007)
    host.serve(UDP_ECHO, "192.0.2.10", 7008, udp=True)
    result = nswrap.run("-q", "--", *python(ASK, "tcp", "192.0.2.10", 7007), prefix=host.prefix())
    assert result.stdout == b"question\n", result.stderr
    result = nswrap.run("-q", "--", *python(ASK, "udp", "192.0.2.10", 7008), prefix=host.prefix())
    assert result.stdout.endswith(b" question\n"), result.stderr
    result = nswrap.run("-q", "--network", "none", "--", *python(ASK, "tcp", "192.0.2.10", 7007),
                        prefix=host.prefix())
    assert result.returncode == 1 and b"unreachable" in result.stderr


def test_outbound_ipv6(nswrap, outer):
    host = outer()
    host.serve(TCP_ECHO, "2001:db8::10", 7007)
    result = nswrap.run("-q", "--", *python(ASK, "tcp", "2001:db8::10", 7007), prefix=host.prefix())
    assert result.stdout == b"question\n", result.stderr


def test_outbound_addr(nswrap, outer):
    """What libslirp is told to bind to has to be there for as long as libslirp is."""
    host = outer("ip -6 addr add 2001:db8::11/64 dev ext0 nodad")
    host.serve(UDP_ECHO, "2001:db8::10", 7007, udp=True)
    host.serve(TCP_PEER, "2001:db8::10", 7010)
    host.serve(UDP_ECHO, "127.0.0.1", 7008, udp=True)
    host.serve(TCP_PEER, "127.0.0.1", 7009)
    options = ["-q", "--host-loopback", "--outbound-addr", "127.0.0.2",
               "--outbound-addr", "2001:db8::11", "--"]
    for kind, address, port, source in [("tcp", "10.0.2.2", 7009, b"127.0.0.2"),
                                        ("udp", "10.0.2.2", 7008, b"127.0.0.2 "),
                                        ("tcp", "2001:db8::10", 7010, b"2001:db8::11"),
                                        ("udp", "2001:db8::10", 7007, b"2001:db8::11 ")]:
        result = nswrap.run(*options, *python(ASK, kind, address, port), prefix=host.prefix())
        assert result.stdout.startswith(source), result.stdout + result.stderr


def test_without_libslirp(nswrap, tmp_path):
    """Only a sandbox with a network needs it, and says so before COMMAND runs; nothing else is missing."""
    prefix = ["unshare", "-Urm", "sh", "-ec", HIDE_LIBSLIRP, "sh"]
    assert nswrap.run("--network", "none", "true", prefix=prefix).returncode == 0
    for options in [], ["-d"]:
        result = nswrap.run("-q", *options, "touch", tmp_path / "ran", prefix=prefix)
        assert result.returncode == 125 and result.stderr.count(b"\n") == 1
        assert b"cannot load libslirp: " in result.stderr
    assert not (tmp_path / "ran").exists()
    result = nswrap.run("doctor", prefix=prefix)
    assert re.search(rb"(?m)^wrong cannot load libslirp: ", result.stdout), result.stdout
    result = nswrap.run("--version", prefix=prefix)
    assert result.returncode == 0 and b"libslirp" not in result.stdout and b"GLib" in result.stdout


# an address of this host that COMMAND asks, in a network that would be the usual one inside
NEIGHBOURS = """
ip link add near0 type veth peer name near1
ip link set near1 up
ip link set near0 up
ip addr add {0}.15/24 dev near0
ip -6 addr add {1}15/64 dev near0 nodad
"""
ADDRESSES = "ip -j addr show tap0; ip -j route; ip -6 -j route; cat /etc/resolv.conf"


@pytest.mark.parametrize("more, network, network6", [
    ("", "10.162.2.0/24", "fd6e:7377:7261:7000::/64"),
    # a VPN with everything that is private, and a default route in two halves
    ("ip route add 10.0.0.0/8 dev ext0; ip route add 172.16.0.0/12 dev ext0; "
     "ip route add 192.168.0.0/16 dev ext0; ip -6 route add fc00::/7 dev ext0; "
     "ip route add 0.0.0.0/1 dev ext0; ip route add 128.0.0.0/1 dev ext0; ip -6 route add ::/1 dev ext0",
     "198.18.2.0/24", "2001:2:0:162::/64"),
], ids=["neighbours", "everything private"])
def test_networks_of_the_host_are_left_alone(nswrap, outer, more, network, network6):
    host = outer(NEIGHBOURS.format("10.0.2", "fd00::") + more)
    host.serve(UDP_ECHO, "10.0.2.15", 7007, udp=True)
    host.serve(TCP_ECHO, "fd00::15", 7008)
    running = nswrap.start("-p", 0, "-P", 7000, "-c", f"{ADDRESSES}; exec sleep 60", prefix=host.prefix())
    started = running.wait_event("started")
    assert (started["network"], started["network6"]) == (network, network6)
    running.wait_line(f"the network inside is {network} and {network6}, "
                      "as this host uses 10.0.2.0/24 and fd00::/64 itself")
    four, six = ipaddress.ip_network(network), ipaddress.ip_network(network6)
    tap, routes, routes6 = (json.loads(running.read_line()) for _ in range(3))
    inside = {a["local"] for a in tap[0]["addr_info"]}
    assert {str(four[100]), str(six[0x100])} <= inside
    assert [r["gateway"] for r in routes + routes6 if r["dst"] == "default"] == [str(four[2]), str(six[2])]
    assert running.read_line() == f"nameserver {four[3]}"
    for kind, address, port in (("udp", "10.0.2.15", 7007), ("tcp", "fd00::15", 7008)):
        result = nswrap.run("-q", "--", *python(ASK, kind, address, port), prefix=host.prefix())
        assert result.returncode == 0 and result.stdout, result.stderr
    listed = ps(nswrap, prefix=host.prefix())
    assert [(s["network"], s["network6"]) for s in listed] == [(network, network6)]


@pytest.mark.parametrize("option, value, expected", [
    ("--cidr", "10.0.2.0/24", "--cidr 10.0.2.0/24: this host uses it itself"),
    ("--cidr6", "fd00::/64", "--cidr6 fd00::/64: this host uses it itself"),
])
def test_networks_that_are_given_are_obeyed(nswrap, outer, option, value, expected):
    host = outer(NEIGHBOURS.format("10.0.2", "fd00::"))
    running = nswrap.start(option, value, "true", prefix=host.prefix())
    assert value in (running.wait_event("started")["network"], running.wait_event("started")["network6"])
    running.wait_line(expected)


@pytest.mark.parametrize("cidr6", ["fd00:77::/64", "2001:db8:5:6::/112", "fd77::/61", "fd00:88::/48"])
@pytest.mark.parametrize("driver", ["splice", "slirp"])
def test_cidr6(nswrap, outer, cidr6, driver):
    """Out, in, and to the name server, which answers pings."""
    host = outer()
    host.serve(TCP_ECHO, "2001:db8::10", 7008)
    prefix = cidr6.split("::")[0] + "::"
    asked = nswrap.run("-q", "--cidr6", cidr6, "--", *python(ASK, "tcp", "2001:db8::10", 7008), prefix=host.prefix())
    assert asked.returncode == 0 and asked.stdout, asked.stderr
    ping = nswrap.run("-q", "--cidr6", cidr6, "ping", "-6", "-n", "-c", 1, "-W", 5, prefix + "3", prefix=host.prefix())
    assert ping.returncode == 0, ping.stdout + ping.stderr
    running = nswrap.start("--cidr6", cidr6, "--port-driver", driver, "-p", "[::1]:0", "-P", 7000,
                           "--", *python(TCP_ECHO, prefix + "100", 7000), prefix=host.prefix())
    running.guest_listening()
    port = running.host_port()
    answer = host.run(*python("import socket, sys; s = socket.create_connection(('::1', int(sys.argv[1]))); "
                              "s.sendall(b'hello'); print(s.recv(9))", port))
    assert b"hello" in answer.stdout, answer.stderr


def test_ping(nswrap, outer):
    host = outer()
    result = nswrap.run("-q", "ping", "-n", "-c", 1, "-W", 5, "192.0.2.10", prefix=host.prefix())
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("server", ["127.0.0.53", "192.0.2.10"])
def test_names_are_resolved(nswrap, outer, short_dir, server):
    """Also when resolv.conf names a server on the host's loopback."""
    resolv = os.path.join(short_dir, "resolv.conf")
    with open(resolv, "w") as f:
        f.write(f"nameserver {server}\n")
    host = outer(f"mount --bind {resolv} /etc/resolv.conf")
    host.serve(NAME_SERVER, server, 53, udp=True)
    result = nswrap.run("-q", "getent", "ahostsv4", "some.name.example", prefix=host.prefix())
    assert result.stdout.startswith(b"192.0.2.77 "), result.stderr


def test_no_process_outlives_the_command(nswrap):
    """What COMMAND left running in the background goes with it."""
    running = nswrap.start("-q", "-c", "setsid sleep 60 & echo $!")
    running.read_line()
    assert running.wait() == 0
    assert list(map(describe, descendants(os.getpid()))) == []
