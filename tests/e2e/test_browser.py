# SPDX-License-Identifier: Apache-2.0
"""e2e/test_browser - a page of a mesh's host in headless Chromium: through each proxy, and in a sandbox with nothing set"""

import contextlib
import os
import subprocess

import pytest

from harness import PATIENCE, free_port
from mesh_tools import Box, Site, network
from test_http_proxy import LOCAL, certificate, serving  # noqa: F401: a fixture
from tools import THOROUGH

PAGE = "<!DOCTYPE html><title>lab</title><script src='script.js'></script>"
SCRIPT = "document.write('<p>' + location.protocol + ' of ' + location.hostname + ': ' + 6 * 7 + '</p>')"


def chromium(directory, url, *options):
    """A command that prints the page as it is once all of it is there. What its own sandbox is made of
    is not what is tested; nothing but the page is to be asked for."""
    return ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-breakpad",
            "--disable-background-networking", "--disable-component-update", "--no-first-run",
            "--ignore-certificate-errors", f"--user-data-dir={directory}/browser", "--dump-dom", *options, url]


class World:
    """`lab` has a page by http and https; `here` is this machine, with the proxies, and box a sandbox. No
    address of the mesh is listened at here, so that nothing but a proxy leads to the page."""

    def __init__(self, nswrap, directory, plain, secret):
        self.directory, self.servers = directory, {"http:": plain, "https:": secret}
        self.env = {"PATH": os.environ["PATH"], "HOME": directory, "XDG_RUNTIME_DIR": directory}
        self.ports = {"http": free_port(), "socks": free_port()}
        self.box = Box(nswrap, "box")
        self.vip = f"{network()}.101"
        self.site = Site(nswrap, directory)
        self.site.host("lab", self.vip, ports=[f"80:{LOCAL}:{plain.port}", f"443:{LOCAL}:{secret.port}"],
                       loopback={"disable": True})
        self.site.host("here", f"{network()}.102", loopback={"disable": True},
                       **{kind: {"listen": f"{LOCAL}:{port}"} for kind, port in self.ports.items()})
        self.site.host("box", f"{network()}.103", self.box.agent())

    def asked(self):
        """(paths, who passed them on) of each server since the last time."""
        found = {}
        for scheme, server in self.servers.items():
            if server.seen:
                found[scheme] = ({path for _, path, *_ in server.seen}, {headers["Via"] for _, _, headers, *_ in server.seen})
            server.seen.clear()
        return found

    def show(self, scheme, *options):
        """What chromium makes of the page on this machine."""
        url = f"{scheme}//lab/file/page.html"
        done = subprocess.run(chromium(self.directory, url, *options), env=self.env, capture_output=True, timeout=60 * PATIENCE)
        return done.stdout.decode()


@contextlib.contextmanager
def world(nswrap, directory, files, tls):
    (files / "page.html").write_text(PAGE)
    (files / "script.js").write_text(SCRIPT)
    with serving(files) as plain, serving(files, tls=tls) as secret:
        made = World(nswrap, directory, plain, secret)
        with made.site:
            yield made


if THOROUGH:  # a large program, eight times

    @pytest.mark.limit(300)
    def test_chromium(nswrap, short_dir, certificate, tmp_path):  # noqa: F811
        paths = {"/file/page.html", "/file/script.js"}
        with world(nswrap, short_dir, tmp_path, certificate) as made:
            # by SOCKS 4 a name is looked up by who asks
            mapped = f"--host-resolver-rules=MAP lab {made.vip}"
            for scheme, kind, words, passed in (
                    ("http:", "http", [f"http://{LOCAL}"], "1.1 nswrap"), ("https:", "http", [f"http://{LOCAL}"], None),
                    ("http:", "socks", [f"socks4://{LOCAL}", mapped], None),
                    ("http:", "socks", [f"socks5://{LOCAL}"], None), ("https:", "socks", [f"socks5://{LOCAL}"], None)):
                shown = made.show(scheme, f"--proxy-server={words[0]}:{made.ports[kind]}", *words[1:])
                assert f"<p>{scheme} of lab: 42</p>" in shown, (scheme, words, shown)
                found = made.asked()
                assert list(found) == [scheme] and found[scheme][0] >= paths and found[scheme][1] == {passed}, (words, found)
            # inside, with nothing set
            for scheme in made.servers:
                done = made.box.run("env", "-i", *(f"{name}={value}" for name, value in made.env.items()),
                                    *chromium(short_dir, f"{scheme}//lab/file/page.html"), timeout=60 * PATIENCE)
                assert f"<p>{scheme} of lab: 42</p>" in done.stdout.decode(), done
                found = made.asked()
                assert list(found) == [scheme] and found[scheme][0] >= paths and found[scheme][1] == {None}, found
            # and where nothing leads there
            assert "42" not in made.show("http:") and not made.asked()
