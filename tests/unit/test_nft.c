/* SPDX-License-Identifier: Apache-2.0 */
/* test_nft - a batch comes true as a whole or not at all; what rules do: test_carry */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "net/nft.h"
#include "netns.h"

/* behind netinet/in.h, of which they have a part */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#define MANGLE (-150)

static void add_rule(struct nft_batch *batch)
{
	const struct in6_addr address = IN6ADDR_LOOPBACK_INIT;
	const uint8_t mask[16] = {0xff};

	nft_begin_rule(batch, "some");
	nft_if_meta(batch, NFT_META_OIF, true, 1);
	nft_if_proto(batch, false, IPPROTO_UDP);
	nft_if_bytes(batch, NFT_PAYLOAD_NETWORK_HEADER, 8, mask, true, &address, sizeof(address));
	nft_set_mark(batch, 7);
	nft_accept(batch);
	nft_end_rule(batch);
}

static int try(int family, const char *table, const char *type)
{
	struct nft_batch batch;

	nft_begin(&batch);
	nft_add_table(&batch, family, table);
	nft_add_chain(&batch, "some", type, NF_INET_LOCAL_OUT, MANGLE);
	add_rule(&batch);
	return nft_commit(&batch);
}

static void all_or_nothing(void **state)
{
	struct nft_batch batch;

	(void)state;
	assert_int_equal(try(AF_INET, "four", "route"), 0);
	assert_int_equal(try(AF_INET6, "six", "filter"), 0);
	assert_true(try(AF_INET, "none", "nonsense") < 0);
	/* so there is no such table */
	nft_begin(&batch);
	batch.family = NFPROTO_IPV4;
	batch.table = "none";
	add_rule(&batch);
	assert_int_equal(nft_commit(&batch), -ENOENT);
	batch.table = "four";
	nft_begin(&batch);
	batch.family = NFPROTO_IPV4;
	add_rule(&batch);
	assert_int_equal(nft_commit(&batch), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(all_or_nothing)};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
