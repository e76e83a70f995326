/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/own - the sandbox of its own that a manager has an agent make, for a command of the manifest
 */
#include "cmd/own.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/run_options.h"
#include "cmd/start.h"
#include "control/control.h"
#include "control/tenant.h"
#include "mesh/configure.h"
#include "mesh/message.h"
#include "sandbox/detach.h"
#include "sandbox/lodger.h"
#include "sandbox/program.h"
#include "sandbox/supervisor.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"

#define LINK_STOP_MS 500  /* a manager wants all gone a second after it closed the link */
#define KEPT_STOP_MS 3000 /* of one that another is to take the place of */
#define KEPT_END_MS  4000 /* then; a manager waits for an answer for 10 s in all */
#define TELL_MS      1000
#define KEPT_MAX     1024
#define PREFIX_BYTES 24

/* --- options ------------------------------------------------------------------------------ */

/* Those that say something about the command and its surroundings, wherever it is started from. */
static bool is_for_managers(const char *word)
{
	static const char *const names[] = {"chdir", "cidr", "cidr6", "dns", "env", "host-loopback",
		"mtu", "network", "new-session", "no-dns", "no-hold", "no-ipv6", "outbound-addr",
		"pid", "reverse", "root", "stop-timeout", "unattended", "unset-env", "wait-all",
		NULL};

	for (const char *const *name = names; *name; name++) {
		size_t len = strlen(*name);

		if (strncmp(word, "--", 2) == 0 && strncmp(word + 2, *name, len) == 0 &&
			(word[2 + len] == '=' || word[2 + len] == '\0'))
			return true;
	}
	return false;
}

/* The texts stay @sandbox's. */
static int read_options(
	const struct mesh_sandbox *sandbox, struct run_options *options, struct err *err)
{
	static char name[] = "sandbox";
	size_t count = sandbox->options ? g_strv_length(sandbox->options) : 0;
	char **argv = g_new0(char *, count + 2);

	argv[0] = name;
	int result = 0;
	for (size_t i = 0; result == 0 && i < count; i++) {
		argv[i + 1] = sandbox->options[i];
		if (!is_for_managers(argv[i + 1]))
			result = err_set(err, EINVAL, "%s: no option that a manifest may give",
				PARSE_QUOTED(argv[i + 1]));
	}
	if (result == 0)
		result = option_parse(run_options_table, (int)count + 1, argv, options, err);
	/* a value in a word of its own would be an operand */
	if (result >= 0 && result < (int)count + 1)
		result = err_set(
			err, EINVAL, "%s: expected options only", PARSE_QUOTED(argv[result]));
	g_free(argv);
	if (result < 0)
		return result;
	options->config.command = sandbox->command;
	options->config.guest_port = sandbox->guest_port;
	return program_check(sandbox->command, 0, sandbox->guest_port, err);
}

int own_check(const struct mesh_sandbox *sandbox, struct err *err)
{
	struct run_options *options = run_options_new();
	int result = read_options(sandbox, options, err);

	run_options_free(options);
	return result < 0 ? result : 0;
}

/* --- the manager ---------------------------------------------------------------------------- */

/* The last word on the link, whose agent has ended. -errno: nobody hears it. */
static int tell_ended(int link_fd, int status, const struct err *err)
{
	struct message event = {.type = MESSAGE_EVENT, .op = "ended"};
	struct message_ended ended = {.status = (uint16_t)status};

	if (err->code != 0)
		snprintf(ended.reason, sizeof(ended.reason), "%.250s", err->text);
	event.data = message_encode_ended(&ended);
	signal(SIGPIPE, SIG_IGN);
	return message_tell(link_fd, &event, TELL_MS);
}

static int take_streams(const struct handover *handover)
{
	return dup2(handover->in_fd, STDIN_FILENO) < 0 || dup2(handover->out_fd, STDOUT_FILENO) < 0
		       ? -errno
		       : 0;
}

/* --- those that were kept ------------------------------------------------------------------- */

/* "mesh-0123456789ab-": what the names of a host's begin with; all of a mesh's begin alike
 * (control/tenant), but do not end so. */
static void make_prefix(const struct handover *handover, char prefix[PREFIX_BYTES])
{
	const char *identity = handover->greeting.identity;
	const size_t len = strlen(identity);

	snprintf(prefix, PREFIX_BYTES, "mesh-%.12s-", len > 12 ? identity + len - 12 : identity);
}

/* A sandbox is the same one if all that is asked for is. FNV-1a. */
static uint64_t digest_of(const struct mesh_sandbox *sandbox)
{
	const struct mesh_config config = {.sandbox = *sandbox};
	json_t *json = configure_encode(&config, ~0U);
	char *text = json ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	uint64_t digest = 0xcbf29ce484222325;

	for (const char *at = text; at && *at; at++)
		digest = (digest ^ (unsigned char)*at) * 0x100000001b3;
	free(text);
	json_decref(json);
	return digest;
}

/* Takes @sock over; its end is that of the sandbox. */
static void end_sandbox(int sock)
{
	cmd_wake(sock);
	control_send(
		sock, json_pack("{s:s, s:i}", "op", "stop", "timeout_ms", KEPT_STOP_MS), NULL, 0);
	if (!cmd_await_end(sock, KEPT_STOP_MS + KEPT_END_MS))
		log_warning("it does not end, and is left behind");
	close(sock);
}

/* End all that are kept for this host but @but (NULL: none). Returns 0 or -errno with @err. */
static int end_kept(const struct handover *handover, const char *but, struct err *err)
{
	struct registry_found *found = calloc(KEPT_MAX, sizeof(*found));
	struct registry *registry = calloc(1, sizeof(*registry));
	char prefix[PREFIX_BYTES];
	int result = found && registry ? registry_open(REGISTRY_SANDBOX, registry, err)
				       : err_sys(err, ENOMEM, "cannot look for sandboxes");

	make_prefix(handover, prefix);
	ssize_t count = result == 0 ? registry_list(registry, found, KEPT_MAX) : 0;
	for (ssize_t i = 0; i < count; i++) {
		if (strncmp(found[i].name, prefix, strlen(prefix)) != 0 ||
			(but && strcmp(found[i].name, but) == 0))
			continue;
		struct err why;
		int sock = registry_connect_found(registry, &found[i], &why);
		if (sock < 0)
			continue; /* it has ended since, or is none of ours */
		log_notice("the sandbox that was kept, %s, is another one than is wanted now, and "
			   "is ended",
			found[i].name);
		end_sandbox(sock);
	}
	if (result == 0)
		registry_close(registry);
	free(registry);
	free(found);
	return result;
}

/* Start @name in the background. Returns 0, or -errno with @err; *@status is that of a command
 * that could not be executed. */
static int start_kept(
	const struct handover *handover, const char *name, int *status, struct err *err)
{
	struct run_options *options = run_options_new();
	struct detach *detach = g_new0(struct detach, 1);

	*status = 0;
	int result = read_options(&handover->config.sandbox, options, err);
	if (result == 0)
		result = start_settle(options, err);
	if (result == 0) {
		options->config.name = name;
		options->config.detach = detach;
		detach->is_kept = true;
		result = detach_start(detach, NULL, 0, status, err);
	}
	if (result == DETACH_SUPERVISOR) {
		prctl(PR_SET_NAME, "nswrap");
		result = supervisor_run(&options->config, status, err);
		*status = result < 0 ? cmd_failed(err) : *status;
		detach_finish(detach, *status);
		_exit(*status);
	}
	run_options_free(options);
	g_free(detach);
	return result < 0 ? result : 0;
}

/*
 * Connect to the sandbox @name, or start it. Returns a descriptor; 0 if its command has ended, with
 * *@status: while nobody was there to hear of it, or at once; or -errno with @err.
 */
static int find_or_start(const struct handover *handover, const char *name, int *status,
	bool *is_new, struct err *err)
{
	struct err none;
	int sock = cmd_connect(REGISTRY_SANDBOX, name, &none);

	*is_new = sock < 0;
	if (sock >= 0)
		return sock;
	if (lodger_was_missed(name, status))
		return 0;
	int result = start_kept(handover, name, status, err);
	if (result < 0 || *status != 0)
		return result;
	sock = cmd_connect(REGISTRY_SANDBOX, name, err);
	if (sock == -ENOENT && lodger_was_missed(name, status))
		return 0;
	return sock;
}

/* Returns as run_here. */
static int run_kept(struct handover *handover, const char *name,
	int (*serve)(void *greeting, int names), int left, int *status, struct err *err)
{
	struct lodger_end end;
	bool is_new;
	int result = end_kept(handover, name, err);
	if (result < 0)
		return result;
	int sock = find_or_start(handover, name, status, &is_new, err);
	if (sock <= 0)
		return sock;
	const struct lodger_start start = {
		.name = name,
		.control = sock,
		.is_new = is_new,
		.companion = {.name = "agent", .run = serve, .told = &handover->greeting},
	};
	result = lodger_run(&start, &end, err);
	if (result < 0)
		return result;
	*status = end.status;
	if (end.has_left && end.code == left) {
		sock = cmd_connect(REGISTRY_SANDBOX, name, err);
		if (sock >= 0)
			end_sandbox(sock);
		lodger_note_told(name);
	}
	return end.has_left ? 1 : 0;
}

static void make_name(const struct handover *handover, char name[REGISTRY_NAME_MAX + 1])
{
	char prefix[PREFIX_BYTES];

	make_prefix(handover, prefix);
	snprintf(name, REGISTRY_NAME_MAX + 1, "%s%08x", prefix,
		(unsigned)digest_of(&handover->config.sandbox));
}

/* --- one for this link ---------------------------------------------------------------------- */

/* Returns 0 with the command's *@status, 1 if the link has ended first, or -errno with @err. */
static int run_here(struct handover *handover, int (*serve)(void *greeting, int names), int *status,
	struct err *err)
{
	struct run_options *options = run_options_new();
	bool was_first = false;
	int result = read_options(&handover->config.sandbox, options, err);

	if (result == 0)
		result = end_kept(handover, NULL, err);
	if (result == 0)
		result = start_settle(options, err);
	if (result == 0) {
		if (!options->has_stop_timeout)
			options->config.stop_timeout_ms = LINK_STOP_MS;
		options->config.companion = (struct sandbox_companion){.name = "agent",
			.run = serve,
			.told = &handover->greeting,
			.was_first = &was_first};
		result = supervisor_run(&options->config, status, err);
	}
	run_options_free(options);
	return result < 0 ? result : was_first;
}

const bool own_is_here = true;

int own_run(struct handover *handover, int (*serve)(void *greeting, int names), int left)
{
	bool is_kept = handover->config.sandbox.keep;
	struct tenant tenant = {.listen_fd = -1};
	struct err err = {0}, reason = {0};
	char name[REGISTRY_NAME_MAX + 1];
	int status = 0;

	prctl(PR_SET_NAME, "nswrap");
	make_name(handover, name);
	int result = take_streams(handover);
	if (result < 0)
		err_sys(&err, -result, "cannot take the link over");
	else if (tenant_claim(&tenant, is_kept ? TENANT_AGENT : TENANT_SANDBOX,
			 handover->greeting.identity, &reason) < 0)
		log_warning("agents of this host are not taken over from: %s", reason.text);
	fd_close(&handover->in_fd);
	if (result == 0)
		result = is_kept ? run_kept(handover, name, serve, left, &status, &err)
				 : run_here(handover, serve, &status, &err);
	if (result < 0)
		status = cmd_failed(&err);
	else if (err.code != 0)
		log_error("%s", err.text);
	if (result <= 0 && tell_ended(handover->out_fd, status, &err) >= 0 && is_kept)
		lodger_note_told(name);
	tenant_end(&tenant);
	return status;
}
