/* SPDX-License-Identifier: Apache-2.0 */
/* net/refusal - the answer to a connection or datagram that cannot be: what its target, or the way
 * there, said */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "net/icmp6.h"
#include "net/plan.h"
#include "util/addr.h"

#define REFUSAL_FRAME_BYTES ICMP6_FRAME_BYTES /* the largest one */

/*
 * Answer @frame, an Ethernet frame that has passed the guard (net/guard), or all of it but for the
 * last question (GUARD_DROP_BOUND, _BOUND_UDP, _HOST_LOOPBACK), with a TCP packet that begins a
 * connection, or a datagram, so that connect(2) inside gives the error that it gave outside,
 * @result (-errno): a RST for who refused, ICMP in the name of `host` for who cannot be reached.
 * Returns the size of the frame in @out, or 0 where nobody has answered, or nobody would
 * (-ETIMEDOUT, -EAGAIN).
 */
size_t refusal_make(const struct net_plan *plan, uint8_t *frame, size_t len, int result,
	uint8_t out[REFUSAL_FRAME_BYTES]);

/*
 * With rights over the current namespace: a raw socket that answers datagrams there, and has
 * nothing to read. Owned; or -errno.
 */
int refusal_open(sa_family_t family);

/*
 * By such a socket of their family: a datagram from @client to @asked, an address of this
 * namespace, could not be delivered, @result (-errno). Who refused is told as the kernel tells it
 * of a port where nobody listens, so a connected socket has ECONNREFUSED. Lost if there is no
 * memory.
 */
void refusal_send(int fd, const struct addr *client, const struct addr *asked, int result);
