/* SPDX-License-Identifier: Apache-2.0 */
/* link/proof - both ends of a link prove to each other that they have the same key */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "link/keyfile.h"
#include "util/loop.h"

/*
 * How it works
 *
 *	asker                                  answerer
 *	HELLO: magic 'A' purpose nonce   ->
 *	                                 <-    HELLO: magic 'B' purpose nonce
 *	PROOF: of 'A'                    ->
 *	                                 <-    PROOF: of 'B'
 *
 * A HELLO has 48 bytes: "nswrap", 1, the role, the purpose (8 bytes, filled up with NUL), 32 bytes
 * that are new each time. A PROOF has 32: HMAC-SHA256 (RFC 2104) with the key over the role of who
 * proves and both HELLOs. So it fits no other link, no other purpose and not the other direction:
 * nothing that was heard before or is sent back helps who has no key. The asker proves first: who
 * only looks who answers at a port gets nothing to try keys with.
 *
 * Never is more read than these bytes: what comes behind them is the link's own. In front of a
 * HELLO there may be noise (a login banner) where the owner says so.
 *
 * What follows is neither encrypted nor signed: who can change bytes on the way can still do so.
 */
#define PROOF_NONCE_BYTES   32
#define PROOF_MAC_BYTES     32
#define PROOF_PURPOSE_BYTES 8
#define PROOF_HELLO_BYTES   (8 + PROOF_PURPOSE_BYTES + PROOF_NONCE_BYTES)
#define PROOF_NOISE_MAX     (64U << 10)

enum proof_role { PROOF_ASKER = 'A', PROOF_ANSWERER = 'B' };
enum proof_step { PROOF_IDLE, PROOF_AWAITS_HELLO, PROOF_AWAITS_MAC, PROOF_PROVEN };

/* Starts as all zero but for the first six, which are the owner's. */
struct proof {
	struct loop *loop;
	const struct keyfile *key;
	enum proof_role role; /* the other end has the other one */
	const char *purpose;  /* the same at both ends: up to PROOF_PURPOSE_BYTES */
	bool may_have_noise;
	/*
	 * 0: both have proven. Or -errno, with @why in words: -EPROTO, -EACCES (another key),
	 * -ETIMEDOUT, -EPIPE (it ended). From the loop, once; the owner may free it.
	 */
	void (*on_done)(struct proof *proof, int result, const char *why);

	/* its own */
	enum proof_step step;
	struct loop_io io;
	struct loop_timer deadline, flush;
	int out_fd;
	unsigned char own[PROOF_HELLO_BYTES], peer[PROOF_HELLO_BYTES], mac[PROOF_MAC_BYTES];
	size_t have; /* of what is awaited */
	size_t noise;
	unsigned char out[PROOF_HELLO_BYTES + PROOF_MAC_BYTES];
	size_t out_len; /* that is still to be written */
};

/*
 * Begin over two descriptors (perhaps one number), made nonblocking, which stay the caller's and
 * must stay open. Returns 0 or -errno: -EPERM for a file.
 */
int proof_start(struct proof *proof, int in_fd, int out_fd, unsigned deadline_ms);

/* No callback comes after it. Fine if none is under way. */
void proof_cancel(struct proof *proof);

/* Are they the first bytes of a HELLO, so far as they go? To tell wires at one port apart. */
bool proof_is_hello(const void *bytes, size_t len);
