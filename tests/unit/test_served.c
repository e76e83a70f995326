/* SPDX-License-Identifier: Apache-2.0 */
/* test_served - of the addresses of a name the one at which somebody takes datagrams */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn/served.h"

static void test_finds_it(void **state)
{
	struct addr at = addr_loopback4(0);
	const int fd = socket(AF_INET, SOCK_DGRAM, 0);

	(void)state;
	assert_int_equal(bind(fd, &at.any, addr_len(&at)), 0);
	assert_int_equal(addr_get_own(fd, &at), 0);
	const struct addr addrs[] = {addr_of6(&in6addr_loopback, addr_port(&at)), at};
	assert_int_equal(served_find(addrs, 2), 1);
	/* of one there is nothing to choose */
	assert_int_equal(served_find(&at, 1), 1);
	close(fd);
	assert_int_equal(served_find(addrs, 2), 2);
	assert_int_equal(served_find(addrs, 0), 0);
}

/* A socket at the wildcard is at every address of this host, and at no other. */
static void others_addresses_are_not_served_here(void **state)
{
	struct addr at = addr_of4((struct in_addr){htonl(INADDR_ANY)}, 0);
	const int fd = socket(AF_INET, SOCK_DGRAM, 0);

	(void)state;
	assert_int_equal(bind(fd, &at.any, addr_len(&at)), 0);
	assert_int_equal(addr_get_own(fd, &at), 0);
	const uint16_t port = addr_port(&at);
	/* 240.0.0.0/4 is nobody's (RFC 1112) */
	const struct addr addrs[] = {addr_of4((struct in_addr){htonl(0xf0000001)}, port),
		addr_of4((struct in_addr){htonl(0xf0000002)}, port), addr_loopback4(port)};
	assert_int_equal(served_find(addrs, 2), 2);
	const struct addr back[] = {addrs[0], addrs[2], addrs[1]};
	assert_int_equal(served_find(back, 3), 1);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_finds_it),
		cmocka_unit_test(others_addresses_are_not_served_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
