/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/peer_parts - what the parts of a peer use of each other */
#ifndef NSWRAP_MESH_MANAGER_PEER_PARTS_H
#define NSWRAP_MESH_MANAGER_PEER_PARTS_H

#include "mesh/manager/peer.h"

#define PEER_ANSWER_MS 10000
#define PEER_PING_MS   5000

/* --- peer: the life of the command --------------------------------------------------------- */

/* There is no use in going on; @format says why, NULL: see how the command ends. */
void peer_lose(struct peer *peer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The agent has answered and knows all it is to know. */
void peer_become_ready(struct peer *peer);

void peer_notice(struct peer *peer, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* --- peer_messages: what is said on the link ----------------------------------------------- */

/* Send `configure` with what @features allow. May lose the peer. */
void peer_send_configure(struct peer *peer, unsigned features);

/* A frame that is no packet. May lose the peer. */
void peer_on_message(struct peer *peer, const struct frame *frame);

/* Every PEER_PING_MS while it is ready: ask whether it is still there. May lose the peer. */
void peer_ping(struct peer *peer);

#endif
