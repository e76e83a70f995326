/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/manager - start the hosts of a mesh, route their packets, keep all of it running */
#include "mesh/manager/manager.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/control.h"
#include "control/server.h"
#include "mesh/manager/census.h"
#include "mesh/manager/chart.h"
#include "mesh/manager/desk.h"
#include "mesh/manager/display.h"
#include "mesh/manager/herald.h"
#include "mesh/manager/naming.h"
#include "mesh/manager/roster.h"
#include "mesh/manager/status.h"
#include "proc/job.h"
#include "proc/rights.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/loop.h"

#define FDS_MAX      65536
#define END_MS       1600 /* peers kill their commands after a second; then we do not wait longer */
#define STATUS_DOWN  1
#define ANSWER_BYTES (CONTROL_MESSAGE_MAX / 2) /* of errors and warnings; the rest is left out */

struct manager {
	const struct manager_config *config;
	struct loop *loop;
	struct display *display;
	struct desk desk;
	struct roster roster;
	struct census census;
	struct herald herald;
	struct loop_task check; /* after something changed: what follows from it? */
	struct loop_io signal_io;
	struct loop_timer end_timer;
	bool is_ending, was_complete;
	int status;
	time_t started;
	json_t *errors, *warnings; /* of the manifest that is being read again */
	size_t answer_bytes;       /* of them */
	bool is_cut[2];            /* something is left out: of the warnings, of the errors */
	struct server server;      /* its name is the mesh's */
	char *scope;               /* of its identities, which a moved manifest does not change */
};

/* --- what follows from the states of all hosts ---------------------------------------------- */

/* They run for the first time, and nobody knows yet what becomes of it. */
static size_t count_untried(const struct manager *manager)
{
	size_t count = census_is_complete(&manager->census) ? 0 : 1;

	for (size_t i = 0; i < manager->roster.manifest.nhosts; i++) {
		const struct peer *peer = manager->roster.peers[i];

		count += peer->state != PEER_READY && peer->restarts == 0 &&
			 peer->reason[0] == '\0' && peer->state != PEER_DOWN;
	}
	return count;
}

/* Once a round in which one of them changed. */
static void on_check(struct loop_task *task)
{
	struct manager *manager = container_of(task, struct manager, check);
	size_t counts[PEER_STATES], nhosts = manager->roster.manifest.nhosts;

	roster_tell_news(&manager->roster);
	bool is_any_leaving = roster_sweep(&manager->roster, counts);
	if (!manager->is_ending)
		herald_tell_hosts(
			&manager->herald, counts[PEER_READY], nhosts, count_untried(manager));
	if (nhosts > 0 && counts[PEER_READY] == nhosts && !manager->was_complete &&
		census_is_complete(&manager->census)) {
		manager->was_complete = true;
		display_say(manager->display, LOG_NOTICE, "all %zu hosts of %s are ready", nhosts,
			manager->server.entry.name);
	}
	if (is_any_leaving || counts[PEER_DOWN] < nhosts)
		return;
	/* a list may have others the next time */
	if (!manager->is_ending && manager->census.base.ncrowds > 0)
		return;
	if (!manager->is_ending) {
		display_say(manager->display, LOG_ERROR,
			"no host is left, and none is to be started again");
		manager->status = STATUS_DOWN;
	}
	loop_stop(manager->loop, 0);
}

static void on_end_time(struct loop_timer *timer)
{
	loop_stop(container_of(timer, struct manager, end_timer)->loop, 0);
}

/* Let everything end; the second time by SIGKILL. */
static void stop(struct manager *manager)
{
	desk_close(&manager->desk);
	if (!manager->is_ending)
		herald_tell_end(&manager->herald);
	census_stop(&manager->census);
	roster_stop(&manager->roster, manager->is_ending);
	if (!manager->is_ending)
		loop_timer_set(manager->loop, &manager->end_timer, END_MS);
	manager->is_ending = true;
	loop_task_add(manager->loop, &manager->check);
}

/* --- reload --------------------------------------------------------------------------------- */

/* Every error and warning is told, and is in the answer as far as that has room. */
static void on_report(void *told, enum manifest_weight weight, const char *line)
{
	struct manager *manager = told;
	bool is_error = weight == MANIFEST_ERROR;
	json_t *list = is_error ? manager->errors : manager->warnings, *text = control_text(line);

	display_say(manager->display, is_error ? LOG_ERROR : LOG_WARNING, "%s", line);
	manager->answer_bytes += json_dumpb(text, NULL, 0, JSON_ENCODE_ANY) + sizeof(", ");
	if (manager->answer_bytes <= ANSWER_BYTES) {
		json_array_append_new(list, text);
		return;
	}
	json_decref(text);
	if (!manager->is_cut[is_error])
		json_array_append_new(
			list, json_string("more is left out here: nswrap mesh --check shows all"));
	manager->is_cut[is_error] = true;
}

static void on_error(struct manager *manager, const char *text)
{
	on_report(manager, MANIFEST_ERROR, text);
}

/* Hosts have come or gone. @hosts is taken over. */
static int follow_hosts(struct manager *manager, struct manifest *hosts, struct err *err)
{
	int result = roster_follow(&manager->roster, hosts);

	if (result < 0) {
		manifest_free(hosts);
		return err_sys(err, -result, "cannot follow who is there");
	}
	manager->was_complete = false;
	loop_task_add(manager->loop, &manager->check);
	return 0;
}

static int follow(struct manager *manager)
{
	struct manifest after = {0}, hosts;
	struct err err = {0};
	int result = manifest_read(manager->config->path, &after, on_report, manager);

	if (result < 0)
		return result;
	result = census_follow(&manager->census, &after, &hosts, &err);
	if (result == 0)
		result = follow_hosts(manager, &hosts, &err);
	if (result < 0) {
		on_error(manager, err.text);
		manifest_free(&after);
		return result;
	}
	naming_note(manager->config->path, &manager->census.base, &manager->server.entry);
	roster_retry(&manager->roster);
	census_ask(&manager->census);
	return 0;
}

/* To open a pipe again could be for ever, and nothing would go on. */
static bool is_read_once(const char *path)
{
	struct stat info;

	return strcmp(path, "-") == 0 || (stat(path, &info) == 0 && !S_ISREG(info.st_mode));
}

/* Read the manifest again and follow it, or change nothing. Returns the answer. */
static json_t *reload(struct manager *manager)
{
	const char *path = manager->config->path;

	manager->errors = json_array();
	manager->warnings = json_array();
	manager->answer_bytes = 0;
	manager->is_cut[0] = manager->is_cut[1] = false;
	herald_tell_reload(&manager->herald);
	if (manager->is_ending)
		on_error(manager, "it is ending");
	else if (is_read_once(path))
		on_error(manager, "the manifest is no file: it cannot be read again");
	else
		display_say(manager->display, LOG_NOTICE,
			follow(manager) < 0 ? "%s is not followed" : "%s was read again", path);
	herald_tell_reloaded(&manager->herald);
	return json_pack("{s:b, s:I, s:o, s:o}", "ok", 1, "hosts",
		(json_int_t)manager->roster.manifest.nhosts, "errors", manager->errors, "warnings",
		manager->warnings);
}

/* --- lists of hosts ------------------------------------------------------------------------- */

static int on_list(void *owner, struct err *err)
{
	struct manager *manager = owner;
	struct manifest hosts;
	int result = census_hosts(&manager->census, &hosts, err);

	return result < 0 ? result : follow_hosts(manager, &hosts, err);
}

static void on_list_notice(void *owner, enum log_level level, const char *text)
{
	display_say(((struct manager *)owner)->display, level, "%s", text);
}

static const struct census_ops census_ops = {on_list, on_list_notice};

/* --- the name, and what is asked ------------------------------------------------------------ */

static json_t *on_request(struct server_client *client, json_t *request, struct err *err)
{
	struct manager *manager = client->server->owner;
	const char *op = json_string_value(json_object_get(request, "op"));
	json_int_t from = json_integer_value(json_object_get(request, "from"));

	if (!op) {
		err_set(err, EINVAL, "a question is an object with a text \"op\"");
		return NULL;
	}
	if (strcmp(op, "status") == 0)
		return status_json(&manager->roster, &manager->census, manager->server.entry.name,
			manager->config->path, manager->started,
			from < 0 ? SIZE_MAX : (size_t)from);
	if (strcmp(op, "graph") == 0)
		return chart_json(&manager->roster, manager->server.entry.name,
			from < 0 ? SIZE_MAX : (size_t)from);
	if (strcmp(op, "reload") == 0)
		return reload(manager);
	if (strcmp(op, "stop") == 0) {
		stop(manager);
		return json_pack("{s:b}", "ok", 1);
	}
	err_set(err, EINVAL, "unknown op");
	return NULL;
}

static const struct server_rules rules = {
	.clients_max = 32,
	.strangers = "it is not for another user or for a sandbox",
	.on_request = on_request,
};

static int open_control(struct manager *manager, struct err *err)
{
	int result = naming_reserve(manager->config->path, manager->config->name,
		&manager->census.base, &manager->server.entry, err);

	if (result < 0)
		return result;
	return server_open(&manager->server, manager->loop, &rules, manager, err);
}

/* --- signals -------------------------------------------------------------------------------- */

/* As if we had not looked at it: only where somebody can continue us, termios(3). */
static void be_stopped(struct manager *manager)
{
	sigset_t set;

	desk_suspend(&manager->desk);
	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	raise(SIGTSTP);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	sigprocmask(SIG_BLOCK, &set, NULL);
	desk_resume(&manager->desk);
}

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct manager *manager = container_of(io, struct manager, signal_io);
	struct signalfd_siginfo info;

	(void)events;
	/* SIGINT is handled before the end of those whom it ended, too: it woke the loop earlier */
	while (read(io->fd, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			children_reap(&manager->roster.children);
			break;
		case SIGCONT:
			display_begin_anew(manager->display);
			desk_resume(&manager->desk);
			break;
		case SIGTSTP:
			be_stopped(manager);
			break;
		case SIGWINCH:
			display_change(manager->display);
			break;
		case SIGHUP:
			if (display_is_hung_up(manager->display))
				stop(manager);
			else
				json_decref(reload(manager));
			break;
		case SIGINT:
		case SIGTERM:
			stop(manager);
			break;
		default: /* SIGTTOU, SIGTTIN: blocked, so that the terminal does not stop us */
			break;
		}
	}
}

static int open_signals(struct manager *manager, struct err *err)
{
	static const int wanted[] = {
		SIGHUP, SIGINT, SIGTERM, SIGCHLD, SIGCONT, SIGTSTP, SIGWINCH, SIGTTOU, SIGTTIN};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		sigaddset(&set, wanted[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	manager->signal_io =
		(struct loop_io){signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), on_signal};
	if (manager->signal_io.fd < 0)
		return err_sys(err, errno, "cannot receive signals");
	int result = loop_io_add(manager->loop, &manager->signal_io, EPOLLIN);
	return result < 0 ? err_sys(err, -result, "cannot watch signals") : 0;
}

/* --- start and end -------------------------------------------------------------------------- */

static int start(struct manager *manager, struct manifest *manifest, struct err *err)
{
	struct roster *roster = &manager->roster;
	struct rlimit nofile;

	getrlimit(RLIMIT_NOFILE, &nofile);
	rights_raise_fd_limit(FDS_MAX);
	manager->loop = loop_new();
	manager->display = manager->loop ? display_new(manager->loop, status_row, roster) : NULL;
	if (!manager->display)
		return err_sys(err, errno, "cannot make an event loop");
	int result = open_signals(manager, err);
	if (result < 0)
		return result;
	roster->loop = manager->loop;
	desk_open(&manager->desk, manager->loop, manager->display);
	roster->display = manager->display;
	roster->desk = &manager->desk;
	roster->check = &manager->check;
	roster->agent_files = manager->config->agent_files;
	manager->census.loop = manager->loop;
	manager->census.children = &roster->children;
	manager->census.nofile = nofile;
	struct manifest hosts;
	result = census_follow(&manager->census, manifest, &hosts, err);
	if (result < 0)
		return result;
	result = roster_init(roster, &hosts, &nofile);
	manifest_free(&hosts); /* when it was not taken over */
	if (result < 0)
		return err_sys(err, -result, "cannot start");
	result = open_control(manager, err);
	if (result < 0)
		return result;
	roster->scope = manager->scope =
		naming_scope(manager->config->path, manager->server.entry.name);
	if (!manager->scope)
		return err_sys(err, ENOMEM, "cannot start");
	job_leave_streams();
	herald_begin(&manager->herald, manager->loop);
	display_rows(manager->display, roster->manifest.nhosts);
	roster_start(roster);
	census_ask(&manager->census);
	return 0;
}

static void take_down(struct manager *manager)
{
	desk_close(&manager->desk);
	herald_end(&manager->herald);
	census_fini(&manager->census);
	roster_end(&manager->roster);
	display_leave_rows(manager->display);
	roster_fini(&manager->roster); /* what is read then of who had not ended is shown, too */
	display_free(manager->display);
	free(manager->scope);
	server_close(&manager->server);
	fd_close(&manager->signal_io.fd);
	loop_free(manager->loop);
}

int manager_run(const struct manager_config *config, struct manifest *manifest, int *status,
	struct err *err)
{
	struct manager manager = {
		.config = config,
		.census.ops = &census_ops,
		.check.on_run = on_check,
		.end_timer.on_expired = on_end_time,
		.signal_io.fd = -1,
		.desk.io.fd = -1,
		.started = time(NULL),
	};

	server_init(&manager.server);
	manager.census.owner = &manager;
	int result = start(&manager, manifest, err);
	if (result == 0)
		result = loop_run(manager.loop);
	take_down(&manager);
	manifest_free(manifest); /* when it was not taken over */
	*status = manager.status;
	return result < 0 && err->code == 0 ? err_sys(err, -result, "the event loop failed")
					    : result;
}
