# SPDX-License-Identifier: Apache-2.0
"""e2e/test_places - where sandboxes are found, what keeps others out of there, and who is asked"""
import json
import os
import subprocess

import pytest

from harness import BINARY, PATIENCE, PYTHON, Lines, wait_for

# The end of sh's input ends all that runs in there, and the mounts go with it.
HOLDER = """
set -e
mkdir {0}/t
mount -t tmpfs -o mode=1777 none {0}/t
touch {0}/t/nswrap
mount --bind {1} {0}/t/nswrap
mkdir -m 700 {0}/t/one {0}/t/two
mount --rbind {0}/t /tmp
{2}
echo ready
exec cat
"""

# Takes the place of a control socket; argv: where, in a directory that is open as descriptor 9.
# Says whether it was asked anything.
IMPOSTOR = """
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.bind("/proc/self/fd/9/" + sys.argv[1])
s.listen()
print("listens", flush=True)
while True:
    client = s.accept()[0]
    try:
        if client.recv(1000):
            print("asked", flush=True)
            client.send(b'{"ok": true, "name": "fake", "forwards": [], "command": ["fake"]}')
    except OSError:
        pass
"""


class PrivateTmp:
    """An empty /tmp and no other user: root of a user and a mount namespace, where nswrap is /tmp/nswrap."""

    hub = "/tmp/nswrap-0"

    def __init__(self, directory, setup):
        self.holder = subprocess.Popen(
            ["unshare", "-U", "-r", "-m", "sh", "-c", HOLDER.format(directory, BINARY, setup)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"ready\n"
        self.popens = []
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("NSWRAP", "XDG"))}

    def line(self, *command, xdg=None):
        variable = ["env", f"XDG_RUNTIME_DIR={xdg}"] if xdg else []
        return ["nsenter", "-t", str(self.holder.pid), "-U", "-m", "--preserve-credentials", "--",
                *variable, *map(str, command)]

    def run(self, *command, xdg=None):
        return subprocess.run(self.line(*command, xdg=xdg), env=self.env, capture_output=True, cwd="/",
                              text=True, timeout=30 * PATIENCE, stdin=subprocess.DEVNULL)

    def nswrap(self, *args, xdg=None):
        return self.run("/tmp/nswrap", *args, xdg=xdg)

    def start(self, *args, xdg=None, shell=""):
        """A sandbox in the background; its output as lines."""
        line = ["sh", "-c", f'{shell}\nexec "$0" "$@"', "/tmp/nswrap", "--network", "none", *args]
        popen = subprocess.Popen(self.line(*line, xdg=xdg), env=self.env, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, cwd="/")
        self.popens.append(popen)
        return Lines(os.dup(popen.stdout.fileno()))

    def box(self, name, xdg=None):
        out = self.start("--name", name, "sh", "-c", "echo up; exec sleep 60", xdg=xdg)
        wait_for(lambda: out.lines, "a sandbox")

    def names(self, xdg=None):
        return [s["name"] for s in json.loads(self.nswrap("ps", "--json", xdg=xdg).stdout)]

    def close(self):
        for popen in self.popens:
            popen.terminate()
            popen.wait(20 * PATIENCE)
            popen.stdout.close()
        self.holder.stdin.close()
        self.holder.stdout.close()
        self.holder.wait(10 * PATIENCE)


@pytest.fixture
def private(short_dir):
    made = []

    def make(setup=""):
        made.append(PrivateTmp(short_dir, setup))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_the_same_sandboxes_are_seen_with_and_without_xdg(private):
    host = private()
    host.box("plain")
    host.box("one", xdg="/tmp/one")
    host.box("two", xdg="/tmp/two")
    assert host.names() == ["one", "plain", "two"]
    assert host.names(xdg="/tmp/one") == ["one", "plain"]
    assert host.names(xdg="/tmp/two") == ["plain", "two"]
    for name, xdg in ("one", None), ("plain", "/tmp/one"), ("two", None):
        result = host.nswrap("exec", name, "echo", "inside", xdg=xdg)
        assert result.stdout == "inside\n", result
        assert host.nswrap("port", "list", name, xdg=xdg).returncode == 0
    taken = host.nswrap("--name", "plain", "true", xdg="/tmp/two")
    assert taken.returncode == 125 and '"plain" is running already' in taken.stderr
    missing = host.nswrap("stop", "two", xdg="/tmp/one")
    assert missing.returncode == 125
    assert "/tmp/one/nswrap" in missing.stderr and host.hub in missing.stderr, missing.stderr
    assert host.nswrap("stop", "one", "two").returncode == 0
    assert host.names() == ["plain"]


def test_two_of_a_name_are_not_confused(private):
    host = private()
    host.box("twin", xdg="/tmp/one")
    host.box("twin", xdg="/tmp/two")
    result = host.nswrap("stop", "twin")
    assert result.returncode == 125
    assert "/tmp/one/nswrap" in result.stderr and "/tmp/two/nswrap" in result.stderr
    assert host.nswrap("stop", "twin", xdg="/tmp/two").returncode == 0
    assert host.names() == ["twin"]


# each is followed by what makes it go
SPOILT = {
    "another user's": ("mkdir {0}; mount --bind /usr {0}", "umount {0}; rmdir {0}"),
    "a link": ("mkdir -m 700 /tmp/own; ln -s /tmp/own {0}", "rm {0}"),
    "a link to nowhere": ("ln -s /nowhere {0}", "rm {0}"),
    "a file": ("touch {0}", "rm {0}"),
    "open to others": ("mkdir -m 777 {0}", "rmdir {0}"),
}


@pytest.mark.parametrize("kind", SPOILT)
@pytest.mark.parametrize("path", ["/tmp/nswrap-0", "/tmp/one/nswrap"], ids=["hub", "xdg"])
def test_a_spoilt_place_stops_nobody(private, kind, path):
    """A private one takes over, the same for all commands, also when the right one is free again."""
    spoil, mend = SPOILT[kind]
    host = private(spoil.format(path))
    xdg = "/tmp/one" if "one" in path else None
    host.box("box", xdg=xdg)
    assert host.nswrap("exec", "box", "echo", "inside", xdg=xdg).stdout == "inside\n"
    assert host.names() == host.names(xdg="/tmp/two") == ["box"]
    assert host.nswrap("doctor", xdg=xdg).returncode == 0
    assert host.run("sh", "-ec", mend.format(path)).returncode == 0
    assert host.names(xdg=xdg) == ["box"]
    host.box("later", xdg=xdg)
    assert host.names() == ["box", "later"]
    assert host.nswrap("stop", "box", "later", xdg=xdg).returncode == 0


def test_all_places_are_hidden(private):
    """Wherever another nswrap of the user looks, COMMAND sees nothing and what it makes is not there."""
    host = private()
    host.box("plain")
    host.box("one", xdg="/tmp/one")
    places = [host.hub, "/tmp/one/nswrap", "/tmp/two/nswrap"]
    script = "ls -A {0}; for place in {0}; do touch $place/made.sock; done; echo end; exec sleep 60"
    for n, xdg in enumerate([None, "/tmp/two"]):
        out = host.start("-n", f"me-{n}", "sh", "-c", script.format(" ".join(places[:2 + n])), xdg=xdg)
        wait_for(lambda: out.ended or "end" in out.lines, "COMMAND to have looked")
        assert not [line for line in out.lines if "sock" in line], out.lines
    listed = host.run("ls", "-A", *places).stdout
    assert "plain.sock" in listed and "me-1.sock" in listed and "made.sock" not in listed


ASK = [["exec", "fake", "true"], ["port", "list", "fake"], ["port", "add", "fake", "0:80"],
       ["port", "remove", "fake", "0:80"], ["stop", "fake"], ["mesh", "status", "fake"],
       ["mesh", "status"], ["mesh", "stop", "fake"], ["mesh", "reload", "fake"]]


@pytest.mark.parametrize("options", [[], ["--root"], ["--pid"]], ids=["plain", "root", "pid"])
@pytest.mark.parametrize("xdg", [None, "/tmp/one"], ids=["hub", "xdg"])
def test_an_impostor_is_not_asked(private, options, xdg):
    """A program inside that has a socket in a place after all, by a descriptor of it."""
    host = private()
    place = f"{xdg}/nswrap" if xdg else host.hub
    host.box("real", xdg=xdg)
    assert host.run("mkdir", "-p", "-m", "700", f"{place}/mesh").returncode == 0
    for file in "fake.sock", "mesh/fake.sock":
        out = host.start("--keep-fd", "9", *options, PYTHON, "-Ic", IMPOSTOR, file, xdg=xdg,
                         shell=f"exec 9<{place}")
        wait_for(lambda: out.ended or out.lines, "the impostor")
        for args in [a for a in ASK if (a[0] == "mesh") == file.startswith("mesh")]:
            result = host.nswrap(*args, xdg=xdg)
            assert result.returncode == 125, result
            assert len(result.stderr.splitlines()) == 1 and "is not asked: PID" in result.stderr, result
        listed = json.loads(host.nswrap("ps", "--json", xdg=xdg).stdout)
        assert [s["name"] for s in listed if "error" not in s and "python" not in s["name"]] == ["real"]
        assert out.lines == ["listens"]
    assert "is not asked" in host.nswrap("ps").stdout


def test_from_another_network_namespace(private):
    """The same user's, but none that a sandbox was started from: said, with what to do."""
    host = private()
    host.box("box")
    for args in ["ps"], ["exec", "box", "true"], ["port", "list", "box"], ["stop", "box"]:
        result = host.run("unshare", "-n", "/tmp/nswrap", *args)
        text = result.stdout + result.stderr
        assert "is in another network namespace" in text and "ask from where it was started" in text
        assert (result.returncode == 125) == (args != ["ps"])
    assert host.names() == ["box"]


def test_from_another_pid_namespace(private):
    host = private()
    host.box("box")
    result = host.run("unshare", "-p", "-f", "--mount-proc", "/tmp/nswrap", "exec", "box", "true")
    assert result.returncode == 125
    assert "in a PID namespace that cannot be seen from here" in result.stderr


@pytest.mark.parametrize("words", [["-r"], ["-r", "-m"]], ids="".join)
def test_from_another_user_namespace(private, words):
    """It is seen, but the kernel lets nobody in from there: said, with what to do."""
    host = private()
    host.box("box")
    assert "box" in host.run("unshare", *words, "/tmp/nswrap", "ps").stdout
    result = host.run("unshare", *words, "/tmp/nswrap", "exec", "box", "true")
    assert result.returncode == 125
    assert "in another user namespace" in result.stderr and "enter it from there" in result.stderr


def test_where_no_user_is_mapped(private):
    host = private()
    for args in ["--network", "none", "true"], ["doctor"]:
        result = host.run("unshare", "-U", "/tmp/nswrap", *args)
        assert result.returncode in (1, 125)
        text = result.stdout + result.stderr
        assert "no user is mapped" in text and "--map-current-user" in text


def test_root_of_a_sandbox_meets_roots_place(private):
    """`nswrap --root nswrap ...`: inside, /tmp/nswrap-0 belongs to somebody who is not there."""
    host = private("mkdir /tmp/nswrap-0; mount --bind /usr /tmp/nswrap-0")
    script = ("stat -c %u /tmp/nswrap-0; id -u; /tmp/nswrap -q --network none --name inner "
              "sh -c 'echo up; exec sleep 60' >/tmp/said & "
              "while ! [ -s /tmp/said ]; do sleep 0.05; done; "
              "/tmp/nswrap exec inner echo deep; /tmp/nswrap ps; /tmp/nswrap stop inner; wait")
    result = host.run("unshare", "-U", "--map-user=1000", "--map-group=1000", "/tmp/nswrap", "--root",
                      "--network", "none", "sh", "-c", script)
    lines = result.stdout.splitlines()
    assert lines[1:3] == ["0", "deep"] and lines[0] != "0", result
    assert lines[4].startswith("inner "), result


def test_no_place_at_all(private):
    host = private("mount -o remount,bind,ro /tmp")
    for xdg in None, "/tmp/one":
        found = [f for f in json.loads(host.nswrap("doctor", "--json", xdg=xdg).stdout)
                 if f["state"] == "wrong"]
        assert [f["check"] for f in found] == ["runtime directory"], found
        assert "0700" in found[0]["cure"]
        result = host.nswrap("true", xdg=xdg)
        assert result.returncode == 125 and found[0]["text"] in result.stderr
        assert "in /tmp" in result.stderr and "XDG_RUNTIME_DIR" in result.stderr
