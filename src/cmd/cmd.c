/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/cmd - what a subcommand is, and what all of them say alike */
#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/control.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"

#define FOUND_MAX 1024
#define STATUS_MS 1000 /* for all of them together */

void cmd_begin(void)
{
	int fd;

	/* a descriptor of ours under one of these numbers would be taken for a stream; whoever
	 * writes there is told that nobody hears it: we, for which O_PATH is as good as closed, and
	 * COMMAND, which has it closed, as it would without us */
	do
		fd = open("/dev/null", O_PATH | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	log_look();
	/* ignored, it would stay so through exec(2): no child's end could be waited for */
	signal(SIGCHLD, SIG_DFL);
}

const struct subcommand *cmd_find(const struct subcommand *const *all, const char *name)
{
	for (; *all; all++)
		if (strcmp((*all)->name, name) == 0)
			return *all;
	return NULL;
}

int cmd_operands(const struct option_def *table, const struct option_habit *habits,
	const struct cmd_call *call, void *target, char **operands, size_t max, struct err *err)
{
	char **argv = call->argv;
	size_t count = 0;
	bool all_operands = false;

	for (int at = 0; at < call->argc;) {
		/* the word before the slice stands in the place of argv[0] */
		int next = all_operands ? 1
					: option_parse_with(table, habits, call->argc - at,
						  argv + at, target, err);

		if (next < 0)
			return -EINVAL;
		all_operands = all_operands || (next > 1 && strcmp(argv[at + next - 1], "--") == 0);
		at += next;
		if (at >= call->argc)
			break;
		if (count == max)
			return err_set(
				err, EINVAL, "%s: expected nothing here", PARSE_QUOTED(argv[at]));
		operands[count++] = argv[at];
	}
	return (int)count;
}

int cmd_usage_error(const struct err *err)
{
	if (err->code == ECANCELED)
		return CMD_HELP;
	log_error("%s", err->text);
	return EXIT_USAGE;
}

int cmd_failed(const struct err *err)
{
	log_error("%s", err->text);
	return EXIT_NSWRAP_FAILED;
}

int cmd_set_quiet(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	*(int *)target = -1;
	return 0;
}

int cmd_set_verbose(void *target, const char *value, struct err *err)
{
	int *verbosity = target;

	(void)value, (void)err;
	*verbosity = *verbosity < 0 ? 1 : *verbosity + 1;
	return 0;
}

void cmd_set_log_level(int verbosity)
{
	log_set_level(verbosity < 0 ? LOG_ERROR : LOG_NOTICE + verbosity);
}

/* Returns the name of the only mesh, or NULL with @err. */
static const char *only_name(
	const struct registry *registry, struct registry_found *found, struct err *err)
{
	char running[REGISTRY_DESCRIPTION_BYTES], whence[REGISTRY_WHENCE_BYTES];
	ssize_t count = registry_list(registry, found, 2);

	if (count == 1)
		return found[0].name;
	registry_describe(registry, running, sizeof(running));
	registry_whence(whence);
	if (count == 0)
		err_set(err, ENOENT, "no mesh is running%s", whence);
	else
		err_set(err, EINVAL, "which mesh? A NAME is missing (%s)", running);
	return NULL;
}

int cmd_connect(enum registry_kind kind, const char *name, struct err *err)
{
	struct registry_found found[2];
	struct registry registry;
	int result = registry_open(kind, &registry, err);

	if (result < 0)
		return result;
	if (!name)
		name = only_name(&registry, found, err);
	result = name ? registry_connect(&registry, name, err) : -err->code;
	registry_close(&registry);
	return result;
}

/* One of them and our question to it. */
struct asked {
	int sock; /* below 0: -errno, and @why says more */
	struct err why;
};

/* NULL: it has ended. */
static json_t *receive_status(
	struct asked *asked, const char *name, const char *who, uint64_t deadline_ns)
{
	int left_ms = (int)clock_ms_until(deadline_ns, clock_now_ns()), result = asked->sock;
	json_t *status;

	if (result >= 0)
		result = control_receive(asked->sock, who, left_ms, &status, NULL, &asked->why);
	fd_close(&asked->sock);
	if (result == -EPIPE || result == -ENOENT)
		return NULL;
	if (result < 0)
		return json_pack("{s:s, s:o}", "name", name, "error",
			control_text(result == -EPERM ? asked->why.text : "does not answer"));
	json_object_del(status, "ok");
	return status;
}

/* All are asked before the first answer is awaited: those that hang take a second together. */
static json_t *ask_them(const struct registry *registry, const struct registry_found *found,
	size_t count, struct asked *asked, const char *who)
{
	uint64_t deadline_ns = clock_now_ns() + STATUS_MS * NS_PER_MS;
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		asked[i].sock = registry_connect_found(registry, &found[i], &asked[i].why);
		if (asked[i].sock >= 0)
			control_send(asked[i].sock, json_pack("{s:s}", "op", "status"), NULL, 0);
	}
	for (size_t i = 0; i < count; i++) {
		json_t *status = receive_status(&asked[i], found[i].name, who, deadline_ns);

		if (status)
			json_array_append_new(list, status);
	}
	return list;
}

json_t *cmd_ask_all(enum registry_kind kind, const char *who, struct err *err)
{
	struct registry_found *found = calloc(FOUND_MAX, sizeof(*found));
	struct asked *asked = calloc(FOUND_MAX, sizeof(*asked));
	struct registry registry;
	json_t *list = NULL;
	int result = found && asked ? registry_open(kind, &registry, err)
				    : err_sys(err, ENOMEM, "cannot look for what runs");

	if (result == 0) {
		ssize_t count = registry_list(&registry, found, FOUND_MAX);

		if (count < 0)
			err_sys(err, (int)-count, "cannot read the runtime directories");
		else
			list = ask_them(&registry, found, (size_t)count, asked, who);
		registry_close(&registry);
	}
	free(found);
	free(asked);
	return list;
}

bool cmd_await_end(int sock, int timeout_ms)
{
	const uint64_t deadline_ns = clock_now_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	struct pollfd pollfd = {.fd = sock, .events = POLLIN};
	char discard[256];

	do
		if (poll(&pollfd, 1,
			    timeout_ms < 0 ? -1
					   : (int)clock_ms_until(deadline_ns, clock_now_ns())) == 0)
			return false;
	while (fd_recv(sock, discard, sizeof(discard), NULL, 0, NULL) > 0);
	return true;
}

void cmd_wake(int sock)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0)
		kill(peer.pid, SIGCONT);
}
