/* SPDX-License-Identifier: Apache-2.0 */
/* proc/command - fork and execute a program with the rights of a sandbox */
#ifndef NSWRAP_PROC_COMMAND_H
#define NSWRAP_PROC_COMMAND_H

#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "util/err.h"

struct command {
	char **argv; /* NULL: run is called in its place */
	char **env;
	/*
	 * In the child, which keeps all rights that the caller has, and none beyond its descriptors
	 * 0, 1, 2 and the kept ones; returns the exit status.
	 */
	int (*run)(void *told);
	void *told;
	const char *chdir; /* NULL: stay */
	bool keeps_caps;   /* --root: keep the capabilities of the namespace */
	bool new_session;
	const int *keep_fds;
	size_t nkeep_fds;
	sigset_t mask;
	struct rlimit nofile;
};

enum command_failure { COMMAND_OK, COMMAND_SETUP_FAILED, COMMAND_EXEC_FAILED };

/*
 * Start @command as a child of this process, which must be inside the sandbox already, and wait
 * until it is executed: SIGKILL when this process dies, no descriptors but 0, 1, 2 and the kept
 * ones, no capabilities, no_new_privs. Returns its pid, or -errno with @err filled and *@failure
 * saying which step it was (COMMAND_EXEC_FAILED: the program itself).
 */
pid_t command_spawn(const struct command *command, enum command_failure *failure, struct err *err);

/* Exit status of nswrap for a failed command_spawn: 125, 126 or 127. */
int command_failure_status(enum command_failure failure, int code);

/* Exit status as a shell shows it: the command's own, or 128 + signal. @code, @status: waitid(2) */
int command_exit_status(int code, int status);

#endif
