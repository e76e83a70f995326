# SPDX-License-Identifier: Apache-2.0
"""e2e/test_pairs - two processes killed or stopped at once, in every phase: nothing spins or stays"""

import contextlib
import itertools
import os
import pathlib
import signal
import subprocess
import time

import pytest

from harness import BINARY, cpu_ticks, describe, descendants, is_alive, left_below, process_table, wait_for
from tools import THOROUGH, Roles

KILL, STOP = signal.SIGKILL, signal.SIGSTOP
WAYS = list(itertools.product((KILL, STOP), repeat=2))
TICKS = os.sysconf("SC_CLK_TCK")
WINDOW_S = 0.5
GONE_S = 20
# COMMAND does not end by SIGTERM, so that the end takes as long as -t says
STUBBORN = "trap '' TERM; echo here; while :; do read x </proc/self/fd/9; done 9<>\"$0\""


class Family:
    """All that was started since, and nothing else: what is left of it, and what it uses."""

    def __init__(self):
        self.before = set(descendants(os.getpid()))
        self.started = set()  # a Popen waits for them

    def left(self):
        return [pid for pid in left_below(self.before, self.started) if is_alive(pid)]

    def is_quiet(self):
        """Over some time they all together use less than a fifth of a processor."""
        def ticks():
            total = 0
            for pid in self.left():
                with contextlib.suppress(OSError):
                    total += cpu_ticks(pid)
            return total

        before = ticks()
        time.sleep(WINDOW_S)
        return ticks() - before < TICKS * WINDOW_S / 5

    def wait(self):
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not self.left(), "all to end", GONE_S)
        return [describe(pid) for pid in self.left()]

    def clean(self):
        while self.left():
            for pid in self.left():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, KILL)


@pytest.fixture
def family():
    found = Family()
    yield found
    found.clean()


def strike(pids, signals):
    for pid, sig in zip(pids, signals):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sig)


def end(top, pids, signals):
    """Who can end ends: what is stopped goes on only where nobody above it is left to see to it."""
    signal_of = dict(zip(pids, signals))
    if top in signal_of:
        for pid, sig in signal_of.items():
            if sig == STOP:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
    with contextlib.suppress(ProcessLookupError):
        os.kill(top, signal.SIGTERM)


def sockets_go(nswrap, env, allowed):
    """
    Of @allowed (None: of any) the one who would have removed its socket was killed with its heir. Who
    looks for sandboxes removes those.
    """
    directory = pathlib.Path(env["XDG_RUNTIME_DIR"])
    left = [path.stem for path in directory.rglob("*.sock")]
    assert allowed is None or set(left) <= set(allowed)
    for words in (["ps"], ["mesh", "status"]):
        nswrap.run(*words, env=env)
    assert list(directory.rglob("*.sock")) == []


# --- a sandbox ------------------------------------------------------------------------------------------

ROLES = ["supervisor", "init", "net", "command"]
CASES = [(roles, signals) for roles in itertools.combinations(ROLES, 2) for signals in WAYS]


def start_all(nswrap, options, command):
    found = []
    for number, case in enumerate(CASES):
        running = nswrap.start("-q", "-t", "0.2", "-n", f"box{number}", *options, "-p", 0, "-P", 8000, "--", *command)
        found.append((running, *case))
    for running, *_ in found:
        running.wait_event("started")
    return [(running, Roles(running), *case) for running, *case in found]


@pytest.mark.limit(120)
@pytest.mark.parametrize("phase", ["running", "ending"])
@pytest.mark.parametrize("options", [[], ["--pid"]] if THOROUGH else [[]], ids=" ".join)
def test_a_sandbox(nswrap, family, tmp_path, options, phase):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    boxes = start_all(nswrap, options, ["sh", "-c", STUBBORN, fifo])
    struck = []
    for running, roles, names, signals in boxes:
        struck.append((running, [getattr(roles, name) for name in names], names, signals))
    for running, *_ in struck:
        family.started.add(running.pid)
        running.read_line()
        if phase == "ending":
            running.signal(signal.SIGTERM)
    for _, pids, _, signals in struck:
        strike(pids, signals)
    wait_for(family.is_quiet, "an end of all work", GONE_S)
    for running, pids, _, signals in struck:
        end(running.pid, pids, signals)
    assert family.wait() == []
    sockets_go(nswrap, nswrap.env, [f"box{number}" for number, (_, _, names, _) in enumerate(struck)
                                    if names == ("supervisor", "init")])
    for running, _, names, signals in struck:
        status = running.popen.wait(1)
        if "supervisor" not in names and signals == (KILL, KILL):
            assert status in ([125] if names == ("init", "net") else [125, 128 + KILL]), names


@pytest.mark.limit(120)
@pytest.mark.parametrize("signals", WAYS, ids=lambda pair: "-".join(sig.name for sig in pair))
def test_a_start(nswrap, family, signals):
    """Supervisor and init, or init and COMMAND, at any time from when they are there."""
    struck = []
    for number in range(40 if THOROUGH else 12):
        popen = nswrap.popen("-q", "-t", "0.2", "-n", f"box{number}", "-p", "0", "-P", "8000", "sleep", "1000",
                             stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        family.started.add(popen.pid)
        below = wait_for(lambda pid=popen.pid: children(pid), "init")
        time.sleep(number * 0.001)
        command = children(below[0])
        pids = [below[0], command[0]] if number % 3 == 0 and command else [popen.pid, below[0]]
        strike(pids, signals)
        # now: one that is stopped may hold the lock of the names, for which the next one waits
        end(popen.pid, pids, signals)
        struck.append((popen, pids))
    wait_for(family.is_quiet, "an end of all work", GONE_S)
    assert family.wait() == []
    sockets_go(nswrap, nswrap.env, None)
    for popen, _ in struck:
        popen.wait(1)


# --- a sandbox with a link, and one that is entered -----------------------------------------------------

# by what starts them, from the supervisor down: its own name, or the only child
LINKED = {"supervisor": [], "witness": ["nswrap: witness"], "via": ["nswrap: via"], "exit": ["nswrap: via", ""],
          "stack": ["nswrap: via", "", "nswrap: stack"]}
ENTERED = {"supervisor": [], "witness": ["nswrap: witness"]}
INSIDE = {"exec": [], "own witness": ["nswrap: witness"], "entered": [""]}


def below(pid, names):
    """Each the child that is called so of the one before."""
    for name in names:
        def look(parent=pid, name=name):
            return [child for child, (ppid, state, comm) in process_table().items()
                    if ppid == parent and state != "Z" and (comm == name if name else not comm.startswith("nswrap: w"))]

        pid = wait_for(look, f"{name} below {pid}")[0]
    return pid


@pytest.mark.limit(120)
@pytest.mark.parametrize("what", ["a link", "exec"])
def test_what_stands_beside_a_sandbox(nswrap, family, what):
    """The processes of --via and its exit, and of exec, and the witnesses of signals: any two, in any way."""
    parts = LINKED if what == "a link" else {**ENTERED, **INSIDE}
    pairs = [pair for pair in itertools.combinations(parts, 2) if what == "a link" or not set(pair) <= set(ENTERED)]
    # every pair, and every way, but not all of both
    cases = list(itertools.product(pairs, WAYS))[::1 if THOROUGH else 3]
    started = []
    for number, (names, signals) in enumerate(cases):
        words = ["--via", f"exec:{BINARY} exit"] if what == "a link" else ["--network", "none"]
        running = nswrap.start("-q", "-t", "0.2", "-n", f"box{number}", *words, "--", "sleep", "1000")
        started.append((running, names, signals))
    struck = []
    for number, (running, names, signals) in enumerate(started):
        running.wait_event("started")
        family.started.add(running.pid)
        inside = running
        if what == "exec":
            inside = nswrap.popen("exec", "-t", "0.2", f"box{number}", "sleep", "1000", stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            family.started.add(inside.pid)
        struck.append((running, inside, names, signals))
    aimed = [(running, inside, signals,
              [below(inside.pid if name in INSIDE else running.pid, parts[name]) for name in names])
             for running, inside, names, signals in struck]
    for _, _, signals, pids in aimed:
        strike(pids, signals)
    wait_for(family.is_quiet, "an end of all work", GONE_S)
    for running, inside, signals, pids in aimed:
        for top in {running.pid, inside.pid}:
            end(top, pids, signals)
    assert family.wait() == []
    sockets_go(nswrap, nswrap.env, [f"box{number}" for number in range(len(started))])


def children(pid):
    return [child for child, (ppid, state, _) in process_table().items() if ppid == pid and state != "Z"]


# --- a mesh ---------------------------------------------------------------------------------------------

MANIFEST = """
hosts:
  here: {vip: 127.0.77.1, loopback: {disable: true}, cmd: "%s agent"}
  box: {vip: 127.0.77.2, cmd: "%s -q -t 0.2 -n box --network none -c 'exec sleep 1000' agent"}
"""
PARTS = ["manager", "agent", "stack", "supervisor", "companion"]


@pytest.mark.limit(200)
@pytest.mark.parametrize("signals", WAYS, ids=lambda pair: "-".join(sig.name for sig in pair))
def test_a_mesh(nswrap, family, tmp_path, signals):
    """Whatever two parts of it: the manager and what it has started end when it is told to."""
    manifest = tmp_path / "mesh.yaml"
    manifest.write_text(MANIFEST % (BINARY, BINARY))
    struck = []
    for number, names in enumerate(itertools.combinations(PARTS, 2)):
        directory = tmp_path / str(number)
        directory.mkdir(mode=0o700)
        popen = nswrap.popen("mesh", manifest, env={"XDG_RUNTIME_DIR": str(directory)}, stdin=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        family.started.add(popen.pid)
        struck.append((popen, names))
    aimed = [(popen, [wait_for(lambda p=popen, n=name: part(p.pid, n), name) for name in names])
             for popen, names in struck]
    for _, pids in aimed:
        strike(pids, signals)
    wait_for(family.is_quiet, "an end of all work", GONE_S)
    for popen, pids in aimed:
        end(popen.pid, pids, signals)
    assert family.wait() == []
    for number, (popen, _) in enumerate(struck):
        popen.wait(1)
        sockets_go(nswrap, {**nswrap.env, "XDG_RUNTIME_DIR": str(tmp_path / str(number))}, None)


def part(manager, name):
    """The pid of a part of a mesh, by its place in the tree."""
    if name == "manager":
        return manager
    for top in children(manager):
        table = process_table()
        below = {child: table[child][2] for child in descendants(top) if child in table}
        is_box = any(comm == "nswrap: init" for comm in below.values())
        stack = next((pid for pid, comm in below.items() if comm == "nswrap: stack"), None)
        if not stack or is_box != (name in ("supervisor", "companion")):
            continue
        return {"agent": top, "stack": stack, "supervisor": top, "companion": table[stack][0]}[name]
    return None
