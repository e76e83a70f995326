/* SPDX-License-Identifier: Apache-2.0 */
/* test_proof - both ends with one key, and every kind of end that has none */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock_ahead.h"
#include "link/proof.h"
#include "util/list.h"

#define ROUNDS   5000 /* of a millisecond: then it is in vain */
#define DEADLINE 3000
#define HELLO    PROOF_HELLO_BYTES
#define MAC      PROOF_MAC_BYTES

static const struct keyfile key = {"one key that is secret", 22};
static const struct keyfile other_key = {"one key that is Secret", 22};

struct side {
	struct proof proof;
	int done, result;
	char why[160];
};

static void on_done(struct proof *proof, int result, const char *why)
{
	struct side *side = container_of(proof, struct side, proof);

	side->done++;
	side->result = result;
	snprintf(side->why, sizeof(side->why), "%s", why ? why : "");
}

/* Our end of a socket, and one that the test has. */
struct world {
	struct loop *loop;
	struct side a, b;
	int fds[2];
};

static void begin(struct world *world, struct side *side, enum proof_role role, int fd)
{
	*side = (struct side){.proof = {.loop = world->loop,
				      .key = &key,
				      .role = role,
				      .purpose = "test",
				      .on_done = on_done}};
	assert_int_equal(proof_start(&side->proof, fd, fd, DEADLINE), 0);
}

static struct world open_world(void)
{
	struct world world = {.loop = loop_new()};

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, world.fds), 0);
	fcntl(world.fds[1], F_SETFL, O_NONBLOCK);
	return world;
}

static void close_world(struct world *world)
{
	proof_cancel(&world->a.proof);
	proof_cancel(&world->b.proof);
	for (size_t i = 0; i < 2; i++)
		if (world->fds[i] >= 0)
			close(world->fds[i]);
	loop_free(world->loop);
}

static void run_until_done(struct world *world, const struct side *side)
{
	for (int i = 0; i < ROUNDS && side->done == 0; i++)
		assert_int_equal(loop_run_once(world->loop, 1), 0);
	assert_int_equal(side->done, 1);
}

static void expect(struct world *world, const struct side *side, int result, const char *words)
{
	run_until_done(world, side);
	assert_int_equal(side->result, result);
	if (!strstr(side->why, words))
		fail_msg("%s", side->why);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(world->loop, 1), 0);
	assert_int_equal(side->done, 1);
}

/* What our end says, @len bytes of it. */
static void hear(struct world *world, void *bytes, size_t len)
{
	size_t have = 0;

	for (int i = 0; i < ROUNDS && have < len; i++) {
		ssize_t got = read(world->fds[1], (char *)bytes + have, len - have);

		if (got > 0)
			have += (size_t)got;
		assert_int_equal(loop_run_once(world->loop, 1), 0);
	}
	assert_int_equal(have, len);
}

static void say(struct world *world, const void *bytes, size_t len)
{
	assert_int_equal(send(world->fds[1], bytes, len, MSG_NOSIGNAL), len);
}

static void hello_of(char role, const char *purpose, unsigned char out[HELLO])
{
	memset(out, 0, HELLO);
	memcpy(out, "nswrap\1", 7);
	out[7] = (unsigned char)role;
	memcpy(out + 8, purpose, strlen(purpose));
	memset(out + 16, 'n', 32);
}

/* As the header says it is made. */
static void mac_of(const struct keyfile *with, char role, const unsigned char *hello_a,
	const unsigned char *hello_b, unsigned char out[MAC])
{
	unsigned char text[16 + 2 * HELLO] = "nswrap proof 1";
	gsize len = MAC;
	GHmac *hmac = g_hmac_new(G_CHECKSUM_SHA256, with->bytes, with->len);

	text[15] = (unsigned char)role;
	memcpy(text + 16, hello_a, HELLO);
	memcpy(text + 16 + HELLO, hello_b, HELLO);
	g_hmac_update(hmac, text, sizeof(text));
	g_hmac_get_digest(hmac, out, &len);
	g_hmac_unref(hmac);
}

static void both_prove(void **state)
{
	struct world world = open_world();
	char early[8] = {0};
	(void)state;

	begin(&world, &world.a, PROOF_ASKER, world.fds[0]);
	begin(&world, &world.b, PROOF_ANSWERER, world.fds[1]);
	expect(&world, &world.b, 0, "");
	assert_int_equal(write(world.fds[1], "early", 5), 5);
	expect(&world, &world.a, 0, "");
	assert_int_equal(read(world.fds[0], early, sizeof(early)), 5);
	assert_string_equal(early, "early");
	close_world(&world);
}

/* Over two pipes, the first full: it is written when there is room. */
static void pipes_that_are_full_are_waited_for(void **state)
{
	struct world world = open_world();
	int there[2], back[2];
	char byte[4096] = {0};
	size_t filled = 0;
	(void)state;

	assert_int_equal(pipe2(there, O_NONBLOCK), 0);
	assert_int_equal(pipe2(back, O_NONBLOCK), 0);
	for (ssize_t len; (len = write(there[1], byte, sizeof(byte))) > 0;)
		filled += (size_t)len;
	world.a.proof = (struct proof){.loop = world.loop,
		.key = &key,
		.role = PROOF_ASKER,
		.purpose = "test",
		.on_done = on_done};
	assert_int_equal(proof_start(&world.a.proof, back[0], there[1], DEADLINE), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_run_once(world.loop, 1), 0);
	while (filled > 0)
		filled -=
			(size_t)read(there[0], byte, sizeof(byte) < filled ? sizeof(byte) : filled);
	world.b.proof = (struct proof){.loop = world.loop,
		.key = &key,
		.role = PROOF_ANSWERER,
		.purpose = "test",
		.on_done = on_done};
	assert_int_equal(proof_start(&world.b.proof, there[0], back[1], DEADLINE), 0);
	expect(&world, &world.a, 0, "");
	expect(&world, &world.b, 0, "");
	for (size_t i = 0; i < 2; i++) {
		close(there[i]);
		close(back[i]);
	}
	close_world(&world);
}

/* A client that follows the header, a byte at a time, and goes on in the same breath. */
static void an_answerer_believes_what_is_right_only(void **state)
{
	(void)state;

	for (int wrong = 0; wrong <= MAC * 8; wrong++) {
		struct world world = open_world();
		unsigned char hello[HELLO], answer[HELLO], mac[MAC], theirs[MAC], right[MAC];
		char early[8] = {0};

		begin(&world, &world.a, PROOF_ANSWERER, world.fds[0]);
		hello_of('A', "test", hello);
		for (size_t i = 0; i < HELLO; i++) {
			say(&world, hello + i, 1);
			assert_int_equal(loop_run_once(world.loop, 0), 0);
		}
		hear(&world, answer, HELLO);
		assert_memory_equal(answer, "nswrap\1Btest\0\0\0\0", 16);
		mac_of(&key, 'A', hello, answer, mac);
		if (wrong < MAC * 8)
			mac[wrong / 8] ^= (unsigned char)(1 << wrong % 8);
		say(&world, mac, MAC);
		say(&world, "early", 5);
		if (wrong < MAC * 8) {
			expect(&world, &world.a, -EACCES, "another key");
			assert_int_equal(read(world.fds[1], theirs, 1), -1);
		} else {
			expect(&world, &world.a, 0, "");
			hear(&world, theirs, MAC);
			mac_of(&key, 'B', hello, answer, right);
			assert_memory_equal(theirs, right, MAC);
			assert_int_equal(read(world.fds[0], early, sizeof(early)), 5);
			assert_string_equal(early, "early");
		}
		close_world(&world);
	}
}

static void another_key_is_refused_and_said(void **state)
{
	struct world world = open_world();
	(void)state;

	begin(&world, &world.a, PROOF_ASKER, world.fds[0]);
	begin(&world, &world.b, PROOF_ANSWERER, world.fds[1]);
	world.b.proof.key = &other_key;
	expect(&world, &world.b, -EACCES, "the other end has another key");
	close(world.fds[1]);
	world.fds[1] = -1;
	expect(&world, &world.a, -EPIPE, "has it the same one?");
	close_world(&world);
}

/* Everything that the asker says comes back to it, in every way that might help. */
static void what_is_sent_back_proves_nothing(void **state)
{
	(void)state;

	for (int way = 0; way < 3; way++) {
		struct world world = open_world();
		unsigned char hello[HELLO], mac[MAC];

		begin(&world, &world.a, PROOF_ASKER, world.fds[0]);
		hear(&world, hello, HELLO);
		if (way > 0)
			hello[7] = 'B';
		say(&world, hello, HELLO);
		if (way == 0) {
			expect(&world, &world.a, -EPROTO, "of the same kind");
		} else {
			hear(&world, mac, MAC);
			if (way == 2) /* the proof of somebody with another role */
				mac[0] ^= 1;
			say(&world, mac, MAC);
			expect(&world, &world.a, -EACCES, "another key");
		}
		close_world(&world);
	}
}

/* All that went one way in a proof, once more. */
static void what_was_heard_before_proves_nothing(void **state)
{
	struct world world = open_world();
	unsigned char hello[HELLO], answer[HELLO], mac[MAC];
	(void)state;

	hello_of('A', "test", hello);
	for (int again = 0; again < 2; again++) {
		begin(&world, &world.a, PROOF_ANSWERER, world.fds[0]);
		say(&world, hello, HELLO);
		hear(&world, answer, HELLO);
		if (!again)
			mac_of(&key, 'A', hello, answer, mac);
		say(&world, mac, MAC);
		expect(&world, &world.a, again ? -EACCES : 0, again ? "another key" : "");
		if (!again)
			hear(&world, (unsigned char[MAC]){0}, MAC);
	}
	close_world(&world);
}

static void other_purposes_and_ends_without_a_key_are_refused(void **state)
{
	static const char *const others[] = {
		"\1\2\3", "nswrap\2", "GET / HTTP/1.1\r\n", "lennet01", "\0\0\0\0\0\0"};
	unsigned char hello[HELLO];
	(void)state;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct world world = open_world();

		begin(&world, &world.a, PROOF_ANSWERER, world.fds[0]);
		say(&world, others[i], 7);
		expect(&world, &world.a, -EPROTO, "it has none");
		close_world(&world);
	}
	struct world world = open_world();
	begin(&world, &world.a, PROOF_ANSWERER, world.fds[0]);
	hello_of('A', "tesT", hello);
	say(&world, hello, HELLO);
	expect(&world, &world.a, -EPROTO, "another command");
	close_world(&world);
}

/* Cut after every byte: by an end, and by silence. */
static void what_is_cut_proves_nothing(void **state)
{
	(void)state;

	for (size_t cut = 0; cut < HELLO + MAC; cut++) {
		struct world world = open_world();
		unsigned char hello[HELLO], answer[HELLO], mac[MAC] = {0};
		bool ends = cut % 2;

		begin(&world, &world.a, PROOF_ANSWERER, world.fds[0]);
		hello_of('A', "test", hello);
		say(&world, hello, cut < HELLO ? cut : HELLO);
		if (cut >= HELLO) {
			hear(&world, answer, HELLO);
			mac_of(&key, 'A', hello, answer, mac);
			say(&world, mac, cut - HELLO);
		}
		if (ends)
			shutdown(world.fds[1], SHUT_WR);
		else
			clock_ahead_ns += DEADLINE * 1000000ULL;
		expect(&world, &world.a, ends ? -EPIPE : -ETIMEDOUT,
			ends ? "closed the link before" : "in time");
		close_world(&world);
	}
}

/* A login banner, cut anywhere, with what looks like a beginning in it. */
static void noise_goes_before_where_it_may(void **state)
{
	static const char noise[] = "Welcome!\nnswrap\2nswrapnnswrap \1\n";
	unsigned char hello[HELLO], answer[HELLO], mac[MAC];
	(void)state;

	for (size_t part = 1; part < sizeof(noise); part++) {
		struct world world = open_world();

		begin(&world, &world.a, PROOF_ANSWERER, world.fds[0]);
		world.a.proof.may_have_noise = true;
		say(&world, noise, part);
		assert_int_equal(loop_run_once(world.loop, 0), 0);
		say(&world, noise + part, sizeof(noise) - 1 - part);
		hello_of('A', "test", hello);
		say(&world, hello, HELLO);
		hear(&world, answer, HELLO);
		mac_of(&key, 'A', hello, answer, mac);
		say(&world, mac, MAC);
		expect(&world, &world.a, 0, "");
		close_world(&world);
	}
}

/* As much as the header says and no more; in pieces, as the deadline goes by the real clock. */
static void noise_has_an_end(void **state)
{
	const size_t last = 16;
	char noise[1024];
	struct world world = open_world();

	(void)state;
	memset(noise, '.', sizeof(noise));
	begin(&world, &world.a, PROOF_ANSWERER, world.fds[0]);
	world.a.proof.may_have_noise = true;
	for (size_t sent = 0, len; sent <= PROOF_NOISE_MAX; sent += len) {
		int left = 1;

		assert_int_equal(world.a.done, 0);
		len = sent < PROOF_NOISE_MAX - last ? PROOF_NOISE_MAX - last - sent : 1;
		if (len > sizeof(noise))
			len = sizeof(noise);
		say(&world, noise, len);
		for (size_t i = 0; left > 0 && i <= len; i++) {
			assert_int_equal(loop_run_once(world.loop, 0), 0);
			assert_int_equal(ioctl(world.fds[0], FIONREAD, &left), 0);
		}
		assert_int_equal(left, 0);
	}
	assert_int_equal(world.a.done, 1);
	assert_int_equal(world.a.result, -EPROTO);
	close_world(&world);
}

static void a_file_is_no_link(void **state)
{
	struct world world = open_world();
	int fd = open("/proc/self/exe", O_RDONLY);
	(void)state;

	world.a.proof = (struct proof){.loop = world.loop,
		.key = &key,
		.role = PROOF_ASKER,
		.purpose = "",
		.on_done = on_done};
	assert_int_equal(proof_start(&world.a.proof, fd, fd, DEADLINE), -EPERM);
	close(fd);
	close_world(&world);
}

static void first_bytes_tell(void **state)
{
	(void)state;
	assert_true(proof_is_hello("nswrap\1A", 8));
	assert_true(proof_is_hello("nsw", 3));
	assert_true(proof_is_hello("", 0));
	assert_false(proof_is_hello("lennet01", 8));
	assert_false(proof_is_hello("nswrap\2", 7));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_prove),
		cmocka_unit_test(pipes_that_are_full_are_waited_for),
		cmocka_unit_test(an_answerer_believes_what_is_right_only),
		cmocka_unit_test(another_key_is_refused_and_said),
		cmocka_unit_test(what_is_sent_back_proves_nothing),
		cmocka_unit_test(what_was_heard_before_proves_nothing),
		cmocka_unit_test(other_purposes_and_ends_without_a_key_are_refused),
		cmocka_unit_test(what_is_cut_proves_nothing),
		cmocka_unit_test(noise_goes_before_where_it_may),
		cmocka_unit_test(noise_has_an_end),
		cmocka_unit_test(a_file_is_no_link),
		cmocka_unit_test(first_bytes_tell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
