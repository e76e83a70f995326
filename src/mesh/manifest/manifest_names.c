/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/manifest_names - the names and aliases of the hosts, each of them once */
#include "mesh/manifest/manifest_names.h"

#include <arpa/inet.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "util/parse.h"

struct name {
	const char *text;
	size_t line, host;
};

static int compare(const void *left, const void *right)
{
	return strcasecmp(((const struct name *)left)->text, ((const struct name *)right)->text);
}

void manifest_name_claim(struct manifest_reader *reader, const struct manifest_node *node,
	const char *what, size_t host)
{
	char quoted[PARSE_QUOTE_BYTES];
	struct in_addr addr;
	struct name *name = calloc(1, sizeof(*name)), **found;

	parse_quote(node->text, quoted, sizeof(quoted));
	/* an address as a name would be two hosts for `via` */
	if (!manifest_is_hostname(node->text, "") || inet_pton(AF_INET, node->text, &addr) == 1)
		manifest_error(reader->errors, node->at,
			"%s %s is no host name: expected letters, digits, - and _, with dots "
			"between",
			what, quoted);
	if (name)
		*name = (struct name){.text = node->text, .line = node->at.line, .host = host};
	found = name ? tsearch(name, &reader->names, compare) : NULL;
	if (!found)
		reader->errors->has_no_memory = true;
	if (found && *found == name)
		return;
	free(name);
	if (found)
		manifest_error(reader->errors, node->at,
			"%s %s is given twice: expected another one, line %zu has it", what, quoted,
			(*found)->line);
}

ssize_t manifest_name_find(const struct manifest_reader *reader, const char *name)
{
	struct name *const *found = tfind(&(struct name){.text = name}, &reader->names, compare);

	return found ? (ssize_t)(*found)->host : MANIFEST_NOBODY;
}

void manifest_names_free(struct manifest_reader *reader)
{
	tdestroy(reader->names, free);
	reader->names = NULL;
}
