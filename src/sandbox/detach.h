/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/detach - a sandbox in the background, which its starter's terminal and pipes forget */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "control/registry.h"
#include "sandbox/logfile.h"
#include "util/err.h"
#include "util/loop.h"

/*
 * How it works
 *
 *   nswrap -d            the caller's process: waits for the name or the end, and is gone
 *    `-- nswrap: log     a session of its own; reads what the sandbox says, writes sandbox/logfile
 *         `-- nswrap     the supervisor, as in the foreground
 *
 * COMMAND's stdout and stderr are a pipe to the one that writes the log, its stdin is /dev/null.
 * The supervisor's stderr stays the caller's until COMMAND runs: what goes wrong by then is said
 * there, and its status becomes the caller's by way of the other. Then it is the pipe, too. If the
 * caller's process has gone before it could be told the name, nobody knows of the sandbox: it ends.
 *
 * The writer is no child of the supervisor: it writes the last line whatever ended that. If it is
 * killed itself, COMMAND is to hear nothing of it (a write would be SIGPIPE): the supervisor has
 * that end of the pipe as well, and the log, whose lock is the same one, and writes it from then
 * on.
 */
struct detach {
	char name[REGISTRY_NAME_MAX + 1]; /* in the caller's process */
	char path[PATH_MAX];              /* of the log, in the supervisor; "": there is none */
	bool is_kept; /* set before detach_start: another one will come for it (proc/daemon) */
	int told_fd;  /* the name goes there */
	int out_fd;   /* the log */
	int hand_fd;  /* the files of the log go there; its end is ours, and the writer's */

	/* of the supervisor, should the writer be gone */
	int in_fd; /* what COMMAND says */
	struct logfile log;
	struct loop *loop; /* NULL: it is not watched */
	struct loop_io hand_io, in_io;
	bool is_alone;
};

enum detach_side { DETACH_CALLER, DETACH_SUPERVISOR };

/*
 * Make the processes. Of the caller's descriptors above 2 the supervisor has @keep. Returns on
 * both sides: an enum detach_side, in the caller's when the sandbox is ready, with @name and
 * *@status 0, or when it has ended with *@status (and has said why); or -errno with @err.
 */
int detach_start(
	struct detach *detach, const int *keep, size_t nkeep, int *status, struct err *err);

/* The name is known: begin its log. Without one, which @err tells, all that is said is lost. */
int detach_open_log(struct detach *detach, const char *name, struct err *err);

/* From @loop: is the writer there? Returns 0 or -errno. */
int detach_watch(struct detach *detach, struct loop *loop);

/* Before @loop goes. */
void detach_unwatch(struct detach *detach);

/* The supervisor ends with @status: without a writer, that is the last line. */
void detach_finish(struct detach *detach, int status);

/* All is ready: leave the caller. -EPIPE if that has gone. */
int detach_ready(struct detach *detach, const char *name);
