/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/mounts - the file view inside: the caller's own, but for a few places */
#ifndef NSWRAP_SANDBOX_MOUNTS_H
#define NSWRAP_SANDBOX_MOUNTS_H

#include "util/err.h"

/*
 * All but the last run in a fresh mount namespace that belongs to our user namespace, as its
 * all-capable process, before rights are dropped. They return 0, or -errno with @err filled, unless
 * something else is said.
 */

/* Mounts made here stay here; those made outside later still come in. */
int mounts_detach(struct err *err);

/*
 * Take set-user-ID and file capabilities away from every mount (they have no effect under
 * no_new_privs anyway). Without this a program with file capabilities, such as ping, could not be
 * executed at all with an empty bounding set: execve(2) EPERM. Returns 0, or -errno where the
 * kernel has no mount_setattr(2) (before 5.12).
 */
int mounts_set_nosuid(void);

/*
 * Put a file with @text over the file that /etc/resolv.conf leads to, behind any chain of links.
 * -ENOENT with @err filled if the chain ends nowhere: there is then nothing to mount over.
 */
int mounts_resolv_conf(const char *text, struct err *err);

/* Put an empty, writable directory of the caller's over @path, which hides what is there. */
int mounts_hide_directory(const char *path, struct err *err);

/* In a new PID namespace: a /proc that shows it. */
int mounts_proc(struct err *err);

/*
 * For the net process: leave every file behind but an /etc/resolv.conf with @resolv_text. Returns
 * a descriptor for rewriting that file, open for writing and close-on-exec, or -errno.
 */
int mounts_enter_empty_root(const char *resolv_text, struct err *err);

/* Anywhere: replace the text behind a descriptor of mounts_enter_empty_root. Returns 0 or -errno.
 */
int mounts_rewrite(int fd, const char *text);

#endif
