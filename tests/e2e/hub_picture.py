#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hub_picture FILE.png - docs/jupyterhub.png: a notebook of a JupyterHub with two users, as chromium shows it

By hand, as an ordinary user, with Debian's chromium installed, which the tests do not ask for."""

import os
import re
import subprocess
import sys
import tempfile

import requests

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
        subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={home}/c",
                        "--window-size=1180,720", "--virtual-time-budget=30000", f"--screenshot={path}",
                        f"{hub.url}/user/alice/notebooks/Sandbox.ipynb?token={token}"], check=True, timeout=200,
                       env={**os.environ, "HOME": home}, stderr=subprocess.DEVNULL)


def main():
    if len(sys.argv) != 2:
        raise SystemExit("hub_picture: expected FILE.png")
    harness.become_subreaper()
    hub = Hub()
    try:
        shoot(hub, os.path.abspath(sys.argv[1]))
    finally:
        hub.close()


if __name__ == "__main__":
    main()
