# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_manager - `nswrap mesh` with stand-ins for its agents, good ones and bad ones"""

import contextlib
import fcntl
import functools
import json
import os
import pathlib
import pty
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest

from harness import (PATIENCE, PYTHON, SANITIZED, TREE, Lines, Running, cpu_ticks, is_alive,
                     open_fds, proc_status, wait_for)
from mesh_tools import in_time

FAKE = str(TREE / "tests/e2e/fake_agent.py")
RECORDED = TREE / "tests/data/norouter/request.bin"
NEW = "loopback,tcp,udp,loopback.disable,reconfigure,ping,error"
KEPT_KB = 2000


def packet(src, dst, payload=b"", length=None):
    """An IPv4 packet of protocol 253, which is for experiments."""
    total = 20 + len(payload) if length is None else length
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, 0, 0, 64, 253, 0, socket.inet_aton(src),
                       socket.inet_aton(dst)) + payload


def frame(payload, kind=1):
    return struct.pack("!IHH", 0x42 << 24 | 4 + len(payload), kind, 0) + payload


def vip(number):
    return f"127.0.42.{number}"


class Mesh:
    """A manifest whose hosts are stand-ins, and the manager that runs it."""

    def __init__(self, nswrap, directory, name="site"):
        self.nswrap = nswrap
        self.directory = pathlib.Path(directory)
        self.name = name
        self.path = self.directory / f"{name}.yaml"
        self.hosts = {}
        self.top = {}
        self.socks = {}

    def fake(self, name, *options, number=None, wrap=None, **manifest):
        """Add a host; wrap: a shell command line with {} for the stand-in's."""
        line = [PYTHON, FAKE, "--log", str(self.directory / f"{name}.log"), *options]
        self.host(name, [*line] if not wrap else ["sh", "-c", wrap.format(" ".join(line)), "sh"],
                  number=number, **manifest)

    def joined(self, name, *options, **manifest):
        """Add a stand-in whose packets the test sends and receives."""
        path = str(self.directory / f"{name}.sock")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind(path + ".test")
        sock.settimeout(5 * PATIENCE)
        self.socks[name] = sock
        self.fake(name, "--packets", path, *options, **manifest)

    def host(self, name, cmd, number=None, **manifest):
        number = number or 100 + len(self.hosts)
        self.hosts[name] = {"vip": vip(number), "cmd": cmd, **manifest}

    def write(self):
        # JSON is YAML, too
        self.path.write_text(json.dumps({"hosts": self.hosts, **self.top}, indent=1))

    def start(self, *options, ready=True, **popen):
        self.write()
        err_read, err_write = os.pipe()
        started = self.nswrap.popen("mesh", *options, self.path, stdin=subprocess.DEVNULL,
                                    stdout=subprocess.DEVNULL, stderr=err_write, **popen)
        os.close(err_write)
        self.running = Running(started, Lines(err_read), None)
        self.pid = started.pid
        if ready:
            self.running.wait_line(r"all \d+ hosts of \S+ are ready")
        return self.running

    def notes(self, name, key=None):
        """What the stand-in wrote down; with a key, the values of that."""
        path = self.directory / f"{name}.log"
        lines = path.read_text().splitlines() if path.exists() else []
        notes = [json.loads(line) for line in lines]
        return notes if not key else [note[key] for note in notes if key in note]

    def agent_pid(self, name):
        return self.status()[name]["pid"]

    def status(self):
        """{name: what status --json says of the host}."""
        done = self.nswrap.run("mesh", "status", "--json", self.name)
        assert done.returncode == 0, done.stderr
        return {host["name"]: host for host in json.loads(done.stdout)["hosts"]}

    def send(self, name, data):
        self.socks[name].sendto(data, str(self.directory / f"{name}.sock"))

    def passes(self, src, dst, payload):
        """Send a packet from one host to another and wait until it is there."""
        data = packet(self.hosts[src]["vip"], self.hosts[dst]["vip"], payload)
        self.send(src, frame(data))
        while (got := self.socks[dst].recv(1 << 17)) != data:
            assert got, f"{dst} got nothing"

    def memory_kb(self):
        return int(proc_status(self.pid)["VmRSS"].split()[0])


class Screen(Lines):
    """What is written to a terminal; its end is an error."""

    def _read(self, fd):
        with contextlib.suppress(OSError):
            super()._read(fd)
        self.ended = True


@pytest.fixture
def mesh(nswrap, short_dir):
    made = Mesh(nswrap, short_dir)
    yield made
    for sock in made.socks.values():
        sock.close()


# --- start, configure, route -----------------------------------------------------------------------


def test_configures_as_norouter_does(mesh):
    """The same manifest, the same request as in the recording of the real one."""
    recorded = json.loads(RECORDED.read_bytes()[8:])["body"]
    mesh.fake("host1", number=101, ports=["8080:127.0.0.1:18081"],
              http={"listen": "127.0.0.1:18180"}, socks={"listen": "127.0.0.1:18181"},
              stateDir={"disable": True})
    mesh.fake("host2", number=102,
              ports=["8080:127.0.0.1:18082", "9000:127.0.0.1:9000", "9001:127.0.0.1:9001"])
    mesh.fake("host3", number=103, ports=["8080:127.0.0.1:18083"])
    running = mesh.start()
    for number in (1, 2, 3):
        running.wait_line(rf"^nswrap: host{number}: ready at 127\.0\.42\.10{number}$")
    assert mesh.notes("host1", "configure") == [recorded["args"]]
    assert mesh.notes("host1", "id") == [recorded["id"]]
    assert running.stop() == 0


def test_tells_more_to_who_knows_more(mesh):
    ports = ["80:127.0.0.1:80", "53:127.0.0.1:53/udp"]
    mesh.fake("old", ports=ports)
    mesh.fake("new", "--features", NEW, ports=ports)
    mesh.start().wait_line(r"old: the manifest asks for what its agent does not support: udp$")

    def protos(args):
        return [p["proto"] for p in args["forwards"]], [p["proto"] for p in args["others"]]

    assert [protos(a) for a in mesh.notes("old", "configure")] == [(["tcp"], ["tcp"])]
    assert [protos(a) for a in mesh.notes("new", "configure")] == [
        (["tcp"], ["tcp"]), (["tcp", "udp"], ["tcp", "udp"])]


def test_the_command_has_a_session_of_its_own(mesh):
    """So a terminal's signals are the manager's alone; three descriptors, signals as usual."""
    mesh.fake("one")
    extra = os.open("/dev/null", os.O_RDONLY)
    mesh.start(pass_fds=[extra], start_new_session=True)
    os.close(extra)
    pid = mesh.agent_pid("one")
    assert os.getsid(pid) == os.getpgid(pid) == pid
    assert sorted(open_fds(pid)) == [0, 1, 2]
    status = proc_status(pid)
    assert int(status["SigBlk"], 16) == 0
    # but for what the caller ignored already, and SIGPIPE and SIGXFSZ, as python does
    inherited = int(proc_status(os.getpid())["SigIgn"], 16)
    inherited |= 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1
    assert int(status["SigIgn"], 16) & ~inherited == 0


def test_streams_are_pipes_to_shells(mesh):
    """bash reads ~/.bashrc if its stdin is a socket; and /dev/stdin can be opened."""
    (mesh.directory / ".bashrc").write_text("echo welcome\n")
    mesh.fake("bash", wrap='exec {} "$@"')
    mesh.hosts["bash"]["cmd"] = ["bash", *mesh.hosts["bash"]["cmd"][1:]]
    mesh.fake("opens", wrap='exec </dev/stdin >/dev/stdout; exec {} "$@"')
    mesh.start(env={"HOME": str(mesh.directory), "SHLVL": "0"})
    assert {host["restarts"] for host in mesh.status().values()} == {0}


def test_routes_by_destination(mesh):
    for name in ("a", "b", "c"):
        mesh.joined(name)
    mesh.top["routes"] = [{"to": ["192.0.2.0/24"], "via": "c"}]
    mesh.start()
    for payload in (b"x", os.urandom(1400), os.urandom(65515)):
        mesh.passes("a", "b", payload)
        mesh.passes("b", "c", payload)
        mesh.passes("c", "a", payload)
        mesh.passes("a", "a", payload)  # a NoRouter agent reaches its own VIP this way
    # many in one write, to several hosts, in order
    burst = [(dst, packet(vip(100), mesh.hosts[dst]["vip"], b"%d" % i))
             for i in range(300) for dst in ("b", "c")]
    for at in range(0, len(burst), 50):
        mesh.send("a", b"".join(frame(p) for _, p in burst[at:at + 50]))
    for name in ("b", "c"):
        expected = [p for dst, p in burst if dst == name]
        assert [mesh.socks[name].recv(1 << 17) for _ in expected] == expected
    # by way of c, and back
    there, back = packet(vip(100), "192.0.2.9", b"there"), packet("192.0.2.9", vip(100), b"back")
    mesh.send("a", frame(there))
    assert mesh.socks["c"].recv(1 << 17) == there
    mesh.send("c", frame(back))
    assert mesh.socks["a"].recv(1 << 17) == back
    assert all(sum(host["drops"].values()) == 0 for host in mesh.status().values())


def test_frames_in_pieces(mesh):
    for name in ("a", "b"):
        mesh.joined(name)
    mesh.start()
    packets = [packet(vip(100), vip(101), os.urandom(n)) for n in (0, 1, 700, 3000)]
    stream = b"".join(map(frame, packets))
    for at in range(len(stream)):
        mesh.send("a", stream[at:at + 1])
    for expected in packets:
        assert mesh.socks["b"].recv(1 << 17) == expected


def test_suggestions_are_followed_where_routes_lead(mesh):
    """A name was looked up by way of host c: its addresses go there, but not to who has no route
    for names, and not because c says so itself."""
    for name in ("a", "b", "c", "d"):
        mesh.joined(name)
    mesh.top["routes"] = [{"to": ["*.example.com"], "via": "c"},
                          {"to": ["192.0.2.0/24"], "via": "d"}]
    running = mesh.start()

    def suggest(route, *ips, by="a"):
        body = {"type": "routeSuggestion", "data": {"ip": ips, "route": route}}
        mesh.send(by, frame(json.dumps({"type": "event", "body": body}).encode(), 2))

    suggest(vip(102), "192.0.2.7", by="c")
    mesh.passes("c", "a", b"it was heard")
    mesh.send("a", frame(packet(vip(100), "192.0.2.7", b"0")))
    assert mesh.socks["d"].recv(1 << 17) == packet(vip(100), "192.0.2.7", b"0")
    suggest(vip(102), "203.0.113.1", vip(101))
    suggest(vip(101), "203.0.113.2")
    suggest(vip(103), "203.0.113.2")
    mesh.send("a", frame(packet(vip(100), "203.0.113.1", b"1")))
    assert mesh.socks["c"].recv(1 << 17) == packet(vip(100), "203.0.113.1", b"1")
    mesh.passes("a", "b", b"a VIP stays where it is")
    mesh.send("a", frame(packet(vip(100), "203.0.113.2", b"2")))
    running.wait_line(r"a: sends packets to 203\.0\.113\.2, which is nobody's")


def test_drops_what_may_not_pass(mesh):
    for name in ("a", "b", "c"):
        mesh.joined(name)
    running = mesh.start()
    mesh.send("a", frame(packet(vip(102), vip(101), b"as if from c")))
    mesh.send("a", frame(packet("8.8.8.8", vip(101), b"as if from elsewhere")))
    for _ in range(5):
        mesh.send("a", frame(packet(vip(100), "127.0.42.250", b"to nobody")))
    mesh.send("a", frame(b"E"))
    mesh.send("a", frame(packet(vip(100), vip(101), b"wrong length", length=40)))
    mesh.send("a", frame(b"\x60" + packet(vip(100), vip(101), b"version 6")[1:]))
    mesh.send("a", frame(b"a type that nobody knows", kind=77))
    mesh.passes("a", "b", b"the only one that may")
    mesh.socks["b"].settimeout(0.2)
    with pytest.raises(TimeoutError):
        mesh.socks["b"].recv(1 << 17)
    status = mesh.status()["a"]
    assert status["drops"] == {"malformed": 3, "wrong_source": 2, "no_route": 5, "not_ready": 0,
                               "queue_full": 0, "not_allowed": 0}
    assert status["unknown_frames"] == 1 and status["state"] == "ready"
    told = running.wait_lines("127.0.42.250", 1)
    assert len(told) == 1, told


# --- hosts that fail ------------------------------------------------------------------------------


@pytest.mark.waits
def test_every_trouble_is_told_and_others_go_on(mesh):
    for name in ("good1", "good2"):
        mesh.joined(name)
    mesh.fake("banner", "--exit", "5", "--banner", r"Welcome to host\r\n\x1b[1mLast login: today\n")
    mesh.host("binary", ["sh", "-c", "head -c 100 /dev/zero; exit 7"])
    mesh.fake("refuses", "--error", "port 80 is in use\x1b[2J")
    mesh.fake("exits", "--exit", "3")
    mesh.host("killed", ["sh", "-c", "kill -9 $$"])
    mesh.host("missing", ["nswrap-no-such-program", "x"])
    mesh.host("forbidden", ["/etc/passwd"])
    mesh.host("closes", ["sh", "-c", "exec >&-; sleep 1000"])
    mesh.fake("no-tcp", "--features", "loopback")
    mesh.fake("no-disable", "--features", "tcp", loopback={"disable": True})
    mesh.fake("once", "--exit", "4", restart="never")
    mesh.fake("silent", "--silent")
    mesh.host("mute", ["sh", "-c", "sleep 1000"])
    running = mesh.start(ready=False)
    again = r".*; again in \d+\.\d s$"
    expected = {
        "banner": "ended with status 5",
        "binary": r'at byte 0: .*"\\x00.*; it ended with status 7',
        "refuses": r"cannot be configured: port 80 is in use\\x1b\[2J",
        "exits": "ended with status 3",
        "killed": r"was ended by signal 9 \(Killed\)",
        "missing": "cannot be started: nswrap-no-such-program: No such file or directory",
        "forbidden": "cannot be started: /etc/passwd: Permission denied",
        "closes": "closed its output",
        "no-tcp": "the agent does not support tcp",
        "no-disable": r"the agent does not support loopback\.disable",
    }
    for name, reason in expected.items():
        running.wait_line(rf"^nswrap: {name}: lost: {reason}{again}")
    running.wait_line("^nswrap: once: lost: ended with status 4$")
    mesh.passes("good1", "good2", b"meanwhile")
    running.wait_line(r"^banner: Welcome to host$")
    running.wait_line(r"^banner: \\x1b\[1mLast login: today$")
    # who has taken `configure` and says nothing; who has not is left alone
    running.wait_line(r"^nswrap: silent: has taken configure and not answered for 10 s", 15)
    mesh.passes("good2", "good1", b"and afterwards")
    status = mesh.status()
    assert status["once"]["state"] == "lost" and status["once"]["restarts"] == 0
    assert status["good1"]["restarts"] == 0 and status["good1"]["reason"] is None
    assert status["silent"]["note"] == "no answer to configure yet"
    assert [status[name]["state"] for name in ("silent", "mute")] == ["starting"] * 2
    assert status["exits"]["restarts"] > 0 and status["exits"]["reason"] == "ended with status 3"
    assert not any("\x1b" in line or "\r" in line for line in running.stderr.lines)


@pytest.mark.waits
def test_pauses_grow(mesh):
    mesh.host("bad", ["sh", "-c", f"date +%s.%N >>{mesh.directory}/times; exit 1"])
    running = mesh.start(ready=False)
    path = mesh.directory / "times"
    wait_for(lambda: path.exists() and len(path.read_text().split()) >= 5, "five starts", 20)
    times = [float(word) for word in path.read_text().split()]
    gaps = [b - a for a, b in zip(times, times[1:])]
    told = [float(line.split()[-2]) for line in running.wait_lines("bad: lost: .*; again in [0-9.]+ s$", 4)]
    for gap, pause, said in zip(gaps, (0.5, 1, 2, 4), told):
        assert pause * 0.8 - 0.05 <= said <= pause * 1.2 + 0.05, told
        # to a tenth; a process starts later than it is started
        assert said - 0.07 <= gap <= said + 5 * PATIENCE, (gaps, told)


def test_comes_back_by_itself(mesh):
    for name in ("a", "b"):
        mesh.joined(name)
    running = mesh.start()
    first = mesh.agent_pid("a")
    os.kill(first, signal.SIGKILL)
    running.wait_line(r"a: lost: was ended by signal 9 \(Killed\); again in 0\.\d s")
    wait_for(lambda: mesh.status()["a"]["state"] == "ready", "a to be ready again", 3)
    assert mesh.agent_pid("a") != first
    mesh.passes("b", "a", b"again")
    status = mesh.status()
    assert status["a"]["restarts"] == 1 and status["b"]["restarts"] == 0


def test_all_down_for_good(mesh):
    for name in ("a", "b"):
        mesh.fake(name, "--exit", "5", restart="never")
    running = mesh.start(ready=False)
    assert running.wait() == 1
    running.wait_line("no host is left")


@pytest.mark.limit(120)
@pytest.mark.waits
def test_no_answer_to_ping(mesh):
    mesh.fake("deaf", "--features", NEW, "--no-pong")
    mesh.joined("other")  # NoRouter's features: nobody asks it
    running = mesh.start()
    running.wait_line("deaf: lost: no answer for 20 s; again in", 40)
    assert mesh.status()["other"]["restarts"] == 0


def test_agents_learn_who_they_are_and_when_to_end(mesh):
    """The same at each start, also of another manager; NoRouter's are told nothing of it."""
    mesh.fake("a", "--features", NEW + ",takeover,silence,keep")
    mesh.fake("b", "--features", NEW + ",takeover,silence")
    mesh.fake("old")
    running = mesh.start()
    for last in range(2):
        told = {name: mesh.notes(name, "configure") for name in ("a", "b", "old")}
        assert not any({"identity", "silence", "keep"} & set(args)
                       for args in [*told["old"], told["a"][2 * last], told["b"][2 * last]])
        if not last:
            first = told["a"][1]["identity"]
            os.kill(running.pid, signal.SIGKILL)
            running.popen.wait()
            running = mesh.start()
    assert told["a"][1]["identity"] == told["a"][3]["identity"] == first
    assert told["b"][1]["identity"] != first
    assert [args["silence"] for args in told["a"][1::2]] == [15, 15]
    assert [args["keep"] for args in told["a"][1::2]] == [120, 120]
    assert "keep" not in told["b"][1]


def test_round_trip_is_measured(mesh):
    mesh.fake("new", "--features", NEW)
    mesh.fake("old")
    mesh.start()
    rtt_ms = wait_for(lambda: mesh.status()["new"]["rtt_ms"], "a round trip")
    assert 0 < rtt_ms < 1000
    assert mesh.status()["old"]["rtt_ms"] is None


def test_what_dead_commands_leave_is_ended(mesh):
    """Grandchildren in sessions of their own, when the wrapper around them is killed."""
    mesh.fake("a", "--ignore", "--grandchild", wrap="{} agent --automated; true")
    mesh.fake("b", "--ignore", "--grandchild")
    running = mesh.start()
    other = mesh.notes("b", "grandchild")[0]
    os.kill(mesh.agent_pid("a"), signal.SIGKILL)
    running.wait_line("a: lost: was ended by signal 9")
    agent = mesh.notes("a")[0]["pid"]
    wait_for(lambda: not is_alive(agent), "the agent to be gone")
    wait_for(lambda: not is_alive(mesh.notes("a", "grandchild")[0]), "its child to be gone")
    assert is_alive(other)


# --- stderr ---------------------------------------------------------------------------------------


def test_stderr_of_agents(mesh):
    mesh.fake("talks", "--stderr", "plain", "--stderr", "\x1b[31mred\x07", "--stderr", "x" * 5000,
              "--stderr", "b\u202ecba\u2028nswrap: \u200b\u2066")
    mesh.host("floods", ["sh", "-c", "yes hello | head -n 100000 >&2; exec sleep 1000"])
    running = mesh.start(ready=False)
    running.wait_line("^talks: plain$")
    running.wait_line(r"^talks: \\x1b\[31mred\\x07$")
    running.wait_line(r"^talks: b\\xe2\\x80\\xaecba\\xe2\\x80\\xa8nswrap: \\xe2\\x80\\x8b\\xe2\\x81\\xa6$")
    assert len(running.wait_line("^talks: xxx.*[.]{3}$")) < 600
    running.wait_line("talks: ready")
    mesh.status()
    # fewer than a hundred a second
    assert sum(line == "floods: hello" for line in running.stderr.lines) < 1500


def test_nobody_reads_our_stderr(mesh):
    """Packets pass while the pipe is full."""
    for name in ("a", "b"):
        mesh.joined(name)
    mesh.host("floods", ["sh", "-c", "yes hello >&2"])
    mesh.write()
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    popen = mesh.nswrap.popen("mesh", mesh.path, stdin=subprocess.DEVNULL, stderr=write)
    os.close(write)

    def ready():
        return [host["state"] for host in mesh.status().values()][:2] == ["ready"] * 2

    wait_for(lambda: mesh.nswrap.run("mesh", "status").returncode == 0 and ready(), "two hosts")
    for i in range(20):
        mesh.passes("a", "b", b"%d" % i)
    popen.terminate()
    assert popen.wait(5 * PATIENCE) == 0
    os.close(read)


def on_terminal(mesh, width=80, mode=0o600, command=None):
    """Start the mesh in a terminal of its own: (its Popen, the other end of the terminal).

    command: another one than the mesh, such as a shell."""
    mesh.write()
    master, slave = pty.openpty()
    os.chmod(os.ttyname(slave), mode)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    start = functools.partial(mesh.nswrap.popen, "mesh", mesh.path, env={"TERM": "xterm"})
    if command:
        start = functools.partial(subprocess.Popen, command, env={**mesh.nswrap.env, "TERM": "xterm"})
    popen = start(stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                  preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(slave)
    return popen, master


COLOUR = r"(?:\033\[\d+m)?"


@pytest.mark.parametrize("width", [40, 120])
def test_terminal(mesh, width):
    """A row a host, in place, cut to the width; lines above; the cursor below at the end."""
    mesh.fake("first", "--features", NEW)
    mesh.fake("second")
    popen, master = on_terminal(mesh, width)
    screen = Screen(master)
    row = rf"first +{re.escape(vip(100))}"
    wait_for(lambda: re.search(rf"{row} +\033\[32mready\033\[0m", screen.text()), "a row in colour")
    wait_for(lambda: re.search(r"\d\d:\d\d:\d\d\033\[0m nswrap: first: ready", screen.text()),
             "a line with its time")
    wait_for(lambda: re.search(row, screen.text()), "a row")
    wait_for(lambda: "\033[2A" in screen.text(), "rows that are written again")
    if width == 120:
        wait_for(lambda: re.search(rf"{row} +{COLOUR}ready.* ms\r", screen.text()), "the round trip")
    # one that is killed before it is ready would be ready once in all
    wait_for(lambda: "second: ready at" in screen.text(), "it to be ready")
    os.kill(mesh.notes("second")[0]["pid"], signal.SIGKILL)
    wait_for(lambda: "second: lost: was ended by signal 9" in screen.text(), "the line")
    wait_for(lambda: screen.text().count("second: ready at") == 2, "it to be ready again")
    popen.terminate()
    assert popen.wait(10 * PATIENCE) == 0
    screen.join()
    rows = [line for line in screen.lines if re.match(r"(\r?\033\[\d+A\033\[J)?(first|second) ", line)]
    assert rows and all(len(re.sub(r"\033\[\d*\w|\r", "", line)) < width for line in rows)


@pytest.mark.parametrize("mode", [0o600, 0])
def test_nobody_reads_the_terminal(mesh, mode):
    """Ctrl-S, or a window that is stuck; also on a terminal that we may not open (after su)."""
    for name in ("a", "b"):
        mesh.joined(name)
    mesh.host("floods", ["sh", "-c", "yes hello >&2"])
    popen, master = on_terminal(mesh, mode=mode)

    def ready():
        return [host["state"] for host in mesh.status().values()][:2] == ["ready"] * 2

    wait_for(lambda: mesh.nswrap.run("mesh", "status").returncode == 0 and ready(), "two hosts")
    wait_for(lambda: "floods: hello" in os.read(master, 4096).decode(), "the flood")
    end = time.monotonic() + 3  # more than the terminal holds
    while time.monotonic() < end:
        mesh.passes("a", "b", b"x")
        time.sleep(0.05)
    popen.terminate()
    assert popen.wait(5 * PATIENCE) == 0
    os.close(master)


def test_the_terminal_goes_away(mesh):
    mesh.fake("a")
    popen, master = on_terminal(mesh)
    wait_for(lambda: mesh.notes("a", "configure"), "the mesh")
    os.close(master)
    assert popen.wait(5 * PATIENCE) == 0


def test_a_reload_takes_rows_away(mesh):
    """Lines are said about those that stay while the rows are those of the hosts before."""
    for name in ("first", "second", "third"):
        mesh.fake(name)
    popen, master = on_terminal(mesh)
    screen = Screen(master)
    wait_for(lambda: "all 3 hosts of site are ready" in screen.text(), "the mesh")
    wait_for(lambda: re.search(rf"third +{re.escape(vip(102))} ", screen.text()), "three rows")
    del mesh.hosts["third"]
    mesh.hosts["first"]["cmd"] = ["env", *mesh.hosts["first"]["cmd"]]
    mesh.write()
    done = mesh.nswrap.run("mesh", "reload", "site")
    assert (done.returncode, popen.poll()) == (0, None), done.stderr
    wait_for(lambda: screen.text().count("first: ready at") == 2, "it to be started again")
    popen.terminate()
    assert popen.wait(10 * PATIENCE) == 0
    screen.join()
    after = screen.text().split("first: is started again: its part of the manifest has changed")[1]
    assert "\033[2A" in after and not re.search(r"third +127", after)


# --- stopped peers, hostile peers -----------------------------------------------------------------


def test_a_stopped_host_costs_the_others_nothing(mesh):
    for name in ("a", "b", "c"):
        mesh.joined(name)
    mesh.start()
    stopped = mesh.agent_pid("c")
    mesh.passes("a", "c", b"before")
    before_kb = mesh.memory_kb()
    os.kill(stopped, signal.SIGSTOP)
    try:
        large = packet(vip(100), vip(102), bytes(60000))
        for i in range(1000):  # 60 MB to who does not read
            mesh.send("a", frame(large))
            if i % 100 == 0:
                mesh.passes("a", "b", b"%d" % i)

        def passes():
            began = time.monotonic()
            mesh.passes("b", "a", b"quick")
            return True, time.monotonic() - began

        assert in_time(passes, 1)
        wait_for(lambda: mesh.status()["c"]["drops"]["queue_full"] > 0, "packets to be dropped")
        if not SANITIZED:
            assert mesh.memory_kb() < before_kb + 16000  # a queue of 4 MiB, and its copy
    finally:
        os.kill(stopped, signal.SIGCONT)
    mesh.passes("b", "c", b"it goes on")


def mutated(rng):
    """What an agent should not send, in whole frames, with some that it may send."""
    good = frame(packet(vip(100), vip(103), rng.randbytes(rng.randrange(2000))))
    text = json.dumps({"type": rng.choice(["result", "event", "request", "x", None, 7]),
                       "body": rng.choice([{"request_id": 2, "op": "configure", "data": {}},
                                           {"type": "routeSuggestion", "data": {"ip": 5}},
                                           {"type": "other", "data": {"x": ["y"] * 100}},
                                           {"id": 3, "op": "configure", "args": {}},
                                           [], None, "x" * 3000])})
    data = bytearray(rng.choice([good, frame(text.encode(), 2), frame(b"[" * 9000, 2),
                                 frame(b"", 3), frame(rng.randbytes(50), rng.randrange(1, 9))]))
    for _ in range(rng.choice([0, 0, 1, 5])):
        if len(data) > 8:
            data[rng.randrange(8, len(data))] = rng.randrange(256)
    return bytes(data)


@pytest.mark.limit(120)
def test_hostile_agents(mesh):
    """Their rubbish is counted, their links break; others see nothing of it, and nothing grows."""
    for name in ("bad", "a", "b"):
        mesh.joined(name)
    mesh.fake("random", "--flood", "random")
    mesh.fake("events", "--flood", "messages")
    running = mesh.start(ready=False)
    running.wait_line("random: lost: at byte ")
    running.wait_line("events: lost: it sent more than 1000 bad messages")
    # nothing is wrong with it, it is only unknown
    event = frame(json.dumps({"type": "event", "body": {
        "type": "other", "data": {"x": ["y" * 10] * 100}}}).encode(), 2)
    rng = random.Random(seed := int.from_bytes(os.urandom(4), "big"))
    peaks_kb = []
    for round_number in range(8):
        wait_for(lambda: mesh.status()["bad"]["state"] == "ready", "the bad one", 40)
        # a thousand bad messages are endured in a row
        with contextlib.suppress(OSError):
            for i in range(700):
                mesh.send("bad", mutated(rng) + event * (i % 3 == 0))
            mesh.send("bad", rng.randbytes(1000) if round_number % 4 == 3 else b"")
        mesh.passes("a", "b", b"round %d of seed %d" % (round_number, seed))
        peaks_kb.append(mesh.memory_kb())
    status = mesh.status()
    assert status["a"]["restarts"] == status["b"]["restarts"] == 0
    assert status["bad"]["unknown_frames"] > 100
    if not SANITIZED:
        assert peaks_kb[-1] < peaks_kb[1] + KEPT_KB, (seed, peaks_kb)


def test_bad_messages_are_counted_and_endured(mesh):
    mesh.joined("a")
    running = mesh.start()
    for _ in range(10):
        mesh.send("a", frame(b"no json \x1b[1m", 2))
    mesh.send("a", frame(json.dumps(
        {"type": "result", "body": {"request_id": 99, "op": "x\x1b"}}).encode(), 2))
    wait_for(lambda: mesh.status()["a"]["bad_messages"] == 11, "all to be counted")
    assert mesh.status()["a"]["state"] == "ready"
    assert len(running.wait_lines("bad message", 1)) == 1
    with contextlib.suppress(OSError):
        for _ in range(1000):
            mesh.send("a", frame(b"{}", 2))
    running.wait_line("a: lost: it sent more than 1000 bad messages, the last one was ")


@pytest.mark.parametrize("kind", ["frame", "frames", "lines"])
def test_crumbs_cost_their_sender(mesh, kind):
    """One byte at a time: of a frame of 1 MiB, of frames of an unknown type, of stderr."""
    mesh.fake("a", "--crumbs", kind)
    mesh.start()
    host = mesh.notes("a", "pid")[0]
    ours, theirs = cpu_ticks(mesh.pid), cpu_ticks(host)
    wait_for(lambda: cpu_ticks(host) > theirs + 100, "a second of the host's processor time", 20)
    assert cpu_ticks(mesh.pid) - ours < (cpu_ticks(host) - theirs) / 8


# --- reload ---------------------------------------------------------------------------------------


def test_reload(mesh):
    mesh.joined("same")
    mesh.joined("told", "--features", NEW)
    mesh.joined("changed")
    mesh.joined("gone")
    running = mesh.start()
    pids = {name: host["pid"] for name, host in mesh.status().items()}
    told = len(mesh.notes("told", "configure"))  # again with what its features allow
    del mesh.hosts["gone"]
    mesh.hosts["changed"]["ports"] = ["81:127.0.0.1:81"]
    mesh.joined("new", number=120)
    mesh.hosts = dict(reversed(mesh.hosts.items()))
    mesh.write()
    assert mesh.nswrap.run("mesh", "reload").returncode == 0
    wait_for(lambda: sum("all 4 hosts" in line for line in running.stderr.lines) == 2, "all")
    status = mesh.status()
    assert {n for n in status if status[n]["pid"] == pids.get(n)} == {"same", "told"}
    wait_for(lambda: not is_alive(pids["gone"]), "the end of who is gone")
    running.wait_line("nswrap: same: learns of the new manifest at its next start")
    wait_for(lambda: len(mesh.notes("told", "configure")) == told + 1, "it to be told")
    assert {"ip": vip(102), "port": 81, "proto": "tcp"} in mesh.notes("told", "configure")[-1]["others"]
    assert len(mesh.notes("same", "configure")) == 1
    for src, dst in (("same", "told"), ("told", "new"), ("new", "changed"), ("changed", "same")):
        mesh.passes(src, dst, b"after the reload")
    assert running.stop() == 0


def test_reload_of_what_is_wrong_changes_nothing(mesh):
    for name in ("a", "b"):
        mesh.joined(name)
    running = mesh.start()
    before = mesh.status()
    mesh.path.write_text('{"hosts": {"a": {"vip": "nowhere"}, "b": {"vap": 1}}}')
    done = mesh.nswrap.run("mesh", "reload")
    assert done.returncode == 2
    assert b"nowhere" in done.stderr and b"vap" in done.stderr
    mesh.passes("a", "b", b"as before")
    mesh.path.unlink()
    running.signal(signal.SIGHUP)
    running.wait_line(r"site\.yaml is not followed")
    wait_for(lambda: sum("is not followed" in line for line in running.stderr.lines) == 2, "both")
    assert {n: h["pid"] for n, h in mesh.status().items()} == {n: h["pid"] for n, h in before.items()}
    mesh.write()
    running.signal(signal.SIGHUP)
    running.wait_line(r"site\.yaml was read again")
    mesh.passes("b", "a", b"still")


def test_reload_tells_warnings_and_follows(mesh):
    mesh.fake("a")
    running = mesh.start()
    mesh.top = {"zzzzz": 1}
    mesh.fake("b")
    mesh.write()
    done = mesh.nswrap.run("mesh", "reload")
    assert done.returncode == 0
    assert b': warning: unknown key "zzzzz" is ignored' in done.stderr
    running.wait_line(r'warning: unknown key "zzzzz" is ignored')
    assert set(mesh.status()) == {"a", "b"}
    answer = ask_control(mesh, b'{"op": "reload"}')
    assert answer["errors"] == [] and "zzzzz" in answer["warnings"][0]


@pytest.mark.parametrize("is_wrong", [False, True])
def test_reload_tells_what_an_answer_has_room_for(mesh, is_wrong):
    """The rest is to be had from --check; whether it follows is known all the same."""
    mesh.fake("a")
    running = mesh.start()
    mesh.hosts["a"].update({f"{'k' * 60}{i}": 1 for i in range(990)})
    mesh.fake("b")
    if is_wrong:
        mesh.top["routes"] = "wrong"
    mesh.write()
    done = mesh.nswrap.run("mesh", "reload")
    assert done.returncode == (2 if is_wrong else 0), done.stderr[-300:]
    said = done.stderr.decode().splitlines()
    cut = "nswrap: more is left out here: nswrap mesh --check shows all"
    assert said.count(cut) == 1 + is_wrong
    assert 200 < len(said) < 900
    assert ("b" in mesh.status()) == (not is_wrong)
    assert mesh.nswrap.run("mesh", "--check", mesh.path).stderr.count(b"unknown key") == 990
    assert running.stop() == 0


def test_what_is_different_is_more_than_a_message_holds(mesh):
    """Each manifest can be told, who left and who came together cannot: all is told anew."""
    def aliases(letter):
        return [f"a{i}.{'.'.join([letter * 60] * 3)}" for i in range(3400)]

    mesh.fake("one", "--features", NEW + ",amend")
    mesh.fake("many", aliases=aliases("x"))
    running = mesh.start()
    mesh.hosts["many"]["aliases"] = aliases("y")
    mesh.write()
    assert mesh.nswrap.run("mesh", "reload").returncode == 0
    # long lines, which are not written at once
    log = mesh.directory / "one.log"
    wait_for(lambda: (text := log.read_text()).endswith("\n") and "yyy" in text.splitlines()[-1], "new names")
    assert mesh.status()["one"]["restarts"] == 0
    # with as many ports as there may be that is more than can be told
    mesh.hosts["many"]["ports"] = [f"{port}:127.0.0.1:80" for port in range(1, 8193)]
    mesh.path.write_text(json.dumps({"hosts": mesh.hosts}))
    done = mesh.nswrap.run("mesh", "reload")
    assert done.returncode == 2 and b"host one would be told more than 1 MiB: expected fewer hosts" in done.stderr
    assert running.stop() == 0


def test_reload_while_hosts_start_and_fail(mesh):
    mesh.fake("slow", "--silent")
    mesh.host("bad", ["false"])
    running = mesh.start(ready=False)
    running.wait_line("bad: lost")
    wait_for(lambda: mesh.notes("slow"), "it to start")
    mesh.hosts.clear()
    mesh.joined("a")
    mesh.write()
    assert mesh.nswrap.run("mesh", "reload").returncode == 0
    running.wait_line("all 1 hosts of site are ready")
    assert list(mesh.status()) == ["a"]


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "stop"])
def test_everything_is_gone_within_two_seconds(mesh, how):
    mesh.fake("polite")
    mesh.fake("deaf", "--ignore", "--grandchild")
    mesh.fake("wrapped", "--ignore", "--grandchild", wrap="{} agent --automated; sleep 100")
    mesh.fake("starting", "--silent", "--ignore")
    mesh.host("waiting", ["false"])

    def end():
        known = len(mesh.notes("starting", "configure"))
        running = mesh.start(ready=False)
        for name in ("polite", "deaf", "wrapped"):
            running.wait_line(f"{name}: ready")
        wait_for(lambda: len(mesh.notes("starting", "configure")) > known, "the silent one")
        # with wrappers and grandchildren
        wait_for(lambda: len(running.tree()) >= 9, "all processes")
        tree = running.tree()
        began = time.monotonic()
        if how == "stop":
            assert mesh.nswrap.run("mesh", "stop").returncode == 0
        else:
            running.signal(getattr(signal, how))
        assert running.wait() == 0
        # what was killed needs a processor to be gone
        wait_for(lambda: not any(map(is_alive, tree)), "the end of all")
        return True, time.monotonic() - began

    assert in_time(end, 2)


def test_a_polite_end_is_quick(mesh):
    for i in range(5):
        mesh.fake(f"h{i}")

    def end():
        running = mesh.start()
        began = time.monotonic()
        assert running.stop() == 0
        return True, time.monotonic() - began

    assert in_time(end)


def test_the_second_signal_does_not_wait(mesh):
    mesh.fake("deaf", "--ignore")

    def end():
        known = len(mesh.notes("deaf", "end"))
        running = mesh.start()
        began = time.monotonic()
        running.signal(signal.SIGINT)
        wait_for(lambda: len(mesh.notes("deaf", "end")) > known, "the first one to be seen")
        running.signal(signal.SIGINT)
        assert running.wait() == 0
        return True, time.monotonic() - began

    assert in_time(end)


def test_children_of_before_are_left_alone(mesh):
    """A shell that becomes the manager by exec may have had children."""
    mesh.fake("a")
    mesh.write()
    script = f'sleep 1000 & echo $! >{mesh.directory}/pid; exec "$@" </dev/null'
    popen = mesh.nswrap.popen("mesh", mesh.path, prefix=["sh", "-c", script, "sh"],
                              stderr=subprocess.DEVNULL)
    wait_for(lambda: mesh.notes("a", "configure"), "the mesh")
    pid = int((mesh.directory / "pid").read_text())
    os.kill(mesh.agent_pid("a"), signal.SIGKILL)
    wait_for(lambda: len(mesh.notes("a", "configure")) == 2, "it to start again")
    popen.terminate()
    assert popen.wait(5 * PATIENCE) == 0
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_the_manager_is_killed(mesh):
    for name in ("a", "b"):
        mesh.fake(name)
    running = mesh.start()
    tree = running.tree()
    running.signal(signal.SIGKILL)
    running.wait()
    wait_for(lambda: not any(map(is_alive, tree)), "the agents to end")
    # its name is free again, and nobody stumbles over its socket
    mesh.start()
    assert mesh.status().keys() == {"a", "b"}


# --- the command line -----------------------------------------------------------------------------


def test_names(mesh, nswrap, short_dir):
    mesh.fake("a")
    first = mesh.start()
    second = Mesh(nswrap, short_dir)
    second.fake("b")
    second.path = second.directory / "sub" / "site.yml"
    second.path.parent.mkdir()
    second.name = "site-2"
    second.start()
    assert list(second.status()) == ["b"]
    assert list(mesh.status()) == ["a"]
    done = nswrap.run("mesh", "status")
    assert done.returncode == 125 and b"site, site-2" in done.stderr
    done = nswrap.run("mesh", "status", "nobody")
    assert done.returncode == 125 and b'no mesh "nobody" is running' in done.stderr
    done = nswrap.run("mesh", "-n", "site", mesh.path)
    assert done.returncode == 125 and b'"site" is running already' in done.stderr
    assert nswrap.run("ps", "--json").stdout.strip() == b"[]"
    assert nswrap.run("mesh", "stop", "site").returncode == 0
    assert first.wait() == 0
    assert nswrap.run("mesh", "-n", "site-2", "stop").returncode == 0
    done = nswrap.run("mesh", "stop")
    assert done.returncode == 125 and b"no mesh is running" in done.stderr


def test_status(mesh):
    for i in range(40):  # more than one answer holds
        mesh.fake(f"h{i:02}", number=100 + i)
    mesh.joined("sends", "--features", NEW)
    running = mesh.start()
    mesh.passes("sends", "sends", b"x" * 80)
    status = mesh.status()
    assert list(status) == [*(f"h{i:02}" for i in range(40)), "sends"]
    host = status["sends"]
    assert host["vip"] == vip(140) and host["state"] == "ready" and host["version"] == "0.6.5+dev"
    assert host["features"] == ["tcp", "loopback", "loopback.disable", "udp", "reconfigure", "ping",
                                "error"]
    assert host["in"]["packets"] == host["out"]["packets"] == 1
    assert host["in"]["bytes"] > 108 and host["out"]["bytes"] > 108
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", host["since"])
    table = mesh.nswrap.run("mesh", "status").stdout.decode().splitlines()
    assert len(table) == 42
    assert table[0].split() == ["HOST", "VIP", "STATE", "STACK", "FOR", "RTT", "IN", "OUT",
                                "DROPS", "RESTARTS", "WHY"]
    assert re.match(r"sends +127\.0\.42\.140 +ready +- +\d+s +[\d.]+ms ", table[-1])
    assert all(line.index("127.0.42") == table[0].index("VIP") for line in table[1:])
    assert running.stop() == 0


def ask_control(mesh, text):
    """The answer of the mesh's control socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.connect(str(mesh.nswrap.runtime_dir / "nswrap/mesh/site.sock"))
        s.settimeout(5 * PATIENCE)
        s.send(text)
        return json.loads(s.recv(1 << 18))


def test_control_socket_endures(mesh):
    mesh.fake("a")
    mesh.start()
    path = str(mesh.nswrap.runtime_dir / "nswrap/mesh/site.sock")
    assert os.stat(path).st_mode & 0o777 == 0o600
    for text in (b"x", b"[]", b"{}", b'{"op": 5}', b'{"op": "status", "from": -1}', b'{"op": "x"}',
                 b'{"op": "status", "from": 1e99}', b"[" * 100000, b'{"op": "enter"}'):
        answer = ask_control(mesh, text)
        assert answer["ok"] is (b"-1" in text or b"e99" in text), (text, answer)
    idle = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(25)]
    for s in idle:
        s.connect(path)
    assert list(mesh.status()) == ["a"]
    for s in idle:
        s.close()


def test_questions_while_descriptors_are_short(mesh):
    """They wait, and that costs nothing."""
    mesh.fake("a")
    mesh.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)))
    path = str(mesh.nswrap.runtime_dir / "nswrap/mesh/site.sock")
    idle = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(31)]
    for s in idle:
        s.connect(path)
    wait_for(lambda: len(os.listdir(f"/proc/{mesh.pid}/fd")) >= 32, "all descriptors to be taken")

    def used():
        fields = pathlib.Path(f"/proc/{mesh.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    before = used()
    time.sleep(1)
    assert used() - before < 0.3
    for s in idle:
        s.close()
    wait_for(lambda: mesh.status()["a"]["state"] == "ready", "an answer")


def test_check_and_example(mesh, nswrap):
    mesh.fake("a")
    mesh.fake("b")
    mesh.write()
    done = nswrap.run("mesh", "--check", mesh.path)
    assert (done.returncode, done.stdout) == (0, b"2 hosts: fine\n"), done.stderr
    assert not mesh.notes("a")
    mesh.path.write_text("hosts:\n  a:\n    vip: 1.2.3\n  b:\n    vip: 127.0.42.1\n    prots: []\n")
    for words in (("--check", mesh.path), (mesh.path,)):
        done = nswrap.run("mesh", *words)
        assert done.returncode == 2
        assert b":3:" in done.stderr and b":6:" in done.stderr
    example = nswrap.run("mesh", "--example")
    assert example.returncode == 0
    mesh.path.write_bytes(example.stdout)
    assert nswrap.run("mesh", "--check", mesh.path).returncode == 0
    assert nswrap.run("mesh", "--check", "-", input=example.stdout).returncode == 0


@pytest.mark.parametrize("words, text", [
    ([], b"a MANIFEST is missing"),
    (["no-such-file.yaml"], b"no-such-file.yaml"),
    (["a.yaml", "b.yaml"], b"b.yaml: expected nothing here"),
    (["--json", "a.yaml"], b"--json: only status"),
    (["status", "a", "b"], b"expected nothing here"),
    (["-n", "/x", "a.yaml"], b"-n /x"),
    (["--chek", "a.yaml"], b"did you mean --check"),
])
def test_wrong_command_lines(nswrap, words, text):
    done = nswrap.run("mesh", *words)
    assert done.returncode == 2 and text in done.stderr, done.stderr


def test_other_ways_to_start_it(mesh, nswrap):
    mesh.fake("a")
    mesh.write()
    for words in (["manager", mesh.path], [mesh.path], ["mesh", "-q", mesh.path]):
        count = len(mesh.notes("a", "configure"))
        popen = nswrap.popen(*words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_for(lambda: len(mesh.notes("a", "configure")) > count, "the mesh")
        wait_for(lambda: mesh.status()["a"]["state"] == "ready", "the host")
        popen.terminate()
        said = popen.communicate()[1]
        assert popen.returncode == 0
        assert (said == b"") == ("-q" in words), said


@pytest.mark.parametrize("kind", ["stdin", "pipe"])
def test_manifest_that_is_no_file(mesh, nswrap, tmp_path, kind):
    """It is read once, and the mesh does not wait for somebody who writes it again."""
    mesh.fake("a")
    mesh.write()
    fifo = tmp_path / "mesh"
    os.mkfifo(fifo)
    with open(mesh.path) as manifest:
        popen = nswrap.popen("mesh", "-n", "mesh", "-" if kind == "stdin" else fifo, stdin=manifest,
                             stderr=subprocess.DEVNULL)
        if kind == "pipe":
            fifo.write_text(manifest.read())
    wait_for(lambda: mesh.notes("a", "configure"), "the mesh")
    done = nswrap.run("mesh", "reload", "mesh")
    assert done.returncode == 2 and b"it cannot be read again" in done.stderr
    popen.terminate()
    assert popen.wait(5 * PATIENCE) == 0
