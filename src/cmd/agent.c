/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/agent - serve as a host of a mesh, on the host as it is or inside a sandbox */
#include "cmd/agent.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cmd/help.h"
#include "mesh/agent/agent.h"
#include "mesh/agent/kernel.h"
#include "util/log.h"
#include "util/parse.h"

static const struct option_def options[] = {
	{0, "automated", NULL, "what managers say; it changes nothing", option_set_true, 0},
	{.name = NULL},
};

bool agent_is_meant(char *const *argv)
{
	const char *slash = strrchr(argv[0], '/');

	return strcmp(slash ? slash + 1 : argv[0], "nswrap") == 0 && argv[1] &&
	       strcmp(argv[1], "agent") == 0;
}

int agent_read_words(int argc, char **argv)
{
	char ignored[512] = "";
	size_t len = 0;

	for (int at = 1; at < argc; at++) {
		bool is_automated;
		struct err err;
		/* the word before stands in the place of argv[0] */
		int next = option_parse(options, 2, argv + at - 1, &is_automated, &err);

		if (next == -ECANCELED) {
			help_print(&agent_subcommand);
			return 0;
		}
		if (next < 2 && len < sizeof(ignored))
			len += (size_t)snprintf(ignored + len, sizeof(ignored) - len, " %s",
				PARSE_QUOTED(argv[at]));
	}
	if (len > 0)
		log_notice("agent: ignoring%s", ignored);
	if (!isatty(STDIN_FILENO) && !isatty(STDOUT_FILENO))
		return -1;
	log_error("agent: stdin and stdout are its link to the manager that starts it, see nswrap "
		  "help mesh; one of them is a terminal");
	return EXIT_USAGE;
}

static int serve(bool is_sandbox)
{
	struct err err = {0};

	prctl(PR_SET_NAME, "nswrap: agent");
	int result = agent_run(kernel_open, is_sandbox, &err);
	return result < 0 ? cmd_failed(&err) : 0;
}

int agent_run_inside(void *told)
{
	(void)told;
	return serve(true);
}

static int run(const struct cmd_call *call)
{
	int status = agent_read_words(call->argc, call->argv);

	return status >= 0 ? status : serve(false);
}

const struct subcommand agent_subcommand = {
	.name = "agent",
	.synopsis = "agent\n[run] [OPTION...] -c 'SHELL COMMAND' agent\nexec SANDBOX nswrap agent",
	.summary = "be a host of a mesh, on the host or in a sandbox",
	.options = options,
	.run = run,
};
