# SPDX-License-Identifier: Apache-2.0
"""e2e/test_detach - sandboxes in the background, and their logs"""

import fcntl
import json
import os
import pathlib
import pty
import signal
import stat
import subprocess
import termios

import pytest

from harness import BINARY, PATIENCE, exchange, free_port, is_alive, python, wait_for
from tools import listed as ps

ECHO = """
import socket, sys
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    c, _ = s.accept()
    c.sendall(c.recv(100).upper())
    c.close()
"""


@pytest.fixture
def background(nswrap, tmp_path):
    """nswrap whose logs are the test's own."""
    nswrap.env["XDG_STATE_HOME"] = str(tmp_path / "state")
    nswrap.env["NSWRAP_OPTIONS"] = ""
    yield nswrap
    nswrap.run("stop", "--all", "-t", "0")


def logs(nswrap, name, *options):
    result = nswrap.run("logs", name, *options)
    assert (result.returncode, result.stderr) == (0, b""), result
    return result.stdout.decode()


def start(nswrap, *args, **options):
    """The name. run() reads to the end of the pipes: they must be closed."""
    result = nswrap.run("-q", "-d", *args, **options)
    assert result.returncode == 0, result
    assert result.stderr == b""
    assert result.stdout.endswith(b"\n") and result.stdout.count(b"\n") == 1
    return result.stdout.decode().strip()


def test_detach(background):
    """All that is asked of a sandbox by name works; nothing of the caller's stays open."""
    port = free_port()
    result = background.run("--detach", "-n", "web", "-p", f"{port}:80", *python(ECHO, 80), input=b"not for it")
    assert (result.returncode, result.stdout) == (0, b"web\n")
    assert b"leads to port 80" in result.stderr, "what a start in the foreground says"
    assert exchange(port, b"hello") == b"HELLO"
    assert background.run("exec", "web", "true").returncode == 0
    assert background.run("port", "add", "web", f"{free_port()}:81").returncode == 0
    (status,) = ps(background)
    assert pathlib.Path(status["log"]).is_file()
    streams = [os.readlink(f"/proc/{status['pid']}/fd/{fd}") for fd in range(3)]
    assert streams[0] == "/dev/null" and streams[1] == streams[2] and streams[1].startswith("pipe:")
    assert os.getsid(status["pid"]) != os.getsid(0)
    assert background.run("stop", "web").returncode == 0
    assert logs(background, "web").endswith("nswrap: ended with status 143\n")
    assert not is_alive(status["pid"])


def test_detach_keeps_no_descriptor_of_the_caller(background):
    """Not just the streams: a shell's pipes are inherited, too. --keep-fd is one that is wanted."""
    other, kept = os.pipe(), os.pipe()
    start(background, "-n", "box", "--keep-fd", kept[1], "sleep", "1000", pass_fds=(other[1], kept[1]))
    os.close(other[1])
    os.close(kept[1])
    os.set_blocking(kept[0], False)
    assert os.read(other[0], 1) == b"", "the end"
    with pytest.raises(BlockingIOError):
        os.read(kept[0], 1)
    os.close(other[0])
    os.close(kept[0])


def test_detach_tells_by_descriptors(background):
    info, ready = os.pipe(), os.pipe()
    start(background, "--info-fd", info[1], "--ready-fd", ready[1], "-n", "box", "true",
          pass_fds=(info[1], ready[1]))
    os.close(info[1])
    os.close(ready[1])
    with os.fdopen(ready[0]) as lines:
        assert lines.read() == "READY=1\n"
    with os.fdopen(info[0]) as lines:
        assert [json.loads(line)["event"] for line in lines] == ["started", "exited"]


@pytest.mark.parametrize("args, status, says", [
    (["no-such-program"], 127, "no-such-program"), (["/etc/passwd"], 126, "/etc/passwd"),
    (["-C", "/nowhere", "true"], 2, "/nowhere"), (["-c", "true", "agent"], 2, "agent"), ([], 2, "COMMAND")])
def test_detach_fails_in_the_foreground(background, args, status, says):
    result = background.run("-q", "-d", *args)
    assert (result.returncode, result.stdout) == (status, b"")
    assert result.stderr.count(b"\n") == 1 and says in result.stderr.decode()
    assert ps(background) == []


def test_detach_fails_for_a_port_and_a_name_in_use(background):
    port = free_port()
    start(background, "-n", "box", "-p", f"{port}:80", "sleep", "1000")
    for args, says in ((["-p", f"{port}:80"], str(port)), (["-n", "box"], "box")):
        result = background.run("-d", *args, "true")
        assert (result.returncode, result.stdout) == (125, b"")
        assert says in result.stderr.decode()
    assert "ended" not in logs(background, "box"), "its log is as it was"


def test_the_end_of_the_terminal_is_not_the_end(background):
    leader, follower = pty.openpty()
    popen = background.popen("-q", "-d", "-n", "box", "sleep", "1000", stdin=follower, stdout=follower,
                             stderr=follower, start_new_session=True,
                             preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(follower)
    assert popen.wait(20) == 0
    assert b"box" in os.read(leader, 100)
    os.close(leader)  # SIGHUP for all that have it
    (status,) = ps(background)
    assert is_alive(status["pid"]) and background.run("exec", "box", "true").returncode == 0


def test_detach_whose_caller_has_gone_ends(background):
    """Nobody has heard the name: killed while it waits for another start."""
    directory = background.runtime_dir / "nswrap"
    directory.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    popen = background.popen("-d", "-n", "box", "sleep", "1000", stderr=subprocess.PIPE)

    def waits():
        result = subprocess.run(["ps", "-e", "-o", "args="], capture_output=True, check=True)
        return result.stdout.count(f"{BINARY} -d -n box sleep 1000".encode()) >= 3

    wait_for(waits, "the processes of the start")
    popen.send_signal(signal.SIGINT)
    popen.wait(20)
    os.close(lock)
    popen.stderr.read()  # until the last one has ended or gone to the background
    wait_for(lambda: ps(background) == [], "the end")
    assert "has gone before" in logs(background, "box")


def test_logs(background, tmp_path):
    """As it was written, while it runs and when it has ended; the next one begins anew."""
    go = tmp_path / "go"
    script = f"printf 'one\\033[1m\\n'; echo two >&2; until [ -e {go} ]; do sleep 0.05; done; printf three; exit 7"
    name = start(background, "-n", "box", "sh", "-c", script)
    wait_for(lambda: logs(background, name) == "one\033[1m\ntwo\n", "what it has written")
    assert logs(background, name, "-n", "1") == "two\n"
    assert logs(background, name, "--lines=0") == ""
    follower = background.popen("logs", "-f", name, stdout=subprocess.PIPE)
    assert follower.stdout.readline() == b"one\033[1m\n"
    assert follower.poll() is None
    go.touch()
    assert follower.stdout.read() == b"two\nthree\nnswrap: ended with status 7\n"
    assert follower.wait(20) == 0
    assert logs(background, name) == logs(background, name, "--follow") \
        == "one\033[1m\ntwo\nthree\nnswrap: ended with status 7\n"
    assert logs(background, name, "-n2") == "three\nnswrap: ended with status 7\n"
    start(background, "-n", "box", "echo", "new")
    assert logs(background, name, "-f") == "new\nnswrap: ended with status 0\n"


def test_log_tells_how_nswrap_ended(background):
    name = start(background, "sleep", "1000")
    (status,) = ps(background)
    with open(f"/proc/{status['pid']}/stat", encoding="ascii") as file:
        init = int(file.read().rsplit(")")[-1].split()[1])
    with open(f"/proc/{init}/stat", encoding="ascii") as file:
        supervisor = int(file.read().rsplit(")")[-1].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: ps(background) == [], "the end")
    assert logs(background, name, "-f").endswith("nswrap: ended by signal 9 (Killed)\n")


TALKS = """
import sys, time
print("first", flush=True)
sys.stdin.read()
for line in open(sys.argv[1]):
    print(line.strip(), flush=True)
print("x" * 300000, flush=True)
sys.exit(7)
"""


def test_log_goes_on_when_its_writer_is_killed(background, tmp_path):
    """COMMAND hears nothing of it (a write would be SIGPIPE), its words and the end are in the log."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    start(background, "-n", "box", *python(TALKS, fifo))
    wait_for(lambda: "first" in logs(background, "box"), "the first line")
    (status,) = ps(background)
    writer = status["pid"]
    while pathlib.Path(f"/proc/{writer}/comm").read_text() != "nswrap: log\n":
        writer = int(pathlib.Path(f"/proc/{writer}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(writer, signal.SIGKILL)
    wait_for(lambda: "it goes on" in logs(background, "box"), "the supervisor")
    with open(fifo, "w") as lines:
        lines.write("second\n")
    wait_for(lambda: "ended with status 7" in logs(background, "box"), "the end")
    text = logs(background, "box")
    assert text.startswith("first\n") and "\nsecond\n" in text and "x" * 300000 + "\n" in text
    assert text.endswith("\nnswrap: ended with status 7\n")


def test_log_is_bounded_and_followed_through_turns(background, tmp_path):
    go = tmp_path / "go"
    lines = 900_000  # 6.3 MB
    start(background, "-n", "box", "sh", "-c",
          f"until [ -e {go} ]; do sleep 0.05; done; seq 1000000 {999_999 + lines}; exec sleep 1000")
    follower = background.popen("logs", "-f", "box", stdout=subprocess.PIPE)
    go.touch()
    for i in range(lines):
        assert follower.stdout.readline() == b"%d\n" % (1_000_000 + i)
    log = pathlib.Path(ps(background)[0]["log"])
    sizes = [file.stat().st_size for file in log.parent.iterdir()]
    assert len(sizes) == 2 and max(sizes) <= 4 << 20
    assert logs(background, "box").count("\n") == lines
    background.run("stop", "box")
    assert follower.stdout.read() == b"nswrap: ended with status 143\n"
    follower.wait(20)


def test_log_is_the_users_alone(background):
    state = pathlib.Path(background.env["XDG_STATE_HOME"])
    start(background, "-n", "box", "true", umask=0)
    made = list((state / "nswrap").rglob("*"))
    assert {path.name for path in made} == {"logs", "box", "log"}
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


@pytest.mark.parametrize("which", ["log", "log.1"])
def test_a_log_that_is_a_fifo_is_not_waited_for(background, which):
    """COMMAND has its user's files, the log among them."""
    start(background, "-n", "box", "true")
    wait_for(lambda: "ended" in logs(background, "box"), "its end")
    path = pathlib.Path(background.env["XDG_STATE_HOME"], "nswrap", "logs", "box", which)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    result = background.run("logs", "box", timeout=20 * PATIENCE)
    assert result.returncode == 125 and b"no regular file" in result.stderr
    assert background.run("-d", "-n", "box", "true", timeout=20 * PATIENCE).returncode == 0


def test_no_place_for_a_log(background, tmp_path):
    """One line, and the sandbox runs: what it writes goes nowhere, and makes nobody wait."""
    background.env["XDG_STATE_HOME"] = "/proc/nowhere"
    done = tmp_path / "done"
    result = background.run("-d", "-q", "-n", "box", "sh", "-c", f"seq 100000 && touch {done}; exec sleep 1000")
    assert (result.returncode, result.stdout) == (0, b"box\n")
    assert result.stderr.count(b"\n") == 1 and b"/proc/nowhere" in result.stderr
    wait_for(done.exists, "all to be written")
    result = background.run("logs", "box")
    assert result.returncode == 125 and b"log could not be made" in result.stderr
    assert "log" not in ps(background)[0]


@pytest.mark.parametrize("args, status, names", [
    ([], 2, "SANDBOX"), (["no/name"], 2, "no/name"), (["box", "more"], 2, "more"), (["-n", "x", "box"], 2, "x"),
    (["nobody"], 125, "nobody"), (["--tail", "3", "box"], 2, "-n LINES")])
def test_logs_bad_input(background, args, status, names):
    result = background.run("logs", *args)
    assert result.returncode == status
    assert result.stderr.count(b"\n") == 1 and names in result.stderr.decode()


def test_logs_names_those_that_there_are(background):
    """Also of sandboxes that have ended: names that were made of COMMAND's are not known by heart."""
    assert b"there is none" in background.run("logs", "sh").stderr
    for name in background.run("-d", "sh", "-c", "exit 3"), background.run("-d", "-n", "box", "true"):
        assert name.returncode == 0
    result = background.run("logs", "sh")
    assert result.returncode == 125 and result.stderr.count(b"\n") == 1
    assert b"sh-1" in result.stderr and b"box" in result.stderr
    for number in range(6):
        assert background.run("-d", "-n", f"more-{number}", "true").returncode == 0
    assert b" and more; looked in" in background.run("logs", "sh").stderr


def test_logs_of_the_foreground(background):
    background.start("-n", "box", "sleep", "1000").wait_event("started")
    result = background.run("logs", "box")
    assert result.returncode == 125 and b"without -d" in result.stderr


def test_a_full_disk_costs_the_command_nothing(background, tmp_path):
    """In a file system of 1 MiB: the log ends with what there was room for, and says so."""
    done = tmp_path / "done"
    place = tmp_path / "small"
    place.mkdir()
    script = f"""
    mount -t tmpfs -o size=1m,mode=700 none {place}
    export XDG_STATE_HOME={place}
    {BINARY} --no-config -q -d -n box sh -c 'seq 1000000 && touch {done}'
    {BINARY} logs -f box | tail -n 2
    head -c 2m /dev/zero >{place}/fill
    {BINARY} --no-config -q -d -n second true
    {BINARY} stop --all
    """
    result = subprocess.run(["unshare", "-Urm", "sh", "-c", script], env=background.env,
                            capture_output=True, timeout=60, check=False)
    assert done.exists(), result
    out = result.stdout.decode().splitlines()
    assert out == ["box", "nswrap: output is missing here: No space left on device",
                   "nswrap: ended with status 0", "second"], result
    (line,) = [at for at in result.stderr.decode().splitlines() if at.startswith("nswrap")]
    assert "there is no log" in line and "No space left" in line
