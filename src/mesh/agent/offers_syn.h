/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/offers_syn - connections from the mesh, let in when their target has accepted */
#ifndef NSWRAP_MESH_AGENT_OFFERS_SYN_H
#define NSWRAP_MESH_AGENT_OFFERS_SYN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/dial.h"

/*
 * How it works
 *
 * A connection is known by its peer and our port, from its first packet to the end of its relay:
 *
 *   DIALLING   the packet is kept; the same again is swallowed
 *   LET_IN     the target has accepted and waits for the peer to be accepted here; the packet
 *              again is let in, the kernel knows what it is worth
 *   RELAYED    the same. So a packet that was sent again because dialling took long reaches the
 *              kernel, not the target
 *
 * The first two are pending: SYNS_MAX of them at most, in order of their deadlines (a peer that
 * never completes costs the target's descriptor for SYNS_LET_IN_MS), and a quarter of them from one
 * address. What is too much is dropped: the peer will send it again.
 */
#define SYNS_MAX          4096
#define SYNS_LET_IN_MS    30000
#define SYNS_PACKET_BYTES 1500 /* the largest first packet that is taken */

struct syns;

/* Returns NULL with errno set. Both stay the caller's. */
struct syns *syns_new(const struct conn_context *context, struct dialer *dialer);

/* Ends all, relays too, with resets. NULL is allowed. */
void syns_free(struct syns *syns);

/* A packet with SYN and without ACK, @len up to SYNS_PACKET_BYTES, from @peer to port @port. */
void syns_on_packet(struct syns *syns, const void *packet, size_t len,
	const struct sockaddr_in *peer, uint16_t port, const struct dial_target *target);

/* @fd was accepted at port @port: join it to its target and take it over. False: it has none. */
bool syns_meet(struct syns *syns, const struct sockaddr_in *peer, uint16_t port, int fd);

/* The port is no longer served: refuse what is pending there. */
void syns_drop_port(struct syns *syns, uint16_t port);

#endif
