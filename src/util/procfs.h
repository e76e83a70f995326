/* SPDX-License-Identifier: Apache-2.0 */
/* util/procfs - processes and what they have open, as /proc shows them */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <sys/types.h>

/* The next process that @proc, /proc, lists; 0: there is no other, or @proc is NULL. */
pid_t procfs_next_pid(DIR *proc);

/*
 * Is one of the open sockets of @pid, each by its inode, the one that @is_it takes? False if there
 * is no @pid, or its descriptors may not be looked at.
 */
bool procfs_has_socket(pid_t pid, bool (*is_it)(void *owner, unsigned long inode), void *owner);

/* The same of the ends of pipes that it has. */
bool procfs_has_pipe(
	pid_t pid, bool (*is_it)(void *owner, unsigned long inode, bool is_written), void *owner);

/* Does @pid ignore the signal? False if there is no such process, or /proc does not show it. */
bool procfs_ignores(pid_t pid, int sig);
