/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/elsewhere - who listens inside where the forward to that port does not lead */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "net/plan.h"
#include "sandbox/forwards.h"

#define ELSEWHERE_MAX 4 /* addresses told of one forward */

/*
 * Look for servers of those of @rows, sandbox/request's forwards for @items, that nobody is
 * "listening" for: each address of such gets into the row's "elsewhere", a sorted array, such as
 * "127.0.0.2:80", or "0.0.0.0%2:80" for one that is bound to a device, here the second. One that
 * listens where the forward leads by now makes the row "listening". A row without such servers, or
 * where the kernel does not say, stays as it is. @guest_diag as driver_is_listening has it.
 */
void elsewhere_tell(int guest_diag, const struct net_plan *plan, const struct forwards_item *items,
	size_t count, json_t *rows);
