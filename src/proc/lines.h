/* SPDX-License-Identifier: Apache-2.0 */
/* proc/lines - what a program says on its stderr, line by line */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/loop.h"
#include "util/trickle.h"

#define LINES_PAUSE_MS 200
#define LINES_LINE_MAX 512 /* bytes of a line; the rest of it is left out */

struct lines {
	/* @text is one line without its end, as it came: not escaped. Empty ones are left out. */
	void (*on_line)(struct lines *lines, const char *text, size_t len);
	/*
	 * The same of a line that has begun and did not go on for LINES_PAUSE_MS: a prompt. What
	 * follows is another line. NULL: lines are waited for to their ends.
	 */
	void (*on_begun)(struct lines *lines, const char *text, size_t len);
	/* Nothing more will come. */
	void (*on_end)(struct lines *lines);
	void *owner; /* the owner's */

	/* its own */
	struct loop *loop;
	struct loop_io io;
	struct trickle trickle; /* who says little at a time is heard less often */
	struct loop_timer pause;
	bool is_cut; /* the rest of this line is skipped */
	char partial[LINES_LINE_MAX];
	size_t len;
	uint64_t second_ns; /* since when lines are counted */
	unsigned count, left_out;
};

/*
 * Start reading @fd, which is made nonblocking and belongs to @lines, whose callbacks are set. Of
 * somebody who says more than LINES_PER_SECOND the rest is counted, not passed on. Returns 0 or
 * -errno (@fd is closed then).
 */
#define LINES_PER_SECOND 100
int lines_open(struct lines *lines, struct loop *loop, int fd);

/*
 * The same of bytes that come from the caller and not from a descriptor: lines_begin, then
 * lines_take; lines_close at the end, which gives the last line first.
 */
void lines_begin(struct lines *lines, struct loop *loop);
void lines_take(struct lines *lines, const char *bytes, size_t len);

/* Read now what is there, up to a megabyte. Nothing happens if it is not open. */
void lines_drain(struct lines *lines);

/* Nothing happens if it is not open. */
void lines_close(struct lines *lines);
bool lines_is_open(const struct lines *lines);
