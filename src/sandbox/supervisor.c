/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/supervisor - start a sandbox, keep it running, take everything down with it */
#include "sandbox/supervisor.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/diag.h"
#include "net/pcap.h"
#include "net/slirplib.h"
#include "proc/inherited.h"
#include "proc/job.h"
#include "proc/rights.h"
#include "proc/tree.h"
#include "proc/witness.h"
#include "sandbox/absence.h"
#include "sandbox/answers.h"
#include "sandbox/companion.h"
#include "sandbox/detach.h"
#include "sandbox/enter.h"
#include "sandbox/events.h"
#include "sandbox/forwards.h"
#include "sandbox/initctl.h"
#include "sandbox/keeper.h"
#include "sandbox/notifyrelay.h"
#include "sandbox/outwards.h"
#include "sandbox/program.h"
#include "sandbox/resolver.h"
#include "sandbox/sshconf.h"
#include "sandbox/tellers.h"
#include "sandbox/viaproc.h"
#include "util/budget.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define KILL_MS   5000
#define FDS_MAX   65536
#define RETRY_MS  1000
#define SETTLE_MS 200
#define HELD_MS   20
#define JOINED_MS 1000 /* `exec` ends by itself what it started, when it sees us close */

static_assert(ENTER_USER == (int)INIT_FD_USER && ENTER_NET == (int)INIT_FD_NET &&
		      ENTER_MNT == (int)INIT_FD_MNT && ENTER_PID == (int)INIT_FD_PID &&
		      ENTER_IPC == (int)INIT_FD_IPC,
	"init hands the namespaces out in the order in which they are entered");

struct supervisor {
	const struct sandbox_config *config;
	struct loop *loop;
	struct events events;
	struct notifyrelay notify;
	struct resolver resolver;
	struct tellers tellers;
	struct forwards forwards;
	struct outwards outwards;
	struct program program;
	struct initctl init;
	struct keeper keeper;
	struct viaproc via;
	struct companion companion;
	struct answers answers;
	struct absence absence;
	struct registry *registry; /* closed; its path is hidden inside */
	struct words words;        /* of init and the net process */

	struct inherited inherited;

	bool owes_names;              /* the name server is to be told (resolver_table) */
	bool was_served;              /* by a net process that could begin, or needed none */
	int host_diag;                /* the net process's; -1: none */
	struct pcap pcap;             /* the same */
	struct loop_timer send_timer; /* there is more for it */

	struct witness witness; /* of the signals that COMMAND gets without us */
	struct loop_io signal_io;
	struct loop_io alive_io;        /* of who wants to be outlived by nothing */
	struct loop_task reap_task;     /* there is more to reap */
	struct loop_timer settle_timer; /* COMMAND has ended, and why will be known then */
	struct job_terminal terminal;
	sigset_t original_mask;
	bool restores_pipe; /* for COMMAND: SIGPIPE was not ignored */
	struct rlimit original_nofile;
	bool has_companion_ended; /* so everything ends, and COMMAND's status does not count */
	int status;
	struct err *err;
};

/* End the tree: @sig (0: it has it) now, SIGKILL after @timeout_ms. Before COMMAND runs, start() is
 * ended. */
static void terminate_by(struct supervisor *supervisor, int sig, uint64_t timeout_ms)
{
	if (!supervisor->init.is_released) {
		supervisor->status = 128 + SIGTERM;
		return;
	}
	loop_timer_cancel(supervisor->loop, &supervisor->settle_timer);
	supervisor->keeper.is_last = true;
	notifyrelay_tell_end(&supervisor->notify);
	initctl_terminate(&supervisor->init, sig, timeout_ms);
}

static void terminate(void *owner, uint64_t timeout_ms)
{
	terminate_by(owner, SIGTERM, timeout_ms);
}

static void on_absence(void *owner)
{
	struct supervisor *supervisor = owner;

	log_notice("nobody was in here for %llu s: this is the end",
		(unsigned long long)(supervisor->config->unattended_ms / MS_PER_S));
	terminate(supervisor, supervisor->config->stop_timeout_ms);
}

/* Something that COMMAND cannot do without has failed. */
static void give_up(struct supervisor *supervisor)
{
	supervisor->status = 125;
	terminate(supervisor, supervisor->config->stop_timeout_ms);
}

/* --- init --------------------------------------------------------------------------------- */

static int start_companion(struct supervisor *supervisor, struct err *err)
{
	if (!supervisor->config->companion.name)
		return 0;
	_cleanup_fd_ int names = tellers_open(&supervisor->tellers, err);
	return names < 0 ? names
			 : companion_start(&supervisor->companion, supervisor->init.fds,
				   &supervisor->original_mask, names, err);
}

static void on_started(void *owner)
{
	struct supervisor *supervisor = owner;
	struct answers *answers = &supervisor->answers;
	struct err err;

	answers->command = supervisor->init.command;
	notifyrelay_hear(&supervisor->notify, supervisor->init.fds[INIT_FD_NOTIFY],
		supervisor->init.command);
	json_t *event = json_pack(
		"{s:s, s:i}", "name", answers->server.entry.name, "pid", answers->command);
	events_emit(&supervisor->events, "started",
		answers_with_networks(event, &supervisor->config->net));
	if (supervisor->forwards.count == 0)
		events_ready(&supervisor->events);
	witness_start(
		&supervisor->witness, supervisor->loop, supervisor->config->new_session, true);
	if (start_companion(supervisor, &err) < 0) {
		log_error("%s", err.text);
		give_up(supervisor);
	} else if (supervisor->config->detach &&
		   detach_ready(supervisor->config->detach, answers->server.entry.name) < 0) {
		log_error("who started the sandbox has gone before it could be told its name");
		give_up(supervisor);
	}
}

static void on_ended(void *owner, int status, const struct err *err)
{
	struct supervisor *supervisor = owner;

	if (err)
		*supervisor->err = *err;
	if (supervisor->status == 0 && !supervisor->has_companion_ended)
		supervisor->status = status;
	loop_stop(supervisor->loop, 0);
}

/* A daemon's parent ends before it has its own session: what becomes one is told of. */
static void on_left(void *owner)
{
	struct supervisor *supervisor = owner;

	loop_timer_set(supervisor->loop, &supervisor->settle_timer, SETTLE_MS);
}

static const struct initctl_ops initctl_ops = {on_started, on_left, on_ended};

/* --- the net process and what is asked ----------------------------------------------------- */

static int send_to_net(void *owner, const struct net_message *message, int fd)
{
	struct supervisor *supervisor = owner;
	int result = keeper_send(&supervisor->keeper, message, fd);

	/* such as ETOOMANYREFS, unix(7): nothing tells when there are less of them on their way */
	if (result < 0 && result != -EAGAIN && result != -EPIPE)
		loop_timer_set(supervisor->loop, &supervisor->send_timer, RETRY_MS);
	return result;
}

static void own_file(void *owner, int dir_fd, const char *name)
{
	initctl_own_file(&((struct supervisor *)owner)->init, dir_fd, name);
}

static const struct forwards_ops forwards_ops = {send_to_net, own_file};

static pid_t spawn_net(void *owner, int channel, struct err *err)
{
	const struct supervisor *supervisor = owner;
	struct netproc_start start = {
		.config = supervisor->config,
		.channel = channel,
		.tap = supervisor->init.fds[INIT_FD_TAP],
		.pcap = supervisor->pcap,
		.door = supervisor->init.door,
		.guest_diag = supervisor->init.fds[INIT_FD_DIAG],
		.host_diag = supervisor->host_diag,
		.dns_udp = supervisor->init.fds[INIT_FD_DNS_UDP],
		.dns_tcp = supervisor->init.fds[INIT_FD_DNS_TCP],
		.out4 = supervisor->init.fds[INIT_FD_OUT4],
		.out6 = supervisor->init.fds[INIT_FD_OUT6],
		.keeps_clients4 = supervisor->init.keeps_clients4,
		.keeps_clients6 = supervisor->init.keeps_clients6,
		.words = &supervisor->words,
	};

	return netproc_spawn(&start, err);
}

/* What the name server of the sandbox must know; again when the channel has room. */
static void send_names(struct supervisor *supervisor)
{
	const struct net_message message = {.type = NET_NAMES};

	if (!supervisor->owes_names || !supervisor->config->net.has_dns)
		return;
	_cleanup_fd_ int fd = resolver_table(&supervisor->resolver);
	if (fd < 0)
		log_warning("the sandbox's name server cannot be told: %s", strerror(-fd));
	else if (send_to_net(supervisor, &message, fd) == 0)
		supervisor->owes_names = false;
}

static void on_names_change(void *owner)
{
	struct supervisor *supervisor = owner;

	supervisor->owes_names = true;
	send_names(supervisor);
}

static void on_net_room(void *owner, bool is_fresh)
{
	struct supervisor *supervisor = owner;

	if (is_fresh)
		supervisor->owes_names = true;
	send_names(supervisor);
	forwards_send(&supervisor->forwards, is_fresh);
	outwards_send(&supervisor->outwards, is_fresh);
}

static void on_send_time(struct loop_timer *timer)
{
	on_net_room(container_of(timer, struct supervisor, send_timer), false);
}

/* One that would have a name server that nobody asks, and nothing else, is not worth its start. */
static bool needs_net(const struct supervisor *supervisor)
{
	return !config_is_alone(supervisor->config) ||
	       supervisor->forwards.count + supervisor->outwards.count > 0;
}

static void on_net_message(void *owner, const struct net_message *message)
{
	struct supervisor *supervisor = owner;

	switch (message->type) {
	case NET_READY:
		supervisor->was_served = true;
		break;
	case NET_LISTENING:
		forwards_on_listening(&supervisor->forwards, message->id);
		break;
	case NET_ADDED:
		forwards_on_back(&supervisor->forwards, message->id);
		break;
	case NET_REMOVED:
		forwards_on_removed(&supervisor->forwards);
		break;
	case NET_LOST:
		forwards_on_lost(&supervisor->forwards, message->id, &message->err);
		break;
	case NET_DIAL:
		outwards_on_dial(&supervisor->outwards, message->id, message->call.number);
		break;
	case NET_FAILED:
		if (!needs_net(supervisor)) {
			if (supervisor->keeper.failures == 1)
				log_warning("names are not answered: %s", message->err.text);
			break;
		}
		/* it is tried again, and COMMAND lives on */
		if (supervisor->was_served) {
			if (supervisor->keeper.failures == 1)
				log_error("%s; trying again", message->err.text);
			break;
		}
		/* nothing that runs can be kept from being reached */
		log_error("%s", message->err.text);
		give_up(supervisor);
		break;
	}
}

static const struct keeper_ops keeper_ops = {spawn_net, on_net_room, on_net_message};

/* --- signals ------------------------------------------------------------------------------ */

static void on_companion_death(struct supervisor *supervisor, int code, int status)
{
	if (supervisor->init.has_ended) {
		supervisor->companion.pid = 0;
		return;
	}
	supervisor->has_companion_ended = true;
	if (supervisor->config->companion.was_first)
		*supervisor->config->companion.was_first = true;
	int result = companion_on_death(&supervisor->companion, code, status);
	if (result != 0)
		supervisor->status = result;
	terminate(supervisor, supervisor->config->stop_timeout_ms);
}

static void on_death(void *owner, const siginfo_t *info)
{
	struct supervisor *supervisor = owner;

	inherited_forget(&supervisor->inherited, info->si_pid);
	if (info->si_pid == supervisor->init.pid) {
		supervisor->keeper.is_last = true;
		initctl_on_death(&supervisor->init, info->si_code, info->si_status);
	} else if (info->si_pid == supervisor->keeper.pid) {
		keeper_on_death(&supervisor->keeper, info->si_code, info->si_status);
	} else if (info->si_pid == supervisor->via.pid) {
		viaproc_on_death(&supervisor->via, info->si_code, info->si_status);
	} else if (info->si_pid == supervisor->companion.pid) {
		on_companion_death(supervisor, info->si_code, info->si_status);
	} else if (info->si_pid == supervisor->notify.courier) {
		notifyrelay_on_death(&supervisor->notify);
	} else {
		witness_on_death(&supervisor->witness, info->si_pid);
	}
}

static void on_reap(struct loop_task *task)
{
	struct supervisor *supervisor = container_of(task, struct supervisor, reap_task);

	if (tree_reap(WEXITED, on_death, supervisor) == TREE_MORE)
		loop_task_add(supervisor->loop, task);
}

/* COMMAND has ended: what would end it ends what it left. */
static void end_waiting(struct supervisor *supervisor, int sig, bool has_reached)
{
	if (sig == SIGTERM || sig == SIGINT || sig == SIGHUP || sig == SIGQUIT)
		terminate_by(supervisor, has_reached && sig == SIGTERM ? 0 : SIGTERM,
			supervisor->config->stop_timeout_ms);
}

static void pass_signal(void *owner, int sig, pid_t sender, bool has_reached)
{
	struct supervisor *supervisor = owner;

	if (supervisor->init.waits)
		end_waiting(supervisor, sig, has_reached);
	else if (sig == SIGTERM)
		terminate_by(
			supervisor, has_reached ? 0 : sig, supervisor->config->stop_timeout_ms);
	else if (!has_reached)
		initctl_signal(&supervisor->init, sig, sender);
}

/* COMMAND does not run yet, and signals that would do nothing, or stop us, do not end us either. */
static bool ends_login(int sig)
{
	static const int others[] = {SIGCONT, SIGWINCH, SIGURG, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (sig == others[i])
			return false;
	return true;
}

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct supervisor *supervisor = container_of(io, struct supervisor, signal_io);
	const struct sandbox_config *config = supervisor->config;
	struct initctl *init = &supervisor->init;
	struct signalfd_siginfo info;

	(void)events;
	while (read(io->fd, &info, sizeof(info)) == sizeof(info)) {
		int sig = (int)info.ssi_signo;
		pid_t sender = (pid_t)info.ssi_pid;

		if (sig == SIGCHLD)
			on_reap(&supervisor->reap_task);
		else if (!init->is_released)
			supervisor->status = ends_login(sig) ? 128 + sig : supervisor->status;
		else if ((init->waits ||
				 job_passes_on(&info, init->command, config->new_session)) &&
			 !witness_hold(&supervisor->witness, sig, sender, init->command))
			pass_signal(supervisor, sig, sender, false);
	}
}

/* What COMMAND left is to end, unless it has just been told to, with COMMAND: is that known yet? */
static void on_settled(struct loop_timer *timer)
{
	struct supervisor *supervisor = container_of(timer, struct supervisor, settle_timer);

	on_signal(&supervisor->signal_io, 0);
	if (witness_holds(&supervisor->witness, SIGTERM))
		loop_timer_set(supervisor->loop, timer, HELD_MS);
	else
		initctl_terminate(&supervisor->init, SIGTERM, supervisor->config->stop_timeout_ms);
}

/* What is written there is COMMAND's to read, perhaps: nothing but the end comes here. */
static void on_alive(struct loop_io *io, uint32_t events)
{
	struct supervisor *supervisor = container_of(io, struct supervisor, alive_io);

	(void)events;
	log_info("the other end of --alive-fd is closed");
	loop_io_del(supervisor->loop, io);
	terminate(supervisor, supervisor->config->stop_timeout_ms);
}

static int watch_alive(struct supervisor *supervisor, struct err *err)
{
	int fd = supervisor->config->alive_fd;

	if (fd < 0)
		return 0;
	supervisor->alive_io = (struct loop_io){fd, on_alive};
	int result = loop_io_add(supervisor->loop, &supervisor->alive_io, EPOLLRDHUP);
	return result < 0 ? err_sys(err, -result,
				    "--alive-fd: expected a pipe or a socket to be read from")
			  : 0;
}

/* --- start -------------------------------------------------------------------------------- */

static int open_host_side(struct supervisor *supervisor, struct err *err)
{
	const struct sandbox_config *config = supervisor->config;

	/* the net process loads it, and COMMAND runs by then */
	if (config->net.has_outbound && slirplib_check(err) < 0)
		return -err->code;
	supervisor->host_diag = diag_open();
	if (supervisor->host_diag < 0)
		return err_sys(err, -supervisor->host_diag, "cannot open a diagnostics socket");
	return config->pcap_path ? pcap_open(&supervisor->pcap, config->pcap_path, err) : 0;
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
	inherited_find(&supervisor->inherited);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	int result = loop_io_add(supervisor->loop, &supervisor->signal_io, EPOLLIN);
	return result < 0 ? err_sys(err, -result, "cannot watch signals") : 0;
}

static void open_log(struct supervisor *supervisor)
{
	struct detach *detach = supervisor->config->detach;
	struct err err;

	if (!detach)
		return;
	if (detach_open_log(detach, supervisor->answers.server.entry.name, &err) < 0)
		log_error("what COMMAND says is lost, there is no log: %s", err.text);
	if (detach_watch(detach, supervisor->loop) < 0)
		log_warning("should who writes the log be killed, it ends there");
}

static int reserve_name(struct supervisor *supervisor, struct err *err)
{
	const struct sandbox_config *config = supervisor->config;
	const char *slash = strrchr(config->command[0], '/');
	int result = registry_open(REGISTRY_SANDBOX, supervisor->registry, err);

	if (result < 0)
		return result;
	result = registry_reserve(supervisor->registry, config->name,
		slash ? slash + 1 : config->command[0], &supervisor->answers.server.entry, err);
	registry_close(supervisor->registry);
	if (result == 0) {
		open_log(supervisor);
		notifyrelay_begin(&supervisor->notify, &supervisor->registry->places);
	}
	return result;
}

static int spawn_init(struct supervisor *supervisor, struct err *err)
{
	static const struct sshconf_roots ssh_roots = {"/etc/ssh", "~/.ssh", 0};
	struct sshconf ssh = {.count = 0};
	const struct sandbox_config *config = supervisor->config;
	struct init_start start = {
		.config = config,
		.argv = supervisor->program.argv,
		.env = supervisor->program.env,
		.files = &supervisor->resolver.files,
		.ssh = &ssh,
		.pid_variables = supervisor->program.pid_variables,
		.hidden = &supervisor->registry->places,
		.notify_path = supervisor->notify.path,
		.words = &supervisor->words,
		.original_mask = supervisor->original_mask,
		.restores_pipe = supervisor->restores_pipe,
		.original_nofile = supervisor->original_nofile,
	};

	if (geteuid() != ssh_roots.owner)
		sshconf_read(&ssh_roots, &ssh);
	int result = initctl_spawn(&supervisor->init, &start, err);
	sshconf_free(&ssh);
	return result;
}

/* Until it has said what it could set up. */
static int await_init(struct supervisor *supervisor, struct err *err)
{
	int result = initctl_await(&supervisor->init, err);

	if (result == 0 && supervisor->init.keeps_clients4)
		forwards_keep_clients(&supervisor->forwards);
	return result;
}

static int open_answers(struct supervisor *supervisor, struct err *err)
{
	const struct registry_entry *entry = &supervisor->answers.server.entry;
	char file[NAME_MAX + 1];

	snprintf(file, sizeof(file), "%s.sock", entry->name);
	own_file(supervisor, entry->dir_fd, file);
	return answers_open(&supervisor->answers, supervisor->loop, err);
}

static int make_program(struct supervisor *supervisor, struct err *err)
{
	struct forward_list list;
	int result = forwards_list(&supervisor->forwards, &list, err);

	if (result == 0)
		result = program_make(&supervisor->program, supervisor->config,
			supervisor->answers.server.entry.name, &list, err);
	if (result == 0)
		result = program_add_service(&supervisor->program, &supervisor->config->service,
			supervisor->notify.path, err);
	spec_list_free(&list);
	return result;
}

static int start_via(struct supervisor *supervisor, struct err *err)
{
	int tun = supervisor->init.fds[INIT_FD_VIA];
	bool has_terminal = supervisor->terminal.fd >= 0 && !supervisor->config->detach;

	const struct linkspec *link = &supervisor->config->via.spec;

	if (tun < 0)
		return 0;
	if (link->kind == LINKSPEC_LISTEN_UNIX &&
		forwards_own_path(&forwards_ops, supervisor, link->addr.local.sun_path, err) < 0)
		return -err->code;
	if (viaproc_open(&supervisor->via, supervisor->config, tun,
		    supervisor->init.fds[INIT_FD_VIA_LOOK], supervisor->loop, has_terminal,
		    err) < 0)
		return -err->code;
	while (viaproc_logs_in(&supervisor->via) && supervisor->status == 0)
		if (loop_run_once(supervisor->loop, -1) < 0)
			return err_sys(err, errno, "cannot wait for the link of --via");
	return supervisor->status == 0
		       ? 0
		       : err_set(err, EINTR, "ended before the link of --via was up");
}

static int open_outwards(struct supervisor *supervisor, struct err *err)
{
	const struct sandbox_config *config = supervisor->config;

	return outwards_add(
		&supervisor->outwards, config->outwards.items, config->outwards.count, err);
}

static int start_net(struct supervisor *supervisor, struct err *err)
{
	const int *fds = supervisor->init.fds;

	if (needs_net(supervisor))
		return keeper_start(&supervisor->keeper, err);
	supervisor->was_served = true;
	keeper_spare(&supervisor->keeper, fds[INIT_FD_DNS_UDP], fds[INIT_FD_DNS_TCP]);
	return 0;
}

static int start(struct supervisor *supervisor, struct err *err)
{
	char moved[NET_MOVED_BYTES];

	if (open_signals(supervisor, err) < 0 || watch_alive(supervisor, err) < 0 ||
		words_open(&supervisor->words, "net process", supervisor->loop, err) < 0 ||
		companion_take_streams(&supervisor->companion, supervisor->loop, err) < 0 ||
		open_host_side(supervisor, err) < 0 ||
		forwards_bind(&supervisor->forwards, false, err) < 0 ||
		reserve_name(supervisor, err) < 0 || make_program(supervisor, err) < 0 ||
		spawn_init(supervisor, err) < 0 || open_answers(supervisor, err) < 0 ||
		await_init(supervisor, err) < 0 || open_outwards(supervisor, err) < 0 ||
		forwards_bind(&supervisor->forwards, true, err) < 0 ||
		start_via(supervisor, err) < 0 || initctl_release(&supervisor->init, err) < 0)
		return -err->code;
	job_leave_streams();
	if (plan_tell_moved(&supervisor->config->net, moved))
		log_notice("the network inside is %s", moved);
	forwards_announce(&supervisor->forwards, 0, NULL);
	outwards_announce(&supervisor->outwards, 0);
	if (start_net(supervisor, err) < 0)
		return -err->code;
	absence_begin(&supervisor->absence);
	resolver_watch(&supervisor->resolver, fd_take(&supervisor->init.fds[INIT_FD_ETC]));
	return 0;
}

/* --- end ---------------------------------------------------------------------------------- */

/* What is not the sandbox's to end. */
static bool is_spared(const void *owner, pid_t pid)
{
	const struct supervisor *supervisor = owner;

	return inherited_has(&supervisor->inherited, pid) || viaproc_leaves(&supervisor->via, pid);
}

/* So they end side by side; each is waited for in its turn. */
static void kill_processes(const struct supervisor *supervisor)
{
	const pid_t pids[] = {supervisor->witness.pid, supervisor->keeper.pid,
		supervisor->init.has_ended ? supervisor->init.pid : 0};

	for (size_t i = 0; i < sizeof(pids) / sizeof(pids[0]); i++)
		if (pids[i] > 0)
			kill(pids[i], SIGKILL);
}

static void take_down(struct supervisor *supervisor)
{
	notifyrelay_end(&supervisor->notify);
	events_end(&supervisor->events);
	absence_end(&supervisor->absence);
	companion_stop(&supervisor->companion,
		supervisor->init.has_ended ? supervisor->init.fds[INIT_FD_DIAG] : -1);
	viaproc_stop(&supervisor->via);
	/* the many mounts of /etc are taken down by who has them last: init, while we go on */
	fd_close(&supervisor->init.fds[INIT_FD_MNT]);
	kill_processes(supervisor);
	tellers_fini(&supervisor->tellers);
	resolver_fini(&supervisor->resolver);
	witness_stop(&supervisor->witness);
	keeper_stop(&supervisor->keeper);
	/* what the guest sent last, and it did not come to */
	pcap_take(&supervisor->pcap, supervisor->init.fds[INIT_FD_TAP]);
	answers_wake(&supervisor->answers);
	/* INIT_ENDED means that nothing is left; if it did not come, all is killed here */
	initctl_stop(&supervisor->init);
	tree_kill_but(KILL_MS, is_spared, supervisor);
	words_close(&supervisor->words);
	/* the name last: who waits for the end finds the ports free, too */
	forwards_fini(&supervisor->forwards);
	outwards_fini(&supervisor->outwards);
	server_close(&supervisor->answers.server);
	if (supervisor->answers.was_entered)
		tree_end_namespace(supervisor->init.fds[INIT_FD_NET], JOINED_MS, KILL_MS);
	initctl_fini(&supervisor->init);
	fd_close(&supervisor->host_diag);
	pcap_close(&supervisor->pcap);
	fd_close(&supervisor->signal_io.fd);
	program_free(&supervisor->program);
	if (supervisor->config->detach)
		detach_unwatch(supervisor->config->detach);
	loop_free(supervisor->loop);
	/* 125: what COMMAND cannot do without has failed, and so it was killed */
	job_terminal_give_back(
		&supervisor->terminal, supervisor->status > 128 || supervisor->status == 125);
	/* signals stay blocked: one that comes now would take the place of COMMAND's status */
}

/* The parts that need the loop. */
static void begin(struct supervisor *supervisor)
{
	struct loop *loop = supervisor->loop;

	initctl_init(&supervisor->init, loop, &initctl_ops, supervisor);
	forwards_init(&supervisor->forwards, loop);
	resolver_init(&supervisor->resolver, supervisor->config, loop, on_names_change, supervisor);
	tellers_init(&supervisor->tellers, loop, &supervisor->resolver);
	supervisor->absence.loop = supervisor->notify.loop = supervisor->events.ready.loop = loop;
	keeper_init(&supervisor->keeper, loop, &keeper_ops, supervisor);
	server_init(&supervisor->answers.server);
}

int supervisor_run(const struct sandbox_config *config, int *status, struct err *err)
{
	struct registry registry; /* much of it is never touched: no page of it, then */
	struct supervisor supervisor = {
		.config = config,
		.registry = &registry,
		.loop = loop_new(),
		.events = {{.io.fd = config->ready_fd}, config->info_fd,
			config->service.notifier == SANDBOX_NOTIFIER_COMMAND ? NULL
									     : &supervisor.notify},
		.notify = {.address = config->service.notify_socket,
			.hears_command = config->service.notifier != SANDBOX_NOTIFIER_PORT,
			.io.fd = -1,
			.room_io.fd = -1,
			.manager = -1,
			.courier_fd = -1,
			.fd = -1},
		.forwards = {.config = config,
			.events = &supervisor.events,
			.ops = &forwards_ops,
			.owner = &supervisor,
			.guest_diag = &supervisor.init.fds[INIT_FD_LOOK]},
		.outwards = {.namespaces = supervisor.init.fds,
			.events = &supervisor.events,
			.ops = &forwards_ops,
			.owner = &supervisor},
		.companion = {.config = &config->companion, .fds = {-1, -1}, .words.write_fd = -1},
		.answers = {.config = config,
			.program = &supervisor.program,
			.forwards = &supervisor.forwards,
			.outwards = &supervisor.outwards,
			.namespaces = supervisor.init.fds,
			.tellers = &supervisor.tellers,
			.on_stop = terminate,
			.owner = &supervisor},
		.absence = {.server = &supervisor.answers.server,
			/* COMMAND's own agent is in it to the end */
			.max_ms = config->companion.name ? 0 : config->unattended_ms,
			.on_long = on_absence,
			.owner = &supervisor},
		.witness = {.on_signal = pass_signal, .owner = &supervisor, .io.fd = -1},
		.signal_io.fd = -1,
		.reap_task.on_run = on_reap,
		.send_timer.on_expired = on_send_time,
		.settle_timer.on_expired = on_settled,
		.terminal = job_terminal_keep(),
		.words.write_fd = -1,
		.host_diag = -1,
		.pcap = PCAP_NONE,
		.err = err,
	};

	if (!supervisor.loop)
		return err_sys(err, errno, "cannot make an event loop");
	err->code = 0;
	/* a reader of ours that has gone is not the end of COMMAND */
	supervisor.restores_pipe = signal(SIGPIPE, SIG_IGN) != SIG_IGN;
	getrlimit(RLIMIT_NOFILE, &supervisor.original_nofile);
	if (budget_check(rights_raise_fd_limit(FDS_MAX),
		    forwards_fds(config) + 2 * config->outwards.count, err) < 0) {
		loop_free(supervisor.loop);
		return -err->code;
	}
	begin(&supervisor);
	int result = start(&supervisor, err);
	if (result == 0)
		result = loop_run(supervisor.loop);
	take_down(&supervisor);
	*status = supervisor.status;
	if (result == -EINTR && *status != 0)
		result = 0; /* a signal has ended it before COMMAND began */
	if (result == 0)
		events_emit(&supervisor.events, "exited", json_pack("{s:i}", "status", *status));
	return result;
}
