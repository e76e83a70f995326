/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/proxies - this host's proxies: where they listen, who may use them */
#pragma once

#include "conn/context.h"
#include "mesh/agent/estate.h"
#include "mesh/agent/ways.h"
#include "mesh/config.h"
#include "mesh/report.h"

/*
 * How it works
 *
 * A proxy listens in the agent's own network: on a plain host that is the host's, in a sandbox the
 * sandbox's. Each address is for itself: one that cannot be had is a line and in the report, and is
 * tried again (conn/service). A name is looked up when it is configured, until it is known; its
 * IPv4 address counts, as where NoRouter listens. What a listener that is closed has led somewhere
 * goes on.
 *
 * Whether an address that others can reach is what the user wants is the manager's to ask
 * (nswrap-manifest(5)); here a line says so.
 */
struct proxies;

struct proxies_start {
	const struct conn_context *context;
	struct ways *ways;
	struct estate *estate; /* NULL: nothing outlives this agent */
	/* from the loop: the report says something else; NULL: nobody wants to know */
	void (*on_change)(void *owner);
	void *owner;
};

/* What is in @start stays the caller's. Returns NULL with errno set. */
struct proxies *proxies_new(const struct proxies_start *start);

/* NULL is allowed. */
void proxies_free(struct proxies *proxies);

/* enum mesh_feature bits */
unsigned proxies_features(void);

/* From now on as @config says, which need not stay. Returns 0, also if some do not work, or -errno
 * with @err filled: there are none then. */
int proxies_configure(struct proxies *proxies, const struct mesh_config *config, struct err *err);

/* Keep all that is listened at, and have what was kept (estate.tell_all). */
void proxies_keep(struct proxies *proxies);

/* Add what does not work. */
void proxies_report(const struct proxies *proxies, struct mesh_report *out);
