/* SPDX-License-Identifier: Apache-2.0 */
/* test_kin - a port that another host of the mesh has is served; one that anybody else has is not
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conn/bind.h"
#include "mesh/agent/kin.h"
#include "util/clock.h"

#define MESH  "0123456789abcdef"
#define SELF  MESH "00000000000000aa"
#define KIN   MESH "00000000000000bb"
#define OTHER "f123456789abcdef00000000000000bb"

struct host {
	pid_t pid;
	struct addr tcp, udp; /* that it has */
};

/* An agent with that identity, which has a port of each kind. */
static struct host start(const char *identity)
{
	struct host host;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	host.pid = fork();
	if (host.pid == 0) {
		struct tenant tenant = {.listen_fd = -1};
		struct bound tcp, udp;
		struct err err;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		host.tcp = host.udp = addr_loopback4(0);
		if (tenant_claim(&tenant, TENANT_AGENT, identity, &err) < 0 ||
			bind_open(&host.tcp, PROTO_TCP, &tcp, &err) < 0 ||
			bind_open(&host.udp, PROTO_UDP, &udp, &err) < 0 ||
			write(ends[1], &host, sizeof(host)) != (ssize_t)sizeof(host))
			_exit(1);
		for (;;)
			pause();
	}
	pid_t pid = host.pid;
	close(ends[1]);
	assert_int_equal(read(ends[0], &host, sizeof(host)), sizeof(host));
	close(ends[0]);
	host.pid = pid;
	assert_int_not_equal(addr_port(&host.tcp), 0);
	return host;
}

static void finish(const struct host *host)
{
	kill(host->pid, SIGKILL);
	waitpid(host->pid, NULL, 0);
}

static void served_by_kin(void **state)
{
	struct kin kin = {.count = 0};
	uint64_t now_ns = 1000 * NS_PER_S;

	(void)state;
	struct host brother = start(KIN), stranger = start(OTHER);
	/* nobody has said who we are */
	assert_false(kin_serves(&kin, now_ns, PROTO_TCP, &brother.tcp));
	kin_set(&kin, NULL);
	assert_false(kin_serves(&kin, now_ns, PROTO_TCP, &brother.tcp));
	kin_set(&kin, SELF);
	assert_true(kin_serves(&kin, now_ns, PROTO_TCP, &brother.tcp));
	assert_true(kin_serves(&kin, now_ns, PROTO_UDP, &brother.udp));
	assert_false(kin_serves(&kin, now_ns, PROTO_UDP, &brother.tcp));
	assert_false(kin_serves(&kin, now_ns, PROTO_TCP, &stranger.tcp));
	assert_false(kin_serves(&kin, now_ns, PROTO_UDP, &stranger.udp));
	finish(&brother);
	assert_false(kin_serves(&kin, now_ns, PROTO_TCP, &brother.tcp));
	/* who comes later is found, after a moment */
	brother = start(KIN);
	now_ns += (KIN_KNOWN_MS + 1) * NS_PER_MS;
	assert_true(kin_serves(&kin, now_ns, PROTO_TCP, &brother.tcp));
	/* another mesh, other kin */
	kin_set(&kin, OTHER);
	assert_false(kin_serves(&kin, now_ns, PROTO_TCP, &brother.tcp));
	finish(&brother);
	finish(&stranger);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(served_by_kin)};
	char place[] = "/tmp/test_kin.XXXXXX", command[64];

	if (!mkdtemp(place) || setenv("XDG_RUNTIME_DIR", place, 1) < 0)
		return 1;
	int result = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -r %s", place);
	return system(command) == 0 ? result : 1;
}
