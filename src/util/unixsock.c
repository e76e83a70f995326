/* SPDX-License-Identifier: Apache-2.0 */
/* util/unixsock - listening sockets in the file system: claimed, found and removed by identity */
#include "util/unixsock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/addr.h"
#include "util/fd.h"

#define BACKLOG     128
#define TEMP_BYTES  32
#define TEMP_PREFIX ".nswrap-"
#define TEMP_TRIES  16
#define CLAIM_TRIES 64 /* each failed one means that somebody else got on */
#define LOCK_MS     1000

static int check_name(const char *name)
{
	size_t len = strlen(name);

	if (len > NAME_MAX)
		return -ENAMETOOLONG;
	if (len == 0 || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	return 0;
}

/* The address of what @fd (O_PATH) is, or of the short @name in that directory. */
static struct addr proc_addr(int fd, const char *name)
{
	struct addr addr = {.family = AF_UNIX};

	snprintf(addr.local.sun_path, sizeof(addr.local.sun_path), "/proc/self/fd/%d%s%s", fd,
		name ? "/" : "", name ? name : "");
	return addr;
}

/* Hold on to the socket file at @name, so that its inode number stays its own. An O_PATH fd. */
static int hold(int dir_fd, const char *name, struct unixsock_id *id)
{
	struct stat info;
	int result = check_name(name);

	if (result < 0)
		return result;
	_cleanup_fd_ int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &info) < 0)
		return -errno;
	if (!S_ISSOCK(info.st_mode))
		return -ENOTSOCK;
	if (id) {
		id->dev = info.st_dev;
		id->ino = info.st_ino;
		snprintf(id->name, sizeof(id->name), "%s", name);
	}
	return fd_take(&fd);
}

/*
 * A datagram socket cannot be connected to a listening one: the kernel finds the holder, sees the
 * wrong type and says so, and the holder notices nothing. Returns 1, 0 or -errno.
 */
static int is_held(int path_fd)
{
	struct addr addr = proc_addr(path_fd, NULL);
	_cleanup_fd_ int probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (probe < 0)
		return -errno;
	if (connect(probe, &addr.any, addr_len(&addr)) == 0)
		return 1;
	switch (errno) {
	case ECONNREFUSED:
		return 0;
	case EPROTOTYPE:
	case EPERM:  /* a datagram socket that is connected to somebody else */
	case EACCES: /* not ours to write to: not ours to replace either */
		return 1;
	default:
		return -errno;
	}
}

int unixsock_check(int dir_fd, const char *name, struct unixsock_id *id)
{
	_cleanup_fd_ int path_fd = hold(dir_fd, name, id);

	return path_fd < 0 ? path_fd : is_held(path_fd);
}

int unixsock_connect(int dir_fd, const char *name, int type)
{
	_cleanup_fd_ int path_fd = hold(dir_fd, name, NULL);

	if (path_fd < 0)
		return path_fd;
	_cleanup_fd_ int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	struct addr addr = proc_addr(path_fd, NULL);
	return connect(fd, &addr.any, addr_len(&addr)) < 0 ? -errno : fd_take(&fd);
}

static void make_temp_name(char *out)
{
	uint64_t salt = 0;

	if (getrandom(&salt, sizeof(salt), GRND_NONBLOCK) < 0)
		salt = (uint64_t)getpid();
	snprintf(out, TEMP_BYTES, TEMP_PREFIX "%016llx", (unsigned long long)salt);
}

int unixsock_remove(int dir_fd, const struct unixsock_id *id)
{
	struct unixsock_id found = {0};
	char temp[TEMP_BYTES];
	_cleanup_fd_ int path_fd = hold(dir_fd, id->name, &found);

	if (path_fd < 0)
		return path_fd == -ENOTSOCK ? -ENOENT : path_fd;
	if (found.dev != id->dev || found.ino != id->ino)
		return -ENOENT;
	/* unlink(2) goes by name alone: see what was taken, and put back what is not ours */
	make_temp_name(temp);
	if (renameat(dir_fd, id->name, dir_fd, temp) < 0)
		return -errno;
	_cleanup_fd_ int taken_fd = hold(dir_fd, temp, &found);
	bool is_ours = taken_fd >= 0 && found.dev == id->dev && found.ino == id->ino;
	if (!is_ours && linkat(dir_fd, temp, dir_fd, id->name, 0) < 0)
		return -errno;
	if (unlinkat(dir_fd, temp, 0) < 0)
		return -errno;
	return is_ours ? 0 : -ENOENT;
}

/* Bind and listen under a name that nobody looks for. Stores it. Returns the fd or -errno. */
static int listen_hidden(int dir_fd, int type, char *temp)
{
	int code = EADDRINUSE;
	_cleanup_fd_ int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	for (int i = 0; i < TEMP_TRIES && code == EADDRINUSE; i++) {
		make_temp_name(temp);
		struct addr addr = proc_addr(dir_fd, temp);
		mode_t mask = umask(0177);
		code = bind(fd, &addr.any, addr_len(&addr)) < 0 ? errno : 0;
		umask(mask);
	}
	if (code != 0)
		return -code;
	if (listen(fd, BACKLOG) < 0) {
		code = errno;
		unlinkat(dir_fd, temp, 0);
		return -code;
	}
	return fd_take(&fd);
}

/* One starter at a time. A lock on a directory of everybody's can be held by anybody: not for ever.
 */
static int lock_directory(int dir_fd)
{
	_cleanup_fd_ int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int result = fd_lock(fd, LOCK_MS);
	return result < 0 ? result : fd_take(&fd);
}

/* Take what is at @name away if it is stale. Returns 0 when the name may be free now, or -errno. */
static int make_room(int dir_fd, const char *name)
{
	struct unixsock_id id = {0};
	int result = unixsock_check(dir_fd, name, NULL);

	if (result == 0) {
		_cleanup_fd_ int lock_fd = lock_directory(dir_fd);
		if (lock_fd < 0)
			return lock_fd;
		/* another starter may have been faster */
		_cleanup_fd_ int path_fd = hold(dir_fd, name, &id);
		result = path_fd < 0 ? path_fd : is_held(path_fd);
		if (result == 0)
			result = unixsock_remove(dir_fd, &id);
	}
	if (result == 1)
		return -EADDRINUSE;
	if (result == -ENOTSOCK || result == -ELOOP)
		return -EEXIST;
	return result == -ENOENT ? 0 : result;
}

/* Give the socket at @temp its name. Returns 0 or -errno. */
static int claim_name(int dir_fd, const char *temp, const char *name)
{
	for (int i = 0; i < CLAIM_TRIES; i++) {
		if (linkat(dir_fd, temp, dir_fd, name, 0) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
		int result = make_room(dir_fd, name);
		if (result < 0)
			return result;
	}
	return -EADDRINUSE;
}

int unixsock_listen(int dir_fd, const char *name, int type, struct unixsock_id *id)
{
	char temp[TEMP_BYTES];
	int result = check_name(name);

	if (result < 0)
		return result;
	/* AT_FDCWD has no place in /proc/self/fd */
	_cleanup_fd_ int here_fd = openat(dir_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (here_fd < 0)
		return -errno;
	unixsock_sweep(here_fd);
	_cleanup_fd_ int fd = listen_hidden(here_fd, type, temp);
	if (fd < 0)
		return fd;
	result = unixsock_check(here_fd, temp, id);
	if (result >= 0)
		result = claim_name(here_fd, temp, name);
	if (unlinkat(here_fd, temp, 0) < 0 && result == 0)
		result = -errno;
	if (result < 0)
		return result;
	snprintf(id->name, sizeof(id->name), "%s", name);
	return fd_take(&fd);
}

size_t unixsock_sweep(int dir_fd)
{
	size_t held = 0;
	int list_fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = list_fd < 0 ? NULL : fdopendir(list_fd);

	if (!dir) {
		fd_close(&list_fd);
		return 0;
	}
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (strncmp(entry->d_name, TEMP_PREFIX, strlen(TEMP_PREFIX)) != 0)
			continue;
		int state = unixsock_check(dir_fd, entry->d_name, NULL);
		if (state == 0)
			unlinkat(dir_fd, entry->d_name, 0);
		held += state == 1;
	}
	closedir(dir);
	return held;
}
