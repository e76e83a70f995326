# SPDX-License-Identifier: Apache-2.0
"""e2e/systemd - a stand-in for a service manager, as sd_notify(3) and daemon(7) describe it"""

import array
import contextlib
import os
import shlex
import signal
import socket
import struct
import subprocess

from harness import PATIENCE, descendants, is_alive, python

CREDENTIALS = struct.Struct("iii")
MESSAGE_BYTES = 4096


class Message:
    """One datagram: its lines, who sent it, and the descriptors that came with it."""

    def __init__(self, text, control):
        self.lines = text.decode().splitlines()
        self.pid = None
        self.fds = []
        for _, kind, data in control:
            if kind == socket.SCM_CREDENTIALS:
                self.pid = CREDENTIALS.unpack(data)[0]
            elif kind == socket.SCM_RIGHTS:
                self.fds += array.array("i", data)

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.fds = []


class Manager:
    """What a service's NOTIFY_SOCKET leads to."""

    def __init__(self, address):
        """address: a path, or "@name"."""
        self.address = str(address)
        self.messages = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(self.address.replace("@", "\0", 1))

    @property
    def env(self):
        return {"NOTIFY_SOCKET": self.address}

    def receive(self, timeout=10):
        """The next message; who waits at a barrier goes on when it is closed."""
        self._socket.settimeout(timeout * PATIENCE)
        text, control, _, _ = self._socket.recvmsg(MESSAGE_BYTES, 1024)
        self.messages.append(Message(text, control))
        return self.messages[-1]

    def wait_for(self, line, timeout=10):
        """The first message from now on that has the line; barriers on the way are let go."""
        while True:
            message = self.receive(timeout)
            if line in message.lines:
                return message
            message.close()

    def receive_all(self):
        """Those that are there now."""
        found = []
        with contextlib.suppress(TimeoutError, BlockingIOError):
            while True:
                found.append(self.receive(0))
        return found

    def close(self):
        for message in self.messages:
            message.close()
        self._socket.close()


# argv: names, descriptors (both separated by commas), the program and its arguments
ACTIVATES = """
import os, sys
names, fds = sys.argv[1].split(','), [int(fd) for fd in sys.argv[2].split(',')]
high = [os.dup2(fd, 100 + i) for i, fd in enumerate(fds)]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i, inheritable=True)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=':'.join(names))
os.execv(sys.argv[3], sys.argv[3:])
"""


def activated(sockets):
    """(words in front of a program, pass_fds) that hand it sockets, a dict or pairs of name and socket."""
    pairs = list(sockets.items()) if isinstance(sockets, dict) else sockets
    fds = [s.fileno() for _, s in pairs]
    return [*python(ACTIVATES, ",".join(name for name, _ in pairs), ",".join(map(str, fds)))], fds


def kill_unit(pid, number, mode):
    """A stop as systemd.kill(5) has it: KillMode=mixed tells the main process, control-group all."""
    for target in [pid, *(descendants(pid) if mode == "control-group" else [])]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(target, number)


class Service:
    """One that a unit describes: what systemd.service(5) and systemd.exec(5) say of the keys that ours have."""

    def __init__(self, nswrap, unit, instance, home, manager, **options):
        """unit: the file; home: where ~ is."""
        self.nswrap, self.home, self.manager, self.instance = nswrap, home, manager, instance
        self.keys = {}
        for line in unit.read_text().splitlines():
            if "=" in line and not line.startswith("#"):
                key, value = line.split("=", 1)
                self.keys[key] = value.replace("%i", instance).replace("%E", str(home / ".config"))
        assert self.keys["Type"] == "notify"
        self.env = {**nswrap.env, **manager.env, "HOME": str(home)}
        if "EnvironmentFile" in self.keys:
            with open(self.keys["EnvironmentFile"], encoding="utf-8") as lines:
                self.env.update(line.rstrip("\n").split("=", 1) for line in lines)
        self.popen = subprocess.Popen(self._words("ExecStart"), env=self.env, stdin=subprocess.DEVNULL, **options)
        nswrap.started.append(self.popen)

    def _words(self, key):
        words = shlex.split(self.keys[key])
        return [self.env.get(w[2:-1], "") if w.startswith("${") else w for w in words]

    def wait_ready(self):
        """Until a message of the main process says so."""
        while (message := self.manager.wait_for("READY=1", 30)).pid != self.popen.pid:
            pass
        return message

    def reload(self):
        return subprocess.run(self._words("ExecReload"), env=self.env, capture_output=True, timeout=30 * PATIENCE)

    def stop(self):
        """Is it a success, and is nothing left?"""
        tree = descendants(self.popen.pid)
        kill_unit(self.popen.pid, signal.SIGTERM, self.keys.get("KillMode", "control-group"))
        status = self.popen.wait(20 * PATIENCE)
        status = status if status >= 0 else 128 - status
        fine = {0, *map(int, self.keys.get("SuccessExitStatus", "").split())}
        return status in fine and not any(map(is_alive, tree))
