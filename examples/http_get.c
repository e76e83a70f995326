/* SPDX-License-Identifier: Apache-2.0 */
/* http_get - GET a page through an exit; both ends of the link are in this program */
#include <nswrap/nswrap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int fail(const struct nswrap_error *error)
{
	fprintf(stderr, "http_get: %s\n", error->text);
	return 1;
}

/* Ask over a connected socket, and print the answer. */
static int get(int fd, const char *host, const char *path)
{
	char text[4096];
	ssize_t got;
	int len = snprintf(text, sizeof(text),
		"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host);

	if (len >= (int)sizeof(text) || send(fd, text, (size_t)len, MSG_NOSIGNAL) != len)
		return 1;
	while ((got = recv(fd, text, sizeof(text), 0)) > 0)
		fwrite(text, 1, (size_t)got, stdout);
	return got < 0;
}

int main(int argc, char **argv)
{
	const char *const expose[] = {argc > 4 ? argv[4] : NULL, NULL};
	struct nswrap_error error;
	int link[2], status;

	if (argc < 4) {
		fprintf(stderr, "usage: http_get HOST PORT PATH [EXPOSE]\n");
		return 2;
	}
	/* the link may as well be a pipe to ssh, or any socket to where the exit is */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) < 0)
		return 1;
	struct nswrap_exit *out =
		nswrap_exit_start(link[0], link[0], argc > 4 ? expose : NULL, &error);
	if (!out) {
		close(link[1]);
		return fail(&error);
	}
	struct nswrap_entrance *in = nswrap_entrance_start(link[1], link[1], &error);
	int fd = in ? nswrap_dial(in, "tcp", argv[1], atoi(argv[2]), 10000, 0, &error) : -1;
	if (fd >= 0) {
		status = get(fd, argv[1], argv[3]);
		close(fd);
	} else {
		status = fail(&error);
	}
	nswrap_entrance_stop(in);
	nswrap_exit_stop(out);
	return status;
}
