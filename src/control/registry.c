/* SPDX-License-Identifier: Apache-2.0 */
/* control/registry - what runs of a user's, by name: one socket each in a private directory */
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
#include <unistd.h>

#include "util/fd.h"
#include "util/parse.h"

#define SUFFIX         ".sock"
#define LOCK_FILE      ".lock"
#define NUMBER_MAX     9999
#define NUMBER_BYTES   6 /* "-9999" */
#define SHOWN_NAMES    5
#define LOCK_MS        5000
#define NAME_CHARS     "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+@-"
#define BAD_FIRST      ".-"
#define FILENAME_BYTES (REGISTRY_NAME_MAX + sizeof(SUFFIX))

static const struct kind {
	const char *noun;
	const char *directory; /* below the runtime directory; NULL: that itself */
	const char *taken;     /* the cure when the name is */
	bool is_plain_first;   /* the first free one is BASE, BASE-2... */
} kinds[] = {
	[REGISTRY_SANDBOX] = {"sandbox", NULL, "choose another name", false},
	[REGISTRY_MESH] = {"mesh", "mesh", "-n gives this one another name", true},
};

static bool is_valid(const char *name)
{
	size_t len = strlen(name);

	return len >= 1 && len <= REGISTRY_NAME_MAX && strspn(name, NAME_CHARS) == len &&
	       !strchr(BAD_FIRST, name[0]);
}

int registry_check_name(enum registry_kind kind, const char *name, struct err *err)
{
	char quoted[PARSE_QUOTE_BYTES];

	if (is_valid(name))
		return 0;
	return err_set(err, EINVAL,
		"%s is no %s name: expected 1 to %d letters, digits, '.', '_', '+', '@' or "
		"'-', not starting with '.' or '-'",
		parse_quote(name, quoted, sizeof(quoted)), kinds[kind].noun, REGISTRY_NAME_MAX);
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

/* @opened, taken over, if it is good. */
static int check_directory(int opened, const char *shown, struct err *err)
{
	_cleanup_fd_ int fd = opened;
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
	return fd_take(&fd);
}

static int open_runtime(char *path, size_t cap_bytes, struct err *err)
{
	const char *parent = find_parent();
	char shown[PARSE_QUOTE_BYTES];
	int len = parent ? snprintf(path, cap_bytes, "%s/nswrap", parent)
			 : snprintf(path, cap_bytes, "/tmp/nswrap-%u", (unsigned)geteuid());

	if ((size_t)len >= cap_bytes)
		return err_set(err, ENAMETOOLONG, "XDG_RUNTIME_DIR is too long");
	parse_quote(path, shown, sizeof(shown));
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno,
			"cannot make the runtime directory %s (XDG_RUNTIME_DIR may name another "
			"place)",
			shown);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
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
	return check_directory(fd, shown, err);
}

/* The directory @sub of @parent, whose path is completed. */
static int open_below(int parent, const char *sub, char *path, size_t cap_bytes, struct err *err)
{
	size_t len = strlen(path);
	char shown[PARSE_QUOTE_BYTES];

	snprintf(path + len, cap_bytes - len, "/%s", sub);
	parse_quote(path, shown, sizeof(shown));
	if (mkdirat(parent, sub, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "cannot make the directory %s", shown);
	int fd = openat(parent, sub, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "cannot open the directory %s", shown);
	return check_directory(fd, shown, err);
}

int registry_open(enum registry_kind kind, struct registry *out, struct err *err)
{
	int result = open_runtime(out->path, sizeof(out->path), err);

	out->kind = kind;
	out->dir_fd = -1;
	if (result >= 0 && kinds[kind].directory) {
		_cleanup_fd_ int runtime = result;

		result = open_below(
			runtime, kinds[kind].directory, out->path, sizeof(out->path), err);
	}
	if (result < 0)
		return result;
	out->dir_fd = result;
	return 0;
}

void registry_close(struct registry *registry)
{
	fd_close(&registry->dir_fd);
}

/*
 * Nobody else can open the file, and those who hold it do not wait for us; but one of them may be
 * stopped, and signals are blocked here: not for ever.
 */
static int lock(int dir_fd)
{
	_cleanup_fd_ int fd =
		openat(dir_fd, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	int result = fd_lock(fd, LOCK_MS);
	return result < 0 ? result : fd_take(&fd);
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

static int choose_numbered(
	int dir_fd, const struct kind *kind, const char *base, struct registry_entry *out)
{
	char stem[REGISTRY_NAME_MAX - NUMBER_BYTES + 2], name[REGISTRY_NAME_MAX + 1];
	int result = -EADDRINUSE;

	snprintf(stem, sizeof(stem), "%s", base[0] != '\0' ? base : kind->noun);
	for (size_t i = 0; stem[i] != '\0'; i++)
		if (!strchr(NAME_CHARS, stem[i]) || (i == 0 && strchr(BAD_FIRST, stem[i])))
			stem[i] = '_';
	for (unsigned number = 1; number <= NUMBER_MAX && result == -EADDRINUSE; number++) {
		if (number == 1 && kind->is_plain_first)
			snprintf(name, sizeof(name), "%s", stem);
		else
			snprintf(name, sizeof(name), "%s-%u", stem, number);
		result = choose_one(dir_fd, name, out);
		if (result == -EEXIST) /* somebody's odd file: no reason to give up */
			result = -EADDRINUSE;
	}
	return result;
}

static int explain(const struct kind *kind, int result, const char *name, struct err *err)
{
	if (result == -EADDRINUSE && name)
		return err_set(err, EEXIST, "a %s \"%s\" is running already: %s", kind->noun, name,
			kind->taken);
	if (result == -EADDRINUSE)
		return err_set(err, EEXIST, "there is no free name for another %s", kind->noun);
	if (result == -EEXIST)
		return err_set(err, EEXIST,
			"%s" SUFFIX " in the runtime directory is no socket: remove it", name);
	if (result == -EWOULDBLOCK)
		return err_set(err, EAGAIN,
			"another nswrap of yours holds the runtime directory and does not get on: "
			"is it stopped?");
	return err_sys(err, -result, "cannot register the %s", kind->noun);
}

int registry_reserve(const struct registry *registry, const char *name, const char *base,
	struct registry_entry *out, struct err *err)
{
	const struct kind *kind = &kinds[registry->kind];
	int result = name ? registry_check_name(registry->kind, name, err) : 0;

	if (result < 0)
		return result;
	*out = (struct registry_entry){.kind = registry->kind, .listen_fd = -1, .lock_fd = -1};
	out->dir_fd = fcntl(registry->dir_fd, F_DUPFD_CLOEXEC, 3);
	if (out->dir_fd < 0)
		return err_sys(err, errno, "cannot register the %s", kind->noun);
	out->lock_fd = result = lock(out->dir_fd);
	if (result >= 0)
		result = name ? choose_one(out->dir_fd, name, out)
			      : choose_numbered(out->dir_fd, kind, base, out);
	if (result >= 0)
		return 0;
	fd_close(&out->dir_fd);
	fd_close(&out->lock_fd);
	return explain(kind, result, name, err);
}

int registry_publish(struct registry_entry *entry, struct err *err)
{
	char filename[FILENAME_BYTES];

	entry->listen_fd = unixsock_listen(
		entry->dir_fd, to_filename(entry->name, filename), SOCK_SEQPACKET, &entry->id);
	/* copies in forked processes do not keep it locked */
	flock(entry->lock_fd, LOCK_UN);
	fd_close(&entry->lock_fd);
	if (entry->listen_fd < 0)
		return explain(&kinds[entry->kind], entry->listen_fd, entry->name, err);
	return 0;
}

void registry_release(struct registry_entry *entry)
{
	if (entry->listen_fd >= 0)
		unixsock_remove(entry->dir_fd, &entry->id);
	fd_close(&entry->listen_fd);
	fd_close(&entry->lock_fd);
	fd_close(&entry->dir_fd);
}

void registry_describe(const struct registry *registry, char *out, size_t cap_bytes)
{
	char names[SHOWN_NAMES + 1][REGISTRY_NAME_MAX + 1];
	ssize_t count = registry_list(registry, names, SHOWN_NAMES + 1);
	size_t used = 0;

	snprintf(out, cap_bytes, "none is running");
	for (ssize_t i = 0; i < count && i < SHOWN_NAMES && used < cap_bytes; i++)
		used += (size_t)snprintf(out + used, cap_bytes - used, "%s%s",
			i == 0 ? "running: " : ", ", names[i]);
	if (count > SHOWN_NAMES && used < cap_bytes)
		snprintf(out + used, cap_bytes - used, " and more");
}

int registry_connect(const struct registry *registry, const char *name, struct err *err)
{
	const char *noun = kinds[registry->kind].noun;
	char filename[FILENAME_BYTES], running[REGISTRY_DESCRIPTION_BYTES];
	int result = registry_check_name(registry->kind, name, err);

	if (result < 0)
		return result;
	result = unixsock_connect(registry->dir_fd, to_filename(name, filename), SOCK_SEQPACKET);
	if (result >= 0)
		return result;
	if (result == -ENOENT || result == -ECONNREFUSED) {
		registry_describe(registry, running, sizeof(running));
		return err_set(err, ENOENT, "no %s \"%s\" is running (%s)", noun, name, running);
	}
	if (result == -EAGAIN)
		return err_set(err, EAGAIN, "the %s \"%s\" does not answer", noun, name);
	return err_sys(err, -result, "cannot talk to the %s \"%s\"", noun, name);
}

/* Is it NAME.sock? Stores NAME. */
static bool to_name(const char *filename, char *name)
{
	size_t len = strlen(filename), suffix_len = sizeof(SUFFIX) - 1;

	if (len <= suffix_len || len - suffix_len > REGISTRY_NAME_MAX ||
		strcmp(filename + len - suffix_len, SUFFIX) != 0)
		return false;
	snprintf(name, REGISTRY_NAME_MAX + 1, "%.*s", (int)(len - suffix_len), filename);
	return is_valid(name);
}

static int is_entry(const struct dirent *file)
{
	char name[REGISTRY_NAME_MAX + 1];

	return to_name(file->d_name, name);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	char first[REGISTRY_NAME_MAX + 1], second[REGISTRY_NAME_MAX + 1];

	to_name((*a)->d_name, first);
	to_name((*b)->d_name, second);
	return strcmp(first, second);
}

ssize_t registry_list(
	const struct registry *registry, char (*names)[REGISTRY_NAME_MAX + 1], size_t cap)
{
	_cleanup_fd_ int lock_fd = lock(registry->dir_fd);
	struct unixsock_id id;
	struct dirent **files;
	size_t count = 0;

	if (lock_fd < 0)
		return lock_fd;
	int found = scandirat(registry->dir_fd, ".", &files, is_entry, by_name);
	if (found < 0)
		return -errno;
	for (int i = 0; i < found; i++) {
		int state = unixsock_check(registry->dir_fd, files[i]->d_name, &id);
		if (state == 0)
			unixsock_remove(registry->dir_fd, &id);
		else if (state == 1 && count < cap)
			to_name(files[i]->d_name, names[count++]);
		free(files[i]);
	}
	free(files);
	return (ssize_t)count;
}
