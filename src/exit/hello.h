/* SPDX-License-Identifier: Apache-2.0 */
/* exit/hello - the messages of a link between an entrance and an exit */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/err.h"

/*
 * How it works
 *
 * Each end says first who it is: {"nswrap": "entrance" or "exit", "version": "1.0", "features":
 * ["acknowledge", "ipv6", "dns"]}; "ipv6" and "dns" are an exit's to say. Then {"ping": N} where it
 * has heard nothing, which the other one answers with {"pong": N}. Other messages and features are
 * a newer end's, and nothing to us.
 */
enum hello_kind { HELLO_OTHER, HELLO_ENTRANCE, HELLO_EXIT, HELLO_PING, HELLO_PONG };

enum hello_feature {
	HELLO_ACKNOWLEDGE = 1 << 0, /* it knows frames of types 3 and 4 (wire/wire) */
	HELLO_IPV6 = 1 << 1,        /* packets may be IPv6 */
	HELLO_DNS = 1 << 2,         /* there is a name server at HELLO_DNS_ADDRESS */
};

/* In the packets of a link, port 53: the exit's resolver, and nobody else. */
#define HELLO_DNS_ADDRESS 0xf0000035U /* 240.0.0.53, in host order */

#define HELLO_VERSION_BYTES 32
#define HELLO_TEXT_BYTES    256

struct hello {
	enum hello_kind kind;
	unsigned features;                 /* enum hello_feature */
	char version[HELLO_VERSION_BYTES]; /* escaped for a terminal */
	long long number;                  /* of a ping or pong */
};

/* Returns 0, or -EPROTO with @err: no JSON object, or a member of another type than above. */
int hello_decode(const void *text, size_t len, struct hello *out, struct err *err);

/* Returns how long the text is. @hello->version is taken as it is, and may be cut. */
size_t hello_encode(const struct hello *hello, char out[HELLO_TEXT_BYTES]);
