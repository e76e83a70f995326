# SPDX-License-Identifier: Apache-2.0
"""e2e/tools - the helper programs of tests/tools, built by make or, if it did not, here"""

import atexit
import functools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from harness import TREE, process_table, wait_for

SOURCES = TREE / "tests" / "tools"


@functools.lru_cache(maxsize=None)
def _directory():
    path = tempfile.mkdtemp(prefix="nst.", dir="/tmp")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return pathlib.Path(path)


@functools.lru_cache(maxsize=None)
def tool(name):
    """Path of a helper program."""
    source = SOURCES / f"{name}.c"
    built = TREE / "build" / "tests" / "tools" / name
    if os.access(built, os.X_OK) and built.stat().st_mtime >= source.stat().st_mtime:
        return str(built)
    made = _directory() / name
    subprocess.run(["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-o", made, source, "-Wl,--as-needed", "-lseccomp"],
                   check=True)
    return str(made)


# argv: a command, which runs without libslirp, as root of a user namespace with its own mounts
HIDE_LIBSLIRP = """
for file in $(ldconfig -p | sed -n 's/.*libslirp.* => //p'); do mount --bind /dev/null "$(realpath "$file")"; done
exec "$@"
"""


def listed(nswrap, *words, hung=(), **options):
    """What `nswrap ps --json`, or other words, says once all answer within its second but those that hang."""

    def look():
        done = nswrap.run(*(words or ("ps",)), "--json", **options)
        assert done.returncode == 0 and not done.stderr, done.stderr
        found = json.loads(done.stdout)
        return [found] if {one["name"] for one in found if "error" in one} <= set(hung) else None

    [found] = wait_for(look, "an answer of each")
    return found


def table(nswrap, *words):
    """The same without --json: text."""

    def look():
        text = nswrap.run(*(words or ("ps",))).stdout.decode()
        return text if "does not answer" not in text else None

    return wait_for(look, "an answer of each")


THOROUGH = os.environ.get("NSWRAP_TEST_THOROUGH", "") not in ("", "0")


class Roles:
    """Pids of what a Running consists of, found by what the kernel calls them."""

    def __init__(self, running):
        self.supervisor = running.pid
        self.init = self._child(self.supervisor, "nswrap: init")
        self.command = self._child(self.init, "")

    @property
    def net(self):
        """It may be another one each time."""
        return self._child(self.supervisor, "nswrap: net")

    @staticmethod
    def _child(parent, name):
        def look():
            found = [pid for pid, (ppid, state, comm) in process_table().items()
                     if ppid == parent and comm.startswith(name) and state != "Z"]
            return min(found, default=None)

        return wait_for(look, f"a child {name!r} of {parent}")
