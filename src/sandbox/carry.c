/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/carry - the inside of a sandbox whose kernel carries its outbound TCP itself */
#include "sandbox/carry.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>
#include <sys/socket.h>

#include "conn/mint.h"
#include "net/netdev.h"
#include "net/nft.h"
#include "net/packet.h"
#include "util/addr.h"
#include "util/fd.h"

/* Of the namespace; the mesh has some beside (exit/holder). */
#define NUMBER_CARRY 0x6e7310
#define NUMBER_ASK   0x6e7311
#define NUMBER_TAP   0x6e7312
#define PRIORITY     100 /* of rules: behind the table "local" */
#define BACKLOG      4096
#define TABLE        "nswrap"
#define MANGLE       (-150) /* NF_IP_PRI_MANGLE */

struct carry {
	const struct net_plan *plan;
	int family;
	int nl, tap;
	size_t ip_len;
	const void *host, *guest, *ask;
	uint32_t src_at, dst_at; /* in the IP header */
};

static struct carry carry_of(const struct net_plan *plan, int family, int nl, int tap)
{
	const bool is_four = family == AF_INET;

	return (struct carry){
		.plan = plan,
		.family = family,
		.nl = nl,
		.tap = tap,
		.ip_len = is_four ? sizeof(plan->host) : sizeof(plan->host6),
		.host = is_four ? (const void *)&plan->host : &plan->host6,
		.guest = is_four ? (const void *)&plan->guest : &plan->guest6,
		.ask = is_four ? (const void *)&plan->ask : &plan->ask6,
		.src_at = is_four ? 12 : 8,
		.dst_at = is_four ? 16 : 24,
	};
}

/* --- where packets go --------------------------------------------------------------------- */

/* Sockets have the mark of what began them, and answers that of what they answer. Two of these are
 * for both families. */
static int set_sysctls(int family)
{
	int result = netdev_write_sysctl("ipv4/tcp_fwmark_accept", "1");

	if (result == 0)
		result = netdev_write_sysctl(
			family == AF_INET ? "ipv4/fwmark_reflect" : "ipv6/fwmark_reflect", "1");
	return result;
}

static int set_local(int family, int nl, int device)
{
	const struct netdev_rule carried = {.priority = PRIORITY,
		.table = NUMBER_CARRY,
		.mark = NUMBER_CARRY,
		.family = family};
	const struct netdev_route local = {
		.family = family, .table = NUMBER_CARRY, .is_local = true};
	int result = netdev_add_route(nl, device, &local);

	return result < 0 ? result : netdev_add_rule(nl, &carried);
}

static int set_routes(const struct carry *carry)
{
	const struct netdev_rule asked = {.priority = PRIORITY,
		.table = NUMBER_ASK,
		.mark = NUMBER_ASK,
		.family = carry->family};
	const struct netdev_route out = {
		.family = carry->family, .gateway = carry->ask, .table = NUMBER_ASK};
	int result = carry->family == AF_INET ? netdev_set_accept_local(carry->nl, carry->tap) : 0;

	if (result == 0)
		result = netdev_add_neighbour(
			carry->nl, carry->tap, carry->family, carry->ask, plan_ask_mac);
	if (result == 0)
		result = netdev_add_route(carry->nl, carry->tap, &out);
	if (result == 0)
		result = netdev_add_rule(carry->nl, &asked);
	return result;
}

/* --- which packets ------------------------------------------------------------------------ */

static void if_address(const struct carry *carry, struct nft_batch *batch, uint32_t at,
	bool is_same, const void *ip)
{
	nft_if_bytes(batch, NFT_PAYLOAD_NETWORK_HEADER, at, NULL, is_same, ip, carry->ip_len);
}

static void if_begins(struct nft_batch *batch)
{
	static const uint8_t mask = PACKET_SYN | PACKET_ACK | PACKET_RST | PACKET_FIN,
			     syn = PACKET_SYN;

	nft_if_bytes(batch, NFT_PAYLOAD_TRANSPORT_HEADER, 13, &mask, true, &syn, 1);
}

/* In @chain: all but TCP by the TAP is accepted. */
static void only_tap(
	const struct carry *carry, struct nft_batch *batch, const char *chain, uint32_t key)
{
	nft_begin_rule(batch, chain);
	nft_if_meta(batch, key, false, (uint32_t)carry->tap);
	nft_accept(batch);
	nft_end_rule(batch);
	nft_begin_rule(batch, chain);
	nft_if_proto(batch, false, IPPROTO_TCP);
	nft_accept(batch);
	nft_end_rule(batch);
}

/* The network inside, but for `host`; and of IPv6 what is on the link only. */
static void leave_neighbours(const struct carry *carry, struct nft_batch *batch)
{
	static const unsigned char link_mask[16] = {0xff, 0xc0}, link[16] = {0xfe, 0x80};
	const struct net_plan *plan = carry->plan;
	unsigned char mask[16] = {0}, network[16];
	int prefix_len = carry->family == AF_INET ? plan->prefix_len : plan->prefix6_len;

	for (int bit = 0; bit < prefix_len; bit++)
		mask[bit / 8] |= (unsigned char)(0x80 >> bit % 8);
	if (carry->family == AF_INET)
		memcpy(network, &plan->network, carry->ip_len);
	else
		memcpy(network, &plan->prefix6, carry->ip_len);
	nft_begin_rule(batch, "out");
	if_address(carry, batch, carry->dst_at, false, carry->host);
	nft_if_bytes(batch, NFT_PAYLOAD_NETWORK_HEADER, carry->dst_at, mask, true, network,
		carry->ip_len);
	nft_accept(batch);
	nft_end_rule(batch);
	if (carry->family == AF_INET)
		return;
	nft_begin_rule(batch, "out");
	nft_if_bytes(batch, NFT_PAYLOAD_NETWORK_HEADER, carry->dst_at, link_mask, true, link,
		sizeof(link));
	nft_accept(batch);
	nft_end_rule(batch);
}

static void add_out(const struct carry *carry, struct nft_batch *batch)
{
	nft_add_chain(batch, "out", "route", NF_INET_LOCAL_OUT, MANGLE);
	only_tap(carry, batch, "out", NFT_META_OIF);
	nft_begin_rule(batch, "out");
	nft_if_meta(batch, NFT_META_MARK, false, 0);
	nft_accept(batch);
	nft_end_rule(batch);
	leave_neighbours(carry, batch);
	nft_begin_rule(batch, "out");
	if_begins(batch);
	nft_set_mark(batch, NUMBER_ASK);
	nft_accept(batch);
	nft_end_rule(batch);
	nft_begin_rule(batch, "out");
	nft_set_mark(batch, NUMBER_CARRY);
	nft_end_rule(batch);
}

static void add_in(const struct carry *carry, struct nft_batch *batch, uint16_t port)
{
	nft_add_chain(batch, "in", "filter", NF_INET_PRE_ROUTING, MANGLE);
	only_tap(carry, batch, "in", NFT_META_IIF);
	nft_begin_rule(batch, "in");
	if_address(carry, batch, carry->src_at, true, carry->guest);
	if_begins(batch);
	nft_tproxy(batch, carry->host, port);
	nft_set_mark(batch, NUMBER_CARRY);
	nft_accept(batch);
	nft_end_rule(batch);
	nft_begin_rule(batch, "in");
	nft_set_mark(batch, NUMBER_TAP);
	nft_end_rule(batch);
}

static int set_rules(const struct carry *carry, uint16_t port)
{
	struct nft_batch batch;

	nft_begin(&batch);
	nft_add_table(&batch, carry->family, TABLE);
	add_out(carry, &batch);
	add_in(carry, &batch, port);
	return nft_commit(&batch);
}

/* --- the listener ------------------------------------------------------------------------- */

/* At `host`, which is nobody's inside: no program comes there by itself, nor is its own address
 * taken. */
static int open_listener(const struct carry *carry, struct addr *at)
{
	const bool is_four = carry->family == AF_INET;
	_cleanup_fd_ int fd = socket(carry->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	*at = is_four ? addr_of4(carry->plan->host, 0) : addr_of6(&carry->plan->host6, 0);
	if (fd < 0 ||
		setsockopt(fd, is_four ? IPPROTO_IP : IPPROTO_IPV6,
			is_four ? IP_TRANSPARENT : IPV6_TRANSPARENT, &on, sizeof(on)) < 0 ||
		bind(fd, &at->any, addr_len(at)) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	int result = addr_get_own(fd, at);
	return result < 0 ? result : fd_take(&fd);
}

int carry_keep_clients(int family, int nl, int device, struct err *err)
{
	_cleanup_fd_ int mint = mint_open(family, NUMBER_CARRY);

	if (mint < 0)
		return err_sys(err, -mint, "no transparent socket can be made");
	int result = set_sysctls(family);
	if (result < 0)
		return err_sys(err, -result, "/proc/sys/net cannot be written");
	result = set_local(family, nl, device);
	if (result < 0)
		return err_sys(err, -result, "packets cannot be routed by their marks");
	return fd_take(&mint);
}

int carry_set_up(const struct net_plan *plan, int family, int nl, int tap, struct err *err)
{
	const struct carry carry = carry_of(plan, family, nl, tap);
	struct addr at;
	_cleanup_fd_ int fd = open_listener(&carry, &at);

	if (fd < 0)
		return err_sys(err, -fd, "no transparent socket can be made");
	int result = set_routes(&carry);
	if (result < 0)
		return err_sys(err, -result, "packets cannot be routed by their marks");
	result = set_rules(&carry, addr_port(&at));
	if (result < 0)
		return err_sys(err, -result, "nf_tables takes no rules with tproxy");
	return fd_take(&fd);
}
