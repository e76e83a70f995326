/* SPDX-License-Identifier: Apache-2.0 */
/* replay - feed files to a fuzz target without libFuzzer: the corpus as an ordinary test */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/fd.h"

#define DEPTH_MAX 8 /* of directories */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(int fd, size_t size, size_t *count)
{
	/* exactly as long as the input, so that AddressSanitizer sees a read behind its end */
	uint8_t *data = malloc(size ? size : 1);

	if (!data)
		return -ENOMEM;
	ssize_t len = fd_read_all(fd, data, size);
	if (len == (ssize_t)size) {
		LLVMFuzzerTestOneInput(data, size);
		(*count)++;
	}
	free(data);
	if (len < 0)
		return (int)len;
	return len == (ssize_t)size ? 0 : -EIO;
}

static int replay(int dir_fd, const char *name, size_t *count, int depth);

static int replay_dir(int fd, size_t *count, int depth)
{
	DIR *dir = fdopendir(dup(fd));
	int rc = dir ? 0 : -errno;

	for (struct dirent *entry; rc == 0 && (entry = readdir(dir));)
		if (entry->d_name[0] != '.')
			rc = replay(fd, entry->d_name, count, depth + 1);
	if (dir)
		closedir(dir);
	return rc;
}

/* Returns 0, or -errno after saying what could not be read. */
static int replay(int dir_fd, const char *name, size_t *count, int depth)
{
	_cleanup_fd_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int rc;

	if (depth > DEPTH_MAX)
		rc = -ELOOP;
	else if (fd < 0 || fstat(fd, &st) < 0)
		rc = -errno;
	else if (S_ISDIR(st.st_mode))
		rc = replay_dir(fd, count, depth);
	else
		rc = S_ISREG(st.st_mode) ? replay_file(fd, (size_t)st.st_size, count) : -EINVAL;
	if (rc < 0)
		fprintf(stderr, "%s: %s\n", name, strerror(-rc));
	return rc;
}

int main(int argc, char **argv)
{
	size_t count = 0;
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed |= replay(AT_FDCWD, argv[i], &count, 0) < 0;
	printf("%zu inputs\n", count);
	/* a run without any input has tested nothing */
	return failed || count == 0;
}
