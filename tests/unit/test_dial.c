/* SPDX-License-Identifier: Apache-2.0 */
/* test_dial - connections by address, by name and inside: those that work, fail, hang or wait */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>

#include "conn/dial.h"
#include "mesh_bed.h"

#define PORT     4000
#define NOBODY   4001
#define MANY     300
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct call {
	struct dial dial;
	int done, result;
};

static const struct conn_context *open_all(struct mesh_bed *bed)
{
	bed_open(bed);
	return &bed->context;
}

static void on_done(struct dial *dial, int result)
{
	struct call *call = (struct call *)dial;

	call->done++;
	call->result = result;
}

static int start(
	const struct conn_context *context, struct call *call, const char *host, uint16_t port)
{
	const struct dial_target target = {.host = host, .port = port};

	*call = (struct call){.dial.on_done = on_done};
	return dial_start(&call->dial, context, &target);
}

static int start_inside(
	const struct conn_context *context, struct call *call, const char *ip, uint16_t port)
{
	const struct dial_target target = {
		.where = DIAL_INSIDE, .addr = addr_of4(address(ip, 0).sin_addr, port)};

	*call = (struct call){.dial.on_done = on_done};
	return dial_start(&call->dial, context, &target);
}

/* The result of dial_start, or what came later. */
static int outcome(struct mesh_bed *bed, struct call *call, int result)
{
	if (result != -EINPROGRESS) {
		settle(bed);
		assert_int_equal(call->done, 0);
		return result;
	}
	run_until(bed, call->done > 0);
	settle(bed);
	assert_int_equal(call->done, 1);
	return call->result;
}

static void expect_connected(struct mesh_bed *bed, int fd, int listener, const char *peer)
{
	int is_kept = 0;
	socklen_t kept_len = sizeof(is_kept);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &is_kept, &kept_len), 0);
	assert_true(is_kept);
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);

	assert_return_code(fd, -fd);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(getpeername(fd, (struct sockaddr *)&addr, &len), 0);
	assert_string_equal(inet_ntoa(addr.sin_addr), peer);
	expect_joined(bed, fd, wait_accept(bed, listener));
}

static void connects_by_address_and_by_name(void **state)
{
	struct mesh_bed bed;
	const struct conn_context *context = open_all(&bed);
	int listener = tcp_listen("0.0.0.0", PORT, 10);
	struct call call;

	(void)state;
	int fd = outcome(&bed, &call, start(context, &call, "127.0.0.5", PORT));
	expect_connected(&bed, fd, listener, "127.0.0.5");
	fd = start(context, &call, "127.0.0.1", PORT); /* this machine itself: at once */
	assert_return_code(fd, -fd);
	expect_connected(&bed, fd, listener, "127.0.0.1");
	int result = start(context, &call, "name", PORT);
	assert_int_equal(result, -EINPROGRESS);
	expect_connected(&bed, outcome(&bed, &call, result), listener, "127.0.0.1");
	close(listener);
	bed_close(&bed);
}

static void connects_by_ipv6(void **state)
{
	struct mesh_bed bed;
	const struct conn_context *context = open_all(&bed);
	struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
	int listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct call call;

	(void)state;
	addr.sin6_addr = in6addr_loopback;
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 1), 0);
	int fd = outcome(&bed, &call, start(context, &call, "::1", PORT));
	assert_return_code(fd, -fd);
	expect_joined(&bed, fd, wait_accept(&bed, listener));
	close(listener);
	bed_close(&bed);
}

static int start_at(const struct conn_context *context, struct call *call, enum dial_where where,
	const struct addr *addr)
{
	const struct dial_target target = {.where = where, .addr = *addr};

	*call = (struct call){.dial.on_done = on_done};
	return dial_start(&call->dial, context, &target);
}

/* The address is all of the target, outside and inside. */
static void connects_to_an_address(void **state)
{
	const char *texts[] = {"127.0.0.7", "::1"};
	struct mesh_bed bed;
	const struct conn_context *context = open_all(&bed);
	struct call call;

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++)
		for (enum dial_where where = DIAL_OUTSIDE; where <= DIAL_INSIDE; where++) {
			const struct addr addr = addr_at(texts[i], PORT);
			int listener = listen_at(&addr, 10);

			int result = start_at(context, &call, where, &addr);
			int fd = outcome(&bed, &call, result);
			assert_return_code(fd, -fd);
			expect_joined(&bed, fd, wait_accept(&bed, listener));
			close(listener);
			result = start_at(context, &call, where, &addr);
			assert_int_equal(outcome(&bed, &call, result), -ECONNREFUSED);
		}
	bed_close(&bed);
}

/* All addresses of a name are tried inside, too. */
static void resolves_inside(void **state)
{
	const struct addr far = addr_at("192.0.2.1", 0), near = addr_at("127.0.0.1", 0);
	const struct dial_target both = {.where = DIAL_INSIDE, .host = "far", .port = PORT},
				 gone = {.where = DIAL_INSIDE, .host = "gone", .port = PORT};
	struct mesh_bed bed;
	const struct conn_context *context = open_all(&bed);
	int listener = tcp_listen("127.0.0.1", PORT, MANY);
	struct call call = {.dial.on_done = on_done};

	(void)state;
	/* the name is known before there is a socket; and there is no way to the first address */
	names_add(bed.context.names, "far", &far);
	names_add(bed.context.names, "far", &near);
	shut_door(&bed, true);
	int result = dial_start(&call.dial, context, &both);
	settle(&bed);
	assert_int_equal(call.done, 0);
	shut_door(&bed, false);
	expect_connected(&bed, outcome(&bed, &call, result), listener, "127.0.0.1");
	call = (struct call){.dial.on_done = on_done};
	assert_int_equal(outcome(&bed, &call, dial_start(&call.dial, context, &gone)), -ENOENT);
	/* without sockets both families wait, and each is served */
	const struct addr v6 = addr_at("::1", PORT), v4 = addr_at("127.0.0.1", PORT);
	int listener6 = listen_at(&v6, MANY);
	struct call *calls = calloc(MANY, sizeof(*calls));
	shut_door(&bed, true);
	for (int i = 0; i < MANY; i++) {
		result = start_at(context, &calls[i], DIAL_INSIDE, i % 2 ? &v6 : &v4);
		if (result == -EINPROGRESS)
			continue;
		assert_return_code(result, -result); /* a few are left in the pool */
		calls[i].result = result;
		calls[i].done = 1;
	}
	settle(&bed);
	shut_door(&bed, false);
	for (int i = 0; i < MANY; i++) {
		run_until(&bed, calls[i].done);
		assert_return_code(calls[i].result, -calls[i].result);
		close(wait_accept(&bed, i % 2 ? listener6 : listener));
		close(calls[i].result);
	}
	free(calls);
	close(listener6);
	close(listener);
	bed_close(&bed);
}

static void connects_to_a_path(void **state)
{
	char dir[] = "/tmp/nswrap-dial-XXXXXX", file[64];
	struct mesh_bed bed;
	const struct conn_context *context = open_all(&bed);
	struct call call;
	int result, count = 0, waiting[8];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/socket", dir);
	const struct addr addr = addr_at(file, 0);
	assert_int_equal(start_at(context, &call, DIAL_OUTSIDE, &addr), -ENOENT);
	int listener = listen_at(&addr, 1);
	int fd = start_at(context, &call, DIAL_OUTSIDE, &addr);
	assert_return_code(fd, -fd);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	expect_joined(&bed, fd, wait_accept(&bed, listener));
	assert_int_equal(start_at(context, &call, DIAL_INSIDE, &addr), -EAFNOSUPPORT);
	/* nobody accepts: it is full some day */
	while ((result = start_at(context, &call, DIAL_OUTSIDE, &addr)) >= 0) {
		assert_in_range(count, 0, 7);
		waiting[count++] = result;
	}
	assert_int_equal(result, -ECONNREFUSED);
	while (count > 0)
		close(waiting[--count]);
	close(listener);
	assert_int_equal(start_at(context, &call, DIAL_OUTSIDE, &addr), -ECONNREFUSED);
	unlink(file);
	assert_int_equal(rmdir(dir), 0);
	bed_close(&bed);
}

static void tries_every_address_of_a_name(void **state)
{
	struct mesh_bed bed;
	const struct conn_context *context = open_all(&bed);
	int listener = tcp_listen("127.0.0.1", PORT, 10);
	struct call call;

	(void)state;
	int fd = outcome(&bed, &call, start(context, &call, "two", PORT));
	expect_connected(&bed, fd, listener, "127.0.0.1");
	close(listener);
	assert_int_equal(outcome(&bed, &call, start(context, &call, "two", PORT)), -ECONNREFUSED);
	bed_close(&bed);
}

static void says_what_failed(void **state)
{
	struct mesh_bed bed;
	const struct conn_context *context = open_all(&bed);
	struct call call;

	(void)state;
	assert_int_equal(
		outcome(&bed, &call, start(context, &call, "127.0.0.1", NOBODY)), -ECONNREFUSED);
	assert_int_equal(outcome(&bed, &call, start(context, &call, "gone", PORT)), -ENOENT);
	assert_int_equal(
		outcome(&bed, &call, start(context, &call, "192.0.2.1", PORT)), -ENETUNREACH);
	assert_int_equal(outcome(&bed, &call, start_inside(context, &call, "127.0.0.1", NOBODY)),
		-ECONNREFUSED);
	assert_string_equal(dial_words(-ENOENT), "there is no such name");
	assert_string_equal(dial_words(-ECONNREFUSED), strerror(ECONNREFUSED));
	bed_close(&bed);
}

static void is_honest_when_descriptors_run_out(void **state)
{
	struct mesh_bed bed;
	const struct conn_context *context = open_all(&bed);
	struct call call;

	(void)state;
	const struct rlimit limit = shortage(&bed);
	int result = start(context, &call, "127.0.0.1", NOBODY);
	no_shortage(&bed, &limit);
	assert_int_equal(result, -EMFILE);
	assert_true(dial_is_short(result));
	assert_false(dial_is_short(-ECONNREFUSED));
	bed_close(&bed);
}

/* A listener that takes no more: connections to it hang. @fill holds what fills it. */
static int open_full(uint16_t port, int fill[2])
{
	int listener = tcp_listen("127.0.0.1", port, 0);

	for (int i = 0; i < 2; i++)
		fill[i] = tcp_connect(NULL, 0, "127.0.0.1", port);
	return listener;
}

static void close_full(int listener, int fill[2])
{
	close(listener);
	close(fill[0]);
	close(fill[1]);
}

static void gives_up_in_time(void **state)
{
	struct mesh_bed bed;
	const struct conn_context *context = open_all(&bed);
	int fill[2], listener = open_full(PORT, fill);
	struct call slow, hanging, later;

	(void)state;
	assert_int_equal(start(context, &slow, "127.0.0.1", PORT), -EINPROGRESS);
	assert_int_equal(start(context, &hanging, "hang", PORT), -EINPROGRESS);
	jump(&bed, DIAL_DEADLINE_MS / 2);
	assert_int_equal(start(context, &later, "127.0.0.1", PORT), -EINPROGRESS);
	jump(&bed, DIAL_DEADLINE_MS / 2 - 1000);
	assert_int_equal(slow.done + hanging.done + later.done, 0);
	jump(&bed, 1001);
	assert_int_equal(slow.done + hanging.done, 2);
	assert_int_equal(slow.result, -ETIMEDOUT);
	assert_int_equal(hanging.result, -ETIMEDOUT);
	assert_int_equal(later.done, 0);
	jump(&bed, DIAL_DEADLINE_MS / 2);
	assert_int_equal(later.done, 1);
	assert_int_equal(later.result, -ETIMEDOUT);
	close_full(listener, fill);
	bed_close(&bed);
}

static bool leads_beyond(struct beyond *beyond, const struct addr *at, enum proto proto)
{
	(void)beyond, (void)at, (void)proto;
	return true;
}

static int start_beyond(
	struct beyond *beyond, struct beyond_call *call, const struct addr *to, enum proto proto)
{
	(void)to, (void)proto;
	call->trip = beyond;
	return -EINPROGRESS;
}

static void cancel_beyond(struct beyond *beyond, struct beyond_call *call)
{
	assert_ptr_equal(call->trip, beyond);
	call->trip = NULL;
}

/* Another way that never answers. */
static void gives_up_beyond(void **state)
{
	struct mesh_bed bed;
	const struct conn_context *context = open_all(&bed);
	struct beyond beyond = {leads_beyond, start_beyond, cancel_beyond};
	struct call call;

	(void)state;
	bed.context.beyond = &beyond;
	assert_int_equal(start_inside(context, &call, "127.0.0.1", PORT), -EINPROGRESS);
	jump(&bed, DIAL_BEYOND_MS - 1000);
	assert_int_equal(call.done, 0);
	jump(&bed, 1001);
	assert_int_equal(call.done, 1);
	assert_int_equal(call.result, -ETIMEDOUT);
	assert_null(call.dial.call.trip);
	bed_close(&bed);
}

static void can_be_cancelled_at_any_time(void **state)
{
	struct mesh_bed bed;
	const struct conn_context *context = open_all(&bed);
	int fill[2], listener = open_full(PORT, fill);
	struct call calls[4];

	(void)state;
	shut_door(&bed, true);
	assert_int_equal(start(context, &calls[0], "127.0.0.1", PORT), -EINPROGRESS);
	assert_int_equal(start(context, &calls[1], "hang", PORT), -EINPROGRESS);
	assert_int_equal(start(context, &calls[2], "name", PORT), -EINPROGRESS);
	assert_int_equal(start_inside(context, &calls[3], "127.0.0.1", PORT), -EINPROGRESS);
	settle(&bed); /* the third one is connecting now */
	for (size_t i = 0; i < COUNT(calls); i++) {
		dial_cancel(&calls[i].dial);
		dial_cancel(&calls[i].dial);
	}
	shut_door(&bed, false);
	are_names_let_go = true;
	jump(&bed, DIAL_DEADLINE_MS + 1);
	settle(&bed);
	for (size_t i = 0; i < COUNT(calls); i++)
		assert_int_equal(calls[i].done, 0);
	close_full(listener, fill);
	bed_close(&bed);
}

/* Far more than the pool holds, while it is empty; served in their order. */
static void waits_for_sockets_of_the_inside(void **state)
{
	struct mesh_bed bed;
	const struct conn_context *context = open_all(&bed);
	int listener = tcp_listen("127.0.0.1", PORT, MANY), clients[MANY];
	struct call *calls = calloc(MANY, sizeof(*calls));

	(void)state;
	shut_door(&bed, true);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(start_inside(context, &calls[i], "127.0.0.1", PORT), -EINPROGRESS);
	jump(&bed, DIAL_DEADLINE_MS * 2); /* no deadline of ours */
	for (int i = 0; i < MANY; i++)
		assert_int_equal(calls[i].done, 0);
	shut_door(&bed, false);
	for (int i = 0; i < MANY; i++) {
		run_until(&bed, calls[i].done);
		assert_return_code(calls[i].result, -calls[i].result);
		clients[i] = wait_accept(&bed, listener);
	}
	for (int i = 0; i < MANY; i++) {
		close(calls[i].result);
		close(clients[i]);
	}
	free(calls);
	close(listener);
	bed_close(&bed);
}

/* With one local port to choose from, a connection to that port would meet itself. */
static void does_not_meet_itself(void **state)
{
	struct mesh_bed bed;
	const struct conn_context *context = open_all(&bed);
	struct call call;

	(void)state;
	assert_true(netns_write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000"));
	int fd = socket(AF_INET, SOCK_STREAM, 0); /* without our care it does */
	struct sockaddr_in addr = address("127.0.0.1", 40000);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	fd_reset(&fd);
	for (int i = 0; i < 2; i++) /* nothing is left behind */
		assert_int_equal(outcome(&bed, &call, start(context, &call, "127.0.0.1", 40000)),
			-ECONNREFUSED);
	assert_true(netns_write("/proc/sys/net/ipv4/ip_local_port_range", "32768 60999"));
	bed_close(&bed);
}

/* From an address of the caller's; and without a deadline of ours. */
static void from_an_address_and_patiently(void **state)
{
	struct mesh_bed bed;
	const struct conn_context *context = open_all(&bed);
	struct dial_target target = {.addr = addr_loopback4(PORT),
		.source = addr_of4(address("127.0.0.9", 0).sin_addr, 0),
		.is_patient = true};
	struct call call = {.dial.on_done = on_done};
	struct addr own;
	int listener = tcp_listen("127.0.0.1", PORT, 0), fill[2];

	(void)state;
	int fd = outcome(&bed, &call, dial_start(&call.dial, context, &target));
	assert_true(fd >= 0);
	assert_int_equal(addr_get_own(fd, &own), 0);
	assert_true(addr_is_same_ip(&own, &target.source));
	close(fd);
	close(wait_accept(&bed, listener));
	for (int i = 0; i < 2; i++)
		fill[i] = tcp_connect(NULL, 0, "127.0.0.1", PORT);
	call = (struct call){.dial.on_done = on_done};
	assert_int_equal(dial_start(&call.dial, context, &target), -EINPROGRESS);
	jump(&bed, DIAL_DEADLINE_MS * 2);
	assert_int_equal(call.done, 0);
	dial_cancel(&call.dial);
	close(fill[0]);
	close(fill[1]);
	close(listener);
	/* an address that is not this host's is no reason to take another one */
	target.source = addr_of4(address("198.51.100.9", 0).sin_addr, 0);
	assert_int_equal(dial_start(&call.dial, context, &target), -EADDRNOTAVAIL);
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connects_by_address_and_by_name),
		cmocka_unit_test(connects_by_ipv6),
		cmocka_unit_test(connects_to_an_address),
		cmocka_unit_test(resolves_inside),
		cmocka_unit_test(connects_to_a_path),
		cmocka_unit_test(tries_every_address_of_a_name),
		cmocka_unit_test(says_what_failed),
		cmocka_unit_test(is_honest_when_descriptors_run_out),
		cmocka_unit_test(gives_up_in_time),
		cmocka_unit_test(gives_up_beyond),
		cmocka_unit_test(can_be_cancelled_at_any_time),
		cmocka_unit_test(waits_for_sockets_of_the_inside),
		cmocka_unit_test(does_not_meet_itself),
		cmocka_unit_test(from_an_address_and_patiently),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
