/* SPDX-License-Identifier: Apache-2.0 */
/* dns/response - what servers answer: is it for this question, what does it say */
#include "dns/response.h"

#include <ctype.h>
#include <string.h>

#include "dns/record.h"

#define RECORDS_MAX 256

#define TYPE_AND_CLASS_BYTES 4

bool response_fits(const uint8_t *answer, size_t len, const uint8_t *message, size_t question_end)
{
	if (len < question_end || len < RECORD_HEADER_BYTES ||
		(answer[QUERY_AT_FLAGS] & (QUERY_QR | QUERY_OPCODE)) != QUERY_QR ||
		record_count(answer, RECORD_QUESTION) != 1 ||
		record_get16(answer) != record_get16(message))
		return false;
	/* lengths of labels are below 'A' */
	size_t name_end = question_end - TYPE_AND_CLASS_BYTES;
	for (size_t i = RECORD_HEADER_BYTES; i < name_end; i++)
		if (tolower(answer[i]) != tolower(message[i]))
			return false;
	return memcmp(answer + name_end, message + name_end, TYPE_AND_CLASS_BYTES) == 0;
}

enum dns_rcode response_rcode(const uint8_t *answer)
{
	return (enum dns_rcode)(answer[QUERY_AT_RCODE] & QUERY_RCODE);
}

bool response_is_cut(const uint8_t *answer)
{
	return answer[QUERY_AT_FLAGS] & QUERY_TC;
}

static bool read_address(const struct record *record, struct addr *out)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (record->class != RECORD_CLASS_IN)
		return false;
	if (record->type == QUERY_A && record->len == sizeof(v4)) {
		memcpy(&v4, record->data, sizeof(v4));
		*out = addr_of4(v4, 0);
		return true;
	}
	if (record->type == QUERY_AAAA && record->len == sizeof(v6)) {
		memcpy(&v6, record->data, sizeof(v6));
		*out = addr_of6(&v6, 0);
		return true;
	}
	return false;
}

size_t response_addresses(const uint8_t *answer, size_t len, struct addr *out, size_t max)
{
	size_t at = RECORD_HEADER_BYTES, found = 0;

	if (len < RECORD_HEADER_BYTES)
		return 0;
	unsigned questions = record_count(answer, RECORD_QUESTION);
	unsigned records = questions + record_count(answer, RECORD_ANSWER);
	for (unsigned i = 0; i < records && i < RECORDS_MAX && found < max; i++) {
		struct record record;

		if (!record_next(answer, len, &at, i < questions, &record))
			break;
		if (i >= questions && read_address(&record, &out[found]))
			found++;
	}
	return found;
}
