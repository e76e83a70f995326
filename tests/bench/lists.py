#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench/lists - a mesh whose hosts come from a list: until all are ready, and what one more costs

lists.py [HOSTS] [NSWRAP] [listen]. Each host is an agent without a stack in a network of its own, as a pod is, which
offers one port. With "listen" each listens at the ports of all others, too, N * N sockets that one kernel has then and N
kernels would share elsewhere; without it loopback is disabled.
"""

import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time


def private_kib(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(map(int, re.findall(r"^Private_\w+: +(\d+)", text, re.M)))


def cpu_s(pids):
    ticks = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def status(nswrap, name):
    done = subprocess.run([nswrap, "mesh", "status", "--json", name], capture_output=True, check=True)
    return {host["name"]: host for host in json.loads(done.stdout)["hosts"]}


def wait_ready(nswrap, name, count, log):
    while f"all {count} hosts of" not in log.read_text():
        time.sleep(0.05)
    return time.monotonic()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    nswrap = os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else "nswrap")
    with tempfile.TemporaryDirectory() as directory:
        here = pathlib.Path(directory)
        names, path, log = here / "names", here / "many.yaml", here / "log"
        agent = f"ip link set lo up && exec {nswrap} agent --automated --stack streams"
        path.write_text(json.dumps({"hostsFrom": [{
            "list": ["cat", str(names)], "every": "1s", "vips": "127.0.64.0/18",
            "cmd": ["unshare", "-rn", "sh", "-c", agent, "{name}"],
            "stateDir": {"disable": True}, "loopback": {"disable": "listen" not in sys.argv}, "ports": ["29500:127.0.0.1:29500"]}]}))
        names.write_text("".join(f"pod/worker-{n}\n" for n in range(count)))
        began = time.monotonic()
        with open(log, "wb") as out:
            mesh = subprocess.Popen([nswrap, "mesh", "-n", "many", str(path)], stderr=out, stdin=subprocess.DEVNULL)
        try:
            until = wait_ready(nswrap, "many", count, log) - began
            before = status(nswrap, "many")
            agents = [host["pid"] for host in before.values()]
            print(f"{count} hosts ready after {until:.1f} s")
            print(f"bytes to a host: {statistics.median(h['out']['bytes'] for h in before.values()):.0f}")
            print(f"private memory: manager {private_kib(mesh.pid)} KiB, "
                  f"an agent {statistics.median(map(private_kib, agents))} KiB")
            cpu = cpu_s(agents), cpu_s([mesh.pid])
            idle_from = time.monotonic()
            time.sleep(10)
            seconds = time.monotonic() - idle_from
            rest = (cpu_s(agents) - cpu[0]) / seconds, (cpu_s([mesh.pid]) - cpu[1]) / seconds
            before = status(nswrap, "many")
            cpu = cpu_s(agents), cpu_s([mesh.pid])
            began = time.monotonic()
            names.write_text(names.read_text() + "pod/one-more\n")
            until = wait_ready(nswrap, "many", count + 1, log) - began
            after = status(nswrap, "many")
            seconds = time.monotonic() - began
            told = [after[name]["out"]["bytes"] - host["out"]["bytes"] for name, host in before.items()]
            print(f"one more: ready after {until:.1f} s; bytes to each other host {statistics.median(told):.0f}; processor "
                  f"time of an agent {1e3 * (cpu_s(agents) - cpu[0] - rest[0] * seconds) / count:.1f} ms, of the manager "
                  f"{1e3 * (cpu_s([mesh.pid]) - cpu[1] - rest[1] * seconds):.0f} ms; at rest all agents "
                  f"{100 * rest[0]:.1f} %, the manager {100 * rest[1]:.1f} % of a processor")
        finally:
            mesh.terminate()
            mesh.wait(30)


if __name__ == "__main__":
    main()
