/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/sockets - hand sockets of this network to the program that started us elsewhere */
#include "cmd/sockets.h"

#include <errno.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "conn/lender.h"
#include "util/parse.h"

struct words {
	int api_fd;
};

static int set_api_fd(void *target, const char *value, struct err *err)
{
	socklen_t len = sizeof(int);
	unsigned long number;
	int type = 0;

	if (parse_uint(value, 1UL << 20, &number) < 0 ||
		getsockopt((int)number, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
		type != SOCK_SEQPACKET)
		return err_set(err, EINVAL,
			"%s is no descriptor of a socket that keeps messages apart "
			"(SOCK_SEQPACKET)",
			PARSE_QUOTED(value));
	*(int *)target = (int)number;
	return 0;
}

static const struct option_def options[] = {
	{0, "api-fd", "N", "the descriptor through which they are asked for", set_api_fd,
		offsetof(struct words, api_fd)},
	{.name = NULL},
};

static int run(const struct cmd_call *call)
{
	struct words words = {.api_fd = -1};
	struct err err = {0};
	int first = option_parse(options, call->argc, call->argv, &words, &err);

	if (first >= 0 && first < call->argc)
		first = err_set(&err, EINVAL, "%s: expected no more words behind sockets",
			PARSE_QUOTED(call->argv[first]));
	if (first >= 0 && words.api_fd < 0)
		first = err_set(&err, EINVAL, "sockets: --api-fd is missing");
	if (first < 0)
		return cmd_usage_error(&err);
	prctl(PR_SET_NAME, "nswrap: sockets");
	int result = lender_run(words.api_fd);
	if (result == 0)
		return 0;
	err_sys(&err, -result, "sockets: cannot hear who asks");
	return cmd_failed(&err);
}

const struct subcommand sockets_subcommand = {
	.name = "sockets",
	.synopsis = "sockets --api-fd N",
	.summary = "hand sockets of this network to a program elsewhere (libnswrap)",
	.options = options,
	.run = run,
};
