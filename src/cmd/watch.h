/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/watch - what a command shows again and again, on the whole of a terminal or one below another
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/*
 * How it works
 *
 * On a terminal each frame takes the place of the one before, in a screen of its own (the
 * "alternate" one): one write(2) where there is room, in which lines are written over and their
 * rest is cleared, so nothing flickers. Lines that are too long, or too many, are cut, at every
 * size. SIGINT, SIGTERM and SIGHUP end it, Ctrl-Z stops it; either way the terminal is as it was
 * before, unless it takes nothing (Ctrl-S).
 *
 * Elsewhere, or where TERM says that a terminal can nothing (dumb), frames follow one another.
 */
struct watch {
	bool is_terminal, is_shown;
	int signal_fd;
	int end_fd; /* readable when one of those that end it has come */
	int out_fd; /* stdout, nonblocking where that can be */
	size_t write_max;
	sigset_t before; /* the signals that were blocked */
};

/* @is_text: as if stdout were no terminal. Returns 0 or -errno with @err filled. */
int watch_open(struct watch *watch, bool is_text, struct err *err);

/* The terminal is as it was. Once more is fine. */
void watch_close(struct watch *watch);

/* Columns and lines that a frame has room for; 0: as many as it likes. */
void watch_size(const struct watch *watch, int *columns, int *lines);

/*
 * Wait until @fd (-1: none) can be read, for at most @wait_ms. Returns 1 if it can; 0: the time has
 * passed, or another frame is wanted at once, as the terminal has another size; -ECANCELED: a
 * signal has said the end; or -errno.
 */
int watch_wait(struct watch *watch, int fd, int wait_ms);

/* Show the lines of @text, UTF-8 without escapes of a terminal. Returns 0, -ECANCELED: a
 * signal has said the end before there was room for it; or -errno. */
int watch_show(struct watch *watch, const char *text);
