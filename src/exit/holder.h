/* SPDX-License-Identifier: Apache-2.0 */
/* exit/holder - the process that stays in the mesh's namespace, "nswrap: stack" */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "exit/stack.h"
#include "util/err.h"

/*
 * How it works
 *
 * It has CAP_NET_ADMIN over the namespace and nothing else: it makes the TUN device and hands it
 * out, makes sockets on request (conn/door), and sets addresses and routes as it is told (control,
 * a SOCK_SEQPACKET pair; one answer for each request). It ends, and a namespace that was made for
 * it with it, when the other end of control is closed.
 */
#define HOLDER_RESERVE_PORTS (STACK_DEL_PEER + 1)
#define HOLDER_OPEN_ALIASES  (STACK_DEL_PEER + 2) /* @vip is self; the result as below */
#define HOLDER_ADD_ROUTE     (STACK_DEL_PEER + 3) /* to @vip/@prefix_len */
#define HOLDER_DEL_ROUTE     (STACK_DEL_PEER + 4)
#define HOLDER_OPEN_EXIT     (STACK_DEL_PEER + 5) /* a TCP socket with IP_TRANSPARENT comes along */

/* The second number of the network of aliases, 240.N.0.0/16, and whether own programs' packets come
 * as well. No VIP is there (mesh/vip), nor any other host (RFC 1112). */
#define HOLDER_ALIAS_NET   0xf0000000
#define HOLDER_ALIAS_SHIFT 16
#define HOLDER_NUMBER_MASK 0xff
#define HOLDER_TURNS       0x100

struct holder_request {
	uint32_t op; /* enum stack_change, or that one */
	struct in_addr vip;
	int32_t prefix_len;
	bool turns; /* HOLDER_OPEN_ALIASES: own programs' packets are wanted */
	char ports[STACK_PORTS_BYTES];
};

/* The first one comes unasked, with the TUN device and its index if all went well; and then another
 * one, with a socket of net/diag if there can be one. */
struct holder_answer {
	int32_t result;
	struct err err; /* of the first one */
};

/*
 * Start one with its ends, of which the door's is nonblocking, in the caller's network namespace or
 * a new one. Returns its pid, or -errno with @err filled.
 */
pid_t holder_start(bool is_new, int control, int door, struct err *err);
