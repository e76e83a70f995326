/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/program - the arguments and the environment that COMMAND is executed with */
#pragma once

#include "sandbox/config.h"

/*
 * Lists that end with NULL, both NULL before program_make. It points into itself, and to the
 * environment of the configuration.
 */
struct program {
	char **argv; /* placeholders replaced */
	char **env;  /* with NSWRAP_* */
	char variables[3][sizeof("NSWRAP_HOST_PORT=") + ADDR_PATH_MAX];
};

/*
 * Placeholders are {guest-port}, <guest-port>, {host-port} and <host-port>, and the same with ":N"
 * for the N-th forward (from 1), anywhere in the arguments. Anything else stays as it is, also
 * other words in braces. Where there are no forwards, the first one's guest port is @guest_port (0:
 * none). Does every one in @argv name one of @count forwards? Returns 0, or -EINVAL with @err
 * filled.
 */
int program_check(char *const *argv, size_t count, uint16_t guest_port, struct err *err);

/*
 * For the sandbox @name whose rules are @forwards, with their ports as they are. Returns 0, or
 * -errno with @err filled; program_free in either case.
 */
int program_make(struct program *program, const struct sandbox_config *config, const char *name,
	const struct forward_list *forwards, struct err *err);
void program_free(struct program *program);
