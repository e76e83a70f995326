/* SPDX-License-Identifier: Apache-2.0 */
/* test_vip - addresses that no host of a mesh can have, and their neighbours that it can */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "mesh/vip.h"

static const char *fault_of(const char *text)
{
	struct in_addr ip;

	assert_int_equal(inet_pton(AF_INET, text, &ip), 1);
	return vip_fault(ip);
}

static void test_bad(void **state)
{
	static const char *const rows[][2] = {
		{"0.0.0.0", "stands for no host"},
		{"0.255.255.255", "stands for no host"},
		{"127.0.0.0", "first or last"},
		{"127.0.0.1", "own loopback"},
		{"127.0.0.11", "Docker"},
		{"127.0.0.53", "systemd-resolved"},
		{"127.0.0.54", "systemd-resolved"},
		{"127.0.1.1", "Debian"},
		{"127.255.255.255", "first or last"},
		{"169.254.0.0", "link-local"},
		{"169.254.169.254", "link-local"},
		{"224.0.0.0", "multicast"},
		{"239.255.255.255", "multicast"},
		{"240.0.0.0", "class E"},
		{"255.255.255.254", "class E"},
		{"255.255.255.255", "broadcast"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *fault = fault_of(rows[i][0]);

		assert_non_null(fault);
		assert_non_null(strstr(fault, rows[i][1]));
	}
}

static void test_good(void **state)
{
	static const char *const rows[] = {"1.0.0.0", "126.255.255.255", "127.0.0.2", "127.0.0.10",
		"127.0.0.55", "127.0.1.2", "127.255.255.254", "128.0.0.0", "169.253.255.255",
		"169.255.0.0", "223.255.255.255", "10.0.2.3"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_null(fault_of(rows[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
