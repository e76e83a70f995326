/* SPDX-License-Identifier: Apache-2.0 */
/* conn/resolver - where a name leads: a table that answers at once, and the system's look-up */
#include "conn/resolver.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/list.h"

#define BUCKETS 256

struct entry {
	struct list link;
	struct lookup_answer answer;
	char name[];
};

struct resolver {
	struct lookup *lookup;
	struct list buckets[BUCKETS];
};

static struct list *bucket_of(struct resolver *resolver, const char *name)
{
	unsigned hash = 0;

	for (; *name != '\0'; name++)
		hash = hash * 31 + (unsigned)tolower((unsigned char)*name);
	return &resolver->buckets[hash % BUCKETS];
}

static struct entry *find(struct list *bucket, const char *name)
{
	list_each (at, bucket) {
		struct entry *entry = container_of(at, struct entry, link);

		if (strcasecmp(entry->name, name) == 0)
			return entry;
	}
	return NULL;
}

int resolver_add(struct resolver *resolver, const char *name, const struct addr *addr)
{
	struct list *bucket = bucket_of(resolver, name);
	struct entry *entry = find(bucket, name);
	size_t len = strlen(name) + 1;

	if (!entry) {
		entry = calloc(1, sizeof(*entry) + len);
		if (!entry)
			return -ENOMEM;
		memcpy(entry->name, name, len);
		list_add_last(bucket, &entry->link);
	}
	if (entry->answer.count >= LOOKUP_ADDRS_MAX)
		return -ENOSPC;
	entry->answer.addrs[entry->answer.count++] = *addr;
	return 0;
}

void resolver_clear(struct resolver *resolver)
{
	for (size_t i = 0; i < BUCKETS; i++)
		list_each_safe (at, following, &resolver->buckets[i]) {
			list_del(at);
			free(container_of(at, struct entry, link));
		}
}

int resolver_start(struct resolver *resolver, const char *name, struct lookup_query *query,
	struct lookup_answer *answer)
{
	if (addr_parse(name, &answer->addrs[0], NULL) == 0) {
		answer->count = 1;
		return 0;
	}
	const struct entry *entry = find(bucket_of(resolver, name), name);
	if (entry) {
		*answer = entry->answer;
		return 0;
	}
	int result = lookup_start(resolver->lookup, name, query);
	return result < 0 ? result : -EINPROGRESS;
}

struct resolver *resolver_new(struct loop *loop)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));

	if (!resolver)
		return NULL;
	resolver->lookup = lookup_new(loop);
	if (!resolver->lookup) {
		free(resolver);
		return NULL;
	}
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&resolver->buckets[i]);
	return resolver;
}

void resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return;
	resolver_clear(resolver);
	lookup_free(resolver->lookup);
	free(resolver);
}
