# SPDX-License-Identifier: Apache-2.0
"""bench/mesh - sandboxes and hosts joined by `nswrap mesh`, beside plain loopback in the same run

Given a NoRouter binary (the environment's NOROUTER), it runs the same two hosts."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import time

import links
from probes import (BIN, HANG_S, Failed, accepts, descendants, free_port, gbits, iperf_client,
                    iperf_gbits, listens, private_kib, resident_kib, round_trips, wait_for)
from shell import Shell

MANY = 50
WAN_S = 10  # a flow needs a while to fill a long link
WAN_MBIT, WAN_ONE_WAY_MS = 1000, 25
SERVER = "127.0.42.104"

METRICS = {  # key: (title, unit, higher is better)
    "mesh sandboxes 1": ("mesh, sandbox to sandbox, 1 flow", "Gbit/s", True),
    "mesh sandboxes 8": ("mesh, sandbox to sandbox, 8 flows", "Gbit/s", True),
    "mesh sandbox trips": ("mesh, round trips sandbox to sandbox", "1/s", True),
    "mesh hosts 1": ("mesh, host to host through loopback listeners, 1 flow", "Gbit/s", True),
    "mesh hosts 8": ("mesh, host to host through loopback listeners, 8 flows", "Gbit/s", True),
    "mesh host trips": ("mesh, round trips host to host", "1/s", True),
    "mesh sandbox host 1": ("sandbox to another machine, 1 flow", "Gbit/s", True),
    "mesh sandbox host 8": ("sandbox to another machine, 8 flows", "Gbit/s", True),
    "mesh routed 1": ("mesh, sandbox to a network behind a host, 1 flow", "Gbit/s", True),
    "mesh routed 8": ("mesh, sandbox to a network behind a host, 8 flows", "Gbit/s", True),
    "mesh wan 1": (f"mesh, {2 * WAN_ONE_WAY_MS} ms and {WAN_MBIT} Mbit/s, 1 flow", "Mbit/s", True),
    "mesh wan 8": (f"mesh, {2 * WAN_ONE_WAY_MS} ms and {WAN_MBIT} Mbit/s, 8 flows", "Mbit/s", True),
    "mesh wan back 1": (f"mesh, {2 * WAN_ONE_WAY_MS} ms and {WAN_MBIT} Mbit/s, 1 flow back", "Mbit/s", True),
    "mesh agent memory": ("private memory of an idle agent, its stack process included", "MiB", False),
    "mesh manager memory": ("private memory of an idle manager of 2 hosts", "MiB", False),
    "mesh hosts memory": ("resident memory of an idle mesh of two hosts, all its processes", "MiB", False),
    **links.METRICS,
    "mesh many ready": (f"{MANY} hosts: start to all ready", "ms", False),
    "mesh many memory": (f"private memory of the manager of {MANY} hosts", "MiB", False),
}


class Member:
    """A sandbox for a mesh, as shell.Shell wants it."""

    def __init__(self, program, name):
        self.program = program
        self.name = f"{name}-{os.getpid()}-{free_port()}"

    def command(self, forwards, guest):
        return [self.program, "-q", "-n", self.name, "--network", "none", "--", *guest]

    def after_start(self, popen, forwards, directory):
        return []

    def agent(self):
        return [self.program, "exec", self.name, self.program]


class Mesh:
    """A running manager; its hosts are ready."""

    def __init__(self, program, directory, hosts, **top):
        self.program = program
        self.name = f"bench-{os.getpid()}-{free_port()}"
        self.manifest = pathlib.Path(directory, f"{self.name}.json")
        # JSON is YAML
        self.manifest.write_text(json.dumps({"hosts": hosts, **top}))
        self.count = len(hosts)

    def command(self):
        return [self.program, "mesh", "-q", "-n", self.name, str(self.manifest)]

    def __enter__(self):
        self.started = time.monotonic()
        self.popen = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            wait_for(self.is_ready, "the hosts of the mesh")
        except BaseException:
            self.__exit__()
            raise
        self.took_ms = (time.monotonic() - self.started) * 1e3
        return self

    def status(self):
        """What is said of each host, by its name."""
        if self.popen.poll() is not None:
            raise Failed(f"the manager ended with status {self.popen.returncode}")
        answer = subprocess.run([self.program, "mesh", "status", "--json", self.name], capture_output=True)
        return {h["name"]: h for h in json.loads(answer.stdout)["hosts"]} if answer.returncode == 0 else {}

    def is_ready(self):
        hosts = self.status()
        return len(hosts) == self.count and all(h["state"] == "ready" for h in hosts.values())

    def __exit__(self, *_):
        self.popen.terminate()
        try:
            self.popen.wait(5)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


class NoRouterMesh(Mesh):
    """The same of NoRouter, which has no status to ask: it is ready when `answers` says so."""

    def __init__(self, program, directory, hosts, answers):
        super().__init__(program, directory, hosts)
        self.answers = answers

    def command(self):
        return [self.program, str(self.manifest)]

    def is_ready(self):
        if self.popen.poll() is not None:
            raise Failed(f"it ended with status {self.popen.returncode}")
        return self.answers()


class NoRouter:
    """A candidate: NoRouter's manager and agents."""

    name = driver = "norouter"
    is_ours = False

    def __init__(self, program):
        self.needs = self.program = program


def shell_gbits(shell, host, port, seconds, flows=1, reverse=False):
    """Throughput of a client inside."""
    path = pathlib.Path(shell.directory, f"iperf-{shell.popen.pid}")
    client = " ".join(iperf_client(host, port, seconds, flows, reverse))
    shell.do(f"timeout {seconds + HANG_S} {client} >{path} </dev/null; echo")
    return iperf_gbits(path.read_text())


def shell_trips(shell, host, port, seconds):
    return float(shell.do(f"timeout {seconds + HANG_S} {BIN}/pingpong {host} {port} {seconds}") or 0)


def listens_inside(shell, port):
    shell.do(f"while ! ss -Hltn sport = :{port} | grep -q .; do :; done; echo")


@contextlib.contextmanager
def servers(address):
    """iperf3 and the answering server on the host. Yields their ports."""
    ports = free_port(), free_port()
    running = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for command in (["iperf3", "-s", "-B", address, "-p", str(ports[0])],
                        [f"{BIN}/server", address, str(ports[1])])]
    try:
        for port in ports:
            wait_for(lambda: listens(port), "a server")
        yield ports
    finally:
        for popen in running:
            popen.kill()
            popen.wait()


def measure_loopback(seconds, results, candidate):
    with servers("127.0.0.1") as (iperf, answering):
        for kind in ("sandboxes", "hosts", "sandbox host", "routed"):
            for flows in (1, 8):
                results.add(f"mesh {kind} {flows}", candidate, gbits("127.0.0.1", iperf, seconds, flows))
        for kind in ("sandbox", "host"):
            results.add(f"mesh {kind} trips", candidate, round_trips(answering, seconds))


def measure_sandboxes(seconds, directory, results, candidate):
    one, two = Member(candidate.program, "one"), Member(candidate.program, "two")
    hosts = {"one": {"vip": "127.0.42.101", "cmd": one.agent()},
             "two": {"vip": "127.0.42.102", "cmd": two.agent(), "anyPort": True}}
    with Shell(one, 0, directory) as client, Shell(two, 0, directory) as server, \
            Mesh(candidate.program, directory, hosts) as mesh:
        tool = [pid for pid in descendants(mesh.popen.pid) if pid != mesh.popen.pid]
        results.add("mesh agent memory", candidate, private_kib(tool) / 2 / 1024)
        results.add("mesh manager memory", candidate, private_kib([mesh.popen.pid]) / 1024)
        server.spawn("iperf3", "-s", "-p", 5201)
        server.spawn(f"{BIN}/server", "0.0.0.0", 5202)
        for port in 5201, 5202:
            listens_inside(server, port)
        results.add("mesh sandbox trips", candidate, shell_trips(client, "127.0.42.102", 5202, seconds))
        for flows in (1, 8):
            results.add(f"mesh sandboxes {flows}", candidate,
                        shell_gbits(client, "127.0.42.102", 5201, seconds, flows))


def plain_agent(candidate):
    """The command of a plain host."""
    return ["env", candidate.program, *(["agent", "--stack", "streams"] if candidate.driver == "streams" else [])]


def two_hosts(candidate, listen, iperf, answering):
    """On one machine only one of two hosts can have the loopback listeners."""
    return {"client": {"vip": "127.0.42.103", "cmd": plain_agent(candidate)},
            "server": {"vip": SERVER, "cmd": plain_agent(candidate), "loopback": {"disable": True},
                       "ports": [f"{listen[0]}:127.0.0.1:{iperf}", f"{listen[1]}:127.0.0.1:{answering}"]}}


def measure_between(listen, seconds, results, candidate):
    results.add("mesh host trips", candidate, round_trips(listen[1], seconds, SERVER))
    for flows in (1, 8):
        results.add(f"mesh hosts {flows}", candidate, gbits(SERVER, listen[0], seconds, flows))


def measure_hosts(seconds, directory, results, candidate):
    with servers("127.0.0.1") as (iperf, answering):
        listen = free_port(), free_port()
        with Mesh(candidate.program, directory, two_hosts(candidate, listen, iperf, answering)) as mesh:
            results.add("mesh hosts memory", candidate, resident_kib(descendants(mesh.popen.pid)) / 1024)
            measure_between(listen, seconds, results, candidate)


def own_address():
    """An address of this machine that others would use."""
    found = re.search(r"inet ([\d.]+)/\d+ .*scope global", subprocess.run(
        ["ip", "-4", "addr"], capture_output=True, text=True).stdout)
    if not found:
        raise Failed("this machine has no address but loopback's")
    return found[1]


def measure_routed(seconds, directory, results, candidate):
    """What the sandbox has no other way to: an address of this machine."""
    one, address = Member(candidate.program, "client"), own_address()
    hosts = {"gate": {"vip": SERVER, "loopback": {"disable": True}},
             "boxed": {"vip": "127.0.42.105", "cmd": one.agent()}}
    with Shell(one, 0, directory) as client, \
            Mesh(candidate.program, directory, hosts, routes=[{"to": [address], "via": "gate"}]):
        for flows in (1, 8):
            # iperf3 listens anew after each client, and this is not waited for from afar
            with servers(address) as (iperf, _):
                results.add(f"mesh routed {flows}", candidate,
                            shell_gbits(client, address, iperf, seconds, flows))


def measure_norouter(seconds, directory, results, candidate):
    with servers("127.0.0.1") as (iperf, answering):
        listen = free_port(), free_port()
        with NoRouterMesh(candidate.program, directory, two_hosts(candidate, listen, iperf, answering),
                          lambda: accepts(listen[1], b"x", SERVER)) as mesh:
            results.add("mesh hosts memory", candidate, resident_kib(descendants(mesh.popen.pid)) / 1024)
            measure_between(listen, seconds, results, candidate)


def measure_wan(directory, results, candidate):
    near, far = Member(candidate.program, "near"), Member(candidate.program, "far")
    link = [f"{BIN}/../tools/wanpipe", "-d", str(WAN_ONE_WAY_MS), "-r", str(WAN_MBIT), "--"]
    hosts = {"near": {"vip": "127.0.42.101", "cmd": near.agent()},
             "far": {"vip": "127.0.42.102", "cmd": link + far.agent(), "anyPort": True}}
    with Shell(near, 0, directory) as client, Shell(far, 0, directory) as server, \
            Mesh(candidate.program, directory, hosts):
        server.spawn("iperf3", "-s", "-p", 5201)
        listens_inside(server, 5201)
        for key, flows, reverse in ("wan 1", 1, False), ("wan 8", 8, False), ("wan back 1", 1, True):
            value = shell_gbits(client, "127.0.42.102", 5201, WAN_S, flows, reverse)
            results.add(f"mesh {key}", candidate, value * 1e3)


def measure_links(directory, results, candidate):
    for fault in links.FAULTS:
        far = Member(candidate.program, "far")
        with Shell(far, 0, directory) as server:
            ports = links.server_of(server)
            for port in ports:
                listens_inside(server, port)
            hosts = links.manifest(far, fault)
            with Mesh(candidate.program, directory, hosts) as mesh:
                if fault == "manager killed":
                    links.measure_manager(mesh, Mesh(candidate.program, directory, hosts), ports, results,
                                          candidate)
                else:
                    links.measure_fault(fault, mesh, ports, results, candidate)


def measure_many(directory, results, candidate):
    hosts = {f"h{i}": {"vip": f"127.0.43.{i + 1}", "loopback": {"disable": True}} for i in range(MANY)}
    with Mesh(candidate.program, directory, hosts) as mesh:
        results.add("mesh many ready", candidate, mesh.took_ms)
        results.add("mesh many memory", candidate, private_kib([mesh.popen.pid]) / 1024)


def steps(seconds, directory, results, candidate, is_first):
    """What there is to measure of one candidate in one round."""
    if isinstance(candidate, NoRouter):
        return [("norouter: hosts", lambda: measure_norouter(seconds, directory, results, candidate))]
    if not candidate.is_ours:
        return [("mesh: loopback", lambda: measure_loopback(seconds, results, candidate))]
    hosts = (f"{candidate.name}: hosts", lambda: measure_hosts(seconds, directory, results, candidate))
    if candidate.driver != "mesh":
        return [hosts] if candidate.driver == "streams" else []
    found = [
        (f"{candidate.name}: sandboxes", lambda: measure_sandboxes(seconds, directory, results, candidate)),
        hosts,
        (f"{candidate.name}: routed", lambda: measure_routed(seconds, directory, results, candidate)),
    ]
    if is_first:  # these take long and hardly vary
        found += [
            (f"{candidate.name}: a long link", lambda: measure_wan(directory, results, candidate)),
            (f"{candidate.name}: links that fail", lambda: measure_links(directory, results, candidate)),
            (f"{candidate.name}: {MANY} hosts", lambda: measure_many(directory, results, candidate)),
        ]
    return found
