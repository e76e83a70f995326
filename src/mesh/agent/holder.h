/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/holder - the process that stays in the mesh's namespace, "nswrap: stack" */
#ifndef NSWRAP_MESH_AGENT_HOLDER_H
#define NSWRAP_MESH_AGENT_HOLDER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "mesh/agent/stack.h"
#include "util/err.h"

/*
 * How it works
 *
 * It has CAP_NET_ADMIN over the namespace and nothing else: it makes the TUN device and hands it
 * out, makes sockets on request (conn/door), and sets addresses and routes as it is told (control,
 * a SOCK_SEQPACKET pair; one answer for each request). It ends, and a namespace that was made for
 * it with it, when the other end of control is closed.
 */
enum holder_op {
	HOLDER_SET_SELF, /* as the calls of struct stack_ops say */
	HOLDER_ADD_PEER,
	HOLDER_DEL_PEER,
	HOLDER_RESERVE_PORTS,
};

struct holder_request {
	uint32_t op; /* enum holder_op */
	struct in_addr vip;
	char ports[STACK_PORTS_BYTES];
};

/* The first one comes unasked, with the TUN device if all went well. */
struct holder_answer {
	int32_t result;
	struct err err; /* of the first one */
};

struct holder_start {
	int control, door; /* its ends; the door's is nonblocking */
	bool is_new;       /* the network namespace is nobody else's */
	bool has_user_ns;  /* and so is the user namespace, in which these become root */
	uid_t uid;
	gid_t gid;
};

/* In a child that is in the namespace. Closes all descriptors but its own. */
void holder_run(const struct holder_start *start) __attribute__((noreturn));

#endif
