# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_contained - an agent where things are refused, for real: as in containers"""

import json
import os
import pathlib
import subprocess

import pytest

import harness
from harness import BINARY, HTTP, python, wait_for
from mesh_tools import Box, Site, network
from tools import tool

AGENT = pathlib.Path(harness.AGENT)
WEB = 7002
REFUSED = "refuses user namespaces"  # this system or this container, as whether it is one shows

# every mount can be read only, those of /tmp, /run and /dev/shm, too
READ_ONLY = r"""
cut -d' ' -f5,6 /proc/self/mountinfo | while read -r at has; do
    flags=$(echo "$has" | tr , '\n' | grep -E '^(nosuid|nodev|noexec|noatime|nodiratime|relatime)$' | tr '\n' ,)
    mount -o "remount,bind,ro,$flags" "$(printf %b "$at")"
done
! touch /tmp/x /var/tmp/x "$HOME/x" 2>/dev/null
"""


def outer(setup):
    """Words: in an outer user and mount namespace, of which setup is the shell lines."""
    return ["unshare", "-U", "-r", "-m", "sh", "-ec", setup + '\nexec "$@"', "-"]


# {kind: (the words in front of the program, what status says of why it has no stack)}
KINDS = {
    "seccomp": (lambda: [tool("contain")], REFUSED),
    "namespaces": (lambda: outer("echo 0 >/proc/sys/user/max_user_namespaces; "
                                 "echo 0 >/proc/sys/user/max_net_namespaces"), "no network for the mesh"),
    "tun": (lambda: outer("mount -t tmpfs none /dev/net"), "/dev/net/tun"),
    "readonly": (lambda: [*outer(READ_ONLY), tool("contain")], REFUSED),
    "nobody": (lambda: ["unshare", "-U", "--map-user=4711", "--map-group=4711", "env", "-u", "HOME", "-u", "USER",
                        "-u", "LOGNAME", "-u", "XDG_RUNTIME_DIR", tool("contain")], REFUSED),
    "descriptors": (lambda: ["sh", "-c", 'ulimit -n 64; exec "$@"', "-", tool("contain")], REFUSED),
}


@pytest.fixture
def server():
    port = harness.free_port()
    popen = subprocess.Popen(python(HTTP, "127.0.0.1", port))
    wait_for(lambda: not harness.is_refused(port), "the server")
    yield port
    popen.kill()
    popen.wait()


def test_an_agent_comes_up_by_itself(nswrap, tmp_path, server):
    """All kinds at once, and the static file: each has streams, says why, and serves what it offers."""
    box, site = Box(nswrap, "box"), Site(nswrap, tmp_path)
    commands = {name: [*words(), BINARY] for name, (words, _) in KINDS.items()}
    commands["static"] = [tool("contain"), str(AGENT)]
    vips = {name: f"{network()}.{101 + number}" for number, name in enumerate(commands)}
    site.host("box", f"{network()}.100", box.agent())
    for name, command in commands.items():
        site.host(name, vips[name], command, ports=[f"{WEB}:127.0.0.1:{server}"], loopback={"disable": True})
    with site:
        status = site.status()
        urls = [f"http://{vip}:{WEB}/[1-40]" for vip in vips.values()]
        # as many connections as there are requests
        for url in urls:
            said = box.do("curl", "-sS", "--no-keepalive", "-H", "Connection: close", url).decode()
            assert said.count("path /") == 40, (url, said)
        for name in commands:
            why = KINDS.get(name, KINDS["seccomp"])[1]
            assert status[name]["stack"] == "streams" and why in status[name]["stack_why"], status[name]
            assert status[name]["restarts"] == 0
        text = nswrap.run("mesh", "status", "site").stdout.decode()
        assert all(f"{name}: its connections are streams: " in text for name in commands), text


@pytest.mark.parametrize("kind", KINDS)
def test_the_doctor_says_so(nswrap, kind):
    """What is refused, and that a host of a mesh works all the same."""
    done = subprocess.run([*KINDS[kind][0](), BINARY, "doctor", "--json"], capture_output=True, text=True,
                          env=nswrap.env)
    rows = {row["check"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 1, done.stdout
    wrong = "tun" if kind == "tun" else "namespaces"
    assert rows[wrong]["state"] == "wrong" and rows[wrong]["cure"], rows
    assert rows["mesh"]["state"] == "note" and "streams" in rows["mesh"]["text"], rows["mesh"]
    if kind == "readonly":
        assert rows["runtime directory"]["state"] == "wrong" and "Read-only" in rows["runtime directory"]["text"]
    assert (rows["descriptors"]["state"] == "note") == (kind == "descriptors")
