/* SPDX-License-Identifier: Apache-2.0 */
/* control/registry - the running sandboxes of a user: one socket each in a private directory */
#include "control/registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/parse.h"

#define SUFFIX         ".sock"
#define LOCK_FILE      ".lock"
#define NUMBER_MAX     9999
#define NUMBER_BYTES   6 /* "-9999" */
#define SHOWN_NAMES    5
#define LOCK_PAUSE_MS  2
#define LOCK_TRIES     2500
#define FILENAME_BYTES (REGISTRY_NAME_MAX + sizeof(SUFFIX))

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("._+@-", c));
}

bool registry_name_is_valid(const char *name)
{
	size_t len = strlen(name);

	if (len < 1 || len > REGISTRY_NAME_MAX || name[0] == '.' || name[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_name_char(name[i]))
			return false;
	return true;
}

int registry_check_name(const char *name, struct err *err)
{
	char quoted[PARSE_QUOTE_BYTES];

	if (registry_name_is_valid(name))
		return 0;
	return err_set(err, EINVAL,
		"%s is no sandbox name: expected 1 to %d letters, digits, '.', '_', '+', '@' or "
		"'-', not starting with '.' or '-'",
		parse_quote(name, quoted, sizeof(quoted)), REGISTRY_NAME_MAX);
}

/* Is $XDG_RUNTIME_DIR what it should be? */
static const char *find_parent(void)
{
	const char *parent = getenv("XDG_RUNTIME_DIR");
	struct stat info;

	if (!parent || parent[0] != '/' || stat(parent, &info) < 0 || !S_ISDIR(info.st_mode) ||
		info.st_uid != geteuid())
		return NULL;
	return parent;
}

static int check_directory(int fd, const char *shown, struct err *err)
{
	struct stat info;

	if (fstat(fd, &info) < 0)
		return err_sys(err, errno, "cannot look at the runtime directory %s", shown);
	if (info.st_uid != geteuid())
		return err_set(err, EPERM,
			"the runtime directory %s belongs to another user (uid %u): have it "
			"removed, or set XDG_RUNTIME_DIR to a directory of yours",
			shown, (unsigned)info.st_uid);
	if (info.st_mode & 077)
		return err_set(err, EPERM,
			"other users can enter the runtime directory %s (mode %03o): chmod 700 it, "
			"if what is in it can be trusted, or remove it",
			shown, (unsigned)info.st_mode & 0777);
	return 0;
}

int registry_open(char *path, size_t cap_bytes, struct err *err)
{
	const char *parent = find_parent();
	char full[PATH_MAX], shown[PARSE_QUOTE_BYTES];
	int len = parent ? snprintf(full, sizeof(full), "%s/nswrap", parent)
			 : snprintf(full, sizeof(full), "/tmp/nswrap-%u", (unsigned)geteuid());

	if ((size_t)len >= sizeof(full))
		return err_set(err, ENAMETOOLONG, "XDG_RUNTIME_DIR is too long");
	snprintf(path, cap_bytes, "%s", full);
	parse_quote(full, shown, sizeof(shown));
	if (mkdir(full, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno,
			"cannot make the runtime directory %s (XDG_RUNTIME_DIR may name another "
			"place)",
			shown);
	_cleanup_fd_ int fd = open(full, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
		return err_set(err, ENOTDIR,
			"the runtime directory %s is a link or no directory: remove it, or set "
			"XDG_RUNTIME_DIR to a directory of yours",
			shown);
	if (fd < 0 && errno == EACCES)
		return err_set(err, EACCES,
			"the runtime directory %s cannot be entered: if it belongs to another "
			"user, set XDG_RUNTIME_DIR to a directory of yours",
			shown);
	if (fd < 0)
		return err_sys(err, errno, "cannot open the runtime directory %s", shown);
	int result = check_directory(fd, shown, err);
	return result < 0 ? result : fd_take(&fd);
}

int registry_open_below(const char *sub, char *path, size_t cap_bytes, struct err *err)
{
	char full[PATH_MAX], shown[PARSE_QUOTE_BYTES];
	_cleanup_fd_ int parent = registry_open(full, sizeof(full), err);

	if (parent < 0)
		return parent;
	snprintf(path, cap_bytes, "%s/%s", full, sub);
	parse_quote(path, shown, sizeof(shown));
	if (mkdirat(parent, sub, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "cannot make the directory %s", shown);
	_cleanup_fd_ int fd = openat(parent, sub, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "cannot open the directory %s", shown);
	int result = check_directory(fd, shown, err);
	return result < 0 ? result : fd_take(&fd);
}

/*
 * Nobody else can open the file, and those who hold it do not wait for us; but one of them may be
 * stopped, and signals are blocked here: not for ever.
 */
static int lock(int dir_fd)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
	_cleanup_fd_ int fd =
		openat(dir_fd, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EINTR && (errno != EWOULDBLOCK || i == LOCK_TRIES))
			return -errno;
		nanosleep(&pause, NULL);
	}
	return fd_take(&fd);
}

static char *to_filename(const char *name, char *out)
{
	snprintf(out, FILENAME_BYTES, "%.*s" SUFFIX, REGISTRY_NAME_MAX, name);
	return out;
}

/* Returns 0, -EADDRINUSE when @name runs, -EEXIST when its file is no socket, or -errno. */
static int choose_one(int dir_fd, const char *name, struct registry_entry *out)
{
	char filename[FILENAME_BYTES];
	int state = unixsock_check(dir_fd, to_filename(name, filename), NULL);

	if (state == 1)
		return -EADDRINUSE;
	if (state == -ENOTSOCK || state == -ELOOP)
		return -EEXIST;
	if (state < 0 && state != -ENOENT)
		return state;
	snprintf(out->name, sizeof(out->name), "%s", name);
	return 0;
}

static int choose_numbered(int dir_fd, const char *base, struct registry_entry *out)
{
	char stem[REGISTRY_NAME_MAX - NUMBER_BYTES + 2], name[REGISTRY_NAME_MAX + 1];
	int result = -EADDRINUSE;

	snprintf(stem, sizeof(stem), "%s", base[0] != '\0' ? base : "sandbox");
	for (size_t i = 0; stem[i] != '\0'; i++)
		if (!is_name_char(stem[i]) || (i == 0 && (stem[i] == '.' || stem[i] == '-')))
			stem[i] = '_';
	for (unsigned number = 1; number <= NUMBER_MAX && result == -EADDRINUSE; number++) {
		snprintf(name, sizeof(name), "%s-%u", stem, number);
		result = choose_one(dir_fd, name, out);
		if (result == -EEXIST) /* somebody's odd file: no reason to give up */
			result = -EADDRINUSE;
	}
	return result;
}

static int explain(int result, const char *name, struct err *err)
{
	if (result == -EADDRINUSE && name)
		return err_set(err, EEXIST,
			"a sandbox \"%s\" is running already: choose another name", name);
	if (result == -EADDRINUSE)
		return err_set(err, EEXIST, "there is no free name for another sandbox");
	if (result == -EEXIST)
		return err_set(err, EEXIST,
			"%s" SUFFIX " in the runtime directory is no socket: remove it", name);
	if (result == -EWOULDBLOCK)
		return err_set(err, EAGAIN,
			"another nswrap of yours holds the runtime directory and does not get on: "
			"is it stopped?");
	return err_sys(err, -result, "cannot register the sandbox");
}

int registry_reserve(
	int dir_fd, const char *name, const char *base, struct registry_entry *out, struct err *err)
{
	int result = name ? registry_check_name(name, err) : 0;

	if (result < 0)
		return result;
	*out = (struct registry_entry){.listen_fd = -1, .lock_fd = -1};
	out->dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
	if (out->dir_fd < 0)
		return err_sys(err, errno, "cannot register the sandbox");
	out->lock_fd = result = lock(dir_fd);
	if (result >= 0)
		result = name ? choose_one(dir_fd, name, out) : choose_numbered(dir_fd, base, out);
	if (result >= 0)
		return 0;
	fd_close(&out->dir_fd);
	fd_close(&out->lock_fd);
	return explain(result, name, err);
}

int registry_publish(struct registry_entry *entry, struct err *err)
{
	char filename[FILENAME_BYTES];

	entry->listen_fd = unixsock_listen(
		entry->dir_fd, to_filename(entry->name, filename), SOCK_SEQPACKET, &entry->id);
	/* copies in forked processes do not keep it locked */
	flock(entry->lock_fd, LOCK_UN);
	fd_close(&entry->lock_fd);
	return entry->listen_fd < 0 ? explain(entry->listen_fd, entry->name, err) : 0;
}

void registry_release(struct registry_entry *entry)
{
	if (entry->listen_fd >= 0)
		unixsock_remove(entry->dir_fd, &entry->id);
	fd_close(&entry->listen_fd);
	fd_close(&entry->lock_fd);
	fd_close(&entry->dir_fd);
}

/* "running: a, b, c and 2 more" */
static void describe_running(int dir_fd, char *out, size_t cap_bytes)
{
	char names[SHOWN_NAMES + 1][REGISTRY_NAME_MAX + 1];
	ssize_t count = registry_list(dir_fd, names, SHOWN_NAMES + 1);
	size_t used = 0;

	snprintf(out, cap_bytes, "none is running");
	for (ssize_t i = 0; i < count && i < SHOWN_NAMES && used < cap_bytes; i++)
		used += (size_t)snprintf(out + used, cap_bytes - used, "%s%s",
			i == 0 ? "running: " : ", ", names[i]);
	if (count > SHOWN_NAMES && used < cap_bytes)
		snprintf(out + used, cap_bytes - used, " and more");
}

int registry_connect(int dir_fd, const char *name, struct err *err)
{
	char filename[FILENAME_BYTES], running[400];
	int result = registry_check_name(name, err);

	if (result < 0)
		return result;
	result = unixsock_connect(dir_fd, to_filename(name, filename), SOCK_SEQPACKET);
	if (result >= 0)
		return result;
	if (result == -ENOENT || result == -ECONNREFUSED) {
		describe_running(dir_fd, running, sizeof(running));
		return err_set(err, ENOENT, "no sandbox \"%s\" is running (%s)", name, running);
	}
	if (result == -EAGAIN)
		return err_set(err, EAGAIN, "the sandbox \"%s\" does not answer", name);
	return err_sys(err, -result, "cannot talk to the sandbox \"%s\"", name);
}

/* Is it NAME.sock? Stores NAME. */
static bool to_name(const char *filename, char *name)
{
	size_t len = strlen(filename), suffix_len = sizeof(SUFFIX) - 1;

	if (len <= suffix_len || len - suffix_len > REGISTRY_NAME_MAX ||
		strcmp(filename + len - suffix_len, SUFFIX) != 0)
		return false;
	snprintf(name, REGISTRY_NAME_MAX + 1, "%.*s", (int)(len - suffix_len), filename);
	return registry_name_is_valid(name);
}

/* Put @name in its place among @count sorted ones; the last one falls out when all are taken. */
static size_t insert_sorted(
	char (*names)[REGISTRY_NAME_MAX + 1], size_t count, size_t cap, const char *name)
{
	size_t at = count;

	while (at > 0 && strcmp(names[at - 1], name) > 0)
		at--;
	if (at >= cap)
		return count;
	if (count < cap)
		count++;
	memmove(names[at + 1], names[at], (count - at - 1) * sizeof(names[0]));
	memcpy(names[at], name, strlen(name) + 1);
	return count;
}

ssize_t registry_list(int dir_fd, char (*names)[REGISTRY_NAME_MAX + 1], size_t cap)
{
	char name[REGISTRY_NAME_MAX + 1];
	struct unixsock_id id;
	struct dirent *entry;
	size_t count = 0;
	_cleanup_fd_ int lock_fd = lock(dir_fd);

	if (lock_fd < 0)
		return lock_fd;
	int list_fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (list_fd < 0)
		return -errno;
	DIR *dir = fdopendir(list_fd);
	if (!dir) {
		int code = errno;

		fd_close(&list_fd);
		return -code;
	}
	while ((entry = readdir(dir))) {
		if (!to_name(entry->d_name, name))
			continue;
		int state = unixsock_check(dir_fd, entry->d_name, &id);
		if (state == 1)
			count = insert_sorted(names, count, cap, name);
		else if (state == 0)
			unixsock_remove(dir_fd, &id);
	}
	closedir(dir);
	return (ssize_t)count;
}
