/* SPDX-License-Identifier: Apache-2.0 */
/* util/procfs - processes and their sockets, as /proc shows them */
#include "util/procfs.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/parse.h"

#define PID_MAX (1UL << 30)
#define SOCKET  "socket:["
#define IGNORED "\nSigIgn:\t"

pid_t procfs_next_pid(DIR *proc)
{
	unsigned long pid;

	for (struct dirent *item; proc && (item = readdir(proc));)
		if (parse_uint(item->d_name, PID_MAX, &pid) == 0)
			return (pid_t)pid;
	return 0;
}

/* "socket:[INODE]", proc(5) */
static bool read_inode(char *target, unsigned long *out)
{
	size_t len = strlen(target);

	if (len <= strlen(SOCKET) || strncmp(target, SOCKET, strlen(SOCKET)) != 0)
		return false;
	target[len - 1] = '\0';
	return parse_uint(target + strlen(SOCKET), ULONG_MAX, out) == 0;
}

bool procfs_has_socket(pid_t pid, bool (*is_it)(void *owner, unsigned long inode), void *owner)
{
	char path[64], target[64];
	struct dirent *entry;
	unsigned long inode;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);
	while (dir && !found && (entry = readdir(dir))) {
		ssize_t len = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		target[len > 0 ? len : 0] = '\0';
		found = read_inode(target, &inode) && is_it(owner, inode);
	}
	if (dir)
		closedir(dir);
	return found;
}

bool procfs_ignores(pid_t pid, int sig)
{
	static const char hex[] = "0123456789abcdef";
	const size_t digits = 16, at = digits - 1 - (size_t)(sig - 1) / 4;
	char path[64], text[4096];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	const char *mask =
		fd_read_file(path, text, sizeof(text)) > 0 ? strstr(text, IGNORED) : NULL;
	if (!mask || strlen(mask) < strlen(IGNORED) + digits)
		return false;
	const char *digit = strchr(hex, mask[strlen(IGNORED) + at]);
	return digit && ((unsigned)(digit - hex) >> (sig - 1) % 4 & 1);
}
