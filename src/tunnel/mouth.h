/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/mouth - a tunnel's server: who connects here is led to where the clients are */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/context.h"
#include "link/keyfile.h"
#include "tunnel/passage.h"
#include "tunnel/permit.h"
#include "util/addr.h"
#include "util/err.h"

/*
 * How it works
 *
 * Clients of the tunnel connect and wait (tunnel/lane); who comes in is an inbound, at a door: one
 * of the proxy addresses, or of what clients have asked for by name (tunnel/rota).
 *
 * An inbound gets a lane of the client whose turn it is. While there is none it is held,
 * MOUTH_HOLD_MS at most, and clients are asked for more; then it is reset. It is joined to the lane
 * when the client has connected to its target, or reset when that was refused. A client that does
 * not answer is taken for dead, with all its lanes, and the inbound goes to the next one: no
 * inbound is lost with a client that dies before. A lane of lennut's wire is used as it is, as its
 * own server does.
 */
#define MOUTH_HOLD_MS     10000
#define MOUTH_DEAD_MS     15000
#define MOUTH_PROXIES_MAX 16

struct mouth_start {
	const struct conn_context *context;
	struct passage *passage;
	struct addr proxies[MOUTH_PROXIES_MAX]; /* where inbounds come from */
	size_t nproxies;
	struct addr clients; /* where lanes come from; no family: by mouth_add_lane only */
	/* clients must prove to have it, and lennut's cannot; must stay. NULL: none is asked for */
	const struct keyfile *key;
	unsigned dead_ms; /* a client that has been silent for so long is dead */
	/* where clients may have it listen, and connect to; must stay */
	const struct permits *listen, *reach;
};

/* For status; counters since the start. */
struct mouth_counts {
	size_t held, waiting, lennut_waiting;
	uint64_t served, refused, unserved, lost_lanes;
	uint64_t reached, unreached; /* for clients */
};

struct mouth;

/*
 * Listen and serve. Port 0 in @start becomes the one that was picked. Returns NULL with @err
 * filled. The context must stay.
 */
struct mouth *mouth_new(struct mouth_start *start, struct err *err);

/* Resets who is held; joined connections are the passage's and go on. NULL is allowed. */
void mouth_free(struct mouth *mouth);

/* A lane that has come in another way; nonblocking, taken over. */
void mouth_add_lane(struct mouth *mouth, int fd);

struct mouth_counts mouth_counts(const struct mouth *mouth);

/* What is led through by name, for status. */
json_t *mouth_tell_forwards(const struct mouth *mouth);
