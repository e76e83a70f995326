/* SPDX-License-Identifier: Apache-2.0 */
/* test_socks - clients of a SOCKS proxy: what they ask for, in whatever pieces, and what they get
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "proxy/socks.h"
#include "proxy_bed.h"

#define PORT4311 "\x10\xd7" /* TARGET_PORT */
#define ASK5     "\5\1\0\3\6target" PORT4311
#define OK5      10 /* bytes of a reply */

static void expect(struct proxy_bed *bed, int fd, const void *bytes, size_t len)
{
	char got[64];
	size_t have = 0;
	ssize_t count = 0;

	while (have < len) {
		run_until(&bed->bed, (count = recv(fd, got + have, len - have, 0)) >= 0);
		assert_true(count > 0);
		have += (size_t)count;
	}
	assert_memory_equal(got, bytes, len);
}

#define EXPECT(bed, fd, text) expect(bed, fd, text, sizeof(text) - 1)

/* The reply of SOCKS 5 with that code, and the end; then nothing counts any more. */
static void expect_refusal(struct proxy_bed *bed, int client, unsigned char code)
{
	const unsigned char reply[] = {5, code, 0, 1, 0, 0, 0, 0, 0, 0};

	expect(bed, client, reply, sizeof(reply));
	assert_int_equal(wait_end(&bed->bed, client), 0);
	close(client);
	run_until(&bed->bed, bed->bed.budget.used == 0);
}

static void set_password(struct proxy_bed *bed)
{
	char user[] = "ann", password[] = "secret";
	const struct access access = {.user = user, .password = password};

	assert_int_equal(front_set_access(bed->front, &access), 0);
}

/* Each message in one piece, in one go, and byte by byte; what comes early gets there. */
static void all_versions_connect(void **state)
{
	static const struct {
		const char *bytes, *reply;
		size_t len, reply_len, rest_len; /* of the reply: an address follows */
	} rows[] = {
		{"\4\1" PORT4311 "\x7f\0\0\1me\0", "\0\x5a", 11, 2, 6},
		{"\4\1" PORT4311 "\0\0\0\1\0target\0", "\0\x5a", 16, 2, 6},
		{"\5\1\0" ASK5, "\5\0\5\0\0\1\x7f\0\0\1", 3 + 13, 10, 2},
		{"\5\2\2\0\5\1\0\1\x7f\0\0\1" PORT4311, "\5\0\5\0\0\1\x7f\0\0\1", 4 + 10, 10, 2},
		{"\5\1\2\1\1x\1y" ASK5, "\5\2\1\0\5\0\0\1\x7f\0\0\1", 3 + 5 + 13, 12, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t step = 1; step <= rows[i].len + 5; step += rows[i].len + 4) {
			struct proxy_bed *bed = proxy_open(&socks_protocol);
			int client = proxy_client(bed), target;
			char bytes[64], rest[8];
			ssize_t got;

			memcpy(bytes, rows[i].bytes, rows[i].len);
			memcpy(bytes + rows[i].len, "early", 5);
			for (size_t at = 0; at < rows[i].len + 5; at += step) {
				say(client, bytes + at, step);
				settle(&bed->bed);
			}
			target = proxy_accept(bed);
			assert_int_equal(bed->port, TARGET_PORT);
			EXPECT(bed, target, "early");
			expect(bed, client, rows[i].reply, rows[i].reply_len);
			run_until(&bed->bed, (got = recv(client, rest, rows[i].rest_len, 0)) > 0);
			assert_int_equal(got, rows[i].rest_len);
			expect_joined(&bed->bed, client, target);
			proxy_close(bed);
		}
}

static void a_slow_target_is_waited_for(void **state)
{
	struct proxy_bed *bed = proxy_open(&socks_protocol);
	int client = proxy_client(bed), target;
	char reply[OK5];

	(void)state;
	bed->is_slow = true;
	SAY(client, "\5\1\0" ASK5 "early, and then an end");
	shutdown(client, SHUT_WR);
	target = proxy_accept(bed);
	EXPECT(bed, target, "early, and then an end");
	assert_int_equal(wait_end(&bed->bed, target), 0);
	EXPECT(bed, client, "\5\0");
	run_until(&bed->bed, recv(client, reply, sizeof(reply), 0) == OK5);
	SAY(target, "late answer");
	EXPECT(bed, client, "late answer");
	close(target);
	assert_int_equal(wait_end(&bed->bed, client), 0);
	close(client);
	proxy_close(bed);
}

static void who_breaks_while_it_waits_is_forgotten(void **state)
{
	struct proxy_bed *bed = proxy_open(&socks_protocol);
	const struct linger at_once = {.l_onoff = 1};
	int client = proxy_client(bed);

	(void)state;
	SAY(client, "\5\1\0\5\1\0\3\4hang\0P");
	EXPECT(bed, client, "\5\0");
	settle(&bed->bed);
	/* however long it takes: the dial has a deadline of its own */
	assert_int_equal(front_guests(bed->front), 1);
	setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(client);
	run_until(&bed->bed, front_guests(bed->front) == 0);
	assert_int_equal(bed->cancelled, 1);
	assert_int_equal(bed->bed.budget.used, 0);
	proxy_close(bed);
}

static void refusals_say_why(void **state)
{
	static const struct {
		int result;
		unsigned char code;
	} rows[] = {{-ECONNREFUSED, 5}, {-EHOSTUNREACH, 4}, {-ENETUNREACH, 3}, {-ENOENT, 4},
		{-ETIMEDOUT, 6}, {-EACCES, 2}, {-EAFNOSUPPORT, 8}, {-EMFILE, 1}};
	struct proxy_bed *bed = proxy_open(&socks_protocol);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int client = proxy_client(bed);

		bed->error = rows[i].result;
		bed->is_slow = i % 2;
		SAY(client, "\5\1\0\5\1\0\3\5error\0Pearly");
		EXPECT(bed, client, "\5\0");
		expect_refusal(bed, client, rows[i].code);
	}
	int client = proxy_client(bed);
	SAY(client, "\4\1\0P\0\0\0\1\0error\0");
	EXPECT(bed, client, "\0\x5b\0\0\0\0\0\0");
	assert_int_equal(wait_end(&bed->bed, client), 0);
	close(client);
	proxy_close(bed);
}

static void what_is_not_there_is_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		unsigned char code;
	} rows[] = {
		{"\5\2\0\1\x7f\0\0\1\0P", 10, 7}, /* BIND */
		{"\5\x77\0\1\x7f\0\0\1\0P", 10, 7},
		{"\5\1\0\2", 4, 8},
		{"\5\1\0\3\3a\0b\0P", 10, 1},
		{"\4\1\0P\x7f\0\0\1", 9, 1},
	};
	struct proxy_bed *bed = proxy_open(&socks_protocol);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int client = proxy_client(bed);

		SAY(client, "\5\1\0");
		EXPECT(bed, client, "\5\0");
		say(client, rows[i].bytes, rows[i].len);
		expect_refusal(bed, client, rows[i].code);
	}
	int client = proxy_client(bed);
	SAY(client, "\4\2\0P\x7f\0\0\1\0"); /* BIND */
	EXPECT(bed, client, "\0\x5b\0\0\0\0\0\0");
	assert_int_equal(wait_end(&bed->bed, client), 0);
	close(client);
	assert_string_equal(bed->host, ""); /* nobody was asked for */
	proxy_close(bed);
}

static void only_who_knows_the_password_comes_in(void **state)
{
	struct proxy_bed *bed = proxy_open(&socks_protocol);
	int client, target;

	(void)state;
	set_password(bed);
	client = proxy_client(bed);
	SAY(client, "\5\2\0\2\1\3ann\6secret" ASK5);
	target = proxy_accept(bed);
	EXPECT(bed, client, "\5\2\1\0\5\0\0\1\x7f\0\0\1");
	close(client);
	close(target);
	run_until(&bed->bed, bed->bed.budget.used == 0);
	bed->host[0] = '\0';

	static const char *const wrong[] = {
		"\5\1\2\1\3ann\6secreT" ASK5, "\5\1\2\1\3Ann\6secret" ASK5};
	for (size_t i = 0; i < 2; i++) {
		client = proxy_client(bed);
		say(client, wrong[i], 3 + 12 + 13);
		EXPECT(bed, client, "\5\2\1\1");
		assert_int_equal(wait_end(&bed->bed, client), 0);
		close(client);
	}
	client = proxy_client(bed);
	SAY(client, "\5\1\2\1\0\0" ASK5);
	EXPECT(bed, client, "\5\2\1\1");
	assert_int_equal(wait_end(&bed->bed, client), 0);
	close(client);
	client = proxy_client(bed);
	SAY(client, "\5\1\0" ASK5);
	EXPECT(bed, client, "\5\xff");
	assert_int_equal(wait_end(&bed->bed, client), 0);
	close(client);
	client = proxy_client(bed);
	SAY(client, "\4\1" PORT4311 "\x7f\0\0\1ann\0");
	EXPECT(bed, client, "\0\x5b\0\0\0\0\0\0");
	assert_int_equal(wait_end(&bed->bed, client), 0);
	close(client);
	assert_string_equal(bed->host, ""); /* nobody was asked for */
	proxy_close(bed);
}

static void who_speaks_otherwise_is_dropped(void **state)
{
	static const char *const rows[] = {"\6\1\0", "\x16\3\1\2", "hello", "\5\1\2\2\1a\1b"};
	struct proxy_bed *bed = proxy_open(&socks_protocol);

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		int client = proxy_client(bed);

		say(client, rows[i], strlen(rows[i]) + (i == 0));
		if (i == 3)
			EXPECT(bed, client, "\5\2");
		assert_int_equal(wait_end(&bed->bed, client), ECONNRESET);
		close(client);
		assert_int_equal(bed->bed.budget.used, 0);
	}
	int client = proxy_client(bed);
	SAY(client, "GET http://lab/ HTTP/1.1\r\n\r\n");
	EXPECT(bed, client, "HTTP/1.1 400 Bad Request\r\n");
	close(client);
	client = proxy_client(bed); /* and who says nothing to the end */
	shutdown(client, SHUT_WR);
	assert_int_equal(wait_end(&bed->bed, client), ECONNRESET);
	close(client);
	proxy_close(bed);
}

static void a_slow_client_has_a_deadline(void **state)
{
	struct proxy_bed *bed = proxy_open(&socks_protocol);
	int client = proxy_client(bed);

	(void)state;
	for (int i = 0; i < 3; i++) {
		SAY(client, "\5");
		jump(&bed->bed, FRONT_WAIT_MS / 4);
	}
	assert_int_equal(front_guests(bed->front), 1);
	jump(&bed->bed, FRONT_WAIT_MS / 4 + 1);
	assert_int_equal(front_guests(bed->front), 0);
	close(client);
	proxy_close(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_versions_connect),
		cmocka_unit_test(a_slow_target_is_waited_for),
		cmocka_unit_test(who_breaks_while_it_waits_is_forgotten),
		cmocka_unit_test(refusals_say_why),
		cmocka_unit_test(what_is_not_there_is_refused),
		cmocka_unit_test(only_who_knows_the_password_comes_in),
		cmocka_unit_test(who_speaks_otherwise_is_dropped),
		cmocka_unit_test(a_slow_client_has_a_deadline),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
