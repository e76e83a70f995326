/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/router - which host a packet goes to, by its destination address alone */
#include "mesh/manager/router.h"

#include <stdint.h>
#include <stdlib.h>

/* A VIP in the hash table; free while host is ROUTER_NOBODY. */
struct slot {
	in_addr_t vip;
	int host;
};

struct router {
	struct slot *slots; /* open addressing, at most half of them taken */
	unsigned hash_shift;
	size_t slot_mask;
	in_addr_t *vips;       /* by the host's number */
	struct routes *routes; /* by way of hosts of the mesh only */
};

/* --- VIPs --------------------------------------------------------------------------------- */

/* VIPs of a mesh differ in their last bits, which stand first in network order: mix them. */
static size_t first_slot(const struct router *router, in_addr_t vip)
{
	return (vip * 2654435769U) >> router->hash_shift;
}

/* The one that holds @vip, or the free one where it belongs. */
static struct slot *find_slot(const struct router *router, in_addr_t vip)
{
	size_t at = first_slot(router, vip);

	while (router->slots[at].host != ROUTER_NOBODY && router->slots[at].vip != vip)
		at = (at + 1) & router->slot_mask;
	return &router->slots[at];
}

static int find_vip(const struct router *router, in_addr_t vip)
{
	return find_slot(router, vip)->host;
}

static int make_slots(struct router *router, const struct manifest *manifest)
{
	unsigned bits = 1;

	while (((size_t)1 << bits) < manifest->nhosts * 2)
		bits++;
	router->slot_mask = ((size_t)1 << bits) - 1;
	router->hash_shift = 32 - bits;
	router->slots = calloc(router->slot_mask + 1, sizeof(*router->slots));
	router->vips = calloc(manifest->nhosts + 1, sizeof(*router->vips));
	if (!router->slots || !router->vips)
		return -1;
	for (size_t i = 0; i <= router->slot_mask; i++)
		router->slots[i] = (struct slot){0, ROUTER_NOBODY};
	for (size_t i = 0; i < manifest->nhosts; i++) {
		router->vips[i] = manifest->hosts[i].vip.s_addr;
		*find_slot(router, router->vips[i]) = (struct slot){router->vips[i], (int)i};
	}
	return 0;
}

/* --- routes ------------------------------------------------------------------------------- */

/* Those that lead to nobody do not stand in front of others. */
static int make_routes(struct router *router, const struct manifest *manifest)
{
	struct mesh_route *list = calloc(manifest->nroutes + 1, sizeof(*list));
	size_t count = 0;

	if (!list)
		return -1;
	for (size_t i = 0; i < manifest->nroutes; i++)
		if (find_vip(router, manifest->routes[i].via.s_addr) != ROUTER_NOBODY)
			list[count++] = manifest->routes[i];
	router->routes = routes_new(list, count);
	free(list);
	return router->routes ? 0 : -1;
}

/* --- the router --------------------------------------------------------------------------- */

struct router *router_new(const struct manifest *manifest)
{
	struct router *router = calloc(1, sizeof(*router));

	if (router && make_slots(router, manifest) == 0 && make_routes(router, manifest) == 0)
		return router;
	router_free(router);
	return NULL;
}

void router_free(struct router *router)
{
	if (!router)
		return;
	free(router->slots);
	free(router->vips);
	routes_free(router->routes);
	free(router);
}

int router_find(const struct router *router, struct in_addr dst)
{
	int host = find_vip(router, dst.s_addr);
	struct in_addr via;

	if (host != ROUTER_NOBODY)
		return host;
	return routes_find(router->routes, dst, &via) ? find_vip(router, via.s_addr)
						      : ROUTER_NOBODY;
}

bool router_may_send(const struct router *router, int host, struct in_addr src)
{
	/* what is routed by way of a host is answered by way of it */
	return router->vips[host] == src.s_addr || router_find(router, src) == host;
}

static bool is_wanted(void *owner, struct in_addr ip, struct in_addr via)
{
	const struct router *router = owner;

	return find_vip(router, via.s_addr) != ROUTER_NOBODY &&
	       find_vip(router, ip.s_addr) == ROUTER_NOBODY;
}

void router_suggest(struct router *router, struct in_addr ip, struct in_addr via)
{
	struct in_addr forgotten;

	if (is_wanted(router, ip, via))
		routes_learn(router->routes, ip, via, &forgotten);
}

void router_inherit(struct router *router, const struct router *old)
{
	routes_inherit(router->routes, old->routes, is_wanted, router);
}
