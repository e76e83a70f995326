# SPDX-License-Identifier: Apache-2.0
"""e2e/standin - a manager of a mesh as simple as can be: frames on the stdio of agents"""

import contextlib
import ipaddress
import json
import queue
import socket
import struct
import subprocess
import threading

from harness import PATIENCE, TREE

RECORDED_REQUEST = (TREE / "tests/data/norouter/request.bin").read_bytes()
PACKET, MESSAGE = 1, 2
STREAMS = 254  # the protocol of their packets
# who is in the mesh, as in the recording
HOSTS = {f"host{n}": f"127.0.42.10{n}" for n in (1, 2, 3)}


def frame(kind, payload):
    return struct.pack("!IHH", 0x42 << 24 | len(payload) + 4, kind, 0) + payload


def arguments(me, forwards=(), others=(), **more):
    """The arguments of configure; forwards: (port, host, port), others: (ip, port)."""
    return {
        "me": me,
        "forwards": [{"listen_port": p, "connect_ip": h, "connect_port": c, "proto": "tcp"}
                     for p, h, c in forwards],
        "others": [{"ip": i, "port": p, "proto": "tcp"} for i, p in others],
        "hostnameMap": HOSTS, "http": {}, "socks": {}, "loopback": {},
        "stateDir": {"disable": True}, "nameServers": [], **more,
    }


class Link:
    """The manager's end of an agent's stdio. popen: with pipes for stdin and stdout."""

    def __init__(self, popen, says_more=False):
        """says_more: as a manager of ours, which tells the agent more when it knows it."""
        self.popen = popen
        self.messages = queue.Queue()
        self.on_packet = lambda packet: None
        self.on_event = None  # takes the body; without it, events are among the messages
        self.ended = threading.Event()
        self.end = b"\n" if says_more else b""
        self._next_id = 1
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while len(head := self.popen.stdout.read(8)) == 8:
            word, kind, _ = struct.unpack("!IHH", head)
            assert word >> 24 == 0x42, f"no frame: {head!r}"
            payload = self.popen.stdout.read((word & 0xffffff) - 4)
            if kind == MESSAGE:
                self._take(json.loads(payload))
            elif kind == PACKET:
                self.on_packet(payload)
        self.ended.set()

    def _take(self, message):
        if self.on_event and message["type"] == "event":
            self.on_event(message["body"])
        else:
            self.messages.put(message)

    def send(self, data):
        """Bytes as they are; an agent that is gone takes none."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            self.popen.stdin.write(data)
            self.popen.stdin.flush()

    def send_packet(self, packet):
        self.send(frame(PACKET, packet))

    def result(self, timeout=10):
        """The body of the next message, which is a result."""
        message = self.messages.get(timeout=timeout * PATIENCE)
        assert message["type"] == "result", message
        return message["body"]

    def request(self, op, args):
        """Ask, and return the body of the result."""
        body = {"id": self._next_id, "op": op, "args": args}
        self._next_id += 1
        self.send(frame(MESSAGE, json.dumps({"type": "request", "body": body}).encode() + self.end))
        result = self.result()
        assert (result["request_id"], result["op"]) == (body["id"], op)
        return result

    def configure(self, me, *args, **more):
        result = self.request("configure", arguments(me, *args, **more))
        assert result.get("error") is None, result
        return result

    def hang_up(self):
        """The end of the agent's stdin."""
        with self._lock:
            self.popen.stdin.close()


class Switch:
    """Joins agents: packets go to the one with their destination as its VIP, else to where it was
    suggested to be, else by the last of the routes (as agents are told them) that has it."""

    def __init__(self, routes=()):
        self.links = {}
        self.dropped = []
        self.suggested = {}  # {address: VIP}
        self.routes = [(ipaddress.ip_network(network), socket.inet_aton(route["via"]))
                       for route in reversed(routes) for network in route["toCIDR"] or ()]

    def add(self, vip, link):
        self.links[socket.inet_aton(vip)] = link
        link.on_packet = self._route
        if self.routes:
            link.on_event = self._learn
        return link

    def _learn(self, body):
        assert body["type"] == "routeSuggestion", body
        for ip in body["data"]["ip"]:
            self.suggested[socket.inet_aton(ip)] = socket.inet_aton(body["data"]["route"])

    def _via(self, to):
        return self.suggested.get(to) or next(
            (via for network, via in self.routes if ipaddress.ip_address(to) in network), None)

    def _route(self, packet):
        link = self.links.get(packet[16:20]) or self.links.get(self._via(packet[16:20]))
        if link:
            link.send_packet(packet)
        elif packet[9] != STREAMS:
            # who has no stack says so to all of the mesh, whether they are there or not
            self.dropped.append(packet)


PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
