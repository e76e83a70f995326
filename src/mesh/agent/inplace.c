/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/inplace - change a file that others have, where it lies */
#include "mesh/agent/inplace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/log.h"

int inplace_read(int fd, struct marked_text *out)
{
	struct stat info;

	if (fstat(fd, &info) < 0)
		return -errno;
	if (!S_ISREG(info.st_mode))
		return S_ISDIR(info.st_mode) ? -EISDIR : -ENOTSUP;
	if (info.st_size > INPLACE_MAX_BYTES)
		return -EFBIG;
	/* it may grow meanwhile: what is behind that is seen by who looks again */
	struct marked_text text = {malloc((size_t)info.st_size + 2), 0};
	if (!text.bytes)
		return -ENOMEM;
	ssize_t len = lseek(fd, 0, SEEK_SET) < 0
			      ? -errno
			      : fd_read_all(fd, text.bytes, (size_t)info.st_size + 1);
	if (len < 0 || len > info.st_size) {
		free(text.bytes);
		return len < 0 ? (int)len : -EAGAIN;
	}
	text.len = (size_t)len;
	text.bytes[len] = '\0';
	*out = text;
	return 0;
}

static int write_at(int fd, const struct marked_text *text, size_t at)
{
	if (lseek(fd, (off_t)at, SEEK_SET) < 0)
		return -errno;
	int result = fd_write_all(fd, text->bytes + at, text->len - at);
	if (result == 0 && ftruncate(fd, (off_t)text->len) < 0)
		result = -errno;
	return result;
}

static size_t same_begin(const struct marked_text *a, const struct marked_text *b)
{
	size_t at = 0;

	while (at < a->len && at < b->len && a->bytes[at] == b->bytes[at])
		at++;
	return at;
}

/* Has anybody written to @fd since it was @before, or put another file to @path? */
static bool is_stale(int fd, const struct stat *before, const char *path)
{
	struct stat now, there;

	return fstat(fd, &now) < 0 || stat(path, &there) < 0 || now.st_size != before->st_size ||
	       now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
	       now.st_mtim.tv_nsec != before->st_mtim.tv_nsec || there.st_ino != now.st_ino ||
	       there.st_dev != now.st_dev;
}

/* Returns 1, 0, or -errno; -EAGAIN: somebody was faster. */
static int try_edit(const char *path, int fd, inplace_change change, void *owner)
{
	struct marked_text old = {NULL, 0}, new = {NULL, 0};
	struct stat before, there;

	if (fstat(fd, &before) < 0)
		return -errno;
	int result = inplace_read(fd, &old);
	if (result == 0)
		result = change(owner, &old, &new);
	if (result == 0 && is_stale(fd, &before, path))
		result = -EAGAIN;
	if (result == 0) {
		size_t same = same_begin(&old, &new);

		if (same < old.len || same < new.len)
			result = write_at(fd, &new, same);
		if (result < 0)
			write_at(fd, &old, same);
		else
			result = same < old.len || same < new.len;
	}
	/* nobody sees what was written to a file that is no longer there */
	if (result > 0 && (stat(path, &there) < 0 || there.st_ino != before.st_ino ||
				  there.st_dev != before.st_dev))
		result = -EAGAIN;
	free(old.bytes);
	free(new.bytes);
	return result;
}

int inplace_edit(const char *path, inplace_change change, void *owner, struct err *err)
{
	int result = -EAGAIN;

	for (int i = 0; result == -EAGAIN && i < INPLACE_TRIES; i++) {
		/* a FIFO or a device is no file to wait for */
		_cleanup_fd_ int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

		if (fd < 0)
			return err_sys(err, errno, "cannot write %s", path);
		/* who may read the file can keep it locked for ever */
		if (fd_lock(fd, INPLACE_LOCK_MS) < 0)
			log_info("%s is locked by another program: it is written all the same",
				path);
		result = try_edit(path, fd, change, owner);
	}
	if (result == -EAGAIN)
		return err_set(err, EAGAIN, "cannot write %s: others write it all the time", path);
	if (result == -ENOTSUP)
		return err_set(err, ENOTSUP, "cannot write %s: it is no regular file", path);
	return result < 0 ? err_sys(err, -result, "cannot write %s", path) : result;
}
