/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/help - say what there is */
#include "cmd/help.h"

#include <stdio.h>
#include <string.h>

#include "cmd/guess.h"

#define OPTIONS_MAX 80

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
		printf("  %-15s %s\n", all[i]->name, all[i]->summary);
	printf("\nExample: nswrap -p 9876:8888 jupyter lab --port={guest-port}\n"
	       "Options of each, and what --publish, -L, -it and -w of other programs are here:\n"
	       "nswrap SUBCOMMAND --help. Manual: man nswrap\n");
}

void help_print(const struct subcommand *sub)
{
	struct option_def rows[OPTIONS_MAX] = {0};
	size_t count = 0;

	print_synopsis(sub);
	printf("\n%s\n\n", sub->summary);
	for (; sub->options && sub->options[count].name && count < OPTIONS_MAX - 2; count++)
		rows[count] = sub->options[count];
	rows[count] = (struct option_def){'h', "help", NULL, "say this", NULL, 0};
	option_print_usage(stdout, rows);
	if (sub->footer)
		printf("\n%s\n", sub->footer);
}

/* What stands behind it, as in `help port add`, is the subcommand's own. */
static int run(const struct cmd_call *call)
{
	const char *word = call->argc > 1 ? call->argv[1] : "";
	const struct subcommand *sub = cmd_find(call->all, word);
	struct err err;

	if (call->argc < 2)
		print_overview(call->all);
	else if (sub)
		help_print(sub);
	else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		help_print(&help_subcommand);
	else {
		guess_unknown_subcommand(call->all, word, &err);
		return cmd_usage_error(&err);
	}
	return 0;
}

int help_run(const struct subcommand *sub, const struct cmd_call *words)
{
	int status = sub->run(words);

	if (status == CMD_HELP)
		help_print(sub);
	return status == CMD_HELP ? 0 : status;
}

const struct subcommand help_subcommand = {
	.name = "help",
	.synopsis = "help [SUBCOMMAND]",
	.summary = "say what there is",
	.run = run,
};
