/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/config - what an agent is told about its mesh: the arguments of `configure` */
#ifndef NSWRAP_MESH_CONFIG_H
#define NSWRAP_MESH_CONFIG_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/addr.h"

/* What a host offers at its virtual IP. */
struct mesh_offer {
	uint16_t listen_port; /* host order, 1..65535, as all ports here */
	char *connect_host;   /* an IPv4 address or a host name, where the agent runs */
	uint16_t connect_port;
	enum proto proto;
};

/* What another host offers. */
struct mesh_port {
	struct in_addr ip;
	uint16_t port;
	enum proto proto;
};

struct mesh_name {
	char *name; /* of a host, or one of its aliases */
	struct in_addr ip;
};

/* Packets to these networks, and names that match these patterns, go by way of host @via. */
struct mesh_route {
	char **cidrs, **globs; /* NULL-terminated, or NULL for none */
	struct in_addr via;
};

/* Starts as all zero. Everything in it is its own; free with config_free. */
struct mesh_config {
	struct in_addr me;
	struct mesh_offer *offers; /* "forwards" on the wire */
	size_t noffers;
	struct mesh_port *others;
	size_t nothers;
	struct mesh_name *names; /* "hostnameMap" */
	size_t nnames;
	char *http_listen, *socks_listen; /* "ADDR:PORT"; NULL: off */
	bool loopback_disable;
	char *state_dir_path; /* NULL: the agent's default */
	bool state_dir_disable;
	bool write_etc_hosts;
	struct mesh_route *routes;
	size_t nroutes;
	struct mesh_port *name_servers;
	size_t nname_servers;
	bool any_port; /* nswrap's own: every port of a sandbox's VIP may be reached */
};

void config_free(struct mesh_config *config);

/* Free a NULL-terminated array and what is in it; NULL is fine. */
void config_free_texts(char **texts);

#endif
