# SPDX-License-Identifier: Apache-2.0
"""scripts/check-tree finds each thing that it is there for, in a small tree that is fine otherwise."""
import importlib.machinery
import importlib.util
import pathlib
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "scripts/check-tree"


def load_script():
    loader = importlib.machinery.SourceFileLoader("check_tree", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("check_tree", loader))
    loader.exec_module(module)
    return module


CHECK = load_script()
FLOORS = [["top"], ["left", "mesh"], ["low"]]


def header(path, *lines):
    return "\n".join([f"/* {path} */", "#pragma once", *lines, ""])


def module(path, *lines, declares=()):
    """The two files of one module, and its test."""
    name = path.rsplit("/", 1)[-1]
    return {
        f"src/{path}.h": header(f"{path}.h", *declares),
        f"src/{path}.c": "\n".join(["/* it */", f'#include "{path}.h"', *lines, ""]),
        f"tests/unit/test_{name}.c": f'#include "{path}.h"\n',
    }


def good_tree():
    return {
        "src/main.c": '#include "top/door.h"\nint main(void)\n{\n\treturn door_open();\n}\n',
        "src/version.h": header("version.h", '#define VERSION "1"'),
        **module("top/door", '#include "left/lamp.h"', '#include "low/wire.h"',
                 "int door_open(void) { return lamp_light() + wire_twice(1); }",
                 declares=["/* f(x) */", "int door_open(void);"]),
        **module("left/lamp", '#include "left/bulb.h"', '#include "version.h"',
                 "const int lamp_watts = 3;", "static int helper(void) { return bulb_on(); }",
                 "int lamp_light(void) { return helper(); }",
                 declares=["extern const int lamp_watts;",
                           "__attribute__((warn_unused_result)) int lamp_light(void);"]),
        **module("left/bulb", "int bulb_on(void) { return 1; }", declares=["int bulb_on(void);"]),
        **module("mesh/packet", "int packet(void) { return 1; }", declares=["int packet(void);"]),
        **module("mesh/manager/hub", '#include "mesh/manifest/host.h"', '#include "mesh/packet.h"',
                 "int hub_run(void) { return host_read() + packet(); }",
                 declares=["int hub_run(void);"]),
        **module("mesh/manifest/host", "int host_read(void) { return 1; }",
                 declares=["int host_read(void);"]),
        **module("low/wire", "int wire_count(int (*each)(int)) { return each(1); }",
                 declares=["typedef int (*other)(int);", "struct wire {", "\tint (*on)(int);", "};",
                           "#define MACRO(x) \\", "\tf(x)", "int wire_count(int (*each)(int));",
                           "static inline int wire_twice(int x)", "{", "\treturn x ? 2 * x : 0;",
                           "}"]),
    }


OBJECTS = {}  # of what was compiled before, by all that goes into it


def compile_once(directory, source, output):
    headers = sorted(directory.glob("src/**/*.h"))
    key = (source.name, source.read_text(), *(path.read_text() for path in headers))
    if key not in OBJECTS:
        subprocess.run(["cc", "-w", "-Isrc", "-c", "-o", output, source], cwd=directory, check=True)
        OBJECTS[key] = output.read_bytes()
    output.write_bytes(OBJECTS[key])


def check(directory, tree, untested=()):
    for name, text in tree.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for source in directory.glob("src/**/*.c"):
        output = directory / "build" / source.relative_to(directory).with_suffix(".o")
        output.parent.mkdir(parents=True, exist_ok=True)
        compile_once(directory, source, output)
    return CHECK.find_problems(directory, "build", FLOORS, [("no test", "main"), *untested])


def test_a_good_tree(tmp_path):
    assert check(tmp_path, good_tree()) == []


def replace(tree, name, old, new):
    assert old in tree[name]
    tree[name] = tree[name].replace(old, new)


def append(tree, name, text):
    tree[name] += text + "\n"


@pytest.mark.parametrize("name, included, problem", [
    ("low/wire.c", "left/lamp.h", ", which is on a higher floor"),
    ("low/wire.c", "top/door.h", ", which is on a higher floor"),
    ("left/lamp.c", "mesh/packet.h", " of a neighbouring floor"),
    ("mesh/packet.c", "left/bulb.h", " of a neighbouring floor"),
    ("mesh/packet.c", "mesh/manifest/host.h", " of another part of mesh"),
    ("mesh/manifest/host.c", "mesh/manager/hub.h", " of another part of mesh"),
])
def test_arrows(tmp_path, name, included, problem):
    tree = good_tree()
    append(tree, f"src/{name}", f'#include "{included}"')
    assert check(tmp_path, tree) == [f"src/{name}: includes {included}{problem}"]


def test_arrows_of_headers(tmp_path):
    tree = good_tree()
    replace(tree, "src/low/wire.h", "#pragma once", '#pragma once\n#include "left/lamp.h"')
    assert check(tmp_path, tree) == [
        "src/low/wire.h: includes left/lamp.h, which is on a higher floor"]


@pytest.mark.parametrize("included", ["near.h", "../version.h", "low/../version.h"])
def test_an_include_that_is_not_from_src(tmp_path, included):
    tree = good_tree()
    append(tree, "src/low/wire.c", f'#include "{included}"')
    tree["src/low/near.h"] = header("low/near.h")
    assert check(tmp_path, tree) == [
        f'src/low/wire.c: includes "{included}", which is no path from src']


def test_a_folder_on_no_floor(tmp_path):
    tree = good_tree()
    tree.update(module("attic/box"))
    floor = "its folder is on no floor: add it to FLOORS in scripts/check-tree"
    assert check(tmp_path, tree) == [f"src/attic/box.c: {floor}", f"src/attic/box.h: {floor}"]


def test_a_header_of_its_own(tmp_path):
    tree = good_tree()
    tree["src/low/alone.c"] = "static int x;\n"
    assert check(tmp_path, tree, [("", "low/alone")]) == [
        "src/low/alone.c: has no header of its own"]


@pytest.mark.parametrize("first", ["#include <stdio.h>", '#include "version.h"'])
def test_its_header_comes_first(tmp_path, first):
    tree = good_tree()
    replace(tree, "src/low/wire.c", '#include "low/wire.h"', first + '\n#include "low/wire.h"')
    assert check(tmp_path, tree) == ['src/low/wire.c: its first include is not "low/wire.h"']


def test_names(tmp_path):
    tree = good_tree()
    append(tree, "src/low/wire.c", "int cut(void) { return 1; }\nint cable[3];\nint wires;")
    append(tree, "src/left/lamp.c", "static int cut(void) { return helper(); }")
    assert check(tmp_path, tree) == ["src/low/wire.c: cable does not begin with wire",
                                     "src/low/wire.c: cut does not begin with wire"]


def test_names_of_inline_functions(tmp_path):
    tree = good_tree()
    replace(tree, "src/low/wire.h", "typedef",
            "struct wire;\nstatic inline void cut(struct wire *wire)\n{\n\tif (wire) { wire = 0; }\n}\ntypedef")
    assert check(tmp_path, tree) == ["src/low/wire.h: cut does not begin with wire"]


def test_declared_where_it_is_defined(tmp_path):
    tree = good_tree()
    replace(tree, "src/left/lamp.h", "#pragma once", "#pragma once\nint bulb_on(void);")
    assert check(tmp_path, tree) == [
        "src/left/lamp.h: declares bulb_on, which is defined in left/bulb.c"]


def test_circles(tmp_path):
    tree = good_tree()
    replace(tree, "src/left/bulb.h", "#pragma once", "#pragma once\nint bulb_off(void);")
    append(tree, "src/left/bulb.c", "int watt_sum(void);\nint bulb_off(void) { return watt_sum(); }")
    tree.update(module("left/watt", '#include "left/lamp.h"',
                       "int watt_sum(void) { return lamp_watts + lamp_light(); }",
                       declares=["int watt_sum(void);"]))
    assert check(tmp_path, tree) == ["\n".join([
        "src/left/bulb.c: a circle of files that use one another:",
        "    src/left/bulb.c uses watt_sum of src/left/watt.c",
        "    src/left/lamp.c uses bulb_on of src/left/bulb.c",
        "    src/left/watt.c uses lamp_light, lamp_watts of src/left/lamp.c"])]


@pytest.mark.parametrize("new", ["#define WIRE_H", "#include <stdio.h>\n#pragma once", ""])
def test_headers_are_read_once(tmp_path, new):
    tree = good_tree()
    replace(tree, "src/low/wire.h", "#pragma once", new)
    assert check(tmp_path, tree) == ["src/low/wire.h: does not begin with #pragma once"]


def test_pages(tmp_path):
    """Paths and functions that a page names must be there."""
    tree = {**good_tree(), "docs/ways/on.md": "`src/left/lamp.c` has `lamp_light`, in src/left/\n"}
    assert check(tmp_path, tree) == []
    tree["docs/ways/on.md"] += "`src/left/lamps.c` has `lamp_dark`, tested in tests/unit/test_wires.c\n"
    assert check(tmp_path, tree) == [
        "docs/ways/on.md: names src/left/lamps.c, which is not there",
        "docs/ways/on.md: names tests/unit/test_wires.c, which is not there",
        "docs/ways/on.md: names lamp_dark, which is nowhere in src"]


def test_tests_that_a_page_names(tmp_path):
    tree = {**good_tree(), "tests/e2e/test_dark.py": "def test_it_is_dark():\n    pass\n",
            "SECURITY.md": "`test_it_is_dark`, `test_it_is_light`\n"}
    assert check(tmp_path, tree) == ["SECURITY.md: names test_it_is_light, which is no test"]


def test_patience_of_a_module(tmp_path):
    text = "from harness import PATIENCE\nSOON_S = 2\n\n\ndef test_dark():\n    limit_s = SOON_S * PATIENCE\n"
    tree = {**good_tree(), "tests/e2e/test_dark.py": text}
    assert check(tmp_path, tree) == []
    tree["tests/e2e/test_dark.py"] += "\n\nLATE_S = 3 * PATIENCE\n"
    assert check(tmp_path, tree) == ["tests/e2e/test_dark.py: multiplies before a test runs: LATE_S = 3 * PATIENCE"]


def test_a_module_without_a_test(tmp_path):
    tree = good_tree()
    del tree["tests/unit/test_wire.c"]
    assert check(tmp_path, tree) == [
        "src/low/wire.c: no tests/unit/test_wire.c includes its header, and it is not in UNTESTED "
        "of scripts/check-tree"]
    assert check(tmp_path, tree, [("a reason", "low/wire")]) == []


def test_a_test_of_another_module_of_that_name(tmp_path):
    tree = good_tree()
    tree.update(module("top/wire"))
    assert [line.split(" of ")[0] for line in check(tmp_path, tree)] == [
        "src/low/wire.c: no tests/unit/test_wire.c includes its header, and it is not in UNTESTED"]
    tree["tests/unit/test_low_wire.c"] = '#include "low/wire.h"\n'
    assert check(tmp_path, tree) == []


def test_a_test_that_includes_by_way_of_a_header(tmp_path):
    tree = good_tree()
    tree["tests/unit/test_wire.c"] = '#include "bed.h"\n'
    tree["tests/unit/bed.h"] = '#include "bed.h"\n#include "low/wire.h"\n'
    assert check(tmp_path, tree) == []


def test_reasons_that_are_none(tmp_path):
    untested = [("a reason", "low/wire low/gone")]
    assert check(tmp_path, good_tree(), untested) == [
        "src/low/wire.c: has a test and is in UNTESTED of scripts/check-tree all the same",
        "src/low/gone.c: is in UNTESTED of scripts/check-tree, but there is no such file"]


def test_what_is_not_built(tmp_path):
    check(tmp_path, good_tree())
    (tmp_path / "build/src/low/wire.o").unlink()
    with pytest.raises(SystemExit, match="there is no build/src/low/wire.o: build first"):
        CHECK.find_problems(tmp_path, "build", FLOORS, [])
