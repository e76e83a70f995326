/* SPDX-License-Identifier: Apache-2.0 */
/* test_lookup - names that are quick, wrong, slow or hang; a getaddrinfo that is told what to do */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn/lookup.h"

#define WAIT_MS 5000 /* far above what anything here takes */

/*
 * What the stand-in knows: "hang..." waits until it is let go, "gone" does not exist, "down" has
 * no server that answers, "many" has twelve addresses; the rest is 10.0.0.1 or the C library's.
 */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_let_go;
	unsigned hanging, calls, finished;
	bool had_open_signals;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct addrinfo *make_list(unsigned count)
{
	struct addrinfo *list = NULL;

	while (count > 0) {
		struct sockaddr_in addr = {.sin_family = AF_INET};
		struct addrinfo *item = calloc(1, sizeof(*item) + sizeof(addr));

		addr.sin_addr.s_addr = htonl(0x0a000000 + count--);
		item->ai_family = AF_INET;
		item->ai_addrlen = sizeof(addr);
		item->ai_addr = memcpy(item + 1, &addr, sizeof(addr));
		item->ai_next = list;
		list = item;
	}
	return list;
}

static void note_signals(void)
{
	sigset_t now;

	pthread_sigmask(SIG_SETMASK, NULL, &now);
	if (!sigismember(&now, SIGTERM) || !sigismember(&now, SIGCHLD))
		server.had_open_signals = true;
}

static int answer_for(const char *name, struct addrinfo **out)
{
	if (strcmp(name, "gone") == 0)
		return EAI_NONAME;
	if (strcmp(name, "down") == 0)
		return EAI_AGAIN;
	*out = make_list(strcmp(name, "many") == 0 ? 12 : 1);
	return 0;
}

/* Stands before the one of the C library */
int getaddrinfo(
	const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	typedef int getaddrinfo_fn(
		const char *, const char *, const struct addrinfo *, struct addrinfo **);

	if (strcmp(name, "127.0.0.1") == 0)
		return ((getaddrinfo_fn *)dlsym(RTLD_NEXT, "getaddrinfo"))(
			name, service, hints, out);
	pthread_mutex_lock(&server.lock);
	note_signals();
	server.calls++;
	server.hanging++;
	while (strncmp(name, "hang", 4) == 0 && !server.is_let_go)
		pthread_cond_wait(&server.changed, &server.lock);
	server.hanging--;
	server.finished++;
	pthread_mutex_unlock(&server.lock);
	return answer_for(name, out);
}

void freeaddrinfo(struct addrinfo *list)
{
	typedef void freeaddrinfo_fn(struct addrinfo *);

	if (list && list->ai_addr != (struct sockaddr *)(list + 1)) {
		((freeaddrinfo_fn *)dlsym(RTLD_NEXT, "freeaddrinfo"))(list);
		return;
	}
	while (list) {
		struct addrinfo *next = list->ai_next;

		free(list);
		list = next;
	}
}

static unsigned read_locked(const unsigned *value)
{
	pthread_mutex_lock(&server.lock);
	unsigned now = *value;
	pthread_mutex_unlock(&server.lock);
	return now;
}

static void let_go(void)
{
	pthread_mutex_lock(&server.lock);
	server.is_let_go = true;
	pthread_cond_broadcast(&server.changed);
	pthread_mutex_unlock(&server.lock);
}

struct question {
	struct lookup_query query;
	struct lookup *again; /* look "other" up from within the answer */
	int answers, result;
	struct lookup_answer answer;
};

struct bed {
	struct loop *loop;
	struct lookup *lookup;
};

static void on_answer(struct lookup_query *query, int result, const struct lookup_answer *answer)
{
	struct question *question = (struct question *)query;
	struct lookup *again = question->again;

	question->answers++;
	question->result = result;
	assert_int_equal(result == 0, answer != NULL);
	if (answer)
		question->answer = *answer;
	question->again = NULL;
	if (again)
		assert_int_equal(lookup_start(again, "other", query), 0);
}

static struct bed bed_open(void)
{
	struct bed bed = {.loop = loop_new()};

	server.is_let_go = false;
	server.calls = server.finished = 0;
	bed.lookup = lookup_new(bed.loop);
	assert_non_null(bed.lookup);
	return bed;
}

static int count_in(const char *path)
{
	DIR *dir = opendir(path);
	int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void wait_for_threads(void)
{
	for (int i = 0; i < WAIT_MS && count_in("/proc/self/task") > 3; i++)
		usleep(1000);
	assert_int_equal(count_in("/proc/self/task"), 3); /* ".", ".." and this one */
}

static void bed_close(struct bed *bed)
{
	lookup_free(bed->lookup);
	loop_free(bed->loop);
	wait_for_threads();
}

static void ask(struct bed *bed, struct question *question, const char *name)
{
	*question = (struct question){.query.on_answer = on_answer};
	assert_int_equal(lookup_start(bed->lookup, name, &question->query), 0);
	assert_int_equal(question->answers, 0);
}

static void wait_answer(struct bed *bed, struct question *question)
{
	int before = question->answers;

	for (int i = 0; i < WAIT_MS && question->answers == before; i++)
		assert_int_equal(loop_run_once(bed->loop, 1), 0);
	assert_int_equal(question->answers, before + 1);
}

/* A minimal system has no /etc/hosts, and no name server: this one it knows. */
static void asks_the_system(void **state)
{
	struct bed bed = bed_open();
	struct question question;
	bool has_v4 = false;

	(void)state;
	ask(&bed, &question, "127.0.0.1");
	wait_answer(&bed, &question);
	assert_int_equal(question.result, 0);
	assert_true(question.answer.count >= 1);
	for (size_t i = 0; i < question.answer.count; i++)
		if (question.answer.addrs[i].any.sa_family == AF_INET)
			has_v4 |= question.answer.addrs[i].v4.sin_addr.s_addr ==
				  htonl(INADDR_LOOPBACK);
	assert_true(has_v4);
	bed_close(&bed);
}

static void says_what_failed(void **state)
{
	struct bed bed = bed_open();
	struct question gone, down;

	(void)state;
	ask(&bed, &gone, "gone");
	ask(&bed, &down, "down");
	wait_answer(&bed, &gone);
	if (down.answers == 0)
		wait_answer(&bed, &down);
	assert_int_equal(gone.result, -ENOENT);
	assert_int_equal(down.result, -EAGAIN);
	bed_close(&bed);
}

static void takes_no_more_addresses_than_fit(void **state)
{
	struct bed bed = bed_open();
	struct question question;

	(void)state;
	ask(&bed, &question, "many");
	wait_answer(&bed, &question);
	assert_int_equal(question.answer.count, LOOKUP_ADDRS_MAX);
	for (uint32_t i = 0; i < LOOKUP_ADDRS_MAX; i++)
		assert_int_equal(question.answer.addrs[i].v4.sin_addr.s_addr,
			htonl(0x0a000001 + i)); /* in their order */
	bed_close(&bed);
}

static void a_name_that_hangs_holds_up_nobody(void **state)
{
	struct bed bed = bed_open();
	struct question hanging, quick;

	(void)state;
	ask(&bed, &hanging, "hang");
	for (int i = 0; i < 100; i++) {
		ask(&bed, &quick, "quick");
		wait_answer(&bed, &quick);
		assert_int_equal(quick.result, 0);
	}
	assert_int_equal(hanging.answers, 0);
	let_go();
	wait_answer(&bed, &hanging);
	assert_int_equal(hanging.result, 0);
	bed_close(&bed);
}

static void who_asks_the_same_shares_the_answer(void **state)
{
	struct bed bed = bed_open();
	struct question questions[100], later;

	(void)state;
	for (int i = 0; i < 100; i++)
		ask(&bed, &questions[i], "hang");
	lookup_cancel(&questions[50].query);
	let_go();
	wait_answer(&bed, &questions[0]);
	for (int i = 0; i < 100; i++)
		assert_int_equal(questions[i].answers, i != 50);
	assert_int_equal(server.calls, 1);
	ask(&bed, &later, "hang"); /* nothing is remembered */
	wait_answer(&bed, &later);
	assert_int_equal(server.calls, 2);
	bed_close(&bed);
}

static void more_names_than_threads_have_their_turn(void **state)
{
	enum { MORE = LOOKUP_THREADS + 20 };
	struct bed bed = bed_open();
	struct question questions[MORE];
	char name[16];

	(void)state;
	for (int i = 0; i < MORE; i++) {
		snprintf(name, sizeof(name), "hang%d", i);
		ask(&bed, &questions[i], name);
	}
	lookup_cancel(&questions[MORE - 1].query);
	for (int i = 0; i < WAIT_MS && read_locked(&server.hanging) < LOOKUP_THREADS; i++)
		usleep(1000);
	assert_int_equal(read_locked(&server.calls), LOOKUP_THREADS);
	let_go();
	for (int i = 0; i < MORE - 1; i++) {
		if (questions[i].answers == 0)
			wait_answer(&bed, &questions[i]);
		assert_int_equal(questions[i].result, 0);
	}
	assert_int_equal(questions[MORE - 1].answers, 0);
	bed_close(&bed);
}

static void may_ask_again_from_the_answer(void **state)
{
	struct bed bed = bed_open();
	struct question question;

	(void)state;
	ask(&bed, &question, "gone");
	question.again = bed.lookup;
	wait_answer(&bed, &question);
	assert_int_equal(question.result, -ENOENT);
	wait_answer(&bed, &question);
	assert_int_equal(question.result, 0);
	bed_close(&bed);
}

static void a_cancelled_query_may_be_used_again(void **state)
{
	struct bed bed = bed_open();
	struct question question;

	(void)state;
	ask(&bed, &question, "hang");
	lookup_cancel(&question.query);
	lookup_cancel(&question.query);
	ask(&bed, &question, "quick");
	wait_answer(&bed, &question);
	let_go();
	for (int i = 0; i < WAIT_MS && read_locked(&server.finished) < 2; i++)
		usleep(1000);
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_run_once(bed.loop, 1), 0);
	assert_int_equal(question.answers, 1);
	bed_close(&bed);
}

/* Threads that are still at it clean up behind themselves: ASan watches the memory. */
static void can_be_freed_while_names_hang(void **state)
{
	int fds_before = count_in("/proc/self/fd");
	struct question questions[LOOKUP_THREADS + 4];
	char name[16];

	(void)state;
	for (int round = 0; round < 20; round++) {
		struct bed bed = bed_open();

		for (int i = 0; i < LOOKUP_THREADS + 4; i++) {
			snprintf(name, sizeof(name), "hang%d", i);
			ask(&bed, &questions[i], name);
		}
		if (round % 2) /* some are done, and not yet told */
			let_go();
		for (int i = 0; i < LOOKUP_THREADS + 4; i++)
			lookup_cancel(&questions[i].query);
		lookup_free(bed.lookup);
		let_go();
		loop_free(bed.loop);
		wait_for_threads();
	}
	assert_int_equal(count_in("/proc/self/fd"), fds_before);
}

static void threads_take_no_signals(void **state)
{
	(void)state;
	assert_true(server.finished > 0);
	assert_false(server.had_open_signals);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asks_the_system),
		cmocka_unit_test(says_what_failed),
		cmocka_unit_test(takes_no_more_addresses_than_fit),
		cmocka_unit_test(a_name_that_hangs_holds_up_nobody),
		cmocka_unit_test(who_asks_the_same_shares_the_answer),
		cmocka_unit_test(more_names_than_threads_have_their_turn),
		cmocka_unit_test(may_ask_again_from_the_answer),
		cmocka_unit_test(a_cancelled_query_may_be_used_again),
		cmocka_unit_test(can_be_freed_while_names_hang),
		cmocka_unit_test(threads_take_no_signals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
