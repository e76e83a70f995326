# SPDX-License-Identifier: Apache-2.0
"""e2e/test_docs - the documents say what the program does, and point at what is there"""

import asyncio
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import xml.etree.ElementTree

import pytest

from harness import BINARY, PATIENCE, TREE, wait_for
from mesh_tools import Site, network, settled, sshd
from test_jupyter import Notebook

MAN = TREE / "man"
PAGES = {sub: MAN / ("nswrap.1" if sub == "run" else f"nswrap-{sub}.1")
         for sub in ("run", "exec", "ps", "port", "stop", "logs", "doctor", "mesh", "agent", "exit",
                     "tunnel", "sockets", "show-installer")}
ALL_PAGES = sorted(MAN.glob("*.[1-8]"))
GLOBAL = {"--", "-V", "--version", "-h", "--help"}
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md",
             *(str(page.relative_to(TREE)) for page in sorted((TREE / "docs").glob("*.md")))]
# folders of the tree: `src/x` in a text is a promise that it exists
FOLDERS = "src|lib|examples|tests|man|scripts|docs|[.]ci"


def helped_options(nswrap, sub):
    """The options of `nswrap help SUB` as {"-p, --host-port [ADDR:]PORT", ...}."""
    result = nswrap.run("help", sub)
    assert result.returncode == 0, result.stderr
    found = re.findall(r"^ {2}(?:(-\w), | {4})(--[\w-]+)(\S*(?: \S+)*)", result.stdout.decode(), re.M)
    # the help text begins after two blanks at least; what is left is the argument
    return {f"{short + ', ' if short else ''}{name}{arg}" for short, name, arg in found}


def documented_options(page):
    """The same from the page's source: `.It Fl p , Fl -host-port Ar [ADDR:]PORT`."""
    found = set()
    for line in re.findall(r"^\.It (Fl .*)$", page.read_text(), re.M):
        text = re.sub(r" Ns Ar ", "", line)
        text = re.sub(r"Fl ", "-", text).replace(" , ", ", ").replace(" Ar ", " ")
        found.add(text)
    return found


def names(headings):
    """The bare names in headings of options."""
    return {name for heading in headings for name in re.findall(r"(?:^|, )(--?[\w-]+)", heading)}


def test_the_manual_names_every_subcommand(nswrap):
    """In its synopsis and in its list, as the overview does."""
    text = PAGES["run"].read_text()
    synopsis = re.search(r"^\.Cm (agent \| .*(?:\n\.Cm .*)*)$", text, re.M)[1].replace("\n.Cm ", " ").split(" | ")
    listed = re.findall(r"^\.It Cm ([\w-]+)$", text[text.index("The subcommands are"):text.index(".Sh OPTIONS")], re.M)
    overview = re.findall(r"^  ([a-z-]+) {2,}", nswrap.run("help").stdout.decode(), re.M)
    assert len(overview) > 10 and set(overview) == set(listed)
    assert set(synopsis) == set(overview) - {"run", "help"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_tables_have_all_their_cells(document):
    """A row with a cell less says nothing of what it promises: of SECURITY.md that would be its test."""
    cells = None
    for line in (TREE / document).read_text().splitlines():
        count = len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", line))) if line.startswith("|") else None
        assert cells is None or count in (None, cells), line
        cells = count


@pytest.mark.parametrize("sub", PAGES)
def test_every_option_is_documented_and_exists(nswrap, sub):
    helped, documented = helped_options(nswrap, sub), documented_options(PAGES[sub])
    assert helped, "no options in the help: the test cannot read it"
    assert helped - documented == set(), "not in the manual, or with another argument"
    assert documented - helped == set(), "in the manual only"


@pytest.mark.parametrize("sub", PAGES)
def test_options_mentioned_in_a_page_exist(nswrap, sub):
    known = names(helped_options(nswrap, "run") | helped_options(nswrap, sub)) | GLOBAL
    macros = [line for line in PAGES[sub].read_text().splitlines() if line.startswith(".")]
    mentioned = {"-" + word for line in macros for word in re.findall(r"\bFl (\S+)", line)}
    assert mentioned - known == set()


def unknown_options(nswrap, words):
    """Options in a command line of nswrap (without its first word) that nswrap does not have."""
    sub = words[0] if words[0] in PAGES else "run"
    headings = helped_options(nswrap, sub)
    takes_value = names(h for h in headings if re.search(r" \S+$", h.split(", ")[-1]))
    operands = {"run": 0, "exec": 1}.get(sub, len(words))  # what is behind them is not nswrap's
    unknown, rest = [], words[words[0] == sub:]
    while rest and (rest[0].startswith("-") or operands > 0):
        word = rest.pop(0)
        if word == "--":
            break
        if not word.startswith("-"):
            operands -= 1
        elif word.split("=")[0] not in names(headings) | GLOBAL:
            unknown.append(word)
        elif word in takes_value and rest:
            rest.pop(0)
    return unknown


@pytest.mark.parametrize("sub", PAGES)
def test_examples_use_options_that_exist(nswrap, sub):
    for line in re.findall(r"^\.Dl nswrap ([^|\n]*)", PAGES[sub].read_text(), re.M):
        assert unknown_options(nswrap, line.split()) == [], line


def test_every_subcommand_has_a_page(nswrap):
    overview = nswrap.run("help").stdout.decode()
    subs = set(re.findall(r"^ {2}([\w-]+) {2,}\S", overview, re.M))
    assert subs == {*PAGES, "help"}
    assert {page.name for page in MAN.glob("*.1")} == {page.name for page in PAGES.values()}


def test_pages_lead_to_each_other():
    ours = {page.name for page in ALL_PAGES}
    assert {"nswrap-manifest.5", "nswrap-wire.7"} < ours
    for page in ALL_PAGES:
        named = {".".join(x) for x in re.findall(r"^\.Xr (nswrap\S*) (\d)", page.read_text(), re.M)}
        assert named <= ours, page.name
        assert page.name not in named, f"{page.name} sends its reader to itself"
    see_also = (MAN / "nswrap.1").read_text().split(".Sh SEE ALSO")[1]
    readme = (TREE / "README.md").read_text()
    for page in ours - {"nswrap.1"}:
        assert f".Xr {page[:-2]} {page[-1]}" in see_also, f"{page} is not under SEE ALSO of nswrap(1)"
        assert f"(man/{page})" in readme, f"{page}: no link in the README"


# What each formatter says of a page that is clean: nothing. References to manuals of packages that
# are not installed here are no fault of the page.
LINTERS = {
    "mandoc": ["mandoc", "-T", "lint", "-W", "style"],
    "groff": ["groff", "-mandoc", "-T", "utf8", "-ww", "-z"],
    "man": ["man", "--warnings=w", "-E", "UTF-8", "-l", "-Tutf8", "-Z"],
}


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
def test_pages_are_clean(page):
    ran = [name for name in LINTERS if shutil.which(name)]
    if not ran:
        pytest.skip("none of mandoc, groff and man is installed")
    for name in ran:
        result = subprocess.run([*LINTERS[name], page], capture_output=True, timeout=30)
        said = result.stderr + (result.stdout if name == "mandoc" else b"")
        lines = [line for line in said.decode().splitlines()
                 if "referenced manual not found" not in line and "mandoc.db" not in line]
        assert lines == [], name


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
def test_pages_fit_a_terminal(page):
    shown = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=78", page], capture_output=True, timeout=30, check=True)
    lines = [re.sub(".\b", "", line) for line in shown.stdout.decode().splitlines()]
    assert len(lines) > 20 and [line for line in lines if len(line) > 80] == []


# --- README and the other texts ------------------------------------------------------------------


def without_code(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def anchors(text):
    """The anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", without_code(text), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_and_paths_lead_somewhere(name):
    document = TREE / name
    text = document.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"(https?|mailto):", target):
            continue
        path, _, anchor = target.partition("#")
        aim = document.parent / path if path else document
        assert aim.exists(), f"{name}: {target}"
        if anchor:
            assert anchor in anchors(aim.read_text()), f"{name}: {target}"
    for path in re.findall(rf"(?<![\w./$~-])((?:{FOLDERS})/[\w./*{{}},-]*[\w/*}}])", text):
        variants = [path]
        if group := re.search(r"\{(.*?)\}", path):
            variants = [path.replace(group.group(), word) for word in group[1].split(",")]
        for variant in variants:
            assert list(TREE.glob(variant.rstrip("/"))), f"{name}: {variant}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_do_not_point_outside_of_the_tree(name):
    text = (TREE / name).read_text()
    assert "../shared" not in text
    # a path that every system has, or none
    places = set(re.findall(r"(?<![\w.}$~:/>*)-])/[a-z]+/", text))
    assert places <= {"/bin/", "/dev/", "/etc/", "/home/", "/proc/", "/run/", "/sys/", "/tmp/", "/usr/", "/var/"}


def test_the_two_commands_are_on_the_first_screen():
    screen = (TREE / "README.md").read_text().splitlines()[:40]
    for command in ("scripts/demo", "scripts/test"):
        assert command in screen, f"{command}: a line of its own among the first 40"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_options_in_texts_exist(nswrap, name):
    """Lines in code blocks that run nswrap use options it has."""
    for block in re.findall(r"^```.*?\n(.*?)^```", (TREE / name).read_text(), re.M | re.S):
        for line in block.splitlines():
            match = re.match(r"(?:\$ )?(?:\./)?nswrap ([^|]*)", line.strip())
            if not match:
                continue
            assert unknown_options(nswrap, match[1].split()) == [], line


def test_every_page_is_led_to():
    """README has a link to each, and a page of docs is what README says it is: there."""
    readme = (TREE / "README.md").read_text()
    for name in DOCUMENTS[1:]:
        assert f"({name})" in readme, f"{name}: no link in README.md"


# --- meshes ---------------------------------------------------------------------------------------


def manifests(text):
    """Those that are whole; of README's and docs/mesh.md's, the first runs in test_mesh_ssh."""
    return re.findall(r"^```\n(hosts:\n.*?)^```", text, re.M | re.S)


MESH = (TREE / "docs/mesh.md").read_text()
NOTEBOOKS = [text for text in manifests(MESH) if "  notebook:\n" in text]


def test_manifests(nswrap):
    assert len(manifests(MESH)) == 3 and len(NOTEBOOKS) == 2
    assert manifests((TREE / "README.md").read_text()) == manifests(MESH)[:1]
    for text in manifests(MESH):
        result = nswrap.run("mesh", "--check", "-", input=text.encode())
        assert result.returncode == 0, (text, result.stderr.decode())


@pytest.mark.parametrize("name", ["README.md", "docs/mesh.md"])
def test_parts_of_manifests(nswrap, name):
    """A host, or a list of them, as it stands below what it belongs to."""
    parts = re.findall(r"^```\n((?:  \w+:|hostsFrom:)\n.*?)^```", (TREE / name).read_text(), re.M | re.S)
    assert len(parts) == {"README.md": 1, "docs/mesh.md": 3}[name]
    for text in parts:
        whole = "hosts:\n  laptop:\n    vip: 127.0.42.100\n" + text
        result = nswrap.run("mesh", "--check", "--strict", "-", input=whole.encode())
        assert result.returncode == 0, (text, result.stderr.decode())


def drawn(svg):
    """What stands in a picture, whatever time a link takes."""
    root = xml.etree.ElementTree.fromstring(svg)
    return [re.sub(r"[\d.]+ ms", "… ms", text.text) for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_picture_of_the_mesh(nswrap):
    """README's is of the mesh of the page, as it is drawn today."""
    done = subprocess.run([TREE / "scripts/mesh-picture"], env={**nswrap.env, "NSWRAP": BINARY}, stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=50 * PATIENCE)
    assert done.returncode == 0, done.stderr
    assert drawn(done.stdout) == drawn((TREE / "docs/mesh.svg").read_bytes()), "scripts/mesh-picture >docs/mesh.svg"
    assert [text for text in drawn(done.stdout) if text.startswith("ready")] == ["ready, … ms"] * 3


def test_libraries():
    """Who copies the program alone needs the C library, and libslirp where a sandbox has a network, as the page says."""
    said = subprocess.run(["ldd", BINARY], capture_output=True, text=True, check=True).stdout
    linked = set(re.findall(r"^\s*(lib\S+?)\.so", said, re.M))
    assert "libc" in linked and linked <= {"libc", "libm", "libgcc_s", "libasan", "libubsan"}, said
    with open(BINARY, "rb") as program:
        assert b"libslirp.so.0" in program.read()
    assert re.search(r"apt-get install -y (.*?)'", (TREE / "docs/install.md").read_text())[1] == "libslirp0"


async def use_notebook(notebook, break_link):
    """A kernel is there before and after."""
    await notebook.wait_until_up()
    await notebook.start_kernel()
    assert await notebook.execute("6*7") == ("42", "")
    notebook.socket.close()
    break_link()
    kernels = json.loads((await notebook.rest("GET", "/api/kernels")).body)
    assert [kernel["id"] for kernel in kernels] == [notebook.kernel]


@pytest.mark.limit(120)
@pytest.mark.parametrize("text", NOTEBOOKS, ids=["with its link", "by itself"])
def test_notebooks(nswrap, short_dir, text):
    """As they are printed, with other virtual IPs."""
    outlives = "exec lab" in text
    home = pathlib.Path(short_dir, "home")
    (home / ".local/bin").mkdir(parents=True)
    (home / ".local/bin/nswrap").symlink_to(BINARY)
    with sshd(short_dir, HOME=home, XDG_RUNTIME_DIR=nswrap.runtime_dir) as server:
        site = Site(nswrap, short_dir, env={"PATH": f"{server.bin}:{os.environ['PATH']}"})
        site.text, ports = settled(text)
        if outlives:
            [line] = re.findall(r"^nswrap (-n lab .*)$", MESH, re.M)
            lab = nswrap.start(*line.split(), env={"HOME": str(home)})
            lab.wait_event("started")
        with site:
            said = (lab if outlives else site.running).wait_line(r"\btoken=[0-9a-f]+", 60)
            notebook = Notebook(8888, re.search(r"token=([0-9a-f]+)", said)[1])
            notebook.base = f"{network()}.103:{ports[8888]}"

            def break_link():
                if outlives:
                    os.kill(site.status()["notebook"]["pid"], signal.SIGKILL)
                    site.wait_state("notebook", restarts=1)

            asyncio.run(asyncio.wait_for(use_notebook(notebook, break_link), 100 * PATIENCE))
        wait_for(lambda: not server.sessions(), "all sessions to end")
