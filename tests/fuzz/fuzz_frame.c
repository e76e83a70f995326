/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_frame - any bytes as what comes over a link: the same frames wherever a read ends */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

static void check_frame(const unsigned char *at, size_t len, const struct frame *frame, size_t size)
{
	unsigned char header[FRAME_HEADER_BYTES];

	must(size <= len && size == FRAME_HEADER_BYTES + frame->len);
	must(frame->start == at && frame->payload == at + FRAME_HEADER_BYTES);
	must(frame->len <= (frame->type == FRAME_PACKET ? FRAME_PACKET_MAX : FRAME_MESSAGE_MAX));
	if (frame->type != FRAME_PACKET && frame->type != FRAME_MESSAGE)
		return;
	frame_encode_header(header, (enum frame_type)frame->type, frame->len);
	must(memcmp(header, at, 6) == 0); /* the padding is anything */
}

/* The beginning decides: what a part tells does not change with what follows. */
static void check_part(const uint8_t *data, size_t len, size_t part, ssize_t whole)
{
	struct frame frame;
	struct err err = {0};
	unsigned char *bytes = malloc(part + 1);

	if (!bytes)
		return;
	memcpy(bytes + 1, data, part); /* nothing behind it */
	ssize_t size = frame_decode(bytes + 1, part, &frame, &err);
	if (whole > 0)
		must(size == ((size_t)whole <= part ? whole : 0));
	else if (whole == 0)
		must(size == 0);
	else
		must(size == -EPROTO || (size == 0 && part < len));
	must((size < 0) == (err.code == EPROTO));
	must(size >= 0 || (err.text[0] && !strpbrk(err.text, "\n\r\x1b")));
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char *bytes = malloc(size + 1);
	size_t at = 0;

	if (!bytes)
		return 0;
	memcpy(bytes, data, size);
	for (;;) {
		struct frame frame;
		struct err err;
		size_t len = size - at;
		ssize_t found = frame_decode(bytes + at, len, &frame, &err);

		must(found >= 0 || found == -EPROTO);
		for (size_t part = 0; part <= len && part <= FRAME_HEADER_BYTES + 1; part++)
			check_part(data + at, len, part, found);
		check_part(data + at, len, len, found);
		if (found <= 0)
			break;
		check_frame(bytes + at, len, &frame, (size_t)found);
		check_part(data + at, len, (size_t)found - 1, found);
		check_part(data + at, len, (size_t)found, found);
		at += (size_t)found;
	}
	must(memcmp(bytes, data, size) == 0);
	free(bytes);
	return 0;
}
