/* SPDX-License-Identifier: Apache-2.0 */
/* dns/record - the records of a DNS message, one after the other, read and written */
#include "dns/record.h"

#include <arpa/nameser.h>
#include <resolv.h>
#include <string.h>

#define TYPE_AND_CLASS_BYTES 4
#define HEAD_BYTES           10     /* behind the name: type, class, TTL, length */
#define POINTER              0xc000 /* to a place of the message (RFC 1035 4.1.4) */

static size_t count_at(enum record_section section)
{
	return 4 + 2 * (size_t)section;
}

unsigned record_count(const uint8_t *message, enum record_section section)
{
	return record_get16(message + count_at(section));
}

bool record_next(
	const uint8_t *message, size_t len, size_t *at, bool is_question, struct record *out)
{
	size_t fixed = is_question ? TYPE_AND_CLASS_BYTES : HEAD_BYTES;
	int skipped = *at < len ? dn_skipname(message + *at, message + len) : -1;

	if (skipped < 0 || len - *at - (size_t)skipped < fixed)
		return false;
	const uint8_t *head = message + *at + skipped;
	*at += (size_t)skipped + fixed;
	*out = (struct record){record_get16(head), record_get16(head + 2), message + *at, 0};
	if (!is_question)
		out->len = record_get16(head + 8);
	if (out->len > len - *at)
		return false;
	*at += out->len;
	return true;
}

void record_put(struct record_writer *writer, const void *bytes, size_t len)
{
	if (writer->is_full || len > writer->cap_bytes - writer->len) {
		writer->is_full = true;
		return;
	}
	memcpy(writer->out + writer->len, bytes, len);
	writer->len += len;
}

void record_put16(struct record_writer *writer, uint16_t number)
{
	uint8_t bytes[sizeof(number)];

	record_set16(bytes, number);
	record_put(writer, bytes, sizeof(bytes));
}

bool record_put_name(struct record_writer *writer, const char *name)
{
	uint8_t wire[NS_MAXCDNAME];

	if (ns_name_pton(name, wire, sizeof(wire)) < 0)
		return false;
	int len = dn_skipname(wire, wire + sizeof(wire));
	if (len < 0)
		return false;
	record_put(writer, wire, (size_t)len);
	return true;
}

void record_put_head(struct record_writer *writer, size_t name_at, uint16_t type, uint32_t ttl_s,
	size_t data_len)
{
	record_put16(writer, (uint16_t)(POINTER | name_at));
	record_put16(writer, type);
	record_put16(writer, RECORD_CLASS_IN);
	record_put16(writer, (uint16_t)(ttl_s >> 16));
	record_put16(writer, (uint16_t)ttl_s);
	record_put16(writer, (uint16_t)data_len);
}

void record_put_edns(struct record_writer *writer, uint16_t udp_max)
{
	static const uint8_t rest[6]; /* no flags, no data */

	record_put(writer, "", 1);
	record_put16(writer, ns_t_opt);
	record_put16(writer, udp_max);
	record_put(writer, rest, sizeof(rest));
	record_add_count(writer, RECORD_ADDITIONAL);
}

void record_add_count(struct record_writer *writer, enum record_section section)
{
	uint8_t *at = writer->out + count_at(section);

	if (!writer->is_full)
		record_set16(at, (uint16_t)(record_get16(at) + 1));
}
