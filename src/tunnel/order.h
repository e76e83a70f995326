/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/order - what a client of a tunnel has led through it by name: NAME=ADDR:TO */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tunnel/endpoint.h"
#include "tunnel/hail.h"
#include "util/addr.h"
#include "util/err.h"

#define ORDER_NAME_MAX 32
#define ORDERS_MAX     64 /* of a client */

struct order {
	char name[ORDER_NAME_MAX + 1];
	bool is_reverse; /* the client listens, the server's side connects */
	enum proto proto;
	struct addr at;     /* where is listened */
	struct endpoint to; /* what is connected to */
};

/*
 * "NAME=ADDR:TO", with "/udp" behind it for datagrams. ADDR is one of who listens: IP:PORT,
 * [IPV6]:PORT or unix:PATH, where PATH has no colon; TO is any endpoint. Pure. Returns 0, or
 * -EINVAL with @err filled; @out is untouched then.
 */
int order_parse(const char *text, bool is_reverse, struct order *out, struct err *err);

/*
 * What the server has to know of it: the name, and where it listens or what it connects to. The
 * name is empty where only the latter matters. Returns how many bytes.
 */
size_t order_encode(const struct order *order, unsigned char out[HAIL_TEXT_MAX]);

/* The other way; what the server need not know is zero, and "localhost" is 127.0.0.1. Returns 0, or
 * -EPROTO. */
int order_decode(const unsigned char *bytes, size_t len, struct order *out);

/* "NAME", a NUL and @text: an answer about an order. Cut to fit. */
size_t order_label(const char *name, const char *text, unsigned char out[HAIL_TEXT_MAX]);

/*
 * The other way; without a NUL all of it is the text. @text has room for HAIL_TEXT_MAX + 1. Returns
 * false if the name is too long.
 */
bool order_read_label(const struct hail *hail, char name[ORDER_NAME_MAX + 1], char *text);

/*
 * HAIL_OPEN's label: @peer has come for @name, or for none that has one (""), and has dialled
 * @dialled, if that is known. Returns how many bytes.
 */
size_t order_encode_open(const char *name, const struct addr *peer, const struct addr *dialled,
	unsigned char out[HAIL_TEXT_MAX]);

/* The other way; what is not said is "". Returns false if something is too long. */
bool order_decode_open(const struct hail *hail, char name[ORDER_NAME_MAX + 1],
	char peer[ADDR_TEXT_BYTES], char dialled[ADDR_TEXT_BYTES]);
