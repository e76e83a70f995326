/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/hail - what two ends of a tunnel say to each other before bytes of others pass */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * How it works
 *
 * A connection between client and server carries one proxied connection, once; until then it
 * waits at the server. There are two wires:
 *
 * - lennut's (as its binary of 2019 does it): the client says nothing, the server HAIL_LENNUT when
 *   the connection is used, and bytes follow;
 *
 * - our own: HAIL_OWN from the client and then messages: a type, a NUL, the length of what follows
 *   as 16 bits, most significant first.
 *
 *	HAIL_HELLO	client	who it is: HAIL_ID_BYTES, new in each process; and what the
 *				connection is for: a hail_kind, HAIL_ANY if there is none
 *	HAIL_WELCOME	server	how often it asks for a sign of life: milliseconds, 32 bits
 *	HAIL_PING	server	are you there?
 *	HAIL_PONG	client	yes
 *	HAIL_MORE	server	have that many connections more ready: 32 bits
 *	HAIL_OPEN	server	it is used: the name of what for, or none, a NUL, the address of
 *				who connected, as text, a NUL, and the one that was dialled. Of
 *				0.1 a server says who connected alone, or behind a name; its client
 *				looks no further
 *	HAIL_TAKEN	client	heard; the target is being connected to
 *	HAIL_OPENED	client	bytes follow, in both directions
 *	HAIL_REFUSED	client	the target was not to be had; the connection waits again
 *
 * A connection of the kind HAIL_CONTROL carries no other's bytes; what was asked for over it lasts
 * as long as it does, and the server's MOUTH_HOLD_MS if it breaks (tunnel/order has the texts):
 *
 *	HAIL_ORDER	client	have this led through the tunnel
 *	HAIL_GRANTED	server	so it is: the name, a NUL, where is listened
 *	HAIL_DENIED	server	it is not: the name, a NUL, '1' if it may be asked for again or
 *				'0', and why
 *	HAIL_LEAVE	client	that was all: nobody need be held
 *
 * A connection of the kind HAIL_REVERSE is used by the client:
 *
 *	HAIL_REACH	client	connect to this: an order; answered by HAIL_OPENED, or HAIL_REFUSED
 *				and why, which is its end
 *
 * Neither end of lennut may be greeted by the other wire: its server passes what a client says to
 * whoever connects next, its client takes another greeting for an error, ends the connection and
 * comes again after a second. The second does less harm, so a server greets a connection that says
 * nothing with HAIL_OWN: a client of ours answers, and one of lennut's shows what it is.
 */
#define HAIL_BYTES  8
#define HAIL_LENNUT "lennet01" /* so spelt */
#define HAIL_OWN    "nswrapt1"

enum hail_type {
	HAIL_HELLO = 'H',
	HAIL_WELCOME = 'W',
	HAIL_PING = 'P',
	HAIL_PONG = 'Q',
	HAIL_MORE = 'M',
	HAIL_OPEN = 'O',
	HAIL_TAKEN = 'T',
	HAIL_OPENED = 'A',
	HAIL_REFUSED = 'R',
	HAIL_ORDER = 'F',
	HAIL_GRANTED = 'G',
	HAIL_DENIED = 'N',
	HAIL_LEAVE = 'L',
	HAIL_REACH = 'C',
};

/* What a connection is for. */
enum hail_kind {
	HAIL_ANY = 'a',   /* whatever the server has to be led through */
	HAIL_NAMED = 'n', /* what the client has asked for by name, and nothing else */
	HAIL_CONTROL = 'c',
	HAIL_REVERSE = 'r',
};

#define HAIL_HEADER_BYTES 4
#define HAIL_TEXT_MAX     512
#define HAIL_ID_BYTES     8
#define HAIL_ROUND        32 /* messages of one connection, then others get their turn */

/* Reads messages and not a byte behind them. Starts as all zero. */
struct hail_reader {
	unsigned char bytes[HAIL_HEADER_BYTES + HAIL_TEXT_MAX];
	size_t have;
};

struct hail {
	enum hail_type type;
	const unsigned char *text; /* of the reader, until the next call */
	size_t len;
};

/* Messages go at once over this connection, and a peer that vanishes is noticed. */
void hail_prepare(int fd);

/*
 * The next message from @fd. Returns 1 with @out, 0 when more must come first, or -errno: -EPIPE at
 * the end, -EPROTO for what is none.
 */
int hail_read(struct hail_reader *reader, int fd, struct hail *out);

/* A message; it is small, and a connection that waits has room for it. Returns 0 or -errno. */
int hail_send(int fd, enum hail_type type, const void *text, size_t len);

/* HAIL_OWN and a hello in one piece. */
int hail_send_hello(int fd, const unsigned char id[HAIL_ID_BYTES], enum hail_kind kind);

/* Whose it is and what for. Returns false if it is no hello. */
bool hail_read_hello(
	const struct hail *hail, unsigned char id[HAIL_ID_BYTES], enum hail_kind *kind);

/* Numbers of messages. */
uint32_t hail_number(const struct hail *hail);
int hail_send_number(int fd, enum hail_type type, uint32_t number);

/*
 * What stands first at @fd, left there: 1 if that is the HAIL_BYTES of @greeting, 0 if it is a part
 * of them (perhaps nothing), -EPIPE at the end, -EPROTO for anything else, or another -errno.
 */
int hail_peek(int fd, const char *greeting);
