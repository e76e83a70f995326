/* SPDX-License-Identifier: Apache-2.0 */
/* test_ask - one query over a stream, whose other end says what it likes */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns/ask.h"
#include "dns/query.h"
#include "util/fd.h"

#define WAIT_MS 5000

static struct {
	struct loop *loop;
	struct ask ask;
	int server;
	uint8_t query[512], answer[600];
	size_t query_len, answer_len;
	int result, calls;
} now;

static void on_done(struct ask *ask, int result, const uint8_t *answer, size_t len)
{
	assert_ptr_equal(ask, &now.ask);
	now.calls++;
	now.result = result;
	now.answer_len = len;
	if (answer)
		memcpy(now.answer, answer, len);
	loop_stop(now.loop, 0);
}

/* Ask, and read the query at the server's end. */
static void start(unsigned timeout_ms)
{
	uint8_t got[512];
	int ends[2];

	memset(&now, 0, sizeof(now));
	now.loop = loop_new();
	now.ask.on_done = on_done;
	now.query_len = (size_t)query_make("lab", QUERY_A, now.query, sizeof(now.query));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	now.server = ends[1];
	assert_int_equal(
		ask_start(&now.ask, now.loop, ends[0], now.query, now.query_len, timeout_ms), 0);
	assert_int_equal(loop_run_once(now.loop, WAIT_MS), 0);
	assert_int_equal(read(now.server, got, sizeof(got)), now.query_len + 2);
	assert_int_equal(got[0] << 8 | got[1], now.query_len);
	assert_memory_equal(got + 2, now.query, now.query_len);
}

static void end(int result)
{
	assert_int_equal(loop_run(now.loop), 0);
	assert_int_equal(now.calls, 1);
	assert_int_equal(now.result, result);
	assert_null(now.ask.loop);
	if (now.server >= 0)
		close(now.server);
	loop_free(now.loop);
}

static void say(const void *bytes, size_t len)
{
	assert_int_equal(write(now.server, bytes, len), len);
}

/* Byte by byte. */
static void test_answer(void **state)
{
	(void)state;
	start(WAIT_MS);
	now.query[2] |= 0x80;
	uint8_t len[2] = {0, (uint8_t)now.query_len};
	say(&len[0], 1);
	assert_int_equal(loop_run_once(now.loop, WAIT_MS), 0);
	say(&len[1], 1);
	for (size_t i = 0; i < now.query_len; i++) {
		assert_int_equal(now.calls, 0);
		assert_int_equal(loop_run_once(now.loop, WAIT_MS), 0);
		say(&now.query[i], 1);
	}
	end(0);
	assert_int_equal(now.answer_len, now.query_len);
	assert_memory_equal(now.answer, now.query, now.query_len);
}

static void test_wrong(void **state)
{
	(void)state;
	start(WAIT_MS);
	say("\0\0", 2);
	end(-EBADMSG);
	start(WAIT_MS);
	now.query[2] |= 0x80;
	now.query[0] ^= 1; /* another id */
	uint8_t len[2] = {0, (uint8_t)now.query_len};
	say(len, 2);
	say(now.query, now.query_len);
	end(-EBADMSG);
	start(WAIT_MS);
	say("\0\20abc", 5);
	fd_close(&now.server);
	end(-EPIPE);
}

static void test_silence(void **state)
{
	(void)state;
	start(20);
	end(-ETIMEDOUT);
	start(WAIT_MS);
	ask_cancel(&now.ask);
	char byte;
	assert_int_equal(read(now.server, &byte, 1), 0); /* it is closed */
	ask_cancel(&now.ask);
	close(now.server);
	loop_free(now.loop);
	assert_int_equal(now.calls, 0);
	now.loop = loop_new();
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(ask_start(&now.ask, now.loop, fd, now.query, 11, 20), -EINVAL);
	assert_int_equal(close(fd), -1); /* it was taken */
	loop_free(now.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_silence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
