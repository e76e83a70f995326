/* SPDX-License-Identifier: Apache-2.0 */
/* util/repeats - lines of one kind, of which a few say as much as thousands */
#include "util/repeats.h"

#include <glib.h>
#include <string.h>

/* FNV-1a of what is of no address and no number. */
static uint32_t hash_of(const char *text)
{
	uint32_t hash = 2166136261;

	for (; *text && *text != '"'; text++)
		if (!g_ascii_isxdigit(*text) && *text != ':' && *text != '.')
			hash = (hash ^ (unsigned char)*text) * 16777619;
	return hash;
}

static struct repeats_kind *find_kind(struct repeats *repeats, uint32_t hash)
{
	for (size_t i = 0; i < repeats->nkinds; i++)
		if (repeats->kinds[i].hash == hash)
			return &repeats->kinds[i];
	if (repeats->nkinds == REPEATS_KINDS)
		return NULL;
	repeats->kinds[repeats->nkinds] = (struct repeats_kind){.hash = hash};
	return &repeats->kinds[repeats->nkinds++];
}

bool repeats_take(struct repeats *repeats, const char *text, unsigned most)
{
	struct repeats_kind *kind = find_kind(repeats, hash_of(text));

	if (kind && kind->count < most) {
		kind->count++;
		return true;
	}
	repeats->left_out++;
	return false;
}

uint64_t repeats_end(struct repeats *repeats)
{
	const uint64_t left_out = repeats->left_out;

	*repeats = (struct repeats){.nkinds = 0};
	return left_out;
}
