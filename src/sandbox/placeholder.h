/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/placeholder - ports in the arguments of COMMAND: {guest-port}, {host-port:2} */
#ifndef NSWRAP_SANDBOX_PLACEHOLDER_H
#define NSWRAP_SANDBOX_PLACEHOLDER_H

#include "forward/spec.h"
#include "util/err.h"

/*
 * Replace {guest-port}, <guest-port>, {host-port} and <host-port>, and the same with ":N" for the
 * N-th forward (from 1), anywhere in @texts, which end with NULL. Anything else stays as it is,
 * also other words in braces. Returns a new list for placeholder_free_list, or NULL with @err
 * filled (no such forward, or no memory).
 */
char **placeholder_expand_list(
	char *const *texts, const struct forward_list *forwards, struct err *err);
void placeholder_free_list(char **texts);

/*
 * Check without values: does every placeholder of @texts name one of @count forwards? Returns 0 or
 * -EINVAL with @err filled.
 */
int placeholder_check(char *const *texts, size_t count, struct err *err);

#endif
