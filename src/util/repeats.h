/* SPDX-License-Identifier: Apache-2.0 */
/* util/repeats - lines of one kind, of which a few say as much as thousands */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Lines that differ in addresses and numbers alone, or behind the first quotation mark, where words
 * of others stand, are of one kind. The first lines of each kind pass, of the first REPEATS_KINDS
 * kinds; the rest is counted until repeats_end, which the owner calls every REPEATS_MS. So who
 * makes us say the same again and again does not hide what others make us say.
 */
#define REPEATS_KINDS 32
#define REPEATS_MS    60000

/* Starts as all zero. */
struct repeats {
	struct repeats_kind {
		uint32_t hash;
		unsigned count;
	} kinds[REPEATS_KINDS];
	size_t nkinds;
	uint64_t left_out;
};

/* Shall @text, one line, be shown? Of its kind @most are. */
bool repeats_take(struct repeats *repeats, const char *text, unsigned most);

/* Begin anew. Returns how many were not to be shown. */
uint64_t repeats_end(struct repeats *repeats);
