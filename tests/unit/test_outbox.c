/* SPDX-License-Identifier: Apache-2.0 */
/* test_outbox - what waits leaves in the right order, in whatever portions, and arrives whole */
#include "packets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/frame.h"
#include "wire/outbox.h"

#define MAX_BYTES (1U << 20)

static size_t make_packet(unsigned char *frame, unsigned port, unsigned number)
{
	struct pkt pkt = pkt_udp("127.0.42.1", port, "127.0.42.2", 9);

	pkt_put16(pkt.bytes + 4, number);
	frame_encode_header(frame, FRAME_PACKET, pkt.len);
	memcpy(frame + FRAME_HEADER_BYTES, pkt.bytes, pkt.len);
	return FRAME_HEADER_BYTES + pkt.len;
}

static size_t make_message(unsigned char *frame, char what)
{
	frame_encode_header(frame, FRAME_MESSAGE, 1);
	frame[FRAME_HEADER_BYTES] = (unsigned char)what;
	return FRAME_HEADER_BYTES + 1;
}

/* Write it all, @step bytes at a time; what came out, in @out. */
static size_t write_all(struct outbox *outbox, size_t step, unsigned char *out, size_t *frames)
{
	struct iovec parts[3];
	size_t len = 0;

	while (outbox_fill(outbox, 1, SIZE_MAX, 0), !outbox_is_empty(outbox)) {
		int count = outbox_parts(outbox, parts, 3);
		size_t left = step, put = 0;

		assert_true(count > 0);
		for (int i = 0; i < count && left > 0; i++) {
			size_t n = parts[i].iov_len < left ? parts[i].iov_len : left;

			memcpy(out + len + put, parts[i].iov_base, n);
			put += n;
			left -= n;
		}
		*frames += outbox_written(outbox, put).frames;
		len += put;
	}
	assert_int_equal(outbox->leaving_bytes + outbox->message_bytes, 0);
	assert_int_equal(outbox->packets.bytes, 0);
	return len;
}

/* The rest of a frame, messages, packets by turns of their flows. */
static void order_and_portions(void **state)
{
	static const size_t steps[] = {1, 3, 7, 100000};
	unsigned char frame[FRAME_HEADER_BYTES + PKT_CAP], out[4096];
	struct outbox outbox;

	(void)state;
	outbox_init(&outbox, MAX_BYTES);
	for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
		size_t frames = 0, at = 3;
		struct frame seen;
		struct err err;

		for (unsigned i = 0; i < 6; i++)
			outbox_add_packet(&outbox, 0, frame, make_packet(frame, 1 + i / 3, i), 0);
		assert_int_equal(outbox_add_message(&outbox, frame, make_message(frame, 'a')), 0);
		assert_int_equal(outbox_add_message(&outbox, frame, make_message(frame, 'b')), 0);
		assert_int_equal(outbox_add_rest(&outbox, "xyz", 3), 0);
		size_t len = write_all(&outbox, steps[s], out, &frames);
		assert_int_equal(frames, 9);
		assert_memory_equal(out, "xyz", 3);
		for (unsigned i = 0; at < len; i++) {
			ssize_t size = frame_decode(out + at, len - at, &seen, &err);

			assert_true(size > 0);
			at += (size_t)size;
			assert_int_equal(seen.type, i < 2 ? FRAME_MESSAGE : FRAME_PACKET);
			if (i < 2)
				assert_int_equal(seen.payload[0], "ab"[i]);
			else
				assert_int_equal(pkt_get16(seen.payload + 4) % 3, (i - 2) % 3);
		}
	}
}

/* What leaves cannot be overtaken: it is not chosen before there is room. */
static void messages_overtake_what_waits(void **state)
{
	unsigned char frame[FRAME_HEADER_BYTES + PKT_CAP];
	struct outbox outbox;
	struct iovec parts[4];

	(void)state;
	outbox_init(&outbox, MAX_BYTES);
	size_t len = make_packet(frame, 1, 0);
	for (int i = 0; i < 3; i++)
		outbox_add_packet(&outbox, 0, frame, len, 0);
	outbox_fill(&outbox, 1, SIZE_MAX, 0);
	assert_int_equal(outbox_parts(&outbox, parts, 4), 1);
	outbox_add_message(&outbox, frame, make_message(frame, 'm'));
	outbox_fill(&outbox, len + 1, SIZE_MAX, 0);
	assert_int_equal(outbox_parts(&outbox, parts, 4), 2);
	assert_int_equal(parts[1].iov_len, FRAME_HEADER_BYTES + 1);
	assert_int_equal(outbox.packets.packets, 2);
	outbox_clear(&outbox);
	assert_true(outbox_is_empty(&outbox));
	assert_int_equal(outbox_parts(&outbox, parts, 4), 0);
}

/* A packet that is too large for the link goes in frames, between which others have their turn. */
static void large_ones_are_cut(void **state)
{
	static unsigned char frame[FRAME_HEADER_BYTES + 60000];
	struct pkt head = pkt_tcp("127.0.42.1", 1, "127.0.42.2", 2, 0x10);
	struct outbox outbox;
	struct iovec part;
	size_t data = 0, large = 0, frames = 0, others = 0;

	(void)state;
	memcpy(frame + FRAME_HEADER_BYTES, head.bytes, 40);
	pkt_put16(frame + FRAME_HEADER_BYTES + 2, 60000);
	frame_encode_header(frame, FRAME_PACKET, 60000);
	outbox_init(&outbox, MAX_BYTES);
	outbox_add_packet(&outbox, 0, frame, sizeof(frame), 0);
	size_t small = make_packet(frame, 1, 0);
	for (int i = 0; i < 3; i++)
		outbox_add_packet(&outbox, 0, frame, small, 0);
	while (outbox_fill(&outbox, 1, 4000, 0), !outbox_is_empty(&outbox)) {
		struct frame seen;
		struct err err;

		assert_int_equal(outbox_parts(&outbox, &part, 1), 1);
		assert_true(part.iov_len <= 4000);
		assert_int_equal(
			frame_decode(part.iov_base, part.iov_len, &seen, &err), part.iov_len);
		if (part.iov_len == small) {
			others += frames <= 3;
		} else {
			assert_true(pkt_is_ip_right(seen.payload));
			assert_true(pkt_is_flow_right(seen.payload, seen.len));
			data += seen.len - 40;
			large++;
		}
		frames += outbox_written(&outbox, part.iov_len).frames;
	}
	assert_int_equal(data, 60000 - 40);
	assert_int_equal(large, 16);
	assert_int_equal(others, 3);
	assert_int_equal(outbox.packets.bytes, 0);
}

/* Connections that begin are asked for small segments, if that is set. */
static void segments_are_limited(void **state)
{
	unsigned char frame[FRAME_HEADER_BYTES + PKT_CAP];
	struct pkt pkt = pkt_tcp("127.0.42.1", 1, "127.0.42.2", 2, 0x02);
	struct outbox outbox;
	struct iovec part;

	(void)state;
	pkt.bytes[32] = 6 << 4; /* its data are an option now */
	memcpy(pkt.bytes + 40, (uint8_t[]){2, 4, 0xff, 0xff}, 4);
	frame_encode_header(frame, FRAME_PACKET, pkt.len);
	memcpy(frame + FRAME_HEADER_BYTES, pkt.bytes, pkt.len);
	outbox_init(&outbox, MAX_BYTES);
	outbox.max_mss = 1234;
	outbox_add_packet(&outbox, 0, frame, FRAME_HEADER_BYTES + pkt.len, 0);
	outbox_fill(&outbox, 1, SIZE_MAX, 0);
	assert_int_equal(outbox_parts(&outbox, &part, 1), 1);
	assert_int_equal(pkt_get16((uint8_t *)part.iov_base + FRAME_HEADER_BYTES + 42), 1234);
	outbox_clear(&outbox);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_and_portions),
		cmocka_unit_test(messages_overtake_what_waits),
		cmocka_unit_test(large_ones_are_cut),
		cmocka_unit_test(segments_are_limited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
