/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/display - what a person sees on stderr: lines, and on a terminal a row for each host
 */
#include "mesh/manager/display.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define LINE_BYTES    2048
#define SAID_BYTES    1024
#define ROWS_MAX      200
#define SCREEN_BYTES  131072 /* all rows, and what stands before them */
#define SOON_MS       50     /* changes that come together are shown together */
#define REFRESH_MS    1000   /* for what changes all the time */
#define PROMPT_BYTES  1024
#define WIDTH_DEFAULT 80
#define COLOUR_BYTES  8

struct display {
	struct loop *loop;
	display_row row_text;
	void *told;
	int fd; /* stderr; nonblocking, unless it is shared with others */
	bool is_terminal, has_cursor, has_colours;
	char prompt[PROMPT_BYTES]; /* "": nobody is asked */
	bool has_prompt;           /* it stands in the row of the cursor */
	size_t nrows;              /* there are */
	size_t ndrawn;             /* stand above the cursor */
	unsigned short drawn_columns[ROWS_MAX];
	struct loop_timer timer;
	char screen[SCREEN_BYTES]; /* what is being written */
	size_t len;
};

/* --- writing ------------------------------------------------------------------------------ */

/* False if not all of it could be written. */
static bool flush(struct display *display)
{
	size_t len = display->len;
	int fd = display->fd >= 0 ? display->fd : STDERR_FILENO;
	struct pollfd room = {.fd = fd, .events = POLLOUT};

	display->len = 0;
	if (display->fd < 0 && poll(&room, 1, 0) != 1)
		return false;
	return len == 0 || write(fd, display->screen, len) == (ssize_t)len;
}

/* What there is no room for is left out. */
__attribute__((format(printf, 2, 3))) static void append(
	struct display *display, const char *format, ...)
{
	size_t room = sizeof(display->screen) - display->len;
	va_list args;

	va_start(args, format);
	size_t len = (size_t)vsnprintf(display->screen + display->len, room, format, args);
	va_end(args);
	display->len += len < room ? len : room - 1;
}

/* --- rows --------------------------------------------------------------------------------- */

/* Somebody else's terminal for the moment, when the shell has put us into the background. */
static bool is_in_foreground(void)
{
	return tcgetpgrp(STDERR_FILENO) == getpgrp();
}

static struct winsize terminal_size(void)
{
	struct winsize size = {0};

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		size.ws_col = WIDTH_DEFAULT;
	if (size.ws_row == 0)
		size.ws_row = ROWS_MAX;
	return size;
}

/* How much of @text, which is escaped, fits into @columns; stores how many it takes. A row that
 * took more than was thought would be there for ever, and one more each second. */
static size_t fitting(const char *text, unsigned columns, unsigned short *taken)
{
	const char *at = text;
	unsigned used = 0;

	while (*at) {
		gunichar character = g_utf8_get_char(at);
		unsigned width = g_unichar_iszerowidth(character) ? 0
				 : g_unichar_iswide(character)    ? 2
								  : 1;
		if (used + width > columns)
			break;
		used += width;
		at = g_utf8_next_char(at);
	}
	*taken = (unsigned short)used;
	return (size_t)(at - text);
}

/* Lines on the screen that the drawn rows take: they are folded when it has become narrower. */
static size_t drawn_lines(const struct display *display, unsigned width)
{
	size_t lines = 0;

	for (size_t i = 0; i < display->ndrawn; i++)
		lines += display->drawn_columns[i] > width
				 ? (display->drawn_columns[i] + width - 1) / width
				 : 1;
	return lines;
}

/* Put the cursor where the first row begins, with nothing behind it. */
static void take_rows_away(struct display *display)
{
	if (display->ndrawn == 0)
		return;
	append(display, "\r\033[%zuA\033[J", drawn_lines(display, terminal_size().ws_col));
	display->ndrawn = 0;
}

static const char *colour_code(const struct display *display, enum display_colour colour)
{
	static const char codes[][COLOUR_BYTES] = {[DISPLAY_PLAIN] = "\033[0m",
		[DISPLAY_RED] = "\033[31m",
		[DISPLAY_GREEN] = "\033[32m",
		[DISPLAY_YELLOW] = "\033[33m",
		[DISPLAY_GREY] = "\033[2m"};

	return display->has_colours ? codes[colour] : "";
}

/* The first @len bytes of @text, with @mark in its colour. */
static void append_marked(
	struct display *display, const char *text, size_t len, struct display_mark mark)
{
	size_t from = mark.at < len ? mark.at : len;
	size_t to = mark.len < len - from ? from + mark.len : len;

	append(display, "%.*s%s%.*s%s%.*s\r\n", (int)from, text,
		to > from ? colour_code(display, mark.colour) : "", (int)(to - from), text + from,
		to > from ? colour_code(display, DISPLAY_PLAIN) : "", (int)(len - to), text + to);
}

static void append_rows(struct display *display)
{
	struct winsize size = terminal_size();
	/* the cursor stands below them, and needs a line, too */
	size_t room = size.ws_row > 2 ? size.ws_row - 2U : size.ws_row - 1U;
	size_t count = display->nrows;
	char raw[DISPLAY_ROW_BYTES], text[DISPLAY_ROW_BYTES];

	if (room > ROWS_MAX)
		room = ROWS_MAX;
	if (count > room)
		count = room;
	for (size_t i = 0; i < count; i++) {
		struct display_mark mark = {0};

		if (i == room - 1 && display->nrows > room)
			snprintf(raw, sizeof(raw), "... and %zu more", display->nrows - i);
		else
			mark = display->row_text(display->told, i, raw, sizeof(raw));
		log_escape(raw, strlen(raw), text, sizeof(text));
		append_marked(display, text,
			fitting(text, size.ws_col - 1U, &display->drawn_columns[i]), mark);
	}
	display->ndrawn = count;
}

static bool shows_rows(const struct display *display)
{
	return display->has_cursor && display->nrows > 0 && display->prompt[0] == '\0' &&
	       is_in_foreground();
}

static void take_prompt_away(struct display *display)
{
	if (display->has_prompt)
		append(display, display->has_cursor ? "\r\033[K" : "\n");
	display->has_prompt = false;
}

/* Write what is to be written, with the rows or the prompt below it. */
static void finish(struct display *display)
{
	if (display->is_terminal && display->prompt[0] != '\0') {
		append(display, "%s", display->prompt);
		display->has_prompt = true;
	}
	if (shows_rows(display))
		append_rows(display);
	/* torn: what is on the screen is not known, so the next rows begin below it */
	if (!flush(display))
		display->ndrawn = 0;
}

static void redraw(struct display *display)
{
	if (!shows_rows(display))
		return;
	take_rows_away(display);
	finish(display);
}

static void on_timer(struct loop_timer *timer)
{
	struct display *display = container_of(timer, struct display, timer);

	redraw(display);
	if (display->nrows > 0)
		loop_timer_set(display->loop, timer, REFRESH_MS);
}

/* --- what others call --------------------------------------------------------------------- */

struct display *display_new(struct loop *loop, display_row row_text, void *told)
{
	struct display *display = calloc(1, sizeof(*display));
	const char *kind = getenv("TERM");

	if (!display)
		return NULL;
	display->loop = loop;
	display->row_text = row_text;
	display->told = told;
	display->is_terminal = isatty(STDERR_FILENO);
	display->has_cursor =
		display->is_terminal && kind && kind[0] != '\0' && strcmp(kind, "dumb") != 0;
	const char *no_colours = getenv("NO_COLOR");
	display->has_colours = display->has_cursor && !(no_colours && no_colours[0] != '\0');
	display->fd = fd_open_own(STDERR_FILENO);
	display->timer.on_expired = on_timer;
	return display;
}

void display_leave_rows(struct display *display)
{
	if (!display)
		return;
	redraw(display);
	loop_timer_cancel(display->loop, &display->timer);
	display->nrows = display->ndrawn = 0;
}

void display_free(struct display *display)
{
	if (!display)
		return;
	display_leave_rows(display);
	fd_close(&display->fd);
	free(display);
}

/* "17:04:09 ", for a person who looks at it later. */
static void append_time(struct display *display)
{
	time_t now = time(NULL);
	struct tm local;

	if (!display->is_terminal || !localtime_r(&now, &local))
		return;
	append(display, "%s%02d:%02d:%02d%s ", colour_code(display, DISPLAY_GREY), local.tm_hour,
		local.tm_min, local.tm_sec, colour_code(display, DISPLAY_PLAIN));
}

static void write_line(
	struct display *display, enum display_colour colour, const char *text, size_t len)
{
	char line[LINE_BYTES];

	if (shows_rows(display))
		take_rows_away(display);
	display->ndrawn = 0; /* in the background they scroll away with the rest */
	take_prompt_away(display);
	append_time(display);
	log_escape(text, len, line, sizeof(line));
	if (colour == DISPLAY_PLAIN)
		append(display, "%s\n", line);
	else
		append(display, "%s%s%s\n", colour_code(display, colour), line,
			colour_code(display, DISPLAY_PLAIN));
	finish(display);
}

void display_line(struct display *display, const char *text, size_t len)
{
	write_line(display, DISPLAY_PLAIN, text, len);
}

void display_say(struct display *display, enum log_level level, const char *format, ...)
{
	char line[SAID_BYTES];
	size_t prefix = (size_t)snprintf(line, sizeof(line), "%snswrap: ", log_mark(level));
	va_list args;

	if (!log_wants(level))
		return;
	va_start(args, format);
	vsnprintf(line + prefix, sizeof(line) - prefix, format, args);
	va_end(args);
	write_line(display,
		level == LOG_ERROR     ? DISPLAY_RED
		: level == LOG_WARNING ? DISPLAY_YELLOW
				       : DISPLAY_PLAIN,
		line, strlen(line));
}

void display_rows(struct display *display, size_t count)
{
	display->nrows = count;
	display_change(display);
}

void display_change(struct display *display)
{
	if (!display->has_cursor || display->nrows == 0)
		return;
	if (!loop_timer_is_armed(&display->timer) ||
		display->timer.deadline_ns > loop_now_ns(display->loop) + SOON_MS * NS_PER_MS)
		loop_timer_set(display->loop, &display->timer, SOON_MS);
}

void display_begin_anew(struct display *display)
{
	display->ndrawn = 0;
	display_change(display);
}

/* Its name and, of what does not fit into a row, the end. */
static void set_prompt(struct display *display, const char *name, const char *text, size_t len)
{
	unsigned columns = terminal_size().ws_col - 1U;
	char shown[PROMPT_BYTES], head[PROMPT_BYTES / 2];
	unsigned short taken, room;

	log_escape(name, strlen(name), head, sizeof(head));
	log_escape(text, len, shown, sizeof(shown));
	size_t head_len = fitting(head, columns / 2, &taken);
	const char *from = shown;
	room = (unsigned short)(columns > taken + 2U ? columns - taken - 2U : 1);
	while (from[fitting(from, room, &taken)] != '\0')
		from++;
	while (((unsigned char)*from & 0xc0) == 0x80)
		from++;
	snprintf(display->prompt, sizeof(display->prompt), "%.*s: %.*s", (int)head_len, head,
		(int)(sizeof(display->prompt) - head_len - 3), from);
}

void display_prompt(
	struct display *display, int terminal, const char *name, const char *text, size_t len)
{
	bool is_over = display->prompt[0] != '\0' && !name;

	take_rows_away(display);
	take_prompt_away(display);
	display->prompt[0] = '\0';
	if (name)
		set_prompt(display, name, text, len);
	if (display->is_terminal)
		finish(display);
	else if (name)
		dprintf(terminal, "\r\033[K%s", display->prompt);
	else if (is_over)
		dprintf(terminal, "\r\n");
	if (!name)
		display_change(display);
}

bool display_is_hung_up(const struct display *display)
{
	struct pollfd terminal = {.fd = STDERR_FILENO};

	return display->is_terminal && poll(&terminal, 1, 0) == 1 &&
	       (terminal.revents & (POLLHUP | POLLERR));
}
