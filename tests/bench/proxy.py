# SPDX-License-Identifier: Apache-2.0
"""bench/proxy - the HTTP proxy of a mesh's host beside tinyproxy and no proxy at all

    make bench-bin nswrap && NSWRAP=$PWD/nswrap BENCH_BIN=build/tests/bench python3 tests/bench/proxy.py

The candidates take turns and all is repeated; medians count. tinyproxy answers one request a
connection.
"""

import argparse
import contextlib
import pathlib
import socket
import statistics
import subprocess
import tempfile
import time

import mesh
from probes import BIN, NSWRAP, accepts, descendants, free_port, output_of, resident_kib, wait_for

CLIENTS, IDLE, BULK = 16, 1000, 4_000_000_000
METRICS = {
    "bulk": ("one download", "Gbit/s"),
    "tunnel": ("one download by CONNECT", "Gbit/s"),
    "requests": (f"{CLIENTS} clients that keep their connections", "answers/s"),
    "connections": (f"{CLIENTS} clients, a connection for each request", "answers/s"),
    "memory": (f"{IDLE} clients that wait", "KiB"),
}


@contextlib.contextmanager
def started(*command):
    popen = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield popen
    finally:
        popen.terminate()
        popen.wait()


@contextlib.contextmanager
def nswrap(directory, port):
    hosts = {"host": {"vip": "127.0.42.101", "http": {"listen": f"127.0.0.1:{port}"}}}
    with mesh.Mesh(NSWRAP, directory, hosts) as running:
        yield [pid for pid in descendants(running.popen.pid) if pid != running.popen.pid]


@contextlib.contextmanager
def tinyproxy(directory, port):
    config = pathlib.Path(directory, "tinyproxy.conf")
    config.write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 2000\nLogLevel Critical\n")
    with started("tinyproxy", "-d", "-c", config) as popen:
        yield [popen.pid]


def download(url, *options):
    began = time.monotonic()
    output_of(["curl", "-sS", "-o", "/dev/null", *options, f"{url}/{BULK}"], 120)
    return BULK * 8 / (time.monotonic() - began) / 1e9


def answers(port, url, seconds, how):
    return int(output_of([f"{BIN}/ask", str(port), f"{url}/100", "x", str(CLIENTS), str(seconds), how],
                         seconds + 60).split()[0])


def waiting(pids, port):
    before = resident_kib(pids)
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        time.sleep(1)  # until all of them are accepted
        return resident_kib(pids) - before


def measure(proxy, directory, seconds, web):
    url = f"http://127.0.0.1:{web}"
    if not proxy:
        return {"bulk": download(url, "--noproxy", "*"), "requests": answers(web, "", seconds, "keep"),
                "connections": answers(web, "", seconds, "close")}
    port = free_port()
    with proxy(directory, port) as pids:
        wait_for(lambda: accepts(port), "the proxy")
        through = ("--noproxy", "", "-x", f"http://127.0.0.1:{port}")
        found = {"bulk": download(url, *through), "tunnel": download(url, "-p", *through),
                 "connections": answers(port, url, seconds, "close"), "memory": waiting(pids, port)}
        if proxy is nswrap:
            found["requests"] = answers(port, url, seconds, "keep")
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    samples, web = {}, free_port()
    with tempfile.TemporaryDirectory(prefix="nswrap-bench.") as directory, \
            started(f"{BIN}/web", "127.0.0.1", web):
        wait_for(lambda: accepts(web), "the server")
        for _ in range(options.rounds):
            for name, proxy in ("loopback", None), ("nswrap", nswrap), ("tinyproxy", tinyproxy):
                try:
                    found = measure(proxy, directory, options.seconds, web)
                except Exception as error:  # a peer that fails is no reason to stop
                    print(f"{name} failed: {error}")
                    continue
                for metric, value in found.items():
                    samples.setdefault((metric, name), []).append(value)
    for metric, (title, unit) in METRICS.items():
        print(f"{title}, {unit}")
        for (of, name), values in samples.items():
            if of == metric:
                print(f"  {name:10} {statistics.median(values):12.1f}")


if __name__ == "__main__":
    main()
