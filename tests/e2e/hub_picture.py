#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hub_picture FILE.png - docs/jupyterhub.png: a notebook of a JupyterHub with two users, as chromium shows it

By hand, as an ordinary user, with what `scripts/setup test thorough` installs."""

import asyncio
import base64
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import requests
from tornado.websocket import websocket_connect

import harness
from test_jupyterhub import Hub, User

CELLS = [
    ("Who listens, as seen from alice's server", None),
    (None, "import subprocess\nprint(subprocess.getoutput(\"ss -Hltn | awk '{{ print $4 }}' | paste -s -d' '\"))"),
    ("The proxy's own port on this machine is out of reach, and so is bob's server; the hub's port is led in", None),
    (None, "print(subprocess.getoutput('curl -sS http://127.0.0.1:{proxy}/api/routes'))"),
    (None, "print(subprocess.getoutput('curl -sS http://127.0.0.1:{bob}/user/bob/api'))"),
    (None, "print(subprocess.getoutput('curl -sS http://127.0.0.1:{hub}/hub/api'))"),
]


def notebook(user, **ports):
    cells = []
    for text, code in CELLS:
        if text:
            cells.append({"cell_type": "markdown", "metadata": {}, "source": text})
            continue
        code = code.format(**ports)
        said = user.run("import subprocess\n" + code)
        cells.append({"cell_type": "code", "execution_count": len(cells), "metadata": {}, "source": code,
                      "outputs": [{"output_type": "stream", "name": "stdout", "text": said + "\n"}]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}


def shoot(hub, path):
    alice, bob = User(hub, "alice"), User(hub, "bob")
    for user in (alice, bob):
        user.start()
    [_, server] = re.findall(r"127\.0\.0\.1:(\d+) leads to port \1 inside", hub.log.read_text())
    content = notebook(alice, hub=hub.proxy + 1, proxy=hub.proxy + 2, bob=server)
    requests.put(f"{hub.url}/user/alice/api/contents/Sandbox.ipynb", headers=alice.headers, timeout=60,
                 json={"type": "notebook", "content": content}).raise_for_status()
    token = alice.headers["Authorization"].split()[1]
    with tempfile.TemporaryDirectory() as home:
        browser = subprocess.Popen(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                                    f"--user-data-dir={home}/c", "--window-size=1180,780", "--remote-debugging-port=0",
                                    f"{hub.url}/user/alice/notebooks/Sandbox.ipynb?token={token}"],
                                   env={**os.environ, "HOME": home}, stderr=subprocess.DEVNULL)
        try:
            port = pathlib.Path(home, "c/DevToolsActivePort")
            harness.wait_for(lambda: port.exists() and "\n" in port.read_text(), "the browser", 60)
            path.write_bytes(asyncio.run(asyncio.wait_for(screenshot(port.read_text().split()[0]), 120)))
        finally:
            browser.terminate()
            browser.wait()


# what the page shows when the kernel is there, and has nothing to do
IS_IDLE = "!!document.querySelector('.kernel_idle_icon') && $('#notification_kernel:visible').length == 0"


async def screenshot(port):
    """Of the page, by the DevTools of chromium, once the kernel is idle."""
    [url] = [page["webSocketDebuggerUrl"] for page in requests.get(f"http://127.0.0.1:{port}/json", timeout=60).json()
             if page["type"] == "page"]
    socket = await websocket_connect(url, max_message_size=1 << 27)

    async def ask(method, **params):
        socket.write_message(json.dumps({"id": 1, "method": method, "params": params}))
        while (answer := json.loads(await socket.read_message())).get("id") != 1:
            pass
        return answer["result"]

    while (await ask("Runtime.evaluate", expression=IS_IDLE))["result"].get("value") is not True:
        await asyncio.sleep(0.1)
    return base64.b64decode((await ask("Page.captureScreenshot"))["data"])


def main():
    if len(sys.argv) != 2:
        raise SystemExit("hub_picture: expected FILE.png")
    harness.become_subreaper()
    hub = Hub()
    try:
        shoot(hub, pathlib.Path(sys.argv[1]).absolute())
    finally:
        hub.close()


if __name__ == "__main__":
    main()
