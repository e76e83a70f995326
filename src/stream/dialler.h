/* SPDX-License-Identifier: Apache-2.0 */
/* stream/dialler - streams that begin here, as sockets for who dials (conn/beyond) */
#pragma once

#include <stdbool.h>

#include "conn/beyond.h"
#include "net/packet.h"
#include "stream/track.h"

/*
 * How it works
 *
 * Who dials gets one end of a pair of unix sockets when the stream is accepted; the other one is
 * the stream's (stream/track). A stream that is reset before it is answered is begun once more: the
 * other end may have started again, and has not known of what we had with it.
 */
struct dialler_ops {
	/* Is it by a stream, or without a stack, that @at is reached? */
	bool (*leads)(void *owner, const struct addr *at, enum proto proto);
	/* A new track to @to, with that @on_answer and @user, in *@out. Returns 0 or -errno. */
	int (*begin)(void *owner, struct packet_end to,
		void (*on_answer)(struct track *track, int result), void *user, struct track **out);
	/* A connected socket for datagrams to @to, or -errno. */
	int (*dial_datagrams)(void *owner, const struct addr *to);
};

struct dialler {
	struct beyond beyond; /* for who dials */
	const struct dialler_ops *ops;
	void *owner;
};

/* All stay the caller's. Calls that are under way end with their tracks. */
void dialler_init(struct dialler *dialler, const struct dialler_ops *ops, void *owner);
