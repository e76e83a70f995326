/* SPDX-License-Identifier: Apache-2.0 */
/* test_channel - both ends of a link find each other, in frames and in bare packets */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "exit/channel.h"

enum { ROUNDS = 200 };

struct end {
	struct channel channel;
	unsigned ups, ends, packets;
	size_t last_len;
	unsigned char last[100];
	const char *why;
	size_t noise;
};

static void on_packet(void *owner, unsigned char *packet, size_t len)
{
	struct end *end = owner;

	end->packets++;
	end->last_len = len;
	memcpy(end->last, packet, len < sizeof(end->last) ? len : sizeof(end->last));
}

static void on_up(void *owner)
{
	((struct end *)owner)->ups++;
}

static void on_room(void *owner)
{
	(void)owner;
}

static void on_end(void *owner, const char *why)
{
	struct end *end = owner;

	end->ends++;
	end->why = why ? strdup(why) : NULL;
}

static void on_noise(void *owner, const char *bytes, size_t len)
{
	(void)bytes;
	((struct end *)owner)->noise += len;
}

static const struct channel_ops ops = {on_packet, on_up, on_room, on_end, on_noise};
static const struct channel_ops strict = {on_packet, on_up, on_room, on_end, NULL};

struct bed {
	struct loop *loop;
	struct wire_hub *hub;
	struct end ends[2];
	int fds[2];
};

static void open_end(struct bed *bed, size_t i, enum hello_kind kind)
{
	struct end *end = &bed->ends[i];

	end->channel = (struct channel){.loop = bed->loop,
		.hub = bed->hub,
		.ops = kind == HELLO_EXIT ? &strict : &ops,
		.owner = end,
		.self = {.kind = kind,
			.features = HELLO_ACKNOWLEDGE | (kind == HELLO_EXIT ? HELLO_DNS : 0)}};
	assert_int_equal(channel_open(&end->channel, bed->fds[i], bed->fds[i]), 0);
}

static void bed_open(struct bed *bed, int type)
{
	*bed = (struct bed){.loop = loop_new()};
	bed->hub = wire_hub_new(bed->loop);
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, bed->fds), 0);
}

static void bed_run(struct bed *bed)
{
	for (int i = 0; i < ROUNDS; i++)
		loop_run_once(bed->loop, 0);
}

static void bed_close(struct bed *bed)
{
	for (size_t i = 0; i < 2; i++) {
		channel_close(&bed->ends[i].channel);
		free((char *)bed->ends[i].why);
	}
	wire_hub_free(bed->hub);
	loop_free(bed->loop);
}

static void send_one(struct end *end, const char *text)
{
	unsigned char bytes[CHANNEL_HEADROOM + 100];

	strcpy((char *)bytes + CHANNEL_HEADROOM, text);
	channel_send(&end->channel, &(struct iovec){bytes + CHANNEL_HEADROOM, strlen(text) + 1}, 1);
}

static void ends_find_each_other(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, SOCK_STREAM);
	open_end(&bed, 0, HELLO_ENTRANCE);
	assert_false(channel_wants(&bed.ends[0].channel));
	send_one(&bed.ends[0], "too early");
	open_end(&bed, 1, HELLO_EXIT);
	bed_run(&bed);
	assert_int_equal(bed.ends[0].ups + bed.ends[1].ups, 2);
	assert_true(channel_wants(&bed.ends[0].channel));
	assert_int_equal(bed.ends[0].channel.peer.kind, HELLO_EXIT);
	assert_int_equal(bed.ends[0].channel.peer.features, HELLO_ACKNOWLEDGE | HELLO_DNS);
	assert_true(bed.ends[0].channel.wire.acknowledges && bed.ends[1].channel.wire.acknowledges);
	send_one(&bed.ends[0], "there");
	send_one(&bed.ends[1], "and back");
	bed_run(&bed);
	assert_string_equal((char *)bed.ends[1].last, "there");
	assert_string_equal((char *)bed.ends[0].last, "and back");
	assert_int_equal(bed.ends[1].packets, 1);

	channel_close(&bed.ends[1].channel);
	bed_run(&bed);
	assert_int_equal(bed.ends[0].ends, 1);
	assert_null(bed.ends[0].why);
	assert_false(bed.ends[0].channel.is_open || channel_wants(&bed.ends[0].channel));
	bed_close(&bed);
}

static void two_of_a_kind_part(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, SOCK_STREAM);
	open_end(&bed, 0, HELLO_ENTRANCE);
	open_end(&bed, 1, HELLO_ENTRANCE);
	bed_run(&bed);
	assert_int_equal(bed.ends[0].ups, 0);
	assert_true(bed.ends[0].ends == 1 && bed.ends[1].ends == 1);
	assert_true((bed.ends[0].why && strstr(bed.ends[0].why, "entrance, too")) ||
		    (bed.ends[1].why && strstr(bed.ends[1].why, "entrance, too")));
	bed_close(&bed);
}

/* A login says something first, and what an exit hears first is a frame. */
static void noise_before_the_first_frame(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, SOCK_STREAM);
	assert_int_equal(write(bed.fds[1], "Welcome!\n", 9), 9);
	open_end(&bed, 0, HELLO_ENTRANCE);
	open_end(&bed, 1, HELLO_EXIT);
	bed_run(&bed);
	assert_int_equal(bed.ends[0].noise, 9);
	assert_int_equal(bed.ends[0].ups, 1);
	bed_close(&bed);

	bed_open(&bed, SOCK_STREAM);
	open_end(&bed, 1, HELLO_EXIT);
	assert_int_equal(write(bed.fds[0], "GET / HTTP/1.1\r\n", 16), 16);
	bed_run(&bed);
	assert_int_equal(bed.ends[1].ends, 1);
	assert_non_null(strstr(bed.ends[1].why, "GET / HTTP"));
	close(bed.fds[0]);
	bed_close(&bed);
}

static void packets_are_bare_where_they_are_kept_apart(void **state)
{
	static const int types[] = {SOCK_SEQPACKET, SOCK_DGRAM};
	char bytes[100];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct bed bed;

		bed_open(&bed, types[i]);
		open_end(&bed, 0, HELLO_ENTRANCE);
		assert_int_equal(bed.ends[0].ups, 1);
		assert_true(bed.ends[0].channel.is_bare && channel_wants(&bed.ends[0].channel));
		send_one(&bed.ends[0], "bare");
		assert_int_equal(recv(bed.fds[1], bytes, sizeof(bytes), 0), 5);
		assert_string_equal(bytes, "bare");
		assert_int_equal(send(bed.fds[1], "one", 4, 0), 4);
		assert_int_equal(send(bed.fds[1], "two", 4, 0), 4);
		bed_run(&bed);
		assert_int_equal(bed.ends[0].packets, 2);
		assert_string_equal((char *)bed.ends[0].last, "two");
		close(bed.fds[1]);
		bed_run(&bed);
		/* of datagrams nobody knows */
		assert_int_equal(bed.ends[0].ends, types[i] == SOCK_SEQPACKET);
		bed_close(&bed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ends_find_each_other),
		cmocka_unit_test(two_of_a_kind_part),
		cmocka_unit_test(noise_before_the_first_frame),
		cmocka_unit_test(packets_are_bare_where_they_are_kept_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
