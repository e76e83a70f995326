/* SPDX-License-Identifier: Apache-2.0 */
/* test_flow - urgent data arrives as that, at its place; all else of flows is in test_relay */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn/flow.h"
#include "conn/pipes.h"
#include "util/fd.h"

#define QUIET_MS 20 /* then nothing is under way over lo */
#define PATIENCE 100
#define SAID_MAX 64
#define BULK     (1 << 20)

enum { SENDER, FROM, TO, RECEIVER, FDS };

struct bed {
	struct loop *loop;
	struct budget budget;
	struct pipes pipes;
	struct flow_sock from, to;
	struct flow flow;
	int fds[FDS];
	char said[SAID_MAX]; /* what the receiver has read, an urgent byte as "<x>" */
};

/* In place of the C library's: how often the flow called them. */
static struct {
	int recv, atmark;
} calls;

ssize_t recv(int fd, void *bytes, size_t len, int flags)
{
	calls.recv++;
	return recvfrom(fd, bytes, len, flags, NULL, NULL);
}

static bool is_at_mark(int fd)
{
	int is_at = 0;

	return ioctl(fd, SIOCATMARK, &is_at) == 0 && is_at;
}

int sockatmark(int fd)
{
	calls.atmark++;
	return is_at_mark(fd);
}

static void make_pair(int *fds, bool is_tcp)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);

	if (!is_tcp) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
		return;
	}
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&at, sizeof(at)), 0);
	fds[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	assert_true(fds[1] >= 0);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	close(listener);
}

static void pump(struct bed *bed)
{
	enum flow_result result;

	do
		result = flow_pump(&bed->flow, &bed->pipes, bed->loop, BULK);
	while (result == FLOW_HAS_MORE);
	assert_int_equal(result, FLOW_WAITS);
	if (bed->flow.is_ended)
		shutdown(bed->fds[TO], SHUT_WR);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct flow_sock *sock = container_of(io, struct flow_sock, io);

	flow_sock_events(sock, events);
	pump(sock->owner);
}

/* Let it do what it can. */
static void settle(struct bed *bed)
{
	assert_return_code(loop_run_once(bed->loop, QUIET_MS), 0);
	assert_return_code(loop_run_once(bed->loop, QUIET_MS), 0);
}

static void bed_open(struct bed *bed, bool from_is_tcp, bool to_is_tcp)
{
	*bed = (struct bed){.budget = {.max = 100}};
	make_pair(bed->fds, from_is_tcp);
	make_pair(bed->fds + TO, to_is_tcp);
	fd_keep_in_line(bed->fds[FROM]);
	fd_keep_in_line(bed->fds[RECEIVER]);
	bed->loop = loop_new();
	assert_non_null(bed->loop);
	assert_int_equal(pipes_init(&bed->pipes, &bed->budget), 0);
	bed->from = (struct flow_sock){.io = {bed->fds[FROM], on_ready}, .owner = bed};
	bed->to = (struct flow_sock){
		.io = {bed->fds[TO], on_ready}, .owner = bed, .is_writable = true};
	flow_init(&bed->flow, &bed->from, &bed->to);
	assert_int_equal(loop_io_add(bed->loop, &bed->from.io, FLOW_EVENTS), 0);
	assert_int_equal(loop_io_add(bed->loop, &bed->to.io, FLOW_EVENTS), 0);
}

static void bed_close(struct bed *bed)
{
	flow_fini(&bed->flow, &bed->pipes);
	pipes_fini(&bed->pipes);
	for (int i = 0; i < FDS; i++)
		close(bed->fds[i]);
	loop_free(bed->loop);
}

static void say(struct bed *bed, const char *text)
{
	assert_int_equal(send(bed->fds[SENDER], text, strlen(text), 0), strlen(text));
}

static void say_urgent(struct bed *bed, char byte)
{
	assert_int_equal(send(bed->fds[SENDER], &byte, 1, MSG_OOB), 1);
}

/* Read what is there, up to where the kernel stops. Returns whether there was something. */
static bool hear_once(struct bed *bed)
{
	char bytes[SAID_MAX] = "";
	const bool is_marked = is_at_mark(bed->fds[RECEIVER]);
	const size_t len = strlen(bed->said), most = is_marked ? 1 : SAID_MAX - 8 - len;
	ssize_t got = recvfrom(bed->fds[RECEIVER], bytes, most, MSG_DONTWAIT, NULL, NULL);

	if (got > 0)
		snprintf(bed->said + len, SAID_MAX - len, is_marked ? "<%s>" : "%s", bytes);
	else if (got == 0 && !strchr(bed->said, '.'))
		strcat(bed->said, ".");
	return got > 0;
}

/* All that has come by now is @expected. */
static void hear(struct bed *bed, const char *expected)
{
	settle(bed);
	for (int i = 0; i < PATIENCE && strlen(bed->said) < strlen(expected); i++)
		if (!hear_once(bed))
			settle(bed);
	hear_once(bed);
	assert_string_equal(bed->said, expected);
}

static void it_is_urgent_at_its_place(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, true, true);
	say(&bed, "one");
	say_urgent(&bed, '!');
	say(&bed, "two");
	hear(&bed, "one<!>two");
	say_urgent(&bed, '?'); /* as the first that waits */
	hear(&bed, "one<!>two<?>");
	say(&bed, "three");
	say_urgent(&bed, '&');
	shutdown(bed.fds[SENDER], SHUT_WR);
	hear(&bed, "one<!>two<?>three<&>.");
	bed_close(&bed);
}

static void it_is_out_of_band_where_that_is_asked_for(void **state)
{
	struct bed bed;
	char byte = 0;
	int off = 0;

	(void)state;
	bed_open(&bed, true, true);
	setsockopt(bed.fds[RECEIVER], SOL_SOCKET, SO_OOBINLINE, &off, sizeof(off));
	say(&bed, "one");
	say_urgent(&bed, '!');
	say(&bed, "two");
	settle(&bed);
	assert_int_equal(recvfrom(bed.fds[RECEIVER], &byte, 1, MSG_OOB, NULL, NULL), 1);
	assert_int_equal(byte, '!');
	assert_true(hear_once(&bed));
	assert_string_equal(bed.said, "one");
	assert_true(is_at_mark(bed.fds[RECEIVER]));
	bed.said[0] = '\0';
	hear(&bed, "<t>wo"); /* as its place is all that there is of it */
	bed_close(&bed);
}

/* TCP has one mark: what was urgent before is like the others. */
static void the_last_of_several_is_urgent(void **state)
{
	struct bed bed;

	(void)state;
	for (int is_slow = 0; is_slow < 2; is_slow++) {
		bed_open(&bed, true, true);
		say(&bed, "x");
		for (const char *byte = "abc"; *byte; byte++) {
			say_urgent(&bed, *byte);
			if (is_slow)
				settle(&bed);
		}
		hear(&bed, "xab<c>");
		/* read in time, each is */
		for (const char *byte = "def"; *byte; byte++) {
			say_urgent(&bed, *byte);
			settle(&bed);
			hear_once(&bed);
		}
		hear(&bed, "xab<c><d><e><f>");
		bed_close(&bed);
	}
}

/* It came since the last event, and what came before it is still being read. */
static void it_is_seen_without_an_event(void **state)
{
	struct bed bed;

	(void)state;
	for (int has_end = 0; has_end < 2; has_end++) {
		bed_open(&bed, true, true);
		say_urgent(&bed, '!');
		if (has_end)
			shutdown(bed.fds[SENDER], SHUT_WR);
		bed.from.is_readable = bed.flow.is_bulk = true;
		pump(&bed);
		assert_int_equal(bed.flow.is_ended, has_end);
		hear(&bed, has_end ? "<!>." : "<!>");
		bed_close(&bed);
	}
}

static void others_have_it_in_line(void **state)
{
	struct bed bed;

	(void)state;
	for (int to_is_tcp = 0; to_is_tcp < 2; to_is_tcp++) {
		bed_open(&bed, true, to_is_tcp);
		bed.to.is_in_line = to_is_tcp;
		say(&bed, "one");
		say_urgent(&bed, '!');
		say(&bed, "two");
		hear(&bed, "one!two");
		bed_close(&bed);
	}
}

/* Read @len bytes, or those up to the mark. Returns how many. */
static size_t swallow(struct bed *bed, size_t len)
{
	static char bytes[BULK];
	size_t count = 0;
	int quiet = 0;

	while (quiet < PATIENCE && count < len && !is_at_mark(bed->fds[RECEIVER])) {
		ssize_t got = recvfrom(bed->fds[RECEIVER], bytes,
			len - count < BULK ? len - count : BULK, MSG_DONTWAIT, NULL, NULL);

		quiet = got > 0 ? 0 : quiet + 1;
		if (got > 0)
			count += (size_t)got;
		else
			assert_return_code(loop_run_once(bed->loop, QUIET_MS), 0);
	}
	return count;
}

/* Send @most bytes, or as many as all sockets on the way take. Returns how many. */
static size_t gush(struct bed *bed, size_t most)
{
	static const char bytes[BULK];
	size_t count = 0;

	while (count < most) {
		ssize_t sent = send(bed->fds[SENDER], bytes,
			most - count < BULK ? most - count : BULK, MSG_DONTWAIT);

		if (sent < 0) {
			assert_int_equal(errno, EAGAIN);
			settle(bed);
			if (!bed->to.is_writable)
				break;
		} else {
			count += (size_t)sent;
		}
	}
	return count;
}

/* Each socket on the way is full before it, and behind it. */
static void it_keeps_its_place_among_a_lot(void **state)
{
	struct bed bed;
	char byte = '!';

	(void)state;
	bed_open(&bed, true, true);
	size_t before = gush(&bed, 256 * BULK);
	size_t taken = 0;
	while (send(bed.fds[SENDER], &byte, 1, MSG_OOB | MSG_DONTWAIT) < 0) {
		assert_int_equal(errno, EAGAIN);
		taken += swallow(&bed, 1000);
	}
	size_t behind = gush(&bed, 1000);
	taken += swallow(&bed, SIZE_MAX);
	assert_int_equal(taken, before);
	assert_int_equal(recvfrom(bed.fds[RECEIVER], &byte, 1, 0, NULL, NULL), 1);
	assert_int_equal(byte, '!');
	assert_int_equal(swallow(&bed, behind), behind);
	bed_close(&bed);
}

/* Once it is through, all is as it was: nothing is asked, and bulk is spliced. */
static void who_has_no_urgent_data_pays_nothing(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, true, true);
	calls.recv = calls.atmark = 0;
	say(&bed, "one");
	hear(&bed, "one");
	assert_int_equal(calls.recv, 1);
	assert_int_equal(bed.from.kind, FLOW_TCP);
	say_urgent(&bed, '!');
	hear(&bed, "one<!>");
	assert_true(calls.atmark > 0);
	for (int round = 0; round < 2; round++) {
		calls.recv = calls.atmark = 0;
		size_t len = gush(&bed, 4 * BULK);
		assert_int_equal(swallow(&bed, len), len);
		assert_true(calls.recv < 16);
		assert_int_equal(calls.atmark, 0);
	}
	shutdown(bed.fds[SENDER], SHUT_WR);
	hear(&bed, "one<!>.");
	assert_int_equal(calls.atmark, 0);
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_urgent_at_its_place),
		cmocka_unit_test(it_is_out_of_band_where_that_is_asked_for),
		cmocka_unit_test(the_last_of_several_is_urgent),
		cmocka_unit_test(it_is_seen_without_an_event),
		cmocka_unit_test(others_have_it_in_line),
		cmocka_unit_test(it_keeps_its_place_among_a_lot),
		cmocka_unit_test(who_has_no_urgent_data_pays_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
