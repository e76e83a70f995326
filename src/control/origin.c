/* SPDX-License-Identifier: Apache-2.0 */
/* control/origin - of what a running name was made, so that it is not made of it twice */
#include "control/origin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIGEST_CHARS 16
#define NAME_BYTES   (NAME_MAX + 1)
#define FORMAT       "%0*" PRIx64 " %s"

void origin_set_path(struct origin *origin, const char *path, int fd)
{
	char link[32], *real;
	struct stat info;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	real = realpath(path ? path : link, NULL);
	/* no terminal; and what does not fit behind the digest is none */
	bool is_file = real && stat(real, &info) == 0 && S_ISREG(info.st_mode) &&
		       strlen(real) < PATH_MAX - DIGEST_CHARS - 1;
	snprintf(origin->path, sizeof(origin->path), "%s", is_file ? real : "");
	free(real);
}

static char *to_filename(const char *name, const char *suffix, char out[NAME_BYTES])
{
	snprintf(out, NAME_BYTES, "%s%s", name, suffix);
	return out;
}

int origin_write(int dir_fd, const char *name, const struct origin *origin)
{
	char text[PATH_MAX + DIGEST_CHARS + 2], fresh[NAME_BYTES], filename[NAME_BYTES];

	snprintf(text, sizeof(text), FORMAT, DIGEST_CHARS, origin->digest, origin->path);
	unlinkat(dir_fd, to_filename(name, ".of~", fresh), 0);
	if (symlinkat(text, dir_fd, fresh) < 0 ||
		renameat(dir_fd, fresh, dir_fd, to_filename(name, ".of", filename)) < 0)
		return -errno;
	return 0;
}

static int read_noted(int dir_fd, const char *name, struct origin *out)
{
	char text[PATH_MAX], filename[NAME_BYTES];
	ssize_t len =
		readlinkat(dir_fd, to_filename(name, ".of", filename), text, sizeof(text) - 1);

	if (len < 0)
		return -errno;
	text[len] = '\0';
	/* what strtoull takes besides digits is not of ours */
	if (strspn(text, "0123456789abcdef") != DIGEST_CHARS || text[DIGEST_CHARS] != ' ')
		return -EINVAL;
	out->digest = strtoull(text, NULL, 16);
	snprintf(out->path, sizeof(out->path), "%s", text + DIGEST_CHARS + 1);
	return 0;
}

/* A path that was noted says which file is meant by what is there now: an editor that saves makes
 * a new file of the same name, and the old one's number may be another file's. */
static bool is_same_file(const char *a, const char *b)
{
	struct stat first, second;

	if (!a[0] || !b[0])
		return false;
	return strcmp(a, b) == 0 ||
	       (stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
		       first.st_ino == second.st_ino);
}

enum origin_likeness origin_compare(
	int dir_fd, const char *name, const struct origin *origin, struct origin *found)
{
	if (read_noted(dir_fd, name, found) < 0)
		return ORIGIN_OTHER;
	if (is_same_file(found->path, origin->path))
		return ORIGIN_SAME_FILE;
	return found->digest == origin->digest ? ORIGIN_SAME_TEXT : ORIGIN_OTHER;
}

void origin_remove(int dir_fd, const char *name)
{
	char filename[NAME_BYTES];

	unlinkat(dir_fd, to_filename(name, ".of", filename), 0);
}
