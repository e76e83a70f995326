/* SPDX-License-Identifier: Apache-2.0 */
/* test_elsewhere - servers at addresses to which the forward of their port does not lead */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/diag.h"
#include "netns.h"
#include "own_addresses.h"
#include "sandbox/elsewhere.h"

#define PORT 7000

static const char *const rules[] = {"1:7000", "2:7000/udp", "unix:/s:7000", "3:7001", "4:7000"};

enum { TCP, UDP, PATH, OTHER, KNOWN, RULES };

struct world {
	struct net_plan plan;
	struct forward_list list;
	struct forwards_item items[RULES];
	int diag, fds[16];
	size_t nfds;
};

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	world->diag = diag_open();
	for (size_t i = 0; i < RULES; i++) {
		assert_int_equal(spec_list_parse(&world->list, rules[i], NULL, NULL), 0);
		world->items[i].spec = world->list.items[i];
	}
	*state = world;
	return world->diag < 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	while (world->nfds > 0)
		close(world->fds[--world->nfds]);
	close(world->diag);
	spec_list_free(&world->list);
	free(world);
	return 0;
}

static int serve(struct world *world, const char *ip, int type)
{
	struct addr addr;
	int one = 1;

	assert_int_equal(addr_parse(ip, &addr, NULL), 0);
	addr_set_port(&addr, PORT);
	int fd = socket(addr.family, type | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	assert_int_equal(bind(fd, &addr.any, addr_len(&addr)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1), 0);
	world->fds[world->nfds++] = fd;
	return fd;
}

/* What is said of all rules, of which none but KNOWN was found to be listened at before. */
static json_t *told(const struct world *world)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < RULES; i++)
		json_array_append_new(rows, json_pack("{s:b}", "listening", i == KNOWN));
	elsewhere_tell(world->diag, &world->plan, world->items, RULES, rows);
	assert_int_equal(json_array_size(rows), RULES);
	return rows;
}

/* @elsewhere: its addresses, with a space behind each. */
static void expect(const json_t *rows, size_t i, bool is_listening, const char *elsewhere)
{
	const json_t *row = json_array_get(rows, i), *there = json_object_get(row, "elsewhere");
	char text[512] = "";

	for (size_t at = 0; at < json_array_size(there); at++) {
		strcat(text, json_string_value(json_array_get(there, at)));
		strcat(text, " ");
	}
	assert_string_equal(text, elsewhere);
	assert_true(json_is_true(json_object_get(row, "listening")) == is_listening);
	assert_true((there != NULL) == (elsewhere[0] != '\0'));
}

static void nobody_is_there(void **state)
{
	json_t *rows = told(*state);

	for (size_t i = 0; i < RULES; i++)
		expect(rows, i, i == KNOWN, "");
	json_decref(rows);
}

static void each_protocol_has_its_own(void **state)
{
	struct world *world = *state;

	serve(world, "127.0.0.2", SOCK_STREAM);
	serve(world, "127.0.0.2", SOCK_STREAM); /* the same place */
	serve(world, "127.0.0.3", SOCK_DGRAM);
	json_t *rows = told(world);
	expect(rows, TCP, false, "127.0.0.2:7000 ");
	expect(rows, PATH, false, "127.0.0.2:7000 ");
	expect(rows, UDP, false, "127.0.0.3:7000 ");
	expect(rows, OTHER, false, "");
	expect(rows, KNOWN, true, "");
	json_decref(rows);
}

/* Always the same ones, whatever the kernel's order is: that of a namespace is by chance. */
static void not_all_are_told(void **state)
{
	struct world *world = *state;
	char ip[16];

	for (int i = ELSEWHERE_MAX + 3; i >= 2; i--) {
		snprintf(ip, sizeof(ip), "127.0.0.%d", i);
		serve(world, ip, SOCK_STREAM);
	}
	json_t *rows = told(world);
	expect(rows, TCP, false, "127.0.0.2:7000 127.0.0.3:7000 127.0.0.4:7000 127.0.0.5:7000 ");
	json_decref(rows);
}

/* It was not there when the row was made. */
static void it_has_begun_meanwhile(void **state)
{
	static const char *const hosts[] = {"127.0.0.1", "0.0.0.0", "::1", "::"};
	struct world *world = *state;

	serve(world, "127.0.0.2", SOCK_STREAM);
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		serve(world, hosts[i], SOCK_STREAM);
		json_t *rows = told(world);
		expect(rows, TCP, true, "");
		expect(rows, UDP, false, "");
		json_decref(rows);
		close(world->fds[--world->nfds]);
	}
}

/* The sandbox's own address is led to where it has one. */
static void own_address(void **state)
{
	struct world *world = *state;

	serve(world, "192.0.2.7", SOCK_STREAM);
	json_t *rows = told(world);
	expect(rows, TCP, false, "192.0.2.7:7000 ");
	json_decref(rows);
	world->plan.has_outbound = true;
	assert_int_equal(inet_pton(AF_INET, "192.0.2.7", &world->plan.guest), 1);
	rows = told(world);
	expect(rows, TCP, true, "");
	json_decref(rows);
}

static void one_of_a_device(void **state)
{
	struct world *world = *state;
	int fd = serve(world, "127.0.0.2", SOCK_STREAM), six = serve(world, "fd00::7", SOCK_STREAM);
	int lo = 1;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &lo, sizeof(lo)), 0);
	assert_int_equal(setsockopt(six, SOL_SOCKET, SO_BINDTOIFINDEX, &lo, sizeof(lo)), 0);
	json_t *rows = told(world);
	expect(rows, TCP, false, "127.0.0.2%1:7000 [fd00::7%1]:7000 ");
	json_decref(rows);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(nobody_is_there),
		TEST(each_protocol_has_its_own),
		TEST(not_all_are_told),
		TEST(it_has_begun_meanwhile),
		TEST(own_address),
		TEST(one_of_a_device),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, set_lo_up, NULL);
}
