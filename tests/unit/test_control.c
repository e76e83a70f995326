/* SPDX-License-Identifier: Apache-2.0 */
/* test_control - messages and answers, with and without descriptors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/control.h"
#include "util/fd.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void text_is_always_json(void **state)
{
	static const char *const rows[][2] = {
		{"", ""},
		{"plain", "plain"},
		{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
		{"a\x1b[1m", "a\x1b[1m"}, /* valid; whoever shows it escapes it */
		{"a\xff", "a\\xff"},
		{"\xc3", "\\xc3"},
		{"a\x1b\xff", "a\\x1b\\xff"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		json_t *text = control_text(rows[i][0]);

		assert_non_null(text);
		assert_string_equal(json_string_value(text), rows[i][1]);
		json_decref(text);
	}
}

/* --- calls -------------------------------------------------------------------------------- */

static void open_pair(int ends[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
}

static void call_gets_its_answer(void **state)
{
	int ends[2], room[2] = {-1, -1}, null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct control_fds fds = {room, 2, 0};
	json_t *answer;
	struct err err;
	char request[64] = "";

	(void)state;
	open_pair(ends);
	/* the answer may be there before the question: one thread will do */
	assert_int_equal(
		control_send(ends[1], json_pack("{s:b, s:i}", "ok", 1, "n", 7), &null, 1), 0);
	assert_int_equal(control_call(ends[0], "sandbox", json_pack("{s:s}", "op", "status"),
				 &answer, &fds, &err),
		0);
	assert_int_equal(json_integer_value(json_object_get(answer, "n")), 7);
	assert_int_equal(fds.count, 1);
	assert_true(fcntl(room[0], F_GETFD) & FD_CLOEXEC);
	assert_true(fd_recv(ends[1], request, sizeof(request) - 1, NULL, 0, NULL) > 0);
	assert_string_equal(request, "{\"op\":\"status\"}");
	json_decref(answer);
	fd_close(&room[0]);
	fd_close(&null);
	fd_close(&ends[0]);
	fd_close(&ends[1]);
}

static void refusal_is_told(void **state)
{
	int ends[2], room[1] = {-1}, null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct control_fds fds = {room, 1, 0};
	json_t *answer;
	struct err err;

	(void)state;
	open_pair(ends);
	control_send(ends[1], json_pack("{s:b, s:s}", "ok", 0, "error", "not today"), &null, 1);
	assert_int_equal(control_receive(ends[0], "sandbox", 0, &answer, &fds, &err), -EREMOTEIO);
	assert_string_equal(err.text, "not today");
	assert_null(answer);
	assert_int_equal(fds.count, 0);
	assert_int_equal(room[0], -1);
	/* no reason, wrong types, no JSON, nothing at all, the end */
	control_send(ends[1], json_pack("{s:i, s:i}", "ok", 1, "error", 5), NULL, 0);
	assert_int_equal(control_receive(ends[0], "sandbox", 0, &answer, NULL, &err), -EREMOTEIO);
	assert_string_not_equal(err.text, "");
	assert_int_equal(fd_send(ends[1], "{", 1, NULL, 0), 1);
	assert_int_equal(control_receive(ends[0], "sandbox", 0, &answer, NULL, &err), -EPROTO);
	assert_int_equal(control_receive(ends[0], "sandbox", 0, &answer, NULL, &err), -ETIMEDOUT);
	fd_close(&ends[1]);
	assert_int_equal(control_receive(ends[0], "sandbox", 0, &answer, NULL, &err), -EPIPE);
	assert_int_equal(
		control_call(ends[0], "sandbox", json_pack("{}"), &answer, NULL, &err), -EPIPE);
	assert_null(answer);
	fd_close(&null);
	fd_close(&ends[0]);
}

/* The errors name what was asked. */
static void errors_speak_of_what_was_asked(void **state)
{
	static const char *const nouns[] = {"sandbox", "mesh"};

	(void)state;
	for (size_t i = 0; i < COUNT(nouns); i++) {
		const char *noun = nouns[i];
		char expected[5][64];
		int ends[2];
		json_t *answer;
		struct err err;

		snprintf(expected[0], sizeof(expected[0]), "the %s refuses", noun);
		snprintf(expected[1], sizeof(expected[1]), "the %s answers no JSON", noun);
		snprintf(expected[2], sizeof(expected[2]),
			"the %s does not answer: Connection timed out", noun);
		snprintf(expected[3], sizeof(expected[3]), "the %s has ended", noun);
		snprintf(expected[4], sizeof(expected[4]), "cannot ask the %s: Message too long",
			noun);
		open_pair(ends);
		assert_int_equal(fd_send(ends[1], "{}", 2, NULL, 0), 2);
		assert_int_equal(
			control_receive(ends[0], noun, 0, &answer, NULL, &err), -EREMOTEIO);
		assert_string_equal(err.text, expected[0]);
		assert_int_equal(fd_send(ends[1], "}", 1, NULL, 0), 1);
		control_receive(ends[0], noun, 0, &answer, NULL, &err);
		assert_string_equal(err.text, expected[1]);
		control_receive(ends[0], noun, 0, &answer, NULL, &err);
		assert_string_equal(err.text, expected[2]);
		char *text = malloc(CONTROL_MESSAGE_MAX + 1);
		assert_non_null(text);
		memset(text, 'a', CONTROL_MESSAGE_MAX);
		text[CONTROL_MESSAGE_MAX] = '\0';
		assert_int_equal(
			control_call(ends[0], noun, json_pack("[s]", text), &answer, NULL, &err),
			-EMSGSIZE);
		assert_string_equal(err.text, expected[4]);
		free(text);
		fd_close(&ends[1]);
		control_receive(ends[0], noun, 0, &answer, NULL, &err);
		assert_string_equal(err.text, expected[3]);
		fd_close(&ends[0]);
	}
}

static void too_long_is_not_sent(void **state)
{
	char *text = malloc(CONTROL_MESSAGE_MAX + 1);
	int ends[2];

	(void)state;
	assert_non_null(text);
	memset(text, 'a', CONTROL_MESSAGE_MAX);
	text[CONTROL_MESSAGE_MAX] = '\0';
	open_pair(ends);
	assert_int_equal(control_send(ends[0], json_pack("[s]", text), NULL, 0), -EMSGSIZE);
	assert_int_equal(control_send(ends[0], NULL, NULL, 0), -ENOMEM);
	fd_set_nonblock(ends[1], 1);
	assert_int_equal(fd_recv(ends[1], text, CONTROL_MESSAGE_MAX, NULL, 0, NULL), -EAGAIN);
	free(text);
	fd_close(&ends[0]);
	fd_close(&ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_always_json),
		cmocka_unit_test(call_gets_its_answer),
		cmocka_unit_test(refusal_is_told),
		cmocka_unit_test(errors_speak_of_what_was_asked),
		cmocka_unit_test(too_long_is_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
