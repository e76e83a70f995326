/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/setup - make fresh namespaces into a place to work in */
#ifndef NSWRAP_SANDBOX_SETUP_H
#define NSWRAP_SANDBOX_SETUP_H

#include "sandbox/init.h"

/*
 * Run by init with all capabilities of its new namespaces: mounts, loopback, TAP, addresses,
 * routes, sysctls. Stores the descriptors for INIT_READY to @fds (-1 where there is none; the
 * caller owns them). Returns 0 or -errno with @err filled.
 */
int setup_namespaces(const struct init_start *start, int fds[INIT_FDS], struct err *err);

#endif
