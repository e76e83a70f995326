/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/lennuts - addresses that are known to have clients of lennut's */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/addr.h"

#define LENNUTS_MAX 64 /* one more costs the oldest its place */
#define LENNUTS_AGAIN_MS \
	5000 /* lennut's client comes again after a second, and after another one */

/*
 * How it works
 *
 * lennut's client ends a connection over which it was greeted by the other wire. So does who only
 * looks whether somebody listens here. That one does not come again at once, so an address is known
 * with the second time.
 */

/* Starts as all zero. */
struct lennuts {
	struct lennuts_one {
		struct addr addr;
		uint64_t seen_ns; /* when that was; 0: it is known */
	} ones[LENNUTS_MAX];
	size_t next;
};

bool lennuts_has(const struct lennuts *lennuts, const struct addr *peer);

/* What came from @peer did as lennut's client does. */
void lennuts_suspect(struct lennuts *lennuts, const struct addr *peer, uint64_t now_ns);

/* It did as lennut's client does not. */
void lennuts_forget(struct lennuts *lennuts, const struct addr *peer);
