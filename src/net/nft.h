/* SPDX-License-Identifier: Apache-2.0 */
/* net/nft - rules for packets in the current network namespace, set all at once (nf_tables) */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How it works
 *
 * A batch is built in place and sent as a whole: all of it comes true, or nothing. A rule is a row
 * of expressions, each of which goes on or ends the rule; whatever is looked at goes through the
 * one register there is. What the kernel lacks it loads by itself where that is allowed.
 *
 * Not by libnftnl: this is all we need of it, and each process of nswrap would load it at its
 * start.
 */
#define NFT_BATCH_CAP 16384

struct nft_batch {
	_Alignas(8) unsigned char bytes[NFT_BATCH_CAP];
	size_t len;
	size_t message, rule, expressions; /* where what is not complete begins */
	uint8_t family;
	const char *table;
};

/* A table and its chains for packets of @family (AF_INET or AF_INET6). @table must stay. */
void nft_begin(struct nft_batch *batch);
void nft_add_table(struct nft_batch *batch, int family, const char *table);

/* @type: "filter", or "route", where a packet whose mark changes is routed again. @hook:
 * NF_INET_PRE_ROUTING...; all is accepted that no rule is about. */
void nft_add_chain(
	struct nft_batch *batch, const char *name, const char *type, uint32_t hook, int priority);

/* The expressions of a rule at the end of @chain come between these. */
void nft_begin_rule(struct nft_batch *batch, const char *chain);
void nft_end_rule(struct nft_batch *batch);

/* Is (@key of NFT_META_OIF..., 32 bits in host order) @value? */
void nft_if_meta(struct nft_batch *batch, uint32_t key, bool is_same, uint32_t value);
/* The protocol of TCP... */
void nft_if_proto(struct nft_batch *batch, bool is_same, uint8_t proto);
/*
 * Are the @len bytes (16 at most) at @offset of the network header, or of what is behind it
 * (NFT_PAYLOAD_NETWORK_HEADER...), under @mask (NULL: all bits), those of @value?
 */
void nft_if_bytes(struct nft_batch *batch, uint32_t base, uint32_t offset, const void *mask,
	bool is_same, const void *value, size_t len);

void nft_set_mark(struct nft_batch *batch, uint32_t mark);
/* To the transparent socket that listens at @ip (of the table's family), @port in host order. */
void nft_tproxy(struct nft_batch *batch, const void *ip, uint16_t port);
/* The packet passes the chain. */
void nft_accept(struct nft_batch *batch);

/* Returns 0, or the kernel's -errno (-EOPNOTSUPP and others where it lacks something). */
int nft_commit(struct nft_batch *batch);
