# SPDX-License-Identifier: Apache-2.0
"""bench/shell - a shell in a network of its own, told what to do through its stdin"""

import contextlib
import pathlib
import subprocess

from probes import Failed, descendants, free_port, private_kib


class Shell:
    """A candidate's shell with forwards to n ports inside."""

    def __init__(self, candidate, n, directory):
        self.candidate = candidate
        self.directory = directory
        host_ports = [free_port() for _ in range(n)]
        self.forwards = [(h, candidate.guest_port(h, i)) for i, h in enumerate(host_ports)]
        self.popen = subprocess.Popen(
            candidate.command(self.forwards, ["sh"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, cwd=directory)
        self.others = []

    def __enter__(self):
        try:
            if self.do("echo up") != "up":
                raise Failed("the shell did not start")
            self.others = self.candidate.after_start(self.popen, self.forwards, self.directory)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def do(self, line):
        """Run a line inside and return what it prints, up to the end of its first line."""
        try:
            self.popen.stdin.write(line.encode() + b"\n")
            self.popen.stdin.flush()
        except BrokenPipeError:
            raise Failed("the shell ended") from None
        return self.popen.stdout.readline().decode().strip()

    def spawn(self, *command):
        """Start a server inside."""
        words = " ".join(map(str, command))
        self.do(f"{words} >/dev/null 2>&1 </dev/null & last=$!; mine=\"$mine $!\"; echo")

    def end_last(self):
        """End the server that was started last."""
        self.do("kill -KILL $last; wait $last 2>/dev/null; echo")

    def tool(self):
        """The tool's processes: all but the shell inside, and what that has started."""
        # the shell's own number inside is no help: some make a PID namespace
        return [pid for root in (self.popen, *self.others) for pid in descendants(root.pid)
                if pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() != b"sh\0"]

    def private_kib(self):
        return private_kib(self.tool())

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.popen.stdin.write(b"kill $mine; exit\n")
            self.popen.stdin.close()
        for popen in (self.popen, *self.others):
            try:
                popen.wait(0.5 if popen in self.others else 5)
            except subprocess.TimeoutExpired:
                popen.terminate()
                try:
                    popen.wait(5)
                except subprocess.TimeoutExpired:
                    popen.kill()
                    popen.wait()
        self.popen.stdout.close()
