/* SPDX-License-Identifier: Apache-2.0 */
/* proc/command - start a program, and hear why it could not be started */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "proc/confine.h"
#include "util/err.h"

#define COMMAND_LISTEN_MAX 64
#define COMMAND_PID_BYTES  12 /* of a pid, with its NUL */

enum command_rights {
	COMMAND_DROPS_ALL,  /* no capabilities, no_new_privs */
	COMMAND_KEEPS_CAPS, /* no_new_privs only: --root keeps the capabilities of the namespace */
	COMMAND_KEEPS_ALL,  /* those of this process */
};

/* It gets no descriptors but 0, 1, 2 and the kept ones. */
struct command {
	const char *program; /* what is executed, looked up in PATH; NULL: argv[0] */
	char *const *argv;   /* NULL: run is called in its place */
	char **env;          /* NULL: that of this process */
	/* variables of env, "NAME=" with room for COMMAND_PID_BYTES more, where its own pid is
	 * written; NULL-terminated, or NULL */
	char *const *pid_variables;
	/* In the child, set up as the rest says; returns the exit status. */
	int (*run)(void *told);
	void *told;
	/* three that become 0, 1 and 2; NULL: those of this process, but for such as are
	 * close-on-exec (cmd_begin) */
	const int *streams;
	const int *keep_fds;
	size_t nkeep_fds;
	const int *listen_fds; /* become 3, 4, ... which are none of keep_fds: sd_listen_fds(3) */
	size_t nlisten_fds;    /* at most COMMAND_LISTEN_MAX */
	/* tried before chdir: where that leads from; "": known to be not there. NULL: stay */
	const char *first_chdir;
	const char *chdir; /* NULL: stay */
	enum command_rights rights;
	const struct confine *confine; /* NULL: not; not with COMMAND_KEEPS_ALL */
	bool new_session;
	int terminal; /* with new_session: becomes its controlling terminal; 0: none */
	/* a process group of its own, the foreground one of this process's terminal */
	bool takes_terminal;
	/*
	 * With argv: until it is the program the child has this process's memory, and this process
	 * stands still. So nobody in whose reach the child is may be able to look into that. The
	 * pid_variables are written in it.
	 */
	bool shares_memory;
	bool is_subreaper;  /* what it starts stays below it while it lives */
	bool restores_pipe; /* SIGPIPE, which this process ignores, ends it again */
	int death_signal;   /* comes when this process dies; 0: none */
	sigset_t mask;
	struct rlimit nofile;
};

enum command_failure { COMMAND_OK, COMMAND_SETUP_FAILED, COMMAND_EXEC_FAILED };

/*
 * Start @command as a child of this process, without waiting for it. Returns its pid with *@report,
 * the caller's, for command_hear; or -errno with @err filled.
 */
pid_t command_start(const struct command *command, int *report, struct err *err);

/*
 * Wait until the program is executed, or not: then @err says why (err->code: the errno) and the
 * child exits. One that died before says nothing of this: COMMAND_OK, as waitid(2) will tell.
 * @report stays open.
 */
enum command_failure command_hear(int report, struct err *err);

/*
 * Both. Returns its pid, or -errno with @err filled and *@failure saying which step it was
 * (COMMAND_EXEC_FAILED: the program itself); the child is reaped then.
 */
pid_t command_spawn(const struct command *command, enum command_failure *failure, struct err *err);

/* Exit status of nswrap for a failed command_spawn: 125, 126 or 127. */
int command_failure_status(enum command_failure failure, int code);

/* Exit status as a shell shows it: the command's own, or 128 + signal. @code, @status: waitid(2) */
int command_exit_status(int code, int status);
