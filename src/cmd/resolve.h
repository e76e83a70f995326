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

/*
 * The rule that leads @port of @host to the same of this host, where @host is another inside: an
 * address of loopback or a name that each sandbox has for one (a rule at that address), or a name
 * of this machine (at all addresses). Asks no name server. False, with @out untouched: anything
 * else.
 */
bool resolve_twin(const char *host, uint16_t port, struct outward_spec *out);
