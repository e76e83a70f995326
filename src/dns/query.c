/* SPDX-License-Identifier: Apache-2.0 */
/* dns/query - DNS questions: read one that came, write one of our own */
#include "dns/query.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "dns/record.h"
#include "util/addr.h"

/* An honest query has an OPT, perhaps a TSIG. */
#define RECORDS_MAX 4

static void lower(char *text)
{
	for (; *text; text++)
		*text = (char)tolower((unsigned char)*text);
}

/* A compressed name would have nothing in front of it to point to. Returns its bytes, 0: it is
 * none.
 */
static size_t name_bytes(const uint8_t *name, size_t max)
{
	size_t at = 0;

	while (at < max && name[at] > 0 && name[at] <= NS_MAXLABEL)
		at += 1U + name[at];
	return at < max && at < NS_MAXCDNAME && name[at] == 0 ? at + 1 : 0;
}

static int read_question(const uint8_t *message, size_t len, size_t *at, struct query *out)
{
	const uint8_t *name = message + *at;
	struct record question;

	if (name_bytes(name, len - *at) == 0 || !record_next(message, len, at, true, &question))
		return DNS_FORMERR;
	out->type = question.type;
	out->is_inet = question.class == RECORD_CLASS_IN;
	out->question_end = *at;
	if (ns_name_ntop(name, out->name, sizeof(out->name)) < 0)
		return DNS_SERVFAIL;
	if (strcmp(out->name, ".") == 0)
		out->name[0] = '\0';
	lower(out->name);
	return DNS_OK;
}

/* What stands behind the question. */
static int read_records(
	const uint8_t *message, size_t len, size_t at, unsigned count, struct query *out)
{
	struct record record;

	for (unsigned i = 0; i < count; i++) {
		if (!record_next(message, len, &at, false, &record))
			return DNS_FORMERR;
		if (record.type == ns_t_opt) {
			out->has_edns = true;
			out->udp_max = record.class;
		}
	}
	if (out->udp_max < DNS_UDP_BYTES)
		out->udp_max = DNS_UDP_BYTES;
	return DNS_OK;
}

int query_parse(const uint8_t *message, size_t len, struct query *out)
{
	size_t at = RECORD_HEADER_BYTES;

	if (len < RECORD_HEADER_BYTES || message[QUERY_AT_FLAGS] & QUERY_QR)
		return -EBADMSG;
	*out = (struct query){.id = record_get16(message), .udp_max = DNS_UDP_BYTES};
	if (message[QUERY_AT_FLAGS] & QUERY_OPCODE)
		return DNS_NOTIMP;
	unsigned records = record_count(message, RECORD_ANSWER) +
			   record_count(message, RECORD_AUTHORITY) +
			   record_count(message, RECORD_ADDITIONAL);
	if (record_count(message, RECORD_QUESTION) != 1 || records > RECORDS_MAX)
		return DNS_FORMERR;
	int result = read_question(message, len, &at, out);
	return result == DNS_OK ? read_records(message, len, at, records, out) : result;
}

uint16_t query_random_id(void)
{
	uint16_t id = 0;

	while (getrandom(&id, sizeof(id), 0) != sizeof(id))
		; /* a signal, at most, before the first randomness of the machine */
	return id;
}

ssize_t query_make(const char *name, enum query_type type, uint8_t *out, size_t cap_bytes)
{
	uint8_t header[RECORD_HEADER_BYTES] = {[QUERY_AT_FLAGS] = QUERY_RD};
	struct record_writer writer = {.out = out, .cap_bytes = cap_bytes};

	record_set16(header, query_random_id());
	record_put(&writer, header, sizeof(header));
	record_add_count(&writer, RECORD_QUESTION);
	if (!record_put_name(&writer, name))
		return -EINVAL;
	record_put16(&writer, (uint16_t)type);
	record_put16(&writer, RECORD_CLASS_IN);
	record_put_edns(&writer, DNS_EDNS_BYTES);
	return writer.is_full ? -EMSGSIZE : (ssize_t)writer.len;
}

/* "1.0.0....ip6.arpa", 32 digits, the last one first. */
static bool read_nibbles(const char *name, struct addr *out)
{
	struct in6_addr ip = {0};

	for (int i = 31; i >= 0; i--, name += 2) {
		const char *digits = "0123456789abcdef";
		const char *digit = name[0] ? strchr(digits, name[0]) : NULL;

		if (!digit || name[1] != '.')
			return false;
		ip.s6_addr[i / 2] |= (uint8_t)((digit - digits) << (i % 2 ? 0 : 4));
	}
	if (strcmp(name, "ip6.arpa") != 0)
		return false;
	*out = addr_of6(&ip, 0);
	return true;
}

bool query_reverse(const char *name, struct addr *out)
{
	unsigned char part[4];
	int end = 0;
	char again[64];

	if (sscanf(name, "%3hhu.%3hhu.%3hhu.%3hhu.in-addr.arpa%n", &part[3], &part[2], &part[1],
		    &part[0], &end) != 4 ||
		end == 0 || name[end])
		return read_nibbles(name, out);
	/* no 300, no 01, no sign */
	snprintf(again, sizeof(again), "%u.%u.%u.%u.in-addr.arpa", part[3], part[2], part[1],
		part[0]);
	if (strcmp(again, name) != 0)
		return false;
	struct in_addr ip;
	memcpy(&ip, part, sizeof(ip));
	*out = addr_of4(ip, 0);
	return true;
}
