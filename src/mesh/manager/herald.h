/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/herald - tells a service manager how the mesh is doing (sd_notify(3)) */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proc/sdnotify.h"
#include "util/loop.h"

/*
 * How it works
 *
 * READY=1 is told when each host has been tried: it is ready, or has been lost once. What needs the
 * mesh starts then, and a host that is down does not keep it waiting. A command may be silent for
 * as long as it likes, so that is at most HERALD_READY_MS after the start. The status line says how
 * many hosts are ready, whenever that changes. A watchdog is told from the loop that serves the
 * hosts. All of this does nothing where there is no service manager.
 */
#define HERALD_READY_MS 30000

/* Starts as all zero. */
struct herald {
	char *address; /* owned; NULL: nobody is told */
	struct sdnotify own;
	struct loop *loop;
	bool is_ready;
	struct loop_timer ready_timer, watchdog_timer;
	uint64_t watchdog_ms;  /* 0: there is none */
	size_t nready, nhosts; /* as they were told last */
};

/* Reads what the manager has left in the environment, and takes it away from what is started. */
void herald_begin(struct herald *herald, struct loop *loop);

/* @nready of @nhosts hosts are ready, and @nuntried have not been tried to their end. */
void herald_tell_hosts(struct herald *herald, size_t nready, size_t nhosts, size_t nuntried);

/* The manifest is read again; it has been. */
void herald_tell_reload(struct herald *herald);
void herald_tell_reloaded(struct herald *herald);

/* The mesh is ending. */
void herald_tell_end(struct herald *herald);

/* A manager that has no room for what is still to be told has a second. */
void herald_end(struct herald *herald);
