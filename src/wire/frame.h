/* SPDX-License-Identifier: Apache-2.0 */
/* wire/frame - the frames in which packets and messages cross a link, nswrap-wire(7) */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/err.h"

/*
 *	uint32be  0x42 << 24 | length	length: what follows these four bytes
 *	uint16be  type
 *	uint16be  padding		sent as 0, ignored on receipt
 *	payload
 */
#define FRAME_HEADER_BYTES 8
#define FRAME_TYPE_AT      4
#define FRAME_PACKET_MAX   65535 /* no IPv4 packet is longer */
#define FRAME_ACK_BYTES    8
#define FRAME_MESSAGE_MAX  (1 << 20) /* also for types that are not known */

enum frame_type {
	FRAME_PACKET = 1,  /* one bare IPv4 packet */
	FRAME_MESSAGE = 2, /* one JSON message */
	/* between ends that both know them, and for wire/wire alone */
	FRAME_ACKNOWLEDGEMENT = 3, /* FRAME_ACK_BYTES: how many bytes have come, big-endian */
	FRAME_PADDING = 4,         /* whatever, to be acknowledged at once */
};

/* Points into the bytes that were decoded. */
struct frame {
	uint16_t type;        /* enum frame_type, or another number: to be skipped */
	unsigned char *start; /* of the whole frame, header included */
	unsigned char *payload;
	size_t len; /* of the payload */
};

/*
 * Is there a whole frame at the beginning of @bytes? Returns its length with @out filled, 0 when
 * more is needed, or -EPROTO with @err saying what stands there instead (an empty frame, a wrong
 * magic byte, a payload that is too long) and showing the first bytes, escaped: a login banner is
 * the usual cause. Tells from as few bytes as possible: "S" is no frame.
 */
ssize_t frame_decode(unsigned char *bytes, size_t len, struct frame *out, struct err *err);

/*
 * Where in @bytes a message may begin behind bytes that are no frames, such as a login banner:
 * @len if nowhere. What is there but for the last bytes of a header that is not complete is told
 * from text for sure, which has no bytes of 0.
 */
size_t frame_find_message(const unsigned char *bytes, size_t len);

/* How long the frame is that frame_decode wants more of, 0 if its header is not complete. */
size_t frame_size(const unsigned char *bytes, size_t len);

/* Write the header of a frame with @len bytes of payload. */
void frame_encode_header(unsigned char out[FRAME_HEADER_BYTES], enum frame_type type, size_t len);
