/* SPDX-License-Identifier: Apache-2.0 */
/* test_request - requests to a sandbox, good and bad ones */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/control.h"
#include "sandbox/request.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int decode(const char *text, struct request *out, struct err *err)
{
	json_t *root = control_parse(text, strlen(text), err);

	*out = (struct request){0};
	if (!root)
		return -err->code;
	int result = request_decode(root, out, err);
	json_decref(root);
	return result;
}

static void good_requests(void **state)
{
	static const struct {
		const char *text;
		enum request_op op;
		size_t nspecs, nreverses;
		bool has_timeout;
		uint64_t timeout_ms;
	} rows[] = {
		{"{\"op\": \"status\"}", REQUEST_STATUS, 0, 0, false, 0},
		{" {\"op\":\"status\"}\n", REQUEST_STATUS, 0, 0, false, 0},
		{"{\"op\": \"port-add\", \"specs\": [\"8080:80\"]}", REQUEST_PORT_ADD, 1, 0, false,
			0},
		{"{\"specs\": [\"a\", \"\"], \"op\": \"port-remove\"}", REQUEST_PORT_REMOVE, 2, 0,
			false, 0},
		{"{\"op\": \"port-add\", \"reverses\": [\"5432\"]}", REQUEST_PORT_ADD, 0, 1, false,
			0},
		{"{\"op\": \"port-remove\", \"reverses\": [\"1\", \"2\"], \"specs\": [\"3\"]}",
			REQUEST_PORT_REMOVE, 1, 2, false, 0},
		{"{\"op\": \"stop\"}", REQUEST_STOP, 0, 0, false, 0},
		{"{\"op\": \"stop\", \"timeout_ms\": 0}", REQUEST_STOP, 0, 0, true, 0},
		{"{\"op\": \"stop\", \"timeout_ms\": 1000000000}", REQUEST_STOP, 0, 0, true,
			1000000000},
		{"{\"op\": \"enter\"}", REQUEST_ENTER, 0, 0, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct request request;
		struct err err;
		size_t nspecs = 0, nreverses = 0;

		if (decode(rows[i].text, &request, &err) != 0)
			fail_msg("%s: %s", rows[i].text, err.text);
		assert_int_equal(request.op, rows[i].op);
		while (request.specs[nspecs])
			nspecs++;
		while (request.reverses[nreverses])
			nreverses++;
		assert_int_equal(nspecs, rows[i].nspecs);
		assert_int_equal(nreverses, rows[i].nreverses);
		assert_int_equal(request.has_timeout, rows[i].has_timeout);
		assert_int_equal(request.timeout_ms, rows[i].timeout_ms);
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
		{"{\"op\": \"port-remove\"}", "or \"reverses\""},
		{"{\"op\": \"port-remove\", \"reverses\": []}", "reverses"},
		{"{\"op\": \"port-add\", \"specs\": [\"1\"], \"reverses\": [1]}",
			"\"reverses\" must hold"},
		{"{\"op\": \"stop\", \"reverses\": [\"1\"]}", "no member of stop"},
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
		struct request request;
		struct err err = {0};

		if (decode(rows[i][0], &request, &err) != -EINVAL)
			fail_msg("taken: %s", rows[i][0]);
		assert_int_equal(err.code, EINVAL);
		if (!strstr(err.text, rows[i][1]))
			fail_msg("%s: no \"%s\" in: %s", rows[i][0], rows[i][1], err.text);
	}
}

static void at_most_so_many_specs(void **state)
{
	char *text = calloc(1, 64 + (FORWARD_MAX + 1) * 4);
	struct request request;
	struct err err;

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < 2; i++) {
		const size_t most = i == 0 ? FORWARD_MAX : OUTWARD_MAX;

		for (size_t count = most; count <= most + 1; count++) {
			strcpy(text, i == 0 ? "{\"op\":\"port-add\",\"specs\":["
					    : "{\"op\":\"port-add\",\"reverses\":[");
			for (size_t j = 0; j < count; j++)
				strcat(text, j == 0 ? "\"1\"" : ",\"1\"");
			strcat(text, "]}");
			assert_int_equal(decode(text, &request, &err), count <= most ? 0 : -EINVAL);
		}
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_requests),
		cmocka_unit_test(bad_requests),
		cmocka_unit_test(at_most_so_many_specs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
