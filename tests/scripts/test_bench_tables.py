# SPDX-License-Identifier: Apache-2.0
"""test_bench_tables - what a run has measured comes into the page, and nothing else of it changes"""

import importlib
import json
import pathlib
import re
import subprocess
import sys

import pytest

TREE = pathlib.Path(__file__).resolve().parents[2]
TABLES = TREE / "tests/bench/tables.py"
PAGE = "before\n<!-- bench network -->\nold\n<!-- bench end -->\nafter\n<!-- bench mesh -->\nkept\n<!-- bench end -->\n"
RUN = {
    "medians": {
        "forward in 1": {"loopback": 20.0, "pasta": 10.0, "nswrap splice": 16.4},
        "memory": {"pasta": 28.64, "nswrap splice": 0.8},
        "wake-ups": {"nswrap splice": 0},
        "not known": {"pasta": 1},
    },
    "failures": {"forward in 1 / slirp4netns": "hangs"},
}


def write(tmp_path, page, run):
    (tmp_path / "page").write_text(page)
    (tmp_path / "run").write_text(json.dumps(run))
    result = subprocess.run([sys.executable, TABLES, tmp_path / "run", tmp_path / "page"], capture_output=True)
    return (tmp_path / "page").read_text(), result


def test_tables(tmp_path):
    page, result = write(tmp_path, PAGE, RUN)
    assert result.returncode == 0, result.stderr
    lines = page.splitlines()
    assert lines[0] == "before" and lines[-4:] == ["after", "<!-- bench mesh -->", "kept", "<!-- bench end -->"]
    rows = {line.split(" | ")[0]: line.strip("| ").split(" | ")[1:] for line in lines if line.startswith("| ")}
    head = next(cells for title, cells in rows.items() if title.startswith("| share"))
    assert dict(zip(head, rows["| forward, host to guest, 1 flow"])) == {
        "slirp4netns": "fails", "pasta": "50 %", "rootlesskit": "-", "nswrap splice": "82 %", "nswrap slirp": "-"}
    assert dict(zip(head, rows["| private memory without the program, MiB"]))["pasta"] == "28.6"
    assert dict(zip(head, rows["| wake-ups a second, once the server listens"]))["nswrap splice"] == "0"
    assert len(rows) == 4, "what was not measured has no row"
    assert write(tmp_path, page, RUN)[0] == page


MESHES = "<!-- bench mesh -->\n<!-- bench end -->\n<!-- bench faults -->\n<!-- bench end -->\n"


def test_norouter_has_a_column_where_it_was_measured(tmp_path):
    medians = {"mesh hosts 1": {"loopback": 20.0, "nswrap mesh": 4.0}, "mesh agent memory": {"nswrap mesh": 1.0}}
    page = write(tmp_path, MESHES, {"medians": medians})[0]
    assert "| host to host, through loopback listeners, 1 flow | 20 % |\n" in page and "norouter" not in page
    medians["mesh hosts 1"]["norouter"] = 0.4
    page = write(tmp_path, MESHES, {"medians": medians})[0]
    assert "| nswrap mesh | norouter |\n" in page
    assert "| host to host, through loopback listeners, 1 flow | 20 % | 2 % |\n" in page
    assert "| private memory of an agent, MiB | 1 | - |\n" in page


def test_links_that_fail(tmp_path):
    """Each fault that bench/links makes has a row."""
    made = re.findall(r'^    "([a-z ]+)": \("', (TREE / "tests/bench/links.py").read_text(), re.M)
    assert len(made) == 7
    medians = {f"fault {fault} works": {"nswrap mesh": 612.0} for fault in made}
    medians["fault blackhole noticed"] = {"nswrap mesh": 25000.0}
    rows = [line for line in write(tmp_path, MESHES, {"medians": medians})[0].splitlines() if line.endswith("| 0.61 s |")]
    assert len(rows) == 7 and sum("| 25.0 s |" in row for row in rows) == 1


def test_an_unknown_table_is_refused(tmp_path):
    page, result = write(tmp_path, PAGE.replace("network", "netwrok"), RUN)
    assert result.returncode == 1 and b"netwrok" in result.stderr and b"expected one of" in result.stderr
    assert "old" in page


@pytest.fixture
def bench(monkeypatch):
    """The modules bench and tables."""
    monkeypatch.syspath_prepend(str(TABLES.parent))
    return importlib.import_module("bench"), importlib.import_module("tables")


def everything(bench, value):
    """A run that has measured all there is, of all candidates."""
    groups = (bench.network_candidates, bench.start_candidates, bench.mesh_candidates, bench.proxy_candidates,
              bench.tunnel_candidates)
    names = {candidate.name for group in groups for candidate in group(None)}
    return {"medians": {metric: dict.fromkeys(names, value) for metric in bench.METRICS}, "failures": {}}


def test_all_that_is_measured_has_a_row(bench):
    """And a column: each name in a table is a candidate's."""
    bench, tables = bench
    run = everything(bench, 1.0)
    for metric in bench.METRICS:
        only = {"medians": {metric: run["medians"][metric]}, "failures": {}}
        lines = [line for make in tables.TABLES.values() for line in make(only)]
        assert any(line.startswith("|---") for line in lines), f"{metric} is in no table"
    for name, make in tables.TABLES.items():
        rows = [line.strip("| ").split(" | ")[1:] for line in make(run) if line.startswith("| ")]
        assert all(set(column) != {"-"} for column in zip(*rows[1:])), name


def test_streams_have_a_column_where_they_were_measured(tmp_path):
    medians = {"mesh hosts 8": {"loopback": 20.0, "nswrap mesh": 8.0, "nswrap streams": 5.0}}
    page = write(tmp_path, MESHES, {"medians": medians})[0]
    assert "| nswrap mesh | nswrap streams |\n" in page and "| the same, 8 flows | 40 % | 25 % |\n" in page
    assert page.splitlines()[1].startswith("In the column `nswrap streams`"), "what it is stands above it"


def test_a_table_with_words_of_its_own(tmp_path):
    """They come with the figures, and neither stands there twice."""
    empty = "a\n<!-- bench exit -->\n<!-- bench end -->\nb\n"
    assert write(tmp_path, empty, {"medians": {}})[0] == empty
    medians = {"mesh sandbox host 1": {"loopback": 20.0, "nswrap mesh": 6.0, "nswrap exit": 8.0},
               "mesh wan host 8": {"nswrap exit": 951.2}}
    page = write(tmp_path, empty, {"medians": medians})[0]
    said, blank, head, _, near, far = page.splitlines()[2:-2]
    assert "--via" in said and blank == "" and head.endswith("| nswrap exit | nswrap mesh |")
    assert near == "| sandbox to another machine, 1 flow | 40 % | 30 % |" and far.endswith("| 951 | - |")
    assert write(tmp_path, page, {"medians": medians})[0] == page


def test_the_page_has_them(bench):
    """Each once, with rows that a run would write again."""
    bench, tables = bench
    text = (TREE / "docs/comparison.md").read_text()
    found = re.findall(r"<!-- bench (\S+) -->\n(.*?)<!-- bench end -->", text, re.S)
    assert sorted(name for name, _ in found) == sorted(tables.TABLES)
    run = everything(bench, 1.0)
    for name, body in found:
        known = [line.split(" | ")[0] for line in tables.TABLES[name](run)]
        rows = [line.split(" | ")[0] for line in body.splitlines() if line.startswith("| ")]
        assert [row for row in rows if row not in known] == []
