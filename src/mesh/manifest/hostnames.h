/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/hostnames - the names and aliases of the hosts, each of them once */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "mesh/manifest/document.h"
#include "mesh/manifest/errors.h"

/* Starts as all zero. The texts are the document's, which must outlive it. */
struct hostnames {
	void *tree; /* of tsearch(3) */
};

#define HOSTNAMES_NOBODY (-1)

/* The text of @node is a name of host number @host, or complain: it is none, or is taken. @what is
 * "name" or "alias". Upper and lower case are the same, as in the DNS. */
void hostnames_claim(struct hostnames *hostnames, struct errors *errors, const struct node *node,
	const char *what, size_t host);

/* The number of the host of that name, or HOSTNAMES_NOBODY. */
ssize_t hostnames_find(const struct hostnames *hostnames, const char *name);

void hostnames_free(struct hostnames *hostnames);

/*
 * Letters, digits, - and _, and those of @more, in parts of 1 to 63 with dots between; a dot in
 * @more: one may also stand at the end.
 */
bool hostnames_is_valid(const char *text, const char *more);
