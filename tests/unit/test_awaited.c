/* SPDX-License-Identifier: Apache-2.0 */
/* test_awaited - answers are known by both ends and their time; some are forgotten early */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/awaited.h"

enum { FLOWS = 4096, STEPS = 400000 };

/* Neighbours in every part of a key */
static struct packet_end own_of(unsigned i)
{
	return (struct packet_end){{htonl(0x7f002a01 + i % 4)}, (uint16_t)(1000 + i / 4 % 8)};
}

static struct packet_end peer_of(unsigned i)
{
	return (struct packet_end){{htonl(0x0a000001 + i / 32 % 8)}, (uint16_t)(50 + i / 256)};
}

/* @nflows flows asked of in any order, against the times at which they were sent */
static unsigned ask(struct awaited *answers, unsigned nflows)
{
	uint64_t ends_ns[FLOWS] = {0}, now_ns = 0;
	unsigned forgotten = 0;

	for (int step = 0; step < STEPS; step++) {
		unsigned i = (unsigned)random() % nflows;
		const struct packet_end own = own_of(i), peer = peer_of(i);

		now_ns += (uint64_t)random() % (2 * AWAITED_TIME_NS / nflows);
		if (random() % 2) {
			awaited_note(answers, &own, &peer, now_ns);
			ends_ns[i] = now_ns + AWAITED_TIME_NS;
			continue;
		}
		bool is_awaited = awaited_has(answers, &own, &peer, now_ns);
		if (now_ns >= ends_ns[i])
			assert_false(is_awaited);
		else
			forgotten += !is_awaited;
	}
	return forgotten;
}

static void like_a_list_of_times(void **state)
{
	struct awaited *answers = calloc(1, sizeof(*answers));

	(void)state;
	srandom(1);
	assert_int_equal(ask(answers, 16), 0);
	free(answers);
	/* more than it has room for: it never invents one */
	answers = calloc(1, sizeof(*answers));
	assert_in_range(ask(answers, FLOWS), 1, STEPS / 20);
	free(answers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(like_a_list_of_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
