/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/gate_rewrite - other ends for packets, with checksums kept as right or wrong as they
 * were */
#ifndef NSWRAP_MESH_AGENT_GATE_REWRITE_H
#define NSWRAP_MESH_AGENT_GATE_REWRITE_H

#include <netinet/in.h>
#include <stdbool.h>

#include "mesh/agent/gate_table.h"
#include "mesh/packet.h"

enum gate_side { GATE_SRC, GATE_DST };

/* A TCP or UDP packet: @packet, of which @view was made. */
void gate_rewrite(
	void *packet, const struct packet_view *view, enum gate_side side, struct gate_end to);

/* Only the address; not for TCP and UDP, whose checksums cover it. */
void gate_rewrite_address(void *packet, enum gate_side side, struct in_addr to);

/*
 * The beginning of the packet that the ICMP error @error is about. False if it is none, a fragment
 * or has less than 8 bytes behind its header. @out->l4_len is what is there of it.
 */
bool gate_quote_parse(const struct packet_view *error, struct packet_view *out);

/* The same as gate_rewrite for a TCP or UDP packet that is quoted in @error. */
void gate_rewrite_quote(const struct packet_view *error, const struct packet_view *quote,
	enum gate_side side, struct gate_end to);

#endif
