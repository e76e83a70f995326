/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/mesh_status - all that a mesh says of its hosts, in as many answers as that takes */
#pragma once

#include <jansson.h>

#include "util/err.h"

/*
 * Ask with @ask, which takes @question over and returns 0 with the answer, the caller's, or -errno
 * with @err filled. *@out is the first answer with the hosts of all. Returns 0, or what @ask did:
 * then it is NULL.
 */
int mesh_status_ask(int (*ask)(void *owner, json_t *question, json_t **answer, struct err *err),
	void *owner, json_t **out, struct err *err);
