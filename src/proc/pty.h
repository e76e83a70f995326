/* SPDX-License-Identifier: Apache-2.0 */
/* proc/pty - a terminal of its own for a command that asks for a password on /dev/tty */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/loop.h"
#include "util/trickle.h"

/* Starts as all zero but for on_bytes. */
struct pty {
	/* What was written to it, with what it echoed of what was typed. */
	void (*on_bytes)(struct pty *pty, const char *bytes, size_t len);

	/* its own */
	struct loop *loop;     /* NULL: it is not open */
	struct loop_io master; /* ours */
	int slave;             /* the command's; kept open, or its session would lose it */
	struct trickle trickle;
};

/*
 * Open one as large as the terminal @like. pty->slave is for struct command, and stays the pty's.
 * Returns 0 or -errno.
 */
int pty_open(struct pty *pty, struct loop *loop, int like);

/* Hang up: the leader of its session, and the group in its foreground, get SIGHUP. Twice is fine.
 */
void pty_close(struct pty *pty);

/* Type. What there is no room for is lost, as on any terminal. */
void pty_type(struct pty *pty, const char *bytes, size_t len);

/* Is what is typed hidden, as for a password? */
bool pty_hides(const struct pty *pty);

/* Read what is there. */
void pty_drain(struct pty *pty);
