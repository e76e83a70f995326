# SPDX-License-Identifier: Apache-2.0
"""e2e/beside - a few pytests side by side

`python3 tests/e2e/beside.py ARGS...` is `pytest tests/e2e ARGS...`, in less time: each of WORKERS pytests
has a part of the tests, and who has run all of its own helps whoever has most left. The reports of the
others go to the first one, so there is one summary. Tests with the mark `waits` are what the last one
begins with, so that for as long as possible one of them only waits.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile

WORKERS = 3
NUMBER, REPORTS, TAKEN = "NSWRAP_TESTS_NUMBER", "NSWRAP_TESTS_REPORTS", "NSWRAP_TESTS_TAKEN"


class Shared:
    """What every pytest is: a plugin that runs the tests in its turn."""

    def __init__(self, config):
        self.config = config
        self.reports_fd = int(os.environ.pop(REPORTS))
        self.taken_fd = int(os.environ.pop(TAKEN))
        self.number = int(os.environ.pop(NUMBER))
        for fd in self.reports_fd, self.taken_fd:
            os.set_inheritable(fd, False)
        self.rest = b""

    @contextlib.contextmanager
    def alone(self, byte):
        """One of the pytests at a time is in here; @byte: of what."""
        fcntl.lockf(self.taken_fd, fcntl.LOCK_EX, 1, byte)
        yield
        fcntl.lockf(self.taken_fd, fcntl.LOCK_UN, 1, byte)

    def claim(self, count):
        """The number of the next test of @count that nobody has taken; None: there is none."""
        with self.alone(0):
            parts = json.loads(os.pread(self.taken_fd, 4096, 0) or "null") or \
                [[count * n // WORKERS, count * (n + 1) // WORKERS] for n in range(WORKERS)]
            own = parts[self.number]
            most = max(parts, key=lambda part: part[1] - part[0])
            if own[0] < own[1]:
                number, own[0] = own[0], own[0] + 1
            elif most[0] < most[1]:
                number = most[1] = most[1] - 1
            else:
                return None
            os.pwrite(self.taken_fd, json.dumps(parts).ljust(400).encode(), 0)
            return number

    def end(self):
        """Nobody gets another test; what the others still say is heard."""
        with self.alone(0):
            os.pwrite(self.taken_fd, json.dumps([[0, 0]] * WORKERS).ljust(400).encode(), 0)
        while self.take_reports(None):
            pass

    def turns(self, items):
        waiting = [item for item in items if item.get_closest_marker("waits")]
        others = [item for item in items if not item.get_closest_marker("waits")]
        last = len(items) * (WORKERS - 1) // WORKERS
        items = others[:last] + waiting + others[last:]
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
            if session.shouldfail or session.shouldstop:
                self.end()
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
            item = following
        while self.take_reports(None):
            pass
        return True

    def pytest_runtest_logreport(self, report):
        """Of the others: also to the first."""
        if self.number > 0:
            data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
            with self.alone(1), open(self.reports_fd, "wb", closefd=False) as pipe:
                pipe.write(json.dumps(data).encode() + b"\n")

    def take_reports(self, timeout):
        """Of the others: what they have told by now. Returns whether there may be more."""
        while self.number == 0 and select.select([self.reports_fd], [], [], timeout)[0]:
            part = os.read(self.reports_fd, 65536)
            if not part:
                return False
            *lines, self.rest = (self.rest + part).split(b"\n")
            for line in lines:
                report = self.config.hook.pytest_report_from_serializable(
                    config=self.config, data=json.loads(line))
                self.config.hook.pytest_runtest_logreport(report=report)
        return self.number == 0


def configure(config):
    """Of a pytest that main() has started."""
    if REPORTS in os.environ:
        config.pluginmanager.register(Shared(config))


def main(args):
    there, here = os.pipe()
    with tempfile.TemporaryFile() as taken, contextlib.ExitStack() as files:
        def start(number, reports, **options):
            names = {NUMBER: str(number), REPORTS: str(reports), TAKEN: str(taken.fileno())}
            line = [sys.executable, "-m", "pytest", pathlib.Path(__file__).parent, *args]
            return subprocess.Popen(line, env={**os.environ, **names}, pass_fds=(reports, taken.fileno()), **options)

        said = [files.enter_context(tempfile.TemporaryFile()) for _ in range(1, WORKERS)]
        others = [start(n, here, stdout=file, stderr=file) for n, file in enumerate(said, 1)]
        os.close(here)
        status = start(0, there).wait()
        if status not in (0, 1):
            for other in others:
                other.send_signal(signal.SIGINT)
        for other, file in zip(others, said):
            # it may have had none of the tests, and the reports of those that failed were told
            if other.wait() not in (0, 1, 5) and status in (0, 1):
                file.seek(0)
                sys.stdout.buffer.write(file.read())
                status = other.returncode
        return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
