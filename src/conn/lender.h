/* SPDX-License-Identifier: Apache-2.0 */
/* conn/lender - sockets of the network we are in, and its names, for a program that is not in it */
#pragma once

#include <stdint.h>

/*
 * As conn/door, but for the library (lib/network), which may be older or newer than we are, and in
 * which many threads ask at once: a request is one message of a SOCK_SEQPACKET pair that brings the
 * end of another one along, to which its answer goes. A name is looked up by a child, so none waits
 * for another one.
 *
 * The asker is who started us; what he says is checked nonetheless.
 */
#define LENDER_VERSION    1
#define LENDER_NAME_BYTES 256
#define LENDER_ADDRS_MAX  8

enum lender_op {
	LENDER_SOCKET,  /* one of @family and @type: comes along with the answer, nonblocking */
	LENDER_RESOLVE, /* the addresses of @name */
};

struct lender_request {
	uint32_t version, op;
	uint32_t family, type;        /* AF_INET, AF_INET6; SOCK_STREAM, SOCK_DGRAM */
	char name[LENDER_NAME_BYTES]; /* with its NUL */
};

struct lender_addr {
	uint32_t family;
	unsigned char ip[16]; /* of AF_INET the first four */
};

struct lender_answer {
	uint32_t version;
	int32_t result; /* 0 or -errno; -ENXIO: no such name */
	uint32_t count;
	struct lender_addr addrs[LENDER_ADDRS_MAX];
};

/* Serve until the other end of @api is closed. Returns 0 or -errno. */
int lender_run(int api);
