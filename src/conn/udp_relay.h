/* SPDX-License-Identifier: Apache-2.0 */
/* conn/udp_relay - datagrams between a bound socket and a socket for each of its clients */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/udp_flows.h"
#include "util/budget.h"
#include "util/loop.h"

/*
 * How it works
 *
 * Each client address is a flow (conn/udp_flows) with a connected socket, the target, that the
 * owner opens in whatever network and to whatever place it likes. Datagrams go in batches, one copy
 * in user space, borders kept. What a socket does not take at once is dropped, as a network would.
 *
 * While the owner cannot open a target yet, datagrams are held with their flow for hold_ms. When a
 * target refuses (ICMP comes back as ECONNREFUSED) the owner is told and may have it opened anew;
 * the datagram that found this out as an event, not as a result of sending, is lost.
 *
 * A target may be one of a pair of SOCK_SEQPACKET sockets: when the other one is closed the flow is
 * forgotten, with what could still be read there.
 *
 * A wildcard listener notes where each datagram was sent to and answers from there. When the relay
 * is freed its flows end: answers need the listener's socket.
 */
struct udp_relay;

/* What the owner provides. @owner is what udp_relay_new was given. Each but `open` may be NULL. */
struct udp_relay_ops {
	/*
	 * A connected, nonblocking socket for @flow, from now on the relay's; @flow->where may be
	 * set to remember where it leads. -EAGAIN: there may be one later, and udp_relay_retry will
	 * be called then; meanwhile this is called again for each datagram that comes. Another
	 * error: what waits for it is dropped, the next datagram asks again.
	 */
	int (*open)(void *owner, struct udp_flow *flow);
	/*
	 * May this client be served? Asked for each datagram or batch of them; who is refused is
	 * not asked about again for a second. NULL: everybody may.
	 */
	bool (*is_allowed)(void *owner, const struct udp_key *key);
	/*
	 * The target of @flow refused a datagram. True: close it and `open` it again at once, it
	 * may lead elsewhere now. False or NULL: the target stays.
	 */
	bool (*on_refused)(void *owner, const struct udp_flow *flow);
	/* Clients have sent something, which is read next. */
	void (*on_clients)(void *owner);
	/* A target has sent something, which is answered to its client next. */
	void (*on_answer)(void *owner);
};

/*
 * Relay from now on. @listen_fd (bound, not connected, nonblocking) stays the caller's and must
 * stay open until udp_relay_free; so must @ops. Targets count in @budget: while it has no room for
 * them, and no other address has more of it (udp_flows_take_target), none is opened, and what waits
 * for one is dropped. All callbacks come from @loop or from udp_relay_retry, none from here.
 * Returns NULL with errno set.
 */
struct udp_relay *udp_relay_new(struct loop *loop, struct budget *budget, int listen_fd,
	const struct udp_relay_ops *ops, void *owner);

/*
 * `open` may have more success now: try for the flows with datagrams that wait, one after the
 * other, until it says -EAGAIN.
 */
void udp_relay_retry(struct udp_relay *relay);

/* How long datagrams that come from now on wait for a target; 0, as at the start: not at all. */
void udp_relay_set_hold_ms(struct udp_relay *relay, uint64_t hold_ms);

/* Forget all flows and close their targets. Fine from within a callback, and for NULL. No callback
 * comes after it. */
void udp_relay_free(struct udp_relay *relay);
