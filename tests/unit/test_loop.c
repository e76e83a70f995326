/* SPDX-License-Identifier: Apache-2.0 */
/* test_loop - order, removal from within callbacks, and sleeping */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/loop.h"

#define TIMERS 200

/* What was called, in order. */
struct trace {
	struct loop *loop;
	int calls[4 * TIMERS];
	size_t count;
};

struct probe {
	struct loop_io io;
	struct loop_timer timer;
	struct loop_task task;
	struct trace *trace;
	int id;
	struct probe *victim; /* removed from everything by the callback */
	int again;            /* so often the callback queues itself */
};

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static void called(struct probe *probe)
{
	struct trace *trace = probe->trace;

	assert_true(trace->count < sizeof(trace->calls) / sizeof(trace->calls[0]));
	trace->calls[trace->count++] = probe->id;
	if (!probe->victim)
		return;
	loop_io_del(trace->loop, &probe->victim->io);
	loop_timer_cancel(trace->loop, &probe->victim->timer);
	loop_task_cancel(trace->loop, &probe->victim->task);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	assert_true(events & EPOLLIN);
	called(container_of(io, struct probe, io));
}

static void on_expired(struct loop_timer *timer)
{
	struct probe *probe = container_of(timer, struct probe, timer);

	assert_false(loop_timer_is_armed(timer));
	called(probe);
	if (probe->again-- > 0)
		loop_timer_set(probe->trace->loop, timer, 0);
}

static void on_run(struct loop_task *task)
{
	struct probe *probe = container_of(task, struct probe, task);

	assert_false(list_is_linked(&task->link));
	called(probe);
	if (probe->again-- > 0)
		loop_task_add(probe->trace->loop, task);
}

static struct probe probe_new(struct trace *trace, int id)
{
	return (struct probe){
		.io = {.fd = -1, .on_ready = on_ready},
		.timer = {.on_expired = on_expired},
		.task = {.on_run = on_run},
		.trace = trace,
		.id = id,
	};
}

static int setup(void **state)
{
	static struct trace trace;

	trace = (struct trace){.loop = loop_new()};
	*state = &trace;
	return trace.loop ? 0 : -1;
}

static int teardown(void **state)
{
	struct trace *trace = *state;

	loop_free(trace->loop);
	return 0;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void test_timers_in_order(void **state)
{
	struct trace *trace = *state;
	static struct probe probes[TIMERS];

	for (int i = 0; i < TIMERS; i++) {
		probes[i] = probe_new(trace, i);
		loop_timer_set(trace->loop, &probes[i].timer, (uint64_t)(i * 7919 % TIMERS) / 10);
	}
	/* set again: the last word counts */
	for (int i = 0; i < TIMERS; i += 3)
		loop_timer_set(trace->loop, &probes[i].timer, (uint64_t)(i * 31 % TIMERS) / 10);
	for (int i = 1; i < TIMERS; i += 3)
		loop_timer_cancel(trace->loop, &probes[i].timer);
	while (trace->count < TIMERS - (TIMERS + 1) / 3) {
		assert_int_equal(loop_run_once(trace->loop, -1), 0);
		assert_true(loop_now_ns(trace->loop) <= now_ns());
	}
	for (size_t i = 0; i < trace->count; i++) {
		const struct probe *probe = &probes[trace->calls[i]];

		assert_int_not_equal(probe->id % 3, 1);
		assert_true(probe->timer.deadline_ns <= loop_now_ns(trace->loop));
		if (i > 0)
			assert_true(probes[trace->calls[i - 1]].timer.deadline_ns <=
				    probe->timer.deadline_ns);
	}
}

/* Not a moment too early, and not so early that the loop has to spin until it is time. */
static void test_timer_sleeps(void **state)
{
	struct trace *trace = *state;
	struct probe probe = probe_new(trace, 1);
	uint64_t start = now_ns();
	int rounds = 0;

	loop_timer_set(trace->loop, &probe.timer, 30);
	for (; trace->count == 0; rounds++)
		assert_int_equal(loop_run_once(trace->loop, -1), 0);
	assert_true(now_ns() - start >= 30 * 1000000);
	assert_true(rounds <= 2);
	/* the caller's own limit is kept, and nothing is called twice */
	loop_timer_set(trace->loop, &probe.timer, 60000);
	start = now_ns();
	assert_int_equal(loop_run_once(trace->loop, 20), 0);
	assert_true(now_ns() - start >= 19 * 1000000ULL);
	assert_true(now_ns() - start < 50000 * 1000000ULL);
	assert_int_equal(trace->count, 1);
	loop_timer_cancel(trace->loop, &probe.timer);
	loop_timer_cancel(trace->loop, &probe.timer);
}

/* Parts of a millisecond count. */
static void test_timer_is_fine(void **state)
{
	struct trace *trace = *state;
	struct probe probe = probe_new(trace, 1);
	const struct timespec nothing = {0};
	struct epoll_event event;
	uint64_t best_ns = UINT64_MAX;

	if (epoll_pwait2(-1, &event, 1, &nothing, NULL) < 0 && errno != EBADF)
		skip();
	for (int i = 0; i < 100; i++) {
		uint64_t start = now_ns();

		loop_timer_set_ns(trace->loop, &probe.timer, 200000);
		while (trace->count == 0)
			assert_int_equal(loop_run_once(trace->loop, -1), 0);
		trace->count = 0;
		uint64_t took_ns = now_ns() - start;
		best_ns = took_ns < best_ns ? took_ns : best_ns;
	}
	assert_in_range(best_ns, 200000, 900000);
}

static void test_timer_cancels_other(void **state)
{
	struct trace *trace = *state;
	struct probe first = probe_new(trace, 1), second = probe_new(trace, 2);

	first.victim = &second;
	loop_timer_set(trace->loop, &first.timer, 0);
	loop_timer_set(trace->loop, &second.timer, 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(trace->loop, 0), 0);
	assert_int_equal(trace->count, 1);
	assert_int_equal(trace->calls[0], 1);
}

/* A timer that always sets itself to now does not keep the descriptors waiting. */
static void test_timer_repeats(void **state)
{
	struct trace *trace = *state;
	struct probe timer = probe_new(trace, 1), io = probe_new(trace, 2);
	size_t at = 0;

	timer.again = 100;
	io.io.fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(loop_io_add(trace->loop, &io.io, EPOLLIN), 0);
	loop_timer_set(trace->loop, &timer.timer, 0);
	for (int round = 1; round <= 10; round++) {
		size_t before = trace->count;
		assert_int_equal(loop_run_once(trace->loop, -1), 0);
		assert_true(trace->count - before <= 2);
	}
	for (size_t i = 0; i < trace->count; i++)
		at += trace->calls[i] == 2;
	assert_int_equal(at, 10);
	loop_timer_cancel(trace->loop, &timer.timer);
	loop_io_del(trace->loop, &io.io);
	close(io.io.fd);
}

/* Of two ready descriptors the first one called removes the other, in whichever order. */
static void test_io_removes_other(void **state)
{
	struct trace *trace = *state;
	struct probe probes[2] = {probe_new(trace, 0), probe_new(trace, 1)};

	for (int i = 0; i < 2; i++) {
		probes[i].victim = &probes[!i];
		probes[i].io.fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
		assert_int_equal(loop_io_add(trace->loop, &probes[i].io, EPOLLIN), 0);
	}
	assert_int_equal(loop_run_once(trace->loop, -1), 0);
	assert_int_equal(trace->count, 1);
	assert_int_equal(loop_run_once(trace->loop, 0), 0);
	assert_int_equal(trace->count, 2);
	assert_int_equal(trace->calls[0], trace->calls[1]);
	/* removing what is not there, or was never, is nothing */
	for (int i = 0; i < 2; i++) {
		loop_io_del(trace->loop, &probes[i].io);
		loop_io_del(trace->loop, &probes[i].io);
		close(probes[i].io.fd);
		probes[i].io.fd = -1;
		loop_io_del(trace->loop, &probes[i].io);
	}
	assert_int_equal(loop_run_once(trace->loop, 0), 0);
	assert_int_equal(trace->count, 2);
}

static void on_move(struct loop_io *io, uint32_t events)
{
	struct probe *probe = container_of(io, struct probe, io), *to = probe->victim;

	(void)events;
	to->io.fd = to->victim->io.fd;
	assert_int_equal(loop_io_move(probe->trace->loop, &to->victim->io, &to->io, EPOLLIN), 0);
	loop_io_del(probe->trace->loop, io);
	to->victim = NULL;
}

/* What a round has for who was watched before is nobody's; the next one is the other's. */
static void test_io_moves(void **state)
{
	struct trace *trace = *state;
	struct probe from = probe_new(trace, 1), to = probe_new(trace, 2);
	struct probe mover = probe_new(trace, 3);

	from.io.fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	to.io.fd = from.io.fd;
	assert_int_equal(loop_io_move(trace->loop, &from.io, &to.io, EPOLLIN), -ENOENT);
	mover.io = (struct loop_io){eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC), on_move};
	mover.victim = &to;
	to.victim = &from;
	assert_int_equal(loop_io_add(trace->loop, &mover.io, EPOLLIN), 0);
	assert_int_equal(loop_io_add(trace->loop, &from.io, EPOLLIN), 0);
	assert_int_equal(loop_run_once(trace->loop, 0), 0);
	assert_int_equal(trace->count, 0);
	assert_int_equal(loop_run_once(trace->loop, 0), 0);
	assert_int_equal(trace->count, 1);
	assert_int_equal(trace->calls[0], 2);
	loop_io_del(trace->loop, &to.io);
	close(from.io.fd);
	close(mover.io.fd);
}

static void test_io_interest(void **state)
{
	struct trace *trace = *state;
	struct probe probe = probe_new(trace, 1);
	uint64_t value;

	probe.io.fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(loop_io_mod(trace->loop, &probe.io, EPOLLIN), -ENOENT);
	assert_int_equal(loop_io_add(trace->loop, &probe.io, EPOLLIN | EPOLLET), 0);
	assert_int_equal(loop_io_add(trace->loop, &probe.io, EPOLLIN), -EEXIST);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(trace->loop, 0), 0);
	assert_int_equal(trace->count, 1);
	assert_int_equal(loop_io_mod(trace->loop, &probe.io, EPOLLIN), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(trace->loop, 0), 0);
	assert_int_equal(trace->count, 4);
	assert_int_equal(read(probe.io.fd, &value, sizeof(value)), sizeof(value));
	assert_int_equal(loop_run_once(trace->loop, 0), 0);
	assert_int_equal(trace->count, 4);
	loop_io_del(trace->loop, &probe.io);
	close(probe.io.fd);
}

static void test_tasks(void **state)
{
	struct trace *trace = *state;
	struct probe probes[4];
	static const int expected[] = {0, 1, 3, 1, 1};
	uint64_t start = now_ns();

	for (int i = 0; i < 4; i++) {
		probes[i] = probe_new(trace, i);
		loop_task_add(trace->loop, &probes[i].task);
		loop_task_add(trace->loop, &probes[i].task);
	}
	probes[0].victim = &probes[2];
	probes[1].again = 2;
	/* no sleep while there are tasks; one that queues itself runs in the next round */
	assert_int_equal(loop_run_once(trace->loop, 60000), 0);
	assert_int_equal(trace->count, 3);
	for (size_t round = 4; round <= 5; round++) {
		assert_int_equal(loop_run_once(trace->loop, 60000), 0);
		assert_int_equal(trace->count, round);
	}
	assert_true(now_ns() - start < 50000 * 1000000ULL);
	assert_memory_equal(trace->calls, expected, sizeof(expected));
	/* now it sleeps */
	start = now_ns();
	assert_int_equal(loop_run_once(trace->loop, 10), 0);
	assert_true(now_ns() - start >= 9 * 1000000ULL);
	assert_int_equal(trace->count, 5);
}

static void on_stop(struct loop_task *task)
{
	struct probe *probe = container_of(task, struct probe, task);

	called(probe);
	loop_stop(probe->trace->loop, probe->id);
}

static void test_stop(void **state)
{
	struct trace *trace = *state;
	struct probe probe = probe_new(trace, 42);

	probe.task.on_run = on_stop;
	for (int i = 1; i <= 2; i++) {
		loop_task_add(trace->loop, &probe.task);
		assert_int_equal(loop_run(trace->loop), 42);
		assert_int_equal(trace->count, i);
	}
}

struct hooked {
	struct loop_hook hook;
	struct probe *probe; /* traced, as if it were called */
	uint64_t deadline_ns;
	bool adds_task;
};

static uint64_t on_before_sleep(struct loop_hook *hook)
{
	struct hooked *hooked = container_of(hook, struct hooked, hook);

	called(hooked->probe);
	if (hooked->adds_task)
		loop_task_add(hooked->probe->trace->loop, &hooked->probe->task);
	return hooked->deadline_ns;
}

/* The time that one round takes, which may be 10 s. */
static uint64_t round_ns(struct loop *loop)
{
	uint64_t start = now_ns();

	assert_int_equal(loop_run_once(loop, 10000), 0);
	return now_ns() - start;
}

static void test_hook_limits_the_sleep(void **state)
{
	struct trace *trace = *state;
	struct probe probe = probe_new(trace, 1), timer = probe_new(trace, 2);
	struct hooked hooked = {{on_before_sleep}, &probe, 0, false};

	loop_set_hook(trace->loop, &hooked.hook);
	hooked.deadline_ns = now_ns() + 30 * NS_PER_MS;
	assert_true(round_ns(trace->loop) >= 29 * NS_PER_MS);
	assert_true(now_ns() >= hooked.deadline_ns); /* not too early: no round for nothing */
	assert_int_equal(trace->count, 1);
	assert_true(round_ns(trace->loop) < 5000 * NS_PER_MS); /* it is over */

	/* whichever comes first */
	hooked.deadline_ns = UINT64_MAX;
	loop_timer_set(trace->loop, &timer.timer, 30);
	assert_true(round_ns(trace->loop) >= 29 * NS_PER_MS);
	hooked.deadline_ns = now_ns() + 60000 * NS_PER_MS;
	loop_timer_set(trace->loop, &timer.timer, 30);
	assert_true(round_ns(trace->loop) < 5000 * NS_PER_MS);
	hooked.deadline_ns = now_ns() + 30 * NS_PER_MS;
	loop_timer_set(trace->loop, &timer.timer, 60000);
	assert_true(round_ns(trace->loop) < 5000 * NS_PER_MS);
	loop_timer_cancel(trace->loop, &timer.timer);

	size_t count = trace->count;
	loop_set_hook(trace->loop, NULL);
	assert_int_equal(loop_run_once(trace->loop, 20), 0);
	assert_int_equal(trace->count, count);
}

/* Before each sleep, behind all else of the round before; what it asks for counts at once. */
static void test_hook_comes_last(void **state)
{
	struct trace *trace = *state;
	struct probe hook = probe_new(trace, 0), io = probe_new(trace, 1),
		     timer = probe_new(trace, 2), task = probe_new(trace, 3);
	struct hooked hooked = {{on_before_sleep}, &hook, UINT64_MAX, false};
	static const int expected[] = {0, 1, 2, 3, 0, 1, 0, 0};

	loop_set_hook(trace->loop, &hooked.hook);
	io.io.fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(loop_io_add(trace->loop, &io.io, EPOLLIN), 0);
	loop_timer_set(trace->loop, &timer.timer, 0);
	loop_task_add(trace->loop, &task.task);
	for (int i = 0; i < 2; i++)
		assert_int_equal(loop_run_once(trace->loop, -1), 0);
	hooked.adds_task = true; /* its task runs in this round, which does not sleep */
	loop_io_mod(trace->loop, &io.io, 0);
	assert_true(round_ns(trace->loop) < 5000 * NS_PER_MS);
	assert_int_equal(trace->count, 8);
	assert_memory_equal(trace->calls, expected, sizeof(expected)); /* the last is the task */
	loop_task_cancel(trace->loop, &hook.task);
	loop_io_del(trace->loop, &io.io);
	close(io.io.fd);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_timers_in_order),
		T(test_timer_sleeps),
		T(test_timer_is_fine),
		T(test_timer_cancels_other),
		T(test_timer_repeats),
		T(test_io_removes_other),
		T(test_io_moves),
		T(test_io_interest),
		T(test_tasks),
		T(test_stop),
		T(test_hook_limits_the_sleep),
		T(test_hook_comes_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
