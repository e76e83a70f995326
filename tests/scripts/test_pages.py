# SPDX-License-Identifier: Apache-2.0
"""test_pages - docs/troubleshooting.md has what the program says, and says nothing that it does not; pictures are their
sources'; README is short"""

import pathlib
import re
import subprocess
import sys

import pytest

TREE = pathlib.Path(__file__).resolve().parents[2]
PAGE = (TREE / "docs/troubleshooting.md").read_text()
DOCTOR = PAGE.split("## What `nswrap doctor` says")[1].split("\n## ")[0]
# what doctor says comes from these: the file, and from where to where in it
DOCTOR_SOURCES = [("src/sandbox/doctor.c", "", ""), ("src/cmd/doctor.c", "check_defaults", "run_checks"),
                  ("src/proc/ns.c", "sysctl_bars", "ns_diagnose"), ("src/net/tap.c", "or_else", "log_debug")]
# each error and warning of these has a line of its own on the page, unless it says what is expected
ALL_OF = ["src/cmd/ambient.c", "src/cmd/exec.c", "src/cmd/jupyterhub.c", "src/cmd/logs.c", "src/cmd/run.c",
          "src/cmd/run_options.c", "src/cmd/systemd.c", "src/conn/bind.c", "src/conn/service.c", "src/control/identity.c",
          "src/control/places.c", "src/control/registry.c", "src/forward/driver.c", "src/link/keyfile.c",
          "src/mesh/agent/taken.c", "src/mesh/agent/troubles.c", "src/mesh/manager/parcel.c", "src/net/tap.c",
          "src/proc/ns.c", "src/sandbox/detach.c", "src/sandbox/enter.c", "src/sandbox/forwards.c",
          "src/sandbox/initctl.c", "src/sandbox/keeper.c", "src/sandbox/logfile.c", "src/sandbox/netproc.c",
          "src/sandbox/outwards.c", "src/sandbox/program.c", "src/sandbox/supervisor.c", "src/sandbox/viaproc.c",
          "src/sandbox/view.c", "src/tunnel/clerk.c"]
LITERAL = r'"((?:\\.|[^"\\])*)"'
CONVERSION = r"%[-+ #0]*(?:\*|\d+)?(?:\.(?:\*|\d+))?(?:hh|h|ll|l|z|j|t)?[a-zA-Z]"
OWN_CURE = r"expected|make it first|: use |did you mean|trying again|\bset XDG|remove it\b|nswrap port remove|nswrap doctor|no memory"


def words(text):
    return " ".join(text.replace("`", "").replace('\\"', '"').split())


def literals(source):
    """The texts of it, adjacent literals as one; a macro between two is a gap."""
    source = re.sub(r"'\\?\"'|^#include[^\n]*|/\*.*?\*/", "", source, flags=re.M | re.S)
    return [words("".join(re.findall(LITERAL, found.group())))
            for found in re.finditer(rf"{LITERAL}(?:\s*{LITERAL})*", source)]


def pieces(text):
    """What stays the same in a format, in parts that a page may leave out the last of."""
    return [piece.strip(" :;,") for piece in re.split(rf"{CONVERSION}|[:;] ", text)]


def reports(path):
    """The formats of the errors and warnings of a file."""
    call = r"\b(?:err_set|err_sys|log_warning)\s*\(((?:[^;\"]|\"(?:\\.|[^\"\\])*\")*)\);"
    calls = re.findall(call, (TREE / path).read_text())
    return [texts[0] for texts in map(literals, calls) if texts]


def doctor_texts():
    for path, first, last in DOCTOR_SOURCES:
        source = (TREE / path).read_text()
        start = source.index(first)
        source = source[start:source.index(last, start) if last else None]
        yield from (text for text in literals(source) if text.count(" ") >= 2)


def rows(text):
    """The rows of its tables: the cells."""
    return [[words(cell) for cell in line.strip("| ").split(" | ")] for line in text.splitlines()
            if line.startswith("| ")]


SAID = {text for path in (TREE / "src").rglob("*.[ch]") for text in map(words, literals(path.read_text()))}


def test_the_readers_find_what_is_there():
    texts = list(doctor_texts())
    assert len(texts) > 40 and "ping works inside" in texts
    assert sum(len(reports(path)) for path in ALL_OF) > 60
    assert all(reports(path) for path in ALL_OF)


def test_doctor():
    """Each line that doctor may say, and each cure."""
    said = words(DOCTOR)
    missing = [text for text in doctor_texts() for piece in pieces(text)
               if piece.count(" ") >= 1 and words(piece) not in said]
    assert missing == []


def test_each_check_has_its_heading():
    checks = re.findall(r'^\t\{"([\w ]+)", check_\w+\}', (TREE / "src/sandbox/doctor.c").read_text(), re.M)
    checks += re.findall(r'own_checks\[\] = \{\{"(\w+)"', (TREE / "src/cmd/doctor.c").read_text())
    assert re.findall(r"^### (.*)$", DOCTOR, re.M) == checks


def test_sources_of_defaults():
    """Those that nswrap(1) has, and no others."""
    manual = re.search(r"^\.Sh DEFAULTS\n(.*?)^\.Sh ", (TREE / "man/nswrap.1").read_text(), re.M | re.S)[1]
    wanted = set(re.findall(r"^\.(?:Ev|Pq Pa) (\S+)", manual, re.M))
    [cure] = [row[1] for row in rows(DOCTOR) if row[0] == "nswrap run has options that are not typed"]
    told = re.fullmatch(r"they come from (.*?); --no-config passes over them", cure)[1]
    assert len(wanted) == 2 and set(re.split(r", | or ", told)) == wanted


@pytest.mark.parametrize("path", ALL_OF)
def test_errors(path):
    """Each that does not say itself what to do, by the first part of it that can be told from others."""
    known = [row[0] for row in rows(PAGE)]
    missing = []
    for text in reports(path):
        parts = pieces(text)
        part = next((part for part in parts if len(part) > 11), max(parts, key=len))
        if len(part) > 3 and not re.search(OWN_CURE, text) and not any(part in row for row in known):
            missing.append(text)
    assert missing == []


def test_nothing_is_quoted_that_is_not_said():
    """What stands in backquotes in a first column, between its dots, is in the sources."""
    for line in PAGE.split("\n## It does not start")[1].splitlines():
        if not line.startswith("| `"):
            continue
        for quoted in re.findall(r"`([^`]*)`", line.split(" | ")[0]):
            for piece in (piece.strip(' :;,"') for piece in re.split("…", quoted)):
                assert len(piece) < 4 or any(words(piece) in text for text in SAID), piece


def test_what_goes_over_the_wire():
    """Each feature of an agent, each member of what it is told, and each code of a stream are in nswrap-wire(7)."""
    page = (TREE / "man/nswrap-wire.7").read_text()
    info, config = ((TREE / f"src/mesh/{name}").read_text() for name in ("info.h", "config.c"))
    features = re.findall(r'X\(\w+, \d+, "([\w.]+)"\)', info)
    members = re.findall(r'\{(?:NULL|"(\w+)"), "(\w+)", CONFIG_', config)
    assert len(features) > 20 and len(members) > 30
    entries, named = (set(re.findall(r"[\w.]+", " ".join(re.findall(rf"^\.{it}Cm (.*)$", page, re.M))))
                      for it in ("It ", ""))
    said = entries | named | set(re.findall(r'\\\(dq(\w+)\\\(dq', page))
    assert [name for name in features if name not in entries] == []
    # a name of hostnameMap is a key there
    assert {name for pair in members for name in pair if name} - said == {"name"}
    codes = re.search(r"int codes\[\] = \{(.*?)\}", (TREE / "src/stream/track.c").read_text(), re.S).group(1)
    last = len(codes.split(",")) - 1
    assert re.search(rf"or {last} \(", page), last


def test_states_of_hosts():
    """What `nswrap mesh status` may say of a host is in its manual, and the header of what says it."""
    page, header = ((TREE / path).read_text() for path in ("man/nswrap-mesh.1", "src/mesh/manager/peer.h"))
    source = (TREE / "src/mesh/manager/peer.c").read_text()
    body = re.search(r"^const char \*peer_state_name\(.*?^\}", source, re.M | re.S).group()
    states = set(re.findall(r'"(\w+)"', body))
    assert len(states) > 5
    entry = page.split(".It Cm state\n")[1].split(".It Cm since")[0]
    assert set(re.findall(r"^\.Dq (\w+)", entry, re.M)) == states
    assert set(re.findall(r'"(\w+)"', header[:header.index("peer_state_name")].rsplit("/*", 1)[1])) == states


def test_readme_is_short():
    assert len((TREE / "README.md").read_text().splitlines()) <= 150


def test_others_have_a_column_each():
    """And what is not known of one is not in the table."""
    text = (TREE / "docs/comparison.md").read_text()
    heads = {cell for line in re.findall(r"^\| \| (.*) \|$", text, re.M) for cell in line.split(" | ")}
    assert {"lennut", "ssh -R", "chisel", "frp", "rathole", "RemoteNetstack", "sshuttle", "ssh -w", "ssh -L"} <= heads
    assert "not tried" not in text


PICTURES = sorted(TREE.glob("docs/*.mmd"))


@pytest.mark.parametrize("source", PICTURES, ids=lambda path: path.name)
def test_pictures(source):
    done = subprocess.run([sys.executable, TREE / "scripts/picture", source], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == source.with_suffix(".svg").read_bytes(), f"scripts/picture {source.name} says otherwise"


def test_a_picture_leaves_nothing_out(tmp_path):
    (tmp_path / "a.mmd").write_text('flowchart LR\n    a["x"]\n    a ==> b\n')
    done = subprocess.run([sys.executable, TREE / "scripts/picture", tmp_path / "a.mmd"], capture_output=True, text=True)
    assert done.returncode == 1 and "3: a ==> b: not known here" in done.stderr
