/* SPDX-License-Identifier: Apache-2.0 */
/* util/log - lines for a person, on stderr */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum log_level {
	LOG_ERROR,   /* shown even with -q */
	LOG_WARNING, /* something is weaker than asked for */
	LOG_NOTICE,  /* the usual lines: what leads where */
	LOG_INFO,    /* -v */
	LOG_DEBUG,   /* -vv */
};

#define LOG_PREFIX "nswrap: "

#define LOG_MARK_LEN 3 /* of "<4>" */

/*
 * The one piece of global state is how this process writes lines: those up to a level, LOG_NOTICE
 * at first; where to, stderr at first; and how long one waits for room there (-1: for ever), a
 * second at first. The first one that waited in vain is lost and makes the next ones wait no more,
 * so that nobody's traffic waits for a reader.
 */
void log_set_level(enum log_level level);
void log_wait_at_most(int ms);
void log_set_fd(int fd);

/*
 * Where lines go to systemd's journal (JOURNAL_STREAM names the descriptor, systemd.exec(5)), each
 * begins with its level, "<4>" for a warning, as sd-daemon(3) states it. log_set_fd looks; log_look
 * does when the descriptor has become another one, and at the start. log_mark_lines: they do so in
 * any case from now on, for a process of ours that passes them on.
 */
void log_look(void);
void log_mark_lines(void);

/* "<4>", or "" where lines have none. */
const char *log_mark(enum log_level level);

/* The level of a line that begins with such a mark; LOG_ERROR, with *@has_mark false, if it has
 * none. */
enum log_level log_read_mark(const char *text, size_t len, bool *has_mark);

bool log_wants(enum log_level level);

/*
 * Print LOG_PREFIX and one line with a single write(2), so that lines of several processes do not
 * mix. What log_escape escapes is escaped: the text may contain what a stranger sent. Errors of the
 * write are ignored.
 */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same of a line that another process of ours has judged to be wanted. */
void log_pass(enum log_level level, const char *text);

#define log_error(...)   log_line(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)  log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)    log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_DEBUG, __VA_ARGS__)

/*
 * Copy @text to @out with every byte written as \xNN that is no part of a well-formed UTF-8
 * character that shows as itself: not of controls, of what turns text around or takes no place
 * (bidi, zero width, variation selectors), of separators of lines, or of what is not assigned or
 * private. Escaping twice is escaping once. Always ends with NUL, cut to fit. Returns @out.
 */
char *log_escape(const char *text, size_t len, char *out, size_t cap_bytes);
