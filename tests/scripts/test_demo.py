# SPDX-License-Identifier: Apache-2.0
"""scripts/test_demo - the demo looks before it installs; make -s says nothing"""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def make_program(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


@pytest.fixture
def tree(tmp_path):
    """A tree in which nothing is installed or built for real."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/demo", tmp_path / "scripts/demo")
    make_program(tmp_path / "scripts/setup", f"touch {tmp_path}/installed\n")
    for name in ("make", "mknod"):
        make_program(tmp_path / "bin" / name, "exit 0\n")
    return tmp_path


def demo(tree):
    return subprocess.run([tree / "scripts/demo"], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PATH": f"{tree}/bin:{os.environ['PATH']}"})


def test_what_doctor_says_comes_before_anything_is_installed(tree):
    make_program(tree / "nswrap", '[ "$1" = help ] || { echo "no  user namespaces: do this"; exit 1; }\n')
    done = demo(tree)
    assert done.returncode == 1
    assert done.stderr == "\nFAILED: nswrap cannot work here:\nno  user namespaces: do this\n"
    assert not (tree / "installed").exists()


def test_before_there_is_a_build(tree):
    make_program(tree / "bin/unshare", "echo 'unshare: Operation not permitted' >&2; exit 1\n")
    done = demo(tree)
    assert done.returncode == 1
    assert "unshare: Operation not permitted\nnamespaces are refused to " in done.stderr
    assert not (tree / "installed").exists()


def test_doctor_is_shown_when_it_fails_later(tree):
    make_program(tree / "nswrap", 'case $1 in help) ;; doctor) echo "yes it can" ;; *) exit 5 ;; esac\n')
    done = demo(tree)
    assert done.returncode == 1
    assert (tree / "installed").exists()
    assert done.stderr.endswith("did not become ready\n\nnswrap doctor says:\nyes it can\n")


@pytest.mark.parametrize("options, words", [(["-s"], []), (["-s", "-j2"], []), (["--silent"], []),
                                            ([], ["CC"]), (["--no-print-directory"], ["CC"])])
def test_make_s_is_silent(tmp_path, options, words):
    done = subprocess.run(["make", *options, "CC=true", f"BUILD={tmp_path}/b",
                           f"{tmp_path}/b/src/util/err.o"], cwd=ROOT, capture_output=True, text=True,
                          env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")
                               and k != "MFLAGS"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:1] == words and done.stderr == ""
