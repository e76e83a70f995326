/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/routes - networks, names and single addresses that lie behind hosts of a mesh */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "mesh/config.h"

/*
 * How it works
 *
 * Of the routes of a manifest the last one counts that has the address in a network, or the name in
 * a pattern. Before the networks come the suggestions: single addresses that a name was found to
 * have, of which the last ROUTES_LEARNT_MAX are remembered. VIPs are nobody's business here, who
 * asks has looked for them before.
 */
#define ROUTES_LEARNT_MAX 512

struct routes;

/* @list may go afterwards; a network that is none is skipped. Returns NULL with errno set. */
struct routes *routes_new(const struct mesh_route *list, size_t count);
void routes_free(struct routes *routes); /* NULL is allowed */

/* The VIP of the host behind which @ip is; false: behind none. */
bool routes_find(const struct routes *routes, struct in_addr ip, struct in_addr *via);

/* The same for a name, whose letters' case and final dot do not count. */
bool routes_find_name(const struct routes *routes, const char *name, struct in_addr *via);

/* Is there any network? Without, no name has to be looked up to see where it leads. */
bool routes_have_networks(const struct routes *routes);

/* Are names asked of host @via? */
bool routes_ask(const struct routes *routes, struct in_addr via);

/* Call @each for every network and, with prefix 32, for what was learnt. */
void routes_each(const struct routes *routes,
	void (*each)(void *owner, struct in_addr ip, int prefix_len, struct in_addr via),
	void *owner);

/*
 * @ip goes by way of @via from now on. Returns false if that was known already. If it was not, and
 * there were too many, the one that was told longest ago is forgotten: it is in *@forgotten then,
 * which is 0 else.
 */
bool routes_learn(
	struct routes *routes, struct in_addr ip, struct in_addr via, struct in_addr *forgotten);

/* Learn what @old has learnt, if @is_wanted says so. */
void routes_inherit(struct routes *routes, const struct routes *old,
	bool (*is_wanted)(void *owner, struct in_addr ip, struct in_addr via), void *owner);

/*
 * Does @name match @pattern, in which "*" stands for any characters, none and dots too? Case and
 * final dots do not count.
 */
bool routes_matches(const char *pattern, const char *name);
