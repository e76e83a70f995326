/* SPDX-License-Identifier: Apache-2.0 */
/* net/occupied - the networks that this host has or has routes to */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct occupied_network {
	int family;
	unsigned char addr[16]; /* network order; IPv4: the first 4 */
	int prefix_len;
};

struct occupied {
	struct occupied_network *networks;
	size_t count;
};

/*
 * Ask the kernel for the addresses and routes of the current network namespace, of all routing
 * tables. Default routes are left out, also in pieces such as 0.0.0.0/1 and 128.0.0.0/1, and so
 * are multicast and what leads nowhere. Returns 0 or -errno; free it in any case.
 */
int occupied_read(struct occupied *occupied);
/* One more, unless it is as wide as default routes are. Returns 0 or -ENOMEM. */
int occupied_add(struct occupied *occupied, int family, const void *addr, int prefix_len);

void occupied_free(struct occupied *occupied);

/* Is an address of @addr/@prefix_len (struct in_addr or in6_addr, as @family says) among them? */
bool occupied_overlaps(
	const struct occupied *occupied, int family, const void *addr, int prefix_len);
