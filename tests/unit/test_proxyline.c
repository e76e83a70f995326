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

static void check(int version, const char *peer, const char *wanted, size_t len)
{
	char out[PROXYLINE_MAX];

	assert_int_equal(proxyline_make(version, peer, out), len);
	assert_memory_equal(out, wanted, len);
}

static void version_1(void **state)
{
	static const char four[] = "PROXY TCP4 192.0.2.1 192.0.2.1 1234 1234\r\n";
	static const char six[] = "PROXY TCP6 2001:db8::1 2001:db8::1 80 80\r\n";
	static const char unknown[] = "PROXY UNKNOWN\r\n";

	(void)state;
	check(1, "192.0.2.1:1234", four, strlen(four));
	check(1, "[2001:db8::1]:80", six, strlen(six));
	check(1, "unix:", unknown, strlen(unknown));
	check(1, "web:80", unknown, strlen(unknown));
	check(1, "\r\nGET", unknown, strlen(unknown));
	check(1, "[1111:2222:3333:4444:5555:6666:7777:8888]:65535",
		"PROXY TCP6 1111:2222:3333:4444:5555:6666:7777:8888 "
		"1111:2222:3333:4444:5555:6666:7777:8888 65535 65535\r\n",
		104);
}

static void version_2(void **state)
{
	(void)state;
	check(2, "192.0.2.1:258", "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\xc0\0\2\1\1\2\1\2",
		28);
	check(2, "[::1]:1",
		"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"
		"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
		"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\1\0\1",
		52);
	check(2, "unix:", "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16);
}

static void none(void **state)
{
	(void)state;
	check(0, "192.0.2.1:1234", "", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_1),
		cmocka_unit_test(version_2),
		cmocka_unit_test(none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
