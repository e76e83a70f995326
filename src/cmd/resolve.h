/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/resolve - make a rule that leads outwards right for wherever it is used */
#pragma once

#include "forward/outward.h"

/* The first address of @host, a name or an address, with port 0. 0, or -errno with @err filled. */
int resolve_host(const char *host, struct addr *out, struct err *err);

/*
 * A host's name becomes its first address, looked up now; a relative path is meant from here.
 * Returns 0, or -errno with @err filled.
 */
int resolve_outward(struct outward_spec *spec, struct err *err);
