/* SPDX-License-Identifier: Apache-2.0 */
/* test_notifyrelay - what is told to a service manager by us goes before what COMMAND has to say */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/notifyrelay.h"
#include "util/log.h"

#define ROUNDS 100

struct bed {
	char dir[32], managers[64], commands[64];
	int manager, command, inside;
	struct notifyrelay relay;
};

static int connect_to(const char *path)
{
	int fd = sdnotify_open(path);

	assert_true(fd >= 0);
	return fd;
}

static void open_bed(struct bed *bed)
{
	const struct places hidden = {.total = 0};
	struct err err;

	*bed = (struct bed){.dir = "/tmp/test_notifyrelay.XXXXXX"};
	assert_non_null(mkdtemp(bed->dir));
	snprintf(bed->managers, sizeof(bed->managers), "%s/manager", bed->dir);
	snprintf(bed->commands, sizeof(bed->commands), "%s/command", bed->dir);
	bed->manager = notifyrelay_bind(bed->managers, &err);
	bed->inside = notifyrelay_bind(bed->commands, &err);
	assert_true(bed->manager >= 0 && bed->inside >= 0);
	bed->relay = (struct notifyrelay){.loop = loop_new(),
		.address = bed->managers,
		.hears_command = true,
		.io.fd = -1,
		.room_io.fd = -1,
		.manager = -1,
		.courier_fd = -1,
		.fd = -1};
	assert_non_null(bed->relay.loop);
	notifyrelay_begin(&bed->relay, &hidden);
	notifyrelay_hear(&bed->relay, bed->inside, getpid());
	bed->command = connect_to(bed->commands);
}

static void close_bed(struct bed *bed)
{
	notifyrelay_end(&bed->relay);
	loop_free(bed->relay.loop);
	close(bed->manager);
	close(bed->inside);
	close(bed->command);
	unlink(bed->managers);
	unlink(bed->commands);
	assert_return_code(rmdir(bed->dir), errno);
}

/* As another service may. */
static void fill(struct bed *bed)
{
	int other = connect_to(bed->managers);

	while (send(other, "other", 5, 0) > 0)
		;
	assert_int_equal(errno, EAGAIN);
	close(other);
}

/* The next that the manager hears. */
static const char *hear(struct bed *bed)
{
	static char text[SDNOTIFY_MAX];
	ssize_t got = recv(bed->manager, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[got < 0 ? 0 : got] = '\0';
	return text;
}

/* COMMAND has spoken before there is room, and would have all of it. */
static void what_we_owe_goes_first(void **state)
{
	struct bed bed;
	const char *heard = "";

	(void)state;
	open_bed(&bed);
	fill(&bed);
	notifyrelay_tell_ready(&bed.relay);
	for (int i = 0; i < 2; i++)
		assert_int_equal(send(bed.command, "STATUS=x", 8, 0), 8);
	assert_string_equal(hear(&bed), "other");
	for (int i = 0; i < ROUNDS && strcmp(heard, "READY=1") != 0; i++) {
		loop_run_once(bed.relay.loop, 0);
		heard = hear(&bed);
		assert_string_not_equal(heard, "STATUS=x");
	}
	assert_string_equal(heard, "READY=1");
	for (int i = 0; i < ROUNDS && strcmp(heard, "STATUS=x") != 0; i++) {
		loop_run_once(bed.relay.loop, 0);
		heard = hear(&bed);
	}
	assert_string_equal(heard, "STATUS=x");
	close_bed(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_we_owe_goes_first),
	};

	log_set_level(LOG_WARNING);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
