# SPDX-License-Identifier: Apache-2.0
"""e2e/test_habits - what users of other programs type works, or is answered with what is nswrap's own"""

import json
import os
import pathlib
import re
import socket
import subprocess
import unicodedata

import pytest

from harness import (
    BINARY, PATIENCE, TCP_ECHO, TREE, UDP_ECHO, exchange, free_port, free_ports, python, wait_for)
from mesh_tools import Site, network
from tools import table


def said(result):
    """The one line of an error."""
    [line] = result.stderr.decode().splitlines()
    return line


def box(nswrap, *options, name="box"):
    running = nswrap.start("-q", "-n", name, "--network", "none", *options, "--", "sleep", "1000")
    running.wait_event("started")
    return running


# --- help ------------------------------------------------------------------------------------------

SUBCOMMANDS = ["run", "exec", "ps", "port", "stop", "logs", "doctor", "mesh", "agent", "exit", "tunnel",
               "sockets", "show-installer", "help"]
PLACES = [["port", "list"], ["port", "add", "box", "8080:80"], ["exec", "box"], ["stop", "box"],
          ["mesh", "status"], ["mesh", "x.yaml"], ["run", "-p", "80"], ["run", "-qv"],
          ["agent", "--automated"], ["ps", "--json"], ["exec", "-C", "/"], ["stop", "-t", "5"]]


@pytest.mark.parametrize("word", ["--help", "-h"])
@pytest.mark.parametrize("words", [*[[sub] for sub in SUBCOMMANDS], *PLACES], ids=" ".join)
def test_help(nswrap, words, word):
    """Wherever an option may stand; the same as help SUBCOMMAND says."""
    result = nswrap.run(*words, word)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == nswrap.run("help", words[0]).stdout
    synopsis = result.stdout.decode().split("\n\n")[0]
    assert all(words[0] in line or "MANIFEST.yaml" in line for line in synopsis.splitlines()), synopsis
    assert re.search(r"^  -h, --help  +\S", result.stdout.decode(), re.M)


def test_help_of_command_is_its_own(nswrap):
    assert nswrap.run("-q", "-n", "x", "--", "echo", "-h").stdout == b"-h\n"


def test_help_is_short(nswrap):
    text = nswrap.run("-h").stdout.decode()
    assert len(text.splitlines()) < 45 and text == nswrap.run("help").stdout.decode()
    hints = nswrap.run("run", "-h").stdout.decode()
    for word in "-p 8080:80", "--publish", "-L", "-it", "--rm", "-w", "-v":
        assert word in hints


def test_help_of_what_there_is_not(nswrap):
    for word, names in [("exce", "exec"), ("list", "nswrap ps"), ("nonsense", "nswrap help")]:
        result = nswrap.run("help", word)
        assert result.returncode == 2 and names in said(result)


def test_agent_says_nothing_of_what_managers_say(nswrap):
    result = nswrap.run("agent", "--automated")
    assert b"automated" not in result.stderr
    assert b'ignoring "--other"' in nswrap.run("agent", "--automated", "--other").stderr


# --- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{port}:7000", "127.0.0.1:{port}:7000", "[::1]:{port}:7000",
                                  "127.0.0.1:{port}:7000/tcp", "{port}:7000/udp"])
def test_host_port_with_guest(nswrap, form):
    """-p as docker's users type it."""
    udp, address = "/udp" in form, "::1" if "::1" in form else "127.0.0.1"
    port = free_port()
    running = nswrap.start("-q", "--network", "none", "-p", form.format(port=port), "--",
                           *python(UDP_ECHO if udp else TCP_ECHO, "127.0.0.1", 7000))
    running.guest_listening()
    if not udp:
        assert exchange(port, b"hello", address) == b"hello"
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10 * PATIENCE)
        client.sendto(b"hello", ("127.0.0.1", port))
        assert client.recv(100).endswith(b" hello")


@pytest.mark.parametrize("words, specs", [
    (["-p", "{0}-{1}:80-81"], ["{0}:80/tcp", "{1}:81/tcp"]),
    (["-p", "{0}/udp"], ["{0}:{0}/udp"]),
    (["-p", "{0}:90", "-p", "{1}", "-P", "91"], ["{0}:90/tcp", "{1}:91/tcp"]),
    (["--host-port={0}:90", "-b", "127.0.0.2"], ["127.0.0.2:{0}:90/tcp"]),
    (["-p", "localhost:{0}:90", "-p", "*:{1}"], ["127.0.0.1:{0}:90/tcp", "0.0.0.0:{1}:{1}/tcp"]),
    (["-f", "*:{0}:90/udp", "-f", ":{1}:91"], ["0.0.0.0:{0}:90/udp", "0.0.0.0:{1}:91/tcp"]),
    (["-p", "{0}:90", "-b", "*"], ["0.0.0.0:{0}:90/tcp"]),
    (["-p", "127.0.0.2:{0}:90", "-p", "{1}:91", "-b", "LOCALHOST"], ["127.0.0.2:{0}:90/tcp", "{1}:91/tcp"]),
])
def test_host_port_is_a_forward(nswrap, words, specs):
    first = free_ports(2)
    running = box(nswrap, *[word.format(first, first + 1) for word in words])
    found = [running.wait_event("forward", n + 1)["spec"] for n in range(len(specs))]
    specs = [spec.format(first, first + 1) for spec in specs]
    assert found == [spec if "." in spec else "127.0.0.1:" + spec for spec in specs]


def test_listen_addresses_of_ssh(nswrap):
    """localhost and * for port add and remove; -b "" is rather a variable without a value."""
    running = box(nswrap)
    port = free_port()
    for address, spec in ("localhost", f"127.0.0.1:{port}:80/tcp"), ("*", f"0.0.0.0:{port}:80/tcp"):
        assert nswrap.run("port", "add", "box", f"{address}:{port}:80").returncode == 0
        assert [row["spec"] for row in json.loads(nswrap.run("port", "list", "box", "--json").stdout)] == [spec]
        assert nswrap.run("port", "remove", "box", f"{address}:{port}").returncode == 0
    running.stop()
    for words, wrong in (["-b", ""], '""'), (["-p", "myhost:80:80"], '"myhost"'):
        result = nswrap.run(*words, "true")
        assert result.returncode == 2 and f"{wrong} is no IP address" in said(result)


@pytest.mark.parametrize("words, names", [
    (["--publish", "8080:80"], "-f 8080:80"), (["--publish=8080:80"], "-f 8080:80"),
    (["-L", "8080:localhost:80"], "-f 8080:80"), (["-L8080:localhost:80"], "-f 8080:80"),
    (["-X"], "--x11"), (["--workdir=/"], "-C DIR"), (["--tcp-ports", "80"], "-f 8080:80"), (["-D", "1080"], "mesh"),
    (["-it"], "terminal"), (["-ti"], "terminal"), (["-i"], "terminal"), (["--rm"], "not needed"),
    (["-v", "/src:/dst"], "files"), (["--volume", "/a:/b"], "files"), (["-w", "/"], "-C DIR"),
    (["-u", "root"], "--root"), (["--user=0"], "--root"), (["--net=host"], "--network none"),
    (["--net", "none"], "--network none"), (["--unshare-net"], "--network none"),
    (["--unshare-pid"], "--pid"), (["-r"], "--root"), (["--map-root-user"], "--root"),
    (["--ro-bind", "/", "/"], "files"), (["--setenv", "A", "B"], "-e NAME=VALUE"),
    (["--config-net"], "not needed"), (["-t", "8080:80"], "-p 8080:80"), (["-T", "80"], "-R PORT"),
    (["--disable-host-loopback"], "--host-loopback"), (["--disable-dns"], "--no-dns"),
    (["--hots-port", "80"], "--host-port"), (["--no-ip6"], "--no-ipv6"), (["--qiuet"], "--quiet"),
])
def test_options_of_others(nswrap, words, names):
    """An error that says what is nswrap's own; nothing is started."""
    result = nswrap.run(*words, "true")
    assert result.returncode == 2 and result.stdout == b""
    line = said(result)
    assert words[0].split("=")[0][:2] in line and names in line


@pytest.mark.parametrize("words, names", [
    (["exec", "-it", "box", "sh"], "terminal"), (["exec", "-ti", "box", "sh"], "terminal"),
    (["exec", "box", "-w", "/", "sh"], "-C DIR"), (["exec", "-u", "root", "box", "id"], "--root"),
    (["ps", "-a"], "not needed"), (["ps", "-q"], "--json"), (["ps", "--jsn"], "--json"),
    (["stop", "--time=5", "box"], "-t SECONDS"), (["stop", "-f", "box"], "-t 0"),
    (["port", "add", "box", "-p", "8080:80"], "port add SANDBOX 8080:80"),
    (["port", "ls", "box"], "port list"), (["port", "box"], "and then a SANDBOX"),
    (["mesh", "list"], "nswrap mesh status"), (["mesh", "statsu", "site"], "nswrap mesh status"),
    (["mesh", "up", "site.yaml"], "nswrap mesh MANIFEST"), (["mesh", "down"], "nswrap mesh stop"),
    (["mesh", "-f", "site.yaml"], "nswrap mesh MANIFEST"), (["mesh", "relaod"], "nswrap mesh reload"),
    (["mesh", "--validate", "x.yaml"], "--check"),
    (["tunnel", "client", "-R", "8000:localhost:80"], "--forward NAME="), (["tunnel", "client", "-L", "80:db:80"], "--reverse NAME="),
    (["tunnel", "client", "example.com:3001"], "--server ADDR"), (["tunnel", "client", "--token", "x"], "--key-file"),
    (["tunnel", "server", "3000"], "--bind-proxy ADDR"), (["tunnel", "server", "--port", "3000"], "--bind-proxy ADDR"),
    (["tunnel", "start"], "server, client or status"), (["tunnel", "-d", "server"], "systemd"),
    (["exit", "10.0.0.0/8"], "--expose NETWORK"), (["exit", "ssh", "gw"], "--link LINK"),
    (["exit", "--via", "exec:ssh gw"], "at the other end"), (["exit", "--listen", ":7000"], "--link listen-tcp"),
])
def test_options_of_others_for_subcommands(nswrap, words, names):
    result = nswrap.run(*words)
    assert result.returncode == 2 and names in said(result)


def test_a_manifest_of_any_name(nswrap, short_dir):
    """A file is a manifest, whatever it is called."""
    manifest = "hosts: {a: {vip: 127.0.42.100}}"
    for name in "list", "up":
        pathlib.Path(short_dir, name).write_text(manifest)
        assert nswrap.run("mesh", "--check", name, cwd=short_dir).returncode == 0
    assert nswrap.run("mesh", "--check", "-", input=manifest.encode()).returncode == 0
    assert b"cannot be read" in nswrap.run("mesh", "--check", "no-such-file.yaml").stderr


def test_hints_name_what_there_is(nswrap):
    """No hint sends its reader to an option that nswrap has not."""
    source = (TREE / "src/cmd/habits.c").read_text()
    hints = re.findall(r'^\t\{"-[^"]*",\s*"([^"]*)"', source, re.M) + re.findall(r'^#define .*"(.*)"$', source, re.M)
    helps = {sub: nswrap.run("help", sub).stdout.decode() for sub in SUBCOMMANDS}
    known = set(re.findall(r"--[\w-]+", "".join(helps.values()))) | {"--version", "--"}
    assert len(hints) > 40
    for instead in hints:
        assert set(re.findall(r"(?<!\w)--[a-z][\w-]*", instead)) <= known, instead


# --- words -----------------------------------------------------------------------------------------


@pytest.fixture
def programs(short_dir):
    """Makes programs that leave a file when they are run; an environment in which they are found."""
    path = pathlib.Path(short_dir, "bin")
    path.mkdir()

    def make(*names):
        for name in names:
            program = path / name
            program.write_text(f'#!/bin/sh\necho "$0 $*" >>{short_dir}/ran\n')
            program.chmod(0o755)
        return {"PATH": f"{path}:{os.environ['PATH']}"}

    make.ran = pathlib.Path(short_dir, "ran")
    return make


@pytest.mark.parametrize("word, names", [
    ("list", "nswrap ps"), ("status", "nswrap ps"), ("version", "nswrap --version"),
    ("up", "nswrap mesh MANIFEST"), ("down", "nswrap mesh stop"), ("start", "nswrap COMMAND"),
    ("remove", "nswrap stop"), ("ports", "nswrap port list"), ("images", "no images")])
def test_words_of_others(nswrap, programs, word, names):
    """Not run, even where there is such a program; it is behind -- and run."""
    env = programs(word)
    result = nswrap.run(word, "box", env=env)
    assert result.returncode == 2 and names in said(result) and f"nswrap -- {word}" in said(result)
    assert not programs.ran.exists()
    for words in ["--"], ["run"], ["-q"]:
        assert nswrap.run(*words, word, env=env).returncode == 0
    assert len(programs.ran.read_text().splitlines()) == 3


@pytest.mark.parametrize("words, is_ours", [
    (["rm", "box"], True), (["rm", "-f", "box"], True), (["rm", "gone"], True), (["rm"], True),
    (["rm", "file"], False), (["rm", "-rf", "file"], False),
    (["kill", "box"], True), (["kill", "-9", "box"], True), (["kill", "gone"], True), (["kill"], True),
    (["kill", "12345"], False), (["kill", "-s", "TERM", "12345"], False), (["kill", "-l"], False),
    (["top", "box"], True), (["top", "-b"], False), (["info", "gcc"], False), (["ls", "-l"], False),
    (["ls"], False)])
def test_words_that_are_programs_as_well(nswrap, programs, short_dir, words, is_ours):
    """A sandbox of a name that is also a file's is not mistaken for it."""
    env = programs(words[0])
    box(nswrap)
    for name in "file", "box":
        pathlib.Path(short_dir, name).touch()
    result = nswrap.run(*words, env=env, cwd=short_dir)
    assert programs.ran.exists() != is_ours
    assert result.returncode == (2 if is_ours else 0)
    if is_ours:
        assert "nswrap stop" in said(result) or "nswrap exec" in said(result)
    assert (b"nswrap ps" in result.stderr) == (words == ["ls"])


@pytest.mark.parametrize("word, nearest", [
    ("exce", "exec"), ("stpo", "stop"), ("pss", "ps"), ("prot", "port"), ("mehs", "mesh"), ("docter", "doctor")])
def test_misspelt_subcommands(nswrap, programs, word, nearest):
    """A hint where there is no such program, before anything is started."""
    result = nswrap.run("--", word)
    if result.returncode == 127:
        result = nswrap.run(word, "box")
        assert result.returncode == 2 and f"did you mean nswrap {nearest}?" in said(result)
    env = programs(word)
    assert nswrap.run("-q", word, env=env).returncode == 0
    programs.ran.unlink()
    nswrap.run(word, "box", env=env)
    assert programs.ran.read_text().endswith(f"{word} box\n")


@pytest.mark.parametrize("words, names", [
    (["port", "ls", "box"], "nswrap port list"), (["port", "rm", "box", "80"], "nswrap port remove"),
    (["port", "ad", "box", "80"], "nswrap port add"), (["port", "delete", "box", "80"], "nswrap port remove"),
    (["port", "box"], "nswrap port list box"), (["mesh", "logs"], "nswrap mesh status"),
    (["mesh", "top"], "nswrap mesh status --watch"), (["mesh", "rm"], "nswrap mesh stop"),
    (["config"], "nswrap/config"), (["completion", "bash"], "make install"), (["events"], "--info-fd"),
    (["site.yaml"], "manifest of a mesh"), (["./site.yml"], "manifest of a mesh")])
def test_words_of_others_that_may_be_programs(nswrap, words, names):
    result = nswrap.run(*words)
    assert result.returncode == 2 and names in said(result), result.stderr


def test_words_that_nobody_knows(nswrap):
    result = nswrap.run("-q", "no-such-program-anywhere")
    assert result.returncode == 127
    assert nswrap.run("no-such-program-anywhere").returncode == 127


# --- what is said of ports, and ps -------------------------------------------------------------------


def test_in_use_names_the_sandbox(nswrap, short_dir):
    """And not a process that ps does not list."""
    port, udp = free_port(), free_port()
    path = os.path.join(short_dir, "sock")
    box(nswrap, "-f", f"{port}:80", "-f", f"{udp}:81/udp", "-f", f"unix:{path}:82", name="web-1")
    box(nswrap, name="other")
    for forward, what in [(f"{port}:90", f"port {port}"), (f"{udp}:90/udp", f"UDP port {udp}"),
                          (f"0.0.0.0:{port}:90", f"port {port}"), (f"unix:{path}:90", path)]:
        for words in [["--network", "none", "-f", forward, "true"], ["port", "add", "other", forward]]:
            result = nswrap.run(*words)
            assert result.returncode == 125
            line = said(result)
            assert what in line and line.endswith("in use by the sandbox web-1"), line


def test_in_use_names_the_sandbox_to_tunnels_and_exits(nswrap, short_dir):
    """Whatever listens: clients, users and links come to a port or a socket file."""
    port, path = free_port(), os.path.join(short_dir, "sock")
    box(nswrap, "-f", f"{port}:80", "-f", f"unix:{path}:82", name="web-1")
    taken, free = f"127.0.0.1:{port}", "127.0.0.1:0"
    for words in (["tunnel", "server", "--bind-client", taken, "--bind-proxy", free],
                  ["tunnel", "server", "--bind-client", free, "--bind-proxy", taken],
                  ["tunnel", "server", "--bind-client", f"unix:{path}", "--bind-proxy", free],
                  ["exit", "--link", f"listen-tcp:{taken}"], ["exit", "--link", f"listen-unix:{path}"]):
        result = nswrap.run(*words)
        assert result.returncode == 125 and said(result).endswith("in use by the sandbox web-1"), words
    running = nswrap.start("--via", f"listen-tcp:{taken}", "sleep", 1000)
    running.wait_line("in use by the sandbox web-1$")


def test_in_use_names_the_process(nswrap):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = nswrap.run("-p", f"{taken.getsockname()[1]}:80", "true")
    assert f"(pid {os.getpid()})" in said(result)


def test_in_use_names_the_mesh_and_the_host(nswrap, short_dir):
    """A listener of the mesh is its host's, whose agent is below the manager."""
    vip, port = network(), free_port()
    site = Site(nswrap, short_dir)
    site.host("near", f"{vip}.100")
    site.host("far", f"{vip}.101", f"{BINARY} -c 'exec sleep 1000'", ports=[f"{port}:127.0.0.1:9"])
    with site:
        result = nswrap.run("--network", "none", "-p", f"{vip}.101:{port}:80", "true")
        assert re.search(r"in use by the mesh site \(host near\)$", said(result))


def test_missing_port_of_a_mesh_names_the_sandbox(nswrap, short_dir):
    """What an agent cannot listen at, as what a sandbox cannot."""
    vip, port = network(), free_port()
    box(nswrap, "-p", f"{vip}.101:{port}:80", name="web-1")
    site = Site(nswrap, short_dir)
    site.host("near", f"{vip}.100")
    site.host("far", f"{vip}.101", f"{BINARY} -c 'exec sleep 1000'", ports=[f"{port}:127.0.0.1:9"])
    with site:
        site.running.wait_line(rf"port {port} of {vip}\.101 is in use by the sandbox web-1")


def test_port_of_the_command_that_a_sandbox_has(nswrap):
    """What the command prints leads to another sandbox: that is named, too."""
    port = free_port()
    box(nswrap, "-p", f"{port}:80", name="web-1")
    result = nswrap.run("--network", "none", "-p", f"0:{port}", "true")
    assert f"port {port} of 127.0.0.1 on this host is in use by the sandbox web-1:" in result.stderr.decode()


def test_port_add_says_what_is_true(nswrap):
    """Whether somebody listens now, which nobody has told it yet; and what is there already."""
    first = free_ports(4)
    running = nswrap.start("-q", "-n", "box", "--network", "none", "-f", "0:7000", "--",
                           *python(TCP_ECHO, "127.0.0.1", 7000))
    running.guest_listening()
    for at, guest, tail in [(0, 7000, " (splice)"), (1, 7001, " (splice, nobody listens inside now)")]:
        added = nswrap.run("port", "add", "box", f"{first + at}:{guest}")
        assert added.stdout.decode() == f"127.0.0.1:{first + at}:{guest}/tcp{tail}\n"
    result = nswrap.run("port", "add", "box", f"{first + 2}:80", f"{first}:7000")
    assert result.returncode == 125 and said(result) == f"nswrap: 127.0.0.1:{first}:7000/tcp is there already"
    result = nswrap.run("port", "add", "box", f"0.0.0.0:{first}:80")
    assert result.returncode == 125
    assert f"0.0.0.0:{first}:80/tcp: 127.0.0.1:{first}:7000/tcp is there already" in said(result)
    assert len(json.loads(nswrap.run("port", "list", "box", "--json").stdout)) == 3


def test_port_list_says_who_listens_now(nswrap):
    """Also of a guest that has listened and does no more."""
    program = ("import socket, sys\ns = socket.create_server(('127.0.0.1', 7000)); sys.stdin.read(1); s.close()\n"
               "sys.stdin.read(1)")
    running = nswrap.start("-q", "-n", "box", "--network", "none", "-f", "0:7000", "--", *python(program),
                           stdin=subprocess.PIPE)
    running.guest_listening()

    def listening():
        return json.loads(nswrap.run("port", "list", "box", "--json").stdout)[0]["listening"]

    assert listening()
    running.stdin.write(b"x")
    running.stdin.flush()
    wait_for(lambda: not listening(), "the answer that nobody listens")
    assert b"nobody listens inside now" in nswrap.run("port", "list", "box").stdout


# listens where no forward leads, and, once its stdin says so, where one does
ELSEWHERE = """
import socket, sys
one, other = socket.create_server(('127.0.0.2', 7000)), socket.create_server(('127.0.0.3', 7000))
datagrams = socket.socket(type=socket.SOCK_DGRAM)
datagrams.bind(('127.0.0.4', 7001))
print('up', flush=True)
sys.stdin.read(1)
led = socket.create_server(('127.0.0.1', 7000))
sys.stdin.read(1)
"""


def test_port_list_says_where_else_somebody_listens(nswrap):
    """Why clients are refused by a server that runs: it is at an address to which the forward does not lead."""
    first = free_ports(3)
    running = nswrap.start("-q", "-n", "box", "--network", "none", "-f", f"{first}:7000", "-f", f"{first}:7001/udp",
                           "-f", f"{first + 2}:7001", "--", *python(ELSEWHERE), stdin=subprocess.PIPE)
    assert running.read_line() == "up"

    def listed(*words):
        return json.loads(nswrap.run(*words, "--json").stdout)

    apart = "nobody listens inside where it leads, such as 127.0.0.1, but at"
    assert nswrap.run("port", "list", "box").stdout.decode().splitlines() == [
        f"127.0.0.1:{first}:7000/tcp (splice, {apart} 127.0.0.2:7000, 127.0.0.3:7000)",
        f"127.0.0.1:{first}:7001/udp (splice, {apart} 127.0.0.4:7001)",
        f"127.0.0.1:{first + 2}:7001/tcp (splice, nobody listens inside now)"]
    for forwards in listed("port", "list", "box"), listed("ps")[0]["forwards"]:
        assert [(f["listening"], f.get("elsewhere")) for f in forwards] == [
            (False, ["127.0.0.2:7000", "127.0.0.3:7000"]), (False, ["127.0.0.4:7001"]), (False, None)]
    running.stdin.write(b"x")
    running.stdin.flush()
    wait_for(lambda: listed("port", "list", "box")[0]["listening"], "the server where it leads")
    assert "elsewhere" not in listed("port", "list", "box")[0]


def test_mesh_status_fits(nswrap, short_dir):
    """WHY is cut to the terminal, what one looks for is not; what is no terminal gets all of it."""
    vip = network()
    site = Site(nswrap, short_dir)
    site.host("near", f"{vip}.100")
    site.host("a-host-with-a-name", f"{vip}.101", ["echo", "no such place " * 20])
    site.path.write_text(json.dumps({"hosts": site.hosts}))
    site.start()
    wait_for(lambda: b"no such place no such place" in nswrap.run("mesh", "status", "site").stdout, "the reason")
    for columns in (40, 120):
        rows = nswrap.lines_on_terminal(columns, "mesh", "status", "site")[:3]
        assert f"{vip}.101 " in rows[2] and "a-host-with-a-name " in rows[2] and rows[2].endswith("+"), rows
        assert len(rows[2]) == max(columns, rows[0].index("WHY") + 10), rows


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_ps_fits(nswrap, columns):
    """Into narrow terminals; wide ones are used; what is no terminal gets all of it."""
    first = free_ports(12)
    box(nswrap, *[word for i in range(12) for word in ("-f", f"{first + i}:{80 + i}")], name="many")
    box(nswrap, name="a-name-of-many-letters-and-signs")
    running = nswrap.start("-q", "-n", "wide", "--", "sh", "-c", "sleep 1000; : " + "\u4e16\u754c" * 50)
    running.wait_event("started")
    rows = nswrap.lines_on_terminal(columns, "ps")
    assert len(rows) == 4
    for row in rows:
        width = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in row)
        assert width <= columns, row
    [many] = [row for row in rows if row.startswith("many")]
    assert f"{first}:80," in many and ("+1" in many) == (columns < 200) and "sleep 1000" in many
    whole = table(nswrap)
    assert f"{first + 11}:91" in whole and "\u754c" in whole and "+" not in whole
    assert "a-name-of-many-letters-and-signs" in whole
