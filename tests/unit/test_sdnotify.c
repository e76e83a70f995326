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
#include "util/list.h"

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

static int tell_once(const char *address)
{
	struct loop *loop = loop_new();
	struct sdnotify own = {.loop = loop, .address = address};
	int result = sdnotify_tell(&own, SDNOTIFY_READY, "READY=1");

	assert_false(own.owes);
	sdnotify_end(&own, 0);
	loop_free(loop);
	return result;
}

static void test_tell(void **state)
{
	char path[64], name[64], got[32] = "";

	(void)state;
	snprintf(path, sizeof(path), "/tmp/test_sdnotify-%d", getpid());
	snprintf(name, sizeof(name), "@test_sdnotify-%d", getpid());
	for (int i = 0; i < 2; i++) {
		int sock = listen_at(i == 0 ? path : name);

		assert_int_equal(tell_once(i == 0 ? path : name), 0);
		assert_int_equal(recv(sock, got, sizeof(got), 0), 7);
		assert_string_equal(got, "READY=1");
		close(sock);
	}
	assert_int_equal(tell_once(path), -ECONNREFUSED);
	unlink(path);
	assert_int_equal(tell_once(path), -ENOENT);
	assert_int_equal(tell_once(NULL), 0);
}

struct bed {
	struct sdnotify own;
	int manager, others; /* its socket, and that of another service */
	unsigned told;
	char name[64];
};

static void on_told(struct sdnotify *own)
{
	container_of(own, struct bed, own)->told++;
}

/* A manager whose queue is full. */
static void open_bed(struct bed *bed)
{
	*bed = (struct bed){0};
	snprintf(bed->name, sizeof(bed->name), "@test_sdnotify-%d", getpid());
	bed->manager = listen_at(bed->name);
	bed->others = sdnotify_open(bed->name);
	while (send(bed->others, "other", 5, 0) == 5)
		;
	assert_int_equal(errno, EAGAIN);
	bed->own = (struct sdnotify){.loop = loop_new(), .address = bed->name, .on_told = on_told};
}

static void close_bed(struct bed *bed)
{
	sdnotify_end(&bed->own, 0);
	loop_free(bed->own.loop);
	close(bed->others);
	close(bed->manager);
}

/* The next one that is ours; "" if there is none now. */
static const char *hear(struct bed *bed, char *text, size_t cap_bytes)
{
	ssize_t got;

	do {
		got = recv(bed->manager, text, cap_bytes - 1, MSG_DONTWAIT);
		text[got < 0 ? 0 : got] = '\0';
	} while (strcmp(text, "other") == 0);
	return text;
}

/* All of it comes when there is room, in its order, the last text of each kind. */
static void test_owed(void **state)
{
	static const char *const wanted[] = {
		"STATUS=b", "RELOADING=1", "READY=1", "WATCHDOG=1", "STOPPING=1", ""};
	struct bed bed;
	char text[32];

	(void)state;
	open_bed(&bed);
	assert_int_equal(sdnotify_tell(&bed.own, SDNOTIFY_STATUS, "STATUS=a"), 0);
	assert_true(bed.own.owes);
	assert_int_equal(sdnotify_tell(&bed.own, SDNOTIFY_STOPPING, "STOPPING=1"), 0);
	assert_int_equal(sdnotify_tell(&bed.own, SDNOTIFY_WATCHDOG, "WATCHDOG=1"), 0);
	assert_int_equal(sdnotify_tell(&bed.own, SDNOTIFY_READY, "READY=1"), 0);
	assert_int_equal(sdnotify_tell(&bed.own, SDNOTIFY_RELOADING, "RELOADING=1"), 0);
	assert_int_equal(sdnotify_tell(&bed.own, SDNOTIFY_STATUS, "STATUS=b"), 0);
	loop_run_once(bed.own.loop, 0);
	assert_int_equal(bed.told, 0);
	assert_string_equal(hear(&bed, text, sizeof(text)), "");
	loop_run_once(bed.own.loop, 1000);
	assert_int_equal(bed.told, 1);
	assert_false(bed.own.owes);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		assert_string_equal(hear(&bed, text, sizeof(text)), wanted[i]);
	assert_int_equal(sdnotify_tell(&bed.own, SDNOTIFY_STATUS, "STATUS=c"), 0);
	assert_false(bed.own.owes);
	close_bed(&bed);
}

/* It has some time, and no more. */
static void test_end(void **state)
{
	struct bed bed;
	char text[32];

	(void)state;
	open_bed(&bed);
	sdnotify_tell(&bed.own, SDNOTIFY_READY, "READY=1");
	sdnotify_end(&bed.own, 50);
	assert_false(bed.own.owes);
	assert_string_equal(hear(&bed, text, sizeof(text)), "");
	close_bed(&bed);

	open_bed(&bed);
	sdnotify_tell(&bed.own, SDNOTIFY_READY, "READY=1");
	assert_string_equal(hear(&bed, text, sizeof(text)), "");
	sdnotify_end(&bed.own, 5000);
	assert_string_equal(hear(&bed, text, sizeof(text)), "READY=1");
	close_bed(&bed);

	/* a manager that goes is owed nothing */
	open_bed(&bed);
	sdnotify_tell(&bed.own, SDNOTIFY_READY, "READY=1");
	close(bed.manager);
	bed.manager = -1;
	loop_run_once(bed.own.loop, 1000);
	assert_false(bed.own.owes);
	close_bed(&bed);
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
		cmocka_unit_test(test_owed),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_barrier),
	};

	return cmocka_run_group_tests_name("sdnotify", tests, NULL, NULL);
}
