/* SPDX-License-Identifier: Apache-2.0 */
/* util/procfs - processes and what they have open, as /proc shows them */
#include "util/procfs.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/parse.h"

#define PID_MAX (1UL << 30)
#define IGNORED "\nSigIgn:\t"

pid_t procfs_next_pid(DIR *proc)
{
	unsigned long pid;

	for (struct dirent *item; proc && (item = readdir(proc));)
		if (parse_uint(item->d_name, PID_MAX, &pid) == 0)
			return (pid_t)pid;
	return 0;
}

/* "KIND:[INODE]", proc(5) */
static bool read_inode(int dir, const char *name, const char *kind, unsigned long *out)
{
	char target[64];
	ssize_t len = readlinkat(dir, name, target, sizeof(target) - 1);
	const size_t begin = strlen(kind);

	if (len <= (ssize_t)begin || strncmp(target, kind, begin) != 0)
		return false;
	target[len - 1] = '\0';
	return parse_uint(target + begin, ULONG_MAX, out) == 0;
}

static DIR *open_fds(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	return opendir(path);
}

bool procfs_has_socket(pid_t pid, bool (*is_it)(void *owner, unsigned long inode), void *owner)
{
	DIR *dir = open_fds(pid);
	struct dirent *entry;
	unsigned long inode;
	bool found = false;

	while (dir && !found && (entry = readdir(dir)))
		found = read_inode(dirfd(dir), entry->d_name, "socket:[", &inode) &&
			is_it(owner, inode);
	if (dir)
		closedir(dir);
	return found;
}

bool procfs_has_pipe(
	pid_t pid, bool (*is_it)(void *owner, unsigned long inode, bool is_written), void *owner)
{
	DIR *dir = open_fds(pid);
	struct dirent *entry;
	unsigned long inode;
	struct stat link; /* its mode is how it is open */
	bool found = false;

	while (dir && !found && (entry = readdir(dir)))
		found = read_inode(dirfd(dir), entry->d_name, "pipe:[", &inode) &&
			fstatat(dirfd(dir), entry->d_name, &link, AT_SYMLINK_NOFOLLOW) == 0 &&
			is_it(owner, inode, (link.st_mode & S_IWUSR) != 0);
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
