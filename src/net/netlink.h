/* SPDX-License-Identifier: Apache-2.0 */
/* net/netlink - one request to the kernel over a netlink socket, and its answer */
#pragma once

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How it works
 *
 * A request is built in place in a struct netlink_msg and sent with netlink_call or netlink_dump.
 * The kernel works on a request within send(2), so the answer is there when send returns and the
 * (nonblocking) socket is never waited for. Each request gets a new sequence number; answers with
 * another one are leftovers of an earlier request and are skipped, and so is everything that does
 * not come from the kernel. Only send(2) and recvfrom(2) are used, and clock_gettime of the vDSO.
 */
#define NETLINK_REQUEST_CAP 512 /* bytes, which must do; an address or route needs about 100 */

struct netlink_msg {
	_Alignas(struct nlmsghdr) unsigned char bytes[NETLINK_REQUEST_CAP];
};

/* Open a socket in the current network namespace, nonblocking. Returns the descriptor or -errno. */
int netlink_open(int protocol);

/* Start a request with the fixed part @body (ifinfomsg and the like); NLM_F_REQUEST is implied. */
void netlink_begin(
	struct netlink_msg *msg, uint16_t type, uint16_t flags, const void *body, size_t len);

/* Append one attribute. */
void netlink_put(struct netlink_msg *msg, uint16_t type, const void *data, size_t len);
void netlink_put_u32(struct netlink_msg *msg, uint16_t type, uint32_t value);

/* Attributes between the two go inside an attribute of @type; @at is what netlink_nest returned. */
size_t netlink_nest(struct netlink_msg *msg, uint16_t type);
void netlink_nest_end(struct netlink_msg *msg, size_t at);

/*
 * Send @msg and read its one answer. When that is a message its body (after the nlmsghdr, cut to
 * @cap_bytes) goes to @reply. Returns the length stored, 0 for a bare acknowledgement, or -errno:
 * the kernel's own error, or -EPROTO when no answer came.
 */
int netlink_call(int nl, struct netlink_msg *msg, void *reply, size_t cap_bytes);

/*
 * Send @msg as a dump. @on_message gets the body of each message of the answer; a result other than
 * 0 ends the walk and is returned (what is left in the socket then is skipped by later requests).
 * Returns 0 at the end, or -errno.
 */
int netlink_dump(int nl, struct netlink_msg *msg,
	int (*on_message)(const void *body, size_t len, void *context), void *context);
