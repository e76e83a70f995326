/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/secret - a password, from a file of its own */
#include "mesh/manifest/secret.h"

#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "link/keyfile.h"
#include "util/fd.h"
#include "util/parse.h"

#define SECRET_MAX 255 /* bytes (RFC 1929) */

static char *find_path(const char *path, const char *folder)
{
	if (path[0] == '~' && path[1] == '/')
		return g_build_filename(g_get_home_dir(), path + 2, NULL);
	return path[0] == '/' ? g_strdup(path) : g_build_filename(folder, path, NULL);
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
	_cleanup_fd_ int fd = keyfile_open(found, path, err);

	if (fd < 0)
		return fd;
	ssize_t len = fd_read_all(fd, text, sizeof(text));
	int result = len < 0 ? err_sys(err, (int)-len, "%s cannot be read", PARSE_QUOTED(path))
			     : take_line(text, (size_t)len, path, out, err);
	explicit_bzero(text, sizeof(text));
	return result;
}
