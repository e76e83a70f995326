/* SPDX-License-Identifier: Apache-2.0 */
/* util/loop - the event loop: descriptors, timers and work put off to the next round */
#include "util/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/log.h"

#define BATCH   128                 /* events taken from the kernel at once */
#define FINE_NS (10ULL * NS_PER_MS) /* a millisecond counts in what is shorter than this */
#define NEVER   UINT64_MAX

struct loop {
	int epoll_fd;
	uint64_t now_ns;
	struct list timers; /* earliest first */
	struct list tasks;  /* oldest first */
	struct epoll_event batch[BATCH];
	int batch_len; /* events of this round; those not yet called may be cleared by loop_io_del
			*/
	struct loop_hook *hook; /* NULL: none */
	bool is_coarse;         /* the kernel knows no epoll_pwait2 */
	bool is_stopped;
	int result;
};

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
	list_init(&loop->timers);
	list_init(&loop->tasks);
	loop->now_ns = clock_now_ns();
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

/* What this round has for @io is not for it any more. */
static void forget(struct loop *loop, const struct loop_io *io)
{
	for (int i = 0; i < loop->batch_len; i++)
		if (loop->batch[i].data.ptr == io)
			loop->batch[i].data.ptr = NULL;
}

int loop_io_move(struct loop *loop, struct loop_io *from, struct loop_io *to, uint32_t events)
{
	int result = control(loop, EPOLL_CTL_MOD, to, events);

	if (result == 0)
		forget(loop, from);
	return result;
}

void loop_io_del(struct loop *loop, struct loop_io *io)
{
	if (io->fd < 0)
		return;
	control(loop, EPOLL_CTL_DEL, io, 0);
	forget(loop, io);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
	(void)loop;
	list_del(&timer->link);
}

static struct loop_timer *timer_of(struct list *link)
{
	return container_of(link, struct loop_timer, link);
}

void loop_timer_set_ns(struct loop *loop, struct loop_timer *timer, uint64_t delay_ns)
{
	struct list *at = &loop->timers;

	list_del(&timer->link);
	timer->deadline_ns = clock_now_ns() + delay_ns;
	/* from the end: most are later than those that are there */
	while (at->prev != &loop->timers && timer_of(at->prev)->deadline_ns > timer->deadline_ns)
		at = at->prev;
	list_add_before(at, &timer->link);
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t delay_ms)
{
	loop_timer_set_ns(loop, timer, delay_ms * NS_PER_MS);
}

void loop_task_add(struct loop *loop, struct loop_task *task)
{
	if (!list_is_linked(&task->link))
		list_add_last(&loop->tasks, &task->link);
}

void loop_task_cancel(struct loop *loop, struct loop_task *task)
{
	(void)loop;
	list_del(&task->link);
}

void loop_set_hook(struct loop *loop, struct loop_hook *hook)
{
	loop->hook = hook;
}

uint64_t loop_now_ns(const struct loop *loop)
{
	return loop->now_ns;
}

/* Time until @deadline_ns, a timer or a task: 0 at once, or NEVER. */
static uint64_t due_in_ns(const struct loop *loop, uint64_t deadline_ns)
{
	if (!list_is_empty(&loop->tasks))
		return 0;
	if (!list_is_empty(&loop->timers)) {
		uint64_t first_ns = list_first(&loop->timers, struct loop_timer, link)->deadline_ns;

		deadline_ns = first_ns < deadline_ns ? first_ns : deadline_ns;
	}
	if (deadline_ns == NEVER)
		return NEVER;
	uint64_t now_ns = clock_now_ns();
	return deadline_ns > now_ns ? deadline_ns - now_ns : 0;
}

/* As epoll_wait. */
static int wait_for_events(struct loop *loop, uint64_t timeout_ns)
{
	if (timeout_ns > 0 && timeout_ns < FINE_NS && !loop->is_coarse) {
		const struct timespec timeout = {.tv_nsec = (long)timeout_ns};
		int count = epoll_pwait2(loop->epoll_fd, loop->batch, BATCH, &timeout, NULL);

		/* EPERM: what filters of containers say */
		if (count >= 0 || (errno != ENOSYS && errno != EPERM))
			return count;
		loop->is_coarse = true;
	}
	/* rounded up: waking too early would spin */
	uint64_t timeout_ms = clock_ms_until(timeout_ns, 0);
	if (timeout_ms > INT_MAX)
		timeout_ms = INT_MAX;
	return epoll_wait(
		loop->epoll_fd, loop->batch, BATCH, timeout_ns == NEVER ? -1 : (int)timeout_ms);
}

static int run_ios(struct loop *loop, uint64_t timeout_ns)
{
	int count = wait_for_events(loop, timeout_ns);

	loop->now_ns = clock_now_ns();
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
	while (!list_is_empty(&loop->timers)) {
		struct loop_timer *first = list_first(&loop->timers, struct loop_timer, link);

		if (first->deadline_ns > loop->now_ns)
			break;
		list_del(&first->link);
		first->on_expired(first);
	}
}

/* Only the tasks that are there now: one that queues itself again waits for the next round. */
static void run_tasks(struct loop *loop)
{
	struct list mark = {NULL, NULL};

	if (list_is_empty(&loop->tasks))
		return;
	list_add_last(&loop->tasks, &mark);
	while (loop->tasks.next != &mark) {
		struct loop_task *task = list_first(&loop->tasks, struct loop_task, link);

		list_del(&task->link);
		task->on_run(task);
	}
	list_del(&mark);
}

int loop_run_once(struct loop *loop, int timeout_ms)
{
	struct loop_hook *hook = loop->hook;
	uint64_t due_ns = due_in_ns(loop, hook ? hook->on_before_sleep(hook) : NEVER);

	if (timeout_ms >= 0 && due_ns > (uint64_t)timeout_ms * NS_PER_MS)
		due_ns = (uint64_t)timeout_ms * NS_PER_MS;
	int result = run_ios(loop, due_ns);
	if (result < 0)
		return result;
	run_timers(loop);
	run_tasks(loop);
	return 0;
}

int loop_run(struct loop *loop)
{
	loop->is_stopped = false;
	log_wait_at_most(0);
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
