/* SPDX-License-Identifier: Apache-2.0 */
/* test_sdnotify - addresses of service managers, and what is cut out of messages for them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proc/sdnotify.h"

static int listen_at(const char *address)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(addr.sun_path, address, strlen(address));
	if (address[0] == '@')
		addr.sun_path[0] = '\0';
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(address));
	assert_int_equal(bind(sock, (struct sockaddr *)&addr, len), 0);
	return sock;
}

static void test_tell(void **state)
{
	char path[64], name[64], got[32] = "";

	(void)state;
	snprintf(path, sizeof(path), "/tmp/test_sdnotify-%d", getpid());
	snprintf(name, sizeof(name), "@test_sdnotify-%d", getpid());
	for (int i = 0; i < 2; i++) {
		int sock = listen_at(i == 0 ? path : name);

		assert_int_equal(sdnotify_tell(i == 0 ? path : name, "READY=1"), 0);
		assert_int_equal(recv(sock, got, sizeof(got), 0), 7);
		assert_string_equal(got, "READY=1");
		close(sock);
	}
	assert_int_equal(sdnotify_tell(path, "READY=1"), -ECONNREFUSED);
	unlink(path);
	assert_int_equal(sdnotify_tell(path, "READY=1"), -ENOENT);
}

static void test_addresses(void **state)
{
	static const char *const wrong[] = {"", "/", "@", "a", "./a", "vsock:2:3"};
	char longest[200];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(sdnotify_open(wrong[i]), -EINVAL);
	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[sizeof(((struct sockaddr_un *)0)->sun_path)] = '\0';
	assert_int_equal(sdnotify_open(longest), -EINVAL);
}

static void test_cut(void **state)
{
	static const struct {
		const char *text, *left;
		unsigned cut;
	} cases[] = {
		{"", "", 0},
		{"READY=1", "READY=1", 0},
		{"READY=1\n\nSTATUS=MAINPID=3\n", "READY=1\n\nSTATUS=MAINPID=3\n", 0},
		{"MAINPID=3", "", SDNOTIFY_MAINPID},
		{"A=1\nMAINPID=3\nB=2", "A=1\nB=2", SDNOTIFY_MAINPID},
		{"MAINPIDFDID=3\nA=1\n", "A=1\n", SDNOTIFY_MAINPID},
		{"FDSTORE=1\nFDNAME=x", "", SDNOTIFY_FDS},
		{"FDSTOREREMOVE=1\nA=FD\nFDPOLL=0\nMAINPID=1", "A=FD\n",
			SDNOTIFY_FDS | SDNOTIFY_MAINPID},
		{"F\nMAINPI", "F\nMAINPI", 0},
	};
	char text[128];
	unsigned cut;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memcpy(text, cases[i].text, strlen(cases[i].text));
		size_t left = sdnotify_cut(text, strlen(cases[i].text), &cut);
		assert_int_equal(left, strlen(cases[i].left));
		assert_memory_equal(text, cases[i].left, left);
		assert_int_equal(cut, cases[i].cut);
	}
}

static void test_barrier(void **state)
{
	(void)state;
	assert_true(sdnotify_is_barrier("BARRIER=1", 9));
	assert_true(sdnotify_is_barrier("BARRIER=1\n", 10));
	assert_false(sdnotify_is_barrier("BARRIER=1\nREADY=1", 17));
	assert_false(sdnotify_is_barrier("BARRIER=", 8));
	assert_false(sdnotify_is_barrier("", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tell),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_barrier),
	};

	return cmocka_run_group_tests_name("sdnotify", tests, NULL, NULL);
}
