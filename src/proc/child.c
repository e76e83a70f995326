/* SPDX-License-Identifier: Apache-2.0 */
/* proc/child - programs that run below a loop, how they end, and what they leave behind */
#include "proc/child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/daemon.h"
#include "proc/tree.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/parse.h"

#define OTHERS_MAX 4096 /* those past it are seen when others have ended */
#define LOOK_MS    20
#define SERVES_MS  1000 /* between two looks whether somebody is still served */
#define LEFT_MS    2000 /* from SIGTERM to SIGKILL for what a dead child left */

/* --- one child ------------------------------------------------------------------------------ */

static void forget(struct child *child)
{
	struct children *all = child->all;
	struct loop *loop = all->loop;

	if (child->has_session) /* what it leaves comes to us from now on */
		all->sessions[all->nsessions++ % CHILDREN_SESSIONS_MAX] = child->pid;
	list_del(&child->link);
	loop_io_del(loop, &child->pidfd_io);
	loop_timer_cancel(loop, &child->look_timer);
	fd_close(&child->pidfd_io.fd);
	fd_close(&child->report);
	child->pid = 0;
}

/* Has @pid, a child of ours, ended? Reaps it then. */
static bool reap(pid_t pid, siginfo_t *info)
{
	*info = (siginfo_t){0};
	return waitid(P_PID, (id_t)pid, info, WEXITED | WNOHANG) == 0 && info->si_pid == pid;
}

static void look(struct child *child)
{
	struct child_end end = {0};
	siginfo_t info;
	struct err err;

	if (!reap(child->pid, &info)) {
		if (child->pidfd_io.fd < 0)
			loop_timer_set(child->all->loop, &child->look_timer, LOOK_MS);
		return;
	}
	end.code = info.si_code;
	end.status = info.si_status;
	if (command_hear(child->report, &err) != COMMAND_OK)
		end.not_executed = err.code;
	forget(child);
	child->on_end(child, &end);
}

static void on_pidfd(struct loop_io *io, uint32_t events)
{
	(void)events;
	look(container_of(io, struct child, pidfd_io));
}

static void on_look(struct loop_timer *timer)
{
	look(container_of(timer, struct child, look_timer));
}

int child_start(
	struct child *child, struct children *all, const struct command *command, struct err *err)
{
	pid_t pid = command_start(command, &child->report, err);

	if (pid < 0)
		return pid;
	child->pid = pid;
	child->all = all;
	child->has_session = command->new_session;
	list_add_last(&all->started, &child->link);
	/* close-on-exec by itself */
	child->pidfd_io = (struct loop_io){(int)syscall(SYS_pidfd_open, pid, 0), on_pidfd};
	child->look_timer.on_expired = on_look;
	if (child->pidfd_io.fd >= 0 && loop_io_add(all->loop, &child->pidfd_io, EPOLLIN) < 0)
		fd_close(&child->pidfd_io.fd);
	if (child->pidfd_io.fd < 0)
		loop_timer_set(all->loop, &child->look_timer, LOOK_MS);
	return 0;
}

void child_signal(struct child *child, int sig)
{
	if (child->pid > 0)
		kill(child->pid, sig);
}

bool child_serves(const struct child *child)
{
	return child->pid > 0 && daemon_serves_below(child->pid);
}

void child_drop(struct child *child)
{
	child_signal(child, SIGKILL);
	if (child->pid > 0)
		forget(child);
}

bool child_has_failed(const struct child_end *end)
{
	return end->code != CLD_EXITED || end->status != 0;
}

char *child_describe_end(
	const struct child_end *end, const char *program, char *out, size_t cap_bytes)
{
	if (end->not_executed != 0)
		snprintf(out, cap_bytes, "cannot be started: %s: %s", PARSE_SHOWN(program),
			strerror(end->not_executed));
	else if (end->code == CLD_EXITED)
		snprintf(out, cap_bytes, "ended with status %d", end->status);
	else
		snprintf(out, cap_bytes, "was ended by signal %d (%s)", end->status,
			strsignal(end->status));
	return out;
}

/* --- all of them ---------------------------------------------------------------------------- */

static void on_left_time(struct loop_timer *timer)
{
	children_reap(container_of(timer, struct children, left_timer));
}

static void on_serves_time(struct loop_timer *timer)
{
	children_reap(container_of(timer, struct children, serves_timer));
}

void children_init(struct children *all, struct loop *loop)
{
	inherited_find(&all->inherited);
	all->loop = loop;
	all->session = getsid(0);
	all->left_ms = LEFT_MS;
	all->left_timer.on_expired = on_left_time;
	all->serves_timer.on_expired = on_serves_time;
	list_init(&all->started);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static bool is_started(const struct children *all, pid_t pid)
{
	list_each (at, &all->started)
		if (container_of(at, struct child, link)->pid == pid)
			return true;
	return false;
}

/* Was it here before? Reaps it if it has ended: its number may come again. */
static bool is_inherited(struct children *all, pid_t pid)
{
	siginfo_t info;

	if (!inherited_has(&all->inherited, pid))
		return false;
	if (reap(pid, &info))
		inherited_forget(&all->inherited, pid);
	return true;
}

/* What is known of @pid, which was left behind. NULL: there is no room to know. */
static struct child_left *find_left(struct children *all, pid_t pid)
{
	for (size_t i = 0; i < all->nleft; i++)
		if (all->left[i].pid == pid)
			return &all->left[i];
	if (all->nleft == CHILDREN_LEFT_MAX)
		return NULL;
	all->left[all->nleft] = (struct child_left){.pid = pid, .held_fd = -1};
	return &all->left[all->nleft++];
}

/* It was reaped: its number may come again. */
static void forget_left(struct children *all, pid_t pid)
{
	for (size_t i = 0; i < all->nleft; i++)
		if (all->left[i].pid == pid) {
			fd_close(&all->left[i].held_fd);
			all->left[i] = all->left[--all->nleft];
			return;
		}
}

static bool has_session_of_its_own(const struct children *all, pid_t pid)
{
	size_t count =
		all->nsessions < CHILDREN_SESSIONS_MAX ? all->nsessions : CHILDREN_SESSIONS_MAX;
	pid_t session = getsid(pid);

	list_each (at, &all->started) {
		const struct child *child = container_of(at, struct child, link);

		if (child->has_session && child->pid == session)
			return false;
	}
	for (size_t i = 0; i < count; i++)
		if (all->sessions[i] == session)
			return false;
	return session > 0 && session != getsid(0) && session != all->session;
}

static bool is_daemon(const void *owner, pid_t pid)
{
	return has_session_of_its_own(owner, pid) && daemon_is_one(pid);
}

static bool is_left_for_others(const struct children *all, pid_t pid)
{
	return is_daemon(all, pid) || daemon_is_helper(pid, is_daemon, all) ||
	       (!all->is_ending && has_session_of_its_own(all, pid) && daemon_keeps(pid));
}

/* Looked at from time to time only: for that all unix sockets are read. */
static bool still_serves(struct child_left *left, uint64_t now_ns)
{
	if (left->since_ns != 0)
		return false;
	if (left->asked_ns != 0 && now_ns - left->asked_ns < SERVES_MS * NS_PER_MS)
		return true;
	left->asked_ns = now_ns;
	return daemon_serves_below(left->pid);
}

/* Returns whether it is to be waited for. */
static bool end_left(struct children *all, pid_t pid)
{
	uint64_t now_ns = clock_now_ns();

	if (is_left_for_others(all, pid))
		return false;
	struct child_left *left = find_left(all, pid);
	/* at the end it would go on for as long as we do */
	if (left && !all->is_ending && still_serves(left, now_ns)) {
		loop_timer_set(all->loop, &all->serves_timer, SERVES_MS);
		return false;
	}
	if (left && left->since_ns == 0) {
		left->since_ns = now_ns;
		kill(pid, SIGTERM);
		kill(pid, SIGCONT); /* a stopped process cannot act on it */
	}
	if (!left || now_ns - left->since_ns >= all->left_ms * NS_PER_MS)
		kill(pid, SIGKILL);
	return true;
}

size_t children_reap(struct children *all)
{
	pid_t pids[OTHERS_MAX];
	siginfo_t info;
	size_t left = 0;
	ssize_t count = tree_children(pids, OTHERS_MAX);

	for (ssize_t i = 0; i < count; i++) {
		if (is_started(all, pids[i]) || is_inherited(all, pids[i]))
			continue;
		bool is_due = !reap(pids[i], &info) && end_left(all, pids[i]);
		bool is_reaped = info.si_pid == pids[i] || (is_due && reap(pids[i], &info));
		if (is_reaped)
			forget_left(all, pids[i]);
		/* what a dead one has left is ours since then, and not in this list */
		left += is_due || is_reaped;
	}
	if (left > 0 && !loop_timer_is_armed(&all->left_timer))
		loop_timer_set(all->loop, &all->left_timer, LOOK_MS);
	return left;
}

void child_leave(struct child *child, int held_fd)
{
	struct children *all = child->all;
	struct child_left *left = child->pid > 0 ? find_left(all, child->pid) : NULL;

	if (left)
		left->held_fd = held_fd;
	else
		fd_close(&held_fd);
	if (child->pid > 0)
		forget(child);
	loop_timer_set(all->loop, &all->serves_timer, SERVES_MS);
}

int children_end(struct children *all, unsigned timeout_ms)
{
	struct clock_wait wait = clock_wait_start(timeout_ms);
	siginfo_t info;
	bool has_ended;

	all->is_ending = true;
	all->left_ms = timeout_ms / 2; /* then those that die leave others, who need the rest */
	do {
		list_each_safe (at, following, &all->started) {
			struct child *child = container_of(at, struct child, link);

			kill(child->pid, SIGKILL);
			if (reap(child->pid, &info))
				forget(child);
		}
		has_ended = children_reap(all) == 0 && list_is_empty(&all->started);
	} while (!has_ended && clock_wait_go_on(&wait));
	loop_timer_cancel(all->loop, &all->left_timer);
	loop_timer_cancel(all->loop, &all->serves_timer);
	return has_ended ? 0 : -EBUSY;
}
