/* SPDX-License-Identifier: Apache-2.0 */
/* test_log - one write per line, and nothing a stranger sent can move the cursor */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>
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
	/* the lowest and the highest of each length */
	ESCAPED("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80", "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80");
	ESCAPED("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf");
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
		cmocka_unit_test(test_escape_is_cut),
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
