/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/run - run a command in its own network */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/agent.h"
#include "cmd/cmd.h"
#include "cmd/run_options.h"
#include "sandbox/placeholder.h"
#include "sandbox/supervisor.h"
#include "util/log.h"
#include "util/parse.h"

/* A manager wants an agent and all that it started gone a second after it closed the link. */
#define AGENT_STOP_TIMEOUT_MS 500

static int read_rules(struct run_request *request, struct err *err)
{
	struct forward_list *list = &request->config.forwards;
	size_t nguest = 0;

	for (size_t i = 0; i < request->nrules; i++) {
		const struct rule_text *rule = &request->rules[i];
		struct forward_spec spec;
		struct err reason;
		int result;

		if (strcmp(rule->option, "-f") == 0) {
			result = spec_list_parse(list, rule->text, &request->config.bind, &reason);
		} else {
			result = spec_host_parse(rule->text, &request->config.bind, &spec, &reason);
			if (result == 0 && nguest < request->nguest_ports)
				result = parse_port(request->guest_ports[nguest++], false,
					&spec.guest_port, &reason);
			if (result == 0)
				result = spec_list_add(list, &spec, &reason);
		}
		if (result < 0)
			return err_set(
				err, EINVAL, "%s %s: %s", rule->option, rule->text, reason.text);
	}
	if (nguest < request->nguest_ports)
		return err_set(err, EINVAL,
			"-P %s: there is no -p for it: expected as many -p as -P",
			request->guest_ports[nguest]);
	return spec_list_check(list, err);
}

static int set_command(struct run_request *request, int argc, char **argv, struct err *err)
{
	static char *shell[] = {"/bin/sh", "-c", NULL, NULL};

	if (request->shell_command && argc > 0 && strcmp(argv[0], "agent") != 0)
		return err_set(err, EINVAL,
			"%s: -c is the whole command: expected nothing behind it, or agent",
			argv[0]);
	if (request->shell_command) {
		shell[2] = (char *)request->shell_command;
		request->config.command = shell;
	} else if (argc > 0 && argv[0][0] != '\0') {
		request->config.command = argv;
	} else {
		return err_set(err, EINVAL,
			"a COMMAND is missing: expected nswrap [OPTION...] COMMAND "
			"[ARG...]; nswrap help says more");
	}
	return placeholder_check(request->config.command, request->config.forwards.count, err);
}

/* "nswrap prot list" runs a program called prot; when there is none, say what was meant. */
static void hint_subcommand(const char *word, int status)
{
	const char *names[16];
	size_t count = 0;

	if (status != 127)
		return;
	for (const struct subcommand *sub = subcommands; sub->name; sub++)
		if (sub->summary)
			names[count++] = sub->name;
	const char *nearest = option_nearest(word, names, count);
	if (nearest)
		log_error("there is no subcommand %s either; did you mean %s?", word, nearest);
}

/*
 * `-c COMMAND agent`: an agent in the same sandbox. Returns -1 to go on, or an exit status.
 */
static int read_agent(struct run_request *request, int argc, char **argv)
{
	struct sandbox_config *config = &request->config;

	if (!request->shell_command || argc == 0)
		return -1;
	config->companion = (struct sandbox_companion){.name = "agent", .run = agent_run_inside};
	if (!request->has_stop_timeout)
		config->stop_timeout_ms = AGENT_STOP_TIMEOUT_MS;
	return agent_read_words(argc, argv);
}

int cmd_run(int argc, char **argv)
{
	static struct run_request request; /* too large for the stack */
	struct err err = {0};
	int status;

	run_request_init(&request);
	int first = option_parse(run_options, argc, argv, &request, &err);
	if (first < 0 || read_rules(&request, &err) < 0 ||
		set_command(&request, argc - first, argv + first, &err) < 0)
		return cmd_usage_error(&err);
	log_set_level(request.verbosity < 0 ? LOG_ERROR : LOG_NOTICE + request.verbosity);
	status = read_agent(&request, argc - first, argv + first);
	if (status >= 0)
		return status;
	request.config.env = env_make(&request.env, NULL);
	if (!request.config.env) {
		err_sys(&err, ENOMEM, "cannot make the environment");
		return cmd_failed(&err);
	}
	int result = supervisor_run(&request.config, &status, &err);
	free(request.config.env);
	spec_list_free(&request.config.forwards);
	if (result < 0)
		return cmd_failed(&err);
	if (err.code != 0)
		log_error("%s", err.text);
	hint_subcommand(argv[first < argc ? first : 0], status);
	return status;
}
