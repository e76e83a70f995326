# SPDX-License-Identifier: Apache-2.0
"""e2e/test_recipes - each command of the pages is run as it stands there

Where: on an outer host, whose ports are all free, with an sshd that is every other machine. Programs that Debian
has not got, or that need a machine of their own (Slurm, podman), are stand-ins that listen, or call, as they do.
"""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from harness import BINARY, HTTP, NEIGHBOUR_SETUP, PATIENCE, PYTHON, TREE, Lines, Nswrap, OuterHost, is_alive, wait_for
from mesh_tools import Sshd
from test_library import BUILD, DECLARED
from tools import THOROUGH

PAGES = ["README.md", *(str(path.relative_to(TREE)) for path in sorted((TREE / "docs").rglob("*.md")))]
# what tests elsewhere run, by how it begins: the file, and what stands there of it
WAYS = "tests/e2e/test_jupyterhub_ways.py"
ELSEWHERE = {
    "scripts/demo\n": ("tests/scripts/test_demo.py", '"scripts/demo"'),  # parts; all of it by hand and by who tries it
    "scripts/test\n": (".ci/run", "exec scripts/test"),  # this is it
    "make\n": ("tests/e2e/test_recipes.py", "def test_from_source("),
    "make install PREFIX=$HOME/.local UNITDIR=": ("tests/e2e/test_units.py", 'block("make install")'),
    "systemctl --user enable --now nswrap@web\n": ("tests/e2e/test_with_systemd.py", '"enable", "--now", "nswrap@web"'),
    "journalctl --user -u nswrap@web -p warning\n": ("tests/e2e/test_systemd.py", "def test_journal("),  # its levels
    "systemctl --user enable --now nswrap-mesh@site\n":
        ("tests/e2e/test_with_systemd.py", '"enable", "--now", "nswrap-mesh@site"'),
    "systemctl --user reload nswrap-mesh@site\n": ("tests/e2e/test_with_systemd.py", '"reload", "nswrap-mesh@site"'),
    "systemd-socket-activate ": ("tests/e2e/test_units.py", 'block("systemd-socket-activate")'),
    "nswrap -n lab jupyter notebook ": ("tests/e2e/test_docs.py", '"^nswrap (-n lab .*)$"'),
    'c.Spawner.cmd = ["nswrap", "--jupyterhub"': (WAYS, """'c.Spawner.cmd = ["nswrap", "--jupyterhub"'"""),
    'c.Spawner.cmd = ["nswrap-singleuser"': (WAYS, """'c.Spawner.cmd = ["nswrap-singleuser"'"""),
    "c.JupyterHub.services": (WAYS, '"c.JupyterHub.services"'),
    "c.JupyterHub.load_roles": (WAYS, '"c.JupyterHub.load_roles"'),
}
RUN = {}


def blocks(page):
    """What stands between ``` without a language."""
    text, found, inside = (TREE / page).read_text(), [], None
    for line in text.splitlines():
        if line.startswith("```"):
            inside = None if inside is not None else [] if line == "```" else ...
            if isinstance(inside, list):
                found.append(inside)
        elif isinstance(inside, list):
            inside.append(line)
    return ["\n".join(lines) + "\n" for lines in found]


def commands(page):
    """Each line of a block that is no file's text; drawings are ```text."""
    for block in blocks(page):
        if not re.match(r"hosts:|hostsFrom:|  \w+:\n|Host |COMMAND=|#!|\[Unit\]|\[Service\]|import |from ", block):
            yield from block.splitlines()


def begins(text, start):
    """A start may be all of the line."""
    return f"{text}\n".startswith(start)


def recipe(page, *starts):
    """The test gets a function that takes the start of a line, one of these, and returns the line."""
    def line(start):
        assert start in starts, f"{start}: not among those of this test"
        [found] = [text for text in commands(page) if begins(text, start)]
        return found

    for start in starts:
        RUN.setdefault(page, []).append(start)
    return pytest.mark.parametrize("line", [line], ids=[page])


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_run(page):
    """By a test here, once; or by one elsewhere."""
    for text in commands(page):
        by = [start for start in RUN.get(page, []) if begins(text, start)]
        elsewhere = [start for start in ELSEWHERE if begins(text, start)]
        assert len(by or elsewhere) == 1, f"{page}: run by {by + elsewhere}: {text}"
    for start in RUN.get(page, []):
        assert [text for text in commands(page) if begins(text, start)], f"{page}: no command begins with {start}"


@pytest.mark.parametrize("start", ELSEWHERE)
def test_elsewhere(start):
    """It is there, and is a command of a page."""
    path, part = ELSEWHERE[start]
    text = (TREE / path).read_text().split("\nRUN = {}\n")[-1]  # of this file, not the table
    assert part in text, f"{path} has nothing of it"
    assert [text for page in PAGES for text in commands(page) if begins(text, start)]


def test_the_reader_finds_commands():
    assert len(list(commands("README.md"))) > 15 and len(list(commands("docs/batch.md"))) > 15


# --- where they run -------------------------------------------------------------------------------

OUTER = """
printf '127.0.0.1 localhost example.com\\n192.168.1.1 behind\\n' >{0}/hosts
mount --bind {0}/hosts /etc/hosts
ip addr add 192.168.1.1/24 dev lo
"""

# listens where its words say, else at a port of its own, and answers with its name
STAND_IN = """
import http.server, re, sys
name, port, *words = sys.argv[1:]
found = re.search(r"(?:--port[= ]|--www-port=|--bind-addr 127[.]0[.]0[.]1:)(\\d+)", " ".join(words))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(name.encode())
    def log_message(self, *_):
        pass
print(name, "is up", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(found[1] if found else port)), Handler).serve_forever()
"""


class OuterSshd(Sshd):
    """Of the outer host; a session begins in the home directory of the place."""

    def __init__(self, place):
        self.outer = place.outer
        super().__init__(place.home, place.prefix(), 'ForceCommand cd && eval "$SSH_ORIGINAL_COMMAND"',
                         OuterHost.address, HOME=place.home, USER="me", XDG_RUNTIME_DIR=place.run)

    def _listens(self):
        return self.outer.is_bound(self.port)


class Place:
    """An outer host, a home directory there, and programs in front of PATH; its neighbour is the laptop."""

    def __init__(self, outer, directory):
        self.home = pathlib.Path(directory, "home")
        self.run = pathlib.Path(directory, "run")
        self.bin = self.home / "bin"
        self.bin.mkdir(parents=True)
        (self.home / ".local/bin").mkdir(parents=True)
        self.outer = outer(NEIGHBOUR_SETUP + OUTER.format(directory))
        # one user namespace for all of them: who is in a sandbox of it can be entered
        self.user = self.outer.popen("sh", "-c", "echo; exec cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.user.stdout.readline() == b"\n"
        self.started = []
        self.sshd = OuterSshd(self)
        (self.home / ".local/bin/nswrap").symlink_to(self.sshd.bin / "nswrap")
        self.env = {**Nswrap(self.run).env, "HOME": str(self.home), "USER": "me",
                    "PATH": f"{self.bin}:{self.sshd.bin}:{os.environ['PATH']}"}

    def prefix(self):
        outer = ["nsenter", "-t", str(self.outer.holder.pid), "-U", "-n", "-m", "--preserve-credentials", "--"]
        return [*outer, "nsenter", "-t", str(self.user.pid), "-U", "--preserve-credentials", "--"]

    def program(self, name, text):
        path = self.home / name if name.startswith("./") else self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def stand_in(self, name, port=0):
        self.program(name, f'#!/bin/sh\nexec {PYTHON} -I {self.home}/stand-in {name} {port} "$@"\n')
        (self.home / "stand-in").write_text(STAND_IN)

    def start(self, text, prefix=None):
        """Start a line of a shell; a Popen whose stdout and stderr are Lines at .said."""
        read, write = os.pipe()
        popen = subprocess.Popen([*(prefix or self.prefix()), "sh", "-c", f"cd && exec {self.here(text)}"], stdin=subprocess.DEVNULL,
                                 stdout=write, stderr=write, env=self.env)
        os.close(write)
        popen.said = Lines(read)
        self.started.append(popen)
        return popen

    def sh(self, text, status=0):
        """Run a line to its end; its stdout."""
        done = subprocess.run([*self.prefix(), "sh", "-c", f"cd && {self.here(text)}"], stdin=subprocess.DEVNULL,
                              capture_output=True, env=self.env, timeout=60 * PATIENCE)
        assert done.returncode == status, (text, done.returncode, done.stdout, done.stderr)
        return done.stdout.decode()

    def here(self, text):
        return text.replace("/home/me/", f"{self.home}/")

    def get(self, port, host="127.0.0.1", prefix=None):
        """What a browser of this host gets; None while it gets nothing."""
        done = subprocess.run([*(prefix or self.prefix()), "curl", "-s", "-L", "-f", "-m", "10", "--noproxy", "*",
                               f"http://{host}:{port}/"], capture_output=True)
        return done.stdout.decode() if done.returncode == 0 else None

    def gets(self, port, text, host="127.0.0.1"):
        wait_for(lambda: self.get(port, host) == text, f"{text} at port {port}", 20)

    def listens(self, port):
        return self.outer.is_bound(port)

    def led(self, text, port, wanted):
        """Run the line of ssh -N on the laptop, look there, and end it."""
        laptop = self.outer.neighbour()
        ssh = self.start(text, laptop)
        found = wait_for(lambda: self.get(port, prefix=laptop) or ssh.said.lines, f"ssh at port {port}", 20)
        assert wanted in found, ssh.said.text()
        # one signal was not enough for ssh of OpenSSH 9.2, once in some hundred times
        wait_for(lambda: ssh.terminate() or ssh.poll() is not None, "the end of ssh", 20)

    def end(self, popen):
        popen.terminate()
        return popen.wait(20 * PATIENCE)

    def close(self):
        self.sh("nswrap stop --all")
        for popen in self.started:
            if popen.poll() is None:
                self.end(popen)
            popen.said.join()
        wait_for(lambda: not self.sshd.sessions(), "the end of all sessions")
        self.sshd.close()


@pytest.fixture
def place(nswrap, outer, short_dir):
    made = Place(outer, short_dir)
    yield made
    made.close()


# --- README ----------------------------------------------------------------------------------------


@recipe("README.md", "nswrap --only-user -p 8888")
def test_notebook(place, line):
    place.stand_in("jupyter")
    place.start(line("nswrap --only-user -p 8888"))
    place.gets(8888, "jupyter")


@recipe("README.md", "nswrap -p 8001", "nswrap -p 8002")
def test_two_dev_servers(place, line):
    """Both at port 8080; that of the host is nobody's else meanwhile."""
    place.stand_in("npm", 8080)
    first, second = place.start(line("nswrap -p 8001")), place.start(line("nswrap -p 8002"))
    place.gets(8001, "npm")
    place.gets(8002, "npm")
    assert place.get(8080) is None
    assert place.end(first) and place.end(second)


@recipe("README.md", "nswrap -f unix:$HOME/app.sock", "ssh -N -L 8080")
def test_unix_socket(place, line):
    (place.home / "index.html").write_text("the app")
    place.start(line("nswrap -f unix:$HOME/app.sock"))
    wait_for((place.home / "app.sock").exists, "the socket")
    assert (place.home / "app.sock").stat().st_mode & 0o777 == 0o600
    place.led(line("ssh -N -L 8080"), 8080, "the app")


@recipe("README.md", "nswrap -p 8000 -R 5432")
def test_one_port_of_the_host(place, line):
    """What is at 5432 of the host answers inside, and its neighbour does not."""
    place.outer.serve(HTTP, "127.0.0.1", 5432)
    place.outer.serve(HTTP, "127.0.0.1", 5433)
    place.program("./manage.py", f"""#!/bin/sh
curl -s -f -m 10 http://127.0.0.1:5432/database >{place.home}/answer
curl -s -f -m 10 http://127.0.0.1:5433/other >>{place.home}/answer
exec {PYTHON} -m http.server --bind 127.0.0.1 8000
""")
    place.start(line("nswrap -p 8000 -R 5432"))
    wait_for(lambda: place.get(8000), "the dev server", 20)
    assert (place.home / "answer").read_text() == "path /database"


SERVE = """#!/bin/sh
echo "serving at $1 and $2"
for port in $1 $2 7000 7001 7002; do
    {0} -I {1}/stand-in serve $port &
done
exec {0} -I {1}/stand-in serve 0
"""


@recipe("README.md", "nswrap -d -n web", "nswrap ps", "nswrap exec web", "nswrap port add web", "nswrap logs web",
        "nswrap stop --all")
def test_in_the_background(place, line):
    place.stand_in("serve")
    place.program("./serve", SERVE.format(PYTHON, place.home))
    assert place.sh(line("nswrap -d -n web")) == "web\n"
    for port in (9001, 7000, 7001, 7002):
        place.gets(port, "serve")
    assert re.search(r"^web\b", place.sh(line("nswrap ps")), re.M)
    assert re.search(r"127\.0\.0\.1:7001\b", place.sh(line("nswrap exec web")))
    place.sh(line("nswrap port add web"))
    place.gets(9002, "serve")
    assert "serving at 8000 and 9000" in place.sh(line("nswrap logs web"))
    place.sh(line("nswrap stop --all"))
    assert not place.listens(9001) and "web" not in place.sh("nswrap ps")


@recipe("README.md", "nswrap --via")
def test_another_network(place, line):
    place.outer.serve(HTTP, "192.168.1.1", 80)
    assert place.sh(line("nswrap --via")) == "path /"


@recipe("README.md", "nswrap tunnel server", "nswrap tunnel client")
def test_tunnel(place, line):
    place.outer.serve(HTTP, "127.0.0.1", 8080)
    server = place.start(line("nswrap tunnel server"))
    client = place.start(line("nswrap tunnel client"))
    place.gets(3000, "path /")
    place.end(client)
    place.end(server)


# --- docs/install.md -------------------------------------------------------------------------------


def made(line, tree, home, **variables):
    """What a line of make has done, below that home."""
    words = " ".join(f"{name}={value}" for name, value in variables.items())
    done = subprocess.run(["sh", "-c", f"{line} {words}"], cwd=tree, env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {str(path.relative_to(home)) for path in home.rglob("*") if not path.is_dir()}


def runs_from(home, nswrap):
    """The program that was installed there, by its name."""
    done = subprocess.run(["sh", "-c", "nswrap -q sh -c 'echo inside'"], capture_output=True, stdin=subprocess.DEVNULL,
                          env={**nswrap.env, "HOME": str(home), "PATH": f"{home}/.local/bin:/usr/bin:/bin"})
    assert (done.returncode, done.stdout) == (0, b"inside\n"), done.stderr


@recipe("docs/install.md", "make install")
def test_install(nswrap, tmp_path, line):
    """Of what is built, as nothing is to be built here; and taken away again."""
    built = {"BUILD": BUILD, "PROGRAM": BINARY}
    text = line("make install")
    files = made(text.replace("make install", "make -s install-files"), TREE, tmp_path, **built)
    assert {f".local/share/man/man{page.suffix[1:]}/{page.name}" for page in (TREE / "man").iterdir()} <= files
    manuals = tmp_path / ".local/share/man"
    shown = subprocess.run(["mandoc", "-T", "ascii", "man3/nswrap_dial.3"], cwd=manuals, capture_output=True, check=True).stdout
    assert b"LIBNSWRAP" in shown and {path.stem for path in manuals.glob("man3/*")} == DECLARED | {"libnswrap"}
    assert f"prefix={tmp_path}/.local\n" in (tmp_path / ".local/lib/pkgconfig/libnswrap.pc").read_text()
    runs_from(tmp_path, nswrap)
    assert made(text.replace("make install", "make -s uninstall"), TREE, tmp_path, **built) == set()


if THOROUGH:
    @pytest.mark.limit(900)
    def test_from_source(nswrap, tmp_path):
        """Minutes: README's way, in a tree that nobody has built in."""
        [block] = [block for block in blocks("docs/install.md") if block.startswith("make\n")]
        shutil.copytree(TREE, tmp_path / "tree", symlinks=True,
                        ignore=shutil.ignore_patterns("build", ".git", "nswrap-agent-*", "__pycache__"))
        (tmp_path / "tree/nswrap").unlink(missing_ok=True)
        (tmp_path / "home").mkdir()
        made(block.strip(), tmp_path / "tree", tmp_path / "home")
        runs_from(tmp_path / "home", nswrap)


@recipe("docs/install.md", "ssh web.example.com mkdir", "scp ")
def test_copying_it(place, line):
    (place.home / ".local/bin/nswrap").unlink()
    (place.home / ".local").rename(place.home / "here")
    place.sh(line("ssh web.example.com mkdir"))
    assert (place.home / ".local/bin").is_dir()
    place.program("scp", f'#!/bin/sh\nexec /usr/bin/scp -O -S {place.sshd.bin}/ssh "$@"\n')
    source = pathlib.Path(os.path.realpath(place.sshd.bin / "nswrap"))
    place.sh(line("scp ").replace("~/.local/bin/nswrap", str(source)))
    assert (place.home / ".local/bin/nswrap").read_bytes() == source.read_bytes()


@recipe("docs/install.md", "podman run", "podman exec some-postgres sh", "podman cp", "podman exec some-postgres nswrap doctor")
def test_in_a_container(place, line):
    """A stand-in that takes the words apart as podman does; what is copied and run is real."""
    place.program("podman", f"""#!/bin/sh
case "$1 $2" in
"run -d") [ "$3 $4 $5 $6" = "--name some-postgres --device /dev/net/tun" ] && : >{place.home}/made ;;
"cp "*) [ -e {place.home}/made ] && cp "$2" {place.home}/bin/nswrap ;;
"exec some-postgres") [ -e {place.home}/made ] && shift 2 && "$@" ;;
*) exit 2 ;;
esac
""")
    place.program("apt-get", f'#!/bin/sh\necho "$@" >>{place.home}/apt\n')
    for start in ("podman run", "podman exec some-postgres sh", "podman cp"):
        place.sh(line(start))
    assert "update\ninstall -y libslirp0" in (place.home / "apt").read_text()
    assert "namespaces can be made" in place.sh(line("podman exec some-postgres nswrap doctor"))


# --- docs/mesh.md ----------------------------------------------------------------------------------


@recipe("docs/mesh.md", "nswrap mesh --check", "nswrap mesh mesh.yaml", "curl ", "psql ", "nswrap mesh status")
def test_mesh(place, line):
    """With a sandbox in the place of the container."""
    [text] = [text for text in blocks("docs/mesh.md") if "some-postgres" in text]
    (place.home / "mesh.yaml").write_text(text)
    place.program("podman", '#!/bin/sh\nshift 2\nexec nswrap exec "$@"\n')
    place.program("psql", '#!/bin/sh\n[ "$1 $3 $4" = "-h -U postgres" ] && exec curl -s -f "http://$2:5432/$4"\n')
    place.sh("nswrap -d -n some-postgres python3 -m http.server --bind 127.0.0.1 5432")
    (place.home / "postgres").write_text("a row")
    (place.home / "index.html").write_text("the web server")
    assert place.sh(line("nswrap mesh --check")) is not None
    mesh = place.start(line("nswrap mesh mesh.yaml"))
    wait_for(lambda: "are ready" in mesh.said.text(), "the mesh", 20)
    wait_for(lambda: place.get(8080, "127.0.42.101"), "the web server", 20)
    assert place.sh(line("curl ")) == "the web server"
    wait_for(lambda: place.get(5432, "127.0.42.102"), "the database", 20)
    assert place.sh(line("psql ")) == "a row"
    assert len(re.findall(r"\bready\b", place.sh(line("nswrap mesh status")))) >= 3
    assert place.end(mesh) == 0


# --- docs/batch.md ---------------------------------------------------------------------------------


@recipe("docs/batch.md", "nswrap -d -n lab", "ssh -N -L 8888")
def test_login_node(place, line):
    place.stand_in("jupyter")
    assert place.sh(line("nswrap -d -n lab")) == "lab\n"
    place.led(line("ssh -N -L 8888"), 8888, "jupyter")
    [block] = [block for block in blocks("docs/batch.md") if block.startswith("Host ")]
    (place.home / "config").write_text(place.here(block) + (place.sshd.directory / "ssh_config").read_text())
    lines = subprocess.run(["/usr/bin/ssh", "-G", "-F", place.home / "config", "lab"], capture_output=True, check=True, text=True)
    assert f"localforward 8888 {place.home}/lab.sock" in lines.stdout and "hostname login-node" in lines.stdout


# a job that is queued is started at once, on this node; its words are those of the real ones
SBATCH = """#!/bin/sh
grep -q '^#SBATCH' "$1" || exit 1
SLURM_JOB_ID=4711 setsid sh "$1" >lab-4711.log 2>&1 </dev/null &
echo $! >job
echo Submitted batch job 4711
"""


@recipe("docs/batch.md", "sbatch ", "squeue ", "ssh -N -J")
def test_slurm(place, line):
    """The job's socket by ssh, and the job in a mesh by srun."""
    place.stand_in("jupyter")
    place.program("sbatch", SBATCH)
    place.program("squeue", "#!/bin/sh\necho '  4711 batch lab me R 0:01 1 node17'\n")
    place.program("srun", '#!/bin/sh\n[ "$1 $2 $3 $4" = "-u --jobid 4711 --overlap" ] && shift 4 && exec "$@"\n')
    [script] = [block for block in blocks("docs/batch.md") if block.startswith("#!/bin/sh")]
    (place.home / "lab.sh").write_text(script)
    assert "4711" in place.sh(line("sbatch "))
    assert "node17" in place.sh(line("squeue "))
    wait_for((place.home / "lab-4711.sock").exists, "the socket")
    place.led(line("ssh -N -J"), 8888, "jupyter")
    [manifest] = [block for block in blocks("docs/batch.md") if block.startswith("hosts:")]
    (place.home / "lab.yaml").write_text(manifest.replace("ssh login-node srun", f"ssh login-node {place.bin}/srun"))
    mesh = place.start("nswrap mesh lab.yaml")
    place.gets(8888, "jupyter", "127.0.42.104")
    assert place.end(mesh) == 0
    # scancel
    job = int((place.home / "job").read_text())
    os.kill(job, 15)
    wait_for(lambda: not is_alive(job), "the end of the job")
    wait_for(lambda: not (place.home / "lab-4711.sock").exists(), "the socket to be gone")
    assert "jupyter is up" in (place.home / "lab-4711.log").read_text()


def web_app(place, line, name, start, ssh, port):
    """The sandbox in the background, and ssh that leads to its socket."""
    place.stand_in(name)
    place.sh(line(start))
    place.led(line(ssh), port, name)
    assert place.get(port) is None


@recipe("docs/batch.md", "nswrap -d -n code", "ssh -N -L 8080")
def test_code_server(place, line):
    web_app(place, line, "code-server", "nswrap -d -n code", "ssh -N -L 8080", 8080)


@recipe("docs/batch.md", "mkdir ", "printf ", "nswrap -d -n rstudio", "ssh -N -L 8787:/home/me/rstudio.sock")
def test_rserver(place, line):
    place.sh(line("mkdir "))
    place.sh(line("printf "))
    assert (place.home / ".rserver/key").stat().st_mode & 0o777 == 0o600
    assert (place.home / ".rserver/database.conf").read_text() == f"provider=sqlite\ndirectory={place.home}/.rserver\n"
    web_app(place, line, "rserver", "nswrap -d -n rstudio", "ssh -N -L 8787:/home/me/rstudio.sock", 8787)


@recipe("docs/batch.md", "nswrap -d -n board", "ssh -N -L 6006")
def test_tensorboard(place, line):
    web_app(place, line, "tensorboard", "nswrap -d -n board", "ssh -N -L 6006", 6006)


WORK = """
import time
from dask.distributed import Client, LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:8787") as cluster:
        print(Client(cluster).submit(sum, [1, 2, 3]).result(), flush=True)
        time.sleep(1000)
"""


@pytest.mark.limit(120)
@recipe("docs/batch.md", "nswrap -f unix:$HOME/dask.sock", "ssh -N -L 8787:/home/me/dask.sock")
def test_dask_cluster(place, line):
    (place.home / "work.py").write_text(WORK)
    place.program("python3", f'#!/bin/sh\nexec {PYTHON} "$@"\n')
    work = place.start(line("nswrap -f unix:$HOME/dask.sock"))
    wait_for(lambda: "6" in work.said.lines or work.poll() is not None, "its result", 60)
    assert work.poll() is None, work.said.text()
    assert place.get(8787) is None
    # with bokeh, the dashboard; without, a page that asks for it
    place.led(line("ssh -N -L 8787:/home/me/dask.sock"), 8787, "Dask")


@pytest.mark.limit(120)
@recipe("docs/batch.md", "nswrap -d -n dask", "nswrap exec dask dask-worker", "nswrap exec dask python3")
def test_dask_programs(place, line):
    (place.home / "client.py").write_text(
        "from dask.distributed import Client\nprint(Client('tcp://127.0.0.1:8786').submit(sum, [1, 2, 3]).result())\n")
    place.program("python3", f'#!/bin/sh\nexec {PYTHON} "$@"\n')
    place.sh(line("nswrap -d -n dask"))
    worker = place.start(line("nswrap exec dask dask-worker"))
    assert place.sh(line("nswrap exec dask python3")) == "6\n"
    assert place.get(8786) is None and place.get(8787) is None
    place.end(worker)


# as torchrun: a store at the port, which its ranks find by the environment
TORCHRUN = """
import os, re, socket, subprocess, sys, time
words = " ".join(sys.argv[1:])
address, port = re.search(r"--master-addr=(\\S+) --master-port=(\\d+)", words).groups()
ranks = int(re.search(r"--nproc-per-node=(\\d+)", words)[1])
with socket.create_server((address, int(port))) as store:
    env = {**os.environ, "MASTER_ADDR": address, "MASTER_PORT": port}
    run = [subprocess.Popen([sys.executable, sys.argv[-1]], env={**env, "RANK": str(rank)}) for rank in range(ranks)]
    met = [store.accept()[0] for _ in run]
    print("met", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.02)
    for c in met:
        c.sendall(str(len(met)).encode())
        c.close()
    sys.exit(max(p.wait() for p in run))
"""
TRAIN = """
import os, socket
with socket.create_connection((os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))) as store:
    print("rank", os.environ["RANK"], "of", store.recv(10).decode(), flush=True)
"""


@recipe("docs/batch.md", "nswrap --network none torchrun")
def test_torchrun(place, line):
    """Two jobs at a time, with the same port."""
    (place.home / "torchrun.py").write_text(TORCHRUN)
    (place.home / "train.py").write_text(TRAIN)
    place.program("torchrun", f'#!/bin/sh\nexec {PYTHON} {place.home}/torchrun.py "$@"\n')
    jobs = [place.start(line("nswrap --network none torchrun")) for _ in range(2)]
    wait_for(lambda: all(job.poll() is not None or "met" in job.said.lines for job in jobs), "both jobs' ranks", 30)
    assert [job.poll() for job in jobs] == [None, None], jobs[0].said.text() + jobs[1].said.text()
    (place.home / "go").touch()
    for job in jobs:
        assert job.wait(30 * PATIENCE) == 0, job.said.text()
        job.said.join()
        assert sorted(line for line in job.said.lines if "rank" in line) == ["rank 0 of 2", "rank 1 of 2"]


SIMULATE = """
import ctypes
mpi = ctypes.CDLL("libmpich.so.12")
mpi.MPI_Init(None, None)
world, int_, sum_ = 0x44000000, 0x4c000405, 0x58000003  # of MPICH's ABI
rank, total = ctypes.c_int(), ctypes.c_int()
mpi.MPI_Comm_rank(world, ctypes.byref(rank))
mpi.MPI_Allreduce(ctypes.byref(rank), ctypes.byref(total), 1, int_, sum_, world)
print(f"rank {rank.value}: {total.value}", flush=True)
mpi.MPI_Finalize()
"""


@recipe("docs/batch.md", "nswrap --network none mpirun")
def test_mpi(place, line):
    """MPICH's: the sum of four ranks, told by each."""
    (place.home / "simulate.py").write_text(SIMULATE)
    place.program("./simulate", f"#!/bin/sh\nexec {PYTHON} {place.home}/simulate.py\n")
    said = place.sh(line("nswrap --network none mpirun"))
    assert sorted(said.splitlines()) == [f"rank {n}: 6" for n in range(4)]
