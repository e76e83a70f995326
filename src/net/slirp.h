/* SPDX-License-Identifier: Apache-2.0 */
/* net/slirp - libslirp on a TAP, a guest of the event loop, behind the frame guard */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "net/hairpin.h"
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
struct pcap;

/*
 * @tap: made with a vnet header (net/tap), nonblocking; stays the caller's, like what @pcap (fd
 * -1: none) has, and @plan, which must outlive the stack: libslirp keeps pointers into it.
 * Listeners rest while @budget has no room. One stack a loop. libslirp must be loaded
 * (net/slirplib). Returns NULL with errno set.
 */
struct slirp_stack *slirp_stack_new(struct loop *loop, const struct net_plan *plan, int tap,
	const struct pcap *pcap, struct budget *budget);
void slirp_stack_free(struct slirp_stack *stack);

/*
 * Frames of the guest for the Ethernet address @mac, which must stay, never come to libslirp: those
 * that the guard passes are @on_frame's, which may change their bytes. They are gone afterwards.
 */
void slirp_stack_set_asked(struct slirp_stack *stack, const uint8_t mac[6],
	void (*on_frame)(void *owner, uint8_t *frame, size_t len), void *owner);

/* A frame to the guest. */
void slirp_stack_send(struct slirp_stack *stack, const uint8_t *frame, size_t len);

/* What @hairpin (copied) is about never comes to libslirp. */
void slirp_stack_set_hairpin(struct slirp_stack *stack, const struct hairpin *hairpin);

/*
 * libslirp accepts the clients of @listen_fd, a TCP socket that listens, by a copy of it, and leads
 * them to @guest, an address of the same family. @on_clients is called when some wait, before
 * libslirp hears of them; it may call slirp_stack_unlisten. Returns 0 or -errno.
 *
 * libslirp knows listeners only that it has made itself. So it makes one, on a free port of the
 * loopback, and finds the copy in its place.
 */
int slirp_stack_listen(struct slirp_stack *stack, int listen_fd, const struct addr *guest,
	void (*on_clients)(void *owner), void *owner);

/* No longer. @listen_fd still listens. */
void slirp_stack_unlisten(struct slirp_stack *stack, int listen_fd);
