/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/stop - end sandboxes and wait until they are gone */
#include "cmd/stop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "cmd/habits.h"
#include "control/control.h"
#include "util/fd.h"
#include "util/parse.h"

#define SANDBOXES_MAX 256

struct stop_request {
	bool has_timeout;
	uint64_t timeout_ms;
};

static int set_timeout(void *target, const char *value, struct err *err)
{
	struct stop_request *request = target;

	request->has_timeout = true;
	return parse_seconds(value, &request->timeout_ms, err);
}

static const struct option_def options[] = {
	{'t', "stop-timeout", "SECONDS",
		"SIGKILL so long after SIGTERM (what the sandbox was started with)", set_timeout,
		0},
	{.name = NULL},
};

/* Returns the connection, which ends with the sandbox, or -errno. */
static int ask(const char *name, const struct stop_request *request, struct err *err)
{
	_cleanup_fd_ int sock = cmd_connect(REGISTRY_SANDBOX, name, err);

	json_t *answer;

	if (sock < 0)
		return sock;
	cmd_wake(sock);
	json_t *timeout_ms =
		request->has_timeout ? json_integer((json_int_t)request->timeout_ms) : NULL;
	json_t *message = json_pack("{s:s, s:o*}", "op", "stop", "timeout_ms", timeout_ms);
	int result = control_call(sock, "sandbox", message, &answer, NULL, err);
	json_decref(answer);
	/* it may have ended before it could answer: that is what is wanted */
	return result < 0 && result != -EPIPE ? result : fd_take(&sock);
}

static int run(const struct cmd_call *call)
{
	struct stop_request request = {0};
	char *names[SANDBOXES_MAX];
	int socks[SANDBOXES_MAX], status = 0;
	struct err err = {0};

	int count = cmd_operands(options, habits_stop, call, &request, names, SANDBOXES_MAX, &err);
	if (count < 0)
		return cmd_usage_error(&err);
	if (count == 0) {
		err_set(&err, EINVAL,
			"a SANDBOX is missing: expected nswrap stop SANDBOX; nswrap ps lists them");
		return cmd_usage_error(&err);
	}
	/* all of them end at the same time */
	for (int i = 0; i < count; i++) {
		socks[i] = ask(names[i], &request, &err);
		if (socks[i] < 0)
			status = cmd_failed(&err);
	}
	for (int i = 0; i < count; i++) {
		if (socks[i] >= 0)
			cmd_await_end(socks[i]);
		fd_close(&socks[i]);
	}
	return status;
}

const struct subcommand stop_subcommand = {
	.name = "stop",
	.synopsis = "stop SANDBOX [-t SECONDS]",
	.summary = "end a sandbox",
	.options = options,
	.run = run,
};
