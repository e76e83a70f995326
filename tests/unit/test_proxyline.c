/* SPDX-License-Identifier: Apache-2.0 */
/* test_proxyline - headers byte by byte */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <string.h>

#include "tunnel/proxyline.h"

static void check(
	int version, const char *peer, const char *dialled, const char *wanted, size_t len)
{
	char out[PROXYLINE_MAX];

	assert_int_equal(proxyline_make(version, peer, dialled, out), len);
	assert_memory_equal(out, wanted, len);
}

static void version_1(void **state)
{
	static const char four[] = "PROXY TCP4 192.0.2.1 198.51.100.7 1234 3000\r\n";
	static const char six[] = "PROXY TCP6 2001:db8::1 ::1 80 3000\r\n";
	static const char unknown[] = "PROXY UNKNOWN\r\n";
	static const char neighbour[] = "PROXY TCP6 fe80::1 fe80::2 80 3000\r\n";

	(void)state;
	check(1, "192.0.2.1:1234", "198.51.100.7:3000", four, strlen(four));
	check(1, "[2001:db8::1]:80", "[::1]:3000", six, strlen(six));
	check(1, "unix:", "unix:/proxy", unknown, strlen(unknown));
	check(1, "[fe80::1]:80", "[fe80::2]:3000", neighbour, strlen(neighbour));
	check(1, "web:80", "192.0.2.1:1", unknown, strlen(unknown));
	check(1, "\r\nGET", "192.0.2.1:1", unknown, strlen(unknown));
	check(1, "", "", unknown, strlen(unknown));
	check(1, "[1111:2222:3333:4444:5555:6666:7777:8888]:65535",
		"[1111:2222:3333:4444:5555:6666:7777:9999]:65534",
		"PROXY TCP6 1111:2222:3333:4444:5555:6666:7777:8888 "
		"1111:2222:3333:4444:5555:6666:7777:9999 65535 65534\r\n",
		104);
}

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static void version_2(void **state)
{
	(void)state;
	check(2, "192.0.2.1:258", "198.51.100.7:772",
		SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\7\1\2\3\4", 28);
	check(2, "[::1]:1", "[2001:db8::2]:258",
		SIGNATURE "\x21\x21\0\x24"
			  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
			  "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2\0\1\1\2",
		52);
	check(2, "unix:", "unix:/proxy", SIGNATURE "\x20\0\0\0", 16);
	check(2, "", "", SIGNATURE "\x20\0\0\0", 16);
}

/* It is nobody's then, whoever connected. */
static void what_was_dialled_is_not_known(void **state)
{
	static const char *const unknown[] = {"", "unix:/proxy", "web:80", "\r\nGET", "192.0.2.1"};
	static const char four[] = "PROXY TCP4 192.0.2.1 0.0.0.0 1234 0\r\n";
	static const char six[] = "PROXY TCP6 2001:db8::1 :: 80 0\r\n";

	(void)state;
	for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++) {
		check(1, "192.0.2.1:1234", unknown[i], four, strlen(four));
		check(1, "[2001:db8::1]:80", unknown[i], six, strlen(six));
		check(2, "192.0.2.1:258", unknown[i],
			SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\0\0\0\0\1\2\0\0", 28);
	}
	check(1, "192.0.2.1:1234", "[::1]:3000", four, strlen(four));
	check(1, "[2001:db8::1]:80", "192.0.2.1:3000", six, strlen(six));
}

static void none(void **state)
{
	(void)state;
	check(0, "192.0.2.1:1234", "192.0.2.2:80", "", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_1),
		cmocka_unit_test(version_2),
		cmocka_unit_test(what_was_dialled_is_not_known),
		cmocka_unit_test(none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
