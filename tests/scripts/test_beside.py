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


@pytest.mark.parametrize("slow, name", [("waits", "test_that_waits"), ("other", "test_other")])
def test_they_run_side_by_side(run, slow, name):
    """And who has no more of its own helps the others."""
    # the first to run of the slow ones goes on when the other pytests have run all but it and the next one
    met = f"""
    ran = pathlib.Path(__file__).parent / "ran"
    if "{slow} " not in ran.read_text():
        note("{slow}")
        while len(ran.read_text().splitlines()) < 15:
            time.sleep(0.01)
"""
    text = (WAITS + OTHERS).replace("    time.sleep(0.05)\n", "")
    text = text.replace(f"def {name}(number):", f"def {name}(number):{met}", 1)
    status, _, ran = run("open(pathlib.Path(__file__).parent / 'ran', 'a').close()\n" + text)
    assert status == 0
    pids = [pid for _, pid in ran]
    assert pids.count(next(pid for what, pid in ran if what == slow)) == 3, "noted twice, and the next one"


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


def test_the_first_failure_may_end_it(run):
    """Of all of them."""
    wrong = "\ndef test_wrong():\n    assert False\n"
    status, _, ran = run(wrong + WAITS.replace("0.05", "0.5") + OTHERS.replace('("other")', '("other"); time.sleep(0.5)'), "-x")
    assert status != 0 and len(ran) < 16
