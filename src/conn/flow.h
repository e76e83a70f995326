/* SPDX-License-Identifier: Apache-2.0 */
/* conn/flow - one way of a relay: what one socket receives, another one sends */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/pipes.h"
#include "util/loop.h"

/* What each socket is watched for, EPOLLOUT joins when it is full for the first time. */
#define FLOW_EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET)

enum flow_kind {
	FLOW_UNKNOWN, /* nobody has said so, nor was it asked */
	FLOW_TCP,
	FLOW_OTHER,
};

/* A socket as the two flows that meet there see it. Flags are set by events, cleared by EAGAIN. */
struct flow_sock {
	struct loop_io io;
	void *owner;
	enum flow_kind kind;
	bool is_readable;    /* may have bytes, an end or an error */
	bool is_writable;    /* may take bytes */
	bool is_watched_out; /* EPOLLOUT is in the interest: since it first was full */
	bool is_urgent;      /* an urgent byte may be among those that wait */
	bool is_in_line;     /* takes urgent bytes like others, TCP or not */
	bool reads_to_end;   /* a short read does not mean that nothing is left */
	bool is_broken;      /* failed; no byte will be taken any more */
	bool is_gone;        /* hung up: neither takes nor sends, but may have bytes left to read */
	bool is_read_out;    /* its end was read, behind all of its bytes */
	bool has_sent;
	bool is_undelayed; /* TCP_NODELAY is set */
	bool is_corked;    /* the end that follows pushes what was sent last */
};

struct flow {
	struct flow_sock *from, *to;
	bool is_ended;       /* the end was read, or @to takes nothing any more */
	bool is_bulk;        /* goes through a pipe */
	bool is_marked;      /* what waits is one byte, and urgent */
	struct pipe pipe;    /* with .in < 0 unless bytes are in it */
	struct chunk *chunk; /* NULL unless bytes are in it */
	size_t first;        /* where they start in the chunk */
	size_t waiting;      /* bytes in the pipe or in the chunk */
	uint64_t bytes;      /* handed to @to */
};

enum flow_result {
	FLOW_WAITS,    /* for an event on a socket, or has ended */
	FLOW_HAS_MORE, /* call again soon, without an event */
	FLOW_STARVES,  /* no memory: call again after a while */
	FLOW_FAILED,   /* @from is broken, and everything it had sent was passed on */
};

void flow_init(struct flow *flow, struct flow_sock *from, struct flow_sock *to);

/*
 * As if @from had sent @bytes (copied) before what it holds; before the first flow_pump only.
 * Returns 0; -EMSGSIZE if they and those before are more than PIPES_CHUNK_SIZE; or -ENOMEM.
 */
int flow_push(struct flow *flow, struct pipes *pipes, const void *bytes, size_t len);

/* Gives the pipe and the buffer back, with the bytes that wait. */
void flow_fini(struct flow *flow, struct pipes *pipes);

/* Note what epoll says about @sock. */
void flow_sock_events(struct flow_sock *sock, uint32_t events);

/* Send what waits for an end that will not come. */
void flow_uncork(struct flow_sock *to);

/*
 * Move what can be moved now, about @budget bytes at most. When @to fails it becomes is_broken and
 * the flow is_ended: what waits is dropped, what comes is not read. The end of @from is not passed
 * on here, it only makes the flow is_ended; @to may be is_corked then, until it is shut down or
 * closed without a reset.
 */
enum flow_result flow_pump(
	struct flow *flow, struct pipes *pipes, struct loop *loop, size_t budget);
