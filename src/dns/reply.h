/* SPDX-License-Identifier: Apache-2.0 */
/* dns/reply - answers of our own to DNS questions */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "dns/query.h"
#include "util/addr.h"

#define REPLY_ADDRS_MAX 8
#define REPLY_TTL_S     5 /* names of a mesh change while programs run */

/*
 * What is known of the name that was asked for. DNS_OK: it is there. Of the addresses those of the
 * kind that was asked for are answered, for PTR the target, for ANY all of it, and for everything
 * else that there is nothing of that type (RFC 2308). DNS_NXDOMAIN: there is none, and nobody else
 * is to be asked.
 */
struct reply {
	enum dns_rcode rcode;
	size_t count;
	struct addr addrs[REPLY_ADDRS_MAX];
	const char *target; /* of an address: its name; NULL: none */
};

/*
 * Write the answer to @message, which @query was read from, to @out: at most @max_bytes, past which
 * it is cut and says so. The question is as it was asked, capital letters too. Returns bytes, or
 * -ENOMEM, -EINVAL (the target is no name), -EMSGSIZE (@max_bytes is below DNS_UDP_BYTES).
 */
ssize_t reply_make(const struct query *query, const uint8_t *message, const struct reply *reply,
	uint8_t *out, size_t max_bytes);

/*
 * Refuse any message that query_parse did not return -EBADMSG for: the header with @rcode, and with
 * the question if there is one. @out has room for @len bytes. Returns bytes.
 */
size_t reply_refuse(const uint8_t *message, size_t len, enum dns_rcode rcode, uint8_t *out);

/* Header and question of @answer, of a server, as an answer that was cut. @out has room for
 * query->question_end bytes. Returns bytes. */
size_t reply_cut(const struct query *query, const uint8_t *answer, uint8_t *out);
