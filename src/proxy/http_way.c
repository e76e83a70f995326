/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_way - one way of HTTP between two sockets: what came, what is understood, what goes on
 */
#include "proxy/http_way.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

void http_way_fini(struct http_way *way)
{
	free(way->text);
	free(way->buffer);
	*way = (struct http_way){0};
}

static void clear_text(struct http_way *way)
{
	free(way->text);
	way->text = NULL;
	way->text_len = way->text_sent = 0;
}

int http_way_set_text(struct http_way *way, char *text, size_t len)
{
	clear_text(way);
	if (!text)
		return -ENOMEM;
	way->text = text;
	way->text_len = len;
	return 0;
}

/* The buffer goes when nothing is in it: who waits for the next request costs little. */
static void give_back(struct http_way *way)
{
	if (way->ready_len > 0 || way->raw_len > 0)
		return;
	free(way->buffer);
	way->buffer = NULL;
	way->ready_at = way->raw_at = way->seen = 0;
}

void http_way_drop(struct http_way *way)
{
	clear_text(way);
	way->ready_len = 0;
	give_back(way);
}

void http_way_skip(struct http_way *way, size_t len)
{
	way->raw_at += len;
	way->raw_len -= len;
	way->seen = 0;
	give_back(way);
}

ssize_t http_way_feed(struct http_way *way, struct http_body *body, struct http_fault *fault)
{
	if (way->raw_len == 0)
		return 0;
	ssize_t taken =
		http_body_feed(body, http_way_raw(way), way->raw_len, &way->ready_len, fault);

	if (taken < 0) {
		way->ready_len = 0;
		return taken;
	}
	way->ready_at = way->raw_at;
	http_way_skip(way, (size_t)taken);
	return taken;
}

ssize_t http_way_receive(struct http_way *way, struct http_sock *from)
{
	ssize_t len;

	if (!way->buffer && !(way->buffer = malloc(HTTP_WAY_BYTES)))
		return -ENOMEM;
	if (way->raw_at > 0 && way->raw_len > 0)
		memmove(way->buffer, http_way_raw(way), way->raw_len);
	way->raw_at = 0;
	size_t end = way->raw_len, room = HTTP_WAY_BYTES - end;
	if (room == 0)
		return -ENOBUFS;
	do
		len = recv(from->fd, way->buffer + end, room, 0);
	while (len < 0 && errno == EINTR);
	if (len > 0) {
		way->raw_len += (size_t)len;
		if ((size_t)len < room && !from->reads_to_end)
			from->is_readable = false; /* what comes later is another event */
		return len;
	}
	len = len < 0 ? -errno : 0;
	if (len == -EAGAIN)
		from->is_readable = false;
	give_back(way);
	return len;
}

int http_way_send(struct http_way *way, struct http_sock *to)
{
	while (http_way_has_ready(way)) {
		size_t text_left = way->text_len - way->text_sent, count = 0;
		struct iovec parts[2];

		if (text_left > 0)
			parts[count++] = (struct iovec){way->text + way->text_sent, text_left};
		if (way->ready_len > 0)
			parts[count++] =
				(struct iovec){way->buffer + way->ready_at, way->ready_len};
		struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
		ssize_t len = sendmsg(to->fd, &message, MSG_NOSIGNAL);

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0) {
			if (errno == EAGAIN)
				to->is_writable = false;
			return -errno;
		}
		size_t of_text = (size_t)len < text_left ? (size_t)len : text_left;
		way->text_sent += of_text;
		way->ready_at += (size_t)len - of_text;
		way->ready_len -= (size_t)len - of_text;
	}
	give_back(way);
	return 0;
}
