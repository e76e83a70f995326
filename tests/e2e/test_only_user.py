# SPDX-License-Identifier: Apache-2.0
"""--only-user: whoever connects, from wherever, at whatever listener"""

import os
import re
import subprocess

import pytest

from harness import (NEIGHBOUR_SETUP, PATIENCE, TCP_ECHO, UDP_ECHO, free_port, other_user, python,
                     wait_for)

# prints what a server answers to "hello", or "refused"; argv: seconds tcp|udp address port, or unix path
ASK = """
import socket, sys
seconds, kind, *where = sys.argv[1:]
where = where[0] if kind == 'unix' else (where[0], int(where[1]))
family = socket.AF_UNIX if kind == 'unix' else socket.AF_INET6 if ':' in where[0] else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM if kind == 'udp' else socket.SOCK_STREAM) as s:
    s.settimeout(float(seconds))
    try:
        s.connect(where)
        s.sendall(b'hello')
        print(s.recv(100).decode() or 'refused')
    except OSError:
        print('refused')
"""

ECHOES = {"tcp": TCP_ECHO, "udp": UDP_ECHO}


def is_served(prefix, *where, seconds=20):
    done = subprocess.run([*prefix, *python(ASK, seconds, *where)], capture_output=True,
                          timeout=40 * PATIENCE)
    assert done.returncode == 0, done.stderr
    assert re.search("hello|refused", done.stdout.decode())
    return b"hello" in done.stdout


def is_refused(prefix, *where):
    """A datagram is not answered: waited for a moment only."""
    return not is_served(prefix, *where, seconds=0.3 if where[0] == "udp" else 20)


def bracketed(host):
    return f"[{host}]" if ":" in host else host


def start(nswrap, proto, listener, port, *options, **more):
    running = nswrap.start(*options, "-f", f"{bracketed(listener)}:{port}:7000/{proto}",
                           *python(ECHOES[proto], "127.0.0.1", 7000), **more)
    running.guest_listening()
    return running


@pytest.mark.parametrize("driver", ["auto", "slirp"])
@pytest.mark.parametrize("proto", ["tcp", "udp"])
@pytest.mark.parametrize("listener", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_users_of_this_host(nswrap, listener, proto, driver):
    """At every listener, by every driver: the caller is served, another user is not."""
    running = start(nswrap, proto, listener, 0, "--only-user", "--allow-network", "--port-driver", driver)
    where = (proto, "::1" if ":" in listener else "127.0.0.1", running.host_port())
    assert is_served([], *where)
    assert is_refused(other_user(), *where)
    running.wait_line(r"refused a connection of user \d+ to")


@pytest.mark.parametrize("driver", ["auto", "slirp"])
@pytest.mark.parametrize("proto", ["tcp", "udp"])
@pytest.mark.parametrize("listener", ["0.0.0.0", "::", "192.0.2.10"])
@pytest.mark.parametrize("allowed", [[], ["--allow-network"]])
def test_other_machines(nswrap, outer, listener, proto, driver, allowed):
    """They need --allow-network or are refused at the connection, and a line says which."""
    host = outer(NEIGHBOUR_SETUP)
    running = start(nswrap, proto, listener, 6000, "--only-user", *allowed, "--port-driver", driver,
                    prefix=host.prefix())
    said = re.escape(f"{bracketed(listener)}:6000") + ("/udp" if proto == "udp" else "")
    running.wait_line(f"{said} is open to all users of other machines" if allowed
                      else f"{said} refuses other machines.*--allow-network")
    where = (proto, host.address6 if ":" in listener else host.address, 6000)
    assert is_served(host.prefix(), *where)
    if allowed:
        assert is_served(host.neighbour(), *where)
    else:
        assert is_refused(host.neighbour(), *where)
        running.wait_line(r"refused a connection of another machine \((192.0.2.1|2001:db8::1)\)")


def test_refused_machines_are_told_of_with_q(nswrap):
    port = free_port()
    running = nswrap.start("-q", "--only-user", "-f", f"0.0.0.0:{port}:80/udp", "sleep", "1000")
    running.wait_event("forward")
    running.wait_line(f"0.0.0.0:{port}/udp refuses other machines")


def test_loopback_listeners_need_no_line(nswrap):
    running = nswrap.start("--only-user", "-p", 0, "sleep", "1000")
    running.wait_event("forward")
    assert [line for line in running.stderr.lines if "machines" in line] == []


def test_socket_files(nswrap, short_dir):
    """Even one that its owner has opened to everybody."""
    path = os.path.join(short_dir, "sock")
    running = nswrap.start("--only-user", "-f", f"unix:{path}:7000", *python(TCP_ECHO, "127.0.0.1", 7000))
    running.guest_listening()
    os.chmod(short_dir, 0o711)
    os.chmod(path, 0o666)
    assert is_served([], "unix", path)
    assert is_refused(other_user(), "unix", path)
    running.wait_line("refused a connection of another user to unix:")
    assert is_served([], "unix", path)


@pytest.mark.parametrize("options, said", [
    (["--allow-network"], "--allow-network goes with --only-user"),
    (["--only-user=root", "-f", "unix:s:80"], "unix:s: a socket file is its owner's alone"),
    ([f"--only-user=root,{os.getuid()}", "-f", "unix:s:80"], "unix:s: a socket file is its owner's"),
])
def test_what_cannot_be(nswrap, options, said):
    result = nswrap.run(*options, "true")
    assert result.returncode == 2
    assert said in result.stderr.decode()


def test_added_later(nswrap):
    running = nswrap.start("-n", "box", "--only-user=root", "sleep", "1000")
    wait_for(lambda: nswrap.run("ps").stdout.count(b"\n") == 2, "the sandbox")
    result = nswrap.run("port", "add", "box", "unix:s:80")
    assert result.returncode != 0 and b"a socket file is its owner's alone" in result.stderr
    port = free_port()
    added = nswrap.run("port", "add", "box", f"0.0.0.0:{port}:80")
    assert added.returncode == 0
    running.wait_line(f"0.0.0.0:{port} refuses other machines")
    assert added.stderr.startswith(f"nswrap: 0.0.0.0:{port} refuses other machines".encode()), "who asked hears of it, too"
    assert added.stdout.startswith(b"0.0.0.0:")
    assert is_refused([], "tcp", "127.0.0.1", port)
