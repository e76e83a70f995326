# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_starting - until a host is ready: logging in, prompts, job control, what cannot work"""

import contextlib
import os
import re
import shlex
import signal
import termios
import threading
import time

import pytest

from harness import BINARY, PATIENCE, descendants, is_alive, proc_status, wait_for
from test_mesh_manager import Mesh, on_terminal

# to be put in front of an agent: it goes on when the test says so
GATE = "while ! test -e {gate}; do sleep 0.02; done; "


@pytest.fixture
def mesh(nswrap, short_dir):
    return Mesh(nswrap, short_dir)


# --- logging in -----------------------------------------------------------------------------------


@pytest.mark.waits
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
    assert re.search(r"^pod .* starting +- +1[1-9]s .*Enter code:", table, re.M), table
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


# --- prompts --------------------------------------------------------------------------------------

# as ssh does; what it was told goes to a file
ASK = """
stty -echo </dev/tty; printf "{prompt}" >/dev/tty; read -r x </dev/tty; stty echo </dev/tty
echo >/dev/tty; printf %s "$x" >{told}; """


class Asked:
    """A mesh on a terminal, and who answers there."""

    def __init__(self, mesh, command=None):
        self.mesh = mesh
        self.popen, self.master = on_terminal(mesh, 100, command=command)
        self.shown = b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        with contextlib.suppress(OSError):
            while part := os.read(self.master, 4096):
                self.shown += part

    def text(self):
        return self.shown.decode(errors="replace")

    def waits(self, text, timeout=10):
        try:
            wait_for(lambda: re.search(text, self.text()), repr(text), timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.text()[-800:]!r}") from None

    def type(self, text):
        os.write(self.master, text.encode())

    def echoes(self):
        return bool(termios.tcgetattr(self.master)[3] & termios.ECHO)

    def end(self, number=signal.SIGTERM):
        self.popen.send_signal(number)
        return self.popen.wait(10 * PATIENCE)


def asks(mesh, name, prompt="password: ", ask=ASK, **manifest):
    """Add a host that asks before it is an agent; where it writes what it was told."""
    told = mesh.directory / f"{name}.told"
    mesh.fake(name, wrap=ask.format(prompt=prompt, told=told) + 'exec {} "$@"', **manifest)
    return told


def asked_first(asked, names):
    """Who of them is asking now: the last one whose prompt was shown."""
    found = re.findall(rf"({'|'.join(names)}): password: ", asked.text())
    return found[-1] if found else None


def test_prompts_take_turns(mesh):
    """Each is named, hidden, and told what was typed for it; nobody else sees any of that."""
    told = {name: asks(mesh, name) for name in ("one", "two", "three")}
    asked = Asked(mesh)
    for n in range(3):
        name = wait_for(lambda: asked_first(asked, set(told)), "a prompt")
        assert not asked.echoes()
        note = mesh.status()[name]["note"]
        assert note == "asks at the terminal"
        wait_for(lambda: sum(host["note"] == "waits for its turn at the terminal"
                             for other, host in mesh.status().items() if other != name) == 2 - n, "the others to ask")
        before = told.pop(name)
        asked.type(f"secret-{name}\r")
        assert wait_for(lambda: before.exists() and before.read_text(), "the answer") == f"secret-{name}"
        wait_for(lambda: asked_first(asked, {name, *told}) != name or not told, "the next")
        asked.waits(f"nswrap: {name}: ready at")
    asked.waits("all 3 hosts of site are ready")
    wait_for(asked.echoes, "the echo")
    assert "secret" not in asked.text()
    assert asked.end() == 0


@pytest.mark.parametrize("ask", [
    # a shell's own prompt comes on its stderr; what is not hidden is echoed, and can be mended
    "read -r -p '{prompt}' x </dev/tty; printf %s $x >{told}; ",
    "echo '{prompt}' >/dev/tty; read -r x </dev/tty; printf %s $x >{told}; ",
    "printf '{prompt}' >/dev/tty; read -r x </dev/tty; printf %s $x >{told}; ",
])
def test_other_ways_to_ask(mesh, ask):
    told = asks(mesh, "one", "who? ", ask=ask)
    mesh.hosts["one"]["cmd"][0] = "bash"
    asked = Asked(mesh)
    asked.waits(r"one: who\? ")
    wait_for(lambda: not asked.echoes(), "the turn")
    asked.type("mx\x7fe\r")
    wait_for(lambda: told.exists() and told.read_text() == "me", "the answer")
    asked.waits("nswrap: one: ready")
    assert re.search(r"one: (who\? )?me", asked.text())
    assert asked.end() == 0


def test_a_hostile_prompt_stays_behind_its_name(mesh):
    """No escapes, no other host's name at the begin of a line, and no way to keep others from asking."""
    asks(mesh, "evil", r"\b\b\b\b\b\b\b\b\r\033[2K\033[1Abank: password: ",
         ask="while :; do " + ASK + "done; ")
    gate = mesh.directory / "gate"
    told = asks(mesh, "good", ask=GATE.format(gate=gate) + ASK)
    asked = Asked(mesh)
    asked.waits(r"evil: .*bank: ")
    gate.touch()
    wait_for(lambda: mesh.status()["good"]["note"] == "waits for its turn at the terminal", "the other one to ask")
    asked.type("wrong\r")
    asked.waits("good: password: ")
    asked.type("right\r")
    wait_for(lambda: told.exists() and told.read_text(), "the answer")
    assert told.read_text() == "right"
    text = asked.text()
    assert not re.search(r"(^|[\r\n]|\033\[K)bank: ", text)
    assert not set(re.findall(r"\033\[[0-9;]*[A-Za-ln-z]", text)) - {"\033[K", "\033[J", "\033[1A", "\033[2A"}
    assert "\033[1Abank" not in text and "\033[2K" not in text
    assert asked.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_end_while_somebody_is_asked(mesh, number):
    """The terminal echoes again, and nothing is left."""
    asks(mesh, "one")
    asked = Asked(mesh)
    asked.waits("one: password: ")
    wait_for(lambda: not asked.echoes(), "the turn")
    pid = mesh.agent_pid("one")
    if number == signal.SIGINT:
        asked.type("\x03")
        assert asked.popen.wait(10 * PATIENCE) == 0
    elif number == signal.SIGHUP:  # reads the manifest again; the prompt stays
        asked.popen.send_signal(number)
        asked.waits("was read again")
        assert is_alive(pid)
        asked.end()
    else:
        assert asked.end(number) == 0
    assert asked.echoes()
    wait_for(lambda: not is_alive(pid), "the end of its command", 2)


# --- job control ----------------------------------------------------------------------------------


def test_in_the_background(mesh):
    """One host waits for the terminal, the others and the manager run; `fg` lets it ask, Ctrl-Z not."""
    told = asks(mesh, "one")
    mesh.fake("two")
    asked = Asked(mesh, ["bash", "--norc", "--noprofile", "-i"])
    asked.type(f"{BINARY} mesh {shlex.quote(str(mesh.path))} &\r")
    asked.waits("nswrap: one: waits for the terminal")
    asked.waits("nswrap: two: ready at")
    hosts = mesh.status()
    assert hosts["two"]["state"] == "ready" and hosts["one"]["state"] == "starting"
    assert hosts["one"]["note"] == "waits for the terminal"
    assert proc_status(hosts["one"]["pid"])["State"][0] != "T"
    assert "one: password" not in asked.text()
    # the shell's line is its own meanwhile
    asked.type("echo $((40 + 2))\r")
    asked.waits(r"42\r\n")
    asked.type("fg\r")
    asked.waits("one: password: ")
    asked.type("\x1a")
    asked.waits("Stopped")
    assert proc_status(hosts["two"]["pid"])["State"][0] != "T"
    asked.type("bg\r")
    wait_for(lambda: mesh.status()["one"]["note"] == "waits for the terminal", "it to wait again")
    asked.type("fg\r")
    wait_for(lambda: mesh.status()["one"]["note"] == "asks at the terminal", "it to ask again")
    asked.type("secret\r")
    wait_for(lambda: told.exists() and told.read_text() == "secret", "the answer")
    asked.waits("nswrap: one: ready")
    assert "secret" not in asked.text()
    asked.type("\x03")
    wait_for(lambda: not descendants(asked.popen.pid), "the end by Ctrl-C")
    asked.type("exit\r")
    assert asked.popen.wait(10 * PATIENCE) is not None


def test_a_host_that_stops_itself(mesh):
    """One host's stop is its own."""
    mesh.fake("one", wrap='kill -STOP $$; exec {} "$@"')
    mesh.fake("two")
    running = mesh.start(ready=False, start_new_session=True)
    running.wait_line("^nswrap: two: ready")
    pid = mesh.agent_pid("one")
    wait_for(lambda: proc_status(pid)["State"][0] == "T", "its stop")
    assert mesh.status()["two"]["state"] == "ready"
    os.kill(pid, signal.SIGCONT)
    running.wait_line("^nswrap: one: ready")


# --- what no retry mends --------------------------------------------------------------------------


def test_what_no_retry_mends(mesh):
    """What to do is said in the one line, the pause is long at once, and `reload` cuts it short."""
    mend = mesh.directory / "mended"
    mesh.host("absent", ["sh", "-c", "echo 'sh: 1: nswrap: not found' >&2; exit 127"])
    mesh.host("no-program", ["nswrap-no-such-program"])
    mesh.host("forbidden", ["/etc/passwd"])
    mesh.host("key", ["sh", "-c", "echo 'Host key verification failed.' >&2; exit 255"])
    mesh.fake("password", wrap=f"test -e {mend} || "
              "{{ echo 'me@web: Permission denied (publickey).' >&2; exit 255; }}; "
              'exec {} "$@"')
    mesh.host("passes", ["sh", "-c", "echo 'ssh: connect: Connection refused' >&2; exit 255"])
    running = mesh.start(ready=False)
    expected = {
        "absent": "ended with status 127: a program was not found: .*PATH",
        "no-program": "cannot be started: .*: No such file or directory: a program was not found",
        "forbidden": r"cannot be started: .*: Permission denied: .*chmod \+x",
        "key": "ended with status 255: its host key is another one .*ssh-keygen -R",
        "password": "ended with status 255: the key or the password was not accepted: log in",
    }
    for name, text in expected.items():
        running.wait_line(rf"^nswrap: {name}: lost: {text}.*; again in (2[4-9]|3[0-6])\.\d s$")
    running.wait_line(r"^nswrap: passes: lost: ended with status 255; again in 0\.\d s$")
    hosts = mesh.status()
    assert {hosts[name]["state"] for name in expected} == {"waiting"}
    assert "ssh-keygen -R" in hosts["key"]["reason"]
    mend.touch()
    assert mesh.nswrap.run("mesh", "reload", mesh.name).returncode == 0
    running.wait_line("^nswrap: password: ready")


def test_a_reload_tries_again_whatever_it_changes(mesh):
    """Also where others come, of whom those that wait are told at their next start."""
    for name in ("one", "two"):
        mesh.host(name, ["sh", "-c", "exit 127"])
    running = mesh.start(ready=False)
    for name in ("one", "two"):
        running.wait_line(f"^nswrap: {name}: lost: .* a program was not found")
    mesh.fake("new")
    mesh.top["routes"] = [{"to": ["192.0.2.0/24"], "via": "new"}]
    mesh.write()
    assert mesh.nswrap.run("mesh", "reload", mesh.name).returncode == 0
    running.wait_line("^nswrap: new: ready")
    began = time.monotonic()
    wait_for(lambda: running.stderr.text().count("again in") == 4, "the next tries")
    # 24 s is the shortest pause
    assert time.monotonic() - began < 20, running.stderr.text()
