/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz/marked - any bytes as a hosts file in which agents have blocks */
#include "mesh/agent/marked.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct marked_author self = {{0x652a007f}, 4711, 89012, 4026531836};

/* *@owner counts ours. */
static bool is_other(void *owner, const struct marked_author *author)
{
	bool is_own = marked_is_same(author, &self);

	*(size_t *)owner += is_own;
	return !is_own;
}

static struct marked_text cut(const struct marked_text *text, enum marked_part part, size_t *own)
{
	struct marked_text out = {NULL, 0};

	*own = 0;
	if (marked_cut(text, part, is_other, own, &out) < 0)
		abort();
	return out;
}

static bool is_same(const struct marked_text *a, const struct marked_text *b)
{
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

/* The rest, and what others have in it, come out as they were before a block of ours. */
static void check(const struct marked_text *text)
{
	static const char end[] = "# </Added-by-nswrap>";
	size_t own;
	struct marked_text before = cut(text, MARKED_ALL, &own),
			   added = {malloc(text->len + 1), text->len};
	bool ends_in_block = before.len >= strlen(end) &&
			     memcmp(before.bytes + before.len - strlen(end), end, strlen(end)) == 0;

	memcpy(added.bytes, text->bytes, text->len);
	size_t count = marked_count(text);
	if (marked_add(&added, &self, "127.0.42.101 lab\n") < 0 ||
		marked_count(&added) != count + 1)
		abort();
	struct marked_text after = cut(&added, MARKED_ALL, &own);
	if (!ends_in_block && !is_same(&before, &after))
		abort();
	struct marked_text again = cut(&after, MARKED_ALL, &own);
	/* a begin and an end that were around a block of ours may be a block now */
	if (own == 0 && !is_same(&after, &again))
		abort();
	struct marked_text rest = cut(&added, MARKED_REST, &own),
			   blocks = cut(&added, MARKED_BLOCKS, &own);
	if (marked_count(&blocks) > count || rest.len + blocks.len > added.len + count * 8 + 1)
		abort();
	free(before.bytes);
	free(added.bytes);
	free(after.bytes);
	free(again.bytes);
	free(rest.bytes);
	free(blocks.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct marked_text text = {malloc(size + 1), size};

	memcpy(text.bytes, data, size);
	check(&text);
	free(text.bytes);
	return 0;
}
