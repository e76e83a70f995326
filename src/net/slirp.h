/* SPDX-License-Identifier: Apache-2.0 */
/* net/slirp - libslirp on a TAP, a guest of the event loop, behind the frame guard */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "net/plan.h"
#include "util/budget.h"
#include "util/loop.h"

/*
 * How it works
 *
 * libslirp wants to be asked before each sleep which descriptors it waits for, and to be told after
 * it which are ready: a hook of the loop does both in one, and nothing if a round was none of
 * libslirp's. Its wishes are kept in the loop's epoll set and only changes are passed on, so that
 * thousands of idle connections cost nothing per round in the kernel.
 *
 * Frames go through the guard (net/guard) before libslirp sees them. Towards the guest, each frame
 * carries a vnet header that says its checksum needs no check (it never left this machine).
 */
struct slirp_stack;

/*
 * @tap: made with a vnet header (net/tap), nonblocking; stays the caller's, like @pcap_fd (-1:
 * none) and @plan, which must outlive the stack: libslirp keeps pointers into it. Listeners rest
 * while @budget has no room. One stack a loop. Returns NULL with errno set.
 */
struct slirp_stack *slirp_stack_new(struct loop *loop, const struct net_plan *plan, int tap,
	int pcap_fd, struct budget *budget);
void slirp_stack_free(struct slirp_stack *stack);

/*
 * libslirp listens at @host and leads to @guest, an address of the same family. Returns its
 * listening descriptor, which stays libslirp's, or -errno.
 */
int slirp_stack_listen(struct slirp_stack *stack, enum proto proto, const struct addr *host,
	const struct addr *guest);
void slirp_stack_unlisten(struct slirp_stack *stack, enum proto proto, const struct addr *host);

/*
 * While a listener is muted libslirp does not learn of its clients: they wait in the backlog.
 * @on_waiting is called when the first of them is there, and not again until this is called again.
 * NULL: it is no longer muted.
 */
void slirp_stack_mute(
	struct slirp_stack *stack, int listen_fd, void (*on_waiting)(void *owner), void *owner);
