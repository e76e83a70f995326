/* SPDX-License-Identifier: Apache-2.0 */
/* util/ready - the line READY=1, for who has left a descriptor for it */
#pragma once

#include <stdbool.h>

#include "util/loop.h"

/* The owner sets loop and io.fd; the rest starts as all zero. */
struct ready {
	struct loop *loop;
	struct loop_io io; /* -1: none (any more); owned */
	bool is_owed;      /* there was no room for it yet */
};

/* Write the line and close the descriptor: now, or as soon as there is room. Nobody waits for it,
 * and a descriptor that is shared stays as it is. */
void ready_tell(struct ready *ready);

/* Close the descriptor. What is owed has @wait_ms. */
void ready_end(struct ready *ready, int wait_ms);
