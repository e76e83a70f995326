# SPDX-License-Identifier: Apache-2.0
"""e2e/test_told - what is told to others costs COMMAND nothing, and comes by nobody who serves strangers"""

import contextlib
import fcntl
import os
import re
import signal
import socket
import struct
import subprocess

import pytest

from harness import AGENT, BINARY, HTTP, PATIENCE, free_port, full_pipe, http_get, is_alive, process_table, python, wait_for
from test_mesh_manager import Mesh
from tools import Roles, tool

# sends echo requests for some seconds, whatever comes back, and prints how many; argv: address seconds
PING_FLOOD = """
import socket, struct, sys, time
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6)
s.setblocking(False)
end, sent = time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < end or sent <= 1000:
    try:
        s.sendto(struct.pack('!BBHHH', 128, 0, 0, 1, sent & 0xffff), (sys.argv[1], 0))
        sent += 1
    except OSError:
        pass
print(sent, flush=True)
"""

# pings the address of the host inside, each once the answer before it is there, and prints how many came; argv: number
ECHOES = """
import socket, struct, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6)
s.settimeout(5)
came = 0
for i in range(int(sys.argv[1])):
    s.sendto(struct.pack('!BBHHH', 128, 0, 0, 1, i) + bytes(100), ('fd12:345::2', 0))
    came += len(s.recv(2000)) == 108
print(came, flush=True)
"""


def no_reader():
    read, write = os.pipe()
    os.close(read)
    return write


# --- stderr ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["-v"]], ids=["plain", "verbose"])
def test_a_flood_of_pings_is_not_written_down(nswrap, options):
    running = nswrap.start(*options, "--", *python(PING_FLOOD, "2001:db8::1", 1))
    assert int(running.read_line()) > 1000
    assert running.wait() == 0
    running.stderr.join()
    assert len(running.stderr.text()) < 20000


@pytest.mark.parametrize("address, answer", [
    ("fd00::2", "1 received"), ("fd00::3", "1 received"),
    ("2001:db8::1", "From fd00::2 .*Administratively prohibited")])
def test_ping6_is_answered_or_refused(nswrap, outer, address, answer):
    result = nswrap.run("-q", "ping", "-6", "-n", "-c", 1, "-W", 5, address, prefix=outer().prefix())
    assert re.search(answer, result.stdout.decode()), result.stdout + result.stderr


@pytest.mark.parametrize("driver", ["splice", "slirp"])
@pytest.mark.parametrize("options", [[], ["-vv"]], ids=["plain", "verbose"])
def test_nobody_waits_for_who_reads_stderr(nswrap, driver, options):
    """The pipe is full before the first line, and COMMAND fills what would become free."""
    read, write = full_pipe()
    port = free_port()
    popen = nswrap.popen(*options, "--port-driver", driver, "-p", port, "-P", 7000,
                         "--", *python(HTTP, "127.0.0.1", 7000), stderr=write)
    os.close(write)
    wait_for(lambda: _is_served(port), "an answer")
    for i in range(100):
        assert http_get(port, f"/{i}")[0] == 200
    popen.terminate()
    assert popen.wait(15) == 128 + signal.SIGTERM
    os.close(read)


def _is_served(port):
    with contextlib.suppress(OSError):
        return http_get(port)[0] == 200
    return False


# --- those who listen to events ------------------------------------------------------------------------


@pytest.mark.parametrize("options", [["--info-fd"], ["--ready-fd"]], ids=["info", "ready"])
@pytest.mark.parametrize("make", ["gone", "full"])
def test_events_that_nobody_reads(nswrap, options, make):
    read, write = full_pipe() if make == "full" else (None, no_reader())
    result = nswrap.run(*options, write, "sh", "-c", "exit 7", pass_fds=[write])
    os.close(write)
    assert result.returncode == 7, result.stderr
    if read is not None:
        os.close(read)


@pytest.mark.parametrize("words", [[], ["exit"]], ids=["run", "exit"])
def test_ready_when_there_is_room(nswrap, words):
    """Who reads the line late has it all the same, and then the end."""
    read, write = full_pipe()
    ours, theirs = socket.socketpair()
    popen = nswrap.popen(*words, "--ready-fd", write, *([] if words else ["--network", "none", "sh", "-c", "echo; exec sleep 60"]),
                         stdin=theirs, stdout=theirs, pass_fds=[write])
    os.close(write)
    theirs.close()
    with ours, open(read, "rb") as told:
        assert ours.recv(1), "it serves, COMMAND runs"
        wait_for(lambda: process_table()[popen.pid][1] == "S", "it waits for what comes")
        assert told.read().endswith(b"xREADY=1\n")
        assert popen.poll() is None
        popen.terminate()
        popen.wait(20 * PATIENCE)


@pytest.mark.parametrize("words", [["--info-fd"], ["--ready-fd"], ["--log-fd"], ["exit", "--ready-fd"]],
                         ids=["info", "ready", "log", "exit"])
def test_a_descriptor_that_cannot_be_written_to(nswrap, words):
    """It would be an option that does nothing, and words that nobody ever sees."""
    with open("/dev/null") as null:
        result = nswrap.run(*words, null.fileno(), *([] if words[0] == "exit" else ["true"]), pass_fds=[null.fileno()])
    [line] = result.stderr.decode().splitlines()
    assert result.returncode == 2 and words[-1] in line and "writing" in line


def test_a_name_that_nobody_reads(nswrap):
    """Of a sandbox in the background: it runs, and the line says so."""
    with open("/dev/full", "w") as full:
        popen = nswrap.popen("-q", "-d", "-n", "box", "sleep", 60, stdout=full, stderr=subprocess.PIPE)
        _, told = popen.communicate(timeout=30 * PATIENCE)
    assert (popen.returncode, b"box runs, but" in told) == (125, True), told
    assert nswrap.run("stop", "box").returncode == 0
    # who has closed it does not want to know
    popen = nswrap.popen("-q", "-d", "-n", "box", "sleep", 60, prefix=["sh", "-c", 'exec "$@" >&-', "sh"], stderr=subprocess.PIPE)
    assert (popen.communicate(timeout=30 * PATIENCE)[1], popen.returncode) == (b"", 0)
    assert nswrap.run("stop", "box").returncode == 0


@pytest.mark.parametrize("option", ["--info-fd", "--ready-fd", "--log-fd", "--alive-fd", "--keep-fd"])
@pytest.mark.parametrize("fd", [0, 1])
def test_a_stream_that_is_closed_is_no_descriptor(nswrap, option, fd):
    result = nswrap.run(option, fd, "--network", "none", "true", prefix=["sh", "-c", f'exec "$@" {fd}>&-', "sh"])
    assert (result.returncode, f"descriptor {fd} is not open" in result.stderr.decode()) == (2, True), result


@pytest.mark.parametrize("stdout,why", [("/dev/full", b"No space left"), ("closed", b"Bad file descriptor")])
def test_output_that_cannot_be_written(nswrap, short_dir, stdout, why):
    """Whatever prints says so, and ends with 125; a COMMAND that prints nothing does not pay for it."""
    nswrap.start("-q", "-n", "box", "-f", "0:80", "sleep", 60).wait_event("started")
    nswrap.env["XDG_STATE_HOME"] = short_dir
    assert nswrap.run("-q", "-d", "-n", "logged", "--network", "none", "echo", "said").returncode == 0
    wait_for(lambda: b"ended with status 0" in nswrap.run("logs", "logged").stdout, "the log")
    mesh = Mesh(nswrap, short_dir)
    mesh.fake("a")
    mesh.start()
    subcommands = re.findall(r"^  ([a-z-]+) {2,}", nswrap.run("help").stdout.decode(), re.M)
    assert len(subcommands) > 10
    lines = [[name, "--help"] for name in subcommands] + [
        words.split() for words in ("help", "help ps", "--help", "-h", "--version", "-V", "__complete run --", "ps", "ps --json",
                                    "port list box", "port list box --json", "port add box 0:81", "logs logged",
                                    "doctor", "doctor --json", "tunnel status", "tunnel status --json",
                                    f"mesh --check {mesh.path}", "mesh --example", "mesh status", "mesh status --json",
                                    "mesh status --watch", "mesh graph", "")]
    prefix = ["sh", "-c", 'exec "$@" >&-', "sh"] if stdout == "closed" else []
    with open("/dev/full", "wb") as full:
        def begin(program, *words):
            return nswrap.popen(*words, program=program, prefix=prefix, stdin=subprocess.DEVNULL, stdout=full,
                                stderr=subprocess.PIPE)
        told = [(words, begin(BINARY, *words)) for words in lines]
        told += [([word], begin(AGENT, word)) for word in ("--help", "--version", "doctor")]
        for words, popen in told:
            _, said = popen.communicate(timeout=30 * PATIENCE)
            assert (popen.returncode, said.count(b"cannot write to stdout: " + why)) == (125, 1), (words, said)
        popen = nswrap.popen("-q", "--network", "none", "sh", "-c", "exit 7", prefix=prefix, stdout=full)
        assert popen.wait(30 * PATIENCE) == 7


@pytest.mark.parametrize("words", [["-vv"], ["-p", "0", "-v"]], ids=["plain", "forward"])
def test_stderr_that_nobody_reads(nswrap, words):
    write = no_reader()
    popen = nswrap.popen(*words, "sh", "-c", "sleep 0.1; exit 7", stderr=write, stdout=subprocess.DEVNULL)
    os.close(write)
    assert popen.wait(20) == 7


@pytest.mark.parametrize("option", ["stderr", "--info-fd", "--log-fd", "--ready-fd"])
@pytest.mark.parametrize("appends", [False, True], ids=["offset", "appends"])
def test_a_file_that_may_not_grow(nswrap, tmp_path, option, appends):
    """A limit of the size of files (ulimit -f) is a signal to who writes past it; COMMAND has the limit, too."""
    (tmp_path / "told").write_bytes(b"x" * 1024)
    with open(tmp_path / "told", "ab" if appends else "r+b") as told:
        told.seek(0, os.SEEK_END)
        number = 2 if option == "stderr" else told.fileno()
        line = [BINARY, "-v", *([] if number == 2 else [option, number]), "sh", "-c", "ulimit -f; exit 7"]
        done = subprocess.run(["prlimit", "--fsize=1024", *map(str, line)], env=nswrap.env, pass_fds=[told.fileno()],
                              stdout=subprocess.PIPE, stderr=told if number == 2 else subprocess.DEVNULL, timeout=20 * PATIENCE)
    assert (done.returncode, done.stdout) == (7, b"2\n")
    assert (tmp_path / "told").stat().st_size == 1024


def test_exec_where_files_may_not_grow(nswrap):
    nswrap.start("-n", "box", "sleep", "1000").wait_event("started")
    done = subprocess.run(["prlimit", "--fsize=0", BINARY, "exec", "box", "sh", "-c", "exit 7"], env=nswrap.env,
                          capture_output=True, timeout=20 * PATIENCE)
    assert (done.returncode, done.stderr) == (7, b"")


# --- who reads --pcap ----------------------------------------------------------------------------------


def named(write):
    """A pipe as its reader sees it by name, as a shell's >(...) has it."""
    return f"/proc/{os.getpid()}/fd/{write}"


def whole(data):
    """How many bytes of a capture are whole records, with the header of the file."""
    at = 24
    while len(data) - at >= 16 and (end := at + 16 + struct.unpack("=I", data[at + 8:at + 12])[0]) <= len(data):
        at = end
    return at


def test_frames_that_nobody_reads(nswrap):
    """The network goes on, it is said once, and what is there are whole frames but for what waits for room."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    done = nswrap.run("--cidr6", "fd12:345::/64", "--pcap", named(write), *python(ECHOES, 60))
    os.close(write)
    with open(read, "rb") as f:
        data = f.read()
    assert done.stdout == b"60\n", done.stdout + done.stderr
    assert re.findall(rb"--pcap.*", done.stderr) == [b"--pcap misses frames (1): who reads it is too slow"]
    assert 2000 < whole(data) > len(data) - 200, (whole(data), len(data))


def test_frames_for_a_file_that_may_not_grow(nswrap, tmp_path):
    done = subprocess.run(["prlimit", "--fsize=2048", BINARY, "--cidr6", "fd12:345::/64", "--pcap", tmp_path / "frames",
                           *python(ECHOES, "60")], env=nswrap.env, capture_output=True, timeout=20 * PATIENCE)
    assert done.stdout == b"60\n", done.stdout + done.stderr
    assert re.findall(rb"--pcap.*", done.stderr) == [b"--pcap misses frames (1): No space left on device"]
    data = (tmp_path / "frames").read_bytes()
    assert 1500 < whole(data) == len(data) <= 2048


def test_frames_whose_reader_is_gone(nswrap):
    read, write = os.pipe()
    running = nswrap.start("--cidr6", "fd12:345::/64", "--pcap", named(write), "--", "sh", "-c", 'read x; exec "$@"', "sh",
                           *python(ECHOES, 20), stdin=subprocess.PIPE)
    running.wait_event("started")
    os.close(write)
    os.close(read)
    running.popen.stdin.write(b"\n")
    running.popen.stdin.flush()
    assert running.read_line() == "20"
    assert running.wait() == 0
    running.stderr.join()
    assert running.stderr.text().count("--pcap ends here: nobody reads it any more") == 1, running.stderr.text()


# a datagram for each line of stdin, as long as that says
SENDS = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for line in sys.stdin:
    s.sendto(bytes(int(line)), ('192.0.2.1', 9))
    print(line, end='', flush=True)
"""


def test_frames_when_the_net_process_dies(nswrap):
    """Of a record that was begun the next one writes the rest."""
    read, write = os.pipe2(os.O_NONBLOCK)
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    running = nswrap.start("--pcap", named(write), "--", *python(SENDS), stdin=subprocess.PIPE)
    running.wait_event("started")
    data = b""

    def send(size):
        nonlocal data
        running.popen.stdin.write(b"%d\n" % size)
        running.popen.stdin.flush()
        assert running.read_line() == str(size)
        with contextlib.suppress(BlockingIOError):
            data += os.read(read, 1 << 20)

    wait_for(lambda: send(30000) or 0 < whole(data) <= len(data) - 3000, "a record that was begun")
    pid = running.net_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid), "the net process to end")
    at = len(data)
    wait_for(lambda: send(10) or whole(data) > at, "the rest of it")
    for _ in range(20):
        send(10)
    assert whole(data) > len(data) - 100, (whole(data), len(data))
    os.close(read)
    os.close(write)


def test_frames_for_a_fifo_without_reader(nswrap, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    done = nswrap.run("--pcap", tmp_path / "fifo", "true")
    assert done.returncode == 125
    assert done.stderr.count(b"\n") == 1 and b"fifo: nobody reads it" in done.stderr, done.stderr


def test_exec_with_stderr_that_nobody_reads(nswrap):
    other = nswrap.start("-n", "other", "sleep", 60)
    other.wait_event("started")
    write = no_reader()
    popen = nswrap.popen("exec", "-vv", "other", "sh", "-c", "cd /; exit 7", stderr=write, cwd="/dev/shm")
    os.close(write)
    assert popen.wait(20) == 7


@pytest.mark.parametrize("handler, status", [(signal.SIG_DFL, 128 + signal.SIGPIPE), (signal.SIG_IGN, 3)])
@pytest.mark.parametrize("words", [[], ["--pid"], ["exec", "other"]], ids=["plain", "pid", "exec"])
def test_sigpipe_of_the_command_is_the_callers(nswrap, words, handler, status):
    other = nswrap.start("-n", "other", "sleep", 60)
    other.wait_event("started")
    result = nswrap.run(*words, "sh", "-c", "kill -PIPE $$; exit 3", restore_signals=False,
                        preexec_fn=lambda: signal.signal(signal.SIGPIPE, handler))
    assert result.returncode == status, result.stderr


def test_clients_that_do_not_wait_for_their_answer(nswrap):
    """Of the control socket: COMMAND and others are not touched by it."""
    running = nswrap.start("-n", "me", "-p", 0, "-P", 7000, "--", tool("guest"), 7000)
    running.guest_listening()
    for _ in range(30):
        popen = nswrap.popen("ps", "--json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        popen.kill()
        popen.wait()
        popen.stdout.close()
    assert running.popen.poll() is None and is_alive(Roles(running).command)
    assert b"me" in nswrap.run("ps").stdout
