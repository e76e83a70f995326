/* SPDX-License-Identifier: Apache-2.0 */
/* proc/ns - make namespaces and map the caller's ids into them */
#include "proc/ns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc/diagnose.h"
#include "util/fd.h"

int ns_explain(int code, struct err *err)
{
	struct diagnosis found;

	if (!diagnose_userns(code, &found))
		return err_set(err, code, "%s; %s", found.what, found.cure);
	return err_sys(err, code, "cannot make a user and network namespace");
}

pid_t ns_fork(int flags, struct err *err)
{
	/* glibc's fork() takes no flags; with no new stack clone(2) behaves like it */
	long pid = syscall(SYS_clone, (unsigned long)flags | SIGCHLD, NULL, NULL, NULL, NULL);

	return pid < 0 ? ns_explain(errno, err) : (pid_t)pid;
}

static int write_proc(const char *path, const char *text)
{
	_cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int ns_map_ids(uid_t outer_uid, gid_t outer_gid, int is_root, struct err *err)
{
	char uid_map[64], gid_map[64];

	snprintf(uid_map, sizeof(uid_map), "%u %u 1\n", is_root ? 0 : outer_uid, outer_uid);
	snprintf(gid_map, sizeof(gid_map), "%u %u 1\n", is_root ? 0 : outer_gid, outer_gid);
	int result = write_proc("/proc/self/setgroups", "deny");
	if (result == 0)
		result = write_proc("/proc/self/uid_map", uid_map);
	if (result == 0)
		result = write_proc("/proc/self/gid_map", gid_map);
	return result < 0 ? ns_explain(-result, err) : 0;
}
