/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/lodger - serve in a sandbox that was there before, and will be there afterwards */
#pragma once

#include <stdbool.h>

#include "sandbox/config.h"
#include "util/err.h"

/*
 * How it works
 *
 * A companion (sandbox/companion) is started in a sandbox in the background that this process does
 * not supervise. What the sandbox says is in its log (sandbox/logfile), which is followed to our
 * stderr. The connection to its control socket ends when it does; how it did is the log's last
 * line.
 */
struct lodger_start {
	const char *name; /* of the sandbox */
	int control;      /* connected to it; taken over */
	bool is_new;      /* all that it has said is to be seen; else what it says from now on */
	struct sandbox_companion companion;
};

struct lodger_end {
	bool has_left; /* the companion has ended first */
	int code;      /* its exit status, then */
	int status;    /* of the sandbox, which has ended; 125 if nobody knows */
};

/* Serve until one of both ends. Returns 0, or -errno with @err. */
int lodger_run(const struct lodger_start *start, struct lodger_end *end, struct err *err);

/*
 * Has the last sandbox of that name ended, and nobody who wants to know was told? Then *@status is
 * how. It is told until lodger_note_told.
 */
bool lodger_was_missed(const char *name, int *status);
void lodger_note_told(const char *name);
