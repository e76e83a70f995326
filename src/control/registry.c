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

#include "control/identity.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"

#define SUFFIX         ".sock"
#define LOCK_FILE      ".lock"
#define NUMBER_MAX     9999
#define NUMBER_BYTES   6 /* "-9999" */
#define SHOWN_NAMES    5
#define LOCK_MS        5000 /* with the same one holding it */
#define MARK_BYTES     48
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
	[REGISTRY_TUNNEL] = {"tunnel", "tunnel", "choose another name", true},
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

/* The directory @sub of @place, whose path is completed; only made if @is_made. */
static int open_below(struct place *place, const char *sub, bool is_made)
{
	_cleanup_fd_ int parent_fd = fd_take(&place->dir_fd);
	size_t len = strlen(place->path);
	struct stat info;

	snprintf(place->path + len, sizeof(place->path) - len, "/%s", sub);
	if (is_made && mkdirat(parent_fd, sub, 0700) < 0 && errno != EEXIST)
		return -errno;
	place->dir_fd = openat(parent_fd, sub, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (place->dir_fd < 0 || fstat(place->dir_fd, &info) < 0)
		return -errno;
	return info.st_uid == geteuid() && !(info.st_mode & 022) ? 0 : -EPERM;
}

/* Go down to the directories of our kind. Those that are not there yet stay closed. */
static int descend(struct registry *registry, const char *sub, struct err *err)
{
	struct places *places = &registry->places;
	char shown[PARSE_QUOTE_BYTES];

	for (size_t i = 0; i < places->total; i++) {
		int result = open_below(&places->items[i], sub, i == 0);

		if (result < 0)
			fd_close(&places->items[i].dir_fd);
		if (result < 0 && i == 0)
			return err_sys(err, -result, "cannot use the directory %s",
				parse_quote(places->items[i].path, shown, sizeof(shown)));
	}
	return 0;
}

int registry_open_in(const struct places_roots *roots, enum registry_kind kind,
	struct registry *out, struct err *err)
{
	out->kind = kind;
	out->only_looks = false;
	out->pointer.hub_fd = -1;
	int result = places_open(roots, &out->places, err);
	if (result < 0)
		return result;
	if (places_pointer(&out->places, &out->pointer) < 0)
		out->pointer.hub_fd = -1; /* as if there were no hub */
	if (kinds[kind].directory)
		result = descend(out, kinds[kind].directory, err);
	if (result < 0)
		registry_close(out);
	return result;
}

int registry_open(enum registry_kind kind, struct registry *out, struct err *err)
{
	const struct places_roots roots = {getenv("XDG_RUNTIME_DIR"), "/run/user", "/tmp"};

	return registry_open_in(&roots, kind, out, err);
}

void registry_close(struct registry *registry)
{
	places_close(&registry->places);
	fd_close(&registry->pointer.hub_fd);
}

static void read_mark(int fd, char mark[MARK_BYTES])
{
	ssize_t got = pread(fd, mark, MARK_BYTES - 1, 0);

	mark[got < 0 ? 0 : got] = '\0';
}

/* Who has it, since when: always as wide. */
static void write_mark(int fd)
{
	char mark[MARK_BYTES];
	int len = snprintf(mark, sizeof(mark), "%10d %020llu\n", (int)getpid(),
		(unsigned long long)clock_now_ns());

	if (pwrite(fd, mark, (size_t)len, 0) < 0)
		log_debug("the lock is not marked: %s", strerror(errno));
}

/*
 * Nobody else can open the file, and those who hold it do not wait for us; but one of them may be
 * stopped, and signals are blocked here: not for ever. Where many start at once each has its turn,
 * as long as they get on.
 */
static int lock(int dir_fd)
{
	_cleanup_fd_ int fd =
		openat(dir_fd, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	char before[MARK_BYTES], now[MARK_BYTES];
	int result;

	if (fd < 0)
		return -errno;
	for (read_mark(fd, before); (result = fd_lock(fd, LOCK_MS)) == -EWOULDBLOCK;
		memcpy(before, now, sizeof(now))) {
		read_mark(fd, now);
		if (strcmp(now, before) == 0)
			return result;
	}
	if (result < 0)
		return result;
	write_mark(fd);
	return fd_take(&fd);
}

static char *to_filename(const char *name, char *out)
{
	snprintf(out, FILENAME_BYTES, "%.*s" SUFFIX, REGISTRY_NAME_MAX, name);
	return out;
}

/* Does @name run in that place? 1, 0 or -errno. */
static int is_running(const struct registry *registry, size_t place, const char *name)
{
	char filename[FILENAME_BYTES];
	int dir_fd = registry->places.items[place].dir_fd;
	int state =
		dir_fd < 0 ? -ENOENT : unixsock_check(dir_fd, to_filename(name, filename), NULL);

	return state == -ENOENT ? 0 : state;
}

/* Returns 0, -EADDRINUSE when @name runs, -EEXIST when its file is no socket, or -errno. */
static int choose_one(const struct registry *registry, const char *name, struct registry_entry *out)
{
	for (size_t i = 0; i < registry->places.count; i++) {
		int state = is_running(registry, i, name);

		if (state == 1)
			return -EADDRINUSE;
		if (state < 0 && i == 0)
			return state == -ENOTSOCK || state == -ELOOP ? -EEXIST : state;
	}
	snprintf(out->name, sizeof(out->name), "%s", name);
	return 0;
}

static int choose_numbered(
	const struct registry *registry, const char *base, struct registry_entry *out)
{
	const struct kind *kind = &kinds[registry->kind];
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
		result = choose_one(registry, name, out);
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
	out->pointer = registry->pointer;
	out->pointer.hub_fd = -1;
	out->dir_fd = fcntl(registry->places.items[0].dir_fd, F_DUPFD_CLOEXEC, 3);
	if (out->dir_fd < 0)
		return err_sys(err, errno, "cannot register the %s", kind->noun);
	if (registry->pointer.hub_fd >= 0)
		out->pointer.hub_fd = fcntl(registry->pointer.hub_fd, F_DUPFD_CLOEXEC, 3);
	out->lock_fd = result = lock(out->dir_fd);
	if (result >= 0)
		result = name ? choose_one(registry, name, out)
			      : choose_numbered(registry, base, out);
	if (result >= 0)
		return 0;
	registry_release(out);
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
	int result = places_point(&entry->pointer);
	if (result < 0)
		log_info("without XDG_RUNTIME_DIR this %s is not found: %s",
			kinds[entry->kind].noun, strerror(-result));
	fd_close(&entry->pointer.hub_fd);
	return 0;
}

void registry_release(struct registry_entry *entry)
{
	if (entry->listen_fd >= 0) {
		origin_remove(entry->dir_fd, entry->name);
		unixsock_remove(entry->dir_fd, &entry->id);
	}
	fd_close(&entry->listen_fd);
	fd_close(&entry->lock_fd);
	fd_close(&entry->dir_fd);
	fd_close(&entry->pointer.hub_fd);
}

void registry_whence(char out[REGISTRY_WHENCE_BYTES])
{
	const char *own = getenv("NSWRAP_NAME");
	char shown[PARSE_QUOTE_BYTES];

	out[0] = '\0';
	if (own)
		snprintf(out, REGISTRY_WHENCE_BYTES,
			", as seen from inside of the sandbox %s; ask from outside",
			parse_quote(own, shown, sizeof(shown)));
}

void registry_describe(const struct registry *registry, char *out, size_t cap_bytes)
{
	struct registry_found found[SHOWN_NAMES + 1];
	ssize_t count = registry_list(registry, found, SHOWN_NAMES + 1);
	char whence[REGISTRY_WHENCE_BYTES];
	size_t used = 0;

	registry_whence(whence);
	snprintf(out, cap_bytes, "none is running%s", whence);
	for (ssize_t i = 0; i < count && i < SHOWN_NAMES && used < cap_bytes; i++)
		used += (size_t)snprintf(out + used, cap_bytes - used, "%s%s",
			i == 0 ? "running: " : ", ", found[i].name);
	if (count > SHOWN_NAMES && used < cap_bytes)
		snprintf(out + used, cap_bytes - used, " and more");
}

/* --- of what they are made ---------------------------------------------------------------- */

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

static enum origin_likeness find_same_in(const struct registry *registry, size_t place,
	const struct origin *origin, struct registry_found *found, struct origin *of)
{
	enum origin_likeness likeness = ORIGIN_OTHER;
	int dir_fd = registry->places.items[place].dir_fd;
	struct dirent **files;
	int count = dir_fd < 0 ? -1 : scandirat(dir_fd, ".", &files, is_entry, alphasort);

	for (int i = 0; i < count; i++) {
		if (likeness == ORIGIN_OTHER) {
			to_name(files[i]->d_name, found->name);
			found->place = place;
			if (unixsock_check(dir_fd, files[i]->d_name, NULL) == 1)
				likeness = origin_compare(dir_fd, found->name, origin, of);
		}
		free(files[i]);
	}
	if (count >= 0)
		free(files);
	return likeness;
}

enum origin_likeness registry_find_same(const struct registry *registry,
	const struct origin *origin, struct registry_found *found, struct origin *of)
{
	enum origin_likeness likeness = ORIGIN_OTHER;

	for (size_t i = 0; i < registry->places.count && likeness == ORIGIN_OTHER; i++)
		likeness = find_same_in(registry, i, origin, found, of);
	return likeness;
}

bool registry_is_orphaned(const struct registry *registry, const char *name)
{
	bool is_orphaned = false;
	char filename[FILENAME_BYTES];

	to_filename(name, filename);
	for (size_t i = 0; i < registry->places.count && !is_orphaned; i++) {
		int dir_fd = registry->places.items[i].dir_fd;
		_cleanup_fd_ int sock =
			dir_fd < 0 ? -1 : unixsock_connect(dir_fd, filename, SOCK_SEQPACKET);
		is_orphaned = sock >= 0 && identity_has_ended(sock);
	}
	return is_orphaned;
}

void registry_note(const struct registry_entry *entry, const struct origin *origin)
{
	int result = origin_write(entry->dir_fd, entry->name, origin);

	if (result < 0)
		log_info("it is not noted what this %s was made of: %s", kinds[entry->kind].noun,
			strerror(-result));
}

/* --- connecting --------------------------------------------------------------------------- */

static int say_not_there(const struct registry *registry, const char *name, struct err *err)
{
	const struct places *places = &registry->places;
	char running[REGISTRY_DESCRIPTION_BYTES], shown[PARSE_QUOTE_BYTES];

	registry_describe(registry, running, sizeof(running));
	err_set(err, ENOENT, "no %s \"%s\" is running (%s)", kinds[registry->kind].noun, name,
		running);
	for (size_t i = 0; err && i < places->count; i++) {
		size_t used = strlen(err->text);

		snprintf(err->text + used, sizeof(err->text) - used, "%s%s",
			i == 0 ? "; looked in " : ", ",
			parse_quote(places->items[i].path, shown, sizeof(shown)));
	}
	return -ENOENT;
}

int registry_connect_found(
	const struct registry *registry, const struct registry_found *found, struct err *err)
{
	const char *noun = kinds[registry->kind].noun;
	char filename[FILENAME_BYTES];
	struct err who;
	_cleanup_fd_ int sock = unixsock_connect(registry->places.items[found->place].dir_fd,
		to_filename(found->name, filename), SOCK_SEQPACKET);

	if (sock == -ENOENT || sock == -ECONNREFUSED)
		return say_not_there(registry, found->name, err);
	if (sock == -EAGAIN)
		return err_set(err, EAGAIN, "the %s \"%s\" does not answer", noun, found->name);
	if (sock < 0)
		return err_sys(err, -sock, "cannot talk to the %s \"%s\"", noun, found->name);
	if (identity_check(sock, &who) < 0)
		/* one that has just ended, and that another process has for a moment still */
		return identity_has_ended(sock)
			       ? say_not_there(registry, found->name, err)
			       : err_set(err, EPERM, "the %s \"%s\" is not asked: %s", noun,
					 found->name, who.text);
	return fd_take(&sock);
}

/* Our own place first; in the others it must not be there twice. */
int registry_connect(const struct registry *registry, const char *name, struct err *err)
{
	const struct places *places = &registry->places;
	struct registry_found found = {.place = places->count};
	int result = registry_check_name(registry->kind, name, err);

	if (result < 0)
		return result;
	for (size_t i = 0; i < places->count && found.place != 0; i++) {
		if (is_running(registry, i, name) == 0)
			continue;
		if (found.place < places->count)
			return err_set(err, EEXIST,
				"two of that name are running, \"%s\" in %s and in %s: set "
				"XDG_RUNTIME_DIR as it was for the one that is meant",
				name, places->items[found.place].path, places->items[i].path);
		found.place = i;
	}
	if (found.place == places->count)
		return say_not_there(registry, name, err);
	snprintf(found.name, sizeof(found.name), "%s", name);
	return registry_connect_found(registry, &found, err);
}

/* --- listing ------------------------------------------------------------------------------ */

static int by_name(const void *a, const void *b)
{
	const struct registry_found *first = a, *second = b;
	int order = strcmp(first->name, second->name);

	return order != 0 ? order : (first->place > second->place) - (first->place < second->place);
}

/* Adds those of one place to @out, which has @count. Returns how many it has then, or -errno. */
static ssize_t list_place(
	const struct registry *registry, size_t place, struct registry_found **out, size_t count)
{
	int dir_fd = registry->places.items[place].dir_fd;
	_cleanup_fd_ int lock_fd = registry->only_looks ? -1 : lock(dir_fd);
	struct unixsock_id id;
	struct dirent **files;

	/* without it nothing is removed; only of our own place that is a reason to give up */
	if (lock_fd < 0 && place == 0 && !registry->only_looks)
		return lock_fd;
	int found = scandirat(dir_fd, ".", &files, is_entry, NULL);
	if (found < 0)
		return -errno;
	struct registry_found *list = realloc(*out, (count + (size_t)found + 1) * sizeof(*list));
	for (int i = 0; i < found; i++) {
		int state = unixsock_check(dir_fd, files[i]->d_name, &id);

		if (list)
			to_name(files[i]->d_name, list[count].name);
		if (state == 0 && lock_fd >= 0 && list) {
			origin_remove(dir_fd, list[count].name);
			unixsock_remove(dir_fd, &id);
		}
		if (state == 1 && list)
			list[count++].place = place;
		free(files[i]);
	}
	free(files);
	if (!list)
		return -ENOMEM;
	*out = list;
	return (ssize_t)count;
}

ssize_t registry_list(const struct registry *registry, struct registry_found *out, size_t cap)
{
	struct registry_found *all = NULL;
	ssize_t count = 0;

	for (size_t i = 0; i < registry->places.count && count >= 0; i++)
		if (registry->places.items[i].dir_fd >= 0)
			count = list_place(registry, i, &all, (size_t)count);
	if (all && count > 0) {
		qsort(all, (size_t)count, sizeof(*all), by_name);
		count = (size_t)count < cap ? count : (ssize_t)cap;
		memcpy(out, all, (size_t)count * sizeof(*all));
	}
	free(all);
	return count;
}
