/* SPDX-License-Identifier: Apache-2.0 */
/* test_report - what an agent tells of its ports comes over as it was, and what is none is refused
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "mesh/report.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct report_port port_of(uint16_t number)
{
	struct report_port port = {.port = number,
		.proto = number % 2 ? PROTO_UDP : PROTO_TCP,
		.count = 3,
		.age_s = number};

	inet_pton(AF_INET, "127.0.42.101", &port.ip);
	strcpy(port.why, "it is \"taken\"");
	return port;
}

static void comes_over(void **state)
{
	struct mesh_report report = {.nmissing = 0}, got;
	struct err err;

	(void)state;
	for (uint16_t i = 0; i < REPORT_MAX + 5; i++) {
		struct report_port port = port_of(i);

		report_add_missing(&report, port.proto, port.ip, port.port, port.why);
		if (i < 2)
			report_add_failing(&report, &port);
		json_t *data = report_encode(&report);
		assert_non_null(data);
		if (report_decode(data, &got, &err) < 0)
			fail_msg("%s", err.text);
		assert_memory_equal(&got, &report, sizeof(got));
		json_decref(data);
	}
	assert_int_equal(got.nmissing, REPORT_MAX + 5);
	assert_int_equal(got.nfailing, 2);
}

/* Whatever an agent says, no more is kept than there is room for, and nothing reaches a terminal.
 */
static void strangers(void **state)
{
	static const char *const bad[] = {"1", "[]", "{}", "{\"missing\":1}",
		"{\"missing\":[1],\"missing_total\":1,\"failing_total\":0}",
		"{\"missing_total\":-1,\"failing_total\":0}",
		"{\"missing\":[{\"ip\":\"x\",\"port\":1,\"proto\":\"tcp\",\"why\":\"\",\"count\":0,"
		"\"age\":0}],\"missing_total\":1,\"failing_total\":0}",
		"{\"missing\":[{\"ip\":\"127.0.42.1\",\"port\":65536,\"proto\":\"tcp\",\"why\":\"\","
		"\"count\":0,\"age\":0}],\"missing_total\":1,\"failing_total\":0}"};
	json_error_t reason;
	struct mesh_report got;
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		json_t *data = json_loads(bad[i], JSON_DECODE_ANY, &reason);

		assert_non_null(data);
		if (report_decode(data, &got, &err) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		assert_int_equal(got.nmissing, 0);
		json_decref(data);
	}
	json_t *list = json_array();
	for (int i = 0; i < 1000; i++)
		json_array_append_new(list,
			json_pack("{s:s, s:i, s:s, s:s, s:i, s:i}", "ip", "127.0.42.1", "port", 1,
				"proto", "tcp", "why", "\033[2J", "count", 0, "age", 0));
	json_t *data = json_pack(
		"{s:o, s:i, s:i}", "missing", list, "missing_total", 3, "failing_total", 77);
	assert_int_equal(report_decode(data, &got, &err), 0);
	assert_int_equal(got.nmissing, REPORT_MAX);
	assert_int_equal(got.nfailing, 0); /* none of them is known */
	assert_string_equal(got.missing[0].why, "\\x1b[2J");
	json_decref(data);
	assert_int_equal(report_decode(NULL, &got, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_over),
		cmocka_unit_test(strangers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
