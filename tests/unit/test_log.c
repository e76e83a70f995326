/* SPDX-License-Identifier: Apache-2.0 */
/* test_log - one write per line, and nothing a stranger sent can move the cursor */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/log.h"

static void assert_escaped(const char *text, size_t len, const char *expected)
{
	char out[256];

	assert_ptr_equal(log_escape(text, len, out, sizeof(out)), out);
	assert_string_equal(out, expected);
}

#define ESCAPED(text, expected) assert_escaped(text, sizeof(text) - 1, expected)

static void test_escape(void **state)
{
	(void)state;
	ESCAPED("", "");
	ESCAPED("plain ~ text", "plain ~ text");
	ESCAPED("a\nb\r\t\0c\x7f", "a\\x0ab\\x0d\\x09\\x00c\\x7f");
	ESCAPED("\x1b[2J", "\\x1b[2J");
	ESCAPED("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
		"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
	/* C1 controls, as bytes and as UTF-8 */
	ESCAPED("\x9b"
		"31m",
		"\\x9b31m");
	ESCAPED("\xc2\x9b"
		"31m",
		"\\xc2\\x9b31m");
	ESCAPED("\xc2\xa0", "\xc2\xa0");
	/* not UTF-8: cut, overlong (also of ESC), a surrogate, past U+10FFFF, a lonely tail */
	ESCAPED("\xe2\x82", "\\xe2\\x82");
	ESCAPED("\xc0\x9b", "\\xc0\\x9b");
	ESCAPED("\xe0\x80\x9b", "\\xe0\\x80\\x9b");
	ESCAPED("\xf0\x80\x80\x9b", "\\xf0\\x80\\x80\\x9b");
	ESCAPED("\xed\xa0\x80", "\\xed\\xa0\\x80");
	ESCAPED("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
	ESCAPED("\xff\xfe\x80", "\\xff\\xfe\\x80");
	/* the lowest of each length */
	ESCAPED("\xc2\xa1\xe0\xa0\x80\xf0\x90\x80\x80", "\xc2\xa1\xe0\xa0\x80\xf0\x90\x80\x80");
}

static void assert_shown(uint32_t character, bool is_shown)
{
	char text[8] = {0}, out[64];
	gint len = g_unichar_to_utf8(character, text);

	log_escape(text, (size_t)len, out, sizeof(out));
	if ((strcmp(out, text) == 0) != is_shown || (!is_shown && strlen(out) != 4 * (size_t)len))
		fail_msg("U+%04X became %s", character, out);
}

/* What turns text around, hides in it, or begins a line. */
static void test_what_does_not_show(void **state)
{
	static const uint32_t hidden[] = {0x85, 0x9b, 0xad, 0x34f, 0x600, 0x61c, 0x70f, 0x115f,
		0x1160, 0x17b4, 0x180e, 0x200b, 0x200c, 0x200d, 0x200e, 0x200f, 0x2028, 0x2029,
		0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2060, 0x2061, 0x2066, 0x2067, 0x2068,
		0x2069, 0x206f, 0x3164, 0xe000, 0xf8ff, 0xfe00, 0xfe0f, 0xfeff, 0xffa0, 0xfff9,
		0xfffb, 0xfffe, 0xffff, 0x1d173, 0xe0001, 0xe0020, 0xe007f, 0xe0100, 0xf0000,
		0x10fffd, 0x10ffff};
	static const uint32_t shown[] = {0xa0, 0xe9, 0x301, 0x3b1, 0x416, 0x5d0, 0x627, 0x939,
		0x4e2d, 0x3042, 0xac00, 0x20ac, 0x2190, 0x2500, 0x1f600, 0xfffd};

	(void)state;
	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
		assert_shown(hidden[i], false);
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
		assert_shown(shown[i], true);
	ESCAPED("a\xe2\x80\xae"
		"gpj.exe",
		"a\\xe2\\x80\\xaegpj.exe");
	ESCAPED("a\\xe2\\x80\\xaegpj.exe", "a\\xe2\\x80\\xaegpj.exe");
}

/* Every room: never past the end, always ended, never half of an escape or character. */
static void test_escape_is_cut(void **state)
{
	static const char text[] = "ab\n\xe2\x82\xac\x01z";
	static const char whole[] = "ab\\x0a\xe2\x82\xac\\x01z";
	static const size_t stops[] = {0, 1, 2, 6, 9, 13, 14};

	(void)state;
	for (size_t cap = 1; cap < sizeof(whole) + 4; cap++) {
		char out[64];
		size_t want = 0;

		memset(out, '#', sizeof(out));
		log_escape(text, sizeof(text) - 1, out, cap);
		for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++)
			if (stops[i] < cap)
				want = stops[i];
		assert_int_equal(strlen(out), want);
		assert_memory_equal(out, whole, want);
		for (size_t i = cap; i < sizeof(out); i++)
			assert_int_equal(out[i], '#');
	}
}

/* What one log_line writes to stderr; "" when nothing. Each recv is one write. */
static void capture(enum log_level level, const char *text, char *out, size_t cap_bytes)
{
	int pair[2], saved = dup(STDERR_FILENO);

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	dup2(pair[0], STDERR_FILENO);
	log_line(level, "%s", text);
	dup2(saved, STDERR_FILENO);
	ssize_t got = recv(pair[1], out, cap_bytes - 1, MSG_DONTWAIT);
	out[got < 0 ? 0 : got] = '\0';
	char more;
	assert_true(recv(pair[1], &more, 1, MSG_DONTWAIT) < 0);
	close(pair[0]);
	close(pair[1]);
	close(saved);
}

static void test_line(void **state)
{
	char out[8192];

	(void)state;
	capture(LOG_NOTICE, "port 1\nnswrap: forged", out, sizeof(out));
	assert_string_equal(out, "nswrap: port 1\\x0answrap: forged\n");
}

static void test_long_line(void **state)
{
	char text[4096], out[8192];

	(void)state;
	for (int i = 0; i < 2; i++) {
		memset(text, i ? 'x' : '\n', sizeof(text) - 1);
		text[sizeof(text) - 1] = '\0';
		capture(LOG_ERROR, text, out, sizeof(out));
		assert_in_range(strlen(out), 1000, 2048);
		assert_memory_equal(out, "nswrap: ", 8);
		assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
	}
}

/* The journal is where lines go if it is the same file as that of the variable. */
static void test_marks(void **state)
{
	int pair[2], saved = dup(STDERR_FILENO);
	char name[64], line[64] = "";
	struct stat info;
	bool has_mark;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	dup2(pair[0], STDERR_FILENO);
	assert_int_equal(fstat(pair[0], &info), 0);
	snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)info.st_dev, (uintmax_t)info.st_ino);
	setenv("JOURNAL_STREAM", name, 1);
	log_look();
	log_warning("a");
	assert_string_equal(log_mark(LOG_DEBUG), "<7>");
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_set_fd(STDERR_FILENO);
	log_warning("b");
	assert_string_equal(log_mark(LOG_ERROR), "");
	log_mark_lines();
	log_error("c");
	unsetenv("JOURNAL_STREAM");
	log_look();
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(pair[0]);
	for (ssize_t len = 0, got; (got = recv(pair[1], line + len, sizeof(line) - 1 - (size_t)len,
					    MSG_DONTWAIT)) > 0;)
		len += got;
	assert_string_equal(line, "<4>nswrap: a\nnswrap: b\n<3>nswrap: c\n");
	close(pair[1]);

	assert_int_equal(log_read_mark("<6>x", 4, &has_mark), LOG_INFO);
	assert_true(has_mark);
	assert_int_equal(log_read_mark("<2>x", 4, &has_mark), LOG_ERROR);
	assert_false(has_mark);
	log_read_mark("<6", 2, &has_mark);
	assert_false(has_mark);
}

static void test_levels(void **state)
{
	char out[256];

	(void)state;
	for (int max = LOG_ERROR; max <= LOG_DEBUG; max++) {
		log_set_level((enum log_level)max);
		for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
			capture((enum log_level)level, "x", out, sizeof(out));
			assert_string_equal(out, level <= max ? "nswrap: x\n" : "");
			assert_int_equal(log_wants((enum log_level)level), level <= max);
		}
	}
	log_set_level(LOG_NOTICE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_what_does_not_show),
		cmocka_unit_test(test_escape_is_cut),
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_marks),
		cmocka_unit_test(test_levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
