/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/etc - the directory that is /etc inside: the host's, with a few files of its own */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/err.h"

/*
 * How it works
 *
 * A mount on a file is gone, in every mount namespace, when another file is renamed over that one
 * or it is removed (__detach_mounts, Linux fs/namespace.c). That is how a host changes its
 * resolv.conf and hosts. So nothing is mounted on files of the host: /etc itself is a tmpfs, which
 * the host never touches, with
 *
 * - files of the sandbox's own, also where the host has none of that name;
 * - ETC_HOST, where the host's /etc is as it is;
 * - for everything else that the host has in /etc something of the same name: a link as it is
 * there, a directory mounted (a link to it would lead those in it that say ".." astray), a link
 * into ETC_HOST for the rest.
 *
 * So what the host changes in its files is seen at once; what comes and goes in /etc itself is done
 * likewise by the supervisor, which has the directory by a descriptor. Inside it is read-only.
 */
#define ETC_HOST      ".nswrap"
#define ETC_FILES_MAX 4

struct etc_file {
	const char *name;
	const char *text;
};

/* The files of its own; those without a text are the host's. */
struct etc_files {
	struct etc_file items[ETC_FILES_MAX];
	size_t count;
};

/*
 * Run by init, in a fresh mount namespace, as its all-capable process. @work, a directory, is
 * covered for a moment. Returns a descriptor of the directory, for writing, or -errno with @err
 * filled; /etc may be incomplete then.
 */
int etc_set_up(const struct etc_files *files, const char *work, struct err *err);

/* Anywhere: replace the file of its own @name by one with @text, at once. Returns 0 or -errno. */
int etc_write(int dir, const char *name, const char *text);

/* By the supervisor: what comes and goes in the host's /etc does so inside. Returns 0 or -errno. */
int etc_follow(int dir, const struct etc_files *files);
