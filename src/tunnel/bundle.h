/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/bundle - many connections over one byte stream: a command's stdin and stdout */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/budget.h"
#include "util/list.h"
#include "util/loop.h"

/*
 * How it works
 *
 * Either end may begin a connection, a strand. Each is a pair of unix sockets: one of them is the
 * bundle's, the other one its owner's, who uses it as if it led to the other end. So nobody else
 * need know whether a connection has a socket of its own or is a strand.
 *
 * Each end first writes BUNDLE_MAGIC; what comes in front of it (a login's banner) is skipped, up
 * to BUNDLE_NOISE_MAX. Then there are frames: a type, a NUL, the length of what follows (16 bits),
 * the number of the strand (32 bits, even if the end with is_asker began it), all of them with the
 * most significant byte first.
 *
 *	O	a strand begins
 *	D	its bytes, BUNDLE_PIECE at most
 *	E	no more bytes come from here, those of the other direction still do
 *	R	it is broken: forget it
 *	W	so many bytes more may come: 32 bits
 *	P, Q	are you there? Yes.
 *
 * Of each strand BUNDLE_WINDOW bytes may be under way, for which there is memory here as they
 * come: one that nobody reads keeps no other one up. Who sends more, or what is no frame, is no
 * bundle: it ends.
 */
#define BUNDLE_MAGIC     "nswrapb1"
#define BUNDLE_NOISE_MAX (64U << 10)
#define BUNDLE_WINDOW    (512U << 10)
#define BUNDLE_PIECE     (16U << 10)
#define BUNDLE_MAX       1024 /* strands at once, those of both ends together */
#define BUNDLE_BUCKETS   256
#define BUNDLE_LOGIN_MS  60000

struct bundle;

struct bundle_ops {
	/* The other end is there: its magic has come. */
	void (*on_up)(struct bundle *bundle);
	/* The other end has begun a strand: a connected, nonblocking socket, the owner's. Its
	 * descriptor is not counted in the budget. */
	void (*on_strand)(struct bundle *bundle, int fd);
	/* It is over, as @why says; the strands are closed. The owner calls bundle_close, perhaps
	 * from here. */
	void (*on_end)(struct bundle *bundle, const char *why);
};

/* Starts as all zero but for the first four, which are the owner's. */
struct bundle {
	const struct bundle_ops *ops;
	struct loop *loop;
	struct budget *budget;
	bool is_asker; /* one of both ends is */
	/* an end that has said nothing for so long is dead, but it may take BUNDLE_LOGIN_MS until
	 * it is there; 0: it may be silent */
	uint64_t alive_ms;

	/* its own */
	struct loop_io in, out;
	bool has_one_fd; /* in and out are the same: only in is watched */
	bool is_open, has_magic, is_full, may_read;
	struct loop_task task; /* ends it, or goes on */
	struct loop_timer timer;
	uint64_t heard_ns;
	const char *why; /* not NULL: it ends */
	struct list strands[BUNDLE_BUCKETS];
	struct list ready; /* strands with bytes and the right to send them */
	size_t count;
	uint32_t next;
	size_t noise;
	unsigned char *got, *put; /* what is read and not yet whole; what is to be written */
	size_t ngot, nput, at;
};

/*
 * Begin over @in_fd and @out_fd (perhaps one number): nonblocking, the bundle's whatever comes of
 * it. Returns 0 or -errno.
 */
int bundle_open(struct bundle *bundle, int in_fd, int out_fd);

/* A new strand: a connected, nonblocking socket, the caller's, or -errno (-ENFILE: too many). */
int bundle_dial(struct bundle *bundle);

/* No callback comes after it. Strands are closed. Fine if it is not open. */
void bundle_close(struct bundle *bundle);
