/* SPDX-License-Identifier: Apache-2.0 */
/* test_names - names of the table, names of the system, and what is no name */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>

#include "conn/dial.h"
#include "conn/names.h"
#include "mesh_bed.h"

#define PORT 4000

struct question {
	struct lookup_query query;
	int done, result;
	struct lookup_answer answer;
};

static void on_answer(struct lookup_query *query, int result, const struct lookup_answer *answer)
{
	struct question *question = container_of(query, struct question, query);

	question->done++;
	question->result = result;
	if (answer)
		question->answer = *answer;
}

static int ask(struct mesh_bed *bed, struct question *question, const char *name)
{
	*question = (struct question){.query.on_answer = on_answer};
	return names_start(bed->context.names, name, &question->query, &question->answer);
}

static void expect_answer(struct mesh_bed *bed, const char *name, const char *ip, size_t count)
{
	struct question question;
	int asked = names_asked;
	struct addr expected = addr_at(ip, 0);

	assert_int_equal(ask(bed, &question, name), 0);
	assert_int_equal(question.answer.count, count);
	assert_true(addr_is_same_ip(&question.answer.addrs[0], &expected));
	settle(bed);
	assert_int_equal(question.done, 0);
	assert_int_equal(names_asked, asked);
}

static int add(struct mesh_bed *bed, const char *name, const char *ip)
{
	const struct addr addr = addr_at(ip, 77);

	return names_add(bed->context.names, name, &addr);
}

static void answers_at_once(void **state)
{
	struct mesh_bed bed;
	char name[] = "web";

	(void)state;
	bed_open(&bed);
	expect_answer(&bed, "127.0.0.9", "127.0.0.9", 1);
	expect_answer(&bed, "[::1]", "::1", 1);
	assert_int_equal(add(&bed, name, "127.0.42.1"), 0);
	name[0] = 'x'; /* it was copied */
	assert_int_equal(add(&bed, "WEB", "::1"), 0);
	assert_int_equal(add(&bed, "gone", "127.0.42.3"), 0);
	assert_int_equal(add(&bed, "127.0.0.9", "127.0.42.4"), 0);
	expect_answer(&bed, "Web", "127.0.42.1", 2);
	expect_answer(&bed, "gone", "127.0.42.3", 1);     /* whatever the system thinks */
	expect_answer(&bed, "127.0.0.9", "127.0.0.9", 1); /* whatever the table says */
	for (int i = 2; i < LOOKUP_ADDRS_MAX; i++)
		assert_int_equal(add(&bed, "web", "127.0.42.9"), 0);
	assert_int_equal(add(&bed, "web", "127.0.42.9"), -ENOSPC);
	expect_answer(&bed, "web", "127.0.42.1", LOOKUP_ADDRS_MAX);
	bed_close(&bed);
}

static void asks_the_system_for_the_rest(void **state)
{
	struct mesh_bed bed;
	struct question question, gone;
	int asked = names_asked;

	(void)state;
	bed_open(&bed);
	assert_int_equal(add(&bed, "web", "127.0.42.1"), 0);
	assert_int_equal(ask(&bed, &question, "two"), -EINPROGRESS);
	names_clear(bed.context.names); /* that one is not of the table */
	run_until(&bed, question.done);
	assert_int_equal(question.result, 0);
	assert_int_equal(question.answer.count, 2);
	assert_int_equal(ask(&bed, &gone, "gone"), -EINPROGRESS);
	run_until(&bed, gone.done);
	assert_int_equal(gone.result, -ENOENT);
	/* what was in the table is the system's now */
	assert_int_equal(ask(&bed, &question, "web"), -EINPROGRESS);
	run_until(&bed, question.done);
	assert_int_equal(names_asked, asked + 3);
	assert_int_equal(ask(&bed, &question, "web"), -EINPROGRESS);
	lookup_cancel(&question.query);
	settle(&bed);
	assert_int_equal(question.done, 0);
	bed_close(&bed);
}

/* As many names as a large mesh has. */
static void a_thousand_names(void **state)
{
	struct mesh_bed bed;
	char name[32], ip[32];
	struct question question;

	(void)state;
	bed_open(&bed);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 1000; i++) {
			snprintf(name, sizeof(name), "host%d", i);
			snprintf(ip, sizeof(ip), "127.%d.%d.1", round + 1, i % 250);
			assert_int_equal(add(&bed, name, ip), 0);
		}
		for (int i = 0; i < 1000; i++) {
			snprintf(name, sizeof(name), "HOST%d", i);
			snprintf(ip, sizeof(ip), "127.%d.%d.1", round + 1, i % 250);
			struct addr expected = addr_at(ip, 0);
			assert_int_equal(ask(&bed, &question, name), 0);
			assert_int_equal(question.answer.count, 1);
			assert_true(addr_is_same_ip(&question.answer.addrs[0], &expected));
		}
		names_clear(bed.context.names);
	}
	bed_close(&bed);
}

struct call {
	struct dial dial;
	int result;
};

static void on_dialled(struct dial *dial, int result)
{
	container_of(dial, struct call, dial)->result = result;
}

/* Every way out resolves alike. */
static void dials_go_where_the_table_says(void **state)
{
	const struct dial_target targets[] = {
		{.host = "web", .port = PORT}, {.host = "web", .port = PORT, .where = DIAL_INSIDE}};
	struct mesh_bed bed;

	(void)state;
	bed_open(&bed);
	int listener = tcp_listen("127.0.42.1", PORT, 10);
	assert_int_equal(add(&bed, "web", "127.0.42.9"), 0); /* nobody listens there */
	assert_int_equal(add(&bed, "web", "127.0.42.1"), 0);
	for (size_t i = 0; i < 2; i++) {
		struct call call = {.dial.on_done = on_dialled};

		call.result = dial_start(&call.dial, &bed.context, &targets[i]);
		run_until(&bed, call.result != -EINPROGRESS);
		assert_return_code(call.result, -call.result);
		expect_joined(&bed, call.result, wait_accept(&bed, listener));
	}
	close(listener);
	bed_close(&bed);
}

/* Both, whatever /etc/hosts has; but the table counts. */
static void localhost_is_two(void **state)
{
	static const char *const names[] = {"localhost", "LocalHost"};
	struct question question = {.done = 0};
	struct mesh_bed bed;
	int asked = names_asked;

	(void)state;
	bed_open(&bed);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(ask(&bed, &question, names[i]), 0);
		assert_int_equal(question.answer.count, 2);
		assert_int_equal(question.answer.addrs[0].family, AF_INET);
		assert_int_equal(question.answer.addrs[1].family, AF_INET6);
		assert_true(addr_is_loopback(&question.answer.addrs[0]));
		assert_true(addr_is_loopback(&question.answer.addrs[1]));
	}
	assert_int_equal(add(&bed, "localhost", "127.0.42.9"), 0);
	assert_int_equal(ask(&bed, &question, "localhost"), 0);
	assert_int_equal(question.answer.count, 1);
	assert_int_equal(names_asked, asked);
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_at_once),
		cmocka_unit_test(asks_the_system_for_the_rest),
		cmocka_unit_test(a_thousand_names),
		cmocka_unit_test(dials_go_where_the_table_says),
		cmocka_unit_test(localhost_is_two),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
