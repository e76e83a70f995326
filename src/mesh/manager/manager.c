/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/manager - start the hosts of a mesh, route their packets, keep all of it running */
#include "mesh/manager/manager.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "mesh/manager/manager_parts.h"
#include "proc/job.h"
#include "proc/rights.h"
#include "util/fd.h"

#define FDS_MAX     65536
#define END_MS      1600 /* peers kill their commands after a second; then we do not wait longer */
#define LINE_BYTES  1024
#define STATUS_DOWN 1

#define manager_of(ptr, member) ((struct manager *)((char *)(ptr)-offsetof(struct manager, member)))

/* --- lines -------------------------------------------------------------------------------- */

void manager_say(struct manager *manager, enum log_level level, const char *format, ...)
{
	char line[LINE_BYTES] = "nswrap: ";
	size_t prefix = strlen(line);
	va_list args;

	if (!log_wants(level))
		return;
	va_start(args, format);
	vsnprintf(line + prefix, sizeof(line) - prefix, format, args);
	va_end(args);
	display_line(manager->display, line, strlen(line));
}

static void on_notice(struct peer *peer, enum log_level level, const char *text)
{
	manager_say(peer->context->owner, level, "%s: %s", peer->name, text);
}

static void on_stderr(struct peer *peer, const char *text, size_t len)
{
	struct manager *manager = peer->context->owner;
	char line[LINE_BYTES];
	int name_len = snprintf(line, sizeof(line), "%.256s: ", peer->name);

	if (!log_wants(LOG_WARNING))
		return;
	if (len > sizeof(line) - (size_t)name_len)
		len = sizeof(line) - (size_t)name_len;
	memcpy(line + name_len, text, len);
	display_line(manager->display, line, (size_t)name_len + len);
}

/* --- peers -------------------------------------------------------------------------------- */

static void on_change(struct peer *peer)
{
	struct manager *manager = peer->context->owner;

	loop_task_add(manager->loop, &manager->check);
	display_change(manager->display);
}

static int configure(struct peer *peer, struct mesh_config *out)
{
	struct manager *manager = peer->context->owner;

	return manifest_configure(&manager->manifest, (size_t)peer->number, out);
}

/*
 * Only by way of another host by which the manifest has names looked up: no agent may draw to
 * itself what was not meant for it.
 */
static void on_suggestion(
	struct peer *peer, const struct in_addr *ips, size_t count, struct in_addr via)
{
	struct manager *manager = peer->context->owner;
	const struct manifest *manifest = &manager->manifest;
	bool is_via = false;

	for (size_t i = 0; i < manifest->nroutes; i++)
		is_via = is_via || (manifest->routes[i].globs &&
					   manifest->routes[i].via.s_addr == via.s_addr);
	is_via = is_via && peer->host && peer->host->vip.s_addr != via.s_addr;
	for (size_t i = 0; is_via && i < count; i++)
		router_suggest(manager->router, ips[i], via);
}

static const struct peer_ops peer_ops = {
	.on_packet = route_packet,
	.on_round_end = route_round_end,
	.on_change = on_change,
	.on_notice = on_notice,
	.on_stderr = on_stderr,
	.on_suggestion = on_suggestion,
	.configure = configure,
};

/* Free those that have left; are there others? */
static bool is_any_leaving(struct manager *manager)
{
	struct peer **at = &manager->leaving;

	while (*at) {
		struct peer *peer = *at;

		if (peer->state != PEER_DOWN) {
			at = &peer->next;
			continue;
		}
		*at = peer->next;
		peer_free(peer);
	}
	return manager->leaving;
}

/* What follows from the states of all peers, once a round in which one of them changed. */
static void on_check(struct loop_task *task)
{
	struct manager *manager = manager_of(task, check);
	size_t counts[PEER_WAITING + 1] = {0}, nhosts = manager->manifest.nhosts;

	for (size_t i = 0; i < nhosts; i++)
		counts[manager->peers[i]->state]++;
	display_hold(manager->display, counts[PEER_STARTING] > 0);
	if (counts[PEER_READY] == nhosts && !manager->was_complete) {
		manager->was_complete = true;
		manager_say(manager, LOG_NOTICE, "all %zu hosts of %s are ready", nhosts,
			manager->server.entry.name);
	}
	if (is_any_leaving(manager) || counts[PEER_DOWN] < nhosts)
		return;
	if (!manager->is_ending) {
		manager_say(manager, LOG_ERROR, "no host is left, and none is to be started again");
		manager->status = STATUS_DOWN;
	}
	loop_stop(manager->loop, 0);
}

static void on_end_time(struct loop_timer *timer)
{
	loop_stop(manager_of(timer, end_timer)->loop, 0);
}

void manager_stop(struct manager *manager)
{
	for (size_t i = 0; i < manager->manifest.nhosts; i++)
		if (manager->is_ending)
			peer_kill(manager->peers[i]);
		else
			peer_stop(manager->peers[i]);
	for (struct peer *peer = manager->leaving; peer && manager->is_ending; peer = peer->next)
		peer_kill(peer);
	if (!manager->is_ending)
		loop_timer_set(manager->loop, &manager->end_timer, END_MS);
	manager->is_ending = true;
	loop_task_add(manager->loop, &manager->check);
}

/* --- signals ------------------------------------------------------------------------------ */

static void reload(struct manager *manager)
{
	json_t *errors = json_array();

	manager_reload(manager, errors);
	json_decref(errors);
}

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct manager *manager = manager_of(io, signal_io);
	struct signalfd_siginfo info;

	(void)events;
	/* the lowest number comes first: SIGINT before the SIGCHLD of those whom it ended, too */
	while (read(io->fd, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			children_reap(manager);
			break;
		case SIGCONT:
			display_begin_anew(manager->display);
			break;
		case SIGWINCH:
			display_change(manager->display);
			break;
		case SIGHUP:
			if (!display_is_hung_up(manager->display)) {
				reload(manager);
				break;
			}
			manager_stop(manager);
			break;
		case SIGINT:
		case SIGTERM:
			manager_stop(manager);
			break;
		default: /* SIGTTOU: blocked, so that writing to the terminal does not stop us */
			break;
		}
	}
}

static int open_signals(struct manager *manager, struct err *err)
{
	static const int wanted[] = {SIGHUP, SIGINT, SIGTERM, SIGCHLD, SIGCONT, SIGWINCH, SIGTTOU};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		sigaddset(&set, wanted[i]);
	sigprocmask(SIG_BLOCK, &set, &manager->original_mask);
	signal(SIGPIPE, SIG_IGN);
	manager->signal_io =
		(struct loop_io){signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), on_signal};
	if (manager->signal_io.fd < 0)
		return err_sys(err, errno, "cannot receive signals");
	int result = loop_io_add(manager->loop, &manager->signal_io, EPOLLIN);
	return result < 0 ? err_sys(err, -result, "cannot watch signals") : 0;
}

/* --- start and end ------------------------------------------------------------------------ */

static int make_peers(struct manager *manager, struct err *err)
{
	const struct manifest *manifest = &manager->manifest;

	manager->router = router_new(manifest);
	manager->peers = calloc(manifest->nhosts + 1, sizeof(struct peer *));
	if (!manager->router || !manager->peers)
		return err_sys(err, ENOMEM, "cannot start");
	for (size_t i = 0; i < manifest->nhosts; i++) {
		manager->peers[i] = peer_new(&manager->context, &manifest->hosts[i], (int)i);
		if (!manager->peers[i])
			return err_sys(err, ENOMEM, "cannot start");
	}
	return 0;
}

static int start(struct manager *manager, struct err *err)
{
	children_inherit(manager);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	getrlimit(RLIMIT_NOFILE, &manager->context.nofile);
	rights_raise_fd_limit(FDS_MAX);
	manager->loop = loop_new();
	manager->context.loop = manager->loop;
	manager->context.hub = manager->loop ? wire_hub_new(manager->loop) : NULL;
	manager->display = manager->loop ? display_new(manager->loop, status_row, manager) : NULL;
	if (!manager->context.hub || !manager->display)
		return err_sys(err, errno, "cannot make an event loop");
	int result = open_signals(manager, err);
	if (result == 0)
		result = make_peers(manager, err);
	if (result == 0)
		result = mesh_control_open(manager, err);
	if (result < 0)
		return result;
	job_leave_streams();
	display_rows(manager->display, manager->manifest.nhosts);
	for (size_t i = 0; i < manager->manifest.nhosts; i++)
		peer_start(manager->peers[i]);
	return 0;
}

static void take_down(struct manager *manager)
{
	if (manager->peers)
		children_end(manager);
	display_free(manager->display);
	for (size_t i = 0; manager->peers && i < manager->manifest.nhosts; i++)
		peer_free(manager->peers[i]);
	while (manager->leaving) {
		struct peer *peer = manager->leaving;

		manager->leaving = peer->next;
		peer_free(peer);
	}
	free(manager->peers);
	router_free(manager->router);
	server_close(&manager->server);
	wire_hub_free(manager->context.hub);
	fd_close(&manager->signal_io.fd);
	loop_free(manager->loop);
	manifest_free(&manager->manifest);
	sigprocmask(SIG_SETMASK, &manager->original_mask, NULL);
}

int manager_run(const struct manager_config *config, struct manifest *manifest, int *status,
	struct err *err)
{
	struct manager manager = {
		.config = config,
		.manifest = *manifest,
		.context = {.ops = &peer_ops},
		.check.on_run = on_check,
		.end_timer.on_expired = on_end_time,
		.signal_io.fd = -1,
		.started = time(NULL),
	};

	*manifest = (struct manifest){0};
	server_init(&manager.server);
	manager.context.owner = &manager;
	sigprocmask(SIG_SETMASK, NULL, &manager.original_mask);
	int result = start(&manager, err);
	if (result == 0)
		result = loop_run(manager.loop);
	take_down(&manager);
	*status = manager.status;
	return result < 0 && err->code == 0 ? err_sys(err, -result, "the event loop failed")
					    : result;
}
