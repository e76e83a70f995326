/* SPDX-License-Identifier: Apache-2.0 */
/* exit/kernel - a network namespace with a TUN device as a TCP/IP stack of ours */
#pragma once

#include "exit/stack.h"
#include "util/loop.h"

/*
 * How it works
 *
 * A process of its own (exit/holder) stays in the namespace. Packets cross the TUN device,
 * each with one system call; sockets of the namespace come through the door; the rest is asked for.
 *
 * Addresses of 127.0.0.0/8 work on a TUN device like others once each of them has a route in the
 * local table (a longer prefix than lo's), route_localnet is on and rp_filter off; so does the
 * agent's own address, which keeps 127.0.0.1 and the rest of lo as they were.
 */
struct kernel {
	struct stack stack;
	pid_t pid;                 /* the holder's */
	struct loop_io tun_io;     /* net/tap */
	struct loop_io control_io; /* requests to the holder */
	bool is_new;               /* the namespace is nobody else's */
	int ifindex;               /* of the TUN device, there */
	int diag;                  /* net/diag, of the namespace; -1: it has none */
	struct loop *loop;         /* NULL: not watched yet */
	struct inside *inside;     /* sockets of the door */
	const struct stack_events *events;
	void *owner;
};

/*
 * Start one: in a new network namespace (of a new user namespace where that is allowed), or in the
 * caller's, over which it has CAP_NET_ADMIN. The device is up; it has no address yet. Returns NULL
 * with @err filled, one line that names `nswrap doctor` where the host refuses.
 */
struct stack *kernel_open(bool is_new, struct err *err);
