/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/manifest - the file that says which hosts a mesh has, nswrap-manifest(5) */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/config.h"

struct manifest_host {
	char *name;
	struct in_addr vip;
	char **cmd;                 /* NULL-terminated; NULL: this executable */
	char **aliases;             /* NULL-terminated; NULL: none */
	bool install;               /* cmd leads to a shell, nswrap-agent is brought there */
	bool no_restart;            /* restart: never */
	bool only_failures;         /* restart: on-failure */
	bool http_open, socks_open; /* others may reach a proxy, and use it */
	/* What it is told that stands at the host itself, or in the template (whose offers come
	 * first): not `me`, and nothing about the others. */
	struct mesh_config own;
};

/* Hosts that a command lists, and what all of them have. */
struct manifest_crowd {
	char **list;        /* the command; NULL-terminated */
	struct in_addr net; /* of their addresses */
	int prefix_len;
	unsigned every_s;          /* how often it is asked */
	struct manifest_host each; /* no name, no VIP; MANIFEST_NAME stands in the words of cmd */
};

/* Where a name of the list is to stand. */
#define MANIFEST_NAME "{name}"

/*
 * In whom a host of a manifest with crowds allows: all hosts of the lists; the host itself, when it
 * is one of them. mesh/manifest/muster puts addresses there.
 */
#define MANIFEST_LISTED ((in_addr_t)0)
#define MANIFEST_ITSELF ((in_addr_t)0xffffffff)

/* Starts as all zero; everything in it is its own. */
struct manifest {
	struct manifest_host *hosts; /* in the order of the file */
	size_t nhosts;
	struct manifest_crowd *crowds; /* mesh/manifest/muster makes hosts of them */
	size_t ncrowds;
	struct mesh_route *routes;
	size_t nroutes;
};

enum manifest_weight {
	MANIFEST_WARNING, /* taken, as NoRouter would; but hardly what was meant */
	MANIFEST_ERROR,
};

/*
 * One line: "FILE:LINE:COLUMN: [host NAME: ]what is wrong: what is expected", or without place;
 * "warning: " behind the place unless it is an error.
 */
typedef void (*manifest_report)(void *told, enum manifest_weight weight, const char *line);

/*
 * Read the manifest in @text, called @file in reports. Everything is reported, not just the first
 * error, up to ERRORS_MAX. Returns 0, or -EINVAL when there was an error, or -ENOMEM; @out is then
 * untouched. Pure: files that it names are not read, so there are no passwords.
 */
int manifest_parse(const char *text, size_t len, const char *file, struct manifest *out,
	manifest_report report, void *told);

/* The same for the file @path, with the files that it names (mesh/manifest/secret) ("-": stdin).
 * -errno when it cannot be read, which is reported. */
int manifest_read(const char *path, struct manifest *out, manifest_report report, void *told);

void manifest_free(struct manifest *manifest);

/* The same for manifests with the same hosts, in any order: names, VIPs and commands. */
uint64_t manifest_digest(const struct manifest *manifest);

/* Are the texts of two NULL-terminated arrays, or NULLs, the same? */
bool manifest_texts_equal(char *const *a, char *const *b);

/* Do both say the same about this host (not about the others)? */
bool manifest_host_equal(const struct manifest_host *a, const struct manifest_host *b);

/* Is it to run the same in a sandbox of its own, or nothing? */
bool manifest_sandbox_equal(const struct manifest_host *a, const struct manifest_host *b);

/*
 * What host number @host is to be told. Returns 0 (free with config_free) or -ENOMEM. The other
 * hosts' offers are `others`, without its own; names are those of all hosts with aliases; each
 * host's name server is VIP:10053, tcp and udp.
 */
int manifest_configure(const struct manifest *manifest, size_t host, struct mesh_config *out);

/* The part of it that is about all hosts of @manifest, for somebody else. */
int manifest_tell(const struct manifest *manifest, struct mesh_config *out);
