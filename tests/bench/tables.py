#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tables JSON PAGE - write what a run of bench has measured (its --json) into the tables of a page

A table stands between the lines `<!-- bench NAME -->` and `<!-- bench end -->`; the rest of the page is
left as it is, and so is a table of which the run has measured nothing."""

import json
import re
import sys

SHARE, VALUE, SECONDS = "share of loopback", "value", "seconds"
TOOLS = ["slirp4netns", "pasta", "rootlesskit", "nswrap splice", "nswrap slirp"]

NETWORK = [  # (what is said, metric, how)
    ("forward, host to guest, 1 flow", "forward in 1", SHARE),
    ("the same, 8 flows", "forward in 8", SHARE),
    ("forward, guest to host, 1 flow", "forward out 1", SHARE),
    ("the same, 8 flows", "forward out 8", SHARE),
    ("connections through a forward", "connections", SHARE),
    ("round trips through a forward", "round trips", SHARE),
    ("forward open to the network, host to guest", "open in 1", SHARE),
    ("the same, guest to host", "open out 1", SHARE),
    ("connections through it", "open connections", SHARE),
    ("outbound, guest sends, 1 flow", "outbound up", SHARE),
    ("the same, 8 flows", "outbound up 8", SHARE),
    ("outbound, guest receives, 1 flow", "outbound down", SHARE),
    ("the same, 8 flows", "outbound down 8", SHARE),
    ("outbound connections", "outbound connections", SHARE),
    ("start to first answer, ms", "first answer", VALUE),
    ("guest's listen() to first answer, ms", "ready", VALUE),
    ("wake-ups a second, once the server listens", "wake-ups", VALUE),
    ("the same of 100 of them", "many wake-ups", VALUE),
    ("processor time in 60 s without a server inside, ms", "waiting", VALUE),
    ("private memory without the program, MiB", "memory", VALUE),
]
START_SAID = "Starts and ends, also of those that give a network without a way in or out (unshare, bwrap):"
START = [
    ("start and end of `true`, ms", "start", VALUE),
    ("COMMAND's last word to the end, ms", "end", VALUE),
    ("`true`, 200 times one after the other, s", "ends", VALUE),
]
MESH = [
    ("sandbox to sandbox, 1 flow", "mesh sandboxes 1", SHARE),
    ("the same, 8 flows", "mesh sandboxes 8", SHARE),
    ("host to host, through loopback listeners, 1 flow", "mesh hosts 1", SHARE),
    ("the same, 8 flows", "mesh hosts 8", SHARE),
    ("sandbox to a plain host, 1 flow", "mesh sandbox host 1", SHARE),
    ("the same, 8 flows", "mesh sandbox host 8", SHARE),
    ("sandbox to a network behind a host (`routes`), 1 flow", "mesh routed 1", SHARE),
    ("the same, 8 flows", "mesh routed 8", SHARE),
    ("round trips, sandbox to sandbox", "mesh sandbox trips", SHARE),
    ("round trips, host to host", "mesh host trips", SHARE),
    ("a link of 50 ms and 1000 Mbit/s, 1 flow, Mbit/s", "mesh wan 1", VALUE),
    ("the same, 8 flows", "mesh wan 8", VALUE),
    ("the same, 1 flow back", "mesh wan back 1", VALUE),
    ("the same, sandbox to a plain host, 1 flow", "mesh wan host 1", VALUE),
    ("the same, 8 flows to a plain host", "mesh wan host 8", VALUE),
    ("private memory of an agent, MiB", "mesh agent memory", VALUE),
    ("private memory of its manager, MiB", "mesh manager memory", VALUE),
    ("resident memory of an idle mesh of two hosts, MiB", "mesh hosts memory", VALUE),
    ("50 hosts, from start to all ready, ms", "mesh many ready", VALUE),
    ("private memory of their manager, MiB", "mesh many memory", VALUE),
]
STREAMS_SAID = "In the column `nswrap streams` the plain hosts have no stack (`nswrap agent --stack streams`):"
EXIT = [
    ("sandbox to another machine, 1 flow", "mesh sandbox host 1", SHARE),
    ("the same, 8 flows", "mesh sandbox host 8", SHARE),
    ("a link of 50 ms and 1000 Mbit/s, 1 flow, Mbit/s", "mesh wan host 1", VALUE),
    ("the same, 8 flows", "mesh wan host 8", VALUE),
]
EXIT_SAID = "A sandbox with `--via 'exec:nswrap exit'`, and the same in a mesh whose other host is a plain one:"
PROXIES = [
    ("HTTP proxy, one download", "http bulk", SHARE),
    ("the same by CONNECT", "http tunnel", SHARE),
    ("requests of 16 clients that keep their connections", "http requests", SHARE),
    ("requests of 16 clients, each by a connection of its own", "http connections", SHARE),
    ("memory for 1000 clients that wait, KiB", "http idle memory", VALUE),
    ("SOCKS5, one download", "socks bulk", SHARE),
    ("requests of 16 clients, each by a SOCKS5 connection of its own", "socks connections", SHARE),
    ("memory for 1000 SOCKS5 clients that wait, KiB", "socks idle memory", VALUE),
    ("DNS, a name of its own, queries a second by UDP", "dns udp", VALUE),
    ("the same by TCP", "dns tcp", VALUE),
]
PROXIES_SAID = "Proxies and names of a mesh's host, beside others (tinyproxy answers one request a connection):"
TUNNEL = [
    ("one flow to the server behind it", "tunnel in 1", SHARE),
    ("eight flows", "tunnel in 8", SHARE),
    ("one flow from there", "tunnel out 1", SHARE),
    ("connections a second", "tunnel connections", SHARE),
    ("round trips", "tunnel round trips", SHARE),
    ("connect() to the first byte, ms", "tunnel first byte", VALUE),
]
FAULTS = [  # as in bench/links
    ("the agent is killed with -9", "agent killed"),
    ("the link is killed with -9", "link killed"),
    ("the agent is stopped", "agent stopped"),
    ("the link passes nothing on, and does not end", "blackhole"),
    ("the agent is killed at 4 Mbit/s and 30 ms, beside 8 flows", "slow"),
    ("the same at 100 Mbit/s, of which 0.4 s of each second are lost", "lossy"),
    ("the manager is killed with -9 and started again", "manager killed"),
]


def value_text(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2g}"


def cell(run, metric, tool, how):
    row = run["medians"].get(metric, {})
    if tool not in row:
        return "fails" if f"{metric} / {tool}" in run.get("failures", {}) else "-"
    if how != SHARE:
        return value_text(row[tool]) if how == VALUE else f"{value_text(row[tool] / 1000)} s"
    return f"{100 * row[tool] / row['loopback']:.0f} %" if row.get("loopback") else "-"


def table(run, rows, tools, said=None):
    """Its lines, below what is said of it. Rows of which nothing was measured are left out; [] when all are."""
    body = []
    for title, metric, how in rows:
        cells = [cell(run, metric, tool, how) for tool in tools]
        if set(cells) != {"-"}:
            body.append(f"| {title} | {' | '.join(cells)} |")
    if not body:
        return []
    return [*([said, ""] if said else []),
            f"| share of plain loopback in the same run, or as said | {' | '.join(tools)} |",
            "|---" * (len(tools) + 1) + "|", *body]


def mesh(run):
    """Hosts without a stack, and NoRouter's, beside it where the run had them."""
    measured = {tool for row in run["medians"].values() for tool in row}
    tools = ["nswrap mesh", *(tool for tool in ("nswrap streams", "norouter") if tool in measured)]
    return table(run, MESH, tools, STREAMS_SAID if "nswrap streams" in tools else None)


def faults(run):
    body = []
    for title, fault in FAULTS:
        cells = [cell(run, f"fault {fault} {what}", "nswrap mesh", SECONDS) for what in ("noticed", "works")]
        if set(cells) != {"-"}:
            body.append(f"| {title} | {' | '.join(cells)} |")
    return ["| | until the manager says so | until new connections work |", "|---|---|---|", *body] if body else []


TABLES = {
    "network": lambda run: table(run, NETWORK, TOOLS),
    "start": lambda run: table(run, START, ["unshare -Urn", "bwrap", "pasta", "rootlesskit", "nswrap splice"],
                               START_SAID),
    "mesh": mesh,
    "faults": faults,
    "exit": lambda run: table(run, EXIT, ["nswrap exit", "nswrap mesh"], EXIT_SAID),
    "proxies": lambda run: table(run, PROXIES, ["nswrap proxy", "tinyproxy", "microsocks", "danted", "dnsmasq"],
                                 PROXIES_SAID),
    "tunnel": lambda run: table(run, TUNNEL, ["nswrap tunnel", "ssh -R", "lennut's way", "nswrap tunnel ssh"]),
}


def write(run, page):
    """The text of page with the tables of run."""
    def fill(found):
        name, old = found.group(1), found.group(2)
        if name not in TABLES:
            raise SystemExit(f"tables: {name}: no such table: expected one of {', '.join(TABLES)}")
        lines = TABLES[name](run)
        body = "\n".join(lines) + "\n" if lines else old
        return f"<!-- bench {name} -->\n{body}<!-- bench end -->"

    return re.sub(r"<!-- bench (\S+) -->\n(.*?)<!-- bench end -->", fill, page, flags=re.S)


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__.splitlines()[0])
    with open(sys.argv[1], encoding="utf-8") as file:
        run = json.load(file)
    with open(sys.argv[2], encoding="utf-8") as file:
        page = file.read()
    written = write(run, page)
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(written)


if __name__ == "__main__":
    main()
