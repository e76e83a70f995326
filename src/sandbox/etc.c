/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/etc - the directory that is /etc inside: the host's, with a few files of its own */
#include "sandbox/etc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"

#define ETC      "/etc"
#define HOST_DIR ETC "/" ETC_HOST
#define NEW_NAME ".nswrap-new" /* of what takes the place of something in a moment */

static bool is_own(const struct etc_files *files, const char *name)
{
	for (size_t i = 0; i < files->count; i++)
		if (files->items[i].text && strcmp(files->items[i].name, name) == 0)
			return true;
	return false;
}

int etc_write(int dir, const char *name, const char *text)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;

	unlinkat(dir, NEW_NAME, 0);
	_cleanup_fd_ int fd = openat(dir, NEW_NAME, flags, 0644);
	if (fd < 0)
		return -errno;
	int result = fd_write_all(fd, text, strlen(text));
	if (result == 0 && fchmod(fd, 0644) < 0)
		result = -errno;
	if (result == 0 && renameat(dir, NEW_NAME, dir, name) < 0)
		result = -errno;
	return result;
}

static int put_link(int dir, const char *name, const char *text)
{
	char there[PATH_MAX];

	if (symlinkat(text, dir, name) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	ssize_t len = readlinkat(dir, name, there, sizeof(there));
	if (len == (ssize_t)strlen(text) && memcmp(there, text, (size_t)len) == 0)
		return 0;
	/* an empty directory, on which something was mounted that has gone with it */
	unlinkat(dir, name, AT_REMOVEDIR);
	unlinkat(dir, NEW_NAME, 0);
	if (symlinkat(text, dir, NEW_NAME) < 0 || renameat(dir, NEW_NAME, dir, name) < 0)
		return -errno;
	return 0;
}

static int put_directory(int dir, const char *name)
{
	char from[PATH_MAX], to[PATH_MAX];

	snprintf(from, sizeof(from), HOST_DIR "/%s", name);
	snprintf(to, sizeof(to), ETC "/%s", name);
	if (mkdirat(dir, name, 0755) == 0 && mount(from, to, NULL, MS_BIND | MS_REC, NULL) == 0)
		return 0;
	return put_link(dir, name, from + strlen(ETC) + 1);
}

/* DT_DIR, DT_LNK, or what is neither. */
static unsigned char type_of(int dir, const struct dirent *entry)
{
	struct stat info;

	/* not every file system says it with the name (readdir(3)) */
	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type;
	if (fstatat(dir, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0)
		return DT_UNKNOWN;
	return IFTODT(info.st_mode);
}

/* @mounts: we may mount directories. */
static int put_entry(int dir, int host, const struct dirent *entry, bool mounts)
{
	const char *name = entry->d_name;
	unsigned char type = type_of(host, entry);
	ssize_t len = -1;
	char text[PATH_MAX];
	struct stat info;

	if (type == DT_DIR && mounts)
		return put_directory(dir, name);
	/* it is there, and mounted: one that goes is taken away first */
	if (type == DT_DIR && fstatat(dir, name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
		S_ISDIR(info.st_mode))
		return 0;
	if (type == DT_LNK)
		len = readlinkat(host, name, text, sizeof(text) - 1);
	if (len >= 0)
		text[len] = '\0';
	else
		snprintf(text, sizeof(text), ETC_HOST "/%s", name);
	return put_link(dir, name, text);
}

static bool is_special(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, ETC_HOST) == 0 ||
	       strcmp(name, NEW_NAME) == 0;
}

static DIR *open_directory(int at, const char *path)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		fd_close(&fd);
	return dir;
}

static int put_entries(int dir, const char *host_path, const struct etc_files *files, bool mounts)
{
	DIR *host = open_directory(AT_FDCWD, host_path);
	struct dirent *entry;
	int result = 0;

	if (!host)
		return -errno;
	while ((entry = readdir(host)))
		if (!is_special(entry->d_name) && !is_own(files, entry->d_name)) {
			int put = put_entry(dir, dirfd(host), entry, mounts);
			result = result < 0 ? result : put;
		}
	closedir(host);
	return result;
}

/* What the host has no more. */
static int remove_entries(int dir, const struct etc_files *files)
{
	DIR *here = open_directory(dir, ".");
	struct dirent *entry;
	struct stat info;

	if (!here)
		return -errno;
	_cleanup_fd_ int host = open(ETC, O_PATH | O_DIRECTORY | O_CLOEXEC);
	while (host >= 0 && (entry = readdir(here))) {
		const char *name = entry->d_name;

		if (is_special(name) || is_own(files, name) ||
			fstatat(host, name, &info, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
			continue;
		if (unlinkat(dir, name, 0) < 0)
			unlinkat(dir, name, AT_REMOVEDIR);
	}
	closedir(here);
	return 0;
}

int etc_follow(int dir, const struct etc_files *files)
{
	int result = remove_entries(dir, files);

	return result < 0 ? result : put_entries(dir, ETC, files, false);
}

/*
 * A tmpfs twice: what is on top, with the host's directory in it, becomes read-only, and the one
 * below has a descriptor, by which can be written. It stays there, as umount(2) waits for every
 * processor. Not made in its place: a copy of what is below it would have it on top. Returns the
 * descriptor or -errno.
 */
static int mount_directory(const char *work)
{
	char host_dir[64], lower[64];
	int result;

	if (mount("tmpfs", work, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=16m,mode=0755") <
		0)
		return -errno;
	snprintf(host_dir, sizeof(host_dir), "%s/" ETC_HOST, work);
	_cleanup_fd_ int dir = open(work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(lower, sizeof(lower), "/proc/self/fd/%d", dir);
	/* private: what is mounted here does not make mounts outside any slower */
	if (dir >= 0 && mkdirat(dir, ETC_HOST, 0755) == 0 &&
		mount(work, work, NULL, MS_BIND, NULL) == 0 &&
		mount(ETC, host_dir, NULL, MS_BIND | MS_REC, NULL) == 0 &&
		mount(NULL, lower, NULL, MS_PRIVATE | MS_REC, NULL) == 0 &&
		mount(lower, ETC, NULL, MS_MOVE, NULL) == 0)
		return fd_take(&dir);
	result = -errno;
	umount2(dir < 0 ? work : lower, MNT_DETACH);
	return result;
}

int etc_set_up(const struct etc_files *files, const char *work, struct err *err)
{
	const unsigned long flags =
		MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	_cleanup_fd_ int dir = mount_directory(work);
	int result = dir;

	if (result >= 0)
		result = put_entries(dir, HOST_DIR, files, true);
	for (size_t i = 0; result >= 0 && i < files->count; i++)
		if (files->items[i].text)
			result = etc_write(dir, files->items[i].name, files->items[i].text);
	if (result >= 0 && mount(NULL, ETC, NULL, flags, NULL) < 0)
		result = -errno;
	if (result < 0)
		return err_sys(err, -result, "cannot make " ETC " of the sandbox");
	return fd_take(&dir);
}
