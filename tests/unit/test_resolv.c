/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_resolv - what is read from a host's resolv.conf, and what is written */
#include "net/resolv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* On a copy of exactly the text's size and one byte, so that the sanitizers see over-reads */
static struct resolv_conf parse_bytes(const char *text, size_t len)
{
	struct resolv_conf conf;
	char *copy = malloc(len + 1);

	assert_non_null(copy);
	memcpy(copy, text, len);
	copy[len] = 'x';
	memset(&conf, 0xa5, sizeof(conf));
	resolv_parse(copy, len, &conf);
	free(copy);
	return conf;
}

static struct resolv_conf parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

/* The servers as "a b c", scopes as numbers */
static const char *servers(const struct resolv_conf *conf)
{
	static char text[256];
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < conf->nservers; i++) {
		const struct sockaddr_in *v4 = (const void *)&conf->servers[i];
		const struct sockaddr_in6 *v6 = (const void *)&conf->servers[i];
		bool is_v4 = v4->sin_family == AF_INET;
		char addr[INET6_ADDRSTRLEN];

		assert_int_equal(is_v4 ? v4->sin_port : v6->sin6_port, htons(53));
		inet_ntop(v4->sin_family, is_v4 ? (const void *)&v4->sin_addr : &v6->sin6_addr,
			addr, sizeof(addr));
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i ? " " : "", addr);
		if (!is_v4 && v6->sin6_scope_id)
			len += (size_t)snprintf(
				text + len, sizeof(text) - len, "%%%u", v6->sin6_scope_id);
	}
	return text;
}

static void check_servers(const char *text, const char *wanted)
{
	struct resolv_conf conf = parse(text);

	assert_string_equal(servers(&conf), wanted);
}

static void an_ordinary_file(void **state)
{
	struct resolv_conf conf = parse("# made by hand\n"
					"; really\n"
					"nameserver 192.0.2.1\n"
					"nameserver 2001:db8::1\n"
					"search example.org lab.example.org\n"
					"options ndots:2 timeout:1\n"
					"sortlist 10.0.0.0\n"
					"options edns0\n");

	(void)state;
	assert_string_equal(servers(&conf), "192.0.2.1 2001:db8::1");
	assert_true(conf.has_v4);
	assert_true(conf.has_v6);
	assert_string_equal(conf.search, "example.org lab.example.org");
	assert_string_equal(conf.options, "ndots:2 timeout:1 edns0");
}

static void odd_spelling_is_understood(void **state)
{
	(void)state;
	check_servers("nameserver\t192.0.2.1\r\nnameserver  192.0.2.2 \r\n", "192.0.2.1 192.0.2.2");
	check_servers("nameserver 192.0.2.1", "192.0.2.1");
	check_servers("nameserver 192.0.2.1 192.0.2.2\n", "192.0.2.1");
	check_servers("nameserver 192.0.2.1#53\nnameserver 192.0.2.2;x\n", "192.0.2.1 192.0.2.2");
	check_servers("nameserver 127.1\n", "127.0.0.1");
	check_servers("\n\n\nnameserver ::1\n\n", "::1");
}

static void junk_is_skipped(void **state)
{
	(void)state;
	check_servers("nameserver\nnameserver \nnameserver x\nnameserver 192.0.2.9\n", "192.0.2.9");
	check_servers(" nameserver 192.0.2.1\nnameserver 192.0.2.9\n", "192.0.2.9");
	check_servers("#nameserver 192.0.2.1\n;nameserver 192.0.2.2\nnameserver ::2", "::2");
	check_servers("nameserverx 192.0.2.1\nNAMESERVER 192.0.2.2\nnameserver ::2", "::2");
	check_servers("nameserver 192.0.2.256\nnameserver 2001:db8::g\nnameserver ::2", "::2");
	check_servers("\x80\xff\x01nameserver 192.0.2.1\nnameserver ::2\n", "::2");
	struct resolv_conf conf = parse_bytes("nameserver 192.0.2.1\0junk\nnameserver ::2", 41);
	assert_string_equal(servers(&conf), "192.0.2.1 ::2");
}

static void no_server_means_this_machine(void **state)
{
	struct resolv_conf conf = parse("");

	(void)state;
	assert_string_equal(servers(&conf), "127.0.0.1");
	assert_true(conf.has_v4);
	assert_false(conf.has_v6);
	check_servers("search example.org\n", "127.0.0.1");
}

static void three_servers_count(void **state)
{
	struct resolv_conf conf = parse("nameserver ::1\nnameserver ::2\nnameserver junk\n"
					"nameserver ::3\nnameserver 192.0.2.4\n");

	(void)state;
	assert_string_equal(servers(&conf), "::1 ::2 ::3");
	assert_false(conf.has_v4);
}

static void scopes(void **state)
{
	char wanted[64];

	(void)state;
	snprintf(wanted, sizeof(wanted), "fe80::1%%%u", if_nametoindex("lo"));
	check_servers("nameserver fe80::1%lo\n", wanted);
	check_servers("nameserver fe80::1%7\n", "fe80::1%7");
	check_servers("nameserver fe80::1%4294967295\n", "fe80::1%4294967295");
	check_servers("nameserver fe80::1%4294967296\nnameserver ::2\n", "::2");
	check_servers("nameserver fe80::1%99999999999999999999\nnameserver ::2\n", "::2");
	check_servers("nameserver fe80::1%0\nnameserver ::2\n", "::2");
	check_servers("nameserver fe80::1%\nnameserver ::2\n", "::2");
	check_servers("nameserver fe80::1%no-such-if0\nnameserver ::2\n", "::2");
	check_servers("nameserver 192.0.2.1%lo\nnameserver ::2\n", "::2");
}

static void the_last_search_or_domain_wins(void **state)
{
	struct resolv_conf conf = parse("search a b\ndomain c d\n");

	(void)state;
	assert_string_equal(conf.search, "c");
	conf = parse("domain c\nsearch a\t\t b \r\n");
	assert_string_equal(conf.search, "a b");
	conf = parse("search a b\nsearch\ndomain \n");
	assert_string_equal(conf.search, "a b");
	conf = parse("search a # b\noptions x ;y\n");
	assert_string_equal(conf.search, "a");
	assert_string_equal(conf.options, "x");
}

static void words_are_clean_and_fit(void **state)
{
	struct resolv_conf conf =
		parse("search a\x1b[31m b \x7f \xc3\xa4 c\noptions \x01 x\x02y z\n");
	char text[4096] = "search first ";

	(void)state;
	assert_string_equal(conf.search, "b c");
	assert_string_equal(conf.options, "z");
	memset(text + 13, 'x', 2000);
	strcpy(text + 2013, " last");
	conf = parse(text);
	assert_string_equal(conf.search, "first last");
	memset(text + 7, 'y', 1023);
	text[7 + 1023] = '\0';
	conf = parse(text);
	assert_int_equal(strlen(conf.search), 1023);
	memset(text + 7, 'y', 1024);
	text[7 + 1024] = '\0';
	conf = parse(text);
	assert_string_equal(conf.search, "");
}

static void what_is_behind_64_kib_is_not_read(void **state)
{
	static const char line[] = "\nnameserver 192.0.2.1\n";
	size_t len = RESOLV_TEXT_MAX_BYTES + sizeof(line);
	char *text = malloc(len);

	(void)state;
	assert_non_null(text);
	memset(text, 'x', len);
	memcpy(text + RESOLV_TEXT_MAX_BYTES - 22, line, 22);
	struct resolv_conf conf = parse_bytes(text, len);
	assert_string_equal(servers(&conf), "192.0.2.1");
	memset(text, 'x', len);
	memcpy(text + RESOLV_TEXT_MAX_BYTES, line, 22);
	conf = parse_bytes(text, len);
	assert_string_equal(servers(&conf), "127.0.0.1");
	free(text);
}

static void check_guest(const char *host, const char *wanted)
{
	struct resolv_conf conf = parse(host);
	struct in_addr server;
	char text[512];

	inet_pton(AF_INET, "10.0.2.3", &server);
	memset(text, 'x', sizeof(text));
	assert_int_equal(resolv_format(&conf, &server, text, sizeof(text)), 0);
	assert_string_equal(text, wanted);

	/* one byte less than it takes is told, and leaves nothing behind */
	char *exact = malloc(strlen(wanted) + 1);
	assert_non_null(exact);
	assert_int_equal(resolv_format(&conf, &server, exact, strlen(wanted) + 1), 0);
	for (size_t cap_bytes = 0; cap_bytes <= strlen(wanted); cap_bytes++) {
		exact[0] = 'x';
		assert_int_equal(resolv_format(&conf, &server, exact, cap_bytes), -EMSGSIZE);
		assert_int_equal(exact[0], cap_bytes ? '\0' : 'x');
	}
	free(exact);
}

static void the_guests_file(void **state)
{
	(void)state;
	check_guest("", "nameserver 10.0.2.3\n");
	check_guest("nameserver 192.0.2.1\nsearch a b\noptions ndots:2\n",
		"nameserver 10.0.2.3\nsearch a b\noptions ndots:2\n");
	check_guest("nameserver 192.0.2.1\nnameserver ::1\n", "nameserver 10.0.2.3\n");
	check_guest("nameserver 192.0.2.1\noptions a\nsearch x\noptions b\n",
		"nameserver 10.0.2.3\nsearch x\noptions a b\n");
}

static void smuggled_lines_stay_out(void **state)
{
	struct resolv_conf conf = parse("nameserver 192.0.2.1\n");
	struct in_addr server = {htonl(0x0a000203)};
	char text[512];

	(void)state;
	strcpy(conf.search, "a\nnameserver 6.6.6.6 b");
	strcpy(conf.options, "\n\x1b]0;x\x07 c");
	assert_int_equal(resolv_format(&conf, &server, text, sizeof(text)), 0);
	assert_string_equal(text, "nameserver 10.0.2.3\nsearch 6.6.6.6 b\noptions c\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ordinary_file),
		cmocka_unit_test(odd_spelling_is_understood),
		cmocka_unit_test(junk_is_skipped),
		cmocka_unit_test(no_server_means_this_machine),
		cmocka_unit_test(three_servers_count),
		cmocka_unit_test(scopes),
		cmocka_unit_test(the_last_search_or_domain_wins),
		cmocka_unit_test(words_are_clean_and_fit),
		cmocka_unit_test(what_is_behind_64_kib_is_not_read),
		cmocka_unit_test(the_guests_file),
		cmocka_unit_test(smuggled_lines_stay_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
