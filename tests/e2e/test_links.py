# SPDX-License-Identifier: Apache-2.0
"""e2e/test_links - links that are cut, half-open or hostile, with an exit at their other end"""

import contextlib
import hashlib
import hmac
import os
import pathlib
import socket
import subprocess
import threading

import pytest
from harness import PATIENCE, TCP_ECHO, called, clients, descendants, is_alive, open_fds, python, settled_fds, wait_for
from test_exit import ECHOED, FAR, far, frame, listening  # noqa: F401 (far is a fixture)

KEY = b"0123456789abcdef0123456789abcdef"
LABEL = b"nswrap proof 1\0"


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(KEY + b"\n")
    path.chmod(0o600)
    return path


def hello(role, purpose=b"exit"):
    return b"nswrap\1" + role + purpose.ljust(8, b"\0") + os.urandom(32)


def mac(role, asker, answerer, secret=KEY):
    return hmac.new(secret, LABEL + role + asker + answerer, hashlib.sha256).digest()


def receive(s, count):
    got = b""
    while len(got) < count:
        part = s.recv(count - len(got))
        if not part:
            raise EOFError(got)
        got += part
    return got


def prove(s, secret=KEY):
    """As an entrance does, by man nswrap-exit(1) and src/link/proof.h; the exit's proof is looked at, too."""
    ours = hello(b"A")
    s.sendall(ours)
    theirs = receive(s, 48)
    assert theirs[:16] == b"nswrap\1Bexit\0\0\0\0"
    s.sendall(mac(b"A", ours, theirs, secret))
    assert receive(s, 32) == mac(b"B", ours, theirs, secret)


class Cutter:
    """A TCP port that leads to a unix socket, and can end its connections at any moment."""

    def __init__(self, path):
        self.path = path
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pairs = []
        self.limit = None  # bytes from the entrance to the exit, then it is cut
        self.passed = 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with contextlib.suppress(OSError):
            for client in clients(self.listener):
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self.path))
                pair = (client, server)
                self.pairs.append(pair)
                for ends in (pair, pair[::-1]):
                    threading.Thread(target=self.pump, args=(pair, *ends), daemon=True).start()

    def pump(self, pair, source, sink):
        sent = 0
        limit = self.limit if source is pair[0] else None
        with contextlib.suppress(OSError):
            while part := source.recv(65536 if limit is None else min(65536, limit - sent) or 1):
                if limit is not None:
                    part = part[:limit - sent]
                sink.sendall(part)
                sent += len(part)
                self.passed += len(part)
                if limit is not None and sent >= limit:
                    break
        self.end(pair)

    @staticmethod
    def end(pair):
        for s in pair:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            self.end(pair)

    def close(self):
        self.listener.close()
        self.cut()


@pytest.fixture
def cutter():
    made = []

    def make(path):
        made.append(Cutter(path))
        return made[-1]

    yield make
    for one in made:
        one.close()


def expect_echo(done):
    assert done.stdout == b"100000\n", done


def test_an_exit_survives_ends_that_break_anywhere(nswrap, far, key, tmp_path):
    """Each byte of the proof is the last one that comes, or a wrong one; nothing stays of them, and who has the key
    is served beside and behind them."""
    made, path = far(), tmp_path / "exit.sock"
    made.serve(TCP_ECHO, FAR, 7001)
    popen = listening(made, f"listen-unix:{path}", "--key-file", str(key))
    pid = next(p for p in [popen.pid, *descendants(popen.pid)]
               if pathlib.Path(f"/proc/{p}/comm").read_text() == "nswrap: exit\n")
    before = settled_fds(pid)
    silent = []
    for last in range(0, 81):
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(path))
        s.settimeout(10 * PATIENCE)
        ours = hello(b"A")
        s.sendall(ours[:last])
        if last > 48:
            theirs = receive(s, 48)
            proof = bytearray(mac(b"A", ours, theirs))
            if last == 80:
                proof[31] ^= 1
            s.sendall(proof[:last - 48])
        if last == 80:
            assert s.recv(1) == b""
            s.close()
        elif last % 2:
            s.close()
        else:
            silent.append(s)
    expect_echo(nswrap.run("--via", f"unix:{path}", "--key-file", key, *python(ECHOED, FAR, 7001, 100000)))
    for s in silent:
        s.close()
    wait_for(lambda: len(open_fds(pid)) <= before, "only the listener is open")
    below = descendants(pid)
    assert is_alive(pid) and below == called("nswrap: stderr", below)
    popen.terminate()
    assert popen.wait(10 * PATIENCE) == 0


def test_an_end_without_the_key_gets_nothing(far, key, tmp_path):
    """What is replayed, sent back or sent without a proof reaches nothing, and is answered with nothing."""
    made, path = far(), tmp_path / "exit.sock"
    popen = listening(made, f"listen-unix:{path}", "--key-file", str(key))

    def answer_to(*pieces):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10 * PATIENCE)
            s.connect(str(path))
            got = b""
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for piece in pieces:
                    s.sendall(piece if isinstance(piece, bytes) else piece(got))
                    if len(pieces) > 1 and not got:
                        got += receive(s, 48)
                while part := s.recv(65536):
                    got += part
            return got

    assert answer_to(frame(b"{}", 2) * 20) == b""  # it does as if there was no key
    assert answer_to(hello(b"B") * 2) == b""
    assert answer_to(hello(b"A", b"tunnel") + bytes(32)) == b""
    ours = hello(b"A")
    assert len(answer_to(ours, lambda got: got[:32])) == 48  # its nonce is no proof
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10 * PATIENCE)
        s.connect(str(path))
        prove(s)  # and with it there is a link: the exit says who it is
        assert b'"exit"' in s.recv(65536)
    popen.terminate()
    assert popen.wait(10 * PATIENCE) == 0


def test_a_link_that_is_cut_anywhere_comes_back(nswrap, far, key, cutter, tmp_path):
    """In the proof, in the first words and under load."""
    made, path = far(), tmp_path / "exit.sock"
    made.serve(TCP_ECHO, FAR, 7001)
    listening(made, f"listen-unix:{path}", "--key-file", str(key))
    way = cutter(path)
    way.limit = 20
    box = nswrap.start("-n", "box", "--via", f"tcp:127.0.0.1:{way.port}", "--key-file", key, "sleep", "1000")
    box.wait_line("the link of --via cannot be opened")
    seen, way.limit = way.passed, 60
    wait_for(lambda: way.passed >= seen + 60, "a half of a proof", 20)
    way.limit = None
    expect_echo(nswrap.run("exec", "box", *python(ECHOED, FAR, 7001, 100000)))
    popen = nswrap.popen("exec", "box", *python(ECHOED, FAR, 7001, 1 << 30), stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    seen = way.passed
    wait_for(lambda: way.passed > seen + (1 << 20), "bytes are under way", 20)
    way.cut()
    expect_echo(nswrap.run("exec", "box", *python(ECHOED, FAR, 7001, 100000)))
    popen.kill()
    popen.wait()


# --- what was inherited ----------------------------------------------------------------------------

TAKERS = {"server": ["tunnel", "server", "--bind-proxy", "127.0.0.1:0", "--bind-client"],
          "client": ["tunnel", "client", "--server"], "exit": ["exit", "--link"], "via": ["--via"]}


def expect_refused(nswrap, who, link, words, **options):
    done = nswrap.run(*TAKERS[who], link, *(["true"] if who == "via" else []), **options)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and words in done.stderr, done


@pytest.mark.parametrize("who", TAKERS)
def test_a_descriptor_that_is_not_open(nswrap, who):
    """Nor is one of nswrap's own that has its number."""
    for fd in [*range(3, 13), 977]:
        expect_refused(nswrap, who, f"fd:{fd}", b"descriptor %d is not open" % fd)
    with open_pipe() as (reading, _):
        expect_refused(nswrap, who, f"fd:{reading},977", b"descriptor 977 is not open", pass_fds=[reading])
    if who != "via":
        expect_refused(nswrap, who, "fd:0", b"descriptor 0 is not open", prefix=["sh", "-c", 'exec "$@" <&-', "sh"])


@contextlib.contextmanager
def open_pipe():
    fds = os.pipe()
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize("who", TAKERS)
def test_a_descriptor_that_is_no_link(nswrap, who, tmp_path):
    """Files, and one end of a pipe for both ways."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path, "/dev/null"):
        fd = os.open(path, os.O_RDONLY)
        expect_refused(nswrap, who, f"fd:{fd}", b"descriptor %d is a file" % fd, pass_fds=[fd])
        os.close(fd)
    with open_pipe() as (reading, writing):
        expect_refused(nswrap, who, f"fd:{reading}", b"cannot be written", pass_fds=[reading])
        expect_refused(nswrap, who, f"fd:{writing}", b"cannot be read", pass_fds=[writing])
        expect_refused(nswrap, who, f"fd:{writing},{reading}", b"cannot be read", pass_fds=[reading, writing])


@pytest.mark.parametrize("who", ["server", "client", "exit"])
def test_stdin_that_is_no_link(nswrap, who):
    popen = nswrap.popen(*TAKERS[who], "-", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said = popen.communicate(timeout=20 * PATIENCE)[1]
    assert popen.returncode == 2 and said.count(b"\n") == 1 and b"descriptor 0 is a file" in said, said


@pytest.mark.parametrize("link", ["-", "fd:0,1"])
def test_an_exit_whose_link_is_something_else(nswrap, link):
    done = nswrap.run("exit", "--link", link, input=b"no frame")
    assert done.returncode == 125 and len(done.stderr.splitlines()) == 1 and b"expected a frame" in done.stderr, done


@pytest.mark.parametrize("who", ["server", "client"])
@pytest.mark.parametrize("said", [b"", b"x" * 100000], ids=["nothing", "noise"])
def test_a_link_with_nobody_at_its_other_end(nswrap, who, said):
    """It never was one: the status says so, too."""
    done = nswrap.run(*TAKERS[who], "-", "-q", input=said)
    assert done.returncode == 125 and len(done.stderr.splitlines()) == 1 and b"the link -: it" in done.stderr, done
