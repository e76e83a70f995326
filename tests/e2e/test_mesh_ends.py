# SPDX-License-Identifier: Apache-2.0
"""The last words of programs in a mesh"""

import shlex

import pytest

from harness import BINARY, python
from mesh_tools import Box, Site
from tools import tool

SIZE = 1_000_000
# serves one client, and ends with all of the answer still on its way; argv: how much
ANSWER_ONCE = """
import socket, sys
with socket.create_server(("127.0.0.1", 5300)) as server:
    client, _ = server.accept()
    client.sendall(bytes(int(sys.argv[1])))
    client.close()
"""
# it may begin to listen only later; but who is connected gets all of it, the first time
COUNT = """
import contextlib, socket, time
s = None
while not s:
    with contextlib.suppress(OSError):
        s = socket.create_connection(("127.0.42.101", 5300))
    time.sleep(0.01)
s.settimeout(20)
print(sum(map(len, iter(lambda: s.recv(65536), b""))))
"""


@pytest.mark.agents(but=("streams",), thorough=True)
def test_the_answer_of_a_server_that_ends(nswrap, short_dir):
    """Over a link that takes a moment for it."""
    site, client = Site(nswrap, short_dir), Box(nswrap, "client")
    command = shlex.join(["exec", *python(ANSWER_ONCE, SIZE)])
    site.host("once", "127.0.42.101",
              [tool("wanpipe"), "-d", "25", "-r", "50", "--",
               BINARY, "-n", "once", "--network", "none", "-c", command],
              ports=["5300:127.0.0.1:5300"])
    site.host("client", "127.0.42.102", client.agent())
    with site:
        assert client.do(*python(COUNT)).split() == [str(SIZE).encode()]


@pytest.mark.agents(but=("streams",), thorough=True)
def test_the_answer_that_waits_for_a_slow_client(nswrap, short_dir):
    """Its kernel has most of the answer yet as the server ends: the agent stays for it."""
    site, client, size = Site(nswrap, short_dir), Box(nswrap, "client"), 400_000
    command = shlex.join(["exec", *python(ANSWER_ONCE, size)])
    site.host("once", "127.0.42.101", [BINARY, "-n", "once", "--network", "none", "-c", command],
              ports=["5300:127.0.0.1:5300"])
    site.host("client", "127.0.42.102",
              [tool("wanpipe"), "-d", "25", "-r", "1", "--", *client.agent()])
    with site:
        assert client.do(*python(COUNT)).split() == [str(size).encode()]
