/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/secret - a password, from a file of its own */
#include "mesh/manifest/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/parse.h"

#define SECRET_MAX 255 /* bytes (RFC 1929) */

static char *find_path(const char *path, const char *folder)
{
	if (path[0] == '~' && path[1] == '/')
		return g_build_filename(g_get_home_dir(), path + 2, NULL);
	return path[0] == '/' ? g_strdup(path) : g_build_filename(folder, path, NULL);
}

static int check(int fd, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "%s cannot be read", PARSE_QUOTED(path));
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s is no file: expected a file", PARSE_QUOTED(path));
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return err_set(err, EPERM, "%s is another user's: expected a file of your own",
			PARSE_QUOTED(path));
	if (st.st_mode & 077)
		return err_set(err, EPERM,
			"%s has mode %04o, so others may get at it: expected 0600 (chmod 600)",
			PARSE_QUOTED(path), st.st_mode & 07777);
	return 0;
}

/* The first line of @text, which may have a NUL anywhere. */
static int take_line(const char *text, size_t len, const char *path, char **out, struct err *err)
{
	const char *end = memchr(text, '\n', len);
	size_t line = end ? (size_t)(end - text) : len;

	if (line > 0 && text[line - 1] == '\r')
		line--;
	if (line == 0 || line > SECRET_MAX)
		return err_set(err, EINVAL,
			"%s has %s in its first line: expected a password of 1 to %d bytes",
			PARSE_QUOTED(path), line == 0 ? "nothing" : "too much", SECRET_MAX);
	for (size_t i = 0; i < line; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			return err_set(err, EINVAL,
				"%s has a control character in its first line: expected a password",
				PARSE_QUOTED(path));
	*out = strndup(text, line);
	return *out ? 0 : err_sys(err, ENOMEM, "%s cannot be read", PARSE_QUOTED(path));
}

int secret_read(const char *path, const char *folder, char **out, struct err *err)
{
	char text[SECRET_MAX + 3]; /* with CR, LF, and one that is too much */
	g_autofree char *found = find_path(path, folder);
	/* a FIFO would not wait for a writer, and then is no file */
	_cleanup_fd_ int fd = open(found, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return err_sys(err, errno, "%s cannot be read", PARSE_QUOTED(path));
	int result = check(fd, path, err);
	if (result < 0)
		return result;
	ssize_t len = fd_read_all(fd, text, sizeof(text));
	result = len < 0 ? err_sys(err, (int)-len, "%s cannot be read", PARSE_QUOTED(path))
			 : take_line(text, (size_t)len, path, out, err);
	explicit_bzero(text, sizeof(text));
	return result;
}
