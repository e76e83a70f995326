# SPDX-License-Identifier: Apache-2.0
"""e2e/test_options - options, events and JSON members that no other test is about: each does something

scripts/check-tested lists those that have none.
"""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import time

import pytest

from harness import (BINARY, NAME_SERVER, PATIENCE, PYTHON, TCP_ECHO, connect, descendants, exchange, process_table, python,
                     read_all, wait_for)
from test_mesh_manager import FAKE, Mesh

STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.05; done"


def box(nswrap, *options, command=("sleep", "1000")):
    running = nswrap.start("-q", "-n", "box", *options, "--", *command)
    running.wait_event("started")
    return running


def shown(nswrap, *words, **options):
    """What COMMAND prints."""
    result = nswrap.run("-q", *words, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout.decode()


# --- the network inside ------------------------------------------------------------------------------


def test_cidr(nswrap):
    words = ["--", "sh", "-c", "ip -4 -o addr show dev tap0; ip route; cat /etc/resolv.conf"]
    assert "10.77.8." not in shown(nswrap, *words)
    text = shown(nswrap, "--cidr", "10.77.8.0/25", *words)
    assert " 10.77.8.100/25 " in text and "default via 10.77.8.2 " in text and "10.0.2" not in text
    assert "nameserver 10.77.8.3" in text


def test_mtu(nswrap):
    words = ["--", "ip", "-o", "link", "show", "dev", "tap0"]
    assert " mtu 65520 " in shown(nswrap, *words)
    assert " mtu 1400 " in shown(nswrap, "--mtu", 1400, *words)


def test_no_ipv6(nswrap):
    words = ["--", "sh", "-c", "ip -6 -o addr show dev tap0; ip -6 route show default; echo end"]
    assert "::100/64" in shown(nswrap, *words)
    assert shown(nswrap, "--no-ipv6", *words) == "end\n"


@pytest.mark.parametrize("words, resolves", [
    (["--dns", "192.0.2.10"], True), ([], False), (["--dns", "192.0.2.10", "--no-dns"], False)])
def test_dns(nswrap, outer, short_dir, words, resolves):
    """The host's name server is not there; the one that is given is."""
    resolv = os.path.join(short_dir, "resolv.conf")
    with open(resolv, "w") as f:
        f.write("nameserver 192.0.2.99\noptions timeout:1 attempts:1\n")
    host = outer(f"mount --bind {resolv} /etc/resolv.conf")
    host.serve(NAME_SERVER, "192.0.2.10", 53, udp=True)
    if not resolves:
        host.run("ip", "neigh", "add", "192.0.2.99", "lladdr", "0:0:0:0:0:1", "dev", "ext0")
    with contextlib.suppress(subprocess.TimeoutExpired):
        result = nswrap.run("-q", *words, "getent", "ahostsv4", "some.name.example", prefix=host.prefix())
        assert (b"192.0.2.77 " in result.stdout) == resolves, result


def test_no_dns(nswrap):
    with open("/etc/resolv.conf", encoding="utf-8") as f:
        text = f.read()
    assert shown(nswrap, "cat", "/etc/resolv.conf") != text
    assert shown(nswrap, "--no-dns", "cat", "/etc/resolv.conf") == text


@pytest.mark.parametrize("is_stopped", [False, True], ids=["", "what nobody came to any more"])
def test_pcap(nswrap, short_dir, is_stopped):
    """Frames of both directions in libpcap's format (pcap-savefile(5))."""
    path = os.path.join(short_dir, "frames")
    program = ("import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
               "at = '192.0.2.1', 9; s.sendto(b'before it', at); input(); s.sendto(b'written down', at)")
    running = nswrap.start("--pcap", path, *python(program), stdin=subprocess.PIPE)
    # whose address the gateway has is asked before
    wait_for(lambda: os.path.exists(path) and b"before it" in pathlib.Path(path).read_bytes(), "the first datagram")
    if is_stopped:
        net = []
        wait_for(lambda: net.extend(child for child in descendants(running.pid) if process_table()[child][2] == "nswrap: net")
                 or net, "the net process")
        os.kill(net[0], signal.SIGSTOP)
    running.stdin.write(b"\n")
    running.stdin.close()
    assert running.wait() == 0
    with open(path, "rb") as f:
        data = f.read()
    os.unlink(path)
    magic, major, minor = struct.unpack("=IHH", data[:8])
    assert magic in (0xa1b2c3d4, 0xa1b23c4d) and (major, minor) == (2, 4)
    assert b"written down" in data[24:]


# --- options that another one leaves nothing to do ---------------------------------------------------

BOTH = [["--outbound", "kernel"], ["--cidr6", "fd12::/64"], ["--port-driver", "slirp"]]
IDLE = [(["--network", "none"], words) for words in [
    *BOTH, ["--host-loopback"], ["--pcap", "/dev/null"], ["--outbound-addr", "127.0.0.1"], ["--mtu", "1400"],
    ["--dns", "192.0.2.1"]]]
IDLE += [(["--via", "exec:false"], words) for words in BOTH]
IDLE += [(["--no-dns"], ["--dns", "192.0.2.1"]), (["--only-user"], ["--port-driver", "slirp"]),
         (["--via", "exec:false", "--route", "192.0.2.0/24"], ["--port-driver", "slirp"]),
         (["--no-ipv6"], ["--cidr6", "fd12::/64"]), (["--no-ipv6"], ["--outbound-addr", "::1"])]


def test_options_that_do_nothing(nswrap):
    """Each is told of, with what leaves it nothing to do, and nothing else comes of it; of defaults nothing is said."""
    for by, words in IDLE:
        result = nswrap.run(*words, *by, "--", "echo", "on")
        told = [line for line in result.stderr.decode().splitlines() if "does nothing with" in line]
        assert (result.returncode, result.stdout, len(told)) == (0, b"on\n", 1), (words, by, result.stderr)
        assert f" {words[0]} " in told[0] and told[0].endswith(f"does nothing with {by[0]}" + (
            " none" if by[0] == "--network" else "")), (words, by, told)
    # the name server of the inside has its address, and clients come as themselves or not
    result = nswrap.run("--network", "none", "--cidr", "10.9.9.0/24", "--outbound", "slirp", "--", "cat", "/etc/resolv.conf")
    assert b"10.9.9.3" in result.stdout and b"does nothing" not in result.stderr, result
    # a default cuts the way out: what is typed does nothing
    result = nswrap.run("--dns", "192.0.2.1", "--", "true", env={"NSWRAP_OPTIONS": "--network none"})
    assert result.returncode == 0 and b"--dns does nothing with --network none" in result.stderr, result.stderr
    for words, options in [([], "--network none --mtu 1400"), (["--network", "outbound", "--mtu", "1400"], "--network none"),
                           (["--network", "none"], "--cidr 10.9.9.0/24 --mtu 1400 --dns 192.0.2.1 --host-loopback")]:
        result = nswrap.run(*words, "--", "true", env={"NSWRAP_OPTIONS": options})
        assert result.returncode == 0 and b"does nothing" not in result.stderr, (words, options, result.stderr)


# --- forwards ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("users, is_served", [
    ("", True), (f"={os.getuid()}", True), ("=root", False), (f"=root,{os.getuid()}", True)])
@pytest.mark.parametrize("listener", ["127.0.0.1", "::1"])
def test_only_user(nswrap, users, is_served, listener):
    """As a user who is not among them, and one who is."""
    shown_listener = f"[{listener}]" if ":" in listener else listener
    running = nswrap.start(f"--only-user{users}", "-f", f"{shown_listener}:0:7000", "--",
                           *python(TCP_ECHO, "127.0.0.1", 7000))
    running.guest_listening()
    if is_served:
        assert exchange(running.host_port(), b"hello", listener) == b"hello"
        return
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        with connect(running.host_port(), listener) as client:
            client.sendall(b"hello")
            assert read_all(client) == b""
    running.wait_line(re.escape(str(os.getuid())))


def test_wait(nswrap):
    """A client who comes before the guest listens is held for so long, and refused then."""
    late = "import sys, time; sys.stdin.read(1);" + TCP_ECHO
    running = nswrap.start("-f", "0:7000", "--wait", 0.3, "--", *python(late, "127.0.0.1", 7000),
                           stdin=subprocess.PIPE)
    begun = time.monotonic()
    with contextlib.suppress(ConnectionResetError):
        with connect(running.host_port()) as client:
            assert client.recv(1) == b""
    assert 0.25 < time.monotonic() - begun < 8
    running.stdin.write(b"x")
    running.stdin.close()


@pytest.mark.parametrize("words, driver", [
    (["--port-driver", "slirp"], "slirp"), (["-b", "0.0.0.0", "--port-driver", "splice"], "splice"),
    (["-b", "0.0.0.0"], "splice"), (["-b", "0.0.0.0", "--outbound", "slirp"], "slirp"), ([], "splice")])
def test_port_driver(nswrap, words, driver):
    running = nswrap.start("-q", *words, "-p", 0, "-P", 80, "sleep", 60)
    assert running.wait_event("forward")["driver"] == driver


def test_json_of_a_unix_socket(nswrap, short_dir):
    path = os.path.join(short_dir, "sock")
    box(nswrap, "-f", f"unix:{path}:80")
    [forward] = json.loads(nswrap.run("port", "list", "box", "--json").stdout)
    assert forward["path"] == path and "host" not in forward and "host_port" not in forward
    assert (forward["spec"], forward["guest_port"]) == (f"unix:{path}:80", 80)


# --- who is told -------------------------------------------------------------------------------------


def test_events_of_the_end(nswrap):
    """On --info-fd, which start() gives."""
    running = nswrap.start("-q", "sh", "-c", "exit 7")
    assert running.wait_event("exited")["status"] == running.wait() == 7
    started = running.wait_event("started")
    assert started["name"].startswith("sh-") and started["pid"] > 0
    assert running.events[-1]["event"] == "exited"


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_alive_fd(nswrap, kind):
    """COMMAND is asked to end when the other end is closed, and what comes from there before is nothing."""
    ours, theirs = [s.detach() for s in socket.socketpair()] if kind == "socket" else os.pipe()[::-1]
    running = nswrap.start("--alive-fd", theirs, "--", "sh", "-c",
                           f"trap 'exit 7' TERM; test -e /proc/self/fd/{theirs} && exit 1; echo up; "
                           "while :; do sleep 0.05; done", pass_fds=[theirs], stdout=subprocess.PIPE)
    os.close(theirs)
    assert running.popen.stdout.readline() == b"up\n"
    os.write(ours, b"not yet")
    with pytest.raises(subprocess.TimeoutExpired):
        running.popen.wait(0.3)
    os.close(ours)
    assert running.wait() == 7


def test_alive_fd_that_is_none(nswrap):
    with open("/dev/null") as null:
        result = nswrap.run("--alive-fd", str(null.fileno()), "--", "true", pass_fds=[null.fileno()])
    assert result.returncode == 125 and b"expected a pipe or a socket" in result.stderr


def test_ready_fd(nswrap):
    """READY=1, once, when the guest listens and not before; without a forward at the start."""
    read, write = os.pipe()
    late = "import sys; sys.stdin.read(1);" + TCP_ECHO
    running = nswrap.start("-q", "-f", "0:7000", "--ready-fd", write, "--",
                           *python(late, "127.0.0.1", 7000), stdin=subprocess.PIPE, pass_fds=[write])
    os.close(write)
    running.wait_event("started")
    os.set_blocking(read, False)
    with pytest.raises(BlockingIOError):
        os.read(read, 100)
    os.set_blocking(read, True)
    running.stdin.write(b"x")
    running.stdin.close()
    with open(read, "rb") as f:
        assert f.read() == b"READY=1\n", "and the end"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_one_descriptor_for_all_that_is_told(nswrap, number):
    """Also stdout or stderr, which COMMAND has as well; READY=1 closes it for nobody else."""
    words = [word for option in ("--ready-fd", "--info-fd", "--log-fd") for word in (option, str(number))]
    inside = 'echo out; echo err >&2; setsid sleep 60 </dev/null >/dev/null 2>&1 & sleep 0.1'
    result = subprocess.run(["sh", "-c", f'exec "$@" {"3>&1" if number == 3 else ""}', "-", BINARY, *words, "--",
                             "sh", "-c", inside], env=nswrap.env, capture_output=True, timeout=20 * PATIENCE)
    told = result.stderr if number == 2 else result.stdout
    for part in (b"READY=1\n", b'"event":"started"', b'"event":"exited","status":0', b"nswrap: COMMAND has ended and left 1"):
        assert part in told, result
    assert result.returncode == 0 and b"out\n" in result.stdout and b"err\n" in result.stderr, result


def test_alive_fd_that_command_has_closed(nswrap):
    """It is its stdin, too: nswrap keeps a copy."""
    running = nswrap.start("-q", "--alive-fd", "0", "sh", "-c", "exec <&-; echo up; exec sleep 60", stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE)
    assert running.popen.stdout.readline() == b"up\n"
    running.stdin.close()
    assert running.wait() == 143


def test_alive_fd_that_command_reads(nswrap):
    """It is its stdin, and all that is written there is for COMMAND."""
    read, write = os.pipe()
    os.write(write, b"a line\n")
    running = nswrap.start("-q", "--alive-fd", "0", "sh", "-c", "sleep 0.3; read line; echo $line; exec sleep 60", stdin=read,
                           stdout=subprocess.PIPE)
    os.close(read)
    assert running.popen.stdout.readline() == b"a line\n"
    os.close(write)
    assert running.wait() == 143


@pytest.mark.parametrize("option", ["--ready-fd", "--info-fd", "--log-fd", "--alive-fd"])
def test_an_agent_tells_nothing_on_its_link(nswrap, option):
    result = nswrap.run(option, "1", "-c", "true", "agent")
    assert result.returncode == 2 and b"expected another descriptor" in result.stdout + result.stderr, result


def test_notify_socket(nswrap, short_dir):
    path = os.path.join(short_dir, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(10 * PATIENCE)
        running = nswrap.start("-q", "sleep", 60, env={"NOTIFY_SOCKET": path})
        running.wait_event("started")
        assert s.recv(100) == b"READY=1"


@pytest.mark.parametrize("words, says", [([], True), (["-q"], False)], ids=["plain", "quiet"])
def test_quiet(nswrap, words, says):
    result = nswrap.run(*words, "-p", 0, "-P", 80, "true")
    assert bool(result.stderr) == says


@pytest.mark.parametrize("words, says", [(["-v"], True), (["-vq"], False), ([], False)])
def test_verbose(nswrap, words, says):
    running = nswrap.start(*words, "-t", 0.1, "sh", "-c", STUBBORN)
    running.read_line()
    running.stop()
    running.stderr.join()
    assert ("SIGKILL to what did not end in time" in running.stderr.text()) == says


# --- COMMAND -----------------------------------------------------------------------------------------


def test_environment_and_directory(nswrap, short_dir):
    words = ["-C", short_dir, "-e", "NEW=a=b", "-e", "KEPT", "--unset-env", "GONE"]
    script = 'pwd; echo "$NEW,$KEPT,${GONE-none}"'
    text = shown(nswrap, *words, "sh", "-c", script, env={"KEPT": "1", "GONE": "1"})
    assert text == f"{short_dir}\na=b,1,none\n"


# --- exec --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words, is_own", [(["--new-session"], True), ([], False)])
def test_exec_new_session(nswrap, words, is_own):
    box(nswrap)
    program = "import os; print(os.getsid(0) == os.getpid())"
    assert nswrap.run("exec", *words, "box", *python(program)).stdout == b"%r\n" % is_own


def test_exec_verbose(nswrap):
    box(nswrap)
    hidden = nswrap.runtime_dir / "nswrap" / "deep"
    hidden.mkdir()
    for words, says in ([], False), (["-v"], True):
        result = nswrap.run("exec", *words, "box", "pwd", cwd=hidden)
        assert result.stdout == b"/\n"
        assert (b"the current directory is not in the sandbox" in result.stderr) == says
    hidden.rmdir()


@pytest.mark.waits
def test_unattended(nswrap):
    """Who is in there keeps it; the time begins when the last one leaves."""
    running = nswrap.start("-n", "alone", "--network", "none", "--unattended", "4", "sleep", "1000")
    running.wait_event("started")
    assert nswrap.run("exec", "alone", "sleep", "5").returncode == 0
    assert running.popen.poll() is None
    assert running.popen.wait(20 * PATIENCE) == 128 + signal.SIGTERM
    running.wait_line("nobody was in here for 4 s")


@pytest.mark.waits
def test_unattended_with_an_agent_of_its_own(nswrap):
    """The agent that serves beside COMMAND is in there to the end."""
    popen = nswrap.popen("-n", "own", "--network", "none", "--unattended", "0.5", "-c", "sleep 1000", "agent",
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    wait_for(lambda: b"own" in nswrap.run("ps").stdout, "the sandbox")
    time.sleep(2)
    assert popen.poll() is None
    popen.stdin.close()
    popen.wait(20 * PATIENCE)


def test_exec_stop_timeout(nswrap):
    box(nswrap)
    popen = nswrap.popen("exec", "-t", 0.1, "box", "sh", "-c", STUBBORN, stdout=subprocess.PIPE)
    assert popen.stdout.readline() == b"up\n"
    begun = time.monotonic()
    popen.send_signal(signal.SIGTERM)
    assert popen.wait(20 * PATIENCE) == 128 + signal.SIGKILL
    assert time.monotonic() - begun < 9, "the default is ten seconds"


# --- the mesh ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words, says", [(["-v"], True), ([], False)])
def test_mesh_verbose(nswrap, short_dir, words, says):
    """A host whose agent has another version than ours."""
    site = os.path.join(short_dir, "site.yaml")
    with open(site, "w") as f:
        f.write(f"hosts: {{a: {{vip: 127.0.42.100, cmd: [{PYTHON}, {FAKE}]}}}}")
    popen = nswrap.popen("mesh", *words, site, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    lines = []
    for line in popen.stderr:
        lines.append(line)
        if b"ready" in line:
            break
    popen.terminate()
    text = b"".join(lines) + popen.communicate()[1]
    assert (b"its agent has version 0.6.5" in text) == says, text


def test_mesh_status_in_json(nswrap, short_dir):
    mesh = Mesh(nswrap, short_dir)
    mesh.joined("a")
    mesh.joined("b")
    running = mesh.start()
    mesh.passes("a", "b", b"payload")
    told = json.loads(nswrap.run("mesh", "status", "--json").stdout)
    assert told["manifest"] == str(mesh.path)
    assert (told["name"], told["pid"]) == ("site", running.pid)
    a, b = told["hosts"]
    assert a["in"]["packets"] == b["out"]["packets"] == 1
    assert a["in"]["bytes"] > len(b"payload") < b["out"]["bytes"]
    for sock in mesh.socks.values():
        sock.close()
    running.stop()
