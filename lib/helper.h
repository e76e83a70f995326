/* SPDX-License-Identifier: Apache-2.0 */
/* lib/helper - start the program nswrap beside the caller, who notices nothing of it */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "nswrap/nswrap.h"

/*
 * How it works
 *
 * A process that execve(2) has made tells its parent of its end by SIGCHLD, whatever clone(2) was
 * told (execve(2) sets that back), and any wait of the parent's would take it. So there are two: a
 * child that sends no signal at its end, and that only __WCLONE waits for, starts the helper and
 * ends. The helper belongs to init then, or to the next subreaper; its pidfd is how we know it.
 *
 * A helper has only what it is given: descriptors 0, 1, 2 and upwards, default signals, no mask.
 */
#define NSW_FDS_MAX 8

struct nsw_helper {
	int pidfd;
	pid_t pid;    /* for valgrind, which does not know how to signal a pidfd */
	int words_fd; /* a pipe, nonblocking: what it says on its descriptor words_at */
};

struct nsw_start {
	const char *const *argv; /* without the first word, which is the program; ends with NULL */
	int fds[NSW_FDS_MAX];    /* of this process, those of the helper: 0, 1, 2, ...; -1: null */
	int nfds;
	int words_at;  /* a place among them: the pipe's */
	bool is_apart; /* in a session of its own */
};

/* The program's path into @out. Returns 0 or -errno. */
int nsw_helper_find(char out[PATH_MAX], struct nswrap_error *error);

/* Returns 0 with @out, or -errno. What was given stays the caller's. */
int nsw_helper_start(
	struct nsw_helper *out, const struct nsw_start *start, struct nswrap_error *error);

/* Returns 0 or -errno. */
int nsw_helper_signal(const struct nsw_helper *helper, int signal);

/* End it, by force after @timeout_ms without an end, and reap it where it is this process that has
 * to; @signal 0: it is told in another way. */
void nsw_helper_stop(struct nsw_helper *helper, int signal, int timeout_ms);

bool nsw_helper_is_gone(const struct nsw_helper *helper);

/*
 * Fill @error with what it said last, or with @otherwise. Returns -@code.
 */
int nsw_helper_fault(const struct nsw_helper *helper, int code, const char *otherwise,
	struct nswrap_error *error);

/* One message of up to @len bytes; *@fd is the descriptor that came with it, or -1: also if there
 * was no room for it here. Returns its bytes, 0 at the end, or -errno. */
ssize_t nsw_receive(int sock, void *out, size_t len, int *fd);

/* Deadlines: a time of nsw_now_ms, or -1. */
int64_t nsw_now_ms(void);
int64_t nsw_deadline(int timeout_ms);
int nsw_left_ms(int64_t deadline_ms);
