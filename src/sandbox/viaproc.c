/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/viaproc - the process that carries a sandbox's packets to an exit elsewhere */
#include "sandbox/viaproc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conn/names.h"
#include "control/owner.h"
#include "exit/lobby.h"
#include "link/linkend.h"
#include "proc/child.h"
#include "proc/daemon.h"
#include "proc/job.h"
#include "proc/lines.h"
#include "proc/rights.h"
#include "proc/tree.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define USUAL_FDS 1024 /* what programs expect; they may have more */
#define END_MS    2000
#define LINK_FDS  64

struct viaproc_start {
	const struct sandbox_config *config;
	int tun, diag;
	const struct words *words;
	int login_fd;  /* gets a byte when the link's command needs the terminal no more; -1: it has
			  none */
	int listen_fd; /* -1: the link does not listen */
};

struct carrier {
	const struct viaproc_start *start;
	struct loop *loop;
	struct budget budget;
	struct conn_context context; /* of links alone */
	struct entrance *entrance;
	struct entrance_net own[16];
	struct loop_io signal_io;
	struct children children;
	struct linkend end;
	struct keyfile key;
	struct lines noise;
	struct job_terminal terminal; /* that is lent; .fd -1: none */
	bool was_up, is_told;
	char why[LINKEND_WHY_BYTES]; /* that was said last */
};

/* --- the terminal ------------------------------------------------------------------------- */

/* The link's command may ask for a password there. */
static void lend_terminal(struct carrier *via)
{
	via->terminal = job_terminal_keep();
	via->end.lends_terminal = via->terminal.fd >= 0;
}

/* It is up or has ended: from now on the terminal is COMMAND's, and what comes later has none. */
static void take_terminal_back(struct carrier *via)
{
	if (via->start->login_fd < 0 || !via->end.lends_terminal)
		return;
	via->end.lends_terminal = false;
	tcsetpgrp(via->terminal.fd, via->terminal.foreground);
	job_terminal_give_back(&via->terminal, true);
	/* the key for it was pressed at the prompt, where nobody else was told */
	if (via->end.was_interrupted)
		kill(getppid(), SIGINT);
	setsid();
	close(via->start->login_fd);
}

/*
 * Ctrl-Z at the prompt stops the command, which has a group of its own, and the shell waits for
 * ours: that stops as well, and asks again when it is in the foreground.
 */
static void rest_with_command(struct carrier *via)
{
	const struct job_terminal *terminal = &via->terminal;
	const pid_t command = via->end.child.pid;
	siginfo_t info = {0};
	struct termios prompt;
	sigset_t pending;
	bool was_stopped;
	pid_t now;

	if (!via->end.lends_terminal || command <= 0 ||
		waitid(P_PID, (id_t)command, &info, WSTOPPED | WNOHANG) < 0 || info.si_pid == 0)
		return;
	tcgetattr(terminal->fd, &prompt);
	tcsetattr(terminal->fd, TCSANOW, &terminal->settings);
	tcsetpgrp(terminal->fd, terminal->foreground);
	do {
		was_stopped = job_stop(getppid());
		sigpending(&pending);
		now = tcgetpgrp(terminal->fd);
	} while (was_stopped && now > 0 && now != terminal->foreground &&
		 !sigismember(&pending, SIGTERM));
	if (now == terminal->foreground) {
		tcsetattr(terminal->fd, TCSANOW, &prompt);
		tcsetpgrp(terminal->fd, command);
	}
	kill(-command, SIGCONT);
}

/* --- open and lost ------------------------------------------------------------------------ */

static void close_noise(struct carrier *via)
{
	if (via->noise.loop)
		lines_close(&via->noise);
	via->noise.loop = NULL;
}

static void on_open(struct linkend *end, int in_fd, int out_fd)
{
	struct carrier *via = container_of(end, struct carrier, end);
	int result = entrance_open(via->entrance, in_fd, out_fd);

	if (result < 0)
		linkend_close(end, strerror(-result));
}

static void on_over(struct linkend *end)
{
	(void)end; /* the entrance reads it to its end */
}

/* Said once for each reason, until it has been up again. */
static void on_closed(struct linkend *end, const char *why)
{
	struct carrier *via = container_of(end, struct carrier, end);
	const bool is_last = linkspec_is_once(end->spec);

	take_terminal_back(via);
	if (!via->is_told || strcmp(why, via->why) != 0)
		log_error("the link of --via %s: %s%s%s",
			via->was_up ? "is lost" : "cannot be opened", why[0] ? why : "it ended",
			is_last ? ", and it cannot be opened again" : "; trying again",
			via->start->config->detach && end->spec->kind == LINKSPEC_EXEC
				? "; in the background it cannot ask for a password: ssh needs a "
				  "key, an agent or a ControlMaster"
				: "");
	snprintf(via->why, sizeof(via->why), "%s", why);
	via->is_told = true;
	via->was_up = false;
	close_noise(via);
	if (!is_last)
		linkend_again(end);
}

static const struct linkend_ops linkend_ops = {on_open, on_over, on_closed};

/* --- what the entrance says --------------------------------------------------------------- */

static void on_up(void *owner)
{
	struct carrier *via = owner;

	take_terminal_back(via);
	if (via->is_told)
		log_notice("the link of --via is back");
	via->is_told = false;
	via->was_up = true;
	close_noise(via);
}

static void on_down(void *owner, const char *why)
{
	linkend_close(&((struct carrier *)owner)->end, why);
}

static void on_gone(void *owner)
{
	struct carrier *via = owner;

	log_error("the network device via0 was deleted: nothing goes to the exit any more");
	loop_stop(via->loop, 0);
}

static void on_line(struct lines *lines, const char *text, size_t len)
{
	char shown[4 * LINES_LINE_MAX + 1];

	(void)lines;
	log_escape(text, len, shown, sizeof(shown));
	log_warning("the link of --via says: %s", shown);
}

static void on_noise(void *owner, const char *bytes, size_t len)
{
	struct carrier *via = owner;

	if (!via->noise.loop) {
		via->noise = (struct lines){.on_line = on_line};
		lines_begin(&via->noise, via->loop);
	}
	lines_take(&via->noise, bytes, len);
}

static const struct entrance_ops entrance_ops = {
	.on_up = on_up, .on_down = on_down, .on_noise = on_noise, .on_gone = on_gone};

/* --- start and end ------------------------------------------------------------------------ */

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct carrier *via = container_of(io, struct carrier, signal_io);
	struct signalfd_siginfo info;

	(void)events;
	while (read(io->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD) {
			rest_with_command(via);
			children_reap(&via->children);
		} else {
			/* a command that stops now, as one that goes on in the background and
			 * reads, must not stop the job once more */
			loop_stop(via->loop, 0);
			return;
		}
	}
}

/* What no exit may speak for: this sandbox's own networks, and what is nobody's. */
static size_t list_own(const struct sandbox_config *config, struct entrance_net *own)
{
	static const struct entrance_net never[] = {
		{{.s6_addr = {[10] = 0xff, 0xff, 0}}, 104},
		{{.s6_addr = {[10] = 0xff, 0xff, 127}}, 104},
		{{.s6_addr = {[10] = 0xff, 0xff, 224}}, 100},
		{{.s6_addr = {0}}, 96},
		{{.s6_addr = {0xfe, 0x80}}, 10},
		{{.s6_addr = {0xff}}, 8},
	};
	const struct net_plan *plan = &config->net;
	size_t count = sizeof(never) / sizeof(never[0]);

	memcpy(own, never, sizeof(never));
	if (plan->has_outbound) {
		own[count++] = entrance_net4(plan->network, plan->prefix_len);
		own[count++] = entrance_net6(&plan->prefix6, plan->prefix6_len);
	}
	return count;
}

static int open_end(struct carrier *via, struct err *err)
{
	const struct sandbox_via *config = &via->start->config->via;

	if (config->key_path && keyfile_read(config->key_path, &via->key, err) < 0)
		return -err->code;
	via->budget.max = BUDGET_RESERVED + LINK_FDS;
	via->context = (struct conn_context){
		.loop = via->loop, .budget = &via->budget, .names = names_new(via->loop)};
	if (!via->context.names)
		return err_sys(err, ENOMEM, "cannot set up the link of --via");
	via->end = (struct linkend){.ops = &linkend_ops,
		.context = &via->context,
		.spec = &config->spec,
		.children = &via->children,
		.key = config->key_path ? &via->key : NULL,
		.role = PROOF_ASKER,
		.purpose = LOBBY_PURPOSE,
		.listen_fd = &via->start->listen_fd};
	/* what programs expect; they may have more */
	getrlimit(RLIMIT_NOFILE, &via->end.nofile);
	if (via->end.nofile.rlim_cur > USUAL_FDS)
		via->end.nofile.rlim_cur = USUAL_FDS;
	if (via->start->login_fd >= 0)
		lend_terminal(via);
	int result = linkend_init(&via->end, err);
	if (result == 0)
		linkend_start(&via->end);
	return result;
}

static int set_up(struct carrier *via, struct err *err)
{
	const struct sandbox_config *config = via->start->config;
	sigset_t signals;

	via->loop = loop_new();
	if (!via->loop)
		return err_sys(err, errno, "cannot make an event loop");
	children_init(&via->children, via->loop);
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	via->signal_io =
		(struct loop_io){signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC), on_signal};
	struct entrance_start start = {.loop = via->loop,
		.tun = via->start->tun,
		.diag = via->start->diag,
		.nets = config->via.nets,
		.nnets = config->via.nnets,
		.own = via->own,
		.nown = list_own(config, via->own),
		.ops = &entrance_ops,
		.owner = via};
	via->entrance = entrance_new(&start);
	if (!via->entrance || via->signal_io.fd < 0)
		return err_sys(err, errno, "cannot set up the link of --via");
	int result = loop_io_add(via->loop, &via->signal_io, EPOLLIN);
	return result < 0 ? err_sys(err, -result, "cannot watch signals") : open_end(via, err);
}

static int keep_fds(const struct viaproc_start *start)
{
	const struct linkspec *spec = &start->config->via.spec;
	int keep[] = {start->tun, start->diag, start->words->write_fd, start->login_fd,
		start->listen_fd, -1, -1};

	if (spec->kind == LINKSPEC_FDS)
		memcpy(keep + 5, spec->fds, sizeof(spec->fds));
	return rights_keep_fds(keep, 7);
}

__attribute__((noreturn)) static void carry(const struct viaproc_start *start, pid_t parent)
{
	struct carrier via = {.start = start, .terminal.fd = -1};
	struct err err = {0};

	prctl(PR_SET_NAME, "nswrap: via");
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(125);
	/* signals to the job are not for us; while the terminal is lent all are blocked */
	if (start->login_fd < 0)
		setsid();
	job_leave_streams();
	words_speak(start->words);
	int result = keep_fds(start);
	if (result < 0)
		err_sys(&err, -result, "cannot close descriptors");
	if (result == 0)
		result = set_up(&via, &err);
	if (result == 0)
		result = loop_run(via.loop);
	if (result < 0)
		log_warning(
			"the process of --via ends: %s", err.code ? err.text : strerror(-result));
	entrance_free(via.entrance);
	if (via.end.ops)
		linkend_fini(&via.end);
	if (via.children.loop)
		children_end(&via.children, END_MS);
	_exit(result < 0 ? 125 : 0);
}

/* --- the supervisor's side ---------------------------------------------------------------- */

#define RESPAWN_MS 1000
#define STOP_MS    (END_MS + 1000)

int viaproc_start(struct viaproc *viaproc, struct err *err)
{
	const struct viaproc_start start = {viaproc->config, viaproc->tun, viaproc->diag,
		&viaproc->words, viaproc->login_write, viaproc->bound.fd};
	pid_t self = getpid();

	viaproc->pid = fork();
	if (viaproc->pid == 0)
		carry(&start, self);
	fd_close(&viaproc->login_write);
	return viaproc->pid < 0 ? err_sys(err, errno, "cannot fork") : 0;
}

static void on_login(struct loop_io *io, uint32_t events)
{
	struct viaproc *viaproc = container_of(io, struct viaproc, login);

	(void)events;
	loop_io_del(viaproc->loop, io);
	fd_close(&io->fd);
}

/* Its end tells that the terminal is free. */
static int open_login(struct viaproc *viaproc, struct err *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot make a pipe");
	viaproc->login = (struct loop_io){ends[0], on_login};
	viaproc->login_write = ends[1];
	int result = loop_io_add(viaproc->loop, &viaproc->login, EPOLLIN);
	return result < 0 ? err_sys(err, -result, "cannot watch a pipe") : 0;
}

/* Before COMMAND begins: where nobody can come it is not to be. */
static int open_port(struct viaproc *viaproc, struct err *err)
{
	const struct linkspec *spec = &viaproc->config->via.spec;
	struct addr addr = spec->addr;
	int result = linkspec_listens(spec) ? bind_open(&addr, PROTO_TCP, &viaproc->bound, err) : 0;

	if (result == -EADDRINUSE)
		owner_explain(&addr, PROTO_TCP, err);
	return result;
}

bool viaproc_logs_in(const struct viaproc *viaproc)
{
	return viaproc->loop && viaproc->login.fd >= 0;
}

static void respawn(struct loop_timer *timer)
{
	struct viaproc *viaproc = container_of(timer, struct viaproc, timer);
	struct err err;

	if (viaproc->is_last || viaproc_start(viaproc, &err) == 0)
		return;
	log_warning("%s; trying again", err.text);
	loop_timer_set(viaproc->loop, timer, RESPAWN_MS);
}

int viaproc_open(struct viaproc *viaproc, const struct sandbox_config *config, int tun, int diag,
	struct loop *loop, bool has_terminal, struct err *err)
{
	*viaproc = (struct viaproc){.config = config,
		.tun = tun,
		.diag = diag,
		.loop = loop,
		.timer.on_expired = respawn,
		.login.fd = -1,
		.login_write = -1,
		.bound = {.fd = -1, .dir_fd = -1},
		.words = {.advises = config->via.spec.kind == LINKSPEC_EXEC, .write_fd = -1}};
	if (open_port(viaproc, err) < 0)
		return -err->code;
	if (has_terminal && config->via.spec.kind == LINKSPEC_EXEC && open_login(viaproc, err) < 0)
		return -err->code;
	return words_open(&viaproc->words, "link of --via", loop, err) < 0
		       ? -err->code
		       : viaproc_start(viaproc, err);
}

void viaproc_on_death(struct viaproc *viaproc, int code, int status)
{
	const bool is_over = code == CLD_EXITED && status == 0;

	viaproc->pid = 0;
	if (is_over) /* who comes is to hear of it */
		bind_close(&viaproc->bound);
	if (viaproc->is_last || is_over)
		return;
	log_warning("the process of --via was ended; its connections are lost, another one takes "
		    "over");
	loop_timer_set(viaproc->loop, &viaproc->timer, RESPAWN_MS);
}

void viaproc_stop(struct viaproc *viaproc)
{
	if (!viaproc->loop)
		return;
	viaproc->is_last = true;
	loop_timer_cancel(viaproc->loop, &viaproc->timer);
	if (viaproc->pid > 0) {
		struct clock_wait wait = clock_wait_start(STOP_MS);

		kill(viaproc->pid, SIGTERM);
		kill(viaproc->pid, SIGCONT);
		while (waitpid(viaproc->pid, NULL, WNOHANG) == 0)
			if (!clock_wait_go_on(&wait)) {
				tree_kill_child(viaproc->pid, STOP_MS);
				break;
			}
	}
	viaproc->pid = 0;
	loop_io_del(viaproc->loop, &viaproc->login);
	fd_close(&viaproc->login.fd);
	fd_close(&viaproc->login_write);
	bind_close(&viaproc->bound);
	words_close(&viaproc->words);
}

static bool is_daemon(const void *owner, pid_t pid)
{
	(void)owner;
	return getsid(pid) == pid && daemon_is_one(pid);
}

bool viaproc_leaves(const struct viaproc *viaproc, pid_t pid)
{
	return viaproc->loop && viaproc->config->via.spec.kind == LINKSPEC_EXEC &&
	       (is_daemon(NULL, pid) || daemon_is_helper(pid, is_daemon, NULL));
}
