/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/exit - lend this host's network to whoever is at the other end of a link */
#include "cmd/exit.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "conn/expose.h"
#include "exit/portal.h"
#include "util/log.h"
#include "util/parse.h"

struct words {
	struct expose expose;
	int verbosity;
};

static int add_expose(void *target, const char *value, struct err *err)
{
	return expose_add(target, value, err);
}

static const struct option_def options[] = {
	{0, "expose", "NETWORK[:PORTS]",
		"what may be reached, such as 10.0.0.0/8:22,8000-8100 or [fd00::/8]:80, or none; "
		"may be repeated (default: all that this user can reach, but not loopback, "
		"link-local and metadata addresses)",
		add_expose, offsetof(struct words, expose)},
	{'q', "quiet", NULL, "say only what went wrong", cmd_set_quiet,
		offsetof(struct words, verbosity)},
	{'v', "verbose", NULL, "say more; repeatable", cmd_set_verbose,
		offsetof(struct words, verbosity)},
	{.name = NULL},
};

static int serve(const struct words *words, struct err *err)
{
	const struct portal_start start = {
		.expose = &words->expose, .in_fd = STDIN_FILENO, .out_fd = STDOUT_FILENO};

	if (isatty(STDIN_FILENO) || isatty(STDOUT_FILENO))
		return err_set(err, EINVAL,
			"exit: stdin and stdout are its link to the sandbox that uses it, see "
			"nswrap help exit; one of them is a terminal");
	prctl(PR_SET_NAME, "nswrap: exit");
	return portal_run(&start, err);
}

static int run(const struct cmd_call *call)
{
	struct words words = {.verbosity = 0};
	struct err err = {0};
	int first = option_parse(options, call->argc, call->argv, &words, &err), status;

	if (first >= 0 && first < call->argc)
		first = err_set(&err, EINVAL, "%s: expected no more words behind exit",
			PARSE_QUOTED(call->argv[first]));
	if (first < 0) {
		status = cmd_usage_error(&err);
	} else {
		cmd_set_log_level(words.verbosity);
		status = serve(&words, &err) < 0 ? cmd_failed(&err) : 0;
		if (status != 0 && err.code == EINVAL)
			status = EXIT_USAGE;
	}
	expose_fini(&words.expose);
	return status;
}

const struct subcommand exit_subcommand = {
	.name = "exit",
	.synopsis = "exit [OPTION...]",
	.summary = "lend this host's network to a sandbox that is elsewhere (--via)",
	.options = options,
	.run = run,
};
