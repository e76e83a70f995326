/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/passage - what goes through a tunnel once both its ends are connected */
#include "tunnel/passage.h"

#include "conn/relay.h"
#include "util/fd.h"

void passage_init(struct passage *passage, const struct conn_context *context)
{
	packets_init(&passage->packets, context);
}

void passage_begin(struct passage *passage, enum proto proto, unsigned source, int near_fd,
	int lane_fd, const void *first, size_t len)
{
	struct relay *relay;

	if (proto == PROTO_UDP) {
		packets_join(&passage->packets, source, near_fd, lane_fd);
		return;
	}
	relay = relay_start(passage->packets.context->relays, near_fd, lane_fd, NULL, NULL);
	if (!relay) {
		fd_reset(&near_fd);
		fd_reset(&lane_fd);
		return;
	}
	relay_note_source(relay, source);
	relay_keep_whole(relay);
	relay_keep_in_line(
		relay); /* the other end may be one that takes urgent bytes for the end */
	if (len > 0 && relay_push(relay, RELAY_B, first, len) < 0)
		relay_stop(relay);
}

size_t passage_count(const struct passage *passage)
{
	return relay_pool_count(passage->packets.context->relays) + passage->packets.count;
}

void passage_fini(struct passage *passage)
{
	if (passage->packets.context)
		packets_close(&passage->packets);
}
