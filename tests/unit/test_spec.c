/* SPDX-License-Identifier: Apache-2.0 */
/* test_spec - forwarding rules: read, refused with one precise line, printed, compared */
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

#include "forward/spec.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define EXPECTED     "expected a number from 1 to 65535"
#define EXPECTED_0   EXPECTED ", or 0 for a free one"
#define LIST_FORM    "expected [ADDR:]HOST:GUEST[/tcp|/udp], an IPv6 ADDR in brackets"
#define HOST_FORM                                                                        \
	"expected [ADDR:]PORT[/tcp|/udp] or [ADDR:]HOST:GUEST[/tcp|/udp], an IPv6 ADDR " \
	"in brackets"
#define NO_IP "is no IP address: expected one such as 127.0.0.1 or ::1, no host name"

static struct addr addr_of(int family, const char *text)
{
	struct addr addr = {.family = family};

	if (family == AF_UNIX)
		snprintf(addr.local.sun_path, sizeof(addr.local.sun_path), "%s", text);
	else
		assert_int_equal(addr_parse(text, &addr, NULL), 0);
	assert_int_equal(addr.family, family);
	return addr;
}

/* The canonical texts of what @text says, each with a blank behind it, or the text of the error. */
static const char *read_back(const char *text, const struct addr *bind)
{
	static char out[FORWARD_TEXT_BYTES * 16];
	char one[FORWARD_TEXT_BYTES];
	struct forward_list list = {.count = 0};
	struct err err = {0};
	int rc = spec_list_parse(&list, text, bind, &err);

	out[0] = '\0';
	assert_int_equal(rc, -err.code);
	if (rc < 0)
		strcpy(out, err.text);
	for (size_t i = 0; i < list.count; i++) {
		strcat(out, spec_format(&list.items[i], one, sizeof(one)));
		strcat(out, " ");
	}
	spec_list_free(&list);
	assert_null(list.items);
	return out;
}

static void test_list_parse(void **state)
{
	static const char *const rows[][2] = {
		{"8080:80", "127.0.0.1:8080:80/tcp "},
		{"8080:80/tcp", "127.0.0.1:8080:80/tcp "},
		{"8080:80/udp", "127.0.0.1:8080:80/udp "},
		{"0:80", "127.0.0.1:0:80/tcp "},
		{"1:65535", "127.0.0.1:1:65535/tcp "},
		{"10.1.2.3:8080:80", "10.1.2.3:8080:80/tcp "},
		{"0.0.0.0:53:53/udp", "0.0.0.0:53:53/udp "},
		{"[::1]:8080:80", "[::1]:8080:80/tcp "},
		{"localhost:8080:80", "127.0.0.1:8080:80/tcp "},
		{"LocalHost:53:53/udp", "127.0.0.1:53:53/udp "},
		{"*:8080:80", "0.0.0.0:8080:80/tcp "},
		{"*:80-81:90-91", "0.0.0.0:80:90/tcp 0.0.0.0:81:91/tcp "},
		{":8080:80", "0.0.0.0:8080:80/tcp "},
		{"[::]:8080:80", "[::]:8080:80/tcp "},
		{"[0:0::0]:8080:80/udp", "[::]:8080:80/udp "},
		{"unix:/tmp/s:80", "unix:/tmp/s:80 "},
		{"unix:/tmp/s:80/tcp", "unix:/tmp/s:80 "},
		{"unix:a:b:/udp:80", "unix:a:b:/udp:80 "},
		{"unix:s:80", "unix:s:80 "},
		{"80-80:90-90", "127.0.0.1:80:90/tcp "},
		{"80-80:90", "127.0.0.1:80:90/tcp "},
		{"8000-8002:9000-9002/udp",
			"127.0.0.1:8000:9000/udp 127.0.0.1:8001:9001/udp 127.0.0.1:8002:9002/udp "},
		{"[::1]:65534-65535:1-2", "[::1]:65534:1/tcp [::1]:65535:2/tcp "},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_string_equal(read_back(rows[i][0], NULL), rows[i][1]);
}

static void test_bind(void **state)
{
	struct addr v4 = addr_of(AF_INET, "10.0.0.1"), v6 = addr_of(AF_INET6, "fd00::1");
	struct forward_spec spec;
	char text[FORWARD_TEXT_BYTES];

	(void)state;
	assert_string_equal(read_back("8080:80", &v4), "10.0.0.1:8080:80/tcp ");
	assert_string_equal(read_back("8080:80", &v6), "[fd00::1]:8080:80/tcp ");
	assert_string_equal(read_back("127.0.0.9:8080:80", &v6), "127.0.0.9:8080:80/tcp ");
	assert_int_equal(spec_host_parse("80", &v6, &spec, NULL), 0);
	assert_string_equal(spec_format(&spec, text, sizeof(text)), "[fd00::1]:80:80/tcp");
	assert_int_equal(spec_host_parse("[::1]:80", &v4, &spec, NULL), 0);
	assert_string_equal(spec_format(&spec, text, sizeof(text)), "[::1]:80:80/tcp");
}

static void test_list_wrong(void **state)
{
	static const char *const rows[][2] = {
		{"8080:0", "\"0\" is no guest port: " EXPECTED},
		{"8080:65536", "\"65536\" is no guest port: " EXPECTED},
		{"8080:80x", "\"80x\" is no guest port: " EXPECTED},
		{"8080:-1", "\"-1\" is no guest port: " EXPECTED},
		{"8080:", "\"\" is no guest port: " EXPECTED},
		{"65536:80", "\"65536\" is no host port: " EXPECTED_0},
		{"-1:80", "\"-1\" is no host port: " EXPECTED_0},
		{"80-:80", "\"80-\" is no host port: " EXPECTED_0},
		{":80", "\"\" is no host port: " EXPECTED_0},
		{" 80:80", "\" 80\" is no host port: " EXPECTED_0},
		{"0-5:80-85", "\"0\" is no host port: " EXPECTED},
		{"1-65536:1-65536", "\"65536\" is no host port: " EXPECTED},
		{"1-2-3:1-3", "\"2-3\" is no host port: " EXPECTED},
		{"80-81:0-1", "\"0\" is no guest port: " EXPECTED},
		{"8000-8010:9000-9011", "\"8000-8010:9000-9011\" has ranges of 11 and 12 ports: "
					"expected the same length"},
		{"8000-8010:80", "\"8000-8010:80\" has ranges of 11 and 1 ports: "
				 "expected the same length"},
		{"8010-8000:80-90", "\"8010-8000\" is no range of host ports: "
				    "expected the lower one first"},
		{"80-90:90-80", "\"90-80\" is no range of guest ports: "
				"expected the lower one first"},
		{"1-1025:1-1025", "1025 forwards are too many: expected at most 1024"},
		{"", "\"\" is no forward: " LIST_FORM},
		{"80", "\"80\" is no forward: " LIST_FORM},
		{"1:2:3:4", "\"1:2:3:4\" is no forward: " LIST_FORM},
		{"::1:80:80", "\"::1:80:80\" is no forward: " LIST_FORM},
		{"[::1]80:80", "\"[::1]80:80\" is no forward: " LIST_FORM},
		{"[::1]:80", "\"[::1]:80\" is no forward: " LIST_FORM},
		{"[::1:80:80", "\"[::1:80:80\" is no forward: " LIST_FORM},
		{"[::1]", "\"[::1]\" is no forward: " LIST_FORM},
		{"[", "\"[\" is no forward: " LIST_FORM},
		{"8080:80\n", "\"80\\x0a\" is no guest port: " EXPECTED},
		{"localhos:80:80", "\"localhos\" " NO_IP},
		{"localhost.:80:80", "\"localhost.\" " NO_IP},
		{"[localhost]:80:80", "\"[localhost]\" " NO_IP},
		{"**:80:80", "\"**\" " NO_IP},
		{"[*]:80:80", "\"[*]\" " NO_IP},
		{"1.2.3:80:80", "\"1.2.3\" " NO_IP},
		{"[]:80:80", "\"[]\" " NO_IP},
		{"[1.2.3.4]:80:80", "\"[1.2.3.4]\" " NO_IP},
		{"[fe80::1%lo]:80:80", "\"[fe80::1%lo]\" " NO_IP},
		{"[::ffff:127.0.0.1]:80:80",
			"\"[::ffff:127.0.0.1]\" is an IPv4 address: expected 127.0.0.1"},
		{"80:80/", "\"/\" is no protocol: expected /tcp or /udp"},
		{"80:80/TCP", "\"/TCP\" is no protocol: expected /tcp or /udp"},
		{"80:80/tcp ", "\"/tcp \" is no protocol: expected /tcp or /udp"},
		{"80:80/tcp/udp", "\"/tcp/udp\" is no protocol: expected /tcp or /udp"},
		{"80:80/sctp", "\"/sctp\" is no protocol: expected /tcp or /udp"},
		{"80/tcp:80", "\"/tcp:80\" is no protocol: expected /tcp or /udp"},
		{"unix:/s", "\"unix:/s\" has no guest port: expected unix:PATH:GUEST"},
		{"unix:", "\"unix:\" has no guest port: expected unix:PATH:GUEST"},
		{"unix::80", "\"unix::80\" has an empty path: expected unix:PATH:GUEST"},
		{"unix:/s:0", "\"0\" is no guest port: " EXPECTED},
		{"unix:/s:80-90", "\"80-90\" is no guest port: " EXPECTED},
		{"unix:/s:80/udp", "\"unix:/s:80/udp\" asks for /udp: "
				   "a unix socket is forwarded to TCP only"},
		{"unix:/s:80/x", "\"/x\" is no protocol: expected /tcp or /udp"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_string_equal(read_back(rows[i][0], NULL), rows[i][1]);
}

static void test_path_length(void **state)
{
	char text[1200], *at = text + sprintf(text, "unix:");

	(void)state;
	memset(at, 'a', 107);
	strcpy(at + 107, ":65535");
	strcpy(text + 600, text);
	strcat(text + 600, " ");
	assert_string_equal(read_back(text, NULL), text + 600);
	assert_true(strlen(text) < FORWARD_TEXT_BYTES);
	strcpy(at + 107, "b:80");
	assert_non_null(
		strstr(read_back(text, NULL), "has 108 bytes: a unix socket's has at most 107"));
	memset(at, '\x01', 1000);
	strcpy(at + 1000, ":80");
	assert_non_null(strstr(
		read_back(text, NULL), "...\" has 1000 bytes: a unix socket's has at most 107"));
	strcpy(at, "x:");
	memset(at + 2, '0', 1000);
	strcpy(at + 1002, "80");
	assert_non_null(strstr(read_back(text, NULL), "is no forward: expected unix:PATH:GUEST"));
}

static void test_host_parse(void **state)
{
	static const char *const good[][2] = {
		{"80", "127.0.0.1:80:80/tcp"},
		{"0", "127.0.0.1:0"},
		{"0.0.0.0:65535", "0.0.0.0:65535:65535/tcp"},
		{"[::]:0", "[::]:0"},
		{"localhost:80", "127.0.0.1:80:80/tcp"},
		{"*:0", "0.0.0.0:0"},
		{":80/udp", "0.0.0.0:80:80/udp"},
		{"80/tcp", "127.0.0.1:80:80/tcp"},
		{"[::1]:53/udp", "[::1]:53:53/udp"},
		{"0/udp", "127.0.0.1:0/udp"},
	};
	static const char *const wrong[][2] = {
		{"80x", "\"80x\" is no port: " EXPECTED_0},
		{"", "\"\" is no port: " EXPECTED_0},
		{"-1", "\"-1\" is no port: " EXPECTED_0},
		{"65536", "\"65536\" is no port: " EXPECTED_0},
		{"80-90", "\"80-90\" is no forward: " HOST_FORM},
		{"80/sctp", "\"/sctp\" is no protocol: expected /tcp or /udp"},
		{"127.0.0.1:", "\"\" is no port: " EXPECTED_0},
		{"myhost:80", "\"myhost\" " NO_IP},
		{"unix:80", "\"unix\" " NO_IP},
		{"80:80:80", "\"80:80:80\" is no forward: " HOST_FORM},
		{"::1:80", "\"::1:80\" is no forward: " HOST_FORM},
		{"[::1]", "\"[::1]\" is no forward: " HOST_FORM},
		{"[::1]:80:80", "\"[::1]:80:80\" is no forward: " HOST_FORM},
	};
	struct forward_spec spec, before;
	char text[FORWARD_TEXT_BYTES];
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		assert_int_equal(spec_host_parse(good[i][0], NULL, &spec, &err), 0);
		spec_format(&spec, text, sizeof(text));
		assert_string_equal(text, good[i][1]);
		assert_int_equal(addr_port(&spec.host), spec.guest_port);
		assert_int_equal(spec.proto, strstr(good[i][0], "/udp") ? PROTO_UDP : PROTO_TCP);
	}
	memset(&spec, 0x55, sizeof(spec));
	before = spec;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		assert_int_equal(spec_host_parse(wrong[i][0], NULL, &spec, &err), -EINVAL);
		assert_string_equal(err.text, wrong[i][1]);
		assert_memory_equal(&spec, &before, sizeof(spec));
	}
}

static void test_has_guest(void **state)
{
	static const char *const yes[] = {"8080:80", "127.0.0.1:8080:80", "[::1]:8080:80",
		"8080:80/udp", "localhost:8080:80", "*:8080:80", ":8080:80", "8000-8010:9000-9010",
		"8080:", "8080:80x", "unix:/s:80", "unix:80", "::1:80:80"};
	static const char *const no[] = {"80", "0", "", "80x", "80/udp", "127.0.0.1:80", "[::1]:80",
		"[::1]", "localhost:80", "*:80", ":80", "127.0.0.1:80x", "80-90"};

	(void)state;
	for (size_t i = 0; i < COUNT(yes); i++)
		assert_true(spec_has_guest(yes[i]));
	for (size_t i = 0; i < COUNT(no); i++)
		assert_false(spec_has_guest(no[i]));
}

static void test_untouched(void **state)
{
	struct forward_list list = {.count = 0};
	struct err err;

	(void)state;
	assert_int_equal(spec_list_parse(&list, "1-1000:1-1000", NULL, &err), 0);
	assert_int_equal(spec_list_parse(&list, "1-25:1-25/udp", NULL, &err), -EINVAL);
	assert_string_equal(err.text, "1025 forwards are too many: expected at most 1024");
	assert_int_equal(spec_list_parse(&list, "1-3:1-4/udp", NULL, &err), -EINVAL);
	assert_int_equal(list.count, 1000);
	assert_int_equal(spec_list_parse(&list, "1-24:1-24/udp", NULL, &err), 0);
	assert_int_equal(list.count, FORWARD_MAX);
	assert_int_equal(spec_list_check(&list, &err), 0);
	struct forward_spec spec = list.items[0];
	assert_int_equal(spec_list_add(&list, &spec, &err), -EINVAL);
	assert_int_equal(spec_list_parse(&list, "unix:s:80", NULL, &err), -EINVAL);
	assert_int_equal(list.count, FORWARD_MAX);
	assert_int_equal(list.items[999].guest_port, 1000);
	assert_int_equal(list.items[1023].proto, PROTO_UDP);
	spec_list_free(&list);

	struct forward_list too_many = {.count = FORWARD_MAX + 1};
	too_many.items = calloc(too_many.count, sizeof(*too_many.items));
	for (size_t i = 0; i < too_many.count; i++)
		too_many.items[i].host.family = AF_INET;
	assert_int_equal(spec_list_check(&too_many, &err), -EINVAL);
	assert_string_equal(err.text, "1025 forwards are too many: expected at most 1024");
	assert_int_equal(spec_list_add(&too_many, &spec, &err), -EINVAL);
	spec_list_free(&too_many);
}

static void test_check(void **state)
{
#define SAME(a, b, what) a " and " b " need the same " what " of the host: expected it once"
	static const struct {
		const char *a, *b, *text;
	} rows[] = {
		{"80:1", "80:2", SAME("127.0.0.1:80:1/tcp", "127.0.0.1:80:2/tcp", "port")},
		{"80:1", "80:1/udp", NULL},
		{"80:1/udp", "80:1/udp", SAME("127.0.0.1:80:1/udp", "127.0.0.1:80:1/udp", "port")},
		{"80:1", "81:1", NULL},
		{"0:1", "0:1", NULL},
		{"80:1", "127.0.0.2:80:1", NULL},
		{"80:1", "0.0.0.0:80:2", SAME("127.0.0.1:80:1/tcp", "0.0.0.0:80:2/tcp", "port")},
		{"0.0.0.0:80:1", "10.0.0.1:80:2",
			SAME("0.0.0.0:80:1/tcp", "10.0.0.1:80:2/tcp", "port")},
		{"0.0.0.0:80:1", "[::1]:80:2", NULL},
		{"[::]:80:1", "0.0.0.0:80:2", NULL},
		{"[::]:80:1", "[::1]:80:2", SAME("[::]:80:1/tcp", "[::1]:80:2/tcp", "port")},
		{"[::1]:80:1", "[0::1]:80:2", SAME("[::1]:80:1/tcp", "[::1]:80:2/tcp", "port")},
		{"[::1]:80:1", "[::2]:80:2", NULL},
		{"unix:/s:80", "unix:/s:81", SAME("unix:/s:80", "unix:/s:81", "path")},
		{"unix:/s:80", "unix:/t:80", NULL},
		{"unix:/s:80", "80:80", NULL},
		{"unix:a\nb:80", "unix:a\nb:80",
			SAME("unix:a\\x0ab:80", "unix:a\\x0ab:80", "path")},
		{"80-90:80-90", "85:1", SAME("127.0.0.1:85:85/tcp", "127.0.0.1:85:1/tcp", "port")},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct forward_list list = {.count = 0};
		struct err err = {0};
		assert_int_equal(spec_list_parse(&list, rows[i].a, NULL, &err), 0);
		assert_int_equal(spec_list_parse(&list, rows[i].b, NULL, &err), 0);
		assert_int_equal(spec_list_check(&list, &err), rows[i].text ? -EINVAL : 0);
		assert_string_equal(err.text, rows[i].text ? rows[i].text : "");
		spec_list_free(&list);
	}
}

/* A valid spec with every kind of address, port and path. */
static struct forward_spec random_spec(void)
{
	struct forward_spec spec = {.guest_port = (uint16_t)(1 + rand() % 65535)};

	spec.proto = rand() % 2 ? PROTO_TCP : PROTO_UDP;
	uint16_t port = rand() % 4 ? (uint16_t)(rand() % 65536) : 0;
	switch (rand() % 3) {
	case 0:
		spec.host.family = AF_INET;
		spec.host.v4.sin_addr.s_addr = htonl((in_addr_t)rand() * 3 % 0xe0000000);
		break;
	case 1:
		spec.host.family = AF_INET6;
		for (size_t i = 0; i < 16; i++)
			spec.host.v6.sin6_addr.s6_addr[i] = rand() % 2 ? (uint8_t)rand() : 0;
		if (IN6_IS_ADDR_V4MAPPED(&spec.host.v6.sin6_addr))
			spec.host.v6.sin6_addr.s6_addr[0] = 0xfd;
		if (IN6_IS_ADDR_MULTICAST(&spec.host.v6.sin6_addr) ||
			IN6_IS_ADDR_LINKLOCAL(&spec.host.v6.sin6_addr))
			spec.host.v6.sin6_addr.s6_addr[0] = 0xfd;
		break;
	default:
		spec.host.family = AF_UNIX;
		spec.proto = PROTO_TCP;
		for (int len = 1 + rand() % 107; len > 0; len--)
			spec.host.local.sun_path[len - 1] = (char)(1 + rand() % 255);
	}
	if (spec.host.family != AF_UNIX && rand() % 8 == 0) {
		port = spec.guest_port = 0;
		spec.proto = PROTO_TCP;
	}
	addr_set_port(&spec.host, port);
	return spec;
}

static void test_random_round_trip(void **state)
{
	struct forward_list list = {.count = 0};
	struct addr bind = addr_of(AF_INET, "192.0.2.1");

	(void)state;
	srand(1);
	for (int round = 0; round < 20000; round++) {
		struct forward_spec spec = random_spec(), back;
		char text[FORWARD_TEXT_BYTES];

		spec_format(&spec, text, sizeof(text));
		assert_true(strlen(text) < sizeof(text) - 1);
		if (spec.guest_port == 0) {
			assert_int_equal(spec_host_parse(text, &bind, &back, NULL), 0);
		} else {
			assert_int_equal(spec_list_parse(&list, text, &bind, NULL), 0);
			assert_int_equal(list.count, 1);
			back = list.items[0];
			spec_list_free(&list);
		}
		assert_true(spec_equal(&spec, &back));
	}
}

/* One to four bytes of a good text changed, added, removed or doubled: read, or one line of error.
 */
static void test_random_mutations(void **state)
{
	static const char alphabet[] = "0123456789:[].-/unixtcpd \n\x1b\xff%";
	struct forward_list list = {.count = 0};
	int refused = 0;

	(void)state;
	srand(2);
	for (int round = 0; round < 50000; round++) {
		struct forward_spec spec = random_spec(), out;
		char text[2 * FORWARD_TEXT_BYTES];
		struct err err = {0};

		spec_format(&spec, text, sizeof(text));
		for (int i = rand() % 4; i >= 0; i--) {
			size_t len = strlen(text), at = (size_t)rand() % (len + 1);
			char byte = alphabet[(size_t)rand() % (sizeof(alphabet) - 1)];

			if (rand() % 3 == 0 && at < len) {
				text[at] = byte;
			} else if (rand() % 2 && at < len) {
				memmove(text + at, text + at + 1, len - at);
			} else {
				memmove(text + at + 1, text + at, len - at + 1);
				text[at] = byte;
			}
		}
		int rc = spec_list_parse(&list, text, NULL, &err);
		assert_true(rc == 0 ? list.count > 0 && !err.code : list.count == 0);
		if (rc == 0)
			assert_in_range(spec_list_check(&list, &err) + EINVAL, 0, EINVAL);
		refused += rc < 0;
		assert_int_equal(strcspn(err.text, "\n\r\x1b"), strlen(err.text));
		assert_true(rc == 0 || err.text[0]);
		spec_list_free(&list);
		if (spec_host_parse(text, NULL, &out, &err) < 0)
			assert_int_equal(strcspn(err.text, "\n\r\x1b"), strlen(err.text));
	}
	assert_in_range(
		refused, 10000, 49000); /* the mutations are neither harmless nor hopeless */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list_parse),
		cmocka_unit_test(test_bind),
		cmocka_unit_test(test_list_wrong),
		cmocka_unit_test(test_path_length),
		cmocka_unit_test(test_host_parse),
		cmocka_unit_test(test_has_guest),
		cmocka_unit_test(test_untouched),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_random_round_trip),
		cmocka_unit_test(test_random_mutations),
	};

	return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}
