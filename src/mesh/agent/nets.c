/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/nets - the networks that a stack leads to the mesh, changed as told */
#include "mesh/agent/nets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/log.h"

#define DEVICE_PREFIX "mesh" /* of agents */

/* --- lists -------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	const struct net *first = a, *second = b;
	int order = memcmp(&first->ip, &second->ip, sizeof(first->ip));

	return order ? order : first->prefix_len - second->prefix_len;
}

static bool has(const struct net_list *list, const struct net *net)
{
	return list->count > 0 &&
	       bsearch(net, list->list, list->count, sizeof(*net), compare) != NULL;
}

static int add(struct net_list *list, struct net net)
{
	if (list->count == list->room) {
		size_t room = list->room * 2 + 16;
		struct net *larger = reallocarray(list->list, room, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		list->list = larger;
		list->room = room;
	}
	list->list[list->count++] = net;
	return 0;
}

/* Sorted, each once. */
static void put_in_order(struct net_list *list)
{
	size_t left = 0;

	if (list->count > 0)
		qsort(list->list, list->count, sizeof(list->list[0]), compare);
	for (size_t i = 0; i < list->count; i++)
		if (i == 0 || compare(&list->list[i], &list->list[left - 1]) != 0)
			list->list[left++] = list->list[i];
	list->count = left;
}

static void clear(struct net_list *list)
{
	free(list->list);
	*list = (struct net_list){.list = NULL};
}

static const char *format(const struct net *net, char out[INET_ADDRSTRLEN])
{
	return inet_ntop(AF_INET, &net->ip, out, INET_ADDRSTRLEN);
}

/* --- the sandbox's own -------------------------------------------------------------------- */

static struct in_addr ip_of(const struct sockaddr *addr)
{
	return ((const struct sockaddr_in *)(const void *)addr)->sin_addr;
}

static uint32_t mask_of(int prefix_len)
{
	return prefix_len == 0 ? 0 : htonl(UINT32_MAX << (32 - prefix_len));
}

/* Has the network of @at all of @net, or some (@net is the wider one)? */
static bool overlaps(const struct ifaddrs *at, const struct net *net, bool *is_all)
{
	if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET || !at->ifa_netmask ||
		(at->ifa_flags & IFF_LOOPBACK) ||
		strncmp(at->ifa_name, DEVICE_PREFIX, strlen(DEVICE_PREFIX)) == 0)
		return false;
	const uint32_t own = ip_of(at->ifa_netmask).s_addr, other = mask_of(net->prefix_len);

	*is_all = (own & other) == own;
	return ((ip_of(at->ifa_addr).s_addr ^ net->ip.s_addr) & own & other) == 0;
}

/* May the mesh have @net? Says so if not, or not all of it, unless it is @known. */
static bool is_free(const struct ifaddrs *all, const struct net *net, bool is_known)
{
	char text[INET_ADDRSTRLEN], own[INET_ADDRSTRLEN];
	bool is_all;

	for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
		if (!overlaps(at, net, &is_all))
			continue;
		const struct net its = {
			ip_of(at->ifa_addr), __builtin_popcount(ip_of(at->ifa_netmask).s_addr)};

		if (is_all && !is_known)
			log_warning("the route to %s/%d is not taken: the network of this sandbox "
				    "has it (%s, %s/%d): expected another one, see --cidr of "
				    "nswrap run",
				format(net, text), net->prefix_len, at->ifa_name, format(&its, own),
				its.prefix_len);
		else if (!is_known && net->prefix_len > 0)
			log_info("of the route to %s/%d the network of this sandbox stays its own "
				 "(%s, %s/%d)",
				format(net, text), net->prefix_len, at->ifa_name, format(&its, own),
				its.prefix_len);
		if (is_all)
			return false;
	}
	return true;
}

/* --- changes ------------------------------------------------------------------------------ */

void nets_want(void *told, struct in_addr ip, int prefix_len)
{
	struct nets *nets = told;
	const struct net net = {ip, prefix_len};
	const struct net halves[] = {{{0}, 1}, {{htonl(0x80000000)}, 1}};
	int result = 0;

	if (prefix_len > 0 || !nets->is_sandbox)
		result = add(&nets->wanted, net);
	for (size_t i = 0; result == 0 && prefix_len == 0 && nets->is_sandbox && i < 2; i++)
		result = add(&nets->wanted, halves[i]);
	nets->has_no_memory |= result < 0;
}

/* Moves to @refused what is not to be had. Returns 0 or -ENOMEM. */
static int sift(struct nets *nets, struct net_list *refused)
{
	struct ifaddrs *all = NULL;
	size_t left = 0;
	int result = 0;

	if (!nets->is_sandbox || nets->wanted.count == 0)
		return 0;
	if (getifaddrs(&all) < 0)
		return -ENOMEM;
	for (size_t i = 0; result == 0 && i < nets->wanted.count; i++) {
		const struct net *net = &nets->wanted.list[i];

		if (is_free(all, net, has(&nets->refused, net) || has(&nets->now, net)))
			nets->wanted.list[left++] = *net;
		else
			result = add(refused, *net);
	}
	freeifaddrs(all);
	nets->wanted.count = left;
	return result;
}

static int change(struct nets *nets, bool is_added, const struct net *net)
{
	char text[INET_ADDRSTRLEN];
	int result = nets->stack->ops->route(nets->stack, is_added, net->ip, net->prefix_len);

	if (result == (is_added ? -EEXIST : -ESRCH))
		return 0;
	if (result < 0)
		log_warning("the route to %s/%d cannot be %s: %s", format(net, text),
			net->prefix_len, is_added ? "made" : "removed", strerror(-result));
	return result;
}

/* What cannot be added stays wanted, and is tried again next time. */
static void apply(struct nets *nets)
{
	size_t left = 0;

	for (size_t i = 0; i < nets->now.count; i++)
		if (!has(&nets->wanted, &nets->now.list[i]))
			change(nets, false, &nets->now.list[i]);
	for (size_t i = 0; i < nets->wanted.count; i++) {
		const struct net net = nets->wanted.list[i];

		if (has(&nets->now, &net) || change(nets, true, &net) == 0)
			nets->wanted.list[left++] = net;
	}
	nets->wanted.count = left;
	clear(&nets->now);
	nets->now = nets->wanted;
	nets->wanted = (struct net_list){.list = NULL};
}

int nets_settle(struct nets *nets, struct in_addr self)
{
	struct net_list refused = {.list = NULL};
	int result = nets->has_no_memory ? -ENOMEM : 0;

	nets->has_no_memory = false;
	if (nets->self.s_addr != self.s_addr)
		nets_forget(nets);
	nets->self = self;
	put_in_order(&nets->wanted);
	if (result == 0)
		result = sift(nets, &refused);
	if (result < 0) {
		clear(&refused);
		nets->wanted.count = 0;
		return result;
	}
	clear(&nets->refused);
	nets->refused = refused;
	apply(nets);
	return 0;
}

void nets_forget(struct nets *nets)
{
	clear(&nets->now);
}

void nets_fini(struct nets *nets)
{
	clear(&nets->now);
	clear(&nets->wanted);
	clear(&nets->refused);
}
