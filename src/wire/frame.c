/* SPDX-License-Identifier: Apache-2.0 */
/* wire/frame - the frames in which packets and messages cross a link, nswrap-wire(7) */
#include "wire/frame.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "util/log.h"

#define MAGIC        0x42
#define LENGTH_BYTES 4 /* of the magic byte and the length, which does not count them */
#define TYPE_END     6
#define SHOWN_BYTES  48 /* of what is no frame */

static int no_frame(const unsigned char *bytes, size_t len, const char *what, struct err *err)
{
	char shown[4 * SHOWN_BYTES + 1];
	size_t first = len < SHOWN_BYTES ? len : SHOWN_BYTES;

	log_escape((const char *)bytes, first, shown, sizeof(shown));
	return err_set(err, EPROTO, "expected a frame, found %s: \"%s%s\"", what, shown,
		first < len ? "..." : "");
}

size_t frame_size(const unsigned char *bytes, size_t len)
{
	if (len < FRAME_HEADER_BYTES)
		return 0;
	return LENGTH_BYTES + ((size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3]);
}

size_t frame_find_message(const unsigned char *bytes, size_t len)
{
	const unsigned char largest = (FRAME_MESSAGE_MAX + FRAME_HEADER_BYTES) >> 16;

	for (size_t at = 0; at < len; at++) {
		const unsigned char *header = bytes + at;
		size_t left = len - at;

		if (header[0] == MAGIC && (left < 2 || header[1] <= largest) &&
			(left < 5 || header[4] == 0) && (left < 6 || header[5] == FRAME_MESSAGE))
			return at;
	}
	return len;
}

ssize_t frame_decode(unsigned char *bytes, size_t len, struct frame *out, struct err *err)
{
	size_t length = 0; /* at least, while some of its bytes are to come */

	if (len == 0)
		return 0;
	if (bytes[0] != MAGIC)
		return no_frame(bytes, len, "other bytes", err);
	for (size_t i = 1; i < LENGTH_BYTES; i++)
		length = length << 8 | (i < len ? bytes[i] : 0);
	if (length > FRAME_MESSAGE_MAX + FRAME_HEADER_BYTES - LENGTH_BYTES)
		return no_frame(bytes, len, "one that is too long", err);
	if (len < LENGTH_BYTES)
		return 0;
	if (length < FRAME_HEADER_BYTES - LENGTH_BYTES)
		return no_frame(bytes, len, "one that is too short", err);
	if (len < TYPE_END)
		return 0;

	size_t payload_len = length + LENGTH_BYTES - FRAME_HEADER_BYTES;
	uint16_t type = (uint16_t)(bytes[4] << 8 | bytes[5]);
	if (type == FRAME_PACKET && payload_len > FRAME_PACKET_MAX)
		return no_frame(bytes, len, "a packet that is too long", err);
	if (len < FRAME_HEADER_BYTES + payload_len)
		return 0;
	*out = (struct frame){
		.type = type,
		.start = bytes,
		.payload = bytes + FRAME_HEADER_BYTES,
		.len = payload_len,
	};
	return (ssize_t)(FRAME_HEADER_BYTES + payload_len);
}

void frame_encode_header(unsigned char out[FRAME_HEADER_BYTES], enum frame_type type, size_t len)
{
	uint32_t length = (uint32_t)len + FRAME_HEADER_BYTES - LENGTH_BYTES;
	uint32_t words[] = {htonl((uint32_t)MAGIC << 24 | length), htonl((uint32_t)type << 16)};

	memcpy(out, words, FRAME_HEADER_BYTES);
}
