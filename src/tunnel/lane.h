/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/lane - a client's connection at the server, until the bytes of others pass over it */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/context.h"
#include "link/proof.h"
#include "tunnel/hail.h"
#include "tunnel/lennuts.h"
#include "util/list.h"
#include "util/shares.h"

/*
 * How it works
 *
 * A lane proves to have the key, if the server has one. Which wire it speaks shows by its first
 * bytes (tunnel/hail); one that says nothing for LANE_SILENT_MS is greeted, and shows what it is.
 * Where lennut's clients are known to come from (tunnel/lennuts) it is taken for lennut's instead,
 * until it says something else. Then it waits: for its owner, or with its own wire for what its
 * client has to say. Lanes that wait are asked for signs of life.
 *
 * One that waits is asked to be used (lane_ask): the client says that it has heard, within
 * LANE_TAKEN_MS, and then that bytes follow or that the target refused, after which it waits again.
 *
 * Where a word is waited for in vain the client is taken for dead, with all its lanes; but only
 * that lane where it was heard at another one meanwhile: it has much to do, or lost one connection.
 */
#define LANE_SILENT_MS   100  /* it is greeted */
#define LANE_KNOWN_MS    5    /* or waits, where lennut's clients come from */
#define LANE_LEAVES_MS   1000 /* within which lennut's clients end what was greeted */
#define LANE_TAKEN_MS    2000
#define LANE_DEAD_MS     15000 /* to say hello */
#define LANE_PROOF_MS    10000
#define LANE_PROVING_MAX 1024 /* one more costs its address's oldest its place, or the oldest */
#define LANES_MAX        4096 /* one more, too, or the address with the most of them one */
#define LANES_SHARE      4    /* and of all descriptors at most this part */
#define LANES_ASKED      4    /* and of these at most this part is asked for */
#define LANES_FEW        3 /* of a client that is up: so many more than others have are nobody's */

enum lane_state {
	LANE_PROVING, /* to have the key: in house->proving */
	LANE_NEW,     /* it has said nothing, and may be of either wire */
	LANE_GREETED, /* by us: it is perhaps lennut's if it ends now */
	LANE_HELLO,   /* HAIL_OWN came, the hello is next */
	LANE_WAITING,
	LANE_ASKED, /* HAIL_OPEN was sent */
	LANE_TAKEN, /* the client has heard of it */
};

struct lane {
	/* the owner's; @at is the house's until it waits */
	struct list at;
	struct caller *caller;   /* whose it is */
	struct inbound *inbound; /* for whom it was asked */

	/* to read: of those that wait */
	struct lane_house *house;
	bool is_own; /* not lennut's */
	enum hail_kind kind;
	unsigned char id[HAIL_ID_BYTES]; /* of the client */
	struct addr peer;
	struct loop_io io;

	/* its own */
	struct list all;
	unsigned source; /* in house->shares */
	struct loop_timer timer;
	struct loop_task more; /* messages, after others had their turn */
	enum lane_state state;
	unsigned silent; /* how often it was asked for a sign of life, in vain */
	uint64_t greeted_ns, asked_ns, heard_ns;
	struct hail_reader reader;
	struct proof proof;
};

/* None of them may close the lane it is called for, but what takes it. */
struct lane_ops {
	/* It waits, for the first time. Returns false if the owner wants none such. */
	bool (*on_new)(struct lane *lane);
	/* Bytes follow: the owner takes it (lane_take). */
	void (*on_opened)(struct lane *lane);
	/* The target was not to be had; it waits again. */
	void (*on_refused)(struct lane *lane);
	/* A message that a lane knows nothing of. Returns 0; 1 if the owner has taken it; or
	 * -EPROTO: it is dropped. */
	int (*on_message)(struct lane *lane, const struct hail *hail);
	/* Its client does not answer, and other lanes of it will not, either; they may be closed
	 * from here. on_over follows. */
	void (*on_dead)(struct lane *lane);
	/* It broke, or was dropped: it is gone then, and @at is in no list. */
	void (*on_over)(struct lane *lane);
};

/* What all lanes of a server have in common. Starts as all zero but for the first five. */
struct lane_house {
	const struct lane_ops *ops;
	void *owner;
	const struct conn_context *context;
	const struct keyfile *key; /* that lanes prove to have; NULL: none */
	unsigned beat_ms;          /* how often there are signs of life */

	/* its own */
	struct lennuts lennuts;
	struct list all, proving; /* the oldest first */
	size_t count, nproving;
	struct shares shares; /* of lanes, which are no others' */
	struct shares_part part;
};

void lane_house_init(struct lane_house *house);

/* Closes all that are left; no callback comes. */
void lane_house_fini(struct lane_house *house);

/* How many more lanes clients may be asked for: those that wait leave most of the room to those
 * that come by themselves, as for --reverse. */
size_t lane_house_spare(const struct lane_house *house);

/* @fd is nonblocking and taken over. With @is_proven no key is asked for. */
void lane_add(struct lane_house *house, int fd, const struct addr *peer, bool is_proven);

/*
 * Of one that waits: is it to be used? @text is HAIL_OPEN's, @wanted how many more its client is
 * asked for. Returns 0, or -errno; the owner drops it then.
 */
int lane_ask(struct lane *lane, const void *text, size_t len, size_t wanted);

/* Of lennut's, that waits: bytes follow. Returns 0, or -errno; the owner drops it then. */
int lane_use(struct lane *lane);

/* The descriptor is the caller's, and the lane is gone; @at is taken out of its list. */
int lane_take(struct lane *lane);

/* lane_take, and the descriptor is closed. */
void lane_close(struct lane *lane);
