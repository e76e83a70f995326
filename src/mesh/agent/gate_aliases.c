/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/gate_aliases - addresses that stand for a client and the port that it asked for */
#include "mesh/agent/gate_aliases.h"

#include <stdlib.h>

#include "mesh/agent/gate_table.h"
#include "util/mix.h"

#define TRIES 64 /* of those that are led, when another one is to be */

void gate_aliases_fini(struct gate_aliases *aliases)
{
	free(aliases->list);
	*aliases = (struct gate_aliases){.list = NULL};
}

void gate_aliases_set(struct gate_aliases *aliases, struct in_addr net)
{
	if (aliases->net.s_addr == net.s_addr)
		return;
	gate_aliases_fini(aliases);
	aliases->net = net;
}

static uint16_t *bucket_of(struct gate_aliases *aliases, struct in_addr peer, uint16_t port)
{
	const uint64_t hash = mix_bits((uint64_t)peer.s_addr << 16 | port);

	return &aliases->buckets[hash >> 54]; /* the upper ten bits */
}

static struct in_addr address_of(const struct gate_aliases *aliases, size_t number)
{
	return (struct in_addr){aliases->net.s_addr | htonl((uint32_t)number)};
}

static bool make_room(struct gate_aliases *aliases, bool is_local)
{
	size_t room = aliases->room > 0 ? 2 * aliases->room : 16;

	/* a program of the namespace may have any number of addresses there */
	if (aliases->count >= (is_local ? GATE_ALIASES_MAX / 2 : GATE_ALIASES_MAX))
		return false;
	if (aliases->count < aliases->room)
		return true;
	struct gate_alias *list = realloc(aliases->list, room * sizeof(*list));
	if (!list)
		return false;
	aliases->list = list;
	aliases->room = room;
	return true;
}

bool gate_aliases_get(struct gate_aliases *aliases, struct in_addr peer, uint16_t port,
	bool is_local, struct in_addr *out)
{
	uint16_t *bucket = bucket_of(aliases, peer, port);
	size_t number = *bucket;

	while (number > 0) {
		const struct gate_alias *alias = &aliases->list[number - 1];

		if (alias->peer.s_addr == peer.s_addr && alias->port == port &&
			alias->is_local == is_local)
			break;
		number = alias->next;
	}
	if (number == 0) {
		if (aliases->net.s_addr == 0 || !make_room(aliases, is_local))
			return false;
		aliases->list[aliases->count++] =
			(struct gate_alias){peer, port, *bucket, is_local, false};
		number = *bucket = (uint16_t)aliases->count;
	}
	*out = address_of(aliases, number);
	return true;
}

/* It is of @peer at @port from now on. */
static void take_over(
	struct gate_aliases *aliases, size_t number, struct in_addr peer, uint16_t port)
{
	struct gate_alias *alias = &aliases->list[number - 1];
	uint16_t *at = bucket_of(aliases, alias->peer, alias->port);

	while (*at != number)
		at = &aliases->list[*at - 1].next;
	*at = alias->next;
	uint16_t *bucket = bucket_of(aliases, peer, port);
	*alias = (struct gate_alias){peer, port, *bucket, true, true};
	*bucket = (uint16_t)number;
}

/* No address of the namespace is also one elsewhere, so it is nobody else's. */
bool gate_aliases_lead(struct gate_aliases *aliases, struct in_addr peer, uint16_t port,
	bool (*is_used)(void *owner, struct packet_end to), void *owner, struct in_addr *out)
{
	if (gate_aliases_get(aliases, peer, port, true, out)) {
		aliases->list[ntohl(out->s_addr ^ aliases->net.s_addr) - 1].is_led = true;
		return true;
	}
	for (size_t i = 0, asked = 0; i < aliases->count && asked < TRIES; i++) {
		const size_t number = aliases->turn++ % aliases->count + 1;
		const struct gate_alias *alias = &aliases->list[number - 1];

		asked += alias->is_led;
		if (!alias->is_led || is_used(owner, (struct packet_end){alias->peer, alias->port}))
			continue;
		take_over(aliases, number, peer, port);
		*out = address_of(aliases, number);
		return true;
	}
	return false;
}

const struct gate_alias *gate_aliases_find(const struct gate_aliases *aliases, struct in_addr ip)
{
	const size_t number = ntohl(ip.s_addr ^ aliases->net.s_addr);

	return number > 0 && number <= aliases->count ? &aliases->list[number - 1] : NULL;
}
