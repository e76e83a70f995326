/* SPDX-License-Identifier: Apache-2.0 */
/* test_news - told when nothing waits for the link, when it is late, or when it has to be now */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "clock_ahead.h"
#include "mesh/manager/news.h"
#include "mesh/message.h"
#include "util/clock.h"
#include "util/list.h"

struct bed {
	struct loop *loop;
	struct wire_hub *hub;
	struct wire wire;
	struct news news;
	int far, held;
	size_t told, times;
};

static void tell(struct news *news, const struct in_addr *gone, size_t count)
{
	struct bed *bed = container_of(news, struct bed, news);

	assert_in_range(count, 1, MESSAGE_GONE_MAX);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(gone[i].s_addr, bed->told + i + 1);
	bed->told += count;
	bed->times++;
}

static void on_broken(struct wire *wire, const struct err *err)
{
	(void)wire;
	fail_msg("broken: %s", err->text);
}

static int set_up(void **state)
{
	static const struct wire_ops ops = {.on_broken = on_broken};
	struct bed *bed = *state = calloc(1, sizeof(*bed));
	int in[2], out[2];

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	bed->loop = loop_new();
	bed->hub = wire_hub_new(bed->loop);
	assert_int_equal(wire_open(&bed->wire, bed->hub, &ops, in[0], out[1]), 0);
	bed->far = out[0];
	bed->held = in[1];
	bed->news.loop = bed->loop;
	bed->news.wire = &bed->wire;
	bed->news.tell = tell;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *bed = *state;

	news_clear(&bed->news);
	wire_close(&bed->wire);
	wire_hub_free(bed->hub);
	loop_free(bed->loop);
	close(bed->far);
	close(bed->held);
	free(bed);
	return 0;
}

static void add(struct bed *bed, size_t first, size_t count, bool is_now)
{
	struct in_addr gone[3 * MESSAGE_GONE_MAX];

	for (size_t i = 0; i < count; i++)
		gone[i].s_addr = (in_addr_t)(first + i);
	news_add(&bed->news, gone, count, is_now);
}

/* Packets wait for a link that nobody reads. */
static void fill(struct bed *bed)
{
	static unsigned char frame[FRAME_HEADER_BYTES + 60000];

	frame_encode_header(frame, FRAME_PACKET, sizeof(frame) - FRAME_HEADER_BYTES);
	while (wire_has_room(&bed->wire))
		wire_send(&bed->wire, 0, &(struct iovec){frame, sizeof(frame)}, 1);
}

static void at_once_where_nothing_waits(void **state)
{
	struct bed *bed = *state;

	news_add(&bed->news, NULL, 0, true);
	assert_int_equal(bed->times, 0);
	add(bed, 1, 1, false);
	assert_int_equal(bed->told, 1);
	add(bed, 2, 2 * MESSAGE_GONE_MAX + 1, false);
	assert_int_equal(bed->told, 2 * MESSAGE_GONE_MAX + 2);
	assert_int_equal(bed->times, 4);
}

static void behind_what_waits(void **state)
{
	static char bytes[1 << 16];
	struct bed *bed = *state;

	fill(bed);
	add(bed, 1, 1, false);
	add(bed, 2, 1, false);
	for (int i = 0; i < 3; i++)
		loop_run_once(bed->loop, 20);
	assert_int_equal(bed->told, 0);
	for (int i = 0; bed->told == 0 && i < 1000; i++) {
		while (read(bed->far, bytes, sizeof(bytes)) > 0)
			;
		loop_run_once(bed->loop, 20);
	}
	assert_int_equal(bed->told, 2);
	assert_int_equal(bed->times, 1);
	assert_false(loop_timer_is_armed(&bed->news.timer));
}

static void late_all_the_same(void **state)
{
	struct bed *bed = *state;

	clock_stop();
	fill(bed);
	add(bed, 1, 1, false);
	clock_ahead_ns += (NEWS_MS - 500) * NS_PER_MS;
	for (int i = 0; i < 3; i++)
		loop_run_once(bed->loop, 20);
	assert_int_equal(bed->told, 0);
	add(bed, 2, 1, false); /* which makes it no later */
	clock_ahead_ns += 500 * NS_PER_MS;
	for (int i = 0; bed->told == 0 && i < 10; i++)
		loop_run_once(bed->loop, 20);
	assert_int_equal(bed->told, 2);
	fill(bed);
	add(bed, 3, 1, false);
	add(bed, 4, 1, true);
	assert_int_equal(bed->told, 4);
	add(bed, 5, 1, false);
	news_add(&bed->news, NULL, 0, true);
	assert_int_equal(bed->told, 5);
	add(bed, 6, 1, false);
	news_clear(&bed->news);
	assert_false(loop_timer_is_armed(&bed->news.timer));
	news_add(&bed->news, NULL, 0, true);
	assert_int_equal(bed->told, 5);
	clock_go_on();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(at_once_where_nothing_waits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(behind_what_waits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(late_all_the_same, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
