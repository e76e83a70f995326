/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel_server_bed - a tunnel's server by hand, for the tests of what clients do there */
#pragma once

#include "tunnel_bed.h"

#include "tunnel/spoke.h"

enum { SERVER_MAX = 16 };

struct tunnel_server_bed {
	struct tunnel_bed under;
	struct spoke_house house;
	enum hail_kind kind; /* what all connections are for */
	int fds[SERVER_MAX];
	struct hail_reader readers[SERVER_MAX];
	size_t count;
};

/* A spoke's connection to the server: see spoke_house. */
static inline int server_bed_connect(void *owner)
{
	struct tunnel_server_bed *bed = owner;
	int fds[2];

	assert_true(bed->count < SERVER_MAX);
	tunnel_pair(fds);
	bed->readers[bed->count] = (struct hail_reader){.have = 0};
	bed->fds[bed->count++] = fds[1];
	return fds[0];
}

static inline void server_bed_open(struct tunnel_server_bed *bed, enum hail_kind kind)
{
	*bed = (struct tunnel_server_bed){.kind = kind};
	tunnel_bed_open(&bed->under, 1000);
	bed->house = (struct spoke_house){.context = &bed->under.context,
		.connect = server_bed_connect,
		.owner = bed,
		.kind = SERVER_OWN,
		.id = "client1"};
}

static inline void server_bed_close(struct tunnel_server_bed *bed)
{
	for (size_t i = 0; i < bed->count; i++)
		close(bed->fds[i]);
	tunnel_bed_close(&bed->under);
}

/* Needs clock_ahead.h. */
#define server_bed_pass(bed, ms)                  \
	do {                                      \
		clock_ahead_ns += (ms)*NS_PER_MS; \
		tunnel_bed_settle(&(bed)->under); \
	} while (0)

static inline bool server_has_it(void *owner)
{
	struct tunnel_server_bed *bed = owner;

	return bed->count > 0;
}

/* A connection is there, says who it is and what for, and waits from now on. */
static inline void server_welcomes(struct tunnel_server_bed *bed, size_t at)
{
	unsigned char id[HAIL_ID_BYTES];
	enum hail_kind kind;
	char bytes[HAIL_BYTES];

	tunnel_bed_until(&bed->under, server_has_it, bed);
	tunnel_bed_settle(&bed->under);
	assert_true(at < bed->count);
	assert_int_equal(recv(bed->fds[at], bytes, HAIL_BYTES, MSG_DONTWAIT), HAIL_BYTES);
	assert_memory_equal(bytes, HAIL_OWN, HAIL_BYTES);
	struct hail hail = tunnel_hail(&bed->under, &bed->readers[at], bed->fds[at]);
	assert_true(hail_read_hello(&hail, id, &kind) && kind == bed->kind);
	assert_int_equal(send(bed->fds[at], HAIL_OWN, HAIL_BYTES, MSG_NOSIGNAL), HAIL_BYTES);
	assert_int_equal(hail_send_number(bed->fds[at], HAIL_WELCOME, 600000), 0);
	tunnel_bed_settle(&bed->under);
}

/* The next message of a connection. */
static inline struct hail server_hail(struct tunnel_server_bed *bed, size_t at)
{
	return tunnel_hail(&bed->under, &bed->readers[at], bed->fds[at]);
}

static inline void server_says_nothing(struct tunnel_server_bed *bed, size_t at)
{
	struct hail hail;

	tunnel_bed_settle(&bed->under);
	assert_int_equal(hail_read(&bed->readers[at], bed->fds[at], &hail), 0);
}

static inline void server_answers(struct tunnel_server_bed *bed, size_t at, enum hail_type type,
	const char *name, const char *text)
{
	unsigned char label[HAIL_TEXT_MAX];
	size_t len = order_label(name, text, label);

	assert_int_equal(hail_send(bed->fds[at], type, label, len), 0);
	tunnel_bed_settle(&bed->under);
}

/* That was the client's end of a connection. */
static inline bool server_was_left(struct tunnel_server_bed *bed, size_t at)
{
	struct hail hail;

	tunnel_bed_settle(&bed->under);
	return hail_read(&bed->readers[at], bed->fds[at], &hail) == -EPIPE;
}

/* The others move up. */
static inline void server_closes(struct tunnel_server_bed *bed, size_t at)
{
	close(bed->fds[at]);
	bed->count--;
	for (size_t i = at; i < bed->count; i++) {
		bed->fds[i] = bed->fds[i + 1];
		bed->readers[i] = bed->readers[i + 1];
	}
	tunnel_bed_settle(&bed->under);
}
