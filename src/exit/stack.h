/* SPDX-License-Identifier: Apache-2.0 */
/* exit/stack - the small interface behind which an agent's TCP/IP stacks are interchangeable
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "conn/context.h"
#include "conn/dial.h"
#include "util/addr.h"
#include "util/err.h"

#define STACK_MTU         65535
#define STACK_PORTS_BYTES 2048

struct stack_ops;

#define STACK_WHY_BYTES 256

/* The first member of each of them. */
struct stack {
	const struct stack_ops *ops;
	int door;                  /* conn/door: makes sockets of its network */
	char why[STACK_WHY_BYTES]; /* it is this one, for people; "" if it is the best there is */
};

enum stack_kind {
	STACK_KERNEL,
	STACK_STREAMS, /* it is none: connections are streams */
};

/* The owner's, from the loop. */
struct stack_events {
	/* There are packets for the mesh. Comes again while some are left, unless it rests. */
	void (*on_packets)(void *owner);
	/* It has ended, @why in words. May come from take, and more than once. */
	void (*on_gone)(void *owner, const char *why);
};

enum stack_change {
	STACK_SET_SELF, /* its own address (replaces another one): all peers are lost */
	STACK_ADD_PEER, /* an address of the mesh; -EEXIST */
	STACK_DEL_PEER, /* -ENOENT */
};

struct stack_ops {
	enum stack_kind kind;
	/* Begin to call. The loop of @context and @events must stay until the end, its sockets of
	 * the door as long as there are calls. Returns 0 or -errno. */
	int (*watch)(struct stack *stack, const struct conn_context *context,
		const struct stack_events *events, void *owner);
	/* The end of it. Also if it was never watched, or is gone. */
	void (*stop)(struct stack *stack);

	/*
	 * One IPv4 packet for the mesh, no longer than STACK_MTU, whose checksums are complete.
	 * Returns its size, 0 for what is none, or -errno (-EAGAIN: there are no more).
	 */
	ssize_t (*take)(struct stack *stack, void *packet, size_t cap_bytes);
	/* Call on_packets no more, so that they queue up where TCP sees it; and again. */
	void (*rest)(struct stack *stack, bool is_resting);
	/* One from the mesh, whose checksums are not looked at. Returns 0 or -errno: it is lost. */
	int (*deliver)(struct stack *stack, const void *packet, size_t len);

	/* Each TCP connection of its network, as diag_each_connection; own may be any address. */
	int (*connections)(struct stack *stack,
		int (*on_connection)(void *owner, const struct addr *own, const struct addr *peer),
		void *owner);

	/* Is there a connection between @own and @peer, whatever is left of it? 1, 0 or -errno. */
	int (*is_connected)(struct stack *stack, const struct addr *own, const struct addr *peer);

	/* What conn/dial and conn/datagrams need to reach @at, an address of the mesh. */
	struct dial_target (*target)(struct stack *stack, const struct addr *at);
	/* A socket to which the mesh comes at @at: listening for TCP, bound for UDP, nonblocking.
	 * May wait for up to two seconds. Returns it or -errno. */
	int (*open_bound)(struct stack *stack, enum proto proto, const struct addr *at);

	/*
	 * Route the addresses of *@net, which is the stack's to choose, to us, for aliases (mesh/
	 * agent/gate_aliases), and if *@turns the packets of its own programs to @self, if it says
	 * so then, too. Again whenever self is another one. Returns 0 or -errno: there are none of
	 * them.
	 */
	int (*open_aliases)(
		struct stack *stack, struct in_addr self, struct in_addr *net, bool *turns);
	/* Waits for the answer. Returns 0 or -errno (-EPIPE: it is gone). */
	int (*change)(struct stack *stack, enum stack_change change, struct in_addr vip);
	/*
	 * A nonblocking TCP listener that has @port of every address that is nobody's here: who is
	 * accepted there asked for what getsockname(2) says. Only for stacks that are nobody
	 * else's. May wait for up to two seconds. Returns it or -errno.
	 */
	int (*open_exit)(struct stack *stack, uint16_t port);
	/*
	 * The packets of its own programs to @net/@prefix_len go to the mesh, sent from its own
	 * address, or not any more; longer prefixes come first. Lost with STACK_SET_SELF of another
	 * address. Returns 0 or -errno (-EEXIST and -ESRCH: as is).
	 */
	int (*route)(struct stack *stack, bool is_added, struct in_addr net, int prefix_len);
	/*
	 * Ports that it shall not choose for outgoing connections, "80,8000" or "" (replaces
	 * others). -EROFS or -EACCES inside some containers; -ENAMETOOLONG from STACK_PORTS_BYTES
	 * on.
	 */
	int (*reserve_ports)(struct stack *stack, const char *ports);
};
