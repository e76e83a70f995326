/* SPDX-License-Identifier: Apache-2.0 */
/* util/loop - the event loop: descriptors, timers and work put off to the next round */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "util/list.h"

/*
 * How it works
 *
 * One epoll set, a ring of timers, the earliest first, and a ring of tasks. The structs are
 * embedded in their owners; the loop never allocates and never closes a descriptor. Everything may
 * be added, changed or removed from within any callback, also the object that is being called.
 *
 * Interest is whatever epoll takes, EPOLLET included. A callback that uses EPOLLET and stops before
 * EAGAIN (work per wake-up is bounded) puts a task into the loop to go on: tasks run once, after
 * the descriptors of this round, and the loop does not sleep while there are any.
 */
struct loop_io {
	int fd;
	void (*on_ready)(struct loop_io *io, uint32_t events); /* EPOLLIN... */
};

struct loop_timer {
	void (*on_expired)(struct loop_timer *timer);
	uint64_t deadline_ns; /* CLOCK_MONOTONIC */
	struct list link;
};

struct loop_task {
	void (*on_run)(struct loop_task *task);
	struct list link;
};

/*
 * A guest of the loop, with a view of its own of what it waits for. It may do there what any
 * callback may, but stop the loop.
 */
struct loop_hook {
	/*
	 * The round is over, the loop is about to sleep. Returns when it must be called again at
	 * the latest (CLOCK_MONOTONIC), UINT64_MAX: after whatever happens next.
	 */
	uint64_t (*on_before_sleep)(struct loop_hook *hook);
};

struct loop;

/* Returns NULL with errno set when no epoll set can be made. */
struct loop *loop_new(void);
void loop_free(struct loop *loop);

/* Watch @io->fd. Returns 0 or -errno. @io must stay valid until loop_io_del. */
int loop_io_add(struct loop *loop, struct loop_io *io, uint32_t events);
int loop_io_mod(struct loop *loop, struct loop_io *io, uint32_t events);

/* Watch the descriptor of @from, which is watched, as @to from now on. Returns 0, or -errno:
 * nothing has changed then. */
int loop_io_move(struct loop *loop, struct loop_io *from, struct loop_io *to, uint32_t events);

/*
 * Stop watching; call it before the descriptor is closed. No callback for @io comes after it, also
 * not for events of this round. Nothing happens if @io was not added.
 */
void loop_io_del(struct loop *loop, struct loop_io *io);

/* (Re-)arm to expire @delay_ms or @delay_ns from now; cancel does nothing if the timer is not
 * armed. Before Linux 5.11 it is later by up to a millisecond. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t delay_ms);
void loop_timer_set_ns(struct loop *loop, struct loop_timer *timer, uint64_t delay_ns);
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);

static inline bool loop_timer_is_armed(const struct loop_timer *timer)
{
	return list_is_linked(&timer->link);
}

void loop_task_add(struct loop *loop, struct loop_task *task); /* once, even if added twice */
void loop_task_cancel(struct loop *loop, struct loop_task *task);

/* One a loop; NULL: none. */
void loop_set_hook(struct loop *loop, struct loop_hook *hook);

/* CLOCK_MONOTONIC as read at the start of this round. */
uint64_t loop_now_ns(const struct loop *loop);

/*
 * One round: wait at most @timeout_ms (-1: until something happens, 0: not at all), call back what
 * is ready, expired or queued. Returns 0 or -errno (never -EINTR).
 */
int loop_run_once(struct loop *loop, int timeout_ms);

/*
 * Rounds until loop_stop is called from a callback. Returns what loop_stop was given, or -errno.
 * Nothing that is served here waits for who reads this process's lines: log_wait_at_most(0).
 */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop, int result);
