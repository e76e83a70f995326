/* SPDX-License-Identifier: Apache-2.0 */
/* util/queue - messages for the other end of a pair of sockets, which wait where that has no room
 */
#include "util/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "util/fd.h"

struct waiting {
	struct list link;
	int fd; /* owned; -1: none */
	size_t len;
	char bytes[];
};

void queue_init(struct queue *queue, struct loop *loop, struct loop_io *io)
{
	*queue = (struct queue){.loop = loop, .io = io};
	list_init(&queue->waiting);
}

static void waiting_free(struct queue *queue, struct waiting *waiting)
{
	list_del(&waiting->link);
	queue->count--;
	fd_close(&waiting->fd);
	free(waiting);
}

static int add(struct queue *queue, const void *message, size_t len, int fd)
{
	if (queue->count == QUEUE_MAX)
		return -ENOBUFS;
	_cleanup_fd_ int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0 && fd >= 0)
		return -errno;
	struct waiting *waiting = malloc(sizeof(*waiting) + len);
	if (!waiting)
		return -ENOMEM;
	waiting->link = (struct list){0};
	waiting->fd = fd_take(&copy);
	waiting->len = len;
	memcpy(waiting->bytes, message, len);
	if (queue->count == 0)
		loop_io_mod(queue->loop, queue->io, EPOLLIN | EPOLLOUT);
	list_add_last(&queue->waiting, &waiting->link);
	queue->count++;
	return 0;
}

int queue_send(struct queue *queue, const void *message, size_t len, int fd)
{
	int result = queue->count > 0 ? -EAGAIN : fd_send_one(queue->io->fd, message, len, fd);

	return result == -EAGAIN ? add(queue, message, len, fd) : result;
}

void queue_go_on(struct queue *queue)
{
	while (queue->count > 0) {
		struct waiting *first = list_first(&queue->waiting, struct waiting, link);

		if (fd_send_one(queue->io->fd, first->bytes, first->len, first->fd) == -EAGAIN)
			return;
		waiting_free(queue, first);
	}
	loop_io_mod(queue->loop, queue->io, EPOLLIN);
}

void queue_drop(struct queue *queue)
{
	while (queue->count > 0)
		waiting_free(queue, list_first(&queue->waiting, struct waiting, link));
}
