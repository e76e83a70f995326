/* SPDX-License-Identifier: Apache-2.0 */
/* test_lennuts - addresses that are known, and forgotten */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "tunnel/lennuts.h"

static struct addr peer(uint32_t number, uint16_t port)
{
	return addr_of4((struct in_addr){htonl(0x0a000000 + number)}, port);
}

static void one_is_known_by_its_address(void **state)
{
	struct lennuts lennuts = {.next = 0};
	struct addr one = peer(1, 100), again = peer(1, 200), other = peer(2, 100);

	(void)state;
	assert_false(lennuts_has(&lennuts, &one));
	lennuts_note(&lennuts, &one, true);
	assert_true(lennuts_has(&lennuts, &again));
	assert_false(lennuts_has(&lennuts, &other));
	lennuts_note(&lennuts, &again, false);
	assert_false(lennuts_has(&lennuts, &one));
}

static void the_oldest_is_forgotten(void **state)
{
	struct lennuts lennuts = {.next = 0};

	(void)state;
	for (uint32_t i = 0; i <= LENNUTS_MAX; i++) {
		struct addr one = peer(i, 1);
		lennuts_note(&lennuts, &one, true);
		lennuts_note(&lennuts, &one, true);
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
		cmocka_unit_test(the_oldest_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
