/* SPDX-License-Identifier: Apache-2.0 */
/* proc/ns - make namespaces, map the caller's ids into them, and say why a host refuses them */
#pragma once

#include <sys/types.h>

#include "util/err.h"

/*
 * fork() into new namespaces (@flags: CLONE_NEWUSER | ...). Returns the child's pid, 0 in the
 * child, or -errno with the reason and the cure in @err. Only for single-threaded callers.
 */
pid_t ns_fork(int flags, struct err *err);

/*
 * In a fresh user namespace: map @outer_uid and @outer_gid, the caller's ids outside, to the same
 * numbers inside, or to 0 if @is_root. One id each needs no privilege (user_namespaces(7)), but
 * setgroups() must be given up first. Returns 0 or -errno.
 */
int ns_map_ids(uid_t outer_uid, gid_t outer_gid, int is_root, struct err *err);

/* Why a host refuses user or network namespaces. */
struct ns_refusal {
	const char *what; /* what is found, one line */
	const char *cure; /* what to do about it: a command where there is one */
};

/* What applies here, for @code as clone(2) gave it; NULL if no known reason does. */
const struct ns_refusal *ns_diagnose(int code);

/* Put that, or else the system's words for @code, into @err. Returns -@code. */
int ns_explain(int code, struct err *err);
