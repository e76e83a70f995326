/* SPDX-License-Identifier: Apache-2.0 */
/* control/places - the private directories in which a user's nswraps find one another */
#include "control/places.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/parse.h"

#define BASE          "nswrap"
#define POINTER       "at-"
#define POINTER_BYTES 48
#define SUFFIX        ".sock"
#define LOCK_MS       1000

int places_open_private(int at, const char *path)
{
	_cleanup_fd_ int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat info;

	if (fd < 0 || fstat(fd, &info) < 0)
		return -errno;
	if (info.st_uid != geteuid() || info.st_mode & 022)
		return -EPERM;
	if (info.st_mode & 077 && fchmod(fd, 0700) < 0)
		return -errno;
	return fd_take(&fd);
}

static int make_private(const char *path)
{
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno
							: places_open_private(AT_FDCWD, path);
}

static bool is_same(int fd, int other_fd)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && fstat(other_fd, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* Takes @fd (or -errno, which is returned) over. */
static int add(struct places *places, int fd, const char *path)
{
	if (fd < 0)
		return fd;
	for (size_t i = 0; i < places->total; i++) {
		if (is_same(fd, places->items[i].dir_fd)) {
			close(fd);
			return 0;
		}
	}
	struct place *place = &places->items[places->total];
	if (places->total == PLACES_MAX || (size_t)snprintf(place->path, sizeof(place->path), "%s",
						   path) >= sizeof(place->path)) {
		close(fd);
		return -ENAMETOOLONG;
	}
	place->dir_fd = fd;
	places->total++;
	return 0;
}

/* PARENT/nswrap, if the parent is a directory of ours. */
static int add_below(struct places *places, const char *parent)
{
	char path[PATH_MAX];
	struct stat info;

	if (!parent || parent[0] != '/' || stat(parent, &info) < 0 || !S_ISDIR(info.st_mode) ||
		info.st_uid != geteuid())
		return -ENOENT;
	if ((size_t)snprintf(path, sizeof(path), "%s/" BASE, parent) >= sizeof(path))
		return -ENAMETOOLONG;
	return add(places, make_private(path), path);
}

/* --- the hub ------------------------------------------------------------------------------ */

static int is_candidate(const struct dirent *file)
{
	return strncmp(file->d_name, BASE "-", strlen(BASE "-")) == 0;
}

/* All directories of ours whose paths are @base-... */
static void add_fallbacks(struct places *places, const char *tmp, const char *base)
{
	size_t len = strlen(base);
	char path[PATH_MAX];
	struct dirent **files;
	int found = scandir(tmp, &files, is_candidate, alphasort);

	if (found < 0)
		return;
	for (int i = 0; i < found; i++) {
		snprintf(path, sizeof(path), "%s/%s", tmp, files[i]->d_name);
		if (strncmp(path, base, len) == 0 && path[len] == '-')
			add(places, places_open_private(AT_FDCWD, path), path);
		free(files[i]);
	}
	free(files);
}

static int add_hub(struct places *places, const char *tmp)
{
	char base[PATH_MAX], fresh[PATH_MAX + 8];

	places->hub = places->total;
	snprintf(base, sizeof(base), "%s/" BASE "-%u", tmp, (unsigned)geteuid());
	int result = add(places, places_open_private(AT_FDCWD, base), base);
	if (result == 0)
		return 0;
	add_fallbacks(places, tmp, base);
	if (places->total > places->hub)
		return 0;
	if (result == -ENOENT && add(places, make_private(base), base) == 0)
		return 0;
	snprintf(fresh, sizeof(fresh), "%s-XXXXXX", base);
	if (!mkdtemp(fresh))
		return -errno;
	/* and not just this one: another nswrap may be as far as we are */
	add_fallbacks(places, tmp, base);
	return places->total > places->hub ? 0 : -ENOENT;
}

/* --- pointers ----------------------------------------------------------------------------- */

static int is_pointer(const struct dirent *file)
{
	return strncmp(file->d_name, POINTER, strlen(POINTER)) == 0;
}

/* Where the pointer leads, opened, with the path in @target. */
static int follow(int hub_fd, const char *name, char target[PATH_MAX])
{
	ssize_t len = readlinkat(hub_fd, name, target, PATH_MAX - 1);

	if (len < 0)
		return -errno;
	target[len] = '\0';
	return target[0] == '/' ? places_open_private(AT_FDCWD, target) : -EINVAL;
}

static void add_pointed(struct places *places)
{
	char target[PATH_MAX];
	struct dirent **files;

	if (places->hub == PLACES_MAX)
		return;
	int hub_fd = places->items[places->hub].dir_fd;
	int found = scandirat(hub_fd, ".", &files, is_pointer, alphasort);
	if (found < 0)
		return;
	for (int i = 0; i < found; i++) {
		add(places, follow(hub_fd, files[i]->d_name, target), target);
		free(files[i]);
	}
	free(files);
}

static int is_socket(const struct dirent *file)
{
	size_t len = strlen(file->d_name), suffix_len = strlen(SUFFIX);

	return len > suffix_len && strcmp(file->d_name + len - suffix_len, SUFFIX) == 0;
}

static bool has_socket(int dir_fd, const char *path)
{
	struct dirent **files;
	int found = scandirat(dir_fd, path, &files, is_socket, NULL);

	for (int i = 0; i < found; i++)
		free(files[i]);
	if (found >= 0)
		free(files);
	return found > 0;
}

/* Of sandboxes, meshes or tunnels (control/registry). */
static bool has_any_socket(int place_fd)
{
	return has_socket(place_fd, ".") || has_socket(place_fd, "mesh") ||
	       has_socket(place_fd, "tunnel");
}

static void sweep(int hub_fd)
{
	char target[PATH_MAX];
	struct dirent **files;
	int found = scandirat(hub_fd, ".", &files, is_pointer, NULL);

	if (found < 0)
		return;
	for (int i = 0; i < found; i++) {
		_cleanup_fd_ int fd = follow(hub_fd, files[i]->d_name, target);
		if (fd < 0 || !has_any_socket(fd))
			unlinkat(hub_fd, files[i]->d_name, 0);
		free(files[i]);
	}
	free(files);
}

int places_pointer(const struct places *places, struct place_pointer *out)
{
	out->hub_fd = -1;
	snprintf(out->target, sizeof(out->target), "%s", places->items[0].path);
	if (places->hub == 0 || places->hub == PLACES_MAX)
		return 0;
	out->hub_fd = fcntl(places->items[places->hub].dir_fd, F_DUPFD_CLOEXEC, 3);
	return out->hub_fd < 0 ? -errno : 0;
}

int places_point(const struct place_pointer *pointer)
{
	char name[POINTER_BYTES];
	struct stat info;

	if (pointer->hub_fd < 0)
		return 0;
	/* with a lock: a sweeper that has seen no socket must not meet a pointer that is new */
	_cleanup_fd_ int lock_fd = openat(pointer->hub_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock_fd < 0 || stat(pointer->target, &info) < 0)
		return -errno;
	int result = fd_lock(lock_fd, LOCK_MS);
	if (result < 0)
		return result;
	sweep(lock_fd);
	snprintf(name, sizeof(name), POINTER "%llx-%llx", (unsigned long long)info.st_dev,
		(unsigned long long)info.st_ino);
	return symlinkat(pointer->target, lock_fd, name) < 0 && errno != EEXIST ? -errno : 0;
}

/* --- all of them -------------------------------------------------------------------------- */

int places_open(const struct places_roots *roots, struct places *out, struct err *err)
{
	char login[PATH_MAX];

	out->total = 0;
	bool is_apart = add_below(out, roots->xdg) == 0;
	int result = add_hub(out, roots->tmp);
	if (out->hub == out->total)
		out->hub = PLACES_MAX;
	out->count = out->total;
	snprintf(login, sizeof(login), "%s/%u", roots->run_user, (unsigned)geteuid());
	add_below(out, login);
	add_pointed(out);
	if (!is_apart)
		out->count = out->total;
	if (out->count > 0)
		return 0;
	return err_set(err, -result,
		"no private directory can be made in %s (%s): set XDG_RUNTIME_DIR to a directory of "
		"yours",
		roots->tmp, strerror(-result));
}

void places_close(struct places *places)
{
	for (size_t i = 0; i < places->total; i++)
		fd_close(&places->items[i].dir_fd);
}
