# SPDX-License-Identifier: Apache-2.0
"""e2e/test_owners - programs that look at who owns what they read: root's files are nobody's inside"""

import os
import subprocess

import pytest

SYSTEM = "/etc/ssh/ssh_config"  # of root's, as those that it includes usually are


@pytest.fixture
def home(tmp_path):
    """What ssh reads: a folder that has a link to a file of root's, as /etc/ssh/ssh_config.d may have."""
    folder = tmp_path / ".ssh" / "conf.d"
    folder.mkdir(parents=True)
    (folder / "50-link.conf").symlink_to(SYSTEM)
    (folder / "60-own.conf").write_text("Host elsewhere\n  Port 2222\n")
    (tmp_path / ".ssh" / "config").write_text('Include "conf.d/*.conf"\n')
    return tmp_path


def ssh(home):
    return ["ssh", "-F", str(home / ".ssh" / "config")]


def run_outside(home, line):
    return subprocess.run(line, capture_output=True, check=False, env={**os.environ, "HOME": str(home)})


@pytest.mark.parametrize("options", [
    [], ["--network", "none"], ["--pid"], ["--root"], ["--root", "--pid"]], ids=" ".join)
def test_ssh_reads_what_root_owns(nswrap, home, options):
    assert os.stat(SYSTEM).st_uid == 0 != os.getuid()
    line = [*ssh(home), "-l", "me", "-G", "elsewhere"]
    outside = run_outside(home, line).stdout
    assert b"port 2222" in outside and b"hashknownhosts" in outside
    result = nswrap.run("-q", *options, "--", *line, env={"HOME": str(home)})
    assert result.returncode == 0, result.stderr

    def settings(text):  # but for where the home is
        return [word for word in text.splitlines() if b"/" not in word]

    assert settings(result.stdout) == settings(outside)


def test_git_reaches_its_ssh(nswrap, home):
    words = [*ssh(home), f"-oProxyCommand='touch {home}/reached; exit 1'"]
    env = {"HOME": str(home), "GIT_SSH_COMMAND": " ".join(words)}
    result = nswrap.run("-q", "--network", "none", "--", "git", "ls-remote", "elsewhere:x", env=env)
    assert (home / "reached").exists() and b"Bad owner" not in result.stderr, result.stderr


def test_what_ssh_refuses_outside_it_refuses_inside(nswrap, home):
    (home / ".ssh" / "conf.d" / "60-own.conf").chmod(0o666)
    line = [*ssh(home), "-G", "elsewhere"]
    assert run_outside(home, line).returncode != 0
    result = nswrap.run("-q", "--", *line, env={"HOME": str(home)})
    assert result.returncode != 0 and b"Bad owner or permissions" in result.stderr


def test_copies_are_in_the_sandbox_only(nswrap, home):
    """... and what COMMAND writes to its copy is nobody else's; exec sees the same ones."""
    before = open(SYSTEM, "rb").read()
    running = nswrap.start("-n", "box", "sh", "-c", f"echo '# mine' >> {SYSTEM}; exec sleep 60",
                           env={"HOME": str(home)})
    running.wait_event("started")
    wait = f"until grep -q mine {SYSTEM}; do sleep 0.02; done"
    assert nswrap.run("exec", "box", "sh", "-c", wait).returncode == 0
    assert open(SYSTEM, "rb").read() == before
