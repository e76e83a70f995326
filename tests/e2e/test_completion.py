# SPDX-License-Identifier: Apache-2.0
"""e2e/test_completion - what may come next, as the program says it and as bash, zsh and fish complete it"""

import contextlib
import fcntl
import os
import pathlib
import pty
import re
import select
import socket
import struct
import subprocess
import termios

import pytest

from harness import BINARY, TREE, wait_for

SUBCOMMANDS = ["run", "exec", "ps", "port", "stop", "logs", "doctor", "mesh", "agent", "exit", "tunnel", "sockets",
               "show-installer"]
RUNS = {"run": [], "exec": ["box"]}  # operands in front of COMMAND


def offered(nswrap, *words):
    """[(word, meaning), ...]; what the shell is asked for begins with a colon."""
    result = nswrap.run("__complete", *words)
    assert (result.returncode, result.stderr) == (0, b""), result
    return [tuple((line + "\t").split("\t")[:2]) for line in result.stdout.decode().splitlines()]


def helped(nswrap, subcommand):
    """[(names, takes a word, help text)] of the usage text."""
    text = nswrap.run("help", subcommand).stdout.decode()
    found = re.findall(r"^  (?:(-\w), |    )(--[\w-]+)( \S+)?", text, re.M)
    assert len(found) > 1, "the test cannot read it"
    return [([name for name in names if name], bool(value)) for *names, value in found]


@contextlib.contextmanager
def running(nswrap, **names):
    """Sockets as of what runs: sandboxes=[...], meshes=[...]"""
    top = nswrap.runtime_dir / "nswrap"
    with contextlib.ExitStack() as stack:
        for kind, directory in (("sandboxes", top), ("meshes", top / "mesh")):
            directory.mkdir(mode=0o700, exist_ok=True)
            for name in names.get(kind, []):
                sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                sock.bind(str(directory / f"{name}.sock"))
                sock.listen()
                stack.callback((directory / f"{name}.sock").unlink)
        yield


# --- what the program says -----------------------------------------------------------------------


def test_version(nswrap):
    """A line each: the version, what it is linked with as it was loaded, what it can do."""
    version = re.search(r'NSWRAP_VERSION "(.*)"', (TREE / "src/version.h").read_text())[1]
    first, libraries, features = nswrap.run("--version").stdout.decode().splitlines()
    assert first == f"nswrap {version}"
    for library in ("libslirp", "libseccomp", "libcap", "jansson", "libyaml", "ngtcp2", "http-parser", "glibc", "GLib"):
        assert re.search(rf"\b{library} \d+\.\d+", libraries), library
    slirp = subprocess.run(["pkg-config", "--modversion", "slirp"], capture_output=True, check=True).stdout.decode()
    assert f"libslirp {slirp.strip()}," in libraries
    assert {"splice", "slirp;", "kernel", "sandbox.run"} <= set(features.split())


@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_every_option_is_offered(nswrap, subcommand):
    words = {word for word, meaning in offered(nswrap, subcommand, "-") if meaning}
    assert words == {name for names, _ in helped(nswrap, subcommand) for name in names}


@pytest.mark.parametrize("subcommand", RUNS)
def test_which_options_take_a_word(nswrap, subcommand):
    for names, takes in helped(nswrap, subcommand):
        if names[-1] in ("--shell-command", "--help"):
            continue
        before = ["value"] * takes + RUNS[subcommand]
        for name in names:
            assert offered(nswrap, subcommand, name, *before, "program", "") == \
                [(f":command {2 + len(before)}", "")], name


@pytest.mark.parametrize("words, said", [
    (["exec", ""], ["box", "other"]),
    (["exec", "-C", "/", ""], ["box", "other"]),
    (["exec", "box", ""], [":command 2"]),
    (["exec", "box", "--", "ls", "-"], [":command 3"]),
    (["exec", "--", "box", ""], [":command 3"]),
    (["stop", "box", "-t", "5", ""], ["box", "other"]),
    (["logs", ""], ["box", "other"]),
    (["port", ""], ["list", "add", "remove"]),
    (["port", "add", ""], ["box", "other"]),
    (["port", "add", "box", ""], []),
    (["port", "list", "-R", ""], []),
    (["help", ""], [*SUBCOMMANDS, "help"]),
    ([""], [*SUBCOMMANDS, "help", ":manifests"]),
    (["l"], [*SUBCOMMANDS, "help", ":manifests", ":command 0"]),
    (["run", ""], [":command 1"]),
    (["-p", "80", "ls", "-"], [":command 2"]),
    (["-p80", "-qn", "x", ""], [":command 3"]),
    (["--", ""], [":command 1"]),
    (["--", "exec", ""], [":command 1"]),
    (["--network", ""], ["outbound", "none"]),
    (["--network=n"], ["--network=outbound", "--network=none"]),
    (["--nothing=n"], []),
    (["-C", ""], [":directories"]),
    (["--pcap=x"], [":files"]),
    (["-e", ""], [":variables"]),
    (["-n", ""], []),
    (["-c", ""], []),
    (["-n", "x", "-c", "true", ""], ["agent"]),
    (["mesh", ""], [":manifests", "status", "graph", "reload", "stop"]),
    (["manager", "--check", ""], [":manifests", "status", "graph", "reload", "stop"]),
    (["mesh", "status", ""], ["office"]),
    (["mesh", "graph", "--format", "svg", ""], ["office"]),
    (["mesh", "graph", "--format", ""], ["dot", "svg", "mermaid"]),
    (["mesh", "-n", ""], ["office"]),
    (["mesh", "site.yaml", ""], []),
    (["tunnel", ""], ["server", "client", "status"]),
    (["tunnel", "--proxy-protocol", ""], ["1", "2"]),
    (["agent", ""], []),
    (["agent", "--stack", ""], ["auto", "kernel", "streams"]),
    (["show-installer", "--agent-file", ""], [":files"]),
    (["sockets", ""], []),
])
def test_words(nswrap, words, said):
    with running(nswrap, sandboxes=["box", "other"], meshes=["office"]):
        assert list(dict.fromkeys(word for word, _ in offered(nswrap, *words))) == said


def test_nothing_is_made_or_removed(nswrap):
    """A TAB leaves what was there before, a socket of one that was killed, too."""
    assert offered(nswrap, "exec", "") == []
    before = nswrap.registry()
    with running(nswrap, sandboxes=["box"]):
        path = nswrap.runtime_dir / "nswrap" / "killed.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.bind(str(path))
        assert offered(nswrap, "exec", "") == [("box", "")]
        assert path.exists()
        path.unlink()
    assert not [name for name in nswrap.registry() if name not in before and not name.endswith(("mesh", "lock"))]


# --- the shells ----------------------------------------------------------------------------------

BASH = f"PS1='$ '; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'; . {TREE}/completion/nswrap.bash"
LIBRARY = "/usr/share/bash-completion/bash_completion"
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], BASH),
    "bash-completion": (["bash", "--norc", "--noprofile", "-i"], f". {LIBRARY}; {BASH}"),
    "zsh": (["zsh", "-f", "-i"],
            f"fpath=({TREE}/completion $fpath); autoload -Uz compinit; compinit -D -u; unsetopt beep"),
    "fish": (["fish", "--no-config", "-i"], f"source {TREE}/completion/nswrap.fish"),
}
# the program completes; otherwise it shows its words
PROGRAM = f"""#!/bin/sh
[ "$1" != __complete ] || exec {BINARY} "$@"
printf '<%s>' "$@"; echo .
"""


class Shell:
    """One that is typed at."""

    def __init__(self, name, directory, env):
        command, setup = SHELLS[name]
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 250, 0, 0))
        # the terminal is to be its own
        self.process = subprocess.Popen(["setsid", "-c", *command], stdin=slave, stdout=slave, stderr=slave, cwd=directory,
                                        env={**env, "TERM": "xterm", "HOME": str(directory)})
        os.close(slave)
        self.said = ""
        self.type(f"{setup}; echo set'' up\r")
        wait_for(lambda: self.has_said("set up"), name)

    def type(self, text):
        os.write(self.master, text.encode())

    def has_said(self, text):
        while select.select([self.master], [], [], 0)[0]:
            try:
                self.said += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"it has ended: {self.said!r}") from None
        return text in self.said

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def shell(request, nswrap, short_dir):
    directory = pathlib.Path(short_dir, "home")
    (directory / "bin").mkdir(parents=True)
    (directory / "frobdir").mkdir()
    (directory / "frobnicate.yaml").touch()
    for name, text in (("nswrap", PROGRAM), ("zebrafinch", "#!/bin/sh\n")):
        (directory / "bin" / name).write_text(text)
        (directory / "bin" / name).chmod(0o755)
    env = {**nswrap.env, "PATH": f"{directory}/bin:/usr/bin:/bin", "FROBVARIABLE": "1"}
    with running(nswrap, sandboxes=["box"], meshes=["office"]):
        started = Shell(request.param, directory, env)
        yield started
        started.close()
    (nswrap.runtime_dir / "fish_universal_variables.notifier").unlink(missing_ok=True)


TYPED = [
    ("show-in\t", "<show-installer>"),
    ("help doc\t", "<help><doctor>"),
    ("exec bo\t", "<exec><box>"),
    ("mesh status of\t", "<mesh><status><office>"),
    ("mesh frobn\t", "<mesh><frobnicate.yaml>"),
    ("--netw\tno\t", "<--network><none>"),
    ("--network=no\t", "<--network=none>"),
    ("--pcap=frobn\t", "<--pcap=frobnicate.yaml>"),
    ("-C frobd\t", "<-C><frobdir"),  # zsh takes the / away
    ("--unset-env FROBV\t", "<--unset-env><FROBVARIABLE>"),
    ("-p 127.0.0.1:80:80 zebraf\t", "<-p><127.0.0.1:80:80><zebrafinch>"),
    ("-- zebraf\t", "<--><zebrafinch>"),
    ("exec box -- cat frobn\t", "<exec><box><--><cat><frobnicate.yaml>"),
    NESTED := ("-p 80 nswrap stop bo\t", "<-p><80><nswrap><stop><box>"),  # as the shell completes that program
]


@pytest.mark.parametrize("shell, typed", [
    # bash alone knows no other program's words
    ("bash", [row for row in TYPED if row != NESTED]),
    *((name, TYPED) for name in SHELLS if name != "bash")], indirect=["shell"], ids=list(SHELLS))
def test_shell(shell, typed):
    for line, words in typed:
        shell.type(f"nswrap {line}\r")
        try:
            wait_for(lambda: shell.has_said(words), line)
        except AssertionError:
            raise AssertionError(f"{line!r}: {shell.said[-600:]!r}") from None
