/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_handover - what of a link another agent is to have */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mesh/agent/handover.h"

static int is_fine(const struct mesh_sandbox *sandbox, struct err *err)
{
	return strcmp(sandbox->command[0], "x") == 0 ? 0 : err_set(err, ENOENT, "there is no y");
}

static struct mesh_config config_of(const char *command, const char *identity)
{
	struct mesh_config config = {0};

	config.sandbox.command = calloc(2, sizeof(char *));
	config.sandbox.command[0] = strdup(command);
	config.identity = identity ? strdup(identity) : NULL;
	return config;
}

static void what_cannot_be_changes_nothing(void **state)
{
	static const struct {
		const char *command, *identity, *wanted;
		bool has_check;
	} rows[] = {
		{"x", "ab", "sandbox: this agent runs no commands (--no-sandbox)", false},
		{"x", NULL, "sandbox: it has no identity", true},
		{"x", "../x", "sandbox: it has no identity", true},
		{"y", "ab", "sandbox: there is no y", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct handover handover = {
			.check = rows[i].has_check ? is_fine : NULL, .in_fd = -1, .out_fd = -1};
		struct mesh_config config = config_of(rows[i].command, rows[i].identity);
		struct err err;

		assert_true(handover_begin(&handover, &config, &err) < 0);
		assert_string_equal(err.text, rows[i].wanted);
		assert_false(handover.is_begun);
		assert_non_null(config.sandbox.command);
		config_free(&config);
		handover_free(&handover);
	}
}

static void put(struct handover *handover, unsigned char *bytes, size_t len)
{
	struct frame frame = {.type = FRAME_PACKET,
		.start = bytes,
		.payload = bytes + FRAME_HEADER_BYTES,
		.len = len - FRAME_HEADER_BYTES};

	frame_encode_header(bytes, FRAME_PACKET, frame.len);
	assert_int_equal(handover_keep(handover, &frame), 0);
}

/* Every byte is counted once, here or there. */
static void all_that_comes_is_kept(void **state)
{
	struct handover handover = {.check = is_fine, .in_fd = -1, .out_fd = -1};
	struct mesh_config config = config_of("x", "ab");
	unsigned char one[FRAME_HEADER_BYTES + 3] = "", two[FRAME_HEADER_BYTES + 70] = "";
	unsigned char rest[] = {0x42, 0, 1};
	struct wire wire = {.come = 1000 + sizeof(one) + sizeof(two),
		.window.sent = 77,
		.partial = rest,
		.partial_len = sizeof(rest),
		.in.fd = open("/dev/null", O_RDONLY | O_CLOEXEC),
		.out.fd = open("/dev/null", O_WRONLY | O_CLOEXEC)};
	struct err err;

	(void)state;
	assert_int_equal(handover_begin(&handover, &config, &err), 0);
	assert_null(config.sandbox.command);
	assert_string_equal(handover.config.sandbox.command[0], "x");
	assert_string_equal(handover.greeting.identity, "ab");
	assert_true(handover.greeting.runs_sandbox);
	put(&handover, one, sizeof(one));
	put(&handover, two, sizeof(two));
	assert_int_equal(handover_end(&handover, &wire), 0);
	close(wire.in.fd);
	close(wire.out.fd);
	assert_int_equal(handover.greeting.come, 1000);
	assert_int_equal(handover.greeting.sent, 77);
	assert_int_equal(handover.greeting.len, sizeof(one) + sizeof(two) + sizeof(rest));
	assert_memory_equal(handover.greeting.bytes, one, sizeof(one));
	assert_memory_equal(handover.greeting.bytes + sizeof(one), two, sizeof(two));
	assert_memory_equal(
		handover.greeting.bytes + sizeof(one) + sizeof(two), rest, sizeof(rest));
	assert_true(fcntl(handover.in_fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(handover.out_fd, F_GETFD) & FD_CLOEXEC);
	handover_free(&handover);
	assert_int_equal(handover.in_fd, -1);
}

static void there_is_a_limit(void **state)
{
	struct handover handover = {.check = is_fine, .in_fd = -1, .out_fd = -1};
	unsigned char *bytes = calloc(1, FRAME_HEADER_BYTES + FRAME_PACKET_MAX);
	struct frame frame = {.type = FRAME_PACKET,
		.start = bytes,
		.payload = bytes + FRAME_HEADER_BYTES,
		.len = FRAME_PACKET_MAX};
	size_t count = 0;

	(void)state;
	while (handover_keep(&handover, &frame) == 0)
		count++;
	assert_true(handover.greeting.len <= GREETING_BYTES_MAX);
	assert_int_equal(count, GREETING_BYTES_MAX / (FRAME_HEADER_BYTES + FRAME_PACKET_MAX));
	free(bytes);
	handover_free(&handover);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_changes_nothing),
		cmocka_unit_test(all_that_comes_is_kept),
		cmocka_unit_test(there_is_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
