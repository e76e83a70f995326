# SPDX-License-Identifier: Apache-2.0
"""e2e/test_ends - a COMMAND that ends and leaves a server behind"""

import os
import signal

import pytest

from harness import connect, is_alive, proc_status, python, wait_for

# a daemon as in a book: forks, a session of its own, forks; its parent ends once it listens
DAEMON = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", 7000))
if os.fork():
    os._exit(int(sys.argv[1]))
os.setsid()
if os.fork():
    os._exit(0)
for i in range(3):
    os.dup2(os.open("/dev/null", os.O_RDWR), i)
while True:
    client, _ = server.accept()
    client.sendall(str(os.getpid()).encode())
    client.close()
"""
LINE = "left 1 process in the background"
PID_NS = pytest.mark.parametrize("options", [[], ["--pid"], ["--new-session"]], ids=" ".join)


@PID_NS
def test_a_daemon_is_ended_with_a_word(nswrap, options):
    done = nswrap.run(*options, "--network", "none", "--", *python(DAEMON, 0))
    assert done.returncode == 0
    assert LINE in done.stderr.decode() and "--wait-all" in done.stderr.decode()


@PID_NS
def test_no_word_where_nobody_meant_it(nswrap, options):
    """Of failures, and of what a shell has in the background."""
    failed = nswrap.run(*options, "--network", "none", "--", *python(DAEMON, 3))
    usual = nswrap.run(*options, "--network", "none", "-c", "sleep 1000 & exit 0")
    assert (failed.returncode, usual.returncode) == (3, 0)
    assert failed.stderr + usual.stderr == b""


@PID_NS
@pytest.mark.parametrize("how", ["TERM", "INT", "stop", "by itself"])
def test_wait_all(nswrap, options, how):
    running = nswrap.start(
        *options, "--wait-all", "-n", "all", "-p", 0, "-P", 7000, "--", *python(DAEMON, 5))
    running.guest_listening()
    command = running.wait_event("started")["pid"]
    wait_for(lambda: not is_alive(command), "the end of COMMAND")
    with connect(running.host_port()) as s:
        assert s.recv(10)
    left = [pid for pid in running.tree() if "python" in proc_status(pid)["Name"]]
    assert len(left) == 1
    assert running.popen.poll() is None
    if how == "stop":
        assert nswrap.run("stop", "all").returncode == 0
    elif how == "by itself":
        os.kill(left[0], signal.SIGKILL)
    else:
        running.signal(getattr(signal, f"SIG{how}"))
    assert running.wait() == 5
    assert "background" not in running.stderr.text()
    assert not is_alive(left[0])
