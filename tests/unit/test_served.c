/* SPDX-License-Identifier: Apache-2.0 */
/* test_served - of the addresses of a name the one at which somebody takes datagrams */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_finds_it)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
