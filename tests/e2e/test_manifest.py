# SPDX-License-Identifier: Apache-2.0
"""e2e/test_manifest - manifests as people write them: the manual's, the example, and wrong ones"""

import re

import pytest

from harness import TREE

PAGE = TREE / "man" / "nswrap-manifest.5"
HOST_KEYS = {"vip", "cmd", "ports", "http", "socks", "loopback", "stateDir", "aliases",
             "writeEtcHosts", "restart", "anyPort"}
TOP_KEYS = {"hosts", "hostTemplate", "routes"}


def literal_blocks():
    text = PAGE.read_text()
    return re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", text, re.M | re.S)


def whole(block):
    """A manifest around what the manual shows of one."""
    if re.search(r"^hosts:", block, re.M):
        return block
    vip = "" if block.startswith("vip:") else "    vip: 127.0.42.9\n"
    return "hosts:\n  host:\n" + vip + "".join(f"    {line}\n" for line in block.splitlines())


def check(nswrap, text):
    return nswrap.run("mesh", "--check", "-", input=text.encode())


@pytest.mark.parametrize("block", literal_blocks())
def test_examples_of_the_manual(nswrap, block):
    result = check(nswrap, whole(block))
    assert result.returncode == 0, result.stderr.decode()


def test_every_key_has_an_example():
    examples = "\n".join(literal_blocks())
    headings = set(re.findall(r"\w+", " ".join(re.findall(r"^\.It Ic (.*)$", PAGE.read_text(), re.M))))
    assert headings == HOST_KEYS | TOP_KEYS | {"to", "via"}
    for key in headings:
        assert re.search(rf"(^|[ {{]){key}:", examples, re.M), key


def test_the_printed_example(nswrap):
    printed = nswrap.run("mesh", "--example")
    assert printed.returncode == 0
    for key in HOST_KEYS | TOP_KEYS | {"to", "via"}:
        assert re.search(rf"(^|[ {{]){key}:", printed.stdout.decode(), re.M), key
    assert check(nswrap, printed.stdout.decode()).returncode == 0


def test_unknown_keys_are_told_what_there_is(nswrap):
    """The lists of known keys here are the program's."""
    said = check(nswrap, "zzzzz: 1\nhosts: {a: {vip: 127.0.0.2, zzzzz: 1}}\n").stderr.decode()
    lists = [set(re.findall(r"\w+", line)) - {"or"}
             for line in re.findall(r"expected (.*)$", said, re.M)]
    assert lists == [TOP_KEYS, HOST_KEYS]


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
        ("8:5", 'host web: unknown key "prots": did you mean ports?'),
        ("9:16", "route 1: 10.0.0.1 is a bare address: expected 10.0.0.1/32 for it alone"),
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
