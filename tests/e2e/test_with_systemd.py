# SPDX-License-Identifier: Apache-2.0
"""The units with a real systemd: scripts/with-systemd. Elsewhere there are none of these, and test_units does it with a
stand-in."""

import fcntl
import os
import pathlib
import socket
import subprocess

import pytest

from harness import BINARY, PATIENCE, TREE, called, exchange, free_port, http_get, is_alive, python, wait_for

RUNTIME = os.environ.get("NSWRAP_TEST_SYSTEMD")

# waits, is ready, reloads at SIGHUP, tells its watchdog until the file is there, and ends cleanly; argv: two files
SERVES = """
import os, signal, socket, subprocess, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ['NOTIFY_SOCKET'])
assert os.environ['WATCHDOG_PID'] == str(os.getpid())
def end(*_):
    s.send(b'STOPPING=1')
    open(sys.argv[1], 'a').write('ended\\n')
    sys.exit(0)
def reload(*_):
    s.send(b'RELOADING=1')
    s.send(b'READY=1\\nSTATUS=reloaded')
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGHUP, reload)
subprocess.Popen(['sleep', '1000'])
s.send(b'READY=1\\nSTATUS=serves\\nMAINPID=1')
while True:
    if not os.path.exists(sys.argv[2]):
        s.send(b'WATCHDOG=1')
    time.sleep(0.1)
"""


class Systemd:
    """The user's manager, with units of a test."""

    def __init__(self, nswrap, directory):
        self.env = {**os.environ, "XDG_RUNTIME_DIR": RUNTIME}
        self.directory = pathlib.Path(directory)
        self.runtime_dir = nswrap.runtime_dir
        # as `make install` below a home
        self.units = pathlib.Path.home() / ".local/share/systemd/user"
        self.units.mkdir(parents=True, exist_ok=True)
        self.made = []

    def add(self, name, text):
        path = self.units / name
        # where the harness looks for what is left
        own = f"[Service]\nEnvironment=XDG_RUNTIME_DIR={self.runtime_dir} XDG_CONFIG_HOME={self.directory}\n"
        path.write_text(text + (own if name.endswith(".service") else ""))
        self.made.append(path)

    def ctl(self, *words, check=True):
        done = subprocess.run(["systemctl", "--user", *words], env=self.env, capture_output=True, text=True,
                              timeout=60 * PATIENCE)
        assert not check or done.returncode == 0, (words, done.stderr)
        return done.stdout

    def show(self, unit):
        return dict(line.split("=", 1) for line in self.ctl("show", unit).splitlines() if "=" in line)

    def close(self):
        for path in self.made:
            if "@." not in path.name:
                self.ctl("stop", path.name, check=False)
            self.ctl("reset-failed", check=False)
            path.unlink()
        self.ctl("daemon-reload")


if RUNTIME:
    @pytest.fixture
    def systemd(nswrap, short_dir):
        # tests run beside each other (beside.py), and these have one manager and units of the same names
        with open(pathlib.Path(RUNTIME, "nswrap-tests.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            systemd = Systemd(nswrap, short_dir)
            for name in "nswrap", "nswrap-mesh":
                text = (TREE / f"systemd/{name}@.service.in").read_text()
                systemd.add(f"{name}@.service", text.replace("@BINDIR@/nswrap", BINARY).replace("%E", short_dir))
            pathlib.Path(short_dir, "nswrap").mkdir()
            systemd.ctl("daemon-reload")
            yield systemd
            systemd.close()

    def test_sandbox(systemd):
        port = free_port()
        (systemd.directory / "nswrap/web.env").write_text(
            f"COMMAND=exec python3 -m http.server 8000\nNSWRAP_OPTIONS=-p {port}:8000\n")
        systemd.ctl("enable", "--now", "nswrap@web")
        assert http_get(port)[0] == 200
        state = systemd.show("nswrap@web")
        assert (state["ActiveState"], state["SubState"]) == ("active", "running")
        assert "nswrap@web" in systemd.show("default.target")["Wants"]
        systemd.ctl("disable", "--now", "nswrap@web")
        assert systemd.show("nswrap@web")["Result"] == "success"

    def test_mesh(systemd):
        site = systemd.directory / "nswrap/site.yaml"
        site.write_text(f'hosts:\n  a: {{vip: 127.0.56.1, cmd: ["{BINARY}", agent]}}\n'
                        '  b: {vip: 127.0.56.2, cmd: ["false"]}\n')
        systemd.ctl("enable", "--now", "nswrap-mesh@site")
        wait_for(lambda: systemd.show("nswrap-mesh@site")["StatusText"] == "1 of 2 hosts is ready", "its status")
        site.write_text(f'hosts:\n  a: {{vip: 127.0.56.1, cmd: ["{BINARY}", agent]}}\n')
        systemd.ctl("reload", "nswrap-mesh@site")
        wait_for(lambda: systemd.show("nswrap-mesh@site")["StatusText"] == "1 of 1 host is ready", "the new status")
        assert "nswrap-mesh@site" in systemd.show("default.target")["Wants"]
        systemd.ctl("disable", "--now", "nswrap-mesh@site")
        assert systemd.show("nswrap-mesh@site")["Result"] == "success"

    def test_sockets(systemd):
        """Two sockets of one unit, one of them for both families; the service may end and come again."""
        port = free_port()
        path = f"{systemd.directory}/s"
        systemd.add("app.socket", f"[Socket]\nListenStream={port}\nListenStream={path}\nFileDescriptorName=web\n")
        systemd.add("app.service", f"[Service]\nType=notify\nSuccessExitStatus=143\n"
                    f"ExecStart={BINARY} --only-user -p fd:web:8000 -- python3 -m http.server 8000\n")
        systemd.ctl("daemon-reload")
        systemd.ctl("start", "app.socket")
        for _ in range(2):
            assert http_get(port)[0] == http_get(port, host="::1")[0] == 200
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                s.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert s.recv(15) == b"HTTP/1.0 200 OK"
            systemd.ctl("stop", "app.service")
            assert systemd.show("app.service")["Result"] == "success"

    def test_listen_fd(systemd):
        """A program that takes its socket itself, as sd_listen_fds(3) states it."""
        port = free_port()
        program = systemd.directory / "takes.py"
        program.write_text("import os, socket\nassert os.environ['LISTEN_PID'] == str(os.getpid())\n"
                           "assert (os.environ['LISTEN_FDS'], os.environ['LISTEN_FDNAMES']) == ('1', 'app.socket')\n"
                           "while True:\n    c, _ = socket.socket(fileno=os.dup(3)).accept()\n"
                           "    c.sendall(c.recv(10))\n    c.close()\n")
        systemd.add("app.socket", f"[Socket]\nListenStream=127.0.0.1:{port}\n")
        systemd.add("app.service", f"[Service]\nType=notify\nSuccessExitStatus=143\n"
                    f"ExecStart={BINARY} --pid --network none --listen-fd app.socket -- python3 {program}\n")
        systemd.ctl("daemon-reload")
        systemd.ctl("start", "app.socket")
        assert exchange(port, b"a") == b"a"

    @pytest.mark.parametrize("mode", ["mixed", "control-group"])
    @pytest.mark.parametrize("words", ["", "--pid "], ids=["plain", "pid"])
    def test_kill_mode(systemd, mode, words):
        """READY of COMMAND, reload, and one SIGTERM; then a watchdog that is not told."""
        program, ended, hangs = (systemd.directory / name for name in ("serves.py", "ended", "hangs"))
        program.write_text(SERVES)
        systemd.add("app.service", f"[Service]\nType=notify\nWatchdogSec=6\nKillMode={mode}\n"
                    f"ExecReload=kill -HUP $MAINPID\nExecStart={BINARY} --sdnotify command --network none {words}"
                    f"-- {' '.join(python('')[:1])} {program} {ended} {hangs}\n")
        systemd.ctl("daemon-reload")
        systemd.ctl("start", "app")
        state = systemd.show("app")
        assert (state["SubState"], state["StatusText"]) == ("running", "serves")
        main = int(state["MainPID"])
        assert open(f"/proc/{main}/cmdline").read().split("\0")[0] == BINARY, "whatever it said of MAINPID"
        systemd.ctl("reload", "app")
        wait_for(lambda: systemd.show("app")["StatusText"] == "reloaded", "the reload")
        left = called("sleep", [int(p) for p in os.listdir("/proc") if p.isdigit()])
        systemd.ctl("stop", "app")
        assert systemd.show("app")["Result"] == "success"
        assert ended.read_text() == "ended\n"
        assert not is_alive(main) and not [p for p in left if is_alive(p) and os.stat(f"/proc/{p}").st_uid == os.getuid()]
        hangs.write_text("")
        systemd.ctl("start", "app")
        wait_for(lambda: systemd.show("app")["Result"] == "watchdog", "the watchdog", 40)
        wait_for(lambda: systemd.show("app")["ActiveState"] == "failed", "the end")
