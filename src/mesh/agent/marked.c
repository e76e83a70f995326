/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/marked - lines of agents between marks, in a text that belongs to others */
#include "mesh/agent/marked.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK_BYTES 160
#define BEGIN      "# <Added-by-nswrap "
#define END        "# </Added-by-nswrap>"
#define NEWLINE    " newline"

struct block {
	struct marked_author author;
	bool adds_newline;       /* the newline in front of it is ours */
	size_t begin, body, end; /* offsets: its mark, behind that, behind its last byte */
};

bool marked_is_same(const struct marked_author *a, const struct marked_author *b)
{
	return a->vip.s_addr == b->vip.s_addr && a->pid == b->pid && a->started == b->started &&
	       a->pidns == b->pidns;
}

static int format_mark(const struct marked_author *author, bool adds_newline, char *out)
{
	char vip[INET_ADDRSTRLEN];

	return snprintf(out, MARK_BYTES,
		BEGIN "vip=%s agent=%" PRIu32 "/%" PRIu64 "/%" PRIu64 "%s>\n",
		inet_ntop(AF_INET, &author->vip, vip, sizeof(vip)), author->pid, author->started,
		author->pidns, adds_newline ? NEWLINE : "");
}

/* @line with its newline. What is not as we would write it is none of ours. */
static bool read_mark(const char *line, size_t len, struct block *out)
{
	char text[MARK_BYTES], again[MARK_BYTES], vip[INET_ADDRSTRLEN];
	struct marked_author author;

	if (len >= sizeof(text) || len < strlen(BEGIN) || memcmp(line, BEGIN, strlen(BEGIN)) != 0)
		return false;
	memcpy(text, line, len);
	text[len] = '\0';
	if (sscanf(text, BEGIN "vip=%15[0-9.] agent=%" SCNu32 "/%" SCNu64 "/%" SCNu64, vip,
		    &author.pid, &author.started, &author.pidns) != 4 ||
		inet_pton(AF_INET, vip, &author.vip) != 1)
		return false;
	out->author = author;
	out->adds_newline = strstr(text, NEWLINE ">");
	format_mark(&author, out->adds_newline, again);
	return strlen(text) == len && strcmp(text, again) == 0;
}

static size_t line_end(const struct marked_text *text, size_t at)
{
	const char *newline = memchr(text->bytes + at, '\n', text->len - at);

	return newline ? (size_t)(newline - text->bytes) + 1 : text->len;
}

/* The next block at or behind *@at, which is the begin of a line. */
static bool next_block(const struct marked_text *text, size_t at, struct block *out)
{
	bool is_open = false;

	for (size_t end; at < text->len; at = end) {
		const char *line = text->bytes + at;
		struct block block;

		end = line_end(text, at);
		if (read_mark(line, end - at, &block)) {
			is_open = true;
			*out = block;
			out->begin = at;
			out->body = end;
		} else if (is_open && end - at >= strlen(END) &&
			   memcmp(line, END, strlen(END)) == 0 &&
			   (at + strlen(END) == end || line[strlen(END)] == '\n')) {
			out->end = end;
			return true;
		}
	}
	return false;
}

size_t marked_count(const struct marked_text *text)
{
	struct block block;
	size_t count = 0;

	for (size_t at = 0; next_block(text, at, &block); at = block.end)
		count++;
	return count;
}

static void put(struct marked_text *out, const char *bytes, size_t len)
{
	if (len > 0)
		memcpy(out->bytes + out->len, bytes, len);
	out->len += len;
}

static void put_block(struct marked_text *out, const struct marked_text *text,
	const struct block *block, bool adds_newline)
{
	char mark[MARK_BYTES];

	put(out, mark, (size_t)format_mark(&block->author, adds_newline, mark));
	put(out, text->bytes + block->body, block->end - block->body);
}

int marked_cut(const struct marked_text *text, enum marked_part part,
	bool (*keeps)(void *owner, const struct marked_author *author), void *owner,
	struct marked_text *out)
{
	/* a mark that gets the newline of a block that goes is longer than it was */
	struct marked_text made = {malloc(text->len + marked_count(text) * strlen(NEWLINE) + 1), 0};
	bool is_owed = false; /* the newline at the end of what is made was a block's that went */
	struct block block;
	size_t at = 0;

	if (!made.bytes)
		return -ENOMEM;
	for (; next_block(text, at, &block); at = block.end) {
		if (part != MARKED_BLOCKS)
			put(&made, text->bytes + at, block.begin - at);
		is_owed = is_owed && block.begin == at;
		if (part != MARKED_REST && (!keeps || keeps(owner, &block.author))) {
			put_block(&made, text, &block,
				part == MARKED_ALL && (is_owed || block.adds_newline));
			is_owed = false;
		} else {
			is_owed = is_owed || block.adds_newline;
		}
	}
	if (part != MARKED_BLOCKS)
		put(&made, text->bytes + at, text->len - at);
	if (is_owed && at == text->len && made.len > 0 && part != MARKED_BLOCKS)
		made.len--;
	*out = made;
	return 0;
}

static bool ends_with(const struct marked_text *text, const char *end)
{
	size_t len = strlen(end);

	return text->len >= len && memcmp(text->bytes + text->len - len, end, len) == 0;
}

int marked_add(struct marked_text *text, const struct marked_author *author, const char *lines)
{
	bool is_whole = text->len == 0 || ends_with(text, "\n");
	/* which is not the rest's */
	bool is_block = ends_with(text, END);
	char mark[MARK_BYTES];
	int len = format_mark(author, !is_whole && !is_block, mark);
	char *grown =
		realloc(text->bytes, text->len + 1 + (size_t)len + strlen(lines) + strlen(END) + 1);

	if (!grown)
		return -ENOMEM;
	text->bytes = grown;
	if (!is_whole)
		put(text, "\n", 1);
	put(text, mark, (size_t)len);
	put(text, lines, strlen(lines));
	put(text, END "\n", strlen(END) + 1);
	return 0;
}
