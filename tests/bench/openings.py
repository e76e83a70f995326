# SPDX-License-Identifier: Apache-2.0
"""bench/openings - forwards that are open to the network, asked from an address of this machine

The same tools as for loopback listeners; with nswrap, clients from there come as themselves."""

import copy

import mesh
from probes import BIN, accepts, connections, gbits, iperf_is_up, wait_for
from shell import Shell

METRICS = {  # key: (title, unit, higher is better)
    "open in 1": ("forward open to the network, host to guest, 1 flow", "Gbit/s", True),
    "open out 1": ("forward open to the network, guest to host, 1 flow", "Gbit/s", True),
    "open connections": ("connections to a forward open to the network, 8 at a time", "1/s", True),
}


def measure(seconds, directory, results, candidate):
    host, opened = mesh.own_address(), copy.copy(candidate)
    opened.bind = "0.0.0.0"
    opened.listen = "0.0.0.0"
    with Shell(opened, 2, directory) as shell:
        (iperf_port, iperf_guest), (port, guest) = shell.forwards
        shell.spawn(f"{BIN}/server", opened.listen, guest)
        shell.spawn("iperf3", "-s", "-B", opened.listen, "-p", iperf_guest)
        wait_for(lambda: iperf_is_up(iperf_port, host), "iperf3 through the forward")
        # last: iperf3 listens anew after the probe
        wait_for(lambda: accepts(port, b"x", host), "the server through the forward")
        results.add("open in 1", candidate, gbits(host, iperf_port, seconds))
        results.add("open out 1", candidate, gbits(host, iperf_port, seconds, reverse=True))
        results.add("open connections", candidate, connections(port, seconds, host))


def steps(seconds, directory, results, candidate):
    return [(f"{candidate.name}: open to the network",
             lambda: measure(seconds, directory, results, candidate))]
