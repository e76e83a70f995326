/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/client - what the subcommands that ask a running sandbox have in common */
#ifndef NSWRAP_CMD_CLIENT_H
#define NSWRAP_CMD_CLIENT_H

#include <stddef.h>

#include "util/err.h"
#include "util/option.h"

/*
 * Read options that may stand before, between and behind the operands; behind "--" all are
 * operands. Stores pointers into argv to @operands, at most @max. Returns how many, or -EINVAL with
 * @err filled.
 */
int client_operands(const struct option_def *table, int argc, char **argv, void *target,
	char **operands, size_t max, struct err *err);

/* Connect to the control socket of sandbox @name. Returns a descriptor, or -errno with @err. */
int client_connect(const char *name, struct err *err);

/* Let whoever is at the other end of @sock go on: one that was stopped (Ctrl-Z) does not hear us.
 */
void client_wake(int sock);

/* Setter of an option without a value; its target is a bool. */
int client_set_true(void *target, const char *value, struct err *err);

#endif
