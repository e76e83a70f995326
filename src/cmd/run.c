/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/run - run a command in its own network */
#include "cmd/run.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/agent.h"
#include "cmd/defaults.h"
#include "cmd/guess.h"
#include "cmd/habits.h"
#include "cmd/idle.h"
#include "cmd/jupyterhub.h"
#include "cmd/run_options.h"
#include "cmd/start.h"
#include "cmd/systemd.h"
#include "sandbox/detach.h"
#include "sandbox/program.h"
#include "sandbox/supervisor.h"
#include "util/log.h"
#include "util/parse.h"

/* A manager wants an agent and all that it started gone a second after it closed the link. */
#define AGENT_STOP_TIMEOUT_MS 500

static int read_rule(struct run_options *options, const struct rule_text *rule, struct err *err)
{
	struct forward_list *list = &options->config.forwards;
	struct forward_spec spec;

	if (systemd_is_given(rule->text))
		return systemd_add_rules(list, rule->text, rule->guest, err);
	if (strcmp(rule->option, "-f") == 0 || spec_has_guest(rule->text))
		return spec_list_parse(list, rule->text, &options->config.bind, err);
	int result = spec_host_parse(rule->text, &options->config.bind, &spec, err);
	if (result == 0 && rule->guest)
		result = parse_port(rule->guest, false, &spec.guest_port, err);
	return result == 0 ? spec_list_add(list, &spec, err) : result;
}

/* Those of the command line are the first ones, for placeholders. */
static int read_rules(struct run_options *options, struct err *err)
{
	for (size_t i = 0; i < options->nrules; i++) {
		const struct rule_text *rule =
			&options->rules[(options->ndefault_rules + i) % options->nrules];
		struct err reason;

		if (read_rule(options, rule, &reason) < 0)
			return err_set(err, EINVAL, "%s%s%s %s: %s", rule->from ? rule->from : "",
				rule->from ? ": " : "", rule->option, rule->text, reason.text);
	}
	return 0;
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

/* Is one of those to be told on stdin or stdout? */
static bool has_link_fd(const struct run_options *options)
{
	const struct sandbox_config *config = &options->config;
	const int fds[] = {config->ready_fd, config->info_fd, config->alive_fd, options->log_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] == STDIN_FILENO || fds[i] == STDOUT_FILENO)
			return true;
	return false;
}

static int set_command(struct run_options *options, int argc, char **argv, struct err *err)
{
	if (options->shell_command && argc > 0 && strcmp(argv[0], "agent") != 0)
		return err_set(err, EINVAL,
			"%s: -c is the whole command: expected nothing behind it, or agent",
			argv[0]);
	if (options->detaches && options->shell_command && argc > 0)
		return err_set(err, EINVAL,
			"-d: an agent has its manager at stdin and stdout: expected none in the "
			"background");
	if (options->shell_command && argc > 0 && has_link_fd(options))
		return err_set(err, EINVAL,
			"an agent has its manager at stdin and stdout: expected another descriptor "
			"for --ready-fd, --info-fd, --alive-fd and --log-fd");
	/* such as of a unit whose file does not set it */
	if (options->shell_command &&
		options->shell_command[strspn(options->shell_command, " \t\n")] == '\0')
		return err_set(err, EINVAL,
			"-c %s: the COMMAND is empty: expected what /bin/sh is to run",
			PARSE_QUOTED(options->shell_command));
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
	return program_check(options->config.command, options->config.forwards.count, 0, err);
}

/* "nswrap -v prot list" runs a program called prot; when there is none, say what was meant. */
static void hint_subcommand(const struct subcommand *const *all, const char *word, int status)
{
	struct err err;

	if (status == 127 && guess_find_meant(all, word, &err))
		log_error("%s", err.text);
}

/*
 * `-c COMMAND agent`: an agent in the same sandbox. Returns -1 to go on, or an exit status.
 */
static int read_agent(
	struct run_options *options, int argc, char **argv, struct agent_beside *beside)
{
	struct sandbox_config *config = &options->config;

	if (!options->shell_command || argc == 0)
		return -1;
	config->companion = (struct sandbox_companion){
		.name = "agent", .run = agent_run_beside, .told = &beside->greeting};
	if (!options->has_stop_timeout)
		config->stop_timeout_ms = AGENT_STOP_TIMEOUT_MS;
	int status = agent_read_words(argc, argv, NULL);
	return status >= 0 ? status : agent_open_beside(beside);
}

static bool is_agent(const struct run_options *options, int argc, char *const *argv)
{
	return options->shell_command && argc > 0 && strcmp(argv[0], "agent") == 0;
}

static int parse(struct run_options *options, const struct cmd_call *call, struct err *err)
{
	return option_parse_with(
		run_options_table, habits_run, call->argc, call->argv, options, err);
}

/*
 * The command line, with what stands elsewhere in front of it; @typed is what it says alone, as
 * idle_given has it. Returns as option_parse; *@out is to be freed in any case.
 */
static int read_options(struct run_options **out, unsigned *typed, const struct cmd_call *call,
	struct defaults *defaults, struct err *err)
{
	struct run_options *options = *out = run_options_new();
	int first = parse(options, call, err);

	if (first < 0)
		return first;
	*typed = idle_given(&options->config);
	/* a manager, who may be far away, says all that an agent is to have */
	if (!options->no_config && !is_agent(options, call->argc - first, call->argv + first) &&
		defaults_read(defaults, err) < 0)
		return -EINVAL;
	if (defaults->count > 0) {
		run_options_free(options);
		options = *out = run_options_new();
		if (defaults_apply(defaults, options, err) < 0 || parse(options, call, err) < 0)
			return -EINVAL;
	}
	if (run_options_pair(options, err) < 0 || read_rules(options, err) < 0 ||
		(options->is_jupyterhub && jupyterhub_apply(options, err) < 0))
		return -EINVAL;
	return first;
}

/* Is a network inside that was asked for one that the link is to lead to? */
static int check_routes(const struct sandbox_via *via, const struct net_plan *plan, struct err *err)
{
	const struct entrance_net four = entrance_net4(plan->network, plan->prefix_len);
	const struct entrance_net six = entrance_net6(&plan->prefix6, plan->prefix6_len);
	char network[NET_TEXT_BYTES];

	for (size_t i = 0; i < via->nnets; i++) {
		const struct entrance_net *net = &via->nets[i];

		if (plan->is_given4 && memcmp(net, &four, sizeof(four)) == 0)
			return err_set(err, EINVAL, "--route %s: --cidr has it inside",
				plan_format4(plan, network));
		if (plan->is_given6 && memcmp(net, &six, sizeof(six)) == 0)
			return err_set(err, EINVAL, "--route %s: --cidr6 has it inside",
				plan_format6(plan, network));
	}
	return 0;
}

/* All that goes by a link is out of reach of what stands between the TAP and this host. */
static int settle_via(struct sandbox_config *config, struct err *err)
{
	struct sandbox_via *via = &config->via;
	struct net_plan *plan = &config->net;
	const char *what = plan->allows_host_loopback                         ? "--host-loopback"
			   : config->pcap_path                                ? "--pcap"
			   : plan->outbound4.family || plan->outbound6.family ? "--outbound-addr"
									      : NULL;

	if (!via->is_on && (via->nnets > 0 || via->has_dns || via->key_path))
		return err_set(err, EINVAL, "%s goes with --via LINK",
			via->nnets > 0 ? "--route"
			: via->has_dns ? "--dns-via"
				       : "--key-file");
	if (!via->is_on)
		return 0;
	if (linkspec_check_key(&via->spec, via->key_path, err) < 0 ||
		check_routes(via, plan, err) < 0)
		return -EINVAL;
	if (via->nnets == 0 && what)
		return err_set(err, EINVAL,
			"%s: all goes by --via, nothing through this host: expected --route "
			"NETWORK/LEN for what is to go by the link",
			what);
	if (via->has_dns && (config->dns_override.family || !plan->has_dns))
		return err_set(err, EINVAL,
			"--dns-via: names are asked of the exit's resolver: "
			"expected neither --dns nor --no-dns");
	if (via->nnets == 0)
		plan->has_outbound = false;
	if (via->mtu == 0 || plan->mtu < via->mtu)
		via->mtu = plan->mtu;
	return 0;
}

static int check_circles(const struct sandbox_config *config, struct err *err)
{
	for (size_t i = 0; i < config->outwards.count; i++)
		for (size_t j = 0; j < config->forwards.count; j++)
			if (outward_check_circle(&config->outwards.items[i],
				    &config->forwards.items[j], err) < 0)
				return -EINVAL;
	return 0;
}

static int check_outwards(const struct sandbox_config *config, struct err *err)
{
	char first[OUTWARD_TEXT_BYTES], second[OUTWARD_TEXT_BYTES];
	const struct outward_spec *specs = config->outwards.items;

	for (size_t i = 0; i < config->outwards.count; i++)
		for (size_t j = 0; j < i; j++)
			if (outward_clash(&specs[j], &specs[i]))
				return err_set(err, EINVAL,
					"-R %s and -R %s need the same port inside: expected it once",
					PARSE_SHOWN(
						outward_format(&specs[j], first, sizeof(first))),
					PARSE_SHOWN(
						outward_format(&specs[i], second, sizeof(second))));
	return check_circles(config, err);
}

/* What is right by itself; where there are defaults it may be they that do not fit. */
static int check_together(
	struct sandbox_config *config, const struct defaults *defaults, struct err *err)
{
	if (settle_via(config, err) == 0 && spec_list_check(&config->forwards, err) == 0 &&
		check_users(config, err) == 0 && check_outwards(config, err) == 0 &&
		systemd_check(config, err) == 0)
		return 0;
	size_t len = strlen(err->text);
	if (defaults->count > 0)
		snprintf(err->text + len, sizeof(err->text) - len,
			" (with the options of %s; --no-config leaves them out)",
			defaults->items[0].name);
	return -EINVAL;
}

/* Fill config.defaults, which is to be freed; -v tells of them. */
static void tell_defaults(const struct defaults *defaults, struct sandbox_config *config)
{
	char **told = g_new0(char *, defaults->count + 1);

	for (size_t i = 0; i < defaults->count; i++) {
		told[i] =
			g_strdup_printf("%s: %s", defaults->items[i].name, defaults->items[i].text);
		log_info("options of %s", PARSE_SHOWN(told[i]));
	}
	config->defaults = (const char *const *)told;
}

/* Returns an enum detach_side, or -errno. */
static int detach(struct run_options *options, struct detach *out, int *status, struct err *err)
{
	struct sandbox_config *config = &options->config;
	int keep[2 * SANDBOX_KEEP_FDS_MAX + FORWARD_MAX + 6];
	size_t nkeep = config->nkeep_fds;

	memcpy(keep, config->keep_fds, nkeep * sizeof(*keep));
	if (config->ready_fd >= 0)
		keep[nkeep++] = config->ready_fd;
	if (config->info_fd >= 0)
		keep[nkeep++] = config->info_fd;
	if (config->alive_fd >= 0)
		keep[nkeep++] = config->alive_fd;
	if (config->via.is_on && config->via.spec.kind == LINKSPEC_FDS)
		for (size_t i = 0; i < 2; i++)
			keep[nkeep++] = config->via.spec.fds[i];
	if (options->log_fd >= 0)
		keep[nkeep++] = options->log_fd;
	for (size_t i = 0; i < config->service.ngiven; i++)
		keep[nkeep++] = config->service.given[i].fd;
	for (size_t i = 0; i < config->forwards.count; i++)
		if (config->forwards.items[i].given_fd > 0)
			keep[nkeep++] = config->forwards.items[i].given_fd;
	config->detach = out;
	int side = detach_start(out, keep, nkeep, status, err);
	if (side == DETACH_CALLER && out->name[0] != '\0' &&
		/* which is not COMMAND's fault; who has closed it does not want to know */
		dprintf(STDOUT_FILENO, "%s\n", out->name) < 0 && errno != EBADF)
		return err_sys(err, errno, "%s runs, but: cannot write to stdout", out->name);
	return side;
}

static int start(struct run_options *options, const struct cmd_call *call, int first,
	struct detach *background)
{
	char **rest = call->argv + first;
	struct err err = {0};
	int status;

	if (start_settle(options, &err) < 0)
		return cmd_failed(&err);
	systemd_read(options);
	int side = options->detaches ? detach(options, background, &status, &err)
				     : (int)DETACH_SUPERVISOR;
	if (side < 0)
		return cmd_failed(&err);
	if (side == DETACH_CALLER)
		return status;
	if (supervisor_run(&options->config, &status, &err) < 0)
		return cmd_failed(&err);
	if (err.code != 0)
		log_error("%s", err.text);
	hint_subcommand(call->all, first < call->argc ? rest[0] : call->argv[0], status);
	return status;
}

static int run(const struct cmd_call *call)
{
	struct run_options *options;
	unsigned typed;
	struct defaults defaults = {0};
	struct agent_beside beside = {.tenant.listen_fd = -1};
	struct detach background = {.is_kept = false};
	struct err err = {0};
	int status;

	int first = read_options(&options, &typed, call, &defaults, &err);
	if (first < 0 || check_together(&options->config, &defaults, &err) < 0 ||
		set_command(options, call->argc - first, call->argv + first, &err) < 0) {
		status = cmd_usage_error(&err);
	} else {
		cmd_set_log_level(options->verbosity);
		tell_defaults(&defaults, &options->config);
		idle_tell(&options->config, typed);
		status = read_agent(options, call->argc - first, call->argv + first, &beside);
		if (status < 0)
			status = start(options, call, first, &background);
		detach_finish(&background, status);
		agent_close_beside(&beside);
	}
	run_options_free(options);
	defaults_free(&defaults);
	return status;
}

const struct subcommand run_subcommand = {
	.name = "run",
	.synopsis = "[run] [OPTION...] [--] COMMAND [ARG...]\n[run] [OPTION...] -c 'SHELL COMMAND'",
	.summary = "run a command in its own network",
	.options = run_options_table,
	.footer =
		"As with docker: -p 8080:80, -e, --name. For --publish and ssh's -L: -p; for ssh's -R: -R; for -w: -C; "
		"for -u root: --root.\n-it, --rm, -v and --net are not needed: COMMAND has the caller's "
		"terminal and files, and its own network.",
	.run = run,
};
