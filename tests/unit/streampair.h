/* SPDX-License-Identifier: Apache-2.0 */
/* Two associations that have each other's packets, some of which are lost. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "stream/association.h"
#include "util/fd.h"
#include "util/loop.h"

#define PAIR_TRACKS 1100

struct pair_end {
	struct pair *pair;
	struct association *association;
	bool is_up;
	int over; /* not 0: why it is */
};

struct pair {
	struct loop *loop;
	struct budget budget;
	struct tracks tracks;
	struct pair_end ends[2]; /* the first is the asker */
	unsigned lose_every;     /* 0: none is lost */
	unsigned count, lost;
	bool is_stopped; /* the second one */
	bool is_woken;

	/* of what was asked */
	int refuse;          /* -errno: so; 0: it is accepted */
	struct track *asked; /* the last one */
	int accepted[PAIR_TRACKS];
	size_t naccepted;
	struct track *answered[PAIR_TRACKS];
	int result;
	size_t nanswered, nover;
	struct in_addr asked_ip;
	uint16_t asked_port;
};

static void pair_on_wake(void *owner)
{
	((struct pair_end *)owner)->pair->is_woken = true;
}

static void pair_on_up(void *owner)
{
	((struct pair_end *)owner)->is_up = true;
}

static void pair_on_asked(void *owner, struct track *track, struct in_addr ip, uint16_t port)
{
	struct pair *pair = ((struct pair_end *)owner)->pair;
	int ends[2];

	pair->asked = track;
	pair->asked_ip = ip;
	pair->asked_port = port;
	if (pair->refuse < 0) {
		track_refuse(track, pair->refuse);
		return;
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	pair->accepted[pair->naccepted++] = ends[1];
	assert_int_equal(track_accept(track), 0);
	assert_int_equal(track_join(track, ends[0], ends[1]), 0);
}

static void pair_on_track_over(void *owner, struct track *track)
{
	(void)track;
	((struct pair_end *)owner)->pair->nover++;
}

static void pair_on_over(void *owner, int result)
{
	((struct pair_end *)owner)->over = result;
}

static const struct association_ops pair_ops = {
	.on_wake = pair_on_wake,
	.on_up = pair_on_up,
	.on_asked = pair_on_asked,
	.on_track_over = pair_on_track_over,
	.on_over = pair_on_over,
};

/* Packets of both, until there are none. */
static void pair_exchange(struct pair *pair)
{
	static uint8_t packet[65536];
	bool has_some = true;

	while (has_some) {
		has_some = false;
		for (int i = 0; i < 2; i++) {
			struct pair_end *from = &pair->ends[i], *to = &pair->ends[1 - i];

			if (!from->association || (i == 1 && pair->is_stopped))
				continue;
			size_t len =
				association_write(from->association, packet, sizeof(packet), false);
			if (len == 0)
				continue;
			has_some = true;
			if (pair->lose_every && ++pair->count % pair->lose_every == 0) {
				pair->lost++;
				continue;
			}
			if (i == 0 && pair->is_stopped)
				continue;
			if (!to->association)
				to->association =
					association_new(&pair->tracks, &pair_ops, to, packet, len);
			if (to->association)
				association_read(to->association, packet, len);
		}
	}
}

static void pair_run(struct pair *pair)
{
	pair_exchange(pair);
	loop_run_once(pair->loop, pair->is_woken ? 0 : 2);
	pair->is_woken = false;
}

#define pair_until(pair, condition)                        \
	do {                                               \
		int pair_tries = 0;                        \
		while (!(condition)) {                     \
			assert_true(pair_tries++ < 20000); \
			pair_run(pair);                    \
		}                                          \
	} while (0)

static void pair_on_answer(struct track *track, int result)
{
	struct pair *pair = track->user;

	pair->result = result;
	pair->answered[pair->nanswered++] = result == 0 ? track : NULL;
}

static struct track *pair_dial(struct pair *pair, uint16_t port)
{
	const struct in_addr ip = {htonl(0x7f000203)};
	struct track *track =
		association_dial(pair->ends[0].association, ip, port, pair_on_answer, pair);

	assert_non_null(track);
	return track;
}

/* A track that is open at both ends, each of which is a socket. */
static void pair_connect(struct pair *pair, int fds[2])
{
	const size_t before = pair->nanswered, accepted = pair->naccepted;
	int ends[2];

	pair_dial(pair, 80);
	pair_until(pair, pair->nanswered > before && pair->naccepted > accepted);
	assert_int_equal(pair->result, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	assert_int_equal(track_join(pair->answered[before], ends[0], ends[1]), 0);
	fds[0] = ends[1];
	fds[1] = pair->accepted[accepted];
}

static struct pair *pair_new(void)
{
	struct pair *pair = calloc(1, sizeof(*pair));

	assert_non_null(pair);
	pair->loop = loop_new();
	pair->tracks.loop = pair->loop;
	pair->tracks.budget = &pair->budget;
	for (int i = 0; i < 2; i++)
		pair->ends[i].pair = pair;
	pair->ends[0].association =
		association_new(&pair->tracks, &pair_ops, &pair->ends[0], NULL, 0);
	assert_non_null(pair->ends[0].association);
	return pair;
}

static void pair_free(struct pair *pair)
{
	for (int i = 0; i < 2; i++)
		association_free(pair->ends[i].association);
	assert_int_equal(pair->tracks.count, 0);
	assert_int_equal(pair->tracks.extra, 0);
	assert_int_equal(pair->budget.used, 0);
	loop_free(pair->loop);
	free(pair);
}
