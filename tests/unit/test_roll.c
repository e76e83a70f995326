/* SPDX-License-Identifier: Apache-2.0 */
/* test_roll - lists of hosts: names, addresses, who comes and who leaves */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mesh/manifest/hostnames.h"
#include "mesh/manifest/roll.h"

struct taken {
	const char *name;
	const char *vip;
};

static bool is_name_taken(void *owner, const char *name)
{
	const struct taken *taken = owner;

	return taken->name && strcasecmp(taken->name, name) == 0;
}

static bool is_vip_taken(void *owner, struct in_addr vip)
{
	const struct taken *taken = owner;

	return taken->vip && inet_addr(taken->vip) == vip.s_addr;
}

static const struct roll_ops ops = {is_name_taken, is_vip_taken};

static struct roll make_roll(const char *net, int prefix_len)
{
	return (struct roll){.net.s_addr = inet_addr(net), .prefix_len = prefix_len};
}

static int follow(struct roll *roll, const char *text, struct taken *taken)
{
	struct err err = {0};
	int result = roll_follow(roll, text, strlen(text), &ops, taken, &err);

	if (result < 0)
		fail_msg("%s", err.text);
	return result;
}

/* "name=address given" of who is there, a space between. */
static const char *told(const struct roll *roll)
{
	static char text[4096];
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < roll->count; i++) {
		const struct roll_member *member = &roll->members[i];
		char vip[INET_ADDRSTRLEN];

		if (roll_has(roll, member))
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s=%s",
				len ? " " : "", member->name,
				inet_ntop(AF_INET, &member->vip, vip, sizeof(vip)));
	}
	return text;
}

static void test_names_and_addresses(void **state)
{
	struct roll roll = make_roll("127.0.60.0", 24);
	struct taken taken = {"www", "127.0.60.2"};

	(void)state;
	assert_int_equal(
		follow(&roll, "pod/worker-0\npod/worker-1\r\n\n  pod/worker-0  \n", &taken), 1);
	assert_string_equal(told(&roll), "worker-0=127.0.60.1 worker-1=127.0.60.3");
	assert_int_equal(roll_present(&roll), 2);
	assert_string_equal(roll.members[0].given, "pod/worker-0");
	/* the order does not count, nor an end without a newline */
	assert_int_equal(follow(&roll, "pod/worker-1\npod/worker-0", &taken), 0);
	/* who comes back has what it had */
	assert_int_equal(follow(&roll, "pod/worker-1\nWWW\nother/worker-1\n", &taken), 1);
	assert_string_equal(
		told(&roll), "worker-1=127.0.60.3 WWW-2=127.0.60.4 worker-1-2=127.0.60.5");
	assert_int_equal(follow(&roll, "pod/worker-0\n", &taken), 1);
	assert_string_equal(told(&roll), "worker-0=127.0.60.1");
	assert_int_equal(follow(&roll, "", &taken), 1);
	assert_string_equal(told(&roll), "");
	assert_int_equal(follow(&roll, "\n\n", &taken), 0);
	assert_true(roll_has_name(&roll, "WORKER-0"));
	roll_fini(&roll);
}

static void check_name(const char *given, const char *wanted)
{
	struct roll roll = make_roll("10.0.0.0", 8);
	struct taken taken = {NULL, NULL};

	follow(&roll, given, &taken);
	assert_int_equal(roll.count, 1);
	assert_string_equal(roll.members[0].name, wanted);
	assert_true(hostnames_is_valid(roll.members[0].name, ""));
	roll_fini(&roll);
}

static void test_what_is_no_host_name_is_made_one(void **state)
{
	char given[254], wanted[254];

	(void)state;
	check_name("pod/worker-0", "worker-0");
	check_name("ns/pod/a.b", "a.b");
	check_name("user@gw:22", "user-gw-22");
	check_name("10.0.0.5", "10-0-0-5");
	check_name("..a..b.", "a.b");
	check_name("@@", "host");
	check_name("pod/", "pod");
	check_name("b\xc3\xbc", "b");
	check_name("b\xc3\xbc.x", "b--.x");
	memset(given, 'a', 253);
	given[253] = '\0';
	memset(wanted, 'a', 56);
	wanted[56] = '\0';
	check_name(given, wanted);
}

static void check_bad(struct roll *roll, const char *text, size_t len, const char *wanted)
{
	struct taken taken = {NULL, NULL};
	struct err err = {0};
	char before[4096];

	snprintf(before, sizeof(before), "%s", told(roll));
	assert_int_equal(roll_follow(roll, text, len, &ops, &taken, &err), -EINVAL);
	assert_string_equal(err.text, wanted);
	assert_string_equal(told(roll), before);
}

#define CHECK_BAD(roll, text, wanted) check_bad(roll, text, sizeof(text) - 1, wanted)

static void test_what_is_no_list_changes_nothing(void **state)
{
	struct roll roll = make_roll("127.0.60.0", 30);
	struct taken taken = {NULL, NULL};
	char many[5 * 4100], *at = many;

	(void)state;
	follow(&roll, "a\nb\n", &taken);
	CHECK_BAD(&roll, "a\nNAME READY\n", "it says \"NAME READY\": expected one name a line");
	CHECK_BAD(&roll, "a\nb\x1b[1m\n", "it says \"b\\x1b[1m\": expected one name a line");
	CHECK_BAD(&roll, "-oProxyCommand=x\n",
		"it says \"-oProxyCommand=x\": expected a name that does not begin with -");
	CHECK_BAD(&roll, "a\0b\n", "it says a byte that is 0: expected one name a line");
	CHECK_BAD(&roll, "a\nb\nc\n",
		"it has 3 hosts, and vips 127.0.60.0/30 has room for 2: expected a larger network");
	for (int i = 0; i < 4097; i++)
		at += sprintf(at, "%x\n", i);
	check_bad(&roll, many, (size_t)(at - many), "it has too many hosts: expected at most 4096");
	roll_fini(&roll);
}

/* Only when there is no other one. */
static void test_who_is_gone_for_longest_loses_its_address(void **state)
{
	struct roll roll = make_roll("127.0.60.0", 29); /* six */
	struct taken taken = {NULL, NULL};

	(void)state;
	follow(&roll, "a\nb\nc\n", &taken);
	follow(&roll, "b\nc\n", &taken);
	follow(&roll, "c\n", &taken);
	follow(&roll, "c\nd\ne\nf\n", &taken);
	assert_string_equal(told(&roll), "c=127.0.60.3 d=127.0.60.4 e=127.0.60.5 f=127.0.60.6");
	follow(&roll, "c\nd\ne\nf\ng\n", &taken);
	assert_string_equal(
		told(&roll), "g=127.0.60.1 c=127.0.60.3 d=127.0.60.4 e=127.0.60.5 f=127.0.60.6");
	follow(&roll, "b\nc\n", &taken);
	assert_string_equal(told(&roll), "b=127.0.60.2 c=127.0.60.3");
	roll_fini(&roll);
}

static void test_others_take_what_a_member_had(void **state)
{
	struct roll roll = make_roll("127.0.60.0", 24);
	struct taken nobody = {NULL, NULL}, somebody = {"b", "127.0.60.1"};
	struct err err;

	(void)state;
	follow(&roll, "a\nb\nc\n", &nobody);
	assert_int_equal(roll_settle(&roll, &ops, &nobody, &err), 0);
	assert_int_equal(roll_settle(&roll, &ops, &somebody, &err), 1);
	assert_string_equal(told(&roll), "c=127.0.60.3 a=127.0.60.2 b-2=127.0.60.4");
	roll_fini(&roll);
}

static void test_at_random_nobody_has_what_another_has(void **state)
{
	static struct roll roll;
	struct taken taken = {"h3", "127.0.60.7"};
	char had[64][64] = {""};
	uint64_t seed = 3;

	(void)state;
	roll = make_roll("127.0.60.0", 25);
	for (int round = 0; round < 2000; round++) {
		char text[2048], *at = text;

		for (int i = 0; i < 64; i++) {
			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			if (seed >> 62)
				at += sprintf(at, "pod/h%d\n", i);
		}
		*at = '\0';
		follow(&roll, text, &taken);
		for (size_t i = 0; i < roll.count; i++) {
			const struct roll_member *member = &roll.members[i];
			char shown[64];
			int number = atoi(member->given + 5);

			snprintf(shown, sizeof(shown), "%s %x", member->name, member->vip.s_addr);
			assert_true(!had[number][0] || strcmp(had[number], shown) == 0);
			memcpy(had[number], shown, sizeof(shown));
			for (size_t k = 0; k < i; k++) {
				assert_true(roll.members[k].vip.s_addr != member->vip.s_addr);
				assert_true(strcasecmp(roll.members[k].name, member->name) != 0);
			}
		}
	}
	roll_fini(&roll);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_and_addresses),
		cmocka_unit_test(test_what_is_no_host_name_is_made_one),
		cmocka_unit_test(test_what_is_no_list_changes_nothing),
		cmocka_unit_test(test_who_is_gone_for_longest_loses_its_address),
		cmocka_unit_test(test_others_take_what_a_member_had),
		cmocka_unit_test(test_at_random_nobody_has_what_another_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
