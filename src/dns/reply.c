/* SPDX-License-Identifier: Apache-2.0 */
/* dns/reply - answers of our own to DNS questions */
#include "dns/reply.h"

#include <arpa/nameser.h>
#include <errno.h>
#include <string.h>

#include "dns/record.h"

#define AT_COUNTS 4                   /* in the header */
#define OWNER_AT  RECORD_HEADER_BYTES /* the name that was asked for */

static enum query_type type_of(const struct addr *addr)
{
	return addr->family == AF_INET ? QUERY_A : QUERY_AAAA;
}

static void add_address(struct record_writer *writer, const struct addr *addr)
{
	bool is_v4 = addr->family == AF_INET;
	size_t len = is_v4 ? sizeof(addr->v4.sin_addr) : sizeof(addr->v6.sin6_addr);

	record_put_head(writer, OWNER_AT, type_of(addr), REPLY_TTL_S, len);
	record_put(writer,
		is_v4 ? (const void *)&addr->v4.sin_addr : (const void *)&addr->v6.sin6_addr, len);
	record_add_count(writer, RECORD_ANSWER);
}

/* Put a name, and the length of the data that it is. */
static int add_target(struct record_writer *writer, const char *target)
{
	uint8_t bytes[NS_MAXCDNAME];
	struct record_writer name = {.out = bytes, .cap_bytes = sizeof(bytes)};

	if (!record_put_name(&name, target))
		return -EINVAL;
	record_put_head(writer, OWNER_AT, QUERY_PTR, REPLY_TTL_S, name.len);
	record_put(writer, bytes, name.len);
	record_add_count(writer, RECORD_ANSWER);
	return 0;
}

/* How long may "there is none" be remembered? RFC 2308 5: the SOA's own TTL and its last number. */
static void add_authority(struct record_writer *writer)
{
	static const uint8_t data[] = "\xc0\x0c" /* the owner */
				      "\6nobody\7invalid\0"
				      "\0\0\0\1"      /* serial */
				      "\0\0\x0e\x10"  /* an hour */
				      "\0\0\2\x58"    /* ten minutes */
				      "\0\1\x51\x80"; /* a day; then the last one */

	record_put_head(
		writer, OWNER_AT, ns_t_soa, REPLY_TTL_S, sizeof(data) - 1 + sizeof(uint32_t));
	record_put(writer, data, sizeof(data) - 1);
	record_put16(writer, 0);
	record_put16(writer, REPLY_TTL_S);
	record_add_count(writer, RECORD_AUTHORITY);
}

static bool is_wanted(const struct query *query, enum query_type type)
{
	return query->is_inet && (query->type == type || query->type == QUERY_ANY);
}

static int add_records(
	struct record_writer *writer, const struct query *query, const struct reply *reply)
{
	int result = 0;
	bool has_answer = false;

	if (reply->rcode == DNS_OK) {
		for (size_t i = 0; i < reply->count; i++)
			if (is_wanted(query, type_of(&reply->addrs[i]))) {
				has_answer = true;
				add_address(writer, &reply->addrs[i]);
			}
		if (reply->target && is_wanted(query, QUERY_PTR)) {
			has_answer = true;
			result = add_target(writer, reply->target);
		}
	}
	if (!has_answer && (reply->rcode == DNS_OK || reply->rcode == DNS_NXDOMAIN))
		add_authority(writer);
	return result;
}

/* Header and question. */
static void begin(struct record_writer *writer, const struct query *query, const uint8_t *message,
	const struct reply *reply, uint8_t flags)
{
	uint8_t *out = writer->out;

	writer->len = 0;
	record_put(writer, message, query->question_end);
	if (writer->is_full)
		return;
	out[QUERY_AT_FLAGS] =
		(uint8_t)(flags | QUERY_QR | QUERY_AA | (message[QUERY_AT_FLAGS] & QUERY_RD));
	out[QUERY_AT_RCODE] =
		(uint8_t)(QUERY_RA | (message[QUERY_AT_RCODE] & QUERY_CD) | (unsigned)reply->rcode);
	memset(out + AT_COUNTS, 0, RECORD_HEADER_BYTES - AT_COUNTS);
	record_add_count(writer, RECORD_QUESTION);
}

ssize_t reply_make(const struct query *query, const uint8_t *message, const struct reply *reply,
	uint8_t *out, size_t max_bytes)
{
	struct record_writer writer = {.out = out, .cap_bytes = max_bytes};

	begin(&writer, query, message, reply, 0);
	int result = add_records(&writer, query, reply);
	if (result < 0)
		return result;
	if (query->has_edns)
		record_put_edns(&writer, DNS_EDNS_BYTES);
	if (!writer.is_full)
		return (ssize_t)writer.len;
	writer.is_full = false;
	begin(&writer, query, message, reply, QUERY_TC);
	if (query->has_edns)
		record_put_edns(&writer, DNS_EDNS_BYTES);
	return writer.is_full ? -EMSGSIZE : (ssize_t)writer.len;
}

size_t reply_refuse(const uint8_t *message, size_t len, enum dns_rcode rcode, uint8_t *out)
{
	struct query query;
	size_t kept = RECORD_HEADER_BYTES;

	/* a question is repeated if it can be read */
	if (query_parse(message, len, &query) == DNS_OK)
		kept = query.question_end;
	memcpy(out, message, kept);
	out[QUERY_AT_FLAGS] =
		(uint8_t)(0x80 | (message[QUERY_AT_FLAGS] & 0x79)); /* QR, opcode, RD */
	out[QUERY_AT_RCODE] = (uint8_t)(0x80 | (unsigned)rcode);    /* RA */
	memset(out + AT_COUNTS, 0, RECORD_HEADER_BYTES - AT_COUNTS);
	out[AT_COUNTS + 1] = kept > RECORD_HEADER_BYTES;
	return kept;
}

size_t reply_cut(const struct query *query, const uint8_t *answer, uint8_t *out)
{
	memcpy(out, answer, query->question_end);
	out[QUERY_AT_FLAGS] |= 0x02; /* TC */
	memset(out + AT_COUNTS + 2, 0, RECORD_HEADER_BYTES - AT_COUNTS - 2);
	return query->question_end;
}
