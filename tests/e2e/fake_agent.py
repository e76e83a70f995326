#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""e2e/fake_agent - a stand-in for an agent: answers as the recording of NoRouter does, or badly

It speaks the wire on stdin and stdout. What a test wants to send comes as whole frames, or what
else it likes, by a datagram socket; packets that the manager sends go back the same way.
"""

import argparse
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

NOROUTER = "loopback,tcp,http,loopback.disable,socks,hostaliases,etchosts,routes,dns"
MAGIC = 0x42 << 24


def frame(kind, payload):
    return struct.pack("!IHH", MAGIC | (4 + len(payload)), kind, 0) + payload


def message(kind, **body):
    return frame(2, json.dumps({"type": kind, "body": body}).encode())


class Agent:
    def __init__(self, options):
        self.options = options
        self.pending = b""
        self.configured = 0
        self.sock = None
        if options.packets:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            if os.path.exists(options.packets):
                os.unlink(options.packets)
            self.sock.bind(options.packets)

    def note(self, **what):
        """A line for the test."""
        if self.options.log:
            with open(self.options.log, "a") as log:
                log.write(json.dumps({"pid": os.getpid(), "at": time.monotonic(), **what}) + "\n")

    def write(self, data):
        while data:
            data = data[os.write(1, data):]

    def crumbs(self):
        """One byte at a time, as fast as it can be done."""
        data = {"frame": frame(2, bytes(1 << 20)), "frames": frame(9, b""), "lines": b"x\n"}
        kind = self.options.crumbs
        while True:
            for byte in data[kind]:
                os.write(2 if kind == "lines" else 1, bytes([byte]))

    def on_request(self, body):
        if body["op"] == "ping":
            if not self.options.no_pong:
                self.write(message("result", request_id=body["id"], op="ping", data={}))
            return
        self.configured += 1
        self.note(configure=body["args"], id=body["id"])
        if self.options.silent:
            return
        if self.options.error:
            self.write(message("result", request_id=body["id"], op=body["op"],
                               error=self.options.error))
            return
        data = {"features": self.options.features.split(","), "version": "0.6.5+dev"}
        self.write(message("result", request_id=body["id"], op=body["op"], data=data))
        if self.options.exit is not None:
            sys.exit(self.options.exit)
        if self.options.crumbs:
            self.crumbs()
        if self.options.flood:
            while True:
                self.write(os.urandom(4096) if self.options.flood == "random" else
                           message("event", type="x", data="y" * 1000))

    def on_frame(self, kind, payload):
        if kind == 2:
            text = json.loads(payload)
            assert text["type"] == "request"
            self.on_request(text["body"])
        elif self.sock:
            try:
                self.sock.sendto(payload, self.options.packets + ".test")
            except OSError:
                self.note(lost=len(payload))

    def read_link(self):
        data = os.read(0, 1 << 20)
        if not data:
            return False
        self.pending += data
        while len(self.pending) >= 8:
            head, kind, _ = struct.unpack("!IHH", self.pending[:8])
            assert head >> 24 == 0x42, self.pending[:8]
            end = 4 + (head & 0xffffff)
            if len(self.pending) < end:
                break
            self.on_frame(kind, self.pending[8:end])
            self.pending = self.pending[end:]
        return True

    def serve(self):
        inputs = [0] + ([self.sock.fileno()] if self.sock else [])
        while True:
            ready, _, _ = select.select(inputs, [], [])
            if 0 in ready and not self.read_link():
                if not self.options.ignore:
                    return
                inputs.remove(0)
                self.note(end=True)
            if self.sock and self.sock.fileno() in ready:
                self.write(self.sock.recv(1 << 20))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--features", default=NOROUTER)
    parser.add_argument("--log")
    parser.add_argument("--packets")
    parser.add_argument("--banner")
    parser.add_argument("--stderr", action="append", default=[])
    parser.add_argument("--error")
    parser.add_argument("--exit", type=int, help="after the answer to configure")
    parser.add_argument("--silent", action="store_true", help="never answer configure")
    parser.add_argument("--no-pong", action="store_true")
    parser.add_argument("--ignore", action="store_true", help="signals and the end of stdin")
    parser.add_argument("--grandchild", action="store_true", help="leave a process that stays")
    parser.add_argument("--flood", choices=["random", "messages"])
    parser.add_argument("--crumbs", choices=["frame", "frames", "lines"])
    options, words = parser.parse_known_args()
    assert words == ["agent", "--automated"], words
    agent = Agent(options)
    if options.ignore:
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(sig, signal.SIG_IGN)
    if options.grandchild:
        # its parent ends at once: it is nobody's but the next subreaper's
        script = """setsid sh -c "trap '' TERM HUP INT; sleep 1000 & wait; sleep 1000" >&2 & echo $!"""
        done = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, check=True)
        agent.note(grandchild=int(done.stdout))
    agent.note(started=sys.argv, fds=sorted(map(int, os.listdir("/proc/self/fd"))))
    if options.banner:
        agent.write(options.banner.encode().decode("unicode_escape").encode("latin-1"))
    for line in options.stderr:
        print(line, file=sys.stderr, flush=True)
    agent.serve()


main()
