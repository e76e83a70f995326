/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/passage - what goes through a tunnel once both its ends are connected */
#pragma once

#include <stddef.h>

#include "tunnel/packets.h"
#include "util/addr.h"

/* Bytes by the relays of the context, datagrams by the packets here. */
struct passage {
	struct packets packets;
};

void passage_init(struct passage *passage, const struct conn_context *context);

/*
 * Lead on from now on, until the end, what comes at @near_fd to @lane_fd, a stream, and back; both
 * are nonblocking and taken over, and reset if that cannot be begun. It counts for
 * @source (util/shares). For PROTO_UDP @near_fd is a datagram socket. @first, up to
 * RELAY_PUSH_MAX bytes, stands in front of what @lane_fd says (PROTO_TCP).
 */
void passage_begin(struct passage *passage, enum proto proto, unsigned source, int near_fd,
	int lane_fd, const void *first, size_t len);

/* How many there are. */
size_t passage_count(const struct passage *passage);

/* Those of datagrams end; the relays are the context's. Fine for all zero. */
void passage_fini(struct passage *passage);
