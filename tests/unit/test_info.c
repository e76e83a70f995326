/* SPDX-License-Identifier: Apache-2.0 */
/* test_info - what an agent says of itself: features that have names, and what is none */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/info.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* JSON of @text, in which ' stands for ". */
static json_t *json(const char *text)
{
	char *copy = strdup(text);
	json_error_t reason;

	assert_non_null(copy);
	for (char *c = copy; *c; c++)
		if (*c == '\'')
			*c = '"';
	json_t *value = json_loads(copy, JSON_DECODE_ANY, &reason);
	if (!value)
		fail_msg("%s: %s", text, reason.text);
	free(copy);
	return value;
}

static void expect_json(json_t *value, const char *text)
{
	char *dumped = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	json_decref(value);
	assert_non_null(dumped);
	assert_string_equal(dumped, text);
	free(dumped);
}

static void features_have_names(void **state)
{
	static const char *const names[] = {"tcp", "loopback", "loopback.disable", "http", "socks",
		"hostaliases", "etchosts", "routes", "dns", "udp", "icmp", "reconfigure", "ping",
		"sandbox", "error", "acknowledge", "report", "gone", "ipv6"};

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		struct mesh_agent_info info;
		enum mesh_feature feature = (enum mesh_feature)(1 << i);
		json_t *data = json_pack("{s:[s]}", "features", names[i]);

		assert_string_equal(info_feature_name(feature), names[i]);
		assert_int_equal(info_decode(data, &info, NULL), 0);
		assert_int_equal(info.features, feature);
		assert_string_equal(info.version, "");
		json_decref(data);
	}
}

static void agent_infos(void **state)
{
	static const struct {
		const char *data;
		unsigned features;
		const char *version;
	} rows[] = {
		{"{}", 0, ""},
		{"{'features':null,'version':null}", 0, ""},
		{"{'features':[],'version':'1'}", 0, "1"},
		{"{'features':['tcp','new','tcp','','Tcp','udp']}", FEATURE_TCP | FEATURE_UDP, ""},
		{"{'version':'\\u001b[2J'}", 0, "\\x1b[2J"},
		{"{'version':'"
		 "0123456789012345678901234567890123456789012345678901234567890123456789'}",
			0, "012345678901234567890123456789012345678901234567890123456789012"},
	};
	static const char *const bad[] = {"[]", "'x'", "{'features':'tcp'}", "{'features':{}}",
		"{'features':['tcp',1]}", "{'features':[null]}", "{'version':1}", "{'stack':1}",
		"{'stackWhy':[]}"};
	struct mesh_agent_info info = {.features = FEATURE_UDP | FEATURE_TCP, .version = "1.0"};
	struct err err;

	(void)state;
	expect_json(info_encode(&info), "{\"features\":[\"tcp\",\"udp\"],\"version\":\"1.0\"}");
	for (size_t i = 0; i < COUNT(rows); i++) {
		json_t *data = json(rows[i].data);

		assert_int_equal(info_decode(data, &info, &err), 0);
		assert_int_equal(info.features, rows[i].features);
		assert_string_equal(info.version, rows[i].version);
		json_decref(data);
	}
	info = (struct mesh_agent_info){.stack = "streams", .stack_why = "no namespaces"};
	json_t *told = info_encode(&info);
	info = (struct mesh_agent_info){0};
	assert_int_equal(info_decode(told, &info, &err), 0);
	assert_string_equal(info.stack, "streams");
	assert_string_equal(info.stack_why, "no namespaces");
	json_decref(told);
	for (size_t i = 0; i < COUNT(bad); i++) {
		json_t *data = json(bad[i]);

		if (info_decode(data, &info, &err) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		json_decref(data);
	}
	assert_int_equal(info_decode(NULL, &info, &err), 0);
	assert_int_equal(info.features, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(features_have_names),
		cmocka_unit_test(agent_infos),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
