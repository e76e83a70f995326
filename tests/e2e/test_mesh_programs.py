# SPDX-License-Identifier: Apache-2.0
"""e2e/test_mesh_programs - programs that people use, in a mesh, with nothing set"""

import glob
import os
import subprocess

import pytest
from harness import HTTP, wait_for
from mesh_tools import Box, Site, network
from test_mesh_routes import FAR, NAMED, OWN_RESOLVER, cloud, named, world  # noqa: F401: fixtures

# looks a name up by the C library it was linked with, and says GET there; argv: name port
CLIENT = """
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	char text[4096];
	ssize_t got;
	int s, result = argc == 3 ? getaddrinfo(argv[1], argv[2], &hints, &found) : EAI_FAIL;
	if (result != 0) {
		fprintf(stderr, "%s\\n", gai_strerror(result));
		return 1;
	}
	s = socket(found->ai_family, SOCK_STREAM, 0);
	if (connect(s, found->ai_addr, found->ai_addrlen) < 0 || write(s, "GET /x HTTP/1.0\\r\\n\\r\\n", 19) != 19) {
		perror("connect");
		return 1;
	}
	while ((got = read(s, text, sizeof(text))) > 0)
		fwrite(text, 1, (size_t)got, stdout);
	return 0;
}
"""

# looks names up by c-ares, which reads files and sends queries itself; argv: name...
ARES = """
#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/select.h>
static void on_host(void *name, int status, int timeouts, struct hostent *host)
{
	char text[64] = "";
	(void)timeouts;
	if (status == ARES_SUCCESS)
		inet_ntop(host->h_addrtype, host->h_addr_list[0], text, sizeof(text));
	printf("%s %s\\n", (char *)name, status == ARES_SUCCESS ? text : ares_strerror(status));
}
int main(int argc, char **argv)
{
	struct ares_options options = {.lookups = (char *)"b"}; /* no /etc/hosts */
	ares_channel channel;
	if (ares_library_init(ARES_LIB_INIT_ALL) || ares_init_options(&channel, &options, ARES_OPT_LOOKUPS))
		return 1;
	for (int i = 1; i < argc; i++)
		ares_gethostbyname(channel, argv[i], AF_INET, on_host, argv[i]);
	for (;;) {
		fd_set in, out;
		struct timeval wait = {1, 0};
		FD_ZERO(&in);
		FD_ZERO(&out);
		int count = ares_fds(channel, &in, &out);
		if (count == 0)
			return 0;
		select(count, &in, &out, NULL, &wait);
		ares_process(channel, &in, &out);
	}
}
"""


def compiled(directory, compiler, text, *options):
    path = directory / f"{compiler}-{options[0][1:]}"
    subprocess.run([compiler, "-x", "c", "-O1", "-o", path, "-", *options], input=text.encode(), check=True)
    return path


@pytest.fixture
def site(nswrap, short_dir):
    made = Site(nswrap, short_dir)
    made.boxes = [Box(nswrap, name) for name in ("box-lab", "box-web")]
    made.vips = [f"{network()}.101", f"{network()}.102"]
    made.host("lab", made.vips[0], made.boxes[0].agent(), aliases=["lab.example.com"], ports=["80:127.0.0.1:8000"])
    made.host("web", made.vips[1], made.boxes[1].agent())
    made.boxes[0].serve(HTTP, "127.0.0.1", 8000, port=8000)
    with made:
        yield made


@pytest.mark.agents(but=("streams",), thorough=True)
def test_dig(site):
    """From a sandbox: nothing said, over TCP, at the port of NoRouter's documentation, and by address."""
    web, vip = site.boxes[1], site.vips[0]
    for words in (["lab"], ["+tcp", "lab"], ["-p", "10053", "+tcp", f"@{vip}", "lab"], ["+noedns", "lab.example.com"],
                  ["-p", "10053", f"@{site.vips[1]}", "LAB.example.com"]):
        assert web.do("dig", "+short", *words).decode().split() == [vip], words
    assert web.do("dig", "+short", "-x", vip).decode().split() == ["lab."]
    assert b"status: NOERROR" in web.do("dig", "lab", "AAAA")
    # the other tools of the package
    assert f"lab has address {vip}" in web.do("host", "lab").decode()
    assert f"Address: {vip}" in web.do("nslookup", "lab").decode()


@pytest.mark.agents(but=("streams",), thorough=True)
def test_static_programs(site, short_dir, tmp_path):
    """glibc's and musl's resolvers in static programs, and c-ares."""
    web, vip = site.boxes[1], site.vips[0]
    for compiler in ("gcc", "musl-gcc"):
        path = compiled(tmp_path, compiler, CLIENT, "-static")
        for name in ("lab", "lab.example.com"):
            assert web.do(path, name, "80").endswith(b"path /x"), (compiler, name)
        assert web.run(path, "nobody.example.com", "80").returncode == 1
    ares = compiled(tmp_path, "gcc", ARES, "-lcares")
    assert sorted(web.do(ares, "lab", "lab.example.com", "x.lab").decode().splitlines()) == [
        f"lab {vip}", f"lab.example.com {vip}", "x.lab Domain name not found"]


def test_psql_through_a_bastion(world, short_dir, tmp_path):  # noqa: F811
    """A database on a network that this host cannot reach, by its address and by its name there."""
    made, box, site = world(to=["192.0.2.0/24", "*.cloud1.example.com"], setup=OWN_RESOLVER.format(directory=short_dir))
    named(made)
    bin_dir = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
    data = tmp_path / "data"
    subprocess.run([f"{bin_dir}/initdb", "-N", "-A", "trust", "-U", "me", "-D", data], check=True, capture_output=True)
    (data / "pg_hba.conf").write_text("host all all all trust\n")
    ordinary = ["unshare", "-U", f"--map-user={os.getuid()}", f"--map-group={os.getgid()}", "--"]
    made.popens.append(subprocess.Popen(
        [*made.bastion.neighbour(), *ordinary, f"{bin_dir}/postgres", "-D", data, "-h", f"{FAR},{NAMED}", "-k", "",
         "-F"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    with site:
        def query(host, text):
            return box.run("psql", "-X", "-A", "-t", "-h", host, "-U", "me", "-c", text, "postgres").stdout

        wait_for(lambda: query(FAR, "select 6 * 7") == b"42\n", "the database", 20)
        assert query("db.cloud1.example.com", "select inet_server_addr()") == f"{NAMED}\n".encode()
        # a result that is longer than any buffer
        assert len(query(FAR, "select repeat('x', 5000000)")) == 5000001
