# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_install - nswrap-agent is brought to hosts whose command leads to a shell"""

import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

import harness
from harness import TCP_ECHO, Lines, Running, free_port, wait_for
from mesh_tools import Box, Site, echoed, network
from tools import THOROUGH

AGENT = pathlib.Path(harness.AGENT)
KIND = f"nswrap-agent-{os.uname().machine}"
NAME = f"{KIND}-{hashlib.sha256(AGENT.read_bytes()).hexdigest()[:16]}" if AGENT.exists() else ""
DAMAGE = """
import sys
for line in sys.stdin.buffer:
    sys.stdout.buffer.write(line.replace(b"A", b"B", 1) if line.startswith(b"p '") else line)
    sys.stdout.flush()
"""
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}


def shell(cache, *command, **environment):
    """A command that leads to a shell, where the cache is elsewhere."""
    words = [f"{name}={value}" for name, value in {"XDG_CACHE_HOME": cache, **environment}.items()]
    return ["env", *words, *command]


def what_it_says(nswrap, tmp_path, cmd, pattern, *options, **environment):
    """Run a mesh of one host until it says something."""
    path = tmp_path / "one.yaml"
    path.write_text(json.dumps({"hosts": {"bare": {"vip": f"{network()}.101", "cmd": cmd, "install": True}}}))
    read, write = os.pipe()
    popen = nswrap.popen("mesh", *options, path, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=write)
    os.close(write)
    running = Running(popen, Lines(read), None)
    try:
        return running.wait_line(pattern, 20)
    finally:
        popen.terminate()
        popen.wait(20)


@pytest.mark.parametrize("name", SHELLS)
def test_it_is_brought_once_and_serves(nswrap, tmp_path, host_server, name):
    cache, port, vip = tmp_path / "cache", free_port(), f"{network()}.101"
    host_server(TCP_ECHO, port)
    # a banner in front
    cmd = shell(cache, "sh", "-c", "echo Welcome to bare; exec " + " ".join(SHELLS[name]))
    box = Box(nswrap, "install-box")

    def site():
        made = Site(nswrap, tmp_path)
        made.host("box", f"{network()}.102", box.agent())
        made.host("bare", vip, cmd, install=True, ports=[f"{port}:127.0.0.1:{port}"])
        return made

    with site() as first:
        echoed(box, os.urandom(200_000), f"{vip}:{port}")
        assert "installing: 100 %" in first.running.stderr.text()
        assert "Welcome to bare" in first.running.stderr.text()
        # at the first try
        assert "lost" not in first.running.stderr.text() and first.status()["bare"]["restarts"] == 0
    assert [path.name for path in (cache / "nswrap").iterdir()] == [NAME]
    assert (cache / "nswrap" / NAME).read_bytes() == AGENT.read_bytes()
    with site() as second:
        assert "installing" not in second.running.stderr.text()
    # one that is damaged is not started, and one of another manager's goes
    (cache / "nswrap" / NAME).write_bytes(AGENT.read_bytes()[:-1])
    (cache / "nswrap" / f"{KIND}-0123").write_text("old")
    # of another kind of machine, with which the home is shared
    (cache / "nswrap" / "nswrap-agent-vax-0123").write_text("other")
    with site() as third:
        assert "installing: 100 %" in third.running.stderr.text()
    assert {path.name for path in (cache / "nswrap").iterdir()} == {NAME, "nswrap-agent-vax-0123"}


@pytest.mark.parametrize("cmd", [["sh", "-c", "printf 'x> '; exec sh"], ["sh", "-c", r"printf '\033]0;bare\a'; exec sh"],
                                 ["busybox", "sh", "-i"]], ids=["prompt", "title", "interactive"])
def test_what_stands_in_front_of_an_answer(nswrap, tmp_path, cmd):
    """A banner that has no end, and a prompt before each of them."""
    what_it_says(nswrap, tmp_path, shell(tmp_path / "cache", *cmd), "bare: ready at")
    assert [path.name for path in (tmp_path / "cache/nswrap").iterdir()] == [NAME]


def test_nothing_but_busybox(nswrap, tmp_path, host_server):
    """A chroot: no namespaces, no /dev/net/tun, no /dev/null, no /tmp, no libraries."""
    root, port, vip = tmp_path / "root", free_port(), f"{network()}.101"
    (root / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    for name in ("sh", "cat", "chmod", "mkdir", "mv", "rm", "uname", "sha256sum"):
        (root / "bin" / name).symlink_to("busybox")
    host_server(TCP_ECHO, port)
    box, site = Box(nswrap, "install-box"), Site(nswrap, tmp_path)
    site.host("box", f"{network()}.102", box.agent())
    site.host("bare", vip, ["unshare", "-r", "/usr/sbin/chroot", str(root), "/bin/sh"], install=True,
              ports=[f"{port}:127.0.0.1:{port}"])
    with site:
        echoed(box, os.urandom(300_000), f"{vip}:{port}")
        assert site.status()["bare"]["stack"] == "streams"


def test_a_directory_that_executes_nothing_is_passed_over(nswrap, tmp_path):
    cache, other = tmp_path / "cache", tmp_path / "var"
    cache.mkdir()
    other.mkdir()
    mounts = f"mount -t tmpfs -o noexec none {cache} && mount --bind {other} /var/tmp && exec sh"
    what_it_says(nswrap, tmp_path, shell(cache, "unshare", "-rm", "sh", "-c", mounts), "installing: 100 %")
    what_it_says(nswrap, tmp_path, shell(cache, "unshare", "-rm", "sh", "-c", mounts), "bare: ready|lost")
    assert [path.name for path in other.glob("nswrap-*/*")] == [NAME]


@pytest.mark.parametrize("cmd, said", [
    (["sh", "-c", "echo Host key verification failed. >&2; exit 255"], "ssh-keygen -R HOST"),
    (["sh", "-c", "exit 127"], "a program was not found"),
], ids=["host key", "no shell"])
def test_what_is_wrong_is_said(nswrap, tmp_path, cmd, said):
    what_it_says(nswrap, tmp_path, cmd, f"lost: .*{said}")


def test_another_kind_of_machine_is_said(nswrap, tmp_path):
    (tmp_path / "uname").write_text("#!/bin/sh\necho vax\n")
    (tmp_path / "uname").chmod(0o755)
    what_it_says(nswrap, tmp_path, ["env", f"PATH={tmp_path}:/usr/bin:/bin", "sh"],
                 "lost: no nswrap-agent-vax beside nswrap")


def test_no_room_is_said(nswrap, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    full = f"mount -t tmpfs -o size=256k none {cache} && exec sh"
    what_it_says(nswrap, tmp_path, shell(cache, "unshare", "-rm", "sh", "-c", full),
                 "lost: cannot install nswrap-agent: cannot write .*: is there room for it")


def test_half_a_file_is_not_left(nswrap, tmp_path):
    """The link ends in the middle."""
    cache = tmp_path / "cache"
    what_it_says(nswrap, tmp_path, shell(cache, "sh", "-c", "dd bs=64k count=20 status=none | sh"), "lost: ")
    wait_for(lambda: list((cache / "nswrap").iterdir()) == [], "the end of what had come")


def test_what_a_killed_shell_leaves_goes(nswrap, tmp_path):
    """With the next that comes whole; from a directory that was written first and executes nothing, too."""
    cache = tmp_path / "cache"
    killed = f"mkfifo {tmp_path}/in; sh <{tmp_path}/in & exec 3>{tmp_path}/in; dd bs=64k count=20 status=none >&3; kill -9 $!"
    what_it_says(nswrap, tmp_path, shell(cache, "sh", "-c", killed), "lost: ")
    [left] = (cache / "nswrap").iterdir()
    assert left.name.startswith(f".{NAME}.") and left.stat().st_size > 0
    (cache / "nswrap" / f".{KIND}-0123.nswrap-4567").write_text("of an old manager")
    other = tmp_path / "var"
    other.mkdir()
    mounts = f"mount --bind {cache} {cache} && mount -o remount,bind,noexec {cache} && mount --bind {other} /var/tmp && exec sh"
    what_it_says(nswrap, tmp_path, shell(cache, "unshare", "-rm", "sh", "-c", mounts), "bare: ready at")
    assert list((cache / "nswrap").iterdir()) == []
    assert [path.name for path in other.glob("nswrap-*/*")] == [NAME]


@pytest.mark.parametrize("name", SHELLS)
def test_two_at_once_in_one_home(nswrap, tmp_path, name):
    """Another host was done meanwhile, and has swept away what this one wrote."""
    cache = tmp_path / "cache"
    script = nswrap.run("show-installer").stdout
    lines = script.splitlines(keepends=True)
    end = next(i for i, line in enumerate(lines) if line.startswith(b"{ exec 3>&-"))
    begun = next(i for i, line in enumerate(lines) if line.startswith(b"p '"))
    meanwhile = f'rm -f "$t"; cp {AGENT} "$d/$f"; chmod 700 "$d/$f"\n'.encode()
    done = subprocess.run(SHELLS[name], input=b"".join([*lines[:begun + 5], meanwhile, *lines[end:]]), capture_output=True,
                          timeout=30, env={"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(cache)})
    assert (done.returncode, done.stdout.decode()) == (0, f"{cache}/nswrap/{NAME}\n"), done.stderr
    assert [path.name for path in (cache / "nswrap").iterdir()] == [NAME]


@pytest.mark.parametrize("is_same", [True, False], ids=["the same file", "another one"])
def test_swept_away_at_the_end(nswrap, tmp_path, is_same):
    """By another host that has the same home, while this one looks at what it wrote: what is there then is taken."""
    cache, first = tmp_path / "cache", tmp_path / "first"
    first.mkdir()
    there = f"{cache}/nswrap/{NAME}"
    (first / "sha256sum").write_text(f"""#!/bin/sh
rm -f {cache}/nswrap/.nswrap-agent-*
{f"cp {AGENT} {there}; chmod 700 {there}" if is_same else ""}
exec {shutil.which("sha256sum")}
""")
    (first / "sha256sum").chmod(0o755)
    done = subprocess.run(["sh"], input=nswrap.run("show-installer").stdout, capture_output=True, timeout=30,
                          env={"PATH": f"{first}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(cache)})
    if is_same:
        assert (done.returncode, done.stdout.decode()) == (0, f"{there}\n"), done.stderr
    else:
        assert done.returncode == 1 and b"another manager replaces what is installed here" in done.stderr


def poor(tmp_path, *names, through=""):
    """A shell that finds these programs only; all directories that are tried are below tmp_path."""
    places = {"bin": "/mnt", "var": "/var/tmp", "shm": "/dev/shm", "tmp": "/tmp"}
    for name in places:
        (tmp_path / name).mkdir()
    for name in names:
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    mounts = "".join(f"mount --bind {tmp_path / name} {at} && " for name, at in places.items())
    return ["unshare", "-rm", "sh", "-c", f"{mounts} cd /tmp && export PATH=/mnt XDG_CACHE_HOME=/var/tmp/cache && "
            f"{through} /bin/sh"]


@pytest.mark.parametrize("sums, said", [
    (["sha256sum"], "it came damaged: its SHA-256 is another one"),
    ([], r"it cannot be executed in any directory .*, or it came damaged"),
], ids=["sha256sum", "by itself"])
def test_what_comes_damaged_is_not_started(nswrap, tmp_path, sums, said):
    """A byte of each chunk is another one."""
    cmd = poor(tmp_path, "chmod", "mkdir", "mv", "rm", "cat", *sums, through=f"{sys.executable} -c {shlex.quote(DAMAGE)} |")
    what_it_says(nswrap, tmp_path, cmd, f"lost: cannot install nswrap-agent: {said}")
    assert (tmp_path / "var/cache/nswrap").is_dir()
    assert [path for path in tmp_path.rglob("*") if KIND in path.name] == []


def test_what_the_shell_lacks_is_said(nswrap, tmp_path):
    what_it_says(nswrap, tmp_path, poor(tmp_path, "cat", "chmod"),
                 "lost: cannot install nswrap-agent: it needs chmod, mkdir and mv: mkdir is not there")


def test_install_needs_a_command(nswrap, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(json.dumps({"hosts": {"bare": {"vip": "127.0.42.1", "install": True}}}))
    done = nswrap.run("mesh", path)
    assert done.returncode != 0 and b"install: expected a cmd that leads to a shell" in done.stderr


@pytest.mark.parametrize("page", ["README.md", "docs/mesh.md"])
def test_the_pod_of_the_pages(nswrap, tmp_path, page):
    """Its three lines are enough."""
    [pod] = re.findall(r"^  pod:\n(?:    .*\n){3}", (harness.TREE / page).read_text(), re.M)
    pod = yaml.safe_load(pod)["pod"]
    assert pod["install"] is True and set(pod) == {"vip", "cmd", "install"}
    (tmp_path / "kubectl").write_text('#!/bin/sh\n[ "$1 $2 $3 $4" = "exec -i some-pod --" ] && shift 4 && exec "$@"\n')
    (tmp_path / "kubectl").chmod(0o755)
    what_it_says(nswrap, tmp_path, pod["cmd"], "bare: ready at", XDG_CACHE_HOME=str(tmp_path / "cache"),
                 PATH=f"{tmp_path}:{os.environ['PATH']}")


def test_check_says_that_there_is_no_file(nswrap, tmp_path):
    """Neither beside nswrap nor where make install puts it; with a host, and with a list of them."""
    each = {"cmd": "sh", "install": True}
    (tmp_path / "one.yaml").write_text(json.dumps({"hosts": {"bare": {"vip": "127.0.42.1", **each}}}))
    (tmp_path / "list.yaml").write_text(json.dumps(
        {"hostsFrom": [{"list": "true", "vips": "127.0.60.0/24", "cmd": "sh {name}", "install": True}]}))
    program = tmp_path / "bin/nswrap"
    program.parent.mkdir()
    shutil.copy(harness.BINARY, program)

    def checked(name, *options):
        done = subprocess.run([program, "mesh", "--check", *options, tmp_path / name], env=nswrap.env, capture_output=True)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    for name in ("one.yaml", "list.yaml"):
        status, out, err = checked(name)
        assert status == 0 and out.endswith(": fine, with 1 warning\n")
        assert err.startswith(f"nswrap: warning: install: no {KIND} beside nswrap or in ../lib/nswrap (make agent-static")
        assert checked(name, "--strict")[0] == 2
        assert checked(name, "--agent-file", AGENT)[2] == ""
    for directory in ("bin", "lib/nswrap"):
        (tmp_path / directory).mkdir(parents=True, exist_ok=True)
        shutil.copy(AGENT, tmp_path / directory)
        assert checked("one.yaml", "--strict") == (0, "1 host: fine\n", "")
        (tmp_path / directory / AGENT.name).unlink()
    (tmp_path / "plain.yaml").write_text(json.dumps({"hosts": {"a": {"vip": "127.0.42.1", "cmd": "sh"}}}))
    assert checked("plain.yaml")[2] == ""


@pytest.mark.parametrize("name", ["dash", "busybox"]) # bash takes seconds to read its stdin
def test_by_hand(nswrap, tmp_path, name):
    """The script of show-installer puts the file where install looks for it."""
    cache = tmp_path / "cache"
    script = nswrap.run("show-installer").stdout
    assert len(script) < 4 * AGENT.stat().st_size
    for _ in range(2):
        done = subprocess.run(SHELLS[name], input=script, capture_output=True, timeout=30,
                              env={"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(cache)})
        assert (done.returncode, done.stdout.decode()) == (0, f"{cache}/nswrap/{NAME}\n"), done.stderr
        assert [path.name for path in (cache / "nswrap").iterdir()] == [NAME]
    assert (cache / "nswrap" / NAME).read_bytes() == AGENT.read_bytes()
    what_it_says(nswrap, tmp_path, shell(cache, "sh"), "ready at")


def test_a_shell_that_says_it_back(nswrap, tmp_path):
    """A terminal between, as ssh -tt makes one: said at once, with what to do."""
    cmd = shell(tmp_path / "cache", "script", "-qc", "sh", "/dev/null")
    what_it_says(nswrap, tmp_path, cmd, "lost: its shell says back what is sent to it: .*without -t")


if THOROUGH:
    @pytest.mark.waits
    @pytest.mark.parametrize("cmd", ["fish", "python3 -"])
    def test_what_is_no_posix_shell(nswrap, tmp_path, cmd):
        """Ten seconds: it reads and does not answer, which status has, too."""
        site = Site(nswrap, tmp_path)
        site.host("bare", f"{network()}.101", cmd, install=True)
        site.path.write_text(json.dumps({"hosts": site.hosts}))
        site.running = site.start()
        try:
            site.running.wait_line("bare: its shell has read what was sent and not answered: does cmd lead to a POSIX", 30)
            assert site.status()["bare"]["note"].startswith("its shell has read what was sent")
        finally:
            site.running.popen.terminate()
            site.running.popen.wait(20)


def test_the_file_that_is_named(nswrap, tmp_path):
    """To show-installer, and to a mesh as well."""
    done = nswrap.run("show-installer", "--agent-file", __file__)
    assert done.returncode == 125 and b"is no nswrap-agent: expected a program of Linux" in done.stderr
    # of another kind: the one beside nswrap
    other = tmp_path / "other"
    other.write_bytes(AGENT.read_bytes()[:18] + b"\x16\0" + AGENT.read_bytes()[20:]) # s390x
    script = nswrap.run("show-installer", "--agent-file", other).stdout
    assert NAME.encode()[-16:] in script
    script = nswrap.run("show-installer", "--agent-file", other, "s390x").stdout
    assert hashlib.sha256(other.read_bytes()).hexdigest().encode() in script
    done = subprocess.run(["sh"], input=script, capture_output=True)
    assert done.returncode == 1 and b"expected the installer for it" in done.stderr
    # a mesh, too: what is named is sent
    cache, named = tmp_path / "cache", tmp_path / "named"
    named.write_bytes(AGENT.read_bytes() + b"more")
    what_it_says(nswrap, tmp_path, shell(cache, "sh"), "ready at", "--agent-file", other, "--agent-file", named)
    assert [path.read_bytes()[-4:] for path in (cache / "nswrap").iterdir()] == [b"more"]
