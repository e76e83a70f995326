/* SPDX-License-Identifier: Apache-2.0 */
/* test_addr - socket addresses: read, refused, printed, compared, given to the kernel */
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
#include <unistd.h>

#include "util/addr.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define UNTOUCHED    4242

/* @text as addr_parse reads it, or the path that begins with a slash. */
static struct addr at(const char *text, uint16_t port)
{
	struct addr addr = {.family = AF_UNIX};

	if (text[0] == '/')
		snprintf(addr.local.sun_path, sizeof(addr.local.sun_path), "%s", text);
	else
		assert_int_equal(addr_parse(text, &addr, NULL), 0);
	addr_set_port(&addr, port);
	return addr;
}

static void test_ip(void **state)
{
	static const struct {
		const char *text;
		int family;
		const char *canonical;
	} rows[] = {
		{"127.0.0.1", AF_INET, "127.0.0.1"},
		{"0.0.0.0", AF_INET, "0.0.0.0"},
		{"::", AF_INET6, "::"},
		{"[::1]", AF_INET6, "::1"},
		{"fd00:0:0:0:0:0:0:1", AF_INET6, "fd00::1"},
		{"[0000:0000:0000:0000:0000:ffff:255.255.255.255]", AF_INET6,
			"::ffff:255.255.255.255"},
	};
	struct addr addr;
	struct err err;
	char text[ADDR_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		memset(&addr, 0xff, sizeof(addr));
		assert_int_equal(addr_parse(rows[i].text, &addr, &err), 0);
		assert_int_equal(addr.family, rows[i].family);
		assert_int_equal(addr_port(&addr), 0);
		assert_non_null(addr_format_ip(&addr, text, sizeof(text)));
		assert_string_equal(text, rows[i].canonical);
		if (addr.family == AF_INET6)
			assert_int_equal(addr.v6.sin6_scope_id, 0);
	}
}

static void test_ip_wrong(void **state)
{
	static const char *const wrong[] = {"", "[]", "[", "localhost", "127.0.0.1.", "127.1",
		"1.2.3.256", "01.2.3.4", "[127.0.0.1]", "::1]", "[::1", "[[::1]]", ":::", "::1%lo",
		" ::1", "127.0.0.1 ", "0x7f.0.0.1",
		"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]"};
	struct addr addr = {.family = AF_UNIX};
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		assert_int_equal(addr_parse(wrong[i], &addr, &err), -EINVAL);
		assert_int_equal(addr.family, AF_UNIX);
	}
	addr_parse("localhost", &addr, &err);
	assert_string_equal(err.text, "\"localhost\" is no IP address: "
				      "expected one such as 127.0.0.1 or ::1, no host name");
}

static void test_cidr4(void **state)
{
	static const char *const wrong[] = {"", "/", "/8", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33",
		"10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.0/8 ", "10.0.0/8", "::/0",
		"10.0.0.0/255.0.0.0", "10.0.0.0/00000000000000000000000000000000000000000000008"};
	static const struct {
		const char *text, *network;
		int prefix_len;
	} rows[] = {
		{"10.0.2.0/24", "10.0.2.0", 24},
		{"0.0.0.0/0", "0.0.0.0", 0},
		{"128.0.0.0/1", "128.0.0.0", 1},
		{"255.255.255.255/32", "255.255.255.255", 32},
		{"172.16.0.0/12", "172.16.0.0", 12},
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct in_addr network = {.s_addr = UNTOUCHED};
		int prefix_len = UNTOUCHED;
		assert_int_equal(addr_parse_cidr4(wrong[i], &network, &prefix_len, &err), -EINVAL);
		assert_int_equal(network.s_addr, UNTOUCHED);
		assert_int_equal(prefix_len, UNTOUCHED);
	}
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct in_addr network;
		int prefix_len;
		assert_int_equal(addr_parse_cidr4(rows[i].text, &network, &prefix_len, &err), 0);
		assert_int_equal(network.s_addr, inet_addr(rows[i].network));
		assert_int_equal(prefix_len, rows[i].prefix_len);
	}
	struct in_addr network;
	int prefix_len;
	assert_int_equal(addr_parse_cidr4("10.0.2.15/24", &network, &prefix_len, &err), -ERANGE);
	assert_int_equal(network.s_addr, inet_addr("10.0.2.0"));
	assert_int_equal(prefix_len, 24);
	assert_int_equal(addr_parse_cidr4("10.255.2.15/9", &network, &prefix_len, NULL), -ERANGE);
	assert_int_equal(network.s_addr, inet_addr("10.128.0.0"));
	addr_parse_cidr4("10.0.2.15/24", &network, &prefix_len, &err);
	assert_string_equal(
		err.text, "\"10.0.2.15/24\" has bits behind its prefix: expected 10.0.2.0/24");
}

static void test_cidr6(void **state)
{
	static const char *const wrong[] = {"", "/64", "fd00::", "fd00::/", "fd00::/129",
		"fd00::/-1", "fd00::/64/64", "10.0.2.0/24", "[fd00::]/64", "fd00::%lo/64"};
	struct in6_addr prefix = {.s6_addr = {UNTOUCHED & 0xff}}, before = prefix;
	int prefix_len = UNTOUCHED;
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		assert_int_equal(addr_parse_cidr6(wrong[i], &prefix, &prefix_len, &err), -EINVAL);
		assert_memory_equal(&prefix, &before, sizeof(prefix));
		assert_int_equal(prefix_len, UNTOUCHED);
	}
	assert_int_equal(addr_parse_cidr6("fd00::7/61", &prefix, &prefix_len, &err), -ERANGE);
	assert_true(prefix.s6_addr[0] == 0xfd && prefix.s6_addr[15] == 0 && prefix_len == 61);
	assert_string_equal(
		err.text, "\"fd00::7/61\" has bits behind its prefix: expected fd00::/61");
	assert_int_equal(addr_parse_cidr6("fd00:0:0:8::/61", &prefix, &prefix_len, &err), 0);
	assert_true(prefix.s6_addr[0] == 0xfd && prefix.s6_addr[7] == 8 && prefix_len == 61);
	assert_int_equal(addr_parse_cidr6("::/0", &prefix, &prefix_len, &err), 0);
	assert_int_equal(addr_parse_cidr6("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", &prefix,
				 &prefix_len, &err),
		0);
	assert_int_equal(prefix_len, 128);
}

static void test_parse_host(void **state)
{
	struct addr addr = {.family = AF_UNIX};
	struct err err;

	(void)state;
	assert_int_equal(addr_parse_host("[::ffff:127.0.0.1]", &addr, &err), -EINVAL);
	assert_string_equal(
		err.text, "\"[::ffff:127.0.0.1]\" is an IPv4 address: expected 127.0.0.1");
	assert_int_equal(addr_parse_host("localhost", &addr, &err), -EINVAL);
	assert_int_equal(addr.family, AF_UNIX);
	assert_int_equal(addr_parse_host("127.0.0.1", &addr, &err), 0);
	assert_int_equal(addr.family, AF_INET);
	assert_int_equal(addr_parse_host("[::fffe:127.0.0.1]", &addr, &err), 0);
	assert_int_equal(addr.family, AF_INET6);
	static const char *const of_many[] = {"224.0.0.1", "239.255.255.255", "240.0.0.1",
		"255.255.255.255", "ff02::1", "[ff0e::1]"};
	for (size_t i = 0; i < sizeof(of_many) / sizeof(of_many[0]); i++) {
		addr = addr_loopback4(1);
		assert_int_equal(addr_parse_host(of_many[i], &addr, &err), -EINVAL);
		assert_non_null(strstr(err.text, "is no address of a host"));
		assert_int_equal(addr_port(&addr), 1);
	}
	assert_int_equal(addr_parse_host("223.255.255.255", &addr, &err), 0);
	assert_int_equal(addr_parse_host("[fe80::1]", &addr, &err), -EINVAL);
	assert_non_null(strstr(err.text, "link-local"));
	assert_int_equal(addr_parse_host("fec0::1", &addr, &err), 0);
	assert_int_equal(addr_parse_host("0.0.0.0", &addr, &err), 0);
}

static void test_parse_own(void **state)
{
	static const char *const rows[][2] = {{"localhost", "127.0.0.1"},
		{"LOCALHOST", "127.0.0.1"}, {"*", "0.0.0.0"}, {"", "0.0.0.0"}, {"[::]", "::"},
		{"127.0.0.2", "127.0.0.2"}};
	static const char *const wrong[] = {"localhost ", "local", "**", "[*]", "224.0.0.1"};
	struct addr addr;
	char text[ADDR_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(addr_parse_own(rows[i][0], &addr, NULL), 0);
		assert_string_equal(addr_format_ip(&addr, text, sizeof(text)), rows[i][1]);
		assert_int_equal(addr_port(&addr), 0);
	}
	for (size_t i = 0; i < COUNT(wrong); i++)
		assert_int_equal(addr_parse_own(wrong[i], &addr, NULL), -EINVAL);
}

/* What bind(2) and connect(2) are given */
static void test_shape(void **state)
{
	struct addr none = {0}, v4 = at("127.0.0.1", 80), v6 = at("::1", 8080);
	struct addr local = at("/tmp/s", 80), made;

	(void)state;
	assert_int_equal(addr_len(&none), 0);
	assert_int_equal(addr_port(&none), 0);
	addr_set_port(&none, 80);
	assert_int_equal(none.family, AF_UNSPEC);

	assert_int_equal(addr_len(&v4), sizeof(struct sockaddr_in));
	assert_int_equal(v4.any.sa_family, AF_INET);
	assert_int_equal(v4.v4.sin_port, htons(80));
	assert_int_equal(ntohl(v4.v4.sin_addr.s_addr), INADDR_LOOPBACK);
	made = addr_loopback4(80);
	assert_memory_equal(&made, &v4, sizeof(made.v4));

	assert_int_equal(addr_len(&v6), sizeof(struct sockaddr_in6));
	assert_int_equal(v6.any.sa_family, AF_INET6);
	assert_int_equal(v6.v6.sin6_port, htons(8080));
	assert_true(IN6_IS_ADDR_LOOPBACK(&v6.v6.sin6_addr));
	made = addr_of6(&in6addr_loopback, 8080);
	assert_memory_equal(&made, &v6, sizeof(made.v6));

	assert_int_equal(
		addr_len(&local), offsetof(struct sockaddr_un, sun_path) + strlen("/tmp/s") + 1);
	assert_int_equal(local.any.sa_family, AF_UNIX);
	assert_string_equal(local.local.sun_path, "/tmp/s");
	assert_int_equal(addr_port(&local), 0);
}

static void test_equal(void **state)
{
	const struct addr none = {.family = AF_UNSPEC};
	/* no two are the same place */
	const struct addr all[] = {none, at("127.0.0.1", 0), at("127.0.0.2", 0), at("::1", 0),
		at("::2", 0), at("/s", 0), at("/t", 0), at("::ffff:127.0.0.1", 0)};

	(void)state;
	for (size_t i = 0; i < COUNT(all); i++)
		for (size_t j = 0; j < COUNT(all); j++) {
			struct addr a = all[i], b = all[j];

			assert_int_equal(addr_is_same_ip(&a, &b), i == j);
			assert_int_equal(addr_equal(&a, &b), i == j);
			addr_set_port(&b, 1);
			bool has_port = b.family == AF_INET || b.family == AF_INET6;
			assert_int_equal(addr_port(&b), has_port);
			assert_int_equal(addr_is_same_ip(&a, &b), i == j);
			assert_int_equal(addr_equal(&a, &b), i == j && !has_port);
		}
	struct addr near = at("fe80::1", 0), far = near;
	far.v6.sin6_scope_id = 2;
	assert_false(addr_is_same_ip(&near, &far));
}

static void test_kinds(void **state)
{
	static const struct {
		const char *text;
		bool is_loopback, is_wildcard;
	} rows[] = {
		{"127.0.0.1", true, false},
		{"127.255.255.254", true, false},
		{"127.0.0.0", true, false},
		{"126.255.255.255", false, false},
		{"128.0.0.1", false, false},
		{"0.0.0.0", false, true},
		{"0.0.0.1", false, false},
		{"::1", true, false},
		{"::", false, true},
		{"::2", false, false},
		{"::ffff:0.0.0.0", false, false},
		{"/tmp/s", true, false},
	};
	struct addr none = {0};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct addr addr = at(rows[i].text, 80);
		assert_int_equal(addr_is_loopback(&addr), rows[i].is_loopback);
		assert_int_equal(addr_is_wildcard(&addr), rows[i].is_wildcard);
	}
	assert_false(addr_is_loopback(&none));
	assert_false(addr_is_wildcard(&none));
}

static void test_format(void **state)
{
	static const char *const rows[][3] = {
		{"127.0.0.1", "127.0.0.1:80", "127.0.0.1"},
		{"[fd00:0:0:0:0:0:0:1]", "[fd00::1]:80", "fd00::1"},
		{"::", "[::]:80", "::"},
		{"/tmp/s", "unix:/tmp/s", "/tmp/s"},
		{"/tmp/a\nb", "unix:/tmp/a\nb", "/tmp/a\nb"},
	};
	char text[ADDR_TEXT_BYTES], path[ADDR_PATH_MAX + 1];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct addr addr = at(rows[i][0], 80);
		assert_string_equal(addr_format(&addr, text, sizeof(text)), rows[i][1]);
		assert_string_equal(addr_format_ip(&addr, text, sizeof(text)), rows[i][2]);
		assert_string_equal(addr_format(&addr, text, 4)[3] ? "long" : "cut", "cut");
	}
	memset(path, '/', sizeof(path));
	path[ADDR_PATH_MAX] = '\0';
	struct addr longest = at(path, 0);
	addr_format(&longest, text, sizeof(text));
	assert_string_equal(text + strlen("unix:"), path);
	longest = at("1111:2222:3333:4444:5555:6666:7777:8888", 65535);
	assert_string_equal(addr_format(&longest, text, sizeof(text)),
		"[1111:2222:3333:4444:5555:6666:7777:8888]:65535");
}

/* Any address reads back from its text. */
static void test_round_trip(void **state)
{
	char text[ADDR_TEXT_BYTES];

	(void)state;
	srand(1);
	for (int i = 0; i < 20000; i++) {
		struct addr addr = addr_of4((struct in_addr){(in_addr_t)rand() * 3}, 0), back;

		if (i % 2) {
			struct in6_addr ip;
			for (size_t at = 0; at < sizeof(ip); at++)
				ip.s6_addr[at] = rand() % 2 ? (uint8_t)rand() : 0;
			addr = addr_of6(&ip, 0);
		}
		assert_int_equal(
			addr_parse(addr_format_ip(&addr, text, sizeof(text)), &back, NULL), 0);
		assert_true(addr_equal(&addr, &back));
	}
}

static void test_own_and_peer(void **state)
{
	struct addr want = addr_loopback4(0), own, client_own, peer;
	int server = socket(AF_INET, addr_proto_type(PROTO_TCP), addr_proto_number(PROTO_TCP));
	int client = socket(AF_INET, addr_proto_type(PROTO_TCP), 0);

	(void)state;
	assert_int_equal(bind(server, &want.any, addr_len(&want)), 0);
	assert_int_equal(listen(server, 1), 0);
	assert_int_equal(addr_get_own(server, &own), 0);
	assert_true(addr_is_same_ip(&own, &want));
	assert_true(addr_port(&own) > 0);
	assert_int_equal(addr_get_peer(server, &peer), -ENOTCONN);
	assert_int_equal(connect(client, &own.any, addr_len(&own)), 0);
	assert_int_equal(addr_get_peer(client, &peer), 0);
	assert_true(addr_equal(&peer, &own));
	int accepted = accept(server, NULL, NULL);
	assert_int_equal(addr_get_peer(accepted, &peer), 0);
	assert_int_equal(addr_get_own(client, &client_own), 0);
	assert_true(addr_equal(&peer, &client_own));
	close(accepted);
	close(client);
	close(server);
	assert_int_equal(addr_get_own(server, &own), -EBADF);
}

static void test_proto(void **state)
{
	(void)state;
	assert_string_equal(addr_proto_name(PROTO_TCP), "tcp");
	assert_string_equal(addr_proto_name(PROTO_UDP), "udp");
	assert_int_equal(addr_proto_type(PROTO_TCP), SOCK_STREAM);
	assert_int_equal(addr_proto_type(PROTO_UDP), SOCK_DGRAM);
	assert_int_equal(addr_proto_number(PROTO_TCP), IPPROTO_TCP);
	assert_int_equal(addr_proto_number(PROTO_UDP), IPPROTO_UDP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ip),
		cmocka_unit_test(test_ip_wrong),
		cmocka_unit_test(test_cidr4),
		cmocka_unit_test(test_cidr6),
		cmocka_unit_test(test_parse_host),
		cmocka_unit_test(test_parse_own),
		cmocka_unit_test(test_shape),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_own_and_peer),
		cmocka_unit_test(test_proto),
	};

	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
