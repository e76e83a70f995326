# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_lists - hosts that come from a list: kubectl, Slurm, ssh's configuration"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

import harness
from harness import BINARY, PATIENCE, TCP_ECHO, free_port, python, wait_for
from mesh_tools import Box, echoed, network, start_mesh

PYTHON, FAKE = sys.executable, str(harness.TREE / "tests/e2e/fake_agent.py")

# as far as stdio goes what `kubectl exec -i POD -- COMMAND...` does: words on stderr, 1 with an error for
# a pod that is not there, the command's own status with a line; and what it started in the pod goes on,
# its stdin open, when kubectl is killed. $PODS: a directory with a file for each pod
KUBECTL = """#!/bin/sh
verb=$1; shift
if [ "$verb" = get ]; then
    [ -e "$PODS/.down" ] && { echo "The connection to the server 10.0.0.1:6443 was refused" >&2; exit 1; }
    for pod in "$PODS"/*; do [ -e "$pod" ] && echo "pod/${pod##*/}"; done
    [ -n "$(ls "$PODS")" ] || echo "No resources found in default namespace." >&2
    exit 0
fi
shift # -i
pod=${1##*/}; shift 2
[ -e "$PODS/$pod" ] || { echo "Error from server (NotFound): pods \\"$pod\\" not found" >&2; exit 1; }
echo 'Defaulted container "main" out of: main, sidecar' >&2
mkfifo "$PODS/.$pod.$$"
setsid sh -c 'echo $$ >>"$0"; exec "$@"' "$PODS/.$pod.pids" "$@" <"$PODS/.$pod.$$" 2>&2 &
server=$!
exec 3>"$PODS/.$pod.$$"
(sleep 1000 3>&3) 2>/dev/null >/dev/null & # the API server, which keeps the stdin open
keeper=$!
cat >&3
kill $keeper
exec 3>&-
wait $server; status=$?
[ $status = 0 ] || echo "command terminated with exit code $status" >&2
exit $status
"""

# as far as stdio goes what srun(1) does in a job, for one task: its stdin is the task's; of stdout whole
# lines are passed on, as they come with -u, and stdout is a terminal then, a raw one; an exit status is
# srun's, with a line; a node that is not of the job is refused. $NODES: a file with a line for each
SRUN = """
import os, pty, signal, subprocess, sys, threading, tty
words = sys.argv[1:]
node, unbuffered = None, False
while words[0].startswith('-'):
    word = words.pop(0)
    unbuffered |= word == '-u'
    if word == '-w':
        node = words.pop(0)
def say(text):
    print('srun: ' + text, file=sys.stderr, flush=True)
if node not in open(os.environ['NODES']).read().split():
    say('error: Unable to create step for job 7: Requested node configuration is not available')
    sys.exit(1)
out, there = pty.openpty() if unbuffered else os.pipe()
if unbuffered:
    tty.setraw(there)
task = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=there, start_new_session=True,
                        env={**os.environ, 'SLURMD_NODENAME': node})
os.close(there)
def on_term(*_):
    say('Job step aborted: Waiting up to 32 seconds for job step to finish.')
    os.killpg(task.pid, signal.SIGTERM)
signal.signal(signal.SIGTERM, on_term)
def feed():
    try:
        while part := os.read(0, 65536):
            task.stdin.write(part)
            task.stdin.flush()
        task.stdin.close()
    except OSError:
        pass
threading.Thread(target=feed, daemon=True).start()
rest = b''
while True:
    try:
        part = os.read(out, 65536)
    except OSError:  # EIO: a terminal that nobody has open any more
        part = b''
    rest += part
    end = len(rest) if unbuffered or not part else rest.rfind(b'\\n') + 1
    while end:
        done = os.write(1, rest[:end])
        rest, end = rest[done:], end - done
    if not part:
        break
status = task.wait()
if status:
    say(f'error: {node}: task 0: Exited with exit code {status}')
os._exit(status if status >= 0 else 128 - status)
"""


class Cluster:
    """Pods, and a mesh of them."""

    def __init__(self, nswrap, tmp_path, name="cluster", hosts=None, **more):
        self.nswrap, self.name = nswrap, name
        self.pods, self.bin = tmp_path / "pods", tmp_path / "bin"
        self.pods.mkdir()
        self.bin.mkdir()
        (self.bin / "kubectl").write_text(KUBECTL)
        (self.bin / "kubectl").chmod(0o755)
        self.env = {"PODS": str(self.pods), "PATH": f"{self.bin}:{os.environ['PATH']}"}
        self.net = network()
        self.path = tmp_path / f"{name}.yaml"
        self.list = {"list": "kubectl get pods -o name", "vips": f"{self.net}.128/25", "every": "1s",
                     "cmd": f"kubectl exec -i {{name}} -- env POD={{name}} {BINARY} agent --stack streams", **more}
        self.hosts = hosts or {}

    def write(self, **more):
        self.list.update(more)
        self.path.write_text(json.dumps({"hosts": self.hosts, "hostsFrom": [self.list]}))

    def pod(self, name):
        (self.pods / name).touch()

    def gone(self, name):
        (self.pods / name).unlink()

    @contextlib.contextmanager
    def mesh(self):
        self.write()
        self.running = start_mesh(self.nswrap, self.path, self.env)
        popen = self.running.popen
        try:
            wait_for(lambda: self.nswrap.run("mesh", "status", self.name).returncode == 0, "the mesh")
            yield self
            below = self.running.tree()
            status = popen.returncode if popen.poll() is not None else self.running.stop()
            assert status == 0, self.said()
            wait_for(lambda: not any(map(harness.is_alive, below)), "the end of all commands", 3)
        finally:
            if popen.poll() is None:
                self.running.stop()
            for pids in self.pods.glob(".*.pids"):
                for pid in map(int, pids.read_text().split()):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def said(self):
        return self.running.stderr.text()

    def status(self):
        done = self.nswrap.run("mesh", "status", "--json", self.name)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def ready(self):
        return {host["name"]: host["vip"] for host in self.status()["hosts"] if host["state"] == "ready"}

    def wait_ready(self, *names):
        """Wait until these hosts are there, and no others; {name: VIP}."""
        def look():
            ready = self.ready()
            return ready if sorted(ready) == sorted(names) and len(self.status()["hosts"]) == len(names) else None

        try:
            return wait_for(look, f"{names} to be ready", 15)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said {self.said()}") from None


@pytest.mark.agents(but=("streams",), thorough=True)
def test_hosts_come_and_go(nswrap, tmp_path):
    """Without a word from the others, which keep what they have: links, and connections with hosts that
    stay."""
    port = free_port()
    def told():
        return [line["configure"] for line in map(json.loads, log.read_text().splitlines()) if "configure" in line]

    server = subprocess.Popen(python(TCP_ECHO, "127.0.0.1", port), stdin=subprocess.DEVNULL)
    box = Box(nswrap, "lists-box")
    # one that writes down what it is told
    log = tmp_path / "told"
    other = {"vip": f"{network()}.99", "cmd": [PYTHON, FAKE, "--log", str(log), "--features", "tcp,udp,reconfigure,amend"]}
    cluster = Cluster(nswrap, tmp_path, hosts={"other": other, "box": {"vip": f"{network()}.100", "cmd": box.agent()}},
                      ports=[f"{port}:127.0.0.1:{port}"], loopback={"disable": True})
    cluster.pod("worker-0")
    try:
        with cluster.mesh():
            first = cluster.wait_ready("other", "box", "worker-0")
            cluster.pod("worker-1")
            both = cluster.wait_ready("other", "box", "worker-0", "worker-1")
            assert both["worker-0"] == first["worker-0"] == f"{cluster.net}.129"
            # what the box was told of is there: a name and a port
            wait_for(lambda: box.run("getent", "hosts", "worker-1").returncode == 0, "the name to be told")
            echoed(box, os.urandom(50_000), f"{both['worker-0']}:{port}", f"{both['worker-1']}:{port}")
            names = box.do("getent", "hosts", "worker-1").split()
            assert names[0].decode() == both["worker-1"]
            cluster.gone("worker-1")
            cluster.wait_ready("other", "box", "worker-0")
            wait_for(lambda: box.run("getent", "hosts", "worker-1").returncode != 0, "the name to be gone")
            vip = both["worker-1"]
            was = {"others": [{"ip": vip, "port": port, "proto": "tcp"}], "hostnameMap": {"worker-1": vip},
                   "nameServers": [{"ip": vip, "port": 10053, "proto": proto} for proto in ("tcp", "udp")]}
            both_told = [{"remove": {}, "add": was}, {"remove": was, "add": {}}]
            wait_for(lambda: told()[-2:] == both_told, f"{both_told} to be told")
            # the same name keeps its address
            cluster.pod("another")
            cluster.pod("worker-1")
            last = cluster.wait_ready("other", "box", "worker-0", "worker-1", "another")
            assert last["worker-1"] == both["worker-1"] and last["another"] == f"{cluster.net}.131"
            assert {host["name"]: host["restarts"] for host in cluster.status()["hosts"]} == dict.fromkeys(last, 0)
            wait_for(lambda: box.run("getent", "hosts", "another").returncode == 0, "its name to be told")
    finally:
        server.kill()
        server.wait()


def test_a_list_that_fails_changes_nothing(nswrap, tmp_path):
    cluster = Cluster(nswrap, tmp_path, "failing")
    cluster.pod("worker-0")
    with cluster.mesh():
        cluster.wait_ready("worker-0")
        (cluster.pods / ".down").touch()
        cluster.running.wait_line(r'list "kubectl get pods -o name": ended with status 1: The connection to the '
                                  r'server 10.0.0.1:6443 was refused; its 1 host stays as before', 10)
        assert list(cluster.ready()) == ["worker-0"]
        [said] = cluster.status()["lists"]
        assert said["hosts"] == 1 and said["known"] and "was refused" in said["reason"]
        # the last answer grows older while there is none
        wait_for(lambda: cluster.status()["lists"][0]["age"] >= 2, "two seconds without an answer")
        table = cluster.nswrap.run("mesh", "status", "failing").stdout.decode()
        assert "list kubectl get pods -o name: ended with status 1: The connection" in table
        # it is said once
        cluster.pod("worker-1")
        (cluster.pods / ".down").unlink()
        cluster.wait_ready("worker-0", "worker-1")
        assert cluster.said().count("was refused") == 1
        assert cluster.status()["lists"][0]["reason"] is None and cluster.status()["lists"][0]["age"] < 30


@pytest.mark.parametrize("says, advice", [
    ("ssh: Could not resolve hostname login.cluster: Name or service not known", "there is no host of that name"),
    ("user@login.cluster: Permission denied (publickey).", "log in by hand with the same command first"),
    ("error: You must be logged in to the server (Unauthorized)", "log in to it, and see kubectl auth can-i"),
    ("The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?", None)])
def test_what_to_do_about_a_list_is_said(nswrap, tmp_path, says, advice):
    cluster = Cluster(nswrap, tmp_path, "advised")
    (cluster.bin / "kubectl").write_text(f"#!/bin/sh\necho '{says}' >&2\nexit 255\n")
    with cluster.mesh():
        line = cluster.running.wait_line(r"ended with status 255: .*; it has no hosts yet$", 10)
        assert (f": {advice}" in line) if advice else line.endswith(f"{says}; it has no hosts yet"), line
        [said] = cluster.status()["lists"]
        assert (advice or says) in said["reason"]


def test_what_is_no_list_is_said(nswrap, tmp_path):
    cluster = Cluster(nswrap, tmp_path, "strange", list="kubectl get pods -o name")
    (cluster.bin / "kubectl").write_text("#!/bin/sh\necho NAME READY STATUS\n")
    with cluster.mesh():
        cluster.running.wait_line('list "kubectl get pods -o name": it says "NAME READY STATUS": expected one name '
                                  "a line; it has no hosts yet", 10)
        assert cluster.status()["hosts"] == []
        # the manifest can be mended meanwhile
        cluster.write(list=f"cat {cluster.pods}/.names", cmd=f"env POD={{name}} {BINARY} agent --stack streams")
        (cluster.pods / ".names").write_text("rack1/a\nrack2/a\n10.0.0.7\n")
        assert cluster.nswrap.run("mesh", "reload", "strange").returncode == 0
        found = cluster.wait_ready("a", "a-2", "10-0-0-7")
        assert sorted(found.values()) == [f"{cluster.net}.{n}" for n in (129, 130, 131)]


def test_a_pod_that_goes_while_it_runs(nswrap, tmp_path):
    """Its kubectl ends, and is started until the list says so; what it says is shown."""
    cluster = Cluster(nswrap, tmp_path, "gone", every="3s")
    cluster.pod("a")
    cluster.pod("b")
    with cluster.mesh():
        cluster.wait_ready("a", "b")
        cluster.gone("b")
        for pid in (cluster.pods / ".b.pids").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        cluster.running.wait_line(r"b: (command terminated with exit code 137|Error from server \(NotFound\))", 10)
        cluster.wait_ready("a")
        assert "a: lost" not in cluster.said()


def test_a_batch_job_ends_with_its_mesh(nswrap, tmp_path):
    """SIGTERM, as a scheduler sends it: no command is left, that of a list that does not end neither."""
    cluster = Cluster(nswrap, tmp_path, "job", every="2s")
    cluster.pod("a")
    with cluster.mesh():
        cluster.wait_ready("a")
        (cluster.bin / "kubectl").write_text(f"#!/bin/sh\necho $$ >{tmp_path}/hangs; exec sleep 1000\n")
        wait_for(lambda: (tmp_path / "hangs").exists(), "the list to be asked", 10)
        hangs = int(wait_for((tmp_path / "hangs").read_text, "its pid"))
        began = time.monotonic()
        os.kill(cluster.running.popen.pid, signal.SIGTERM)
        assert cluster.running.popen.wait(10 * PATIENCE) == 0
        assert time.monotonic() - began < 5 * PATIENCE
        wait_for(lambda: not harness.is_alive(hangs), "the end of the list's command")


def test_nodes_of_a_job(nswrap, tmp_path):
    """As nswrap-manifest(5) has it for Slurm: shells by srun, one home for all nodes, bytes as they are."""
    port, nodes, cache = free_port(), tmp_path / "nodes", tmp_path / "home"
    nodes.write_text("node1\nnode2\n")
    box = Box(nswrap, "job-box")
    cluster = Cluster(nswrap, tmp_path, "slurm", hosts={"box": {"vip": f"{network()}.100", "cmd": box.agent()}},
                      list="scontrol show hostnames", install=True, loopback={"disable": True},
                      cmd="srun -u --overlap -N1 -n1 -w {name} sh -c 'sh | cat'", ports=[f"{port}:127.0.0.1:{port}"])
    for name, text in (("srun", f"#!{PYTHON}\n{SRUN}"), ("scontrol", '#!/bin/sh\ncat "$NODES"\n')):
        (cluster.bin / name).write_text(text)
        (cluster.bin / name).chmod(0o755)
    cluster.env.update(NODES=str(nodes), XDG_CACHE_HOME=str(cache))
    server = subprocess.Popen(python(TCP_ECHO, "127.0.0.1", port), stdin=subprocess.DEVNULL)
    try:
        with cluster.mesh():
            found = cluster.wait_ready("box", "node1", "node2")
            echoed(box, os.urandom(300_000), f"{found['node1']}:{port}", f"{found['node2']}:{port}")
            assert len(list((cache / "nswrap").iterdir())) == 1
            assert "lost" not in cluster.said(), cluster.said()
            nodes.write_text("node1\n")
            cluster.wait_ready("box", "node1")
    finally:
        server.kill()
        server.wait()


def test_more_than_a_message_holds_is_refused(nswrap, tmp_path):
    """As many hosts as there may be, with names as long as they may be: those that are there stay."""
    names = tmp_path / "names"
    names.write_text("host0\n")
    cluster = Cluster(nswrap, tmp_path, "long", list=f"cat {names}", cmd=f"env HOST={{name}} {PYTHON} {FAKE}",
                      vips="127.77.0.0/18")
    with cluster.mesh():
        cluster.wait_ready("host0")
        names.write_text("host0\n" + "".join(f"host{i}.{'.'.join(['x' * 45] * 4)}\n" for i in range(1, 4096)))
        cluster.running.wait_line(r'list "cat \S+: host host0 would be told more than 1 MiB: expected fewer hosts, '
                                  r"fewer ports or shorter names; its 1 host stays as before", 10)
        assert "more than 1 MiB" in cluster.status()["lists"][0]["reason"]
        assert [(host["state"], host["restarts"]) for host in cluster.status()["hosts"]] == [("ready", 0)]
