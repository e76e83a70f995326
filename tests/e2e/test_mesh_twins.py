# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_twins - one manifest is run once, by whatever path it comes, unless a name says so"""

import os
import signal
import subprocess

import pytest

from harness import Lines, Running, wait_for

# they are no agents, and so they are never ready
TEXT = """
hosts:
  one: {vip: 127.0.42.101, cmd: [sh, -c, exec cat >/dev/null]}
  two: {vip: 127.0.42.102, cmd: [sh, -c, exec cat >/dev/null]}
"""


@pytest.fixture
def site(nswrap, tmp_path):
    """A manifest three.yaml, and what starts a mesh with it."""
    path = tmp_path / "three.yaml"
    path.write_text(TEXT)

    def start(*args, name="three", **options):
        read_end, write_end = os.pipe()
        popen = nswrap.popen("mesh", *args, stdout=subprocess.DEVNULL, stderr=write_end,
                             **{"stdin": subprocess.DEVNULL, **options})
        os.close(write_end)
        running = Running(popen, Lines(read_end), None)

        def runs():
            assert popen.poll() is None, running.stderr.text()
            return nswrap.run("mesh", "status", name).returncode == 0

        wait_for(runs, name)
        return running

    start.path = path
    return start


def said(name, what="runs this manifest already"):
    return (f'nswrap: the mesh "{name}" {what}: nswrap mesh stop {name} ends it, -n NAME starts a '
            "second one beside it\n").encode()


def refused(nswrap, *args, wanted, **options):
    done = nswrap.run("mesh", *args, **options)
    assert (done.returncode, done.stderr) == (125, wanted)


def names(nswrap):
    return sorted(name for name in nswrap.registry() if name.endswith(".sock"))


def test_the_same_manifest_twice(nswrap, site):
    first = site(site.path)
    refused(nswrap, site.path, wanted=said("three"))
    assert names(nswrap) == ["nswrap/mesh/three.sock"]
    # on purpose
    second = site("-n", "other", site.path, name="other")
    assert first.stop() == 0
    refused(nswrap, site.path, wanted=said("other"))
    assert second.stop() == 0
    # nothing is left that would stand in the way
    assert site(site.path).stop() == 0
    assert nswrap.registry() == ["nswrap/mesh/.lock"]


def test_by_another_path(nswrap, site, tmp_path):
    running = site(site.path)
    (tmp_path / "soft.yaml").symlink_to(site.path)
    (tmp_path / "hard.yaml").hardlink_to(site.path)
    (tmp_path / "linked").symlink_to(tmp_path)
    for path in ("soft.yaml", "hard.yaml", "linked/three.yaml", "./linked/./soft.yaml"):
        refused(nswrap, tmp_path / path, wanted=said("three"))
    refused(nswrap, "three.yaml", wanted=said("three"), cwd=tmp_path)
    with open(site.path, "rb") as file:
        again = nswrap.popen("mesh", "-", stdin=file, stderr=subprocess.PIPE)
    assert (again.communicate()[1], again.returncode) == (said("three"), 125)
    assert running.stop() == 0


def test_copies(nswrap, site, tmp_path):
    """The same hosts would fight as well, whatever else the file says."""
    running = site(site.path)
    what = f"has these hosts already, from {site.path}"
    lines = TEXT.strip().splitlines()
    text = "\n".join(["# a copy", lines[0], lines[2], lines[1], "x-y: 1"])
    refused(nswrap, "-", wanted=b"nswrap: stdin:5:1: warning: key \"x-y\" is ignored\n"
            + said("three", what), input=text.encode())
    (tmp_path / "copy.yaml").write_text(TEXT)
    refused(nswrap, tmp_path / "copy.yaml", wanted=said("three", what))
    # other hosts are another mesh, also of the same file name
    for number, change in enumerate((("101", "103"), ("one", "six"), ("null", "zero"))):
        path = tmp_path / str(number) / "three.yaml"
        path.parent.mkdir()
        path.write_text(TEXT.replace(*change))
        assert site(path, name="three-2").stop() == 0
    assert running.stop() == 0


def test_from_stdin_first(nswrap, site):
    read_end, write_end = os.pipe()
    os.write(write_end, TEXT.encode())
    os.close(write_end)
    running = site("-", name="mesh", stdin=read_end)
    os.close(read_end)
    refused(nswrap, site.path, wanted=said("mesh", "has these hosts already, from stdin"))
    assert running.stop() == 0


def test_a_manifest_that_is_saved_anew(nswrap, site):
    """Editors put another file in its place; what is followed is what counts."""
    running = site(site.path)
    changed = TEXT.replace("one", "six")
    fresh = site.path.with_suffix(".new")
    fresh.write_text(changed)
    fresh.rename(site.path)
    refused(nswrap, site.path, wanted=said("three"))
    copy = said("three", f"has these hosts already, from {site.path}")
    refused(nswrap, "-", wanted=copy, input=TEXT.encode())
    assert nswrap.run("mesh", "reload").returncode == 0
    refused(nswrap, "-", wanted=copy, input=changed.encode())
    read_end, write_end = os.pipe()
    os.write(write_end, TEXT.encode())
    os.close(write_end)
    assert site("-", name="mesh", stdin=read_end).stop() == 0
    os.close(read_end)
    assert running.stop() == 0


def test_one_that_cannot_answer(nswrap, site):
    """A stopped one is there all the same, a killed one is not."""
    running = site(site.path)
    running.signal(signal.SIGSTOP)
    refused(nswrap, site.path, wanted=said("three"))
    running.signal(signal.SIGKILL)
    running.popen.wait()
    assert site(site.path).stop() == 0


def test_started_at_the_same_time(nswrap, site):
    started = [nswrap.popen("mesh", site.path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE) for _ in range(6)]
    wait_for(lambda: sum(one.poll() is not None for one in started) == 5, "all but one to end")
    for one in started:
        if one.poll() is not None:
            assert (one.returncode, one.communicate()[1]) == (125, said("three"))
    assert nswrap.run("mesh", "stop").returncode == 0
    assert sorted(one.wait() for one in started) == [0] + [125] * 5
