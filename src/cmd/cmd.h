/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/cmd - what a subcommand is, and what all of them say alike */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "control/registry.h"
#include "util/err.h"
#include "util/option.h"

/* Exit statuses besides the command's own. */
enum {
	EXIT_USAGE = 2,
	EXIT_NSWRAP_FAILED = 125,
	CMD_HELP =
		256, /* none: who called prints the help of the subcommand, and 0 is the status */
};

/* One call of nswrap. */
struct cmd_call {
	const struct subcommand *const *all; /* ends with NULL */
	int argc;
	char **argv; /* argv[0] is the subcommand's name; where that was left out, nswrap's */
};

/* Each has a file of its name, which makes one struct of its options, and of that one call. */
struct subcommand {
	const char *name;
	const char *synopsis; /* lines of it, each without "nswrap " */
	const char *summary;
	const struct option_def *options;        /* NULL: none */
	const char *footer;                      /* of its help, or NULL */
	int (*run)(const struct cmd_call *call); /* returns the exit status, or CMD_HELP */
};

/* What the caller of this program left it with must not matter. First of all. Streams that are
 * closed have their place taken, by what can be neither read nor written; programs that it executes
 * without streams of theirs (proc/command) have them closed. */
void cmd_begin(void);

/* NULL if there is none of that name. */
const struct subcommand *cmd_find(const struct subcommand *const *all, const char *name);

/*
 * Read options that may stand before, between and behind the operands; behind "--" all are
 * operands. Stores pointers into argv to @operands, at most @max. Returns how many, or -EINVAL with
 * @err filled.
 */
int cmd_operands(const struct option_def *table, const struct option_habit *habits,
	const struct cmd_call *call, void *target, char **operands, size_t max, struct err *err);

/*
 * Print @err as the one line that it is. Return EXIT_USAGE or EXIT_NSWRAP_FAILED; of a usage error
 * that is -h or --help (util/option), without a word, CMD_HELP.
 */
int cmd_usage_error(const struct err *err);
int cmd_failed(const struct err *err);

/* Setters of -q and -v, whose target is an int, 0 at first; and what it means for the log. */
int cmd_set_quiet(void *target, const char *value, struct err *err);
int cmd_set_verbose(void *target, const char *value, struct err *err);
void cmd_set_log_level(int verbosity);

/* --- what those that ask a running sandbox or mesh have in common --------------------------- */

/*
 * Connect to the control socket of the sandbox or mesh @name, or if that is NULL of the only mesh.
 * Returns a descriptor, or -errno with @err.
 */
int cmd_connect(enum registry_kind kind, const char *name, struct err *err);

/*
 * The status of each sandbox or tunnel that runs, in an array; or {"name", "error"} of one whose
 * status cannot be had. @who: what it is, for errors. NULL with @err filled.
 */
json_t *cmd_ask_all(enum registry_kind kind, const char *who, struct err *err);

/* Wait until the other end of @sock is closed, for @timeout_ms at most (-1: for ever); what it
 * still says is not read. Returns false when the time is over. */
bool cmd_await_end(int sock, int timeout_ms);

/* Let whoever is at the other end of @sock go on: one that was stopped (Ctrl-Z) hears nobody. */
void cmd_wake(int sock);
