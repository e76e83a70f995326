/* SPDX-License-Identifier: Apache-2.0 */
/* test_greeting - how far the link is read before there is a host, and what is passed on */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mesh/agent/greeting.h"
#include "mesh/message.h"
#include "util/clock.h"
#include "wire/frame.h"

#define IDENTITY "0123456789abcdef"

static const struct greeting_patience patience = {.first_ms = 50, .second_ms = 100, .rest_ms = 200};
static const struct greeting_patience enough = {20000, 20000, 20000};
static const struct mesh_agent_info info = {.features = FEATURE_TCP, .version = "1"};

struct bed {
	int ends[2];
	struct greeting greeting;
	struct err err;
	size_t sent;
};

static int set_up(void **state)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, bed->ends), 0);
	*state = bed;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *bed = *state;

	close(bed->ends[0]);
	close(bed->ends[1]);
	greeting_free(&bed->greeting);
	free(bed);
	return 0;
}

static void send_bytes(struct bed *bed, const void *bytes, size_t len)
{
	assert_int_equal(write(bed->ends[0], bytes, len), len);
	bed->sent += len;
}

static void send_text(struct bed *bed, const char *text)
{
	unsigned char header[FRAME_HEADER_BYTES];

	frame_encode_header(header, FRAME_MESSAGE, strlen(text));
	send_bytes(bed, header, sizeof(header));
	send_bytes(bed, text, strlen(text));
}

/* @more: another one comes. */
static void send_configure(struct bed *bed, int64_t id, const char *identity, bool more)
{
	char text[512];

	snprintf(text, sizeof(text),
		"{\"type\":\"request\",\"body\":{\"id\":%lld,\"op\":\"configure\",\"args\":{"
		"\"me\":\"127.0.42.101\"%s%s%s}}}%s",
		(long long)id, identity ? ",\"identity\":\"" : "", identity ? identity : "",
		identity ? "\"" : "", more ? "\n" : "");
	send_text(bed, text);
}

static int hear_for(struct bed *bed, const struct greeting_patience *how_long)
{
	return greeting_hear(
		bed->ends[1], bed->ends[1], &info, how_long, &bed->greeting, &bed->err);
}

static int hear(struct bed *bed)
{
	return hear_for(bed, &patience);
}

/* How many answers has the manager? */
static size_t answers(struct bed *bed)
{
	unsigned char bytes[4096];
	struct frame frame;
	struct err err;
	size_t count = 0, at = 0;
	ssize_t got = recv(bed->ends[0], bytes, sizeof(bytes), MSG_DONTWAIT), size;

	while (got > 0 && (size = frame_decode(bytes + at, (size_t)got - at, &frame, &err)) > 0) {
		assert_non_null(memmem(frame.payload, frame.len, "\"features\":[\"tcp\"]", 18));
		at += (size_t)size;
		count++;
	}
	return count;
}

static void the_second_one_says_who(void **state)
{
	struct bed *bed = *state;
	unsigned char answer[4096];

	send_configure(bed, 1, NULL, true);
	send_configure(bed, 2, IDENTITY, false);
	assert_int_equal(hear(bed), 1);
	assert_int_equal(recv(bed->ends[0], answer, sizeof(answer), MSG_PEEK | MSG_DONTWAIT),
		bed->greeting.answered_len);
	assert_int_equal(answers(bed), 1);
	assert_string_equal(bed->greeting.identity, IDENTITY);
	assert_int_equal(bed->greeting.answered_id, 1);
	assert_int_equal(bed->greeting.len, bed->sent);
}

static void the_first_one_says_who(void **state)
{
	struct bed *bed = *state;

	send_configure(bed, 1, IDENTITY, true);
	send_text(bed, "{\"type\":\"event\",\"body\":{\"type\":\"of the agent's\"}}");
	assert_int_equal(hear(bed), 1);
	assert_int_equal(answers(bed), 0);
	assert_string_equal(bed->greeting.identity, IDENTITY);
	assert_true(bed->greeting.len < bed->sent);
}

/* Nobody is waited for in vain: @ms is how long it may take at least. */
static void nobody(struct bed *bed, size_t nanswers, unsigned ms)
{
	uint64_t began_ns = clock_now_ns();

	assert_int_equal(hear_for(bed, ms > 0 ? &patience : &enough), 1);
	assert_true(clock_now_ns() - began_ns >= ms * NS_PER_MS);
	assert_true(ms > 0 || clock_now_ns() - began_ns < enough.first_ms / 2 * NS_PER_MS);
	assert_int_equal(answers(bed), nanswers);
	assert_string_equal(bed->greeting.identity, "");
	assert_int_equal(bed->greeting.len, bed->sent);
}

static void another_manager(void **state)
{
	send_configure(*state, 1, NULL, false);
	nobody(*state, 0, 0);
}

static void one_that_is_wrong_is_the_agents(void **state)
{
	send_configure(*state, 1, "../x", true);
	nobody(*state, 0, 0);
}

static void one_that_says_nothing(void **state)
{
	nobody(*state, 0, patience.first_ms);
}

static void one_that_says_no_more(void **state)
{
	send_configure(*state, 1, NULL, true);
	nobody(*state, 1, patience.second_ms);
}

static void one_that_does_not_say_who(void **state)
{
	send_configure(*state, 1, NULL, true);
	send_configure(*state, 2, NULL, true);
	nobody(*state, 1, 0);
}

static void the_end(void **state)
{
	struct bed *bed = *state;

	send_text(bed, "{\"type\":\"event\",\"body\":{\"type\":\"x\"}}");
	shutdown(bed->ends[0], SHUT_WR);
	assert_int_equal(hear(bed), 0);
}

/* Its answer is not read any more. */
static void the_end_while_it_is_answered(void **state)
{
	struct bed *bed = *state;

	send_configure(bed, 1, NULL, true);
	close(bed->ends[0]);
	bed->ends[0] = -1;
	assert_int_equal(hear(bed), 0);
}

static void what_is_no_frame(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *reason;
	} cases[] = {
		{"S", 1, "at byte 0: expected a frame, found other bytes: \"S\""},
		{"\x42\xff\xff\xff", 4, "too long"},
		{"\x42\0\0\x08\0\x02\0\0{", 9, "the rest of a frame does not come"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bed *bed = *state;

		bed->err = (struct err){0};
		send_bytes(bed, cases[i].bytes, cases[i].len);
		assert_int_equal(hear(bed), -EPROTO);
		assert_non_null(strstr(bed->err.text, cases[i].reason));
		tear_down(state);
		set_up(state);
	}
}

/* Whatever comes before, it is not kept without end. */
static void a_flood(void **state)
{
	struct bed *bed = *state;
	unsigned char packet[FRAME_HEADER_BYTES + 32768] = {0};
	pid_t child = fork();

	if (child == 0) {
		close(bed->ends[1]);
		frame_encode_header(packet, FRAME_PACKET, sizeof(packet) - FRAME_HEADER_BYTES);
		while (send(bed->ends[0], packet, sizeof(packet), MSG_NOSIGNAL) > 0)
			;
		_exit(0);
	}
	close(bed->ends[0]);
	bed->ends[0] = -1;
	/* however slowly it comes */
	assert_int_equal(hear_for(bed, &enough), 1);
	assert_true(bed->greeting.len >= GREETING_BYTES_MAX);
	assert_true(bed->greeting.len < GREETING_BYTES_MAX + 2 * sizeof(packet));
	close(bed->ends[1]);
	bed->ends[1] = -1;
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void passed_on(void **state)
{
	struct bed *bed = *state;
	struct greeting out = {0};
	int told[2];

	send_configure(bed, 1, IDENTITY, true);
	assert_int_equal(hear(bed), 1);
	bed->greeting.answered_id = 1;
	bed->greeting.answered_len = 77;
	assert_int_equal(pipe(told), 0);
	assert_int_equal(greeting_send(told[1], &bed->greeting, 1, &bed->err), 0);
	close(told[1]);
	assert_int_equal(greeting_receive(told[0], &out, &bed->err), 1);
	assert_string_equal(out.identity, IDENTITY);
	assert_int_equal(out.answered_id, 1);
	assert_int_equal(out.answered_len, 77);
	assert_int_equal(out.len, bed->greeting.len);
	assert_memory_equal(out.bytes, bed->greeting.bytes, out.len);
	close(told[0]);
	greeting_free(&out);
}

/* By one that is in somebody else's hands. */
static void passed_on_wrong(void **state)
{
	static const char identities[][12] = {"../../x", "A"};
	struct bed *bed = *state;

	for (int i = 0; i < 5; i++) {
		struct greeting in = {.bytes = bed->greeting.bytes}, out = {0};
		struct err err = {EPROTO, "\033[2J"}, told = {0};
		int ends[2];

		assert_int_equal(pipe(ends), 0);
		if (i < 2)
			memcpy(in.identity, identities[i], sizeof(identities[i]));
		else if (i == 2)
			memset(in.identity, 'f', sizeof(in.identity));
		in.len = i == 3 ? GREETING_BYTES_MAX * 2 : 0;
		if (i == 3)
			in.bytes = calloc(1, in.len);
		/* what does not fit into the pipe is lost */
		pid_t child = fork();
		if (child == 0 && close(ends[0]) == 0)
			_exit(greeting_send(ends[1], &in, i == 4 ? -EPROTO : 1, &err) < 0);
		close(ends[1]);
		int result = greeting_receive(ends[0], &out, &told);
		assert_int_equal(result, i == 2 ? 1 : -EPROTO);
		assert_true(i != 2 || strlen(out.identity) == TENANT_IDENTITY_MAX);
		assert_true(i != 4 || strcmp(told.text, "\\x1b[2J") == 0);
		close(ends[0]);
		assert_int_equal(waitpid(child, NULL, 0), child);
		greeting_free(&out);
		if (i == 3)
			free(in.bytes);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_second_one_says_who),
		TEST(the_first_one_says_who),
		TEST(another_manager),
		TEST(one_that_is_wrong_is_the_agents),
		TEST(one_that_says_nothing),
		TEST(one_that_says_no_more),
		TEST(one_that_does_not_say_who),
		TEST(the_end),
		TEST(the_end_while_it_is_answered),
		TEST(what_is_no_frame),
		TEST(a_flood),
		TEST(passed_on),
		TEST(passed_on_wrong),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
