/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/muster - the hosts of a manifest and those of its lists, as one manifest */
#pragma once

#include "mesh/manifest/manifest.h"
#include "mesh/manifest/roll.h"

/*
 * The hosts of @base, then those who are on @rolls, one a crowd of @base; there are no crowds in
 * @out, which is its own. Returns 0, -ENOMEM, or -EINVAL when it would be too much; @err is filled
 * and @out all zero then.
 */
int muster_make(const struct manifest *base, const struct roll *rolls, struct manifest *out,
	struct err *err);
