# SPDX-License-Identifier: Apache-2.0
"""test_bench_tables - what a run has measured comes into the page, and nothing else of it changes"""

import json
import pathlib
import re
import subprocess
import sys

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


def test_the_page_has_them():
    text = (TREE / "docs/comparison.md").read_text()
    for name in "network", "mesh", "faults":
        assert text.count(f"<!-- bench {name} -->\n") == 1
    assert text.count("<!-- bench end -->") == 3
