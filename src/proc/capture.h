/* SPDX-License-Identifier: Apache-2.0 */
/* proc/capture - run a command and take what it prints */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>

#include "proc/child.h"
#include "proc/lines.h"
#include "util/err.h"
#include "util/loop.h"

/*
 * How it works
 *
 * The command has a session of its own, no terminal and nothing on its stdin. It is over when it
 * has ended and its pipes are read to their ends, for which it has CAPTURE_LAST_MS then: what it
 * has left behind may hold them for ever. What it printed counts if it has ended with status 0,
 * within patience_ms and below max_bytes; else there is a reason, with the last line of its stderr.
 */
#define CAPTURE_LAST_MS   200
#define CAPTURE_WHY_BYTES 512

/* Starts as all zero but for the owner's, and by capture_init. */
struct capture {
	/* the owner's */
	struct loop *loop;
	struct children *children;
	struct rlimit nofile; /* for the command */
	uint64_t patience_ms;
	size_t max_bytes;
	const char *expected; /* "a list of names": of one that says more than that */
	/* It is over, and may be started again from here. @why is NULL, and text what it printed
	 * until this returns; or why that does not count. */
	void (*on_done)(struct capture *capture, const char *why);

	/* the owner may read these */
	char *text;
	size_t len;

	/* its own */
	struct child child;
	struct loop_io out_io; /* its stdout; -1: closed */
	struct lines errors;   /* its stderr */
	struct loop_timer patience;
	size_t cap;
	bool has_ended;                  /* the command, while its pipes are read on */
	char trouble[CAPTURE_WHY_BYTES]; /* "": none yet */
	char said[LINES_LINE_MAX];       /* the last line of its stderr */
	const char *program;
};

void capture_init(struct capture *capture);

/* @argv stays the caller's, until it is over. Returns 0, or -errno with @err filled: on_done will
 * not be called. Not while it is running. */
int capture_start(struct capture *capture, char *const *argv, struct err *err);

bool capture_is_running(const struct capture *capture);

/* SIGKILL; on_done will not be called. Nothing happens if it is not running. */
void capture_stop(struct capture *capture);
