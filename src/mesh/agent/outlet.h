/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/outlet - the exit of a plain host in its mesh: what it may reach, and who asks for
 * more */
#pragma once

#include <stdint.h>

#include "conn/context.h"
#include "conn/expose.h"
#include "exit/exit.h"
#include "mesh/agent/crossing.h"
#include "mesh/report.h"
#include "util/err.h"
#include "util/loop.h"

/*
 * How it works
 *
 * Packets for what is behind this host go to an exit (exit/exit), which answers by the
 * crossing; so do those to ports of its own address that are no offers, which lead to 127.0.0.1 if
 * that is exposed. What is not exposed is a line a minute, and a report a second at most.
 */
#define OUTLET_TELL_MS 1000
#define OUTLET_LINE_S  60

/* Starts as all zero. */
struct outlet {
	/* the owner sets these; they stay its own */
	struct crossing *crossing;
	const struct expose *host;      /* what this host exposes; NULL: all that may be */
	void (*on_change)(void *owner); /* there is more to report */
	void *owner;

	/* its own */
	struct loop *loop;
	struct exit *exit;    /* NULL: nothing is behind this host */
	struct expose expose; /* the manager's */
	struct exit_limits limits;
	struct loop_timer timer;
	uint64_t unexposed;          /* streams; the exit has packets */
	char last[REPORT_WHY_BYTES]; /* that was not exposed */
	uint64_t said_ns;            /* 0: never */
};

/* There may be something behind this host. Returns 0 or -errno. */
int outlet_open(struct outlet *outlet, const struct conn_context *context);

/* Ends all connections. Fine for one that was never opened. */
void outlet_close(struct outlet *outlet);

/* The manager exposes what @texts say (NULL: all), and nothing if one of them cannot be read.
 * Returns 0, or -errno with @err filled. */
int outlet_configure(struct outlet *outlet, char *const *texts, struct err *err);

/* Is any port of this host's loopback exposed? */
bool outlet_leads_here(const struct outlet *outlet);

/* As exit_take. */
void outlet_take(struct outlet *outlet, const struct packet_view *packet);

/* A stream of @peer for @to, which leads to @at: may it? What is not exposed is told as packets
 * are. */
bool outlet_lets_begin(
	struct outlet *outlet, struct in_addr peer, struct packet_end to, const struct addr *at);

/* Fill in what was asked for and is not exposed. */
void outlet_report(const struct outlet *outlet, struct mesh_report *out);
