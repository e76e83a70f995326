/* SPDX-License-Identifier: Apache-2.0 */
/* test_socks_wire - messages of SOCKS as bytes, whole and in parts */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/socks_wire.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BYTES(b) (b), sizeof(b) - 1

#define HOST255                                                            \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *bytes;
	size_t len;
	unsigned command;
	bool is_other_kind;
	const char *host;
	uint16_t port;
} requests[] = {
	{BYTES("\5\1\0\1\300\0\2\7\0P"), 1, false, "192.0.2.7", 80},
	{BYTES("\5\1\0\3\3lab\x1f\x90"), 1, false, "lab", 8080},
	{BYTES("\5\1\0\3\xff" HOST255 "\0\1"), 1, false, HOST255, 1},
	{BYTES("\5\3\0\4\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\x35"), 3, false, "2001:db8::1", 53},
	{BYTES("\5\1\0\4\0\0\0\0\0\0\0\0\0\0\xff\xff\300\0\2\7\0P"), 1, false, "192.0.2.7", 80},
	{BYTES("\5\2\x7f\3\5gr\xc3\xbc\x2e\0P"), 2, false, "gr\xc3\xbc.", 80},
	{BYTES("\5\1\0\2"), 1, true, "", 0},
	{BYTES("\5\1\0\0"), 1, true, "", 0},
	{BYTES("\4\1\0P\300\0\2\7\0"), 1, false, "192.0.2.7", 80},
	{BYTES("\4\2\0P\300\0\2\7me\0"), 2, false, "192.0.2.7", 80},
	{BYTES("\4\1\0P\0\0\0\0\0"), 1, false, "0.0.0.0", 80},
	{BYTES("\4\1\0P\0\0\0\1me\0lab.example\0"), 1, false, "lab.example", 80},
	{BYTES("\4\1\0P\0\0\0\xff" HOST255 "\0" HOST255 "\0"), 1, false, HOST255, 80},
};

/* Every part is too little; what follows is not looked at. */
static void requests_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(requests); i++) {
		size_t len = requests[i].len;
		struct socks_request out;
		char *more;

		for (size_t part = 0; part < len; part++) {
			char *exact = malloc(part + !part); /* a byte too many is seen */

			memcpy(exact, requests[i].bytes, part);
			assert_int_equal(socks_wire_read_request(exact, part, &out), 0);
			free(exact);
		}
		more = malloc(len + 1);
		memcpy(more, requests[i].bytes, len);
		more[len] = '\0';
		for (size_t k = 0; k < 2; k++) {
			assert_int_equal(socks_wire_read_request(more, len + k, &out), len);
			assert_int_equal(out.version, requests[i].bytes[0]);
			assert_int_equal(out.command, requests[i].command);
			assert_int_equal(out.is_other_kind, requests[i].is_other_kind);
			assert_string_equal(out.host, requests[i].host);
			assert_int_equal(out.port, requests[i].port);
		}
		free(more);
	}
	assert_int_equal(SOCKS_MESSAGE_MAX, 8 + 256 + 256 + 1);
}

static void nonsense_is_no_request(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} rows[] = {
		{BYTES("\6")},
		{BYTES("\0")},
		{BYTES("G")},
		{BYTES("\5\1\0\3\0\0P")},
		{BYTES("\5\1\0\3\3a\0b\0P")},
		{BYTES("\5\1\0\3\3a b\0P")},
		{BYTES("\5\1\0\3\3a\nb\0P")},
		{BYTES("\5\1\0\3\1\x7f\0P")},
		{BYTES("\4\1\0P\300\0\2\7" HOST255 "a")},
		{BYTES("\4\1\0P\0\0\0\1\0" HOST255 "a")},
		{BYTES("\4\1\0P\0\0\0\1\0\0")},
		{BYTES("\4\1\0P\0\0\0\1\0a\tb\0")},
	};
	struct socks_request out;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (socks_wire_read_request(rows[i].bytes, rows[i].len, &out) != -EPROTO)
			fail_msg("row %zu is a request", i);
}

static void greetings_are_read(void **state)
{
	unsigned methods;

	(void)state;
	assert_int_equal(socks_wire_read_greeting(BYTES("\5"), &methods), 0);
	assert_int_equal(socks_wire_read_greeting(BYTES("\5\2\0"), &methods), 0);
	assert_int_equal(socks_wire_read_greeting(BYTES("\5\2\0\2\5"), &methods), 4);
	assert_int_equal(methods, SOCKS_NO_AUTH | SOCKS_PASSWORD);
	assert_int_equal(socks_wire_read_greeting(BYTES("\5\3\1\2\x80"), &methods), 5);
	assert_int_equal(methods, SOCKS_PASSWORD);
	assert_int_equal(socks_wire_read_greeting(BYTES("\5\0"), &methods), 2);
	assert_int_equal(methods, 0);
	assert_int_equal(socks_wire_read_greeting(BYTES("\4\1\0"), &methods), -EPROTO);
	assert_int_equal(socks_wire_read_greeting("", 0, &methods), 0);
}

static void logins_are_read(void **state)
{
	static const char whole[] = "\1\3ann\6s\0cret!";
	struct socks_login login;

	(void)state;
	for (size_t len = 0; len < sizeof(whole) - 2; len++)
		assert_int_equal(socks_wire_read_login(whole, len, &login), 0);
	assert_int_equal(socks_wire_read_login(BYTES(whole), &login), 12);
	assert_int_equal(login.user_len, 3);
	assert_memory_equal(login.user, "ann", 3);
	assert_int_equal(login.password_len, 6);
	assert_memory_equal(login.password, "s\0cret", 6);
	assert_int_equal(socks_wire_read_login(BYTES("\1\0\0"), &login), 3);
	assert_int_equal(login.user_len + login.password_len, 0);
	assert_int_equal(socks_wire_read_login(BYTES("\5\0\0"), &login), -EPROTO);
}

static void datagrams_have_headers(void **state)
{
	static const char whole[] = "\0\0\0\3\3lab\0\x35query";
	const struct addr from = addr_of4((struct in_addr){0x0700000a}, 53); /* 10.0.0.7 */
	unsigned char header[SOCKS_REPLY_MAX];
	struct socks_request out;

	(void)state;
	for (size_t len = 0; len < sizeof(whole) - 6; len++)
		assert_int_equal(socks_wire_read_datagram(whole, len, &out), -EPROTO);
	assert_int_equal(socks_wire_read_datagram(BYTES(whole), &out), 10);
	assert_string_equal(out.host, "lab");
	assert_int_equal(out.port, 53);
	/* fragments, and an address of no kind */
	assert_int_equal(socks_wire_read_datagram(BYTES("\0\0\1\1\12\0\0\1\0\1x"), &out), -EPROTO);
	assert_int_equal(
		socks_wire_read_datagram(BYTES("\0\0\x80\1\12\0\0\1\0\1x"), &out), -EPROTO);
	assert_int_equal(socks_wire_read_datagram(BYTES("\0\0\0\2\12\0\0\1\0\1x"), &out), -EPROTO);
	assert_int_equal(socks_wire_write_datagram(&from, header), 10);
	assert_memory_equal(header, "\0\0\0\1\12\0\0\7\0\x35", 10);
}

static void replies_say_what_came_of_it(void **state)
{
	static const struct {
		int result;
		unsigned char code;
	} rows[] = {{0, 0}, {-EACCES, 2}, {-EPERM, 2}, {-ENETUNREACH, 3}, {-EHOSTUNREACH, 4},
		{-ENOENT, 4}, {-EAGAIN, 4}, {-ECONNREFUSED, 5}, {-ETIMEDOUT, 6},
		{SOCKS_NO_COMMAND, 7}, {SOCKS_NO_KIND, 8}, {-EAFNOSUPPORT, 8}, {-EMFILE, 1},
		{-EPROTO, 1}};
	const struct addr none = {.family = AF_UNSPEC};
	struct addr at, ip6;
	unsigned char out[SOCKS_REPLY_MAX];

	(void)state;
	assert_int_equal(addr_parse("192.0.2.7", &at, NULL), 0);
	assert_int_equal(addr_parse("2001:db8::1", &ip6, NULL), 0);
	addr_set_port(&at, 8080);
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(socks_wire_write_reply(SOCKS_5, rows[i].result, &none, out), 10);
		assert_int_equal(out[1], rows[i].code);
		assert_memory_equal(out + 2, "\0\1\0\0\0\0\0\0", 8);
		assert_int_equal(socks_wire_write_reply(SOCKS_4, rows[i].result, &none, out), 8);
		assert_int_equal(out[0], 0);
		assert_int_equal(out[1], rows[i].result == 0 ? 0x5a : 0x5b);
	}
	assert_int_equal(socks_wire_write_reply(SOCKS_5, 0, &at, out), 10);
	assert_memory_equal(out, "\5\0\0\1\300\0\2\7\x1f\x90", 10);
	assert_int_equal(socks_wire_write_reply(SOCKS_5, 0, &ip6, out), SOCKS_REPLY_MAX);
	assert_memory_equal(
		out, "\5\0\0\4\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\0", SOCKS_REPLY_MAX);
	assert_int_equal(socks_wire_write_reply(SOCKS_4, 0, &at, out), 8);
	assert_memory_equal(out, "\0\x5a\x1f\x90\300\0\2\7", 8);
	assert_int_equal(socks_wire_write_method(SOCKS_NO_AUTH, out), 2);
	assert_memory_equal(out, "\5\0", 2);
	socks_wire_write_method(SOCKS_PASSWORD, out);
	assert_memory_equal(out, "\5\2", 2);
	socks_wire_write_method(0, out);
	assert_memory_equal(out, "\5\xff", 2);
	socks_wire_write_login(true, out);
	assert_memory_equal(out, "\1\0", 2);
	socks_wire_write_login(false, out);
	assert_memory_equal(out, "\1\1", 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_read),
		cmocka_unit_test(nonsense_is_no_request),
		cmocka_unit_test(greetings_are_read),
		cmocka_unit_test(logins_are_read),
		cmocka_unit_test(datagrams_have_headers),
		cmocka_unit_test(replies_say_what_came_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
