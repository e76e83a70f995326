/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/atlas - what a host knows of its mesh: names, addresses, and what is behind which host
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "mesh/config.h"
#include "util/addr.h"

#define ATLAS_NAME_MAX 255 /* of a host name, its final dot included */

struct atlas;

/*
 * What @config says, which need not stay. Of what @old (NULL: nothing) has learnt is kept what is
 * behind hosts that names are asked of still. Returns NULL with errno set.
 */
struct atlas *atlas_new(const struct mesh_config *config, const struct atlas *old);
void atlas_free(struct atlas *atlas); /* NULL is allowed */

/* A host's name or an alias, letters in either case; a final dot does not count. */
bool atlas_find_name(const struct atlas *atlas, const char *name, struct in_addr *vip);

/* Is it a host's address, or is it behind another host? */
bool atlas_is_in_mesh(const struct atlas *atlas, struct in_addr ip);

/* Which host has @ip, or what is @ip behind? False: none but this one. */
bool atlas_find_host(const struct atlas *atlas, struct in_addr ip, struct in_addr *host);

/* Is any address behind another host? */
bool atlas_has_networks(const struct atlas *atlas);

/* Call @each for every network behind another host, and with prefix 32 for what was learnt. */
void atlas_each_network(const struct atlas *atlas,
	void (*each)(void *told, struct in_addr ip, int prefix_len), void *told);

/*
 * Which other host is asked for @name, which is no name of the mesh? False: none. @server is the
 * place of its name server (TCP), of family AF_UNSPEC where it has none.
 */
bool atlas_find_asked(
	const struct atlas *atlas, const char *name, struct in_addr *via, struct addr *server);

/* @ip, an address of a name, is behind @via from now on. False: that cannot be, as it is a host's,
 * every host's own or nobody's, or as nothing is asked of @via. */
bool atlas_learn(struct atlas *atlas, struct in_addr ip, struct in_addr via);
