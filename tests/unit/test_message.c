/* SPDX-License-Identifier: Apache-2.0 */
/* test_message - messages between manager and agent: good ones, hostile ones, what is written */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/message.h"
#include "wire/frame.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int decode(const char *text, struct message *out, struct err *err)
{
	return message_decode(text, strlen(text), out, err);
}

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

static const char *addr_text(struct in_addr addr)
{
	static char text[INET_ADDRSTRLEN];

	return inet_ntop(AF_INET, &addr, text, sizeof(text));
}

/* --- messages ----------------------------------------------------------------------------- */

static void good_messages(void **state)
{
	static const struct {
		const char *text;
		enum message_type type;
		int64_t id;
		const char *op, *data, *error;
	} rows[] = {
		{"{\"type\":\"request\",\"body\":{\"id\":1,\"op\":\"configure\",\"args\":{}}}",
			MESSAGE_REQUEST, 1, "configure", "{}", NULL},
		{" {\"body\": {\"op\": \"ping\", \"id\": 0}, \"type\": \"request\"}\n",
			MESSAGE_REQUEST, 0, "ping", NULL, NULL},
		{"{\"type\":\"request\",\"body\":{\"id\":9223372036854775807,\"op\":\"x\"}}",
			MESSAGE_REQUEST, INT64_MAX, "x", NULL, NULL},
		{"{\"type\":\"request\",\"body\":{\"id\":-1,\"op\":\"x\",\"args\":null}}",
			MESSAGE_REQUEST, -1, "x", NULL, NULL},
		/* 31 bytes of op; members that nobody knows; an error is none of a request's */
		{"{\"type\":\"request\",\"new\":1,\"body\":{\"id\":1,\"new\":{},\"error\":1,"
		 "\"op\":\"abcdefghijklmnopqrstuvwxyz01234\",\"args\":[1]}}",
			MESSAGE_REQUEST, 1, "abcdefghijklmnopqrstuvwxyz01234", "[1]", NULL},
		{"{\"type\":\"result\",\"body\":{\"request_id\":7,\"op\":\"ping\"}}",
			MESSAGE_RESULT, 7, "ping", NULL, NULL},
		{"{\"type\":\"result\",\"body\":{\"request_id\":7,\"op\":\"p\",\"error\":null,"
		 "\"data\":{\"a\":1}}}",
			MESSAGE_RESULT, 7, "p", "{\"a\":1}", NULL},
		{"{\"type\":\"result\",\"body\":{\"request_id\":7,\"op\":\"p\",\"error\":\"\"}}",
			MESSAGE_RESULT, 7, "p", NULL, "\"\""},
		{"{\"type\":\"result\",\"body\":{\"request_id\":7,\"op\":\"p\",\"error\":{}}}",
			MESSAGE_RESULT, 7, "p", NULL, "{}"},
		{"{\"type\":\"result\",\"body\":{\"request_id\":7,\"op\":\"p\",\"error\":false}}",
			MESSAGE_RESULT, 7, "p", NULL, "false"},
		{"{\"type\":\"event\",\"body\":{\"type\":\"routeSuggestion\",\"data\":3,"
		 "\"id\":5}}",
			MESSAGE_EVENT, 0, "routeSuggestion", "3", NULL},
		{"{\"type\":\"event\",\"body\":{\"type\":\"x\"}}", MESSAGE_EVENT, 0, "x", NULL,
			NULL},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct message message;
		struct err err;

		if (decode(rows[i].text, &message, &err) != 0)
			fail_msg("%s: %s", rows[i].text, err.text);
		assert_int_equal(message.type, rows[i].type);
		assert_int_equal(message.id, rows[i].id);
		assert_string_equal(message.op, rows[i].op);
		assert_int_equal(message.data != NULL, rows[i].data != NULL);
		assert_int_equal(message.error != NULL, rows[i].error != NULL);
		if (rows[i].data)
			expect_json(json_incref(message.data), rows[i].data);
		if (rows[i].error)
			expect_json(json_incref(message.error), rows[i].error);
		message_fini(&message);
		assert_null(message.data);
		message_fini(&message);
	}
}

#define REQUEST(body) "{\"type\":\"request\",\"body\":" body "}"
#define RESULT(body)  "{\"type\":\"result\",\"body\":" body "}"

static void bad_messages(void **state)
{
	/* the message, and a word of what is said about it */
	static const char *const rows[][2] = {
		{"", "JSON"},
		{" ", "JSON"},
		{"{", "JSON"},
		{"{\"type\":\"request\"", "JSON"},
		{"Last login: today", "JSON"},
		{"\x1b[31m", "\\x1b"},
		{"{} {}", "JSON"},
		{"{\"type\":\"sta\xfftus\"}", "JSON"},
		{"{\"type\":\"event\\u0000\",\"body\":{}}", "JSON"},
		{"{\"type\":\"event\",\"type\":\"event\",\"body\":{\"type\":\"x\"}}", "duplicate"},
		{"[]", "expected an object"},
		{"\"event\"", "JSON"},
		{"{}", "type: expected a text, found nothing"},
		{"{\"type\":null}", "type: expected a text, found nothing"},
		{"{\"type\":1,\"body\":{}}", "type: expected a text, found 1"},
		{"{\"type\":\"\",\"body\":{}}", "type: expected \"request\""},
		{"{\"type\":\"Request\",\"body\":{}}", "found \"Request\""},
		{"{\"type\":\"request\"}", "body.id: expected a whole number, found nothing"},
		{REQUEST("[]"), "body: expected an object, found []"},
		{REQUEST("\"x\""), "body: expected an object"},
		{REQUEST("{\"op\":\"x\"}"), "body.id"},
		{REQUEST("{\"request_id\":1,\"op\":\"x\"}"), "body.id"},
		{REQUEST("{\"id\":\"1\",\"op\":\"x\"}"), "body.id"},
		{REQUEST("{\"id\":1.0,\"op\":\"x\"}"), "body.id"},
		{REQUEST("{\"id\":true,\"op\":\"x\"}"), "body.id"},
		{REQUEST("{\"id\":9223372036854775808,\"op\":\"x\"}"), "JSON"},
		{REQUEST("{\"id\":1}"), "body.op: expected a text, found nothing"},
		{REQUEST("{\"id\":1,\"op\":null}"), "body.op"},
		{REQUEST("{\"id\":1,\"op\":[\"x\"]}"), "body.op"},
		{REQUEST("{\"id\":1,\"op\":\"\"}"), "body.op: expected a short text"},
		{REQUEST("{\"id\":1,\"op\":\"abcdefghijklmnopqrstuvwxyz012345\"}"),
			"body.op: expected a short text"},
		{RESULT("{\"id\":1,\"op\":\"x\"}"), "body.request_id"},
		{RESULT("{\"request_id\":1}"), "body.op"},
		{"{\"type\":\"event\",\"body\":{\"op\":\"x\"}}", "body.type"},
		{"{\"type\":\"event\",\"body\":{\"type\":7}}", "body.type"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct message message;
		struct err err = {0};

		if (decode(rows[i][0], &message, &err) != -EINVAL)
			fail_msg("taken: %s", rows[i][0]);
		assert_int_equal(err.code, EINVAL);
		if (!strstr(err.text, rows[i][1]))
			fail_msg("%s: no \"%s\" in: %s", rows[i][0], rows[i][1], err.text);
		assert_null(message.data);
		assert_null(message.error);
	}
}

/* The text of a message ends where its length says, NUL or not. */
static void length_counts(void **state)
{
	static const char text[] = "{\"type\":\"event\",\"body\":{\"type\":\"x\"}}";
	struct message message;

	(void)state;
	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		char *part = malloc(len + 1);

		assert_non_null(part);
		memcpy(part + 1, text, len);
		assert_int_equal(message_decode(part + 1, len, &message, NULL), -EINVAL);
		free(part);
	}
	assert_int_equal(message_decode(text, sizeof(text) - 1, &message, NULL), 0);
	message_fini(&message);
	/* the NUL behind it is no JSON */
	assert_int_equal(message_decode(text, sizeof(text), &message, NULL), -EINVAL);
}

static void deep_nesting_is_refused(void **state)
{
	enum { DEPTH = 100000 };
	char *text = malloc(DEPTH);
	struct message message;
	struct err err;

	(void)state;
	assert_non_null(text);
	memset(text, '[', DEPTH);
	assert_int_equal(message_decode(text, DEPTH, &message, &err), -EINVAL);
	free(text);
}

/* A message is as long as a frame can be, @unit over and over as its data. */
static int decode_many(const char *unit, struct message *out, struct err *err)
{
	size_t len = strlen("{'type':'event','body':{'type':'x','data':[");
	char *text = malloc(FRAME_MESSAGE_MAX + 1);

	assert_non_null(text);
	strcpy(text, "{\"type\":\"event\",\"body\":{\"type\":\"x\",\"data\":[");
	while (len + strlen(unit) + strlen(",]}}") <= FRAME_MESSAGE_MAX)
		len += (size_t)sprintf(text + len, "%s%s", text[len - 1] == '[' ? "" : ",", unit);
	strcpy(text + len, "]}}");
	int result = decode(text, out, err);
	free(text);
	return result;
}

/* What takes many times its bytes in memory is refused, but not the longest list of ports. */
static void too_many_values_are_refused(void **state)
{
	static const char *const many[] = {"{}", "[]", "1", "{\"a\":1}", "[[1]]"};
	struct message message;
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNT(many); i++) {
		assert_int_equal(decode_many(many[i], &message, &err), -EINVAL);
		assert_non_null(strstr(err.text, "values"));
	}
	assert_int_equal(
		decode_many("{\"ip\":\"1.2.3.4\",\"port\":1,\"proto\":\"tcp\"}", &message, &err),
		0);
	assert_true(json_array_size(message.data) > 20000);
	message_fini(&message);
}

static void messages_are_written(void **state)
{
	static const struct {
		enum message_type type;
		int64_t id;
		const char *op, *data, *error, *text;
	} rows[] = {
		{MESSAGE_REQUEST, 5, "ping", NULL, NULL,
			"{\"type\":\"request\",\"body\":{\"id\":5,\"op\":\"ping\"}}"},
		{MESSAGE_REQUEST, 1, "configure", "{'me':'1.2.3.4'}", NULL,
			"{\"type\":\"request\",\"body\":{\"id\":1,\"op\":\"configure\","
			"\"args\":{\"me\":\"1.2.3.4\"}}}"},
		{MESSAGE_RESULT, -3, "x", "{'b':1,'a':2}", NULL,
			"{\"type\":\"result\",\"body\":{\"request_id\":-3,\"op\":\"x\","
			"\"data\":{\"b\":1,\"a\":2}}}"},
		{MESSAGE_RESULT, 0, "x", NULL, "'no'",
			"{\"type\":\"result\",\"body\":{\"request_id\":0,\"op\":\"x\","
			"\"error\":\"no\"}}"},
		{MESSAGE_EVENT, 9, "routeSuggestion", "{'ip':[]}", NULL,
			"{\"type\":\"event\",\"body\":{\"type\":\"routeSuggestion\","
			"\"data\":{\"ip\":[]}}}"},
		/* bytes that JSON cannot carry */
		{MESSAGE_EVENT, 0, "\xff", "{}", NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct message message = {.type = rows[i].type, .id = rows[i].id};
		size_t len;

		strcpy(message.op, rows[i].op);
		message.data = rows[i].data ? json(rows[i].data) : NULL;
		message.error = rows[i].error ? json(rows[i].error) : NULL;
		char *text = message_encode(&message, &len);
		assert_null(message.data);
		assert_null(message.error);
		if (!rows[i].text) {
			assert_null(text);
			continue;
		}
		assert_string_equal(text, rows[i].text);
		assert_int_equal(len, strlen(text));
		free(text);
	}
}

/* A newline, which is nothing to JSON. */
static void more_is_announced(void **state)
{
	static const char plain[] =
		"{\"type\":\"request\",\"body\":{\"id\":1,\"op\":\"configure\"}}";
	struct message message;
	struct err err;
	size_t len;

	(void)state;
	for (int more = 0; more < 2; more++) {
		message = (struct message){.type = MESSAGE_REQUEST, .id = 1, .says_more = more};
		strcpy(message.op, "configure");
		char *text = message_encode(&message, &len);
		assert_int_equal(len, sizeof(plain) - 1 + (size_t)more);
		assert_memory_equal(text, plain, sizeof(plain) - 1);
		assert_int_equal(message_decode(text, len, &message, &err), 0);
		assert_int_equal(message.says_more, more);
		message_fini(&message);
		free(text);
	}
}

static void errors_become_text(void **state)
{
	static const char *const rows[][2] = {
		{"'address in use'", "address in use"},
		{"'two\\nlines \\u001b[2J'", "two\\x0alines \\x1b[2J"},
		{"''", "no reason given"},
		{"{'code':5,'text':'no'}", "{\"code\":5,\"text\":\"no\"}"},
		{"['a']", "[\"a\"]"},
		{"7", "7"},
		{"true", "true"},
		{"'0123456789012345678901234567890123456789'", "0123456789012345678901234567890"},
	};
	char text[32];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		json_t *error = json(rows[i][0]);

		assert_ptr_equal(message_error_text(error, text, sizeof(text)), text);
		assert_string_equal(text, rows[i][1]);
		json_decref(error);
	}
	assert_string_equal(message_error_text(NULL, text, sizeof(text)), "no reason given");
}

/* --- events ------------------------------------------------------------------------------- */

static void route_suggestions(void **state)
{
	static const struct {
		const char *data;
		ssize_t count;
		const char *first, *via;
	} rows[] = {
		{"{'ip':['10.0.0.1','10.0.0.2'],'route':'127.0.42.101','x':1}", 2, "10.0.0.1",
			"127.0.42.101"},
		{"{'ip':['1.0.0.1','1.0.0.2','1.0.0.3','1.0.0.4'],'route':'1.2.3.4'}", 3, "1.0.0.1",
			"1.2.3.4"},
		{"{'ip':[],'route':'1.2.3.4'}", 0, NULL, "1.2.3.4"},
		{"{'ip':null,'route':'1.2.3.4'}", 0, NULL, "1.2.3.4"},
		{"{'route':'1.2.3.4'}", 0, NULL, "1.2.3.4"},
		{"{'ip':['10.0.0.1']}", -EINVAL, NULL, NULL},
		{"{'ip':['10.0.0.1'],'route':''}", -EINVAL, NULL, NULL},
		{"{'ip':['10.0.0.1'],'route':1}", -EINVAL, NULL, NULL},
		{"{'ip':'10.0.0.1','route':'1.2.3.4'}", -EINVAL, NULL, NULL},
		{"{'ip':[1],'route':'1.2.3.4'}", -EINVAL, NULL, NULL},
		{"{'ip':['::1'],'route':'1.2.3.4'}", -EINVAL, NULL, NULL},
		{"{'ip':['1.2.3.4','1.2.3.4','1.2.3.4','x'],'route':'1.2.3.4'}", -EINVAL, NULL,
			NULL},
		{"[]", -EINVAL, NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		json_t *data = json(rows[i].data);
		struct in_addr ips[3] = {{0}}, via;
		struct err err;

		ssize_t count = message_decode_suggestion(data, ips, COUNT(ips), &via, &err);
		if (count != rows[i].count)
			fail_msg("%s: %zd", rows[i].data, count);
		if (count > 0)
			assert_string_equal(addr_text(ips[0]), rows[i].first);
		if (count >= 0)
			assert_string_equal(addr_text(via), rows[i].via);
		json_decref(data);
	}
	struct in_addr via;
	assert_int_equal(message_decode_suggestion(NULL, NULL, 0, &via, NULL), -EINVAL);
	/* as NoRouter's agents send it */
	struct in_addr ips[2];
	assert_int_equal(inet_pton(AF_INET, "10.0.0.1", &ips[0]), 1);
	assert_int_equal(inet_pton(AF_INET, "10.0.0.2", &ips[1]), 1);
	assert_int_equal(inet_pton(AF_INET, "127.0.42.101", &via), 1);
	json_t *sent = message_encode_suggestion(ips, 2, via),
	       *wanted = json("{'ip':['10.0.0.1','10.0.0.2'],'route':'127.0.42.101'}");
	assert_true(json_equal(sent, wanted));
	json_decref(sent);
	json_decref(wanted);
}

static void hosts_that_have_gone(void **state)
{
	struct in_addr ips[MESSAGE_GONE_MAX], back[MESSAGE_GONE_MAX];
	struct err err;

	(void)state;
	for (size_t i = 0; i < MESSAGE_GONE_MAX; i++)
		ips[i].s_addr = htonl(0x7f002a00 + (uint32_t)i);
	for (size_t count = 0; count <= MESSAGE_GONE_MAX; count += 64) {
		json_t *data = message_encode_gone(ips, count);

		assert_int_equal(message_decode_gone(data, back, &err), count);
		assert_memory_equal(ips, back, count * sizeof(ips[0]));
		if (count == MESSAGE_GONE_MAX) {
			json_array_append_new(json_object_get(data, "ip"), json_string("1.2.3.4"));
			assert_int_equal(message_decode_gone(data, back, &err), count);
		}
		json_decref(data);
	}
	static const char *const wrong[] = {
		"{'ip':'10.0.0.1'}", "{'ip':[1]}", "{'ip':['::1']}", "{'ip':['0.0.0.0']}"};
	for (size_t i = 0; i < COUNT(wrong); i++) {
		json_t *data = json(wrong[i]);

		assert_int_equal(message_decode_gone(data, back, &err), -EINVAL);
		assert_non_null(strstr(err.text, "ip"));
		json_decref(data);
	}
}

static void how_a_command_ended(void **state)
{
	static const struct message_ended rows[] = {
		{0, ""}, {143, ""}, {125, "cannot make a user namespace"}};
	static const char *const bad[] = {
		"{\"status\":\"3\"}", "{\"status\":70000}", "{\"status\":1,\"reason\":7}"};
	struct message_ended back = {.status = 9};
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *data = message_encode_ended(&rows[i]);

		assert_int_equal(message_decode_ended(data, &back, &err), 0);
		assert_int_equal(back.status, rows[i].status);
		assert_string_equal(back.reason, rows[i].reason);
		json_decref(data);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_t *data = json_loads(bad[i], 0, NULL);

		assert_int_equal(message_decode_ended(data, &back, &err), -EINVAL);
		assert_int_equal(back.status, 125);
		json_decref(data);
	}
	json_t *data = json_pack("{s:i, s:s}", "status", 1, "reason", "a\nb");
	assert_int_equal(message_decode_ended(data, &back, &err), 0);
	assert_null(strchr(back.reason, '\n'));
	json_decref(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_messages),
		cmocka_unit_test(bad_messages),
		cmocka_unit_test(length_counts),
		cmocka_unit_test(deep_nesting_is_refused),
		cmocka_unit_test(too_many_values_are_refused),
		cmocka_unit_test(messages_are_written),
		cmocka_unit_test(more_is_announced),
		cmocka_unit_test(errors_become_text),
		cmocka_unit_test(route_suggestions),
		cmocka_unit_test(hosts_that_have_gone),
		cmocka_unit_test(how_a_command_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
