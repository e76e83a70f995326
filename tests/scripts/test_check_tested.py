# SPDX-License-Identifier: Apache-2.0
"""scripts/check-tested finds what no test names, in a small tree and in this one."""
import importlib.machinery
import importlib.util
import pathlib
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "scripts/check-tested"


def load_script():
    loader = importlib.machinery.SourceFileLoader("check_tested", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("check_tested", loader))
    loader.exec_module(module)
    return module


CHECK = load_script()

SOURCES = {
    "src/cmd/run_options.c": "\t{'m', \"mtu\", \"BYTES\", \"an MTU\", set, 0},\n\t{0, \"env\", NULL, \"\", set, 0},\n",
    "src/cmd/exec.c": "\t{0, \"env\", NULL, \"\",\n\t\tset, 0},\n",
    "src/mesh/manifest/host.c": "\t{\"http.listen\", read_text, 0},\n\t{\"vip\", read_vip},\n",
    "src/sandbox/supervisor.c": 'events_emit(events,\n\t"exited", json_pack("{s:i, s:o}", "status", f("x"), "why", g(1, 2)));\n',
    "src/sandbox/answers.c": 'json_pack("{s:b}", "ok", 1); json_object_set_new(a, "age", json_integer(b));\n',
}

GOOD = {
    "tests/e2e/test_run.py": '''
def test_mtu(nswrap):
    nswrap.run("-m", 1400)

def test_env(nswrap):
    nswrap.run("--env", "A")
    assert nswrap.events[-1] == {"event": "exited", "status": 1, "why": None}

def test_exec(nswrap):
    nswrap.run("exec", "--env", "A")
    assert status["age"] == 1
''',
    "tests/unit/test_manifest.c": '"hosts: {a: {vip: 1.2.3.4, http: {listen: \\"x\\"}}}\\n"\n',
}

ALL = ["option --mtu run", "option --env run", "option --env exec", "key listen manifest",
       "key vip manifest", "event exited run", "member status supervisor", "member why supervisor",
       "member age answers"]


def untested(directory, *changes):
    files = {**SOURCES, **GOOD}
    for path, old, new in changes:
        assert old in files[path]
        files[path] = files[path].replace(old, new)
    for path, text in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)
    found = {f"{item.kind} {item.names[0]} {item.owner}": tests for item, tests in CHECK.find_all(directory)}
    assert sorted(found) == sorted(ALL)
    return [item for item, tests in found.items() if not tests]


def test_all_are_named(tmp_path):
    assert untested(tmp_path) == []


E2E, UNIT = GOOD


def test_what_a_fixture_is_called_is_its_subcommand(tmp_path):
    assert untested(tmp_path, (E2E, 'nswrap.run("exec", "--env"', 'exec.start("--env"')) == []


@pytest.mark.parametrize("change, missing", [
    ((E2E, '"-m"', '"-n"'), "option --mtu run"),
    ((E2E, "def test_mtu", "def test_bad_input"), "option --mtu run"),
    ((E2E, "def test_mtu", "def test_help"), "option --mtu run"),
    ((E2E, "def test_mtu", "def test_bad_forwards"), "option --mtu run"),
    ((E2E, "def test_mtu", "def test_wrong_words_start_nothing"), "option --mtu run"),
    ((E2E, "def test_mtu", "def test_options_of_others"), "option --mtu run"),
    ((E2E, 'nswrap.run("--env"', 'exec.start("--env"'), "option --env run"),
    ((E2E, '"-m"', '"--mtux"'), "option --mtu run"),
    ((E2E, 'run("--env"', 'run("exec", "--env"'), "option --env run"),
    ((E2E, '"exec", "--env"', '"--env"'), "option --env exec"),
    ((E2E, '"exited"', '"ended"'), "event exited run"),
    ((E2E, '"status":', '"state":'), "member status supervisor"),
    ((E2E, '"why":', '"because":'), "member why supervisor"),
    ((E2E, '"age"', '"ages"'), "member age answers"),
    ((UNIT, "listen:", "listens:"), "key listen manifest"),
    ((UNIT, "vip:", "vips:"), "key vip manifest"),
], ids=lambda value: value if isinstance(value, str) else " ".join(value[1:]))
def test_what_is_not_named(tmp_path, change, missing):
    assert untested(tmp_path, change) == [missing]


def test_this_tree():
    assert subprocess.run([SCRIPT], check=False).returncode == 0
    listed = subprocess.run([SCRIPT, "-l"], check=True, capture_output=True, text=True).stdout
    # the lists come from somewhere
    for kind, least in ("option", 40), ("key", 12), ("event", 4), ("member", 30):
        assert sum(line.startswith(kind + " ") for line in listed.splitlines()) >= least
