# SPDX-License-Identifier: Apache-2.0
"""JupyterHub with one line of configuration: two users at work on one machine, neither reaches the other

The hub is root of a user namespace, where its users have ids of their own; the network is the host's.
"""

import asyncio
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest
import requests

from harness import BINARY, PATIENCE, TCP_ECHO, Behind, free_port, free_ports, python, wait_for
from test_jupyter import Notebook
from tools import THOROUGH

ROOT = ["unshare", "-U", "--map-auto", "--map-root-user"]
USERS = {"alice": 1001, "bob": 1002}

CONFIG = """
import os
import shutil
from jupyterhub.spawner import LocalProcessSpawner
base = {base!r}
users = {users!r}

class Spawner(LocalProcessSpawner):
    # as the one of JupyterHub, for users that no /etc/passwd has
    def make_preexec_fn(self, name):
        def become():
            os.setgroups([])
            os.setgid(users[name])
            os.setuid(users[name])
            os.chdir(os.path.join(base, name))
        return become

    def user_env(self, env):
        home = os.path.join(base, self.user.name)
        env.update(HOME=home, USER=self.user.name, SHELL="/bin/sh", XDG_RUNTIME_DIR=home + "/run",
                   PYTHONPATH=base)
        return env

    async def move_certs(self, paths):
        uid, home = users[self.user.name], os.path.join(base, self.user.name)
        moved = {{}}
        for kind, path in paths.items():
            moved[kind] = shutil.copy(path, os.path.join(home, kind + ".pem"))
            os.chown(moved[kind], uid, uid)
        return moved

c.JupyterHub.spawner_class = Spawner
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.bind_url = "http://127.0.0.1:{proxy}"
c.JupyterHub.hub_port = {hub}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
c.JupyterHub.cookie_secret_file = base + "/secret"
c.JupyterHub.db_url = "sqlite:///" + base + "/hub.sqlite"
c.JupyterHub.pid_file = base + "/hub.pid"
c.ConfigurableHTTPProxy.pid_file = base + "/proxy.pid"
c.JupyterHub.cleanup_servers = {cleanup}
c.JupyterHub.cleanup_proxy = True
c.JupyterHub.last_activity_interval = 5
c.Spawner.args = ["--NotebookApp.nbserver_extensions={{'led_on': True}}", "--allow-root"]
c.Spawner.environment = {{"JUPYTERHUB_ACTIVITY_INTERVAL": "2"}}
c.Spawner.cmd = [{nswrap!r}, "--jupyterhub", "--", "jupyterhub-singleuser"]
{more}
"""

# what jupyter-server-proxy does: /proxy/PORT is that port of loopback, for who may use the server
EXTENSION = """
from notebook.base.handlers import IPythonHandler
from notebook.utils import url_path_join
from tornado import web
from tornado.httpclient import AsyncHTTPClient

class Handler(IPythonHandler):
    @web.authenticated
    async def get(self, port):
        answer = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/")
        self.finish(answer.body)

def load_jupyter_server_extension(app):
    base = app.web_app.settings["base_url"]
    app.web_app.add_handlers(".*", [(url_path_join(base, r"/proxy/(\\d+)/?"), Handler)])
"""

# a web app that a cell starts, and how the cell sees it
APP = """
import subprocess, sys, time, urllib.request
app = subprocess.Popen([sys.executable, '-c', '''
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the app of {name}")
http.server.ThreadingHTTPServer(("0.0.0.0", {port}), Handler).serve_forever()
'''], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for i in range(1000):
    try:
        print(urllib.request.urlopen('http://127.0.0.1:{port}/').read().decode())
        break
    except OSError:
        time.sleep(0.02)
"""


class Hub:
    """A JupyterHub that runs."""

    def __init__(self, more="", cleanup=True, setup=None):
        """more: lines of its configuration; setup: of a shell, as its root, in a mount namespace of its own."""
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="nswrap-hub.", dir="/tmp"))
        self.base.chmod(0o755)
        self.proxy = free_ports(3)
        self.url = f"http://127.0.0.1:{self.proxy}"
        shutil.copy(BINARY, self.base / "nswrap")
        (self.base / "led_on.py").write_text(EXTENSION)
        # one user namespace for all of it: who comes later is root of the same
        mounts = [] if setup is None else ["-m"]
        script = f"set -e\n{(setup or '').format(self.base)}\necho ready\nexec cat"
        self.holder = subprocess.Popen([*ROOT, *mounts, "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"ready\n"
        self.root = ["nsenter", "-U", *mounts, "-t", str(self.holder.pid), "-S", "0", "-G", "0"]
        homes = " && ".join(f"mkdir -p {self.base}/{name}/run && chmod -R 700 {self.base}/{name} && "
                            f"chown -R {uid}:{uid} {self.base}/{name}" for name, uid in USERS.items())
        subprocess.run([*self.root, "sh", "-c", homes], check=True)
        self.config = self.base / "config.py"
        self.config.write_text(CONFIG.format(base=str(self.base), users=USERS, proxy=self.proxy, hub=self.proxy + 1,
                                             api=self.proxy + 2, nswrap=str(self.base / "nswrap"), more=more,
                                             cleanup=cleanup))
        self.log = self.base / "log"
        self.start()

    def start(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("NSWRAP") and "proxy" not in k.lower()}
        # whichever node it is
        env["NODE_PATH"] = "/usr/share/nodejs:/usr/lib/nodejs"
        env["PATH"] = f"{self.base}:{env['PATH']}"
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen([*self.root, "jupyterhub", "-f", self.config], stdin=subprocess.DEVNULL, env=env,
                                          stdout=log, stderr=log, cwd=self.base)
        wait_for(lambda: self.is_up(), "the hub", 60)

    def is_up(self):
        assert self.popen.poll() is None, self.log.read_text()
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/hub/api", timeout=10).status_code == 200

    def end(self):
        """Only the hub: who restarts it wants the servers to go on."""
        self.popen.send_signal(signal.SIGTERM)
        self.popen.wait(60 * PATIENCE)

    def close(self):
        if self.popen.poll() is None:
            self.end()
        subprocess.run([*self.root, "rm", "-rf", self.base], check=True)
        # theirs, and not of the users who have these numbers outside
        whose = [word for uid in USERS.values() for word in ("-o", "-uid", str(uid))][1:]
        subprocess.run([*self.root, "find", "/tmp", "-maxdepth", "1", "-name", "nswrap-[0-9]*", "(", *whose, ")",
                        "-exec", "rm", "-rf", "{}", "+"], check=True)
        self.holder.stdin.close()
        self.holder.wait(10)

    def as_user(self, name, *command):
        """Run as that user, outside of all sandboxes: its stdout."""
        done = subprocess.run([*self.root, "setpriv", f"--reuid={USERS[name]}", f"--regid={USERS[name]}", "--clear-groups",
                               *command], capture_output=True, timeout=60 * PATIENCE, cwd="/")
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()


class User:
    """One of its users, with a browser."""

    def __init__(self, hub, name, password="any"):
        self.hub, self.name = hub, name
        self.browser = requests.Session()
        answer = self.browser.post(f"{hub.url}/hub/login", data={"username": name, "password": password}, timeout=60)
        assert f"/user/{name}/" in answer.url or "/hub/" in answer.url, answer.url
        token = self.browser.post(f"{hub.url}/hub/api/users/{name}/tokens", headers={"Referer": f"{hub.url}/hub/"},
                                  json={}, timeout=60)
        assert token.status_code in (200, 201), token.text
        self.headers = {"Authorization": f"token {token.json()['token']}"}

    def api(self, method, path, **options):
        return requests.request(method, f"{self.hub.url}/hub/api/users/{self.name}{path}", headers=self.headers,
                                timeout=60, **options)

    def server(self):
        return self.api("GET", "").json()["servers"].get("")

    def start(self):
        answer = self.api("POST", "/server")
        # a browser that has logged in starts it, too
        assert answer.status_code in (201, 202, 400), answer.text
        try:
            wait_for(lambda: (self.server() or {}).get("ready"), f"the server of {self.name}", 60)
        except AssertionError as error:
            raise AssertionError(f"{error}; the hub said: {self.hub.log.read_text()[-4000:]}") from None

    def stop(self):
        answer = self.api("DELETE", "/server")
        assert answer.status_code in (202, 204), answer.text
        wait_for(lambda: not self.server(), "its end", 30)

    def get(self, path):
        return requests.get(f"{self.hub.url}/user/{self.name}{path}", headers=self.headers, timeout=60)

    def page(self):
        """What the browser shows of the server, by all redirects of OAuth."""
        return self.browser.get(f"{self.hub.url}/user/{self.name}/tree", timeout=60)

    def run(self, code):
        async def cell():
            notebook = Notebook(f"{self.hub.proxy}/user/{self.name}", "")
            notebook.headers = self.headers
            await notebook.start_kernel()
            try:
                return (await notebook.execute(code))[1].strip()
            finally:
                notebook.socket.close()

        return asyncio.run(cell())


@pytest.fixture
def hubs():
    started = []

    def start(*args, **options):
        started.append(Hub(*args, **options))
        return started[-1]

    yield start
    for hub in started:
        hub.close()


CONNECT = """
import socket, sys
with socket.socket() as s:
    s.settimeout(20)
    try:
        s.connect((sys.argv[1], int(sys.argv[2])))
        s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        print("served" if s.recv(100) else "ended")
    except OSError as e:
        print(type(e).__name__)
"""


@pytest.mark.limit(240)
def test_two_users(hubs):
    """Log in, start, run a cell over the websocket, reach one's own app by /proxy; and not another's anything."""
    hub = hubs()
    alice = User(hub, "alice")
    alice.start()
    [server] = re.findall(r"127\.0\.0\.1:(\d+) leads to port \1 inside", hub.log.read_text())
    bob = User(hub, "bob")
    bob.start()
    for user in (alice, bob):
        assert user.page().status_code == 200
        assert f"/user/{user.name}/" in user.page().text
    app = free_port()
    assert alice.run(APP.format(port=app, name="alice")) == "the app of alice"
    # the same port is bob's, too
    assert bob.run(APP.format(port=app, name="bob")) == "the app of bob"
    assert alice.get(f"/proxy/{app}").text == "the app of alice"
    assert bob.get(f"/proxy/{app}").text == "the app of bob"
    # by the hub, with her address, and past it
    assert requests.get(f"{hub.url}/user/alice/proxy/{app}", headers=bob.headers, timeout=60).status_code in (403, 404)
    assert bob.browser.get(f"{hub.url}/user/alice/tree", timeout=60).status_code in (403, 404)
    connect = python(CONNECT, "127.0.0.1")
    assert hub.as_user("bob", *connect, server) in ("ended", "ConnectionResetError")
    assert hub.as_user("alice", *connect, server) == "served"
    assert hub.as_user("bob", *connect, str(app)) == "ConnectionRefusedError"
    # from inside bob's server neither
    ask = "import sys; sys.argv = ['', '127.0.0.1', '{}']\n" + CONNECT
    assert bob.run(ask.format(server)) == "ConnectionRefusedError"
    assert bob.run(ask.format(hub.proxy + 2)) == "ConnectionRefusedError"
    assert bob.run(ask.format(hub.proxy + 1)) == "served"
    alice.stop()
    assert hub.as_user("alice", *connect, server) == "ConnectionRefusedError"
    assert bob.run("print(6 * 7)") == "42"
    alice.start()
    assert alice.run("print(6 * 7)") == "42"


if THOROUGH:  # two more hubs, and certificates

    @pytest.mark.limit(240)
    def test_activity_and_a_restart_of_the_hub(hubs):
        """What the server tells the hub arrives, which is what culling looks at; and a hub that comes again finds it."""
        hub = hubs(cleanup=False)
        alice = User(hub, "alice")
        alice.start()
        first = alice.server()["last_activity"]
        assert alice.run("print(1)") == "1"

        def later():
            return (alice.server() or {}).get("last_activity") not in (None, first)

        wait_for(later, "its activity", 30)
        hub.end()
        hub.start()
        assert alice.server()["ready"]
        assert alice.run("print(6 * 7)") == "42"
        alice.stop()

    @pytest.mark.limit(240)
    def test_internal_ssl(hubs):
        """TLS between hub, proxy and server, at 0.0.0.0 as the hub asks for it; for no other client and no other user."""
        hub = hubs('c.JupyterHub.internal_ssl = True\n'
                   'c.ConfigurableHTTPProxy.api_url = c.ConfigurableHTTPProxy.api_url.replace("http:", "https:")\n'
                   'c.JupyterHub.internal_certs_location = base + "/certs"\n'
                   'c.Spawner.ip = "0.0.0.0"\nc.JupyterHub.trusted_alt_names = ["IP:127.0.0.1", "DNS:%s"]'
                   % socket.gethostname())
        alice = User(hub, "alice")
        alice.start()
        assert alice.run("print(6 * 7)") == "42"
        [server] = re.findall(r"0\.0\.0\.0:(\d+) leads to port \1 inside", hub.log.read_text())

        def curl(user, *options, scheme="https"):
            """An answer's status, or curl's own."""
            url = f"{scheme}://127.0.0.1:{server}/user/alice/api"
            words = ["curl", "-sk", "-m", "20", "-o", "/dev/null", "-w", "%{http_code} ", *options, url]
            return int(hub.as_user(user, "sh", "-c", '"$@" || echo $?', "sh", *words).split()[-1])

        # the proxy's, where all can read it
        certificate = []
        for option, kind in (("--cert", "crt"), ("--key", "key")):
            certificate += [option, f"{hub.base}/proxy.{kind}"]
            subprocess.run([*hub.root, "install", "-m", "644", f"{hub.base}/certs/proxy-client/proxy-client.{kind}",
                            certificate[-1]], check=True)
        assert curl("alice", *certificate) == 200
        assert curl("alice") < 100
        assert curl("alice", scheme="http") < 100
        # whom nswrap does not let in
        assert curl("bob", *certificate) < 100


def knows_its_name():
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return None


@pytest.mark.parametrize("variables, status, said", [
    ({}, 2, "JUPYTERHUB_SERVICE_URL is not set: expected to be started by JupyterHub"),
    ({"JUPYTERHUB_SERVICE_URL": "ftp://x/"}, 2, 'JUPYTERHUB_SERVICE_URL is "ftp://x/": expected such as'),
    ({"JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:0/"}, 2, "expected such as"),
    ({"JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:99999999999/"}, 2, "expected such as"),
    ({"JUPYTERHUB_SERVICE_URL": "http://[::1/"}, 2, "expected such as"),
    # c.Spawner.ip = "", which jupyterhub-singleuser takes for 127.0.0.1, and "*"
    ({"JUPYTERHUB_SERVICE_URL": "http://:PORT/user/me/"}, 0, r"nswrap: 127\.0\.0\.1:PORT leads to port PORT inside"),
    ({"JUPYTERHUB_SERVICE_URL": "http://*:PORT/user/me/"}, 0, r"nswrap: 0\.0\.0\.0:PORT leads to port PORT inside"),
    ({"JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:PORT/", "JUPYTERHUB_API_URL": "http://0.0.0.0:8081/hub/api"}, 0,
     "127.0.0.1:8081 inside leads to 127.0.0.1:8081 on the host"),
    ({"JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:PORT/user/me/", "JUPYTERHUB_API_URL": "x"}, 2, "JUPYTERHUB_API_URL is"),
    ({"JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:PORT/user/me/", "JUPYTERHUB_API_URL": "http://127.0.0.1:8081/hub/api",
      "JUPYTERHUB_ACTIVITY_URL": "http://127.0.0.1:8081/hub/api/users/me/activity"}, 0,
     "127.0.0.1:PORT leads to port PORT inside .*127.0.0.1:8081 inside leads to 127.0.0.1:8081 on the host"),
    ({"JUPYTERHUB_SERVICE_URL": "https://0.0.0.0:PORT/", "JUPYTERHUB_API_URL": "http://192.0.2.1:8081/hub/api"}, 0,
     "0.0.0.0:PORT is open to all users of other machines"),
    ({"JUPYTERHUB_SERVICE_URL": "http://[::1]:PORT/", "JUPYTERHUB_API_URL": "http://[::1]:8081/hub/api"}, 0,
     r"\[::1\]:PORT leads .*\[::1\]:8081 inside leads to \[::1\]:8081 on the host"),
    ({"JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:PORT/", "JUPYTERHUB_API_URL": "http://HOST:8081/hub/api"}, 0,
     "0.0.0.0:8081 inside leads to .*:8081 on the host"),
    ({"JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:PORT/", "JUPYTERHUB_API_URL": "http://localhost.:8081/hub/api"}, 0,
     "127.0.0.1:8081 inside leads to localhost:8081 on the host"),
    ({"JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:PORT/", "JUPYTERHUB_API_URL": "http://127.1:8081/hub/api"}, 0,
     "127.0.0.1:8081 inside leads to 127.0.0.1:8081 on the host"),
])
def test_what_a_hub_says(nswrap, variables, status, said):
    port = str(free_port())

    def filled(text):
        return text.replace("PORT", port).replace("HOST:", socket.gethostname() + ":")

    env = {name: filled(value) for name, value in variables.items()}
    if "HOST:" in "".join(variables.values()) and not knows_its_name():
        status, said = 125, "[Nn]ame"
    done = nswrap.run("--jupyterhub", "--", "true", env=env)
    assert done.returncode == status, done.stderr
    assert re.search(said.replace("PORT", port), done.stderr.decode().replace("\n", " ")), done.stderr


def test_names_of_the_hub(nswrap, outer):
    """A name of /etc/hosts for loopback, and one that stands beside this machine's own, which is another inside."""
    names = ("hub.test", "beside.test")
    host = outer(f"echo '127.0.0.1 localhost {names[0]}\n127.0.1.1 {socket.gethostname()} {names[1]}' >/tmp/nse.$$ && "
                 "mount --bind /tmp/nse.$$ /etc/hosts && rm /tmp/nse.$$\n")
    host.serve(TCP_ECHO, "127.0.0.1", 8081)
    host.serve(TCP_ECHO, "127.0.1.1", 8082)
    env = {"JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:8888/user/me/",
           "JUPYTERHUB_API_URL": f"http://{names[0]}:8081/hub/api", "JUPYTERHUB_ACTIVITY_URL": f"http://{names[1]}:8082/x"}
    done = nswrap.run("--jupyterhub", "--", *python(f"""
import socket
for where in {list(zip(names, (8081, 8082)))}:
    with socket.create_connection(where) as s:
        s.sendall(b"hello")
        assert s.recv(100) == b"hello"
"""), env=env, prefix=host.prefix())
    assert done.returncode == 0, done.stderr


# a server of a hub: listens where it is told to, and says that and what the hub's API echoes
SINGLEUSER = """
import os, socket, urllib.parse
at, hub = (urllib.parse.urlsplit(os.environ['JUPYTERHUB_' + name + '_URL']) for name in ('SERVICE', 'API'))
with socket.create_server((at.hostname, at.port)) as server, server.accept()[0] as peer:
    with socket.create_connection((hub.hostname, hub.port)) as s:
        s.sendall(at.geturl().encode())
        peer.sendall(s.recv(1000))
"""
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as s:
    print(s.recv(1000).decode())
"""


@pytest.mark.parametrize("ip, inside", [("0.0.0.0", "0.0.0.0"), ("192.0.2.10", "127.0.0.1")])
def test_a_hub_on_another_machine(nswrap, outer, ip, inside):
    """It is reached and reaches the server, at all addresses or at one, which inside is another."""
    beside = Behind(outer)
    try:
        beside.serve(TCP_ECHO, "192.0.2.1", 8081)
        running = nswrap.start("--jupyterhub", "--", *python(SINGLEUSER), prefix=beside.machine.prefix(), env={
            "JUPYTERHUB_SERVICE_URL": f"http://{ip}:8888/user/me/", "JUPYTERHUB_API_URL": "http://192.0.2.1:8081/hub/api"})
        running.guest_listening()
        answer = subprocess.run([*beside.machine.neighbour(), *python(ASK, beside.machine.address, 8888)],
                                capture_output=True, check=True, timeout=30 * PATIENCE)
        assert answer.stdout.decode().strip() == f"http://{inside}:8888/user/me/"
        assert running.wait() == 0
    finally:
        beside.close()


@pytest.mark.parametrize("host, status", [("192.0.2.1", 2), ("hub.example.com", 2), ("127.0.0.1", 0), ("localhost", 0)])
def test_without_a_way_out(nswrap, host, status):
    """A hub of another machine cannot be had then, which is said at once."""
    env = {"JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{free_port()}/user/me/", "JUPYTERHUB_API_URL": f"http://{host}:8081/x"}
    done = nswrap.run("--jupyterhub", "--network", "none", "--", "true", env=env)
    assert done.returncode == status, done.stderr
    if status:
        assert f'--jupyterhub: the hub is at "{host}", which --network none cuts off: expected'.encode() in done.stderr


def test_what_the_caller_says_counts(nswrap):
    """-p of the same port, -R of the same port and --only-user stay as they are; COMMAND has the hub's variables."""
    port, other = free_port(), free_port()
    env = {"JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}/user/me/", "JUPYTERHUB_API_URL": "http://localhost:8081/x"}
    done = nswrap.run("--jupyterhub", "-p", f"{port}:{other}", "-R", f"8081:{other}", "--", *python(
        "import os; print(os.environ['JUPYTERHUB_SERVICE_URL'])"), env=env)
    assert done.stdout.decode().strip() == env["JUPYTERHUB_SERVICE_URL"]
    assert f"127.0.0.1:{port} leads to port {other}" in done.stderr.decode()
    assert f"127.0.0.1:8081 inside leads to localhost:{other}" in done.stderr.decode()
