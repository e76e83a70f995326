/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/statedir - the directory with a host's names: hosts, hostaliases, README.md */
#include "mesh/agent/statedir.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mesh/agent/author.h"
#include "mesh/agent/inplace.h"
#include "util/fd.h"
#include "util/parse.h"

#define LOCK_MS     1000
#define LOCK_TRIES  10
#define DEFAULT     "~/.nswrap/agent"
#define HOSTS       "hosts"
#define HOSTALIASES "hostaliases"
#define README      "README.md"

static const char readme[] =
	"# Names of a mesh, by nswrap\n"
	"\n"
	"An agent of nswrap keeps these files while it runs, and takes them along when it ends:\n"
	"\n"
	"- `hosts`: what /etc/hosts says, and the names of the mesh.\n"
	"- `hostaliases`: the names without dots, for programs that know $HOSTALIASES\n"
	"  (hostname(7)), and what the file of that variable said before:\n"
	"  `HOSTALIASES=DIRECTORY/hostaliases wget -O - http://lab:8080/`.\n"
	"  The addresses come from nip.io, which is asked by DNS.\n"
	"\n"
	"Another directory, or none: `stateDir` in the manifest, nswrap-manifest(5).\n";

/* --- the path ----------------------------------------------------------------------------- */

/* Not of another user, as sudo may leave it. */
static const char *home_of_user(void)
{
	const char *home = getenv("HOME");
	struct stat info;

	if (home && home[0] == '/' && stat(home, &info) == 0 && info.st_uid == geteuid())
		return home;
	const struct passwd *user = getpwuid(geteuid());
	return user && user->pw_dir && user->pw_dir[0] == '/' ? user->pw_dir : NULL;
}

/* The value of the variable that @text, behind its $, begins with; *@text is then behind it. */
static const char *take_variable(const char **text, const char *path, struct err *err)
{
	bool is_braced = **text == '{';
	const char *name = *text + is_braced;
	size_t len = 0;
	char copy[256];

	while (name[len] == '_' || isalnum((unsigned char)name[len]))
		len++;
	if (len == 0 || len >= sizeof(copy) || isdigit((unsigned char)name[0]) ||
		(is_braced && name[len] != '}')) {
		err_set(err, EINVAL, "stateDir %s: $ without a name: expected $VAR or ${VAR}",
			PARSE_QUOTED(path));
		return NULL;
	}
	memcpy(copy, name, len);
	copy[len] = '\0';
	*text = name + len + is_braced;
	const char *value = getenv(copy);
	if (!value)
		err_set(err, EINVAL,
			"stateDir %s: the variable %s is not set here: expected one of the "
			"agent's environment",
			PARSE_QUOTED(path), copy);
	return value;
}

/* Write it with its variables to @out. */
static int expand_variables(FILE *out, const char *text, const char *path, struct err *err)
{
	while (*text) {
		if (*text != '$') {
			fputc(*text++, out);
			continue;
		}
		text++;
		const char *value = take_variable(&text, path, err);
		if (!value)
			return -EINVAL;
		fputs(value, out);
	}
	return 0;
}

char *statedir_expand(const char *path, struct err *err)
{
	const char *text = path ? path : DEFAULT, *home = "";
	char *expanded = NULL;
	size_t len;

	if (text[0] == '~' && text[1] && text[1] != '/') {
		err_set(err, EINVAL, "stateDir %s: expected ~/ for the home of the agent's user",
			PARSE_QUOTED(text));
		return NULL;
	}
	if (text[0] == '~') {
		text++;
		home = home_of_user();
	}
	if (!home) {
		err_set(err, ENOENT, "stateDir %s: the agent's user has no home directory",
			PARSE_QUOTED(path ? path : DEFAULT));
		return NULL;
	}
	FILE *out = open_memstream(&expanded, &len);
	if (!out) {
		err_sys(err, ENOMEM, "no state directory");
		return NULL;
	}
	fputs(home, out);
	int result = expand_variables(out, text, path ? path : DEFAULT, err);
	if (fclose(out) != 0 && result == 0)
		result = err_sys(err, ENOMEM, "no state directory");
	if (result == 0 && (len == 0 || len >= PATH_MAX))
		result = err_set(err, EINVAL, "stateDir %s: expected a path",
			PARSE_QUOTED(path ? path : DEFAULT));
	if (result == 0)
		return expanded;
	free(expanded);
	return NULL;
}

/* As mkdir -p. Returns 0 or -errno. */
static int make_path(const char *path)
{
	char part[PATH_MAX];

	snprintf(part, sizeof(part), "%s", path);
	for (char *slash = part + 1;; slash++) {
		slash += strcspn(slash, "/");
		bool is_last = !*slash;

		*slash = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -errno;
		if (is_last)
			return 0;
		*slash = '/';
	}
}

/* --- files -------------------------------------------------------------------------------- */

/* Returns 1 if there is one, 0, or -errno. */
static int read_at(int dir_fd, const char *name, struct marked_text *out)
{
	_cleanup_fd_ int fd =
		openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	*out = (struct marked_text){NULL, 0};
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	int result = inplace_read(fd, out);
	return result < 0 ? result : 1;
}

/* Whole or not at all. */
static int replace_at(int dir_fd, const char *name, const struct marked_text *text)
{
	char made[32];

	snprintf(made, sizeof(made), ".%s.new", name);
	unlinkat(dir_fd, made, 0);
	_cleanup_fd_ int fd = openat(dir_fd, made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	int result = fd_write_all(fd, text->bytes, text->len);
	if (result == 0 && renameat(dir_fd, made, dir_fd, name) < 0)
		result = -errno;
	if (result < 0)
		unlinkat(dir_fd, made, 0);
	return result;
}

/* Of agents that run, but for our own. */
static bool is_others(void *owner, const struct marked_author *author)
{
	const struct marked_author *self = owner;

	return !marked_is_same(author, self) && !author_is_over(author, self);
}

/* What @old (its blocks) becomes with @lines of ours (NULL: none) behind @rest (may be NULL). */
static int compose(const struct marked_text *old, const struct marked_text *rest,
	const struct marked_author *self, const char *lines, struct marked_text *out)
{
	struct marked_text blocks;
	int result = marked_cut(old, MARKED_BLOCKS, is_others, (void *)self, &blocks);
	size_t before = rest ? rest->len : 0;

	if (result < 0)
		return result;
	out->bytes = malloc(before + 1 + blocks.len + 1);
	if (out->bytes) {
		if (before > 0)
			memcpy(out->bytes, rest->bytes, before);
		if (before > 0 && out->bytes[before - 1] != '\n')
			out->bytes[before++] = '\n';
		memcpy(out->bytes + before, blocks.bytes, blocks.len);
		out->len = before + blocks.len;
	}
	result = !out->bytes ? -ENOMEM : lines ? marked_add(out, self, lines) : 0;
	free(blocks.bytes);
	return result;
}

static bool is_same(const struct marked_text *a, const struct marked_text *b)
{
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

/*
 * Put @lines (NULL: take them out) into @name, behind @rest. Returns 0 or -errno; -EEXIST: the file
 * that is there is not ours.
 */
static int put_lines(int dir_fd, const char *name, const struct marked_text *rest,
	const struct marked_author *self, const char *lines)
{
	struct marked_text old, new = {NULL, 0};
	int result = read_at(dir_fd, name, &old);
	bool is_there = result > 0;

	if (is_there && marked_count(&old) == 0)
		result = lines ? -EEXIST : 0;
	else if (result >= 0)
		result = compose(&old, rest, self, lines, &new);
	if (result == 0 && new.bytes && marked_count(&new) == 0)
		unlinkat(dir_fd, name, 0);
	else if (result == 0 && new.bytes && !(is_there && is_same(&old, &new)))
		result = replace_at(dir_fd, name, &new);
	free(old.bytes);
	free(new.bytes);
	return result;
}

static bool has_own_readme(int dir_fd)
{
	struct marked_text text;
	size_t line = strcspn(readme, "\n");
	bool is_own = read_at(dir_fd, README, &text) > 0 && text.len > line &&
		      memcmp(text.bytes, readme, line + 1) == 0;

	free(text.bytes);
	return is_own;
}

static int put_readme(int dir_fd)
{
	struct marked_text text = {(char *)readme, strlen(readme)};

	/* one of another program says what that one does there */
	if (faccessat(dir_fd, README, F_OK, AT_SYMLINK_NOFOLLOW) == 0 && !has_own_readme(dir_fd))
		return 0;
	return replace_at(dir_fd, README, &text);
}

/* /etc/hosts without blocks. */
static void read_rest(struct marked_text *out)
{
	struct marked_text all;

	*out = (struct marked_text){NULL, 0};
	if (read_at(AT_FDCWD, STATEDIR_HOSTS, &all) > 0)
		marked_cut(&all, MARKED_REST, NULL, NULL, out);
	free(all.bytes);
}

/* Is `hosts` of that directory /etc/hosts itself, where blocks are no sign that a file is ours? */
static bool is_etc_hosts(int dir_fd)
{
	struct stat there, etc;

	return fstatat(dir_fd, HOSTS, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       stat(STATEDIR_HOSTS, &etc) == 0 && there.st_ino == etc.st_ino &&
	       there.st_dev == etc.st_dev;
}

static int put_hosts(int dir_fd, const struct marked_author *self, const char *lines)
{
	struct marked_text rest;

	if (is_etc_hosts(dir_fd))
		return lines ? -EEXIST : 0;
	read_rest(&rest);
	int result = put_lines(dir_fd, HOSTS, &rest, self, lines);
	free(rest.bytes);
	return result;
}

/* --- the directory ------------------------------------------------------------------------ */

static int fail(struct err *err, int result, const char *path, const char *name)
{
	if (result == -EEXIST)
		return err_set(err, EEXIST,
			"%s/%s is a file of somebody else's: expected none, or another "
			"stateDir.pathOnAgent",
			path, name);
	return err_sys(err, -result, "cannot write %s/%s", path, name);
}

static int write_files(int dir_fd, const char *path, const struct marked_author *self,
	const char *hosts, const char *aliases, struct err *err)
{
	int result = put_hosts(dir_fd, self, hosts), failed = 0;

	if (result < 0)
		failed = fail(err, result, path, HOSTS);
	result = put_lines(dir_fd, HOSTALIASES, NULL, self, aliases);
	if (result < 0)
		failed = fail(err, result, path, HOSTALIASES);
	result = failed ? 0 : put_readme(dir_fd);
	return result < 0 ? fail(err, result, path, README) : failed;
}

/* Made if it is not there, and locked: by who may read it for ever, which is not waited for.
 * Returns the directory or -errno. */
static int open_locked(const char *path)
{
	struct stat own, there;

	for (int i = 0; i < LOCK_TRIES; i++) {
		int result = make_path(path);
		_cleanup_fd_ int fd =
			result < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0 && (result < 0 || errno != ENOENT))
			return result < 0 ? result : -errno;
		if (fd < 0)
			continue;
		fd_lock(fd, LOCK_MS);
		/* the agent that had the lock may have taken it away */
		if (fstat(fd, &own) == 0 && stat(path, &there) == 0 && own.st_ino == there.st_ino &&
			own.st_dev == there.st_dev)
			return fd_take(&fd);
	}
	return -EAGAIN;
}

int statedir_write(struct statedir *dir, const char *path, const struct marked_author *self,
	const char *hosts, const char *aliases, struct err *err)
{
	bool is_same_place = dir->path && strcmp(dir->path, path) == 0;

	if (!is_same_place)
		statedir_remove(dir, self);
	_cleanup_fd_ int dir_fd = open_locked(path);
	if (dir_fd < 0)
		return err_sys(err, -dir_fd, "cannot make %s", path);
	if (!is_same_place)
		dir->path = strdup(path);
	if (!dir->path)
		return err_sys(err, ENOMEM, "cannot write %s", path);
	return write_files(dir_fd, path, self, hosts, aliases, err);
}

void statedir_remove(struct statedir *dir, const struct marked_author *self)
{
	if (!dir->path)
		return;
	_cleanup_fd_ int dir_fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd >= 0) {
		fd_lock(dir_fd, LOCK_MS);
		put_hosts(dir_fd, self, NULL);
		put_lines(dir_fd, HOSTALIASES, NULL, self, NULL);
		if (faccessat(dir_fd, HOSTS, F_OK, 0) < 0 && has_own_readme(dir_fd)) {
			unlinkat(dir_fd, README, 0);
			rmdir(dir->path);
		}
	}
	free(dir->path);
	dir->path = NULL;
}
