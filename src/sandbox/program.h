/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/program - the arguments and the environment that COMMAND is executed with */
#ifndef NSWRAP_SANDBOX_PROGRAM_H
#define NSWRAP_SANDBOX_PROGRAM_H

#include "sandbox/config.h"

/* NULL-terminated, owned; all NULL before program_make. */
struct program {
	char **argv; /* placeholders replaced */
	char **env;  /* with NSWRAP_* */
};

/*
 * For the sandbox @name whose rules are @forwards, with their ports as they are. Returns 0, or
 * -errno with @err filled; program_free in either case.
 */
int program_make(struct program *program, const struct sandbox_config *config, const char *name,
	const struct forward_list *forwards, struct err *err);
void program_free(struct program *program);

#endif
