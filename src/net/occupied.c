/* SPDX-License-Identifier: Apache-2.0 */
/* net/occupied - the networks that this host has or has routes to */
#include "net/occupied.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/netdev.h"
#include "net/netlink.h"
#include "util/fd.h"

/*
 * Shorter routes are of those that together lead everywhere. Not fc00::/7, which leads to all that
 * is private.
 */
#define WIDEST4 8
#define WIDEST6 7

static int family_bytes(int family)
{
	return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

static int add(struct occupied *occupied, int family, int prefix_len, const void *addr)
{
	struct occupied_network *grown =
		reallocarray(occupied->networks, occupied->count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	occupied->networks = grown;
	grown[occupied->count] =
		(struct occupied_network){.family = family, .prefix_len = prefix_len};
	memcpy(grown[occupied->count].addr, addr, (size_t)family_bytes(family));
	occupied->count++;
	return 0;
}

int occupied_add(struct occupied *occupied, int family, const void *addr, int prefix_len)
{
	return prefix_len < (family == AF_INET ? WIDEST4 : WIDEST6)
		       ? 0
		       : add(occupied, family, prefix_len, addr);
}

/* The attribute @type of @bytes bytes behind a fixed part; NULL if there is none. */
static const void *find(const void *body, size_t len, size_t fixed, uint16_t type, int bytes)
{
	const struct rtattr *attr =
		(const void *)((const unsigned char *)body + NLMSG_ALIGN(fixed));
	int left = (int)len - (int)NLMSG_ALIGN(fixed);

	for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left))
		if (attr->rta_type == type && (int)RTA_PAYLOAD(attr) == bytes)
			return RTA_DATA(attr);
	return NULL;
}

static int on_address(const void *body, size_t len, void *context)
{
	const struct ifaddrmsg *message = body;

	if (len < sizeof(*message))
		return 0;
	/* of a point-to-point link this is the other end, and its own address is a local route */
	const void *addr =
		find(body, len, sizeof(*message), IFA_ADDRESS, family_bytes(message->ifa_family));
	return addr ? add(context, message->ifa_family, message->ifa_prefixlen, addr) : 0;
}

static int on_route(const void *body, size_t len, void *context)
{
	const struct rtmsg *message = body;

	if (len < sizeof(*message) ||
		(message->rtm_type != RTN_UNICAST && message->rtm_type != RTN_LOCAL))
		return 0;
	const void *addr =
		find(body, len, sizeof(*message), RTA_DST, family_bytes(message->rtm_family));
	return addr ? occupied_add(context, message->rtm_family, addr, message->rtm_dst_len) : 0;
}

int occupied_read(struct occupied *occupied)
{
	struct netlink_msg msg;

	*occupied = (struct occupied){0};
	_cleanup_fd_ int nl = netdev_open();
	if (nl < 0)
		return nl;
	netlink_begin(&msg, RTM_GETADDR, 0, &(struct ifaddrmsg){0}, sizeof(struct ifaddrmsg));
	int result = netlink_dump(nl, &msg, on_address, occupied);
	if (result < 0)
		return result;
	netlink_begin(&msg, RTM_GETROUTE, 0, &(struct rtmsg){0}, sizeof(struct rtmsg));
	return netlink_dump(nl, &msg, on_route, occupied);
}

void occupied_free(struct occupied *occupied)
{
	free(occupied->networks);
	*occupied = (struct occupied){0};
}

static bool has_same_bits(const unsigned char *a, const unsigned char *b, int bits)
{
	int mask = 0xff00 >> bits % 8;

	return memcmp(a, b, (size_t)bits / 8) == 0 &&
	       (bits % 8 == 0 || !((a[bits / 8] ^ b[bits / 8]) & mask));
}

bool occupied_overlaps(
	const struct occupied *occupied, int family, const void *addr, int prefix_len)
{
	for (size_t i = 0; i < occupied->count; i++) {
		const struct occupied_network *network = &occupied->networks[i];
		int bits = network->prefix_len < prefix_len ? network->prefix_len : prefix_len;

		if (network->family == family && has_same_bits(network->addr, addr, bits))
			return true;
	}
	return false;
}
