/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/reverse - a tunnel's client listens, and its server connects to what that leads to */
#pragma once

#include "tunnel/door.h"
#include "tunnel/envoy.h"
#include "tunnel/passage.h"
#include "tunnel/spoke.h"

/*
 * How it works
 *
 * A door for each order of that direction. REVERSE_READY connections to the server wait for use, as
 * soon as it has granted one; an inbound takes one, which tells the server what to connect to, and
 * is joined when it has, or reset when that was refused. Inbounds are held for REVERSE_HOLD_MS
 * while the server is away, and for each that finds nothing ready a connection is opened.
 */
#define REVERSE_READY   2
#define REVERSE_MAX     1024
#define REVERSE_HOLD_MS 10000

struct turn;

/* Starts as all zero but for the first three, which are the owner's. */
struct reverse {
	struct spoke_house *house;
	struct passage *passage;
	struct envoy *envoy;

	/* its own */
	struct turn *turns;
	size_t count;
	struct list ready, used; /* spokes */
	struct list opening;
	size_t nready, nopening;
	bool is_up;
	struct loop_task match;
	struct loop_timer again;
};

/* Listen for all orders of that direction; @orders must stay. Returns 0, or -errno with @err
 * filled; reverse_fini in either case. */
int reverse_open(
	struct reverse *reverse, const struct order *orders, size_t count, struct err *err);

/* The server has granted or denied one, or is not there any more. */
void reverse_answer(struct reverse *reverse, const struct wish *wish);
void reverse_down(struct reverse *reverse);

/* Nothing new; what is being connected goes on. */
void reverse_drain(struct reverse *reverse);

/* How many wait for the server to have connected. */
size_t reverse_connecting(const struct reverse *reverse);

void reverse_fini(struct reverse *reverse);
