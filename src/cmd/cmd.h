/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/cmd - the subcommands: options become one struct, and that one call */
#ifndef NSWRAP_CMD_CMD_H
#define NSWRAP_CMD_CMD_H

#include <stddef.h>

#include "util/err.h"
#include "util/option.h"

/* Exit statuses besides the command's own. */
enum { EXIT_USAGE = 2, EXIT_NSWRAP_FAILED = 125 };

struct subcommand {
	const char *name;
	const char *synopsis; /* lines of it, each without "nswrap " */
	const char *summary;
	const struct option_def *options; /* NULL: none */
	/* argv[0] is the name of the subcommand; returns the exit status */
	int (*run)(int argc, char **argv);
};

extern const struct option_def run_options[], exec_options[], ps_options[], port_options[],
	stop_options[], doctor_options[], agent_options[], mesh_options[];

/* All of them; ends with an entry whose name is NULL. */
extern const struct subcommand subcommands[];

/* NULL if there is none of that name. */
const struct subcommand *subcommand_find(const char *name);

int cmd_run(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_port(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_agent(int argc, char **argv);
int cmd_mesh(int argc, char **argv);
int cmd_help(int argc, char **argv);
int cmd_version(int argc, char **argv);

/* Print @err as the one line that it is. Return EXIT_USAGE or EXIT_NSWRAP_FAILED. */
int cmd_usage_error(const struct err *err);
int cmd_failed(const struct err *err);

#endif
