/* SPDX-License-Identifier: Apache-2.0 */
/* util/mix - a hash of numbers for tables whose keys nobody hostile may choose at will */
#pragma once

#include <stdint.h>

/* Good for tables by its upper bits, for keys that differ in few bits of any place. */
static inline uint64_t mix_bits(uint64_t key)
{
	key = (key ^ key >> 32) * 0x9e3779b97f4a7c15; /* 2^64 divided by the golden ratio */
	return (key ^ key >> 29) * 0x9e3779b97f4a7c15;
}
