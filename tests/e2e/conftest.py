# SPDX-License-Identifier: Apache-2.0
"""e2e/conftest - fixtures: a clean nswrap for each test, and nothing left behind after it"""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading

import pytest

import beside
import harness
import mesh_tools
import tools

IN_CI = os.environ.get("CI") == "true"
LIMIT_S = 60
# their programs are nowhere to be had by a package: these are for who has them
PROGRAMS = {"NOROUTER": "test_mesh_norouter_program.py", "LENNUT": "test_tunnel_lennut_program.py"}
collect_ignore = [module for name, module in PROGRAMS.items() if name not in os.environ]


def pytest_configure(config):
    harness.become_subreaper()
    # under nohup(1) all that tests start would ignore it
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    beside.configure(config)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a test that does not run has not passed."""
    outcome = yield
    report = outcome.get_result()
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"


def pytest_collection_modifyitems(session, config, items):
    if not os.access(harness.BINARY, os.X_OK):
        raise pytest.UsageError(f"no program at {harness.BINARY}: run make first")


def pytest_generate_tests(metafunc):
    """The mark `agents`: with each kind of agent; agents(thorough=True): where there is time for that."""
    marker = metafunc.definition.get_closest_marker("agents")
    if marker and (tools.THOROUGH or not marker.kwargs.get("thorough")):
        kinds = [kind for kind in mesh_tools.AGENT_KINDS if kind not in marker.kwargs.get("but", ())]
        metafunc.parametrize("agent_kind", kinds, indirect=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """A test that hangs fails."""
    marker = item.get_closest_marker("limit")
    limit_s = int((marker.args[0] if marker else LIMIT_S) * harness.PATIENCE)

    def on_alarm(*_):
        raise AssertionError(f"the test took longer than {limit_s} s")

    previous = signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(limit_s)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture(autouse=True)
def nothing_left():
    """What a test started is gone when it ends; what is not is killed, and the test fails."""
    before = set(harness.descendants(os.getpid()))
    threads = set(threading.enumerate())
    yield

    def left():
        return harness.left_below(before)

    try:
        harness.wait_for(lambda: not left(), "all processes to be gone", 5)
    except AssertionError:
        found = left()
        text = "\n".join(map(harness.describe, found))
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        harness.wait_for(lambda: not left(), "killed processes to be gone", 5)
        pytest.fail(f"processes left behind:\n{text}")
    # one that waits in a call would wait on whatever has the number of its descriptor then
    harness.wait_for(lambda: not set(threading.enumerate()) - threads, "all threads to end", 5)


@pytest.fixture(autouse=True)
def agent_kind(request):
    """What the agents of the test are (mesh_tools.AGENT_KIND)."""
    mesh_tools.AGENT_KIND.name = getattr(request, "param", "kernel")
    yield mesh_tools.AGENT_KIND.name
    mesh_tools.AGENT_KIND.name = "kernel"


@pytest.fixture
def short_dir(nothing_left):
    """A private directory with a short path (unix sockets have only 107 bytes for it)."""
    path = tempfile.mkdtemp(prefix="nse.", dir="/tmp")
    yield path
    harness.remove_tree(path)


@pytest.fixture
def nswrap(short_dir):
    """Starts the program; each test has its own runtime directory, empty again at the end."""
    runtime_dir = os.path.join(short_dir, "run")
    os.mkdir(runtime_dir, 0o700)
    starter = harness.Nswrap(runtime_dir)
    yield starter
    starter.close()

    def left():
        return [f for f in starter.registry() if not f.endswith((".lock", "/lock"))
                and not starter.is_of_killed_agent(f)]

    # what a killed one leaves is taken away by its init, a moment later
    if any(popen.returncode == -signal.SIGKILL for popen in starter.started):
        with contextlib.suppress(AssertionError):
            harness.wait_for(lambda: not left(), "the files to be gone", 5)
    assert left() == []


@pytest.fixture
def outer(short_dir):
    """Makes outer hosts: outer(setup="shell lines")."""
    made = []

    def make(setup=""):
        host = harness.OuterHost(short_dir, setup)
        made.append(host)
        return host

    yield make
    for host in made:
        host.close()


@pytest.fixture
def host_server():
    """Starts one of the harness's programs on the host's loopback: (program, port) -> Popen."""
    popens = []

    def start(program, port, address="127.0.0.1", udp=False):
        popens.append(subprocess.Popen(harness.python(program, address, port)))
        harness.wait_for(lambda: harness.is_bound(port, udp), f"a server on port {port}")
        return popens[-1]

    yield start
    for popen in popens:
        popen.kill()
        popen.wait()
