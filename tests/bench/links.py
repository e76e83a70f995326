# SPDX-License-Identifier: Apache-2.0
"""bench/links - links of a mesh that fail: how long until it is noticed, and until new connections work"""

import contextlib
import os
import pathlib
import signal
import subprocess
import time

from probes import BIN, Failed, accepts, descendants, iperf_client, wait_for

FAR = "127.0.42.112"
WORKS_S = 90  # what takes longer has failed
SLOW = ["-d", "15", "-r", "4", "-b", "64"]
LOSSY = ["-d", "15", "-r", "100", "-s", "400", "-e", "1000"]  # what losses are to what is in a TCP connection

FAULTS = {  # what happens: (its title, the link)
    "agent killed": ("the agent is killed with -9", []),
    "link killed": ("the link is killed with -9", []),
    "agent stopped": ("the agent is stopped", []),
    "blackhole": ("the link passes nothing on, and does not end", []),
    "slow": ("4 Mbit/s and 30 ms with 8 flows, and the agent is killed with -9", SLOW),
    "lossy": ("100 Mbit/s, 30 ms and 0.4 s of each second lost, with 8 flows, and the agent is killed with -9", LOSSY),
    "manager killed": ("the manager is killed with -9 and started again", []),
}
METRICS = {
    **{f"fault {fault} noticed": (f"{title}: until the manager says so", "ms", False)
       for fault, (title, _) in FAULTS.items() if fault != "manager killed"},
    **{f"fault {fault} works": (f"{title}: until new connections work", "ms", False)
       for fault, (title, _) in FAULTS.items()},
}


def link_of(mesh):
    return mesh.status()["far"]["pid"]


def agent_of(mesh):
    for pid in descendants(link_of(mesh)):
        with contextlib.suppress(OSError):
            if pathlib.Path(f"/proc/{pid}/comm").read_text() == "nswrap: agent\n":
                return pid
    raise Failed("there is no agent")


def strike(mesh, fault):
    """Returns what is to be continued in the end, or 0."""
    pid = link_of(mesh) if fault in ("link killed", "blackhole") else agent_of(mesh)
    stops = fault in ("agent stopped", "blackhole")
    os.kill(pid, signal.SIGSTOP if stops else signal.SIGKILL)
    return pid if stops else 0


def ms_since(began):
    return (time.monotonic() - began) * 1e3


def works(port):
    return accepts(port, b"x", FAR)


@contextlib.contextmanager
def bulk(port, is_wanted):
    popen = subprocess.Popen(iperf_client(FAR, port, WORKS_S, 8, False), stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL) if is_wanted else None
    try:
        if popen:
            time.sleep(3)  # its queues are full then
        yield
    finally:
        if popen:
            popen.kill()
            popen.wait()


def measure_fault(fault, mesh, ports, results, candidate):
    wait_for(lambda: works(ports[0]), "the first connection")
    with bulk(ports[1], FAULTS[fault][1]):
        known = mesh.status()["far"]["restarts"]
        began = time.monotonic()
        stopped = strike(mesh, fault)
        try:
            wait_for(lambda: (now := mesh.status()["far"])["state"] != "ready" or now["restarts"] > known,
                     "the manager", WORKS_S)
            results.add(f"fault {fault} noticed", candidate, ms_since(began))
            wait_for(lambda: works(ports[0]), "new connections", WORKS_S)
            results.add(f"fault {fault} works", candidate, ms_since(began))
        finally:
            with contextlib.suppress(ProcessLookupError):
                if stopped:
                    os.kill(stopped, signal.SIGCONT)


def measure_manager(mesh, again, ports, results, candidate):
    wait_for(lambda: works(ports[0]), "the first connection")
    mesh.popen.kill()
    mesh.popen.wait()
    again.name = mesh.name
    began = time.monotonic()
    with again:
        wait_for(lambda: works(ports[0]), "new connections", WORKS_S)
        results.add("fault manager killed works", candidate, ms_since(began))


def server_of(shell):
    """An answering server and iperf3 inside. Returns their ports."""
    shell.spawn(f"{BIN}/server", "0.0.0.0", 5202)
    shell.spawn("iperf3", "-s", "-p", 5201)
    return 5202, 5201


def manifest(far, fault):
    link = [f"{BIN}/../tools/wanpipe", *(FAULTS[fault][1] or ["-r", "1000"]), "--"]
    return {"near": {"vip": "127.0.42.111"},
            "far": {"vip": FAR, "cmd": link + far.agent(), "ports": [f"{port}:127.0.0.1:{port}" for port in (5202, 5201)]}}
