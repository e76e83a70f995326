# SPDX-License-Identifier: Apache-2.0
"""bench/far - from a sandbox to another machine: to a mesh's plain host, with a stack or without one, and by an exit

Both machines are this one. Over the long link, `wanpipe` stands between them."""

import contextlib
import shlex

import mesh
from probes import BIN, HANG_S, Failed, free_port
from shell import Shell

LONG = [f"{BIN}/../tools/wanpipe", "-d", str(mesh.WAN_ONE_WAY_MS), "-r", str(mesh.WAN_MBIT), "--"]

METRICS = {  # key: (title, unit, higher is better)
    f"mesh wan host {flows}": (f"sandbox to another machine, {2 * mesh.WAN_ONE_WAY_MS} ms and "
                               f"{mesh.WAN_MBIT} Mbit/s, {text}", "Mbit/s", True)
    for flows, text in ((1, "1 flow"), (8, "8 flows"))}


class Guest(mesh.Member):
    """A sandbox whose network is that of an exit."""

    def __init__(self, program, link):
        super().__init__(program, "guest")
        self.link = link

    def command(self, forwards, guest):
        link = "exec:" + shlex.join([*self.link, self.program, "exit"])
        return [self.program, "-q", "-n", self.name, "--via", link, "--", *guest]


@contextlib.contextmanager
def by_exit(candidate, directory, link):
    """Yields a shell, and the address and the ports at which its programs have mesh.servers."""
    address = mesh.own_address()
    with mesh.servers(address) as ports, Shell(Guest(candidate.program, link), 0, directory) as client:
        yield client, address, ports


@contextlib.contextmanager
def by_mesh(candidate, directory, link):
    box, listen = mesh.Member(candidate.program, "box"), (free_port(), free_port())
    with mesh.servers("127.0.0.1") as targets, Shell(box, 0, directory) as client:
        hosts = {"box": {"vip": "127.0.42.105", "cmd": box.agent()},
                 "far": {"vip": mesh.SERVER, "cmd": [*link, *mesh.plain_agent(candidate)],
                         "loopback": {"disable": True},
                         "ports": [f"{port}:127.0.0.1:{target}" for port, target in zip(listen, targets)]}}
        with mesh.Mesh(candidate.program, directory, hosts):
            yield client, mesh.SERVER, listen


def measure(metric, per_gbit, seconds, link, directory, results, candidate):
    way = by_exit if candidate.driver == "exit" else by_mesh
    for flows in (1, 8):
        # iperf3 listens anew after each client, and this is not waited for from afar
        with way(candidate, directory, link) as (client, address, (iperf, answering)):
            answer = client.do(f"curl -s -m {HANG_S} --noproxy '*' http://{address}:{answering}/ >answer; echo $?")
            if answer != "0":
                raise Failed(f"no answer from afar: curl ended with status {answer}")
            value = mesh.shell_gbits(client, address, iperf, seconds, flows)
            results.add(f"{metric} {flows}", candidate, value * per_gbit)


def steps(seconds, directory, results, candidate, is_first):
    """What there is to measure of one candidate in one round."""
    if not candidate.is_ours:
        return []
    found = [(f"{candidate.name}: to another machine",
              lambda: measure("mesh sandbox host", 1, seconds, [], directory, results, candidate))]
    if is_first:
        found.append((f"{candidate.name}: the same over a long link",
                      lambda: measure("mesh wan host", 1e3, mesh.WAN_S, LONG, directory, results, candidate)))
    return found
