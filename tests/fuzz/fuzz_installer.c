/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz/installer - any bytes as what a host's shell says while nswrap-agent is brought there */
#include "mesh/manager/installer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told {
	bool is_done, has_failed;
	size_t text;
};

static void on_text(void *owner, const char *text, size_t len)
{
	struct told *told = owner;

	for (size_t i = 0; i < len; i++) /* each byte is there to be read */
		told->text += text[i] != '\0';
}

static void on_progress(void *owner, const char *text)
{
	(void)owner;
	if (strlen(text) > 100)
		abort();
}

static void on_done(void *owner)
{
	struct told *told = owner;

	if (told->is_done || told->has_failed)
		abort();
	told->is_done = true;
}

static void on_failed(void *owner, const char *why)
{
	struct told *told = owner;

	(void)why;
	if (told->is_done || told->has_failed)
		abort();
	told->has_failed = true;
}

static const struct installer_ops ops = {on_text, on_progress, on_done, on_failed};

/* What it has asked is thrown away. */
static void drain(int fd)
{
	static char bytes[1 << 16];

	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

/* An agent of three chunks and a bit, for the machine of the corpus: "x86_64". */
static char *make_file(void)
{
	static char path[64];
	unsigned char bytes[3 * PARCEL_CHUNK_BYTES + 5] = {0x7f, 'E', 'L', 'F'};
	int fd;

	if (path[0] != '\0')
		return path;
	bytes[18] = 62;
	snprintf(path, sizeof(path), "/tmp/fuzz-installer-%d", (int)getpid());
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes))
		abort();
	close(fd);
	return path;
}

/* "@" stands for the nonce, which nobody can guess. */
static void say(int fd, const struct installer *installer, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		const char *nonce = installer->nonce;
		bool is_nonce = data[i] == '@';

		if (write(fd, is_nonce ? nonce : (const char *)&data[i],
			    is_nonce ? strlen(nonce) : 1) < 0)
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *files[] = {make_file(), NULL};
	struct told told = {.text = 0};
	struct loop *loop = loop_new();
	struct installer installer = {.ops = &ops, .owner = &told, .loop = loop, .files = files};
	int ours[2], theirs[2];

	if (size > 8192)
		size = 8192;
	if (!loop || socketpair(AF_UNIX, SOCK_STREAM, 0, ours) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM, 0, theirs) < 0)
		abort();
	if (installer_begin(&installer, ours[0], theirs[0]) < 0)
		abort();
	/* line by line, so that each question is asked before its answer comes */
	for (size_t at = 0, end; at < size; at = end) {
		for (end = at + 1; end < size && data[end - 1] != '\n';)
			end++;
		say(ours[1], &installer, data + at, end - at);
		for (int i = 0; i < 3; i++) {
			loop_run_once(loop, 0);
			drain(theirs[1]);
		}
		if (told.is_done || told.has_failed)
			break;
	}
	shutdown(ours[1], SHUT_WR);
	for (int i = 0; i < 4; i++)
		loop_run_once(loop, 0);
	if (!told.is_done && !told.has_failed)
		abort();
	installer_end(&installer);
	for (int i = 0; i < 2; i++) {
		close(ours[i]);
		close(theirs[i]);
	}
	loop_free(loop);
	return 0;
}
