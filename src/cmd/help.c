/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/help - say what there is */
#include "cmd/help.h"

#include <stdio.h>
#include <string.h>

static void print_synopsis(const struct subcommand *sub)
{
	const char *line = sub->synopsis;

	while (*line) {
		size_t len = strcspn(line, "\n");

		printf("  nswrap %.*s\n", (int)len, line);
		line += len + (line[len] == '\n');
	}
}

static void print_overview(const struct subcommand *const *all)
{
	printf("nswrap runs a command in its own network, without root, and leads ports into it.\n\n");
	for (size_t i = 0; all[i]; i++)
		print_synopsis(all[i]);
	printf("\n");
	for (size_t i = 0; all[i]; i++)
		printf("  %-8s %s\n", all[i]->name, all[i]->summary);
	printf("\nExample: nswrap -p 9876 -P 8888 jupyter lab --port={guest-port}\n"
	       "Options of each: nswrap help SUBCOMMAND. Manual: man nswrap\n");
}

void help_print(const struct subcommand *sub)
{
	print_synopsis(sub);
	printf("\n%s%s\n", sub->summary, sub->options ? "\n" : "");
	if (sub->options)
		option_print_usage(stdout, sub->options);
}

static int run(const struct cmd_call *call)
{
	struct err err;

	if (call->argc < 2) {
		print_overview(call->all);
		return 0;
	}
	const struct subcommand *sub = cmd_find(call->all, call->argv[1]);
	if (!sub) {
		err_set(&err, 0, "there is no subcommand %s; nswrap help lists them",
			call->argv[1]);
		return cmd_usage_error(&err);
	}
	help_print(sub);
	return 0;
}

const struct subcommand help_subcommand = {
	.name = "help",
	.synopsis = "help [SUBCOMMAND]",
	.summary = "say what there is",
	.run = run,
};
