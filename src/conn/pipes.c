/* SPDX-License-Identifier: Apache-2.0 */
/* conn/pipes - pipes and buffers, lent out for as long as they hold bytes */
#include "conn/pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define FDS_PER_PIPE    2
#define PIPES_SHARE     4 /* one descriptor in so many may belong to a pipe */
#define IDLE_CHUNKS_MAX 4
#define LARGE_BYTES     (1024 * 1024)
#define LARGE_MAX       8 /* of the 64 that all processes of a user may have together */

int pipes_init(struct pipes *pipes, struct budget *budget)
{
	*pipes = (struct pipes){.budget = budget};
	struct chunk *chunk = pipes_take_chunk(pipes);
	if (!chunk)
		return -ENOMEM;
	pipes_give_chunk(pipes, chunk);
	return 0;
}

static void close_pipe(struct pipes *pipes, struct pipe *pipe)
{
	close(pipe->in);
	close(pipe->out);
	pipes->open_count--;
	budget_give(pipes->budget, FDS_PER_PIPE);
	pipes->large_count -= pipe->is_large;
}

void pipes_fini(struct pipes *pipes)
{
	while (pipes->idle_count > 0)
		close_pipe(pipes, &pipes->idle[--pipes->idle_count]);
	while (pipes->idle_chunks) {
		struct chunk *chunk = pipes->idle_chunks;

		pipes->idle_chunks = chunk->next;
		free(chunk);
	}
}

int pipes_take(struct pipes *pipes, struct pipe *pipe)
{
	int fds[2];

	if (pipes->idle_count > 0) {
		*pipe = pipes->idle[--pipes->idle_count];
		return 0;
	}
	if (pipes->open_count >= pipes->budget->max / PIPES_SHARE / FDS_PER_PIPE ||
		!budget_has_room(pipes->budget, FDS_PER_PIPE))
		return -EMFILE;
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
		return -errno;
	*pipe = (struct pipe){.in = fds[1], .out = fds[0]};
	/* refused past fs.pipe-user-pages-soft: it stays small, which costs speed only */
	if (pipes->large_count < LARGE_MAX && fcntl(pipe->in, F_SETPIPE_SZ, LARGE_BYTES) > 0) {
		pipe->is_large = true;
		pipes->large_count++;
	}
	pipes->open_count++;
	budget_take(pipes->budget, FDS_PER_PIPE);
	return 0;
}

void pipes_give(struct pipes *pipes, struct pipe *pipe, bool is_empty)
{
	if (is_empty && pipes->idle_count < PIPES_IDLE_MAX)
		pipes->idle[pipes->idle_count++] = *pipe;
	else
		close_pipe(pipes, pipe);
	*pipe = (struct pipe){.in = -1, .out = -1};
}

struct chunk *pipes_take_chunk(struct pipes *pipes)
{
	struct chunk *chunk = pipes->idle_chunks;

	if (!chunk)
		return malloc(sizeof(*chunk));
	pipes->idle_chunks = chunk->next;
	pipes->idle_chunk_count--;
	return chunk;
}

void pipes_give_chunk(struct pipes *pipes, struct chunk *chunk)
{
	if (pipes->idle_chunk_count >= IDLE_CHUNKS_MAX) {
		free(chunk);
		return;
	}
	chunk->next = pipes->idle_chunks;
	pipes->idle_chunks = chunk;
	pipes->idle_chunk_count++;
}
