/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/router - which host a packet goes to, by its destination address alone */
#include "mesh/manager/router.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/parse.h"

/* A VIP in the hash table; free while host is ROUTER_NOBODY. */
struct slot {
	in_addr_t vip;
	int host;
};

struct network {
	in_addr_t address, mask;
	int host;
};

struct router {
	struct slot *slots; /* open addressing, at most half of them taken */
	unsigned hash_shift;
	size_t slot_mask;
	in_addr_t *vips; /* by the host's number */
	/* a later one counts before an earlier one: those of the manifest; then, as networks of one
	 * address, the suggestions, each address once */
	struct network *networks;
	size_t nfixed, nnetworks; /* of the manifest; all */
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

/* --- networks ----------------------------------------------------------------------------- */

static int make_networks(struct router *router, const struct manifest *manifest)
{
	size_t count = 0;

	for (size_t i = 0; i < manifest->nroutes; i++)
		for (char **cidr = manifest->routes[i].cidrs; cidr && *cidr; cidr++)
			count++;
	router->networks = calloc(count + ROUTER_SUGGESTIONS_MAX, sizeof(*router->networks));
	if (!router->networks)
		return -1;
	for (size_t i = 0; i < manifest->nroutes; i++) {
		int host = find_vip(router, manifest->routes[i].via.s_addr);

		for (char **cidr = manifest->routes[i].cidrs; cidr && *cidr; cidr++) {
			struct in_addr address;
			int prefix_len;

			/* IPv6 networks are for a later version of the wire */
			if (host == ROUTER_NOBODY ||
				addr_parse_cidr4(*cidr, &address, &prefix_len, NULL) < 0)
				continue;
			uint32_t mask = prefix_len == 0 ? 0 : UINT32_MAX << (32 - prefix_len);
			router->networks[router->nnetworks++] =
				(struct network){address.s_addr, htonl(mask), host};
		}
	}
	router->nfixed = router->nnetworks;
	return 0;
}

/* --- the router --------------------------------------------------------------------------- */

struct router *router_new(const struct manifest *manifest)
{
	struct router *router = calloc(1, sizeof(*router));

	if (router && make_slots(router, manifest) == 0 && make_networks(router, manifest) == 0)
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
	free(router->networks);
	free(router);
}

int router_find(const struct router *router, struct in_addr dst)
{
	int host = find_vip(router, dst.s_addr);

	if (host != ROUTER_NOBODY)
		return host;
	for (size_t i = router->nnetworks; i > 0; i--) {
		const struct network *network = &router->networks[i - 1];

		if ((dst.s_addr & network->mask) == network->address)
			return network->host;
	}
	return ROUTER_NOBODY;
}

bool router_may_send(const struct router *router, int host, struct in_addr src)
{
	/* what is routed by way of a host is answered by way of it */
	return router->vips[host] == src.s_addr || router_find(router, src) == host;
}

void router_suggest(struct router *router, struct in_addr ip, struct in_addr via)
{
	int host = find_vip(router, via.s_addr);
	size_t at = router->nfixed;

	if (host == ROUTER_NOBODY || find_vip(router, ip.s_addr) != ROUTER_NOBODY)
		return;
	while (at < router->nnetworks && router->networks[at].address != ip.s_addr)
		at++;
	if (at == router->nfixed + ROUTER_SUGGESTIONS_MAX)
		at = router->nfixed; /* the oldest one */
	if (at < router->nnetworks) {
		router->nnetworks--;
		memmove(&router->networks[at], &router->networks[at + 1],
			(router->nnetworks - at) * sizeof(router->networks[0]));
	}
	router->networks[router->nnetworks++] =
		(struct network){ip.s_addr, htonl(UINT32_MAX), host};
}

void router_inherit(struct router *router, const struct router *old)
{
	for (size_t i = old->nfixed; i < old->nnetworks; i++) {
		const struct network *known = &old->networks[i];
		struct in_addr ip = {known->address}, via = {old->vips[known->host]};

		router_suggest(router, ip, via);
	}
}
