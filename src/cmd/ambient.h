/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/ambient - variables of the environment that name a port of this host's loopback */
#pragma once

#include "sandbox/config.h"

/*
 * http_proxy and the like, and DISPLAY, mean another 127.0.0.1 inside. Say so where nothing of
 * @config leads there; its environment is complete.
 */
void ambient_hint(const struct sandbox_config *config);

/* Lead the port of DISPLAY, if it is of loopback (ssh -X), outwards. 0, or -errno with @err. */
int ambient_add_display(struct sandbox_config *config, struct err *err);
