/* SPDX-License-Identifier: Apache-2.0 */
/* wire/window - how many bytes may be under way on a link whose other end acknowledges them */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How it works
 *
 * Pipes, ssh and TCP take megabytes before they say that a link is full, and what they hold can
 * neither be overtaken nor dropped. So no more is given to them than what keeps the link busy: the
 * rate at which bytes arrive, times the shortest round trip and WINDOW_QUEUE_NS more. Both are
 * measured as BBR does it (draft-cardwell-iccrg-bbr-congestion-control): the highest rate of the
 * last WINDOW_RATES rounds in which something waited all the time, and the shortest round trip of
 * ten seconds, for which the link is nearly emptied if it has not been so by itself.
 *
 * A round ends when what was under way at its beginning has been acknowledged. While the rate still
 * grows with the window, the window doubles with each round (startup).
 *
 * A link that has not been busy yet is probed: what WINDOW_PROBE_BYTES took beyond a round trip
 * tells its rate.
 *
 * On a link that is slow, bytes are given out at their rate, not when they are acknowledged: links
 * that hand on what they have in large pieces would leave gaps. Nothing here is limited before the
 * first acknowledgement. Time is a parameter.
 */
#define WINDOW_QUEUE_NS        30000000ULL
#define WINDOW_RATES           10
#define WINDOW_FRAME_NS        8000000ULL /* no frame should keep a link busy for longer */
#define WINDOW_PORTION_NS      24000000ULL
#define WINDOW_PORTION_UNKNOWN (64 * 1024)
#define WINDOW_FRAME_MIN       1500
#define WINDOW_SLOW_RATE                                                         \
	(65536 * 1000000000ULL / WINDOW_FRAME_NS) /* any frame is short above it \
						   */

#define WINDOW_PROBE_BYTES 16384

/* Starts as all zero. */
struct window {
	/* the owner may read these */
	bool is_on;           /* acknowledgements come */
	uint64_t sent, acked; /* bytes of the link */
	uint64_t rate;        /* bytes a second that arrive; 0: not known */
	uint64_t min_rtt_ns;  /* 0: not known */

	/* its own */
	uint64_t rates[WINDOW_RATES];
	unsigned next_rate;
	bool is_measured;   /* rates are of a link that was busy, not of who had little to send */
	bool is_past_start; /* no startup any more */
	unsigned plateaus;  /* rounds of the startup without growth */
	uint64_t plateau_rate;

	uint64_t round_begin, round_end, round_ns; /* positions, and when it began */
	unsigned rounds;
	bool was_waiting; /* something, at the last acknowledgement */
	bool round_was_idle, round_was_waiting, round_was_slow, round_is_probe;

	uint64_t timed_end, timed_ns; /* the byte whose round trip is measured; timed_ns 0: none */
	bool timed_is_clean;          /* next to nothing was under way before it */
	uint64_t min_rtt_at_ns;
	bool is_draining, is_probing;

	uint64_t next_ns; /* when the link will have been given all until now, at its rate */
};

/*
 * What is sent next, WINDOW_PROBE_BYTES or more at once on a link that is idle, is to tell its
 * rate. False: it would not, the link is not idle or its round trip not known.
 */
bool window_probe(struct window *window);

/* @bytes were given to the link. */
void window_sent(struct window *window, size_t bytes, uint64_t now_ns);

/*
 * The other end has read @total bytes by now, since the beginning. @is_waiting: something waits to
 * be sent. What cannot be, more than was sent or less than before, is ignored.
 */
void window_acked(struct window *window, uint64_t total, bool is_waiting, uint64_t now_ns);

/* May a frame be sent now? */
bool window_is_open(const struct window *window, uint64_t now_ns);

/* If not: how long until it is, unless an acknowledgement is what is missing: UINT64_MAX. */
uint64_t window_wait_ns(const struct window *window, uint64_t now_ns);

/* Is it known that the link is slow, so that large frames keep it busy for long? */
bool window_is_slow(const struct window *window);

/* How large a frame should be at most; SIZE_MAX on a link that is not slow. */
size_t window_frame_bytes(const struct window *window);

/*
 * How much should be written at once at least, if there is so much: what has begun to leave cannot
 * be overtaken.
 */
size_t window_portion_bytes(const struct window *window);
