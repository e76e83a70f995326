/* SPDX-License-Identifier: Apache-2.0 */
/* net/nft - rules for packets in the current network namespace, set all at once (nf_tables) */
#include "net/nft.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "net/netlink.h"
#include "util/fd.h"

#define ANSWER_BYTES 8192

/* --- attributes --------------------------------------------------------------------------- */

static void *reserve(struct nft_batch *batch, size_t len)
{
	void *at = batch->bytes + batch->len;

	assert(batch->len + NLMSG_ALIGN(len) <= sizeof(batch->bytes));
	memset(at, 0, NLMSG_ALIGN(len));
	batch->len += NLMSG_ALIGN(len);
	return at;
}

static void put(struct nft_batch *batch, uint16_t type, const void *data, size_t len)
{
	struct nlattr *attr = reserve(batch, NLA_HDRLEN + len);

	attr->nla_len = (uint16_t)(NLA_HDRLEN + len);
	attr->nla_type = type;
	if (len > 0)
		memcpy((unsigned char *)attr + NLA_HDRLEN, data, len);
}

/* Numbers of nf_tables are in network order. */
static void put_u32(struct nft_batch *batch, uint16_t type, uint32_t value)
{
	const uint32_t value_be = htonl(value);

	put(batch, type, &value_be, sizeof(value_be));
}

static void put_text(struct nft_batch *batch, uint16_t type, const char *text)
{
	put(batch, type, text, strlen(text) + 1);
}

static size_t nest(struct nft_batch *batch, uint16_t type)
{
	size_t at = batch->len;

	put(batch, type | NLA_F_NESTED, NULL, 0);
	return at;
}

static void nest_end(struct nft_batch *batch, size_t at)
{
	((struct nlattr *)(batch->bytes + at))->nla_len = (uint16_t)(batch->len - at);
}

/* --- messages ----------------------------------------------------------------------------- */

static void begin_message(struct nft_batch *batch, uint16_t type, uint16_t flags, uint16_t res_id)
{
	batch->message = batch->len;
	struct nlmsghdr *header = reserve(batch, NLMSG_HDRLEN);
	struct nfgenmsg *body = reserve(batch, sizeof(*body));

	header->nlmsg_type = type;
	header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	body->nfgen_family = batch->family;
	body->version = NFNETLINK_V0;
	body->res_id = htons(res_id);
}

static void end_message(struct nft_batch *batch)
{
	((struct nlmsghdr *)(batch->bytes + batch->message))->nlmsg_len =
		(uint32_t)(batch->len - batch->message);
}

static void begin_new(struct nft_batch *batch, uint16_t type, uint16_t flags)
{
	begin_message(batch, NFNL_SUBSYS_NFTABLES << 8 | type, (uint16_t)(NLM_F_CREATE | flags), 0);
}

void nft_begin(struct nft_batch *batch)
{
	batch->len = batch->family = 0;
	begin_message(batch, NFNL_MSG_BATCH_BEGIN, 0, NFNL_SUBSYS_NFTABLES);
	end_message(batch);
}

void nft_add_table(struct nft_batch *batch, int family, const char *table)
{
	batch->family = family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;
	batch->table = table;
	begin_new(batch, NFT_MSG_NEWTABLE, 0);
	put_text(batch, NFTA_TABLE_NAME, table);
	end_message(batch);
}

void nft_add_chain(
	struct nft_batch *batch, const char *name, const char *type, uint32_t hook, int priority)
{
	begin_new(batch, NFT_MSG_NEWCHAIN, 0);
	put_text(batch, NFTA_CHAIN_TABLE, batch->table);
	put_text(batch, NFTA_CHAIN_NAME, name);
	size_t at = nest(batch, NFTA_CHAIN_HOOK);
	put_u32(batch, NFTA_HOOK_HOOKNUM, hook);
	put_u32(batch, NFTA_HOOK_PRIORITY, (uint32_t)priority);
	nest_end(batch, at);
	put_text(batch, NFTA_CHAIN_TYPE, type);
	end_message(batch);
}

void nft_begin_rule(struct nft_batch *batch, const char *chain)
{
	begin_new(batch, NFT_MSG_NEWRULE, NLM_F_APPEND);
	put_text(batch, NFTA_RULE_TABLE, batch->table);
	put_text(batch, NFTA_RULE_CHAIN, chain);
	batch->rule = nest(batch, NFTA_RULE_EXPRESSIONS);
}

void nft_end_rule(struct nft_batch *batch)
{
	nest_end(batch, batch->rule);
	end_message(batch);
}

/* --- expressions -------------------------------------------------------------------------- */

/* Where its attributes are put: between this and end_expression. */
static size_t begin_expression(struct nft_batch *batch, const char *name)
{
	batch->expressions = nest(batch, NFTA_LIST_ELEM);
	put_text(batch, NFTA_EXPR_NAME, name);
	return nest(batch, NFTA_EXPR_DATA);
}

static void end_expression(struct nft_batch *batch, size_t at)
{
	nest_end(batch, at);
	nest_end(batch, batch->expressions);
}

static void put_data(struct nft_batch *batch, uint16_t type, const void *data, size_t len)
{
	size_t at = nest(batch, type);

	put(batch, NFTA_DATA_VALUE, data, len);
	nest_end(batch, at);
}

static void compare(struct nft_batch *batch, bool is_same, const void *value, size_t len)
{
	size_t at = begin_expression(batch, "cmp");

	put_u32(batch, NFTA_CMP_SREG, NFT_REG_1);
	put_u32(batch, NFTA_CMP_OP, is_same ? NFT_CMP_EQ : NFT_CMP_NEQ);
	put_data(batch, NFTA_CMP_DATA, value, len);
	end_expression(batch, at);
}

/* Load @key, or set it from the register. */
static void meta(struct nft_batch *batch, uint32_t key, uint16_t direction)
{
	size_t at = begin_expression(batch, "meta");

	put_u32(batch, NFTA_META_KEY, key);
	put_u32(batch, direction, NFT_REG_1);
	end_expression(batch, at);
}

static void load(struct nft_batch *batch, uint32_t reg, const void *value, size_t len)
{
	size_t at = begin_expression(batch, "immediate");

	put_u32(batch, NFTA_IMMEDIATE_DREG, reg);
	put_data(batch, NFTA_IMMEDIATE_DATA, value, len);
	end_expression(batch, at);
}

void nft_if_meta(struct nft_batch *batch, uint32_t key, bool is_same, uint32_t value)
{
	meta(batch, key, NFTA_META_DREG);
	compare(batch, is_same, &value, sizeof(value));
}

void nft_if_proto(struct nft_batch *batch, bool is_same, uint8_t proto)
{
	meta(batch, NFT_META_L4PROTO, NFTA_META_DREG);
	compare(batch, is_same, &proto, sizeof(proto));
}

static void mask_register(struct nft_batch *batch, const void *mask, size_t len)
{
	static const unsigned char nothing[16];
	size_t at = begin_expression(batch, "bitwise");

	put_u32(batch, NFTA_BITWISE_SREG, NFT_REG_1);
	put_u32(batch, NFTA_BITWISE_DREG, NFT_REG_1);
	put_u32(batch, NFTA_BITWISE_LEN, (uint32_t)len);
	put_data(batch, NFTA_BITWISE_MASK, mask, len);
	put_data(batch, NFTA_BITWISE_XOR, nothing, len);
	end_expression(batch, at);
}

void nft_if_bytes(struct nft_batch *batch, uint32_t base, uint32_t offset, const void *mask,
	bool is_same, const void *value, size_t len)
{
	size_t at = begin_expression(batch, "payload");

	put_u32(batch, NFTA_PAYLOAD_DREG, NFT_REG_1);
	put_u32(batch, NFTA_PAYLOAD_BASE, base);
	put_u32(batch, NFTA_PAYLOAD_OFFSET, offset);
	put_u32(batch, NFTA_PAYLOAD_LEN, (uint32_t)len);
	end_expression(batch, at);
	if (mask)
		mask_register(batch, mask, len);
	compare(batch, is_same, value, len);
}

void nft_set_mark(struct nft_batch *batch, uint32_t mark)
{
	load(batch, NFT_REG_1, &mark, sizeof(mark));
	meta(batch, NFT_META_MARK, NFTA_META_SREG);
}

void nft_tproxy(struct nft_batch *batch, const void *ip, uint16_t port)
{
	const bool is_four = batch->family == NFPROTO_IPV4;
	const uint16_t port_be = htons(port);

	load(batch, NFT_REG_1, ip, is_four ? 4 : 16);
	load(batch, NFT_REG_2, &port_be, sizeof(port_be));
	size_t at = begin_expression(batch, "tproxy");
	put_u32(batch, NFTA_TPROXY_FAMILY, batch->family);
	put_u32(batch, NFTA_TPROXY_REG_ADDR, NFT_REG_1);
	put_u32(batch, NFTA_TPROXY_REG_PORT, NFT_REG_2);
	end_expression(batch, at);
}

void nft_accept(struct nft_batch *batch)
{
	size_t at = begin_expression(batch, "immediate");

	put_u32(batch, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	size_t data = nest(batch, NFTA_IMMEDIATE_DATA);
	size_t verdict = nest(batch, NFTA_DATA_VERDICT);
	put_u32(batch, NFTA_VERDICT_CODE, NF_ACCEPT);
	nest_end(batch, verdict);
	nest_end(batch, data);
	end_expression(batch, at);
}

/* --- the kernel's answer ------------------------------------------------------------------ */

/* The first error, or word that the last message was taken, which comes behind all errors. */
static int read_answer(int nl)
{
	_Alignas(struct nlmsghdr) unsigned char answer[ANSWER_BYTES];
	const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
	const struct nlmsgerr *error = NLMSG_DATA(header);
	ssize_t got;

	do
		got = recv(nl, answer, sizeof(answer), 0);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? -EPROTO : -errno;
	if (!NLMSG_OK(header, (size_t)got) || header->nlmsg_type != NLMSG_ERROR ||
		header->nlmsg_len < NLMSG_LENGTH(sizeof(error->error)) || error->error > 0)
		return -EPROTO;
	return error->error;
}

int nft_commit(struct nft_batch *batch)
{
	_cleanup_fd_ int nl = netlink_open(NETLINK_NETFILTER);

	if (nl < 0)
		return nl;
	((struct nlmsghdr *)(batch->bytes + batch->message))->nlmsg_flags |= NLM_F_ACK;
	batch->family = 0;
	begin_message(batch, NFNL_MSG_BATCH_END, 0, NFNL_SUBSYS_NFTABLES);
	end_message(batch);
	/* the kernel works on it within send(2), net/netlink */
	return send(nl, batch->bytes, batch->len, 0) < 0 ? -errno : read_answer(nl);
}
