# SPDX-License-Identifier: Apache-2.0
"""`nswrap mesh graph`: what is in the picture, and that readers of each format take it"""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree

import pytest

import harness
from mesh_tools import Site, network

SVG = "{http://www.w3.org/2000/svg}"
SANDBOX = [harness.BINARY, "--network", "none", "-c", "sleep 1000"]


@pytest.fixture
def site(nswrap, short_dir):
    site = Site(nswrap, short_dir, routes=[{"to": ["192.168.95.0/24", "*.cloud1.example.com"], "via": "bastion"}])
    site.host("laptop", f"{network()}.101", cmd=SANDBOX, aliases=["me.example.com"], writeEtcHosts=True,
              http={"listen": "127.0.0.1:18080"}, allow=["bastion"])
    site.host("gate", f"{network()}.104", cmd=[harness.BINARY, "agent"], loopback={"disable": True},
              expose=["10.0.0.0/8:22", "192.0.2.7"])
    site.host("bastion", f"{network()}.102", cmd=SANDBOX,
              ports=["8080:127.0.0.1:80", "53:[::1]:53/udp"], anyPort=True, allow=["laptop:8080"])
    with site:
        down = {"down": {"vip": f"{network()}.103", "cmd": "false"}}
        site.path.write_text(json.dumps({"hosts": {**site.hosts, **down}, **site.top}))
        assert nswrap.run("mesh", "reload", site.name).returncode == 0
        site.wait_state("down", "waiting")
        yield site
        # names just resolve there: nothing is missing
        assert "etchosts" not in site.running.stderr.text()


def lines_of(nswrap, site, *options):
    done = nswrap.run("mesh", "graph", *options, site.name)
    assert done.returncode == 0 and done.stderr == b""
    return done.stdout.decode()


def check(texts):
    """All that a reader is to see, in whatever order."""
    for text in ("site", "laptop", "= me.example.com", f"{network()}.101", ":8080 > 127.0.0.1:80",
                 ":53/udp > [::1]:53", "every port", "http proxy 127.0.0.1:18080", "for bastion", "for laptop: 8080",
                 "exposes 10.0.0.0/8:22", "exposes 192.0.2.7",
                 "192.168.95.0/24", "*.cloud1.example.com", "route"):
        assert text in texts, (text, texts)
    links = [text for text in texts if text.startswith(("ready", "waiting", "starting"))]
    assert len(links) == 4 and len([text for text in links if re.fullmatch(r"ready(, [\d.]+ ms)?", text)]) == 3


def test_dot(nswrap, site):
    text = lines_of(nswrap, site)
    assert text.startswith("graph mesh {\n") and lines_of(nswrap, site, "--format", "dot").startswith("graph mesh {\n")
    labels = re.findall(r'label="((?:[^"\\]|\\.)*)"', text)
    check([part for label in labels for part in label.split("\\l")])
    names = dict(re.findall(r'^\t(n\d+) \[.*label="([^"\\]*)', text, re.MULTILINE))
    edges = [(names[a], names[b]) for a, b in re.findall(r"^\t(n\d+) -- (n\d+) ", text, re.MULTILINE)]
    assert sorted(edges) == [("bastion", "192.168.95.0/24"), ("site", "bastion"), ("site", "down"),
                             ("site", "gate"), ("site", "laptop")]
    assert text.count("style=dashed") == 1
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=text.encode(), capture_output=True, check=True, timeout=30)


def test_svg(nswrap, site):
    """Whole by itself: nothing stands outside of the picture, and boxes do not stand in each other's way."""
    root = xml.etree.ElementTree.fromstring(lines_of(nswrap, site, "--format", "svg"))
    check([text.text for text in root.iter(f"{SVG}text")])
    width, height = float(root.get("width")), float(root.get("height"))
    boxes = [tuple(float(box.get(key)) for key in ("x", "y", "width", "height"))
             for box in root.iter(f"{SVG}rect") if box.get("x")]
    assert len(boxes) == 6
    for x, y, w, h in boxes:
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
        assert sum(ox < x + w and x < ox + ow and oy < y + h and y < oy + oh for ox, oy, ow, oh in boxes) == 1
    assert "href" not in xml.etree.ElementTree.tostring(root).decode()


def test_mermaid(nswrap, site):
    text = lines_of(nswrap, site, "--format", "mermaid")
    assert text.startswith("flowchart LR\n")
    plain = re.sub(r"#(\d+);", lambda m: chr(int(m[1])), text)
    check([part for label in re.findall(r'"(.*?)"', plain) for part in label.split("<br/>")])


@pytest.mark.parametrize("words, text", [
    (["graph", "--format", "png"], b'--format png: "png" is no format: expected dot, svg or mermaid'),
    (["status", "--format", "svg"], b"--format: only with graph"),
    (["graph", "--json"], b"--json: only status prints it"),
])
def test_wrong_calls(nswrap, words, text):
    done = nswrap.run("mesh", *words)
    assert done.returncode == 2 and text in done.stderr and done.stderr.count(b"\n") == 1


def test_many_hosts(nswrap, short_dir):
    """More than one answer of the manager has room for."""
    site = Site(nswrap, short_dir)
    site.host("first", f"{network()}.101", cmd=SANDBOX)
    with site:
        ports = [f"{port}:host-{port}.example.com:80" for port in range(1, 41)]
        hosts = {f"h{n}": {"vip": f"10.9.{n // 250}.{n % 250 + 1}", "cmd": "false", "restart": "never", "ports": ports}
                 for n in range(60)}
        site.path.write_text(json.dumps({"hosts": {**site.hosts, **hosts}}))
        assert nswrap.run("mesh", "reload", site.name).returncode == 0
        text = lines_of(nswrap, site)
        assert len(re.findall(r" -- ", text)) == 61 and text.count("and 28 more") == 60
