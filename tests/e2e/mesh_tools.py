# SPDX-License-Identifier: Apache-2.0
"""e2e/mesh_tools - a mesh that runs, sandboxes to join to it, an sshd to reach hosts by"""

import contextlib
import functools
import getpass
import hashlib
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import threading
import time

import harness
from harness import AGENT, BINARY, PATIENCE, Lines, Running, descendants, free_port, python, wait_for

# what an agent is: with a network stack of the kernel's, with streams in its place, or the static
# file; tests with the mark `agents` run with each of them (conftest.py)
AGENT_KINDS = {"kernel": (BINARY, []), "streams": (BINARY, ["--stack", "streams"]), "static": (AGENT, [])}


class AgentKind:
    """That of the test that runs; conftest.py sets it."""

    name = "kernel"

    @property
    def program(self):
        return AGENT_KINDS[self.name][0]

    @property
    def words(self):
        """What stands behind `agent`."""
        return AGENT_KINDS[self.name][1]


AGENT_KIND = AgentKind()

# a link that works again: from when its command ended, beyond the pause that the manager tells
BACK_S = 1


@functools.lru_cache(maxsize=None)
def network():
    """The first three numbers of addresses for virtual IPs on the host's own loopback.

    Another one for each run: programs of other runs may hold ports of others."""
    while True:
        net = f"127.{random.SystemRandom().randrange(1, 255)}.{random.SystemRandom().randrange(1, 255)}"
        # a listener at one of these addresses is somebody's mesh; one at all of them is everywhere
        rows = [row.split()[1] for kind in ("tcp", "udp")
                for row in pathlib.Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
        if not any(row[2:8] == socket.inet_aton(net + ".0")[2::-1].hex().upper() for row in rows):
            return net


def settled(text):
    """(the text of a manifest at addresses of ours, {its port: ours}): for those that somebody has."""
    ports = {}
    for port in map(int, re.findall(r'ports: \["(\d+):', text)):
        ports[port] = port if harness.is_free(port, f"{network()}.101") else free_port()
        text = text.replace(f'["{port}:', f'["{ports[port]}:')
    return text.replace("127.0.42.", network() + "."), ports


def start_mesh(nswrap, path, env=None, line=(BINARY, "mesh")):
    """A manager, as a Running. line: its program and what stands before the manifest."""
    err_read, err_write = os.pipe()
    popen = nswrap.popen(*line[1:], path, program=line[0], stdin=subprocess.DEVNULL, env=env,
                         stdout=subprocess.DEVNULL, stderr=err_write)
    os.close(err_write)
    return Running(popen, Lines(err_read), None)


class Site:
    """A manifest and, inside `with`, the manager that runs it; all hosts are ready first."""

    def __init__(self, nswrap, directory, name="site", env=None, **top):
        self.nswrap = nswrap
        self.name = name
        self.env = env
        self.path = pathlib.Path(directory, f"{name}.yaml")
        self.hosts = {}
        self.top = top
        self.text = None

    def host(self, name, vip, cmd=None, **manifest):
        if not cmd and AGENT_KIND.name != "kernel":
            cmd = [AGENT_KIND.program, "agent", *AGENT_KIND.words]
        self.hosts[name] = {"vip": vip, **({"cmd": cmd} if cmd else {}), **manifest}

    def start(self):
        return start_mesh(self.nswrap, self.path, self.env)

    def wait_ready(self):
        self.running.wait_line(r"all \d+ hosts of \S+ are ready", 20)

    def __enter__(self):
        # JSON is YAML, too
        self.path.write_text(self.text or json.dumps({"hosts": self.hosts, **self.top}, indent=1))
        self.running = self.start()
        try:
            self.wait_ready()
        except AssertionError as error:
            self.running.popen.terminate()
            self.running.popen.wait(10)
            raise AssertionError(f"{error}; it said: {self.running.stderr.text()}") from None
        return self

    def __exit__(self, kind, *_):
        """The manager and all below it end, by their own doing."""
        below = self.running.tree()
        status = self.running.stop()
        if kind is not None:
            print(f"the manager of {self.name} said:\n{self.running.stderr.text()}")
        else:
            assert status == 0, self.running.stderr.text()
            wait_for(lambda: not any(map(harness.is_alive, below)), "the end of all commands")

    def status(self):
        """{name: what status --json says of the host}."""
        done = self.nswrap.run("mesh", "status", "--json", self.name)
        assert done.returncode == 0, done.stderr
        return {host["name"]: host for host in json.loads(done.stdout)["hosts"]}

    def wait_state(self, name, state="ready", restarts=0, timeout=10):
        """Wait until a host is in a state, with this many restarts at least; its status."""
        def look():
            host = self.status()[name]
            return host if host["state"] == state and host["restarts"] >= restarts else None

        return wait_for(look, f"{name} to be {state}", timeout)

    def losses(self, name):
        """The pauses, in seconds, that were told each time a host was lost."""
        found = (re.search(rf" {name}: lost: .*; again in ([\d.]+) s$", line)
                 for line in list(self.running.stderr.lines))
        return [float(match[1]) for match in found if match]

    def next_loss(self, name, known):
        """Wait until there are more losses than before; the pause of the first new one."""
        return wait_for(lambda: self.losses(name)[known:], f"{name} to be lost", 15)[0]


class Box:
    """A sandbox that runs; hosts of a mesh and programs of a test are started in it by name."""

    def __init__(self, nswrap, name, *options):
        self.nswrap = nswrap
        self.name = name
        self.running = nswrap.start("-n", name, "--network", "none", *options, "sleep", "1000")
        self.running.wait_event("started")

    def agent(self):
        """The command of a host. Without a stack it takes the sandbox for a machine."""
        if AGENT_KIND.name == "streams":
            return [BINARY, "exec", self.name, "env", BINARY, "agent", *AGENT_KIND.words]
        return self.sandbox_agent()

    def sandbox_agent(self):
        """The same for a host that is to be a sandbox, which has a stack whatever is tested."""
        program = BINARY if AGENT_KIND.name == "streams" else AGENT_KIND.program
        return [program, "exec", self.name, "nswrap"]

    def popen(self, *command, **options):
        return self.nswrap.popen("exec", self.name, *command, **options)

    def run(self, *command, **options):
        """Run a command to its end; a CompletedProcess."""
        return self.nswrap.run("exec", self.name, *command, **options)

    def do(self, *command, **options):
        """The same of one that must succeed; its stdout."""
        done = self.run(*command, **options)
        assert done.returncode == 0, (self.name, done.stderr.decode())
        return done.stdout

    def table(self, kind):
        """Rows of /proc/net/KIND of the sandbox."""
        path = pathlib.Path(f"/proc/{self.running.command_pid()}/net/{kind}")
        return [row.split() for row in path.read_text().splitlines()[1:]]

    def serve(self, program, *args, port, udp=False):
        """Start one of the harness's programs, and wait until it is bound to its port."""
        popen = self.popen(*python(program, *args), stdin=subprocess.DEVNULL)
        wait_for(lambda: any(int(row[1].rsplit(":", 1)[1], 16) == port and (udp or row[3] == "0A")
                             for family in ("", "6")
                             for row in self.table(("udp" if udp else "tcp") + family)), f"port {port}")
        return popen


# --- clients --------------------------------------------------------------------------------------

# sends what comes on stdin to each of the servers at once, with an end of its own to each; prints
# the SHA-256 of what came back from each; argv: address:port...
ECHOED = """
import hashlib, socket, sys, threading
data = sys.stdin.buffer.read()
found = {}
def talk(where):
    host, port = where.split(':')
    with socket.create_connection((host, int(port)), timeout=60) as s:
        def send():
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        sender.start()
        digest = hashlib.sha256()
        while part := s.recv(1 << 18):
            digest.update(part)
        sender.join()
    found[where] = digest.hexdigest()
talkers = [threading.Thread(target=talk, args=(where,)) for where in sys.argv[1:]]
for t in talkers:
    t.start()
for t in talkers:
    t.join()
for where in sys.argv[1:]:
    print(where, found.get(where))
"""

# prints the errno with which a connection fails, 0 if it does not, and how long it took;
# argv: address port seconds
TRY = """
import socket, sys, time
s = socket.socket()
s.settimeout(float(sys.argv[3]))
began = time.monotonic()
print(s.connect_ex((sys.argv[1], int(sys.argv[2]))), time.monotonic() - began)
"""

# talks to an echo server until stdin ends; prints how many round trips there were and the longest
# time between two of them in seconds; argv: address port
STEADY = """
import select, socket, sys, time
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60) as s:
    print('begun', flush=True)
    count, longest, last = 0, 0, time.monotonic()
    while not select.select([0], [], [], 0.005)[0]:
        text = b'%09d' % count
        s.sendall(text)
        while text:
            part = s.recv(9)
            assert part and text.startswith(part), (text, part)
            text = text[len(part):]
        count, now = count + 1, time.monotonic()
        longest, last = max(longest, now - last), now
print(count, longest)
"""


def sha(data):
    return hashlib.sha256(data).hexdigest()


def echoed(box, data, *servers, timeout=40):
    """Have a box send data to echo servers, all at once, and check what comes back."""
    done = box.run(*python(ECHOED, *servers), input=data, timeout=timeout)
    found = done.stdout.decode().splitlines()
    assert found == [f"{server} {sha(data)}" for server in servers], (box.name, done.stderr.decode())


def at_once(*calls):
    """Call them side by side; an error of any is an error."""
    errors = []

    def call(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(function,)) for function in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def in_time(ask, limit_s=0.8):
    """The answer of ask(), a pair of it and of the seconds that it took; within the limit, but for two
    times: now and then a machine lets nothing run, and what waits for a timeout waits each time.

    By itself the limit is for what is known: less than TCP waits before it repeats a SYN."""
    late = []
    for _ in range(3):
        answer, took = ask()
        if took < limit_s * PATIENCE:
            return answer
        late.append(took)
    raise AssertionError(f"it took {late} s")


class Steady:
    """A connection from a box to an echo server that is in use all the time."""

    def __init__(self, box, address, port):
        self.popen = box.popen(*python(STEADY, address, port), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
        assert self.popen.stdout.readline() == b"begun\n"

    @classmethod
    def begun(cls, *where):
        """One, or None: there was no connection."""
        with contextlib.suppress(AssertionError):
            return cls(*where)

    def end(self):
        """(round trips, the longest pause in seconds); an AssertionError if it had broken."""
        self.popen.stdin.close()
        line = self.popen.stdout.readline().split()
        assert self.popen.wait(60) == 0 and line, "the connection broke"
        return int(line[0]), float(line[1])


def connects(box, address, port, timeout=0.25):
    """Whether a connection works just now."""
    return box.do(*python(TRY, address, port, timeout)).split()[0] == b"0"


class Hiccups:
    """Measures, inside `with`, for how long the machine let nothing run: a test is not to be late by
    that. lost_s: seconds in all."""

    PAUSE_S = 0.005

    def __init__(self):
        self.lost_s = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def _watch(self):
        last = time.monotonic()
        while not self.over.wait(self.PAUSE_S):
            now = time.monotonic()
            self.lost_s += max(0, now - last - 10 * self.PAUSE_S)
            last = now

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


# --- ssh ------------------------------------------------------------------------------------------


class Sshd:
    """An OpenSSH server of this user on 127.0.0.1, with keys of its own, and how to get in.

    `ssh` leads there, whatever host and user it is asked for, if bin comes first in PATH; `nswrap`
    is there as well, and so it is in the sessions of the server. environment: theirs."""

    def __init__(self, directory, prefix=(), session="", address="127.0.0.1", **environment):
        """prefix: words in front of the server's; session: a line of sshd_config for sessions."""
        self.address = address
        self.directory = pathlib.Path(directory, "ssh")
        self.bin = self.directory / "bin"
        self.bin.mkdir(parents=True)
        self.port = free_port()
        os.symlink(BINARY, self.bin / "nswrap")
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.directory / name],
                           check=True)
        self._write_configs({"PATH": f"{self.bin}:{os.environ['PATH']}", **environment}, session)
        self.log = self.directory / "log"
        self.popen = subprocess.Popen(
            [*prefix, "/usr/sbin/sshd", "-D", "-f", self.directory / "sshd_config", "-E", self.log])
        wait_for(lambda: self.popen.poll() is None and self._listens(), f"sshd: {self.log}")

    def _write_configs(self, environment, session):
        where = self.directory
        (where / "sshd_config").write_text(f"""
            ListenAddress {self.address}:{self.port}
            HostKey {where}/host
            AuthorizedKeysFile {where}/user.pub
            StrictModes no
            UsePAM no
            PasswordAuthentication no
            PidFile {where}/pid
            LogLevel DEBUG
            SetEnv {" ".join(f'"{k}={v}"' for k, v in environment.items())}
            {session}
        """)
        (where / "ssh_config").write_text(f"""
            Host *
                User {getpass.getuser()}
                HostName {self.address}
                Port {self.port}
                IdentityFile {where}/user
                IdentitiesOnly yes
                BatchMode yes
                StrictHostKeyChecking accept-new
                UserKnownHostsFile {where}/known_hosts
                LogLevel ERROR
        """)
        ssh = self.bin / "ssh"
        # the first user counts
        ssh.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {where}/ssh_config -l {getpass.getuser()} "$@"\n')
        ssh.chmod(0o755)

    def _listens(self):
        return not harness.is_refused(self.port)

    def sessions(self):
        """Pids of the server's processes that serve somebody: a monitor, and its child that has the
        connection."""
        return harness.called("sshd", self.below())

    def kill_session(self):
        """Kill the one that has the only connection."""
        table = harness.process_table()
        [pid] = [pid for pid in self.sessions() if table[pid][0] != self.popen.pid]
        os.kill(pid, signal.SIGKILL)

    def below(self):
        """Pids of all that runs by way of this server."""
        return descendants(self.popen.pid)

    def close(self):
        self.popen.terminate()
        self.popen.wait(10)


@contextlib.contextmanager
def sshd(directory, **environment):
    server = Sshd(directory, **environment)
    try:
        yield server
    finally:
        server.close()
