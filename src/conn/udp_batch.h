/* SPDX-License-Identifier: Apache-2.0 */
/* conn/udp_batch - datagrams received and sent many at a time, with the addresses at both ends */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "conn/udp_flows.h"

#define UDP_BATCH          16
#define UDP_DATAGRAM_BYTES 65536 /* no datagram is longer */

union udp_control {
	char v4[CMSG_SPACE(sizeof(struct in_pktinfo))];
	char v6[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	struct cmsghdr align;
};

/* About 1 MiB; pages that are not used cost nothing. Needs no initialisation. */
struct udp_batch {
	struct mmsghdr
		messages[UDP_BATCH];   /* as received, fit for sendmmsg to a connected socket */
	struct iovec parts[UDP_BATCH]; /* the datagrams: start and length */
	struct sockaddr_in6 names[UDP_BATCH];
	union udp_control controls[UDP_BATCH];
	char bytes[UDP_BATCH][UDP_DATAGRAM_BYTES];
};

/*
 * If @fd is bound to a wildcard address, have it told where each datagram was sent to. IPv6 sockets
 * are taken to be for IPv6 only. Returns 0 or -errno.
 */
int udp_batch_prepare(int fd);

/*
 * Take what is there, without waiting. With @wants_names udp_batch_take_key must be called for each
 * message before it is sent on. Returns how many, 0: there is nothing, or -errno.
 */
int udp_batch_receive(struct udp_batch *batch, int fd, bool wants_names);

/* Who sent message @i, and to which address if that was asked for (udp_batch_prepare). */
void udp_batch_take_key(struct udp_batch *batch, size_t i, struct udp_key *key);

/*
 * Send the first @count messages over @fd, unconnected, to the peer in @key from the local address
 * there (if it is not zero). What cannot be sent now is dropped.
 */
void udp_batch_answer(struct udp_batch *batch, int fd, const struct udp_key *key, size_t count);
