/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/enter - join a running sandbox and run a command there with the rights of its COMMAND */
#include "sandbox/enter.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/control.h"
#include "proc/command.h"
#include "proc/daemon.h"
#include "proc/inherited.h"
#include "proc/job.h"
#include "proc/rights.h"
#include "proc/tree.h"
#include "proc/witness.h"
#include "sandbox/words.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"
#include "util/loop.h"

#define LEFTOVER_MS 2000 /* from SIGTERM to SIGKILL for what the command leaves behind */
#define SETTLE_MS   200
#define HELD_MS     20
#define HELD_MAX    150 /* times: what is left may send signals without end */
#define TOLD_MS     1000
#define KILL_MS     5000

struct session {
	struct enter *enter;
	const struct enter_command *command;
	struct loop *loop;
	struct loop_io signal_io, control_io;
	struct loop_io report_io; /* of the child, until it has become the command */
	enum command_failure failure;
	struct err *err;        /* of the failure */
	struct witness witness; /* of the signals that the command gets without us */
	struct inherited inherited;
	struct loop_timer kill_timer;
	struct loop_timer settle_timer; /* the child has ended, and why will be known then */
	struct loop_task reap_task;     /* there is more to reap */
	struct clock_wait killing;      /* from the first SIGKILL on */
	sigset_t original_mask;
	bool restores_pipe;
	pid_t child;   /* 0: has ended */
	pid_t started; /* its number, also then */
	/* when it did, and when all of its group had SIGTERM; 0: never; and looks for the latter */
	uint64_t ended_ns, told_ns;
	unsigned looks;
	bool is_stopped;
	uint64_t stops, rested_at; /* of the child, so far; the one along with which we stopped */
	int end_signal;            /* that ended it, 0: none */
	int status;
	bool is_over;       /* the sandbox has ended */
	struct words words; /* of an agent */
};

/* --- being let in ------------------------------------------------------------------------- */

static int read_env(const json_t *list, struct enter *out)
{
	size_t i;
	json_t *item;

	out->env = calloc(json_array_size(list) + 1, sizeof(*out->env));
	if (!out->env)
		return -ENOMEM;
	json_array_foreach(list, i, item)
	{
		const char *text = json_string_value(item);

		out->env[i] = (char *)(text && strchr(text, '=') ? text : "NSWRAP_NAME=");
	}
	return 0;
}

int enter_ask(int control, bool tells_names, struct enter *out, struct err *err)
{
	const size_t wanted = ENTER_NAMESPACES + (tells_names ? 1 : 0);
	int got[ENTER_NAMESPACES + 1] = {-1, -1, -1, -1, -1, -1};
	struct control_fds fds = {got, wanted, 0};
	json_t *request = tells_names ? json_pack("{s:s, s:b}", "op", "enter", "names", 1)
				      : json_pack("{s:s}", "op", "enter");

	*out = (struct enter){.control = control};
	int result = control_call(control, "sandbox", request, &out->answer, &fds, err);
	memcpy(out->ns, got, sizeof(out->ns));
	out->names = got[ENTER_NAMESPACES];
	out->is_root = json_is_true(json_object_get(out->answer, "root"));
	out->has_pid_ns = json_is_true(json_object_get(out->answer, "pid_ns"));
	out->has_no_network = json_is_true(json_object_get(out->answer, "no_network"));
	if (result == 0 && fds.count != wanted)
		result = err_set(err, EPROTO, "the sandbox did not hand its namespaces over");
	else if (result == 0 && read_env(json_object_get(out->answer, "env"), out) < 0)
		result = err_sys(err, ENOMEM, "cannot keep the environment");
	if (result < 0)
		enter_fini(out);
	return result;
}

void enter_fini(struct enter *enter)
{
	for (size_t i = 0; i < ENTER_NAMESPACES; i++)
		fd_close(&enter->ns[i]);
	fd_close(&enter->names);
	fd_close(&enter->control);
	free(enter->env);
	enter->env = NULL;
	json_decref(enter->answer);
	enter->answer = NULL;
}

int enter_namespaces(const int ns[ENTER_NAMESPACES], bool joins_pid_ns)
{
	/* the user namespace first: it brings the rights to enter the others */
	static const int types[ENTER_NAMESPACES] = {
		[ENTER_USER] = CLONE_NEWUSER,
		[ENTER_NET] = CLONE_NEWNET,
		[ENTER_MNT] = CLONE_NEWNS,
		[ENTER_PID] = CLONE_NEWPID,
		[ENTER_IPC] = CLONE_NEWIPC,
	};

	for (size_t i = 0; i < ENTER_NAMESPACES; i++)
		if ((i < ENTER_PID || joins_pid_ns) && setns(ns[i], types[i]) < 0)
			return -errno;
	return 0;
}

static int join(struct enter *enter, struct err *err)
{
	int result = enter_namespaces(enter->ns, enter->has_pid_ns);

	/* of the user namespace, which brings the rights for the others */
	if (result == -EPERM)
		return err_set(err, EPERM,
			"cannot enter the sandbox: this command is in another user namespace than "
			"it was started from; enter it from there (such as outside of unshare -r "
			"or a container)");
	if (result < 0)
		return err_sys(err, -result, "cannot enter the sandbox");
	for (size_t i = 0; i < ENTER_NAMESPACES; i++)
		fd_close(&enter->ns[i]);
	return 0;
}

/* --- the command's life ------------------------------------------------------------------- */

static bool is_spared(const void *owner, pid_t pid)
{
	return inherited_has(&((const struct session *)owner)->inherited, pid);
}

/* Everything that was started here and can be seen: its end is ours to bring about. */
static void signal_all(const struct session *session, int sig)
{
	if (!session->enter->has_pid_ns)
		tree_signal_others(sig, TREE_NO_GROUP, is_spared, session);
	else if (session->child > 0)
		kill(session->child, sig);
}

static void kill_all(struct session *session)
{
	witness_stop(&session->witness);
	if (!session->enter->has_pid_ns) {
		tree_kill_but(KILL_MS, is_spared, session);
	} else if (session->child > 0) {
		tree_kill_child(session->child, KILL_MS);
	}
	session->child = 0;
}

static void on_kill_time(struct loop_timer *timer)
{
	struct session *session = container_of(timer, struct session, kill_timer);

	signal_all(session, SIGKILL);
	if (session->killing.deadline_ns == 0)
		session->killing = clock_wait_start(KILL_MS);
	/* what forks faster than we look is caught in the next round */
	if (loop_now_ns(session->loop) < session->killing.deadline_ns) {
		loop_timer_set(session->loop, timer, clock_wait_next_ms(&session->killing));
		return;
	}
	log_warning("processes that the kernel does not let end are left behind");
	session->status = session->child != 0 ? 128 + SIGKILL : session->status;
	loop_stop(session->loop, 0);
}

/* What the child has left, where that comes to us: the witness is ours. */
static bool has_rest(const struct session *session)
{
	pid_t pids[INHERITED_MAX + 2];
	ssize_t count = session->enter->has_pid_ns ? 0 : tree_children(pids, INHERITED_MAX + 2);

	for (ssize_t i = 0; i < count; i++)
		if (pids[i] != session->witness.pid && !is_spared(session, pids[i]))
			return true;
	return count < 0;
}

/* Where it has not become the command, its end is the next that is heard of it. */
static void on_report(struct loop_io *io, uint32_t events)
{
	struct session *session = container_of(io, struct session, report_io);

	(void)events;
	session->failure = command_hear(io->fd, session->err);
	loop_io_del(session->loop, io);
	fd_close(&io->fd);
	if (session->failure == COMMAND_OK)
		job_leave_streams();
}

static void on_child_end(struct session *session, const siginfo_t *info)
{
	if (session->report_io.fd >= 0)
		on_report(&session->report_io, 0);
	session->child = 0;
	session->ended_ns = loop_now_ns(session->loop);
	session->status = command_exit_status(info->si_code, info->si_status);
	session->end_signal = info->si_code == CLD_EXITED ? 0 : info->si_status;
	loop_timer_cancel(session->loop, &session->kill_timer);
	if (session->enter->has_pid_ns)
		witness_stop(&session->witness);
	else
		loop_timer_set(session->loop, &session->settle_timer, SETTLE_MS);
}

static void on_child_change(struct session *session, const siginfo_t *info)
{
	session->is_stopped = info->si_code == CLD_STOPPED;
	if (info->si_code == CLD_STOPPED) {
		uint64_t stop = ++session->stops;

		if (job_stop_with(
			    session->child, info->si_status, session->command->command.new_session))
			session->rested_at = stop;
	} else if (info->si_code != CLD_CONTINUED && info->si_code != CLD_TRAPPED) {
		on_child_end(session, info);
	}
}

static void on_change(void *owner, const siginfo_t *info)
{
	struct session *session = owner;

	if (info->si_pid == session->child) {
		on_child_change(session, info);
	} else if (info->si_code != CLD_STOPPED && info->si_code != CLD_CONTINUED) {
		inherited_forget(&session->inherited, info->si_pid);
		witness_on_death(&session->witness, info->si_pid);
	}
}

static void on_reap(struct loop_task *task)
{
	struct session *session = container_of(task, struct session, reap_task);
	enum tree_reaped reaped = tree_reap(WEXITED | WSTOPPED | WCONTINUED, on_change, session);

	if (reaped == TREE_LIVES && session->child == 0 && !has_rest(session)) {
		witness_stop(&session->witness);
		reaped = TREE_CHILDLESS;
	}
	if (reaped == TREE_MORE)
		loop_task_add(session->loop, task);
	else if (reaped == TREE_CHILDLESS)
		loop_stop(session->loop, 0);
}

/* We are continued, and the child should be, if it is not yet or stopped again already. */
static void resume_child(struct session *session)
{
	uint64_t stop = session->rested_at;

	session->rested_at = 0;
	on_reap(&session->reap_task);
	if (session->is_stopped && session->stops == stop)
		job_signal(session->child, SIGCONT);
}

static void pass_signal(void *owner, int sig, pid_t sender, bool has_reached)
{
	struct session *session = owner;

	(void)sender;
	if (!has_reached)
		job_signal(session->child, sig);
	else if (sig == SIGTERM)
		session->told_ns = loop_now_ns(session->loop);
	if (sig == SIGTERM && session->child > 0) {
		job_signal(session->child, SIGCONT);
		loop_timer_set(
			session->loop, &session->kill_timer, session->command->stop_timeout_ms);
	}
}

static void on_own_signal(struct session *session, const struct signalfd_siginfo *info)
{
	int sig = (int)info->ssi_signo;
	pid_t sender = (pid_t)info->ssi_pid;

	if (!job_passes_on(info, session->child, session->command->command.new_session))
		return;
	if (sig == SIGCONT && session->rested_at > 0)
		resume_child(session);
	else if (!witness_hold(&session->witness, sig, sender, session->started))
		pass_signal(session, sig, sender, false);
}

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct session *session = container_of(io, struct session, signal_io);
	struct signalfd_siginfo info;

	(void)events;
	while (read(io->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			on_reap(&session->reap_task);
		else
			on_own_signal(session, &info);
	}
}

/* As init does of COMMAND: it may have meant to leave a server behind. */
static void tell_daemons(const struct session *session)
{
	const struct command *command = &session->command->command;
	pid_t own = command->new_session ? session->started : getsid(0);
	size_t daemons =
		session->status == 0 && !command->run ? daemon_count(own, is_spared, session) : 0;

	if (daemons > 0)
		log_notice("the command has ended and left %zu process%s in the background, which "
			   "end%s with it; keep in the foreground what is to go on",
			daemons, daemons > 1 ? "es" : "", daemons > 1 ? "" : "s");
}

/* Those of the group that has just had a SIGTERM with the child get no second one, as in init. */
static void end_rest(struct loop_timer *timer)
{
	struct session *session = container_of(timer, struct session, settle_timer);

	on_signal(&session->signal_io, 0);
	/* that is not known yet */
	if (witness_holds(&session->witness, SIGTERM) && session->looks++ < HELD_MAX) {
		loop_timer_set(session->loop, timer, HELD_MS);
		return;
	}
	witness_stop(&session->witness);
	if (session->told_ns != 0 && session->told_ns + TOLD_MS * NS_PER_MS >= session->ended_ns) {
		tree_signal_others(SIGTERM,
			session->command->command.new_session ? session->started : getpgrp(),
			is_spared, session);
	} else {
		tell_daemons(session);
		signal_all(session, SIGTERM);
	}
	signal_all(session, SIGCONT); /* a stopped process cannot act on SIGTERM */
	loop_timer_set(session->loop, &session->kill_timer, LEFTOVER_MS);
	loop_task_add(session->loop, &session->reap_task);
}

static bool has_sandbox_ended(int control)
{
	char discard[256];
	ssize_t got = fd_recv(control, discard, sizeof(discard), NULL, 0, NULL);

	return got == 0 || (got < 0 && got != -EAGAIN && got != -EMSGSIZE);
}

static void on_control(struct loop_io *io, uint32_t events)
{
	struct session *session = container_of(io, struct session, control_io);

	(void)events;
	if (!has_sandbox_ended(io->fd))
		return;
	session->is_over = true;
	kill_all(session);
	loop_stop(session->loop, 0);
}

/* --- start and end ------------------------------------------------------------------------ */

static int open_session(struct session *session, struct err *err)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &session->original_mask);
	/* a reader of ours that has gone is not the end of the command */
	session->restores_pipe = signal(SIGPIPE, SIG_IGN) != SIG_IGN;
	session->loop = loop_new();
	session->signal_io =
		(struct loop_io){signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC), on_signal};
	session->control_io = (struct loop_io){session->enter->control, on_control};
	session->kill_timer.on_expired = on_kill_time;
	session->settle_timer.on_expired = end_rest;
	session->reap_task.on_run = on_reap;
	if (!session->loop || session->signal_io.fd < 0)
		return err_sys(err, errno, "cannot receive signals");
	int result = loop_io_add(session->loop, &session->signal_io, EPOLLIN);
	if (result == 0)
		result = loop_io_add(session->loop, &session->control_io, EPOLLIN);
	if (result < 0)
		return err_sys(err, -result, "cannot watch the sandbox");
	inherited_find(&session->inherited);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return session->command->command.run
		       ? words_open(&session->words, "agent", session->loop, err)
		       : 0;
}

/*
 * Returns 0, or -errno with @err filled. Whether the child becomes the command is heard in the
 * loop: those inside may stop it on its way there, and directories may let it wait.
 */
static int start(struct session *session, struct err *err)
{
	/* of signals not: a domain of its own could not reach what COMMAND started */
	const struct confine confine = {.has_no_network = session->enter->has_no_network};
	struct command command = session->command->command;
	char cwd[PATH_MAX];

	/*
	 * By its path: a descriptor of the directory outside would lead around what is hidden
	 * inside. Entering the mount namespace puts us into its root.
	 */
	command.first_chdir = getcwd(cwd, sizeof(cwd)) ? cwd : "";
	command.rights = command.run               ? COMMAND_KEEPS_ALL
			 : session->enter->is_root ? COMMAND_KEEPS_CAPS
						   : COMMAND_DROPS_ALL;
	command.confine = command.run ? NULL : &confine;
	command.death_signal = SIGKILL;
	int streams[] = {STDIN_FILENO, STDOUT_FILENO, session->words.write_fd};

	if (command.run)
		command.streams = streams;
	command.restores_pipe = session->restores_pipe;
	command.mask = session->original_mask;
	getrlimit(RLIMIT_NOFILE, &command.nofile);
	/* before we are in reach of those inside, who are the same user, and with all rights */
	int result = rights_hide();
	if (result < 0)
		return err_sys(err, -result, "cannot hide from the sandbox");
	if (join(session->enter, err) < 0)
		return -err->code;
	if (command.run) {
		command.told = &session->enter->names;
		command.keep_fds = &session->enter->names;
		command.nkeep_fds = 1;
	}
	pid_t pid = command_start(&command, &session->report_io.fd, err);
	/* its end is the end of the agent */
	fd_close(&session->enter->names);
	if (pid < 0)
		return pid;
	session->child = session->started = pid;
	result = rights_drop_all();
	if (result < 0) {
		kill(pid, SIGKILL);
		return err_sys(err, -result, "cannot drop the rights");
	}
	result = loop_io_add(session->loop, &session->report_io, EPOLLIN);
	return result < 0 ? err_sys(err, -result, "cannot watch the command") : 0;
}

/* The PID namespace that our children are in: nobody can be born there once its init has ended. */
static bool has_namespace_ended(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	if (pid > 0)
		tree_kill_child(pid, KILL_MS); /* those inside may stop it */
	return pid < 0 && errno == ENOMEM;
}

static int await_end(struct session *session, struct err *err)
{
	on_reap(&session->reap_task); /* what has ended already */
	int result = loop_run(session->loop);
	if (result < 0)
		return err_sys(err, -result, "cannot wait for the command");
	/* the kernel kills the processes of a PID namespace before the sandbox can say that it ends
	 */
	struct pollfd pollfd = {.fd = session->enter->control, .events = POLLIN};
	if (!session->is_over && session->enter->has_pid_ns && session->end_signal == SIGKILL &&
		has_namespace_ended() && poll(&pollfd, 1, CONTROL_TIMEOUT_MS) == 1)
		session->is_over = has_sandbox_ended(session->enter->control);
	if (session->is_over)
		return err_set(
			err, EPIPE, "the sandbox \"%s\" has ended", session->command->sandbox);
	return 0;
}

int enter_run(
	struct enter *enter, const struct enter_command *command, int *status, struct err *err)
{
	struct session session = {
		.enter = enter,
		.command = command,
		.witness = {.on_signal = pass_signal, .owner = &session, .io.fd = -1},
		.err = err,
		.signal_io.fd = -1,
		.report_io = {-1, on_report},
		.words.write_fd = -1,
	};
	struct job_terminal terminal = job_terminal_keep();

	err->code = 0;
	int result = open_session(&session, err);
	if (result == 0) {
		witness_start(&session.witness, session.loop, command->command.new_session, false);
		result = start(&session, err);
	}
	if (result == 0)
		result = await_end(&session, err);
	*status = session.failure == COMMAND_OK
			  ? session.status
			  : command_failure_status(session.failure, err->code);
	if (result == 0 && session.failure == COMMAND_SETUP_FAILED)
		result = -err->code;
	witness_stop(&session.witness);
	words_close(&session.words);
	if (session.loop)
		loop_free(session.loop);
	fd_close(&session.signal_io.fd);
	fd_close(&session.report_io.fd);
	job_terminal_give_back(&terminal, session.status > 128 || session.is_over);
	/* signals stay blocked: one that comes now would take the place of the command's status */
	return result;
}
