# SPDX-License-Identifier: Apache-2.0
"""e2e/beside - two pytests side by side: one has the tests that mostly wait, one all others

`python3 tests/e2e/beside.py ARGS...` is `pytest tests/e2e ARGS...`, in less time. Tests with the mark
`waits` are run by a second pytest. Its reports go to the first one, so there is one summary; and when
the first one is done with its own tests it helps with those that wait.
"""

import fcntl
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile

IS_WAITING, REPORTS, NEXT = "NSWRAP_TESTS_WAITING", "NSWRAP_TESTS_REPORTS", "NSWRAP_TESTS_NEXT"


class Shared:
    """What both pytests are: a plugin that runs the tests in its turn."""

    def __init__(self, config):
        self.config = config
        self.reports_fd = int(os.environ.pop(REPORTS))
        self.next_fd = int(os.environ.pop(NEXT))
        self.is_waiting = bool(os.environ.pop(IS_WAITING))
        for fd in self.reports_fd, self.next_fd:
            os.set_inheritable(fd, False)
        self.rest = b""

    def claim(self):
        """The number, among the tests that wait, of the next one that nobody has taken."""
        fcntl.lockf(self.next_fd, fcntl.LOCK_EX)
        number = int(os.pread(self.next_fd, 20, 0) or 0)
        os.pwrite(self.next_fd, b"%d" % (number + 1), 0)
        fcntl.lockf(self.next_fd, fcntl.LOCK_UN)
        return number

    def turns(self, items):
        waiting = [item for item in items if item.get_closest_marker("waits")]
        if not self.is_waiting:
            yield from (item for item in items if not item.get_closest_marker("waits"))
        while (number := self.claim()) < len(waiting):
            yield waiting[number]

    def pytest_runtestloop(self, session):
        turns = self.turns(session.items)
        item = next(turns, None) if not session.config.option.collectonly else None
        while item:
            # known before, so that what tests share is not set up again
            following = next(turns, None)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self.take_reports(0)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
            item = following
        while self.take_reports(None):
            pass
        return True

    def pytest_runtest_logreport(self, report):
        """Of the one that has the tests that wait: also to the other one."""
        if self.is_waiting:
            data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
            with open(self.reports_fd, "wb", closefd=False) as pipe:
                pipe.write(json.dumps(data).encode() + b"\n")

    def take_reports(self, timeout):
        """Of the other one: what it has told by now. Returns whether there may be more."""
        while not self.is_waiting and select.select([self.reports_fd], [], [], timeout)[0]:
            part = os.read(self.reports_fd, 65536)
            if not part:
                return False
            *lines, self.rest = (self.rest + part).split(b"\n")
            for line in lines:
                report = self.config.hook.pytest_report_from_serializable(
                    config=self.config, data=json.loads(line))
                self.config.hook.pytest_runtest_logreport(report=report)
        return not self.is_waiting


def configure(config):
    """Of a pytest that main() has started."""
    if REPORTS in os.environ:
        config.pluginmanager.register(Shared(config))


def main(args):
    there, here = os.pipe()
    with tempfile.TemporaryFile() as counter, tempfile.TemporaryFile() as said:
        fds = {NEXT: counter.fileno()}

        def start(is_waiting, reports, **options):
            names = {IS_WAITING: "1" if is_waiting else "", REPORTS: str(reports), NEXT: str(fds[NEXT])}
            line = [sys.executable, "-m", "pytest", pathlib.Path(__file__).parent, *args]
            return subprocess.Popen(line, env={**os.environ, **names}, pass_fds=(reports, fds[NEXT]), **options)

        waiting = start(True, here, stdout=said, stderr=said)
        os.close(here)
        status = start(False, there).wait()
        if status not in (0, 1):
            waiting.send_signal(signal.SIGINT)
        # it may have had none of the tests, and the reports of those that failed were told
        if waiting.wait() not in (0, 1, 5) and status in (0, 1):
            said.seek(0)
            sys.stdout.buffer.write(said.read())
            return waiting.returncode
        return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
