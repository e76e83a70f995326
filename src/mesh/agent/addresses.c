/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/addresses - the addresses of the mesh that a stack has, changed as told */
#include "mesh/agent/addresses.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void addresses_fini(struct addresses *addresses)
{
	free(addresses->peers);
	*addresses = (struct addresses){0};
}

void addresses_forget(struct addresses *addresses)
{
	addresses->npeers = 0;
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct in_addr));
}

/* @list is sorted. */
static bool contains(const struct in_addr *list, size_t count, struct in_addr ip)
{
	return count > 0 && bsearch(&ip, list, count, sizeof(*list), compare);
}

bool addresses_has(const struct addresses *addresses, struct in_addr ip)
{
	return ip.s_addr == addresses->self.s_addr ||
	       contains(addresses->peers, addresses->npeers, ip);
}

/* Sort @list, leave out @self and all but one of each. Returns how many are left. */
static size_t tidy(struct in_addr *list, size_t count, struct in_addr self)
{
	size_t left = 0;

	qsort(list, count, sizeof(*list), compare);
	for (size_t i = 0; i < count; i++)
		if (list[i].s_addr != self.s_addr &&
			(left == 0 || list[left - 1].s_addr != list[i].s_addr))
			list[left++] = list[i];
	return left;
}

/* What the kernel has against one address costs that one alone: it is left out. Returns how many of
 * @peers are there, or -EPIPE. */
static ssize_t add_peers(const struct addresses *addresses, struct stack *stack,
	struct in_addr *peers, size_t npeers)
{
	size_t left = 0;

	for (size_t i = 0; i < npeers; i++) {
		int result = contains(addresses->peers, addresses->npeers, peers[i])
				     ? 0
				     : stack->ops->change(stack, STACK_ADD_PEER, peers[i]);

		if (result == -EPIPE)
			return result;
		if (result < 0 && result != -EEXIST) /* of an attempt that failed half-way */
			addresses->on_lost(addresses->owner, peers[i], result);
		else
			peers[left++] = peers[i];
	}
	return (ssize_t)left;
}

static ssize_t change(struct addresses *addresses, struct stack *stack, struct in_addr self,
	struct in_addr *peers, size_t npeers, struct err *err)
{
	char text[INET_ADDRSTRLEN];
	int result = 0;

	if (self.s_addr != addresses->self.s_addr) {
		result = stack->ops->change(stack, STACK_SET_SELF, self);
		if (result < 0)
			return err_sys(err, -result, "cannot take the address %s",
				inet_ntop(AF_INET, &self, text, sizeof(text)));
		addresses->self = self;
		addresses->npeers = 0;
	}
	for (size_t i = 0; i < addresses->npeers; i++)
		if (!contains(peers, npeers, addresses->peers[i]))
			stack->ops->change(stack, STACK_DEL_PEER, addresses->peers[i]);
	ssize_t left = add_peers(addresses, stack, peers, npeers);
	return left < 0 ? err_sys(err, (int)-left, "cannot add routes") : left;
}

int addresses_set(struct addresses *addresses, struct stack *stack, struct in_addr self,
	struct in_addr *peers, size_t npeers, struct err *err)
{
	npeers = tidy(peers, npeers, self);
	ssize_t left = change(addresses, stack, self, peers, npeers, err);
	/* after a failure some may be there already: none is taken for known then */
	free(addresses->peers);
	addresses->peers = peers;
	addresses->npeers = left < 0 ? 0 : (size_t)left;
	return left < 0 ? (int)left : 0;
}
