/* SPDX-License-Identifier: Apache-2.0 */
/* test_relay - a random schedule against a model, and the states that are hard to reach by chance
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "conn/flow.h"
#include "conn/pipes.h"
#include "conn/relay.h"
#include "count_fds.h"
#include "util/fd.h"

#define SCHEDULES      1500
#define OPS            60
#define ROUNDS_MAX     300 /* that one operation can be worth: more is a busy loop */
#define TCP_RCVBUF_MIN 65536
#define WAIT_MS        5000
#define PIECE_MAX      (192 * 1024)

/* One end as the program behind it sees it; the relay holds the other descriptor of the pair. */
struct peer {
	int fd;
	bool is_tcp;
	bool has_shut; /* its sending side */
	bool saw_end;  /* read 0 or an error */
	int error;     /* of the read that ended it */
	uint64_t sent, received;
	uint64_t urgent[OPS]; /* where in what it sent */
	size_t nurgent;
	uint64_t mark; /* where it saw one last, and one more */
};

struct bed {
	struct loop *loop;
	struct budget budget;
	struct relay_pool *pool;
	struct relay *relay;
	struct peer peers[2];
	int done_count;
	uint64_t done_ab, done_ba;
	uint64_t seed, random;
};

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static uint64_t pick(struct bed *bed, uint64_t below)
{
	bed->random = mix(bed->random);
	return bed->random % below;
}

/* What peer @who sends from @position on: different for each schedule, way and place. */
static void stream_fill(
	const struct bed *bed, int who, uint64_t position, uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t skip = (position + i) % 8, part = 8 - skip < len - i ? 8 - skip : len - i;
		uint64_t word = mix(bed->seed * 2 + (uint64_t)who + (position + i) / 8 * 77);

		memcpy(bytes + i, (uint8_t *)&word + skip, part);
		i += part;
	}
}

static void tcp_pair(int fds[2])
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_return_code(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), errno);
	assert_return_code(listen(listener, 1), errno);
	assert_return_code(getsockname(listener, (struct sockaddr *)&addr, &len), errno);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(connect(fds[0], (struct sockaddr *)&addr, sizeof(addr)), errno);
	fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_return_code(fds[1], errno);
	close(listener);
}

/* Returns the relay's descriptor, the other one is @peer's; @buf_bytes 0: as the kernel likes. */
static int peer_open(struct peer *peer, bool is_tcp, int buf_bytes)
{
	/* less makes TCP crawl from one zero-window probe to the next */
	int receive_bytes = is_tcp && buf_bytes < TCP_RCVBUF_MIN ? TCP_RCVBUF_MIN : buf_bytes;
	int fds[2];

	if (is_tcp)
		tcp_pair(fds);
	else
		assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), errno);
	*peer = (struct peer){.fd = fds[0], .is_tcp = is_tcp};
	for (int i = 0; i < 2; i++) {
		fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
		if (buf_bytes > 0) {
			setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &buf_bytes, sizeof(int));
			setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(int));
		}
		fd_keep_in_line(fds[i]);
	}
	return fds[1];
}

static void on_done(struct relay *relay, void *owner)
{
	struct bed *bed = owner;

	bed->done_count++;
	bed->done_ab = relay_bytes(relay, RELAY_A);
	bed->done_ba = relay_bytes(relay, RELAY_B);
	bed->relay = NULL;
}

static void bed_open(struct bed *bed, uint64_t seed)
{
	*bed = (struct bed){.seed = seed,
		.random = seed,
		.peers = {{.fd = -1}, {.fd = -1}},
		.budget = {.max = 10000}};
	bed->loop = loop_new();
	assert_non_null(bed->loop);
	bed->pool = relay_pool_new(bed->loop, &bed->budget);
	assert_non_null(bed->pool);
}

static void bed_start(struct bed *bed, bool a_is_tcp, bool b_is_tcp, int buf_bytes)
{
	int fd_a = peer_open(&bed->peers[0], a_is_tcp, buf_bytes);
	int fd_b = peer_open(&bed->peers[1], b_is_tcp, buf_bytes);

	bed->relay = relay_start(bed->pool, fd_a, fd_b, on_done, bed);
	assert_non_null(bed->relay);
	assert_int_equal(bed->done_count, 0);
	if (a_is_tcp && pick(bed, 2))
		relay_note_tcp(bed->relay, RELAY_A);
	if (b_is_tcp && pick(bed, 2))
		relay_note_tcp(bed->relay, RELAY_B);
}

/* Hand @len bytes of @who's stream from @position on to the relay, as if they had been read. */
static int push(struct bed *bed, int who, uint64_t position, size_t len)
{
	static uint8_t piece[PIECE_MAX];

	stream_fill(bed, who, position, piece, len);
	int result = relay_push(bed->relay, who == 0 ? RELAY_A : RELAY_B, piece, len);
	memset(piece, 0, len); /* they were copied */
	return result;
}

static void bed_close(struct bed *bed)
{
	for (int i = 0; i < 2; i++)
		if (bed->peers[i].fd >= 0)
			close(bed->peers[i].fd);
	relay_pool_free(bed->pool);
	loop_free(bed->loop);
}

/* What the loop last asked of the kernel, and how long it may really sleep. */
static struct {
	int asked_ms, count, cap_ms;
} wait_log;

/* In place of the C library's: sees whether the loop had anything to do. */
int epoll_wait(int epoll_fd, struct epoll_event *events, int max, int timeout_ms)
{
	wait_log.asked_ms = timeout_ms;
	if (timeout_ms < 0 || timeout_ms > wait_log.cap_ms)
		timeout_ms = wait_log.cap_ms;
	wait_log.count = epoll_pwait(epoll_fd, events, max, timeout_ms, NULL);
	return wait_log.count;
}

/* In place of the C library's: how often it was called. */
static struct {
	int recv, getpeername;
} calls;

ssize_t recv(int fd, void *bytes, size_t len, int flags)
{
	calls.recv++;
	return recvfrom(fd, bytes, len, flags, NULL, NULL);
}

int getpeername(int fd, struct sockaddr *restrict addr, socklen_t *restrict len)
{
	calls.getpeername++;
	return (int)syscall(SYS_getpeername, fd, addr, len);
}

/* One round of at most @cap_ms; returns whether there was nothing to do in it. */
static bool run_round(struct bed *bed, int cap_ms)
{
	wait_log.cap_ms = cap_ms;
	assert_return_code(loop_run_once(bed->loop, -1), 0);
	return wait_log.count == 0 && wait_log.asked_ms != 0;
}

/* Rounds until nothing is left to do: in every state the relay must come to rest. */
static void settle(struct bed *bed)
{
	for (int round = 0; !run_round(bed, 0); round++)
		assert_true(round < ROUNDS_MAX);
}

static void peer_send(struct bed *bed, int who, size_t len)
{
	static uint8_t piece[PIECE_MAX];
	struct peer *peer = &bed->peers[who];

	if (peer->fd < 0 || peer->has_shut)
		return;
	stream_fill(bed, who, peer->sent, piece, len);
	ssize_t sent = send(peer->fd, piece, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent > 0)
		peer->sent += (uint64_t)sent;
	else if (errno != EAGAIN)
		peer->has_shut = true;
}

static void peer_send_urgent(struct bed *bed, int who)
{
	struct peer *peer = &bed->peers[who];
	uint8_t byte;

	if (peer->fd < 0 || peer->has_shut || !peer->is_tcp || peer->nurgent == OPS)
		return;
	stream_fill(bed, who, peer->sent, &byte, 1);
	if (send(peer->fd, &byte, 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
		peer->urgent[peer->nurgent++] = peer->sent++;
}

/* Does an urgent byte come next? It must have been one when it was sent. */
static bool peer_is_at_mark(struct bed *bed, int who)
{
	struct peer *peer = &bed->peers[who], *other = &bed->peers[!who];
	size_t i = 0;

	if (!peer->is_tcp || sockatmark(peer->fd) != 1)
		return false;
	while (i < other->nurgent && other->urgent[i] != peer->received)
		i++;
	assert_true(i < other->nurgent);
	peer->mark = peer->received + 1;
	return true;
}

/* Returns whether something was read; what comes must be what the other peer sent, in order. */
static bool peer_receive(struct bed *bed, int who, size_t len)
{
	static uint8_t piece[PIECE_MAX], expected[PIECE_MAX];
	struct peer *peer = &bed->peers[who];

	if (peer->fd < 0 || peer->saw_end)
		return false;
	ssize_t got = recv(peer->fd, piece, peer_is_at_mark(bed, who) ? 1 : len, MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN)
		return false;
	if (got <= 0) {
		peer->saw_end = true;
		peer->error = got < 0 ? errno : 0;
		return true;
	}
	stream_fill(bed, !who, peer->received, expected, (size_t)got);
	if (memcmp(piece, expected, (size_t)got) != 0)
		fail_msg("wrong bytes within %zd from %llu", got,
			(unsigned long long)peer->received);
	peer->received += (uint64_t)got;
	assert_true(peer->received <= bed->peers[!who].sent);
	return true;
}

static void peer_shut(struct bed *bed, int who)
{
	struct peer *peer = &bed->peers[who];

	if (peer->fd >= 0 && !peer->has_shut)
		shutdown(peer->fd, SHUT_WR);
	peer->has_shut = true;
}

static void peer_close(struct bed *bed, int who, bool is_reset)
{
	struct linger at_once = {.l_onoff = 1};
	struct peer *peer = &bed->peers[who];

	if (peer->fd < 0)
		return;
	if (is_reset)
		setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(peer->fd);
	peer->fd = -1;
}

/* Let both sides run until both have seen the end and on_done came, or the time is over. */
static bool finish(struct bed *bed)
{
	for (int waited_ms = 0; waited_ms < WAIT_MS;) {
		bool is_moving = false;

		settle(bed);
		for (int who = 0; who < 2; who++)
			is_moving |= peer_receive(bed, who, PIECE_MAX);
		if (is_moving)
			continue;
		if (bed->done_count > 0 && (bed->peers[0].fd < 0 || bed->peers[0].saw_end) &&
			(bed->peers[1].fd < 0 || bed->peers[1].saw_end))
			return true;
		waited_ms += run_round(bed, 5) ? 5 : 0;
	}
	return false;
}

/* Sizes that matter: a byte, a message, around the buffer's size, a lot. */
static size_t pick_len(struct bed *bed)
{
	switch (pick(bed, 4)) {
	case 0:
		return 1 + pick(bed, 4);
	case 1:
		return 1 + pick(bed, 3000);
	case 2:
		return PIPES_CHUNK_SIZE - 2 + pick(bed, 4);
	default:
		return 1 + pick(bed, PIECE_MAX);
	}
}

static void random_op(struct bed *bed, bool may_break)
{
	int who = (int)pick(bed, 2);
	uint64_t what = pick(bed, 100);

	if (what < 3)
		peer_send_urgent(bed, who);
	else if (what < 40)
		peer_send(bed, who, pick_len(bed));
	else if (what < 75)
		peer_receive(bed, who, pick_len(bed));
	else if (what < 94)
		settle(bed);
	else if (what < 96)
		peer_shut(bed, who);
	else if (what < 98)
		run_round(bed, 0);
	else if (may_break)
		peer_close(bed, who, pick(bed, 2) != 0);
}

/* No descriptor can be opened while this lasts, so no pipe either. */
static void forbid_fds(bool is_forbidden)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = is_forbidden ? 3 : limit.rlim_max;
	assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
}

/* Some bytes were read before there was a relay, at random. */
static void push_some(struct bed *bed)
{
	for (int who = 0; who < 2; who++)
		for (uint64_t times = pick(bed, 4); times > 0; times--) {
			struct peer *peer = &bed->peers[who];
			size_t len = pick(bed, 5) == 0 ? 0 : pick_len(bed);
			int result = push(bed, who, peer->sent, len);

			if (peer->sent + len > RELAY_PUSH_MAX) {
				assert_int_equal(result, -EMSGSIZE);
				continue;
			}
			assert_int_equal(result, 0);
			peer->sent += len;
		}
}

/* What was sent as urgent last arrived as that. */
static void check_mark(const struct bed *bed, int who)
{
	const struct peer *peer = &bed->peers[who], *other = &bed->peers[!who];

	if (peer->is_tcp && other->nurgent > 0)
		assert_int_equal(peer->mark, other->urgent[other->nurgent - 1] + 1);
	else
		assert_int_equal(peer->mark, 0);
}

static void run_schedule(uint64_t seed)
{
	static const int buf_sizes[] = {0, 1, 5000, 100000};
	struct bed bed;

	bed_open(&bed, seed);
	bool may_break = pick(&bed, 3) == 0;
	bool has_pipes = pick(&bed, 4) != 0;
	bool a_is_tcp = pick(&bed, 2), b_is_tcp = pick(&bed, 2);
	bed_start(&bed, a_is_tcp, b_is_tcp, buf_sizes[pick(&bed, 4)]);
	push_some(&bed);
	if (!has_pipes)
		forbid_fds(true);
	for (uint64_t op = pick(&bed, OPS); op > 0; op--)
		random_op(&bed, may_break);
	for (int who = 0; who < 2; who++)
		peer_shut(&bed, who);
	assert_true(finish(&bed));
	forbid_fds(false);
	assert_int_equal(bed.done_count, 1);
	assert_int_equal(relay_pool_count(bed.pool), 0);
	assert_true(bed.budget.used <= 2 * PIPES_IDLE_MAX);
	if (bed.peers[0].fd >= 0 && bed.peers[1].fd >= 0) {
		for (int who = 0; who < 2; who++) {
			assert_int_equal(bed.peers[who].error, 0);
			assert_int_equal(bed.peers[who].received, bed.peers[!who].sent);
			check_mark(&bed, who);
		}
		assert_int_equal(bed.done_ab, bed.peers[0].sent);
		assert_int_equal(bed.done_ba, bed.peers[1].sent);
	}
	bed_close(&bed);
}

static uint64_t number_from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

/* The schedule that runs, for the person who has to repeat it; 0 when all went well. */
static uint64_t running_seed;

static void test_random_schedules(void **state)
{
	uint64_t seed, count = number_from_env("RELAY_SCHEDULES", SCHEDULES);
	size_t fds = count_fds();

	(void)state;
	assert_int_equal(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
	seed = number_from_env("RELAY_SEED", seed);
	for (uint64_t i = 0; i < count; i++) {
		running_seed = seed + i;
		run_schedule(running_seed);
		assert_int_equal(count_fds(), fds);
	}
	running_seed = 0;
}

static int tell_seed(void **state)
{
	(void)state;
	forbid_fds(false);
	if (running_seed)
		print_error("again with RELAY_SEED=%#llx RELAY_SCHEDULES=1\n",
			(unsigned long long)running_seed);
	return 0;
}

/* Settle and wait until @who can read, then read once. */
static bool wait_receive(struct bed *bed, int who)
{
	for (int waited_ms = 0; waited_ms < WAIT_MS; waited_ms++) {
		settle(bed);
		if (peer_receive(bed, who, PIECE_MAX))
			return true;
		run_round(bed, 1);
	}
	return false;
}

static void receive_until(struct bed *bed, int who, uint64_t total)
{
	while (bed->peers[who].received < total) {
		assert_true(wait_receive(bed, who));
		assert_false(bed->peers[who].saw_end);
	}
}

static void wait_done(struct bed *bed)
{
	for (int waited_ms = 0; bed->done_count == 0; waited_ms += 10) {
		assert_true(waited_ms < WAIT_MS);
		run_round(bed, 10);
	}
	settle(bed);
	assert_int_equal(bed->done_count, 1);
}

/* Send until nothing goes any more: everything between the two ends is full. */
static void fill(struct bed *bed, int who)
{
	uint64_t before;

	do {
		before = bed->peers[who].sent;
		for (int i = 0; i < 20; i++) {
			peer_send(bed, who, PIECE_MAX);
			settle(bed);
		}
	} while (bed->peers[who].sent > before);
}

/* What each kind of pair must get right is run with all four. */
static void for_each_kind(void (*test)(bool a_is_tcp, bool b_is_tcp))
{
	for (int kind = 0; kind < 4; kind++) {
		size_t fds = count_fds();

		test(kind & 1, kind & 2);
		assert_int_equal(count_fds(), fds);
	}
}

static void half_close(bool a_is_tcp, bool b_is_tcp)
{
	struct bed bed;

	for (int first = 0; first < 2; first++) {
		bed_open(&bed, 1);
		bed_start(&bed, a_is_tcp, b_is_tcp, 0);
		peer_send(&bed, first, 10);
		peer_shut(&bed, first);
		receive_until(&bed, !first, 10);
		assert_true(wait_receive(&bed, !first));
		assert_true(bed.peers[!first].saw_end);
		assert_int_equal(bed.peers[!first].error, 0);
		/* the other way goes on, small and large, and stays quiet in between */
		for (int i = 0; i < 50; i++) {
			peer_send(&bed, !first, i % 5 ? 7 : 100000);
			receive_until(&bed, first, bed.peers[!first].sent);
		}
		assert_int_equal(bed.done_count, 0);
		fill(&bed, !first);
		settle(&bed);
		assert_false(bed.peers[first].saw_end);
		peer_shut(&bed, !first);
		settle(&bed);
		assert_int_equal(bed.done_count, 0);
		assert_true(finish(&bed));
		assert_int_equal(bed.peers[first].received, bed.peers[!first].sent);
		assert_int_equal(bed.done_count, 1);
		bed_close(&bed);
	}
}

static void test_half_close(void **state)
{
	(void)state;
	for_each_kind(half_close);
}

/* A reset is passed on though the other side never sends, and though it is full. */
static void reset_is_noticed(bool a_is_tcp, bool b_is_tcp)
{
	struct bed bed;

	for (int variant = 0; variant < 8; variant++) {
		int who = variant & 1;

		bed_open(&bed, 2);
		bed_start(&bed, a_is_tcp, b_is_tcp, variant & 2 ? 5000 : 0);
		if (variant & 4)
			fill(&bed, who);
		peer_close(&bed, who, true);
		if (bed.peers[who].is_tcp)
			wait_done(&bed);
		assert_true(wait_receive(&bed, !who));
		while (!bed.peers[!who].saw_end)
			assert_true(wait_receive(&bed, !who));
		if (bed.peers[0].is_tcp && bed.peers[1].is_tcp)
			assert_int_equal(bed.peers[!who].error, ECONNRESET);
		assert_true(bed.peers[!who].received <= bed.peers[who].sent);
		wait_done(&bed);
		bed_close(&bed);
	}
}

static void test_reset_is_noticed(void **state)
{
	(void)state;
	for_each_kind(reset_is_noticed);
}

/* A reset behind the end of the same side, when nothing is left to be read from it. */
static void reset_after_end(bool a_is_tcp, bool b_is_tcp)
{
	struct bed bed;

	if (!a_is_tcp)
		return;
	bed_open(&bed, 3);
	bed_start(&bed, a_is_tcp, b_is_tcp, 0);
	peer_shut(&bed, 0);
	assert_true(wait_receive(&bed, 1));
	assert_true(bed.peers[1].saw_end);
	fill(&bed, 1);
	peer_close(&bed, 0, true);
	wait_done(&bed);
	bed_close(&bed);
}

static void test_reset_after_end(void **state)
{
	(void)state;
	for_each_kind(reset_after_end);
}

/* A server that answers and goes away in the middle of the request: the answer arrives. */
static void answer_before_reset(bool a_is_tcp, bool b_is_tcp)
{
	struct bed bed;

	bed_open(&bed, 4);
	bed_start(&bed, a_is_tcp, b_is_tcp, 0);
	fill(&bed, 0);
	peer_send(&bed, 1, 3000);
	peer_close(&bed, 1, false);
	receive_until(&bed, 0, 3000);
	while (!bed.peers[0].saw_end) {
		peer_send(&bed, 0, 1);
		assert_true(wait_receive(&bed, 0));
	}
	wait_done(&bed);
	bed_close(&bed);
}

static void test_answer_before_reset(void **state)
{
	(void)state;
	for_each_kind(answer_before_reset);
}

static unsigned segments_in(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	assert_return_code(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), errno);
	return info.tcpi_segs_in;
}

/* The last bytes and the end that is known by then are one segment. */
static void test_end_comes_with_bytes(void **state)
{
	struct bed bed;

	(void)state;
	for (int variant = 0; variant < 4; variant++) {
		bool has_sent = variant & 1, b_is_tcp = variant & 2;

		bed_open(&bed, 10);
		bed_start(&bed, true, b_is_tcp, 0);
		if (has_sent) {
			peer_send(&bed, 1, 10);
			receive_until(&bed, 0, 10);
			peer_send(&bed, 0, 10); /* acknowledges */
			receive_until(&bed, 1, 10);
		}
		unsigned before = segments_in(bed.peers[0].fd);
		peer_send(&bed, 1, 1000);
		peer_shut(&bed, 1);
		settle(&bed);
		assert_true(peer_receive(&bed, 0, PIECE_MAX));
		assert_true(peer_receive(&bed, 0, PIECE_MAX));
		assert_true(bed.peers[0].saw_end);
		assert_int_equal(bed.peers[0].received, bed.peers[1].sent);
		assert_int_equal(segments_in(bed.peers[0].fd) - before, 1);
		peer_send(&bed, 0, 1000);
		receive_until(&bed, 1, 1000 + (has_sent ? 10 : 0));
		peer_shut(&bed, 0);
		assert_true(finish(&bed));
		bed_close(&bed);
	}
}

/* Bytes for who has gone make a reset of the close that follows: what he sent comes before it. */
static void last_bytes_before_a_reset(bool a_is_tcp, bool b_is_tcp)
{
	struct bed bed;

	for (int who = 0; who < 2; who++) {
		bed_open(&bed, 12);
		bed_start(&bed, a_is_tcp, b_is_tcp, 0);
		peer_send(&bed, who, 10);
		peer_close(&bed, who, false);
		peer_send(&bed, !who, 10);
		settle(&bed);
		receive_until(&bed, !who, 10);
		peer_close(&bed, !who, false);
		wait_done(&bed);
		bed_close(&bed);
	}
}

static void test_last_bytes_before_a_reset(void **state)
{
	(void)state;
	for_each_kind(last_bytes_before_a_reset);
}

/* A message of a side that is known to be TCP is one read, and its end says what it is. */
static void test_tcp_is_not_asked(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, 11);
	bed_start(&bed, true, true, 0);
	relay_note_tcp(bed.relay, RELAY_A);
	relay_note_tcp(bed.relay, RELAY_B);
	memset(&calls, 0, sizeof(calls));
	peer_send(&bed, 0, 100);
	settle(&bed);
	assert_int_equal(calls.recv, 1);
	receive_until(&bed, 1, 100);
	for (int who = 0; who < 2; who++)
		peer_shut(&bed, who);
	assert_true(finish(&bed));
	assert_int_equal(calls.getpeername, 0);
	bed_close(&bed);
}

/* A side ends or breaks as its source did, also where that is a unix socket, and kept whole. */
static void ends_or_breaks(bool a_is_tcp, bool b_is_tcp)
{
	struct bed bed;

	for (int variant = 0; variant < 8; variant++) {
		bool is_reset = variant & 1;

		bed_open(&bed, 6);
		bed_start(&bed, a_is_tcp, b_is_tcp, 0);
		if (variant & 4)
			relay_keep_whole(bed.relay);
		peer_send(&bed, 0, 1000);
		if (variant & 2) { /* the other direction has ended before */
			peer_shut(&bed, 1);
			assert_true(wait_receive(&bed, 0));
		}
		receive_until(&bed, 1, 1000);
		if (is_reset)
			fd_reset(&bed.peers[0].fd);
		else
			peer_close(&bed, 0, false);
		while (!bed.peers[1].saw_end)
			assert_true(wait_receive(&bed, 1));
		assert_int_equal(bed.peers[1].received, 1000);
		if (b_is_tcp)
			assert_int_equal(bed.peers[1].error, is_reset ? ECONNRESET : 0);
		else
			assert_int_equal(fd_was_reset(bed.peers[1].fd), is_reset);
		peer_close(&bed, 1, false);
		wait_done(&bed);
		bed_close(&bed);
	}
}

static void test_end_or_break(void **state)
{
	(void)state;
	for_each_kind(ends_or_breaks);
}

/* A client at a path that asks for credentials has a name of the kernel's choice (unix(7)). */
static void test_name_is_no_reset(void **state)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	char dir[] = "/tmp/test_relay.XXXXXX";
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	struct bed bed;

	(void)state;
	bed_open(&bed, 9);
	assert_non_null(mkdtemp(dir));
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/at", dir);
	assert_return_code(bind(listener, (struct sockaddr *)&at, sizeof(at)), errno);
	assert_return_code(listen(listener, 1), errno);
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(setsockopt(client, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), errno);
	assert_return_code(connect(client, (struct sockaddr *)&at, sizeof(at)), errno);
	bed.peers[0] = (struct peer){.fd = client};
	int fd_a = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int fd_b = peer_open(&bed.peers[1], true, 0);
	bed.relay = relay_start(bed.pool, fd_a, fd_b, on_done, &bed);
	relay_keep_whole(bed.relay);
	peer_send(&bed, 0, 1000);
	peer_shut(&bed, 0);
	receive_until(&bed, 1, 1000);
	while (!bed.peers[1].saw_end)
		assert_true(wait_receive(&bed, 1));
	assert_int_equal(bed.peers[1].error, 0);
	peer_send(&bed, 1, 1000);
	receive_until(&bed, 0, 1000);
	for (int who = 0; who < 2; who++)
		peer_close(&bed, who, false);
	wait_done(&bed);
	close(listener);
	unlink(at.sun_path);
	rmdir(dir);
	bed_close(&bed);
}

/* Whoever closes what is kept whole resets it, but a proper end does not. */
static void test_death_is_a_reset(void **state)
{
	struct linger linger = {0};
	socklen_t len = sizeof(linger);
	struct bed bed;

	(void)state;
	bed_open(&bed, 7);
	int fd_a = peer_open(&bed.peers[0], true, 0), fd_b = peer_open(&bed.peers[1], true, 0);
	bed.relay = relay_start(bed.pool, fd_a, fd_b, NULL, NULL);
	assert_non_null(bed.relay);
	relay_keep_whole(bed.relay);
	for (int i = 0; i < 2; i++) {
		assert_return_code(
			getsockopt(i ? fd_a : fd_b, SOL_SOCKET, SO_LINGER, &linger, &len), errno);
		assert_true(linger.l_onoff == 1 && linger.l_linger == 0);
	}
	relay_stop(bed.relay);
	for (int who = 0; who < 2; who++)
		peer_close(&bed, who, false);
	bed_close(&bed);
}

/* splice(2) takes the error of the socket, and recv(2) sees an end after it. */
static void test_reset_in_bulk(void **state)
{
	struct bed bed;
	int from[2], to[2];

	(void)state;
	bed_open(&bed, 8);
	tcp_pair(from);
	tcp_pair(to);
	struct pipes pipes;
	assert_int_equal(pipes_init(&pipes, &bed.budget), 0);
	struct flow_sock a = {.io.fd = from[0], .is_readable = true};
	struct flow_sock b = {.io.fd = to[0], .is_writable = true};
	struct flow flow;
	flow_init(&flow, &a, &b);
	flow.is_bulk = true;
	fd_reset(&from[1]);
	flow_pump(&flow, &pipes, bed.loop, 1 << 20);
	assert_true(a.is_broken);
	flow_fini(&flow, &pipes);
	pipes_fini(&pipes);
	close(from[0]);
	close(to[0]);
	close(to[1]);
	bed_close(&bed);
}

/* Data and an end that are there before the relay; on_done waits for the loop. */
static void all_waits_at_start(bool a_is_tcp, bool b_is_tcp)
{
	struct bed bed;

	bed_open(&bed, 5);
	int fd_a = peer_open(&bed.peers[0], a_is_tcp, 0);
	int fd_b = peer_open(&bed.peers[1], b_is_tcp, 0);
	for (int who = 0; who < 2; who++) {
		peer_send(&bed, who, 1000);
		peer_shut(&bed, who);
	}
	bed.relay = relay_start(bed.pool, fd_a, fd_b, on_done, &bed);
	assert_non_null(bed.relay);
	assert_int_equal(bed.done_count, 0);
	assert_int_equal(relay_pool_count(bed.pool), 1);
	assert_true(finish(&bed));
	assert_int_equal(bed.peers[0].received, 1000);
	assert_int_equal(bed.peers[1].received, 1000);
	bed_close(&bed);
}

static void test_all_waits_at_start(void **state)
{
	(void)state;
	for_each_kind(all_waits_at_start);
}

/* What was read already comes before what the sockets hold, and their ends. */
static void pushed_bytes_come_first(bool a_is_tcp, bool b_is_tcp)
{
	struct bed bed;

	bed_open(&bed, 17);
	int fd_a = peer_open(&bed.peers[0], a_is_tcp, 0);
	int fd_b = peer_open(&bed.peers[1], b_is_tcp, 0);
	for (int who = 0; who < 2; who++) {
		bed.peers[who].sent = 500 + (uint64_t)who;
		peer_send(&bed, who, 1000);
		peer_shut(&bed, who);
	}
	bed.relay = relay_start(bed.pool, fd_a, fd_b, on_done, &bed);
	assert_non_null(bed.relay);
	assert_int_equal(push(&bed, 0, 0, 400), 0);
	assert_int_equal(push(&bed, 1, 0, 501), 0);
	assert_int_equal(push(&bed, 0, 400, 100), 0);
	assert_int_equal(bed.done_count, 0);
	assert_true(finish(&bed));
	assert_int_equal(bed.peers[1].received, 1500);
	assert_int_equal(bed.peers[0].received, 1501);
	assert_int_equal(bed.done_ab, 1500);
	assert_int_equal(bed.done_ba, 1501);
	bed_close(&bed);
}

static void test_pushed_bytes_come_first(void **state)
{
	(void)state;
	for_each_kind(pushed_bytes_come_first);
}

/* As many as may be, to somebody who takes them in small pieces, while nothing else happens. */
static void pushed_bytes_are_written_in_part(bool a_is_tcp, bool b_is_tcp)
{
	struct bed bed;

	for (int who = 0; who < 2; who++) {
		bed_open(&bed, 18);
		bed_start(&bed, a_is_tcp, b_is_tcp, 1);
		assert_int_equal(push(&bed, who, 0, 1), 0);
		assert_int_equal(push(&bed, who, 1, RELAY_PUSH_MAX), -EMSGSIZE);
		assert_int_equal(push(&bed, who, 1, RELAY_PUSH_MAX - 1), 0);
		assert_int_equal(push(&bed, who, RELAY_PUSH_MAX, 0), 0);
		assert_int_equal(push(&bed, who, RELAY_PUSH_MAX, 1), -EMSGSIZE);
		bed.peers[who].sent = RELAY_PUSH_MAX;
		receive_until(&bed, !who, RELAY_PUSH_MAX);
		peer_send(&bed, who, 10);
		receive_until(&bed, !who, RELAY_PUSH_MAX + 10);
		bed_close(&bed);
	}
}

static void test_pushed_bytes_are_written_in_part(void **state)
{
	(void)state;
	for_each_kind(pushed_bytes_are_written_in_part);
}

/* The one is gone, whose bytes still count; or the other one, who takes none. */
static void pushed_bytes_and_a_peer_that_is_gone(bool a_is_tcp, bool b_is_tcp)
{
	struct bed bed;

	for (int variant = 0; variant < 8; variant++) {
		int who = variant & 1, gone = variant & 2 ? who : !who;

		bed_open(&bed, 19);
		int fd_a = peer_open(&bed.peers[0], a_is_tcp, 0);
		int fd_b = peer_open(&bed.peers[1], b_is_tcp, 0);
		peer_close(&bed, gone, variant & 4);
		bed.relay = relay_start(bed.pool, fd_a, fd_b, on_done, &bed);
		assert_non_null(bed.relay);
		assert_int_equal(push(&bed, who, 0, 3000), 0);
		bed.peers[who].sent = 3000;
		if (gone == who) {
			receive_until(&bed, !who, 3000);
			peer_shut(&bed, !who);
		}
		/* TCP learns only from what it sends whether a peer that closed is really gone */
		while (!bed.peers[!gone].saw_end) {
			peer_send(&bed, !gone, 1);
			assert_true(wait_receive(&bed, !gone));
		}
		wait_done(&bed);
		assert_int_equal(who == 0 ? bed.done_ba : bed.done_ab, 0);
		bed_close(&bed);
	}
}

static void test_pushed_bytes_and_a_peer_that_is_gone(void **state)
{
	(void)state;
	for_each_kind(pushed_bytes_and_a_peer_that_is_gone);
}

/* Urgent bytes stop recv and end splice early; what is behind them must not be forgotten. */
static void test_urgent_bytes(void **state)
{
	struct bed bed;

	(void)state;
	for (int is_bulk = 0; is_bulk < 2; is_bulk++) {
		bed_open(&bed, 6);
		bed_start(&bed, true, true, 0);
		for (int i = 0; i < 20; i++) {
			if (is_bulk)
				peer_send(&bed, 0, 100000);
			peer_send(&bed, 0, 5);
			peer_send_urgent(&bed, 0);
			peer_send(&bed, 0, 100);
			receive_until(&bed, 1, bed.peers[0].sent);
			check_mark(&bed, 1);
		}
		peer_shut(&bed, 0);
		assert_true(wait_receive(&bed, 1));
		assert_true(bed.peers[1].saw_end);
		bed_close(&bed);
	}
}

/* Bulk both ways with no descriptor left for a pipe, then again when there is one. */
static void test_no_pipe_left(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, 7);
	bed_start(&bed, true, true, 0);
	forbid_fds(true);
	for (int who = 0; who < 2; who++)
		fill(&bed, who);
	assert_int_equal(bed.budget.used, 2);
	forbid_fds(false);
	receive_until(&bed, 0, bed.peers[1].sent);
	fill(&bed, 0);
	assert_true(bed.budget.used > 2);
	for (int who = 0; who < 2; who++)
		peer_shut(&bed, who);
	assert_true(finish(&bed));
	for (int who = 0; who < 2; who++)
		assert_int_equal(bed.peers[who].received, bed.peers[!who].sent);
	bed_close(&bed);
}

/* What one relay leaves in a pipe must never reach the next one. */
static void test_no_foreign_bytes(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, 14);
	bed_start(&bed, true, true, 0);
	fill(&bed, 0);
	assert_true(bed.budget.used > 2);
	relay_stop(bed.relay);
	assert_int_equal(bed.budget.used, 0);
	for (int who = 0; who < 2; who++)
		peer_close(&bed, who, false);
	bed.seed = 15;
	bed_start(&bed, true, true, 0);
	fill(&bed, 0);
	assert_true(bed.budget.used > 2);
	receive_until(&bed, 1, bed.peers[0].sent);
	bed_close(&bed);
}

static void count_done(struct relay *relay, void *owner)
{
	(void)relay;
	++*(int *)owner;
}

/* Relays that have moved much and now rest hold their two sockets only. */
static void test_idle_holds_two(void **state)
{
	enum { RELAYS = 300 };
	static struct bed beds[RELAYS];
	struct bed *first = &beds[0];
	int done = 0;

	(void)state;
	bed_open(first, 8);
	for (int i = 0; i < RELAYS; i++) {
		if (i > 0)
			beds[i] = (struct bed){.loop = first->loop, .pool = first->pool, .seed = 8};
		int fd_a = peer_open(&beds[i].peers[0], false, 0);
		int fd_b = peer_open(&beds[i].peers[1], false, 0);
		beds[i].relay = relay_start(first->pool, fd_a, fd_b, count_done, &done);
		assert_non_null(beds[i].relay);
	}
	for (int i = 0; i < RELAYS; i++)
		fill(&beds[i], 0);
	for (int i = 0; i < RELAYS; i++) {
		receive_until(&beds[i], 1, beds[i].peers[0].sent);
		assert_int_equal(relay_bytes(beds[i].relay, RELAY_A), beds[i].peers[0].sent);
	}
	settle(first);
	assert_int_equal(relay_pool_count(first->pool), RELAYS);
	assert_true(first->budget.used <= 2 * RELAYS + 2 * PIPES_IDLE_MAX);
	for (int i = 1; i < RELAYS; i += 2)
		relay_stop(beds[i].relay);
	assert_int_equal(relay_pool_count(first->pool), RELAYS / 2);
	for (int i = 1; i < RELAYS; i++)
		for (int who = 0; who < 2; who++)
			peer_close(&beds[i], who, false);
	settle(first);
	assert_int_equal(relay_pool_count(first->pool), 1);
	assert_int_equal(done, RELAYS / 2 - 1);
	bed_close(first);
	assert_int_equal(done, RELAYS / 2 - 1);
}

/* A descriptor that cannot be watched: both stay with the caller. */
static void test_start_fails(void **state)
{
	struct bed bed;
	int file = open("/dev/null", O_RDWR | O_CLOEXEC), plain = open("Makefile", O_RDONLY);

	(void)state;
	if (plain < 0)
		plain = open("/proc/self/exe", O_RDONLY);
	bed_open(&bed, 9);
	int fd = peer_open(&bed.peers[0], false, 0);
	size_t fds = count_fds();
	assert_null(relay_start(bed.pool, fd, plain, on_done, &bed));
	assert_int_equal(errno, EPERM);
	assert_null(relay_start(bed.pool, plain, fd, on_done, &bed));
	struct loop_io io = {.fd = fd};
	assert_int_equal(loop_io_add(bed.loop, &io, EPOLLIN), 0);
	assert_null(relay_start_with(bed.pool, &io, plain));
	assert_int_equal(errno, EPERM);
	assert_int_equal(loop_io_mod(bed.loop, &io, EPOLLIN), -ENOENT); /* not watched any more */
	assert_int_equal(count_fds(), fds);
	assert_int_equal(relay_pool_count(bed.pool), 0);
	peer_send(&bed, 0, 1);
	settle(&bed);
	assert_int_equal(bed.done_count, 0);
	close(fd);
	close(file);
	close(plain);
	bed_close(&bed);
}

static void stop_other(struct relay *relay, void *owner)
{
	struct relay **others = owner;

	for (int i = 0; i < 2; i++)
		if (others[i] != relay)
			relay_stop(others[i]);
	others[0] = others[1] = NULL;
}

/* Two relays end in the same round, the first one stops the second. */
static void test_stop_in_on_done(void **state)
{
	struct bed beds[2];
	struct relay *relays[2];

	(void)state;
	bed_open(&beds[0], 10);
	for (int i = 0; i < 2; i++) {
		beds[i].loop = beds[0].loop;
		beds[i].pool = beds[0].pool;
		int fd_a = peer_open(&beds[i].peers[0], false, 0);
		int fd_b = peer_open(&beds[i].peers[1], false, 0);
		relays[i] = relay_start(beds[0].pool, fd_a, fd_b, stop_other, relays);
		for (int who = 0; who < 2; who++)
			close(beds[i].peers[who].fd), beds[i].peers[who].fd = -1;
	}
	settle(&beds[0]);
	assert_null(relays[0]);
	assert_int_equal(relay_pool_count(beds[0].pool), 0);
	bed_close(&beds[0]);
}

static void free_pool(struct relay *relay, void *owner)
{
	struct bed *bed = owner;

	assert_int_equal(relay_bytes(relay, RELAY_A), 5);
	relay_pool_free(bed->pool);
	bed->pool = NULL;
}

static void test_free_in_on_done(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, 11);
	int fd_a = peer_open(&bed.peers[0], false, 0);
	int fd_b = peer_open(&bed.peers[1], false, 0);
	assert_non_null(relay_start(bed.pool, fd_a, fd_b, free_pool, &bed));
	peer_send(&bed, 0, 5);
	for (int who = 0; who < 2; who++)
		peer_shut(&bed, who);
	settle(&bed);
	assert_null(bed.pool);
	bed_close(&bed);
}

/* One way that never pauses leaves room for the others: work per wake-up is bounded. */
static void test_no_starvation(void **state)
{
	struct bed busy, small;

	(void)state;
	bed_open(&busy, 12);
	bed_start(&busy, false, false, 0);
	small = (struct bed){.loop = busy.loop, .pool = busy.pool, .seed = 13};
	bed_start(&small, false, false, 0);
	for (int i = 0; i < 200; i++) {
		peer_send(&busy, 0, PIECE_MAX);
		peer_send(&small, 0, 1);
		run_round(&busy, 0);
		assert_true(peer_receive(&small, 1, 10));
		peer_receive(&busy, 1, PIECE_MAX);
	}
	for (int who = 0; who < 2; who++)
		close(small.peers[who].fd);
	bed_close(&busy);
}

/* --- sources ------------------------------------------------------------------------------ */

#define CROWD 20

struct crowd {
	struct relay *relays[CROWD]; /* NULL: it was ended */
	int clients[CROWD], targets[CROWD];
	size_t ended;
};

static void on_crowd_done(struct relay *relay, void *owner)
{
	struct crowd *crowd = owner;

	for (size_t i = 0; i < CROWD; i++)
		if (crowd->relays[i] == relay)
			crowd->relays[i] = NULL;
	crowd->ended++;
}

/* Number @i of them, whose client is at 127.0.0.@last. */
static void crowd_start(struct bed *bed, struct crowd *crowd, size_t i, uint8_t last)
{
	struct sockaddr_in own = {.sin_family = AF_INET}, at = {.sin_family = AF_INET};
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), pair[2];

	own.sin_addr.s_addr = htonl(0x7f000000 + last);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_return_code(bind(listener, (struct sockaddr *)&at, sizeof(at)), errno);
	assert_return_code(listen(listener, 1), errno);
	assert_return_code(getsockname(listener, (struct sockaddr *)&at, &len), errno);
	crowd->clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(bind(crowd->clients[i], (struct sockaddr *)&own, sizeof(own)), errno);
	assert_return_code(connect(crowd->clients[i], (struct sockaddr *)&at, len), errno);
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	close(listener);
	assert_return_code(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), errno);
	crowd->targets[i] = pair[0];
	crowd->relays[i] = relay_start(bed->pool, fd, pair[1], on_crowd_done, crowd);
	assert_non_null(crowd->relays[i]);
}

static void pass_time(struct bed *bed)
{
	usleep(1000);
	settle(bed);
}

/* Who has most gives way to who has less by two at least, and first with what rests. */
static void test_yield(void **state)
{
	const struct addr few = addr_of4((struct in_addr){htonl(0x7f000003)}, 0),
			  most = addr_of4((struct in_addr){htonl(0x7f000002)}, 0);
	struct crowd crowd = {0};
	struct bed bed;

	(void)state;
	bed_open(&bed, 1);
	assert_false(shares_yield(&bed.budget.shares, &few, 0, false));
	for (size_t i = 0; i < CROWD; i++)
		if (i < 9 || i >= 12)
			crowd_start(&bed, &crowd, i, i < 12 ? 2 : 3);
	pass_time(&bed);
	for (size_t i = 0; i < 9; i++)
		if (i != 3)
			assert_int_equal(write(crowd.clients[i], "x", 1), 1);
	settle(&bed);
	/* these have just come, and not said anything yet */
	pass_time(&bed);
	for (size_t i = 9; i < 12; i++)
		crowd_start(&bed, &crowd, i, 2);
	assert_false(shares_yield(&bed.budget.shares, &most, 0, false));
	assert_false(shares_yield(&bed.budget.shares, &few, 3, false));
	assert_int_equal(crowd.ended, 0);
	assert_true(shares_yield(&bed.budget.shares, &few, 0, false));
	assert_null(crowd.relays[3]);
	assert_int_equal(write(crowd.clients[0], "x", 1), 1);
	settle(&bed);
	assert_true(shares_yield(&bed.budget.shares, &few, 0, false));
	assert_null(crowd.relays[1]);
	/* ten against eight: one more, and they are as good as equal */
	assert_true(shares_yield(&bed.budget.shares, &few, 0, false));
	assert_false(shares_yield(&bed.budget.shares, &few, 0, false));
	assert_int_equal(crowd.ended, 3);
	for (size_t i = 12; i < CROWD; i++)
		assert_non_null(crowd.relays[i]);
	/* and what ends by itself does not count any more */
	for (size_t i = 12; i < CROWD; i++) {
		relay_stop(crowd.relays[i]);
		crowd.relays[i] = NULL;
	}
	assert_true(shares_yield(&bed.budget.shares, &few, 0, false));
	for (size_t i = 0; i < CROWD; i++) {
		close(crowd.clients[i]);
		close(crowd.targets[i]);
	}
	bed_close(&bed);
}

/* Who connects from here counts as 127.0.0.1, and loses nothing to a client of that. */
static void test_local_ones_are_one(void **state)
{
	const struct addr here = addr_loopback4(0);
	struct crowd crowd = {0};
	struct bed bed;

	(void)state;
	bed_open(&bed, 1);
	for (size_t i = 0; i < CROWD; i++) {
		crowd_start(&bed, &crowd, i, 2);
		relay_note_source(crowd.relays[i], SHARES_HERE);
	}
	assert_false(shares_yield(&bed.budget.shares, &here, 0, false));
	assert_int_equal(crowd.ended, 0);
	for (size_t i = 0; i < CROWD; i++) {
		relay_stop(crowd.relays[i]);
		close(crowd.clients[i]);
		close(crowd.targets[i]);
	}
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_half_close),
		cmocka_unit_test(test_reset_is_noticed),
		cmocka_unit_test(test_reset_after_end),
		cmocka_unit_test(test_answer_before_reset),
		cmocka_unit_test(test_end_comes_with_bytes),
		cmocka_unit_test(test_last_bytes_before_a_reset),
		cmocka_unit_test(test_tcp_is_not_asked),
		cmocka_unit_test(test_end_or_break),
		cmocka_unit_test(test_reset_in_bulk),
		cmocka_unit_test(test_death_is_a_reset),
		cmocka_unit_test(test_name_is_no_reset),
		cmocka_unit_test(test_all_waits_at_start),
		cmocka_unit_test(test_pushed_bytes_come_first),
		cmocka_unit_test(test_pushed_bytes_are_written_in_part),
		cmocka_unit_test(test_pushed_bytes_and_a_peer_that_is_gone),
		cmocka_unit_test(test_urgent_bytes),
		cmocka_unit_test(test_no_pipe_left),
		cmocka_unit_test(test_no_foreign_bytes),
		cmocka_unit_test(test_idle_holds_two),
		cmocka_unit_test(test_start_fails),
		cmocka_unit_test(test_stop_in_on_done),
		cmocka_unit_test(test_free_in_on_done),
		cmocka_unit_test(test_no_starvation),
		cmocka_unit_test(test_yield),
		cmocka_unit_test(test_local_ones_are_one),
		cmocka_unit_test_teardown(test_random_schedules, tell_seed),
	};

	signal(SIGPIPE, SIG_IGN);
	forbid_fds(false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
