/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/spoke - a client's connection to its server, until the bytes of others pass over it */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/context.h"
#include "conn/dial.h"
#include "link/proof.h"
#include "tunnel/hail.h"
#include "util/list.h"

/*
 * How it works
 *
 * A spoke is connected to the server and proves to have the key, if there is one. It says nothing
 * until the server has, as that may be lennut's (tunnel/hail says why): HAIL_OWN, and from then on
 * all spokes say so first; or nothing for SPOKE_SILENT_MS, and it is lennut's.
 *
 * One that waits answers signs of life, and gives up a server that asks for none.
 */
#define SPOKE_SILENT_MS 2000

enum spoke_state {
	SPOKE_DIALS,   /* to the server */
	SPOKE_PROVES,  /* to have the key */
	SPOKE_SILENT,  /* which wire? */
	SPOKE_HELLO,   /* ours: HAIL_WELCOME is next */
	SPOKE_WAITING, /* ours or lennut's */
	SPOKE_USED,    /* the owner has a use for it, and no message is expected but its own */
};

enum server_kind { SERVER_UNKNOWN, SERVER_OWN, SERVER_LENNUT };

struct spoke {
	const struct spoke_ops *ops;
	void *owner;
	struct list at; /* the owner's, or in no list */

	/* to read */
	struct spoke_house *house;
	enum hail_kind kind;
	enum spoke_state state;
	bool is_own;
	bool is_silent; /* it is lost as the server gives no sign of life */
	struct loop_io io;

	/* the owner's of one that is used */
	struct dial dial;
	void *used_for;
	char peer[ADDR_TEXT_BYTES];    /* who connected at the server */
	char dialled[ADDR_TEXT_BYTES]; /* to what there; "": not known */

	/* its own */
	struct loop_task start;
	struct loop_task more;   /* messages, after others had their turn */
	struct loop_timer timer; /* of our wire: the server is silent for too long */
	struct proof proof;
	struct hail_reader reader;
	bool is_counted;
	unsigned source;
};

/* None of them may close the spoke, but on_greeted, which may, and what takes it. */
struct spoke_ops {
	/* It waits, at a server of that kind. */
	void (*on_up)(struct spoke *spoke, enum server_kind kind);
	/* Of lennut's: bytes follow. NULL: it is lost. */
	void (*on_greeted)(struct spoke *spoke);
	/* A message that a spoke knows nothing of. Returns 0; 1 if nothing more is to be read now,
	 * the spoke may be gone; or -EPROTO: it is lost. */
	int (*on_message)(struct spoke *spoke, const struct hail *hail);
	/* It is gone then, as @why says; @at is in no list. Never from spoke_open. */
	void (*on_lost)(struct spoke *spoke, const char *why);
};

/* What all spokes of a client have in common: all of it is the owner's. */
struct spoke_house {
	const struct conn_context *context;
	struct dial_target server;
	int (*connect)(void *owner); /* see reach_start */
	void *owner;
	const struct keyfile *key;
	unsigned char id[HAIL_ID_BYTES];
	enum server_kind kind; /* what the server is, as far as that is known */
	unsigned beat_ms;      /* as often asks the server for signs of life; spokes set it */
};

/* A new one, or NULL for want of memory. */
struct spoke *spoke_open(
	struct spoke_house *house, enum hail_kind kind, const struct spoke_ops *ops, void *owner);

/* Of one that waits: it is used, or waits again. */
void spoke_use(struct spoke *spoke);
void spoke_wait(struct spoke *spoke);

/* It counts for @source (SHARES_LED) until it waits again, or is gone. */
void spoke_count(struct spoke *spoke, unsigned source);

/* The descriptor is the caller's, and the spoke is gone; @at is taken out of its list. */
int spoke_take(struct spoke *spoke);

/* spoke_take, and the descriptor is closed. */
void spoke_close(struct spoke *spoke);
