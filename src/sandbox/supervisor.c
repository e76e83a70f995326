/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/supervisor - start a sandbox, keep it running, take everything down with it */
#include "sandbox/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/diag.h"
#include "net/pcap.h"
#include "proc/command.h"
#include "proc/job.h"
#include "proc/rights.h"
#include "proc/tree.h"
#include "sandbox/placeholder.h"
#include "sandbox/supervisor_parts.h"
#include "util/fd.h"
#include "util/log.h"

#define KILL_MS   5000
#define END_MS    5000 /* for init to end everything after it sent SIGKILL */
#define FDS_MAX   65536
#define JOINED_MS 1000 /* `exec` ends by itself what it started, when it sees us close */

#define supervisor_of(ptr, member) \
	((struct supervisor *)((char *)(ptr)-offsetof(struct supervisor, member)))

/* --- messages to and from init ------------------------------------------------------------ */

static int tell_init(struct supervisor *supervisor, const struct init_message *message, int fd)
{
	ssize_t sent =
		fd_send(supervisor->init_io.fd, message, sizeof(*message), &fd, fd >= 0 ? 1 : 0);

	return sent < 0 ? (int)sent : 0;
}

static void pass_signal(struct supervisor *supervisor, int sig)
{
	struct init_message message = {.type = INIT_SIGNAL, .value = sig};

	tell_init(supervisor, &message, -1);
}

/* COMMAND can stop init, again and again: then we end everything (on_init_death). */
static void on_end_time(struct loop_timer *timer)
{
	struct supervisor *supervisor = supervisor_of(timer, end_timer);

	if (supervisor->init > 0)
		kill(supervisor->init, SIGKILL);
}

void supervisor_terminate(struct supervisor *supervisor, int sig, uint64_t timeout_ms)
{
	struct init_message message = {
		.type = INIT_TERMINATE, .value = sig, .timeout_ms = timeout_ms};
	struct loop_timer *timer = &supervisor->end_timer;
	uint64_t end_ms = timeout_ms + END_MS;

	supervisor->is_ending = true;
	tell_init(supervisor, &message, -1);
	if (supervisor->init > 0)
		kill(supervisor->init, SIGCONT);
	timer->on_expired = on_end_time;
	if (!loop_timer_is_armed(timer) ||
		timer->deadline_ns > loop_now_ns(supervisor->loop) + end_ms * 1000000)
		loop_timer_set(supervisor->loop, timer, end_ms);
}

int supervisor_own_file(struct supervisor *supervisor, int dir_fd, const char *name)
{
	struct init_message message = {.type = INIT_OWN_FILE};

	snprintf(message.file, sizeof(message.file), "%s", name);
	return tell_init(supervisor, &message, dir_fd);
}

static void end(struct supervisor *supervisor, int status)
{
	supervisor->has_ended = true;
	if (supervisor->status == 0 && !supervisor->has_companion_ended)
		supervisor->status = status;
	loop_stop(supervisor->loop, 0);
}

static void on_started(struct supervisor *supervisor, pid_t command)
{
	struct err err;

	supervisor->command = command;
	if (supervisor->config->has_pid_ns)
		tree_list(supervisor->init, &supervisor->command, 1);
	events_emit(&supervisor->events, "started",
		json_pack("{s:s, s:i}", "name", supervisor->server.entry.name, "pid",
			supervisor->command));
	if (supervisor->forwards.count == 0)
		events_ready(&supervisor->events);
	if (companion_start(supervisor, &err) == 0)
		return;
	log_error("%s", err.text);
	supervisor->status = 125;
	supervisor_terminate(supervisor, SIGTERM, supervisor->config->stop_timeout_ms);
}

static void on_message(struct supervisor *supervisor, const struct init_message *message)
{
	switch (message->type) {
	case INIT_STARTED:
		on_started(supervisor, message->value);
		break;
	case INIT_STOPPED:
		if (job_stop_with(
			    supervisor->command, message->value, supervisor->config->new_session))
			supervisor->rested_at = message->serial;
		break;
	case INIT_EXEC_FAILED:
	case INIT_FAILED:
		*supervisor->err = message->err;
		end(supervisor,
			message->type == INIT_FAILED
				? 125
				: command_failure_status(COMMAND_EXEC_FAILED, message->value));
		break;
	case INIT_ENDED:
		end(supervisor, message->value);
		break;
	}
}

static void on_init(struct loop_io *io, uint32_t events)
{
	struct supervisor *supervisor = supervisor_of(io, init_io);
	struct init_message message;
	ssize_t got;

	(void)events;
	/* all of them: when init has died nobody comes back for the rest */
	while ((got = fd_recv(io->fd, &message, sizeof(message), NULL, 0, NULL)) == sizeof(message))
		on_message(supervisor, &message);
	if (got != -EAGAIN)
		loop_io_del(supervisor->loop, io); /* SIGCHLD tells the rest */
}

/* --- signals ------------------------------------------------------------------------------ */

/* We are continued, and COMMAND should be, if it is not yet. */
static void resume_command(struct supervisor *supervisor)
{
	struct init_message message = {.type = INIT_RESUME, .serial = supervisor->rested_at};

	supervisor->rested_at = 0;
	tell_init(supervisor, &message, -1);
}

static void on_signal_info(struct supervisor *supervisor, const struct signalfd_siginfo *info)
{
	int sig = (int)info->ssi_signo;

	if (!job_passes_on(info, supervisor->command, supervisor->config->new_session))
		return;
	if (sig == SIGCONT && (pid_t)info->ssi_pid == supervisor->init)
		return; /* COMMAND was continued, and init only wakes us */
	if (sig == SIGCONT && supervisor->rested_at > 0)
		resume_command(supervisor);
	else if (sig == SIGTERM)
		supervisor_terminate(supervisor, sig, supervisor->config->stop_timeout_ms);
	else
		pass_signal(supervisor, sig);
}

/* init died without a word: what it leaves is ours now. */
static void on_init_death(struct supervisor *supervisor, int code, int status)
{
	on_init(&supervisor->init_io, EPOLLIN); /* INIT_ENDED may be waiting */
	if (supervisor->has_ended)
		return;
	tree_kill(&supervisor->net, supervisor->net > 0 ? 1 : 0, KILL_MS);
	end(supervisor, 125);
	if (code == CLD_EXITED)
		err_set(supervisor->err, ECHILD, "init of the sandbox ended (status %d)", status);
	else
		err_set(supervisor->err, ECHILD, "init of the sandbox was ended by signal %d (%s)",
			status, strsignal(status));
}

static void reap(struct supervisor *supervisor)
{
	for (;;) {
		siginfo_t info = {0};

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
			return;
		if (info.si_pid == supervisor->init) {
			supervisor->init = 0;
			on_init_death(supervisor, info.si_code, info.si_status);
		} else if (info.si_pid == supervisor->net) {
			net_on_death(supervisor, info.si_code, info.si_status);
		} else if (info.si_pid == supervisor->companion) {
			companion_on_death(supervisor, info.si_code, info.si_status);
		}
	}
}

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct supervisor *supervisor = supervisor_of(io, signal_io);
	struct signalfd_siginfo info;

	(void)events;
	while (read(io->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(supervisor);
		else
			on_signal_info(supervisor, &info);
	}
}

/* --- start -------------------------------------------------------------------------------- */

static int open_host_side(struct supervisor *supervisor, struct err *err)
{
	const struct sandbox_config *config = supervisor->config;

	supervisor->host_diag = diag_open();
	if (supervisor->host_diag < 0)
		return err_sys(err, -supervisor->host_diag, "cannot open a diagnostics socket");
	if (!config->pcap_path)
		return 0;
	supervisor->pcap = open(config->pcap_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (supervisor->pcap < 0)
		return err_sys(err, errno, "cannot write --pcap %s", config->pcap_path);
	int result = pcap_write_header(supervisor->pcap);
	return result < 0 ? err_sys(err, -result, "cannot write --pcap %s", config->pcap_path) : 0;
}

static int open_signals(struct supervisor *supervisor, struct err *err)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &supervisor->original_mask);
	supervisor->signal_io =
		(struct loop_io){signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC), on_signal};
	if (supervisor->signal_io.fd < 0)
		return err_sys(err, errno, "cannot receive signals");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	int result = loop_io_add(supervisor->loop, &supervisor->signal_io, EPOLLIN);
	return result < 0 ? err_sys(err, -result, "cannot watch signals") : 0;
}

static int reserve_name(struct supervisor *supervisor, struct err *err)
{
	const struct sandbox_config *config = supervisor->config;
	const char *slash = strrchr(config->command[0], '/');
	int result = registry_open(REGISTRY_SANDBOX, &supervisor->registry, err);

	if (result < 0)
		return result;
	result = registry_reserve(&supervisor->registry, config->name,
		slash ? slash + 1 : config->command[0], &supervisor->server.entry, err);
	registry_close(&supervisor->registry);
	return result;
}

/* The socket files that init removes if we vanish: the control socket and unix forwards. */
static int list_files(
	struct supervisor *supervisor, struct init_file **files, size_t *count, struct err *err)
{
	if (forwards_files(supervisor, files, count, err) < 0)
		return -err->code;
	/* forwards_files leaves room for this one */
	struct init_file *own = &(*files)[*count];
	own->dir_fd = fcntl(supervisor->server.entry.dir_fd, F_DUPFD_CLOEXEC, 3);
	snprintf(own->name, sizeof(own->name), "%s.sock", supervisor->server.entry.name);
	++*count;
	return own->dir_fd < 0 ? err_sys(err, errno, "cannot start") : 0;
}

static int spawn_init(struct supervisor *supervisor, struct err *err)
{
	const struct sandbox_config *config = supervisor->config;
	struct init_file *files = NULL;
	size_t nfiles = 0;
	int channel[2], door[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0 ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, door) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	supervisor->init_io = (struct loop_io){channel[0], on_init};
	supervisor->door = door[0];
	int result = list_files(supervisor, &files, &nfiles, err);
	struct init_start start = {
		.config = config,
		.argv = supervisor->argv,
		.env = supervisor->env,
		.resolv_text = config->net.has_outbound && config->net.has_dns
				       ? supervisor->resolver.guest_text
				       : NULL,
		.hidden_dir = supervisor->registry.path,
		.supervisor_fd = channel[1],
		.door_fd = door[1],
		.files = files,
		.nfiles = nfiles,
		.original_mask = supervisor->original_mask,
		.original_nofile = supervisor->original_nofile,
	};
	if (result == 0)
		supervisor->init = init_spawn(&start, err);
	for (size_t i = 0; i < nfiles; i++)
		fd_close(&files[i].dir_fd);
	free(files);
	fd_close(&channel[1]);
	fd_close(&door[1]);
	if (result < 0 || supervisor->init < 0)
		return -err->code;
	return 0;
}

/* Wait until init has set up the namespaces. */
static int await_init(struct supervisor *supervisor, struct err *err)
{
	struct init_message message;
	size_t nfds = 0;
	ssize_t got = fd_recv(supervisor->init_io.fd, &message, sizeof(message),
		supervisor->init_fds, INIT_FDS, &nfds);

	for (size_t i = nfds; i < INIT_FDS; i++)
		supervisor->init_fds[i] = -1;
	if (got != sizeof(message))
		return err_set(err, ECHILD, "init of the sandbox ended while it was set up");
	if (message.type != INIT_READY)
		return err_set(err, message.err.code, "%s", message.err.text);
	fd_set_nonblock(supervisor->init_io.fd, 1);
	int result = loop_io_add(supervisor->loop, &supervisor->init_io, EPOLLIN);
	return result < 0 ? err_sys(err, -result, "cannot watch init") : 0;
}

static int release_command(struct supervisor *supervisor, struct err *err)
{
	struct init_message go = {.type = INIT_GO};
	int result = tell_init(supervisor, &go, -1);

	return result < 0 ? err_sys(err, -result, "init of the sandbox is gone") : 0;
}

static int start(struct supervisor *supervisor, struct err *err)
{
	int result = open_signals(supervisor, err);

	if (result == 0)
		result = companion_take_streams(supervisor, err);
	if (result == 0)
		result = open_host_side(supervisor, err);
	if (result == 0)
		result = forwards_bind_ports(supervisor, err);
	if (result == 0)
		result = reserve_name(supervisor, err);
	if (result == 0)
		result = supervisor_make_command(supervisor, err);
	if (result == 0)
		result = spawn_init(supervisor, err);
	if (result == 0)
		result = await_init(supervisor, err);
	if (result == 0)
		result = forwards_bind_paths(supervisor, err);
	if (result == 0)
		result = control_open(supervisor, err);
	if (result == 0)
		result = release_command(supervisor, err);
	if (result < 0)
		return result;
	job_leave_streams();
	forwards_announce(supervisor, 0);
	log_never_wait();
	result = net_start(supervisor, err);
	if (result == 0)
		resolver_watch(&supervisor->resolver, supervisor->loop);
	return result;
}

/* --- end ---------------------------------------------------------------------------------- */

static void take_down(struct supervisor *supervisor)
{
	companion_stop(supervisor);
	net_stop(supervisor);
	control_wake(supervisor);
	/* INIT_ENDED means that nothing is left; if it did not come, all is killed here */
	if (!supervisor->has_ended && supervisor->init > 0)
		kill(supervisor->init, SIGKILL);
	fd_close(&supervisor->init_io.fd);
	if (supervisor->init > 0)
		waitpid(supervisor->init, NULL, 0);
	tree_kill(NULL, 0, KILL_MS);
	forwards_close(supervisor);
	/* after the ports: who waits for the end finds them free, too */
	server_close(&supervisor->server);
	if (supervisor->was_entered)
		tree_end_namespace(supervisor->init_fds[INIT_FD_NET], JOINED_MS, KILL_MS);
	resolver_fini(&supervisor->resolver);
	for (size_t i = 0; i < INIT_FDS; i++)
		fd_close(&supervisor->init_fds[i]);
	fd_close(&supervisor->door);
	fd_close(&supervisor->host_diag);
	fd_close(&supervisor->pcap);
	fd_close(&supervisor->signal_io.fd);
	placeholder_free_list(supervisor->argv);
	placeholder_free_list(supervisor->env);
	loop_free(supervisor->loop);
	sigprocmask(SIG_SETMASK, &supervisor->original_mask, NULL);
}

int supervisor_run(const struct sandbox_config *config, int *status, struct err *err)
{
	struct supervisor supervisor = {
		.config = config,
		.events = {config->ready_fd, config->info_fd, getenv("NOTIFY_SOCKET"), false},
		.started = time(NULL),
		.init_io.fd = -1,
		.net_io.fd = -1,
		.signal_io.fd = -1,
		.companion_fds = {-1, -1},
		.door = -1,
		.host_diag = -1,
		.pcap = -1,
		.err = err,
	};

	err->code = 0;
	server_init(&supervisor.server);
	for (size_t i = 0; i < INIT_FDS; i++)
		supervisor.init_fds[i] = -1;
	getrlimit(RLIMIT_NOFILE, &supervisor.original_nofile);
	rights_raise_fd_limit(FDS_MAX);
	resolver_init(&supervisor.resolver, config);
	supervisor.loop = loop_new();
	if (!supervisor.loop)
		return err_sys(err, errno, "cannot make an event loop");
	int result = start(&supervisor, err);
	if (result == 0)
		result = loop_run(supervisor.loop);
	take_down(&supervisor);
	*status = supervisor.status;
	if (result == 0)
		events_emit(&supervisor.events, "exited", json_pack("{s:i}", "status", *status));
	return result;
}
