/* SPDX-License-Identifier: Apache-2.0 */
/* dns/query - DNS questions: read one that came, write one of our own */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DNS_PORT      53
#define DNS_UDP_BYTES 512 /* what every client takes (RFC 1035) */
#define DNS_EDNS_BYTES \
	1232 /* what we say that we take: passes without fragments (DNS flag day 2020) */
#define DNS_MESSAGE_MAX 65535 /* over TCP, without the two bytes of its length */

/* The first byte of the flags (RFC 1035 4.1.1). */
#define QUERY_AT_FLAGS 2
#define QUERY_QR       0x80 /* an answer */
#define QUERY_OPCODE   0x78 /* 0: a query */
#define QUERY_AA       0x04
#define QUERY_TC       0x02
#define QUERY_RD       0x01
/* The second one. */
#define QUERY_AT_RCODE 3
#define QUERY_RA       0x80
#define QUERY_CD       0x10
#define QUERY_RCODE    0x0f

#define QUERY_NAME_BYTES 1024 /* 255 bytes on the wire, each of them escaped, and NUL */

/* Of those that we look at (RFC 1035, RFC 3596). */
enum query_type { QUERY_A = 1, QUERY_PTR = 12, QUERY_AAAA = 28, QUERY_ANY = 255 };

/* Answers that say why there is none (RFC 1035, RFC 2136). */
enum dns_rcode {
	DNS_OK,
	DNS_FORMERR,
	DNS_SERVFAIL,
	DNS_NXDOMAIN,
	DNS_NOTIMP,
	DNS_REFUSED,
};

/* One question. */
struct query {
	uint16_t id;    /* host order */
	uint16_t type;  /* enum query_type, or any other */
	bool is_inet;   /* of class IN */
	bool has_edns;  /* the client knows EDNS (RFC 6891) */
	size_t udp_max; /* bytes of the largest answer that the client takes over UDP, 512 or more
			 */
	size_t question_end; /* header and question are the first bytes of the message */
	/* as people write it, without the dot at its end ("" is the root), in small letters; bytes
	 * that no host name has are escaped as in RFC 1035 5.1, so it never equals a wrong one */
	char name[QUERY_NAME_BYTES];
};

/*
 * Read @message, any bytes. Returns DNS_OK with @out filled; the rcode to refuse it with; or
 * -EBADMSG: it is no query, and nothing must be answered. @out is not to be used then.
 */
int query_parse(const uint8_t *message, size_t len, struct query *out);

/*
 * Write a query for @name (as people write it; it is taken to be complete) with a random id, that
 * wants recursion and takes answers of DNS_EDNS_BYTES. Returns bytes, -EINVAL (no name), -ENOMEM or
 * -EMSGSIZE.
 */
ssize_t query_make(const char *name, enum query_type type, uint8_t *out, size_t cap_bytes);

/* The address that a PTR query of @name asks about, as "101.42.0.127.in-addr.arpa" does, port 0.
 * Returns false if it is none. */
struct addr;
bool query_reverse(const char *name, struct addr *out);

/* A number that nobody guesses. */
uint16_t query_random_id(void);
