# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_starting - until a host is ready: logging in, prompts, job control, what cannot work"""

import re
import time

import pytest

from harness import PATIENCE, wait_for
from test_mesh_manager import Mesh

# to be put in front of an agent: it goes on when the test says so
GATE = "while ! test -e {gate}; do sleep 0.02; done; "


@pytest.fixture
def mesh(nswrap, short_dir):
    return Mesh(nswrap, short_dir)


# --- logging in -----------------------------------------------------------------------------------


def test_logging_in_takes_as_long_as_it_takes(mesh):
    """A pod is pulled: longer than an agent has time to answer in. What it says is shown meanwhile."""
    gate = mesh.directory / "gate"
    before = "echo pulling >&2; echo Welcome; printf 'Enter code: ' >&2; " + GATE.format(gate=gate)
    mesh.fake("pod", wrap=before + 'exec {} "$@"')
    running = mesh.start(ready=False)
    for text in ("pulling", "Welcome", "Enter code: "):
        running.wait_line(f"^pod: {text}$")
    began = time.monotonic()
    host = wait_for(lambda: (host := mesh.status()["pod"])["age"] >= 11 and host, "eleven seconds", 15)
    assert (host["state"], host["note"], host["restarts"]) == ("starting", "Enter code: ", 0)
    table = mesh.nswrap.run("mesh", "status", mesh.name).stdout.decode()
    assert re.search(r"^pod .* starting +1[1-9]s .*Enter code:", table, re.M), table
    gate.touch()
    running.wait_line("^nswrap: pod: ready at")
    assert time.monotonic() - began < 20 * PATIENCE
    assert mesh.status()["pod"]["note"] is None
    assert "lost" not in running.stderr.text()


def test_what_is_no_agent_is_shown_and_told(mesh):
    """The words of the other side's shell are the reason, and come as lines, too."""
    mesh.host("shell", ["sh", "-c", "echo 'sh: 1: nswrap: not found'; exit 127"])
    running = mesh.start(ready=False)
    running.wait_line(r"^shell: sh: 1: nswrap: not found$")
    running.wait_line(r'^nswrap: shell: lost: .*found other bytes: "sh: 1: nswrap: not found')
