/* SPDX-License-Identifier: Apache-2.0 */
/* dns/reply - answers of our own to DNS questions */
#include "dns/reply.h"

#include <errno.h>
#include <ldns/ldns.h>
#include <string.h>

#define HEADER_BYTES 12
/* bytes of the header: flags, counts */
#define AT_FLAGS  2
#define AT_RCODE  3
#define AT_COUNTS 4

static ldns_rr *new_record(const ldns_rdf *owner, ldns_rr_type type)
{
	ldns_rr *record = ldns_rr_new();
	ldns_rdf *name = ldns_rdf_clone(owner);

	if (!record || !name) {
		ldns_rr_free(record);
		ldns_rdf_deep_free(name);
		return NULL;
	}
	ldns_rr_set_owner(record, name);
	ldns_rr_set_type(record, type);
	ldns_rr_set_class(record, LDNS_RR_CLASS_IN);
	ldns_rr_set_ttl(record, REPLY_TTL_S);
	return record;
}

/* Takes @data, also where it fails. */
static int push_data(ldns_rr *record, ldns_rdf *data)
{
	if (data && ldns_rr_push_rdf(record, data))
		return 0;
	ldns_rdf_deep_free(data);
	return -ENOMEM;
}

/* Takes @record, also where it fails. */
static int push_record(ldns_pkt *packet, ldns_pkt_section section, ldns_rr *record)
{
	if (record && ldns_pkt_push_rr(packet, section, record))
		return 0;
	ldns_rr_free(record);
	return -ENOMEM;
}

static int add_address(ldns_pkt *packet, const ldns_rdf *owner, const struct addr *addr)
{
	bool is_v4 = addr->family == AF_INET;
	ldns_rr *record = new_record(owner, is_v4 ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA);
	ldns_rdf *data = is_v4 ? ldns_rdf_new_frm_data(LDNS_RDF_TYPE_A, 4, &addr->v4.sin_addr)
			       : ldns_rdf_new_frm_data(LDNS_RDF_TYPE_AAAA, 16, &addr->v6.sin6_addr);

	if (!record || push_data(record, data) < 0) {
		ldns_rr_free(record);
		return -ENOMEM;
	}
	return push_record(packet, LDNS_SECTION_ANSWER, record);
}

static int add_target(ldns_pkt *packet, const ldns_rdf *owner, const char *target)
{
	ldns_rdf *name = ldns_dname_new_frm_str(target);

	if (!name)
		return -EINVAL;
	ldns_rr *record = new_record(owner, LDNS_RR_TYPE_PTR);
	if (!record) {
		ldns_rdf_deep_free(name);
		return -ENOMEM;
	}
	if (push_data(record, name) < 0) {
		ldns_rr_free(record);
		return -ENOMEM;
	}
	return push_record(packet, LDNS_SECTION_ANSWER, record);
}

/* How long may "there is none" be remembered? RFC 2308 5: the SOA's own TTL and its last number. */
static int add_authority(ldns_pkt *packet, const ldns_rdf *owner)
{
	ldns_rr *record = new_record(owner, LDNS_RR_TYPE_SOA);
	const uint32_t numbers[] = {1, 3600, 600, 86400, REPLY_TTL_S};

	if (!record || push_data(record, ldns_rdf_clone(owner)) < 0 ||
		push_data(record, ldns_dname_new_frm_str("nobody.invalid.")) < 0)
		goto fail;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (push_data(record, ldns_native2rdf_int32(
					      i == 0 ? LDNS_RDF_TYPE_INT32 : LDNS_RDF_TYPE_PERIOD,
					      numbers[i])) < 0)
			goto fail;
	return push_record(packet, LDNS_SECTION_AUTHORITY, record);
fail:
	ldns_rr_free(record);
	return -ENOMEM;
}

static bool is_wanted(const struct query *query, const struct addr *addr)
{
	return query->is_inet && ((query->type == QUERY_A && addr->family == AF_INET) ||
					 (query->type == QUERY_AAAA && addr->family == AF_INET6));
}

static int add_records(ldns_pkt *packet, const struct query *query, const ldns_rdf *owner,
	const struct reply *reply)
{
	int result = 0;
	bool has_answer = false;

	if (reply->rcode == DNS_OK) {
		for (size_t i = 0; i < reply->count && result == 0; i++)
			if (is_wanted(query, &reply->addrs[i])) {
				has_answer = true;
				result = add_address(packet, owner, &reply->addrs[i]);
			}
		if (reply->target && query->is_inet && query->type == QUERY_PTR) {
			has_answer = true;
			result = add_target(packet, owner, reply->target);
		}
	}
	if (result == 0 && !has_answer && (reply->rcode == DNS_OK || reply->rcode == DNS_NXDOMAIN))
		result = add_authority(packet, owner);
	return result;
}

/* With all but the records. Returns NULL without memory. */
static ldns_pkt *new_packet(
	const struct query *query, const uint8_t *message, const struct reply *reply)
{
	ldns_pkt *packet = ldns_pkt_new();
	ldns_rr *question = NULL;
	size_t at = HEADER_BYTES;

	if (!packet)
		return NULL;
	ldns_pkt_set_id(packet, query->id);
	ldns_pkt_set_qr(packet, true);
	ldns_pkt_set_aa(packet, true);
	ldns_pkt_set_ra(packet, true);
	ldns_pkt_set_rd(packet, LDNS_RD_WIRE(message));
	ldns_pkt_set_cd(packet, LDNS_CD_WIRE(message));
	ldns_pkt_set_rcode(packet, (uint8_t)reply->rcode);
	if (query->has_edns)
		ldns_pkt_set_edns_udp_size(packet, DNS_EDNS_BYTES);
	if (ldns_wire2rr(&question, message, query->question_end, &at, LDNS_SECTION_QUESTION) ==
			LDNS_STATUS_OK &&
		push_record(packet, LDNS_SECTION_QUESTION, question) == 0)
		return packet;
	ldns_pkt_free(packet);
	return NULL;
}

static ssize_t write_packet(const ldns_pkt *packet, uint8_t *out, size_t max_bytes)
{
	uint8_t *wire = NULL;
	size_t len = 0;

	if (ldns_pkt2wire(&wire, packet, &len) != LDNS_STATUS_OK)
		return -ENOMEM;
	ssize_t result = len <= max_bytes ? (ssize_t)len : -EMSGSIZE;
	if (result > 0)
		memcpy(out, wire, len);
	free(wire);
	return result;
}

ssize_t reply_make(const struct query *query, const uint8_t *message, const struct reply *reply,
	uint8_t *out, size_t max_bytes)
{
	ldns_pkt *packet = new_packet(query, message, reply);
	ssize_t result = -ENOMEM;

	if (packet)
		result = add_records(packet, query,
			ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(packet), 0)), reply);
	if (result == 0)
		result = write_packet(packet, out, max_bytes);
	ldns_pkt_free(packet);
	if (result != -EMSGSIZE)
		return result;
	packet = new_packet(query, message, reply);
	if (!packet)
		return -ENOMEM;
	ldns_pkt_set_tc(packet, true);
	result = write_packet(packet, out, max_bytes);
	ldns_pkt_free(packet);
	return result;
}

size_t reply_refuse(const uint8_t *message, size_t len, enum dns_rcode rcode, uint8_t *out)
{
	struct query query;
	size_t kept = HEADER_BYTES;

	/* a question is repeated if it can be read */
	if (query_parse(message, len, &query) == DNS_OK)
		kept = query.question_end;
	memcpy(out, message, kept);
	out[AT_FLAGS] = (uint8_t)(0x80 | (message[AT_FLAGS] & 0x79)); /* QR, opcode, RD */
	out[AT_RCODE] = (uint8_t)(0x80 | (unsigned)rcode);            /* RA */
	memset(out + AT_COUNTS, 0, HEADER_BYTES - AT_COUNTS);
	out[AT_COUNTS + 1] = kept > HEADER_BYTES;
	return kept;
}

size_t reply_cut(const struct query *query, const uint8_t *answer, uint8_t *out)
{
	memcpy(out, answer, query->question_end);
	out[AT_FLAGS] |= 0x02; /* TC */
	memset(out + AT_COUNTS + 2, 0, HEADER_BYTES - AT_COUNTS - 2);
	return query->question_end;
}
