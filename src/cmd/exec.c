/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/exec - run another command in a sandbox that is there */
#include "cmd/exec.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/agent.h"
#include "cmd/env.h"
#include "cmd/habits.h"
#include "sandbox/enter.h"
#include "util/log.h"

#define STOP_TIMEOUT_MS 10000

struct exec_request {
	struct enter_command enter;
	struct env_changes env;
	int verbosity;
};

#define AT(field) offsetof(struct exec_request, field)

static const struct option_def options[] = {
	{'C', "chdir", "DIR", "start COMMAND in DIR", option_set_text, AT(enter.command.chdir)},
	{'e', "env", "VARIABLE[=VALUE]", "set a variable for COMMAND", env_set, AT(env)},
	{0, "unset-env", "VARIABLE", "take a variable away from COMMAND", env_unset, AT(env)},
	{0, "new-session", NULL, "own session: no way to type into the caller's terminal",
		option_set_true, AT(enter.command.new_session)},
	{'t', "stop-timeout", "SECONDS", "SIGKILL so long after SIGTERM (10)", option_set_seconds,
		AT(enter.stop_timeout_ms)},
	{'v', "verbose", NULL, "say more; repeatable", cmd_set_verbose, AT(verbosity)},
	{.name = NULL},
};

/* Options may stand in front of SANDBOX and behind it, but not behind COMMAND. */
static int read_words(int argc, char **argv, struct exec_request *request, struct err *err)
{
	int first = option_parse_with(options, habits_exec, argc, argv, request, err);

	if (first < 0)
		return first;
	if (first >= argc)
		return err_set(err, EINVAL,
			"a SANDBOX is missing: expected nswrap exec SANDBOX COMMAND [ARG...]; "
			"nswrap ps lists them");
	request->enter.sandbox = argv[first];
	int second =
		option_parse_with(options, habits_exec, argc - first, argv + first, request, err);
	if (second < 0)
		return second;
	request->enter.command.argv = argv + first + second;
	if (first + second >= argc || request->enter.command.argv[0][0] == '\0')
		return err_set(err, EINVAL,
			"a COMMAND is missing: expected nswrap exec %s COMMAND [ARG...]",
			argv[first]);
	return 0;
}

static int run_inside(struct exec_request *request, int *status, struct err *err)
{
	struct enter enter;
	int control = cmd_connect(REGISTRY_SANDBOX, request->enter.sandbox, err);
	int result =
		control < 0 ? control : enter_ask(control, request->enter.command.run, &enter, err);

	if (result < 0)
		return result;
	request->enter.command.env = env_make(&request->env, enter.env);
	result = request->enter.command.env ? enter_run(&enter, &request->enter, status, err)
					    : err_sys(err, ENOMEM, "cannot make the environment");
	free(request->enter.command.env);
	enter_fini(&enter);
	return result;
}

/*
 * `nswrap agent` is not looked for inside, where another nswrap or none may be: this one joins,
 * with the rights that an agent needs there and COMMAND has not. Returns -1 to go on, or an exit
 * status.
 */
static int read_agent(struct command *command)
{
	int argc = 0;

	if (!agent_is_meant(command->argv))
		return -1;
	while (command->argv[argc])
		argc++;
	int status = agent_read_words(argc - 1, (char **)command->argv + 1, NULL);
	command->argv = NULL;
	command->run = agent_run_inside;
	return status;
}

static int run(const struct cmd_call *call)
{
	struct exec_request request = {.enter.stop_timeout_ms = STOP_TIMEOUT_MS};
	struct err err = {0};
	int status;

	if (read_words(call->argc, call->argv, &request, &err) < 0)
		return cmd_usage_error(&err);
	cmd_set_log_level(request.verbosity);
	status = read_agent(&request.enter.command);
	if (status >= 0)
		return status;
	if (run_inside(&request, &status, &err) < 0)
		status = cmd_failed(&err);
	else if (err.code != 0)
		log_error("%s", err.text);
	/*
	 * Without exit(3): there is nothing left to be written, and where our children are in
	 * another PID namespace the leak check of a sanitizer would wait for one for ever.
	 */
	_exit(status);
}

const struct subcommand exec_subcommand = {
	.name = "exec",
	.synopsis = "exec [OPTION...] SANDBOX [--] COMMAND [ARG...]",
	.summary = "run another command in a sandbox that is there",
	.options = options,
	.run = run,
};
