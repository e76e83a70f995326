# SPDX-License-Identifier: Apache-2.0
"""The names of a mesh in the files of a plain host: stateDir and writeEtcHosts, as NoRouter's documentation has them"""

import fcntl
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

from harness import HTTP, Lines, Nswrap, wait_for
from mesh_tools import AGENT_KIND, Site
from standin import PIPES, Link

pytestmark = pytest.mark.agents(thorough=True)

# no newline at its end, another program's block, a carriage return: all stays as it is
ETC_HOSTS = b"""127.0.0.1\tlocalhost
# <Added-by-NoRouter>
127.0.42.9 theirs
# </Added-by-NoRouter>
\r
::1 ip6-localhost"""

NAMES = {"host0": "127.0.42.100", "host1": "127.0.42.101", "host1.norouter.local": "127.0.42.101"}

# nip.io and nothing else; argv: address port
NIP_IO = """
import re, socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
while True:
    ask, peer = s.recvfrom(4096)
    name, at = [], 12
    while ask[at]:
        name.append(ask[at + 1:at + 1 + ask[at]].decode())
        at += ask[at] + 1
    kind = struct.unpack('!H', ask[at + 1:at + 3])[0]
    found = re.fullmatch(r'(?:.*[.])?(\\d+[.]\\d+[.]\\d+[.]\\d+)[.]nip[.]io', '.'.join(name))
    answer = b''
    if found and kind == 1:
        answer = b'\\xc0\\x0c' + struct.pack('!HHIH', 1, 1, 60, 4) + socket.inet_aton(found[1])
    head = ask[:2] + struct.pack('!HHHHH', 0x8180 if found else 0x8183, 1, bool(answer), 0, 0)
    s.sendto(head + ask[12:at + 5] + answer, peer)
"""

MARKED = re.compile(rb"\n?# <Added-by-nswrap vip=([\d.]+) agent=[\d/]+( newline)?>\n(.*?)# </Added-by-nswrap>\n",
                    re.DOTALL)


@pytest.fixture
def home(short_dir):
    """A home directory of the test's own."""
    path = pathlib.Path(short_dir, "home")
    path.mkdir()
    return path


class Etc:
    """An outer host with an /etc of the test's own."""

    def __init__(self, outer, short_dir, nswrap, is_writable):
        self.path = pathlib.Path(short_dir, "etc")
        self.path.mkdir()
        self.hosts = self.path / "hosts"
        self.hosts.write_bytes(ETC_HOSTS)
        self.hosts.chmod(0o604)
        (self.path / "resolv.conf").write_text("nameserver 192.0.2.10\n")
        for name in ("passwd", "group", "nsswitch.conf"):
            (self.path / name).write_bytes(pathlib.Path("/etc", name).read_bytes())
        # one file over another is what containers have: rename(2) is refused there
        setup = f"mount --bind {self.path} /etc" if is_writable else "\n".join(
            f"mount --bind {self.path / name} /etc/{name}" for name in ("hosts", "resolv.conf"))
        self.outer = outer(setup)
        self.nswrap = Nswrap(nswrap.runtime_dir, self.outer.prefix())
        self.nswrap.env = nswrap.env
        nswrap.started = self.nswrap.started

    def blocks(self):
        """{VIP of whose block it is: its lines}."""
        return {m[1].decode(): m[3].decode().splitlines() for m in MARKED.finditer(self.hosts.read_bytes())}


@pytest.fixture
def etc(outer, short_dir, nswrap, request):
    return Etc(outer, short_dir, nswrap, request.param)


def site_of(nswrap, directory, home, **manifest):
    """The mesh of NoRouter's example, with plain hosts of this machine."""
    site = Site(nswrap, directory, env={"HOME": str(home)})
    site.host("host0", "127.0.42.100", **manifest)
    site.host("host1", "127.0.42.101", aliases=["host1.norouter.local"], **manifest)
    return site


def agent(nswrap, home, **options):
    """An agent by itself."""
    return nswrap.popen("agent", "--automated", *AGENT_KIND.words, program=AGENT_KIND.program,
                        env={"HOME": str(home)}, **PIPES, **options)


def read(path):
    return pathlib.Path(path).read_text().splitlines()


def wait_files(directory):
    """They come a moment after the answer; the last one is there."""
    wait_for(lambda: (directory / "README.md").exists(), "the files")


@pytest.mark.parametrize("etc", [False], indirect=True)
def test_hostaliases(etc, short_dir, home):
    """Names without dots by $HOSTALIASES, and what it had before."""
    users = pathlib.Path(short_dir, "users")
    users.write_text("# mine\nold 192.0.2.1.nip.io\nbroken\n")
    etc.outer.serve(NIP_IO, "192.0.2.10", 53, udp=True)
    etc.outer.serve(HTTP, "127.0.0.1", 8000)
    etc.nswrap.env["HOSTALIASES"] = str(users)
    with site_of(etc.nswrap, short_dir, home, ports=["8080:127.0.0.1:8000"]) as site:
        directory = home / ".nswrap/agent"
        wait_files(directory)
        lines = read(directory / "hostaliases")
        assert "host1 127.0.42.101.nip.io" in lines and "host0 127.0.42.100.nip.io" in lines
        assert not any("norouter.local" in line or line in ("# mine", "broken") for line in lines)
        env = {**os.environ, "HOSTALIASES": str(directory / "hostaliases")}
        for name, ip in {**NAMES, "old": "192.0.2.1"}.items():
            if "." in name:
                continue
            found = etc.outer.run("getent", "ahostsv4", name, env=env)
            assert found.stdout.split()[:1] == [ip.encode()], (name, found)
        wget = ["wget", "--no-proxy", "-qO-", "http://host1:8080/page"]
        wait_for(lambda: etc.outer.run(*wget, env=env).stdout == b"path /page", "the page, by wget")
        # what the host itself says, without the block of somebody's that is not there any more
        hosts = (directory / "hosts").read_bytes()
        assert hosts.startswith(ETC_HOSTS + b"\n")
        assert f"{NAMES['host1']} host1.norouter.local" in hosts.decode().splitlines()
        assert "nswrap" in (directory / "README.md").read_text()
        assert etc.hosts.read_bytes() == ETC_HOSTS, "nobody asked for that"
        # they follow a reload
        site.path.write_text(json.dumps({"hosts": {**site.hosts, "host2": {"vip": "127.0.42.102"}}}))
        assert etc.nswrap.run("mesh", "reload", site.name).returncode == 0
        wait_for(lambda: "host2 127.0.42.102.nip.io" in read(directory / "hostaliases"), "the new name")
    assert not directory.exists()


@pytest.mark.parametrize("path", ["~/foo/norouter-agent", "${HOME}/foo/norouter-agent", "$HOME/foo/norouter-agent"])
def test_state_dir_of_a_norouter_manager(nswrap, home, path):
    """pathOnAgent is expanded where the agent is; the features are named."""
    popen = agent(nswrap, home, stderr=subprocess.PIPE)
    link = Link(popen)
    result = link.configure("127.0.42.100", stateDir={"path": path})
    assert {"hostaliases", "etchosts"} <= set(result["data"]["features"])
    directory = home / "foo/norouter-agent"
    wait_files(directory)
    assert "host1 127.0.42.101.nip.io" in read(directory / "hostaliases")
    link.configure("127.0.42.100", stateDir={"disable": True})
    wait_for(lambda: not directory.exists(), "their end")
    # what cannot be is a line, and the host is there
    (home / "hosts").write_text("mine\n")
    told = Lines(os.dup(popen.stderr.fileno()))
    for wrong, words in (("/${NO_SUCH}/x", 'stateDir "/${NO_SUCH}/x": the variable NO_SUCH is not set'),
                         ("/proc/x", "cannot make /proc/x"), ("~", "hosts is a file of somebody else's")):
        link.configure("127.0.42.100", stateDir={"path": wrong})
        wait_for(lambda: words in told.text(), words)
    link.hang_up()
    assert popen.wait(10) == 0
    assert sorted(os.listdir(home)) == ["foo", "hosts"] and (home / "hosts").read_text() == "mine\n"


def test_files_that_are_slow_stop_nothing(nswrap, home):
    """While a file cannot be had, here as somebody has locked its directory, an agent answers all the same."""
    directory = home / "slow"
    directory.mkdir()
    popen = agent(nswrap, home)
    link = Link(popen)
    lock = os.open(directory, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)

    def answers():
        """Was there an answer while it waited for the lock, which it does for a second?"""
        link.configure("127.0.42.100", stateDir={"path": str(directory)})
        wait_for(lambda: len(os.listdir(f"/proc/{popen.pid}/task")) > 1, "somebody who waits for the lock")
        link.request("ping", {})
        is_waiting = not (directory / "hosts").exists()
        wait_files(directory)
        for path in directory.iterdir():
            path.unlink()
        return is_waiting

    assert any(answers() for _ in range(5))
    os.close(lock)
    link.hang_up()
    assert popen.wait(20) == 0


@pytest.mark.parametrize("etc", [False, True], ids=["container", "root"], indirect=True)
def test_etc_hosts(etc, short_dir, home, request):
    """NoRouter's example for Docker: names in /etc/hosts, and it is as it was at the end."""
    before = etc.hosts.stat()
    with site_of(etc.nswrap, short_dir, home, writeEtcHosts=True) as site:
        wait_for(lambda: set(etc.blocks()) == set(list(NAMES.values())[:2]), "a block for each host")
        assert sorted(etc.blocks()["127.0.42.101"]) == sorted(f"{ip} {name}" for name, ip in NAMES.items())
        found = etc.outer.run("getent", "hosts", "host1.norouter.local")
        assert found.stdout.split()[0] == b"127.0.42.101"
        assert MARKED.sub(b"", etc.hosts.read_bytes()) == ETC_HOSTS
        after = etc.hosts.stat()
        assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)
        backups = [path.name for path in etc.path.iterdir() if path.name.startswith("hosts.")]
        if request.node.callspec.params["etc"]:
            assert backups == ["hosts.nswrap-backup"]
            assert (etc.path / backups[0]).read_bytes() == ETC_HOSTS
            assert (etc.path / backups[0]).stat().st_mode == before.st_mode
        else:
            assert backups == []
        # somebody else has the file too
        with etc.hosts.open("ab") as file:
            file.write(b"192.0.2.7 added\n")
        site.path.write_text(json.dumps({"hosts": {**site.hosts, "host1": {
            **site.hosts["host1"], "aliases": ["other"], "writeEtcHosts": False}}}))
        assert etc.nswrap.run("mesh", "reload", site.name).returncode == 0
        wait_for(lambda: set(etc.blocks()) == {"127.0.42.100"}, "the end of one block")
        wait_for(lambda: "127.0.42.101 other" in etc.blocks()["127.0.42.100"], "the new name")
        # an agent that is killed leaves a block, and the next one has its own
        text = etc.hosts.read_bytes()
        pid = site.status()["host0"]["pid"]
        os.kill(pid, signal.SIGKILL)
        site.wait_state("host0", restarts=1)
        wait_for(lambda: etc.hosts.read_bytes() != text and len(etc.blocks()) == 1, "another block")
    assert etc.hosts.read_bytes() == ETC_HOSTS + b"\n192.0.2.7 added\n"


@pytest.mark.parametrize("etc", [True], indirect=True)
def test_etc_hosts_that_others_write(etc, short_dir, home):
    """Who replaces the file, or takes the block out, gets it back; nothing of theirs is lost."""
    with site_of(etc.nswrap, short_dir, home, writeEtcHosts=True):
        wait_for(lambda: len(etc.blocks()) == 2, "the blocks")
        new = etc.path / "new"
        new.write_bytes(b"127.0.0.1 localhost\n192.0.2.8 replaced\n")
        new.rename(etc.hosts)
        wait_for(lambda: len(etc.blocks()) == 2, "the blocks again", 12)
    assert etc.hosts.read_bytes() == b"127.0.0.1 localhost\n192.0.2.8 replaced\n"


@pytest.mark.parametrize("etc", [False], indirect=True)
def test_what_a_crash_leaves(etc, short_dir, home):
    """The next agent, of whatever mesh, takes out what killed ones have left; what runs stays."""
    def start(vip, **more):
        popen = agent(etc.nswrap, home)
        link = Link(popen)
        link.configure(vip, stateDir={}, **more)
        return popen, link

    killed, _ = start("127.0.42.101", writeEtcHosts=True)
    first, first_link = start("127.0.42.102", writeEtcHosts=True)
    wait_for(lambda: set(etc.blocks()) == {"127.0.42.101", "127.0.42.102"}, "the blocks")
    killed.kill()
    killed.wait()
    second, second_link = start("127.0.42.103")
    wait_for(lambda: set(etc.blocks()) == {"127.0.42.102"}, "the end of a block")
    wait_for(lambda: "vip=127.0.42.103" in (home / ".nswrap/agent/hosts").read_text(), "another one")
    text = (home / ".nswrap/agent/hosts").read_text()
    assert "vip=127.0.42.102" in text and "vip=127.0.42.103" in text and "vip=127.0.42.101" not in text
    for popen, link in ((first, first_link), (second, second_link)):
        link.hang_up()
        assert popen.wait(10) == 0
    assert etc.hosts.read_bytes() == ETC_HOSTS and os.listdir(home / ".nswrap") == []


def test_etc_hosts_is_roots(nswrap, short_dir, home):
    """Who may not write it hears of that, once, and has a mesh."""
    if os.access("/etc/hosts", os.W_OK):
        pytest.skip("this user may write it")
    with site_of(nswrap, short_dir, home, writeEtcHosts=True) as site:
        line = r"host0: .*cannot write /etc/hosts: Permission denied; the names of the mesh are not in it"
        site.running.wait_line(line)
        assert nswrap.run("mesh", "reload", site.name).returncode == 0
        assert site.status()["host0"]["state"] == "ready"
    assert len(re.findall(line, site.running.stderr.text())) == 1
