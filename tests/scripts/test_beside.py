# SPDX-License-Identifier: Apache-2.0
"""scripts/test_beside - pytests side by side are one: every test once, every failure told"""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

BESIDE = pathlib.Path(__file__).resolve().parents[1] / "e2e" / "beside.py"
HEAD = """
import os, pathlib, pytest, time
def note(name):
    with open(pathlib.Path(__file__).parent / "ran", "a") as ran:
        ran.write(f"{name} {os.getpid()}\\n")
"""
WAITS = """
@pytest.mark.waits
@pytest.mark.parametrize("number", range(8))
def test_that_waits(number):
    note("waits")
    time.sleep(0.05)
"""
OTHERS = """
@pytest.mark.parametrize("number", range(8))
def test_other(number):
    note("other")
"""


@pytest.fixture
def run(tmp_path):
    """run(text of tests, arguments): (status, output, [(what ran, the pid where)])."""
    def do(text, *args):
        shutil.copy(BESIDE, tmp_path)
        (tmp_path / "conftest.py").write_text("import beside\npytest_configure = beside.configure\n")
        (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = waits\n")
        (tmp_path / "test_some.py").write_text(HEAD + text)
        done = subprocess.run([sys.executable, tmp_path / "beside.py", "-p", "no:cacheprovider", *args],
                              capture_output=True, text=True, cwd=tmp_path, timeout=120)
        ran = tmp_path / "ran"
        return done.returncode, done.stdout + done.stderr, \
            [line.split() for line in ran.read_text().splitlines()] if ran.exists() else []

    return do


def test_every_test_runs_once_and_is_counted(run):
    status, said, ran = run(WAITS + OTHERS)
    assert status == 0 and "16 passed" in said
    assert sorted(what for what, _ in ran) == ["other"] * 8 + ["waits"] * 8


@pytest.mark.parametrize("name", ["test_that_waits", "test_other"])
def test_they_run_side_by_side(run, name):
    """And who has no more of its own helps the others."""
    # the first to run of the slow ones goes on when the others have run all but it and its pytest's next one
    met = """
    folder = pathlib.Path(__file__).parent
    with contextlib.suppress(FileExistsError):
        (folder / "met").touch(exist_ok=False)
        note("met")
        while len((folder / "ran").read_text().splitlines()) < 15:
            time.sleep(0.01)
"""
    text = (WAITS + OTHERS).replace("    time.sleep(0.05)\n", "")
    status, _, ran = run("import contextlib\n" + text.replace(f"def {name}(number):", f"def {name}(number):{met}", 1))
    assert status == 0
    what, pids = zip(*ran)
    assert pids[what.index("met"):].count(pids[what.index("met")]) == 3, "it, and the next one"


@pytest.mark.parametrize("text, args, passed", [
    (WAITS, [], 8), (OTHERS, [], 8), (WAITS + OTHERS, ["-k", "waits"], 8), (WAITS + OTHERS, ["-k", "other"], 8)])
def test_only_one_kind(run, text, args, passed):
    status, said, _ = run(text, *args)
    assert status == 0 and re.search(rf"\b{passed} passed", said)


@pytest.mark.parametrize("mark", ["@pytest.mark.waits\n", ""])
def test_a_failure_is_told(run, mark):
    status, said, _ = run(WAITS + OTHERS + mark + "def test_wrong():\n    assert 'this is wrong' == ''\n")
    assert status == 1 and "1 failed, 16 passed" in said and "this is wrong" in said
    assert "test_some.py::test_wrong" in said


def test_nothing_to_run(run):
    assert run(WAITS + OTHERS, "-k", "nothing")[0] == 5


@pytest.mark.parametrize("others", [OTHERS, OTHERS.replace('note("other")', "time.sleep(0.2)")])
def test_one_that_dies_is_told(run, others):
    """Its own tests are not counted as passed."""
    text = WAITS.replace('note("waits")', "os.kill(os.getpid(), 9)")
    assert run(text + others)[0] not in (0, 5)


@pytest.mark.parametrize("place", ["first", "last"])
def test_the_first_failure_may_end_it(run, place):
    """Of all of them: each has one more at most, which it has taken before."""
    others = OTHERS.replace('("other")', '("other"); time.sleep(0.5)').replace("range(8)", "range(30)")
    wrong = "\ndef test_wrong():\n    assert False\n"
    status, said, ran = run(wrong + others if place == "first" else others + "\n@pytest.mark.waits" + wrong, "-x")
    assert status == 1 and "1 failed" in said and len(ran) < 12
