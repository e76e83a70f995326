/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/child - the command that leads to a host: started, its end explained */
#ifndef NSWRAP_MESH_MANAGER_CHILD_H
#define NSWRAP_MESH_MANAGER_CHILD_H

#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "util/err.h"

/*
 * How it works
 *
 * A child is a subreaper for what it starts, as the manager is for its children: while the child
 * lives all of that stays below it, and when it dies all of that comes to the manager at once. So
 * whatever child of the manager is not a host's command is what a dead one left behind, and is
 * killed (children_kill_others), level by level as their parents die. Nothing is looked up by pid
 * that could have been reused: one signals only own children that are not reaped yet.
 */
struct child {
	pid_t pid;  /* 0: none */
	int report; /* says why it could not be executed; -1 */
};

/* Our ends of its standard streams; each belongs to the caller. */
struct child_streams {
	int in, out, err; /* its stdin, stdout and stderr */
};

/*
 * Start @cmd (NULL: this executable) with the two words "agent --automated" behind it: in our
 * session and process group, so that it can ask for a password on the terminal; SIGTERM when we
 * die; @nofile as its limit. Returns 0, or -errno with @err filled. That it cannot be executed is
 * told by child_describe_end.
 */
int child_start(char *const *cmd, const struct rlimit *nofile, struct child *child,
	struct child_streams *streams, struct err *err);

/*
 * It has ended and was reaped; @code and @status are waitid(2)'s. Writes "ended with status 1" or
 * so, and forgets it.
 */
void child_describe_end(struct child *child, int code, int status, char *out, size_t cap_bytes);

/* The children of this process, at most @cap of them. Returns how many, or -errno. */
ssize_t children_list(pid_t *pids, size_t cap);

/* SIGKILL every child of this process that is not among @spared. Returns how many there were. */
size_t children_kill_others(const pid_t *spared, size_t nspared);

#endif
