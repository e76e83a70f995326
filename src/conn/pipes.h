/* SPDX-License-Identifier: Apache-2.0 */
/* conn/pipes - pipes and buffers, lent out for as long as they hold bytes */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/budget.h"

#define PIPES_IDLE_MAX   16          /* empty pipes kept open for the next borrower */
#define PIPES_CHUNK_SIZE (64 * 1024) /* bytes of one buffer */

struct pipe {
	int in;        /* written to; -1 when there is no pipe */
	int out;       /* read from */
	bool is_large; /* counted in large_count */
};

struct chunk {
	struct chunk *next; /* while idle */
	char bytes[PIPES_CHUNK_SIZE];
};

struct pipes {
	struct pipe idle[PIPES_IDLE_MAX]; /* empty, open */
	size_t idle_count;
	size_t open_count; /* idle and lent out */
	struct budget *budget;
	size_t large_count; /* of the open ones, those that were made larger */
	struct chunk *idle_chunks;
	size_t idle_chunk_count;
};

/*
 * Make ready, with one buffer at hand. Pipes count in @budget, which stays the caller's, and are
 * made while it has room; a quarter of it is the most that they ever take. Returns 0 or -ENOMEM.
 */
int pipes_init(struct pipes *pipes, struct budget *budget);

/* Everything must have been given back. */
void pipes_fini(struct pipes *pipes);

/*
 * Borrow an empty, nonblocking pipe. Returns 0, or -errno (-EMFILE, -ENFILE...) when there is none
 * now; the caller goes on with a buffer then.
 */
int pipes_take(struct pipes *pipes, struct pipe *pipe);

/* Give @pipe back and set it to -1; one that is not empty is closed, its bytes are gone. */
void pipes_give(struct pipes *pipes, struct pipe *pipe, bool is_empty);

/* Borrow a buffer, NULL when there is no memory for one now; give it back. */
struct chunk *pipes_take_chunk(struct pipes *pipes);
void pipes_give_chunk(struct pipes *pipes, struct chunk *chunk);
