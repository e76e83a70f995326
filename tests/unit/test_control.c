/* SPDX-License-Identifier: Apache-2.0 */
/* test_control - requests to a sandbox, good and bad ones; answers, with and without descriptors */
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

static int decode(const char *text, struct control_request *out, struct err *err)
{
	return control_request_decode(text, strlen(text), out, err);
}

static void good_requests(void **state)
{
	static const struct {
		const char *text;
		enum control_op op;
		size_t nspecs;
		bool has_timeout;
		uint64_t timeout_ms;
	} rows[] = {
		{"{\"op\": \"status\"}", CONTROL_STATUS, 0, false, 0},
		{" {\"op\":\"status\"}\n", CONTROL_STATUS, 0, false, 0},
		{"{\"op\": \"port-add\", \"specs\": [\"8080:80\"]}", CONTROL_PORT_ADD, 1, false, 0},
		{"{\"specs\": [\"a\", \"\"], \"op\": \"port-remove\"}", CONTROL_PORT_REMOVE, 2,
			false, 0},
		{"{\"op\": \"stop\"}", CONTROL_STOP, 0, false, 0},
		{"{\"op\": \"stop\", \"timeout_ms\": 0}", CONTROL_STOP, 0, true, 0},
		{"{\"op\": \"stop\", \"timeout_ms\": 1000000000}", CONTROL_STOP, 0, true,
			1000000000},
		{"{\"op\": \"enter\"}", CONTROL_ENTER, 0, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct control_request request;
		struct err err;
		size_t count = 0;

		if (decode(rows[i].text, &request, &err) != 0)
			fail_msg("%s: %s", rows[i].text, err.text);
		assert_int_equal(request.op, rows[i].op);
		while (request.specs && request.specs[count])
			count++;
		assert_int_equal(count, rows[i].nspecs);
		assert_int_equal(request.has_timeout, rows[i].has_timeout);
		assert_int_equal(request.timeout_ms, rows[i].timeout_ms);
		control_request_free(&request);
	}
}

static void bad_requests(void **state)
{
	/* what is asked, and a word of what is said about it */
	static const char *const rows[][2] = {
		{"", "JSON"},
		{"status", "JSON"},
		{"{\"op\": \"status\"", "JSON"},
		{"{\"op\": \"status\"} {}", "JSON"},
		{"{\"op\": \"sta\xfftus\"}", "JSON"},
		{"{\"op\": \"status\\u0000\"}", "JSON"},
		{"{\"op\": \"status\", \"op\": \"stop\"}", "JSON"},
		{"[]", "op"},
		{"\"status\"", "JSON"},
		{"{}", "op"},
		{"{\"op\": 1}", "op"},
		{"{\"op\": null}", "op"},
		{"{\"op\": \"\"}", "unknown op"},
		{"{\"op\": \"Status\"}", "Status"},
		{"{\"op\": \"status\", \"specs\": [\"8080:80\"]}", "no member of status"},
		{"{\"op\": \"status\", \"more\": 1}", "\"more\""},
		{"{\"op\": \"enter\", \"timeout_ms\": 1}", "no member of enter"},
		{"{\"op\": \"port-add\"}", "needs \"specs\""},
		{"{\"op\": \"port-remove\"}", "needs \"specs\""},
		{"{\"op\": \"port-add\", \"specs\": []}", "specs"},
		{"{\"op\": \"port-add\", \"specs\": \"8080:80\"}", "specs"},
		{"{\"op\": \"port-add\", \"specs\": {\"a\": \"b\"}}", "specs"},
		{"{\"op\": \"port-add\", \"specs\": [\"8080:80\", 1]}", "texts only"},
		{"{\"op\": \"port-add\", \"specs\": [\"a\"], \"timeout_ms\": 1}", "timeout_ms"},
		{"{\"op\": \"stop\", \"timeout_ms\": -1}", "milliseconds"},
		{"{\"op\": \"stop\", \"timeout_ms\": 1000000001}", "milliseconds"},
		{"{\"op\": \"stop\", \"timeout_ms\": 1.5}", "milliseconds"},
		{"{\"op\": \"stop\", \"timeout_ms\": \"1\"}", "milliseconds"},
		{"{\"op\": \"stop\", \"timeout_ms\": null}", "milliseconds"},
		{"{\"op\": \"stop\", \"timeout_ms\": 99999999999999999999}", "JSON"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct control_request request;
		struct err err = {0};

		if (decode(rows[i][0], &request, &err) != -EINVAL)
			fail_msg("taken: %s", rows[i][0]);
		assert_int_equal(err.code, EINVAL);
		if (!strstr(err.text, rows[i][1]))
			fail_msg("%s: no \"%s\" in: %s", rows[i][0], rows[i][1], err.text);
		assert_null(request.specs);
	}
}

static void at_most_so_many_specs(void **state)
{
	char *text = calloc(1, 64 + (FORWARD_MAX + 1) * 4);
	struct control_request request;
	struct err err;

	(void)state;
	assert_non_null(text);
	for (size_t count = FORWARD_MAX; count <= FORWARD_MAX + 1; count++) {
		strcpy(text, "{\"op\":\"port-add\",\"specs\":[");
		for (size_t i = 0; i < count; i++)
			strcat(text, i == 0 ? "\"1\"" : ",\"1\"");
		strcat(text, "]}");
		assert_int_equal(decode(text, &request, &err), count <= FORWARD_MAX ? 0 : -EINVAL);
		control_request_free(&request);
	}
	free(text);
}

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

static void forward_json(void **state)
{
	struct forward_list list = {0};
	struct err err;

	(void)state;
	assert_int_equal(spec_list_parse(&list, "[::1]:8080:80/udp", NULL, &err), 0);
	assert_int_equal(spec_list_parse(&list, "unix:/tmp/\xff:81", NULL, &err), 0);
	json_t *forward = control_forward_json(&list.items[0], FORWARD_DRIVER_SPLICE, true);
	char *text = json_dumps(forward, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, "{\"driver\":\"splice\",\"guest_port\":80,\"host\":\"::1\","
				  "\"host_port\":8080,\"listening\":true,\"proto\":\"udp\","
				  "\"spec\":\"[::1]:8080:80/udp\"}");
	free(text);
	json_decref(forward);
	forward = control_forward_json(&list.items[1], FORWARD_DRIVER_SPLICE, false);
	text = json_dumps(forward, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text,
		"{\"driver\":\"splice\",\"guest_port\":81,\"listening\":false,"
		"\"path\":\"/tmp/\\\\xff\",\"proto\":\"tcp\",\"spec\":\"unix:/tmp/\\\\xff:81\"}");
	free(text);
	json_decref(forward);
	spec_list_free(&list);
}

/* --- calls -------------------------------------------------------------------------------- */

static void open_pair(int ends[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
}

static void call_gets_its_answer(void **state)
{
	int ends[2], fds[2] = {-1, -1}, null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	size_t nfds = 0;
	json_t *answer;
	struct err err;
	char request[64] = "";

	(void)state;
	open_pair(ends);
	/* the answer may be there before the question: one thread will do */
	assert_int_equal(
		control_send(ends[1], json_pack("{s:b, s:i}", "ok", 1, "n", 7), &null, 1), 0);
	assert_int_equal(control_call(ends[0], json_pack("{s:s}", "op", "status"), &answer, fds, 2,
				 &nfds, &err),
		0);
	assert_int_equal(json_integer_value(json_object_get(answer, "n")), 7);
	assert_int_equal(nfds, 1);
	assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
	assert_true(fd_recv(ends[1], request, sizeof(request) - 1, NULL, 0, NULL) > 0);
	assert_string_equal(request, "{\"op\":\"status\"}");
	json_decref(answer);
	fd_close(&fds[0]);
	fd_close(&null);
	fd_close(&ends[0]);
	fd_close(&ends[1]);
}

static void refusal_is_told(void **state)
{
	int ends[2], fds[1] = {-1}, null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	json_t *answer;
	struct err err;

	(void)state;
	open_pair(ends);
	control_send(ends[1], json_pack("{s:b, s:s}", "ok", 0, "error", "not today"), &null, 1);
	assert_int_equal(control_receive(ends[0], 0, &answer, fds, 1, NULL, &err), -EREMOTEIO);
	assert_string_equal(err.text, "not today");
	assert_null(answer);
	assert_int_equal(fds[0], -1);
	/* no reason, wrong types, no JSON, nothing at all, the end */
	control_send(ends[1], json_pack("{s:i, s:i}", "ok", 1, "error", 5), NULL, 0);
	assert_int_equal(control_receive(ends[0], 0, &answer, NULL, 0, NULL, &err), -EREMOTEIO);
	assert_string_not_equal(err.text, "");
	assert_int_equal(fd_send(ends[1], "{", 1, NULL, 0), 1);
	assert_int_equal(control_receive(ends[0], 0, &answer, NULL, 0, NULL, &err), -EPROTO);
	assert_int_equal(control_receive(ends[0], 0, &answer, NULL, 0, NULL, &err), -ETIMEDOUT);
	fd_close(&ends[1]);
	assert_int_equal(control_receive(ends[0], 0, &answer, NULL, 0, NULL, &err), -EPIPE);
	assert_int_equal(
		control_call(ends[0], json_pack("{}"), &answer, NULL, 0, NULL, &err), -EPIPE);
	assert_null(answer);
	fd_close(&null);
	fd_close(&ends[0]);
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
		cmocka_unit_test(good_requests),
		cmocka_unit_test(bad_requests),
		cmocka_unit_test(at_most_so_many_specs),
		cmocka_unit_test(text_is_always_json),
		cmocka_unit_test(forward_json),
		cmocka_unit_test(call_gets_its_answer),
		cmocka_unit_test(refusal_is_told),
		cmocka_unit_test(too_long_is_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
