/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/program - the arguments and the environment that COMMAND is executed with */
#pragma once

#include "sandbox/config.h"

#define PROGRAM_SERVICE_MAX 6

/*
 * Lists that end with NULL, both NULL before program_make. It points into itself, and to the
 * environment of the configuration.
 */
struct program {
	char **argv; /* placeholders replaced */
	char **env;  /* with NSWRAP_* */
	char variables[3][sizeof("NSWRAP_HOST_PORT=") + ADDR_PATH_MAX];
	char *service[PROGRAM_SERVICE_MAX];           /* of program_add_service, owned */
	char *pid_variables[PROGRAM_SERVICE_MAX + 1]; /* those of them that proc/command fills in */
	size_t nservice, npid_variables;
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

/*
 * Add what COMMAND has of a service manager, whom it finds at @notify_path ("": it has none). What
 * the environment has already stays as it is. Returns 0, or -errno with @err filled.
 */
int program_add_service(struct program *program, const struct sandbox_service *service,
	const char *notify_path, struct err *err);
void program_free(struct program *program);
