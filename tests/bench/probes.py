# SPDX-License-Identifier: Apache-2.0
"""bench/probes - what all measurements need: processes, waiting, and clients of a server"""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import time

NSWRAP = os.path.abspath(os.environ.get("NSWRAP", "./nswrap"))
BIN = os.path.abspath(os.environ.get("BENCH_BIN", "build/tests/bench"))
PATIENCE_S = 15
HANG_S = 8  # longer than asked for


class Failed(Exception):
    """Something that does not work here; the rest goes on."""


def wait_for(condition, what, limit_s=PATIENCE_S):
    end = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > end:
            raise Failed(f"waited in vain for {what}")
        time.sleep(0.0005)
    return value


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def accepts(port, greeting=b"", host="127.0.0.1"):
    """Somebody accepts on port and, given a greeting, sends it back."""
    try:
        with socket.create_connection((host, port), timeout=1) as s:
            s.sendall(greeting)
            return not greeting or s.recv(len(greeting)) == greeting
    except OSError:
        return False


def listens(port):
    """Somebody listens on port by IPv4. Nobody is asked: iperf3 resets who comes while it ends with a probe."""
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[3] == "0A" and int(row[1].split(":")[1], 16) == port for row in rows)


def descendants(pid):
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
            parents.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry))
    found = [pid]
    for parent in found:
        found += parents.get(parent, [])
    return found


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def private_kib(pids):
    """Private memory of these processes."""
    total = 0
    for pid in pids:
        try:
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        except PermissionError:
            # its memory is closed to us: what is resident and no file is an upper bound
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            total += int(re.search(r"RssAnon:\s+(\d+)", status).group(1))
            continue
        total += sum(map(int, re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+)", text, re.M)))
    return total


def resident_kib(pids):
    """What is resident of these processes, shared libraries in each."""
    status = "".join(pathlib.Path(f"/proc/{pid}/status").read_text() for pid in pids)
    return sum(map(int, re.findall(r"^VmRSS:\s+(\d+)", status, re.M)))


def iperf_gbits(text):
    try:
        end = json.loads(text)
    except ValueError:
        raise Failed("iperf3 hangs") from None
    if "error" in end:
        raise Failed(end["error"])
    return end["end"]["sum_received"]["bits_per_second"] / 1e9


def iperf_client(host, port, seconds, flows, reverse):
    line = ["iperf3", "-J", "-c", host, "-p", str(port), "-t", str(seconds), "-P", str(flows)]
    return line + (["-R"] if reverse else [])


def iperf_is_up(port, host="127.0.0.1"):
    """A probe that iperf3 takes for a test that ended at once."""
    result = subprocess.run(["iperf3", "-c", host, "-p", str(port), "-n", "1K"], capture_output=True,
                            timeout=PATIENCE_S)
    return result.returncode == 0


def output_of(command, limit_s):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=limit_s).stdout
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0]} hangs") from None


def gbits(host, port, seconds, flows=1, reverse=False):
    """Throughput to the iperf3 at this address, or from there."""
    client = iperf_client(host, port, seconds, flows, reverse)
    return iperf_gbits(output_of(client, seconds + HANG_S))


def wrk_rate(text):
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if not found or float(found.group(1)) == 0:
        raise Failed("no connection")
    return float(found.group(1))


def connections(port, seconds, host="127.0.0.1"):
    wrk = output_of(["wrk", "-t1", "-c8", f"-d{seconds}s", "-H", "Connection: close",
                     f"http://{host}:{port}/"], seconds + HANG_S)
    return wrk_rate(wrk)


def round_trips(port, seconds, host="127.0.0.1"):
    trips = output_of([f"{BIN}/pingpong", host, str(port), str(seconds)], seconds + HANG_S)
    if not trips:
        raise Failed("no connection")
    return float(trips)


