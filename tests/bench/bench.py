# SPDX-License-Identifier: Apache-2.0
"""bench - nswrap side by side with plain loopback and its peers, all in one run

Every candidate gives a shell in a network of its own (plain loopback: in the host's), told what to do
through its stdin. The candidates take turns and all is repeated; the median counts. Nothing but
loopback is contacted.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import far
import idle
import mesh
import openings
import proxy
import tunnel
from probes import (BIN, HANG_S, NSWRAP, Failed, accepts, command_line, connections,
                    descendants, free_port, gbits, iperf_client, iperf_gbits, iperf_is_up,
                    listens, round_trips, wait_for, wrk_rate)
from shell import Shell
from svg import bar_chart

START_RUNS, READY_RUNS = 50, 11


# --- the candidates ----------------------------------------------------------------------------


class Candidate:
    """One way to give a shell a network. forwards: pairs of host port and guest port."""

    name = ""
    needs = None  # a program
    is_ours = False
    outbound = "10.0.2.2"  # where the host's 127.0.0.1 is seen from inside
    listen = "0.0.0.0"  # what a server inside binds
    bind = "127.0.0.1"  # where forwards listen on the host

    def command(self, forwards, guest):
        """The command line that runs guest (a command line) inside."""
        raise NotImplementedError

    def after_start(self, popen, forwards, directory):
        """Anything more to start. Returns other processes of the tool."""
        return []

    def guest_port(self, host_port, n):
        return 5201 + n

    start_command = None  # for the measurement of `true`, when not command() without forwards


class Loopback(Candidate):
    name = "loopback"
    outbound = listen = "127.0.0.1"

    def command(self, forwards, guest):
        return guest

    def guest_port(self, host_port, n):
        return host_port


class Slirp4netns(Candidate):
    name = needs = "slirp4netns"

    def command(self, forwards, guest):
        return ["unshare", "-U", "-r", "-n", *guest]

    def after_start(self, popen, forwards, directory):
        api = os.path.join(directory, f"api-{popen.pid}")
        own = os.readlink("/proc/self/ns/net")
        wait_for(lambda: os.readlink(f"/proc/{popen.pid}/ns/net") != own, "the namespace")
        ready, ready_write = os.pipe()
        slirp = subprocess.Popen(
            ["slirp4netns", "--configure", "--mtu=65520", f"--ready-fd={ready_write}",
             f"--api-socket={api}", str(popen.pid), "tap0"],
            pass_fds=[ready_write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(ready_write)
        with open(ready, "rb") as pipe:
            if not pipe.read(1):
                raise Failed("slirp4netns did not become ready")
        for host_port, guest_port in forwards:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(api)
                s.sendall(json.dumps({"execute": "add_hostfwd", "arguments": {
                    "proto": "tcp", "host_addr": self.bind, "host_port": host_port,
                    "guest_port": guest_port}}).encode())
                s.shutdown(socket.SHUT_WR)
                answer = json.loads(s.makefile().read())
                if "error" in answer:
                    raise Failed(str(answer))
        return [slirp]


class Pasta(Candidate):
    name = needs = "pasta"

    def __init__(self):
        # pasta leads the gateway's address to the host's loopback
        route = subprocess.run(["ip", "-4", "route", "show", "default"], capture_output=True, text=True)
        gateway = re.search(r"default via (\S+)", route.stdout)
        self.outbound = gateway.group(1) if gateway else None

    def command(self, forwards, guest):
        rules = [a for h, g in forwards for a in ("-t", f"{self.bind}/{h}:{g}")] or ["-t", "none"]
        runas = ["--runas", "0"] if os.getuid() == 0 else []
        return ["pasta", *runas, "--config-net", *rules, "-T", "none", "-u", "none", "-U", "none",
                "-f", "-q", "--", *guest]


class Rootlesskit(Candidate):
    name = needs = "rootlesskit"

    def command(self, forwards, guest):
        rules = [a for h, g in forwards for a in ("-p", f"{self.bind}:{h}:{g}/tcp")]
        driver = ["--port-driver=builtin"] if forwards else []
        return ["rootlesskit", "--net=slirp4netns", "--mtu=65520", *driver, *rules, *guest]


class Bubblewrap(Candidate):
    name, needs = "bwrap", "bwrap"

    def command(self, forwards, guest):
        return ["bwrap", "--dev-bind", "/", "/", "--unshare-user", "--unshare-net", *guest]


class Unshare(Candidate):
    name, needs = "unshare -Urn", "unshare"

    def command(self, forwards, guest):
        return ["unshare", "-U", "-r", "-n", *guest]


class Nswrap(Candidate):
    is_ours = True

    def __init__(self, driver, program=NSWRAP, name="nswrap"):
        self.driver = driver
        self.needs = self.program = program
        self.name = f"{name} {driver}"

    def command(self, forwards, guest):
        rules = [a for h, g in forwards for a in ("-p", f"{self.bind}:{h}", "-P", str(g))]
        return [self.program, "-q", "--host-loopback", "--port-driver", self.driver, *rules, "--", *guest]


def ours(before, *drivers):
    """nswrap with each of these drivers, and the same of an earlier build."""
    return [c for d in drivers
            for c in ([Nswrap(d, before, "before")] if before else []) + [Nswrap(d)]]


def network_candidates(before):
    return [Loopback(), Slirp4netns(), Pasta(), Rootlesskit(), *ours(before, "splice", "slirp")]


def start_candidates(before):
    return [Loopback(), Unshare(), Bubblewrap(), Pasta(), Rootlesskit(), *ours(before, "splice")]


def launch_candidates(before):
    return [Loopback(), Pasta(), Rootlesskit(), *ours(before, "splice", "slirp")]


def idle_candidates(before):
    return ours(before, "splice")


def proxy_candidates(before):
    return proxy.candidates([*([("before proxy", before)] if before else []), ("nswrap proxy", NSWRAP)])


def tunnel_candidates(before):
    return tunnel.candidates([*([("before tunnel", before)] if before else []), ("nswrap tunnel", NSWRAP)])


def mesh_candidates(before):
    norouter = os.environ.get("NOROUTER")
    return [Loopback(), *([mesh.NoRouter(norouter)] if norouter else []), *ours(before, "mesh", "streams", "exit")]


# --- the measurements ------------------------------------------------------------------------------


def outbound_gbits(shell, seconds, flows, reverse):
    """Throughput of a client inside and a server on the host's loopback."""
    if shell.candidate.outbound is None:
        raise Failed("no way to the host's loopback")
    port = free_port()
    server = subprocess.Popen(["iperf3", "-s", "-B", "127.0.0.1", "-p", str(port)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: listens(port), "iperf3")
        client = " ".join(iperf_client(shell.candidate.outbound, port, seconds, flows, reverse))
        path = os.path.join(shell.directory, "outbound")
        shell.do(f"timeout {seconds + HANG_S} {client} >{path} </dev/null; echo")
        return iperf_gbits(pathlib.Path(path).read_text())
    finally:
        server.kill()
        server.wait()


def outbound_connections(shell, seconds):
    """The same of connections, eight at a time, each with a request and an answer."""
    if shell.candidate.outbound is None:
        raise Failed("no way to the host's loopback")
    port = free_port()
    server = subprocess.Popen([f"{BIN}/server", "127.0.0.1", str(port)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: accepts(port, b"x"), "the server outside")
        path = os.path.join(shell.directory, "outbound")
        shell.do(f"timeout {seconds + HANG_S} wrk -t1 -c8 -d{seconds}s -H 'Connection: close' "
                 f"http://{shell.candidate.outbound}:{port}/ >{path} </dev/null; echo")
        return wrk_rate(pathlib.Path(path).read_text())
    finally:
        server.kill()
        server.wait()


def measure_network(candidate, seconds, directory, results):
    """All that one running candidate can tell; what fails is noted, the rest goes on."""
    with Shell(candidate, 2, directory) as shell:
        (iperf_port, iperf_guest), (port, guest) = shell.forwards
        results.add("memory", candidate, shell.private_kib() / 1024)
        tool = shell.tool()
        shell.spawn(f"{BIN}/server", candidate.listen, guest)
        wait_for(lambda: accepts(port, b"x"), "the server through the forward")

        def fresh_iperf():
            shell.spawn("iperf3", "-s", "-B", candidate.listen, "-p", iperf_guest)
            wait_for(lambda: iperf_is_up(iperf_port), "iperf3 through the forward")

        steps = [
            ("round trips", lambda: round_trips(port, seconds)),
            ("forward in 1", lambda: gbits("127.0.0.1", iperf_port, seconds, 1, False)),
            ("forward out 1", lambda: gbits("127.0.0.1", iperf_port, seconds, 1, True)),
            ("forward in 8", lambda: gbits("127.0.0.1", iperf_port, seconds, 8, False)),
            ("forward out 8", lambda: gbits("127.0.0.1", iperf_port, seconds, 8, True)),
            ("outbound up", lambda: outbound_gbits(shell, seconds, 1, False)),
            ("outbound down", lambda: outbound_gbits(shell, seconds, 1, True)),
            ("outbound up 8", lambda: outbound_gbits(shell, seconds, 8, False)),
            ("outbound down 8", lambda: outbound_gbits(shell, seconds, 8, True)),
            # last: libslirp keeps a descriptor 10 s for each of them
            ("connections", lambda: connections(port, seconds)),
            ("outbound connections", lambda: outbound_connections(shell, seconds)),
        ]
        fresh_iperf()
        if tool:
            results.add("wake-ups", candidate, idle.wake_ups(tool, seconds))
        for metric, measure in steps:
            try:
                results.add(metric, candidate, measure())
            except Failed as failure:
                results.fail(metric, candidate, failure)
                # the server may still wait for the rest of what failed
                shell.end_last()
                fresh_iperf()


def measure_start(candidate):
    """Milliseconds from the start of `true` to its end."""
    command = candidate.command([], ["true"])
    before = time.perf_counter()
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE)
    took_ms = (time.perf_counter() - before) * 1e3
    if result.returncode:
        raise Failed(result.stderr.decode().strip()[-200:] or f"exit status {result.returncode}")
    return took_ms


def measure_end(candidate):
    """Milliseconds from COMMAND's last word to the end of the candidate."""
    popen = subprocess.Popen(candidate.command([], ["date", "+%s.%N"]), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    popen.wait()
    ended = time.time()
    with popen.stdout:
        said = popen.stdout.read()
    if popen.returncode:
        raise Failed(f"exit status {popen.returncode}")
    return (ended - float(said)) * 1e3


def measure_ready(candidate, directory):
    """Milliseconds from the guest's listen() until a client on the host has had an answer, and the
    same from the start of the candidate."""
    port = free_port()
    guest_port = candidate.guest_port(port, 0)
    path = pathlib.Path(directory, "listening")
    path.write_text("")
    guest = ["sh", "-c", f"exec {BIN}/server {candidate.listen} {guest_port} >{path}"]
    started = time.monotonic()
    popen = subprocess.Popen(candidate.command([(port, guest_port)], guest),
                             stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: accepts(port, b"x"), "an answer through the forward")
        answered = time.monotonic()
        listened = float(wait_for(path.read_text, "the server"))
    finally:
        inside = descendants(popen.pid)[1:]
        popen.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(1)
        # some pass no signal on: end what runs inside, last born first
        for pid in reversed(inside):
            if BIN in command_line(pid) or popen.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        popen.wait(5)
    return (answered - listened) * 1e3, (answered - started) * 1e3


# --- the run and its report ------------------------------------------------------------------------

METRICS = {  # key: (title, unit, higher is better)
    "forward in 1": ("forward, host to guest, 1 flow", "Gbit/s", True),
    "forward in 8": ("forward, host to guest, 8 flows", "Gbit/s", True),
    "forward out 1": ("forward, guest to host, 1 flow", "Gbit/s", True),
    "forward out 8": ("forward, guest to host, 8 flows", "Gbit/s", True),
    "outbound up": ("outbound, guest sends", "Gbit/s", True),
    "outbound down": ("outbound, guest receives", "Gbit/s", True),
    "outbound up 8": ("outbound, guest sends, 8 flows", "Gbit/s", True),
    "outbound down 8": ("outbound, guest receives, 8 flows", "Gbit/s", True),
    "outbound connections": ("outbound connections, 8 at a time", "1/s", True),
    "connections": ("connections, 8 at a time", "1/s", True),
    "round trips": ("round trips of 1 byte", "1/s", True),
    "start": ("start: run `true`", "ms", False),
    "end": ("end: COMMAND's last word to the end", "ms", False),
    "ready": ("guest's listen() to first answer", "ms", False),
    "first answer": ("start to first answer", "ms", False),
    "memory": ("private memory, idle, without COMMAND", "MiB", False),
    "wake-ups": ("wake-ups of one with a server that nobody asks", "1/s", False),
    **idle.METRICS,
    **openings.METRICS,
    **mesh.METRICS,
    **far.METRICS,
    **proxy.METRICS,
    **tunnel.METRICS,
}


class Results:
    def __init__(self):
        self.samples = {}  # (metric, candidate) -> [value]
        self.failures = {}  # (metric, candidate) -> text

    def add(self, metric, candidate, value):
        self.samples.setdefault((metric, candidate.name), []).append(value)

    def fail(self, metric, candidate, failure):
        self.failures[metric, candidate.name] = str(failure)
        print(f"  {candidate.name}: {metric}: {failure}", file=sys.stderr)

    def works(self, metric, candidate):
        return (metric, candidate.name) not in self.failures

    def medians(self):
        table = {}
        for (metric, name), values in self.samples.items():
            table.setdefault(metric, {})[name] = statistics.median(values)
        return {m: table[m] for m in METRICS if m in table}


def wanted(candidates, only):
    chosen = [c for c in candidates if not only or c.name == "loopback" or any(o in c.name for o in only)]
    for candidate in chosen:
        if candidate.needs and not shutil.which(candidate.needs):
            print(f"  {candidate.name}: {candidate.needs} is not installed", file=sys.stderr)
    return [c for c in chosen if not c.needs or shutil.which(c.needs)]


# what a candidate that does not work may raise
GUARDED = (Failed, OSError, ValueError, KeyError, subprocess.SubprocessError)


def run_steps(steps, candidate, results):
    for what, measure in steps:
        print(f"  {what}", file=sys.stderr)
        try:
            measure()
        except GUARDED as failure:
            results.fail(what, candidate, failure)


def run_all(options, directory):
    results = Results()
    for turn in range(options.rounds):
        for candidate in wanted(network_candidates(options.before), options.only):
            print(f"  round {turn + 1}: {candidate.name}", file=sys.stderr)
            try:
                measure_network(candidate, options.seconds, directory, results)
            except GUARDED as failure:
                results.fail("all", candidate, failure)

        for candidate in wanted(network_candidates(options.before), options.only):
            run_steps(openings.steps(options.seconds, directory, results, candidate), candidate, results)

        meshes = wanted(mesh_candidates(options.before), options.only)
        for candidate in [c for c in meshes if len(meshes) > 1]:
            run_steps([step for part in (mesh, far)
                       for step in part.steps(options.seconds, directory, results, candidate, turn == 0)],
                      candidate, results)

        for candidate in wanted(proxy_candidates(options.before), options.only):
            run_steps(proxy.steps(options.seconds, directory, results, candidate), candidate, results)

        tunnels = wanted(tunnel_candidates(options.before), options.only)
        for candidate in [c for c in tunnels if len(tunnels) > 1]:
            run_steps(tunnel.steps(options.seconds, directory, results, candidate), candidate, results)

    print("  start-up", file=sys.stderr)
    starters = wanted(start_candidates(options.before), options.only)
    for _ in range(options.start_runs):
        for candidate in [c for c in starters if results.works("start", c)]:
            try:
                results.add("start", candidate, measure_start(candidate))
                results.add("end", candidate, measure_end(candidate))
            except GUARDED as failure:
                results.fail("start", candidate, failure)
    for candidate in [c for c in starters if results.works("start", c)]:
        run_steps(idle.end_steps(results, candidate), candidate, results)
    for candidate in wanted(idle_candidates(options.before), options.only):
        if candidate.is_ours:
            run_steps(idle.steps(results, candidate), candidate, results)
    launchers = wanted(launch_candidates(options.before), options.only)
    for _ in range(options.ready_runs):
        for candidate in [c for c in launchers if results.works("ready", c)]:
            try:
                ready_ms, all_ms = measure_ready(candidate, directory)
                results.add("ready", candidate, ready_ms)
                results.add("first answer", candidate, all_ms)
            except GUARDED as failure:
                results.fail("ready", candidate, failure)
    return results


def digits(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def best_peer(row, higher):
    """The best value of the other tools. Their launchers only: a bare start is no peer."""
    peers = [v for n, v in row.items() if n not in ("loopback", "unshare -Urn")
             and not n.startswith(("nswrap", "before"))]
    return (max if higher else min)(peers) if peers else None


def report(medians, failures, out=sys.stdout):
    for metric, row in medians.items():
        title, unit, higher = METRICS[metric]
        base, peer = row.get("loopback"), best_peer(row, higher)
        print(f"\n{title} ({unit}; {'more' if higher else 'less'} is better)", file=out)
        for name, value in row.items():
            line = f"  {name:18} {digits(value):>10}"
            if base and name != "loopback" and "memory" not in metric:
                line += f"  {value / base:7.2f} x loopback"
            before = row.get(name.replace("nswrap", "before"))
            if before and name.startswith("nswrap"):
                line += f"  {value / before:6.2f} x before"
            if peer and name.startswith("nswrap"):
                line += f"  {value / peer:6.2f} x best peer"
            if name == "nswrap slirp" and "slirp4netns" in row:
                line += f"  {value / row['slirp4netns']:6.2f} x slirp4netns"
            print(line, file=out)
    if failures:
        print("\nfailed, at least once", file=out)
    for (metric, name), text in failures.items():
        print(f"  {name:18} {METRICS.get(metric, [metric])[0]}: {text}", file=out)


def main():
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--seconds", type=int, help="length of one measurement (2)")
    parser.add_argument("--rounds", type=int, help="how often all is repeated (3)")
    parser.add_argument("--only", action="append", metavar="NAME",
                        help="only candidates with NAME in their name, and loopback; repeatable")
    parser.add_argument("--before", metavar="PROGRAM", help="an earlier build of nswrap, measured as well")
    parser.add_argument("--json", metavar="FILE", help="write medians and all samples")
    parser.add_argument("--svg", metavar="FILE", help="draw a bar chart")
    options = parser.parse_args()
    options.seconds = options.seconds or (1 if options.quick else 2)
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.start_runs = 10 if options.quick else START_RUNS
    options.ready_runs = 3 if options.quick else READY_RUNS

    with tempfile.TemporaryDirectory(prefix="nswrap-bench.") as directory:
        # rootlesskit and nswrap keep their sockets here
        os.environ["XDG_RUNTIME_DIR"] = os.path.join(directory, "run")
        os.mkdir(os.environ["XDG_RUNTIME_DIR"], 0o700)
        results = run_all(options, directory)
    medians = results.medians()
    report(medians, results.failures)
    if options.json:
        failures = {f"{m} / {n}": text for (m, n), text in results.failures.items()}
        samples = {f"{m} / {n}": v for (m, n), v in results.samples.items()}
        pathlib.Path(options.json).write_text(json.dumps(
            {"medians": medians, "samples": samples, "failures": failures}, indent=1) + "\n")
    if options.svg:
        pathlib.Path(options.svg).write_text(bar_chart(medians, METRICS))
    if any(name.startswith("nswrap") for _, name in results.failures):
        sys.exit(1)


if __name__ == "__main__":
    main()
