/* SPDX-License-Identifier: Apache-2.0 */
/* test_pipeline - clients that send all at once, byte by byte, or do not take their answers */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock_ahead.h"
#include "dns/pipeline.h"
#include "util/clock.h"
#include "util/fd.h"

static struct {
	struct loop *loop;
	struct pipeline pipeline;
	int client;
	bool answers_at_once;
	unsigned messages, ended;
	size_t last_len;
	uint8_t answer[40000];
	size_t answer_len;
} now;

static void on_message(struct pipeline *pipeline, const uint8_t *message, size_t len)
{
	now.messages++;
	now.last_len = len;
	if (len > 0 && now.answers_at_once) {
		now.answer[0] = message[0];
		pipeline_send(pipeline, now.answer, now.answer_len);
	}
}

static void on_end(struct pipeline *pipeline)
{
	assert_ptr_equal(pipeline, &now.pipeline);
	now.ended++;
}

static int setup(void **state)
{
	int ends[2];

	(void)state;
	memset(&now, 0, sizeof(now));
	now.loop = loop_new();
	now.pipeline.on_message = on_message;
	now.pipeline.on_end = on_end;
	now.answers_at_once = true;
	now.answer_len = 3;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	now.client = ends[0];
	assert_int_equal(pipeline_open(&now.pipeline, now.loop, ends[1]), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (!now.ended)
		pipeline_close(&now.pipeline);
	if (now.client >= 0)
		close(now.client);
	loop_free(now.loop);
	return 0;
}

static void run(void)
{
	for (int i = 0; i < 10; i++)
		assert_int_equal(loop_run_once(now.loop, 0), 0);
}

static void say(const void *bytes, size_t len)
{
	assert_int_equal(write(now.client, bytes, len), len);
	run();
}

static void test_parts(void **state)
{
	uint8_t got[16];

	(void)state;
	assert_true(pipeline_is_idle(&now.pipeline));
	say("\0\2ab\0\2cd\0", 9);
	assert_int_equal(now.messages, 2);
	assert_int_equal(read(now.client, got, sizeof(got)), 10);
	assert_memory_equal(got, "\0\3a\0\0\0\3c\0\0", 10);
	say("\1", 1);
	say("e", 1);
	assert_int_equal(now.messages, 3);
	assert_int_equal(now.last_len, 1);
	assert_int_equal(now.ended, 0);
}

/* The end of its side is not the end of the answers. */
static void test_half_close(void **state)
{
	uint8_t got[16];

	(void)state;
	now.answers_at_once = false;
	say("\0\1a\0\1b", 6);
	shutdown(now.client, SHUT_WR);
	run();
	assert_int_equal(now.messages, 2);
	assert_false(pipeline_is_idle(&now.pipeline));
	pipeline_send(&now.pipeline, (const uint8_t *)"xy", 2);
	run();
	assert_int_equal(now.ended, 0);
	pipeline_skip(&now.pipeline);
	run();
	assert_int_equal(now.ended, 1);
	assert_int_equal(read(now.client, got, sizeof(got)), 4);
	assert_int_equal(read(now.client, got, sizeof(got)), 0);
}

static void test_bounds(void **state)
{
	uint8_t many[3 * 1000];

	(void)state;
	for (size_t i = 0; i < sizeof(many); i++)
		many[i] = i % 3 == 1;
	now.answers_at_once = false;
	say(many, sizeof(many));
	assert_int_equal(now.messages, PIPELINE_UNDER_WAY);
	pipeline_skip(&now.pipeline);
	run();
	assert_int_equal(now.messages, PIPELINE_UNDER_WAY + 1);
	/* answers that are not taken: at most one more than there is room for */
	now.answers_at_once = true;
	now.answer_len = sizeof(now.answer);
	while (now.pipeline.under_way > 0)
		pipeline_send(&now.pipeline, now.answer, now.answer_len);
	size_t waiting = now.pipeline.out_len;
	run();
	assert_true(now.pipeline.out_len <= waiting);
	assert_int_equal(now.messages, PIPELINE_UNDER_WAY + 1);
	/* all are answered once they are taken */
	static uint8_t got[200000];
	for (int i = 0; i < 2000 && now.messages < 1000; i++) {
		while (read(now.client, got, sizeof(got)) > 0)
			;
		run();
	}
	assert_int_equal(now.messages, 1000);
	assert_int_equal(now.ended, 0);
}

static void test_large(void **state)
{
	static uint8_t bytes[2 + 65535];

	(void)state;
	bytes[0] = bytes[1] = 0xff;
	for (size_t at = 0; at < sizeof(bytes);) {
		ssize_t sent = write(now.client, bytes + at, sizeof(bytes) - at);
		at += sent > 0 ? (size_t)sent : 0;
		run();
	}
	assert_int_equal(now.messages, 1);
	assert_int_equal(now.last_len, 65535);
}

static void test_gone(void **state)
{
	(void)state;
	now.answers_at_once = false;
	say("\0\1a", 3);
	fd_close(&now.client);
	pipeline_send(&now.pipeline, now.answer, 3);
	run();
	assert_int_equal(now.ended, 1);
}

/* A whole PIPELINE_IDLE_MS passes with nothing said. */
static void wait_idle(void)
{
	clock_ahead_ns += PIPELINE_IDLE_MS * NS_PER_MS;
	run();
}

static void test_idle(void **state)
{
	(void)state;
	/* a part of a message is no message, and what comes begins the time again */
	clock_ahead_ns += (PIPELINE_IDLE_MS - 1000) * NS_PER_MS;
	say("\0\2a", 3);
	clock_ahead_ns += (PIPELINE_IDLE_MS - 1000) * NS_PER_MS;
	run();
	assert_int_equal(now.ended, 0);
	wait_idle();
	assert_int_equal(now.ended, 1);
	assert_int_equal(read(now.client, (char[1]){0}, 1), 0);
}

/* It is us that are late. */
static void test_waiting_is_not_idle(void **state)
{
	(void)state;
	now.answers_at_once = false;
	say("\0\1a", 3);
	for (int i = 0; i < 3; i++)
		wait_idle();
	assert_int_equal(now.ended, 0);
	pipeline_send(&now.pipeline, now.answer, 3);
	run();
	assert_int_equal(read(now.client, (char[16]){0}, 16), 5);
	wait_idle();
	assert_int_equal(now.ended, 1);
}

/* More may be under way: who takes no answers is ended with them. */
static void test_answers_not_taken(void **state)
{
	(void)state;
	now.answers_at_once = false;
	for (int i = 0; i < 50; i++)
		say("\0\1a", 3);
	while (now.pipeline.under_way > 1)
		pipeline_send(&now.pipeline, now.answer, sizeof(now.answer));
	run();
	assert_true(now.pipeline.out_len > 0);
	wait_idle();
	assert_int_equal(now.ended, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_close, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waiting_is_not_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answers_not_taken, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
