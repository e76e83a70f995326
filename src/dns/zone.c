/* SPDX-License-Identifier: Apache-2.0 */
/* dns/zone - the names that we know, and what that means for what is asked */
#include "dns/zone.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <glib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 253 /* of a host name, RFC 1035 2.3.4 */

struct entry {
	size_t count;
	struct addr addrs[REPLY_ADDRS_MAX];
	char name[NAME_MAX_BYTES + 1];
};

struct pattern {
	struct addr server;
	char text[NAME_MAX_BYTES + 1];
};

struct zone {
	GHashTable *names;     /* text to entry, which owns it */
	GHashTable *addresses; /* text of an address to the first entry that has it */
	GArray *patterns;      /* struct pattern */
	GPtrArray *search;     /* texts */
};

struct zone *zone_new(void)
{
	struct zone *zone = calloc(1, sizeof(*zone));

	if (!zone)
		return NULL;
	zone->names = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free);
	zone->addresses = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	zone->patterns = g_array_new(FALSE, FALSE, sizeof(struct pattern));
	zone->search = g_ptr_array_new_with_free_func(free);
	return zone;
}

void zone_free(struct zone *zone)
{
	if (!zone)
		return;
	g_hash_table_destroy(zone->addresses);
	g_hash_table_destroy(zone->names);
	g_array_free(zone->patterns, TRUE);
	g_ptr_array_free(zone->search, TRUE);
	free(zone);
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

static struct entry *get_entry(struct zone *zone, const char *name)
{
	struct entry *entry = g_hash_table_lookup(zone->names, name);

	if (entry)
		return entry;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return NULL;
	strcpy(entry->name, name);
	g_hash_table_insert(zone->names, entry->name, entry);
	return entry;
}

int zone_add(struct zone *zone, const char *name, const struct addr *addr)
{
	char folded[NAME_MAX_BYTES + 1], text[ADDR_TEXT_BYTES];

	if (!fold(name, folded))
		return -EINVAL;
	struct entry *entry = get_entry(zone, folded);
	if (!entry)
		return -ENOMEM;
	for (size_t i = 0; i < entry->count; i++)
		if (addr_is_same_ip(&entry->addrs[i], addr))
			return 0;
	if (entry->count == REPLY_ADDRS_MAX)
		return -ENOSPC;
	entry->addrs[entry->count++] = *addr;
	addr_format_ip(addr, text, sizeof(text));
	if (!g_hash_table_contains(zone->addresses, text))
		g_hash_table_insert(zone->addresses, g_strdup(text), entry);
	return 0;
}

int zone_add_pattern(struct zone *zone, const char *text, const struct addr *server)
{
	struct pattern pattern = {.server = *server};

	if (!fold(text, pattern.text))
		return -EINVAL;
	g_array_append_val(zone->patterns, pattern);
	return 0;
}

int zone_add_search(struct zone *zone, const char *domain)
{
	char folded[NAME_MAX_BYTES + 1];

	if (!fold(domain, folded))
		return -EINVAL;
	char *copy = strdup(folded);
	if (!copy)
		return -ENOMEM;
	g_ptr_array_add(zone->search, copy);
	return 0;
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
	return g_hash_table_contains(zone->names, name);
}

/* The first pattern that @name matches, or NULL. */
static const struct pattern *find_pattern(const struct zone *zone, const char *name)
{
	for (guint i = 0; i < zone->patterns->len; i++) {
		const struct pattern *pattern = &g_array_index(zone->patterns, struct pattern, i);

		if (fnmatch(pattern->text, name, FNM_NOESCAPE) == 0)
			return pattern;
	}
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
	for (guint i = 0; i < zone->search->len; i++) {
		size_t len = ends_with(service, g_ptr_array_index(zone->search, i));

		if (len == 0 || len >= sizeof(first))
			continue;
		memcpy(first, service, len);
		first[len] = '\0';
		if (is_known(zone, first) || find_pattern(zone, first))
			return true;
	}
	return false;
}

static void put_entry(const struct entry *entry, struct reply *out)
{
	out->rcode = DNS_OK;
	out->count = entry->count;
	memcpy(out->addrs, entry->addrs, sizeof(out->addrs));
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
	const struct entry *entry =
		g_hash_table_lookup(zone->addresses, addr_format_ip(addr, text, sizeof(text)));

	if (!entry && !addr_is_loopback(addr))
		return -ENOENT;
	out->rcode = DNS_OK;
	if (entry)
		out->target = entry->name;
	else if (addr->family == AF_INET6 || addr_is_same_ip(addr, &first))
		out->target = "localhost";
	else
		out->rcode = DNS_NXDOMAIN;
	return 0;
}

int zone_find(
	const struct zone *zone, const struct query *query, struct reply *out, struct addr *server)
{
	const struct entry *entry = g_hash_table_lookup(zone->names, query->name);
	struct addr addr;

	if (!query->is_inet)
		return -ENOENT;
	if (entry) {
		put_entry(entry, out);
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
