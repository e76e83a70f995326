/* SPDX-License-Identifier: Apache-2.0 */
/* nswrap - run a command in its own network: which subcommand is meant */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/about.h"
#include "cmd/agent.h"
#include "cmd/complete.h"
#include "cmd/doctor.h"
#include "cmd/exec.h"
#include "cmd/exit.h"
#include "cmd/guess.h"
#include "cmd/help.h"
#include "cmd/logs.h"
#include "cmd/mesh.h"
#include "cmd/output.h"
#include "cmd/port.h"
#include "cmd/ps.h"
#include "cmd/run.h"
#include "cmd/show_installer.h"
#include "cmd/sockets.h"
#include "cmd/stop.h"
#include "cmd/tunnel.h"

static const struct subcommand *const all[] = {&run_subcommand, &exec_subcommand, &ps_subcommand,
	&port_subcommand, &stop_subcommand, &logs_subcommand, &doctor_subcommand, &mesh_subcommand,
	&agent_subcommand, &exit_subcommand, &tunnel_subcommand, &sockets_subcommand,
	&show_installer_subcommand, &help_subcommand, NULL};

/* Words that mean one of them as well. */
static const struct {
	const char *word;
	const struct subcommand *sub;
} aliases[] = {
	{"manager", &mesh_subcommand}, {"--help", &help_subcommand}, {"-h", &help_subcommand}};

static const struct subcommand *find(const char *word)
{
	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
		if (strcmp(aliases[i].word, word) == 0)
			return aliases[i].sub;
	return cmd_find(all, word);
}

/* `nswrap site.yaml`, as NoRouter has it. */
static bool is_manifest(const char *word)
{
	const char *dot = strrchr(word, '.');
	struct stat info;

	return dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0) &&
	       stat(word, &info) == 0 && !S_ISDIR(info.st_mode);
}

/* `nswrap enter --via LINK COMMAND`: run, by the name of what it does then. A sandbox that runs is
 * entered by exec, as cmd/guess says. */
static bool is_entrance(int argc, char *const *argv)
{
	return argc > 2 && strcmp(argv[1], "enter") == 0 && strncmp(argv[2], "--via", 5) == 0;
}

static int run(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "help";
	const struct subcommand *sub = is_entrance(argc, argv) ? &run_subcommand : find(word);
	const struct cmd_call named = {all, argc - 1, argv + 1}, unnamed = {all, argc, argv};
	struct err err;

	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
		about_print(stdout);
		return 0;
	}
	if (strcmp(word, "__complete") == 0 && argc > 2) {
		complete_print(stdout, all, find(argv[2]), argc - 2, argv + 2);
		return 0;
	}
	if (sub)
		return help_run(sub, &named);
	/* a first word that is no subcommand is an option of run, or the COMMAND itself */
	if (is_manifest(word))
		return help_run(&mesh_subcommand, &unnamed);
	return guess_check_words(&unnamed, &err) < 0 ? cmd_usage_error(&err)
						     : help_run(&run_subcommand, &unnamed);
}

int main(int argc, char **argv)
{
	struct err err;

	cmd_begin();
	int status = run(argc, argv);
	return output_end(&err) < 0 ? cmd_failed(&err) : status;
}
