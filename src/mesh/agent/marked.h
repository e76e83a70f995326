/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/marked - lines of agents between marks, in a text that belongs to others */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How it works
 *
 *	# <Added-by-nswrap vip=127.0.42.101 agent=4711/89012/4026531836>
 *	127.0.42.101 lab
 *	# </Added-by-nswrap>
 *
 * is a block; everything else is the rest, which stays as it is to the byte: blocks of other
 * programs, a begin without an end (which is not followed to the end of the text), marks of other
 * versions. A block says who its author is, so that one that a killed agent has left is known by
 * anybody. A rest whose last line does not end gets its end for the block behind it, which says so
 * (" newline" in the mark), and loses it with that.
 */
struct marked_author {
	struct in_addr vip;
	uint32_t pid;
	uint64_t started; /* field 22 of /proc/PID/stat, proc(5) */
	uint64_t pidns;   /* inode of its PID namespace */
};

/* Bytes of it are its own, for free(3); there may be NULs in them. */
struct marked_text {
	char *bytes;
	size_t len;
};

enum marked_part { MARKED_ALL, MARKED_REST, MARKED_BLOCKS };

bool marked_is_same(const struct marked_author *a, const struct marked_author *b);

/*
 * @part of @text, and of its blocks those that @keeps says yes to (NULL: all; not asked for
 * MARKED_REST, which has none). Returns 0 or -ENOMEM; *@out is then untouched. Pure.
 */
int marked_cut(const struct marked_text *text, enum marked_part part,
	bool (*keeps)(void *owner, const struct marked_author *author), void *owner,
	struct marked_text *out);

/* Add a block with @lines, each of which ends, to the end of @text. Returns 0 or -ENOMEM. */
int marked_add(struct marked_text *text, const struct marked_author *author, const char *lines);

/* How many blocks there are. */
size_t marked_count(const struct marked_text *text);
