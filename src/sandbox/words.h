/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/words - what processes beside COMMAND say, and the one that has the caller's stderr */
#pragma once

#include <stdbool.h>

#include "link/advice.h"
#include "proc/lines.h"
#include "util/err.h"
#include "util/loop.h"
#include "util/repeats.h"

/*
 * How it works
 *
 * Who reads untrusted bytes has no descriptor of the caller's: its stderr is a pipe to a process
 * that reads none. A full pipe loses a line and makes nobody wait; a flood is cut by proc/lines;
 * what comes out is escaped. Lines of util/log were judged by the level of who said them. Others,
 * such as a library's last words before abort(3), are shown with @who in front, as warnings. With
 * advises the command of a link speaks here, too: what to do about its trouble (link/advice) is
 * said once, and the same trouble is not shown again. With limits our lines of one kind that
 * strangers can cause, WORDS_WARNINGS or WORDS_NOTICES of them, are all in a minute (util/repeats);
 * how many were left out is told at its end.
 */
#define WORDS_WARNINGS 20
#define WORDS_NOTICES  100 /* there may be as many when all goes well */

struct words {
	const char *who;
	bool advises, limits;

	/* its own */
	const struct advice *advice; /* that was said last */
	struct lines lines;
	struct repeats repeats;
	struct loop_timer minute;
	int write_fd; /* of the pipe; stays open for processes to come. -1: not open */
};

/* Returns 0, or -errno with @err filled. */
int words_open(struct words *words, const char *who, struct loop *loop, struct err *err);

/* In the process that speaks: the pipe is its stderr from now on. */
void words_speak(const struct words *words);

/* What was said until now is passed on first. Nothing happens if it is not open. */
void words_close(struct words *words);
