/* SPDX-License-Identifier: Apache-2.0 */
/* netns - give a test binary a network namespace of its own, as root or as an ordinary user */
#ifndef NSWRAP_TEST_NETNS_H
#define NSWRAP_TEST_NETNS_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline bool netns_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool is_ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return is_ok;
}

/* Move this process into a fresh network namespace, its uid stays what it is. 0 or -errno. */
static inline int netns_enter(void)
{
	char map[64];
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (uid == 0)
		return unshare(CLONE_NEWNET) < 0 ? -errno : 0;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -errno;
	snprintf(map, sizeof(map), "%u %u 1", (unsigned)uid, (unsigned)uid);
	if (!netns_write("/proc/self/setgroups", "deny") || !netns_write("/proc/self/uid_map", map))
		return -EPERM;
	snprintf(map, sizeof(map), "%u %u 1", (unsigned)gid, (unsigned)gid);
	return netns_write("/proc/self/gid_map", map) ? 0 : -EPERM;
}

/*
 * For main(): enter the namespace, or say why the whole binary is skipped and end the process: with
 * 0, or with 1 when NSWRAP_TEST_NO_SKIP is set (CI, where a skip is a failure).
 */
static inline void netns_enter_or_skip(void)
{
	int result = netns_enter();

	if (result == 0)
		return;
	fprintf(stderr, "SKIP: no network namespace: %s\n", strerror(-result));
	exit(getenv("NSWRAP_TEST_NO_SKIP") ? 1 : 0);
}

#endif
