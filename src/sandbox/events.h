/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/events - tell other programs how a sandbox is doing */
#pragma once

#include <jansson.h>

#include "sandbox/notifyrelay.h"
#include "util/ready.h"

/*
 * How it works
 *
 * --info-fd gets one JSON object a line and an event: {"event": NAME, ...}. "started" (name, pid),
 * "forward" (the rule, see sandbox/request), "reverse" (the same), "guest-listening",
 * "forward-lost" and "forward-back" (the rule), "exited" (status).
 * --ready-fd gets the line READY=1 and is closed; the service manager is told the same: both once,
 * when the first guest port listens, or COMMAND runs if there is no forward. The sandbox waits for
 * nobody: who does not read loses events; that all is ready is told when there is room.
 */
struct events {
	struct ready ready;
	int info_fd;                 /* -1: none; stays open */
	struct notifyrelay *manager; /* NULL: none (any more) */
};

/* Emit @body (taken over; a JSON object, or NULL for none) as event @name. */
void events_emit(struct events *events, const char *name, json_t *body);
void events_ready(struct events *events);

/* What is owed at --ready-fd has a second; events may still be emitted. */
void events_end(struct events *events);
