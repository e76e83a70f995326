/* SPDX-License-Identifier: Apache-2.0 */
/* test_refusal - each error becomes what the kernel inside makes that error of */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frames.h"
#include "net/netdev.h"
#include "net/refusal.h"
#include "netns.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	int error;
	int code4, code6; /* of "unreachable" */
} rows[] = {
	{ENETUNREACH, 0, 0},
	{EADDRNOTAVAIL, 0, 0},
	{EHOSTUNREACH, 1, 3},
	{ENOPROTOOPT, 2, 3},
	{EHOSTDOWN, 7, 3},
	{ENONET, 8, 3},
	{EACCES, 13, 1},
	{EPERM, 13, 1},
	{EIO, 1, 3},
};

static const char *const ends[][3] = {
	{"10.0.2.100", "198.51.100.7", "10.0.2.2"}, {"fd00::100", "2001:db8::7", "fd00::2"}};

static bool is_from(const struct frame *frame, const char *from, const char *to)
{
	const bool is_six = strchr(from, ':') != NULL;
	const size_t at = FRAME_L3 + (is_six ? 8 : 12), len = is_six ? 16 : 4;
	struct in6_addr a = frame_v6(from), b = frame_v6(to);
	struct in_addr a4 = frame_v4(from), b4 = frame_v4(to);

	return memcmp(frame->bytes + at, is_six ? (void *)&a : &a4, len) == 0 &&
	       memcmp(frame->bytes + at + len, is_six ? (void *)&b : &b4, len) == 0;
}

/* The answer to a SYN with five bytes behind it; one that asks has more behind its packet. */
static struct frame answer(size_t family, int error, struct frame *syn)
{
	const struct net_plan plan = frame_config();
	struct frame answer = {0};

	*syn = frame_tcp(ends[family][0], ends[family][1], 443, 0x02, NULL, 0);
	answer.len = refusal_make(
		&plan, syn->bytes, syn->len + (family == 0 ? 3 : 0), -error, answer.bytes);
	if (answer.len > 0) {
		assert_memory_equal(answer.bytes, syn->bytes + 6, 6);
		assert_memory_equal(answer.bytes + 6, syn->bytes, 6);
		assert_memory_equal(answer.bytes + 12, syn->bytes + 12, 2);
	}
	return answer;
}

static void unreachable_in_icmp(void **state)
{
	struct frame syn;

	(void)state;
	for (size_t i = 0; i < COUNT(rows) * 2; i++) {
		const size_t family = i % 2, head = family ? 40 : 20;
		const struct frame frame = answer(family, rows[i / 2].error, &syn);
		const uint8_t *icmp = frame.bytes + FRAME_L3 + head;

		assert_int_equal(frame.len, FRAME_L3 + head + 8 + syn.len - FRAME_L3);
		assert_true(is_from(&frame, ends[family][2], ends[family][0]));
		assert_int_equal(icmp[0], family ? 1 : 3);
		assert_int_equal(icmp[1], family ? rows[i / 2].code6 : rows[i / 2].code4);
		assert_memory_equal(icmp + 8, syn.bytes + FRAME_L3, syn.len - FRAME_L3);
		assert_int_equal(family ? frame_l4_sum(&frame)
					: frame_fold(frame_sum(icmp, frame.len - FRAME_L4, 0)),
			0);
	}
}

static void refused_is_reset(void **state)
{
	static const int errors[] = {ECONNREFUSED, ECONNRESET};
	struct frame syn;

	(void)state;
	for (size_t i = 0; i < COUNT(errors) * 2; i++) {
		const size_t family = i % 2, at = family ? FRAME6_L4 : FRAME_L4;
		const struct frame frame = answer(family, errors[i / 2], &syn);
		const uint8_t *tcp = frame.bytes + at, *asked = syn.bytes + at;
		static const uint8_t acknowledged[4] = {1, 2, 3, 4 + 1 + 5};

		assert_int_equal(frame.len, at + 20);
		assert_true(is_from(&frame, ends[family][1], ends[family][0]));
		assert_memory_equal(tcp, asked + 2, 2);
		assert_memory_equal(tcp + 2, asked, 2);
		assert_memory_equal(tcp + 8, acknowledged, 4);
		assert_int_equal(tcp[13], 0x14);
		assert_int_equal(frame_l4_sum(&frame), 0);
	}
}

static void silence_for_silence(void **state)
{
	struct frame syn;

	(void)state;
	for (size_t family = 0; family < 2; family++) {
		assert_int_equal(answer(family, ETIMEDOUT, &syn).len, 0);
		assert_int_equal(answer(family, EAGAIN, &syn).len, 0);
	}
}

static int socket_at(const char *text, struct addr *out)
{
	socklen_t len = sizeof(*out);

	assert_int_equal(addr_parse(text, out, NULL), 0);
	int fd = socket(out->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(fd, &out->any, addr_len(out)), 0);
	assert_int_equal(getsockname(fd, &out->any, &len), 0);
	return fd;
}

/* What a client hears by and by, 0: nothing that it has to. */
static int heard(int client, int error)
{
	struct pollfd ready = {client, POLLIN, 0};

	assert_int_equal(poll(&ready, 1, error ? 5000 : 0), error != 0);
	return recv(client, &(char){0}, 1, 0) < 0 && errno != EAGAIN ? errno : 0;
}

/* A socket hears what the kernel says itself of a port where nobody listens, and who asks for
 * errors hears the others, too. */
static void sockets_hear_of_datagrams(void **state)
{
	static const struct {
		int result, error, error_asked; /* of one that asks for errors */
	} says[] = {{ECONNREFUSED, ECONNREFUSED, ECONNREFUSED}, {ENETUNREACH, 0, ENETUNREACH},
		{EHOSTUNREACH, 0, EHOSTUNREACH}};
	static const char *const texts[] = {"127.0.0.1", "127.9.9.9", "::1"};
	int on = 1;

	(void)state;
	for (size_t i = 0; i < COUNT(says) * COUNT(texts) * 2; i++) {
		const char *text = texts[i / 2 % COUNT(texts)];
		const bool is_asked = i % 2;
		struct addr own, asked, other;
		int client = socket_at(text, &own), server = socket_at(text, &asked),
		    stranger = socket_at(text, &other), answers = refusal_open(own.family);

		assert_true(answers >= 0);
		assert_int_equal(connect(client, &asked.any, addr_len(&asked)), 0);
		assert_int_equal(connect(stranger, &asked.any, addr_len(&asked)), 0);
		if (is_asked && own.family == AF_INET)
			setsockopt(client, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
		if (is_asked && own.family == AF_INET6)
			setsockopt(client, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
		const size_t row = i / 2 / COUNT(texts);
		int error = is_asked ? says[row].error_asked : says[row].error;
		refusal_send(answers, &own, &asked, -says[row].result);
		assert_int_equal(heard(client, error), error);
		assert_int_equal(heard(stranger, 0), 0);
		assert_int_equal(recv(answers, &(char){0}, 1, 0), -1);
		close(client);
		close(server);
		close(stranger);
		close(answers);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unreachable_in_icmp),
		cmocka_unit_test(refused_is_reset),
		cmocka_unit_test(silence_for_silence),
		cmocka_unit_test(sockets_hear_of_datagrams),
	};

	netns_enter_or_skip();
	int nl = netdev_open();
	netdev_set_up(nl, 1, 0);
	close(nl);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
