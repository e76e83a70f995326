/* SPDX-License-Identifier: Apache-2.0 */
/* test_hail - messages in pieces, greetings that are left where they are */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tunnel/hail.h"

static int ends[2];

static int set_up(void **state)
{
	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static void put(const void *bytes, size_t len)
{
	assert_int_equal(write(ends[0], bytes, len), len);
}

static void a_message_in_pieces(void **state)
{
	static const char bytes[] = "O\0\0\3abcrest";
	struct hail_reader reader = {.have = 0};
	struct hail hail;
	char rest[8];

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		put(bytes + i, 1);
		assert_int_equal(hail_read(&reader, ends[1], &hail), 0);
	}
	put(bytes + 6, 5);
	assert_int_equal(hail_read(&reader, ends[1], &hail), 1);
	assert_int_equal(hail.type, HAIL_OPEN);
	assert_int_equal(hail.len, 3);
	assert_memory_equal(hail.text, "abc", 3);
	/* what is behind it was not read */
	assert_int_equal(read(ends[1], rest, sizeof(rest)), 4);
	assert_memory_equal(rest, "rest", 4);
}

static void one_after_another(void **state)
{
	struct hail_reader reader = {.have = 0};
	struct hail hail;

	(void)state;
	assert_int_equal(hail_send(ends[0], HAIL_PING, NULL, 0), 0);
	assert_int_equal(hail_send_number(ends[0], HAIL_MORE, 0x01020304), 0);
	assert_int_equal(hail_read(&reader, ends[1], &hail), 1);
	assert_int_equal(hail.type, HAIL_PING);
	assert_int_equal(hail.len, 0);
	assert_int_equal(hail_read(&reader, ends[1], &hail), 1);
	assert_int_equal(hail.type, HAIL_MORE);
	assert_int_equal(hail_number(&hail), 0x01020304);
	assert_int_equal(hail_read(&reader, ends[1], &hail), 0);
	shutdown(ends[0], SHUT_WR);
	assert_int_equal(hail_read(&reader, ends[1], &hail), -EPIPE);
}

static void what_is_none(void **state)
{
	static const char *const wrong[] = {"GET ", "O\1\0\0", "O\0\2\1"};
	struct hail hail;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct hail_reader reader = {.have = 0};
		put(wrong[i], HAIL_HEADER_BYTES);
		assert_int_equal(hail_read(&reader, ends[1], &hail), -EPROTO);
	}
}

static void the_longest(void **state)
{
	unsigned char text[HAIL_TEXT_MAX];
	struct hail_reader reader = {.have = 0};
	struct hail hail;

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_int_equal(hail_send(ends[0], HAIL_OPEN, text, sizeof(text)), 0);
	assert_int_equal(hail_read(&reader, ends[1], &hail), 1);
	assert_int_equal(hail.len, sizeof(text));
	assert_memory_equal(hail.text, text, sizeof(text));
}

static void greetings_are_left(void **state)
{
	char bytes[32];

	(void)state;
	assert_int_equal(hail_peek(ends[1], HAIL_OWN), 0);
	put("nsw", 3);
	assert_int_equal(hail_peek(ends[1], HAIL_OWN), 0);
	assert_int_equal(hail_peek(ends[1], HAIL_LENNUT), -EPROTO);
	put("rapt1", 5);
	assert_int_equal(hail_peek(ends[1], HAIL_OWN), 1);
	assert_int_equal(read(ends[1], bytes, sizeof(bytes)), HAIL_BYTES);
	shutdown(ends[0], SHUT_WR);
	assert_int_equal(hail_peek(ends[1], HAIL_OWN), -EPIPE);
}

static void a_hello(void **state)
{
	struct hail_reader reader = {.have = 0};
	struct hail hail;
	char bytes[HAIL_BYTES];
	unsigned char id[HAIL_ID_BYTES];
	enum hail_kind kind;

	(void)state;
	hail_prepare(ends[0]); /* no TCP: nothing happens */
	assert_int_equal(
		hail_send_hello(ends[0], (const unsigned char *)"12345678", HAIL_NAMED), 0);
	assert_int_equal(hail_peek(ends[1], HAIL_OWN), 1);
	assert_int_equal(read(ends[1], bytes, sizeof(bytes)), HAIL_BYTES);
	assert_int_equal(hail_read(&reader, ends[1], &hail), 1);
	assert_int_equal(hail.type, HAIL_HELLO);
	assert_true(hail_read_hello(&hail, id, &kind));
	assert_memory_equal(id, "12345678", HAIL_ID_BYTES);
	assert_int_equal(kind, HAIL_NAMED);
	/* who says nothing of a kind is for all */
	hail.len = HAIL_ID_BYTES;
	assert_true(hail_read_hello(&hail, id, &kind));
	assert_int_equal(kind, HAIL_ANY);
	hail.len = HAIL_ID_BYTES - 1;
	assert_false(hail_read_hello(&hail, id, &kind));
	hail = (struct hail){HAIL_HELLO, (const unsigned char *)"12345678x", 9};
	assert_false(hail_read_hello(&hail, id, &kind));
}

static void a_peer_that_does_not_read(void **state)
{
	int result = 0;

	(void)state;
	for (int i = 0; i < 100000 && result == 0; i++)
		result = hail_send(ends[0], HAIL_PING, NULL, 0);
	assert_true(result == -EAGAIN || result == -ENOBUFS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_message_in_pieces, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_after_another, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_longest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(greetings_are_left, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_hello, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_peer_that_does_not_read, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
