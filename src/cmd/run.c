/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/run - run a command in its own network */
#include "cmd/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/agent.h"
#include "cmd/habits.h"
#include "cmd/run_options.h"
#include "net/occupied.h"
#include "sandbox/program.h"
#include "sandbox/supervisor.h"
#include "util/log.h"
#include "util/parse.h"

/* A manager wants an agent and all that it started gone a second after it closed the link. */
#define AGENT_STOP_TIMEOUT_MS 500

static int read_rules(struct run_options *options, struct err *err)
{
	struct forward_list *list = &options->config.forwards;
	size_t nguest = 0;

	for (size_t i = 0; i < options->nrules; i++) {
		const struct rule_text *rule = &options->rules[i];
		struct forward_spec spec;
		struct err reason;
		int result;

		if (strcmp(rule->option, "-f") == 0 || spec_has_guest(rule->text)) {
			result = spec_list_parse(list, rule->text, &options->config.bind, &reason);
		} else {
			result = spec_host_parse(rule->text, &options->config.bind, &spec, &reason);
			if (result == 0 && nguest < options->nguest_ports)
				result = parse_port(options->guest_ports[nguest++], false,
					&spec.guest_port, &reason);
			if (result == 0)
				result = spec_list_add(list, &spec, &reason);
		}
		if (result < 0)
			return err_set(
				err, EINVAL, "%s %s: %s", rule->option, rule->text, reason.text);
	}
	if (nguest < options->nguest_ports)
		return err_set(err, EINVAL,
			"-P %s: there is no -p for it: expected as many -p without a GUEST as -P",
			options->guest_ports[nguest]);
	return spec_list_check(list, err);
}

static int check_users(const struct sandbox_config *config, struct err *err)
{
	if (config->allows_network && !config->checks_user)
		return err_set(err, EINVAL,
			"--allow-network goes with --only-user; without that everybody may connect");
	for (size_t i = 0; config->checks_user && i < config->forwards.count; i++)
		if (driver_check_users(
			    &config->forwards.items[i], config->users, config->nusers, err) < 0)
			return -EINVAL;
	return 0;
}

/* docker's -v takes a word, ours does not: that would be COMMAND. */
static int check_volume(char *const *argv, struct err *err)
{
	if (strcmp(argv[-1], "-v") == 0 && strchr(argv[0], ':') && access(argv[0], F_OK) < 0)
		return err_set(err, EINVAL,
			"-v %s: -v says more, and takes nothing; COMMAND has the caller's files, "
			"there is nothing to mount",
			PARSE_SHOWN(argv[0]));
	return 0;
}

static int set_command(struct run_options *options, int argc, char **argv, struct err *err)
{
	if (options->shell_command && argc > 0 && strcmp(argv[0], "agent") != 0)
		return err_set(err, EINVAL,
			"%s: -c is the whole command: expected nothing behind it, or agent",
			argv[0]);
	if (options->shell_command) {
		options->shell_argv[2] = (char *)options->shell_command;
		options->config.command = options->shell_argv;
	} else if (argc > 0 && argv[0][0] != '\0') {
		if (check_volume(argv, err) < 0)
			return -EINVAL;
		options->config.command = argv;
	} else {
		return err_set(err, EINVAL,
			"a COMMAND is missing: expected nswrap [OPTION...] COMMAND "
			"[ARG...]; nswrap help says more");
	}
	return program_check(options->config.command, options->config.forwards.count, err);
}

/* "nswrap -v prot list" runs a program called prot; when there is none, say what was meant. */
static void hint_subcommand(const struct subcommand *const *all, const char *word, int status)
{
	struct err err;

	if (status == 127 && habits_find_meant(all, word, &err))
		log_error("%s", err.text);
}

/*
 * `-c COMMAND agent`: an agent in the same sandbox. Returns -1 to go on, or an exit status.
 */
static int read_agent(struct run_options *options, int argc, char **argv)
{
	struct sandbox_config *config = &options->config;

	if (!options->shell_command || argc == 0)
		return -1;
	config->companion = (struct sandbox_companion){.name = "agent", .run = agent_run_inside};
	if (!options->has_stop_timeout)
		config->stop_timeout_ms = AGENT_STOP_TIMEOUT_MS;
	return agent_read_words(argc, argv);
}

/* Where this host has the usual networks itself there are others inside. */
static void settle_networks(struct net_plan *plan)
{
	static const char words[] =
		"%s %s: this host uses it itself, and what it has there cannot be reached from inside";
	char network[NET_TEXT_BYTES];
	struct occupied occupied;

	if (!plan->has_outbound)
		return;
	if (occupied_read(&occupied) < 0)
		log_info("cannot look at the networks of this host");
	plan_avoid(plan, &occupied);
	occupied_free(&occupied);
	if (plan->is_taken4)
		log_warning(words, "--cidr", plan_format4(plan, network));
	if (plan->has_ipv6 && plan->is_taken6)
		log_warning(words, "--cidr6", plan_format6(plan, network));
}

static int run_with(struct run_options *options, const struct cmd_call *call)
{
	struct err err = {0};
	int status, first = option_parse_with(
			    run_options_table, habits_run, call->argc, call->argv, options, &err);
	char **rest = call->argv + first;

	if (first < 0 || read_rules(options, &err) < 0 || check_users(&options->config, &err) < 0 ||
		set_command(options, call->argc - first, rest, &err) < 0)
		return cmd_usage_error(&err);
	cmd_set_log_level(options->verbosity);
	status = read_agent(options, call->argc - first, rest);
	if (status >= 0)
		return status;
	settle_networks(&options->config.net);
	options->config.env = env_make(&options->env, NULL);
	if (!options->config.env) {
		err_sys(&err, ENOMEM, "cannot make the environment");
		return cmd_failed(&err);
	}
	if (supervisor_run(&options->config, &status, &err) < 0)
		return cmd_failed(&err);
	if (err.code != 0)
		log_error("%s", err.text);
	hint_subcommand(call->all, first < call->argc ? rest[0] : call->argv[0], status);
	return status;
}

static int run(const struct cmd_call *call)
{
	struct run_options options;

	run_options_init(&options);
	int status = run_with(&options, call);
	free(options.config.env);
	spec_list_free(&options.config.forwards);
	return status;
}

const struct subcommand run_subcommand = {
	.name = "run",
	.synopsis = "[run] [OPTION...] [--] COMMAND [ARG...]\n[run] [OPTION...] -c 'SHELL COMMAND'",
	.summary = "run a command in its own network",
	.options = run_options_table,
	.footer =
		"As with docker: -p 8080:80, -e, --name. For --publish and ssh's -L: -p; for -w: -C; "
		"for -u root: --root.\n-it, --rm, -v and --net are not needed: COMMAND has the caller's "
		"terminal and files, and its own network.",
	.run = run,
};
