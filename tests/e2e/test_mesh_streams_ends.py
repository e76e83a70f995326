# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_streams_ends - connections end through a mesh as they do without: ends and resets, of all hosts"""

import pytest

from harness import AGENT, BINARY, python, wait_for
from mesh_tools import Box, Site, at_once
from tools import THOROUGH

PORT, SOCKS, HTTP = 7000, 18081, 18080
VIPS = {name: f"127.0.42.10{number}" for number, name in enumerate("abcd", 1)}

# {what happens: what the client sees of it, and the server}: how it ends, and the bytes before that. Of the
# client, where it is the first to end, and of the server there is nothing to see
CASES = {
    "idle": (None, "end 0"),
    "many": (None, "end 1000000"),
    "unread": (None, "reset 0"),
    "abort": (None, "reset 0"),
    "half": ("end 1000000", "end 1000000"),
    "half_abort": (None, "end 5, reset"),
    "writes": (None, "end 0, reset"),
    "closes": ("end 5", None),
    "answers": ("end 1000000", None),
    "aborts": ("reset 5", None),
    "refuses": ("reset 64000", None),
    "after": ("end 5", "end 1000000"),
    "after_abort": ("end 5", "reset 5"),
}

# for both: each returns what it has seen; the server has read the first byte, which is the case's number
PLAY = f"CASES = {list(CASES)}" + """
import select, socket, struct, sys

def hear(s, want=1 << 30):
    n = 0
    try:
        while n < want:
            data = s.recv(min(65536, want - n))
            if not data:
                return f'end {n}'
            n += len(data)
    except ConnectionResetError:
        return f'reset {n}'

def say(s, n=5):
    s.sendall(bytes(n))

def end(s):
    s.shutdown(socket.SHUT_WR)

def abort(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))

def wait(s, events):
    poll = select.poll()
    poll.register(s, events)
    return poll.poll(20000)
"""

SERVER = PLAY + """
import threading

def idle(s): hear(s, 5); say(s); return hear(s)
def many(s): return hear(s)
def unread(s): hear(s, 5); say(s); return hear(s)
abort_ = unread
def half(s): seen = hear(s); say(s, 1000000); return seen
def half_abort(s): seen = hear(s); say(s); return seen + (', reset' if wait(s, 0) else '')
def writes(s):
    hear(s, 5); say(s); seen = hear(s)
    try:
        while wait(s, select.POLLOUT):
            say(s, 10000)
    except (ConnectionResetError, BrokenPipeError):
        return seen + ', reset'
def closes(s): hear(s, 5); say(s)
def answers(s): hear(s, 5); say(s, 1000000)
def aborts(s): hear(s, 5); say(s); abort(s)
def refuses(s): wait(s, select.POLLIN); say(s, 64000)
def after(s): hear(s, 5); say(s); end(s); return hear(s)
after_abort = after

def serve(s):
    with s:
        first = s.recv(1)
        if first == b'G':
            case = 'http'
            wait(s, select.POLLIN)
            s.recv(65536)
            s.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok')
            seen = hear(s)
        else:
            case = CASES[first[0]]
            seen = globals()['abort_' if case == 'abort' else case](s)
    if seen:
        print(case, seen, file=log, flush=True)

log = open(sys.argv[2], 'a')
with socket.create_server(('127.0.0.1', int(sys.argv[1])), backlog=100) as server:
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""

# argv: VIP, port, way: direct, or through a proxy: socks, connect, or http, which has no case of the table
CLIENT = PLAY + """
def idle(s): say(s); hear(s, 5)
def many(s): say(s, 1000000)
def unread(s): say(s); wait(s, select.POLLIN)
def abort_(s): idle(s); abort(s)
def half(s): say(s, 1000000); end(s); return hear(s)
def half_abort(s): say(s); end(s); hear(s, 5); abort(s)
writes = idle
def closes(s): say(s); return hear(s)
answers = aborts = closes
def refuses(s): say(s, 5000); return hear(s)
def after(s): say(s); seen = hear(s); say(s, 1000000); return seen
def after_abort(s): say(s); seen = hear(s); say(s); abort(s); return seen

vip, port, way = sys.argv[1], int(sys.argv[2]), sys.argv[3]

def connect():
    if way == 'direct':
        return socket.create_connection((vip, port), 20)
    s = socket.create_connection(('127.0.0.1', 18081 if way == 'socks' else 18080), 20)
    if way == 'socks':
        s.sendall(b'\\5\\1\\0\\5\\1\\0\\1' + socket.inet_aton(vip) + struct.pack('!H', port))
        hear(s, 12)
    if way == 'connect':
        s.sendall(f'CONNECT {vip}:{port} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'.encode())
        answer = b''
        while not answer.endswith(b'\\r\\n\\r\\n'):
            answer += s.recv(1)
    return s

if way == 'http':
    with connect() as s:
        s.sendall(f'GET http://{vip}:{port}/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'.encode())
        while not s.recv(65536).endswith(b'ok'):
            pass
else:
    for n, case in enumerate(CASES):
        with connect() as s:
            s.sendall(bytes([n]))
            seen = globals()['abort_' if case == 'abort' else case](s)
        if seen:
            print(case, seen)
"""


def lines(column):
    return sorted(f"{case} {seen[column]}" for case, seen in CASES.items() if seen[column])


class Ends:
    """A box with the server, whose connections are tried from other boxes."""

    def __init__(self, nswrap, directory, name):
        self.box = Box(nswrap, name)
        self.log = directory / f"{name}.log"
        self.box.serve(SERVER, PORT, self.log, port=PORT)

    def serves(self, clients):
        """Each of the clients, a box and a way, one after the other."""
        for box, way in clients:
            seen = sorted(box.do(*python(CLIENT, VIPS[self.box.name], PORT, way)).decode().splitlines())
            assert seen == ([] if way == "http" else lines(0)), (box.name, self.box.name, way)
            want = ["http end 0"] if way == "http" else lines(1)
            wait_for(lambda: len(self.log.read_text().splitlines()) >= len(want), f"the ends of {way}")
            assert sorted(self.log.read_text().splitlines()) == want, (box.name, self.box.name, way)
            self.log.write_text("")


def bare(name, program):
    return [BINARY, "exec", name, "env", program, "agent", "--stack", "streams"]


@pytest.mark.limit(300 if THOROUGH else 60)
def test_how_connections_end(nswrap, tmp_path):
    """A sandbox a, b and c without a stack, of which c is the static file; directly and through proxies."""
    ends = {name: Ends(nswrap, tmp_path, name) for name in "abc"}
    a, b, c = (at.box for at in ends.values())
    site = Site(nswrap, tmp_path)
    for name, cmd in ("a", a.sandbox_agent()), ("b", bare("b", BINARY)), ("c", bare("c", AGENT)):
        site.host(name, VIPS[name], cmd, ports=[f"{PORT}:127.0.0.1:{PORT}"],
                  http={"listen": f"127.0.0.1:{HTTP}"}, socks={"listen": f"127.0.0.1:{SOCKS}"})
    ways = ["direct", "socks", "connect", "http"]
    with site:
        if THOROUGH:
            for to in ends.values():
                to.serves([(box, way) for box in (a, b, c) for way in ways for _ in range(2)])
        else:
            at_once(lambda: ends["a"].serves([(b, "direct")]),
                    lambda: ends["b"].serves([(a, "direct"), (c, "socks"), (c, "http")]),
                    lambda: ends["c"].serves([(b, "direct"), (b, "connect")]))
