/* SPDX-License-Identifier: Apache-2.0 */
/* test_herald - what a service manager hears of a mesh, and when */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock_ahead.h"
#include "mesh/manager/herald.h"
#include "util/clock.h"

struct bed {
	struct herald herald;
	int manager;
	char heard[256];
};

static void open_bed(struct bed *bed, const char *watchdog_usec)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char name[64];

	*bed = (struct bed){.manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
	snprintf(name, sizeof(name), "@test_herald-%d", getpid());
	memcpy(addr.sun_path, name, strlen(name));
	addr.sun_path[0] = '\0';
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	assert_int_equal(bind(bed->manager, (struct sockaddr *)&addr, len), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	if (watchdog_usec)
		setenv("WATCHDOG_USEC", watchdog_usec, 1);
	herald_begin(&bed->herald, loop_new());
	assert_null(getenv("NOTIFY_SOCKET"));
	assert_null(getenv("WATCHDOG_USEC"));
}

static void close_bed(struct bed *bed)
{
	struct loop *loop = bed->herald.loop;

	herald_end(&bed->herald);
	loop_free(loop);
	close(bed->manager);
}

/* All that came since the last time, with '|' behind each message. */
static const char *heard(struct bed *bed)
{
	ssize_t got;

	bed->heard[0] = '\0';
	for (char text[128];
		(got = recv(bed->manager, text, sizeof(text) - 1, MSG_DONTWAIT)) >= 0;) {
		text[got] = '\0';
		strcat(strcat(bed->heard, text), "|");
	}
	return bed->heard;
}

static void pass(struct bed *bed, uint64_t ms)
{
	clock_ahead_ns += ms * NS_PER_MS;
	assert_int_equal(loop_run_once(bed->herald.loop, 0), 0);
}

static void ready_when_all_are_tried(void **state)
{
	struct bed bed;

	(void)state;
	open_bed(&bed, NULL);
	herald_tell_hosts(&bed.herald, 0, 2, 2);
	assert_string_equal(heard(&bed), "STATUS=0 of 2 hosts are ready|");
	herald_tell_reload(&bed.herald); /* not before it is ready: that would say so */
	herald_tell_reloaded(&bed.herald);
	herald_tell_hosts(&bed.herald, 1, 2, 1);
	assert_string_equal(heard(&bed), "STATUS=1 of 2 hosts is ready|");
	herald_tell_hosts(&bed.herald, 1, 2, 0);
	herald_tell_hosts(&bed.herald, 1, 2, 0);
	assert_string_equal(heard(&bed), "READY=1|");
	herald_tell_hosts(&bed.herald, 1, 2, 1);
	pass(&bed, HERALD_READY_MS);
	assert_string_equal(heard(&bed), "");
	herald_tell_reload(&bed.herald);
	assert_memory_equal(heard(&bed), "RELOADING=1\nMONOTONIC_USEC=", 26);
	herald_tell_reloaded(&bed.herald);
	herald_tell_end(&bed.herald);
	assert_string_equal(heard(&bed), "READY=1|STOPPING=1|");
	close_bed(&bed);
}

static void ready_in_the_end(void **state)
{
	struct bed bed;

	(void)state;
	clock_stop();
	open_bed(&bed, NULL);
	herald_tell_hosts(&bed.herald, 0, 0, 1);
	pass(&bed, HERALD_READY_MS - 1000);
	assert_string_equal(heard(&bed), "");
	pass(&bed, 1000);
	pass(&bed, 10 * HERALD_READY_MS);
	assert_string_equal(heard(&bed), "READY=1|");
	close_bed(&bed);
	clock_go_on();
}

static void a_watchdog(void **state)
{
	struct bed bed;

	(void)state;
	clock_stop();
	open_bed(&bed, "2000000");
	pass(&bed, 900);
	assert_string_equal(heard(&bed), "");
	pass(&bed, 100);
	pass(&bed, 1000);
	assert_string_equal(heard(&bed), "WATCHDOG=1|WATCHDOG=1|");
	close_bed(&bed);
	for (int i = 0; i < 2; i++) {
		if (i == 0)
			setenv("WATCHDOG_PID", "1", 1); /* another's */
		open_bed(&bed, i == 0 ? "2000000" : "soon");
		pass(&bed, 5000);
		assert_string_equal(heard(&bed), "");
		close_bed(&bed);
	}
	clock_go_on();
}

/* Hosts that come and go at once are many messages: the last of each kind is told when there is
 * room, and what the manager waits for is among them. */
static void a_manager_that_is_busy(void **state)
{
	struct bed bed;

	(void)state;
	open_bed(&bed, NULL);
	for (size_t i = 1; i <= 400; i++)
		herald_tell_hosts(&bed.herald, i, 1000, 400 - i);
	herald_tell_reload(&bed.herald);
	herald_tell_reloaded(&bed.herald);
	herald_tell_end(&bed.herald);
	while (recv(bed.manager, bed.heard, sizeof(bed.heard), MSG_DONTWAIT) > 0)
		;
	pass(&bed, 0);
	assert_memory_equal(
		heard(&bed), "STATUS=400 of 1000 hosts are ready|RELOADING=1\nMONOTONIC_", 57);
	assert_non_null(strstr(bed.heard, "|READY=1|STOPPING=1|"));
	close_bed(&bed);
}

static void nobody_to_tell(void **state)
{
	struct herald herald = {0};
	struct loop *loop = loop_new();

	(void)state;
	herald_end(&herald); /* not begun */
	setenv("NOTIFY_SOCKET", "", 1);
	herald_begin(&herald, loop);
	herald_tell_hosts(&herald, 0, 1, 0);
	herald_tell_end(&herald);
	assert_false(loop_timer_is_armed(&herald.ready_timer));
	herald_end(&herald);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ready_when_all_are_tried),
		cmocka_unit_test(ready_in_the_end),
		cmocka_unit_test(a_watchdog),
		cmocka_unit_test(a_manager_that_is_busy),
		cmocka_unit_test(nobody_to_tell),
	};

	return cmocka_run_group_tests_name("herald", tests, NULL, NULL);
}
