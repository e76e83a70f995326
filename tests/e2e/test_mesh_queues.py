# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_queues - what waits for a slow host is shared fairly, and nobody waits for long"""

import contextlib
import os
import statistics
import subprocess
import time

import pytest

from harness import PATIENCE, UDP_ECHO, python, wait_for
from mesh_tools import Box, Site
from tools import tool

VIPS = {name: f"127.0.42.{101 + i}" for i, name in enumerate(("a", "b", "c"))}
ECHO, SINK = 7000, 7001
SLOW = ("-d", 30, "-r", 4)
SLOW_BYTES = 4e6 / 8
THOROUGH = bool(os.environ.get("NSWRAP_TEST_THOROUGH"))

# a datagram every 20 ms to an echo server until stdin ends, and then none for a second; prints how
# many there were and, in seconds, how long each one that came back took; argv: address port
ECHOES = """
import select, socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], int(sys.argv[2])))
sent, took, due, end = 0, [], time.monotonic(), None
while (now := time.monotonic()) < (end or now + 1):
    if end is None and now >= due:
        try:
            s.send(struct.pack('d', now))
        except ConnectionRefusedError:
            pass
        sent, due = sent + 1, due + 0.02
    ready = select.select([s] + [0] * (end is None), [], [], max(0, min(due, end or due) - now))[0]
    if s in ready:
        try:
            took.append(time.monotonic() - struct.unpack('d', s.recv(99)[-8:])[0])
        except ConnectionRefusedError:
            pass
    elif 0 in ready:
        end = now + 1
print(sent, *took)
"""

# reads what clients send; says for each line of stdin how many bytes there were; argv: address port
COUNTS = """
import selectors, socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=64)
ready = selectors.DefaultSelector()
ready.register(listener, selectors.EVENT_READ)
ready.register(0, selectors.EVENT_READ)
count = 0
while True:
    for key, _ in ready.select():
        if key.fileobj is listener:
            ready.register(listener.accept()[0], selectors.EVENT_READ)
        elif key.fileobj == 0:
            if not sys.stdin.buffer.raw.read(2):
                sys.exit()
            print(count, flush=True)
        elif data := key.fileobj.recv(1 << 16):
            count += len(data)
        else:
            ready.unregister(key.fileobj)
            key.fileobj.close()
"""

# sends to a server for ever on so many connections; argv: address port connections
BULK = """
import socket, sys, threading
def send():
    with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as s:
        while True:
            s.sendall(bytes(1 << 16))
for _ in range(int(sys.argv[3])):
    threading.Thread(target=send).start()
"""

# datagrams, 12 MB a second; argv: address port size
FLOOD = """
import socket, sys, time
size = int(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], int(sys.argv[2])))
while True:
    try:
        for _ in range(60000 // size):
            s.send(bytes(size))
    except ConnectionRefusedError:
        pass  # nobody listens, which is said once in a while
    time.sleep(0.005)
"""


@contextlib.contextmanager
def mesh(nswrap, directory, *options):
    """Three sandboxes with an echo server each; the link of c is slow."""
    site = Site(nswrap, directory)
    boxes = {name: Box(nswrap, name) for name in VIPS}
    for name, box in boxes.items():
        link = [tool("wanpipe"), *map(str, options), "--"] if name == "c" else []
        site.host(name, VIPS[name], [*link, *box.agent()], anyPort=True)
        box.serve(UDP_ECHO, "0.0.0.0", ECHO, port=ECHO, udp=True)
    with site:
        yield site, boxes


@contextlib.contextmanager
def background(box, program, *args):
    popen = box.popen(*python(program, *args), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield popen
    finally:
        popen.kill()
        popen.wait()
        popen.stdin.close()
        popen.stdout.close()


def echoes(box, vip, seconds):
    """(how many were sent, how long each one that came back took) while it is like that."""
    with background(box, ECHOES, vip, ECHO) as popen:
        time.sleep(seconds)
        popen.stdin.close()
        sent, *took = popen.stdout.readline().split()
    return int(sent), [float(t) for t in took]


def counted(popen):
    popen.stdin.write(b".\n")
    popen.stdin.flush()
    return int(popen.stdout.readline())


# --- between sources ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [60000, 500] if THOROUGH else [500])
def test_a_flood_to_a_slow_host_is_its_senders_alone(nswrap, short_dir, size):
    """Of what another host sends there next to nothing is lost, and it does not wait for the flood."""
    with mesh(nswrap, short_dir, *SLOW, "-b", 64) as (site, boxes):
        with background(boxes["a"], FLOOD, VIPS["c"], 9, size):
            wait_for(lambda: site.status()["c"]["drops"]["queue_full"] > 100, "the queue to be full")
            sent, took = echoes(boxes["b"], VIPS["c"], 3)
    assert len(took) > 0.9 * sent > 50
    assert statistics.median(took) < 1.0 * PATIENCE


# --- between flows --------------------------------------------------------------------------------


def beside_bulk(boxes, sender, receiver, flows, seconds):
    """(median of the echoes from the fast side to the slow one, bytes a second that arrive) while
    there are so many connections from one box to the other."""
    client = boxes["a"] if "c" in (sender, receiver) else boxes[sender]
    with background(boxes[receiver], COUNTS, "0.0.0.0", SINK) as sink:
        wait_for(lambda: any(row[1].endswith(f":{SINK:04X}") for row in boxes[receiver].table("tcp")),
                 "the sink")
        with background(boxes[sender], BULK, VIPS[receiver], SINK, flows):
            wait_for(lambda: counted(sink) > 0, "bytes to come")
            time.sleep(2)
            began, before = time.monotonic(), counted(sink)
            sent, took = echoes(client, VIPS["c"], seconds)
            rate = (counted(sink) - before) / (time.monotonic() - began)
    print(f"{sender} to {receiver}, {flows} flows: echo {statistics.median(took or [99]):.3f} s, {len(took)} of {sent},",
          f"{rate / SLOW_BYTES:.2f} of the link")
    return statistics.median(took), rate


ALL = [(way, buffer, flows) for way in ("down", "up") for buffer in (64, None) for flows in (1, 8)]


@pytest.mark.parametrize("way, buffer, flows", ALL if THOROUGH else [("down", 64, 8), ("up", None, 8)])
def test_an_echo_beside_bulk(nswrap, short_dir, way, buffer, flows):
    """It is hardly slower than without, and the bulk has the link. Whatever the link's own buffer is."""
    with mesh(nswrap, short_dir, *SLOW, *(("-b", buffer) if buffer else ())) as (_, boxes):
        sender, receiver = ("a", "c") if way == "down" else ("c", "a")
        median, rate = beside_bulk(boxes, sender, receiver, flows, 4)
    # alone on an idle machine: 0.09 to 0.15 s, and 0.8 to 0.98 of the link; the way takes 0.06 s
    assert median < 0.25 * PATIENCE
    assert rate > 0.6 * SLOW_BYTES
