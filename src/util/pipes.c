/* SPDX-License-Identifier: Apache-2.0 */
/* util/pipes - pipes and buffers, lent out for as long as they hold bytes */
#include "util/pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define FDS_PER_PIPE    2
#define PIPES_SHARE     4 /* one descriptor in so many may belong to a pipe */
#define IDLE_CHUNKS_MAX 4
#ifndef PIPE_BYTES
#define PIPE_BYTES (256 * 1024)
#endif

int pipes_init(struct pipes *pipes)
{
	struct rlimit limit = {.rlim_cur = 1024};

	*pipes = (struct pipes){0};
	getrlimit(RLIMIT_NOFILE, &limit);
	pipes->max_open = limit.rlim_cur / PIPES_SHARE / FDS_PER_PIPE;
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
	if (pipes->open_count >= pipes->max_open)
		return -EMFILE;
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
		return -errno;
	/* a splice moves no more than the pipe's nominal size; refused, it stays small and slower
	 */
	fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES);
	*pipe = (struct pipe){.in = fds[1], .out = fds[0]};
	pipes->open_count++;
	return 0;
}

void pipes_give(struct pipes *pipes, struct pipe *pipe, bool is_empty)
{
	if (is_empty && pipes->idle_count < PIPES_IDLE_MAX)
		pipes->idle[pipes->idle_count++] = *pipe;
	else
		close_pipe(pipes, pipe);
	*pipe = (struct pipe){-1, -1};
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
