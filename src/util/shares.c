/* SPDX-License-Identifier: Apache-2.0 */
/* util/shares - who has how many of a process's descriptors, and who loses one to whom */
#include "util/shares.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>
#include <sys/random.h>

/* Where a block of neighbours begins: its bits times a random odd number, of which the upper ones
 * are alike for two blocks as often as by chance, whoever has chosen them. */
static unsigned offset_of(struct shares *shares, uint64_t block)
{
	if (shares->seed == 0 && getrandom(&shares->seed, sizeof(shares->seed), GRND_NONBLOCK) < 0)
		shares->seed = (uintptr_t)shares;
	return (unsigned)((shares->seed | 1) * block >> (64 - SHARES_BITS));
}

unsigned shares_source(struct shares *shares, const struct addr *addr)
{
	const struct addr here = addr_loopback4(0);
	struct addr plain = *addr;
	uint64_t key = 0;

	addr_unmap(&plain);
	if (plain.family == AF_INET6 ? addr_is_loopback(&plain)
				     : plain.family != AF_INET || addr_is_same_ip(&plain, &here))
		return SHARES_HERE;
	if (plain.family == AF_INET6)
		memcpy(&key, &plain.v6.sin6_addr, sizeof(key));
	key = plain.family == AF_INET6 ? be64toh(key) : ntohl(plain.v4.sin_addr.s_addr);
	return (unsigned)(key + offset_of(shares, key >> SHARES_BITS)) % SHARES_HERE;
}

void shares_join(struct shares *shares, struct shares_part *part)
{
	part->next = shares->parts;
	shares->parts = part;
}

void shares_leave(struct shares *shares, struct shares_part *part)
{
	struct shares_part **at = &shares->parts;

	while (*at != part)
		at = &(*at)->next;
	*at = part->next;
}

void shares_take(struct shares *shares, enum shares_kind kind, unsigned source)
{
	shares->counts[kind][source]++;
	shares->totals[kind]++;
}

void shares_give(struct shares *shares, enum shares_kind kind, unsigned source)
{
	shares->counts[kind][source]--;
	shares->totals[kind]--;
}

static size_t count_of(const struct shares *shares, unsigned source, bool is_flows_only)
{
	return (size_t)shares->counts[SHARES_FLOWS][source] +
	       (is_flows_only ? 0 : shares->counts[SHARES_CONNECTIONS][source]);
}

static void learn(struct shares *shares)
{
	for (struct shares_part *part = shares->parts; part; part = part->next)
		if (part->learn)
			part->learn(part);
}

size_t shares_total(struct shares *shares)
{
	size_t total = 0;

	learn(shares);
	for (size_t kind = 0; kind < SHARES_KINDS; kind++)
		total += shares->totals[kind];
	return total;
}

bool shares_has_place(struct shares *shares, const struct addr *addr, size_t left)
{
	const unsigned source = shares_source(shares, addr);
	size_t own = 0;

	learn(shares);
	for (size_t kind = 0; kind < SHARES_KINDS; kind++)
		own += shares->counts[kind][source];
	return own < left || source == SHARES_HERE;
}

static bool yield_kind(struct shares *shares, enum shares_kind kind, unsigned source)
{
	for (struct shares_part *part = shares->parts; part; part = part->next)
		if (part->kind == kind && part->yield(part, source))
			return true;
	return false;
}

bool shares_end_own_flow(struct shares *shares, const struct addr *addr)
{
	return yield_kind(shares, SHARES_FLOWS, shares_source(shares, addr));
}

bool shares_yield(
	struct shares *shares, const struct addr *addr, size_t pending, bool is_flows_only)
{
	unsigned most = 0;

	learn(shares);
	for (unsigned source = 1; source < SHARES_SOURCES; source++)
		if (count_of(shares, source, is_flows_only) > count_of(shares, most, is_flows_only))
			most = source;
	if (count_of(shares, most, is_flows_only) <=
		count_of(shares, shares_source(shares, addr), is_flows_only) + pending + 1)
		return false;
	if (is_flows_only)
		return yield_kind(shares, SHARES_FLOWS, most);
	const enum shares_kind kind =
		shares->counts[SHARES_FLOWS][most] > shares->counts[SHARES_CONNECTIONS][most]
			? SHARES_FLOWS
			: SHARES_CONNECTIONS;
	return yield_kind(shares, kind, most) || yield_kind(shares, !kind, most);
}
