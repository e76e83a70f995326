/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/hostnames - the names and aliases of the hosts, each of them once */
#include "mesh/manifest/hostnames.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "util/parse.h"

#define HOSTNAME_BYTES 253
#define LABEL_BYTES    63

struct name {
	const char *text;
	size_t line, host;
};

static int compare(const void *left, const void *right)
{
	return strcasecmp(((const struct name *)left)->text, ((const struct name *)right)->text);
}

void hostnames_claim(struct hostnames *hostnames, struct errors *errors, const struct node *node,
	const char *what, size_t host)
{
	const char *quoted = PARSE_QUOTED(node->text);
	struct in_addr addr;
	struct name *name = calloc(1, sizeof(*name)), **found;

	/* an address as a name would be two hosts for `via` */
	if (!hostnames_is_valid(node->text, "") || inet_pton(AF_INET, node->text, &addr) == 1)
		errors_add(errors, node->at,
			"%s %s is no host name: expected letters, digits, - and _, with dots "
			"between",
			what, quoted);
	if (name)
		*name = (struct name){.text = node->text, .line = node->at.line, .host = host};
	found = name ? tsearch(name, &hostnames->tree, compare) : NULL;
	if (!found)
		errors->has_no_memory = true;
	if (found && *found == name)
		return;
	free(name);
	if (found)
		errors_add(errors, node->at,
			"%s %s is given twice: expected another one, line %zu has it", what, quoted,
			(*found)->line);
}

ssize_t hostnames_find(const struct hostnames *hostnames, const char *name)
{
	struct name *const *found = tfind(&(struct name){.text = name}, &hostnames->tree, compare);

	return found ? (ssize_t)(*found)->host : HOSTNAMES_NOBODY;
}

void hostnames_free(struct hostnames *hostnames)
{
	tdestroy(hostnames->tree, free);
	hostnames->tree = NULL;
}

bool hostnames_is_valid(const char *text, const char *more)
{
	size_t label = 0, len = 0;

	for (; text[len]; len++) {
		unsigned char c = (unsigned char)text[len];

		if (c == '.' && label == 0)
			return false;
		label = c == '.' ? 0 : label + 1;
		if (label > LABEL_BYTES || len >= HOSTNAME_BYTES)
			return false;
		if (c >= 0x80 || (!isalnum(c) && c != '.' && !strchr("-_", c) && !strchr(more, c)))
			return false;
	}
	return len && text[0] != '-' && (label || strchr(more, '.'));
}
