/* SPDX-License-Identifier: Apache-2.0 */
/* test_display - what stands on a terminal, as a small model of one sees it; and lines in a pipe */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock_ahead.h"
#include "mesh/manager/display.h"
#include "util/clock.h"
#include "util/fd.h"

#define WIDTH      40
#define HEIGHT     12
#define SHOWN_ROWS (HEIGHT - 2)
#define LINES_MAX  40000
#define LINE_BYTES 128
#define STEPS      6000
#define LONG_ROW   "a row that is longer than the terminal is wide, by far"

/* Lines of text, a cursor among them, and nothing ever scrolls away. */
struct screen {
	char (*lines)[LINE_BYTES];
	size_t row, column, count;
	uint64_t colours; /* that have come: a bit for each number */
};

/* What the display should have made of it: lines, and rows that stand below them for now. */
struct model {
	char (*lines)[LINE_BYTES];
	size_t count, ndrawn, nrows;
	unsigned version; /* of the rows */
	bool is_asked;
	char prompt[LINE_BYTES];
};

struct bed {
	struct loop *loop;
	struct display *display;
	struct screen screen;
	struct model model;
	int master, slave, real_stderr;
	const char *odd_row; /* NULL: LONG_ROW */
	uint64_t seed;
};

static uint32_t random_below(struct bed *bed, uint32_t limit)
{
	bed->seed = bed->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(bed->seed >> 33) % limit;
}

/* --- the screen ----------------------------------------------------------------------------- */

static size_t put_escape(struct screen *screen, const char *text)
{
	unsigned number = 0;
	int len = 0;

	if (strncmp(text, "\033[J", 3) == 0) {
		memset(screen->lines[screen->row] + screen->column, 0, LINE_BYTES - screen->column);
		for (size_t i = screen->row + 1; i < screen->count; i++)
			memset(screen->lines[i], 0, LINE_BYTES);
		screen->count = screen->row + 1;
		return 3;
	}
	if (strncmp(text, "\033[K", 3) == 0) {
		memset(screen->lines[screen->row] + screen->column, 0, LINE_BYTES - screen->column);
		return 3;
	}
	if (sscanf(text, "\033[%um%n", &number, &len) == 1 && len > 0) {
		screen->colours |= 1ULL << number;
		return (size_t)len;
	}
	if (sscanf(text, "\033[%uA%n", &number, &len) != 1 || len == 0)
		fail_msg("an escape that is not known");
	assert_true(number <= screen->row);
	screen->row -= number;
	return (size_t)len;
}

static void put(struct screen *screen, const char *text)
{
	while (*text) {
		if (*text == '\033') {
			text += put_escape(screen, text);
			continue;
		}
		if (*text == '\r') {
			screen->column = 0;
		} else if (*text == '\n') {
			screen->row++;
		} else {
			assert_true((unsigned char)*text >= ' ');
			assert_true(screen->column < WIDTH);
			screen->lines[screen->row][screen->column++] = *text;
		}
		if (screen->count <= screen->row)
			screen->count = screen->row + 1;
		assert_true(screen->count < LINES_MAX);
		text++;
	}
}

/*
 * All that the display has written by now, with its length. The kernel passes it on in a while, so
 * a mark that is written after it has to come, too.
 */
static size_t take(struct bed *bed, char *out, size_t cap_bytes)
{
	const char mark = '\006';
	size_t len = 0;

	assert_int_equal(write(bed->slave, &mark, 1), 1);
	while (len == 0 || out[len - 1] != mark) {
		struct pollfd ready = {.fd = bed->master, .events = POLLIN};

		assert_int_equal(poll(&ready, 1, 10000), 1);
		ssize_t got = read(bed->master, out + len, cap_bytes - len);
		assert_true(got > 0);
		len += (size_t)got;
	}
	out[--len] = '\0';
	return len;
}

static void drain(struct bed *bed)
{
	char bytes[65536];

	take(bed, bytes, sizeof(bytes));
	put(&bed->screen, bytes);
}

/* --- the model ------------------------------------------------------------------------------ */

static struct display_mark row_text(void *told, size_t row, char *out, size_t cap_bytes)
{
	struct bed *bed = told;

	if (row == 1)
		snprintf(out, cap_bytes, "%s", bed->odd_row ? bed->odd_row : LONG_ROW);
	else
		snprintf(out, cap_bytes, "row %zu is at %u", row, bed->model.version);
	return (struct display_mark){4, row == 1 ? 1000 : 1, DISPLAY_GREEN};
}

static void model_draw(struct bed *bed)
{
	struct model *model = &bed->model;
	char raw[DISPLAY_ROW_BYTES];

	model->ndrawn = 0;
	for (size_t i = 0; i < model->nrows && i < SHOWN_ROWS; i++, model->ndrawn++) {
		row_text(bed, i, raw, sizeof(raw));
		if (i == SHOWN_ROWS - 1 && model->nrows > SHOWN_ROWS)
			snprintf(raw, sizeof(raw), "... and %zu more", model->nrows - i);
		snprintf(model->lines[model->count++], LINE_BYTES, "%.*s", WIDTH - 1, raw);
	}
}

static void model_take_away(struct model *model)
{
	model->count -= model->ndrawn;
	model->ndrawn = 0;
}

static void model_line(struct bed *bed, const char *text)
{
	struct model *model = &bed->model;

	if (!model->is_asked && model->nrows > 0)
		model_take_away(model);
	model->ndrawn = 0;
	snprintf(model->lines[model->count++], LINE_BYTES, "%s", text);
	if (!model->is_asked)
		model_draw(bed);
}

/* What stands behind the time of day. */
static const char *without_time(const char *line)
{
	unsigned numbers[3];
	int len = 0;

	sscanf(line, "%2u:%2u:%2u %n", &numbers[0], &numbers[1], &numbers[2], &len);
	return len == 9 ? line + len : line;
}

static void check(struct bed *bed)
{
	drain(bed);
	assert_int_equal(bed->screen.column, strlen(bed->model.prompt));
	assert_string_equal(bed->screen.lines[bed->screen.row], bed->model.prompt);
	for (size_t i = 0; i < bed->model.count; i++)
		if (strcmp(without_time(bed->screen.lines[i]), bed->model.lines[i]) != 0)
			fail_msg("line %zu: \"%s\" instead of \"%s\"", i, bed->screen.lines[i],
				bed->model.lines[i]);
	assert_int_equal(bed->screen.row, bed->model.count);
	for (size_t i = bed->model.count + 1; i < bed->screen.count; i++)
		assert_string_equal(bed->screen.lines[i], "");
}

/* --- on a terminal -------------------------------------------------------------------------- */

/* The session of this process has no other terminal (main). */
static struct bed *bed_new(void)
{
	struct bed *bed = calloc(1, sizeof(*bed));
	const struct winsize size = {.ws_row = HEIGHT, .ws_col = WIDTH};

	setenv("TERM", "xterm", 1);
	bed->seed = 17;
	bed->screen.lines = calloc(LINES_MAX, LINE_BYTES);
	bed->model.lines = calloc(LINES_MAX, LINE_BYTES);
	bed->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	assert_int_equal(grantpt(bed->master), 0);
	assert_int_equal(unlockpt(bed->master), 0);
	bed->slave = open(ptsname(bed->master), O_RDWR | O_CLOEXEC); /* ours from now on */
	assert_int_equal(ioctl(bed->slave, TIOCSWINSZ, &size), 0);
	bed->real_stderr = dup(STDERR_FILENO);
	dup2(bed->slave, STDERR_FILENO);
	assert_int_equal(tcgetpgrp(STDERR_FILENO), getpgrp());
	bed->loop = loop_new();
	bed->display = display_new(bed->loop, row_text, bed);
	return bed;
}

static void bed_free(struct bed *bed)
{
	dup2(bed->real_stderr, STDERR_FILENO);
	loop_free(bed->loop);
	close(bed->real_stderr);
	close(bed->slave);
	close(bed->master);
	free(bed->screen.lines);
	free(bed->model.lines);
	free(bed);
}

static void set_rows(struct bed *bed, size_t count)
{
	bed->model.nrows = count;
	display_rows(bed->display, count);
}

/* Whatever was put off is done. */
static void tick(struct bed *bed)
{
	clock_ahead_ns += 1100 * NS_PER_MS;
	assert_int_equal(loop_run_once(bed->loop, 0), 0);
	if (bed->model.is_asked || bed->model.nrows == 0)
		return;
	model_take_away(&bed->model);
	model_draw(bed);
}

static void say(struct bed *bed, const char *text, const char *shown)
{
	display_line(bed->display, text, strlen(text));
	model_line(bed, shown);
}

/* A prompt stands in the place of the rows, cut to the width but for its name and its end. */
static void ask(struct bed *bed, const char *text, const char *shown)
{
	struct model *model = &bed->model;

	display_prompt(bed->display, -1, text ? "host" : NULL, text, text ? strlen(text) : 0);
	if (!model->is_asked)
		model_take_away(model);
	model->ndrawn = 0;
	model->is_asked = text != NULL;
	snprintf(model->prompt, sizeof(model->prompt), "%s", text ? shown : "");
	if (!text && model->nrows > 0)
		model_draw(bed);
}

static void lines_and_rows(void **state)
{
	struct bed *bed = bed_new();

	(void)state;
	say(bed, "one", "one");
	check(bed);
	set_rows(bed, 3);
	tick(bed);
	check(bed);
	say(bed, "two\x1b[2J\r\n\x07", "two\\x1b[2J\\x0d\\x0a\\x07");
	check(bed);
	bed->model.version++;
	tick(bed);
	check(bed);
	/* more than fit */
	set_rows(bed, 50);
	tick(bed);
	check(bed);
	ask(bed, "Password: ", "host: Password: ");
	check(bed);
	say(bed, "meanwhile", "meanwhile");
	tick(bed);
	check(bed);
	/* of another host, or of the terminal, it can be none */
	ask(bed, "\rother: Pass\x1b[2J", "host: \\x0dother: Pass\\x1b[2J");
	check(bed);
	ask(bed, "a question that is longer than the terminal is wide: yes or no? ",
		"host: the terminal is wide: yes or no? ");
	check(bed);
	ask(bed, NULL, NULL);
	check(bed);
	tick(bed);
	check(bed);
	assert_false(display_is_hung_up(bed->display));
	/* fg: whatever others have written there stays */
	display_begin_anew(bed->display);
	bed->model.ndrawn = 0;
	tick(bed);
	check(bed);
	display_say(bed->display, LOG_WARNING, "%s is %d", "it", 7);
	model_line(bed, "nswrap: it is 7");
	display_say(bed->display, LOG_DEBUG, "nobody wants to know");
	check(bed);
	/* the last ones stay, and what is said later is below them */
	bed->model.version++;
	display_leave_rows(bed->display);
	model_take_away(&bed->model);
	model_draw(bed);
	check(bed);
	bed->model.nrows = bed->model.ndrawn = 0;
	bed->model.version++;
	display_change(bed->display);
	say(bed, "last words", "last words");
	tick(bed);
	check(bed);
	display_free(bed->display);
	check(bed);
	bed_free(bed);
}

static void at_random(void **state)
{
	struct bed *bed = bed_new();
	char text[LINE_BYTES];

	(void)state;
	set_rows(bed, 1);
	for (int i = 0; i < STEPS; i++) {
		switch (random_below(bed, 8)) {
		case 0:
			snprintf(text, sizeof(text), "line %d of its own", i);
			say(bed, text, text);
			break;
		case 1:
			set_rows(bed, 1 + random_below(bed, 2 * SHOWN_ROWS));
			break;
		case 2:
			ask(bed, bed->model.is_asked ? NULL : "Yes? ", "host: Yes? ");
			break;
		case 3:
			clock_ahead_ns += random_below(bed, 2) * 600 * NS_PER_MS;
			tick(bed);
			break;
		case 4:
			if (random_below(bed, 10) == 0) {
				display_begin_anew(bed->display);
				bed->model.ndrawn = 0;
			}
			break;
		default:
			bed->model.version++;
			display_change(bed->display);
			tick(bed);
			break;
		}
		drain(bed);
		if (i % 10 == 0)
			check(bed);
	}
	check(bed);
	/* they stay */
	bed->model.version++;
	display_free(bed->display);
	if (!bed->model.is_asked) {
		model_take_away(&bed->model);
		model_draw(bed);
	}
	check(bed);
	bed_free(bed);
}

/* Changes that come together are shown together, and soon. */
static void soon(void **state)
{
	struct bed *bed = bed_new();
	char bytes[4096];

	(void)state;
	clock_stop();
	set_rows(bed, 2);
	tick(bed);
	drain(bed);
	for (int i = 0; i < 100; i++)
		display_change(bed->display);
	assert_int_equal(loop_run_once(bed->loop, 0), 0);
	assert_int_equal(take(bed, bytes, sizeof(bytes)), 0);
	clock_ahead_ns += 60 * NS_PER_MS;
	assert_int_equal(loop_run_once(bed->loop, 0), 0);
	assert_int_not_equal(take(bed, bytes, sizeof(bytes)), 0);
	assert_int_equal(loop_run_once(bed->loop, 0), 0);
	assert_int_equal(take(bed, bytes, sizeof(bytes)), 0);
	display_free(bed->display);
	bed_free(bed);
	clock_go_on();
}

/* A window that has become narrower has folded the rows: more lines are to be taken away. */
static void narrower(void **state)
{
	const struct winsize size = {.ws_row = HEIGHT, .ws_col = 14};
	setenv("NO_COLOR", "1", 1);
	struct bed *bed = bed_new();
	char bytes[4096];

	(void)state;
	unsetenv("NO_COLOR");
	set_rows(bed, 2);
	tick(bed);
	drain(bed);
	ioctl(bed->slave, TIOCSWINSZ, &size);
	clock_ahead_ns += 1100 * NS_PER_MS;
	assert_int_equal(loop_run_once(bed->loop, 0), 0);
	take(bed, bytes, sizeof(bytes));
	/* "row 0 is at 0" in one line, 39 columns of the other one in three; the second \r of each
	 * end of a line is the terminal's */
	assert_string_equal(bytes, "\r\033[4A\033[Jrow 0 is at 0\r\r\na row that is\r\r\n");
	display_free(bed->display);
	bed_free(bed);
}

/* What is shown when the rows are written again, on a terminal of that size. */
static void redrawn(struct bed *bed, unsigned short rows, unsigned short columns, char *out)
{
	const struct winsize size = {.ws_row = rows, .ws_col = columns};

	drain(bed);
	ioctl(bed->slave, TIOCSWINSZ, &size);
	clock_ahead_ns += 1100 * NS_PER_MS;
	assert_int_equal(loop_run_once(bed->loop, 0), 0);
	take(bed, out, 4096);
}

/* A row takes one line of the terminal, whatever is in it: two would not be taken away again. */
static void rows_take_one_line(void **state)
{
	setenv("NO_COLOR", "1", 1);
	struct bed *bed = bed_new();
	char bytes[4096];

	(void)state;
	unsetenv("NO_COLOR");
	set_rows(bed, 3);
	tick(bed);
	bed->odd_row = "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e: e\xcc\x81t\xc3\xa9 \xe6\x97\xa5";
	/* three wide ones, a colon, a blank, "\xc3\xa9" as two characters in one column, and more
	 */
	redrawn(bed, HEIGHT, 12, bytes);
	assert_non_null(
		strstr(bytes, "\n\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e: e\xcc\x81t\xc3\xa9\r"));
	redrawn(bed, HEIGHT, 6, bytes);
	assert_non_null(strstr(bytes, "\033[6A")); /* each has 11 columns: two lines of 6 */
	assert_non_null(strstr(bytes, "\n\xe6\x97\xa5\xe6\x9c\xac\r"));
	/* nowhere to put one */
	redrawn(bed, 1, WIDTH, bytes);
	redrawn(bed, 1, WIDTH, bytes);
	assert_string_equal(bytes, "");
	redrawn(bed, 2, WIDTH, bytes);
	assert_string_equal(bytes, "... and 3 more\r\r\n");
	redrawn(bed, 2, WIDTH, bytes);
	assert_string_equal(bytes, "\r\033[1A\033[J... and 3 more\r\r\n");
	display_free(bed->display);
	bed_free(bed);
}

/* Unless NO_COLOR says otherwise: the marks of rows, and what is wrong. */
static void colours(void **state)
{
	static const struct {
		const char *no_colour;
		uint64_t colours;
	} rows[] = {{NULL, 1 | 1U << 2 | 1U << 31 | 1ULL << 32 | 1ULL << 33}, {"1", 0},
		{"", 1 | 1U << 2 | 1U << 31 | 1ULL << 32 | 1ULL << 33}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].no_colour)
			setenv("NO_COLOR", rows[i].no_colour, 1);
		struct bed *bed = bed_new();
		unsetenv("NO_COLOR");
		set_rows(bed, 2);
		tick(bed);
		display_say(bed->display, LOG_ERROR, "red");
		model_line(bed, "nswrap: red");
		display_say(bed->display, LOG_WARNING, "yellow");
		model_line(bed, "nswrap: yellow");
		display_say(bed->display, LOG_NOTICE, "plain");
		model_line(bed, "nswrap: plain");
		check(bed);
		/* and all of them with their time */
		assert_string_not_equal(bed->screen.lines[0], without_time(bed->screen.lines[0]));
		assert_true(bed->screen.colours == rows[i].colours);
		display_free(bed->display);
		bed_free(bed);
	}
}

static void hung_up(void **state)
{
	struct bed *bed = bed_new();

	(void)state;
	set_rows(bed, 2);
	tick(bed);
	close(bed->master);
	assert_true(display_is_hung_up(bed->display));
	display_line(bed->display, "nobody", 6);
	tick(bed);
	display_free(bed->display);
	bed->master = -1;
	bed_free(bed);
}

/* --- in a pipe ------------------------------------------------------------------------------ */

static void lines_only(void **state)
{
	struct loop *loop = loop_new();
	int ends[2], real_stderr = dup(STDERR_FILENO);
	char text[65536];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	dup2(ends[1], STDERR_FILENO);
	struct display *display = display_new(loop, row_text, NULL);
	display_rows(display, 3);
	display_line(display, "a line\tof it", 12);
	clock_ahead_ns += 2 * NS_PER_S;
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_false(display_is_hung_up(display));
	ssize_t got = read(ends[0], text, sizeof(text) - 1);
	assert_true(got > 0);
	text[got] = '\0';
	assert_string_equal(text, "a line\\x09of it\n");
	/* nobody reads: nobody waits, and whole lines are lost */
	for (int i = 0; i < 100000; i++)
		display_line(display, "0123456789abcde", 15);
	ssize_t total = 0;
	display_free(display);
	close(ends[1]);
	dup2(real_stderr, STDERR_FILENO);
	while ((got = read(ends[0], text, sizeof(text))) > 0)
		total += got;
	assert_true(total > 4096 && total % 16 == 0);
	close(ends[0]);
	close(real_stderr);
	loop_free(loop);
}

/* A session of its own: only so a terminal can be ours, and we in its foreground. */
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_and_rows),
		cmocka_unit_test(at_random),
		cmocka_unit_test(soon),
		cmocka_unit_test(narrower),
		cmocka_unit_test(rows_take_one_line),
		cmocka_unit_test(colours),
		cmocka_unit_test(lines_only),
		cmocka_unit_test(hung_up),
	};
	int status, failures = 0;

	/* cmocka's, while descriptor 2 is another one */
	stderr = fdopen(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3), "w");
	setvbuf(stderr, NULL, _IONBF, 0);
	signal(SIGHUP, SIG_IGN); /* terminals are closed */

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		fflush(NULL);
		pid_t pid = fork();
		if (pid == 0) {
			setsid();
			exit(_cmocka_run_group_tests(tests[i].name, &tests[i], 1, NULL, NULL));
		}
		if (waitpid(pid, &status, 0) != pid || status != 0)
			failures++;
	}
	return failures;
}
