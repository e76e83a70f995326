# SPDX-License-Identifier: Apache-2.0
"""An agent whose manager is hostile: mutated packets and messages, far too many of them"""

import json
import os
import pathlib
import random
import struct
import time

import pytest

from harness import PATIENCE, SANITIZED, TREE, cpu_ticks, descendants, free_port, proc_status, wait_for
from mesh_tools import network
from standin import MESSAGE, PACKET, PIPES, RECORDED_REQUEST, Link, arguments, frame

STREAM = (TREE / "tests/data/norouter/streams/host1.m2a.bin").read_bytes()
SECONDS = 4
GROWTH_KIB = 5 * 1024  # it is below 1 MiB; 12 MiB if each message is leaked
DEPTH = 6


def payloads(stream):
    """The packets of a recording."""
    while stream:
        word, kind, _ = struct.unpack("!IHH", stream[:8])
        end = 4 + (word & 0xffffff)
        if kind == PACKET:
            yield stream[8:end]
        stream = stream[end:]


PACKETS = list(payloads(STREAM))


def mutated(chance, data):
    data = bytearray(data)
    for _ in range(chance.randrange(4)):
        if data:
            data[chance.randrange(len(data))] = chance.randrange(256)
    if chance.randrange(4) == 0:
        del data[chance.randrange(len(data) + 1):]
    return bytes(data)


def value(chance, depth=0):
    """Any JSON, now and then of the right shape."""
    pick = chance.randrange(9 if depth < DEPTH else 6)
    if pick < 3:
        return [0, -1, 2**40, 65536, 80, 1.5, True, None][chance.randrange(8)]
    if pick < 6:
        return ["", "127.0.42.101", "localhost", "tcp", "udp", "x" * 300, "\u001b[2J", "::1"][chance.randrange(8)]
    if pick == 6:
        return [value(chance, depth + 1) for _ in range(chance.randrange(5))]
    return {key: value(chance, depth + 1) for key in chance.sample(
        ["me", "forwards", "others", "listen_port", "connect_ip", "connect_port", "proto", "ip", "port",
         "hostnameMap", "routes", "toCIDR", "via", "loopback", "disable", "anyPort", "http"], 4)}


def message(chance):
    if chance.randrange(2):
        return mutated(chance, RECORDED_REQUEST[8:])
    args = json.loads(RECORDED_REQUEST[8:])["body"]["args"]
    for key in chance.sample(sorted(args), 2):
        args[key] = value(chance)
    body = {"id": chance.randrange(-5, 2**33), "op": chance.choice(["configure", "ping", "x" * 40]),
            "args": chance.choice([args, args, value(chance)])}
    return json.dumps({"type": chance.choice(["request", "request", "result", "event"]), "body": body}).encode()


def piece(chance):
    kind = chance.choice([PACKET] * 12 + [MESSAGE, 3, 65535])
    if kind == MESSAGE:
        return frame(kind, message(chance))
    return frame(kind, mutated(chance, chance.choice(PACKETS)) + bytes(chance.randrange(2) * chance.randrange(60000)))


def resident_kib(link):
    return sum(int(proc_status(pid)["VmRSS"].split()[0]) for pid in [link.popen.pid, *descendants(link.popen.pid)]
               if "nswrap" in proc_status(pid)["Name"])


def answers(link, number):
    """Ask for an answer that can be told from those to what was forged."""
    body = {"id": number, "op": "ping", "args": {}}
    link.send(frame(MESSAGE, json.dumps({"type": "request", "body": body}).encode()))
    return wait_for(lambda: link.messages.get(timeout=10 * PATIENCE)["body"].get("request_id") == number,
                    "an answer", 60)


@pytest.mark.parametrize("words", [["agent"], ["-q", "--network", "none", "-c", "exec sleep 1000", "agent"]],
                         ids=["plain", "sandbox"])
def test_a_hostile_manager(nswrap, outer, words):
    # a plain host listens at the addresses of the recording
    prefix = outer().prefix() if words == ["agent"] else []
    link = Link(nswrap.popen(*words, prefix=prefix, **PIPES))
    chance = random.Random(42)
    link.send(RECORDED_REQUEST)
    assert link.result().get("error") is None
    before = resident_kib(link)
    end, number = time.monotonic() + SECONDS, 10**6
    while time.monotonic() < end:
        link.send(b"".join(piece(chance) for _ in range(100)))
        number += 1
        answers(link, number)
    if not SANITIZED:  # which keep for a while what was freed
        assert resident_kib(link) < before + GROWTH_KIB
    # it still does what it is asked for
    link.send(RECORDED_REQUEST)
    answers(link, number + 1)
    # what is no frame ends the link, with one line
    link.send(b"SSH-2.0")
    assert link.popen.wait(20) == 125
    link.popen.stdin.close()


def test_crumbs_cost_the_manager(nswrap):
    """Who sends one byte at a time has more work with it than the agent."""
    link = Link(nswrap.popen("agent", **PIPES))
    out = link.popen.stdin.fileno()
    before, began = cpu_ticks(link.popen.pid), time.process_time()
    for byte in frame(MESSAGE, bytes(1 << 20)):
        os.write(out, bytes([byte]))
    answers(link, 1)
    spent = (cpu_ticks(link.popen.pid) - before) / os.sysconf("SC_CLK_TCK")
    assert spent < (time.process_time() - began) / 4
    link.popen.stdin.close()
    assert link.popen.wait(20) == 0


NET = network()
ME, OTHER = f"{NET}.101", f"{NET}.102"
FREE = free_port()


def claims(link, ip):
    """What is said when the host itself, a port of another one, or a name has this address: an
    error, or a report that this one is left out."""
    rest = arguments(ME, others=[(OTHER, FREE)])
    for args in (arguments(ip), arguments(ME, others=[(OTHER, FREE), (ip, FREE)]),
                 {**rest, "hostnameMap": {"a": ME, "x": ip}}):
        error = link.request("configure", args).get("error")
        left_out = [m["why"] for m in link.request("report", {})["data"]["missing"] if m["port"] == 0]
        yield error or " ".join(left_out)


@pytest.mark.parametrize("words", [["agent"], ["-c", "exec sleep 1000", "agent"]], ids=["plain", "sandbox"])
def test_addresses_that_a_manager_may_not_give(nswrap, words):
    """Those of the host itself, those of the sandbox's network, and those that no host can have."""
    link = Link(nswrap.popen(*words, **PIPES))
    link.configure(ME, others=[(OTHER, FREE)])
    bad = ["127.0.0.1", "127.0.0.53", "127.0.1.1", "169.254.169.254"]
    if len(words) > 1:
        bad += ["10.0.2.2", "10.0.2.3", "10.0.2.100", "10.0.2.255"]
    else:
        bad += [address for address in host_addresses() if address not in bad]
    for ip in [*bad, "0.0.0.0", "0.1.2.3", "224.0.0.251", "255.255.255.255"]:
        for error in claims(link, ip):
            assert error and ip in error and "\n" not in error, (ip, error)
    link.configure(ME, others=[(OTHER, FREE)])
    # what routes say is no host's address
    link.configure(ME, others=[(OTHER, FREE)], routes=[{"toCIDR": ["0.0.0.0/0"], "via": OTHER}])
    link.hang_up()
    assert link.popen.wait(20) == 0


def host_addresses():
    """This host's own IPv4 addresses."""
    rows = pathlib.Path("/proc/net/fib_trie").read_text().splitlines()
    return sorted({rows[i].split()[1] for i, row in enumerate(rows[1:]) if "/32 host LOCAL" in row})
