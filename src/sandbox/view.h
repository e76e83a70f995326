/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/view - which files COMMAND sees, and which the net process does */
#pragma once

#include "sandbox/init.h"

/*
 * All but the last run in fresh user and mount namespaces, as their all-capable process, before
 * rights are dropped. They return 0, or -errno with @err filled, unless something else is said.
 */

/* Mounts made here stay here; those made outside later still come in. */
int view_detach(struct err *err);

/*
 * Run by init. The file view is the caller's own, and mounts made outside later still come in, but
 * for these: /etc (sandbox/etc) with the files of @start, a descriptor of which comes to *@etc (-1:
 * that failed, and was said); its ssh copies over what they were made of; empty, writable
 * directories of the caller's over its hidden ones; an empty one over nscd's; and in a PID
 * namespace a /proc that shows it. With --root nobody inside can take those off again: the mount
 * namespace is another one afterwards.
 *
 * Set-user-ID and file capabilities are taken away from every mount (they have no effect under
 * no_new_privs anyway): without this a program with file capabilities, such as ping, could not be
 * executed at all with an empty bounding set, execve(2) EPERM. Where the kernel cannot do this
 * (before 5.12), or there is no file to mount over, that is said and the rest is done.
 */
int view_set_up(const struct init_start *start, int *etc, struct err *err);

/* For the net process: leave every file behind. */
int view_empty_root(struct err *err);
