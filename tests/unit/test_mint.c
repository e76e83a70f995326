/* SPDX-License-Identifier: Apache-2.0 */
/* test_mint - sockets as good as new, also without rights and while strangers are in the way */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "conn/mint.h"
#include "net/netdev.h"
#include "netns.h"
#include "proc/rights.h"
#include "util/addr.h"
#include "util/fd.h"

#define MARK  7
#define MANY  200
#define BATCH 16

static int mints[2];

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

/* Closes it. */
static void expect_new(int fd, bool is_six)
{
	const struct in6_addr six = {.s6_addr = {0x20, 1, 0x0d, 0xb8, [15] = 9}};
	const struct addr foreign[] = {
		addr_of4((struct in_addr){htonl(0xc6336409)}, 4567), addr_of6(&six, 4567)};
	struct addr own;

	assert_int_equal(option(fd, SOL_SOCKET, SO_MARK), MARK);
	assert_int_equal(option(fd, SOL_SOCKET, SO_REUSEADDR), 1);
	assert_int_equal(is_six ? option(fd, IPPROTO_IPV6, IPV6_TRANSPARENT)
				: option(fd, IPPROTO_IP, IP_TRANSPARENT),
		1);
	assert_int_equal(option(fd, SOL_SOCKET, SO_ERROR), 0);
	assert_int_equal(option(fd, SOL_SOCKET, SO_ACCEPTCONN), 0);
	assert_int_equal(bind(fd, &foreign[is_six].any, addr_len(&foreign[is_six])), 0);
	assert_int_equal(addr_get_own(fd, &own), 0);
	assert_true(addr_equal(&own, &foreign[is_six]));
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

static void as_good_as_new(void **state)
{
	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		const bool is_six = i % 2;
		int fd;

		assert_int_equal(mint_take(mints[is_six], &fd, 1), 1);
		expect_new(fd, is_six);
		/* and the mint does not listen in between */
		assert_int_equal(option(mints[is_six], SOL_SOCKET, SO_ACCEPTCONN), 0);
	}
}

/* A mint that listens already, at which a stranger was first. */
static void strangers_are_turned_away(void **state)
{
	struct addr at;
	int fds[BATCH];
	char byte;

	(void)state;
	assert_int_equal(listen(mints[0], 4), 0);
	assert_int_equal(addr_get_own(mints[0], &at), 0);
	int stranger = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(stranger, &at.any, addr_len(&at)), 0);
	assert_int_equal(mint_take(mints[0], fds, BATCH), BATCH);
	for (size_t i = 0; i < BATCH; i++)
		expect_new(fds[i], false);
	assert_true(recv(stranger, &byte, 1, 0) <= 0);
	close(stranger);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_good_as_new),
		cmocka_unit_test(strangers_are_turned_away),
	};

	netns_enter_or_skip();
	int nl = netdev_open();
	netdev_set_up(nl, 1, 0);
	close(nl);
	mints[0] = mint_open(AF_INET, MARK);
	mints[1] = mint_open(AF_INET6, MARK);
	if (mints[0] < 0 || mints[1] < 0 || rights_drop_all() < 0) {
		fprintf(stderr, "no mints\n");
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
