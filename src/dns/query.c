/* SPDX-License-Identifier: Apache-2.0 */
/* dns/query - DNS questions: read one that came, write one of our own */
#include "dns/query.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <ldns/ldns.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "util/addr.h"

/* An honest query has an OPT, perhaps a TSIG. More than that costs time: each of them may have a
 * name of 32,000 pointers. */
#define RECORDS_MAX 4

static void lower(char *text)
{
	for (; *text; text++)
		*text = (char)tolower((unsigned char)*text);
}

/* Returns a rcode. */
static int read_name(const ldns_rdf *owner, struct query *out)
{
	char *text = ldns_rdf2str(owner);
	int result = DNS_SERVFAIL;

	if (text && strlen(text) < sizeof(out->name)) {
		size_t len = strlen(text);

		if (len > 0 && text[len - 1] == '.') /* an escaped one is never the last */
			text[--len] = '\0';
		memcpy(out->name, text, len + 1);
		lower(out->name);
		result = DNS_OK;
	}
	free(text);
	return result;
}

/* A compressed name would have nothing in front of it to point to. */
static bool is_plain_name(const uint8_t *message, size_t len, size_t at)
{
	while (at < len && message[at] > 0 && message[at] <= LDNS_MAX_LABELLEN)
		at += 1U + message[at];
	return at < len && message[at] == 0;
}

static int read_question(const uint8_t *message, size_t len, size_t *at, struct query *out)
{
	ldns_rr *question = NULL;
	int result = DNS_FORMERR;

	if (!is_plain_name(message, len, *at))
		return DNS_FORMERR;
	if (ldns_wire2rr(&question, message, len, at, LDNS_SECTION_QUESTION) == LDNS_STATUS_OK) {
		out->type = (uint16_t)ldns_rr_get_type(question);
		out->is_inet = ldns_rr_get_class(question) == LDNS_RR_CLASS_IN;
		out->question_end = *at;
		result = read_name(ldns_rr_owner(question), out);
	}
	ldns_rr_free(question);
	return result;
}

/* What stands behind the question. */
static int read_records(
	const uint8_t *message, size_t len, size_t at, unsigned count, struct query *out)
{
	for (unsigned i = 0; i < count; i++) {
		ldns_rr *record = NULL;

		if (ldns_wire2rr(&record, message, len, &at, LDNS_SECTION_ADDITIONAL) !=
			LDNS_STATUS_OK) {
			ldns_rr_free(record);
			return DNS_FORMERR;
		}
		if (ldns_rr_get_type(record) == LDNS_RR_TYPE_OPT) {
			out->has_edns = true;
			out->udp_max = (size_t)ldns_rr_get_class(record);
		}
		ldns_rr_free(record);
	}
	if (out->udp_max < DNS_UDP_BYTES)
		out->udp_max = DNS_UDP_BYTES;
	return DNS_OK;
}

int query_parse(const uint8_t *message, size_t len, struct query *out)
{
	size_t at = LDNS_HEADER_SIZE;

	if (len < LDNS_HEADER_SIZE || LDNS_QR_WIRE(message))
		return -EBADMSG;
	*out = (struct query){.id = LDNS_ID_WIRE(message), .udp_max = DNS_UDP_BYTES};
	if (LDNS_OPCODE_WIRE(message) != LDNS_PACKET_QUERY)
		return DNS_NOTIMP;
	unsigned records =
		LDNS_ANCOUNT(message) + LDNS_NSCOUNT(message) + (unsigned)LDNS_ARCOUNT(message);
	if (LDNS_QDCOUNT(message) != 1 || records > RECORDS_MAX)
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
	ldns_rdf *owner = ldns_dname_new_frm_str(name);
	ldns_pkt *packet =
		owner ? ldns_pkt_query_new(owner, (ldns_rr_type)type, LDNS_RR_CLASS_IN, LDNS_RD)
		      : NULL;
	uint8_t *wire = NULL;
	size_t len = 0;
	ssize_t result = -ENOMEM;

	if (!owner)
		return -EINVAL;
	if (!packet) {
		ldns_rdf_deep_free(owner);
		return -ENOMEM;
	}
	ldns_pkt_set_id(packet, query_random_id());
	ldns_pkt_set_edns_udp_size(packet, DNS_EDNS_BYTES);
	if (ldns_pkt2wire(&wire, packet, &len) == LDNS_STATUS_OK) {
		result = len <= cap_bytes ? (ssize_t)len : -EMSGSIZE;
		if (result > 0)
			memcpy(out, wire, len);
	}
	free(wire);
	ldns_pkt_free(packet); /* with owner */
	return result;
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
