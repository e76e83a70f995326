/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/chart - what belongs to whom in a mesh: hosts, what they offer, routes */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "mesh/manager/roster.h"

/* Of what a host or a route has more of, the first ones are told, and how many there are. */
#define CHART_ITEMS_MAX 50

/*
 * The answer to "graph" (mesh/manager/manager) of mesh @name. Hosts and routes are counted through,
 * hosts first: those from number @from on, as many as fit into a message. NULL: no memory.
 *
 * A host is {"name", "vip", "state", "rtt_ms", "aliases", "offers", "offers_total", "any_port",
 * "http", "socks", "allow", "expose", "expose_total"}: where its proxies listen, or null; who may
 * reach it, {"name", "port" (0: all), "proto"} each, or null: everybody; what routes may lead to by
 * way of it, as the manifest has it, or null: all. An offer is {"port", "proto", "host", "target"};
 * a route {"to", "to_total", "via"}, the name of a host.
 */
json_t *chart_json(const struct roster *roster, const char *name, size_t from);
