/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/author - which agent has written lines in a file, and is there no longer? */
#pragma once

#include <stdbool.h>

#include "mesh/agent/marked.h"

/* This process, at @vip. What /proc does not say is 0. */
struct marked_author author_self(struct in_addr vip);

/*
 * Has @author ended, as seen by @self? One of another PID namespace cannot be looked at: it has, if
 * @self is at its address now, as a container has that was started again.
 */
bool author_is_over(const struct marked_author *author, const struct marked_author *self);
