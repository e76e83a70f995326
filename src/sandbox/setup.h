/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/setup - make fresh namespaces into a place to work in */
#pragma once

#include "conn/door.h"
#include "proc/confine.h"
#include "sandbox/init.h"

#define SETUP_VIA_NAME "via0" /* whose packets go through a link (sandbox/viaproc) */

/*
 * All run in fresh namespaces that belong to our user namespace, as their all-capable process,
 * before rights are dropped. They return 0, or -errno with @err filled.
 */

/*
 * Run by init: the network namespace, with loopback, TAP, addresses, routes, sysctls, and at the
 * same time, in a thread that has ended afterwards, the file view (sandbox/view.h). Stores the
 * descriptors for INIT_READY to @fds (-1 where there is none; the caller owns them), and the mints
 * of the door to @mints, and makes the filter of @confine meanwhile (proc/confine). No text in
 * @err: the network namespace is refused, and who is outside can see why.
 */
int setup_namespaces(const struct init_start *start, int fds[INIT_FDS], struct door_mints *mints,
	struct confine *confine, struct err *err);

/* The first steps of it, of which nothing is kept: would they be allowed here? */
int setup_try(struct err *err);

/* Behind it, and with a TAP: could the kernel inside carry outbound connections? @err has only the
 * reason, if not. */
int setup_try_carry(struct err *err);
