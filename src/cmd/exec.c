/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/exec - run another command in a sandbox that is there */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/agent.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/env.h"
#include "sandbox/enter.h"
#include "util/log.h"
#include "util/parse.h"

#define STOP_TIMEOUT_MS 10000

struct exec_request {
	struct enter_command command;
	struct env_changes env;
	int verbosity;
};

static int set_chdir(void *target, const char *value, struct err *err)
{
	(void)err;
	((struct exec_request *)target)->command.chdir = value;
	return 0;
}

static int set_env(void *target, const char *value, struct err *err)
{
	return env_changes_set(&((struct exec_request *)target)->env, value, err);
}

static int set_unset_env(void *target, const char *value, struct err *err)
{
	return env_changes_unset(&((struct exec_request *)target)->env, value, err);
}

static int set_new_session(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	((struct exec_request *)target)->command.new_session = true;
	return 0;
}

static int set_stop_timeout(void *target, const char *value, struct err *err)
{
	return parse_seconds(value, &((struct exec_request *)target)->command.stop_timeout_ms, err);
}

static int set_verbose(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	((struct exec_request *)target)->verbosity++;
	return 0;
}

const struct option_def exec_options[] = {
	{'C', "chdir", "DIR", "start COMMAND in DIR", set_chdir},
	{'e', "env", "NAME[=VALUE]", "set a variable for COMMAND", set_env},
	{0, "unset-env", "NAME", "take a variable away from COMMAND", set_unset_env},
	{0, "new-session", NULL, "own session: no way to type into the caller's terminal",
		set_new_session},
	{'t', "stop-timeout", "SECONDS", "SIGKILL so long after SIGTERM (10)", set_stop_timeout},
	{'v', "verbose", NULL, "say more; repeatable", set_verbose},
	{0, NULL, NULL, NULL, NULL},
};

/* Options may stand in front of SANDBOX and behind it, but not behind COMMAND. */
static int read_words(int argc, char **argv, struct exec_request *request, struct err *err)
{
	int first = option_parse(exec_options, argc, argv, request, err);

	if (first < 0)
		return first;
	if (first >= argc)
		return err_set(err, EINVAL,
			"a SANDBOX is missing: expected nswrap exec SANDBOX COMMAND [ARG...]; "
			"nswrap ps lists them");
	request->command.sandbox = argv[first];
	int second = option_parse(exec_options, argc - first, argv + first, request, err);
	if (second < 0)
		return second;
	request->command.argv = argv + first + second;
	if (first + second >= argc || request->command.argv[0][0] == '\0')
		return err_set(err, EINVAL,
			"a COMMAND is missing: expected nswrap exec %s COMMAND [ARG...]",
			argv[first]);
	return 0;
}

static int run_inside(struct exec_request *request, int *status, struct err *err)
{
	struct enter enter;
	int control = client_connect(request->command.sandbox, err);
	int result = control < 0 ? control : enter_ask(control, &enter, err);

	if (result < 0)
		return result;
	request->command.env = env_make(&request->env, enter.env);
	result = request->command.env ? enter_run(&enter, &request->command, status, err)
				      : err_sys(err, ENOMEM, "cannot make the environment");
	free(request->command.env);
	enter_fini(&enter);
	return result;
}

/*
 * `nswrap agent` is not looked for inside, where another nswrap or none may be: this one joins,
 * with the rights that an agent needs there and COMMAND has not. Returns -1 to go on, or an exit
 * status.
 */
static int read_agent(struct exec_request *request)
{
	int argc = 0;

	if (!agent_is_meant(request->command.argv))
		return -1;
	while (request->command.argv[argc])
		argc++;
	int status = agent_read_words(argc - 1, request->command.argv + 1);
	request->command.argv = NULL;
	request->command.run = agent_run_inside;
	return status;
}

int cmd_exec(int argc, char **argv)
{
	static struct exec_request request; /* large for a stack */
	struct err err = {0};
	int status;

	request.command.stop_timeout_ms = STOP_TIMEOUT_MS;
	if (read_words(argc, argv, &request, &err) < 0)
		return cmd_usage_error(&err);
	log_set_level(LOG_NOTICE + request.verbosity);
	status = read_agent(&request);
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
