# SPDX-License-Identifier: Apache-2.0
"""The recipes of docs/jupyterhub.md: other spawners, PAM, culling

sudospawner, systemdspawner and batchspawner are stand-ins: what each does between the hub and the command is done
by SPAWNERS, with the programs of the page as they are printed there.
"""

import pathlib
import re
import shutil

import pytest
import requests

from harness import TREE, wait_for
from test_jupyterhub import USERS, User, hubs  # noqa: F401 (a fixture)
from tools import THOROUGH

PAGE = (TREE / "docs/jupyterhub.md").read_text()



def test_debians_service():
    """What it takes away, and where it reads its configuration: undone and named by the page."""
    unit = pathlib.Path("/usr/lib/systemd/system/jupyterhub.service").read_text()
    [more] = re.findall(r"^```ini\n(\[Service\]\n.*?)^```", PAGE, re.M | re.S)
    before, after = (dict(line.split("=", 1) for line in text.splitlines() if "=" in line) for text in (unit, unit + more))
    assert (before["PrivateDevices"], after["PrivateDevices"]) == ("yes", "no")
    # traitlets puts a suffix of its own behind the name
    [config] = re.findall(r" -f (/\S+)\.yaml\b", after["ExecStart"])
    assert f"{config}.py, where the line goes" in PAGE
    assert pathlib.Path(config).parent.is_dir()


SPAWNERS = """
import asyncio
import json
import subprocess
import sys
from jupyterhub.apihandlers import APIHandler, default_handlers
from jupyterhub.utils import random_port
from tornado import web

class Sudo(Spawner):
    # a mediator, started by sudo as the user, starts a script beside itself; the hub has no say in which, but in PATH
    async def start(self):
        self.port = random_port()
        env = self.get_env()
        env.pop("PYTHONPATH", None)
        env["PATH"] = base + "/decoys:" + env["PATH"]
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

# a stand-in for jupyterhub-idle-culler, as the hub starts it: asks for good, and counts AGE seconds more to what is idle
CULLER = """
import argparse, datetime, json, os, time, urllib.request

def ask(method, path):
    request = urllib.request.Request(os.environ["JUPYTERHUB_API_URL"] + path, method=method,
                                     headers={"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"null")

parser = argparse.ArgumentParser()
parser.add_argument("--timeout", type=int, required=True)
timeout_s = parser.parse_args().timeout
os.chdir(os.path.dirname(__file__))
while True:
    age_s = int(open("age").read() or 0)
    for user in ask("GET", "/users?state=ready"):
        last = datetime.datetime.fromisoformat(user["servers"][""]["last_activity"].replace("Z", "+00:00"))
        if (datetime.datetime.now(datetime.timezone.utc) - last).total_seconds() + age_s >= timeout_s:
            ask("DELETE", "/users/" + user["name"] + "/server")
            open("culled", "a").write(user["name"] + "\\n")
    open("rounds", "a").write(".")
    time.sleep(0.2)
"""
CULLS = "cat >{0}/jupyterhub_idle_culler.py <<'END'" + CULLER.replace("{", "{{").replace("}", "}}") + """END
echo 0 >{0}/age
: >{0}/rounds
: >{0}/culled
"""

DEBIANS = """
os.environ["PYTHONPATH"] = base
c.JupyterHub.spawner_class = "jupyterhub.spawner.LocalProcessSpawner"
c.JupyterHub.authenticator_class = "pam"
c.Spawner.args = []
"""


if THOROUGH:  # a hub each

    @pytest.mark.limit(240)
    @pytest.mark.parametrize("kind, line", [("Sudo", ""), ("Systemd", 'c.Spawner.cmd = ["nswrap"'),
                                            ("Batch", 'c.Spawner.cmd = ["nswrap-singleuser"')],
                             ids=["sudospawner", "systemdspawner", "batchspawner"])
    def test_spawners(hubs, kind, line):  # noqa: F811
        """Start, a cell, no way in for another user; stop."""
        hub = hubs(SPAWNERS + f'c.JupyterHub.spawner_class = {kind}\nc.Spawner.args = ["--allow-root"]\n' +
                   (configured(line) if line else 'c.Spawner.cmd = ["false"]\n'))
        # both stand beside sudospawner; what has their names in PATH is not for them
        installed = script("sudospawner-singleuser").replace("exec /usr/bin/nswrap ", f"exec {hub.base}/nswrap ")
        assert str(hub.base) in installed
        install(hub, "sudospawner-singleuser", installed)
        (hub.base / "jupyterhub-singleuser").symlink_to(shutil.which("jupyterhub-singleuser"))
        (hub.base / "decoys").mkdir()
        for name in "nswrap", "jupyterhub-singleuser", "dirname":
            install(hub, f"decoys/{name}", "#!/bin/sh\necho decoy >&2\nexit 3\n")
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
        lines = configured("c.JupyterHub.services", "c.JupyterHub.load_roles", 'c.Spawner.cmd = ["nswrap", "--jupyterhub"')
        hub = hubs(DEBIANS + lines, setup=PAM + CULLS)
        refused = requests.post(f"{hub.url}/hub/login", data={"username": "alice", "password": "wrong"}, timeout=60)
        assert "Invalid username or password" in refused.text, (refused.url, hub.log.read_text()[-2000:])

        def read(name):
            return (hub.base / name).read_text()

        alice, bob = User(hub, "alice", "secret"), User(hub, "bob", "secret")
        alice.start()
        bob.start()
        assert alice.run("import os; print(os.getuid())") == str(USERS["alice"])
        assert bob.run("import os, pwd; print(pwd.getpwuid(os.getuid()).pw_name)") == "bob"
        rounds = len(read("rounds"))
        wait_for(lambda: len(read("rounds")) > rounds + 1, "the culler to look")
        assert read("culled") == ""
        (hub.base / "age").write_text("3594")

        def only_alice_works():
            alice.run("print(1)")
            return set(read("culled").split())

        assert wait_for(only_alice_works, "one to be culled", 60) == {"bob"}
        wait_for(lambda: not bob.server(), "its end", 30)
        assert alice.run("print(6 * 7)") == "42"
        wait_for(lambda: hub.as_user("bob", "sh", "-c", f"pgrep -U {USERS['bob']} nswrap || true") == "", "all of bob's to be gone")
