/* SPDX-License-Identifier: Apache-2.0 */
/* dns/record - the records of a DNS message, one after the other, read and written */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How it works
 *
 * Names are glibc's business (arpa/nameser.h), so that no library is loaded for them:
 * libldns brings libcrypto along, whose relocations took as long as all the rest of a start, and
 * 400 KiB of every process. Names of records are passed over and not looked at: they may be 32,000
 * pointers long.
 */
#define RECORD_HEADER_BYTES 12 /* of a message (RFC 1035 4.1.1) */
#define RECORD_CLASS_IN     1

static inline uint16_t record_get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline void record_set16(uint8_t *at, uint16_t number)
{
	at[0] = (uint8_t)(number >> 8);
	at[1] = (uint8_t)number;
}

struct record {
	uint16_t type, class;
	const uint8_t *data; /* in the message */
	size_t len;
};

/* The counts of the header: of questions, answers, authorities, additional ones. */
enum record_section { RECORD_QUESTION, RECORD_ANSWER, RECORD_AUTHORITY, RECORD_ADDITIONAL };
unsigned record_count(const uint8_t *message, enum record_section section);

/*
 * Read the one at *@at of @message, which is behind it then. A question has no data. Returns false
 * if there is none, or not all of it.
 */
bool record_next(
	const uint8_t *message, size_t len, size_t *at, bool is_question, struct record *out);

/* Where a message is written; what does not fit is left out, and is_full says so. */
struct record_writer {
	uint8_t *out;
	size_t len, cap_bytes;
	bool is_full;
};

void record_put(struct record_writer *writer, const void *bytes, size_t len);
void record_put16(struct record_writer *writer, uint16_t number);

/* A name as people write it, with or without a dot at its end. False if it is none. */
bool record_put_name(struct record_writer *writer, const char *name);

/* One of class IN for the name that is at @name_at of the message; @data follow by record_put. */
void record_put_head(struct record_writer *writer, size_t name_at, uint16_t type, uint32_t ttl_s,
	size_t data_len);

/* We know EDNS (RFC 6891), and take @udp_max bytes over UDP. */
void record_put_edns(struct record_writer *writer, uint16_t udp_max);

/* One more in @section. */
void record_add_count(struct record_writer *writer, enum record_section section);
