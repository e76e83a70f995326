/* SPDX-License-Identifier: Apache-2.0 */
/* test_frame - frames, whole, in parts and broken */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/frame.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The longest ones too: what a header says is its length, its type and nothing else. */
static void whole_frames(void **state)
{
	static const struct {
		uint16_t type, padding;
		size_t len;
	} rows[] = {
		{FRAME_PACKET, 0, 0},
		{FRAME_PACKET, 0, 20},
		{FRAME_PACKET, 0xffff, 1500},
		{FRAME_PACKET, 0, FRAME_PACKET_MAX},
		{FRAME_MESSAGE, 0, 0},
		{FRAME_MESSAGE, 0x0102, 2},
		{FRAME_MESSAGE, 0, FRAME_PACKET_MAX + 1},
		{FRAME_MESSAGE, 0, FRAME_MESSAGE_MAX},
		{0, 0, 1},
		{3, 0, FRAME_MESSAGE_MAX},
		{0x0100, 0, 1},
		{0xffff, 0, 5},
	};

	(void)state;
	unsigned char *bytes = calloc(1, FRAME_HEADER_BYTES + FRAME_MESSAGE_MAX + 1);
	assert_non_null(bytes);
	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t size = FRAME_HEADER_BYTES + rows[i].len;
		struct frame frame;
		struct err err;

		frame_encode_header(bytes, rows[i].type & 0xff, rows[i].len);
		assert_int_equal(bytes[0], 0x42);
		assert_int_equal(bytes[1] << 16 | bytes[2] << 8 | bytes[3], rows[i].len + 4);
		assert_int_equal(bytes[4] << 8 | bytes[5], rows[i].type & 0xff);
		assert_int_equal(bytes[6] << 8 | bytes[7], 0);
		bytes[4] = (unsigned char)(rows[i].type >> 8);
		bytes[6] = (unsigned char)(rows[i].padding >> 8);
		bytes[7] = (unsigned char)rows[i].padding;

		for (size_t part = 0; part < FRAME_HEADER_BYTES + 1 && part < size; part++)
			assert_int_equal(frame_decode(bytes, part, &frame, &err), 0);
		assert_int_equal(frame_decode(bytes, size - 1, &frame, &err), 0);
		assert_int_equal(frame_decode(bytes, size, &frame, &err), size);
		assert_int_equal(frame.type, rows[i].type);
		assert_int_equal(frame.len, rows[i].len);
		assert_ptr_equal(frame.start, bytes);
		assert_ptr_equal(frame.payload, bytes + FRAME_HEADER_BYTES);
		/* what follows is somebody else's */
		assert_int_equal(frame_decode(bytes, size + 1, &frame, &err), size);
	}
	free(bytes);
}

/* Where a message may begin behind a banner, from as many of its bytes as there are. */
static void messages_behind_noise(void **state)
{
	static const struct {
		const char *bytes;
		size_t len, at;
	} rows[] = {
		{"", 0, 0},
		{"Welcome\n", 8, 8},
		{"Bienvenue, B", 12, 11},
		{"$ \x42\0\0\6\0\2\0\0hi", 12, 2},
		{"$ \x42\x10\0", 5, 2},
		{"\x42\n\n\n\n\x42\0", 7, 5},
		{"\x42\x11\0\0\0\2\0\0", 8, 8},
		{"\x42\0\0\6\0\1\0\0", 8, 8},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		unsigned char *bytes = malloc(rows[i].len + 1);

		memcpy(bytes + 1, rows[i].bytes, rows[i].len);
		assert_int_equal(frame_find_message(bytes + 1, rows[i].len), rows[i].at);
		free(bytes);
	}
}

/* What is no frame is refused as soon as that can be known, and shown. */
static void broken_frames(void **state)
{
	static const struct {
		const char *bytes;
		size_t len, told_at; /* bytes that are enough to know */
		const char *words;
	} rows[] = {
		{"SSH-2.0-OpenSSH_9.2\r\n", 21, 1,
			"other bytes: \"SSH-2.0-OpenSSH_9.2\\x0d\\x0a\""},
		{"\0\0\0\0", 4, 1, "other bytes: \"\\x00\\x00\\x00\\x00\""},
		{"\x1b[2J", 4, 1, "\"\\x1b[2J\""},
		{"\x24\0\0\x42\0\0\0\0", 8, 1, "other bytes"},
		/* shorter than type and padding */
		{"\x42\0\0\0\0\1\0\0", 8, 4, "too short"},
		{"\x42\0\0\3\0\1\0\0", 8, 4, "too short"},
		/* longer than anything may be */
		{"Bxyz", 4, 2, "too long: \"Bxyz\""},
		{"\x42\xff\xff\xff\0\2\0\0", 8, 2, "too long"},
		{"\x42\x11\0\0\0\2\0\0", 8, 2, "too long"},
		{"\x42\x10\1\0\0\2\0\0", 8, 3, "too long"},
		{"\x42\x10\0\5\0\2\0\0", 8, 4, "too long"},
		{"\x42\x10\0\5\0\7\0\0", 8, 4, "too long"},
		/* longer than a packet may be */
		{"\x42\1\0\4\0\1\0\0", 8, 6, "packet that is too long"},
		{"\x42\x10\0\4\0\1\0\0", 8, 6, "packet that is too long"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		for (size_t len = 0; len <= rows[i].len; len++) {
			/* exactly as long, so that AddressSanitizer sees a read behind the end */
			unsigned char *bytes = malloc(len + 1);
			struct frame frame = {.len = 1};
			struct err err = {0};

			assert_non_null(bytes);
			memcpy(bytes + 1, rows[i].bytes, len);
			ssize_t size = frame_decode(bytes + 1, len, &frame, &err);
			free(bytes);
			assert_int_equal(size, len < rows[i].told_at ? 0 : -EPROTO);
			assert_int_equal(err.code, len < rows[i].told_at ? 0 : EPROTO);
			if (len == rows[i].len && !strstr(err.text, rows[i].words))
				fail_msg("no \"%s\" in: %s", rows[i].words, err.text);
		}
	}
}

static void only_the_beginning_is_shown(void **state)
{
	unsigned char banner[4096];
	struct frame frame;
	struct err err;

	(void)state;
	memset(banner, 0x1b, sizeof(banner));
	assert_int_equal(frame_decode(banner, sizeof(banner), &frame, &err), -EPROTO);
	assert_true(strlen(err.text) < 300);
	assert_string_equal(err.text + strlen(err.text) - 8, "\\x1b...\"");
	memset(banner, 'a', sizeof(banner));
	assert_int_equal(frame_decode(banner, sizeof(banner), &frame, NULL), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_frames),
		cmocka_unit_test(messages_behind_noise),
		cmocka_unit_test(broken_frames),
		cmocka_unit_test(only_the_beginning_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
