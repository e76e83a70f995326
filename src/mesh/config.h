/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/config - what an agent is told about its mesh: the arguments of `configure` */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/addr.h"

/* What a host offers at its virtual IP. */
struct mesh_offer {
	uint16_t listen_port; /* host order, 1..65535, as all ports here */
	char *connect_host; /* an address or a host name, where the agent runs; IPv6: no brackets */
	uint16_t connect_port;
	enum proto proto;
};

/* What another host offers. */
struct mesh_port {
	struct in_addr ip;
	uint16_t port;
	enum proto proto;
};

/* Who may begin something with this host. */
struct mesh_allowed {
	struct in_addr ip; /* of a host */
	uint16_t port;     /* of this host's; 0: all that it has */
	enum proto proto;  /* of the port */
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

/* A command that the agent runs in a sandbox of its own, which it joins. */
struct mesh_sandbox {
	char **command;      /* NULL-terminated; NULL: there is no sandbox */
	char **options;      /* of the launcher, a word each: "--network=none"; NULL: none */
	uint16_t guest_port; /* that the command is to listen at; 0: it is not said */
	bool keep;           /* it outlives the link, and the next agent joins it again */
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
	char *http_listen, *socks_listen; /* "ADDR:PORT" (mesh/listen); NULL: off */
	bool loopback_disable;
	char *state_dir_path; /* NULL: the agent's default */
	bool state_dir_disable;
	bool write_etc_hosts;
	struct mesh_route *routes;
	size_t nroutes;
	struct mesh_port *name_servers;
	size_t nname_servers;
	/* nswrap's own: */
	char *http_user, *http_password; /* who may use it; NULLs: whoever reaches it */
	char *socks_user, *socks_password;
	bool http_only_user, socks_only_user; /* programs of the agent's user only */
	/* none: everybody. "Nobody" is the host itself alone, who is always allowed */
	struct mesh_allowed *allow;
	size_t nallow;
	bool any_port;      /* every port of a sandbox's VIP may be reached */
	char **expose;      /* what others may reach by way of it (conn/expose); NULL: no limit */
	char *identity;     /* of this host of this mesh, the same at each start; NULL: none */
	uint16_t silence_s; /* the agent ends when it has heard nothing for so long; 0: never */
	struct mesh_sandbox sandbox;
	uint16_t keep_s; /* what it listens at stays bound so long without an agent; 0: it does not
			  */
};

/* Free what is in it; it is all zero then. */
void config_free(struct mesh_config *config);

/*
 * Leave nothing but the address: for an agent that would do something else with the rest than what
 * is meant, until it is known.
 */
void config_strip(struct mesh_config *config);

/*
 * Copy to @config what @from says and @config does not. Returns 0 or -ENOMEM; there may be a part
 * of it then.
 */
int config_fill(struct mesh_config *config, const struct mesh_config *from);

/* Bits of enum mesh_feature that an agent with this configuration should have. */
struct config_needs {
	unsigned required; /* without them it would do what nobody asked for */
	unsigned wanted;   /* it works without them, though not as asked */
};
struct config_needs config_needs(const struct mesh_config *config);

/* --- the table ---------------------------------------------------------------------------- */

/* How a member is kept, and how it is written in JSON; all zero is one that is not given. */
enum config_kind {
	CONFIG_BOOL,   /* bool */
	CONFIG_TEXT,   /* char *; "" in JSON is not given as well */
	CONFIG_TARGET, /* char *, an address or a host name; needed. IPv6: told with, wants IPV6 */
	CONFIG_TEXTS,  /* char **, a list of texts; null in JSON if it is not given */
	CONFIG_IP,     /* struct in_addr, of a host; needed */
	CONFIG_PORT,   /* uint16_t, not 0; needed */
	CONFIG_NUMBER, /* uint16_t */
	CONFIG_PROTO,  /* enum proto; not given is tcp */
	CONFIG_LIST,   /* a pointer to structs and a size_t, a list of objects */
	CONFIG_NAMES,  /* a pointer to struct mesh_name and a size_t, an object: name to address */
};

/*
 * A member of struct mesh_config, or of the structs in its lists. Decoding, encoding, copying,
 * comparing, freeing and what an agent needs all follow from the table; whoever adds a member adds
 * a row. A table ends with a row that has no name.
 */
struct config_field {
	const char *section, *name; /* "loopback" and "disable"; NULL: of the arguments itself */
	enum config_kind kind;
	size_t offset, bytes;

	/* Lists: where their size_t is, and of what they are. */
	size_t count_offset, item_bytes;
	const struct config_field *items;

	/* Bits of enum mesh_feature, for a value that is given. */
	unsigned told_with; /* who lacks them is not told of it, nor of the item that it is in */
	unsigned wants, requires; /* struct config_needs */
};

/* In the order of the wire. */
extern const struct config_field config_fields[];

/*
 * Features without which a member of @of is not to be told; 0 also if it is not given. A section is
 * told whole or not at all: who cannot ask for a password must not hear where to listen.
 */
unsigned config_told_with(const struct config_field *field, const void *of);

/* For any struct that has a table. */
bool config_is_given(const struct config_field *field, const void *of);
size_t config_count(const struct config_field *list, const void *of); /* 0 of another kind */
void *config_item(const struct config_field *list, const void *of, size_t place);

/* Zeroed items for a list that has none. Returns the first one, or NULL when there is no memory. */
void *config_make_room(const struct config_field *list, void *of, size_t count);
