# SPDX-License-Identifier: Apache-2.0
"""bench/idle - what it costs that nothing happens, and that many come to their end"""

import pathlib
import re
import subprocess
import time

from probes import BIN, Failed, accepts, descendants, free_port, wait_for

ENDS, MANY, WAITING_S, LOOK_S, SETTLE_S = 200, 100, 60, 5, 2

METRICS = {  # key: (title, unit, higher is better)
    "ends": (f"`true`, {ENDS} times one after the other", "s", False),
    "many wake-ups": (f"wake-ups of {MANY} with a server each that nobody asks", "1/s", False),
    "waiting": (f"processor time of one whose server does not come for {WAITING_S} s", "ms", False),
}


def switches(pid):
    """How often it has gone to sleep; None: it is gone."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M).group(1))
    except OSError:
        return None


def wake_ups(pids, seconds):
    """Of these processes, a second, when they have done what they had to."""
    time.sleep(SETTLE_S)
    before = {pid: switches(pid) for pid in pids}
    time.sleep(seconds)
    after = {pid: switches(pid) for pid in pids}
    return sum(after[p] - before[p] for p in pids if None not in (before[p], after[p])) / seconds


def cpu_ms(pid):
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def own(popen):
    """The processes of one of ours: supervisor, init, net, witness."""
    return [pid for pid in descendants(popen.pid)
            if pathlib.Path(f"/proc/{pid}/comm").read_text().startswith("nswrap")]


def start(candidate, guest):
    port = free_port()
    return port, subprocess.Popen(candidate.command([(port, 5201)], guest), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def end(running):
    for _, popen in running:
        popen.terminate()
    for _, popen in running:
        popen.wait()


def measure_ends(results, candidate):
    command = candidate.command([], ["true"])
    started = time.monotonic()
    for _ in range(ENDS):
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode:
            raise Failed("one failed")
    results.add("ends", candidate, time.monotonic() - started)


def measure_many(results, candidate):
    running = [start(candidate, [f"{BIN}/server", "127.0.0.1", "5201"]) for _ in range(MANY)]
    try:
        for port, _ in running:
            wait_for(lambda p=port: accepts(p, b"x"), "a server", limit_s=60)
        results.add("many wake-ups", candidate,
                    wake_ups([pid for _, popen in running for pid in own(popen)], LOOK_S))
    finally:
        end(running)


def measure_waiting(results, candidate):
    running = [start(candidate, ["sleep", "1000"])]
    try:
        time.sleep(WAITING_S)
        results.add("waiting", candidate, sum(map(cpu_ms, own(running[0][1]))))
    finally:
        end(running)


def end_steps(results, candidate):
    return [(f"{candidate.name}: {ENDS} ends", lambda: measure_ends(results, candidate))]


def steps(results, candidate):
    return [(f"{candidate.name}: {MANY} idle ones", lambda: measure_many(results, candidate)),
            (f"{candidate.name}: a minute's wait", lambda: measure_waiting(results, candidate))]
