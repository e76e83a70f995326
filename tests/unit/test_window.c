/* SPDX-License-Identifier: Apache-2.0 */
/* test_window - a link in simulated time is kept busy, with little in front of it, whatever it is
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "wire/window.h"

#define MS      1000000ULL
#define S       (1000 * MS)
#define STEP_NS (MS / 4)
#define RING    65536

/* A link: so many bytes a second, each way takes delay_ns. What comes is acknowledged. */
struct link {
	struct window window;
	uint64_t now_ns, rate, delay_ns, ack_every_ns, stalls_until_ns;
	uint64_t arrived; /* bytes at the other end */
	/* pieces that are under way: when they arrive, and where the link is when they have */
	struct {
		uint64_t due_ns, total, sent_ns;
	} pieces[RING], acks[RING];
	size_t first, count, first_ack, nacks;
	uint64_t free_ns, next_ack_ns;
	/* what was seen */
	uint64_t waited_ns, waits; /* of pieces, from being sent to their arrival */
};

static struct link *link_new(uint64_t rate, uint64_t delay_ns)
{
	struct link *link = calloc(1, sizeof(*link));

	link->rate = rate;
	link->delay_ns = delay_ns;
	link->ack_every_ns = 5 * MS;
	link->now_ns = 1000 * S;
	return link;
}

static void send(struct link *link, size_t bytes)
{
	size_t at = (link->first + link->count) % RING;
	uint64_t begin = link->free_ns > link->now_ns ? link->free_ns : link->now_ns;

	window_sent(&link->window, bytes, link->now_ns);
	link->free_ns = begin + bytes * S / link->rate;
	assert_true(link->count < RING);
	link->pieces[at].due_ns = link->free_ns + link->delay_ns;
	link->pieces[at].total = link->window.sent;
	link->pieces[at].sent_ns = link->now_ns;
	link->count++;
}

static void acknowledge(struct link *link)
{
	size_t at = (link->first_ack + link->nacks++) % RING;

	link->acks[at].due_ns = link->now_ns + link->delay_ns;
	link->acks[at].total = link->arrived;
}

/* A step of time: pieces and acknowledgements arrive. */
static void pass(struct link *link, bool is_waiting)
{
	link->now_ns += STEP_NS;
	if (link->now_ns < link->stalls_until_ns)
		return;
	while (link->count > 0 && link->pieces[link->first].due_ns <= link->now_ns) {
		link->arrived = link->pieces[link->first].total;
		link->waited_ns += link->now_ns - link->pieces[link->first].sent_ns;
		link->waits++;
		link->first = (link->first + 1) % RING;
		link->count--;
		if (link->next_ack_ns == 0)
			link->next_ack_ns = link->now_ns + link->ack_every_ns;
	}
	if (link->next_ack_ns != 0 && link->next_ack_ns <= link->now_ns) {
		link->next_ack_ns = 0;
		acknowledge(link);
	}
	while (link->nacks > 0 && link->acks[link->first_ack].due_ns <= link->now_ns) {
		window_acked(
			&link->window, link->acks[link->first_ack].total, is_waiting, link->now_ns);
		link->first_ack = (link->first_ack + 1) % RING;
		link->nacks--;
	}
}

/* Send whatever is allowed for @ns. Returns the share of the link's rate that has arrived. */
static double fill(struct link *link, uint64_t ns)
{
	uint64_t end_ns = link->now_ns + ns, before = link->arrived;

	link->waited_ns = link->waits = 0;
	while (link->now_ns < end_ns) {
		while (window_is_open(&link->window, link->now_ns)) {
			size_t bytes = window_portion_bytes(&link->window);

			send(link, bytes < 65536 ? bytes : 65536);
		}
		pass(link, true);
	}
	return (double)(link->arrived - before) / ((double)link->rate * (double)ns / (double)S);
}

/* The first acknowledgement, and a round trip of next to nothing. */
static void begin(struct link *link)
{
	acknowledge(link);
	while (!link->window.is_on)
		pass(link, false);
	send(link, 8);
	while (link->window.acked < link->window.sent)
		pass(link, false);
}

static double mean_wait_ms(const struct link *link)
{
	return (double)link->waited_ns / (double)link->waits / (double)MS;
}

/* Nothing is limited as long as nobody acknowledges anything. */
static void test_off(void **state)
{
	struct window window = {0};

	(void)state;
	for (int i = 0; i < 1000; i++) {
		assert_true(window_is_open(&window, i));
		window_sent(&window, 1 << 20, i);
	}
	assert_false(window_is_slow(&window));
	assert_true(window_frame_bytes(&window) == SIZE_MAX);
}

/* The whole rate, from 1 Mbit/s to 8 Gbit/s, near and far, and no more waiting than is due. */
static void test_links(void **state)
{
	static const uint64_t rates[] = {125000, 500000, 4000000, 30000000, 125000000, 1000000000};
	static const uint64_t delays_ms[] = {0, 1, 30, 150};

	(void)state;
	for (size_t r = 0; r < sizeof(rates) / sizeof(rates[0]); r++) {
		for (size_t d = 0; d < sizeof(delays_ms) / sizeof(delays_ms[0]); d++) {
			struct link *link = link_new(rates[r], delays_ms[d] * MS);

			begin(link);
			fill(link, 6 * S + 60 * link->delay_ns);
			double got = fill(link, 3 * S);
			assert_true(got > 0.93);
			/* the way, WINDOW_QUEUE_NS or half of it, and what is tried beyond that */
			double due_ms = (double)(delays_ms[d] * 2 + 75);
			assert_true(mean_wait_ms(link) < due_ms);
			assert_int_equal(window_is_slow(&link->window),
				link->window.rate < WINDOW_SLOW_RATE);
			free(link);
		}
	}
}

static void test_slow_ones_have_small_frames(void **state)
{
	struct link *link = link_new(500000, 30 * MS);

	(void)state;
	begin(link);
	fill(link, 4 * S);
	assert_true(window_is_slow(&link->window));
	assert_in_range(window_frame_bytes(&link->window), 3000, 6000);
	assert_true(window_wait_ns(&link->window, link->now_ns) > 0);
	free(link);
	link = link_new(20000, 30 * MS);
	begin(link);
	fill(link, 20 * S);
	assert_int_equal(window_frame_bytes(&link->window), WINDOW_FRAME_MIN);
	free(link);
}

/* A rate that changes is followed, as is a way that becomes longer, and a stall is survived. */
static void test_changes(void **state)
{
	struct link *link = link_new(4000000, 30 * MS);

	(void)state;
	begin(link);
	fill(link, 4 * S);
	link->rate = 500000;
	fill(link, 4 * S);
	assert_true(fill(link, 3 * S) > 0.93);
	assert_true(mean_wait_ms(link) < 150);
	link->rate = 40000000;
	fill(link, 6 * S);
	assert_true(fill(link, 3 * S) > 0.9);
	link->delay_ns = 100 * MS;
	fill(link, 25 * S);
	assert_true(fill(link, 3 * S) > 0.9);
	link->stalls_until_ns = link->now_ns + 2 * S;
	fill(link, 5 * S);
	assert_true(fill(link, 3 * S) > 0.9);
	link->delay_ns = 10 * MS;
	fill(link, 25 * S); /* the way has become shorter: seen when the link is emptied */
	assert_true(fill(link, 3 * S) > 0.9);
	assert_true(mean_wait_ms(link) < 150);
	free(link);
}

/* Who sends little is not held back when there is much, and what a probe says is known at once. */
static void test_probe(void **state)
{
	static const uint64_t rates[] = {100000, 500000, 50000000};

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct link *link = link_new(rates[i], 30 * MS);

		link->ack_every_ns = 0;
		assert_false(window_probe(&link->window)); /* no round trip is known */
		begin(link);
		assert_true(window_probe(&link->window));
		send(link, WINDOW_PROBE_BYTES);
		while (link->window.acked < link->window.sent)
			pass(link, false);
		assert_int_equal(window_is_slow(&link->window), rates[i] < WINDOW_SLOW_RATE);
		if (rates[i] < WINDOW_SLOW_RATE)
			assert_in_range(link->window.rate, rates[i] * 8 / 10, rates[i] * 11 / 10);
		free(link);
	}
}

/* What cannot be is ignored: it is the other side that says it. */
static void test_wrong_acknowledgements(void **state)
{
	struct window window = {0};

	(void)state;
	window_sent(&window, 1000, MS);
	window_acked(&window, 1001, false, 2 * MS);
	assert_false(window.is_on);
	window_acked(&window, 600, false, 3 * MS);
	assert_true(window.is_on);
	window_acked(&window, 500, false, 4 * MS);
	window_acked(&window, UINT64_MAX, false, 5 * MS);
	assert_int_equal(window.acked, 600);
	window_acked(&window, 1000, false, 6 * MS);
	assert_int_equal(window.acked, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_slow_ones_have_small_frames),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_wrong_acknowledgements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
