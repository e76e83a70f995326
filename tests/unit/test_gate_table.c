/* SPDX-License-Identifier: Apache-2.0 */
/* test_gate_table - one hash table against the list that it was made of */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mesh/agent/gate_table.h"

enum { TABLES = 300, QUESTIONS = 500, PORTS = 40, MEMBERS = 10, NETWORKS = 3 };

struct list {
	struct gate_rules rules;
	struct gate_port ports[PORTS];
	bool counts[PORTS]; /* no earlier one stands in its way */
	struct in_addr members[MEMBERS];
	struct gate_network networks[NETWORKS];
};

static struct in_addr pick_ip(void)
{
	return (struct in_addr){htonl(0x7f002a00 + (uint32_t)random() % 8)};
}

static struct packet_end place_of(const struct list *list, size_t i)
{
	const struct gate_port *port = &list->ports[i];

	return port->action == GATE_MAP ? (struct packet_end){port->target_ip, port->target_port}
					: (struct packet_end){list->rules.self, port->port};
}

static void make_list(struct list *list)
{
	*list = (struct list){.rules = {.self = pick_ip(),
				      .members = list->members,
				      .nmembers = (size_t)random() % MEMBERS,
				      .ports = list->ports,
				      .nports = (size_t)random() % PORTS,
				      .networks = list->networks,
				      .nnetworks = (size_t)random() % (NETWORKS + 1)}};
	for (size_t i = 0; i < list->rules.nmembers; i++)
		list->members[i] = pick_ip();
	for (size_t i = 0; i < list->rules.nnetworks; i++)
		list->networks[i] =
			(struct gate_network){pick_ip(), {htonl(UINT32_MAX << (random() % 4))}};
	for (size_t i = 0; i < list->rules.nports; i++) {
		list->ports[i] = (struct gate_port){
			.proto = random() % 2 ? PROTO_TCP : PROTO_UDP,
			.port = (uint16_t)(random() % 16),
			.action = random() % 3,
			.target_ip = pick_ip(),
			.target_port = (uint16_t)(random() % 16),
		};
		if (list->ports[i].action != GATE_MAP)
			list->ports[i].target_port = 0;
		list->counts[i] = true;
		for (size_t j = 0; j < i; j++)
			if (list->counts[j] && list->ports[j].proto == list->ports[i].proto &&
				(list->ports[j].port == list->ports[i].port ||
					packet_is_same_end(place_of(list, i), place_of(list, j))))
				list->counts[i] = false;
	}
}

static void assert_slot(
	const struct gate_slot *slot, const struct list *list, int found, struct packet_end to)
{
	assert_int_equal(slot != NULL, found >= 0);
	if (!slot)
		return;
	assert_true(packet_is_same_end(slot->to, to));
	assert_int_equal(slot->action, list->ports[found].action);
}

static void ask(const struct gate_table *table, const struct list *list)
{
	const struct gate_rules *rules = &list->rules;
	const struct packet_end end = {pick_ip(), (uint16_t)(random() % 16)};
	const enum proto proto = random() % 2 ? PROTO_TCP : PROTO_UDP;
	const uint8_t number = (uint8_t)addr_proto_number(proto);
	int port = -1, place = -1;
	bool is_member = false, is_target = false, is_in_network = false;

	for (int i = 0; i < (int)rules->nports; i++) {
		const struct packet_end at = place_of(list, (size_t)i);

		if (!list->counts[i])
			continue;
		is_target |=
			packet_is_same_ip(at.ip, end.ip) && !packet_is_same_ip(at.ip, rules->self);
		if (list->ports[i].proto != proto)
			continue;
		if (list->ports[i].port == end.port && packet_is_same_ip(rules->self, end.ip))
			port = i;
		if (packet_is_same_end(at, end))
			place = i;
	}
	/* a UDP server at all addresses answers from the own one */
	for (int i = 0; place < 0 && i < (int)rules->nports; i++)
		if (list->counts[i] && proto == PROTO_UDP && list->ports[i].proto == proto &&
			packet_is_same_ip(rules->self, end.ip) &&
			list->ports[i].action == GATE_MAP && list->ports[i].target_port == end.port)
			place = i;
	for (size_t i = 0; i < rules->nmembers; i++)
		is_member |= packet_is_same_ip(list->members[i], end.ip);
	for (size_t i = 0; i < rules->nnetworks; i++)
		is_in_network |= (list->networks[i].ip.s_addr & list->networks[i].mask.s_addr) ==
				 (end.ip.s_addr & list->networks[i].mask.s_addr);
	assert_slot(gate_table_port(table, number, &end), list, port,
		port >= 0 ? place_of(list, (size_t)port) : end);
	assert_slot(gate_table_place(table, number, &end), list, place,
		place >= 0 ? (struct packet_end){rules->self, list->ports[place].port} : end);
	assert_int_equal(gate_table_is_member(table, end.ip), is_member);
	assert_int_equal(gate_table_is_target(table, end.ip), is_target);
	assert_int_equal(gate_table_is_in_network(table, end.ip), is_in_network);
}

static void like_a_list(void **state)
{
	(void)state;
	srandom(1);
	for (int i = 0; i < TABLES; i++) {
		struct list list;

		make_list(&list);
		struct gate_table *table = gate_table_new(&list.rules);
		assert_non_null(table);
		for (int j = 0; j < QUESTIONS; j++)
			ask(table, &list);
		free(table);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(like_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
