/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/router - which host a packet goes to, by its destination address alone */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "mesh/manifest/manifest.h"
#include "mesh/routes.h"

/*
 * A host's VIP; else the newest suggestion for the address; else the networks of the routes, the
 * last one that matches. Hosts are named by their number in the manifest.
 */
#define ROUTER_NOBODY (-1)

struct router;

/* Returns NULL with errno set. The manifest may be freed afterwards. */
struct router *router_new(const struct manifest *manifest);
void router_free(struct router *router);

/* The host's number, or ROUTER_NOBODY. */
int router_find(const struct router *router, struct in_addr dst);

/*
 * May host number @host send with source address @src? Its VIP; and what is routed by way of it
 * (suggestions and networks), never another host's VIP.
 */
bool router_may_send(const struct router *router, int host, struct in_addr src);

/* Remember that @ip goes by way of host @via (a VIP) from now on; the oldest one of
 * ROUTES_LEARNT_MAX is forgotten. Nothing happens for VIPs of hosts, or if @via is none. */
void router_suggest(struct router *router, struct in_addr ip, struct in_addr via);

/* Take over what @old had learnt, as far as its hosts (by VIP) still are there. */
void router_inherit(struct router *router, const struct router *old);
