/* SPDX-License-Identifier: Apache-2.0 */
/* dns/zone - the names that we know, and what that means for what is asked */
#include "dns/zone.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/list.h"

#define NAME_MAX_BYTES 253 /* of a host name, RFC 1035 2.3.4 */

struct known {
	size_t count;
	struct addr addrs[REPLY_ADDRS_MAX];
	char name[];
};

/* An address, and the first one that has it. */
struct owner {
	const struct known *known;
	char text[];
};

struct pattern {
	struct addr server;
	char text[NAME_MAX_BYTES + 1];
};

/* tsearch(3), as GLib is not in the static agent */
struct zone {
	void *names;     /* the names of those that are known */
	void *addresses; /* the texts of owners */
	struct pattern *patterns;
	size_t npatterns;
	char **search;
	size_t nsearch;
};

struct zone *zone_new(void)
{
	return calloc(1, sizeof(struct zone));
}

static void free_known(void *name)
{
	free(container_of(name, struct known, name));
}

static void free_owner(void *text)
{
	free(container_of(text, struct owner, text));
}

void zone_free(struct zone *zone)
{
	if (!zone)
		return;
	tdestroy(zone->addresses, free_owner);
	tdestroy(zone->names, free_known);
	free(zone->patterns);
	zone_forget_search(zone);
	free(zone->search);
	free(zone);
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static struct known *find_known(const struct zone *zone, const char *name)
{
	char **found = tfind(name, &zone->names, compare);

	return found ? container_of(*found, struct known, name) : NULL;
}

/* @name in small letters and without its last dot. Returns false if it is none. */
static bool fold(const char *name, char out[NAME_MAX_BYTES + 1])
{
	size_t len = strlen(name);

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (len == 0 || len > NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (name[i] <= ' ' || name[i] >= 127 || name[i] == '\\')
			return false;
		out[i] = (char)tolower((unsigned char)name[i]);
	}
	out[len] = '\0';
	return true;
}

static struct known *get_known(struct zone *zone, const char *name)
{
	struct known *known = find_known(zone, name);

	if (known)
		return known;
	known = calloc(1, sizeof(*known) + strlen(name) + 1);
	if (!known)
		return NULL;
	strcpy(known->name, name);
	if (tsearch(known->name, &zone->names, compare))
		return known;
	free(known);
	return NULL;
}

/* Returns 0 or -ENOMEM. */
static int add_owner(struct zone *zone, const struct addr *addr, const struct known *known)
{
	char text[ADDR_TEXT_BYTES];
	size_t bytes = strlen(addr_format_ip(addr, text, sizeof(text))) + 1;
	struct owner *owner = calloc(1, sizeof(*owner) + bytes);

	if (!owner)
		return -ENOMEM;
	owner->known = known;
	memcpy(owner->text, text, bytes);
	char **found = tsearch(owner->text, &zone->addresses, compare);
	const bool is_first = found && *found == owner->text;
	if (!is_first)
		free(owner);
	return found ? 0 : -ENOMEM;
}

int zone_add(struct zone *zone, const char *name, const struct addr *addr)
{
	char folded[NAME_MAX_BYTES + 1];

	if (!fold(name, folded))
		return -EINVAL;
	struct known *known = get_known(zone, folded);
	if (!known)
		return -ENOMEM;
	for (size_t i = 0; i < known->count; i++)
		if (addr_is_same_ip(&known->addrs[i], addr))
			return 0;
	if (known->count == REPLY_ADDRS_MAX)
		return -ENOSPC;
	known->addrs[known->count++] = *addr;
	return add_owner(zone, addr, known);
}

int zone_add_pattern(struct zone *zone, const char *text, const struct addr *server)
{
	struct pattern pattern = {.server = *server};

	if (!fold(text, pattern.text))
		return -EINVAL;
	struct pattern *grown =
		reallocarray(zone->patterns, zone->npatterns + 1, sizeof(*zone->patterns));
	if (!grown)
		return -ENOMEM;
	zone->patterns = grown;
	zone->patterns[zone->npatterns++] = pattern;
	return 0;
}

int zone_add_search(struct zone *zone, const char *domain)
{
	char folded[NAME_MAX_BYTES + 1];

	if (!fold(domain, folded))
		return -EINVAL;
	char **grown = reallocarray(zone->search, zone->nsearch + 1, sizeof(*zone->search));
	if (!grown)
		return -ENOMEM;
	zone->search = grown;
	grown[zone->nsearch] = strdup(folded);
	if (!grown[zone->nsearch])
		return -ENOMEM;
	zone->nsearch++;
	return 0;
}

void zone_forget_search(struct zone *zone)
{
	while (zone->nsearch > 0)
		free(zone->search[--zone->nsearch]);
}

/* Is it "SOMETHING.@suffix"? Returns the length of SOMETHING, or 0. */
static size_t ends_with(const char *name, const char *suffix)
{
	size_t len = strlen(name), end = strlen(suffix);

	return len > end + 1 && name[len - end - 1] == '.' && strcmp(name + len - end, suffix) == 0
		       ? len - end - 1
		       : 0;
}

static bool is_known(const struct zone *zone, const char *name)
{
	return find_known(zone, name);
}

/* The first pattern that @name matches, or NULL. */
static const struct pattern *find_pattern(const struct zone *zone, const char *name)
{
	for (size_t i = 0; i < zone->npatterns; i++)
		if (fnmatch(zone->patterns[i].text, name, FNM_NOESCAPE) == 0)
			return &zone->patterns[i];
	return NULL;
}

/* Would whoever hears it outside hear a name that is ours? */
static bool is_ours(const struct zone *zone, const char *name)
{
	const char *last = strrchr(name, '.'), *service = name;
	char first[NAME_MAX_BYTES + 1];

	if (last && is_known(zone, last + 1))
		return true;
	while (*service == '_' && strchr(service, '.'))
		service = strchr(service, '.') + 1;
	if (service != name && is_known(zone, service))
		return true;
	for (size_t i = 0; i < zone->nsearch; i++) {
		size_t len = ends_with(service, zone->search[i]);

		if (len == 0 || len >= sizeof(first))
			continue;
		memcpy(first, service, len);
		first[len] = '\0';
		if (is_known(zone, first) || find_pattern(zone, first))
			return true;
	}
	return false;
}

static void put_known(const struct known *known, struct reply *out)
{
	out->rcode = DNS_OK;
	out->count = known->count;
	memcpy(out->addrs, known->addrs, sizeof(out->addrs));
}

static void put_localhost(struct reply *out)
{
	out->rcode = DNS_OK;
	out->count = 2;
	out->addrs[0] = addr_loopback4(0);
	out->addrs[1] = addr_of6(&in6addr_loopback, 0);
}

/* The name of an address. Returns 0 or -ENOENT. */
static int find_address(const struct zone *zone, const struct addr *addr, struct reply *out)
{
	char text[ADDR_TEXT_BYTES];
	struct addr first = addr_loopback4(0);
	char **found = tfind(addr_format_ip(addr, text, sizeof(text)), &zone->addresses, compare);

	if (!found && !addr_is_loopback(addr))
		return -ENOENT;
	out->rcode = DNS_OK;
	if (found)
		out->target = container_of(*found, struct owner, text)->known->name;
	else if (addr->family == AF_INET6 || addr_is_same_ip(addr, &first))
		out->target = "localhost";
	else
		out->rcode = DNS_NXDOMAIN;
	return 0;
}

static int find(
	const struct zone *zone, const struct query *query, struct reply *out, struct addr *server)
{
	const struct known *known = find_known(zone, query->name);
	struct addr addr;

	if (known) {
		put_known(known, out);
		return 0;
	}
	if (strcmp(query->name, "localhost") == 0 || ends_with(query->name, "localhost")) {
		put_localhost(out);
		return 0;
	}
	if (query_reverse(query->name, &addr))
		return find_address(zone, &addr, out);
	const struct pattern *pattern = find_pattern(zone, query->name);
	if (pattern) {
		*server = pattern->server;
		return -EREMOTE;
	}
	if (!is_ours(zone, query->name))
		return -ENOENT;
	out->rcode = DNS_NXDOMAIN;
	return 0;
}

int zone_find(
	const struct zone *zone, const struct query *query, struct reply *out, struct addr *server)
{
	int result = find(zone, query, out, server);

	if (query->is_inet || result == -ENOENT)
		return result;
	*out = (struct reply){.rcode = DNS_REFUSED};
	return 0;
}
