/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/help - the table of subcommands, and its texts */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "util/log.h"
#include "version.h"

const struct subcommand subcommands[] = {
	{"run", "[run] [OPTION...] [--] COMMAND [ARG...]\n[run] [OPTION...] -c 'SHELL COMMAND'",
		"run a command in its own network", run_options, cmd_run},
	{"exec", "exec SANDBOX [--] COMMAND [ARG...]",
		"run another command in a sandbox that is there", exec_options, cmd_exec},
	{"ps", "ps [--json]", "list the running sandboxes", ps_options, cmd_ps},
	{"port", "port list|add|remove SANDBOX [SPEC...]",
		"show or change the forwards of a sandbox", port_options, cmd_port},
	{"stop", "stop SANDBOX [-t SECONDS]", "end a sandbox", stop_options, cmd_stop},
	{"doctor", "doctor [--json]", "check whether nswrap can work here", doctor_options,
		cmd_doctor},
	{"mesh",
		"mesh [OPTION...] MANIFEST\nMANIFEST.yaml\nmesh --check MANIFEST\nmesh --example\n"
		"mesh status [--json] [NAME]\nmesh reload|stop [NAME]",
		"make one network of hosts that commands lead to", mesh_options, cmd_mesh},
	{"manager", NULL, NULL, NULL, cmd_mesh},
	{"agent", "agent\n[run] [OPTION...] -c 'SHELL COMMAND' agent\nexec SANDBOX nswrap agent",
		"be a host of a mesh, on the host or in a sandbox", agent_options, cmd_agent},
	{"help", "help [SUBCOMMAND]", "say what there is", NULL, cmd_help},
	{"--help", NULL, NULL, NULL, cmd_help},
	{"-h", NULL, NULL, NULL, cmd_help},
	{"--version", NULL, NULL, NULL, cmd_version},
	{"-V", NULL, NULL, NULL, cmd_version},
	{NULL, NULL, NULL, NULL, NULL},
};

const struct subcommand *subcommand_find(const char *name)
{
	for (const struct subcommand *sub = subcommands; sub->name; sub++)
		if (strcmp(sub->name, name) == 0)
			return sub;
	return NULL;
}

int cmd_usage_error(const struct err *err)
{
	log_error("%s", err->text);
	return EXIT_USAGE;
}

int cmd_failed(const struct err *err)
{
	log_error("%s", err->text);
	return EXIT_NSWRAP_FAILED;
}

static void print_synopsis(const struct subcommand *sub)
{
	const char *line = sub->synopsis;

	while (*line) {
		size_t len = strcspn(line, "\n");

		printf("  nswrap %.*s\n", (int)len, line);
		line += len + (line[len] == '\n');
	}
}

static void print_overview(void)
{
	printf("nswrap runs a command in its own network, without root, and leads ports into it.\n\n");
	for (const struct subcommand *sub = subcommands; sub->name; sub++)
		if (sub->summary)
			print_synopsis(sub);
	printf("\n");
	for (const struct subcommand *sub = subcommands; sub->name; sub++)
		if (sub->summary)
			printf("  %-8s %s\n", sub->name, sub->summary);
	printf("\nExample: nswrap -p 9876 -P 8888 jupyter lab --port={guest-port}\n"
	       "Options of each: nswrap help SUBCOMMAND. Manual: man nswrap\n");
}

int cmd_help(int argc, char **argv)
{
	struct err err;

	if (argc < 2) {
		print_overview();
		return 0;
	}
	const struct subcommand *sub = subcommand_find(argv[1]);
	if (!sub || !sub->summary) {
		err_set(&err, 0, "there is no subcommand %s; nswrap help lists them", argv[1]);
		return cmd_usage_error(&err);
	}
	print_synopsis(sub);
	printf("\n%s%s\n", sub->summary, sub->options && sub->options->name ? "\n" : "");
	if (sub->options)
		option_print_usage(stdout, sub->options);
	return 0;
}

int cmd_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("nswrap " NSWRAP_VERSION "\n");
	return 0;
}
