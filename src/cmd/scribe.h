/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/scribe - the process that has the caller's stderr, while another one serves strangers */
#pragma once

#include <sys/types.h>

#include "link/linkspec.h"
#include "util/err.h"

/*
 * How it works
 *
 * The process that the caller has started stays the one that gets signals and has the status. It
 * gives all that was the caller's to a child, "nswrap: stderr", which reads nothing but its lines
 * (sandbox/words), and ends when nobody is left who could say any. What is open beside the streams
 * stays open there, as a lock of the caller's may be among it.
 */
struct scribe {
	pid_t pid; /* 0: none */
};

struct scribe_start {
	const char *who;
	const struct linkspec *link; /* NULL: none; what it has inherited stays with who serves */
	int ready_fd;                /* as well; -1: none */
};

/*
 * From now on this process's stderr is a pipe that it never waits for, stdin and stdout are null
 * unless they are the link, and nothing else is open. A link that is stderr itself changes nothing.
 * Returns 0, or -errno with @err filled.
 */
int scribe_begin(struct scribe *scribe, const struct scribe_start *start, struct err *err);

/* All is said: wait until it is written, for a while. Nothing happens if there is none. */
void scribe_end(struct scribe *scribe);
