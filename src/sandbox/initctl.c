/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/initctl - the supervisor's end of init: start it, tell it, hear what becomes of COMMAND
 */
#include "sandbox/initctl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "net/netdev.h"
#include "proc/job.h"
#include "proc/ns.h"
#include "proc/tree.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"

#define KILL_MS  5000
#define READY_MS 30000 /* a host that is overloaded takes long */
#define LOOK_MS  100
#define END_MS   10000 /* for init after SIGKILL: it gives up by itself, and says so, after 5 s */

static int tell(struct initctl *initctl, const struct init_message *message, int fd)
{
	return queue_send(&initctl->told, message, sizeof(*message), fd);
}

/* --- what init says ----------------------------------------------------------------------- */

static void end(struct initctl *initctl, int status, const struct err *err)
{
	initctl->has_ended = true;
	initctl->ops->on_ended(initctl->owner, status, err);
}

static void on_message(struct initctl *initctl, const struct init_message *message, pid_t sender)
{
	const struct sandbox_config *config = initctl->config;

	switch (message->type) {
	case INIT_STARTED:
		initctl->command = config->has_pid_ns ? sender : message->value;
		initctl->ops->on_started(initctl->owner);
		break;
	case INIT_STOPPED:
		/* by now it may be continued: a stop would discard the SIGCONT that says so */
		if (!tree_runs(initctl->command) &&
			job_stop_with(initctl->command, message->value, config->new_session))
			initctl->rested_at = message->serial;
		break;
	case INIT_FAILED:
		end(initctl, message->value, &message->err);
		break;
	case INIT_WAITS:
		initctl->waits = config->waits_all;
		/* it may have been told to end meanwhile, with a time of its own */
		if (!initctl->waits && !loop_timer_is_armed(&initctl->end_timer))
			initctl->ops->on_left(initctl->owner);
		break;
	case INIT_ENDED:
		end(initctl, message->value, NULL);
		break;
	}
}

static void on_init(struct loop_io *io, uint32_t events)
{
	struct initctl *initctl = container_of(io, struct initctl, io);
	struct init_message message;
	pid_t sender = 0;
	int result;

	if (events & EPOLLOUT)
		queue_go_on(&initctl->told);
	/* all of them: when init has died nobody comes back for the rest */
	while ((result = fd_recv_from(io->fd, &message, sizeof(message), &sender)) == 0)
		on_message(initctl, &message, sender);
	if (result != -EAGAIN)
		loop_io_del(initctl->loop, io); /* SIGCHLD tells the rest */
}

void initctl_on_death(struct initctl *initctl, int code, int status)
{
	struct err err;

	initctl->pid = 0;
	on_init(&initctl->io, EPOLLIN); /* INIT_ENDED may be waiting */
	if (initctl->has_ended)
		return;
	if (code == CLD_EXITED)
		err_set(&err, ECHILD, "init of the sandbox ended (status %d)", status);
	else
		err_set(&err, ECHILD, "init of the sandbox was ended by signal %d (%s)", status,
			strsignal(status));
	end(initctl, 125, &err);
}

/* --- what it is told ---------------------------------------------------------------------- */

void initctl_own_file(struct initctl *initctl, int dir_fd, const char *name)
{
	struct init_message message = {.type = INIT_OWN_FILE};

	snprintf(message.file, sizeof(message.file), "%s", name);
	tell(initctl, &message, dir_fd);
}

void initctl_signal(struct initctl *initctl, int sig, pid_t sender)
{
	struct init_message message = {.type = INIT_SIGNAL, .value = sig};

	if (sig == SIGCONT && sender == initctl->pid)
		return; /* COMMAND was continued, and init only wakes us */
	/* we are continued, and COMMAND should be, if it is not yet */
	if (sig == SIGCONT && initctl->rested_at > 0)
		message = (struct init_message){.type = INIT_RESUME, .serial = initctl->rested_at};
	if (sig == SIGCONT)
		initctl->rested_at = 0;
	tell(initctl, &message, -1);
}

/* COMMAND can stop init, again and again: then we end everything (initctl_on_death). */
static void on_end_time(struct loop_timer *timer)
{
	struct initctl *initctl = container_of(timer, struct initctl, end_timer);

	if (initctl->pid > 0)
		kill(initctl->pid, SIGKILL);
}

void initctl_terminate(struct initctl *initctl, int sig, uint64_t timeout_ms)
{
	struct init_message message = {
		.type = INIT_TERMINATE, .value = sig, .timeout_ms = timeout_ms};
	struct loop_timer *timer = &initctl->end_timer;
	uint64_t end_ms = timeout_ms + END_MS;

	tell(initctl, &message, -1);
	if (initctl->pid > 0)
		kill(initctl->pid, SIGCONT);
	/* who asks again may make it sooner, not later */
	if (!loop_timer_is_armed(timer) ||
		timer->deadline_ns > loop_now_ns(initctl->loop) + end_ms * NS_PER_MS)
		loop_timer_set(initctl->loop, timer, end_ms);
}

/* --- start and end ------------------------------------------------------------------------ */

void initctl_init(
	struct initctl *initctl, struct loop *loop, const struct initctl_ops *ops, void *owner)
{
	*initctl = (struct initctl){
		.loop = loop,
		.ops = ops,
		.owner = owner,
		.door = -1,
		.io = {-1, on_init},
		.end_timer.on_expired = on_end_time,
	};
	for (size_t i = 0; i < INIT_FDS; i++)
		initctl->fds[i] = -1;
	queue_init(&initctl->told, loop, &initctl->io);
}

int initctl_spawn(struct initctl *initctl, struct init_start *start, struct err *err)
{
	int channel[2], door[2], on = 1;

	if (fd_pair(channel, 0, err) < 0)
		return -err->code;
	setsockopt(channel[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	pid_t pid = fd_pair(door, SOCK_NONBLOCK, err);
	initctl->config = start->config;
	initctl->io.fd = channel[0];
	initctl->door = door[0];
	start->supervisor_fd = channel[1];
	start->door_fd = door[1];
	netdev_read_sysctl("ipv4/tcp_syn_retries", start->syn_retries, sizeof(start->syn_retries));
	netdev_read_sysctl("ipv4/tcp_syn_linear_timeouts", start->syn_linear_timeouts,
		sizeof(start->syn_linear_timeouts));
	if (pid == 0)
		pid = init_spawn(start, err);
	fd_close(&channel[1]);
	fd_close(&door[1]);
	if (pid < 0)
		return -err->code;
	initctl->pid = pid;
	return 0;
}

/* The signal that asks us to end and waits, blocked; 0: none. */
static int pending_end(void)
{
	static const int ends[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
	sigset_t pending;

	sigpending(&pending);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (sigismember(&pending, ends[i]) == 1)
			return ends[i];
	return 0;
}

static int await_message(int fd, struct err *err)
{
	const uint64_t deadline_ns = clock_now_ns() + READY_MS * NS_PER_MS;
	struct pollfd pollfd = {fd, POLLIN, 0};

	while (poll(&pollfd, 1, LOOK_MS) == 0) {
		int sig = pending_end();

		if (sig != 0)
			return err_set(err, EINTR, "ended by signal %d (%s) while it started", sig,
				strsignal(sig));
		if (clock_now_ns() >= deadline_ns)
			return err_set(err, ETIMEDOUT,
				"init of the sandbox was not ready within %d s", READY_MS / 1000);
	}
	return 0;
}

int initctl_await(struct initctl *initctl, struct err *err)
{
	struct init_message message;
	int fds[INIT_FDS];
	size_t next = 0;

	if (await_message(initctl->io.fd, err) < 0)
		return -err->code;
	ssize_t got = fd_recv(initctl->io.fd, &message, sizeof(message), fds, INIT_FDS, NULL);

	if (got != sizeof(message))
		return err_set(err, ECHILD, "init of the sandbox ended while it was set up");
	/* limits of namespaces are those of where one is */
	if (message.type != INIT_READY && message.err.text[0] == '\0')
		return ns_explain(message.err.code, err);
	if (message.type != INIT_READY)
		return err_set(err, message.err.code, "%s", message.err.text);
	for (size_t i = 0; i < INIT_FDS; i++)
		if (message.value & 1 << i)
			initctl->fds[i] = fds[next++];
	initctl->keeps_clients4 = message.value & INIT_KEEPS_CLIENTS4;
	initctl->keeps_clients6 = message.value & INIT_KEEPS_CLIENTS6;
	return 0;
}

int initctl_release(struct initctl *initctl, struct err *err)
{
	struct init_message go = {.type = INIT_GO};
	int result = tell(initctl, &go, -1);

	if (result < 0)
		return err_sys(err, -result, "init of the sandbox is gone");
	/* it could be waited for until now: nobody inside could stop it */
	fd_set_nonblock(initctl->io.fd, 1);
	result = loop_io_add(initctl->loop, &initctl->io, EPOLLIN);
	initctl->is_released = true;
	return result < 0 ? err_sys(err, -result, "cannot watch init") : 0;
}

void initctl_stop(struct initctl *initctl)
{
	queue_drop(&initctl->told);
	fd_close(&initctl->io.fd);
	if (initctl->pid > 0)
		tree_kill_child(initctl->pid, KILL_MS);
	initctl->pid = 0;
}

void initctl_fini(struct initctl *initctl)
{
	for (size_t i = 0; i < INIT_FDS; i++)
		fd_close(&initctl->fds[i]);
	fd_close(&initctl->door);
}
