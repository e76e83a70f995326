# SPDX-License-Identifier: Apache-2.0
"""The recipes of docs/jupyterhub.md: other spawners, PAM, culling

sudospawner, systemdspawner and batchspawner are stand-ins: what each does between the hub and the command is done
by SPAWNERS, with the programs of the page as they are printed there.
"""

import datetime
import re

import pytest
import requests

from harness import TREE, wait_for
from test_jupyterhub import USERS, User, hubs  # noqa: F401 (a fixture)
from tools import THOROUGH

PAGE = (TREE / "docs/jupyterhub.md").read_text()

SPAWNERS = """
import asyncio
import json
import subprocess
import sys
from jupyterhub.apihandlers import APIHandler, default_handlers
from jupyterhub.utils import random_port
from tornado import web

class Sudo(Spawner):
    # a mediator, started by sudo as the user, starts a script beside itself; the hub has no say in which
    async def start(self):
        self.port = random_port()
        env = self.get_env()
        env.pop("PYTHONPATH", None)
        mediator = await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", '''
import json, os, subprocess, sys
said = json.load(sys.stdin)
null = open(os.devnull, "r+")
server = subprocess.Popen([said["script"], *said["args"]], env=said["env"], stdin=null, stdout=sys.stderr, preexec_fn=os.setpgrp)
print(server.pid, flush=True)
os.close(1)
server.wait()
''', stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, preexec_fn=self.make_preexec_fn(self.user.name), env={})
        said = {"script": base + "/sudospawner-singleuser", "args": self.get_args(), "env": env}
        mediator.stdin.write(json.dumps(said).encode())
        mediator.stdin.close()
        self.pid = int(await mediator.stdout.readline())
        return "127.0.0.1", self.port

class Systemd(Spawner):
    # a transient unit of the user's, here with disable_user_sudo
    async def start(self):
        self.port = random_port()
        self.proc = subprocess.Popen(["setpriv", "--no-new-privs", *self.cmd, *self.get_args()], env=self.get_env(),
                                     preexec_fn=self.make_preexec_fn(self.user.name), start_new_session=True)
        self.pid = self.proc.pid
        return "127.0.0.1", self.port

class Batch(Spawner):
    # a job whose port is chosen where it runs, and told to the hub; listens at 0.0.0.0
    ip = "0.0.0.0"

    async def start(self):
        self.port = 0
        script = "#!/bin/sh\\n" + " ".join(["batchspawner-singleuser", *self.cmd, *self.get_args()])
        self.proc = subprocess.Popen([base + "/sbatch"], stdin=subprocess.PIPE, env=self.get_env(), start_new_session=True,
                                     preexec_fn=self.make_preexec_fn(self.user.name))
        self.pid = self.proc.pid
        self.proc.stdin.write(script.encode())
        self.proc.stdin.close()
        while not self.port:
            await asyncio.sleep(0.05)
        return "127.0.0.1", self.port

    async def _signal(self, number):
        os.killpg(self.pid, number)  # as scancel

class Port(APIHandler):
    @web.authenticated
    def post(self):
        spawner, = self.current_user.spawners.values()
        spawner.port = self.get_json_body()["port"]

default_handlers.append((r"/api/batchspawner", Port))
"""

SBATCH = """#!/bin/sh
cat >$HOME/job
exec sh $HOME/job >$HOME/job.log 2>&1 </dev/null
"""

SINGLEUSER = """#!/usr/bin/python3
import os, re, runpy, shutil, socket, sys
import requests
with socket.socket() as s:
    s.bind(("", 0))
    port = s.getsockname()[1]
requests.post(os.environ["JUPYTERHUB_API_URL"] + "/batchspawner", json={"port": port},
              headers={"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]}).raise_for_status()
url = os.environ["JUPYTERHUB_SERVICE_URL"]
os.environ["JUPYTERHUB_SERVICE_URL"] = re.sub(r"(//[^/:]*)(:\\d+)?", rf"\\1:{port}", url, count=1)
sys.argv = sys.argv[1:]
runpy.run_path(shutil.which(sys.argv[0]), run_name="__main__")
"""


def configured(*starts):
    """Lines of the page's configuration that begin so."""
    found = [re.findall(rf"^{re.escape(start)}.*$", PAGE, re.M) for start in starts]
    assert all(len(lines) == 1 for lines in found), found
    return "".join(lines[0] + "\n" for lines in found)


def script(name):
    """A program of the page: the block after the one paragraph that names it last."""
    [text] = re.findall(rf"{name}`?:\n\n```\n(#!.*?)^```", PAGE, re.M | re.S)
    return text


def install(hub, name, text):
    (hub.base / name).write_text(text)
    (hub.base / name).chmod(0o755)


# users that the machine has not got: of the hub's mount namespace
PAM = """
mkdir {0}/etc
cp /etc/passwd /etc/group {0}/etc/
hash=$(openssl passwd -6 secret)
: >{0}/etc/shadow
for user in alice:1001 bob:1002; do
    name=${{user%%:*}} id=${{user##*:}}
    sed -i "1i $name:x:$id:$id::{0}/$name:/bin/sh" {0}/etc/passwd
    sed -i "1i $name:x:$id:" {0}/etc/group
    echo "$name:$hash:20000:0:99999:7:::" >>{0}/etc/shadow
done
chmod 600 {0}/etc/shadow
for file in passwd group shadow; do mount --bind {0}/etc/$file /etc/$file; done
"""

CULLER = """
c.JupyterHub.spawner_class = "jupyterhub.spawner.LocalProcessSpawner"
c.JupyterHub.authenticator_class = "pam"
c.Spawner.args = []
c.JupyterHub.services = [{"name": "cull", "api_token": "of-the-culler"}]
c.JupyterHub.load_roles = [{"name": "cull", "services": ["cull"], "scopes": [
    "list:users", "read:users:activity", "read:servers", "delete:servers"]}]
"""


def cull(hub, idle_s):
    """What jupyterhub-idle-culler does each time: the names of those whose servers it has stopped."""
    def ask(method, path):
        done = requests.request(method, f"{hub.url}/hub/api{path}", headers={"Authorization": "token of-the-culler"}, timeout=60)
        assert done.status_code < 300, done.text
        return done

    culled = []
    for user in ask("GET", "/users?state=ready").json():
        last = datetime.datetime.fromisoformat(user["servers"][""]["last_activity"].replace("Z", "+00:00"))
        if (datetime.datetime.now(datetime.timezone.utc) - last).total_seconds() >= idle_s:
            ask("DELETE", f"/users/{user['name']}/server")
            culled.append(user["name"])
    return culled


if THOROUGH:  # a hub each

    @pytest.mark.limit(240)
    @pytest.mark.parametrize("kind, line", [("Sudo", ""), ("Systemd", 'c.Spawner.cmd = ["nswrap"'),
                                            ("Batch", 'c.Spawner.cmd = ["nswrap-singleuser"')],
                             ids=["sudospawner", "systemdspawner", "batchspawner"])
    def test_spawners(hubs, kind, line):  # noqa: F811
        """Start, a cell, no way in for another user; stop."""
        hub = hubs(SPAWNERS + f'c.JupyterHub.spawner_class = {kind}\nc.Spawner.args = ["--allow-root"]\n' +
                   (configured(line) if line else 'c.Spawner.cmd = ["false"]\n'))
        install(hub, "sudospawner-singleuser", script("sudospawner-singleuser"))
        install(hub, "nswrap-singleuser", script("nswrap-singleuser"))
        install(hub, "sbatch", SBATCH)
        install(hub, "batchspawner-singleuser", SINGLEUSER)
        alice = User(hub, "alice")
        alice.start()
        assert alice.run("print(6 * 7)") == "42"
        logs = hub.log.read_text() + (hub.as_user("alice", "cat", f"{hub.base}/alice/job.log") if kind == "Batch" else "")
        [server] = re.findall(r"(?:127\.0\.0\.1|0\.0\.0\.0):(\d+) leads to port \1 inside", logs)
        ask = ["curl", "-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{server}/user/alice/api"]
        assert hub.as_user("alice", *ask) == "200"
        assert hub.as_user("bob", "sh", "-c", " ".join(ask) + " || true") == "000"
        alice.stop()
        assert hub.as_user("alice", "sh", "-c", " ".join(ask) + " || true") == "000"

    @pytest.mark.limit(240)
    def test_pam_and_culling(hubs):  # noqa: F811
        """JupyterHub as Debian configures it, and the one line; who is idle is stopped, and who is not stays."""
        hub = hubs(CULLER + configured('c.Spawner.cmd = ["nswrap", "--jupyterhub"'), setup=PAM)
        refused = requests.post(f"{hub.url}/hub/login", data={"username": "alice", "password": "wrong"}, timeout=60)
        assert "Invalid username or password" in refused.text, (refused.url, hub.log.read_text()[-2000:])
        alice, bob = User(hub, "alice", "secret"), User(hub, "bob", "secret")
        alice.start()
        bob.start()
        assert alice.run("import os; print(os.getuid())") == str(USERS["alice"])
        assert bob.run("import os, pwd; print(pwd.getpwuid(os.getuid()).pw_name)") == "bob"
        assert cull(hub, 3600) == []

        def only_alice_works():
            alice.run("print(1)")
            return cull(hub, 6)

        assert wait_for(only_alice_works, "one to be culled", 60) == ["bob"]
        wait_for(lambda: not bob.server(), "its end", 30)
        assert alice.run("print(6 * 7)") == "42"
        wait_for(lambda: hub.as_user("bob", "sh", "-c", f"pgrep -U {USERS['bob']} nswrap || true") == "", "all of bob's to be gone")
