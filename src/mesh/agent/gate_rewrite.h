/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/gate_rewrite - other ends for packets, with checksums kept as right or wrong as they
 * were */
#pragma once

#include <netinet/in.h>

#include "mesh/agent/gate_table.h"
#include "net/packet.h"

enum gate_side { GATE_SRC, GATE_DST };

/* A TCP or UDP packet. @view goes on to say what was there before. */
void gate_rewrite(const struct packet_view *view, enum gate_side side, struct packet_end to);

/* Only the address; not for TCP and UDP, whose checksums cover it. */
void gate_rewrite_address(const struct packet_view *view, enum gate_side side, struct in_addr to);

/* The same as gate_rewrite for a TCP or UDP packet that is quoted in @error. */
void gate_rewrite_quote(const struct packet_view *error, const struct packet_view *quote,
	enum gate_side side, struct packet_end to);
