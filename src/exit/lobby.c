/* SPDX-License-Identifier: Apache-2.0 */
/* exit/lobby - the links of an exit: each that is open has a process of its own */
#include "exit/lobby.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "conn/context.h"
#include "conn/names.h"
#include "control/owner.h"
#include "exit/portal.h"
#include "link/linkend.h"
#include "link/linkport.h"
#include "proc/child.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define END_MS  2000
#define FDS_MAX (4 * LOBBY_MAX)

struct lobby {
	const struct lobby_start *start;
	struct loop *loop;
	struct budget budget;
	struct conn_context context;
	struct loop_io signal_io;
	struct children children;
	struct linkport port;
	struct linkend end;
	struct list guests;
	size_t nguests;
	int status;                  /* of the last one */
	char why[LINKEND_WHY_BYTES]; /* was the link not there the last time */
	struct err *err;
};

/* An entrance, and the process that is its exit. */
struct guest {
	struct lobby *lobby;
	struct list link;
	struct child child;
	int fds[2];
};

/* --- a link that is open ------------------------------------------------------------------ */

/* In the process of its own. */
static int serve(void *told)
{
	const struct guest *guest = told;
	const struct portal_start start = {.expose = guest->lobby->start->expose,
		.in_fd = guest->fds[0],
		.out_fd = guest->fds[1],
		.ready_fd = -1};
	struct err err = {0};

	if (portal_run(&start, &err) == 0)
		return 0;
	log_warning("%s", err.text);
	return 1;
}

static void on_guest_end(struct child *child, const struct child_end *end)
{
	struct guest *guest = container_of(child, struct guest, child);
	struct lobby *lobby = guest->lobby;

	list_del(&guest->link);
	free(guest);
	lobby->nguests--;
	lobby->status = end->status;
	if (linkspec_listens(lobby->start->spec))
		linkport_mute(&lobby->port, false);
	else
		linkend_close(&lobby->end, NULL);
}

/* Both descriptors are closed here in any case. Returns 0 or -errno. */
static int receive(struct lobby *lobby, int in_fd, int out_fd)
{
	struct guest *guest = calloc(1, sizeof(*guest));
	struct command command = {.run = serve,
		.told = guest,
		.keep_fds = (int[]){in_fd, out_fd},
		.nkeep_fds = 2,
		.rights = COMMAND_KEEPS_ALL,
		.is_subreaper = true,
		.death_signal = SIGTERM};
	struct err err = {.code = ENOMEM};
	int result = -ENOMEM;

	getrlimit(RLIMIT_NOFILE, &command.nofile);
	if (guest) {
		*guest = (struct guest){
			.lobby = lobby, .child.on_end = on_guest_end, .fds = {in_fd, out_fd}};
		result = child_start(&guest->child, &lobby->children, &command, &err);
	}
	close(in_fd);
	if (out_fd != in_fd)
		close(out_fd);
	if (result < 0) {
		free(guest);
		log_warning("exit: an entrance cannot be served: %s", err.text);
		return result;
	}
	list_add_last(&lobby->guests, &guest->link);
	lobby->nguests++;
	return 0;
}

/* --- where it listens --------------------------------------------------------------------- */

static void on_link(struct linkport *port, int fd, const struct addr *peer)
{
	struct lobby *lobby = container_of(port, struct lobby, port);

	(void)peer;
	receive(lobby, fd, fd);
	if (lobby->nguests >= LOBBY_MAX)
		linkport_mute(port, true);
}

static void on_refused(struct linkport *port, const struct addr *peer, const char *why)
{
	char text[ADDR_TEXT_BYTES];

	(void)port;
	log_warning("exit: an entrance at %s is refused: %s",
		peer->family == AF_UNIX ? "the unix socket" : addr_format(peer, text, sizeof(text)),
		why);
}

/* --- any other link ----------------------------------------------------------------------- */

static void on_open(struct linkend *end, int in_fd, int out_fd)
{
	struct lobby *lobby = container_of(end, struct lobby, end);

	if (receive(lobby, in_fd, out_fd) < 0)
		linkend_close(end, "it cannot be served");
}

static void on_over(struct linkend *end)
{
	(void)end; /* whoever serves it reads it to its end */
}

static void on_closed(struct linkend *end, const char *why)
{
	struct lobby *lobby = container_of(end, struct lobby, end);

	if (!linkspec_is_once(end->spec)) {
		/* once for each reason, until it was there for a while */
		if (why[0] && (end->was_long || strcmp(why, lobby->why) != 0))
			log_warning("exit: the link: %s; trying again", why);
		snprintf(lobby->why, sizeof(lobby->why), "%s", why);
		linkend_again(end);
		return;
	}
	if (why[0] || lobby->status != 0)
		err_set(lobby->err, EPIPE, "exit: the link: %s", why[0] ? why : "it broke");
	loop_stop(lobby->loop, lobby->err->code ? -EPIPE : 0);
}

static const struct linkend_ops linkend_ops = {on_open, on_over, on_closed};

/* --- start and end ------------------------------------------------------------------------ */

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct lobby *lobby = container_of(io, struct lobby, signal_io);
	struct signalfd_siginfo info;

	(void)events;
	while (read(io->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			children_reap(&lobby->children);
		else
			loop_stop(lobby->loop, 0);
	}
}

static int open_signals(struct lobby *lobby, struct err *err)
{
	sigset_t signals;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	lobby->signal_io =
		(struct loop_io){signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC), on_signal};
	return lobby->signal_io.fd < 0 ? err_sys(err, errno, "cannot receive signals") : 0;
}

static int open_links(struct lobby *lobby, struct err *err)
{
	const struct lobby_start *start = lobby->start;

	lobby->port = (struct linkport){.context = &lobby->context,
		.key = start->key,
		.role = PROOF_ANSWERER,
		.purpose = LOBBY_PURPOSE,
		.on_link = on_link,
		.on_refused = on_refused,
		.bound = {.fd = -1, .dir_fd = -1}};
	if (linkspec_listens(start->spec)) {
		int opened = linkport_open(&lobby->port, start->spec, err);

		if (opened == -EADDRINUSE)
			owner_explain(&start->spec->addr, PROTO_TCP, err);
		return opened;
	}
	lobby->end = (struct linkend){.ops = &linkend_ops,
		.shares_terminal = true,
		.context = &lobby->context,
		.spec = start->spec,
		.children = &lobby->children,
		.key = start->key,
		.role = PROOF_ANSWERER,
		.purpose = LOBBY_PURPOSE};
	getrlimit(RLIMIT_NOFILE, &lobby->end.nofile);
	int result = linkend_init(&lobby->end, err);
	if (result == 0)
		linkend_start(&lobby->end);
	return result;
}

static int set_up(struct lobby *lobby, struct err *err)
{
	struct rlimit nofile;

	/* each guest's process would say so, and end: too late for who starts us */
	getrlimit(RLIMIT_NOFILE, &nofile);
	if (budget_check(nofile.rlim_max, 0, err) < 0)
		return -err->code;
	lobby->loop = loop_new();
	if (!lobby->loop)
		return err_sys(err, errno, "cannot make an event loop");
	lobby->budget.max = BUDGET_RESERVED + FDS_MAX;
	/* for links alone: nothing is relayed here, and there is no inside */
	lobby->context = (struct conn_context){
		.loop = lobby->loop, .budget = &lobby->budget, .names = names_new(lobby->loop)};
	int result = lobby->context.names ? loop_io_add(lobby->loop, &lobby->signal_io, EPOLLIN)
					  : -ENOMEM;
	if (result < 0)
		return err_sys(err, -result, "cannot set up the exit");
	children_init(&lobby->children, lobby->loop);
	return open_links(lobby, err);
}

int lobby_run(const struct lobby_start *start, struct err *err)
{
	struct lobby lobby = {.start = start, .err = err, .signal_io.fd = -1};

	*err = (struct err){0};
	list_init(&lobby.guests);
	int result = open_signals(&lobby, err);
	if (result == 0)
		result = set_up(&lobby, err);
	if (result == 0)
		result = loop_run(lobby.loop);
	linkport_close(&lobby.port);
	if (lobby.end.ops)
		linkend_fini(&lobby.end);
	if (lobby.children.loop)
		children_end(&lobby.children, END_MS);
	list_each_safe (at, following, &lobby.guests)
		free(container_of(at, struct guest, link));
	names_free(lobby.context.names);
	fd_close(&lobby.signal_io.fd);
	loop_free(lobby.loop);
	return result;
}
