/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/gate_table - the gate's rules as one hash table, which never changes */
#include "mesh/agent/gate_table.h"

#include <stdlib.h>
#include <string.h>

#include "util/mix.h"

enum kind {
	KIND_PORT = 1, /* port seen by the mesh -> place in the namespace */
	KIND_PLACE,    /* the other way round */
	KIND_MEMBER,
	KIND_TARGET,
};

static uint64_t make_key(enum kind kind, uint8_t proto, struct in_addr ip, uint16_t port)
{
	return (uint64_t)kind << 56 | (uint64_t)proto << 48 | (uint64_t)ip.s_addr << 16 | port;
}

/* The slot of @key, or the empty one where it would be. */
static size_t find(const struct gate_table *table, uint64_t key)
{
	const size_t mask = ((size_t)1 << (64 - table->shift)) - 1;
	size_t at = mix_bits(key) >> table->shift;

	while (table->slots[at].key != 0 && table->slots[at].key != key)
		at = (at + 1) & mask;
	return at;
}

static const struct gate_slot *look_up(const struct gate_table *table, uint64_t key)
{
	const struct gate_slot *slot = &table->slots[find(table, key)];

	return slot->key != 0 ? slot : NULL;
}

static void put(
	struct gate_table *table, uint64_t key, struct packet_end to, enum gate_action action)
{
	table->slots[find(table, key)] = (struct gate_slot){.key = key, .to = to, .action = action};
}

static void put_port(struct gate_table *table, const struct gate_port *port, bool can_share)
{
	const uint8_t proto = port->proto == PROTO_TCP ? IPPROTO_TCP : IPPROTO_UDP;
	const struct packet_end seen = {table->self, port->port};
	struct packet_end place = seen;

	if (port->action == GATE_MAP || port->target_port != 0)
		place = (struct packet_end){port->target_ip, port->target_port};
	bool is_shared = gate_table_place(table, proto, &place);
	if (gate_table_port(table, proto, &seen) || (is_shared && !can_share))
		return;
	const uint64_t key = make_key(KIND_PORT, proto, seen.ip, seen.port);
	put(table, key, place, port->action);
	if (is_shared) {
		table->slots[find(table, key)].is_shared = true;
		return;
	}
	put(table, make_key(KIND_PLACE, proto, place.ip, place.port), seen, port->action);
	if (place.ip.s_addr != table->self.s_addr)
		put(table, make_key(KIND_TARGET, 0, place.ip, 0), place, GATE_MAP);
}

/*
 * A UDP server that is bound to all addresses answers from the one that its route names, which is
 * self. What leaves from there is the port's, too; what is asked by it comes back to that server.
 */
static void put_answers(struct gate_table *table, const struct gate_port *port)
{
	const struct packet_end seen = {table->self, port->port},
				answers = {table->self, port->target_port};

	if (port->proto != PROTO_UDP || port->action != GATE_MAP || table->any_port)
		return;
	const struct gate_slot *slot = gate_table_port(table, IPPROTO_UDP, &seen);
	if (!slot || slot->is_shared ||
		!packet_is_same_end(
			slot->to, (struct packet_end){port->target_ip, port->target_port}) ||
		gate_table_place(table, IPPROTO_UDP, &answers))
		return;
	put(table, make_key(KIND_PLACE, IPPROTO_UDP, answers.ip, answers.port), seen, GATE_MAP);
}

struct gate_table *gate_table_new(const struct gate_rules *rules)
{
	const size_t keys = rules->nmembers + 4 * rules->nports;
	unsigned int bits = 4;

	while ((size_t)1 << bits < 2 * keys)
		bits++;
	const size_t networks_bytes = rules->nnetworks * sizeof(rules->networks[0]);
	struct gate_table *table = calloc(
		1, sizeof(*table) + ((size_t)1 << bits) * sizeof(table->slots[0]) + networks_bytes);
	if (!table)
		return NULL;
	table->networks = (struct gate_network *)&table->slots[(size_t)1 << bits];
	table->nnetworks = rules->nnetworks;
	if (networks_bytes > 0)
		memcpy(table->networks, rules->networks, networks_bytes);
	table->self = rules->self;
	table->any_port = rules->any_port;
	table->leads_on = rules->leads_on;
	table->turns = rules->turns;
	table->shift = 64 - bits;
	for (size_t i = 0; i < rules->nmembers; i++)
		put(table, make_key(KIND_MEMBER, 0, rules->members[i], 0), (struct packet_end){0},
			GATE_OPEN);
	for (size_t i = 0; i < rules->nports; i++)
		put_port(table, &rules->ports[i], rules->alias_net.s_addr != 0);
	for (size_t i = 0; i < rules->nports; i++)
		put_answers(table, &rules->ports[i]);
	return table;
}

const struct gate_slot *gate_table_port(
	const struct gate_table *table, uint8_t proto, const struct packet_end *end)
{
	return look_up(table, make_key(KIND_PORT, proto, end->ip, end->port));
}

const struct gate_slot *gate_table_place(
	const struct gate_table *table, uint8_t proto, const struct packet_end *end)
{
	return look_up(table, make_key(KIND_PLACE, proto, end->ip, end->port));
}

bool gate_table_is_member(const struct gate_table *table, struct in_addr ip)
{
	return look_up(table, make_key(KIND_MEMBER, 0, ip, 0)) != NULL;
}

bool gate_table_is_target(const struct gate_table *table, struct in_addr ip)
{
	return look_up(table, make_key(KIND_TARGET, 0, ip, 0)) != NULL;
}

bool gate_table_is_in_network(const struct gate_table *table, struct in_addr ip)
{
	for (size_t i = 0; i < table->nnetworks; i++) {
		const struct gate_network *network = &table->networks[i];

		if (((ip.s_addr ^ network->ip.s_addr) & network->mask.s_addr) == 0)
			return true;
	}
	return false;
}
