/* SPDX-License-Identifier: Apache-2.0 */
/* proc/inherited - children that were there before this program */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define INHERITED_MAX 256

/*
 * A shell that became us by `exec` may have had some, as a script has one that logs what it says:
 * they are neither ours to end nor to be waited for; those past the limit are. Starts as all zero.
 */
struct inherited {
	pid_t pids[INHERITED_MAX];
	size_t count;
};

/* Those that are there now: before we start any, or become a subreaper. */
void inherited_find(struct inherited *inherited);

bool inherited_has(const struct inherited *inherited, pid_t pid);

/* @pid, any child of ours, was reaped: its number may come again. */
void inherited_forget(struct inherited *inherited, pid_t pid);
