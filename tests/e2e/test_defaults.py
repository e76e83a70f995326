# SPDX-License-Identifier: Apache-2.0
"""e2e/test_defaults - options from a file and from NSWRAP_OPTIONS, in front of those that are typed"""

import json
import os
import pathlib
import re

import pytest

from harness import free_ports
from tools import listed as ps

SHOW = ("sh", "-c", 'echo "$A,$B"; pwd; cat /proc/net/dev')


@pytest.fixture
def home(nswrap, short_dir):
    """A home directory; write() makes its file of options."""
    class Home:
        path = pathlib.Path(short_dir, "home")
        file = path / ".config/nswrap/config"
        env = {"HOME": str(path)}

        @classmethod
        def write(cls, text, mode=0o600):
            cls.file.write_text(text)
            cls.file.chmod(mode)

        @classmethod
        def run(cls, *words, options=None, **more):
            env = {**cls.env, **({"NSWRAP_OPTIONS": options} if options is not None else {}), **more}
            return nswrap.run(*words, env=env)

    nswrap.env.pop("XDG_CONFIG_HOME", None)
    Home.file.parent.mkdir(parents=True)
    return Home


def said(result):
    [line] = result.stderr.decode().splitlines()
    return line


def test_file_and_variable_and_command_line(home):
    """Later ones win; what can be given more than once adds up."""
    home.write("# mine\n\n--network none   # no way out\n-e A=file\n  -e 'B=of the file'\r\n-q\n")
    result = home.run(*SHOW)
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode().split("\n")[0] == "file,of the file"
    assert "tap0" not in result.stdout.decode() and result.stderr == b""
    assert home.run(*SHOW, options="-e A=variable -C /").stdout.startswith(b"variable,of the file\n/\n")
    result = home.run("-e", "A=typed", "-C", "/usr", *SHOW, options="-e A=variable -C /")
    assert result.stdout.startswith(b"typed,of the file\n/usr\n")
    assert b"tap0" in home.run("--network", "outbound", *SHOW).stdout
    assert home.run("run", *SHOW).stdout.startswith(b"file,")


def test_no_config(home):
    """On the command line without both; in the variable without the file."""
    home.write("-e A=file\n-e B=file\n--network none")
    assert home.run("-q", *SHOW, options="-e A=variable").stdout.startswith(b"variable,file\n")
    assert home.run("-q", "--no-config", *SHOW, options="-e A=variable").stdout.startswith(b",\n")
    result = home.run("-q", *SHOW, options="-e A=variable --no-config")
    assert result.stdout.startswith(b"variable,\n") and b"tap0" in result.stdout


def test_xdg_config_home(home, short_dir):
    other = pathlib.Path(short_dir, "other")
    (other / "nswrap").mkdir(parents=True)
    (other / "nswrap/config").write_text("-e A=other")
    (other / "nswrap/config").chmod(0o600)
    home.write("-e A=home")
    assert home.run("-q", *SHOW, XDG_CONFIG_HOME=str(other)).stdout.startswith(b"other,")
    assert home.run("-q", *SHOW, XDG_CONFIG_HOME="relative").stdout.startswith(b"home,")
    assert home.run("-q", *SHOW, XDG_CONFIG_HOME=str(other / "none")).stdout.startswith(b",")
    assert home.run("-q", *SHOW, HOME="").stdout.startswith(b",")


def test_forwards_add_up(home):
    """Those that are typed come first: {guest-port} is theirs; -P pairs where it stands."""
    first = free_ports(4)
    home.write(f"--network none\n-p {first}\n-p {first + 1}:91\n-P 90\n")
    result = home.run("-p", first + 2, "-P", 92, "-f", f"{first + 3}:93", "--", "echo",
                      *[f"{{host-port:{i}}}-{{guest-port:{i}}}" for i in range(1, 5)])
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode().split() == [
        f"{first + 2}-92", f"{first + 3}-93", f"{first}-90", f"{first + 1}-91"]
    result = home.run("-f", f"{first}:80", "true")
    assert result.returncode == 2 and f"{home.file}:" in said(result) and "--no-config" in said(result)


@pytest.mark.parametrize("text, line, names", [
    ("\n--netwrok none", 2, "did you mean --network?"), ("-p 80x:80", 1, "80x"), ("-p 80\n\n-p 80x", 3, "80x"),
    ("# x\n--mtu 5", 2, "no MTU"), ("-e 'A=b", 1, "quote"), ("jupyter lab", 1, "options"),
    ("-q jupyter", 1, "jupyter"), ("-c true", 1, "-c"), ("--help", 1, "--help"), ("--no-config", 1, "--no-config"),
    ("--publish 80:80", 1, "-f 8080:80"), ("-P 80", 1, "no -p for it"), ("--name", 1, "needs an argument"),
    ("-f 300.1.1.1:80:80", 1, "300.1.1.1")])
def test_errors_name_file_and_line(home, text, line, names):
    home.write(text)
    result = home.run("true")
    assert result.returncode == 2
    assert said(result).startswith(f"nswrap: {home.file}:{line}: ") and names in said(result)
    assert home.run("-q", "--no-config", "true").returncode == 0
    home.write("")
    if "no-config" not in text:
        result = home.run("true", options=text.replace("\n", " ").replace("# x", ""))
        assert result.returncode == 2 and said(result).startswith("nswrap: NSWRAP_OPTIONS: ")
        assert names in said(result)


@pytest.mark.parametrize("mode, is_read", [(0o600, True), (0o644, True), (0o400, True), (0o660, False), (0o602, False)])
def test_a_file_that_others_can_write(home, mode, is_read):
    """Not passed over: it may be there to cut the network."""
    home.write("-e A=file", mode)
    result = home.run("-q", *SHOW)
    if is_read:
        assert result.stdout.startswith(b"file,")
        return
    assert result.returncode == 2 and result.stdout == b""
    assert str(home.file) in said(result) and "chmod go-w" in said(result)
    assert home.run("-q", "--no-config", *SHOW).stdout.startswith(b",")


def test_what_is_no_file_of_options(home):
    home.file.mkdir()
    assert home.run("true").returncode == 2
    home.file.rmdir()
    home.write("-e A=" + "x" * 70000)
    assert "65536" in said(home.run("true"))
    home.file.write_bytes(b"-q\0-q")
    assert home.run("true").returncode == 2
    home.file.unlink()
    os.mkfifo(home.file, 0o600)
    assert home.run("true").returncode == 2, "and does not hang"
    home.file.unlink()
    home.file.symlink_to("nowhere")
    assert home.run("true").returncode == 2, "it may have been there to cut the network"


@pytest.mark.parametrize("words", [["ps"], ["stop", "nobody"], ["port", "list", "nobody"], ["help"], ["--version"],
                                   ["mesh", "--example"], ["agent"], ["-c", "true", "agent"]])
def test_for_run_alone(home, words):
    """Nothing else reads them, wrong as they are; an agent's manager may be anywhere."""
    home.write("--nonsense")
    assert b"nonsense" not in home.run(*words, options="--nonsense").stderr
    assert b"nonsense" in home.run("true").stderr


def test_not_passed_on(home):
    result = home.run("-q", "sh", "-c", 'echo "[$NSWRAP_OPTIONS]"', options="-e A=1")
    assert result.stdout == b"[]\n"


def test_a_user_sees_them(nswrap, home):
    """With -v, in ps --json, and by doctor, which checks them."""
    home.write("\n--network none\n")
    env = {**home.env, "NSWRAP_OPTIONS": "-e A=1 --mtu 9000"}
    running = nswrap.start("-v", "-n", "box", "sleep", "1000", env=env)
    running.wait_line(re.escape(f"{home.file}:2: --network none"))
    running.wait_line("NSWRAP_OPTIONS: -e A=1 --mtu 9000")
    running.wait_event("started")
    [status] = ps(nswrap)
    assert status["defaults"] == [f"{home.file}:2: --network none", "NSWRAP_OPTIONS: -e A=1 --mtu 9000"]
    checks = {c["check"]: c for c in json.loads(nswrap.run("doctor", "--json", env=env).stdout)}
    assert checks["defaults"]["state"] == "note" and f"{home.file}:2" in checks["defaults"]["cure"]
    home.write("--nonsense")
    result = nswrap.run("doctor", env=env)
    assert result.returncode == 1 and f"{home.file}:1: unknown option --nonsense" in result.stdout.decode()


def test_the_last_of_quiet_and_verbose_counts(home):
    home.write("-q\n")
    assert b"leads to" not in home.run("-p", "0:80", "true").stderr
    assert b"leads to" in home.run("-v", "-p", "0:80", "true").stderr
