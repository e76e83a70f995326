/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/packets - datagrams, with their borders, over a connection of a tunnel */
#pragma once

#include <stddef.h>

#include "conn/context.h"
#include "util/list.h"

/*
 * How it works
 *
 * A pump for each pair of a datagram socket and a stream. In the stream each datagram has its
 * length in front, 16 bits, most significant first. A stream that is full lets datagrams wait in
 * the kernel, where those that find no room are lost; a datagram socket that takes none loses it:
 * as on any network.
 *
 * The pair ends, and both are closed, when the stream ends or breaks, or when the datagram socket
 * is of AF_UNIX and its other end is closed. A refusal (ICMP) ends nothing: who asks again may be
 * answered.
 */
struct packets {
	const struct conn_context *context;
	struct list pumps;
	size_t count;
};

void packets_init(struct packets *packets, const struct conn_context *context);

/*
 * Pump until the end, counted for @source (SHARES_LED). Both are nonblocking, counted in
 * the budget and closed here, also on failure: returns 0 or -errno.
 */
int packets_join(struct packets *packets, unsigned source, int datagram_fd, int stream_fd);

/* End all of them. */
void packets_close(struct packets *packets);
