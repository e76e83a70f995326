# SPDX-License-Identifier: Apache-2.0
"""e2e/test_static - nswrap-agent, the one static file for hosts that have nothing"""

import contextlib
import os
import pathlib
import re
import shlex
import signal
import struct
import subprocess

import harness
from harness import (HTTP, PATIENCE, TCP_ECHO, Behind, descendants, exchange, free_port, python,
                     wait_for)
from mesh_tools import Box, Site, echoed, network
from test_exit import FAR

AGENT = pathlib.Path(harness.AGENT)

# runs the words behind it on a kernel that has no system call newer than Linux 4.18's (rseq, 334 and
# 293; io_pgetevents before): seccomp answers ENOSYS. argv: COMMAND...
OLD_KERNEL = """
import ctypes, os, struct, sys
newest = {"x86_64": 334, "aarch64": 293}[os.uname().machine]
code = [(0x20, 0, 0, 0), (0x25, 0, 1, newest), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7fff0000)]
filter = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in code))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(filter)))
assert libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()
os.execvp(sys.argv[1], sys.argv[1:])
"""


OLD = python(OLD_KERNEL, str(AGENT))


def scratch(directory):
    """Words that run the file where nothing else is: no shell, no /etc, no /tmp, no /proc."""
    os.makedirs(directory, exist_ok=True)
    (pathlib.Path(directory) / "agent").write_bytes(AGENT.read_bytes())
    (pathlib.Path(directory) / "agent").chmod(0o755)
    return ["/usr/bin/unshare", "-r", "/usr/bin/env", "-i", "/usr/sbin/chroot", str(directory), "/agent"]


def in_scratch(directory, *words):
    return subprocess.run([*scratch(directory), *words], timeout=20 * PATIENCE, input="", capture_output=True, text=True)


def test_it_is_one_small_static_file():
    data = AGENT.read_bytes()
    assert len(data) < 2 << 20
    offset, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    kinds = {struct.unpack_from("<I", data, offset + i * size)[0] for i in range(count)}
    assert 1 in kinds and not kinds & {2, 3}, "PT_DYNAMIC or PT_INTERP"


def test_nothing_is_needed_around_it(tmp_path):
    said = in_scratch(tmp_path / "scratch", "--help").stdout
    assert all(f"nswrap {word}" in said for word in ("agent", "exec", "tunnel", "exit", "doctor"))
    done = in_scratch(tmp_path / "scratch", "doctor")
    assert "no libslirp" in done.stdout and "/dev/net/tun" in done.stdout, done
    # without a TUN device there is no exit
    done = in_scratch(tmp_path / "scratch", "exit")
    assert (done.returncode, done.stdout) == (125, "") and done.stderr.count("\n") == 1
    assert "/dev/net/tun is missing" in done.stderr
    done = in_scratch(tmp_path / "scratch", "run", "true")
    assert done.returncode == 2 and "the whole nswrap has the rest" in done.stderr


def test_names_are_looked_up_without_loading_anything(tmp_path):
    """What nsswitch.conf names would be loaded from the host, whose libc is another one."""
    (tmp_path / "nsswitch.conf").write_text("hosts: other dns\n")
    trace = tmp_path / "trace"
    looks_up = f"""mount --bind {tmp_path}/nsswitch.conf /etc/nsswitch.conf &&
        exec strace -f -e trace=openat -o {trace} {AGENT} tunnel client --server nowhere.invalid:1 --to localhost:1"""
    popen = subprocess.Popen(["unshare", "-rm", "sh", "-c", looks_up], stderr=subprocess.DEVNULL)
    wait_for(lambda: trace.exists() and "/etc/resolv.conf" in trace.read_text(), "a look-up")
    os.kill(next(pid for pid in descendants(popen.pid) if harness.process_table()[pid][2] == "nswrap: tunnel-"), signal.SIGTERM)
    popen.wait(10)
    assert not re.search(r'\.so[."]', trace.read_text())


def serve_and_reach(nswrap, host_server, tmp_path, cmd):
    """A plain host that @cmd leads to: what it offers, reached from a sandbox."""
    port, vip = free_port(), f"{network()}.101"
    host_server(TCP_ECHO, port)
    site = Site(nswrap, tmp_path)
    box = Box(nswrap, "static-box")
    site.host("box", f"{network()}.102", box.agent())
    site.host("bare", vip, cmd, ports=[f"{port}:127.0.0.1:{port}"])
    with site:
        data = os.urandom(300_000)
        echoed(box, data, f"{vip}:{port}")
        return site.status()["bare"]


def test_it_is_a_host_of_a_mesh(nswrap, host_server, tmp_path):
    """Also on Linux 4.18; a sandbox of its own is not among what it says it can do."""
    host = serve_and_reach(nswrap, host_server, tmp_path, OLD)
    assert "gone" in host["features"] and "sandbox/run" not in host["features"]


def test_it_is_a_host_where_nothing_else_is(nswrap, host_server, tmp_path):
    host = serve_and_reach(nswrap, host_server, tmp_path, scratch(tmp_path / "scratch"))
    assert host["stack"] == "streams" and "/dev/net/tun" in host["stack_why"]


def test_it_lends_its_network(nswrap, outer):
    """Also on Linux 4.18, as those below."""
    far = Behind(outer)
    try:
        far.serve(HTTP, FAR, 80)
        link = "exec:" + shlex.join([*far.machine.prefix(), *OLD, "exit"])
        done = nswrap.run("--via", link, "curl", "-sS", "-m", str(20 * PATIENCE), f"http://{FAR}/x")
        assert done.stdout == b"path /x", done.stderr
    finally:
        far.close()


def test_it_is_both_ends_of_a_tunnel(nswrap, host_server):
    target, proxy, clients = free_port(), free_port(), free_port()
    host_server(TCP_ECHO, target)
    ends = [nswrap.popen("tunnel", *words, prefix=OLD[:-1], program=OLD[-1], stderr=subprocess.DEVNULL) for words in (
        ["server", "--bind-proxy", f"127.0.0.1:{proxy}", "--bind-client", f"127.0.0.1:{clients}"],
        ["client", "--server", f"127.0.0.1:{clients}", "--to", f"127.0.0.1:{target}"])]
    data = os.urandom(300_000)

    def works():
        with contextlib.suppress(OSError):
            return exchange(proxy, data) == data

    wait_for(works, "the tunnel")
    for popen in ends:
        popen.terminate()
        assert popen.wait(10 * PATIENCE) == 0


def test_it_enters_a_sandbox(nswrap):
    box = Box(nswrap, "static-box")
    done = subprocess.run([*OLD, "exec", box.name, "readlink", "/proc/self/ns/net"], capture_output=True,
                          timeout=20 * PATIENCE, env=nswrap.env)
    assert done.returncode == 0 and done.stdout == box.do("readlink", "/proc/self/ns/net"), done.stderr
    assert done.stdout.decode().strip() != os.readlink("/proc/self/ns/net")
