/* SPDX-License-Identifier: Apache-2.0 */
/* lib/pump - a link of two callbacks, as a descriptor */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault.h"

#define PIECE_BYTES 65536

/*
 * How it works
 *
 * A socket pair, whose other end is the link; a thread for each direction. The end of one direction
 * is passed on, and the pump ends with the second one.
 */
struct nswrap_pump {
	struct nswrap_pump_ops ops;
	void *context;
	int fd;
	pthread_t reader, writer;
};

static void *read_on(void *argument)
{
	struct nswrap_pump *pump = argument;
	char *piece = malloc(PIECE_BYTES);
	ssize_t got;

	while (piece && (got = pump->ops.read(pump->context, piece, PIECE_BYTES)) > 0 &&
		got <= PIECE_BYTES) {
		ssize_t sent = 1;
		for (ssize_t done = 0; sent > 0 && done < got; done += sent)
			sent = send(pump->fd, piece + done, (size_t)(got - done), MSG_NOSIGNAL);
		if (sent <= 0)
			break;
	}
	shutdown(pump->fd, SHUT_WR);
	free(piece);
	return NULL;
}

static void *write_on(void *argument)
{
	struct nswrap_pump *pump = argument;
	char *piece = malloc(PIECE_BYTES);
	ssize_t got;

	while (piece && (got = recv(pump->fd, piece, PIECE_BYTES, 0)) > 0) {
		ssize_t put = 1;
		for (ssize_t done = 0; put > 0 && done < got; done += put)
			put = pump->ops.write(pump->context, piece + done, (size_t)(got - done));
		if (put <= 0)
			break;
	}
	shutdown(pump->fd, SHUT_RD);
	free(piece);
	return NULL;
}

/* Both or none. Returns 0 or an errno value. */
static int start_threads(struct nswrap_pump *pump)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int code = pthread_create(&pump->reader, NULL, read_on, pump);
	if (code == 0) {
		code = pthread_create(&pump->writer, NULL, write_on, pump);
		if (code != 0) {
			shutdown(pump->fd, SHUT_RDWR);
			if (pump->ops.close)
				pump->ops.close(pump->context);
			pthread_join(pump->reader, NULL);
		}
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return code;
}

struct nswrap_pump *nswrap_pump_start(
	const struct nswrap_pump_ops *ops, void *context, int *fd, struct nswrap_error *error)
{
	struct nswrap_pump *pump = NULL;
	int ends[2] = {-1, -1}, code = 0;

	nsw_fault_none(error);
	if (!ops || !ops->read || !ops->write || !fd) {
		nsw_fault(error, EINVAL, "a pump needs read, write and a place for its descriptor");
		return NULL;
	}
	if (!(pump = calloc(1, sizeof(*pump))))
		code = ENOMEM;
	else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		code = errno;
	if (code == 0) {
		*pump = (struct nswrap_pump){.ops = *ops, .context = context, .fd = ends[0]};
		code = start_threads(pump);
	}
	if (code == 0) {
		*fd = ends[1];
		return pump;
	}
	nsw_fault_sys(error, code, "cannot start a pump");
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	free(pump);
	return NULL;
}

void nswrap_pump_stop(struct nswrap_pump *pump)
{
	if (!pump)
		return;
	shutdown(pump->fd, SHUT_RDWR);
	if (pump->ops.close)
		pump->ops.close(pump->context);
	pthread_join(pump->reader, NULL);
	pthread_join(pump->writer, NULL);
	close(pump->fd);
	free(pump);
}
