/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/author - which agent has written lines in a file, and is there no longer? */
#include "mesh/agent/author.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/parse.h"

#define START_FIELD 22 /* proc(5) */

/* Returns 0 if /proc does not say. */
static uint64_t started(pid_t pid)
{
	char path[64], text[1024], *rest = NULL;
	unsigned long value = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	/* the second field is in brackets, and may have any byte in it */
	char *field = fd_read_file(path, text, sizeof(text)) > 0 ? strrchr(text, ')') : NULL;
	if (field)
		field = strtok_r(field, " ", &rest);
	for (int i = 2; field && i < START_FIELD; i++)
		field = strtok_r(NULL, " ", &rest);
	return field && parse_uint(field, ULONG_MAX, &value) == 0 ? value : 0;
}

struct marked_author author_self(struct in_addr vip)
{
	struct stat info = {.st_ino = 0};

	stat("/proc/self/ns/pid", &info);
	return (struct marked_author){
		vip, (uint32_t)getpid(), started(getpid()), (uint64_t)info.st_ino};
}

bool author_is_over(const struct marked_author *author, const struct marked_author *self)
{
	if (author->pidns != self->pidns)
		return author->vip.s_addr == self->vip.s_addr;
	if (author->pid == 0 || author->pid > INT32_MAX)
		return true;
	if (kill((pid_t)author->pid, 0) < 0 && errno == ESRCH)
		return true;
	/* of another user's /proc may say nothing (hidepid) */
	uint64_t now = started((pid_t)author->pid);
	return now != 0 && author->started != 0 && now != author->started;
}
