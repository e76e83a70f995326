# SPDX-License-Identifier: Apache-2.0
"""e2e/test_package - what `make deb` makes: the same twice, whole, and it works from where it was unpacked"""

import os
import re
import subprocess

import pytest

from harness import BINARY, TREE, Nswrap
from test_library import BUILD


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """(path, directory of its files); made twice."""
    made = []
    for i in range(2):
        place = tmp_path_factory.mktemp(f"deb{i}")
        env = {**os.environ, "SOURCE_DATE_EPOCH": "1000000000", "BUILD": os.path.relpath(BUILD, TREE),
               "PROGRAM": os.path.relpath(BINARY, TREE)}
        for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
            env.pop(name, None)
        done = subprocess.run([TREE / "scripts/deb", place], capture_output=True, text=True, env=env)
        assert (done.returncode, done.stderr) == (0, ""), done
        made.append(done.stdout.strip())
    assert open(made[0], "rb").read() == open(made[1], "rb").read()
    root = tmp_path_factory.mktemp("root")
    subprocess.run(["dpkg-deb", "-x", made[0], root], check=True)
    return made[0], root


def field(path, name):
    return subprocess.run(["dpkg-deb", "-f", path, name], check=True, capture_output=True, text=True).stdout.strip()


def test_what_it_says(package):
    path, _ = package
    version = re.search(r'"(.*)"', (TREE / "src/version.h").read_text())[1]
    assert os.path.basename(path).startswith(f"nswrap_{version}_")
    assert (field(path, "Package"), field(path, "Version")) == ("nswrap", version)
    for library in ("libc6", "libslirp0", "libseccomp2", "libcap2", "libjansson4", "libyaml-0-2"):
        assert re.search(rf"\b{library}\b", field(path, "Depends")), library
    listed = subprocess.run(["dpkg-deb", "-c", path], check=True, capture_output=True, text=True).stdout.splitlines()
    assert all(line.split()[1] == "root/root" for line in listed)
    assert not [line for line in listed if line[5] == "w" or line[8] == "w" if not line.startswith("l")]


def test_what_is_in_it(package):
    _, root = package
    files = {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}
    pages = {f"usr/share/man/man{page.suffix[1:]}/{page.name}.gz" for page in (TREE / "man").iterdir()}
    assert pages <= files
    assert {"usr/bin/nswrap", "usr/lib/libnswrap.so.0", "usr/lib/libnswrap.so", "usr/include/nswrap/nswrap.h",
            "usr/share/bash-completion/completions/nswrap", "usr/share/doc/nswrap/copyright",
            "usr/share/doc/nswrap/docs/jupyterhub.md"} <= files
    assert "prefix=/usr\n" in (root / "usr/lib/pkgconfig/libnswrap.pc").read_text()
    subprocess.run(["gzip", "-t", root / "usr/share/man/man1/nswrap.1.gz"], check=True)


def test_it_runs(package, tmp_path):
    _, root = package
    nswrap = Nswrap(tmp_path)
    done = subprocess.run([root / "usr/bin/nswrap", "-q", "sh", "-c", "echo inside"], capture_output=True,
                          env=nswrap.env, stdin=subprocess.DEVNULL, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"inside\n"), done.stderr
