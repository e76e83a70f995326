/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/hail - what two ends of a tunnel say to each other before bytes of others pass */
#include "tunnel/hail.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "util/fd.h"

void hail_prepare(int fd)
{
	const int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	fd_keep_alive(fd);
}

static size_t text_bytes(const struct hail_reader *reader)
{
	return (size_t)reader->bytes[2] << 8 | reader->bytes[3];
}

/* How many bytes make the header, or header and text. */
static size_t wanted(const struct hail_reader *reader)
{
	if (reader->have < HAIL_HEADER_BYTES)
		return HAIL_HEADER_BYTES;
	return HAIL_HEADER_BYTES + text_bytes(reader);
}

int hail_read(struct hail_reader *reader, int fd, struct hail *out)
{
	while (reader->have < HAIL_HEADER_BYTES || reader->have < wanted(reader)) {
		ssize_t got = recv(fd, reader->bytes + reader->have, wanted(reader) - reader->have,
			MSG_DONTWAIT);

		if (got == 0)
			return -EPIPE;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? 0 : -errno;
		reader->have += (size_t)got;
		if (reader->have >= HAIL_HEADER_BYTES &&
			(reader->bytes[1] != 0 || text_bytes(reader) > HAIL_TEXT_MAX))
			return -EPROTO;
	}
	*out = (struct hail){.type = reader->bytes[0],
		.text = reader->bytes + HAIL_HEADER_BYTES,
		.len = text_bytes(reader)};
	reader->have = 0;
	return 1;
}

static int send_whole(int fd, const void *bytes, size_t len)
{
	ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent < 0)
		return -errno;
	return (size_t)sent == len ? 0 : -ENOBUFS;
}

static size_t put(unsigned char *out, enum hail_type type, const void *text, size_t len)
{
	out[0] = (unsigned char)type;
	out[1] = 0;
	out[2] = (unsigned char)(len >> 8);
	out[3] = (unsigned char)len;
	if (len > 0)
		memcpy(out + HAIL_HEADER_BYTES, text, len);
	return HAIL_HEADER_BYTES + len;
}

int hail_send(int fd, enum hail_type type, const void *text, size_t len)
{
	unsigned char message[HAIL_HEADER_BYTES + HAIL_TEXT_MAX];

	return send_whole(fd, message, put(message, type, text, len));
}

int hail_send_hello(int fd, const unsigned char id[HAIL_ID_BYTES], enum hail_kind kind)
{
	unsigned char bytes[HAIL_BYTES + HAIL_HEADER_BYTES + HAIL_ID_BYTES + 1];
	unsigned char text[HAIL_ID_BYTES + 1];

	memcpy(text, id, HAIL_ID_BYTES);
	text[HAIL_ID_BYTES] = (unsigned char)kind;
	memcpy(bytes, HAIL_OWN, HAIL_BYTES);
	put(bytes + HAIL_BYTES, HAIL_HELLO, text, sizeof(text));
	return send_whole(fd, bytes, sizeof(bytes));
}

bool hail_read_hello(const struct hail *hail, unsigned char id[HAIL_ID_BYTES], enum hail_kind *kind)
{
	unsigned char said = HAIL_ANY;

	if (hail->type != HAIL_HELLO || hail->len < HAIL_ID_BYTES || hail->len > HAIL_ID_BYTES + 1)
		return false;
	if (hail->len > HAIL_ID_BYTES)
		said = hail->text[HAIL_ID_BYTES];
	if (!memchr("ancr", said, 4))
		return false;
	memcpy(id, hail->text, HAIL_ID_BYTES);
	*kind = (enum hail_kind)said;
	return true;
}

uint32_t hail_number(const struct hail *hail)
{
	uint32_t number = 0;

	for (size_t i = 0; i < hail->len; i++)
		number = number << 8 | hail->text[i];
	return number;
}

int hail_send_number(int fd, enum hail_type type, uint32_t number)
{
	const unsigned char text[4] = {(unsigned char)(number >> 24), (unsigned char)(number >> 16),
		(unsigned char)(number >> 8), (unsigned char)number};

	return hail_send(fd, type, text, sizeof(text));
}

int hail_peek(int fd, const char *greeting)
{
	char bytes[HAIL_BYTES];
	ssize_t got = recv(fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);

	if (got == 0)
		return -EPIPE;
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (memcmp(bytes, greeting, (size_t)got) != 0)
		return -EPROTO;
	return got == HAIL_BYTES;
}
