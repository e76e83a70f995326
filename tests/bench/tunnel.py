# SPDX-License-Identifier: Apache-2.0
"""bench/tunnel - a server that cannot be dialled: nswrap tunnel beside ssh -R and what lennut does

All ends are on loopback. ssh encrypts, the others do not; `nswrap tunnel ssh` is nswrap's over ssh."""

import contextlib
import pathlib
import shlex
import socket
import statistics
import subprocess
import time

from probes import (BIN, PATIENCE_S, Failed, accepts, connections, free_port, gbits, round_trips, wait_for)
from proxy import started

FIRST_BYTES = 200

METRICS = {  # key: (title, unit, higher is better)
    "tunnel in 1": ("tunnel, to the server behind it, 1 flow", "Gbit/s", True),
    "tunnel in 8": ("tunnel, to the server behind it, 8 flows", "Gbit/s", True),
    "tunnel out 1": ("tunnel, from the server behind it, 1 flow", "Gbit/s", True),
    "tunnel connections": ("tunnel, connections, 8 at a time", "1/s", True),
    "tunnel round trips": ("tunnel, round trips of 1 byte", "1/s", True),
    "tunnel first byte": ("tunnel, from connect() to the first byte", "ms", False),
}


# --- who is measured ------------------------------------------------------------------------------


class Candidate:
    is_ours = False

    def __init__(self, name, needs):
        self.name, self.needs = name, needs

    @contextlib.contextmanager
    def running(self, targets, directory):
        """Yields ports that lead to the ports of targets."""
        raise NotImplementedError


class Loopback(Candidate):
    def __init__(self):
        super().__init__("loopback", None)

    @contextlib.contextmanager
    def running(self, targets, directory):
        yield targets


class Ours(Candidate):
    """Over connections, or with is_ssh all over one ssh."""

    is_ours = True

    def __init__(self, name, program, is_ssh=False):
        super().__init__(name, program)
        self.is_ssh = is_ssh

    @contextlib.contextmanager
    def running(self, targets, directory):
        ports, clients = [free_port() for _ in targets], free_port()
        orders = [word for i, (port, target) in enumerate(zip(ports, targets))
                  for word in ("--forward", f"t{i}=127.0.0.1:{port}:127.0.0.1:{target}")]
        server = [self.needs, "tunnel", "server", "--bind-proxy", "127.0.0.1:0", "--bind-client"]
        with contextlib.ExitStack() as stack:
            if self.is_ssh:
                ssh, _ = stack.enter_context(sshd(directory))
                to = "exec:" + shlex.join([*ssh, shlex.join([*server, "-"])])
            else:
                to = f"127.0.0.1:{clients}"
                stack.enter_context(started(*server, to))
            stack.enter_context(started(self.needs, "tunnel", "client", "--server", to, *orders))
            yield ports


class Lennut(Candidate):
    """A client and a server for each: it knows one target."""

    def __init__(self):
        super().__init__("lennut's way", None)

    @contextlib.contextmanager
    def running(self, targets, directory):
        with contextlib.ExitStack() as stack:
            ports = []
            for target in targets:
                ports.append(free_port())
                clients = free_port()
                stack.enter_context(started(f"{BIN}/lennut", "server", ports[-1], clients))
                wait_for(lambda: accepts(clients), "lennut's server")
                stack.enter_context(started(f"{BIN}/lennut", "client", clients, target))
            yield ports


@contextlib.contextmanager
def sshd(directory):
    """Yields the words of an ssh to a server of this user's own, and its options."""
    home = pathlib.Path(directory, f"sshd-{time.monotonic_ns()}")
    home.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name], check=True,
                       stdin=subprocess.DEVNULL)
    port = free_port()
    (home / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {home}/user.pub\nPasswordAuthentication no\nMaxSessions 100\nMaxStartups 100\n")
    options = ["-p", str(port), "-i", str(home / "user"), "-o", "StrictHostKeyChecking=no", "-o",
               "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-F", "none"]
    with started("/usr/sbin/sshd", "-D", "-f", home / "config"):
        wait_for(lambda: accepts(port), "sshd")
        yield ["ssh", *options, "127.0.0.1"], options


class Ssh(Candidate):
    def __init__(self):
        super().__init__("ssh -R", "ssh")

    @contextlib.contextmanager
    def running(self, targets, directory):
        ports = [free_port() for _ in targets]
        rules = [word for port, target in zip(ports, targets)
                 for word in ("-R", f"127.0.0.1:{port}:127.0.0.1:{target}")]
        with sshd(directory) as (_, options), started("ssh", *options, "-N", *rules, "127.0.0.1"):
            yield ports


def candidates(ours):
    """ours: (name, program) of each of our builds."""
    return [Loopback(), Ssh(), Lennut(), *(Ours(*each) for each in ours),
            *(Ours(f"{name} ssh", program, True) for name, program in ours)]


# --- the measurements -----------------------------------------------------------------------------


def first_byte_ms(port):
    """The median of many, one after the other."""
    took = []
    for _ in range(FIRST_BYTES):
        began = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
            s.sendall(b"x")
            if s.recv(1) != b"x":
                raise Failed("a connection that was closed")
        took.append((time.perf_counter() - began) * 1e3)
    return statistics.median(took)


def bulk(port, seconds, *how):
    """Throughput, once the server has read what the measurement before left on its way."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return gbits("127.0.0.1", port, seconds, *how)
        except Failed as failure:
            if "busy" not in str(failure) or time.monotonic() > end:
                raise
        time.sleep(0.1)


def steps(seconds, directory, results, candidate):
    """What there is to measure of one candidate in one round."""
    def measure():
        targets = [free_port(), free_port()]
        with started(f"{BIN}/server", "127.0.0.1", targets[0]), \
                started("iperf3", "-s", "-B", "127.0.0.1", "-p", targets[1]), \
                candidate.running(targets, directory) as (echo, iperf):
            wait_for(lambda: accepts(echo, b"x"), "an answer through the tunnel")
            for metric, probe in (
                    ("tunnel round trips", lambda: round_trips(echo, seconds)),
                    ("tunnel first byte", lambda: first_byte_ms(echo)),
                    ("tunnel connections", lambda: connections(echo, seconds)),
                    ("tunnel in 1", lambda: bulk(iperf, seconds)),
                    ("tunnel out 1", lambda: bulk(iperf, seconds, 1, True)),
                    ("tunnel in 8", lambda: bulk(iperf, seconds, 8))):
                try:
                    results.add(metric, candidate, probe())
                except (Failed, OSError) as failure:
                    results.fail(metric, candidate, failure)

    return [(f"{candidate.name}: tunnel", measure)]
