# SPDX-License-Identifier: Apache-2.0
"""e2e/test_package - what `make dist`, `deb`, `rpm` and `static` make: whole, and it works from where it was unpacked"""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from harness import BINARY, TREE, Nswrap
from test_library import BUILD, DECLARED
from tools import THOROUGH

VERSION = re.search(r'NSWRAP_VERSION "(.*)"', (TREE / "src/version.h").read_text())[1]
BUILT = ["--built", f"{BUILD},{BINARY}"]
PAGES = {f"usr/share/man/man{page.suffix[1:]}/{page.name}.gz" for page in (TREE / "man").iterdir()}
PAGES |= {f"usr/share/man/man3/{name}.3.gz" for name in DECLARED}
COMPLETIONS = {"usr/share/bash-completion/completions/nswrap", "usr/share/fish/vendor_completions.d/nswrap.fish"}


def output(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def script(name, *args, tree=TREE, **variables):
    """The paths that scripts/NAME prints."""
    env = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    done = subprocess.run([tree / "scripts" / name, *args], capture_output=True, text=True, env={**env, **variables})
    assert (done.returncode, done.stderr) == (0, ""), done
    paths = [pathlib.Path(line) for line in done.stdout.splitlines()]
    assert paths and all(path.is_file() for path in paths)
    return paths


def files(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def runs(program, tmp_path):
    nswrap = Nswrap(tmp_path)
    done = subprocess.run([program, "-q", "sh", "-c", "echo inside"], capture_output=True, env=nswrap.env,
                          stdin=subprocess.DEVNULL, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"inside\n"), done.stderr


def test_one_version():
    """Everywhere the same."""
    assert re.match(rf"nswrap \({re.escape(VERSION)}\) ", (TREE / "debian/changelog").read_text())
    assert f"\nVersion:        {VERSION}\n" in (TREE / "packaging/nswrap.spec").read_text()
    assert re.search(rf"^## {re.escape(VERSION)}\b", (TREE / "CHANGELOG.md").read_text(), re.M)


# --- make ----------------------------------------------------------------------------------------


def make(*args):
    env = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    return output("make", "-C", TREE, *args, env=env)


def test_make_brings_the_agent(tmp_path):
    """What `install: true` sends is made with the rest, and found from where it was installed."""
    name = f"nswrap-agent-{os.uname().machine}"
    for goal in ("all", "install"):
        steps = make("-n", goal, f"BUILD={tmp_path}/build", f"PROGRAM={tmp_path}/build/nswrap")
        assert f" -o {tmp_path}/build/{name}.new " in steps, goal
    place = [f"BUILD={BUILD}", f"PROGRAM={BINARY}", f"PREFIX={tmp_path}/usr"]
    make("install-files", *place)
    assert os.access(tmp_path / "usr/lib/nswrap" / name, os.X_OK)
    script = output(tmp_path / "usr/bin/nswrap", "show-installer")
    assert digest(tmp_path / "usr/lib/nswrap" / name) in script
    make("uninstall", *place)
    assert files(tmp_path / "usr") == set()


# --- the source ----------------------------------------------------------------------------------


def test_dist(tmp_path):
    """Twice the same bytes, also of the tree that was unpacked; and products are not in it."""
    made = []
    tree = TREE
    for i, umask in enumerate((0o022, 0o077)):
        place = tmp_path / str(i)
        place.mkdir()
        before = os.umask(umask)
        try:
            [path] = script("dist", place, tree=tree)
            subprocess.run(["tar", "-xz", "-f", path, "-C", place], check=True)
        finally:
            os.umask(before)
        made.append(digest(path))
        tree = place / f"nswrap-{VERSION}"
        for name in tree.rglob("*"):
            os.utime(name, follow_symlinks=False)
        (tree / "build").mkdir()
        (tree / "build/object.o").touch()
        (tree / "nswrap").touch()
    assert made[0] == made[1]
    assert {"src/main.c", "debian/rules", ".clang-format", "tests/e2e/test_package.py"} <= files(tree)
    assert not [name for name in output("tar", "-tf", path).splitlines() if "/build/" in name or name.endswith("/nswrap")
                and name.count("/") == 1]


# --- Debian --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def debs(tmp_path_factory):
    """{package: (path, directory of its files)}"""
    made = {}
    # not packed tightly: that takes longer than all the rest
    for path in script("deb", *BUILT, tmp_path_factory.mktemp("deb"), DPKG_DEB_COMPRESSOR_TYPE="none"):
        root = tmp_path_factory.mktemp("root")
        subprocess.run(["dpkg-deb", "-x", path, root], check=True)
        made[path.name.split("_")[0]] = path, root
    return made


def field(path, name):
    return output("dpkg-deb", "-f", path, name).strip()


def test_setup_installs_what_the_package_needs():
    """`scripts/setup package`, on a machine that has nothing else; build-essential is never written in Build-Depends."""
    groups = dict(re.findall(r"^(\w+)='([^']*)'", (TREE / "scripts/setup").read_text(), re.M))
    [depends] = re.findall(r"^Build-Depends: (.*(?:\n .*)*)", (TREE / "debian/control").read_text(), re.M)
    wanted = {re.match(r"[\w.+-]+", word.strip())[0] for word in depends.split(",")} | {"build-essential"}
    wanted = {"debhelper" if name == "debhelper-compat" else name for name in wanted}
    assert wanted <= set((groups["build"] + " " + groups["package"]).split())
    assert "build-essential" in groups["thorough"].split()


def test_deb_says(debs):
    assert {"nswrap", "libnswrap0", "libnswrap-dev", "nswrap-dbgsym"} <= set(debs)
    path, _ = debs["nswrap"]
    assert field(path, "Version") == VERSION
    assert set(re.findall(r"\blib[\w.+-]+", field(path, "Depends"))) == {"libc6", "libslirp0"}
    assert {"apparmor", "jupyterhub", "openssh-client"} <= set(field(path, "Suggests").split(", "))
    for path, _ in debs.values():
        listed = output("dpkg-deb", "-c", path).splitlines()
        assert all(line.split()[1] == "root/root" for line in listed)
        assert not [line for line in listed if line[5] == "w" or line[8] == "w" if not line.startswith("l")]


def test_deb_has(debs):
    root, dev = debs["nswrap"][1], debs["libnswrap-dev"][1]
    assert PAGES == {name for name in files(root) | files(dev) if name.startswith("usr/share/man/")}
    assert COMPLETIONS | {"usr/bin/nswrap", "usr/share/zsh/vendor-completions/_nswrap",
                          "usr/share/nswrap/apparmor/nswrap", "usr/share/doc/nswrap/copyright"} <= files(root)
    [so] = [name for name in files(debs["libnswrap0"][1]) if name.endswith("/libnswrap.so.0")]
    directory = os.path.dirname(so)
    assert {f"{directory}/libnswrap.so", f"{directory}/libnswrap.a", "usr/include/nswrap/nswrap.h"} <= files(dev)
    assert f"libdir=/{directory}\n" in (dev / directory / "pkgconfig/libnswrap.pc").read_text()
    units = {f"usr/lib/systemd/user/{unit.stem}" for unit in TREE.glob("systemd/*.in")}
    assert units and units <= files(root)
    # what install: true of a manifest sends
    assert f"usr/lib/nswrap/nswrap-agent-{os.uname().machine}" in files(root)
    assert "ExecStart=/usr/bin/nswrap " in (root / "usr/lib/systemd/user/nswrap@.service").read_text()


def test_deb_apparmor(debs):
    """User namespaces, and nothing that a parser stumbles over; Debian's is too old for that one word and flag."""
    text = (debs["nswrap"][1] / "usr/share/nswrap/apparmor/nswrap").read_text()
    assert re.search(r"^profile nswrap /usr/bin/nswrap flags=\(unconfined\) \{\n  userns,$", text, re.M)
    parser = shutil.which("apparmor_parser", path="/usr/sbin:/sbin")
    if parser:
        old = text.replace("abi/4.0", "abi/3.0").replace("  userns,\n", "").replace("flags=(unconfined) ", "")
        done = subprocess.run([parser, "-Q", "-K"], input=old, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_deb_runs(debs, tmp_path):
    runs(debs["nswrap"][1] / "usr/bin/nswrap", tmp_path)


if THOROUGH:
    @pytest.mark.limit(900)
    def test_deb_from_source_twice(tmp_path):
        """Minutes: as `make deb` builds it: the same bytes, and nothing that lintian finds."""
        made = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            made.append({path.name: digest(path) for path in script("deb", tmp_path / name)})
        assert made[0] == made[1]
        [changes] = (tmp_path / "two").glob("*.changes")
        assert output("lintian", "--fail-on", "none", changes) == ""


# A Debian of its own, entered by pivot_root: in a plain chroot there are no user namespaces.
ENTER = r"""
set -eu
mount -t tmpfs -o mode=755 none "$1"
tar -x -C "$1" -f "$2" --exclude='./dev/*'
mkdir "$1/old" "$1/dev/net"
for name in null zero random urandom full tty net/tun; do
    touch "$1/dev/$name"
    mount --bind "/dev/$name" "$1/dev/$name"
done
mount -t proc proc "$1/proc"
ip link set lo up
cd "$1"
pivot_root . old
cd /
shift 2
exec setpriv --reuid 1000 --regid 1000 --clear-groups env -i HOME=/home/user PATH=/usr/bin:/bin NSWRAP_SMOKE_ALL=1 "$@"
"""


def hosts_sources():
    """Where this machine has its packages from."""
    top = pathlib.Path("/etc/apt")
    return [path for path in (top / "sources.list", *sorted((top / "sources.list.d").glob("*.sources")))
            if path.exists() and re.search("^(deb|Types)", path.read_text(), re.M)]


if THOROUGH:
    @pytest.fixture(scope="module")
    def debian(debs):
        """Three minutes: a Debian in which apt has installed the packages, as (words to enter it, environment)."""
        with tempfile.TemporaryDirectory(prefix="nse.", dir="/tmp") as name:
            os.chmod(name, 0o755)  # root of the namespace is another user
            yield make_debian(debs, pathlib.Path(name))

    def make_debian(debs, place):
        (place / "options").write_text(output("apt-config", "dump", "Acquire"))
        [agent] = pathlib.Path(BINARY).parent.glob("nswrap-agent-" + os.uname().machine)
        brought = [shutil.copy(path, place) for path in (
            *script("static", agent, debs["nswrap"][1]), TREE / "debian/tests/smoke",
            *(debs[name][0] for name in ("nswrap", "libnswrap0", "libnswrap-dev")))]
        release = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(), re.M)[1]
        env = {**os.environ, "TMPDIR": str(place), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
        subprocess.run(
            ["mmdebstrap", "--quiet", "--mode=unshare", "--variant=apt", f"--aptopt={place}/options",
             "--include=gcc,libc6-dev,pkg-config,python3",
             f"--customize-hook=copy-in {' '.join(map(str, brought))} /srv",
             '--customize-hook=chroot "$1" sh -c "apt-get install -y --no-install-recommends /srv/*.deb && useradd -m user"',
             '--customize-hook=chroot "$1" sh -c "chmod -R a+rX /srv && cd /srv && tar -xzf *.tar.gz"',
             release, place / "tree.tar", *hosts_sources()], check=True, env=env, stdin=subprocess.DEVNULL)
        (place / "root").mkdir()
        return ["unshare", "--user", "--map-auto", "--map-root-user", "--mount", "--pid", "--net", "--fork", "--kill-child",
                "sh", "-c", ENTER, "sh", place / "root", place / "tree.tar"], env

    @pytest.mark.limit(900)
    def test_installed_by_apt(debian):
        """What debian/tests tries: sandboxes, too, as an ordinary user."""
        enter, env = debian
        done = subprocess.run([*enter, "/srv/smoke"], env=env, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.endswith("sandboxes, too\n"), done.stdout + done.stderr

    def test_static_beside_nothing(debian):
        """The tarball's program needs no library of that Debian."""
        enter, env = debian
        shown = output(*enter, "sh", "-c", "/srv/nswrap-agent-*/bin/nswrap-agent --version; ldd /srv/*/bin/* 2>&1 || :",
                       env=env)
        assert shown.startswith(f"nswrap {VERSION}\n") and "not a dynamic executable" in shown


# --- RPM -----------------------------------------------------------------------------------------


def test_rpm(tmp_path):
    made = {path.name: path for path in script("rpm", *BUILT, tmp_path)}
    path = made[f"nswrap-{VERSION}-1.x86_64.rpm" if os.uname().machine == "x86_64" else sorted(made)[-1]]
    assert output("rpm", "-K", "--nosignature", path).endswith("digests OK\n")
    assert re.search(r"^libslirp\.so\.0", output("rpm", "-qp", "--requires", path), re.M)
    listed = set(output("rpm", "-qlp", *made.values()).splitlines())
    assert {"/" + name for name in PAGES | COMPLETIONS} <= listed
    assert {"/usr/share/zsh/site-functions/_nswrap", "/usr/include/nswrap/nswrap.h"} <= listed
    root = tmp_path / "root"
    root.mkdir()
    with subprocess.Popen(["rpm2cpio", path], stdout=subprocess.PIPE) as unpacked:
        subprocess.run(["cpio", "-idm", "--quiet"], stdin=unpacked.stdout, cwd=root, check=True)
    runs(root / "usr/bin/nswrap", tmp_path)


# --- one static file -----------------------------------------------------------------------------


def test_static(tmp_path):
    [agent] = pathlib.Path(BINARY).parent.glob("nswrap-agent-" + os.uname().machine)
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made += script("static", agent, tmp_path / name)
    assert digest(made[0]) == digest(made[1])
    subprocess.run(["tar", "-xz", "-f", made[0], "-C", tmp_path], check=True)
    root = tmp_path / made[0].name.removesuffix(".tar.gz")
    assert {"README", "LICENSE", "share/man/man1/nswrap-agent.1", "share/man/man7/nswrap-wire.7"} <= files(root)
    program = root / "bin/nswrap-agent"
    assert output(program, "--version").startswith(f"nswrap {VERSION}\n")
    assert "libslirp" not in output(program, "--version")
    assert subprocess.run([program, "doctor"], capture_output=True).returncode in (0, 1)
    # what its README tells to run is there
    for word in re.findall(r"^    nswrap-agent (\w+)", (root / "README").read_text(), re.M):
        assert output(program, word, "--help").strip()
