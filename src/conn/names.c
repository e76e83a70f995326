/* SPDX-License-Identifier: Apache-2.0 */
/* conn/names - where a name leads: a table that answers at once, and the system's look-up */
#include "conn/names.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/list.h"

struct known {
	struct lookup_answer answer;
	char name[];
};

struct names {
	struct lookup *lookup;
	void *table; /* for tsearch(3): the names, each in its struct known */
};

static int compare(const void *a, const void *b)
{
	return strcasecmp(a, b);
}

static struct known *find(const struct names *names, const char *name)
{
	char *const *found = tfind(name, &names->table, compare);

	return found ? container_of(*found, struct known, name) : NULL;
}

int names_add(struct names *names, const char *name, const struct addr *addr)
{
	struct known *known = find(names, name);
	size_t len = strlen(name) + 1;

	if (!known) {
		known = calloc(1, sizeof(*known) + len);
		if (!known)
			return -ENOMEM;
		memcpy(known->name, name, len);
		if (!tsearch(known->name, &names->table, compare)) {
			free(known);
			return -ENOMEM;
		}
	}
	if (known->answer.count >= LOOKUP_ADDRS_MAX)
		return -ENOSPC;
	known->answer.addrs[known->answer.count++] = *addr;
	return 0;
}

static void known_free(void *name)
{
	free(container_of(name, struct known, name));
}

void names_clear(struct names *names)
{
	tdestroy(names->table, known_free);
	names->table = NULL;
}

int names_start(struct names *names, const char *name, struct lookup_query *query,
	struct lookup_answer *answer)
{
	if (addr_parse(name, &answer->addrs[0], NULL) == 0) {
		answer->count = 1;
		return 0;
	}
	const struct known *known = find(names, name);
	if (known) {
		*answer = known->answer;
		return 0;
	}
	if (strcasecmp(name, "localhost") == 0) {
		answer->addrs[0] = addr_loopback4(0);
		answer->addrs[1] = addr_of6(&in6addr_loopback, 0);
		answer->count = 2;
		return 0;
	}
	int result = lookup_start(names->lookup, name, query);
	return result < 0 ? result : -EINPROGRESS;
}

struct names *names_new(struct loop *loop)
{
	struct names *names = calloc(1, sizeof(*names));

	if (!names)
		return NULL;
	names->lookup = lookup_new(loop);
	if (!names->lookup) {
		free(names);
		return NULL;
	}
	return names;
}

void names_free(struct names *names)
{
	if (!names)
		return;
	names_clear(names);
	lookup_free(names->lookup);
	free(names);
}
