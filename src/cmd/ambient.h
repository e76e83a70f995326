/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/ambient - variables of the environment that name a port of this host's loopback,
 * or of this host */
#pragma once

#include "sandbox/config.h"

/*
 * http_proxy and the like, and DISPLAY, mean another 127.0.0.1 inside. Say so where nothing of
 * @config leads there; its environment is complete.
 */
void ambient_hint(const struct sandbox_config *config);

/*
 * Lead the port of DISPLAY, if it is of loopback or of this machine (ssh -X), outwards, at the
 * address that it has. 0, or -errno with @err. A name is the rule's target then: see resolve.h.
 */
int ambient_add_display(struct sandbox_config *config, struct err *err);
