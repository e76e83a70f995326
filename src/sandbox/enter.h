/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/enter - join a running sandbox and run a command there with the rights of its COMMAND */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proc/command.h"
#include "util/err.h"

/*
 * How it works
 *
 * The caller's process asks the sandbox for its namespaces, enters them, starts the command as its
 * child and then gives its own rights up. It stays the command's supervisor: a subreaper that
 * passes signals on (but for those of the terminal, which the command has already: it is in the
 * same process group), stops when the command is stopped, and ends what the command leaves behind.
 *
 * The connection to the sandbox stays open. Its end is the end of the sandbox, and then everything
 * below is killed.
 *
 * In a sandbox with its own PID namespace, only the command is a child of ours; what it leaves
 * behind goes to the sandbox's init, and the kernel ends all of it with the sandbox. The pids that
 * /proc shows are others than those kill(2) takes from here, so the tree is never looked at there.
 */

enum enter_ns { ENTER_USER, ENTER_NET, ENTER_MNT, ENTER_PID, ENTER_IPC, ENTER_NAMESPACES };

/* What a sandbox lets in. Everything belongs to it; free with enter_fini. */
struct enter {
	int control; /* its end is the end of the sandbox */
	int ns[ENTER_NAMESPACES];
	int names; /* where an agent tells names (sandbox/tellers); -1: none was asked for */
	bool is_root, has_pid_ns, has_no_network;
	char **env;     /* variables of COMMAND that tell where it runs; NULL-terminated */
	json_t *answer; /* has their texts */
};

struct enter_command {
	const char *sandbox; /* for messages */
	/*
	 * Its argv, env, run, told, chdir and new_session; the rest is filled in here. run has all
	 * capabilities over the sandbox, which it is to give up itself, and is out of reach of
	 * those inside (rights_hide). chdir NULL: the caller's directory if it is there, else "/".
	 */
	struct command command;
	uint64_t stop_timeout_ms; /* from SIGTERM to SIGKILL */
};

/*
 * Ask the sandbox at the other end of @control, which is taken over, to be let in, and with
 * @tells_names for `names`. Returns 0 or -errno with @err filled and nothing to free.
 */
int enter_ask(int control, bool tells_names, struct enter *out, struct err *err);
void enter_fini(struct enter *enter);

/*
 * Move the calling process into namespaces, by descriptors in the order of enum enter_ns, with all
 * capabilities over them; children are in the PID namespace if @joins_pid_ns. Returns 0 or -errno.
 */
int enter_namespaces(const int ns[ENTER_NAMESPACES], bool joins_pid_ns);

/*
 * Run @command in there to its end. Not undone: the caller's process is left without rights and
 * with its standard streams closed, good for exiting only. Returns 0 with the exit status in
 * *@status (also 126 and 127, with @err filled), or -errno with @err filled.
 */
int enter_run(
	struct enter *enter, const struct enter_command *command, int *status, struct err *err);
