/* SPDX-License-Identifier: Apache-2.0 */
/* test_addresses - a stack has the addresses it was told of, whatever it had and whatever failed */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/agent/addresses.h"
#include "util/list.h"

enum { HOSTS = 8, ROUNDS = 100000 };

/* 127.0.42.1 and so on */
static struct in_addr host(unsigned i)
{
	return (struct in_addr){htonl(0x7f002a01 + i)};
}

/* A stack that has what it was told, as the kernel does it, and may fail */
struct fake {
	struct stack stack;
	struct in_addr self;
	bool has[HOSTS];
	unsigned calls, fails_at; /* that call; 0: never */
	bool is_gone;             /* it fails so */
	bool lost[HOSTS];         /* those that we were told of */
};

static struct fake *begin_call(struct stack *stack)
{
	struct fake *fake = container_of(stack, struct fake, stack);

	fake->calls++;
	return fake;
}

static int set_self(struct stack *stack, struct in_addr vip)
{
	struct fake *fake = begin_call(stack);

	if (fake->calls == fake->fails_at)
		return -ENOBUFS;
	fake->self = vip;
	memset(fake->has, 0, sizeof(fake->has));
	return 0;
}

static bool *has(struct fake *fake, struct in_addr vip)
{
	unsigned i = ntohl(vip.s_addr) - 0x7f002a01;

	assert_in_range(i, 0, HOSTS - 1);
	assert_int_not_equal(vip.s_addr, fake->self.s_addr);
	return &fake->has[i];
}

static int add_peer(struct stack *stack, struct in_addr vip)
{
	struct fake *fake = begin_call(stack);

	if (*has(fake, vip))
		return -EEXIST;
	if (fake->calls == fake->fails_at)
		return fake->is_gone ? -EPIPE : -ENOBUFS;
	*has(fake, vip) = true;
	return 0;
}

static int del_peer(struct stack *stack, struct in_addr vip)
{
	struct fake *fake = begin_call(stack);

	if (!*has(fake, vip))
		return -ENOENT;
	*has(fake, vip) = false;
	return 0;
}

static int change(struct stack *stack, enum stack_change change, struct in_addr vip)
{
	switch (change) {
	case STACK_SET_SELF:
		return set_self(stack, vip);
	case STACK_ADD_PEER:
		return add_peer(stack, vip);
	default:
		return del_peer(stack, vip);
	}
}

static void on_lost(void *owner, struct in_addr ip, int result)
{
	struct fake *fake = owner;

	assert_int_equal(result, -ENOBUFS);
	fake->lost[ntohl(ip.s_addr) - 0x7f002a01] = true;
}

static const struct stack_ops ops = {.change = change};

/* After each call all is there, and what was there before was left alone. */
static void any_list_after_any_other(void **state)
{
	struct fake fake = {.stack = {.ops = &ops, .door = -1}};
	struct addresses addresses = {.on_lost = on_lost, .owner = &fake};
	unsigned failed = 0, lost = 0;
	bool is_known = false; /* what it has: the last call failed else */

	(void)state;
	srandom(1);
	for (int round = 0; round < ROUNDS; round++) {
		struct in_addr *list = calloc(2 * HOSTS, sizeof(*list)),
			       self = host(random() % 8 ? 0 : random() % HOSTS);
		size_t count = (size_t)random() % (2 * HOSTS);
		bool wanted[HOSTS] = {0};
		struct fake before = fake;
		struct err err = {0};
		unsigned calls = 0;

		for (size_t i = 0; i < count; i++) {
			unsigned which = (unsigned)random() % HOSTS;

			list[i] = host(which);
			wanted[which] = host(which).s_addr != self.s_addr;
		}
		fake.calls = 0;
		fake.fails_at = random() % 8 ? 0 : 1 + (unsigned)random() % 4;
		fake.is_gone = random() % 2;
		memset(fake.lost, 0, sizeof(fake.lost));
		int result = addresses_set(&addresses, &fake.stack, self, list, count, &err);
		if (result < 0) {
			assert_true(result == -EPIPE || strstr(err.text, "127.0.42."));
			is_known = false;
			failed++;
			continue;
		}
		assert_int_equal(fake.self.s_addr, self.s_addr);
		assert_int_equal(addresses.self.s_addr, self.s_addr);
		size_t peers = 0;
		for (unsigned i = 0; i < HOSTS; i++) {
			/* what a failed call left behind may stay for as long as the address */
			if (wanted[i] || (is_known && before.self.s_addr == self.s_addr))
				assert_int_equal(fake.has[i], wanted[i] && !fake.lost[i]);
			lost += fake.lost[i];
			if (wanted[i] && !fake.lost[i])
				assert_int_equal(addresses.peers[peers++].s_addr, host(i).s_addr);
			calls += before.has[i] != wanted[i];
		}
		assert_int_equal(addresses.npeers, peers);
		if (is_known && before.self.s_addr == self.s_addr)
			assert_int_equal(fake.calls, calls);
		is_known = is_known || before.self.s_addr != self.s_addr;
	}
	assert_true(failed > ROUNDS / 50 && lost > ROUNDS / 50);
	addresses_fini(&addresses);
	addresses_fini(&addresses);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_list_after_any_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
