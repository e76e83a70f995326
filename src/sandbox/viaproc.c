/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/viaproc - the process that carries a sandbox's packets to an exit elsewhere */
#include "sandbox/viaproc.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/child.h"
#include "proc/job.h"
#include "proc/lines.h"
#include "proc/rights.h"
#include "proc/tree.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"
#include "util/parse.h"

#define END_MS         2000
#define COMMAND_END_MS 1000 /* from the end of its link to SIGKILL */

struct viaproc_start {
	const struct sandbox_config *config;
	int tun;
	const struct words *words;
};

struct carrier {
	const struct viaproc_start *start;
	struct loop *loop;
	struct entrance *entrance;
	struct entrance_net own[16];
	struct loop_io signal_io;
	struct children children;
	struct child child;
	struct lines noise;
	struct loop_timer timer;     /* then the link is opened again */
	struct loop_timer end_timer; /* then the command should have ended, which says why */
	uint64_t pause_ms, up_ns;
	bool was_up, is_told, is_ending;
	char why[256], down[256]; /* that was said last; of the link that is closed */
	int fds[2];               /* of fd:N,M; -1: used up */
};

/* --- LINK --------------------------------------------------------------------------------- */

static int parse_fds(const char *text, int fds[2], struct err *err)
{
	unsigned long first, second;
	char copy[32];

	snprintf(copy, sizeof(copy), "%s", text);
	char *comma = strchr(copy, ',');
	if (comma)
		*comma++ = '\0';
	if (strlen(text) >= sizeof(copy) || parse_uint(copy, 1UL << 20, &first) < 0 ||
		(comma && parse_uint(comma, 1UL << 20, &second) < 0))
		return err_set(err, EINVAL, "fd:%s: expected fd:N, or fd:N,M", PARSE_SHOWN(text));
	fds[0] = (int)first;
	fds[1] = comma ? (int)second : (int)first;
	for (size_t i = 0; i < 2; i++)
		if (fcntl(fds[i], F_GETFD) < 0 || fds[i] <= STDERR_FILENO)
			return err_set(err, EINVAL, "fd:%s: descriptor %d is not open%s",
				PARSE_SHOWN(text), fds[i],
				fds[i] <= STDERR_FILENO ? " for others, it is COMMAND's" : "");
	return 0;
}

int viaproc_check(const char *text, bool *is_bare, struct err *err)
{
	socklen_t len = sizeof(int);
	int fds[2], type = 0, argc;
	char **argv;

	*is_bare = false;
	if (strncmp(text, "exec:", 5) == 0) {
		if (!g_shell_parse_argv(text + 5, &argc, &argv, NULL))
			return err_set(err, EINVAL, "%s is no command line", PARSE_QUOTED(text));
		g_strfreev(argv);
		return 0;
	}
	if (strncmp(text, "fd:", 3) == 0) {
		int result = parse_fds(text + 3, fds, err);
		if (result == 0 && getsockopt(fds[0], SOL_SOCKET, SO_TYPE, &type, &len) == 0)
			*is_bare = type == SOCK_SEQPACKET || type == SOCK_DGRAM;
		return result;
	}
	if (strncmp(text, "unix:", 5) == 0 && text[5])
		return 0;
	return err_set(err, EINVAL,
		"%s is no LINK: expected exec:COMMAND, unix:PATH, fd:N or fd:N,M",
		PARSE_QUOTED(text));
}

/* --- open and lost ------------------------------------------------------------------------ */

static void close_noise(struct carrier *via)
{
	if (via->noise.loop)
		lines_close(&via->noise);
	via->noise.loop = NULL;
}

static void again(struct carrier *via)
{
	const bool was_good =
		via->was_up && loop_now_ns(via->loop) - via->up_ns > VIAPROC_GOOD_MS * NS_PER_MS;
	uint64_t jitter;

	if (via->is_ending || loop_timer_is_armed(&via->timer))
		return;
	via->pause_ms = was_good || via->pause_ms == 0 ? VIAPROC_PAUSE_MS : 2 * via->pause_ms;
	if (via->pause_ms > VIAPROC_PAUSE_MAX_MS)
		via->pause_ms = VIAPROC_PAUSE_MAX_MS;
	jitter = via->pause_ms / 4 ? (uint64_t)random() % (via->pause_ms / 4) : 0;
	loop_timer_set(via->loop, &via->timer, via->pause_ms + jitter);
}

/* Said once for each reason, until it has been up again. */
static void lost(struct carrier *via, const char *why)
{
	char shown[sizeof(via->why)];

	snprintf(shown, sizeof(shown), "%s", why ? why : "it ended");
	if (!via->is_ending && (!via->is_told || strcmp(shown, via->why) != 0))
		log_warning("the link of --via %s: %s; trying again",
			via->was_up ? "is lost" : "cannot be opened", shown);
	memcpy(via->why, shown, sizeof(via->why));
	via->is_told = true;
	close_noise(via);
	again(via);
	via->was_up = false;
}

/* Once its descriptors are closed a command ends; one that does not is killed. */
static void on_child_end(struct child *child, const struct child_end *end)
{
	struct carrier *via = container_of(child, struct carrier, child);
	char why[256];

	child_describe_end(end, via->start->config->via.link, why, sizeof(why));
	entrance_close(via->entrance);
	loop_timer_cancel(via->loop, &via->end_timer);
	lost(via, !child_has_failed(end) && via->down[0] ? via->down : why);
}

/* Its descriptors are closed: it has no use any more. */
static void on_end_time(struct loop_timer *timer)
{
	struct carrier *via = container_of(timer, struct carrier, end_timer);

	child_drop(&via->child);
	lost(via, via->down[0] ? via->down : NULL);
}

/* Returns 0 with two descriptors, or -errno with @err. */
static int start_command(struct carrier *via, const char *text, int fds[2], struct err *err)
{
	int ends[2], argc;
	char **argv;

	via->down[0] = '\0';
	if (!g_shell_parse_argv(text, &argc, &argv, NULL))
		return err_set(err, EINVAL, "no command line");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
		g_strfreev(argv);
		return err_sys(err, errno, "cannot make a socket");
	}
	const struct command command = {
		.argv = argv,
		.streams = (int[]){ends[1], ends[1], STDERR_FILENO},
		.rights = COMMAND_KEEPS_ALL,
		.is_subreaper = true,
		.restores_pipe = true,
		.new_session = true,
		.death_signal = SIGTERM,
		.nofile = {1024, 1024},
	};
	via->child.on_end = on_child_end;
	int result = child_start(&via->child, &via->children, &command, err);
	g_strfreev(argv);
	close(ends[1]);
	if (result < 0)
		close(ends[0]);
	fds[0] = fds[1] = ends[0];
	return result;
}

static int connect_unix(const char *path, int fds[2], struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, ENAMETOOLONG, "%s is too long a path", PARSE_QUOTED(path));
	memcpy(addr.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(err, errno, "%s", path);
	fds[0] = fds[1] = fd_take(&fd);
	return 0;
}

static int open_link(struct carrier *via, int fds[2], struct err *err)
{
	const char *text = via->start->config->via.link;

	if (strncmp(text, "exec:", 5) == 0)
		return start_command(via, text + 5, fds, err);
	if (strncmp(text, "unix:", 5) == 0)
		return connect_unix(text + 5, fds, err);
	if (via->fds[0] < 0)
		return err_set(err, EPIPE, "what was inherited cannot be opened again");
	memcpy(fds, via->fds, sizeof(via->fds));
	via->fds[0] = via->fds[1] = -1;
	return 0;
}

static void open_again(struct carrier *via)
{
	struct err err;
	int fds[2] = {-1, -1};

	if (open_link(via, fds, &err) < 0) {
		lost(via, err.text);
		return;
	}
	int result = entrance_open(via->entrance, fds[0], fds[1]);
	if (result < 0)
		lost(via, strerror(-result));
}

static void on_time(struct loop_timer *timer)
{
	open_again(container_of(timer, struct carrier, timer));
}

/* --- what the entrance says --------------------------------------------------------------- */

static void on_up(void *owner)
{
	struct carrier *via = owner;

	if (via->is_told)
		log_notice("the link of --via is back");
	via->is_told = false;
	via->was_up = true;
	via->up_ns = loop_now_ns(via->loop);
	close_noise(via);
}

static void on_down(void *owner, const char *why)
{
	struct carrier *via = owner;

	snprintf(via->down, sizeof(via->down), "%s", why ? why : "");
	if (via->child.pid != 0)
		loop_timer_set(via->loop, &via->end_timer, COMMAND_END_MS);
	else
		lost(via, why);
}

static void on_gone(void *owner)
{
	struct carrier *via = owner;

	log_warning("the network device via0 was deleted: nothing goes to the exit any more");
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
		if (info.ssi_signo == SIGCHLD)
			children_reap(&via->children);
		else
			loop_stop(via->loop, 0);
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

static int set_up(struct carrier *via)
{
	const struct sandbox_config *config = via->start->config;
	sigset_t signals;

	via->loop = loop_new();
	if (!via->loop)
		return -errno;
	children_init(&via->children, via->loop);
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	via->signal_io =
		(struct loop_io){signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC), on_signal};
	via->timer.on_expired = on_time;
	via->end_timer.on_expired = on_end_time;
	struct entrance_start start = {.loop = via->loop,
		.tun = via->start->tun,
		.nets = config->via.nets,
		.nnets = config->via.nnets,
		.own = via->own,
		.nown = list_own(config, via->own),
		.ops = &entrance_ops,
		.owner = via};
	via->entrance = entrance_new(&start);
	if (!via->entrance || via->signal_io.fd < 0)
		return -errno;
	return loop_io_add(via->loop, &via->signal_io, EPOLLIN);
}

static int keep_fds(struct carrier *via)
{
	const char *text = via->start->config->via.link;
	int keep[] = {via->start->tun, via->start->words->write_fd, -1, -1};
	struct err err;

	if (strncmp(text, "fd:", 3) == 0 && parse_fds(text + 3, via->fds, &err) == 0)
		memcpy(keep + 2, via->fds, sizeof(via->fds));
	return rights_keep_fds(keep, 4);
}

__attribute__((noreturn)) static void carry(const struct viaproc_start *start, pid_t parent)
{
	struct carrier via = {.start = start, .fds = {-1, -1}};

	prctl(PR_SET_NAME, "nswrap: via");
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(125);
	setsid(); /* signals to the job are not for us */
	job_leave_streams();
	words_speak(start->words);
	int result = keep_fds(&via);
	if (result == 0)
		result = set_up(&via);
	if (result == 0) {
		srandom((unsigned)(clock_now_ns() ^ (uint64_t)getpid()));
		open_again(&via);
		result = loop_run(via.loop);
	}
	if (result < 0)
		log_warning("the process of --via ends: %s", strerror(-result));
	via.is_ending = true;
	entrance_free(via.entrance);
	if (via.loop)
		children_end(&via.children, END_MS);
	_exit(result < 0 ? 125 : 0);
}

/* --- the supervisor's side ---------------------------------------------------------------- */

#define RESPAWN_MS 1000
#define STOP_MS    (END_MS + 1000)

int viaproc_start(struct viaproc *viaproc, struct err *err)
{
	const struct viaproc_start start = {viaproc->config, viaproc->tun, &viaproc->words};
	pid_t self = getpid();

	viaproc->pid = fork();
	if (viaproc->pid == 0)
		carry(&start, self);
	return viaproc->pid < 0 ? err_sys(err, errno, "cannot fork") : 0;
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

int viaproc_open(struct viaproc *viaproc, const struct sandbox_config *config, int tun,
	struct loop *loop, struct err *err)
{
	*viaproc = (struct viaproc){.config = config,
		.tun = tun,
		.loop = loop,
		.timer.on_expired = respawn,
		.words.write_fd = -1};
	return words_open(&viaproc->words, "link of --via", loop, err) < 0
		       ? -err->code
		       : viaproc_start(viaproc, err);
}

void viaproc_on_death(struct viaproc *viaproc)
{
	viaproc->pid = 0;
	if (viaproc->is_last)
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
		while (waitpid(viaproc->pid, NULL, WNOHANG) == 0)
			if (!clock_wait_go_on(&wait)) {
				tree_kill_child(viaproc->pid, STOP_MS);
				break;
			}
	}
	viaproc->pid = 0;
	words_close(&viaproc->words);
}
