/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/member - a host that another part of the manifest names */
#include "mesh/manifest/member.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "util/option.h"
#include "util/parse.h"

#define GUESS_ERRORS_MAX 50 /* a file with more errors gets no help with each */

bool member_find(const struct reader *reader, const struct manifest *manifest, const char *text,
	struct in_addr *out)
{
	struct in_addr vip;
	ssize_t host = HOSTNAMES_NOBODY;

	if (inet_pton(AF_INET, text, &vip) != 1 || vip.s_addr == INADDR_ANY)
		host = hostnames_find(&reader->hostnames, text);
	else
		for (size_t i = 0; host == HOSTNAMES_NOBODY && i < manifest->nhosts; i++)
			if (manifest->hosts[i].vip.s_addr == vip.s_addr)
				host = (ssize_t)i;
	if (host == HOSTNAMES_NOBODY)
		return false;
	*out = manifest->hosts[host].vip;
	return true;
}

static const char *nearest_host(const struct manifest *manifest, const char *name)
{
	const char **names = calloc(manifest->nhosts + 1, sizeof(*names)), *nearest;

	if (!names)
		return NULL;
	for (size_t i = 0; i < manifest->nhosts; i++)
		names[i] = manifest->hosts[i].name;
	nearest = option_nearest(name, names, manifest->nhosts);
	free(names);
	return nearest;
}

void member_refuse(struct reader *reader, const struct manifest *manifest, const struct node *node,
	const char *what, const char *text)
{
	const char *nearest = NULL;

	if (reader->errors->count < GUESS_ERRORS_MAX)
		nearest = nearest_host(manifest, text);
	if (nearest)
		reader_refuse(reader, node, "%s %s is no host: did you mean %s?", what,
			PARSE_QUOTED(text), nearest);
	else
		reader_refuse(reader, node, "%s %s is no host: expected a name or vip from hosts",
			what, PARSE_QUOTED(text));
}
