# SPDX-License-Identifier: Apache-2.0
"""scripts/test_workflows - the workflows are what GitHub reads, and each step runs as far as that has no effect"""

import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
JOB_KEYS = {"runs-on", "timeout-minutes", "container", "strategy", "steps", "env", "needs", "if", "permissions"}
STEP_KEYS = {"name", "run", "uses", "with", "env", "if", "id"}
# what changes a machine, or wants packages that were built for real: said, and not done
STAND_INS = ["apt-get", "dpkg", "sysctl", "chmod", "runuser", "lintian", "rpmlint", "git"]

# for root, and goes into namespaces of its own: there it ends here
AS_ROOT = {"scripts/with-systemd": {"id": "echo 0", "unshare": 'echo "unshare $*"'}}


def jobs():
    for path in WORKFLOWS:
        for name, job in yaml.safe_load(path.read_text())["jobs"].items():
            yield path, name, job


def steps():
    """(where, words) of each run: step, one for each value of the matrix."""
    for path, name, job in jobs():
        matrix = job.get("strategy", {}).get("matrix", {})
        for i, step in enumerate(job["steps"]):
            texts = [step["run"]] if "run" in step else []
            for key, values in matrix.items():
                texts = [re.sub(r"\$\{\{ *matrix\.%s *\}\}" % key, value, text) for text in texts for value in values]
            for text in dict.fromkeys(texts):
                yield pytest.param(text, id=f"{path.stem}-{name}-{i}-{text[:30]}")


def test_there_are_some():
    done = " ".join(param.values[0] for param in steps())
    for part in ("make -j\"$(nproc)\" lint", "CC=gcc", "CC=clang", "asan", "MACHINE=aarch64", "make dist deb rpm static",
                 "debian/tests/smoke", "scripts/with-systemd"):
        assert part in done, part
    thorough = [step["run"] for *_, job in jobs() for step in job["steps"] if "NSWRAP_TEST_THOROUGH" in step.get("env", {})]
    assert thorough == ["scripts/test e2e"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_shape(path):
    whole = yaml.safe_load(path.read_text())
    # `on` is a boolean of YAML 1.1
    assert {"name", "jobs", True} <= set(whole) and set(whole[True]) <= {"push", "pull_request", "schedule"}
    assert whole["permissions"] == {"contents": "read"}
    for name, job in whole["jobs"].items():
        assert set(job) <= JOB_KEYS, name
        assert {"runs-on", "timeout-minutes", "steps"} <= set(job), name
        for step in job["steps"]:
            assert set(step) <= STEP_KEYS and ("run" in step) != ("uses" in step), (name, step)
            assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]), step


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy, with stand-ins in front of PATH; make only says what it would do."""
    top = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT, top / "tree", symlinks=True,
                    ignore=shutil.ignore_patterns("build", ".git", "nswrap", "nswrap-agent-*", "__pycache__"))
    # the folder of that name, which is no product
    (top / "tree/lib/nswrap").mkdir(exist_ok=True)
    shutil.copy(ROOT / "lib/nswrap/nswrap.h", top / "tree/lib/nswrap")
    (top / "tree/build").mkdir()
    (top / "bin").mkdir()
    texts = {name: f'echo "{name} $*"' for name in STAND_INS}
    texts["make"] = f'exec {shutil.which("make")} -n "$@"'
    texts["dpkg-query"] = "echo installed"
    if not shutil.which("clang"):  # which their first steps would install
        texts["clang"] = f'exec {shutil.which("cc")} "$@"'
    put(top / "bin", texts)
    return top


def put(directory, texts):
    for name, text in texts.items():
        (directory / name).write_text(f"#!/bin/sh\n{text}\n")
        (directory / name).chmod(0o755)


@pytest.mark.parametrize("text", steps())
def test_step(tree, tmp_path, text):
    assert "${{" not in text
    put(tmp_path, AS_ROOT.get(text, {}))
    env = {**os.environ, "PATH": f"{tmp_path}:{tree}/bin:{os.environ['PATH']}", "CI": "true"}
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        env.pop(name, None)
    done = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", text], cwd=tree / "tree", env=env,
                          capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr[-2000:]
    assert text not in AS_ROOT or done.stdout == f"unshare -m -- {text}\n"
    # files of the tree that a stand-in was given
    for word in re.findall(r"(?<![\w./])(?:scripts|debian|packaging)/[\w./-]+", text):
        assert (tree / "tree" / word).exists(), word
