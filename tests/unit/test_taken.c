/* SPDX-License-Identifier: Apache-2.0 */
/* test_taken - a namespace's own addresses and networks are no host's of a mesh */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "mesh/agent/taken.h"
#include "net/netdev.h"
#include "net/tap.h"
#include "netns.h"

static struct in_addr ip_of(const char *text)
{
	struct in_addr ip;

	assert_int_equal(inet_pton(AF_INET, text, &ip), 1);
	return ip;
}

struct fault {
	int code; /* of the second one */
	char text[sizeof(((struct err *)0)->text)];
};

static void on_taken(void *owner, size_t place, const struct err *err)
{
	struct fault *fault = owner;

	assert_int_equal(place, 1);
	fault->code = err->code;
	strcpy(fault->text, err->text);
}

static void check(bool is_sandbox, const char *text, int code, const char *words)
{
	/* the wrong one is found among others */
	struct in_addr vips[] = {ip_of("127.0.42.101"), ip_of(text), ip_of("192.0.2.7")};
	struct fault fault = {0};
	struct err err;

	assert_int_equal(taken_check(is_sandbox, vips, 3, on_taken, &fault, &err), 0);
	assert_int_equal(fault.code, code);
	if (code == 0)
		return;
	assert_int_equal(strncmp(fault.text, text, strlen(text)), 0);
	assert_non_null(strstr(fault.text, words));
	assert_non_null(strstr(fault.text, "expected another one"));
}

/* A device of a sandbox, or of a host. Returns its descriptor: it goes with it. */
static int add_device(const char *name, const char *ip, int prefix_len)
{
	struct in_addr addr = ip_of(ip);
	struct err err;
	int nl = netdev_open(), fd = tap_open_tun(name, &err);

	assert_true(fd >= 0);
	assert_int_equal(
		netdev_add_addr(nl, netdev_index(nl, name), AF_INET, &addr, prefix_len), 0);
	netdev_set_up(nl, netdev_index(nl, name), 0);
	close(nl);
	return fd;
}

static void test_taken(void **state)
{
	int nl;

	(void)state;
	netns_enter_or_skip();
	nl = netdev_open();
	netdev_set_up(nl, netdev_index(nl, "lo"), 0);
	close(nl);
	int tap = add_device("tap0", "10.0.2.100", 24),
	    mesh = add_device("mesh3", "127.0.42.9", 32);

	for (int is_sandbox = 0; is_sandbox < 2; is_sandbox++) {
		check(is_sandbox, "127.0.0.1", EINVAL, "own loopback");
		check(is_sandbox, "169.254.169.254", EINVAL, "link-local");
		check(is_sandbox, "10.0.2.100", EADDRINUSE, "address of this host (tap0)");
		check(is_sandbox, "127.9.9.9", 0, NULL);
		check(is_sandbox, "10.0.3.0", 0, NULL);
		check(is_sandbox, "10.0.1.255", 0, NULL);
	}
	check(true, "10.0.2.2", EADDRINUSE, "network of this sandbox (tap0, 10.0.2.100)");
	check(true, "10.0.2.3", EADDRINUSE, "network of this sandbox (tap0, 10.0.2.100)");
	check(true, "10.0.2.255", EADDRINUSE, "network of this sandbox");
	check(false, "10.0.2.3", 0, NULL);
	/* an agent's own, or one's before it */
	check(true, "127.0.42.9", 0, NULL);
	check(false, "127.0.42.9", EADDRINUSE, "address of this host (mesh3)");
	close(tap);
	close(mesh);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_taken)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
