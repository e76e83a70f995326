/* SPDX-License-Identifier: Apache-2.0 */
/* test_members - members of an object: there, missing, null, of the wrong type; where they are */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "mesh/members.h"

static const char text[] =
	"{\"text\":\"t\",\"yes\":true,\"port\":80,\"ip\":\"10.0.0.1\",\"null\":null,"
	"\"list\":[{\"port\":0},1],\"map\":{\"text\":7,\"big\":65536}}";

static void expect(const struct members *from, int result, const char *wanted)
{
	assert_int_equal(result, -EINVAL);
	assert_int_equal(from->err->code, EINVAL);
	assert_string_equal(from->err->text, wanted);
}

static void what_is_there(const struct members *root)
{
	const char *word;
	const json_t *list;
	struct in_addr ip;
	uint16_t port, count;
	int64_t number;
	bool is_on;

	assert_int_equal(members_text(root, "text", &word), 0);
	assert_string_equal(word, "t");
	assert_int_equal(members_need_text(root, "text", &word), 0);
	assert_int_equal(members_bool(root, "yes", &is_on), 0);
	assert_true(is_on);
	assert_int_equal(members_list(root, "list", &list), 0);
	assert_int_equal(json_array_size(list), 2);
	assert_int_equal(members_need_int(root, "port", &number), 0);
	assert_int_equal(number, 80);
	assert_int_equal(members_need_port(root, "port", &port), 0);
	assert_int_equal(port, 80);
	assert_int_equal(members_number(root, "port", &count), 0);
	assert_int_equal(count, 80);
	assert_int_equal(members_need_host(root, "ip", &ip), 0);
	assert_int_equal(ntohl(ip.s_addr), 0x0a000001);
}

/* null is the same as nothing */
static void what_is_missing(const struct members *root, const char *name)
{
	const char *word = "x";
	const json_t *list;
	struct members object;
	int64_t number;
	uint16_t count = 1;
	bool is_on = true;

	assert_int_equal(members_number(root, name, &count), 0);
	assert_int_equal(count, 0);
	assert_int_equal(members_text(root, name, &word), 0);
	assert_null(word);
	assert_int_equal(members_bool(root, name, &is_on), 0);
	assert_false(is_on);
	assert_int_equal(members_list(root, name, &list), 0);
	assert_null(list);
	assert_int_equal(members_object(root, name, &object), 0);
	assert_int_equal(json_object_size(object.object), 0);
	assert_int_equal(members_need_text(root, name, &word), -EINVAL);
	assert_int_equal(members_need_int(root, name, &number), -EINVAL);
	assert_non_null(strstr(root->err->text, "expected a whole number, found nothing"));
}

static void what_is_wrong(const struct members *root)
{
	const char *word;
	struct members object;
	uint16_t port;

	expect(root, members_text(root, "port", &word), "port: expected a text, found 80");
	expect(root, members_object(root, "list", &object),
		"list: expected an object, found [{\"port\":0},1]");
	expect(root, members_item(root, "list", 1, &object),
		"list[1]: expected an object, found 1");
	expect(root, members_item(root, "list", 2, &object),
		"list[2]: expected an object, found nothing");
	assert_int_equal(members_item(root, "list", 0, &object), 0);
	expect(root, members_need_port(&object, "port", &port),
		"list[0].port: expected a port from 1 to 65535, found 0");
	assert_int_equal(members_object(root, "map", &object), 0);
	expect(root, members_number(&object, "big", &port),
		"map.big: expected a whole number from 0 to 65535, found 65536");
	expect(root, members_text(&object, "text", &word), "map.text: expected a text, found 7");
	expect(root, members_refuse(root, "a\nb", NULL, "c"), "a\\x0ab: expected c, found nothing");
}

static void members(void **state)
{
	json_t *json = json_loads(text, 0, NULL);
	struct err err = {0};
	const struct members root = {.object = json, .err = &err};

	(void)state;
	assert_non_null(json);
	what_is_there(&root);
	what_is_missing(&root, "null");
	what_is_missing(&root, "none");
	what_is_wrong(&root);
	json_decref(json);
}

static void hosts(void **state)
{
	static const char *const bad[] = {"", "10.0.0", "10.0.0.1 ", "10.0.0.01", "0.0.0.0",
		"224.0.0.1", "255.255.255.255", "::1", "a"};
	struct in_addr ip = {.s_addr = 7};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(members_is_host(bad[i], &ip));
	assert_int_equal(ip.s_addr, 7);
	assert_true(members_is_host("223.255.255.255", &ip));
	assert_int_equal(ntohl(ip.s_addr), 0xdfffffff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members),
		cmocka_unit_test(hosts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
