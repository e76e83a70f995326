# SPDX-License-Identifier: Apache-2.0
"""The units that are installed, and what docs/systemd.md says."""

import pathlib
import re
import shlex
import subprocess

import pytest

from harness import BINARY, PATIENCE, TREE, connect, free_port, http_get, wait_for
from systemd import Manager, Service

PAGE = (TREE / "docs/systemd.md").read_text()
BLOCKS = re.findall(r"^```(?:ini)?\n(.*?)^```", PAGE, re.M | re.S)


def block(word):
    """The only block of the page that has this in it."""
    [found] = [text for text in BLOCKS if word in text]
    return found


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    """A home, where the page's command has installed them."""
    home = tmp_path_factory.mktemp("home")
    command = block("make install").strip()
    # that part of it, as nothing is to be built here
    made = command.replace("make install", "make -s install-units")
    done = subprocess.run(["sh", "-c", made], cwd=TREE, env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    (home / ".local/bin").mkdir(parents=True)
    (home / ".local/bin/nswrap").symlink_to(BINARY)
    (home / ".config/nswrap").mkdir(parents=True)
    return home


@pytest.fixture
def manager(short_dir):
    manager = Manager(f"{short_dir}/manager")
    yield manager
    manager.close()


def unit_of(home, name):
    return home / ".local/share/systemd/user" / name


def test_systemd_reads_them(units, tmp_path):
    """Those that are installed, with an instance, and those of the page."""
    paths = []
    for name in "nswrap", "nswrap-mesh":
        paths.append(tmp_path / f"{name}@x.service")
        paths[-1].write_text(unit_of(units, f"{name}@.service").read_text())
    for name, text in ("app.socket", block("[Socket]")), ("app.service", block("ExecStart=nswrap")):
        paths.append(tmp_path / name)
        paths[-1].write_text(text.replace("ExecStart=nswrap", f"ExecStart={BINARY}"))
    # beside systemd's own targets nothing of what this machine has
    known = tmp_path / "known"
    known.mkdir()
    for target in pathlib.Path("/usr/lib/systemd/user").glob("*.target"):
        (known / target.name).symlink_to(target)

    def verify(*files):
        return subprocess.run(["systemd-analyze", "verify", "--user", "--man=no", *files], capture_output=True,
                              env={"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path),
                                   "SYSTEMD_UNIT_PATH": str(known), "PATH": "/usr/bin:/bin"})

    done = verify(*paths)
    assert (done.returncode, done.stderr) == (0, b"")
    broken = tmp_path / "broken.service"
    broken.write_text(paths[-1].read_text().replace("KillMode=mixed", "KillMode=maybe"))
    assert b"maybe" in verify(broken).stderr, "it looks"


def test_sandbox(nswrap, units, manager):
    """As the page has it, but at other ports."""
    port = free_port()
    text = block("COMMAND=")
    assert "8080:8000" in text
    (units / ".config/nswrap/web.env").write_text(text.replace("8080:8000", f"{port}:8000"))
    service = Service(nswrap, unit_of(units, "nswrap@.service"), "web", units, manager)
    assert service.wait_ready().pid == service.popen.pid
    assert http_get(port)[0] == 200
    assert b"web" in nswrap.run("ps").stdout
    assert service.stop()


def test_what_ends_by_itself(nswrap, units, manager):
    """on-failure is to see the status."""
    (units / ".config/nswrap/end.env").write_text("COMMAND=exit 3\n")
    service = Service(nswrap, unit_of(units, "nswrap@.service"), "end", units, manager)
    assert service.popen.wait(20 * PATIENCE) == 3


def test_what_runs_nothing(nswrap, units, manager):
    """A file without a COMMAND, or with a word like it: no success."""
    (units / ".config/nswrap/typo.env").write_text("COMMMAND=exec sleep 60\n")
    service = Service(nswrap, unit_of(units, "nswrap@.service"), "typo", units, manager, stderr=subprocess.PIPE)
    assert b"the COMMAND is empty" in service.popen.communicate(timeout=20 * PATIENCE)[1]
    assert service.popen.returncode == 2


def test_socket(nswrap, tmp_path):
    """The page's units by systemd-socket-activate, in the page's words."""
    port = free_port()
    line = block("systemd-socket-activate").strip()
    [start] = re.findall("ExecStart=(.*)", block("ExecStart=nswrap"))
    assert line.endswith(start), "one and the same"
    words = shlex.split(line.replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
    words[words.index("nswrap")] = BINARY
    words[1:1] = ["-E", f"XDG_RUNTIME_DIR={nswrap.runtime_dir}"]
    popen = subprocess.Popen(words, env=nswrap.env, stderr=subprocess.PIPE)
    nswrap.started.append(popen)
    popen.stderr.readline()
    with connect(port) as first:
        first.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert first.recv(15) == b"HTTP/1.0 200 OK"
    popen.terminate()
    assert popen.wait(20 * PATIENCE) == 143


# --- a mesh ------------------------------------------------------------------------------------------


def write_site(units, hosts):
    path = units / ".config/nswrap/site.yaml"
    path.write_text("hosts:\n" + "".join(f"  {name}: {{vip: 127.0.55.{10 + i}, cmd: {cmd}}}\n"
                                         for i, (name, cmd) in enumerate(hosts.items())))


AGENT = f'["{BINARY}", "agent"]'
FAILS = '["false"]'
SILENT = '["sh", "-c", "exec sleep 1000"]'


def test_mesh(nswrap, units, manager):
    """Ready when each host has been tried, whatever became of it; the status says how many there are."""
    write_site(units, {"a": AGENT, "b": FAILS})
    service = Service(nswrap, unit_of(units, "nswrap-mesh@.service"), "site", units, manager)
    service.wait_ready()
    while not any("STATUS=1 of 2 hosts is ready" in m.lines for m in manager.messages):
        manager.receive()
    assert all(m.pid == service.popen.pid for m in manager.messages), "agents say nothing to it"
    write_site(units, {"a": AGENT})
    assert service.reload().returncode == 0
    reloading = manager.wait_for("RELOADING=1")
    assert re.match(r"MONOTONIC_USEC=\d+$", reloading.lines[1])
    manager.wait_for("READY=1")
    manager.wait_for("STATUS=1 of 1 host is ready")
    write_site(units, {"a": "7:"})
    assert service.reload().returncode == 2, "what is wrong with it is told to who asks"
    manager.wait_for("READY=1")
    assert service.stop()
    manager.wait_for("STOPPING=1")


def test_mesh_is_not_ready_before(nswrap, units, manager):
    """A host that is silent is waited for, but not for ever."""
    write_site(units, {"a": AGENT, "b": SILENT})
    service = Service(nswrap, unit_of(units, "nswrap-mesh@.service"), "site", units, manager)
    manager.wait_for("STATUS=1 of 2 hosts is ready")
    assert not any("READY=1" in m.lines for m in [*manager.messages, *manager.receive_all()])
    assert service.stop()


def test_mesh_with_a_watchdog(nswrap, units, manager):
    write_site(units, {"a": AGENT})
    nswrap.env.update(WATCHDOG_USEC="100000")
    service = Service(nswrap, unit_of(units, "nswrap-mesh@.service"), "site", units, manager)
    service.wait_ready()
    for _ in range(3):
        manager.wait_for("WATCHDOG=1")
    [agent] = wait_for(lambda: [p for p in pathlib.Path("/proc").iterdir() if p.name.isdigit() and
                                is_agent_below(p, service.popen.pid)][:1], "its agent")
    names = [v.split(b"=")[0] for v in (agent / "environ").read_bytes().split(b"\0")]
    assert b"NOTIFY_SOCKET" not in names and b"WATCHDOG_USEC" not in names
    assert service.stop()


def is_agent_below(process, parent):
    try:
        return (f"PPid:\t{parent}\n" in (process / "status").read_text()
                and b"agent" in (process / "cmdline").read_bytes())
    except OSError:
        return False
