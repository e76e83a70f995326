/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/stop - end sandboxes and wait until they are gone */
#include "cmd/stop.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "cmd/habits.h"
#include "control/control.h"
#include "util/fd.h"
#include "util/parse.h"

#define SANDBOXES_MAX 1024

struct stop_request {
	bool all, has_timeout;
	uint64_t timeout_ms;
};

/* One that shall end, and our question to it. */
struct stopped {
	int sock; /* ends with the sandbox; -1: there is nothing to wait for */
};

#define AT(field) offsetof(struct stop_request, field)

static int set_timeout(void *target, const char *value, struct err *err)
{
	struct stop_request *request = target;

	request->has_timeout = true;
	return parse_seconds(value, &request->timeout_ms, err);
}

static const struct option_def options[] = {
	{0, "all", NULL, "all that nswrap ps lists; it is no error if there is none",
		option_set_true, AT(all)},
	{'t', "stop-timeout", "SECONDS",
		"SIGKILL so long after SIGTERM (what the sandbox was started with)", set_timeout,
		0},
	{.name = NULL},
};

/* Takes @sock, or -errno, over. */
static int ask(struct stopped *stopped, int sock, const struct stop_request *request)
{
	stopped->sock = sock < 0 ? -1 : sock;
	if (sock < 0)
		return sock;
	cmd_wake(sock);
	json_t *timeout_ms =
		request->has_timeout ? json_integer((json_int_t)request->timeout_ms) : NULL;
	control_send(
		sock, json_pack("{s:s, s:o*}", "op", "stop", "timeout_ms", timeout_ms), NULL, 0);
	return 0;
}

/* Returns how many there are in @stopped, or -errno with @err; *@status gets that of the others. */
static ssize_t ask_all(
	struct stopped *stopped, const struct stop_request *request, int *status, struct err *err)
{
	struct registry_found *found = calloc(SANDBOXES_MAX, sizeof(*found));
	struct registry registry;
	int result = found ? registry_open(REGISTRY_SANDBOX, &registry, err)
			   : err_sys(err, ENOMEM, "cannot list the sandboxes");

	if (result < 0) {
		free(found);
		return result;
	}
	ssize_t count = registry_list(&registry, found, SANDBOXES_MAX);
	for (ssize_t i = 0; i < count; i++) {
		int sock = registry_connect_found(&registry, &found[i], err);

		/* one that has ended by itself since is none */
		if (ask(&stopped[i], sock, request) < 0 && sock != -ENOENT)
			*status = cmd_failed(err);
	}
	registry_close(&registry);
	free(found);
	return count < 0 ? err_sys(err, (int)-count, "cannot read the runtime directories") : count;
}

static int hear(struct stopped *stopped, struct err *err)
{
	json_t *answer;
	int result =
		control_receive(stopped->sock, "sandbox", CONTROL_TIMEOUT_MS, &answer, NULL, err);

	json_decref(answer);
	/* it may have ended before it could answer: that is what is wanted */
	if (result == 0 || result == -EPIPE)
		return 0;
	fd_close(&stopped->sock);
	return result;
}

/* All of them end at the same time: each is asked before the first answer is awaited. */
static int await_all(struct stopped *stopped, size_t count)
{
	struct err err;
	int status = 0;

	for (size_t i = 0; i < count; i++)
		if (stopped[i].sock >= 0 && hear(&stopped[i], &err) < 0)
			status = cmd_failed(&err);
	for (size_t i = 0; i < count; i++) {
		if (stopped[i].sock >= 0)
			cmd_await_end(stopped[i].sock, -1);
		fd_close(&stopped[i].sock);
	}
	return status;
}

static int check_operands(
	const struct stop_request *request, char *const *names, int count, struct err *err)
{
	if (count < 0)
		return count;
	if (request->all && count > 0)
		return err_set(err, EINVAL, "--all and %s: expected either --all or names",
			PARSE_QUOTED(names[0]));
	if (!request->all && count == 0)
		return err_set(err, EINVAL,
			"a SANDBOX is missing: expected nswrap stop SANDBOX, or --all; nswrap ps "
			"lists them");
	return 0;
}

static int run(const struct cmd_call *call)
{
	struct stop_request request = {0};
	char *names[SANDBOXES_MAX];
	struct stopped stopped[SANDBOXES_MAX];
	struct err err = {0};
	int status = 0;
	ssize_t count =
		cmd_operands(options, habits_stop, call, &request, names, SANDBOXES_MAX, &err);

	if (check_operands(&request, names, (int)count, &err) < 0)
		return cmd_usage_error(&err);
	for (ssize_t i = 0; i < count; i++) {
		int sock = cmd_connect(REGISTRY_SANDBOX, names[i], &err);

		if (ask(&stopped[i], sock, &request) < 0)
			status = cmd_failed(&err);
	}
	if (request.all)
		count = ask_all(stopped, &request, &status, &err);
	if (count < 0)
		return cmd_failed(&err);
	int others = await_all(stopped, (size_t)count);
	return others != 0 ? others : status;
}

const struct subcommand stop_subcommand = {
	.name = "stop",
	.synopsis = "stop SANDBOX...|--all [-t SECONDS]",
	.summary = "end sandboxes",
	.options = options,
	.run = run,
};
