/* SPDX-License-Identifier: Apache-2.0 */
/* test_wire - frames cut anywhere on the way in, queued, bounded and dropped whole on the way out
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "wire/wire.h"

#define FRAMES   3000
#define WAIT_MS  5000
#define PIPE_MAX (1 << 20)

/* A wire whose far ends the test holds. */
struct bed {
	struct loop *loop;
	struct wire_hub *hub;
	struct wire wire;
	int to_wire, from_wire; /* the test's ends */
	uint64_t seed;
	/* what was seen */
	uint32_t next_number; /* the frame that is expected next */
	size_t given, rounds, rooms, broken;
	bool closes_itself;
	struct err err;
};

static uint32_t random_below(struct bed *bed, uint32_t limit)
{
	bed->seed = bed->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(bed->seed >> 33) % limit;
}

/* Frame @number: its length and its bytes follow from the number. */
static size_t frame_len(uint32_t number)
{
	uint32_t x = number * 2654435761u;

	return number % 7 == 0 ? 60000 + x % 5500 : 4 + x % 300;
}

static size_t make_frame(unsigned char *out, uint32_t number)
{
	size_t len = frame_len(number);

	frame_encode_header(out, FRAME_PACKET, len);
	memset(out + FRAME_HEADER_BYTES, (int)(number & 255), len);
	memcpy(out + FRAME_HEADER_BYTES, &number, sizeof(number));
	return FRAME_HEADER_BYTES + len;
}

static void check_frame(const struct frame *frame, uint32_t number)
{
	uint32_t seen;

	assert_int_equal(frame->type, FRAME_PACKET);
	memcpy(&seen, frame->payload, sizeof(seen));
	assert_int_equal(seen, number);
	assert_int_equal(frame->len, frame_len(number));
	for (size_t i = sizeof(seen); i < frame->len; i++)
		assert_true(frame->payload[i] == (number & 255));
}

static struct bed *bed_of(struct wire *wire)
{
	return (struct bed *)((char *)wire - offsetof(struct bed, wire));
}

static void on_frame(struct wire *wire, struct frame *frame)
{
	struct bed *bed = bed_of(wire);

	bed->given++;
	if (frame->type == FRAME_PACKET)
		check_frame(frame, bed->next_number++);
	if (bed->closes_itself)
		wire_close(wire);
}

static void on_round_end(struct wire *wire)
{
	bed_of(wire)->rounds++;
}

static void on_room(struct wire *wire)
{
	bed_of(wire)->rooms++;
}

static void on_broken(struct wire *wire, const struct err *err)
{
	struct bed *bed = bed_of(wire);

	bed->broken++;
	bed->err = *err;
	wire_close(wire);
}

static const struct wire_ops ops = {.on_frame = on_frame,
	.on_round_end = on_round_end,
	.on_room = on_room,
	.on_broken = on_broken};

static struct bed *bed_new(bool has_sockets)
{
	struct bed *bed = calloc(1, sizeof(*bed));
	int in[2], out[2];

	signal(SIGPIPE, SIG_IGN);
	bed->seed = 42;
	bed->loop = loop_new();
	bed->hub = wire_hub_new(bed->loop);
	if (has_sockets) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in), 0);
		out[1] = in[0];
		out[0] = in[1];
	} else {
		assert_int_equal(pipe2(in, O_CLOEXEC), 0);
		assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	}
	bed->to_wire = in[1];
	bed->from_wire = has_sockets ? dup(out[0]) : out[0];
	assert_int_equal(wire_open(&bed->wire, bed->hub, &ops, in[0], out[1]), 0);
	fd_set_nonblock(bed->to_wire, 1);
	fd_set_nonblock(bed->from_wire, 1);
	return bed;
}

static void bed_free(struct bed *bed)
{
	wire_close(&bed->wire);
	wire_hub_free(bed->hub);
	loop_free(bed->loop);
	fd_close(&bed->to_wire);
	fd_close(&bed->from_wire);
	free(bed);
}

static void run(struct bed *bed)
{
	assert_int_equal(loop_run_once(bed->loop, 0), 0);
}

/* --- in ----------------------------------------------------------------------------------- */

static void test_cut_anywhere(void **state)
{
	struct bed *bed = bed_new(*state != NULL);
	unsigned char *frame = malloc(FRAME_HEADER_BYTES + FRAME_PACKET_MAX);

	for (uint32_t number = 0; number < FRAMES; number++) {
		size_t size = make_frame(frame, number), put = 0;

		while (put < size) {
			/* mostly small cuts within headers, sometimes all of the rest */
			size_t piece =
				random_below(bed, 3) ? 1 + random_below(bed, 30) : size - put;

			if (piece > size - put)
				piece = size - put;
			ssize_t n = write(bed->to_wire, frame + put, piece);
			put += n > 0 ? (size_t)n : 0;
			if (n < 0 || !random_below(bed, 4))
				run(bed);
		}
	}
	while (bed->given < FRAMES)
		run(bed);
	assert_int_equal(bed->wire.frames_in, FRAMES);
	assert_int_equal(bed->broken, 0);
	assert_true(bed->rounds > 0);
	free(frame);
	bed_free(bed);
}

/* Write @text, run until the wire is broken, and find @expected in the reason. */
static void check_broken(const void *bytes, size_t len, bool is_end, const char *expected)
{
	struct bed *bed = bed_new(false);

	assert_int_equal(write(bed->to_wire, bytes, len), len);
	if (is_end)
		fd_close(&bed->to_wire);
	for (int i = 0; i < 10 && bed->broken == 0; i++)
		run(bed);
	assert_int_equal(bed->broken, 1);
	if (expected)
		assert_non_null(strstr(bed->err.text, expected));
	else
		assert_int_equal(bed->err.code, 0);
	run(bed);
	assert_int_equal(bed->broken, 1);
	bed_free(bed);
}

static void test_broken(void **state)
{
	unsigned char frame[FRAME_HEADER_BYTES + 1000];
	size_t size = make_frame(frame, 0 + 1);
	struct bed *bed;

	(void)state;
	check_broken("", 0, true, NULL);
	check_broken("Welcome to example\n", 19, false, "Welcome");
	check_broken("S", 1, false, "at byte 0:");
	check_broken("\x42\x00\x00\x03", 4, false, "at byte 0:");
	check_broken("\x42\x00", 2, true, "at byte 2: it ended within a frame");

	/* behind a good frame: the place says so */
	bed = bed_new(false);
	bed->next_number = 1;
	assert_int_equal(write(bed->to_wire, frame, size), size);
	assert_int_equal(write(bed->to_wire, "oops", 4), 4);
	while (bed->broken == 0)
		run(bed);
	assert_int_equal(bed->given, 1);
	assert_int_equal(strncmp(bed->err.text, "at byte ", 8), 0);
	assert_int_equal(bed->wire.bytes_in, size);
	bed_free(bed);
}

static void test_close_in_callback(void **state)
{
	unsigned char frame[2 * (FRAME_HEADER_BYTES + 400)];
	struct bed *bed = bed_new(false);
	size_t size = make_frame(frame, 1);

	(void)state;
	size += make_frame(frame + size, 2);
	bed->next_number = 1;
	bed->closes_itself = true;
	assert_int_equal(write(bed->to_wire, frame, size), size);
	run(bed);
	run(bed);
	assert_int_equal(bed->given, 1); /* not the second one, nor the end of the round */
	assert_int_equal(bed->rounds, 0);
	assert_int_equal(bed->broken, 0);
	bed_free(bed);
}

/* A message may be longer than what is read at once. */
static void test_long_message(void **state)
{
	size_t size = FRAME_HEADER_BYTES + FRAME_MESSAGE_MAX, put = 0;
	unsigned char *message = malloc(size);
	struct bed *bed = bed_new(false);

	(void)state;
	memset(message, 'x', size);
	frame_encode_header(message, FRAME_MESSAGE, FRAME_MESSAGE_MAX);
	while (put < size) {
		ssize_t n = write(bed->to_wire, message + put, size - put);

		put += n > 0 ? (size_t)n : 0;
		run(bed);
	}
	for (int i = 0; i < 100 && bed->given == 0; i++)
		run(bed);
	assert_int_equal(bed->given, 1);
	assert_int_equal(bed->wire.bytes_in, size);
	free(message);
	bed_free(bed);
}

/* How often the wire reads while the far side writes @text one byte at a time, as fast as it can.
 */
static size_t rounds_of_crumbs(struct bed *bed, const unsigned char *text, size_t len)
{
	size_t busy = 0;

	for (size_t put = 0; put < len; put++) {
		ssize_t n = write(bed->to_wire, text + put, 1);
		int waits = -1;

		assert_int_equal(n, 1);
		run(bed);
		ioctl(bed->to_wire, FIONREAD, &waits);
		busy += waits == 0;
	}
	return busy;
}

/* Crumbs of a frame gather in the kernel; so do whole frames that are no packets. */
static void check_crumbs(size_t payload_len, size_t frames)
{
	size_t size = FRAME_HEADER_BYTES + payload_len, len = size * frames;
	unsigned char *text = calloc(1, len);
	struct bed *bed = bed_new(false);

	for (size_t i = 0; i < frames; i++)
		frame_encode_header(text + i * size, FRAME_MESSAGE, payload_len);
	uint64_t began_ns = clock_now_ns();
	size_t busy = rounds_of_crumbs(bed, text, len);
	uint64_t took_ms = (clock_now_ns() - began_ns) / NS_PER_MS;
	/* a pause of a millisecond, a read that is worth it by then, and the one that it pays for
	 */
	assert_true(busy <= TRICKLE_FREE + 4 * (took_ms / TRICKLE_MS + 1));
	assert_true(busy < len / 4);
	while (bed->given < frames)
		assert_int_equal(loop_run_once(bed->loop, WAIT_MS), 0);
	assert_int_equal(bed->broken, 0);
	free(text);
	bed_free(bed);
}

static void test_crumbs(void **state)
{
	(void)state;
	check_crumbs(60000, 1);
	check_crumbs(0, 6000);
	check_crumbs(1, 6000);
}

/* What is still to be read when the far side has gone is read, paused or not. */
static void test_crumbs_at_the_end(void **state)
{
	unsigned char text[FRAME_HEADER_BYTES + 100] = {0};
	struct bed *bed = bed_new(false);

	(void)state;
	frame_encode_header(text, FRAME_MESSAGE, 100);
	rounds_of_crumbs(bed, text, sizeof(text));
	fd_close(&bed->to_wire);
	for (int i = 0; i < 10 && bed->broken == 0; i++)
		assert_int_equal(loop_run_once(bed->loop, WAIT_MS), 0);
	assert_int_equal(bed->given, 1);
	assert_int_equal(bed->broken, 1);
	assert_int_equal(bed->err.code, 0);
	bed_free(bed);
}

/* --- out ---------------------------------------------------------------------------------- */

/* What the far side reads: whole frames, numbers that only grow. */
struct reader {
	unsigned char *bytes;
	size_t len, cap;
	uint32_t last;
	size_t frames, messages;
};

static void read_some(struct bed *bed, struct reader *reader, size_t max)
{
	struct frame frame;
	struct err err;
	ssize_t size;

	if (!reader->bytes) {
		reader->cap = 4U << 20;
		reader->bytes = malloc(reader->cap);
	}
	if (max > reader->cap - reader->len)
		max = reader->cap - reader->len;
	ssize_t n = read(bed->from_wire, reader->bytes + reader->len, max);
	reader->len += n > 0 ? (size_t)n : 0;
	size_t at = 0;
	while ((size = frame_decode(reader->bytes + at, reader->len - at, &frame, &err)) > 0) {
		uint32_t number;

		at += (size_t)size;
		if (frame.type == FRAME_MESSAGE) {
			reader->messages++;
			continue;
		}
		memcpy(&number, frame.payload, sizeof(number));
		assert_true(reader->frames == 0 || number > reader->last);
		check_frame(&frame, number);
		reader->last = number;
		reader->frames++;
	}
	assert_true(size == 0); /* never torn */
	memmove(reader->bytes, reader->bytes + at, reader->len - at);
	reader->len -= at;
}

static size_t send_frames(struct bed *bed, uint32_t first, size_t count)
{
	unsigned char *bytes = malloc(count * (FRAME_HEADER_BYTES + FRAME_PACKET_MAX));
	struct iovec *frames = calloc(count, sizeof(*frames));
	size_t at = 0;

	for (size_t i = 0; i < count; i++) {
		/* some side by side, some apart */
		at += i % 3 == 0 ? 16 : 0;
		size_t size = make_frame(bytes + at, first + (uint32_t)i);
		frames[i] = (struct iovec){bytes + at, size};
		at += size;
	}
	size_t dropped = wire_send(&bed->wire, 0, frames, count);
	free(frames);
	free(bytes);
	return dropped;
}

static void test_sent_whole(void **state)
{
	struct bed *bed = bed_new(*state != NULL);
	struct reader reader = {0};
	size_t dropped = 0;

	for (uint32_t number = 1; number < FRAMES;) {
		uint32_t count = 1 + random_below(bed, 40);

		dropped += send_frames(bed, number, count);
		number += count;
		bed->given += count;
		/* the far side is now faster, now slower */
		for (uint32_t i = random_below(bed, 8); i > 0; i--) {
			read_some(bed, &reader, 1 + random_below(bed, 80000));
			run(bed);
		}
	}
	while (!wire_has_room(&bed->wire) || reader.frames < bed->wire.frames_out) {
		read_some(bed, &reader, SIZE_MAX);
		run(bed);
	}
	assert_int_equal(reader.frames + bed->wire.dropped, bed->given);
	assert_true(dropped <= bed->wire.dropped); /* some when their turn had come */
	assert_int_equal(bed->wire.frames_out, reader.frames);
	assert_true(bed->rooms > 0);
	free(reader.bytes);
	bed_free(bed);
}

/* Nobody reads: the queue stays bounded, messages still fit, and all of it arrives in the end. */
static void test_bounded(void **state)
{
	struct bed *bed = bed_new(false);
	struct reader reader = {0};
	uint32_t number = 1;

	(void)state;
	for (; number < 4000; number += 20)
		send_frames(bed, number, 20);
	assert_true(bed->wire.dropped > 0);
	assert_true(bed->wire.outbox.packets.bytes <= WIRE_QUEUE_BYTES);
	assert_true(bed->wire.outbox.packets.bytes > WIRE_QUEUE_BYTES - 2 * FRAME_PACKET_MAX);
	assert_int_equal(wire_send_message(&bed->wire, "{}", 2), 0);
	assert_false(wire_has_room(&bed->wire));
	for (int i = 0; i < 100000 && !wire_has_room(&bed->wire); i++) {
		read_some(bed, &reader, SIZE_MAX);
		run(bed);
	}
	while (reader.frames + reader.messages < bed->wire.frames_out)
		read_some(bed, &reader, SIZE_MAX);
	assert_int_equal(reader.messages, 1);
	assert_int_equal(bed->rooms, 1);
	/* messages alone have a bound, too */
	char *text = calloc(1, FRAME_MESSAGE_MAX);
	int result = 0;
	for (int i = 0; i < 100 && result == 0; i++)
		result = wire_send_message(&bed->wire, text, FRAME_MESSAGE_MAX);
	assert_int_equal(result, -ENOBUFS);
	free(text);
	free(reader.bytes);
	bed_free(bed);
}

/* The far side reads no more but has something to say: that is heard first. */
static void test_last_words(void **state)
{
	unsigned char frame[FRAME_HEADER_BYTES + 400];
	struct bed *bed = bed_new(false);
	size_t size = make_frame(frame, 1);

	(void)state;
	bed->next_number = 1;
	fd_close(&bed->from_wire);
	send_frames(bed, 1, 5);
	assert_int_equal(bed->wire.dropped, 5);
	assert_int_equal(bed->broken, 0);
	assert_int_equal(write(bed->to_wire, frame, size), size);
	run(bed);
	assert_int_equal(bed->given, 1);
	assert_int_equal(wire_send_message(&bed->wire, "{}", 2), -EPIPE);
	while (bed->broken == 0)
		assert_int_equal(loop_run_once(bed->loop, WAIT_MS), 0);
	assert_int_equal(bed->err.code, EPIPE);
	bed_free(bed);
}

/* --- acknowledgements --------------------------------------------------------------------- */

static size_t make_ack(unsigned char *out, uint64_t total)
{
	frame_encode_header(out, FRAME_ACKNOWLEDGEMENT, sizeof(total));
	for (int i = 0; i < 8; i++)
		out[FRAME_HEADER_BYTES + i] = (unsigned char)(total >> (56 - 8 * i));
	return FRAME_HEADER_BYTES + sizeof(total);
}

/* Reads one frame of the wire's. */
static void expect_from_wire(struct bed *bed, enum frame_type type, uint64_t number)
{
	static unsigned char bytes[FRAME_HEADER_BYTES + WINDOW_PROBE_BYTES];
	struct frame frame;
	struct err err;
	uint64_t seen = 0;
	size_t len = 0;

	for (int i = 0; i < 100 && len < FRAME_HEADER_BYTES; i++) {
		ssize_t n = read(bed->from_wire, bytes, FRAME_HEADER_BYTES);

		len += n > 0 ? (size_t)n : 0;
		if (len == 0)
			assert_int_equal(loop_run_once(bed->loop, 10), 0);
	}
	size_t rest = (size_t)bytes[2] << 8 | bytes[3];
	assert_int_equal(read(bed->from_wire, bytes + len, rest - 4), rest - 4);
	assert_true(frame_decode(bytes, rest + 4, &frame, &err) > 0);
	assert_int_equal(frame.type, type);
	for (size_t i = 0; type == FRAME_ACKNOWLEDGEMENT && i < 8; i++)
		seen = seen << 8 | frame.payload[i];
	assert_int_equal(type == FRAME_ACKNOWLEDGEMENT ? seen : frame.len, number);
}

/* Nothing is said of it until the other side does; then what has come is told, in time. */
static void test_acknowledges(void **state)
{
	unsigned char bytes[FRAME_HEADER_BYTES + 400];
	struct bed *bed = bed_new(false);
	size_t first = make_frame(bytes, 1), second;

	(void)state;
	bed->next_number = 1;
	assert_int_equal(write(bed->to_wire, bytes, first), first);
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_run_once(bed->loop, 4), 0);
	assert_int_equal(read(bed->from_wire, bytes, 1), -1);
	/* the other side does */
	size_t size = make_ack(bytes, 0);
	assert_int_equal(write(bed->to_wire, bytes, size), size);
	run(bed);
	expect_from_wire(bed, FRAME_ACKNOWLEDGEMENT, first);
	expect_from_wire(bed, FRAME_PADDING, 0); /* how long does it take? */
	second = make_frame(bytes, 2);
	assert_int_equal(write(bed->to_wire, bytes, second), second);
	run(bed);
	assert_int_equal(bed->given, 2);
	expect_from_wire(bed, FRAME_ACKNOWLEDGEMENT, first + second);
	/* padding is answered at once, and is nobody's frame */
	frame_encode_header(bytes, FRAME_PADDING, 10);
	assert_int_equal(write(bed->to_wire, bytes, 18), 18);
	run(bed);
	expect_from_wire(bed, FRAME_ACKNOWLEDGEMENT, first + second + 18);
	assert_int_equal(bed->given, 2);
	assert_int_equal(bed->wire.frames_in, 2);
	assert_int_equal(bed->wire.frames_out, 0);
	/* what cannot be is ignored, as is what is no number */
	assert_int_equal(bed->wire.window.acked, 0);
	size = make_ack(bytes, 1 << 20);
	assert_int_equal(write(bed->to_wire, bytes, size), size);
	frame_encode_header(bytes, FRAME_ACKNOWLEDGEMENT, 3);
	assert_int_equal(write(bed->to_wire, bytes, 11), 11);
	run(bed);
	assert_int_equal(bed->wire.window.acked, 0);
	/* and now the link is measured */
	size = make_ack(bytes, FRAME_HEADER_BYTES);
	assert_int_equal(write(bed->to_wire, bytes, size), size);
	run(bed);
	expect_from_wire(bed, FRAME_PADDING, WINDOW_PROBE_BYTES);
	assert_int_equal(bed->broken, 0);
	bed_free(bed);
}

/* No more goes out than may be under way; an acknowledgement lets more of it go, and all in the
 * end. */
static void test_window(void **state)
{
	unsigned char ack[FRAME_HEADER_BYTES + 8];
	struct bed *bed = bed_new(true);
	uint64_t told = 0;

	(void)state;
	size_t size = make_ack(ack, 0);
	assert_int_equal(write(bed->to_wire, ack, size), size);
	run(bed);
	bed->wire.probes = 100; /* none of them here */
	uint32_t number = 1;
	for (; number < 200; number += 20)
		send_frames(bed, number, 20);
	assert_false(wire_has_room(&bed->wire));
	/* of a link that is fast the owner keeps what it has; for a slow one it waits better here
	 */
	assert_false(wire_wants_packets(&bed->wire));
	struct window known = bed->wire.window;
	bed->wire.window.is_measured = true;
	bed->wire.window.rate = 500000;
	assert_true(wire_wants_packets(&bed->wire));
	bed->wire.window = known;
	assert_in_range(bed->wire.window.sent, 256 * 1024, 512 * 1024 + FRAME_PACKET_MAX * 20);
	uint64_t most = bed->wire.window.sent;
	run(bed);
	assert_int_equal(bed->wire.window.sent, most); /* though the descriptor would take it */
	for (int i = 0; i < 1000 && !wire_has_room(&bed->wire); i++) {
		while (told < bed->wire.window.sent) {
			told = bed->wire.window.sent;
			size = make_ack(ack, told);
			assert_int_equal(write(bed->to_wire, ack, size), size);
		}
		assert_int_equal(loop_run_once(bed->loop, 10), 0);
	}
	assert_true(wire_has_room(&bed->wire));
	assert_int_equal(bed->wire.dropped, 0);
	bed_free(bed);
}

/* On a slow link that has all it may, a message waits for packets to go along with: for a round
 * trip at most. It would be a piece of its own, and some links have room for few. */
static void test_goes_along(void **state)
{
	const uint64_t rtt_ns = 200 * NS_PER_MS;
	unsigned char bytes[FRAME_PACKET_MAX];
	struct bed *bed = bed_new(true);
	struct wire *wire = &bed->wire;

	(void)state;
	wire->window.is_on = wire->window.is_measured = wire->window.is_past_start = true;
	wire->window.rate = 50000;
	wire->window.min_rtt_ns = wire->window.min_rtt_at_ns = rtt_ns;
	send_frames(bed, 1, 20);
	while (window_wait_ns(&wire->window, loop_now_ns(bed->loop)) < UINT64_MAX)
		assert_int_equal(loop_run_once(bed->loop, 10), 0);
	while (read(bed->from_wire, bytes, sizeof(bytes)) > 0)
		;
	assert_true(wire->outbox.packets.packets > 0);
	uint64_t began_ns = clock_now_ns();
	assert_int_equal(wire_send_message(wire, "{}", 2), 0);
	ssize_t got = read(bed->from_wire, bytes, sizeof(bytes));
	assert_true(got == -1);
	for (; got < 0; got = read(bed->from_wire, bytes, sizeof(bytes)))
		assert_int_equal(loop_run_once(bed->loop, 10), 0);
	assert_int_equal(got, FRAME_HEADER_BYTES + 2);
	assert_true(clock_now_ns() - began_ns >= rtt_ns - 10 * NS_PER_MS);
	assert_true(wire->outbox.packets.packets > 0);
	/* and without any, at once */
	outbox_clear(&wire->outbox);
	assert_int_equal(wire_send_message(wire, "{}", 2), 0);
	assert_int_equal(read(bed->from_wire, bytes, sizeof(bytes)), FRAME_HEADER_BYTES + 2);
	bed_free(bed);
}

int main(void)
{
	static int sockets;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_anywhere),
		{"test_cut_anywhere (socket)", test_cut_anywhere, NULL, NULL, &sockets},
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_close_in_callback),
		cmocka_unit_test(test_long_message),
		cmocka_unit_test(test_crumbs),
		cmocka_unit_test(test_crumbs_at_the_end),
		cmocka_unit_test(test_sent_whole),
		{"test_sent_whole (socket)", test_sent_whole, NULL, NULL, &sockets},
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_last_words),
		cmocka_unit_test(test_acknowledges),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_goes_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
