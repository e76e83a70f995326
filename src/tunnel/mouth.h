/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/mouth - a tunnel's server: who connects here is led to where the clients are */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "conn/context.h"
#include "link/keyfile.h"
#include "util/addr.h"
#include "util/err.h"

/*
 * How it works
 *
 * Clients of the tunnel connect and wait (lanes); who comes in at a proxy address is an inbound. An
 * inbound gets the lane that has waited longest, so several clients take turns. While there is none
 * it is held, MOUTH_HOLD_MS at most, and clients are asked for more (tunnel/hail); then it is
 * reset.
 *
 * A lane of our own wire is asked first: the client connects to its target, and the inbound is
 * joined to the lane when it has, or reset when it was refused. A client that does not answer the
 * question within MOUTH_TAKEN_MS is taken for dead, with all its lanes, and the inbound goes to the
 * next one: no inbound is lost with a client that dies before. Lanes that wait are asked for signs
 * of life. A lane of lennut's wire is used as it is, as its own server does.
 *
 * With a key both ends of each lane prove first to have it (link/proof).
 */
#define MOUTH_HOLD_MS     10000
#define MOUTH_TAKEN_MS    2000
#define MOUTH_SILENT_MS   100 /* a lane that says nothing is greeted */
#define MOUTH_KNOWN_MS    5   /* or waits, where lennut's clients come from */
#define MOUTH_LANES_MAX   4096
#define MOUTH_LENNUTS     64 /* addresses that are known to have clients of lennut's */
#define MOUTH_DEAD_MS     15000
#define MOUTH_PROOF_MS    10000
#define MOUTH_PROVING_MAX 1024 /* one more costs the oldest its place */
#define MOUTH_PROXIES_MAX 16

struct mouth_start {
	const struct conn_context *context;
	struct addr proxies[MOUTH_PROXIES_MAX]; /* where inbounds come from */
	size_t nproxies;
	struct addr clients; /* where lanes come from; no family: by mouth_add_lane only */
	/* clients must prove to have it, and lennut's cannot; must stay. NULL: none is asked for */
	const struct keyfile *key;
	unsigned dead_ms; /* a client that has been silent for so long is dead */
};

/* For status; counters since the start. */
struct mouth_counts {
	size_t held, waiting, lennut_waiting;
	uint64_t served, refused, unserved, lost_lanes;
};

struct mouth;

/*
 * Listen and serve. Port 0 in @start becomes the one that was picked. Returns NULL with @err
 * filled. The context must stay.
 */
struct mouth *mouth_new(struct mouth_start *start, struct err *err);

/* Resets who is held; joined connections are the relay pool's and go on. NULL is allowed. */
void mouth_free(struct mouth *mouth);

/* A lane that has come in another way; nonblocking, taken over. */
void mouth_add_lane(struct mouth *mouth, int fd);

struct mouth_counts mouth_counts(const struct mouth *mouth);
