/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/front - clients of one proxy: let in, served by its protocol, timed out, sent on */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/context.h"
#include "proxy/access.h"
#include "proxy/guide.h"
#include "util/addr.h"
#include "util/list.h"
#include "util/loop.h"

/*
 * How it works
 *
 * Who accepts (conn/service) gives each client to the front, which turns away those whose user may
 * not come in. The others are guests of a protocol, which reads what they want, asks the guide for
 * a connection, and leaves both to a relay: from then on there is no guest any more. A guest that
 * it has to refuse hears last words (proxy/parting). A guest has a deadline until the protocol sets
 * another one; one that breaks is dropped.
 * Where descriptors are short and its address has most of them (util/shares), the one of it that
 * was silent longest is.
 */
#define FRONT_WAIT_MS 30000 /* for a new guest to say what it wants */

struct front;
struct front_guest;

/* What is done with a guest. From the loop; each may drop, part from or relay its guest. */
struct front_protocol {
	const char *name;   /* "SOCKS" */
	size_t guest_bytes; /* of a struct whose first member is a front_guest; zeroed at first */
	size_t guest_fds;   /* that count for each guest, its own included */
	void (*on_ready)(struct front_guest *guest, uint32_t events); /* of its socket */
	void (*on_late)(struct front_guest *guest); /* its deadline has come; NULL: it is dropped */
	/* It is leaving: free what is in it and is the protocol's, and nothing else. */
	void (*on_end)(struct front_guest *guest);
};

struct front_guest {
	struct front *front;
	struct loop_io io; /* its socket, nonblocking; watched for EPOLLIN at first */
	struct addr peer;

	/* the front's */
	uint64_t used_ns;
	unsigned source; /* for util/shares */
	struct loop_timer deadline;
	struct list link;
};

/* All stay the caller's. Returns NULL with errno set. */
struct front *front_new(const struct conn_context *context, const struct front_protocol *protocol,
	struct guide *guide);

/* Drops all guests. What is relayed goes on as long as the context does. NULL is allowed. */
void front_free(struct front *front);

/* From now on, for guests that are there, too. Copied. Returns 0 or -ENOMEM: nothing changed. */
int front_set_access(struct front *front, const struct access *access);

/* A client, whose socket (connected, nonblocking) is the front's from now on. */
void front_add(struct front *front, int fd, const struct addr *peer);

const struct access *front_access(const struct front *front);
const struct conn_context *front_context(const struct front *front);
struct guide *front_guide(const struct front *front);
size_t front_guests(const struct front *front);

/* --- for protocols; those that return nothing are the end of the guest, except the first three --
 */

/* It is refused, because it did what @why says ("gave a wrong password"): a line at most a second.
 */
void front_note_refused(const struct front_guest *guest, const char *why);

/* Something is going on that events of its socket do not show. */
void front_use(struct front_guest *guest);

/* @ms from now; 0: there is none any more. */
void front_set_deadline(struct front_guest *guest, uint64_t ms);

/* Reset it. */
void front_drop(struct front_guest *guest);

/* It is told @bytes (a few, which its socket takes at once), and the end, and has a moment to hear
 * it: what it still says is read and thrown away. */
void front_part(struct front_guest *guest, const void *bytes, size_t len);

/* It has ended and all that it was told has been taken: nothing is left to say or to hear. */
void front_end(struct front_guest *guest);

/*
 * The rest is between the guest and @target_fd, which is taken over. @from_guest was read from it
 * already and goes to the target; @from_target goes to the guest before all else; RELAY_PUSH_MAX
 * bytes each. If there is no memory both are reset.
 */
struct front_bytes {
	const void *bytes;
	size_t len;
};
void front_relay(struct front_guest *guest, int target_fd, struct front_bytes from_guest,
	struct front_bytes from_target);
