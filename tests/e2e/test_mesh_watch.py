# SPDX-License-Identifier: Apache-2.0
"""`nswrap mesh status --watch`: on terminals of any size, and for programs"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

import harness
from harness import PATIENCE, wait_for
from mesh_tools import Box, Site, network

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, nswrap, columns, lines, *words, term="xterm"):
        self.master, slave = pty.openpty()
        self.size(columns, lines)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.popen = nswrap.popen(*words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                  env={"TERM": term})
        self.text = ""

    def size(self, columns, lines):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self):
        while select.select([self.master], [], [], 0)[0]:
            self.text += os.read(self.master, 1 << 16).decode()
        return self.text

    def frames(self):
        """Those that are whole, each a list of lines."""
        frames = [frame.split("\x1b[J")[0] for frame in self.read().split("\x1b[H")[1:] if "\x1b[J" in frame]
        return [[line.rstrip("\r").replace("\x1b[K", "") for line in frame.split("\n")] for frame in frames]

    def wait_frames(self, count, timeout=10):
        return wait_for(lambda: len(self.frames()) >= count and self.frames(), "frames", timeout)

    def end(self, number=signal.SIGINT):
        self.popen.send_signal(number)
        status = self.popen.wait(10 * PATIENCE)
        self.read()
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.slave)
        os.close(self.master)
        return status


@pytest.fixture
def site(nswrap, short_dir):
    """A mesh of a sandbox, a host that cannot start, and what talks to the first one."""
    box = Box(nswrap, "box")
    site = Site(nswrap, short_dir)
    site.host("box", f"{network()}.101", cmd=box.agent(), ports=["80:127.0.0.1:80"])
    site.host("plain", f"{network()}.102", loopback={"disable": True}, stateDir={"disable": True})
    with site:
        yield site
    box.running.stop()


def test_on_a_terminal(nswrap, site):
    """80 columns, another size, Ctrl-C: each frame is one screen, and nothing of it stays."""
    terminal = Terminal(nswrap, 80, 24, "mesh", "status", "--watch", site.name)
    frames = terminal.wait_frames(2)
    assert terminal.text.startswith(ENTER) and terminal.text.count(ENTER) == 1
    assert re.fullmatch(r"\d\d:\d\d:\d\d  site: 2 of 2 hosts ready", frames[0][0])
    assert frames[0][1].split() == ["HOST", "VIP", "STATE", "RTT", "IN/s", "OUT/s", "IN", "OUT", "WHY"]
    assert [line.split()[0] for line in frames[0][2:4]] == ["box", "plain"]
    assert frames[0][2].split()[4:6] == ["-", "-"]
    assert re.fullmatch(r"[\d.]+[kMG]?", frames[1][2].split()[4])
    # a frame is never there in part: one write each, and nothing is cleared that stays
    assert "\x1b[2J" not in terminal.text
    shown = len(frames)
    terminal.size(30, 3)
    narrow = wait_for(lambda: [f for f in terminal.frames()[shown:] if len(f) == 3], "the other size", 5)[-1]
    assert all(len(line) <= 30 for line in narrow) and narrow[2].startswith("and 2 more")
    assert terminal.end() == 0
    assert terminal.text.endswith(LEAVE) and terminal.text.count(LEAVE) == 1


def test_stop_and_go_on(nswrap, site):
    """Ctrl-Z gives the terminal back, and fg takes it again."""
    terminal = Terminal(nswrap, 80, 24, "mesh", "status", "-w", site.name)
    terminal.wait_frames(1)
    terminal.popen.send_signal(signal.SIGTSTP)
    wait_for(lambda: harness.proc_status(terminal.popen.pid)["State"].startswith("T"), "it to stop")
    assert terminal.read().endswith(LEAVE)
    shown = len(terminal.frames())
    terminal.popen.send_signal(signal.SIGCONT)
    terminal.wait_frames(shown + 1)
    assert terminal.text.count(ENTER) == 2
    assert terminal.end(signal.SIGTERM) == 0


def wait_stuck(popen):
    """Until it takes no more signals, as nobody takes its frame."""
    def is_stuck():
        popen.send_signal(signal.SIGWINCH)
        until = time.monotonic() + 0.3 * PATIENCE
        while int(harness.proc_status(popen.pid)["ShdPnd"], 16) >> signal.SIGWINCH - 1 & 1:
            if time.monotonic() > until:
                return True
        return False

    wait_for(is_stuck, "a frame that nobody takes")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_the_end_where_nobody_takes_it(nswrap, site, number):
    """On a terminal that is stopped (Ctrl-S), and in front of a pipe that is full."""
    terminal = Terminal(nswrap, 80, 24, "mesh", "status", "--watch", site.name)
    terminal.wait_frames(1)
    termios.tcflow(terminal.slave, termios.TCOOFF)
    wait_stuck(terminal.popen)
    assert terminal.end(number) == 0
    read, write = harness.full_pipe()
    popen = nswrap.popen("mesh", "status", "--watch", site.name, stdout=write)
    os.close(write)
    wait_stuck(popen)
    popen.send_signal(number)
    assert popen.wait(10 * PATIENCE) == 0
    os.close(read)


def test_the_end_of_the_mesh(nswrap, site):
    """It is said on the screen that was there before; a manager that is stopped can be left."""
    terminal = Terminal(nswrap, 80, 24, "mesh", "status", "--watch", site.name)
    terminal.wait_frames(1)
    manager = site.running.popen
    os.kill(manager.pid, signal.SIGSTOP)
    other = Terminal(nswrap, 80, 24, "mesh", "status", "--watch", site.name)
    wait_for(lambda: other.read(), "the screen")
    assert other.end() == 0 and other.text.endswith(LEAVE)
    os.kill(manager.pid, signal.SIGCONT)
    assert nswrap.run("mesh", "stop", site.name).returncode == 0
    assert terminal.popen.wait(10) == 0
    assert terminal.read().endswith(LEAVE + "nswrap: the mesh has ended\r\n")


def test_no_terminal(nswrap, site):
    """One table after another, or with --json a line each."""
    popen = nswrap.popen("mesh", "status", "--watch", site.name, stdout=subprocess.PIPE)
    lines = [popen.stdout.readline().decode() for _ in range(10)]
    assert "\x1b" not in "".join(lines)
    assert [number for number, line in enumerate(lines) if line.startswith("HOST ")] == [1, 6]
    popen.send_signal(signal.SIGINT)
    assert popen.wait(10) == 0
    popen = nswrap.popen("mesh", "status", "--watch", "--json", site.name, stdout=subprocess.PIPE)
    first, second = (json.loads(popen.stdout.readline()) for _ in range(2))
    assert [host["name"] for host in first["hosts"]] == ["box", "plain"]
    assert first["hosts"][0]["in"]["rate"] is None and second["hosts"][0]["in"]["rate"] >= 0
    popen.terminate()
    assert popen.wait(10) == 0
    # a terminal that can nothing is none
    for term in "dumb", "":
        terminal = Terminal(nswrap, 80, 24, "mesh", "status", "--watch", site.name, term=term)
        wait_for(lambda terminal=terminal: terminal.read().count("HOST ") >= 2, "two tables")
        assert "\x1b" not in terminal.text and terminal.end() == 0


def test_rates(nswrap, site):
    """What goes through a host a second."""
    box = Box.__new__(Box)
    box.nswrap, box.name = nswrap, "box"
    popen = nswrap.popen("mesh", "status", "--watch", "--json", site.name, stdout=subprocess.PIPE)
    popen.stdout.readline()
    flood = ("import socket, time\n"
             "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
             f"for _ in range(400):\n s.sendto(b'x' * 10000, ('{network()}.102', 10053))\n time.sleep(.005)\n")
    box.do(*harness.python(flood))
    rates = [json.loads(popen.stdout.readline())["hosts"][0]["in"]["rate"] for _ in range(3)]
    popen.terminate()
    popen.wait(10)
    assert 400_000 < max(rates) < 20_000_000, rates


@pytest.mark.parametrize("words, text", [
    (["--watch", "site.yaml"], b"--watch: only with status"),
    (["reload", "--watch"], b"--watch: only with status"),
    (["status", "--watch", "no-such"], b"no-such"),
])
def test_wrong_calls(nswrap, words, text):
    done = nswrap.run("mesh", *words)
    assert done.returncode in (2, 125) and text in done.stderr and done.stderr.count(b"\n") == 1
