# SPDX-License-Identifier: Apache-2.0
"""bench/proxy - the proxies and the name server of a mesh's host, beside those that people use

tinyproxy answers one request a connection. Connections a second need an idle machine: where others run, one
thread has one share of the processors, and a thread for each client has many."""

import contextlib
import pathlib
import re
import socket
import subprocess
import time

import mesh
from probes import (BIN, HANG_S, Failed, accepts, descendants, free_port, output_of, resident_kib, wait_for)

CLIENTS, IDLE, BULK_GBIT_EACH_S = 16, 1000, 8
VIP = "127.0.42.101"

METRICS = {  # key: (title, unit, higher is better)
    "http bulk": ("HTTP proxy, one download", "Gbit/s", True),
    "http tunnel": ("HTTP proxy, one download by CONNECT", "Gbit/s", True),
    "http requests": (f"HTTP proxy, {CLIENTS} clients that keep their connections", "1/s", True),
    "http connections": (f"HTTP proxy, {CLIENTS} clients, a connection for each request", "1/s", True),
    "http idle memory": (f"HTTP proxy, {IDLE} clients that wait", "KiB", False),
    "socks bulk": ("SOCKS5, one download", "Gbit/s", True),
    "socks connections": (f"SOCKS5, {CLIENTS} clients, a connection for each request", "1/s", True),
    "socks idle memory": (f"SOCKS5, {IDLE} clients that wait", "KiB", False),
    "dns udp": ("a name of its own, by UDP", "1/s", True),
    "dns tcp": ("a name of its own, by TCP", "1/s", True),
}


@contextlib.contextmanager
def started(*command):
    popen = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    try:
        yield popen
    finally:
        popen.terminate()
        popen.wait()


# --- who is measured ------------------------------------------------------------------------------


class Candidate:
    """A server of some kinds: "http", "socks", "dns"."""

    is_ours = False
    keeps = False  # connections of clients, for another request

    def __init__(self, name, needs, *kinds):
        self.name, self.needs, self.kinds = name, needs, kinds

    def files(self, directory, port):
        """Write what it reads, and return its command."""
        if self.name == "microsocks":
            return ["microsocks", "-i", "127.0.0.1", "-p", port]
        if self.name == "dnsmasq":
            return ["dnsmasq", "-k", "-C", "/dev/null", "-p", port, "-a", "127.0.0.1", "-z", "-h", "-R",
                    "--user=", "-A", f"/lab/{VIP}", "-x", f"{directory}/dnsmasq.pid"]
        path = pathlib.Path(directory, f"{self.name}.conf")
        if self.name == "tinyproxy":
            path.write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 2000\nLogLevel Critical\n")
            return ["tinyproxy", "-d", "-c", path]
        path.write_text(f"logoutput: {directory}/danted.log\ninternal: 127.0.0.1 port = {port}\n"
                        "external: 127.0.0.1\nclientmethod: none\nsocksmethod: none\n"
                        "client pass { from: 0/0 to: 0/0 }\nsocks pass { from: 0/0 to: 0/0 }\n")
        return ["danted", "-f", path, "-p", f"{directory}/danted.pid"]

    @contextlib.contextmanager
    def running(self, kind, directory):
        """Yields (address, port, pids)."""
        port = free_port()
        with started(*self.files(directory, port)) as popen:
            wait_for(lambda: popen.poll() is not None or accepts(port), self.name)
            if popen.poll() is not None:
                raise Failed(f"it ended with status {popen.returncode}")
            yield "127.0.0.1", port, descendants(popen.pid)


class Ours(Candidate):
    is_ours = keeps = True

    def __init__(self, name, program):
        super().__init__(name, program, "http", "socks", "dns")

    @contextlib.contextmanager
    def running(self, kind, directory):
        port = free_port()
        own = {} if kind == "dns" else {kind: {"listen": f"127.0.0.1:{port}"}}
        with mesh.Mesh(self.needs, directory, {"lab": {"vip": VIP, **own}}) as running:
            pids = [pid for pid in descendants(running.popen.pid) if pid != running.popen.pid]
            yield (VIP, 10053, pids) if kind == "dns" else ("127.0.0.1", port, pids)


class Loopback(Candidate):
    keeps = True

    def __init__(self):
        super().__init__("loopback", None, "http", "socks")


def candidates(ours):
    """ours: (name, program) of each of our builds."""
    return [Loopback(), Candidate("tinyproxy", "tinyproxy", "http"),
            Candidate("microsocks", "microsocks", "socks"), Candidate("danted", "danted", "socks"),
            Candidate("dnsmasq", "dnsmasq", "dns"), *(Ours(*each) for each in ours)]


# --- the measurements -----------------------------------------------------------------------------


def download(url, seconds, *options):
    """Gbit/s of a download that takes about that long."""
    size = seconds * BULK_GBIT_EACH_S * 1_000_000_000 // 8
    began = time.monotonic()
    got = output_of(["curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}", *options, f"{url}/{size}"],
                    10 * seconds + HANG_S)
    if got != str(size):
        raise Failed(f"{got or 0} of {size} bytes came")
    return size * 8 / (time.monotonic() - began) / 1e9


def answers(port, url, seconds, how, *more):
    found = output_of([f"{BIN}/ask", str(port), f"{url}/100", "x", str(CLIENTS), str(seconds), how, *more],
                      seconds + HANG_S).split()
    if not found or int(found[0]) == 0:
        raise Failed("no answer")
    return int(found[0])


def waiting(pids, port):
    before = resident_kib(pids())
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        time.sleep(1)  # until all of them are accepted
        return resident_kib(pids()) - before


def measure_http(seconds, directory, results, candidate, web):
    url = f"http://127.0.0.1:{web}"
    if candidate.name == "loopback":
        for metric in ("http bulk", "http tunnel"):
            results.add(metric, candidate, download(url, seconds, "--noproxy", "*"))
        results.add("http requests", candidate, answers(web, "", seconds, "keep"))
        results.add("http connections", candidate, answers(web, "", seconds, "close"))
        return
    with candidate.running("http", directory) as (_, port, pids):
        through = ("--noproxy", "", "-x", f"http://127.0.0.1:{port}")
        results.add("http bulk", candidate, download(url, seconds, *through))
        results.add("http tunnel", candidate, download(url, seconds, "-p", *through))
        results.add("http connections", candidate, answers(port, url, seconds, "close"))
        if candidate.keeps:
            results.add("http requests", candidate, answers(port, url, seconds, "keep"))
        results.add("http idle memory", candidate, waiting(lambda: living(pids), port))


def measure_socks(seconds, directory, results, candidate, web):
    url = f"http://127.0.0.1:{web}"
    if candidate.name == "loopback":
        results.add("socks bulk", candidate, download(url, seconds, "--noproxy", "*"))
        results.add("socks connections", candidate, answers(web, "", seconds, "close"))
        return
    with candidate.running("socks", directory) as (_, port, pids):
        through = ("--noproxy", "", "--socks5", f"127.0.0.1:{port}")
        results.add("socks bulk", candidate, download(url, seconds, *through))
        results.add("socks connections", candidate, answers(port, "", seconds, "close", str(web)))
        results.add("socks idle memory", candidate, waiting(lambda: living(pids), port))


def living(pids):
    """With those that were started for clients."""
    return {pid for root in pids for pid in descendants(root)}


def measure_dns(seconds, directory, results, candidate):
    names = pathlib.Path(directory, "names")
    names.write_text("lab A\n")
    with candidate.running("dns", directory) as (address, port, _):
        for kind in ("udp", "tcp"):
            text = output_of(["dnsperf", "-s", address, "-p", str(port), "-d", str(names), "-l", str(seconds),
                              "-c", "8", "-m", kind], seconds + HANG_S)
            found = re.search(r"Queries per second:\s+([\d.]+)", text)
            if not found or "NOERROR" not in text:
                raise Failed(f"no answer by {kind}")
            results.add(f"dns {kind}", candidate, float(found[1]))


def steps(seconds, directory, results, candidate):
    """What there is to measure of one candidate in one round."""
    def with_web(measure):
        port = free_port()
        with started(f"{BIN}/web", "127.0.0.1", port):
            wait_for(lambda: accepts(port), "the server")
            measure(seconds, directory, results, candidate, port)

    calls = {"http": lambda: with_web(measure_http), "socks": lambda: with_web(measure_socks),
             "dns": lambda: measure_dns(seconds, directory, results, candidate)}
    return [(f"{candidate.name}: {kind}", calls[kind]) for kind in candidate.kinds]
