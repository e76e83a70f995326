/* SPDX-License-Identifier: Apache-2.0 */
/* wire/window - how many bytes may be under way on a link whose other end acknowledges them */
#include "wire/window.h"

#include "util/clock.h"

#define UNKNOWN_BYTES (256 * 1024) /* the window, as long as nothing is known */
#define MIN_BYTES     (8 * 1024)
#define ROUND_MIN_NS \
	(10 * NS_PER_MS) /* acknowledgements come in crowds: no shorter one says much */
#define RTT_OLD_NS    (10 * NS_PER_S)
#define PAUSE_NS      (8 * NS_PER_MS) /* between small writes, or an eighth of a round trip */
#define GROW_ROUNDS   6               /* in one of so many more is sent: does more arrive then? */
#define PLATEAUS      3
#define BURST_NS      (4 * NS_PER_MS) /* that a timer may be late */
#define PROBE_BESIDES 2048            /* that may be under way besides */
#define PROBE_NS      (1 * NS_PER_MS) /* a shorter time is not known for sure */

static uint64_t under_way(const struct window *window)
{
	return window->sent - window->acked;
}

/* Bytes in @ns at the rate. */
static uint64_t bytes_in(const struct window *window, uint64_t ns)
{
	return (uint64_t)((double)window->rate * (double)ns / (double)NS_PER_S);
}

static uint64_t at_least(uint64_t bytes, uint64_t least)
{
	return bytes > least ? bytes : least;
}

static uint64_t most(const uint64_t values[WINDOW_RATES])
{
	uint64_t most = 0;

	for (unsigned i = 0; i < WINDOW_RATES; i++)
		most = at_least(most, values[i]);
	return most;
}

static uint64_t size(const struct window *window)
{
	uint64_t rtt_ns = window->min_rtt_ns, ns = rtt_ns + at_least(rtt_ns / 4, WINDOW_QUEUE_NS);

	if (!window->is_past_start)
		ns = 2 * rtt_ns + WINDOW_QUEUE_NS;
	else if (window->rounds % GROW_ROUNDS == 0)
		ns += ns / 2;
	if (window->is_draining)
		ns = rtt_ns / 2;
	return at_least(bytes_in(window, ns), window->is_measured ? MIN_BYTES : UNKNOWN_BYTES);
}

/* --- rates -------------------------------------------------------------------------------- */

static void leave_startup(struct window *window)
{
	if (window->rate >= window->plateau_rate / 4 * 5) {
		window->plateau_rate = window->rate;
		window->plateaus = 0;
	} else if (++window->plateaus == PLATEAUS) {
		window->is_past_start = true;
	}
}

static void forget_rates(struct window *window)
{
	for (unsigned i = 0; i < WINDOW_RATES; i++)
		window->rates[i] = 0;
	window->rate = window->plateau_rate = 0;
	window->plateaus = 0;
	window->is_past_start = false;
}

/* @is_busy: the link was so all the time. Else it can be faster, but not slower than that. */
static void add_rate(struct window *window, uint64_t rate, bool is_busy)
{
	if (!is_busy && rate <= window->rate)
		return;
	if (is_busy && !window->is_measured) {
		/* what came before was no link at work */
		forget_rates(window);
		window->is_measured = true;
	}
	window->rates[window->next_rate] = rate;
	window->next_rate = (window->next_rate + 1) % WINDOW_RATES;
	window->rate = most(window->rates);
	if (is_busy && !window->is_past_start)
		leave_startup(window);
}

static uint64_t per_second(uint64_t bytes, uint64_t ns)
{
	return (uint64_t)((double)bytes * (double)NS_PER_S / (double)ns);
}

/* All the time: something waited, or what was under way at first took far longer than it must. */
static bool was_busy(const struct window *window, bool is_waiting, uint64_t ns)
{
	bool is_long = window->min_rtt_ns > 0 && ns > 2 * (window->min_rtt_ns + WINDOW_QUEUE_NS) &&
		       window->round_end - window->round_begin > WINDOW_PROBE_BYTES;

	return !window->round_was_idle && ((window->round_was_waiting && is_waiting) || is_long);
}

/* Twice in a row it took far too long: no stall, the link has become slower. */
static void notice_slower(struct window *window, bool is_busy, uint64_t ns)
{
	bool is_slow = is_busy && ns > 4 * (window->min_rtt_ns + WINDOW_QUEUE_NS);

	if (is_slow && window->round_was_slow)
		forget_rates(window);
	window->round_was_slow = is_slow;
}

static void end_round(struct window *window, bool is_waiting, uint64_t now_ns)
{
	uint64_t bytes = window->acked - window->round_begin, ns = now_ns - window->round_ns;

	if (window->round_is_probe) {
		/* the first byte took a round trip, the others what the link needed for them */
		ns = ns > window->min_rtt_ns ? ns - window->min_rtt_ns : 0;
		add_rate(window, per_second(bytes, at_least(ns, PROBE_NS)), true);
	} else {
		bool is_busy = was_busy(window, is_waiting, ns);

		notice_slower(window, is_busy, ns);
		add_rate(window, per_second(bytes, at_least(ns, 1)), is_busy);
	}
}

static void begin_round(struct window *window, bool is_idle, bool is_waiting, uint64_t now_ns)
{
	window->round_end = window->sent;
	window->round_begin = window->acked;
	window->round_ns = now_ns;
	window->rounds++;
	window->round_was_idle = is_idle;
	window->round_was_waiting = is_waiting;
	window->round_is_probe = is_idle && window->is_probing;
	window->is_probing = false;
}

/* --- round trips -------------------------------------------------------------------------- */

static void add_rtt(struct window *window, uint64_t rtt_ns, uint64_t now_ns)
{
	bool is_old = now_ns - window->min_rtt_at_ns >= RTT_OLD_NS;

	if (window->min_rtt_ns == 0 || rtt_ns <= window->min_rtt_ns + window->min_rtt_ns / 8 ||
		(is_old && window->timed_is_clean)) {
		if (window->min_rtt_ns == 0 || rtt_ns < window->min_rtt_ns || is_old)
			window->min_rtt_ns = at_least(rtt_ns, 1);
		window->min_rtt_at_ns = now_ns;
		window->is_draining = false;
	} else if (window->timed_is_clean) {
		window->is_draining = false;
	} else if (is_old) {
		window->is_draining = true;
	}
}

/* --- what happens ------------------------------------------------------------------------- */

bool window_probe(struct window *window)
{
	window->is_probing = window->min_rtt_ns > 0 && under_way(window) <= PROBE_BESIDES;
	return window->is_probing;
}

void window_sent(struct window *window, size_t bytes, uint64_t now_ns)
{
	uint64_t before = under_way(window);

	window->sent += bytes;
	if (!window->is_on)
		return;
	/* unless it was the window that kept the link idle */
	if (window->is_probing || (before == 0 && !window->was_waiting))
		begin_round(window, true, false, now_ns);
	if (window->timed_ns == 0) {
		window->timed_end = window->sent;
		window->timed_ns = now_ns;
		window->timed_is_clean =
			before <= at_least(bytes_in(window, window->min_rtt_ns / 2), MIN_BYTES / 2);
	}
	if (window_is_slow(window)) {
		uint64_t rate = window->rate / 4 * (window->is_past_start ? 5 : 8);
		uint64_t from_ns = at_least(window->next_ns, now_ns - BURST_NS);
		uint64_t pause_ns = window->min_rtt_ns / 8;

		window->next_ns = at_least(
			from_ns + (uint64_t)((double)bytes * (double)NS_PER_S / (double)rate),
			now_ns + (pause_ns < PAUSE_NS ? pause_ns : PAUSE_NS));
	}
}

void window_acked(struct window *window, uint64_t total, bool is_waiting, uint64_t now_ns)
{
	if (total > window->sent || total < window->acked)
		return;
	window->acked = total;
	window->was_waiting = is_waiting;
	if (!window->is_on) {
		window->is_on = true;
		begin_round(window, total == window->sent, is_waiting, now_ns);
		return;
	}
	if (window->timed_ns != 0 && total >= window->timed_end) {
		add_rtt(window, now_ns - window->timed_ns, now_ns);
		window->timed_ns = 0;
	}
	if (total >= window->round_end &&
		(window->round_is_probe || now_ns - window->round_ns >= ROUND_MIN_NS)) {
		end_round(window, is_waiting, now_ns);
		begin_round(window, false, is_waiting, now_ns);
	}
}

bool window_is_open(const struct window *window, uint64_t now_ns)
{
	if (!window->is_on)
		return true;
	return under_way(window) < size(window) &&
	       (!window_is_slow(window) || window->next_ns <= now_ns);
}

uint64_t window_wait_ns(const struct window *window, uint64_t now_ns)
{
	if (window->is_on && under_way(window) >= size(window))
		return UINT64_MAX;
	return window->next_ns > now_ns ? window->next_ns - now_ns : 0;
}

bool window_is_slow(const struct window *window)
{
	return window->is_measured && window->rate < WINDOW_SLOW_RATE;
}

size_t window_frame_bytes(const struct window *window)
{
	if (!window_is_slow(window))
		return SIZE_MAX;
	return at_least(bytes_in(window, WINDOW_FRAME_NS), WINDOW_FRAME_MIN);
}

size_t window_portion_bytes(const struct window *window)
{
	if (!window->is_measured)
		return WINDOW_PORTION_UNKNOWN;
	return at_least(bytes_in(window, WINDOW_PORTION_NS), WINDOW_FRAME_MIN);
}
