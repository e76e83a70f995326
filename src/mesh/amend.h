/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/amend - what is different about the other hosts of a mesh: the arguments of `amend` */
#pragma once

#include <jansson.h>

#include "mesh/config.h"
#include "util/err.h"

/*
 * Where hosts come and go all the time, each of the others would be told of all the rest each time.
 * So who has FEATURE_AMEND is told what is to be added to its configuration and what is to be
 * removed first: {"remove": {...}, "add": {...}}, each with "others", "hostnameMap" and
 * "nameServers" as in `configure`. Of a configuration nothing but these counts here.
 */

/* NULL: no memory, or a text that is no UTF-8. */
json_t *amend_encode(const struct mesh_config *removed, const struct mesh_config *added);

/* Change @config as @args says. Returns 0, or -EINVAL (-ENOMEM) with @err filled and @config as it
 * was. What is to be removed and is not there is no error. */
int amend_apply(const json_t *args, struct mesh_config *config, struct err *err);
