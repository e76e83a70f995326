/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/reach - a tunnel's client: connections that wait at its server, and what they lead to */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/context.h"
#include "conn/dial.h"
#include "link/keyfile.h"
#include "tunnel/order.h"
#include "tunnel/passage.h"
#include "util/err.h"

/*
 * How it works
 *
 * REACH_WAITING_MIN connections wait at the server, and as many more as it asks for; one that is
 * used is replaced at once, before its target is connected to. What was too many goes after
 * REACH_SURPLUS_MS without use. While the server is away one connection is tried again and again,
 * with pauses that grow up to REACH_PAUSE_MAX_MS.
 *
 * What is led through by name is asked for by tunnel/envoy, and the other direction is
 * tunnel/reverse.
 */
#define REACH_WAITING_MIN  2
#define REACH_WAITING_MAX  1024
#define REACH_WAITING_LINK 128 /* over one link, which carries no more than so many */
#define REACH_SHARE        16  /* and of all descriptors this part, of which each has two */
#define REACH_LENNUT_READY \
	8 /* lennut's server closes what finds none ready, and takes 128 in all */
#define REACH_SURPLUS_MS   15000
#define REACH_PAUSE_MS     200
#define REACH_PAUSE_MAX_MS 15000

/* For status; counters since the start. */
struct reach_counts {
	bool is_up, is_lennut;
	size_t waiting, connecting; /* to the server's side, to the target */
	uint64_t served, refused;
};

struct reach_start {
	const struct conn_context *context;
	struct passage *passage;
	struct dial_target server, target;
	bool has_target; /* what the server has to be led through leads there; else to nothing */
	const struct order *orders;
	size_t norders;
	const char *server_text; /* for messages */
	/* A connection to a server that is one of ours, nonblocking, or -errno. NULL: @server is
	 * connected to. */
	int (*connect)(void *owner);
	/* Both prove first to have it; must stay. NULL: nobody does. */
	const struct keyfile *key;
	/* The PROXY protocol in front of each connection to the target: 0, 1 or 2. */
	int proxy_version;
	/* The server can be reached, or not any more and why. Both may be NULL. */
	void (*on_up)(void *owner, bool is_lennut);
	void (*on_down)(void *owner, const char *why);
	void *owner;
};

struct reach;

/* What is in @start must stay. Returns NULL with @err filled. */
struct reach *reach_new(const struct reach_start *start, struct err *err);

/*
 * The server's side is gone, or there again: with start->connect, and it starts as gone then.
 */
void reach_pause(struct reach *reach, bool is_paused);

/* Joined connections are the passage's and go on. NULL is allowed. */
void reach_free(struct reach *reach);

/* No new ones: what waits is closed, what is being connected goes on. */
void reach_drain(struct reach *reach);

struct reach_counts reach_counts(const struct reach *reach);

/* What is led through by name, for status. */
json_t *reach_tell_forwards(const struct reach *reach);
