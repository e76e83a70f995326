/* SPDX-License-Identifier: Apache-2.0 */
/* util/queue - messages for the other end of a pair of sockets, which wait where that has no room
 */
#pragma once

#include <stddef.h>

#include "util/list.h"
#include "util/loop.h"

/*
 * How it works
 *
 * A pair of sockets (fd_pair) holds some hundred messages, and who reads them may be stopped:
 * nobody waits for that. What finds no room stays here, in its order, until the socket can be
 * written to.
 */
#define QUEUE_MAX 4096 /* messages */

struct queue {
	struct loop *loop;
	struct loop_io *io;
	struct list waiting;
	size_t count; /* to read, too */
};

/* @io, the owner's, is watched for EPOLLIN before anything can wait, and while nothing does for no
 * more; it must stay, and be nonblocking by then. */
void queue_init(struct queue *queue, struct loop *loop, struct loop_io *io);

/*
 * Send @len bytes with @fd, of which a copy is made if it must wait; -1: none. Returns 0: it is
 * sent or will be; or -errno: it is lost, -ENOBUFS behind QUEUE_MAX others.
 */
int queue_send(struct queue *queue, const void *message, size_t len, int fd);

/* @io has EPOLLOUT: send what waits. */
void queue_go_on(struct queue *queue);

/* Forget what waits; it may go on after that. */
void queue_drop(struct queue *queue);
