/* SPDX-License-Identifier: Apache-2.0 */
/* link/keyfile - a secret that is in a file of its own */
#include "link/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/parse.h"

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

int keyfile_open(const char *path, const char *shown, struct err *err)
{
	/* a FIFO would not wait for a writer, and then is no file */
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return err_sys(err, errno, "%s cannot be read", PARSE_QUOTED(shown));
	int result = check(fd, shown, err);
	return result < 0 ? result : fd_take(&fd);
}

static int take(const unsigned char *text, size_t len, const char *path, struct keyfile *out,
	struct err *err)
{
	if (len > 0 && text[len - 1] == '\n')
		len--;
	if (len > 0 && text[len - 1] == '\r')
		len--;
	if (len < KEYFILE_MIN || len > KEYFILE_MAX)
		return err_set(err, EINVAL,
			"%s has %s for a key: expected %d to %d bytes, such as those of openssl "
			"rand -hex 32",
			PARSE_QUOTED(path), len < KEYFILE_MIN ? "too little" : "too much",
			KEYFILE_MIN, KEYFILE_MAX);
	memcpy(out->bytes, text, len);
	out->len = len;
	return 0;
}

int keyfile_read(const char *path, struct keyfile *out, struct err *err)
{
	unsigned char text[KEYFILE_MAX + 3]; /* with CR, LF, and one that is too much */
	_cleanup_fd_ int fd = keyfile_open(path, path, err);

	if (fd < 0)
		return fd;
	ssize_t len = fd_read_all(fd, text, sizeof(text));
	int result = len < 0 ? err_sys(err, (int)-len, "%s cannot be read", PARSE_QUOTED(path))
			     : take(text, (size_t)len, path, out, err);
	explicit_bzero(text, sizeof(text));
	return result;
}

void keyfile_wipe(struct keyfile *key)
{
	explicit_bzero(key, sizeof(*key));
}
