/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/packets - datagrams, with their borders, over a connection of a tunnel */
#include "tunnel/packets.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER_BYTES 2
#define PACKET_MAX   65535
#define BATCH_BYTES  (2 * (HEADER_BYTES + PACKET_MAX))
#define ROUNDS       16 /* then others get their turn */

struct pump {
	struct packets *packets;
	struct list at;
	struct loop_io datagrams, stream;
	struct loop_task more;   /* there may be more to read of either */
	unsigned char *out, *in; /* what the stream does not take; the beginning of a datagram */
	size_t out_len, in_len;
	unsigned source;
};

static void end(struct pump *pump)
{
	struct packets *packets = pump->packets;
	struct loop *loop = packets->context->loop;

	loop_task_cancel(loop, &pump->more);
	loop_io_del(loop, &pump->datagrams);
	loop_io_del(loop, &pump->stream);
	close(pump->datagrams.fd);
	close(pump->stream.fd);
	budget_give(packets->context->budget, 2);
	shares_give(&packets->context->budget->shares, SHARES_LED, pump->source);
	list_del(&pump->at);
	packets->count--;
	free(pump->out);
	free(pump->in);
	free(pump);
}

/* Keep @len bytes in *@kept. Returns false for want of memory. */
static bool keep(unsigned char **kept, size_t *kept_len, const unsigned char *bytes, size_t len)
{
	unsigned char *copy = len > 0 ? malloc(len) : NULL;

	if (len > 0 && !copy)
		return false;
	if (copy)
		memcpy(copy, bytes, len);
	free(*kept);
	*kept = copy;
	*kept_len = len;
	return true;
}

static bool is_for_later(int code)
{
	return code == EAGAIN || code == EINTR;
}

/* --- into the stream ---------------------------------------------------------------------- */

/* As much as it takes; the rest is kept. Returns false if it is broken. */
static bool write_out(struct pump *pump, const unsigned char *bytes, size_t len)
{
	ssize_t sent = send(pump->stream.fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent < 0 && !is_for_later(errno))
		return false;
	size_t gone = sent > 0 ? (size_t)sent : 0;
	return keep(&pump->out, &pump->out_len, bytes + gone, len - gone);
}

/* Is its other end closed? What is read of it then looks like empty datagrams. */
static bool is_over(int fd)
{
	struct pollfd end = {.fd = fd, .events = POLLRDHUP};

	return poll(&end, 1, 0) > 0 && (end.revents & (POLLHUP | POLLRDHUP));
}

/* One datagram behind @bytes. Returns its length with its header, 0: none is there, or -errno. */
static ssize_t take_datagram(struct pump *pump, unsigned char *bytes)
{
	ssize_t len = recv(pump->datagrams.fd, bytes + HEADER_BYTES, PACKET_MAX, MSG_DONTWAIT);

	if (len < 0)
		return is_for_later(errno) ? 0 : -errno;
	if (len == 0 && is_over(pump->datagrams.fd))
		return 0; /* on_datagrams comes */
	bytes[0] = (unsigned char)(len >> 8);
	bytes[1] = (unsigned char)len;
	return len + HEADER_BYTES;
}

/* Returns false if the pump is to end. */
static bool pump_out(struct pump *pump)
{
	unsigned char bytes[BATCH_BYTES];
	ssize_t taken = 1;

	for (int round = 0; round < ROUNDS && taken != 0; round++) {
		size_t len = 0;

		if (pump->out_len > 0)
			return true; /* EPOLLOUT comes */
		/* a refusal is read away with the call that tells it */
		while (len + HEADER_BYTES + PACKET_MAX <= sizeof(bytes) &&
			(taken = take_datagram(pump, bytes + len)) > 0)
			len += (size_t)taken;
		if (len > 0 && !write_out(pump, bytes, len))
			return false;
	}
	if (taken != 0)
		loop_task_add(pump->packets->context->loop, &pump->more);
	return true;
}

/* --- out of the stream -------------------------------------------------------------------- */

/* Send the whole datagrams of @bytes. Returns how many bytes that were. */
static size_t send_datagrams(struct pump *pump, const unsigned char *bytes, size_t len)
{
	size_t at = 0;

	while (len - at >= HEADER_BYTES) {
		size_t packet = (size_t)bytes[at] << 8 | bytes[at + 1];

		if (len - at - HEADER_BYTES < packet)
			break;
		send(pump->datagrams.fd, bytes + at + HEADER_BYTES, packet,
			MSG_NOSIGNAL | MSG_DONTWAIT);
		at += HEADER_BYTES + packet;
	}
	return at;
}

/* Returns false if the pump is to end. */
static bool pump_in(struct pump *pump)
{
	unsigned char bytes[BATCH_BYTES];

	for (int round = 0; round < ROUNDS; round++) {
		size_t len = pump->in_len;

		if (len > 0)
			memcpy(bytes, pump->in, len);
		ssize_t got = recv(pump->stream.fd, bytes + len, sizeof(bytes) - len, MSG_DONTWAIT);
		if (got < 0 && is_for_later(errno))
			return true;
		if (got <= 0)
			return false;
		len += (size_t)got;
		size_t sent = send_datagrams(pump, bytes, len);
		if (!keep(&pump->in, &pump->in_len, bytes + sent, len - sent))
			return false;
	}
	loop_task_add(pump->packets->context->loop, &pump->more);
	return true;
}

/* --- events ------------------------------------------------------------------------------- */

static void on_more(struct loop_task *task)
{
	struct pump *pump = container_of(task, struct pump, more);

	if (!pump_in(pump) || !pump_out(pump))
		end(pump);
}

static void on_stream(struct loop_io *io, uint32_t events)
{
	struct pump *pump = container_of(io, struct pump, stream);

	if ((events & EPOLLOUT) && pump->out_len > 0) {
		unsigned char *bytes = pump->out;
		size_t len = pump->out_len;

		pump->out = NULL;
		pump->out_len = 0;
		bool is_fine = write_out(pump, bytes, len);
		free(bytes);
		if (!is_fine) {
			end(pump);
			return;
		}
	}
	on_more(&pump->more);
}

static void on_datagrams(struct loop_io *io, uint32_t events)
{
	struct pump *pump = container_of(io, struct pump, datagrams);

	if ((events & (EPOLLHUP | EPOLLRDHUP)) || !pump_out(pump))
		end(pump);
}

int packets_join(struct packets *packets, unsigned source, int datagram_fd, int stream_fd)
{
	struct loop *loop = packets->context->loop;
	struct pump *pump = calloc(1, sizeof(*pump));
	int result = pump ? 0 : -ENOMEM;

	if (pump) {
		*pump = (struct pump){.packets = packets,
			.datagrams = {datagram_fd, on_datagrams},
			.stream = {stream_fd, on_stream},
			.more.on_run = on_more,
			.source = source};
		result = loop_io_add(loop, &pump->datagrams, EPOLLIN | EPOLLRDHUP | EPOLLET);
		if (result == 0)
			result = loop_io_add(loop, &pump->stream, EPOLLIN | EPOLLOUT | EPOLLET);
		if (result < 0)
			loop_io_del(loop, &pump->datagrams);
	}
	if (result < 0) {
		free(pump);
		close(datagram_fd);
		close(stream_fd);
		return result;
	}
	budget_take(packets->context->budget, 2);
	shares_take(&packets->context->budget->shares, SHARES_LED, source);
	list_add_last(&packets->pumps, &pump->at);
	packets->count++;
	return 0;
}

void packets_init(struct packets *packets, const struct conn_context *context)
{
	*packets = (struct packets){.context = context};
	list_init(&packets->pumps);
}

void packets_close(struct packets *packets)
{
	while (!list_is_empty(&packets->pumps))
		end(list_first(&packets->pumps, struct pump, at));
}
