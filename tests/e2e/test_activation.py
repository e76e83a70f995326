# SPDX-License-Identifier: Apache-2.0
"""Sockets that a service manager has made: led in (-p fd:NAME), or given to COMMAND (--listen-fd)."""

import os
import socket
import subprocess

import pytest

from harness import (BINARY, PATIENCE, TCP_ECHO, TCP_PEER, UDP_ECHO, connect, exchange, free_port, other_user, python,
                     wait_for)
from systemd import Manager, activated


@pytest.fixture
def sockets():
    """Makes sockets that are closed after the test."""
    made = []

    def make(address, kind=socket.SOCK_STREAM, both=False, listens=True):
        family = socket.AF_UNIX if isinstance(address, (str, bytes)) else (
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        s = socket.socket(family, kind)
        made.append(s)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        s.bind(address)
        if kind == socket.SOCK_STREAM and listens:
            s.listen()
        return s

    yield make
    for s in made:
        s.close()


def start(nswrap, given, *words, **options):
    """nswrap with those sockets; like Nswrap.start."""
    prefix, fds = activated(given)
    # the events' descriptor must be none of those that sockets are put to
    low = []
    while not low or low[-1] < 3 + len(given):
        low.append(os.open("/dev/null", os.O_RDONLY))
    try:
        return nswrap.start(*words, prefix=prefix, pass_fds=fds, **options)
    finally:
        for fd in low:
            os.close(fd)


def run(nswrap, given, *words, **options):
    prefix, fds = activated(given)
    return nswrap.run(*words, prefix=prefix, pass_fds=fds, **options)


def udp_echo(address, family=socket.AF_INET):
    """What an echo inside answers to one datagram."""
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(10 * PATIENCE)
        s.sendto(b"hello", address)
        return s.recv(100)


# --- led in ------------------------------------------------------------------------------------------


def test_socket_activate(nswrap):
    """The real thing: started by its first client, which is served."""
    port = free_port()
    popen = subprocess.Popen(
        ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "--fdname=web",
         f"--setenv=XDG_RUNTIME_DIR={nswrap.runtime_dir}", BINARY, "-q", "-p", "fd:web:7000", "--",
         *python(TCP_ECHO, "127.0.0.1", 7000)], env=nswrap.env, stderr=subprocess.PIPE)
    nswrap.started.append(popen)
    popen.stderr.readline()  # it listens
    assert exchange(port, b"hello") == b"hello"
    popen.terminate()
    assert popen.wait(20 * PATIENCE) == 128 + 15


def test_names(nswrap, sockets, short_dir):
    """TCP, UDP, unix sockets with and without a file; by name and by number; where GUEST comes from."""
    path = os.path.join(short_dir, "sock")
    given = {"web": sockets(("127.0.0.1", 0)), "dns": sockets(("127.0.0.1", 0), socket.SOCK_DGRAM),
             "file": sockets(path), "abstract": sockets(f"\0{short_dir}")}
    web, dns = given["web"].getsockname()[1], given["dns"].getsockname()[1]
    script = "python3 -c \"$1\" 127.0.0.1 $2 & exec python3 -c \"$3\" 127.0.0.1 $4"
    running = start(nswrap, given, "-p", "fd:web", "-p", f"fd:dns:{dns}", "-f", f"fd:5:{web}", "-P", web,
                    "-p", "fd:abstract", "-P", web, "-n", "box", "--", "sh", "-c", script, "sh", TCP_ECHO, web, UDP_ECHO, dns)
    running.guest_listening(4)
    assert exchange(web, b"a") == b"a"
    assert udp_echo(("127.0.0.1", dns)).endswith(b" hello")
    for address in (path, f"\0{short_dir}"):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10 * PATIENCE)
            s.connect(address)
            s.sendall(b"b")
            assert s.recv(10) == b"b"
    listed = nswrap.run("port", "list", "box").stdout.decode()
    for text in (f"127.0.0.1:{web}:{web}/tcp", f"127.0.0.1:{dns}:{dns}/udp", f"unix:{path}:{web}",
                 f"unix:@{short_dir}:{web}"):
        assert text in listed
    # one that is taken away is not led in any more, and is still the manager's
    assert nswrap.run("port", "remove", "box", f"unix:{path}").returncode == 0
    assert running.stop() == 143
    assert os.path.exists(path), "it is not ours"


def test_sockets_of_one_name(nswrap, sockets):
    """As one .socket unit with several ListenStream= has them."""
    port = free_port()
    given = [("web", sockets(("127.0.0.1", port))), ("web", sockets(("::1", port)))]
    running = start(nswrap, given, "-p", "fd:web:7000", "--", *python(TCP_ECHO, "127.0.0.1", 7000))
    running.guest_listening(2)
    assert exchange(port, b"a") == b"a"
    assert exchange(port, b"b", "::1") == b"b"


@pytest.mark.parametrize("words", [[], ["--only-user"], ["--client-address"]], ids=["all", "only-user", "client"])
def test_both_families(nswrap, sockets, words):
    """What systemd makes of ListenStream=8080: one socket for IPv4 and IPv6."""
    given = {"web": sockets(("::", 0), both=True), "udp": sockets(("::", 0), socket.SOCK_DGRAM, both=True)}
    web, udp = (s.getsockname()[1] for s in given.values())
    script = "python3 -c \"$1\" 127.0.0.1 $2 & exec python3 -c \"$3\" 127.0.0.1 $4"
    running = start(nswrap, given, "-q", *words, "-p", "fd:web:7000", "-p", "fd:udp:7001", "--", "sh", "-c", script,
                    "sh", TCP_ECHO, 7000, UDP_ECHO, 7001)
    running.guest_listening(2)
    for host, family in ("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6):
        assert exchange(web, b"a", host) == b"a"
        assert udp_echo((host, udp), family).endswith(b" hello")


def test_only_user_of_both_families(nswrap, sockets):
    """Who comes by IPv4 to a socket for both is asked for, too."""
    given = {"web": sockets(("::", 0), both=True)}
    port = given["web"].getsockname()[1]
    running = start(nswrap, given, "--only-user", "-p", "fd:web:7000", "--", *python(TCP_ECHO, "127.0.0.1", 7000))
    running.guest_listening()
    program = ("import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2]))); s.sendall(b'x');"
               "print(s.recv(10))")
    for host in ("127.0.0.1", "::1"):
        stranger = subprocess.run([*other_user(), *python(program, host, port)], capture_output=True, timeout=30)
        assert b"x" not in stranger.stdout, stranger
        assert exchange(port, b"mine", host) == b"mine"


def test_client_address_of_both_families(nswrap, outer):
    """The guest sees who comes by IPv4 to a socket for both: systemd-socket-activate makes such a one."""
    host, port = outer(), free_port()
    popen = nswrap.popen("-q", "-p", "fd:web:7000", "--", *python(TCP_PEER, "127.0.0.1", 7000), prefix=[
        *host.prefix(), "systemd-socket-activate", "-l", str(port), "--fdname=web",
        f"--setenv=XDG_RUNTIME_DIR={nswrap.runtime_dir}"])
    wait_for(lambda: host.is_bound(port), "the socket")
    program = ("import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])));"
               "s.settimeout(20); print(s.recv(100).decode())")
    seen = host.run(*python(program, host.address, port))
    assert seen.stdout.decode().strip() == host.address, seen
    popen.terminate()
    assert popen.wait(20 * PATIENCE) == 143


def test_who_comes_between(nswrap, sockets):
    """Clients of before, between and after wait at the manager's socket; nobody is refused."""
    given = {"web": sockets(("127.0.0.1", 0))}
    port = given["web"].getsockname()[1]
    for _ in range(2):
        with connect(port) as early:
            early.sendall(b"early")
            running = start(nswrap, given, "-q", "-p", "fd:web:7000", "--", *python(TCP_ECHO, "127.0.0.1", 7000))
            assert early.recv(10) == b"early"
        assert running.stop() == 143


def test_in_the_background(nswrap, sockets):
    given = {"web": sockets(("127.0.0.1", 0))}
    port = given["web"].getsockname()[1]
    done = run(nswrap, given, "-d", "-n", "box", "-p", "fd:web:7000", "--", *python(TCP_ECHO, "127.0.0.1", 7000))
    assert done.stdout == b"box\n"
    assert exchange(port, b"a") == b"a"
    assert nswrap.run("stop", "box").returncode == 0


def test_what_nobody_takes(nswrap, sockets):
    """Its clients would wait for ever."""
    given = {"web": sockets(("127.0.0.1", 0)), "api": sockets(("127.0.0.1", 0))}
    done = run(nswrap, given, "-p", "fd:web", "--", "sh", "-c", "env; ls /proc/self/fd")
    lines = [line for line in done.stderr.decode().splitlines() if "nobody takes" in line]
    assert len(lines) == 1 and "api" in lines[0]
    assert b"LISTEN_" not in done.stdout


def test_bad_input(nswrap, sockets, short_dir):
    connected, other = socket.socketpair()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    given = {"web": sockets(("127.0.0.1", 0)), "file": sockets(os.path.join(short_dir, "s")),
             "idle": sockets(("127.0.0.1", 0), listens=False), "pair": connected, "udp": udp,
             "dgram": sockets(os.path.join(short_dir, "d"), socket.SOCK_DGRAM),
             "plain": open("/dev/null")}
    for words, says in [
            (["-p", "fd:none"], "LISTEN_FDNAMES=web:file"), (["-p", "fd:"], "fd:NAME"), (["-p", "fd::80"], "fd:NAME"),
            (["-p", "fd:file"], "fd:NAME:GUEST"), (["-p", "fd:idle:80"], "does not listen"),
            (["-p", "fd:pair:80"], "does not listen"), (["-p", "fd:udp:80"], "no port"),
            (["-p", "fd:dgram:80"], "another kind"), (["-p", "fd:plain:80"], "no socket"),
            (["-p", "fd:web:0"], "port"), (["-p", "fd:web:x"], "port"), (["-p", "fd:2:80"], "from 3 on"),
            (["-p", "fd:99:80"], "not open"), (["-p", "fd:web:80", "-p", "fd:web:81"], "same port"),
            (["-f", "fd:none:80"], "LISTEN_FDNAMES"), (["--listen-fd", "none"], "LISTEN_FDNAMES"),
            (["--listen-fd", "web", "-p", "fd:web:80"], "one of both"),
            (["--listen-fd", "web", "--listen-fd", "3"], "named before"),
            (["--listen-fd", "file", "--keep-fd", "3"], "from 4 on")]:
        done = run(nswrap, given, *words, "true")
        assert done.returncode == 2 and done.stderr.count(b"\n") == 1 and says in done.stderr.decode(), done
    other.close()
    connected.close()
    udp.close()
    given["plain"].close()


@pytest.mark.parametrize("env, says", [
    ({}, "LISTEN_FDS"), ({"LISTEN_FDS": "1"}, "LISTEN_FDS"), ({"LISTEN_FDS": "1", "LISTEN_PID": "1"}, "process 1")])
def test_sockets_of_others(nswrap, env, says):
    """LISTEN_PID says whose they are."""
    done = nswrap.run("-p", "fd:web", "true", env=env)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1 and says in done.stderr.decode()


def test_only_at_the_start(nswrap):
    nswrap.start("-q", "-n", "box", "sleep", 60).wait_event("started")
    done = nswrap.run("port", "add", "box", "fd:web:80")
    assert done.returncode != 0 and done.stderr.count(b"\n") == 1


# --- COMMAND's ---------------------------------------------------------------------------------------

# accepts one client at each of its sockets, and says what it has
TAKES = """
import os, socket, sys
fds = sorted(int(fd) for fd in os.listdir('/proc/self/fd'))
count = int(os.environ['LISTEN_FDS'])
print(os.environ['LISTEN_PID'] == str(os.getpid()), os.environ['LISTEN_FDNAMES'],
      *(fd for fd in fds if fd > 2 and os.path.exists('/proc/self/fd/%d' % fd)), flush=True)
for fd in range(3, 3 + count):
    client, _ = socket.socket(fileno=fd).accept()
    client.sendall(b'%d' % fd)
    client.close()
"""


@pytest.mark.parametrize("words", [[], ["--pid"], ["-d"], ["--new-session", "--root"]],
                         ids=["plain", "pid", "background", "root"])
def test_listen_fd(nswrap, sockets, short_dir, words):
    """They are 3, 4, ... there in the order that was asked for, with their names, and nothing else is."""
    given = {"a": sockets(("127.0.0.1", 0)), "web": sockets(("127.0.0.1", 0)),
             "b": sockets(os.path.join(short_dir, "s"))}
    said = os.path.join(short_dir, "said")
    line = ["--network", "none", *words, "--listen-fd", "b", "--listen-fd", "3", "-p", "fd:web:80", "-n", "box", "--",
            "sh", "-c", f'exec "$@" >{said}', "sh", *python(TAKES)]
    running = start(nswrap, given, *line) if words != ["-d"] else run(nswrap, given, *line)
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10 * PATIENCE)
        s.connect(os.path.join(short_dir, "s"))
        assert s.recv(10) == b"3"
    with connect(given["a"].getsockname()[1]) as s:
        assert s.recv(10) == b"4"
    if words != ["-d"]:
        assert running.wait() == 0
    wait_for(lambda: "\n" in open(said).read(), "what it says")
    assert open(said).read() == "True b:a 3 4\n"
    wait_for(lambda: b"box" not in nswrap.run("ps").stdout, "the end")


def test_listen_fd_beside_others(nswrap, sockets, short_dir):
    """Descriptors that are kept stay where they are."""
    given = {"a": sockets(("127.0.0.1", 0)), "b": sockets(("127.0.0.1", 0)), "c": sockets(("127.0.0.1", 0))}
    manager = Manager(os.path.join(short_dir, "manager"))
    running = start(nswrap, given, "--listen-fd", "c", "--listen-fd", "a", "--keep-fd", 5, "-q", "--",
                    *python(TAKES), env=manager.env)
    assert running.read_line() == "True c:a 3 4 5"
    for name, number in ("c", b"3"), ("a", b"4"):
        with connect(given[name].getsockname()[1]) as s:
            assert s.recv(10) == number
    assert running.wait() == 0
    manager.close()
