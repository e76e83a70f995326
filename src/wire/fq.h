/* SPDX-License-Identifier: Apache-2.0 */
/* wire/fq - packets that wait, shared fairly between sources and between the flows of each */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/list.h"

/*
 * How it works
 *
 * FQ-CoDel (RFC 8290) twice over: sources take turns, and in the turn of a source its flows do. A
 * turn is FQ_QUANTUM_BYTES long. Who has just begun to wait comes before those that always do, so a
 * packet that is alone waits for nobody's bulk, and a source is not served more for having many
 * flows. A flow is known by a hash of 32 bits; only beyond FQ_FLOWS of a source some share a queue.
 *
 * Bounded in time: CoDel (RFC 8289) drops from the front of a flow whose packets have waited too
 * long for too long, and what waited FQ_OLD_NS is not worth sending any more. The last two packets
 * of a flow are never dropped so: a packet may be 64 KiB here, and TCP cannot go on with fewer. In
 * bytes: beyond the bound the first packets of the fattest flow of the fattest source are dropped.
 *
 * A packet that is large for the link is cut when its turn comes, and not before, as whoever sent
 * it would repeat all of it for a part that was dropped.
 *
 * Sources are there while they have something; all else is embedded. Time is a parameter.
 */
#define FQ_QUANTUM_BYTES  2048
#define FQ_TARGET_NS      10000000ULL /* CoDel: to wait so long is right */
#define FQ_INTERVAL_NS    100000000ULL
#define FQ_OLD_NS         2000000000ULL
#define FQ_FLOWS          256
#define FQ_SOURCE_CHAINS  64
#define FQ_OVERHEAD_BYTES 128 /* what a packet counts beyond its bytes */

struct fq_packet {
	struct list link;
	uint64_t since_ns;
	unsigned char *start; /* in bytes */
	size_t len;
	bool is_begun; /* a part of it is gone */
	uint16_t kind; /* the owner's */
	unsigned char bytes[];
};

/* Those that take turns. */
struct fq_ring {
	struct list fresh, old;
};

struct fq_source;
struct fq_flow;

/* Starts with fq_init. */
struct fq {
	/* the owner may read these */
	size_t bytes;   /* that wait, FQ_OVERHEAD_BYTES for each packet included */
	size_t packets; /* that wait */
	uint64_t dropped;

	/* its own */
	size_t max_bytes;
	struct fq_ring turns;
	struct fq_source *sources[FQ_SOURCE_CHAINS];
	struct fq_flow *fattest; /* when it was looked for last, and what it had then */
	struct fq_source *fattest_source;
	size_t fattest_bytes;
};

/*
 * Cuts the first @max_bytes or less off @packet, to which is_begun and what is left of it are then
 * true. NULL: it cannot be cut, or there is no memory; it goes as it is.
 */
typedef struct fq_packet *fq_cut(struct fq_packet *packet, size_t max_bytes);

void fq_init(struct fq *fq, size_t max_bytes);

/* Free all that waits; it can be used again. */
void fq_clear(struct fq *fq);

/* A copy of @len bytes, in no queue; free(3) it. NULL: no memory. */
struct fq_packet *fq_packet_new(const void *bytes, size_t len);

/*
 * @packet, which belongs to the queue from now on, waits as the last one of flow @flow (a hash) of
 * @source. It, or others, may be dropped for it.
 */
void fq_put(
	struct fq *fq, struct fq_packet *packet, uint32_t source, uint32_t flow, uint64_t now_ns);

/*
 * The packet whose turn it is, or with @cut the first @cut_bytes of it; free(3) it. NULL: none
 * waits. Drops what has waited for too long.
 */
struct fq_packet *fq_take(struct fq *fq, uint64_t now_ns, fq_cut *cut, size_t cut_bytes);
