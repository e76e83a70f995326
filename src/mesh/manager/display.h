/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/display - what a person sees on stderr: lines, and on a terminal a row for each host
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/log.h"
#include "util/loop.h"

/*
 * How it works
 *
 * Lines are written as they come. On a terminal, while we are in its foreground, rows stand below
 * them and are written anew where they are; while somebody is asked for something a prompt stands
 * there in their place. Nobody waits for a reader: what stderr has no room for
 * is lost. On a terminal lines begin with the time of day, and there are colours unless NO_COLOR is
 * set and not empty (no-color.org).
 */
#define DISPLAY_ROW_BYTES 512

struct display;

enum display_colour { DISPLAY_PLAIN, DISPLAY_RED, DISPLAY_GREEN, DISPLAY_YELLOW, DISPLAY_GREY };

/* A part of a row: from byte @at on, with nothing before its end that log_escape escapes. */
struct display_mark {
	size_t at, len;
	enum display_colour colour;
};

/* Write row number @row, one line of text without escapes of a terminal, to @out. Returns what of
 * it has a colour, where the terminal has colours. */
typedef struct display_mark (*display_row)(void *told, size_t row, char *out, size_t cap_bytes);

/* Returns NULL with errno set. Rows come from @row_text once there are any (display_rows). */
struct display *display_new(struct loop *loop, display_row row_text, void *told);

/* The rows are written a last time, and stay; the cursor is below them. There are none then. NULL
 * is fine. */
void display_leave_rows(struct display *display);

/* With display_leave_rows. NULL is fine. */
void display_free(struct display *display);

/* One line without its end; control characters are escaped here. */
void display_line(struct display *display, const char *text, size_t len);

/* "nswrap: " and one line, if @level is wanted. */
void display_say(struct display *display, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* How many rows there are from now on. */
void display_rows(struct display *display, size_t count);

/* The rows say something else, or the terminal has another size: they are written again soon. */
void display_change(struct display *display);

/* Others may have written there meanwhile (Ctrl-Z, fg): the rows begin anew. */
void display_begin_anew(struct display *display);

/*
 * Somebody is asked: @text of @len bytes, which is escaped here, stands behind @name in the last
 * row, in place of the rows, until it is another one, or NULL. If stderr is no terminal it is
 * written to
 * @terminal.
 */
void display_prompt(
	struct display *display, int terminal, const char *name, const char *text, size_t len);

/* Was stderr a terminal that is gone now? */
bool display_is_hung_up(const struct display *display);
