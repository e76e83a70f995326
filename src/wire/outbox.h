/* SPDX-License-Identifier: Apache-2.0 */
/* wire/outbox - the frames that wait for a wire: messages, then packets by turns */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "util/list.h"
#include "wire/fq.h"

/*
 * How it works
 *
 * Messages (and acknowledgements) keep their order and go before packets, which take turns
 * (wire/fq). What is next to be written is chosen late and in small portions: frames that are
 * leaving cannot be overtaken any more, nor dropped, as part of the first one may be gone.
 */
struct outbox {
	/* the owner may read these */
	size_t message_bytes; /* of messages that wait */
	size_t leaving_bytes;
	struct fq packets;
	/* the owner may set it: packets that begin a TCP connection ask for no larger segments; 0:
	 * as they are */
	uint16_t max_mss;

	/* its own */
	struct list messages, leaving; /* struct fq_packet */
};

void outbox_init(struct outbox *outbox, size_t max_packet_bytes);

/* Free all that waits; it can be used again. */
void outbox_clear(struct outbox *outbox);

bool outbox_is_empty(const struct outbox *outbox);

/* A copy of a frame, or of the rest of one that is partly gone: it goes first of all. Returns 0 or
 * -ENOMEM. */
int outbox_add_rest(struct outbox *outbox, const void *bytes, size_t len);

/* A copy of a frame that holds no packet. Returns 0 or -ENOMEM. */
int outbox_add_message(struct outbox *outbox, const void *frame, size_t len);

/* A copy of a frame that holds a packet from @source. It, or others, may be dropped. */
void outbox_add_packet(
	struct outbox *outbox, uint32_t source, const void *frame, size_t len, uint64_t now_ns);

/*
 * Have what is next leave, until there are @max_bytes or more of it, or no more frames. Packets are
 * cut into frames of @packet_bytes, where they can be; 0: no packets now.
 */
void outbox_fill(struct outbox *outbox, size_t max_bytes, size_t packet_bytes, uint64_t now_ns);

/* What is leaving, in order: at most @cap parts. Returns how many. */
int outbox_parts(const struct outbox *outbox, struct iovec *parts, int cap);

struct outbox_gone {
	size_t frames; /* that are gone, packets and messages */
	size_t bytes;  /* that the other side acknowledges */
};

/* The first @bytes of what was leaving are gone. */
struct outbox_gone outbox_written(struct outbox *outbox, size_t bytes);
