/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/logfile - what a sandbox in the background says, kept in files of the user's */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "util/err.h"

/*
 * How it works
 *
 * $XDG_STATE_HOME/nswrap/logs (~/.local/state without that; XDG Base Directory Specification) has a
 * directory of each name, for the user alone (0700), with the file `log` (0600), and, when that was
 * longer than LOGFILE_BYTES, the one before as `log.1`; what was older is gone. Who writes has the
 * directory locked (flock(2)): so a reader knows that there is an end. The next sandbox of the name
 * puts a new directory in its place, and readers of the old one come to its end.
 */
#define LOGFILE_BYTES (4 << 20)

struct logfile {
	int dir_fd, fd; /* -1: none */
	off_t size;
	bool breaks;     /* the last line is not whole */
	bool is_missing; /* what came last could not be written, and that was noted */
};

/* Where the logs are: out has room for PATH_MAX. 0, or -errno with @err. */
int logfile_place(char *out, struct err *err);

/*
 * Begin a log for @name below @place, which is made. Stores the path of the log in @path
 * (PATH_MAX). Returns 0, or -errno with @err and nothing open: -EAGAIN when another one writes it.
 */
int logfile_create(
	const char *place, const char *name, struct logfile *out, char *path, struct err *err);

/* Never fails: what there is no room for is left out, and the log says so where it was. */
void logfile_write(struct logfile *log, const char *data, size_t len);

/* A line of nswrap's own, on a line of its own. */
void logfile_note(struct logfile *log, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Go on with a log of whose files only the directory is open: who wrote it has ended. */
void logfile_resume(struct logfile *log);

void logfile_close(struct logfile *log);

/* --- reading ------------------------------------------------------------------------------ */

/* Open the directory of a log. Returns the caller's descriptor or -errno. */
int logfile_open(const char *dir);

/*
 * Open both files of it as one moment has them; @old may be -1. Returns 0 or -errno, -EINVAL for
 * what is no regular file: COMMAND may have put a FIFO there, of which an end never comes.
 */
int logfile_open_both(int dir_fd, int *old, int *now);

/* Has its writer come to the end? Waits for that at most @timeout_ms. */
bool logfile_is_over(int dir_fd, unsigned timeout_ms);

/* Of one that is over: the status with which the sandbox ended, as its last line says. False: it
 * says nothing of that. */
bool logfile_end(int dir_fd, int *status);

/* Somebody who wants to know has been told of the end. */
void logfile_note_told(int dir_fd);
bool logfile_is_told(int dir_fd);

/* Go back to a note that has taken the place of what was read last (logfile_note on a full disk).
 */
void logfile_rewind(int fd);

/*
 * After *@fd was read to its end: is there more, as the log has turned? *@fd is where it is then:
 * itself, when its last words came between the read and the turn, or the next file. Only who is
 * two whole files behind misses any.
 */
bool logfile_turn(int dir_fd, int *fd);
