/* SPDX-License-Identifier: Apache-2.0 */
/* test_tenure - silence is noticed, and what is no identity; the rest: e2e/test_mesh_takeover.py */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "mesh/agent/tenure.h"
#include "util/clock.h"
#include "util/list.h"

struct bed {
	struct tenure tenure;
	struct wire wire;
	struct loop_timer talker; /* something comes, as often as talks says */
	unsigned talks;
	uint64_t silent_ns;
};

static void on_silence(struct tenure *tenure)
{
	struct bed *bed = container_of(tenure, struct bed, tenure);

	bed->silent_ns = clock_now_ns();
	loop_stop(tenure->loop, 0);
}

static void talk(struct loop_timer *timer)
{
	struct bed *bed = container_of(timer, struct bed, talker);

	bed->wire.bytes_in++;
	if (--bed->talks > 0)
		loop_timer_set(bed->tenure.loop, timer, 300);
}

static void silence_is_noticed(void **state)
{
	struct bed bed = {.talks = 3, .talker.on_expired = talk};
	struct mesh_config config = {.silence_s = 1};
	struct err err;

	(void)state;
	bed.tenure = (struct tenure){.loop = loop_new(),
		.wire = &bed.wire,
		.on_silence = on_silence,
		.tenant.listen_fd = -1};
	assert_non_null(bed.tenure.loop);
	uint64_t began_ns = clock_now_ns();
	assert_int_equal(tenure_begin(&bed.tenure, &config, &err), 0);
	loop_timer_set(bed.tenure.loop, &bed.talker, 300);
	assert_int_equal(loop_run(bed.tenure.loop), 0);
	/* the last byte came at 900 ms, and up to a beat passes until that is seen */
	assert_true(bed.silent_ns - began_ns >= 1650 * NS_PER_MS);
	tenure_end(&bed.tenure);
	/* never */
	config.silence_s = 0;
	assert_int_equal(tenure_begin(&bed.tenure, &config, &err), 0);
	assert_false(loop_timer_is_armed(&bed.tenure.timer));
	tenure_end(&bed.tenure);
	loop_free(bed.tenure.loop);
}

static void an_identity_is_part_of_a_file_name(void **state)
{
	static char *const wrong[] = {"/", "../a", "A", "a b",
		"00000000000000000000000000000000000000000000000000000000000000000"};
	struct tenure tenure = {.tenant.listen_fd = -1};
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct mesh_config config = {.identity = wrong[i]};

		assert_int_equal(tenure_begin(&tenure, &config, &err), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(silence_is_noticed),
		cmocka_unit_test(an_identity_is_part_of_a_file_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
