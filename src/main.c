/* SPDX-License-Identifier: Apache-2.0 */
/* nswrap - run a command in its own network: which subcommand is meant */
#include "cmd/cmd.h"

int main(int argc, char **argv)
{
	const struct subcommand *sub =
		argc > 1 ? subcommand_find(argv[1]) : subcommand_find("help");

	/* a first word that is no subcommand is an option of run, or the COMMAND itself */
	return sub ? sub->run(argc - 1, argv + 1) : cmd_run(argc, argv);
}
