/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/allow - which hosts may begin something with one host, and on which of its ports */
#pragma once

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/config.h"
#include "net/awaited.h"
#include "net/packet.h"

/*
 * How it works
 *
 * Judged is what begins something, by its source: of TCP a segment with SYN and without ACK; of UDP
 * what is no answer (net/awaited); of ICMP what is neither an answer nor an error; and every other
 * protocol. So a connection that is there goes on, and what the host itself begins is answered,
 * without a table of connections: no kernel makes one of a segment that is no SYN.
 *
 * An allowed host with a port may begin TCP or UDP at that port of the host's own address, and ping
 * it. One without a port may do all, also with what is routed by way of the host. Of others nothing
 * that is cut in fragments passes, as only the first one says what it is.
 *
 * It is enforced twice, by the manager and by agents that know of it. What the packets of streams
 * (stream/ferry) begin can be seen at their end only, where each is judged as a SYN would be; all
 * agents that take them know of it.
 */
struct allow;

/* For the host whose address is @self, by the lists of @config. Returns NULL with errno set. */
struct allow *allow_new(struct in_addr self, const struct mesh_allowed *list, size_t count);
void allow_free(struct allow *allow); /* NULL is allowed */

enum allow_verdict {
	ALLOW_PASS,
	ALLOW_REFUSE, /* its sender is to be told */
	ALLOW_DROP,
};

/* A packet to the host. @awaited: what allow_note has noted. */
enum allow_verdict allow_judge(const struct allow *allow, const struct awaited *awaited,
	const struct packet_view *view, uint64_t now_ns);

/* A packet from the host: its answers may come. */
void allow_note(struct awaited *awaited, const struct packet_view *view, uint64_t now_ns);

/* The code of ICMP that tells the sender of @view that it is refused; TCP is told by a RST. */
uint8_t allow_code(const struct packet_view *view);
