/* SPDX-License-Identifier: Apache-2.0 */
/* util/loop - the event loop: descriptors, timers and work put off to the next round */
#include "util/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BATCH     128 /* events taken from the kernel at once */
#define NS_PER_MS 1000000ULL

struct loop {
	int epoll_fd;
	uint64_t now_ns;
	struct loop_timer timers; /* ring, earliest first */
	struct loop_task tasks;   /* ring, oldest first */
	struct epoll_event batch[BATCH];
	int batch_len; /* events of this round; those not yet called may be cleared by loop_io_del
			*/
	bool is_stopped;
	int result;
};

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

struct loop *loop_new(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return NULL;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		free(loop);
		return NULL;
	}
	loop->timers.prev = loop->timers.next = &loop->timers;
	loop->tasks.prev = loop->tasks.next = &loop->tasks;
	loop->now_ns = clock_ns();
	return loop;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	close(loop->epoll_fd);
	free(loop);
}

static int control(struct loop *loop, int op, struct loop_io *io, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = io};

	return epoll_ctl(loop->epoll_fd, op, io->fd, &event) < 0 ? -errno : 0;
}

int loop_io_add(struct loop *loop, struct loop_io *io, uint32_t events)
{
	return control(loop, EPOLL_CTL_ADD, io, events);
}

int loop_io_mod(struct loop *loop, struct loop_io *io, uint32_t events)
{
	return control(loop, EPOLL_CTL_MOD, io, events);
}

void loop_io_del(struct loop *loop, struct loop_io *io)
{
	if (io->fd < 0)
		return;
	control(loop, EPOLL_CTL_DEL, io, 0);
	for (int i = 0; i < loop->batch_len; i++)
		if (loop->batch[i].data.ptr == io)
			loop->batch[i].data.ptr = NULL;
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
	(void)loop;
	if (!timer->is_armed)
		return;
	timer->prev->next = timer->next;
	timer->next->prev = timer->prev;
	timer->is_armed = false;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t delay_ms)
{
	loop_timer_cancel(loop, timer);
	struct loop_timer *after = loop->timers.prev;

	timer->deadline_ns = clock_ns() + delay_ms * NS_PER_MS;
	while (after != &loop->timers && after->deadline_ns > timer->deadline_ns)
		after = after->prev;
	timer->prev = after;
	timer->next = after->next;
	after->next->prev = timer;
	after->next = timer;
	timer->is_armed = true;
}

void loop_task_add(struct loop *loop, struct loop_task *task)
{
	if (task->is_queued)
		return;
	task->prev = loop->tasks.prev;
	task->next = &loop->tasks;
	task->prev->next = task;
	task->next->prev = task;
	task->is_queued = true;
}

void loop_task_cancel(struct loop *loop, struct loop_task *task)
{
	(void)loop;
	if (!task->is_queued)
		return;
	task->prev->next = task->next;
	task->next->prev = task->prev;
	task->is_queued = false;
}

uint64_t loop_now_ns(const struct loop *loop)
{
	return loop->now_ns;
}

/* Time until a timer or task is due: 0 at once, -1 never. */
static int due_in_ms(const struct loop *loop)
{
	const struct loop_timer *first = loop->timers.next;

	if (loop->tasks.next != &loop->tasks)
		return 0;
	if (first == &loop->timers)
		return -1;
	uint64_t now = clock_ns();
	if (first->deadline_ns <= now)
		return 0;
	/* rounded up: waking too early would spin */
	uint64_t delay_ms = (first->deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS;
	return delay_ms > INT_MAX ? INT_MAX : (int)delay_ms;
}

static int run_ios(struct loop *loop, int timeout_ms)
{
	int count = epoll_wait(loop->epoll_fd, loop->batch, BATCH, timeout_ms);

	loop->now_ns = clock_ns();
	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	loop->batch_len = count;
	for (int i = 0; i < count; i++) {
		struct loop_io *io = loop->batch[i].data.ptr;

		loop->batch[i].data.ptr = NULL;
		if (io)
			io->on_ready(io, loop->batch[i].events);
	}
	loop->batch_len = 0;
	return 0;
}

static void run_timers(struct loop *loop)
{
	while (loop->timers.next != &loop->timers) {
		struct loop_timer *first = loop->timers.next;

		if (first->deadline_ns > loop->now_ns)
			break;
		loop_timer_cancel(loop, first);
		first->on_expired(first);
	}
}

/* Only the tasks that are there now: one that queues itself again waits for the next round. */
static void run_tasks(struct loop *loop)
{
	struct loop_task mark = {.on_run = NULL};

	if (loop->tasks.next == &loop->tasks)
		return;
	loop_task_add(loop, &mark);
	while (loop->tasks.next != &mark) {
		struct loop_task *task = loop->tasks.next;

		loop_task_cancel(loop, task);
		task->on_run(task);
	}
	loop_task_cancel(loop, &mark);
}

int loop_run_once(struct loop *loop, int timeout_ms)
{
	int due_ms = due_in_ms(loop);

	if (due_ms >= 0 && (timeout_ms < 0 || due_ms < timeout_ms))
		timeout_ms = due_ms;
	int result = run_ios(loop, timeout_ms);
	if (result < 0)
		return result;
	run_timers(loop);
	run_tasks(loop);
	return 0;
}

int loop_run(struct loop *loop)
{
	loop->is_stopped = false;
	while (!loop->is_stopped) {
		int result = loop_run_once(loop, -1);
		if (result < 0)
			return result;
	}
	return loop->result;
}

void loop_stop(struct loop *loop, int result)
{
	loop->is_stopped = true;
	loop->result = result;
}

bool loop_is_stopped(const struct loop *loop, int *result)
{
	*result = loop->result;
	return loop->is_stopped;
}
