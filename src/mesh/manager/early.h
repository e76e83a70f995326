/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/early - packets to hosts that are still starting, kept until they are ready */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "net/packet.h"

/*
 * How it works
 *
 * What begins something, a SYN or what is no TCP at all, comes a moment too early: its sender would
 * repeat it a second later, or never. So it is kept for EARLY_MS at most. The same SYN again takes
 * the place of the first one, and its time.
 *
 * There are EARLY_MAX places, found by a hash with a secret. A source gets another one only while
 * it has fewer than are free: who floods has half of them at most, and others find some always. In
 * a bucket that is full, who has the most of all gives way to who has fewer.
 */
#define EARLY_MS         5000
#define EARLY_BUCKETS    128
#define EARLY_WAYS       8
#define EARLY_MAX        (EARLY_BUCKETS * EARLY_WAYS)
#define EARLY_LEN_MAX    1500 /* of a packet; larger ones are not kept */
#define EARLY_FRAME_ROOM 8    /* in front of its packet: for the owner */

/* From and to whom is the owner's business, which compares the pointers. */
struct early_packet {
	void *from, *to; /* to: NULL if the place is free */
	size_t *count;   /* of the source */
	uint64_t end_ns;
	size_t len;           /* of the packet */
	unsigned char *bytes; /* EARLY_FRAME_ROOM bytes, and the packet */
};

/* Starts as all zero. */
struct early {
	size_t count;
	uint64_t seed;
	struct early_packet packets[EARLY_MAX];
};

/*
 * Keep a copy of @view. @count is how many are kept of @from, and stays where it is as long as
 * there are any. Returns 0, -ENOTSUP: it is none to be kept; or -ENOBUFS: there is no place, or
 * no memory.
 */
int early_keep(struct early *early, const struct packet_view *view, void *from, void *to,
	size_t *count, uint64_t now_ns);

/* Forget one that is kept. */
void early_drop(struct early *early, struct early_packet *packet);

/* Of the one to be sent away first; 0: there is none. */
uint64_t early_end_ns(const struct early *early);
