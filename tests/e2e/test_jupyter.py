# SPDX-License-Identifier: Apache-2.0
"""e2e/test_jupyter - the program nswrap was made for: a notebook server in its own network"""

import asyncio
import json
import os
import secrets
import signal
import uuid

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from harness import PATIENCE, free_port, is_refused

# what the notebook's kernel runs to start a server that nobody outside may reach
START_SERVER = """
import subprocess, sys, time, urllib.request
server = subprocess.Popen([sys.executable, '-m', 'http.server', '--bind', '0.0.0.0', '{port}'],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print('started', server.pid)
"""
ASK_SERVER = """
import time, urllib.request
end = time.monotonic() + 20
while True:
    try:
        with urllib.request.urlopen('http://127.0.0.1:{port}/', timeout=5) as page:
            print('inside', page.status)
        break
    except OSError:
        if time.monotonic() > end:
            raise
        time.sleep(0.05)
"""


class Notebook:
    """A client of one notebook server."""

    def __init__(self, port, token):
        self.base = f"127.0.0.1:{port}"
        self.headers = {"Authorization": f"token {token}"}
        self.session = uuid.uuid4().hex
        self.socket = None

    async def rest(self, method, path, body=None, headers=None):
        request = HTTPRequest(
            f"http://{self.base}{path}", method=method, request_timeout=30 * PATIENCE,
            headers=self.headers if headers is None else headers,
            body=None if method == "GET" else json.dumps(body or {}))
        return await AsyncHTTPClient().fetch(request)

    async def wait_until_up(self):
        """The forward holds the first connection until the server listens."""
        answer = await self.rest("GET", "/api/status")
        return json.loads(answer.body)

    async def start_kernel(self):
        answer = await self.rest("POST", "/api/kernels", {"name": "python3"})
        self.kernel = json.loads(answer.body)["id"]
        url = f"ws://{self.base}/api/kernels/{self.kernel}/channels?session_id={self.session}"
        self.socket = await websocket_connect(HTTPRequest(url, headers=self.headers))

    async def execute(self, code):
        """(result, printed) of code; raises what the kernel raised."""
        ask = uuid.uuid4().hex
        await self.socket.write_message(json.dumps({
            "header": {"msg_id": ask, "msg_type": "execute_request", "session": self.session,
                       "username": "", "version": "5.3", "date": ""},
            "parent_header": {}, "metadata": {}, "channel": "shell", "buffers": [],
            "content": {"code": code, "silent": False, "store_history": False,
                        "user_expressions": {}, "allow_stdin": False, "stop_on_error": True}}))
        result, printed = None, ""
        while True:
            text = await self.socket.read_message()
            assert text is not None, "the websocket was closed"
            message = json.loads(text)
            if message["parent_header"].get("msg_id") != ask:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "execute_result":
                result = content["data"]["text/plain"]
            elif kind == "stream":
                printed += content["text"]
            elif kind == "error":
                raise AssertionError("\n".join(content["traceback"]))
            elif kind == "status" and content["execution_state"] == "idle":
                return result, printed


async def use(port, token, hidden):
    notebook = Notebook(port, token)
    await notebook.wait_until_up()

    for headers in ({}, {"Authorization": "token wrong"}):
        with pytest.raises(HTTPClientError) as refused:
            await notebook.rest("GET", "/api/kernels", headers=headers)
        assert refused.value.code == 403

    await notebook.start_kernel()
    assert await notebook.execute("6*7") == ("42", "")

    await notebook.execute(START_SERVER.format(port=hidden))
    assert await notebook.execute(ASK_SERVER.format(port=hidden)) == (None, "inside 200\n")
    assert is_refused(hidden), "the host reached a server that the notebook started"
    notebook.socket.close()


@pytest.mark.limit(120)
def test_jupyter_notebook(nswrap, short_dir):
    home = os.path.join(short_dir, "home")
    os.mkdir(home)
    token = secrets.token_hex(16)
    hidden = free_port()
    running = nswrap.start(
        "-n", "notebook", "-p", 0, "-P", 8888, "--wait", 60, "-t", 60, "--",
        "/usr/bin/jupyter-notebook", "--no-browser", "--ip=127.0.0.1", "--port={guest-port}",
        f"--notebook-dir={home}", *(["--allow-root"] if os.getuid() == 0 else []),
        env={"HOME": home, "JUPYTER_TOKEN": token, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"})
    asyncio.run(asyncio.wait_for(use(running.host_port(), token, hidden), 100 * PATIENCE))
    # the notebook asks nobody on SIGTERM: it ends its kernels and itself
    running.signal(signal.SIGTERM)
    assert running.wait(70) in (0, 143)
    assert is_refused(running.host_port())
