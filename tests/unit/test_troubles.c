/* SPDX-License-Identifier: Apache-2.0 */
/* test_troubles - failures of targets are counted, and told no more often than people can read */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "mesh/agent/troubles.h"
#include "mesh_bed.h"

struct world {
	struct mesh_bed bed;
	struct troubles *troubles;
	unsigned changes;
	int err_fd, saved_fd; /* what was said; what stderr was */
};

static void on_change(void *owner)
{
	((struct world *)owner)->changes++;
}

static struct world *world_open(void)
{
	struct world *world = calloc(1, sizeof(*world));

	world->err_fd = memfd_create("stderr", MFD_CLOEXEC);
	world->saved_fd = dup(STDERR_FILENO);
	bed_open(&world->bed);
	world->troubles = troubles_new(world->bed.context.loop, on_change, world);
	assert_non_null(world->troubles);
	dup2(world->err_fd, STDERR_FILENO);
	return world;
}

static void world_close(struct world *world)
{
	dup2(world->saved_fd, STDERR_FILENO);
	troubles_free(world->troubles);
	bed_close(&world->bed);
	close(world->err_fd);
	close(world->saved_fd);
	free(world);
}

/* How many lines there were since the last time; the last one is in @last. */
static unsigned lines(struct world *world, char last[256])
{
	char text[65536];
	ssize_t len = pread(world->err_fd, text, sizeof(text) - 1, 0);
	unsigned count = 0;

	text[len] = '\0';
	assert_int_equal(ftruncate(world->err_fd, 0), 0);
	lseek(world->err_fd, 0, SEEK_SET);
	for (char *at = strtok(text, "\n"); at; at = strtok(NULL, "\n")) {
		count++;
		snprintf(last, 256, "%s", at);
	}
	return count;
}

static struct mesh_report report_of(struct world *world)
{
	struct mesh_report report = {.nmissing = 0};

	troubles_tell(world->troubles, (struct in_addr){1}, &report);
	return report;
}

static void a_flood_is_a_line_a_minute(void **state)
{
	struct world *world = world_open();
	char last[256];

	(void)state;
	for (int minute = 0; minute < 3; minute++) {
		for (int i = 0; i < 1000; i++)
			troubles_fail(world->troubles, PROTO_TCP, 80, "127.0.0.1:9", -ECONNREFUSED);
		assert_int_equal(lines(world, last), 1);
		assert_non_null(strstr(last, "port 80 "));
		assert_non_null(strstr(last, "127.0.0.1:9: Connection refused"));
		assert_int_equal(strstr(last, "1000 times") != NULL, minute > 0);
		jump(&world->bed, TROUBLES_LINE_S * 1000);
	}
	assert_int_equal(world->changes, 3);
	troubles_fail(world->troubles, PROTO_UDP, 80, "gone:9", -ENOENT);
	jump(&world->bed, 5000);
	struct mesh_report report = report_of(world);
	assert_int_equal(report.nfailing, 2);
	assert_int_equal(report.failing[0].proto, PROTO_UDP); /* the last one */
	assert_int_equal(report.failing[0].count, 1);
	assert_int_equal(report.failing[0].age_s, 5);
	assert_string_equal(report.failing[0].why, "gone:9: there is no such name");
	assert_int_equal(report.failing[1].count, 3000);
	world_close(world);
}

static bool is_kept(void *owner, enum proto proto, uint16_t port)
{
	(void)owner;
	return proto == PROTO_TCP && port < 3;
}

static void a_crowd_is_some_lines(void **state)
{
	struct world *world = world_open();
	char last[256];

	(void)state;
	for (uint16_t port = 1; port < 1000; port++) {
		troubles_fail(world->troubles, PROTO_TCP, port, "127.0.0.1:9", -ECONNREFUSED);
		troubles_say(world->troubles, "something else");
	}
	assert_in_range(lines(world, last), 1, TROUBLES_LINES);
	assert_int_equal(report_of(world).nfailing, 999);
	troubles_sift(world->troubles, is_kept, NULL);
	assert_int_equal(report_of(world).nfailing, 2);
	jump(&world->bed, TROUBLES_LINE_S * 1000);
	troubles_say(world->troubles, "again");
	assert_int_equal(lines(world, last), 1);
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flood_is_a_line_a_minute),
		cmocka_unit_test(a_crowd_is_some_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
