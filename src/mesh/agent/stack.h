/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/stack - a network namespace with a TUN device as the agent's TCP/IP stack */
#ifndef NSWRAP_MESH_AGENT_STACK_H
#define NSWRAP_MESH_AGENT_STACK_H

#include <netinet/in.h>
#include <sys/types.h>

#include "util/err.h"

/*
 * How it works
 *
 * A process of its own, "nswrap: stack", stays in the namespace with CAP_NET_ADMIN over it and
 * nothing else: it made the TUN device and handed it out, makes sockets on request (conn/door), and
 * sets addresses and routes as it is told. It ends, and a namespace that it made with it, when its
 * other end is closed.
 *
 * Addresses of 127.0.0.0/8 work on a TUN device like others once each of them has a route in the
 * local table (a longer prefix than lo's), route_localnet is on and rp_filter off; so does the
 * agent's own address, which keeps 127.0.0.1 and the rest of lo as they were.
 */
#define STACK_MTU 65535

enum stack_place {
	STACK_NEW,  /* a new network namespace; of a new user namespace where that is allowed */
	STACK_HERE, /* the caller's network namespace, over which it has CAP_NET_ADMIN */
};

struct stack {
	pid_t pid;
	int tun;  /* nonblocking; each read and write is a virtio_net_hdr (10 bytes) and one IPv4
		   * packet; packets that are read have a complete checksum */
	int door; /* for inside_new */
	int control;
};

/*
 * Start it. Returns 0, or -errno with @err filled, one line that names `nswrap doctor` where the
 * host refuses. The device is up; it has no address yet.
 */
int stack_start(enum stack_place place, struct stack *out, struct err *err);

/* Ends the process and waits for it. A stack that is all zero or was stopped is fine. */
void stack_stop(struct stack *stack);

/*
 * The device's own address (replaces another one), and addresses behind it. Each waits for the
 * answer. Returns 0 or -errno (-EEXIST, -ENOENT as the kernel says; -EPIPE: the process is gone).
 * Peers are lost when the own address changes: add them again.
 */
int stack_set_self(struct stack *stack, struct in_addr vip);
int stack_add_peer(struct stack *stack, struct in_addr vip);
int stack_del_peer(struct stack *stack, struct in_addr vip);

/*
 * Ports that the kernel shall not choose for outgoing connections, "80,8000" or "" (replaces
 * others). -EROFS or -EACCES inside some containers; -ENAMETOOLONG from STACK_PORTS_BYTES on.
 */
#define STACK_PORTS_BYTES 2048
int stack_reserve_ports(struct stack *stack, const char *ports);

#endif
