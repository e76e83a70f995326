/* SPDX-License-Identifier: Apache-2.0 */
/* exit/handshakes - how many TCP connections begin at once over a bare link */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/packet.h"
#include "util/loop.h"

/*
 * How it works
 *
 * RemoteNetstack's exit drops what begins a connection while it has five of them in progress, and
 * a kernel sends that again after 1, 3 and 7 s. So over a bare link, whose other end may be one,
 * HANDSHAKES_MAX begin at once, and the others are held until one of them is over: something else
 * of it went out, it was reset, or HANDSHAKES_MS have passed.
 *
 * Its stack never permits selective acknowledgements (RFC 2018), a kernel does. From the first
 * answer that does on, nothing is held over that link.
 */
#define HANDSHAKES_MAX  4 /* one less than five: the last message of one may be under way */
#define HANDSHAKES_MS   1000
#define HANDSHAKES_HELD 256 /* what is more is lost, as it would be there */

#define HANDSHAKES_PACKET_BYTES 128 /* a SYN is not longer, or is not held */

struct handshakes_one {
	struct packet_end src, dst;
	uint64_t end_ns; /* 0: none */
};

struct handshakes_held {
	struct packet_end src, dst;
	size_t len;
	unsigned char bytes[HANDSHAKES_PACKET_BYTES];
};

/* Starts as all zero but for the first three, which are the owner's. */
struct handshakes {
	struct loop *loop;
	/* A packet that was held goes now; it may be changed. */
	void (*send)(void *owner, unsigned char *packet, size_t len);
	void *owner;

	/* its own */
	bool is_free; /* nothing need be held */
	struct handshakes_one going[HANDSHAKES_MAX];
	struct handshakes_held *held; /* a ring */
	size_t first, count;
	struct loop_timer timer;
};

/* For a new link; what was held for another one is lost. */
void handshakes_begin(struct handshakes *handshakes);

/* May the packet go out now? False: it is held, or lost. */
bool handshakes_out(struct handshakes *handshakes, const struct packet_view *packet);

/* Send what need be held no more: call it when packets have gone out. */
void handshakes_next(struct handshakes *handshakes);

/* A packet of the link's that is let in. */
void handshakes_in(struct handshakes *handshakes, const struct packet_view *packet);

void handshakes_fini(struct handshakes *handshakes);
