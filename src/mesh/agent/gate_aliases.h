/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/gate_aliases - addresses that stand for a client and the port that it asked for */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/packet.h"

/*
 * How it works
 *
 * Where two ports lead to one place its answers look alike. So the client of the second one is
 * given another address there: the place answers to that, and the address says where from the
 * answer is to leave and for whom it is. The same goes for who must not be seen by its own
 * address, as that is the namespace's own. An alias stays for as long as the gate has the same
 * network for them, so nothing that is under way depends on a clock. There are as many as members
 * and such ports, and no more than half of them for the namespace's own. Only those of what its
 * programs ask for elsewhere (led) have no bound of their own: when there is no room, one that no
 * connection uses is taken, by turns, so that the last packets of the former one are long gone.
 */
#define GATE_ALIASES_PREFIX  16
#define GATE_ALIASES_MAX     65534
#define GATE_ALIASES_BUCKETS 1024

struct gate_alias {
	struct in_addr peer;
	uint16_t port; /* of the gate's own address */
	uint16_t next; /* in its bucket: a place in the list, plus one */
	bool is_local; /* the peer is in the namespace itself */
	bool is_led;   /* instead: at @peer:@port is what the namespace's own programs ask for */
};

/* Starts as all zero: there are none, and no network for them. */
struct gate_aliases {
	struct in_addr net; /* as GATE_ALIASES_PREFIX says; 0: none */
	struct gate_alias *list;
	size_t count, room, turn;
	uint16_t buckets[GATE_ALIASES_BUCKETS];
};

/* Have them in @net; all are forgotten if it was another one. */
void gate_aliases_set(struct gate_aliases *aliases, struct in_addr net);
void gate_aliases_fini(struct gate_aliases *aliases);

/* The alias of @peer at @port, a new one if need be. False: there is no room, or no network. */
bool gate_aliases_get(struct gate_aliases *aliases, struct in_addr peer, uint16_t port,
	bool is_local, struct in_addr *out);

/* The same for what own programs have asked for, elsewhere; @is_used says whether there is a
 * connection for that. */
bool gate_aliases_lead(struct gate_aliases *aliases, struct in_addr peer, uint16_t port,
	bool (*is_used)(void *owner, struct packet_end to), void *owner, struct in_addr *out);

/* Whose alias @ip is, or NULL. */
const struct gate_alias *gate_aliases_find(const struct gate_aliases *aliases, struct in_addr ip);
