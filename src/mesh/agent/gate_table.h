/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/gate_table - the gate's rules as one hash table, which never changes */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "mesh/agent/gate.h"
#include "net/packet.h"

struct gate_slot {
	uint64_t key; /* 0: empty */
	struct packet_end
		to; /* where the namespace has what the mesh sees, or the other way round */
	enum gate_action action;
	bool is_shared; /* of a port: another one has the same place, and its answers */
};

struct gate_table {
	struct in_addr self;
	bool any_port, leads_on, turns;
	struct gate_network *networks; /* behind the slots */
	size_t nnetworks;
	unsigned int shift; /* of a hash, for its slot */
	struct gate_slot slots[];
};

/* Returns NULL for want of memory; free(3) it. */
struct gate_table *gate_table_new(const struct gate_rules *rules);

/* Ends come by address: a packet's are still being written when they would be read as a whole. */

/* The port that the mesh sees at @end, with its place in the namespace; NULL: there is none. */
const struct gate_slot *gate_table_port(
	const struct gate_table *table, uint8_t proto, const struct packet_end *end);

/* What the mesh sees instead of the place @end in the namespace; NULL: that is not in the rules. */
const struct gate_slot *gate_table_place(
	const struct gate_table *table, uint8_t proto, const struct packet_end *end);

bool gate_table_is_member(const struct gate_table *table, struct in_addr ip);

/* Is @ip an address of the namespace that a port is mapped to? */
bool gate_table_is_target(const struct gate_table *table, struct in_addr ip);

/* Is @ip in one of the networks? Looks at one after the other. */
bool gate_table_is_in_network(const struct gate_table *table, struct in_addr ip);
