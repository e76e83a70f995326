/* SPDX-License-Identifier: Apache-2.0 */
/* proc/rights - give up capabilities, privileges and descriptors */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Empty every capability set of this process: effective, permitted, inheritable, ambient and (as
 * far as it may) bounding, and set no_new_privs. Final: execve() brings nothing back, also not for
 * uid 0. Returns 0 or -errno.
 */
int rights_drop_all(void);

/*
 * The same for COMMAND. @keeps_bounding leaves the bounding set alone, which no_new_privs makes
 * powerless: where sandbox/view found no way programs with file capabilities could not start.
 */
int rights_drop_command(bool keeps_bounding);

/*
 * The same but for CAP_NET_ADMIN, which stays permitted and effective (not through execve). -EPERM
 * if it was not there.
 */
int rights_keep_net_admin(void);

/*
 * Forbid that processes of the same user trace this one or look into its memory and descriptors
 * (PR_SET_DUMPABLE 0), and that it leaves a core file. execve() makes it traceable again.
 */
int rights_hide(void);

/* Close every descriptor above 2 that is not among @keep (any order). Returns 0 or -errno. */
int rights_keep_fds(const int *keep, size_t nkeep);

/* Let descriptors be opened up to the hard limit or @max; returns the limit that holds now. */
size_t rights_raise_fd_limit(size_t max);
