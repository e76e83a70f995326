/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/configure - the arguments of `configure` in JSON, as a NoRouter manager writes them */
#pragma once

#include <jansson.h>

#include "mesh/config.h"
#include "util/err.h"

/*
 * Returns 0 (free with config_free), or -EINVAL (-ENOMEM) with @err naming the first member that is
 * wrong; @out is then all zero.
 */
int configure_decode(const json_t *args, struct mesh_config *out, struct err *err);

/*
 * Leaves out what an agent without a feature must not see (told_with in the table): UDP offers and
 * ports unless @features has FEATURE_UDP, anyPort unless it has FEATURE_SANDBOX. NULL: no memory,
 * or a text that is no UTF-8.
 */
json_t *configure_encode(const struct mesh_config *config, unsigned features);

/* Is an agent with @a_features told the same of @a as one with @b_features of @b? Not if memory
 * runs out. */
bool configure_tells_same(const struct mesh_config *a, unsigned a_features,
	const struct mesh_config *b, unsigned b_features);
