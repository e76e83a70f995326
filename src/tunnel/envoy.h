/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/envoy - a client asks its server for what is to be led through by name, and hears of it */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/failing.h"
#include "tunnel/order.h"
#include "tunnel/spoke.h"

/*
 * How it works
 *
 * One connection of the kind HAIL_CONTROL, for as long as the server is there; opened again when it
 * is lost. All is asked for at its beginning. What was denied for now, as a port that is taken, is
 * asked for again every ENVOY_AGAIN_MS.
 */
#define ENVOY_AGAIN_MS 1000

enum wish_state { WISH_ASKED, WISH_GRANTED, WISH_DENIED };

/* An order, and what became of it. */
struct wish {
	const struct order *order;
	enum wish_state state;
	bool may_be_asked;        /* again: it was denied for now */
	char at[ADDR_TEXT_BYTES]; /* where is listened */
	char why[128];            /* denied */
	uint64_t served, refused;
	struct failing failing;
};

/* Starts as all zero but for the first four, which are the owner's. */
struct envoy {
	struct spoke_house *house;
	/* It was granted, or denied. */
	void (*on_answer)(void *owner, struct wish *wish);
	void *owner;
	const char *server; /* for messages */

	/* its own */
	struct wish wishes[ORDERS_MAX];
	size_t count;
	struct spoke *spoke;
	bool is_up;
	struct loop_timer again;
};

/* @orders must stay. */
void envoy_init(struct envoy *envoy, const struct order *orders, size_t count);

/* The server is there, and one of ours; or not. */
void envoy_up(struct envoy *envoy);
void envoy_down(struct envoy *envoy);

/* The server need hold nobody. */
void envoy_leave(struct envoy *envoy);

/* No callback comes after it. */
void envoy_fini(struct envoy *envoy);

/* NULL: there is none of that name and direction. */
struct wish *envoy_find(struct envoy *envoy, const char *name, bool is_reverse);

/* All of them, for status. */
json_t *envoy_tell(const struct envoy *envoy);
