# SPDX-License-Identifier: Apache-2.0
"""e2e/harness - start the real nswrap, wait for conditions, look at what the kernel knows of it.

Nothing here sleeps for a fixed time: wait_for() polls a condition until it holds or time is over.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import pathlib
import pty
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ.get("NSWRAP", TREE / "nswrap"))
# the static file for hosts of a mesh
AGENT = str(pathlib.Path(BINARY).with_name(f"nswrap-agent-{os.uname().machine}"))
PYTHON = sys.executable
SANITIZED = b"__asan_init" in pathlib.Path(BINARY).read_bytes() if os.path.exists(BINARY) else False


class Patience:
    """How much longer than a moment a moment may take: a factor for times, just now."""

    def __mul__(self, seconds):
        """Under sanitizers, and while the machine has more to do than it has processors for."""
        busy = os.getloadavg()[0] / len(os.sched_getaffinity(0))
        return seconds * (3 if SANITIZED else 1) * min(max(busy, 1), 8)

    __rmul__ = __mul__


PATIENCE = Patience()
STALL_S = 5


def wait_for(condition, what="the condition", timeout=10):
    """The first true value of condition(); an AssertionError naming what when time is over."""
    # a factor does not know of a processor that somebody has just taken away
    end = time.monotonic() + timeout * PATIENCE + STALL_S
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s in vain for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def remove_tree(path):
    """All of it, although what has been killed may still be taking files of its own away."""
    def removed():
        shutil.rmtree(path, ignore_errors=True)
        return not os.path.lexists(path)

    wait_for(removed, f"{path} to be gone", 5)


def full_pipe():
    """(read end, write end) of a pipe with no room in it."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    return read, write


# --- ports and clients ---------------------------------------------------------------------------


# The kernel chooses from above these for connections (ip_local_port_range), and others for
# themselves: what is free here stays free until the test takes it, in all likelihood.
FREE_PORTS = range(10000, 32000)
BLOCK = 500


def is_free(port, address="127.0.0.1", kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as s:
        if s.family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            s.bind((address, port))
        except OSError as error:
            return error.errno == errno.EADDRNOTAVAIL
    return True


# of a mesh's own, which a manifest may not offer
MESH_NAMES_PORT = 10053


def is_bound(port, udp=False, pid="self"):
    """Whether a socket of that process's network is bound to port (and listens, for TCP)."""
    for family in ("", "6"):
        table = pathlib.Path(f"/proc/{pid}/net/{'udp' if udp else 'tcp'}{family}")
        for row in table.read_text().splitlines()[1:]:
            fields = row.split()
            if int(fields[1].rsplit(":", 1)[1], 16) == port and (udp or fields[3] == "0A"):
                return True
    return False


def is_free_everywhere(port):
    """At every address, TCP and UDP: tests want it for more than one of them."""
    return port != MESH_NAMES_PORT and all(is_free(port, address, kind) for address in ("0.0.0.0", "::")
               for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM))


class Ports:
    """Ports in their order, each once, from blocks that no other run on this host has at the time.

    A block is had by a name among abstract sockets, which ends with the process."""

    def __init__(self):
        self._names = []
        self._rest = []

    def take(self, n):
        """n successive free ports; the first."""
        assert n <= BLOCK, n
        while True:
            while len(self._rest) < n:
                self._rest = self._block()
            ports, self._rest = self._rest[:n], self._rest[n:]
            if all(map(is_free_everywhere, ports)):
                return ports[0]

    def _block(self):
        firsts = list(FREE_PORTS[::BLOCK])
        random.SystemRandom().shuffle(firsts)
        for first in firsts:
            name = socket.socket(socket.AF_UNIX)
            try:
                name.bind(f"\0nswrap-tests-ports-{first}")
            except OSError:
                name.close()
                continue
            self._names.append(name)
            return range(first, first + BLOCK)
        raise AssertionError("other runs have all ports")


PORTS = Ports()


def free_port():
    """A port of the host that nobody has, at any address, and no other call of this run gives."""
    return PORTS.take(1)


def free_ports(n):
    """n successive ones; the first."""
    return PORTS.take(n)


def connect(port, host="127.0.0.1", timeout=10):
    s = socket.create_connection((host, port), timeout=timeout * PATIENCE)
    return s


def hub_dir():
    """Where this user's nswraps meet without XDG_RUNTIME_DIR: not at the first name if that is somebody else's."""
    first = pathlib.Path(f"/tmp/nswrap-{os.getuid()}")
    own = [path for path in (first, *first.parent.glob(f"{first.name}-*"))
           if path.exists() and path.lstat().st_uid == os.getuid()]
    return own[0] if own else first


def is_refused(port, host="127.0.0.1"):
    """True if a connection is refused, False if somebody takes it, or stops listening meanwhile."""
    try:
        with socket.create_connection((host, port), timeout=5):
            return False
    except ConnectionResetError:
        return False
    except ConnectionRefusedError:
        return True


def read_all(s):
    """What comes until the end of the stream."""
    parts = []
    while part := s.recv(65536):
        parts.append(part)
    return b"".join(parts)


def exchange(port, data, host="127.0.0.1"):
    """Send data and the end of the stream, return all that comes back."""
    with connect(port, host) as s:
        sender = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
        sender.start()
        answer = read_all(s)
        sender.join()
        return answer


def http_get(port, path="/", host="127.0.0.1"):
    """(status, body); no proxy, no redirects, nothing kept."""
    import http.client

    client = http.client.HTTPConnection(host, port, timeout=10 * PATIENCE)
    with contextlib.closing(client):
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.read()


def other_user():
    """Words in front of a command that make it another user's, without any right, on the same host."""
    words = ["unshare", "-U", "--map-auto", "--setuid", "5", "--setgid", "5"]
    made = subprocess.run([*words, "cat", "/proc/self/uid_map"], capture_output=True)
    if made.returncode != 0:
        import pytest

        pytest.skip(f"no subordinate ids for this user (newuidmap): {made.stderr}")
    assert int(made.stdout.split()[1]) != os.getuid()
    return words


# --- programs for the inside (python -c); argv is what follows ---------------------------------

# sends back what it gets and passes the end of the stream on; argv: address port
TCP_ECHO = """
import socket, sys, threading
def serve(c):
    with c:
        while data := c.recv(65536):
            c.sendall(data)
host, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ':' in host else socket.AF_INET
with socket.create_server((host, port), family=family, backlog=1024) as server:
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""

def clients(listener):
    """Each one that comes, until the listener is closed, which may be done by another thread.

    One that waits in accept(2) would not see that, and take the clients of whatever has that number then."""
    with contextlib.suppress(OSError, ValueError):
        while True:
            if select.select([listener], [], [], 0.1)[0]:
                yield listener.accept()[0]


# answers with the address it sees the client at; argv: address port
TCP_PEER = """
import socket, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
with socket.create_server((sys.argv[1], int(sys.argv[2])), family=family) as server:
    while True:
        c, peer = server.accept()
        with c:
            c.sendall(peer[0].encode())
"""

# reads to the end of the stream, only then answers with what it got and closes; argv: address port
TCP_COUNT = """
import hashlib, socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    while True:
        c, _ = server.accept()
        with c:
            digest, n = hashlib.sha256(), 0
            while data := c.recv(65536):
                digest.update(data)
                n += len(data)
            c.sendall(b'%d %s' % (n, digest.hexdigest().encode()))
"""

# ends its own direction at once and prints how much it got after that; argv: address port
TCP_HALF = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    c, _ = server.accept()
    with c:
        c.sendall(b'bye')
        c.shutdown(socket.SHUT_WR)
        n = 0
        while data := c.recv(65536):
            n += len(data)
        print(n, flush=True)
"""

# argv: address port
UDP_ECHO = """
import socket, sys
host = sys.argv[1]
s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((host, int(sys.argv[2])))
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(b'%s %d ' % (peer[0].encode(), peer[1]) + data, peer)
"""

# argv: address port
HTTP = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = b'path ' + self.path.encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""


def python(program, *args):
    """A command line that runs program (a text of the above) with args; by Python alone, without what the
    machine has added to it, which costs more than the start."""
    return [PYTHON, "-I", "-S", "-c", program, *map(str, args)]


# --- /proc -------------------------------------------------------------------------------------


def proc_status(pid):
    """/proc/PID/status as a dict of strings; None when there is no such process."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return {k: v.strip() for k, _, v in (line.partition(":") for line in text.splitlines())}


def is_alive(pid):
    """There is such a process and it is no zombie."""
    status = proc_status(pid)
    return status is not None and not status["State"].startswith(("Z", "X"))


def process_table():
    """{pid: (ppid, state, comm)} of everything that runs."""
    table = {}
    # each test looks some times at some hundred of them: without pathlib, and bytes
    for entry in os.listdir(b"/proc"):
        if not entry.isdigit():
            continue
        try:
            fd = os.open(b"/proc/%s/stat" % entry, os.O_RDONLY)
        except (FileNotFoundError, ProcessLookupError):
            continue
        try:
            head, _, rest = os.read(fd, 4096).rpartition(b") ")
        except ProcessLookupError:
            continue
        finally:
            os.close(fd)
        state, ppid, _ = rest.split(b" ", 2)
        table[int(entry)] = (int(ppid), state.decode(), os.fsdecode(head.partition(b"(")[2]))
    return table


def descendants(pid, table=None):
    """Processes below pid, parents first; table: a process_table() of now."""
    table = table or process_table()
    found = [pid]
    for parent in found:
        found += [child for child, row in table.items() if row[0] == parent]
    return found[1:]


def called(name, pids):
    """Those of pids that the kernel calls name, and that are no zombies."""
    table = process_table()
    return [pid for pid in pids if pid in table and table[pid][1] != "Z" and table[pid][2] == name]


def cpu_ticks(pid):
    """What a process has used of the processor, in ticks."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return sum(map(int, text.rsplit(")", 1)[1].split()[11:13]))


def describe(pid):
    try:
        args = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (OSError, UnicodeDecodeError):
        args = "?"
    status = proc_status(pid)
    return f"{pid} {status['State'] if status else 'gone'} {status['Name'] if status else ''}: {args}"


def open_fds(pid):
    """{number: target} of what pid has open."""
    found = {}
    for entry in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(entry)] = os.readlink(f"/proc/{pid}/fd/{entry}")
    return found


def settled_fds(pid):
    """How many pid has open, once that changes no more: what it asked others for at its start comes later."""
    counts = [-2, -1]

    def is_settled():
        time.sleep(0.2 * PATIENCE)
        counts.append(len(open_fds(pid)))
        return counts[-1] == counts[-2] == counts[-3]

    wait_for(is_settled, "an end of new descriptors")
    return counts[-1]


def rights(pid):
    """Capability sets as numbers, and no_new_privs and seccomp."""
    status = proc_status(pid)
    caps = {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    return {**caps, "NoNewPrivs": int(status["NoNewPrivs"]), "Seccomp": int(status["Seccomp"])}


def namespace(pid, kind):
    return os.readlink(f"/proc/{pid}/ns/{kind}")


# --- nothing may stay behind ---------------------------------------------------------------------

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper():
    """Orphans of what we start come to us: what is left of a test can always be found."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def left_below(known, started=()):
    """Processes below us but for those in known, once zombies that came to us are collected; those of known and
    started are their Popen's business."""
    table = process_table()
    collected = set()
    for pid, (ppid, state, _) in table.items():
        if ppid == os.getpid() and state == "Z" and pid not in known and pid not in started:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            collected.add(pid)
    return [pid for pid in descendants(os.getpid(), table) if pid not in known and pid not in collected]


# --- the program -----------------------------------------------------------------------------------


class Lines:
    """The lines of a stream, read by a thread as they come."""

    def __init__(self, fd):
        self.lines = []
        self.ended = False
        self._thread = threading.Thread(target=self._read, args=(fd,), daemon=True)
        self._thread.start()

    def _read(self, fd):
        with open(fd, "rb", buffering=0) as raw:
            rest = b""
            while part := raw.read(65536):
                *whole, rest = (rest + part).split(b"\n")
                self.lines += [line.decode(errors="replace") for line in whole]
            if rest:
                self.lines.append(rest.decode(errors="replace"))
        self.ended = True

    def join(self, timeout=10):
        self._thread.join(timeout * PATIENCE)

    def text(self):
        return "\n".join(self.lines)


class Running:
    """One nswrap that was started; stdin, stdout are raw pipes, stderr and events are collected."""

    def __init__(self, popen, stderr, info):
        self.popen = popen
        self.pid = popen.pid
        self.stdin = popen.stdin
        self.stdout = popen.stdout
        self.stderr = stderr
        self._info = info

    @property
    def events(self):
        """What came on --info-fd so far."""
        return [json.loads(line) for line in list(self._info.lines)]

    def _gone(self):
        return self.popen.poll() is not None and self.stderr.ended

    def wait_event(self, kind, n=1, timeout=15):
        """The nth event of a kind."""

        def look():
            is_over = self._info.ended  # before the lines: the last one may come meanwhile
            found = [e for e in self.events if e["event"] == kind]
            if len(found) < n and is_over:
                raise AssertionError(f"no event {kind!r}; nswrap said: {self.stderr.text()}")
            return found[n - 1] if len(found) >= n else None

        return wait_for(look, f"event {kind!r}", timeout)

    def wait_line(self, pattern, timeout=10):
        """The first line on stderr in which pattern is found."""

        def look():
            is_over = self._gone()
            for line in list(self.stderr.lines):
                if re.search(pattern, line):
                    return line
            if is_over:
                raise AssertionError(f"no line {pattern!r} in: {self.stderr.text()}")
            return None

        return wait_for(look, f"a line {pattern!r}", timeout)

    def wait_lines(self, pattern, n, timeout=10):
        """The lines on stderr in which pattern is found, as soon as there are n; they are read by
        a thread of its own, so what has been written may not be here yet."""

        def look():
            found = [line for line in list(self.stderr.lines) if re.search(pattern, line)]
            return found if len(found) >= n else None

        return wait_for(look, f"{n} lines {pattern!r}", timeout)

    def host_port(self, n=1):
        """Where the nth forward listens on the host."""
        return self.wait_event("forward", n)["host_port"]

    def guest_listening(self, n=1):
        """Wait until the guest listens on the port of n forwards."""
        return self.wait_event("guest-listening", n)

    def read_line(self):
        """One line of COMMAND's stdout."""
        return self.stdout.readline().decode().rstrip("\n")

    def wait(self, timeout=20):
        """Exit status as a shell shows it."""
        code = self.popen.wait(timeout * PATIENCE)
        # its last words; who else has it may go on. In pieces: the reader may not have had its turn yet
        for _ in range(10):
            self.stderr.join(0.05)
        return code if code >= 0 else 128 - code

    def signal(self, number):
        os.kill(self.pid, number)

    def stop(self):
        """SIGTERM and the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def tree(self):
        """Everything below the supervisor."""
        return descendants(self.pid)

    def _child(self, test):
        return wait_for(lambda: next((p for p in self.tree() if test(p) and is_alive(p)), None), "a process of nswrap")

    def command_pid(self):
        """COMMAND: the first process below init in the other network that is not nswrap's own."""

        def look():
            inits = [p for p in self.tree() if self._is_init(p)]
            below = descendants(inits[0]) if inits else []
            return below[0] if below and not self._is_own(below[0]) else None

        return wait_for(look, "COMMAND")

    def init_pid(self):
        return self._child(self._is_init)

    def net_pid(self):
        return self._child(lambda p: self._title(p).startswith("nswrap: net"))

    @staticmethod
    def _title(pid):
        with contextlib.suppress(OSError):
            return pathlib.Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
        return ""

    def _is_own(self, pid):
        return self._title(pid).startswith("nswrap") or (proc_status(pid) or {}).get("Name") == "nswrap"

    def _is_init(self, pid):
        return self._title(pid).startswith("nswrap: init")


class Nswrap:
    """Starts nswrap with a runtime directory of its own and remembers what it started."""

    def __init__(self, runtime_dir, prefix=()):
        self.runtime_dir = pathlib.Path(runtime_dir)
        self.prefix = list(prefix)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("NSWRAP")}
        self.env["XDG_RUNTIME_DIR"] = str(runtime_dir)
        for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "NOTIFY_SOCKET"):
            self.env.pop(name, None)
        self.started = []

    def popen(self, *args, env=None, prefix=None, program=BINARY, **options):
        """subprocess.Popen of nswrap, or of program, with these arguments."""
        line = [*(self.prefix if prefix is None else prefix), program, *map(str, args)]
        popen = subprocess.Popen(line, env={**self.env, **(env or {})}, **options)
        self.started.append(popen)
        return popen

    def start(self, *args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pass_fds=(), **options):
        """Start `nswrap --info-fd N ARGS...` and return a Running at once."""
        info_read, info_write = os.pipe()
        err_read, err_write = os.pipe()
        try:
            popen = self.popen(
                "--info-fd", info_write, *args, stdin=stdin, stdout=stdout, stderr=err_write,
                pass_fds=(info_write, *pass_fds), **options)
        finally:
            os.close(info_write)
            os.close(err_write)
        return Running(popen, Lines(err_read), Lines(info_read))

    def run(self, *args, input=b"", timeout=30, **options):
        """Run to the end: a CompletedProcess with bytes; returncode as a shell shows it."""
        popen = self.popen(
            *args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        try:
            out, err = popen.communicate(input, timeout=timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            popen.kill()
            raise
        code = popen.returncode if popen.returncode >= 0 else 128 - popen.returncode
        return subprocess.CompletedProcess(popen.args, code, out, err)

    def lines_on_terminal(self, columns, *words):
        """What a command prints on a terminal of that width."""
        pid, fd = pty.fork()
        if pid == 0:
            line = f"stty cols {columns}; exec {BINARY} {' '.join(words)}"
            os.execve("/bin/sh", ["sh", "-c", line], self.env)
        output = b""
        with contextlib.suppress(OSError):
            while part := os.read(fd, 65536):
                output += part
        os.close(fd)
        os.waitpid(pid, 0)
        return output.decode().splitlines()

    def registry(self):
        """Files in nswrap's runtime directory."""
        return sorted(str(p.relative_to(self.runtime_dir)) for p in self.runtime_dir.rglob("*")
                      if not p.is_dir())

    def is_of_killed_agent(self, name):
        """The socket of an agent, or of an end of a tunnel, that SIGKILL has ended, under its name
        or the one it begins with; the next one takes it away."""
        path = self.runtime_dir / name
        is_ours = path.parent.name == "tunnel" or path.name.startswith(("agent-", "sandbox-agent-")) or (
            path.name.startswith(".nswrap-") and any(p.returncode == -signal.SIGKILL for p in self.started))
        if not is_ours:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            return s.connect_ex(str(path)) == errno.ECONNREFUSED

    def close(self):
        """Ask what still runs to end; by SIGKILL if it does not."""
        for popen in self.started:
            if popen.poll() is None:
                popen.terminate()
        for popen in self.started:
            try:
                popen.wait(15 * PATIENCE)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()
            for pipe in (popen.stdin, popen.stdout, popen.stderr):
                if pipe:
                    with contextlib.suppress(OSError):
                        pipe.close()


# --- an outer "host" -----------------------------------------------------------------------------

OUTER_SETUP = """
set -e
ip link set lo up
ip link add ext0 type veth peer name ext1
ip addr add 192.0.2.10/24 dev ext0
ip -6 addr add 2001:db8::10/64 dev ext0 nodad
ip link set ext1 up
ip link set ext0 up
ip route add default via 192.0.2.1
echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
echo '0 0' >/proc/sys/net/ipv4/ping_group_range
"""


# the other end of the cable is a machine of its own, in the place of ext1
NEIGHBOUR_SETUP = """
exec 3<&0
unshare -n cat <&3 >&2 &
until [ "$(readlink /proc/$!/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
ip link set ext1 netns $!
nsenter -t $! -n sh -ec 'ip link set lo up
ip addr add 192.0.2.1/24 dev ext1
ip -6 addr add 2001:db8::1/64 dev ext1 nodad
ip link set ext1 up'
"""


class OuterHost:
    """A network with addresses, a default route and names of its own, in the place of the host's.

    Made of a user, network and mount namespace, in which setup runs as root; what runs in it by
    prefix() is, one user namespace further in, the same ordinary user as outside, without
    capabilities, who may bind any port.
    """

    address = "192.0.2.10"
    address6 = "2001:db8::10"

    def __init__(self, directory, setup=""):
        """setup: more shell lines, run with all capabilities over the three namespaces."""
        self._popens = []
        self.directory = pathlib.Path(directory)
        script = OUTER_SETUP + setup + "\necho ready\nexec cat\n"
        self.holder = subprocess.Popen(
            ["unshare", "-U", "-r", "-n", "-m", "sh", "-c", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if self.holder.stdout.readline() != b"ready\n":
            raise AssertionError(f"no outer host: {self.holder.communicate()[1].decode()}")

    def prefix(self):
        return ["nsenter", "-t", str(self.holder.pid), "-U", "-n", "-m", "--preserve-credentials",
                "--", "unshare", "-U", f"--map-user={os.getuid()}", f"--map-group={os.getgid()}", "--"]

    def popen(self, *command, **options):
        """Start a command on the outer host; it is ended with it."""
        popen = subprocess.Popen([*self.prefix(), *map(str, command)], **options)
        self._popens.append(popen)
        return popen

    def run(self, *command, **options):
        options.setdefault("timeout", 30 * PATIENCE)
        return subprocess.run([*self.prefix(), *map(str, command)], capture_output=True, **options)

    def neighbour(self):
        """Words in front of a command that let it run on the neighbour (NEIGHBOUR_SETUP), as root."""
        pid = next(p for p, (parent, _, comm) in process_table().items()
                   if parent == self.holder.pid and comm == "cat")
        return ["nsenter", "-t", str(pid), "-U", "-n", "--preserve-credentials", "--"]

    def serve(self, program, address, port, udp=False):
        """Start one of the programs above on the outer host, and wait until it listens."""
        popen = self.popen(*python(program, address, port))
        wait_for(lambda: self.is_bound(port, udp), f"a server on {address} port {port}")
        return popen

    def is_bound(self, port, udp=False):
        return is_bound(port, udp, self.holder.pid)

    def close(self):
        for popen in self._popens:
            popen.kill()
            popen.wait()
        self.holder.stdin.close()
        self.holder.stdout.close()
        self.holder.stderr.close()
        self.holder.wait(10)


class Behind:
    """An OuterHost and the machine behind it, NEIGHBOUR_SETUP's, whose programs start here."""

    def __init__(self, outer, setup=""):
        self.machine = outer(NEIGHBOUR_SETUP + setup)
        self.popens = []

    def serve(self, program, *args, udp=False):
        """Run a program of the harness on the far machine, until it is bound."""
        popen = subprocess.Popen([*self.machine.neighbour(), *python(program, *args)],
                                 stdin=subprocess.DEVNULL)
        self.popens.append(popen)
        look = [*self.machine.neighbour(), "ss", "-Hln", "-u" if udp else "-t"]
        wait_for(lambda: re.search(rf":{args[1]}\s", subprocess.run(
            look, capture_output=True, check=True, text=True).stdout), f"port {args[1]}")
        return popen

    def close(self):
        for popen in self.popens:
            popen.kill()
            popen.wait()


# a name server: every A question gets 192.0.2.77, AAAA 2001:db8::77; argv: address port
NAME_SERVER = """
import socket, struct, sys
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
while True:
    ask, peer = s.recvfrom(4096)
    end = 12
    while ask[end]:
        end += ask[end] + 1
    kind = struct.unpack('!H', ask[end + 1:end + 3])[0]
    data = {1: socket.inet_aton('192.0.2.77'),
            28: socket.inet_pton(socket.AF_INET6, '2001:db8::77')}.get(kind, b'')
    answer = b'\\xc0\\x0c' + struct.pack('!HHIH', kind, 1, 60, len(data)) + data if data else b''
    head = ask[:2] + struct.pack('!HHHHH', 0x8180, 1, 1 if data else 0, 0, 0)
    s.sendto(head + ask[12:end + 5] + answer, peer)
"""
