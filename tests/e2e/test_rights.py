# SPDX-License-Identifier: Apache-2.0
"""e2e/test_rights - what COMMAND and each process of nswrap may do, and what they may not"""

import json
import os
import pty
import re
import resource
import signal
import socket
import subprocess

import pytest

from harness import (
    BINARY, PATIENCE, SANITIZED, TCP_ECHO, UDP_ECHO, called, descendants, python, rights, wait_for)
from tools import Roles, tool

NO_CAPS = {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapBnd": 0, "CapAmb": 0}
MODES = pytest.mark.parametrize(
    "options", [[], ["--pid"], ["--new-session"], ["--network", "none"]], ids=" ".join)

# prints what a process was started with, as JSON; argv: numbers of descriptors to look at
SELF = """
import fcntl, json, os, resource, signal, sys
status = dict(line.split(':\\t', 1) for line in open('/proc/self/status') if ':\\t' in line)
fds = sorted(int(f) for f in os.listdir('/proc/self/fd'))
def is_open(fd):
    try:
        os.fstat(fd)
        return True
    except OSError:
        return False
print(json.dumps({
    'fds': [fd for fd in fds if is_open(fd)],
    'uid': os.getresuid(), 'gid': os.getresgid(), 'groups': os.getgroups(),
    'nofile': resource.getrlimit(resource.RLIMIT_NOFILE),
    'umask': status['Umask'].strip(), 'cwd': os.getcwd(), 'oom': open('/proc/self/oom_score_adj').read(),
    **{k: int(status[k], 16) for k in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'SigBlk',
                                       'SigIgn', 'SigPnd')},
    'nnp': int(status['NoNewPrivs']), 'seccomp': int(status['Seccomp']),
}))
"""


def look(*prefix, **options):
    """SELF as it sees itself at the end of a command line."""
    line = [*map(str, prefix), *python(SELF)]
    out = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, check=True, **options)
    return json.loads(out.stdout)


def look_inside(nswrap, *options, **more):
    result = nswrap.run("-q", *options, "--", *python(SELF), **more)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


# --- COMMAND -----------------------------------------------------------------------------------------


@MODES
def test_command_has_no_capability(nswrap, options):
    inside = look_inside(nswrap, *options)
    assert {k: inside[k] for k in NO_CAPS} == NO_CAPS
    assert inside["nnp"] == 1


@MODES
def test_command_is_the_caller(nswrap, options):
    inside, outside = look_inside(nswrap, *options), look()
    for key in ("uid", "gid", "umask", "cwd", "oom", "SigIgn", "SigBlk", "SigPnd"):
        assert inside[key] == outside[key], key


def test_command_has_three_descriptors(nswrap):
    inside = look_inside(nswrap)
    assert inside["fds"] == [0, 1, 2]


def test_stray_descriptors_stay_outside(nswrap, short_dir):
    """Also those the caller forgot to close, with every option that opens some."""
    path = os.path.join(short_dir, "s")
    with open("/dev/null", "rb") as one, socket.socket() as two:
        for fd in (one.fileno(), two.fileno()):
            os.set_inheritable(fd, True)
        high = os.dup2(one.fileno(), 987, inheritable=True)
        inside = look_inside(nswrap, "-p", 0, "-P", 7000, "-f", f"unix:{path}:7001",
                             "--pcap", os.path.join(short_dir, "pcap"), close_fds=False)
        os.close(high)
    assert inside["fds"] == [0, 1, 2]


def test_kept_descriptors(nswrap):
    read, write = os.pipe()
    inside = look_inside(nswrap, "--keep-fd", write, pass_fds=(read, write))
    assert inside["fds"] == [0, 1, 2, write]
    result = nswrap.run("-q", "--keep-fd", write, "--",
                        *python("import os, sys; os.write(int(sys.argv[1]), b'kept')", write),
                        pass_fds=(read, write))
    os.close(write)
    assert result.returncode == 0, result.stderr
    with os.fdopen(read, "rb") as stream:
        assert stream.read() == b"kept"


def test_limit_of_descriptors_is_the_callers(nswrap):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    def lower():
        resource.setrlimit(resource.RLIMIT_NOFILE, (123, hard - 1))

    assert look_inside(nswrap, preexec_fn=lower)["nofile"] == [123, hard - 1]


def test_signals_are_the_callers(nswrap):
    """nohup's SIGHUP stays ignored, what was blocked stays blocked, nothing else is."""
    ignored = {signal.SIGHUP, signal.SIGUSR2}

    def change():
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR1})

    inside = look_inside(nswrap, preexec_fn=change)
    assert inside["SigBlk"] == 1 << (signal.SIGUSR1 - 1)
    plain = look(preexec_fn=change)
    assert inside["SigIgn"] == plain["SigIgn"] and inside["SigIgn"] & 1


# --- --root ------------------------------------------------------------------------------------------


def test_root_is_root_of_its_own(nswrap):
    inside = look_inside(nswrap, "--root")
    assert inside["uid"] == [0, 0, 0] and inside["gid"] == [0, 0, 0]
    assert inside["CapEff"] != 0 and inside["nnp"] == 1
    assert inside["fds"] == [0, 1, 2]


def test_root_may_set_up_its_network(nswrap):
    result = nswrap.run("-q", "--root", "-c", "ip addr add 192.0.2.1/24 dev lo && ip addr")
    assert result.returncode == 0 and b"192.0.2.1/24" in result.stdout, result.stderr


@pytest.mark.parametrize("script", [
    ": >>/etc/passwd",
    "mknod /tmp/nse.node b 7 0",
    "echo 1 >/proc/sys/kernel/panic",
    "kill -0 1",
    "nsenter -t 1 -n true",
    "chown 65534 /etc/passwd",
])
def test_root_is_nobody_outside(nswrap, script):
    result = nswrap.run("-q", "--root", "-c", script)
    assert result.returncode != 0, script


UNCOVER = """
ls -A {0}; umount {0}; umount -l {0}; ls -A {0}; ls -A {0}/../nswrap
mount -t tmpfs mine /mnt && cd /mnt && mkdir a b u w m
mount --move {0} b; ls -A {0}
mount --bind {0}/.. a; mount --rbind {0}/.. b; umount b/nswrap; ls -A a/nswrap b/nswrap
mount -t overlay -o lowerdir={0}/..,upperdir=u,workdir=w o m; ls -A m/nswrap
unshare -m sh -c 'umount {0}; ls -A {0}'
mount --rbind / a && cd a && pivot_root . mnt && chroot . sh -c 'umount {0}; umount -l /mnt; ls -A {0}'
"""


@pytest.mark.parametrize("options, prefix", [
    ([], []),
    ([], ["unshare", "-Urm"]),
    (["--root"], []),
    (["--root", "--pid"], []),
    (["--root"], ["unshare", "-Urm"]),
], ids=["plain", "nested", "root", "root-pid", "root-nested"])
def test_runtime_directory_is_hidden(nswrap, options, prefix):
    """COMMAND cannot talk to nswrap, or to another sandbox."""
    other = nswrap.start("-n", "other", "sleep", 60)
    other.wait_event("started")
    directory = nswrap.runtime_dir / "nswrap"
    assert (directory / "other.sock").exists()
    script = UNCOVER.format(directory)
    result = nswrap.run("-q", *options, "-n", "me", "--", *prefix, "sh", "-c", script)
    assert b"sock" not in result.stdout, result.stderr


LOOK_AT_PROC = "umount /proc; umount -l /proc; mount --move /proc /mnt; ls /proc /mnt"


def test_proc_of_the_host_stays_covered(nswrap):
    """... and what root inside may do with mounts it still may."""
    outside = str(os.getpid())
    assert outside in os.listdir("/proc")
    result = nswrap.run("-q", "--pid", "--root", "-c", LOOK_AT_PROC)
    numbers = [int(word) for word in result.stdout.split() if word.isdigit()]
    assert 1 in numbers and max(numbers) < 100 and len(numbers) < 10, result.stdout
    mine = "set -e; pwd; mount -t tmpfs x /mnt; mount -t proc x /mnt; umount /mnt; umount /mnt;" \
           "mount --bind /usr /mnt; mount -o remount,bind,ro /mnt; mount -o remount,bind,ro,suid /mnt;" \
           "ip link set lo mtu 1400"
    result = nswrap.run("--pid", "--root", "-c", mine, cwd=nswrap.runtime_dir)
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode().strip() == os.path.realpath(nswrap.runtime_dir)


@pytest.mark.parametrize("arguments", [
    ["ps"], ["port", "add", "other", "0:80"], ["stop", "other"], ["exec", "other", "true"]])
def test_root_inside_is_not_heard(nswrap, arguments):
    """A descriptor of the directory outside leads around the cover; the control sockets refuse all the same."""
    other = nswrap.start("-n", "other", "sleep", 60)
    other.wait_event("started")
    outside = os.open(nswrap.runtime_dir, os.O_RDONLY)
    place = f"/proc/$$/fd/{outside}"
    words = " ".join([f"XDG_RUNTIME_DIR={place}", BINARY, *arguments])
    result = nswrap.run("-q", "--root", "--keep-fd", outside, "-n", "me", "-c",
                        f"ls {place}/nswrap/other.sock && {words}", pass_fds=[outside])
    os.close(outside)
    assert b"other.sock" in result.stdout, "the cover is off"
    assert b"sleep" not in result.stdout and (arguments == ["ps"] or result.returncode != 0)
    assert other.popen.poll() is None


# --- nswrap's own processes ----------------------------------------------------------------------------


@pytest.fixture
def sandbox(nswrap):
    def start(*options):
        running = nswrap.start(*options, "-p", 0, "-P", 7000, "--", tool("guest"), 7000)
        running.guest_listening()
        return running, Roles(running)

    return start


@pytest.mark.parametrize("options", [[], ["--root"], ["--pid"]], ids=["plain", "root", "pid"])
def test_processes_have_no_rights(sandbox, options):
    _, roles = sandbox(*options)
    for pid in (roles.init, roles.net):
        found = rights(pid)
        assert {k: found[k] for k in NO_CAPS} == NO_CAPS
        assert found["NoNewPrivs"] == 1
    assert rights(roles.net)["Seccomp"] == 2
    supervisor = rights(roles.supervisor)
    assert supervisor["NoNewPrivs"] == 1
    assert supervisor["CapPrm"] == supervisor["CapEff"] == supervisor["CapAmb"] == 0


@pytest.mark.parametrize("role", ["init", "net"])
def test_processes_hide_from_their_user(sandbox, role):
    """Not dumpable: who is the same user cannot look into them or take them over."""
    _, roles = sandbox()
    pid = getattr(roles, role)
    for name in ("fd", "mem", "maps", "environ", "root", "cwd"):
        with pytest.raises(PermissionError):
            path = f"/proc/{pid}/{name}"
            os.listdir(path) if name in ("fd", "root", "cwd") else open(path, "rb").read(1)


# tries to attach to the processes that are named; argv: pids
ATTACH = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for pid in map(int, sys.argv[1:]):
    ok = libc.ptrace(0x4206, pid, None, None) == 0  # PTRACE_SEIZE
    seen = []
    for look in (lambda: os.readlink(f'/proc/{pid}/fd/0'), lambda: open(f'/proc/{pid}/mem'),
                 lambda: os.readlink(f'/proc/{pid}/ns/net'), lambda: os.readlink(f'/proc/{pid}/root')):
        try:
            seen.append(look())
        except OSError:
            pass
    print('attached' if ok else 'not', 'seen' if seen else 'unseen', flush=True)
"""


@pytest.mark.parametrize("options", [[], ["--root"]], ids=["plain", "root"])
def test_command_cannot_take_nswrap_over(nswrap, options):
    running = nswrap.start(*options, "-p", 0, "-P", 7000, "--", "sh", "-c", 'read pids; exec "$@" $pids',
                           "sh", *python(ATTACH), stdin=subprocess.PIPE)
    running.wait_event("started")
    roles = Roles(running)
    running.stdin.write(f"{roles.supervisor} {roles.init} {roles.net}\n".encode())
    running.stdin.flush()
    assert [running.read_line() for _ in range(3)] == ["not unseen"] * 3


def test_who_has_less_rights_cannot_take_the_supervisor_over(nswrap):
    """Nor any task that has its memory: what the kernel compares are the rights of each."""
    running = nswrap.start("sleep", "1000", prefix=["unshare", "-Ur"])
    running.wait_event("started")
    witness = wait_for(lambda: called("nswrap: witness", descendants(running.pid)), "the witness")
    tasks = [*map(int, os.listdir(f"/proc/{running.pid}/task")), *witness]
    assert len(tasks) == (2 if SANITIZED else 3) and rights(running.pid)["CapEff"] != 0
    words = ["nsenter", "-t", str(running.pid), "-U", "--preserve-credentials", "setpriv", "--bounding-set=-all",
             "--inh-caps=-all", "--ambient-caps=-all"]
    found = subprocess.run([*words, *python(ATTACH, *tasks)], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert found.stdout.decode().splitlines() == ["not unseen"] * len(tasks), found
    running.stop()


# --- the net process, as root of an outer user namespace sees it ------------------------------------------


def as_outer_root(host, program, *args):
    result = subprocess.run(
        ["nsenter", "-t", str(host.holder.pid), "-U", "--preserve-credentials", "--",
         *python(program, *args)], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


TREE_OF = """
import os, sys
root = f'/proc/{sys.argv[1]}/root'
for path, dirs, files in os.walk(root):
    for name in dirs + files:
        print(os.path.join(path, name)[len(root):])
"""

FDS_OF = """
import contextlib, os, sys
for fd in os.listdir(f'/proc/{sys.argv[1]}/fd'):
    with contextlib.suppress(FileNotFoundError):
        print(fd, os.readlink(f'/proc/{sys.argv[1]}/fd/{fd}'))
"""


@pytest.fixture
def nested(nswrap, outer):
    """A sandbox of the root of an outer user namespace, who may look at its processes."""

    def start(*options, **more):
        host = outer()
        prefix = host.prefix()
        running = nswrap.start(*options, "-p", 0, "-P", 7000, "--", tool("guest"), 7000,
                               prefix=prefix[:prefix.index("--") + 1], **more)
        running.guest_listening()
        return host, Roles(running)

    return start


def test_net_process_sees_no_files(nested):
    host, roles = nested()
    assert as_outer_root(host, TREE_OF, roles.net).split() == []


def numbered_descriptors(host, pid):
    """{number: what it is} of a process that hides."""
    lines = as_outer_root(host, FDS_OF, pid).splitlines()
    return {int(fd): target for fd, target in (line.split(" ", 1) for line in lines)}


def descriptors(host, pid):
    """The same; socket:[1] and pipe:[2] without their number."""
    return {fd: re.sub(r":\[\d+\]$", "", target)
            for fd, target in numbered_descriptors(host, pid).items()}


@pytest.mark.parametrize("options", [[], ["--network", "none"]], ids=["outbound", "none"])
def test_net_process_has_few_descriptors(nested, options):
    host, roles = nested(*options)
    found = descriptors(host, roles.net)
    # stdin and stdout are COMMAND's alone
    assert found[0] == found[1] == "/dev/null"
    rest = [target for fd, target in found.items() if fd > 2]
    assert rest.count("/dev/net/tun") == (0 if options else 1)
    assert set(rest) <= {"socket", "pipe", "anon_inode:[eventpoll]", "/dev/net/tun"}


@pytest.mark.parametrize("role", ["net", "init"])
@pytest.mark.parametrize("options", [[], ["--pid"]], ids=["plain", "pid"])
def test_nothing_of_the_callers_stays_open(nested, role, options):
    """The caller's terminal, pipes and files are the supervisor's and COMMAND's, even those to keep."""
    kept = os.memfd_create("kept")
    host, roles = nested("--keep-fd", kept, *options, pass_fds=[kept])
    os.close(kept)
    callers = numbered_descriptors(host, roles.supervisor)
    streams = {callers[fd] for fd in (0, 1, 2)} - {"/dev/null"}
    assert streams
    found = numbered_descriptors(host, getattr(roles, role))
    assert found[0] == found[1] == "/dev/null" and found[2].startswith("pipe:")
    assert not streams & set(found.values())
    assert not [target for target in found.values() if "kept" in target]


FAR_END = f"exec:{BINARY} tunnel server --bind-client -"


@pytest.mark.parametrize("words, link, serving", [
    (["exit", "--link", "listen-unix:{link}"], True, ["nswrap: exit"] * 2),
    (["exit", "--link", "unix:{link}"], False, ["nswrap: exit"]),
    (["tunnel", "server"], False, ["nswrap: tunnel"]),
    (["tunnel", "client"], False, ["nswrap: tunnel-"]),
    (["tunnel", "client", "--server", FAR_END], False, ["nswrap: tunnel", "nswrap: tunnel-"]),
], ids=["entrances", "exit", "server", "client", "both"])
def test_who_serves_strangers_has_nothing_of_the_callers(outer, short_dir, words, link, serving):
    """Its terminal and files are with the process that writes, which reads nothing but lines."""
    host, path = outer(), os.path.join(short_dir, "link")
    kept, (master, slave) = os.memfd_create("kept"), pty.openpty()
    terminal = os.ttyname(slave)
    popen = host.popen(BINARY, *[word.format(link=path) for word in words], stdin=slave, stdout=slave, stderr=slave,
                       pass_fds=[kept], start_new_session=True)
    os.close(kept)
    os.close(slave)
    everybody = lambda: [popen.pid, *descendants(popen.pid)]  # noqa: E731
    roles = lambda name: called(name, everybody())  # noqa: E731
    with socket.socket(socket.AF_UNIX) as entrance:
        if link:
            wait_for(lambda: entrance.connect_ex(path) == 0, "the exit listens")
        pids = wait_for(lambda: (found := [pid for name in sorted(set(serving)) for pid in roles(name)]) and
                        len(found) == len(serving) and found, "all who serve")
        for pid in pids:
            found = lambda: numbered_descriptors(host, pid).values()  # noqa: E731, B023
            wait_for(lambda: not [target for target in found() if target == terminal or "kept" in target],
                     "nothing of the caller's")
        found = [numbered_descriptors(host, pid) for pid in roles("nswrap: stderr")]
        writers = [fds for fds in found if fds[2] == terminal]
        assert len(writers) == 1 and writers[0][0] == writers[0][1] == "/dev/null"
        assert list(writers[0].values()).count(terminal) == 1
    popen.terminate()
    assert popen.wait(20 * PATIENCE) in (0, -signal.SIGTERM)
    os.close(master)


@pytest.mark.parametrize("words", [
    ["-c", "sleep 60", "agent"], ["exec", "other", "nswrap", "agent"]], ids=["companion", "exec"])
def test_stderr_of_an_agent_is_a_pipe_to_its_parent(nswrap, outer, words):
    """Its link and nothing else is the caller's; its words arrive all the same."""
    host = outer()
    prefix = host.prefix()
    prefix = prefix[:prefix.index("--") + 1]
    other = nswrap.start("-n", "other", "sleep", 60, prefix=prefix)
    other.wait_event("started")
    popen = nswrap.popen(*words, prefix=prefix, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)

    def agents():
        below = descendants(popen.pid)
        return called("nswrap: agent", below) + called("nswrap: stack", below)

    pids = wait_for(lambda: len(agents()) == 2 and agents(), "agent and stack")
    mine = f"pipe:[{os.fstat(popen.stderr.fileno()).st_ino}]"
    for pid in pids:
        wait_for(lambda: mine not in numbered_descriptors(host, pid).values(), "no stderr of the caller's")
    popen.stdin.write(b"this is no frame of the protocol, and its length is nonsense" * 100)
    popen.stdin.close()
    assert b"nswrap: the link to the manager broke" in popen.stderr.read()
    popen.stdout.read()
    popen.wait(20)


def test_init_has_few_descriptors(nested):
    host, roles = nested()
    found = descriptors(host, roles.init)
    rest = [target for fd, target in found.items() if fd > 2 and not target.endswith("/nswrap")]
    # to the supervisor, the door, and two mints (conn/mint)
    assert sorted(rest) == ["anon_inode:[eventpoll]", "anon_inode:[signalfd]", *["socket"] * 4]


# --- out of reach ----------------------------------------------------------------------------------------

# argv: kind address port seconds ...; prints "reached" or "not" for each
REACH = """
import socket, sys, time
args = sys.argv[1:]
for kind, address, port, seconds in zip(args[::4], args[1::4], args[2::4], args[3::4]):
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    try:
        if kind == 'abstract':
            with socket.socket(socket.AF_UNIX) as s:
                s.connect('\\0' + address)
        else:
            tcp = kind == 'tcp'
            s = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
            end = time.monotonic() + float(seconds)
            s.settimeout(float(seconds) if tcp else 0.5)
            s.connect((address, int(port)))
            while True:
                s.send(b'x')
                try:
                    if not s.recv(100):
                        raise OSError
                    break
                except TimeoutError:
                    if tcp or time.monotonic() > end:
                        raise
        print(kind, address, 'reached', flush=True)
    except OSError:
        print(kind, address, 'not', flush=True)
"""

LOOPBACKS = ["127.0.0.1", "127.0.0.53", "0.0.0.0", "10.0.2.2", "10.0.2.3", "10.0.2.255",
             "::1", "::", "fd00::2", "fd00::3", "::ffff:127.0.0.1"]


@pytest.fixture
def loopback_host(outer, short_dir):
    """An outer host with services on every loopback address, whose resolver is one of them."""
    resolv = os.path.join(short_dir, "resolv.conf")
    with open(resolv, "w", encoding="utf-8") as f:
        f.write("nameserver 127.0.0.53\nnameserver ::1\n")
    host = outer(f"mount --bind {resolv} /etc/resolv.conf")
    for address, port in (("127.0.0.1", 7007), ("127.0.0.53", 7007), ("::1", 7007)):
        host.serve(TCP_ECHO, address, port)
        host.serve(UDP_ECHO, address, port, udp=True)
    host.serve(TCP_ECHO, host.address, 7008)
    host.serve(UDP_ECHO, host.address, 7008, udp=True)
    return host


def reach(nswrap, host, *options, there=()):
    """Which of LOOPBACKS answer; what is there has more time for that than what is looked for."""

    def seconds(kind, address):
        return 20 * PATIENCE if address in (host.address, *there) else 3 if kind == "tcp" else 0.5

    probes = [(kind, host.address, 7008, seconds(kind, host.address)) for kind in ("tcp", "udp")]
    probes += [(kind, address, 7007, seconds(kind, address)) for kind in ("tcp", "udp") for address in LOOPBACKS]
    result = nswrap.run("-q", *options, "--", *python(REACH, *(x for p in probes for x in p)),
                        prefix=host.prefix(), timeout=120)
    lines = dict(line.rsplit(" ", 1) for line in result.stdout.decode().splitlines())
    assert len(lines) == len(probes), result.stderr
    assert lines.pop(f"tcp {host.address}") == lines.pop(f"udp {host.address}") == "reached"
    return {what for what, verdict in lines.items() if verdict == "reached"}


@pytest.mark.limit(120)
@pytest.mark.parametrize("options", [[], ["--root"]], ids=["plain", "root"])
@pytest.mark.waits
def test_loopback_of_the_host_is_out_of_reach(nswrap, loopback_host, options):
    assert reach(nswrap, loopback_host, *options) == set()


@pytest.mark.limit(120)
@pytest.mark.waits
def test_loopback_of_the_host_on_request(nswrap, loopback_host):
    """The control of the test above: what it does not reach is there."""
    found = reach(nswrap, loopback_host, "--host-loopback", there=["10.0.2.2"])
    assert {"tcp 10.0.2.2", "udp 10.0.2.2"} <= found


def test_abstract_sockets_of_the_host_are_out_of_reach(nswrap):
    name = f"nswrap-rights-{os.urandom(8).hex()}"
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0" + name)
        abstract.listen()
        with socket.socket(socket.AF_UNIX) as control:
            control.connect("\0" + name)
        result = nswrap.run("-q", "--root", "--", *python(REACH, "abstract", name, 0, 0))
        assert result.stdout.decode().split()[-1] == "not"


# frames of our own through the TAP; argv: port, the address that answers, then others.
# Prints the addresses from which a SYN-ACK came.
FRAMES = """
import fcntl, select, socket, struct, sys, time
port, good, others = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(('tap0', 0))
mac = fcntl.ioctl(s, 0x8927, struct.pack('256s', b'tap0'))[18:24]
def checksum(data):
    data += b'\\0' * (len(data) % 2)
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
def syn(address, source_port):
    v6 = ':' in address
    family = socket.AF_INET6 if v6 else socket.AF_INET
    src = socket.inet_pton(family, 'fd00::100' if v6 else '10.0.2.100')
    dst = socket.inet_pton(family, address)
    def tcp(check):
        return struct.pack('!HHIIBBHHH', source_port, port, 1000, 0, 0x50, 2, 65535, check, 0)
    pseudo = src + dst + (struct.pack('!IHBB', 20, 0, 0, 6) if v6 else struct.pack('!BBH', 0, 6, 20))
    segment = tcp(checksum(pseudo + tcp(0)))
    if v6:
        packet = struct.pack('!IHBB', 6 << 28, 20, 6, 64) + src + dst + segment
    else:
        def head(check):
            return struct.pack('!BBHHHBBH', 0x45, 0, 40, 1, 0, 64, 6, check) + src + dst
        packet = head(checksum(head(0))) + segment
    return bytes.fromhex('525500000202') + mac + struct.pack('!H', 0x86dd if v6 else 0x0800) + packet
def answers(until):
    found = set()
    end = time.monotonic() + 10
    while until not in found and time.monotonic() < end:
        if not select.select([s], [], [], 0.1)[0]:
            continue
        frame = s.recv(65536)
        kind = frame[12:14]
        if kind == b'\\x08\\x00' and frame[23] == 6 and frame[47] & 0x12 == 0x12:
            found.add(socket.inet_ntop(socket.AF_INET, frame[26:30]))
        if kind == b'\\x86\\xdd' and frame[20] == 6 and frame[67] & 0x12 == 0x12:
            found.add(socket.inet_ntop(socket.AF_INET6, frame[22:38]))
    return found
# the first makes our addresses known; the last says when all were handled
s.send(syn(good, 40000))
found = answers(good)
for number, address in enumerate(others):
    s.send(syn(address, 41000 + number))
# libslirp looks at its newest sockets first: three rounds
for number in range(3):
    s.send(syn(good, 42000 + number))
    found |= answers(good)
print(' '.join(sorted(found)), flush=True)
"""


def test_frames_do_not_reach_the_hosts_loopback(nswrap, outer):
    """Root inside writes to the TAP what its kernel would not send."""
    host = outer()
    # on every address: whatever arrives on the host, there is somebody
    host.serve(TCP_ECHO, "0.0.0.0", 7009)
    host.serve(TCP_ECHO, "::", 7009)
    for good in (host.address, host.address6):
        result = nswrap.run(
            "-q", "--root", "--", *python(FRAMES, 7009, good, *LOOPBACKS, "255.255.255.255",
                                          "127.255.255.254", "::ffff:0.0.0.0", "::127.0.0.1",
                                          "::ffff:10.0.2.2", "ff02::1", "fe80::2"),
            prefix=host.prefix())
        assert result.stdout.decode().split() == [good], result.stderr


def test_frames_reach_it_on_request(nswrap, outer):
    """The control: the frames are right, only their address is refused."""
    host = outer()
    host.serve(TCP_ECHO, "0.0.0.0", 7010)
    result = nswrap.run("-q", "--host-loopback", "--root", "--",
                        *python(FRAMES, 7010, host.address, "10.0.2.2"), prefix=host.prefix())
    assert result.stdout.decode().split() == ["10.0.2.2", host.address], result.stderr
