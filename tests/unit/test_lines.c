/* SPDX-License-Identifier: Apache-2.0 */
/* test_lines - what a program says, line by line: in pieces, too long, too much */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proc/lines.h"

#define TEXT_BYTES 65536

/* All that was said, each line with '|' behind it. */
struct heard {
	struct lines lines;
	struct loop *loop;
	int write_fd;
	char text[TEXT_BYTES];
	size_t len, count;
	bool has_ended;
};

static void on_line(struct lines *lines, const char *text, size_t len)
{
	struct heard *heard = (struct heard *)lines;

	assert_true(heard->len + len + 1 < TEXT_BYTES);
	memcpy(heard->text + heard->len, text, len);
	heard->len += len;
	heard->text[heard->len++] = '|';
	heard->text[heard->len] = '\0';
	heard->count++;
}

static void on_end(struct lines *lines)
{
	((struct heard *)lines)->has_ended = true;
}

static int set_up(void **state)
{
	struct heard *heard = calloc(1, sizeof(*heard));
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	heard->loop = loop_new();
	heard->write_fd = ends[1];
	heard->lines.on_line = on_line;
	heard->lines.on_end = on_end;
	assert_false(lines_is_open(&heard->lines));
	assert_int_equal(lines_open(&heard->lines, heard->loop, ends[0]), 0);
	*state = heard;
	return 0;
}

static int tear_down(void **state)
{
	struct heard *heard = *state;

	lines_close(&heard->lines);
	loop_free(heard->loop);
	if (heard->write_fd >= 0)
		close(heard->write_fd);
	free(heard);
	return 0;
}

static void say(struct heard *heard, const char *text)
{
	assert_int_equal(write(heard->write_fd, text, strlen(text)), (ssize_t)strlen(text));
	for (int i = 0; i < 8; i++)
		assert_int_equal(loop_run_once(heard->loop, 0), 0);
}

static void end(struct heard *heard)
{
	close(heard->write_fd);
	heard->write_fd = -1;
	for (int i = 0; i < 8; i++)
		assert_int_equal(loop_run_once(heard->loop, 0), 0);
	assert_true(heard->has_ended);
	assert_false(lines_is_open(&heard->lines));
}

static void lines_come_whole(void **state)
{
	struct heard *heard = *state;

	say(heard, "one\ntw");
	assert_string_equal(heard->text, "one|");
	say(heard, "o\r\n\n\r\n\x1b[1mthree\nrest");
	assert_string_equal(heard->text, "one|two|\x1b[1mthree|");
	end(heard);
	assert_string_equal(heard->text, "one|two|\x1b[1mthree|rest|");
}

/* A prompt has no end: it is told when nothing follows for a while, and once. */
static void begun(void **state)
{
	struct heard *heard = *state;

	heard->lines.on_begun = on_line;
	say(heard, "one\nPass");
	say(heard, "word: ");
	assert_string_equal(heard->text, "one|");
	while (heard->count < 2)
		assert_int_equal(loop_run_once(heard->loop, 10), 0);
	say(heard, "\n");
	assert_string_equal(heard->text, "one|Password: |");
	/* bytes that come otherwise */
	lines_take(&heard->lines, "tw", 2);
	lines_take(&heard->lines, "o\nthree", 7);
	end(heard);
	assert_string_equal(heard->text, "one|Password: |two|three|");
}

static void long_ones_are_cut(void **state)
{
	struct heard *heard = *state;
	char text[3 * LINES_LINE_MAX];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 2] = '\n';
	text[sizeof(text) - 1] = '\0';
	say(heard, text);
	assert_int_equal(heard->len, LINES_LINE_MAX + 1);
	assert_string_equal(heard->text + LINES_LINE_MAX - 4, "x...|");
	/* one that fits, and the next one, are whole */
	text[LINES_LINE_MAX] = '\n';
	text[LINES_LINE_MAX + 1] = '\0';
	say(heard, text);
	assert_int_equal(heard->len, 2 * (LINES_LINE_MAX + 1));
	assert_string_equal(heard->text + heard->len - 5, "xxxx|");
	say(heard, "short\n");
	assert_string_equal(heard->text + heard->len - 7, "|short|");
}

static void too_many_are_counted(void **state)
{
	struct heard *heard = *state;
	char text[4 * LINES_PER_SECOND + 1] = "";

	for (int i = 0; i < 2 * LINES_PER_SECOND; i++)
		strcat(text, "a\n");
	say(heard, text);
	assert_int_equal(heard->count, LINES_PER_SECOND);
	end(heard);
	assert_string_equal(heard->text + heard->len - 22, "|(100 lines left out)|");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(lines_come_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(begun, set_up, tear_down),
		cmocka_unit_test_setup_teardown(long_ones_are_cut, set_up, tear_down),
		cmocka_unit_test_setup_teardown(too_many_are_counted, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
