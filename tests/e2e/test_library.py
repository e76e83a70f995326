# SPDX-License-Identifier: Apache-2.0
"""e2e/test_library - libnswrap, as programs in C and by ctypes have it"""
import ctypes
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
from harness import (BINARY, PATIENCE, SANITIZED, TCP_ECHO, TREE, UDP_ECHO, connect, descendants, is_alive,
                     open_fds, python, read_all, wait_for)
from test_exit import FAR, far  # noqa: F401

BUILD = pathlib.Path(os.environ.get("NSWRAP_BUILD", TREE / "build"))
LIBRARY = BUILD / "libnswrap.so.0"
HEADER = TREE / "lib/nswrap/nswrap.h"
MANUAL = (TREE / "man/libnswrap.3").read_text()
DECLARED = set(re.findall(r"\b(nswrap_\w+)\(", re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)))
LONG = 30000

pytestmark = pytest.mark.skipif(SANITIZED, reason="a sanitized library needs a sanitized python")


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("text", ctypes.c_char * 508)]

    def __str__(self):
        return f"{self.code} {self.text.decode()}"


def words(*texts):
    return (ctypes.c_char_p * (len(texts) + 1))(*(str(text).encode() for text in texts), None)


@pytest.fixture
def lib(monkeypatch):
    monkeypatch.setenv("NSWRAP", BINARY)
    lib = ctypes.CDLL(str(LIBRARY))
    for name in ("sandbox_start", "exit_start", "entrance_start"):
        getattr(lib, f"nswrap_{name}").restype = ctypes.c_void_p
    lib.nswrap_sandbox_name.restype = ctypes.c_char_p
    before = open_fds("self")
    yield lib
    assert wait_for(lambda: len(open_fds("self")) <= len(before), "descriptors to be closed")


def start_sandbox(lib, options, command, error=None):
    made = lib.nswrap_sandbox_start(words(*options), words(*command), None, LONG, ctypes.byref(error or Error()))
    return ctypes.c_void_p(made) if made else None


def helpers():
    """What the library has started comes to us, as we are a subreaper."""
    return [pid for pid in descendants(os.getpid()) if is_alive(pid)]


class Link:
    """An exit and an entrance in this process, or one of them."""

    def __init__(self, lib, exit_fd=None, entrance=True):
        self.lib, self.error = lib, Error()
        ours, theirs = socket.socketpair()
        self.exit = self.entrance = None
        if exit_fd is None:
            self.exit = self.made(lib.nswrap_exit_start(*2 * (theirs.detach(),), None, ctypes.byref(self.error)))
            exit_fd = ours.detach()
        else:
            ours.close()
            theirs.close()
        self.entrance = self.made(lib.nswrap_entrance_start(exit_fd, exit_fd, ctypes.byref(self.error)))

    def made(self, pointer):
        assert pointer, str(self.error)
        return ctypes.c_void_p(pointer)

    def dial(self, host, port, protocol="tcp", timeout=LONG):
        fd = self.lib.nswrap_dial(self.entrance, protocol.encode(), host.encode(), port, timeout, 0,
                                  ctypes.byref(self.error))
        return socket.socket(fileno=fd) if fd >= 0 else fd

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lib.nswrap_entrance_stop(self.entrance)
        self.lib.nswrap_exit_stop(self.exit)


def test_symbols_are_those_of_the_header():
    listing = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], check=True, capture_output=True, text=True)
    exported = set(re.findall(r" T (\w+)", listing.stdout))
    assert exported == DECLARED
    assert {line.split()[-1] for line in listing.stdout.splitlines()} == \
        {"LIBNSWRAP_0"} | {f"{name}@@LIBNSWRAP_0" for name in exported}
    dynamic = subprocess.run(["readelf", "-d", LIBRARY], check=True, capture_output=True, text=True).stdout
    assert "soname: [libnswrap.so.0]" in dynamic


def test_manual():
    """Each function is found by its name, and the options that are refused are said."""
    name = MANUAL.split(".Sh NAME")[1].split(".Sh ")[0]
    assert set(re.findall(r"^\.Nm (\w+)", name, re.M)) == DECLARED | {"libnswrap"}
    said = re.search(r"^of which$(.*?)^are the library's own;$", MANUAL, re.M | re.S)[1]
    refused = re.search(r"refused\[\] = \{(.*?)\};", (TREE / "lib/sandbox.c").read_text(), re.S)[1]
    # the short one of --detach, and the end of options
    assert set(re.findall(r"-[\w-]+", said)) == {word[1:] for word in re.findall('"(.*?)"', refused)} - {"d", "-"}


def test_static_library(tmp_path):
    """With what pkg-config says, all of it, and nothing of it elsewhere."""
    shutil.copy(BUILD / "libnswrap.a", tmp_path)
    said = subprocess.run(["pkg-config", "--static", f"--define-variable=libdir={tmp_path}",
                           f"--define-variable=includedir={TREE / 'lib'}", "--cflags", "--libs", BUILD / "libnswrap.pc"],
                          capture_output=True, text=True, check=True).stdout.split()
    assert f"-L{tmp_path}" in said
    every = ", ".join(f"(void (*)(void)){name}" for name in sorted(DECLARED))
    (tmp_path / "a.c").write_text(f"""#include <nswrap/nswrap.h>
#include <stdio.h>
void (*const every[])(void) = {{{every}}};
int main(void)
{{
	puts(nswrap_version());
	return nswrap_sandbox_start(NULL, NULL, NULL, 0, NULL) != NULL;
}}
""")
    subprocess.run(["cc", "-Wall", "-Werror", tmp_path / "a.c", *said, "-o", tmp_path / "a"], check=True)
    done = subprocess.run([tmp_path / "a"], capture_output=True, text=True, check=True)
    assert done.stdout in subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout
    needs = subprocess.run(["readelf", "-d", tmp_path / "a"], capture_output=True, text=True, check=True).stdout
    assert "libjansson" in needs and "libnswrap" not in needs


def test_header_is_c_and_cpp(tmp_path):
    for compiler, name in (("cc", "a.c"), ("c++", "a.cc")):
        if not shutil.which(compiler):
            assert compiler == "c++"
            continue
        (tmp_path / name).write_text('#include <nswrap/nswrap.h>\nint main(void) { return !nswrap_version(); }\n')
        subprocess.run([compiler, "-Wall", "-Wextra", "-pedantic", "-Werror", "-I", TREE / "lib", tmp_path / name,
                        LIBRARY, f"-Wl,-rpath,{BUILD}", "-o", tmp_path / "a"], check=True)
        subprocess.run([tmp_path / "a"], check=True)


def test_unit_tests(lib):
    result = subprocess.run([BUILD / "tests/lib/test_libnswrap"], capture_output=True, text=True,
                            timeout=60 * PATIENCE)
    assert result.returncode == 0, result.stdout + result.stderr


def test_unit_tests_under_valgrind(lib):
    if not shutil.which("valgrind"):
        pytest.skip("there is no valgrind")
    result = subprocess.run(
        ["valgrind", "-q", "--child-silent-after-fork=yes", "--leak-check=full", "--show-leak-kinds=all",
         "--errors-for-leak-kinds=all", "--error-exitcode=9", BUILD / "tests/lib/test_libnswrap"],
        capture_output=True, text=True, timeout=180 * PATIENCE)
    assert result.returncode == 0, result.stdout + result.stderr


def test_unit_tests_by_the_thread_sanitizer(lib, tmp_path):
    """Its threads, and the caller's, are never at the same bytes at once."""
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "jansson"], check=True, capture_output=True, text=True)
    program = tmp_path / "test"
    subprocess.run(["cc", "-std=gnu17", "-D_GNU_SOURCE", "-g", "-O1", "-fsanitize=thread", f"-I{TREE / 'src'}",
                    f"-I{TREE / 'lib'}", *(TREE / "lib").glob("*.c"), TREE / "tests/lib/test_libnswrap.c",
                    *flags.stdout.split(), "-lcmocka", "-pthread", "-o", program], check=True)
    # without random places for what is mapped: where there are many the sanitizer finds its own ones taken
    result = subprocess.run(["setarch", "-R", program], capture_output=True, text=True, timeout=120 * PATIENCE,
                            env={**os.environ, "TSAN_OPTIONS": "exitcode=9"})
    assert result.returncode == 0, result.stdout + result.stderr


def test_sandbox_with_forwards(lib):
    error = Error()
    sandbox = start_sandbox(lib, ["-p", "0:80", "-f", "0:53/udp", "--network", "none"],
                            python(TCP_ECHO, "0.0.0.0", 80), error)
    assert sandbox, str(error)
    assert lib.nswrap_sandbox_ready(sandbox, LONG, ctypes.byref(error)) == 0, str(error)
    with connect(lib.nswrap_sandbox_port(sandbox, b"tcp", 80)) as s:
        s.sendall(b"echo")
        assert s.recv(10) == b"echo"
    assert 0 < lib.nswrap_sandbox_port(sandbox, b"udp", 53) < 65536
    assert lib.nswrap_sandbox_port(sandbox, b"tcp", 53) == -2
    name = lib.nswrap_sandbox_name(sandbox).decode()
    assert name in subprocess.run([BINARY, "ps"], capture_output=True, text=True, check=True).stdout
    assert lib.nswrap_sandbox_wait(sandbox, 1, None, ctypes.byref(error)) == -110
    lib.nswrap_sandbox_stop(sandbox, LONG)
    assert name not in subprocess.run([BINARY, "ps"], capture_output=True, text=True, check=True).stdout


def test_sandbox_that_is_killed(lib):
    error = Error()
    sandbox = start_sandbox(lib, ["--network", "none"], ["sleep", "1000"])
    assert lib.nswrap_sandbox_signal(sandbox, signal.SIGKILL) == 0
    assert lib.nswrap_sandbox_wait(sandbox, LONG, None, ctypes.byref(error)) == -10, str(error)
    lib.nswrap_sandbox_stop(sandbox, LONG)


@pytest.mark.parametrize("program, code, said", [
    ("/no/such/nswrap", 2, "/no/such/nswrap"),
    ("/etc/passwd", 13, "/etc/passwd"),
    ("/bin/false", 10, "ended before"),
])
def test_helper_that_is_none(lib, monkeypatch, program, code, said):
    monkeypatch.setenv("NSWRAP", program)
    error = Error()
    assert not start_sandbox(lib, [], ["true"], error)
    assert error.code == code and said in error.text.decode(), str(error)
    for function, rest in ((lib.nswrap_exit_start, [None]), (lib.nswrap_entrance_start, [])):
        ours, theirs = socket.socketpair()
        assert not function(*2 * (theirs.detach(),), *rest, ctypes.byref(error))
        assert error.code == code and error.text, str(error)
        assert ours.recv(1) == b""
        ours.close()


def test_helper_that_is_not_there(lib, monkeypatch, tmp_path):
    monkeypatch.delenv("NSWRAP")
    monkeypatch.setenv("PATH", str(tmp_path))
    error = Error()
    assert not start_sandbox(lib, [], ["true"], error)
    assert error.code == 2 and "PATH" in error.text.decode()
    (tmp_path / "nswrap").symlink_to(BINARY)
    sandbox = start_sandbox(lib, ["--network", "none"], ["/bin/true"], error)
    assert sandbox, str(error)
    lib.nswrap_sandbox_stop(sandbox, LONG)


def test_helper_that_is_too_old(lib, monkeypatch, tmp_path):
    """It does not know an option, and says so."""
    old = tmp_path / "nswrap"
    old.write_text('#!/bin/sh\necho "nswrap: unknown option $4" >&"$( [ "$1" = run ] && echo 4 || echo 2 )"\nexit 2\n')
    old.chmod(0o755)
    monkeypatch.setenv("NSWRAP", str(old))
    error = Error()
    assert not start_sandbox(lib, [], ["true"], error)
    assert error.code == 10 and "unknown option" in error.text.decode(), str(error)
    ours, theirs = socket.socketpair()
    assert not lib.nswrap_exit_start(*2 * (theirs.detach(),), None, ctypes.byref(error))
    assert error.code == 10 and "unknown option" in error.text.decode(), str(error)
    ours.close()


def test_link_through_an_exit(lib, far):  # noqa: F811
    """Names aside, all that can be dialled, from many threads at once; refused is refused."""
    machine = far()
    machine.serve(TCP_ECHO, FAR, 8000)
    machine.serve(UDP_ECHO, FAR, 8001, udp=True)
    with machine.attached() as fd, Link(lib, os.dup(fd)) as link:
        with link.dial(FAR, 8001, "udp") as s:
            s.settimeout(10 * PATIENCE)
            s.send(b"datagram")
            assert s.recv(100).endswith(b" datagram")
        assert link.dial(FAR, 8002) == -111, str(link.error)
        assert "refused" in link.error.text.decode() and link.error.code == 111
        answers = []

        def talk(i):
            data = b"%d " % i * 50000
            with link.dial(FAR, 8000) as s:
                threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR))).start()
                answers.append(read_all(s) == data)

        threads = [threading.Thread(target=talk, args=(i,)) for i in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60 * PATIENCE)
        assert answers == [True] * 20


def test_deadline(lib):
    """Nobody is at the other end of the link."""
    ours, theirs = socket.socketpair()
    with ours, Link(lib, theirs.detach()) as link:
        begun = time.monotonic()
        assert link.dial(FAR, 80, timeout=300) == -110, str(link.error)
        assert 0.2 < time.monotonic() - begun < 5 * PATIENCE


def test_entrance_that_is_stopped(lib):
    """A dial ends in its time however many requests there are that nobody takes."""
    before = set(helpers())
    ours, theirs = socket.socketpair()
    with ours, Link(lib, theirs.detach()) as link:
        mine = set(helpers()) - before
        codes = []
        try:
            for pid in mine:
                os.kill(pid, signal.SIGSTOP)
            thread = threading.Thread(target=lambda: codes.extend(link.dial(FAR, 80, timeout=1) for _ in range(400)))
            thread.start()
            thread.join(20 * PATIENCE)
            assert not thread.is_alive()
        finally:
            for pid in mine:
                os.kill(pid, signal.SIGCONT)
            thread.join()
        assert codes == [-110] * 400, str(link.error)


def test_link_that_ends(lib):
    """Who waits in a dial hears of it, and who calls one afterwards."""
    ours, theirs = socket.socketpair()
    with Link(lib, theirs.detach()) as link:
        timer = threading.Timer(0.3, ours.close)
        timer.start()
        assert link.dial(FAR, 80) == -32, str(link.error)
        assert link.dial(FAR, 80) == -32 and "link" in link.error.text.decode(), str(link.error)
        timer.join()


def test_helpers_that_are_killed(lib):
    before = set(helpers())
    with Link(lib) as link:
        mine = set(helpers()) - before
        timer = threading.Timer(0.3, lambda: [os.kill(pid, signal.SIGKILL) for pid in mine if is_alive(pid)])
        timer.start()
        code = link.dial("198.51.100.1", 80)
        timer.join()
        if not isinstance(code, int):  # something answers for every address, here
            code.close()
            code = link.dial("198.51.100.1", 80)
        assert code == -32, str(link.error)
        error = Error()
        assert lib.nswrap_exit_wait(link.exit, LONG, ctypes.byref(error)) in (0, -32)
    wait_for(lambda: not set(helpers()) - before, "all of it to end")


def test_entrance_that_is_killed(lib):
    """Whoever waits in a dial hears of it, though the link is as it was."""
    before = set(helpers())
    ours, theirs = socket.socketpair()
    with ours, Link(lib, theirs.detach()) as link:
        mine = set(helpers()) - before
        timer = threading.Timer(0.3, lambda: [os.kill(pid, signal.SIGKILL) for pid in mine if is_alive(pid)])
        timer.start()
        assert link.dial(FAR, 80) == -32, str(link.error)
        timer.join()
    wait_for(lambda: not set(helpers()) - before, "all of it to end")


def test_nothing_is_left_when_the_caller_dies(lib):
    """Its helpers end with the descriptors that it had."""
    before = set(helpers())
    popen = subprocess.Popen(python("""
import ctypes, os, socket, sys, time
lib = ctypes.CDLL(sys.argv[1])
a, b = (s.detach() for s in socket.socketpair())
assert lib.nswrap_exit_start(a, a, None, None) and lib.nswrap_entrance_start(b, b, None)
os.kill(os.getpid(), 9)
""", LIBRARY))
    assert popen.wait(30 * PATIENCE) == -9
    wait_for(lambda: not set(helpers()) - before, "its helpers to end", timeout=20)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(0)", "os.execvp('true', ['true'])"])
def test_a_sandbox_ends_with_its_caller(lib, end):
    """Its command is asked to, as by SIGTERM, and its name is free."""
    before = set(helpers())
    popen = subprocess.Popen(python("""
import ctypes, os, sys
lib = ctypes.CDLL(sys.argv[1])
words = lambda *texts: (ctypes.c_char_p * (len(texts) + 1))(*texts, None)
out = (ctypes.c_int * 3)(-1, 1, -1)
assert lib.nswrap_sandbox_start(words(b"--network", b"none", b"-n", b"heir"),
    words(b"sh", b"-c", b"trap 'echo asked; exit' TERM; ls -l /proc/self/fd; echo up; while :; do sleep 0.05; done"),
    out, 30000, None)
assert sys.stdin.read(1) == "x"
""" + end, LIBRARY), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    said = b""
    while not said.endswith(b"up\n"):
        said += os.read(popen.stdout.fileno(), 1000)
    assert b"pipe" not in said.replace(b" 1 -> pipe", b""), "the command has what is the library's"
    popen.stdin.write(b"x")
    popen.stdin.close()
    popen.wait(30 * PATIENCE)
    assert popen.stdout.read() == b"asked\n"
    wait_for(lambda: not set(helpers()) - before, "the sandbox to end", timeout=20)


# a page that says how it was asked for, with no look at names: argv: address port
PAGE = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    while True:
        with server.accept()[0] as c:
            text = b''
            while b'\\r\\n\\r\\n' not in text:
                text += c.recv(4096)
            body = b'path ' + text.split()[1]
            c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s' % (len(body), body))
"""


@pytest.mark.parametrize("words_of", [
    lambda: [BUILD / "examples/http_get"], lambda: python((TREE / "examples/http_get.py").read_text())])
def test_http_get_example(lib, outer, monkeypatch, words_of):
    """The README's: a page through an exit, both ends in one program."""
    machine = outer("ip addr add 10.9.9.9/32 dev lo\n")
    server = subprocess.Popen([*machine.prefix(), *python(PAGE, "10.9.9.9", 8000)])
    try:
        wait_for(lambda: ":8000 " in subprocess.run([*machine.prefix(), "ss", "-Hltn"], capture_output=True,
                                                    text=True, check=True).stdout, "the server")
        call = [*machine.prefix(), *words_of(), "10.9.9.9"]
        env = {**os.environ, "LIBNSWRAP": str(LIBRARY)}
        result = subprocess.run([*call, "8000", "/a/page"], capture_output=True, text=True, env=env, timeout=60)
        assert result.returncode == 0 and result.stdout.endswith("path /a/page"), result
        result = subprocess.run([*call, "8001", "/"], capture_output=True, text=True, env=env, timeout=60)
        assert result.returncode == 1 and "Connection refused" in result.stderr, result
        result = subprocess.run([*call, "8000", "/", "10.8.0.0/16"], capture_output=True, text=True, env=env, timeout=60)
        assert result.returncode == 1 and "Connection refused" in result.stderr, result
    finally:
        server.kill()
        server.wait()


def test_sockets_and_log_fd_on_the_command_line():
    for call, said in ((["sockets"], b"--api-fd is missing"), (["sockets", "--api-fd", "0"], b"SOCK_SEQPACKET"),
                       (["sockets", "--api-fd", "x"], b"\"x\""), (["exit", "--ready-fd", "1"], b"--ready-fd"),
                       (["--log-fd", "99", "true"], b"99 is not open")):
        result = subprocess.run([BINARY, *call], stdin=subprocess.DEVNULL, capture_output=True)
        assert result.returncode == 2 and said in result.stderr, result
    reading, writing = os.pipe()
    result = subprocess.run([BINARY, "--log-fd", str(writing), "-p", "0:80", "--network", "none", "sh", "-c",
                             f"echo own >&2; ls -l /proc/self/fd/{writing}"],
                            pass_fds=[writing], capture_output=True)
    os.close(writing)
    with os.fdopen(reading, "rb") as lines:
        assert b"leads to port 80" in lines.read()
    assert result.stderr.startswith(b"own\n") and b"leads to" not in result.stderr and result.returncode == 2
