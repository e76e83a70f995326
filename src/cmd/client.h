/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/client - what the subcommands that ask a running sandbox have in common */
#ifndef NSWRAP_CMD_CLIENT_H
#define NSWRAP_CMD_CLIENT_H

#include <stddef.h>

#include "cmd/cmd.h"
#include "control/registry.h"

/*
 * Read options that may stand before, between and behind the operands; behind "--" all are
 * operands. Stores pointers into argv to @operands, at most @max. Returns how many, or -EINVAL with
 * @err filled.
 */
int client_operands(const struct option_def *table, const struct cmd_call *call, void *target,
	char **operands, size_t max, struct err *err);

/*
 * Connect to the control socket of the sandbox or mesh @name, or if that is NULL of the only mesh.
 * Returns a descriptor, or -errno with @err.
 */
int client_connect(enum registry_kind kind, const char *name, struct err *err);

/* Wait until the other end of @sock is closed; what it still says is not read. */
void client_await_end(int sock);

/* Let whoever is at the other end of @sock go on: one that was stopped (Ctrl-Z) hears nobody. */
void client_wake(int sock);

#endif
