/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/lennuts - addresses that are known to have clients of lennut's */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/addr.h"

#define LENNUTS_MAX 64 /* one more costs the oldest its place */

/* Starts as all zero. */
struct lennuts {
	struct addr known[LENNUTS_MAX];
	size_t next;
};

bool lennuts_has(const struct lennuts *lennuts, const struct addr *peer);

/* What came from @peer was one of lennut's, or was not. */
void lennuts_note(struct lennuts *lennuts, const struct addr *peer, bool is);
