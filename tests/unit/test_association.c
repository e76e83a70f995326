/* SPDX-License-Identifier: Apache-2.0 */
/* test_association - tracks between two hosts: bytes, ends, resets, windows, loss, and many of them
 */
#include "stream/association.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "streampair.h"

#define BULK (24U << 20)

static bool is_of_old; /* the other end, as it looks */

const ngtcp2_transport_params *ngtcp2_conn_get_remote_transport_params(ngtcp2_conn *conn)
{
	const ngtcp2_transport_params *(*real)(ngtcp2_conn *) =
		dlsym(RTLD_NEXT, "ngtcp2_conn_get_remote_transport_params");
	static ngtcp2_transport_params params;

	params = *real(conn);
	if (is_of_old)
		params.disable_active_migration = 0;
	return &params;
}

static unsigned char byte_at(size_t at)
{
	return (unsigned char)(at * 2654435761u >> 13);
}

/* Write up to @total bytes of the row from @from on. */
static size_t feed(int fd, size_t from, size_t total)
{
	unsigned char bytes[65536];
	size_t len = total - from < sizeof(bytes) ? total - from : sizeof(bytes);

	for (size_t i = 0; i < len; i++)
		bytes[i] = byte_at(from + i);
	ssize_t sent = len > 0 ? send(fd, bytes, len, MSG_NOSIGNAL) : 0;
	return sent > 0 ? (size_t)sent : 0;
}

/* Read what is there and compare it. Returns how much; *@has_ended. */
static size_t drain(int fd, size_t from, bool *has_ended)
{
	unsigned char bytes[65536];
	ssize_t got = recv(fd, bytes, sizeof(bytes), 0);

	if (got == 0)
		*has_ended = true;
	for (ssize_t i = 0; i < got; i++)
		if (bytes[i] != byte_at(from + (size_t)i))
			fail_msg("byte %zu is wrong", from + (size_t)i);
	return got > 0 ? (size_t)got : 0;
}

/* @total bytes through it, and their end. */
static void move(struct pair *pair, int in, int out, size_t total)
{
	size_t put = 0, got = 0;
	bool has_ended = false, is_shut = false;

	for (int tries = 0; !has_ended; tries++) {
		assert_true(tries < 2000000);
		put += feed(in, put, total);
		if (put == total && !is_shut) {
			is_shut = true;
			shutdown(in, SHUT_WR);
		}
		pair_run(pair);
		got += drain(out, got, &has_ended);
	}
	assert_int_equal(got, total);
}

static void test_half_close(void **state)
{
	struct pair *pair = pair_new();
	int fds[2];

	(void)state;
	pair_connect(pair, fds);
	assert_int_equal(pair->asked_port, 80);
	assert_int_equal(pair->asked_ip.s_addr, htonl(0x7f000203));
	assert_int_equal(pair->budget.used, 2); /* one of each pair */
	move(pair, fds[0], fds[1], BULK);
	/* the other way still goes on */
	move(pair, fds[1], fds[0], BULK / 2);
	pair_until(pair, pair->nover == 2);
	pair_run(pair);
	assert_int_equal(pair->tracks.count, 0);
	close(fds[0]);
	close(fds[1]);
	pair_free(pair);
}

static void test_loss(void **state)
{
	struct pair *pair = pair_new();
	int fds[2];

	(void)state;
	pair_connect(pair, fds);
	pair->lose_every = 100;
	move(pair, fds[0], fds[1], BULK / 4);
	move(pair, fds[1], fds[0], BULK / 4);
	assert_true(pair->lost > 1);
	close(fds[0]);
	close(fds[1]);
	pair_free(pair);
}

static void test_refusal(void **state)
{
	const int refusals[] = {-ECONNREFUSED, -EHOSTUNREACH, -ETIMEDOUT, -ENOENT};
	struct pair *pair = pair_new();

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		pair->refuse = refusals[i];
		pair_dial(pair, 81);
		pair_until(pair, pair->nanswered == i + 1);
		assert_int_equal(pair->result, refusals[i]);
	}
	pair_until(pair, pair->tracks.count == 0);
	pair_free(pair);
}

/* Nobody answers for the other end: who waits is told when it goes. */
static void test_no_other_end(void **state)
{
	struct pair *pair = pair_new();

	(void)state;
	pair->is_stopped = true;
	pair_dial(pair, 80);
	pair_run(pair);
	assert_int_equal(pair->nanswered, 0);
	association_free(pair->ends[0].association);
	pair->ends[0].association = NULL;
	assert_int_equal(pair->nanswered, 1);
	assert_int_equal(pair->result, -ECONNRESET);
	pair_free(pair);
}

static int error_of(int fd)
{
	char byte;

	return recv(fd, &byte, 1, 0) < 0 ? errno : 0;
}

/* One end is reset in the midst: the other one sees that and no end, whoever was first. */
static void test_reset(void **state)
{
	struct pair *pair = pair_new();
	int fds[2];

	(void)state;
	for (int closer = 0; closer < 2; closer++) {
		pair_connect(pair, fds);
		fd_reset(&fds[closer]);
		pair_until(pair, pair->tracks.count == 0);
		assert_int_equal(error_of(fds[1 - closer]), ECONNRESET);
		close(fds[1 - closer]);
	}
	/* the same when the association goes */
	pair_connect(pair, fds);
	association_free(pair->ends[1].association);
	pair->ends[1].association = NULL;
	assert_int_equal(error_of(fds[1]), ECONNRESET);
	association_free(pair->ends[0].association);
	pair->ends[0].association = NULL;
	assert_int_equal(error_of(fds[0]), ECONNRESET);
	close(fds[0]);
	close(fds[1]);
	pair_free(pair);
}

/* What is closed with all that came read is an end, though the other way has not ended; nothing of
 * it is lost or kept. */
static void test_close(void **state)
{
	struct pair *pair = pair_new();
	int fds[2];

	(void)state;
	for (int way = 0; way < 4; way++) {
		const int closer = way % 2, other = 1 - closer;
		bool has_ended = false;
		size_t got = 0;

		pair_connect(pair, fds);
		const size_t put = feed(fds[closer], 0, 50000);
		if (way >= 2) {
			shutdown(fds[closer], SHUT_WR);
			pair_run(pair);
		}
		close(fds[closer]);
		pair_until(pair, (got += drain(fds[other], got, &has_ended), has_ended));
		assert_int_equal(got, put);
		pair_until(pair, pair->tracks.count == 0);
		assert_int_equal(error_of(fds[other]), 0);
		assert_false(fd_was_reset(fds[other]));
		/* nobody is there for it */
		assert_int_equal(send(fds[other], "", 1, MSG_NOSIGNAL), -1);
		close(fds[other]);
	}
	pair_free(pair);
}

/* Ends of 0.1.0 do not know who has left: he is one who was reset, and nothing stays with them. */
static void test_close_to_an_old_end(void **state)
{
	struct pair *pair = pair_new();
	int fds[2];

	(void)state;
	is_of_old = true;
	for (int closer = 0; closer < 2; closer++) {
		pair_connect(pair, fds);
		close(fds[closer]);
		pair_until(pair, error_of(fds[1 - closer]) == ECONNRESET);
		pair_until(pair, pair->tracks.count == 0);
		close(fds[1 - closer]);
		/* where it is too late for that, the other one's end is waited for */
		pair_connect(pair, fds);
		shutdown(fds[closer], SHUT_WR);
		pair_run(pair);
		close(fds[closer]);
		pair_run(pair);
		assert_int_equal(error_of(fds[1 - closer]), 0);
		close(fds[1 - closer]);
		pair_until(pair, pair->tracks.count == 0);
	}
	is_of_old = false;
	pair_free(pair);
}

/* What is closed with something unread is reset, and so is who sends to who has gone. */
static void test_close_of_who_has_not_read(void **state)
{
	struct pair *pair = pair_new();
	char byte;
	int fds[2];

	(void)state;
	for (int way = 0; way < 4; way++) {
		const int closer = way % 2, other = 1 - closer;

		pair_connect(pair, fds);
		if (way >= 2) { /* it has ended before */
			shutdown(fds[closer], SHUT_WR);
			pair_until(pair, recv(fds[other], &byte, 1, 0) == 0);
		}
		assert_int_equal(send(fds[other], "part", 4, 0), 4);
		pair_until(pair, recv(fds[closer], &byte, 1, MSG_PEEK) == 1);
		close(fds[closer]);
		pair_until(pair, pair->tracks.count == 0);
		assert_true(error_of(fds[other]) == ECONNRESET || fd_was_reset(fds[other]));
		close(fds[other]);
	}
	pair_free(pair);
}

/* A reset behind an end, of who has ended or been told of one, is none, and is told at once. */
static void test_reset_behind_an_end(void **state)
{
	struct pair *pair = pair_new();
	char byte;
	int fds[2];

	(void)state;
	for (int way = 0; way < 4; way++) {
		const int closer = way % 2, other = 1 - closer, half = way < 2 ? closer : other;

		pair_connect(pair, fds);
		shutdown(fds[half], SHUT_WR);
		pair_until(pair, recv(fds[1 - half], &byte, 1, 0) == 0);
		fd_reset(&fds[closer]);
		pair_until(pair, pair->tracks.count == 0);
		assert_true(error_of(fds[other]) == ECONNRESET || fd_was_reset(fds[other]));
		close(fds[other]);
	}
	pair_free(pair);
}

/* What came before a reset goes on, however many packets it takes. */
static void test_bytes_before_a_reset(void **state)
{
	struct pair *pair = pair_new();
	int fds[2];

	(void)state;
	for (int closer = 0; closer < 2; closer++) {
		const int other = 1 - closer;
		bool has_ended = false;
		size_t got = 0;

		pair_connect(pair, fds);
		const size_t put =
			feed(fds[closer], 0, SIZE_MAX) + feed(fds[closer], 65536, SIZE_MAX);
		assert_int_equal(put, 2 * 65536);
		fd_reset(&fds[closer]);
		for (int tries = 0; pair->tracks.count > 0; tries++) {
			assert_true(tries < 100000);
			pair_run(pair);
			got += drain(fds[other], got, &has_ended);
		}
		while (got < put && errno != ECONNRESET)
			got += drain(fds[other], got, &has_ended);
		assert_int_equal(got, put);
		assert_false(has_ended);
		close(fds[other]);
	}
	pair_free(pair);
}

/* So it does where one way has ended: what came is no whole. */
static void test_reset_after_half_close(void **state)
{
	struct pair *pair = pair_new();
	char bytes[8];
	int fds[2];

	(void)state;
	for (int half = 0; half < 2; half++) {
		pair_connect(pair, fds);
		shutdown(fds[half], SHUT_WR);
		pair_until(pair, recv(fds[1 - half], bytes, 1, 0) == 0);
		assert_int_equal(send(fds[1 - half], "part", 4, 0), 4);
		pair_until(pair, recv(fds[half], bytes, sizeof(bytes), MSG_PEEK) == 4);
		track_reset(half == 0 ? pair->asked : pair->answered[pair->nanswered - 1], 0);
		pair_until(pair, pair->tracks.count == 0);
		assert_int_equal(recv(fds[half], bytes, sizeof(bytes), 0), 4);
		assert_true(fd_was_reset(fds[half]));
		close(fds[0]);
		close(fds[1]);
	}
	pair_free(pair);
}

static void test_cancel(void **state)
{
	struct pair *pair = pair_new();

	(void)state;
	struct track *track = pair_dial(pair, 80);
	association_cancel(pair->ends[0].association, track);
	pair_run(pair);
	track = pair_dial(pair, 80);
	pair_exchange(pair);
	if (pair->nanswered == 0)
		association_cancel(pair->ends[0].association, track);
	for (int i = 0; i < 20; i++)
		pair_run(pair);
	assert_true(pair->tracks.count <= 2);
	for (size_t i = 0; i < pair->naccepted; i++)
		close(pair->accepted[i]);
	pair_free(pair);
}

/* Who reads nothing stops its own track alone, and not much is kept of that. */
static void test_slow_reader(void **state)
{
	struct pair *pair = pair_new();
	int slow[2], quick[2];
	size_t put = 0, last = 1;
	bool has_ended = false;

	(void)state;
	pair_connect(pair, slow);
	pair_connect(pair, quick);
	while (put != last) {
		last = put;
		for (int i = 0; i < 50; i++) {
			put += feed(slow[0], put, SIZE_MAX);
			pair_run(pair);
		}
	}
	/* sockets, what waits at both ends */
	assert_true(put < TRACK_WINDOW + TRACK_UNSENT_MAX + (2U << 20));
	move(pair, quick[0], quick[1], BULK / 2);
	move(pair, quick[1], quick[0], BULK / 2);
	/* and it goes on when it is read */
	shutdown(slow[0], SHUT_WR);
	for (size_t got = 0; got < put || !has_ended;) {
		pair_run(pair);
		got += drain(slow[1], got, &has_ended);
	}
	for (int i = 0; i < 2; i++) {
		close(slow[i]);
		close(quick[i]);
	}
	pair_free(pair);
}

/* It ends here, and there with all @put bytes. */
static void end_whole(struct pair *pair, const int fds[2], size_t put)
{
	size_t got = 0;
	bool has_ended = false;

	shutdown(fds[0], SHUT_WR);
	for (int tries = 0; !has_ended; tries++) {
		assert_true(tries < 100000);
		pair_run(pair);
		got += drain(fds[1], got, &has_ended);
	}
	assert_int_equal(got, put);
	close(fds[0]);
	close(fds[1]);
	pair_free(pair);
}

/* Bytes that come one by one, and are not read, cost no more than others. */
static void test_single_bytes(void **state)
{
	enum { BYTES = 5000 };
	struct pair *pair = pair_new();
	size_t put = 0, chunks = 0;
	int fds[2];

	(void)state;
	pair_connect(pair, fds);
	while (list_is_empty(&pair->asked->in)) {
		put += feed(fds[0], put, put + 4096);
		pair_run(pair);
	}
	for (int i = 0; i < BYTES; i++) {
		put += feed(fds[0], put, put + 1);
		pair_run(pair);
	}
	list_each (at, &pair->asked->in)
		chunks++;
	assert_in_range(chunks, 1, BYTES / 4096 + 2);
	end_whole(pair, fds, put);
}

/* @total bytes through it, and no end. */
static void move_on(struct pair *pair, int in, int out, size_t total)
{
	size_t put = 0, got = 0;
	bool has_ended = false;

	for (int tries = 0; got < total; tries++) {
		assert_true(tries < 2000000);
		put += feed(in, put, total);
		pair_run(pair);
		got += drain(out, got, &has_ended);
	}
}

/* Tracks of one association whose windows have grown leave others room to grow, and give it back.
 */
static void test_windows_are_shared(void **state)
{
	enum { TRACKS = 4 };
	const uint64_t others = TRACKS_WINDOW_ALL - (8U << 20);
	struct pair *pair = pair_new();
	int fds[TRACKS][2];

	(void)state;
	pair->tracks.extra = others;
	for (int i = 0; i < TRACKS; i++) {
		pair_connect(pair, fds[i]);
		move_on(pair, fds[i][0], fds[i][1], 12U << 20);
	}
	assert_in_range(pair->tracks.extra - others, TRACK_WINDOW, 4U << 20);
	/* the other direction is of the other association */
	for (int tries = 0; pair->answered[0]->window < (512U << 10); tries++) {
		assert_true(tries < 50);
		move_on(pair, fds[0][1], fds[0][0], 1U << 20);
	}
	for (int i = 0; i < TRACKS; i++) {
		close(fds[i][0]);
		close(fds[i][1]);
	}
	pair_until(pair, pair->tracks.count == 0);
	assert_int_equal(pair->tracks.extra, others);
	pair->tracks.extra = 0;
	pair_free(pair);
}

static void on_kept_wake(struct track *track)
{
	++*(unsigned *)track->owner;
}

/* Send what there is, which nobody acknowledges. Returns how much that was. */
static size_t send_all(struct track *track)
{
	ngtcp2_vec vectors[TRACK_VECTORS];
	size_t count, total = 0;
	bool is_end;

	while (track_next(track, vectors, &count, &is_end))
		for (size_t i = 0; i < count; i++) {
			track_was_sent(track, vectors[i].len, false);
			total += vectors[i].len;
		}
	return total;
}

/* The other end allows anything, and acknowledges nothing: what is kept for it has a bound. */
static void test_nothing_acknowledged(void **state)
{
	static const struct track_ops ops = {.on_wake = on_kept_wake};
	struct pair *pair = pair_new();
	uint64_t extra = 0;
	unsigned woken = 0;
	size_t put = 0, sent = 0;
	int ends[2];

	(void)state;
	struct track *track = track_new(&pair->tracks, &ops, &woken, true);
	assert_non_null(track);
	track->extra = &extra;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	assert_int_equal(track_join(track, ends[0], ends[1]), 0);
	for (size_t last = 1; put != last && put < 2 * TRACK_KEPT_MAX;) {
		last = put;
		for (int i = 0; i < 8; i++) {
			put += feed(ends[1], put, SIZE_MAX);
			loop_run_once(pair->loop, 0);
			sent += send_all(track);
		}
	}
	assert_in_range(sent, TRACK_KEPT_MAX, TRACK_KEPT_MAX + TRACK_UNSENT_MAX);
	woken = 0;
	track_acknowledge(track, TRACK_UNSENT_MAX);
	assert_int_equal(woken, 1);
	assert_true(send_all(track) > 0);
	close(ends[1]);
	track_free(track);
	pair_free(pair);
}

/* The other end is stopped, and goes on later: nothing is lost. */
static void test_stopped(void **state)
{
	struct pair *pair = pair_new();
	int fds[2];
	size_t put = 0;

	(void)state;
	pair_connect(pair, fds);
	pair->is_stopped = true;
	for (int i = 0; i < 200; i++) {
		put += feed(fds[0], put, SIZE_MAX);
		pair_run(pair);
	}
	assert_true(put < TRACK_UNSENT_MAX + (2U << 20));
	pair->is_stopped = false;
	end_whole(pair, fds, put);
}

static void test_thousand(void **state)
{
	enum { TRACKS = 1000 };
	struct pair *pair = pair_new();
	int *fds = calloc(TRACKS, sizeof(*fds));
	size_t answered = 0;
	char text[32], got[32];

	(void)state;
	assert_non_null(fds);
	for (int i = 0; i < TRACKS; i++)
		pair_dial(pair, 80);
	pair_until(pair, pair->nanswered == TRACKS);
	assert_int_equal(pair->naccepted, TRACKS);
	for (int i = 0; i < TRACKS; i++) {
		int ends[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
		assert_int_equal(track_join(pair->answered[i], ends[0], ends[1]), 0);
		fds[i] = ends[1];
		snprintf(text, sizeof(text), "this is number %d", i);
		assert_int_equal(send(fds[i], text, strlen(text), 0), strlen(text));
	}
	/* tracks are accepted in the order in which they were begun */
	for (int i = 0; i < TRACKS; i++) {
		ssize_t len = -1;

		pair_until(pair, (len = recv(pair->accepted[i], got, sizeof(got) - 1, 0)) > 0);
		got[len] = '\0';
		snprintf(text, sizeof(text), "this is number %d", i);
		assert_string_equal(got, text);
		assert_int_equal(send(pair->accepted[i], got, (size_t)len, 0), len);
	}
	for (int i = 0; i < TRACKS; i++) {
		pair_until(pair, recv(fds[i], got, sizeof(got), 0) > 0);
		answered++;
		close(fds[i]);
		close(pair->accepted[i]);
	}
	assert_int_equal(answered, TRACKS);
	pair_until(pair, pair->tracks.count == 0);
	free(fds);
	pair_free(pair);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_half_close),
	cmocka_unit_test(test_loss),
	cmocka_unit_test(test_refusal),
	cmocka_unit_test(test_no_other_end),
	cmocka_unit_test(test_reset),
	cmocka_unit_test(test_reset_after_half_close),
	cmocka_unit_test(test_close),
	cmocka_unit_test(test_close_to_an_old_end),
	cmocka_unit_test(test_close_of_who_has_not_read),
	cmocka_unit_test(test_reset_behind_an_end),
	cmocka_unit_test(test_bytes_before_a_reset),
	cmocka_unit_test(test_cancel),
	cmocka_unit_test(test_slow_reader),
	cmocka_unit_test(test_single_bytes),
	cmocka_unit_test(test_windows_are_shared),
	cmocka_unit_test(test_nothing_acknowledged),
	cmocka_unit_test(test_stopped),
	cmocka_unit_test(test_thousand),
};

int main(void)
{
	struct rlimit nofile;

	getrlimit(RLIMIT_NOFILE, &nofile);
	nofile.rlim_cur = nofile.rlim_max;
	setrlimit(RLIMIT_NOFILE, &nofile);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
