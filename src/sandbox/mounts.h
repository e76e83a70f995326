/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/mounts - the file view inside: the caller's own, but for a few places */
#ifndef NSWRAP_SANDBOX_MOUNTS_H
#define NSWRAP_SANDBOX_MOUNTS_H

#include <stdbool.h>

#include "util/err.h"

/*
 * All but the last run in a fresh mount namespace that belongs to our user namespace, as its
 * all-capable process, before rights are dropped. They return 0, or -errno with @err filled, unless
 * something else is said.
 */

/* Mounts made here stay here; those made outside later still come in. */
int mounts_detach(struct err *err);

/*
 * The file view of a sandbox: detached, with @resolv_text (NULL: none) over the file that
 * /etc/resolv.conf leads to, behind any chain of links; an empty, writable directory of the
 * caller's over @hidden_dir; and @has_pid_ns a /proc that shows it. Set-user-ID and file
 * capabilities are taken away from every mount (they have no effect under no_new_privs anyway):
 * without this a program with file capabilities, such as ping, could not be executed at all with an
 * empty bounding set, execve(2) EPERM. Where the kernel cannot do this (before 5.12), or there is
 * no file to mount over, that is said and the rest is done.
 */
int mounts_set_up(
	const char *resolv_text, const char *hidden_dir, bool has_pid_ns, struct err *err);

/*
 * For the net process: leave every file behind but an /etc/resolv.conf with @resolv_text. Returns
 * a descriptor for rewriting that file, open for writing and close-on-exec, or -errno.
 */
int mounts_enter_empty_root(const char *resolv_text, struct err *err);

/* Anywhere: replace the text behind a descriptor of mounts_enter_empty_root. Returns 0 or -errno.
 */
int mounts_rewrite(int fd, const char *text);

#endif
