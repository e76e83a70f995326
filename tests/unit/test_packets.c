/* SPDX-License-Identifier: Apache-2.0 */
/* test_packets - datagrams through two pumps and a stream: borders, ends, and what is lost */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "mesh_bed.h"
#include "tunnel/packets.h"

#define LARGEST 65535

/* near[0] - pump - stream - pump - far[0]; the test has near[0] and far[0] */
struct world {
	struct mesh_bed bed;
	struct packets packets;
	int near, far;
};

static int seqpacket(int *other)
{
	int pair[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	*other = pair[1];
	return pair[0];
}

static void stream_pair(int pair[2])
{
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
}

static void world_open(struct world *world)
{
	int stream[2], inner[2];

	bed_open(&world->bed);
	packets_init(&world->packets, &world->bed.context);
	stream_pair(stream);
	world->near = seqpacket(&inner[0]);
	world->far = seqpacket(&inner[1]);
	for (int i = 0; i < 2; i++)
		assert_int_equal(packets_join(&world->packets, 0, inner[i], stream[i]), 0);
	assert_int_equal(world->packets.count, 2);
	assert_int_equal(world->bed.budget.used, 4);
}

static void world_close(struct world *world)
{
	packets_close(&world->packets);
	assert_int_equal(world->packets.count, 0);
	fd_close(&world->near);
	fd_close(&world->far);
	bed_close(&world->bed);
}

static ssize_t hear(struct world *world, int fd, unsigned char *bytes)
{
	ssize_t len = -1;

	run_until(&world->bed, (len = recv(fd, bytes, LARGEST, 0)) >= 0);
	return len;
}

static void borders_are_kept(void **state)
{
	static const size_t lens[] = {1, 0, 2, 1500, 0, LARGEST, 255, 256, 65000, LARGEST, 3};
	static unsigned char said[LARGEST], heard[LARGEST];
	struct world world;
	(void)state;

	world_open(&world);
	for (int back = 0; back < 2; back++)
		for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
			memset(said, (int)(i + 1), lens[i]);
			int from = back ? world.far : world.near,
			    to = back ? world.near : world.far;
			assert_int_equal(send(from, said, lens[i], 0), lens[i]);
			if (i % 3 == 0)
				continue; /* it is heard with the next one */
			for (size_t k = i % 3 == 1 ? i - 1 : i; k <= i; k++) {
				assert_int_equal(hear(&world, to, heard), lens[k]);
				memset(said, (int)(k + 1), lens[k]);
				assert_memory_equal(heard, said, lens[k]);
			}
		}
	world_close(&world);
}

/* Many at once, in both directions: none is cut, joined or out of its order. */
static void a_crowd_keeps_its_order(void **state)
{
	static unsigned char bytes[LARGEST];
	unsigned sent[2] = {0}, next[2] = {0};
	struct world world;
	(void)state;

	world_open(&world);
	const int fds[] = {world.near, world.far};
	for (int round = 0; round < 3000; round++) {
		for (int i = 0; i < 2; i++) {
			size_t len = sizeof(unsigned) + (size_t)rand() % 9000;

			memcpy(bytes, &sent[i], sizeof(unsigned));
			memset(bytes + sizeof(unsigned), (int)(sent[i] % 251),
				len - sizeof(unsigned));
			sent[i] += send(fds[i], bytes, len, 0) == (ssize_t)len;
		}
		if (round % 7 == 0)
			assert_int_equal(loop_run_once(world.bed.context.loop, 0), 0);
		for (int i = 0; i < 2 && round % 11 == 0; i++)
			for (ssize_t len; (len = recv(fds[!i], bytes, LARGEST, 0)) > 0;) {
				unsigned number;

				memcpy(&number, bytes, sizeof(number));
				assert_in_range(number, next[i], sent[i] - 1);
				next[i] = number + 1;
				for (size_t at = sizeof(number); at < (size_t)len; at++)
					assert_int_equal(bytes[at], number % 251);
			}
	}
	assert_in_range(next[0], 300, 3000);
	assert_in_range(next[1], 300, 3000);
	world_close(&world);
}

static void each_end_ends_the_other(void **state)
{
	unsigned char byte;
	(void)state;

	for (int end = 0; end < 2; end++) {
		struct world world;

		world_open(&world);
		fd_close(end ? &world.near : &world.far);
		run_until(&world.bed, world.packets.count == 0);
		assert_int_equal(recv(end ? world.far : world.near, &byte, 1, 0), 0);
		world_close(&world);
	}
}

/* The stream's turn comes first: what is read of an end that is closed is no datagram. */
static void an_end_is_no_datagram(void **state)
{
	struct mesh_bed bed;
	struct packets packets;
	int stream[2], inner;
	char byte;
	(void)state;

	bed_open(&bed);
	packets_init(&packets, &bed.context);
	stream_pair(stream);
	int outer = seqpacket(&inner);
	assert_int_equal(packets_join(&packets, 0, inner, stream[0]), 0);
	settle(&bed);
	assert_int_equal(send(stream[1], "\0\1x", 3, 0), 3);
	close(outer);
	run_until(&bed, packets.count == 0);
	assert_int_equal(recv(stream[1], &byte, 1, 0), 0);
	close(stream[1]);
	bed_close(&bed);
}

/* A stream whose other end sends what it likes, in pieces, and stops anywhere. */
static void a_stream_is_not_believed(void **state)
{
	unsigned char bytes[LARGEST];
	struct mesh_bed bed;
	struct packets packets;
	int stream[2], inner;
	(void)state;

	for (size_t cut = 0; cut < 8; cut++) {
		bed_open(&bed);
		packets_init(&packets, &bed.context);
		stream_pair(stream);
		int outer = seqpacket(&inner);
		assert_int_equal(packets_join(&packets, 0, inner, stream[0]), 0);
		for (size_t i = 0; i < cut; i++) {
			assert_int_equal(send(stream[1], &"\0\1x\0\3abc"[i], 1, 0), 1);
			bed_round(&bed);
		}
		settle(&bed);
		assert_int_equal(recv(outer, bytes, sizeof(bytes), 0), cut >= 3 ? 1 : -1);
		assert_int_equal(packets.count, 1);
		close(stream[1]);
		run_until(&bed, packets.count == 0);
		assert_int_equal(recv(outer, bytes, sizeof(bytes), 0), 0); /* no half of one */
		close(outer);
		bed_close(&bed);
	}
}

/* The stream is full: what waits is bounded, and what was begun comes whole later. */
static void a_full_stream_loses_whole_ones(void **state)
{
	unsigned char bytes[4000];
	struct mesh_bed bed;
	struct packets packets;
	int stream[2], inner;
	size_t sent = 0, heard = 0;
	(void)state;

	bed_open(&bed);
	packets_init(&packets, &bed.context);
	stream_pair(stream);
	int outer = seqpacket(&inner);
	assert_int_equal(packets_join(&packets, 0, inner, stream[0]), 0);
	for (int idle = 0; idle < 50; idle++) {
		memset(bytes, (int)sent, sizeof(bytes));
		for (; send(outer, bytes, sizeof(bytes), 0) == sizeof(bytes); idle = 0) {
			sent++;
			memset(bytes, (int)sent, sizeof(bytes));
		}
		bed_round(&bed);
	}
	assert_in_range(sent, 10, 1000); /* then nobody could send any more */
	unsigned char head[2];
	while (heard < sent) {
		run_until(&bed, recv(stream[1], head, 2, MSG_PEEK) == 2);
		assert_int_equal(recv(stream[1], head, 2, 0), 2);
		assert_int_equal(head[0] << 8 | head[1], sizeof(bytes));
		for (size_t have = 0; have < sizeof(bytes);) {
			ssize_t len = -1;
			run_until(&bed,
				(len = recv(stream[1], bytes + have, sizeof(bytes) - have, 0)) > 0);
			have += (size_t)len;
		}
		for (size_t i = 0; i < sizeof(bytes); i++)
			assert_int_equal(bytes[i], (unsigned char)heard);
		heard++;
	}
	packets_close(&packets);
	close(outer);
	close(stream[1]);
	bed_close(&bed);
}

static int connected_udp(uint16_t port)
{
	struct sockaddr_in to = address("127.0.0.1", port);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void a_refusal_ends_nothing(void **state)
{
	struct sockaddr_in own = address("127.0.0.1", 4801), peer;
	socklen_t peer_len = sizeof(peer);
	struct mesh_bed bed;
	struct packets packets;
	char text[8] = {0};
	int stream[2];
	(void)state;

	bed_open(&bed);
	packets_init(&packets, &bed.context);
	stream_pair(stream);
	assert_int_equal(packets_join(&packets, 0, connected_udp(4801), stream[0]), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(send(stream[1], "\0\1x", 3, 0), 3);
		settle(&bed);
	}
	assert_int_equal(packets.count, 1);
	int server = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server, (struct sockaddr *)&own, sizeof(own)), 0);
	/* one may tell of the last refusal, and is lost */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(send(stream[1], "\0\2hi", 4, 0), 4);
		settle(&bed);
	}
	assert_int_equal(
		recvfrom(server, text, sizeof(text), 0, (struct sockaddr *)&peer, &peer_len), 2);
	sendto(server, "", 0, 0, (struct sockaddr *)&peer, peer_len);
	sendto(server, "ho", 2, 0, (struct sockaddr *)&peer, peer_len);
	run_until(&bed, recv(stream[1], text, 6, MSG_PEEK) == 6);
	assert_int_equal(recv(stream[1], text, 6, 0), 6);
	assert_memory_equal(text, "\0\0\0\2ho", 6);
	packets_close(&packets);
	close(server);
	close(stream[1]);
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(borders_are_kept),
		cmocka_unit_test(a_crowd_keeps_its_order),
		cmocka_unit_test(each_end_ends_the_other),
		cmocka_unit_test(an_end_is_no_datagram),
		cmocka_unit_test(a_stream_is_not_believed),
		cmocka_unit_test(a_full_stream_loses_whole_ones),
		cmocka_unit_test(a_refusal_ends_nothing),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
