# SPDX-License-Identifier: Apache-2.0
"""e2e/beside - two pytests side by side, from both ends of the tests

`python3 tests/e2e/beside.py ARGS...` is `pytest tests/e2e ARGS...`, in less time: a second pytest takes
the tests from the end until the two meet, and its reports go to the first one, so there is one summary.
Tests with the mark `waits` are the last, so that for as long as possible one of the two only waits.
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

IS_SECOND, REPORTS, TAKEN = "NSWRAP_TESTS_SECOND", "NSWRAP_TESTS_REPORTS", "NSWRAP_TESTS_TAKEN"


class Shared:
    """What both pytests are: a plugin that runs the tests in its turn."""

    def __init__(self, config):
        self.config = config
        self.reports_fd = int(os.environ.pop(REPORTS))
        self.taken_fd = int(os.environ.pop(TAKEN))
        self.is_second = bool(os.environ.pop(IS_SECOND))
        for fd in self.reports_fd, self.taken_fd:
            os.set_inheritable(fd, False)
        self.rest = b""

    def claim(self, count):
        """The number of the next test of @count that nobody has taken; None: there is none."""
        fcntl.lockf(self.taken_fd, fcntl.LOCK_EX)
        front, back = map(int, (os.pread(self.taken_fd, 40, 0) or b"0 0").split())
        if front + back == count:
            number = None
        elif self.is_second:
            number, back = count - 1 - back, back + 1
        else:
            number, front = front, front + 1
        os.pwrite(self.taken_fd, b"%d %d" % (front, back), 0)
        fcntl.lockf(self.taken_fd, fcntl.LOCK_UN)
        return number

    def turns(self, items):
        items = sorted(items, key=lambda item: item.get_closest_marker("waits") is not None)
        while (number := self.claim(len(items))) is not None:
            yield items[number]

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
        """Of the second: also to the other one."""
        if self.is_second:
            data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
            with open(self.reports_fd, "wb", closefd=False) as pipe:
                pipe.write(json.dumps(data).encode() + b"\n")

    def take_reports(self, timeout):
        """Of the second one: what it has told by now. Returns whether there may be more."""
        while not self.is_second and select.select([self.reports_fd], [], [], timeout)[0]:
            part = os.read(self.reports_fd, 65536)
            if not part:
                return False
            *lines, self.rest = (self.rest + part).split(b"\n")
            for line in lines:
                report = self.config.hook.pytest_report_from_serializable(
                    config=self.config, data=json.loads(line))
                self.config.hook.pytest_runtest_logreport(report=report)
        return not self.is_second


def configure(config):
    """Of a pytest that main() has started."""
    if REPORTS in os.environ:
        config.pluginmanager.register(Shared(config))


def main(args):
    there, here = os.pipe()
    with tempfile.TemporaryFile() as counter, tempfile.TemporaryFile() as said:
        fds = {TAKEN: counter.fileno()}

        def start(is_second, reports, **options):
            names = {IS_SECOND: "1" if is_second else "", REPORTS: str(reports), TAKEN: str(fds[TAKEN])}
            line = [sys.executable, "-m", "pytest", pathlib.Path(__file__).parent, *args]
            return subprocess.Popen(line, env={**os.environ, **names}, pass_fds=(reports, fds[TAKEN]), **options)

        second = start(True, here, stdout=said, stderr=said)
        os.close(here)
        status = start(False, there).wait()
        if status not in (0, 1):
            second.send_signal(signal.SIGINT)
        # it may have had none of the tests, and the reports of those that failed were told
        if second.wait() not in (0, 1, 5) and status in (0, 1):
            said.seek(0)
            sys.stdout.buffer.write(said.read())
            return second.returncode
        return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
