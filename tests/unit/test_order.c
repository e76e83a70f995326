/* SPDX-License-Identifier: Apache-2.0 */
/* test_order - what is written, what is sent, and what is none of both */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "tunnel/order.h"

static const char *at_of(const struct order *order)
{
	static char text[ADDR_TEXT_BYTES];

	return addr_format(&order->at, text, sizeof(text));
}

static const char *to_of(const struct order *order)
{
	static char text[ENDPOINT_TEXT_BYTES];

	return endpoint_format(&order->to, text, sizeof(text));
}

static void what_is_one(void **state)
{
	static const struct {
		const char *text, *name, *at, *to;
		enum proto proto;
	} cases[] = {
		{"web=127.0.0.1:8000:localhost:80", "web", "127.0.0.1:8000", "localhost:80",
			PROTO_TCP},
		{"a=:0:web:80/tcp", "a", "0.0.0.0:0", "web:80", PROTO_TCP},
		{"a=*:1:web:80", "a", "0.0.0.0:1", "web:80", PROTO_TCP},
		{"d.n-s_=localhost:53:[2001:db8::1]:53/udp", "d.n-s_", "127.0.0.1:53",
			"[2001:db8::1]:53", PROTO_UDP},
		{"x=[::1]:1:[::2]:2", "x", "[::1]:1", "[::2]:2", PROTO_TCP},
		{"x=unix:/run/a=b:10.0.0.1:2", "x", "unix:/run/a=b", "10.0.0.1:2", PROTO_TCP},
		{"x=unix:/run/a:unix:/run/b:c", "x", "unix:/run/a", "unix:/run/b:c", PROTO_TCP},
		{"x=1.2.3.4:1:unix:r", "x", "1.2.3.4:1", "unix:r", PROTO_TCP},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct order order;
		struct err err;

		if (order_parse(cases[i].text, i % 2, &order, &err) < 0)
			fail_msg("%s: %s", cases[i].text, err.text);
		assert_string_equal(order.name, cases[i].name);
		assert_string_equal(at_of(&order), cases[i].at);
		assert_string_equal(to_of(&order), cases[i].to);
		assert_int_equal(order.proto, cases[i].proto);
		assert_int_equal(order.is_reverse, i % 2);
	}
}

static void what_is_none(void **state)
{
	static const char *const texts[] = {"", "=", "web", "web=", "=127.0.0.1:1:web:1",
		"a b=127.0.0.1:1:web:1", "a/b=127.0.0.1:1:web:1", "web=1:web:1", "web=127.0.0.1:1",
		"web=127.0.0.1:1:", "web=127.0.0.1:1:80", "web=127.0.0.1:1:web:0",
		"web=127.0.0.1:1:web:65536", "web=host:1:web:1", "web=127.0.0.1:1:web:1/sctp",
		"web=unix::web:1", "web=unix:/a", "web=unix:/a:web:1/udp",
		"web=127.0.0.1:1:unix:/a/udp", "web=[::1:1:web:1", "web=[::1]:x:web:1",
		"a2345678901234567890123456789012x=127.0.0.1:1:web:1"};
	static char longest[4096];

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	longest[1] = '=';
	for (size_t i = 0; i <= sizeof(texts) / sizeof(*texts); i++) {
		const char *text = i < sizeof(texts) / sizeof(*texts) ? texts[i] : longest;
		struct order order = {.name = "before"};
		struct err err = {0};

		if (order_parse(text, false, &order, &err) != -EINVAL)
			fail_msg("%s is taken", text);
		assert_true(err.text[0] && !strchr(err.text, '\n'));
		assert_string_equal(order.name, "before");
	}
}

/* The server has what it needs, and not what it need not know. */
static void over_the_wire(void **state)
{
	unsigned char bytes[HAIL_TEXT_MAX];
	struct order order, got;
	struct err err;

	(void)state;
	assert_int_equal(order_parse("d=127.0.0.1:53:web:54/udp", false, &order, &err), 0);
	assert_int_equal(order_decode(bytes, order_encode(&order, bytes), &got), 0);
	assert_string_equal(got.name, "d");
	assert_string_equal(at_of(&got), "127.0.0.1:53");
	assert_int_equal(got.proto, PROTO_UDP);
	assert_false(got.is_reverse || got.to.host[0] || got.to.addr.family);
	assert_int_equal(order_parse("d=127.0.0.1:53:web:54", true, &order, &err), 0);
	assert_int_equal(order_decode(bytes, order_encode(&order, bytes), &got), 0);
	assert_string_equal(to_of(&got), "web:54");
	assert_true(got.is_reverse && got.proto == PROTO_TCP && !got.at.family);
	/* it is an address to whoever allows it */
	assert_int_equal(order_parse("d=127.0.0.1:53:LocalHost:54", true, &order, &err), 0);
	assert_int_equal(order_decode(bytes, order_encode(&order, bytes), &got), 0);
	assert_string_equal(to_of(&got), "127.0.0.1:54");
}

static void the_longest_fits(void **state)
{
	char text[1024] = "a=127.0.0.1:65535:";
	unsigned char bytes[HAIL_TEXT_MAX];
	struct order order, got;
	struct err err;

	(void)state;
	memset(text + strlen(text), 'h', ENDPOINT_HOST_MAX);
	strcat(text, ":65535/udp");
	assert_int_equal(order_parse(text, true, &order, &err), 0);
	memset(order.name, 'n', ORDER_NAME_MAX);
	assert_int_equal(order_decode(bytes, order_encode(&order, bytes), &got), 0);
	assert_string_equal(to_of(&got), to_of(&order));
	assert_int_equal(strlen(got.name), ORDER_NAME_MAX);
}

static void what_is_none_on_the_wire(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} wrong[] = {{"", 0}, {"ft", 2}, {"ft\0", 3}, {"ftweb", 5}, {"xtweb\0127.0.0.1:1", 17},
		{"fxweb\0"
		 "127.0.0.1:1",
			17},
		{"ftw b\0"
		 "127.0.0.1:1",
			17},
		{"ftweb\0"
		 "127.0.0.1:1\0",
			18},
		{"ftweb\0"
		 "host:1",
			12},
		{"fuweb\0"
		 "unix:/x",
			13},
		{"rtweb\0"
		 "host",
			10},
		{"\0tweb\0"
		 "127.0.0.1:1",
			17}};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct order order;
		if (order_decode((const unsigned char *)wrong[i].bytes, wrong[i].len, &order) !=
			-EPROTO)
			fail_msg("number %zu is taken", i);
	}
}

static void labels(void **state)
{
	unsigned char bytes[HAIL_TEXT_MAX];
	char name[ORDER_NAME_MAX + 1], text[HAIL_TEXT_MAX + 1], longest[2 * HAIL_TEXT_MAX];
	struct hail hail = {.type = HAIL_OPEN, .text = bytes};

	(void)state;
	hail.len = order_label("web", "127.0.0.1:1", bytes);
	assert_true(order_read_label(&hail, name, text));
	assert_string_equal(name, "web");
	assert_string_equal(text, "127.0.0.1:1");
	hail.len = 0;
	assert_true(order_read_label(&hail, name, text));
	assert_string_equal(text, "");
	memcpy(bytes, "peer", hail.len = 4);
	assert_true(order_read_label(&hail, name, text));
	assert_string_equal(name, "");
	assert_string_equal(text, "peer");
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	hail.len = order_label("web", longest, bytes);
	assert_int_equal(hail.len, HAIL_TEXT_MAX);
	assert_true(order_read_label(&hail, name, text));
	assert_int_equal(strlen(text), HAIL_TEXT_MAX - 4);
	hail.len = order_label("a2345678901234567890123456789012x", "", bytes);
	assert_false(order_read_label(&hail, name, text));
}

/* Who has come, for what, and what it dialled; said by this and by 0.1, and read by both. */
static void openings(void **state)
{
	static const struct {
		const char *name, *peer, *dialled, *bytes;
		size_t len;
	} cases[] = {
		{"web", "192.0.2.1:2", "127.0.0.1:80", "web\000192.0.2.1:2\000127.0.0.1:80", 28},
		{"", "[2001:db8::1]:2", "[::1]:80", "\0[2001:db8::1]:2\0[::1]:80", 25},
		{"", "unix:", "unix:/proxy", "\0unix:\0unix:/proxy", 18},
		{"web", "192.0.2.1:2", "", "web\000192.0.2.1:2", 15},
	};
	char name[ORDER_NAME_MAX + 1], peer[ADDR_TEXT_BYTES], dialled[ADDR_TEXT_BYTES];
	char text[HAIL_TEXT_MAX + 1];
	unsigned char bytes[HAIL_TEXT_MAX];
	struct hail hail = {.type = HAIL_OPEN, .text = bytes};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct endpoint from = {.port = 0}, to = {.port = 0};

		if (strcmp(cases[i].peer, "unix:") == 0)
			from.addr.family = AF_UNIX;
		else
			assert_int_equal(endpoint_parse(cases[i].peer, &from, NULL), 0);
		if (cases[i].dialled[0])
			assert_int_equal(endpoint_parse(cases[i].dialled, &to, NULL), 0);
		hail.len = order_encode_open(cases[i].name, &from.addr, &to.addr, bytes);
		assert_int_equal(hail.len, cases[i].len);
		assert_memory_equal(bytes, cases[i].bytes, hail.len);
		assert_true(order_decode_open(&hail, name, peer, dialled));
		assert_string_equal(name, cases[i].name);
		assert_string_equal(peer, cases[i].peer);
		assert_string_equal(dialled, cases[i].dialled);
		assert_true(order_read_label(&hail, name, text)); /* as 0.1 does */
		assert_string_equal(name, cases[i].name);
		assert_string_equal(text, cases[i].peer);
	}
	memcpy(bytes, "192.0.2.1:2", hail.len = 11); /* of 0.1, which is for no name */
	assert_true(order_decode_open(&hail, name, peer, dialled));
	assert_string_equal(name, "");
	assert_string_equal(peer, "192.0.2.1:2");
	assert_string_equal(dialled, "");
	memset(bytes, '1', sizeof(bytes)); /* both ends of either text */
	for (size_t i = 0; i < 2; i++) {
		bytes[i] = '\0';
		hail.len = i + ADDR_TEXT_BYTES;
		assert_true(order_decode_open(&hail, name, peer, dialled));
		assert_int_equal(strlen(i == 0 ? peer : dialled), ADDR_TEXT_BYTES - 1);
		hail.len++;
		assert_false(order_decode_open(&hail, name, peer, dialled));
	}
	hail.len = HAIL_TEXT_MAX;
	assert_false(order_decode_open(&hail, name, peer, dialled));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_one),
		cmocka_unit_test(what_is_none),
		cmocka_unit_test(over_the_wire),
		cmocka_unit_test(the_longest_fits),
		cmocka_unit_test(what_is_none_on_the_wire),
		cmocka_unit_test(labels),
		cmocka_unit_test(openings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
