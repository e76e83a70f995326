/* SPDX-License-Identifier: Apache-2.0 */
/* test_lennuts - addresses that are known, and forgotten */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "tunnel/lennuts.h"
#include "util/clock.h"

static struct addr peer(uint32_t number, uint16_t port)
{
	return addr_of4((struct in_addr){htonl(0x0a000000 + number)}, port);
}

static const uint64_t t0 = 1000 * NS_PER_S, again = LENNUTS_AGAIN_MS * NS_PER_MS;

static void know(struct lennuts *lennuts, const struct addr *one)
{
	lennuts_suspect(lennuts, one, t0);
	lennuts_suspect(lennuts, one, t0 + 1);
}

static void one_is_known_by_its_address(void **state)
{
	struct lennuts lennuts = {.next = 0};
	struct addr one = peer(1, 100), other_port = peer(1, 200), other = peer(2, 100);

	(void)state;
	assert_false(lennuts_has(&lennuts, &one));
	lennuts_suspect(&lennuts, &one, t0);
	assert_false(lennuts_has(&lennuts, &one));
	lennuts_suspect(&lennuts, &other_port, t0 + again);
	assert_true(lennuts_has(&lennuts, &one));
	assert_true(lennuts_has(&lennuts, &other_port));
	assert_false(lennuts_has(&lennuts, &other));
	lennuts_suspect(&lennuts, &one, t0 + 9 * again);
	assert_true(lennuts_has(&lennuts, &one));
	lennuts_forget(&lennuts, &other_port);
	assert_false(lennuts_has(&lennuts, &one));
}

static void who_does_not_come_again_soon_is_none(void **state)
{
	struct lennuts lennuts = {.next = 0};
	struct addr one = peer(1, 100);

	(void)state;
	for (uint64_t i = 0; i < 5; i++) {
		lennuts_suspect(&lennuts, &one, t0 + i * (again + 1));
		assert_false(lennuts_has(&lennuts, &one));
	}
	lennuts_forget(&lennuts, &one);
	lennuts_suspect(&lennuts, &one, t0 + 4 * (again + 1) + 1);
	assert_false(lennuts_has(&lennuts, &one));
}

static void the_oldest_is_forgotten(void **state)
{
	struct lennuts lennuts = {.next = 0};

	(void)state;
	for (uint32_t i = 0; i <= LENNUTS_MAX; i++) {
		struct addr one = peer(i, 1);
		know(&lennuts, &one);
		know(&lennuts, &one);
	}
	for (uint32_t i = 0; i <= LENNUTS_MAX; i++) {
		struct addr one = peer(i, 1);
		assert_int_equal(lennuts_has(&lennuts, &one), i > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_is_known_by_its_address),
		cmocka_unit_test(who_does_not_come_again_soon_is_none),
		cmocka_unit_test(the_oldest_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
