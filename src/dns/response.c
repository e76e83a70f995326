/* SPDX-License-Identifier: Apache-2.0 */
/* dns/response - what servers answer: is it for this question, what does it say */
#include "dns/response.h"

#include <ctype.h>
#include <ldns/ldns.h>
#include <string.h>

/* Each may have a name of 32,000 pointers, which is fine and takes its time. */
#define RECORDS_MAX 256

#define TYPE_AND_CLASS_BYTES 4

bool response_fits(const uint8_t *answer, size_t len, const uint8_t *message, size_t question_end)
{
	if (len < question_end || len < LDNS_HEADER_SIZE || !LDNS_QR_WIRE(answer) ||
		LDNS_OPCODE_WIRE(answer) != LDNS_PACKET_QUERY || LDNS_QDCOUNT(answer) != 1 ||
		LDNS_ID_WIRE(answer) != LDNS_ID_WIRE(message))
		return false;
	/* lengths of labels are below 'A' */
	size_t name_end = question_end - TYPE_AND_CLASS_BYTES;
	for (size_t i = LDNS_HEADER_SIZE; i < name_end; i++)
		if (tolower(answer[i]) != tolower(message[i]))
			return false;
	return memcmp(answer + name_end, message + name_end, TYPE_AND_CLASS_BYTES) == 0;
}

enum dns_rcode response_rcode(const uint8_t *answer)
{
	return (enum dns_rcode)LDNS_RCODE_WIRE(answer);
}

bool response_is_cut(const uint8_t *answer)
{
	return LDNS_TC_WIRE(answer);
}

static bool read_address(const ldns_rr *record, struct addr *out)
{
	const ldns_rdf *data = ldns_rr_rd_count(record) == 1 ? ldns_rr_rdf(record, 0) : NULL;
	struct in_addr v4;
	struct in6_addr v6;

	if (!data || ldns_rr_get_class(record) != LDNS_RR_CLASS_IN)
		return false;
	if (ldns_rr_get_type(record) == LDNS_RR_TYPE_A && ldns_rdf_size(data) == sizeof(v4)) {
		memcpy(&v4, ldns_rdf_data(data), sizeof(v4));
		*out = addr_of4(v4, 0);
		return true;
	}
	if (ldns_rr_get_type(record) == LDNS_RR_TYPE_AAAA && ldns_rdf_size(data) == sizeof(v6)) {
		memcpy(&v6, ldns_rdf_data(data), sizeof(v6));
		*out = addr_of6(&v6, 0);
		return true;
	}
	return false;
}

size_t response_addresses(const uint8_t *answer, size_t len, struct addr *out, size_t max)
{
	size_t at = LDNS_HEADER_SIZE, found = 0;

	if (len < LDNS_HEADER_SIZE)
		return 0;
	unsigned questions = LDNS_QDCOUNT(answer), records = LDNS_ANCOUNT(answer);
	for (unsigned i = 0; i < questions + records && i < RECORDS_MAX && found < max; i++) {
		ldns_rr *record = NULL;
		ldns_status status = ldns_wire2rr(&record, answer, len, &at,
			i < questions ? LDNS_SECTION_QUESTION : LDNS_SECTION_ANSWER);

		if (status == LDNS_STATUS_OK && i >= questions && read_address(record, &out[found]))
			found++;
		ldns_rr_free(record);
		if (status != LDNS_STATUS_OK)
			break;
	}
	return found;
}
