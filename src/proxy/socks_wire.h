/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/socks_wire - the messages of SOCKS 4, 4a and 5 (RFC 1928, RFC 1929) as bytes */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/access.h"
#include "util/addr.h"

/*
 * Readers look at the first @len bytes that came. They return how many of them are the message, 0
 * if more must come, or -EPROTO: whatever comes, it is none. Nothing in a message is longer than
 * SOCKS_MESSAGE_MAX. Pure.
 */
#define SOCKS_MESSAGE_MAX 521 /* SOCKS 4a, with an id and a name of 255 bytes each */
#define SOCKS_HOST_MAX    255

enum socks_version { SOCKS_4 = 4, SOCKS_5 = 5 };

enum socks_command { SOCKS_CONNECT = 1, SOCKS_BIND = 2, SOCKS_ASSOCIATE = 3 };

/* Ways for a client to say who it is; bits. */
enum socks_method { SOCKS_NO_AUTH = 1, SOCKS_PASSWORD = 2 };

struct socks_login {
	unsigned char user_len, password_len;
	const char *user, *password; /* in the message; not terminated */
};

struct socks_request {
	enum socks_version version;
	unsigned command;   /* enum socks_command, or another number */
	bool is_other_kind; /* the address is of no kind that there is; there is no host then */
	char host[SOCKS_HOST_MAX + 1]; /* a name or an address as text; IPv6 without brackets */
	uint16_t port;
};

/* The first message of a client of SOCKS 5; *@methods: those that it offers and that are known. */
ssize_t socks_wire_read_greeting(const void *bytes, size_t len, unsigned *methods);
/* RFC 1929 */
ssize_t socks_wire_read_login(const void *bytes, size_t len, struct socks_login *out);
/* Of either version, which the first byte says. A name with bytes that no name has is -EPROTO. */
ssize_t socks_wire_read_request(const void *bytes, size_t len, struct socks_request *out);

/* The header of a datagram (SOCKS 5), as a request without command. Fragments are -EPROTO, and
 * what is cut off as well. */
ssize_t socks_wire_read_datagram(const void *bytes, size_t len, struct socks_request *out);

/* Writers return how many bytes they wrote to @out. */
#define SOCKS_REPLY_MAX 22

/* What came of a request: 0, or -errno of conn/dial, as the version says it; @at, an IPv4 or IPv6
 * address, or none. SOCKS_NO_COMMAND, SOCKS_NO_KIND: what was asked for is not there. */
#define SOCKS_NO_COMMAND (-1000)
#define SOCKS_NO_KIND    (-1001)
size_t socks_wire_write_reply(
	enum socks_version version, int result, const struct addr *at, unsigned char *out);

/* The answer to a greeting: one of the methods, or 0: none of them will do. */
size_t socks_wire_write_method(unsigned method, unsigned char *out);
/* The answer to a login. */
size_t socks_wire_write_login(bool is_known, unsigned char *out);
/* The header of a datagram from @from. */
size_t socks_wire_write_datagram(const struct addr *from, unsigned char *out);
