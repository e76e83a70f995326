/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/desk - one terminal, and many hosts whose commands ask somebody there */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <termios.h>

#include "mesh/manager/display.h"
#include "proc/lines.h"
#include "proc/pty.h"
#include "util/list.h"
#include "util/loop.h"

/*
 * How it works
 *
 * ssh, sudo and podman open /dev/tty to ask for a password: several of them at once would take each
 * other's keys, and put one another's settings of the terminal back. So each host has a terminal of
 * its own (proc/pty), in a session of its own, and at the desk, our terminal, they take turns: what
 * one has written is shown behind its name, and what is typed meanwhile is its alone. Its terminal
 * echoes, or does not, as it likes; ours never does in a turn, so a password is not shown however
 * early it is typed. What is typed before a turn begins is thrown away: it was not meant for it.
 *
 * Who asks is not known, only guessed: who has hidden what is typed, or begun a line, asks; who has
 * written something may. Those that start come before those that are ready. After each line that
 * was typed it is the next one's turn. The text is escaped, and cannot leave its line.
 *
 * Only in the foreground of the terminal somebody is asked; in the background hosts wait for it,
 * and nobody is stopped. We look for that, as a shell's `fg` tells no one who was not stopped.
 */
#define DESK_LINE_BYTES 256

struct desk {
	/* its own */
	struct loop *loop;
	struct display *display;
	struct loop_io io;       /* our terminal; fd -1: there is none */
	struct list askers;      /* who has waited longest comes first */
	struct desk_asker *turn; /* NULL: nobody's */
	bool is_in_words;        /* of @turn: more than whole lines was typed */
	bool has_answered;       /* @turn has been typed a line */
	bool is_raw;
	struct termios before;
	struct loop_timer timer;
};

/* A host. Starts as all zero but for what the owner sets. */
struct desk_asker {
	/* the owner sets these */
	const char *name;
	bool is_ready; /* it is to be asked nothing any more, presumably */
	/* A line that was written to its terminal, or is written no further. */
	void (*on_line)(struct desk_asker *asker, const char *text, size_t len);
	/* It has begun to wait until we are in the foreground. */
	void (*on_background)(struct desk_asker *asker);

	/* its own */
	struct desk *desk; /* NULL: it has no terminal */
	struct list in_list;
	struct pty pty;
	struct lines lines;         /* those that have an end, not too many of them */
	char line[DESK_LINE_BYTES]; /* that has begun */
	size_t len;
	bool is_begun;   /* on its terminal, not on its stderr only */
	bool has_said;   /* lines, since it was typed one */
	bool is_waiting; /* on_background was called */
};

/* Where there is no terminal nothing else happens, now and later. */
void desk_open(struct desk *desk, struct loop *loop, struct display *display);

/* The terminal is as it was. Those who have asked are not heard any more, and not closed. */
void desk_close(struct desk *desk);

/* We are about to be stopped, and go on; both may come at any time. */
void desk_suspend(struct desk *desk);
void desk_resume(struct desk *desk);

/*
 * Give it a terminal. Returns the end that is the command's, for struct command, or 0: there is
 * none for it.
 */
int desk_join(struct desk *desk, struct desk_asker *asker);

/* Its command has ended, or is to: its terminal is gone. One that has not joined is fine. */
void desk_leave(struct desk_asker *asker);

/*
 * The same, but its command goes on, and its terminal is not hung up for as long as the descriptor
 * that is returned, the caller's, is open. -1: it had none.
 */
int desk_hand_over(struct desk_asker *asker);

/* It has begun a line on its stderr, which may be a prompt. False: it has no terminal. */
bool desk_say(struct desk_asker *asker, const char *text, size_t len);

/* What it waits for at the desk, or "". */
const char *desk_note(const struct desk_asker *asker);
