/* SPDX-License-Identifier: Apache-2.0 */
/* test_query - questions that are right, cut, made up */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dns/query.h"
#include "util/addr.h"

/* id 0x1234, RD, one question, one additional record: WwW.Example.CoM A IN, OPT of 4096 bytes */
static const uint8_t plain[] = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01"
			       "\3WwW\7Example\3CoM\0\0\1\0\1"
			       "\0\0\x29\x10\0\0\0\0\0\0\0";
#define PLAIN_BYTES    (sizeof(plain) - 1)
#define QUESTION_BYTES 33

static void test_plain(void **state)
{
	struct query query;

	(void)state;
	assert_int_equal(query_parse(plain, PLAIN_BYTES, &query), DNS_OK);
	assert_int_equal(query.id, 0x1234);
	assert_int_equal(query.type, QUERY_A);
	assert_true(query.is_inet && query.has_edns);
	assert_int_equal(query.udp_max, 4096);
	assert_int_equal(query.question_end, QUESTION_BYTES);
	assert_string_equal(query.name, "www.example.com");
}

/* Nothing behind the end is read (ASan), and no part of it is a query. */
static void test_cut(void **state)
{
	(void)state;
	for (size_t len = 0; len < PLAIN_BYTES; len++) {
		struct query query;
		uint8_t *bytes = malloc(len + 1);

		assert_non_null(bytes);
		memcpy(bytes + 1, plain, len);
		assert_int_equal(
			query_parse(bytes + 1, len, &query), len < 12 ? -EBADMSG : DNS_FORMERR);
		free(bytes);
	}
}

static int parse_changed(size_t at, uint8_t value)
{
	uint8_t bytes[PLAIN_BYTES];
	struct query query;

	memcpy(bytes, plain, sizeof(bytes));
	bytes[at] = value;
	return query_parse(bytes, sizeof(bytes), &query);
}

static void test_refused(void **state)
{
	(void)state;
	assert_int_equal(parse_changed(2, 0x81), -EBADMSG);     /* an answer */
	assert_int_equal(parse_changed(2, 0x29), DNS_NOTIMP);   /* an update */
	assert_int_equal(parse_changed(5, 0), DNS_FORMERR);     /* no question */
	assert_int_equal(parse_changed(5, 2), DNS_FORMERR);     /* two */
	assert_int_equal(parse_changed(10, 0xff), DNS_FORMERR); /* 65281 records */
	assert_int_equal(parse_changed(12, 0xc0), DNS_FORMERR); /* a pointer */
	assert_int_equal(parse_changed(12, 0x40), DNS_FORMERR); /* a label of no kind */
}

/* What is in a label never looks like what is between labels. */
static void test_odd_names(void **state)
{
	static const uint8_t dotted[] = "\0\1\1\0\0\1\0\0\0\0\0\0\3a.b\0\0\x1c\0\3";
	static const uint8_t root[] = "\0\1\1\0\0\1\0\0\0\0\0\0\0\0\2\0\1";
	struct query query;

	(void)state;
	assert_int_equal(query_parse(dotted, sizeof(dotted) - 1, &query), DNS_OK);
	assert_string_equal(query.name, "a\\.b");
	assert_int_equal(query.type, QUERY_AAAA);
	assert_false(query.is_inet || query.has_edns);
	assert_int_equal(query.udp_max, DNS_UDP_BYTES);
	assert_int_equal(query_parse(root, sizeof(root) - 1, &query), DNS_OK);
	assert_string_equal(query.name, "");
}

static void test_made(void **state)
{
	uint8_t bytes[512];
	struct query query;
	ssize_t len = query_make("db.Cloud1.example", QUERY_AAAA, bytes, sizeof(bytes));

	(void)state;
	assert_true(len > 0);
	assert_int_equal(query_parse(bytes, (size_t)len, &query), DNS_OK);
	assert_string_equal(query.name, "db.cloud1.example");
	assert_int_equal(query.type, QUERY_AAAA);
	assert_int_equal(query.udp_max, DNS_EDNS_BYTES);
	assert_true(bytes[2] & 1); /* wants recursion */
	assert_int_equal(query_make("a..b", QUERY_A, bytes, sizeof(bytes)), -EINVAL);
	assert_int_equal(query_make("example", QUERY_A, bytes, 20), -EMSGSIZE);
}

static void test_reverse(void **state)
{
	static const char *const bad[] = {"101.42.0.in-addr.arpa", "1.2.3.300.in-addr.arpa",
		"01.2.3.4.in-addr.arpa", "+1.2.3.4.in-addr.arpa", "1.2.3.4.in-addr.arpa.x",
		"1.2.3.4.5.in-addr.arpa", "in-addr.arpa", "", "1.0.ip6.arpa"};
	struct addr addr;
	char text[ADDR_TEXT_BYTES];

	(void)state;
	assert_true(query_reverse("101.42.0.127.in-addr.arpa", &addr));
	assert_string_equal(addr_format_ip(&addr, text, sizeof(text)), "127.0.42.101");
	assert_true(query_reverse("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f."
				  "ip6.arpa",
		&addr));
	assert_string_equal(addr_format_ip(&addr, text, sizeof(text)), "fd00::1");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(query_reverse(bad[i], &addr));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_odd_names),
		cmocka_unit_test(test_made),
		cmocka_unit_test(test_reverse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
