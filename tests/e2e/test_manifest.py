# SPDX-License-Identifier: Apache-2.0
"""e2e/test_manifest - manifests as people write them: the manual's, the example, and wrong ones"""

import re

import pytest

from harness import TREE

DATA = TREE / "tests" / "data" / "norouter" / "manifests"
PAGE = TREE / "man" / "nswrap-manifest.5"
HOST_KEYS = {"vip", "cmd", "ports", "http", "socks", "loopback", "stateDir", "aliases",
             "install", "writeEtcHosts", "restart", "anyPort", "allow", "expose", "sandbox"}
TOP_KEYS = {"hosts", "hostsFrom", "hostTemplate", "routes"}
LIST_KEYS = {"list", "vips", "every"}


def literal_blocks():
    text = PAGE.read_text()
    return re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", text, re.M | re.S)


def whole(block):
    """A manifest around what the manual shows of one."""
    if re.search(r"^hosts:", block, re.M):
        return block
    vip = "" if block.startswith("vip:") else "    vip: 127.0.42.9\n"
    others = "  laptop: {vip: 127.0.42.7}\n  lab: {vip: 127.0.42.8}\n"
    return "hosts:\n  host:\n" + vip + "".join(f"    {line}\n" for line in block.splitlines()) + others


def check(nswrap, text, **env):
    return nswrap.run("mesh", "--check", "-", input=text.encode(), env=env)


@pytest.mark.parametrize("block", literal_blocks())
def test_examples_of_the_manual(nswrap, block, tmp_path):
    for name in re.findall(r"passwordFile: ~/([^}]*)}", block):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text("secret")
        path.chmod(0o600)
    result = check(nswrap, whole(block), HOME=str(tmp_path))
    assert result.returncode == 0, result.stderr.decode()


def test_every_key_has_an_example():
    examples = "\n".join(literal_blocks())
    headings = set(re.findall(r"\w+", " ".join(re.findall(r"^\.It Ic (.*)$", PAGE.read_text(), re.M))))
    assert headings == HOST_KEYS | TOP_KEYS | LIST_KEYS | {"to", "via"}
    for key in headings:
        assert re.search(rf"(^|[ {{]){key}:", examples, re.M), key


def test_the_printed_example(nswrap):
    printed = nswrap.run("mesh", "--example")
    assert printed.returncode == 0
    for key in HOST_KEYS | TOP_KEYS | LIST_KEYS | {"to", "via"}:
        assert re.search(rf"(^|[ {{]){key}:", printed.stdout.decode(), re.M), key
    assert check(nswrap, printed.stdout.decode()).returncode == 0


def test_unknown_keys_are_told_what_there_is(nswrap):
    """The lists of known keys here are the program's."""
    said = check(nswrap, "zzzzz: 1\nhosts: {a: {vip: 127.0.0.2, zzzzz: 1}}\nhostsFrom: [{zzzzz: 1}]\n").stderr.decode()
    lists = [set(re.findall(r"\w+", line)) - {"or"}
             for line in re.findall(r'unknown key "zzzzz" is ignored: expected (.*)$', said, re.M)]
    assert lists == [TOP_KEYS, HOST_KEYS, LIST_KEYS | HOST_KEYS]


@pytest.mark.parametrize("path", sorted(DATA.glob("*.yaml")), ids=lambda path: path.stem)
def test_manifests_of_norouter(nswrap, path, tmp_path):
    """A proxy that others reach is refused, and the cure is in the line; all else is as it was."""
    done = nswrap.run("mesh", "--check", path)
    if (was_open := ": \":18080\" is open to other machines: " in done.stderr.decode()):
        assert done.returncode == 2 and "or open: true beside it" in done.stderr.decode()
        cured = tmp_path / path.name
        cured.write_text(path.read_text().replace('":18080"', '":18080"\n      open: true'))
        path = cured
        done = nswrap.run("mesh", "--check", path)
    assert was_open == (path.stem == "routes")
    assert done.returncode == 0, done.stderr.decode()
    wanted = " with 10 warnings" if path.stem == "loose" else ""
    assert re.fullmatch(rf"\d hosts: fine,?{wanted}\n", done.stdout.decode()), done.stdout
    assert done.stderr.decode().count(": warning: ") == (10 if wanted else 0)
    strict = nswrap.run("mesh", "--check", "--strict", path)
    assert strict.returncode == (2 if wanted else 0)
    if wanted:
        assert strict.stderr.decode().endswith("nswrap: 10 warnings: --strict takes none\n")
        assert strict.stdout == b""


def test_what_is_hardly_meant_is_a_warning(nswrap, tmp_path):
    """The same lines for stdin and a file, each with its place; -q leaves them out."""
    text = "x-a: 1\nhosts:\n  web:\n    vip: 127.0.42.101\n    prots: []\n"
    said = check(nswrap, text)
    assert said.returncode == 0 and said.stdout == b"1 host: fine, with 2 warnings\n"
    lines = ['1:1: warning: key "x-a" is ignored',
             '5:5: warning: host web: unknown key "prots" is ignored: did you mean ports?']
    assert said.stderr.decode().splitlines() == [f"nswrap: stdin:{line}" for line in lines]
    path = tmp_path / "m.yaml"
    path.write_text(text)
    said = nswrap.run("mesh", "--check", path)
    assert said.stderr.decode().splitlines() == [f"nswrap: {path}:{line}" for line in lines]
    assert nswrap.run("mesh", "-q", "--check", path).stderr == b""
    assert nswrap.run("mesh", "-q", "--check", "--strict", path).stderr.count(b"\n") == 3
    alone = nswrap.run("mesh", "--strict", path)
    assert alone.returncode == 2 and b"--strict: only with --check" in alone.stderr


def test_all_errors_of_a_file_in_one_run(nswrap, tmp_path):
    path = tmp_path / "mesh.yaml"
    path.write_text("hosts:\n"
                    "  laptop:\n"
                    "    vip: 127.0.42.300\n"
                    "  web:\n"
                    "    cmd: 42\n"
                    "    vip: 127.0.42.101\n"
                    "    ports: [\"73616:127.0.0.1:80\"]\n"
                    "    prots: []\n"
                    "routes: [{to: [10.0.0.1], via: nobody}]\n")
    result = nswrap.run("mesh", "--check", path)
    assert result.returncode == 2
    assert result.stdout == b""
    found = re.findall(rf"^(?:nswrap: )?{re.escape(str(path))}:(\d+:\d+): (.*)$",
                       result.stderr.decode(), re.M)
    assert found == [
        ("3:10", 'host laptop: vip "127.0.42.300" is no IPv4 address: expected one such as '
                 "127.0.42.101"),
        ("5:10", "host web: cmd is a number: expected a text in quotes or a list of words"),
        ("7:13", "host web: port 73616 is out of range: expected 1 to 65535"),
        ("8:5", 'warning: host web: unknown key "prots" is ignored: did you mean ports?'),
        ("9:32", 'route 1: via "nobody" is no host: expected a name or vip from hosts'),
    ]
    assert len(result.stderr.splitlines()) == len(found)
    # the same without --check: nothing is started
    assert nswrap.run("mesh", path).returncode == 2


def test_files_that_cannot_be_read(nswrap, tmp_path):
    for path, why in ((tmp_path / "none.yaml", "No such file or directory"),
                      (tmp_path, "Is a directory")):
        result = nswrap.run("mesh", "--check", path)
        assert result.returncode == 2
        assert result.stderr.decode().endswith(f"{path}: cannot be read: {why}\n")
