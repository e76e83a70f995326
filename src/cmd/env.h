/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/env - the environment of a command: the caller's, with changes */
#pragma once

#include <stddef.h>

#include "util/err.h"

#define ENV_CHANGES_MAX 1024

/* Starts as all zero. The texts stay the caller's. */
struct env_changes {
	const char *items[ENV_CHANGES_MAX]; /* "NAME=VALUE" sets, "NAME" unsets */
	size_t count;
};

/*
 * Setters of options (util/option) whose target is a struct env_changes. "NAME=VALUE", or "NAME"
 * for the caller's value, which is there anyway; "NAME": a variable to be taken away.
 */
int env_set(void *target, const char *value, struct err *err);
int env_unset(void *target, const char *value, struct err *err);

/*
 * The caller's environment without what is nswrap's own (NSWRAP_*, and what a service
 * manager has told it), then @more (NULL or NULL-terminated), then the changes in order; each name
 * once. Free the list, not its texts, which belong to environ, @more and @changes. NULL: no memory.
 */
char **env_make(const struct env_changes *changes, char *const *more);
