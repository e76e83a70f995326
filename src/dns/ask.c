/* SPDX-License-Identifier: Apache-2.0 */
/* dns/ask - one DNS query over a stream connection that is there */
#include "dns/ask.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "dns/query.h"
#include "dns/response.h"
#include "util/fd.h"
#include "util/list.h"

#define LEN_BYTES 2 /* in front of each message (RFC 1035 4.2.2) */

void ask_cancel(struct ask *ask)
{
	if (!ask->loop)
		return;
	loop_io_del(ask->loop, &ask->io);
	loop_timer_cancel(ask->loop, &ask->timer);
	fd_close(&ask->io.fd);
	free(ask->query);
	free(ask->answer);
	ask->query = ask->answer = NULL;
	ask->loop = NULL;
}

static void finish(struct ask *ask, int result)
{
	uint8_t *bytes = ask->answer;
	size_t len = result == 0 ? ask->received - LEN_BYTES : 0;

	ask->answer = NULL;
	ask_cancel(ask);
	ask->on_done(ask, result, result == 0 ? bytes + LEN_BYTES : NULL, len);
	free(bytes);
}

/* Returns 0, or -errno: -EAGAIN, there is no room now. */
static int send_query(struct ask *ask)
{
	while (ask->sent < ask->query_len) {
		ssize_t sent = send(ask->io.fd, ask->query + ask->sent, ask->query_len - ask->sent,
			MSG_NOSIGNAL);

		if (sent < 0)
			return -errno;
		ask->sent += (size_t)sent;
	}
	return 0;
}

/* Returns 0 when the answer is whole, or -errno: -EAGAIN, there is more to come. */
static int receive(struct ask *ask)
{
	for (;;) {
		size_t wanted = LEN_BYTES;

		if (ask->received >= LEN_BYTES)
			wanted += (size_t)(ask->answer[0] << 8 | ask->answer[1]);
		if (ask->received == wanted && wanted > LEN_BYTES)
			return response_fits(ask->answer + LEN_BYTES, wanted - LEN_BYTES,
				       ask->query + LEN_BYTES, ask->question_end)
				       ? 0
				       : -EBADMSG;
		if (ask->received == LEN_BYTES && wanted == LEN_BYTES)
			return -EBADMSG;
		if (wanted > ask->room) {
			uint8_t *more = realloc(ask->answer, wanted);

			if (!more)
				return -ENOMEM;
			ask->answer = more;
			ask->room = wanted;
		}
		ssize_t got =
			recv(ask->io.fd, ask->answer + ask->received, wanted - ask->received, 0);
		if (got <= 0)
			return got < 0 ? -errno : -EPIPE;
		ask->received += (size_t)got;
	}
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct ask *ask = container_of(io, struct ask, io);
	int result = 0;

	(void)events;
	if (ask->sent < ask->query_len) {
		result = send_query(ask);
		if (result == 0)
			loop_io_mod(ask->loop, io, EPOLLIN);
	}
	if (result == 0)
		result = receive(ask);
	if (result != -EAGAIN && result != -EINTR)
		finish(ask, result);
}

static void on_expired(struct loop_timer *timer)
{
	finish(container_of(timer, struct ask, timer), -ETIMEDOUT);
}

int ask_start(struct ask *ask, struct loop *loop, int fd, const uint8_t *message, size_t len,
	unsigned timeout_ms)
{
	struct query query;
	int result = -EINVAL;

	ask->io = (struct loop_io){.fd = fd, .on_ready = on_ready};
	ask->timer.on_expired = on_expired;
	ask->query = ask->answer = NULL;
	ask->sent = ask->received = ask->room = 0;
	if (len <= DNS_MESSAGE_MAX && query_parse(message, len, &query) == DNS_OK) {
		ask->query = malloc(LEN_BYTES + len);
		result = ask->query ? loop_io_add(loop, &ask->io, EPOLLIN | EPOLLOUT) : -ENOMEM;
	}
	if (result < 0) {
		fd_close(&ask->io.fd);
		free(ask->query);
		ask->query = NULL;
		return result;
	}
	ask->query[0] = (uint8_t)(len >> 8);
	ask->query[1] = (uint8_t)len;
	memcpy(ask->query + LEN_BYTES, message, len);
	ask->query_len = LEN_BYTES + len;
	ask->question_end = query.question_end;
	ask->loop = loop;
	loop_timer_set(loop, &ask->timer, timeout_ms);
	return 0;
}
