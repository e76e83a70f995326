/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_dns - any bytes as a DNS query and as a server's answer; what is made of them is well-formed
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns/query.h"
#include "dns/reply.h"
#include "dns/response.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

/* Answers of ours to what was asked: they fit, they say what they should, they are short enough. */
static void check_replies(const struct query *query, const uint8_t *data)
{
	static uint8_t out[DNS_MESSAGE_MAX];
	struct reply reply = {.rcode = DNS_OK, .count = 2, .target = "lab"};
	struct in6_addr ip = {.s6_addr = {0xfd, 1}};
	struct addr found[4];

	reply.addrs[0] = addr_loopback4(0);
	reply.addrs[1] = addr_of6(&ip, 0);
	ssize_t len = reply_make(query, data, &reply, out, DNS_UDP_BYTES);
	must(len > 0 && len <= DNS_UDP_BYTES);
	must(response_fits(out, (size_t)len, data, query->question_end));
	must(memcmp(out + 12, data + 12, query->question_end - 12) == 0);
	size_t count = response_addresses(out, (size_t)len, found, 4);
	size_t wants = query->type == QUERY_ANY                              ? 2
		       : query->type == QUERY_A || query->type == QUERY_AAAA ? 1
									     : 0;
	must(response_is_cut(out) || count == (query->is_inet ? wants : 0));
	must(reply_cut(query, out, out) == query->question_end);
	must(response_is_cut(out) &&
		response_fits(out, query->question_end, data, query->question_end));
}

static void check_name(const struct query *query)
{
	struct addr addr;

	must(strlen(query->name) < sizeof(query->name));
	for (const char *at = query->name; *at; at++)
		must(*at > ' ' && *at < 127 && !(*at >= 'A' && *at <= 'Z'));
	query_reverse(query->name, &addr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[DNS_MESSAGE_MAX];
	struct query query;
	struct addr addrs[4];

	if (size > DNS_MESSAGE_MAX)
		return 0;
	must(response_addresses(data, size, addrs, 4) <= 4);
	int result = query_parse(data, size, &query);
	if (result < 0) {
		must(result == -EBADMSG);
		return 0;
	}
	size_t len = reply_refuse(data, size, DNS_SERVFAIL, out);
	must(len >= 12 && len <= size && response_rcode(out) == DNS_SERVFAIL);
	if (result != DNS_OK)
		return 0;
	must(query.question_end <= size && query.question_end > 12 && query.udp_max >= 512);
	must(response_fits(out, len, data, query.question_end));
	check_name(&query);
	check_replies(&query, data);
	return 0;
}
