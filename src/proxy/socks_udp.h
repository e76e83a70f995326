/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/socks_udp - datagrams of a client of SOCKS 5 (RFC 1928 7), to wherever it likes */
#pragma once

#include "proxy/front.h"
#include "proxy/socks_wire.h"
#include "util/addr.h"

/*
 * How it works
 *
 * A socket for the client, at the address at which it has reached the proxy. Its first datagram
 * says which port it has, unless its request did; what comes from elsewhere is dropped, and so are
 * fragments. For each host and port that it sends to there is a flow with a connected socket, which
 * is opened by way of the guide; what comes back has the address of that socket's peer in front.
 * While a flow is being opened a few datagrams wait. Flows that are idle for SOCKS_UDP_IDLE_MS go,
 * and so does the one that was idle longest when there are too many, of one client or, where
 * descriptors are short, of the address that has most of them (util/shares).
 */
#define SOCKS_UDP_FLOWS_MAX 64
#define SOCKS_UDP_HELD_MAX  8 /* datagrams a flow */
#define SOCKS_UDP_IDLE_MS   120000

struct socks_udp;

/*
 * For @guest, until socks_udp_free, which comes before its end. @port is its own, 0: not known yet.
 * *@at is where it is to send to. Returns NULL with errno set.
 */
struct socks_udp *socks_udp_new(struct front_guest *guest, uint16_t port, struct addr *at);

/* NULL is allowed. */
void socks_udp_free(struct socks_udp *udp);
