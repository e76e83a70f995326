/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/roll - who is on a list of hosts, and what name and address each of them has */
#include "mesh/manifest/roll.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/manifest/hostnames.h"
#include "mesh/vip.h"
#include "util/parse.h"

#define KNOWN_MAX  (2 * ROLL_HOSTS_MAX) /* also of those that are gone */
#define LABEL_MAX  56                   /* of 63 (RFC 1035): a number may follow */
#define MADE_MAX   200                  /* of 253 */
#define NAME_BYTES 256

/* --- the lines ------------------------------------------------------------------------------ */

static int check_line(const char *line, struct err *err)
{
	const char *quoted = PARSE_QUOTED(line);

	for (const char *c = line; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f)
			return err_set(err, EINVAL, "it says %s: expected one name a line", quoted);
	/* a program would take it for an option */
	if (line[0] == '-')
		return err_set(err, EINVAL,
			"it says %s: expected a name that does not begin with -", quoted);
	if (strlen(line) > ROLL_LINE_MAX)
		return err_set(err, EINVAL, "it says %s: expected names of at most %d bytes",
			quoted, ROLL_LINE_MAX);
	return 0;
}

/* Each name once, as listed; NULL with @err filled. */
static GPtrArray *read_lines(const char *text, size_t len, struct err *err)
{
	GPtrArray *lines = g_ptr_array_new_with_free_func(g_free);
	GHashTable *known = g_hash_table_new(g_str_hash, g_str_equal);
	int result = 0;

	for (size_t at = 0, end; result == 0 && at < len; at = end + 1) {
		for (end = at; end < len && text[end] != '\n';)
			end++;
		/* what is behind a NUL would not be seen */
		if (memchr(text + at, '\0', end - at)) {
			result = err_set(
				err, EINVAL, "it says a byte that is 0: expected one name a line");
			break;
		}
		char *line = g_strstrip(g_strndup(text + at, end - at));
		if (line[0] == '\0' || g_hash_table_contains(known, line)) {
			g_free(line);
			continue;
		}
		g_ptr_array_add(lines, line);
		g_hash_table_add(known, line);
		result = check_line(line, err);
		if (result == 0 && lines->len > ROLL_HOSTS_MAX)
			result = err_set(err, EINVAL, "it has too many hosts: expected at most %d",
				ROLL_HOSTS_MAX);
	}
	g_hash_table_destroy(known);
	if (result == 0)
		return lines;
	g_ptr_array_free(lines, TRUE);
	return NULL;
}

/* --- names ---------------------------------------------------------------------------------- */

/* A host name that is like @given. */
static void make_base(const char *given, char out[NAME_BYTES])
{
	const char *slash = strrchr(given, '/');
	size_t len = 0, label = 0;
	struct in_addr addr;

	if (slash && slash[1] != '\0')
		given = slash + 1;
	const bool is_address = inet_pton(AF_INET, given, &addr) == 1;
	for (; *given && len < MADE_MAX; given++) {
		const bool is_dot = *given == '.' && !is_address;
		const bool is_fine = g_ascii_isalnum(*given) || *given == '_';

		if (is_dot && label == 0)
			continue;
		if (!is_fine && !is_dot && len == 0)
			continue;
		if (!is_dot && label == LABEL_MAX)
			continue;
		out[len++] = is_dot ? '.' : is_fine ? *given : '-';
		label = is_dot ? 0 : label + 1;
	}
	while (len > 0 && (out[len - 1] == '.' || out[len - 1] == '-'))
		len--;
	out[len] = '\0';
	if (!hostnames_is_valid(out, "") || inet_pton(AF_INET, out, &addr) == 1)
		snprintf(out, NAME_BYTES, "host");
}

bool roll_has_name(const struct roll *roll, const char *name)
{
	if (!roll->by_name)
		return false;
	char *lower = g_ascii_strdown(name, -1);
	bool is_there = g_hash_table_contains(roll->by_name, lower);

	g_free(lower);
	return is_there;
}

/* Free with g_free. */
static char *make_name(
	const struct roll *roll, const char *given, const struct roll_ops *ops, void *owner)
{
	char base[NAME_BYTES];
	char *name;

	make_base(given, base);
	name = g_strdup(base);
	for (unsigned i = 2; roll_has_name(roll, name) || ops->is_name_taken(owner, name); i++) {
		g_free(name);
		name = g_strdup_printf("%s-%u", base, i);
	}
	return name;
}

/* --- addresses ------------------------------------------------------------------------------ */

static gpointer key_of(struct in_addr vip)
{
	return GUINT_TO_POINTER(vip.s_addr);
}

/* How many the network has, its first and last one among them. */
static uint64_t size_of(const struct roll *roll)
{
	return 1ULL << (32 - roll->prefix_len);
}

static bool is_usable(const struct roll *roll, uint64_t number, const struct roll_ops *ops,
	void *owner, struct in_addr *out)
{
	const uint64_t size = size_of(roll);

	/* as other networks have it, but for those of two or one */
	if (size > 2 && (number == 0 || number == size - 1))
		return false;
	out->s_addr = htonl((uint32_t)(ntohl(roll->net.s_addr) + number));
	return !vip_fault(*out) && !ops->is_vip_taken(owner, *out);
}

static int check_room(const struct roll *roll, size_t wanted, const struct roll_ops *ops,
	void *owner, struct err *err)
{
	char net[INET_ADDRSTRLEN];
	struct in_addr vip;
	size_t room = 0;

	for (uint64_t i = 0; i < size_of(roll) && room < wanted; i++)
		room += is_usable(roll, i, ops, owner, &vip);
	if (room >= wanted)
		return 0;
	return err_set(err, EINVAL,
		"it has %zu hosts, and vips %s/%d has room for %zu: expected a larger network",
		wanted, inet_ntop(AF_INET, &roll->net, net, sizeof(net)), roll->prefix_len, room);
}

/* One that nobody had; false: there is none. */
static bool take_fresh(
	struct roll *roll, const struct roll_ops *ops, void *owner, struct in_addr *out)
{
	while (roll->next < size_of(roll))
		if (is_usable(roll, roll->next++, ops, owner, out) &&
			!g_hash_table_contains(roll->by_vip, key_of(*out)))
			return true;
	return false;
}

/* --- members -------------------------------------------------------------------------------- */

static void make_tables(struct roll *roll)
{
	if (roll->by_given)
		return;
	roll->by_given = g_hash_table_new(g_str_hash, g_str_equal);
	roll->by_name = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	roll->by_vip = g_hash_table_new(NULL, NULL);
}

static void put(
	struct roll *roll, size_t place, char *given, char *name, struct in_addr vip, uint64_t seen)
{
	roll->members[place] = (struct roll_member){given, name, vip, seen};
	g_hash_table_insert(roll->by_given, given, GSIZE_TO_POINTER(place + 1));
	g_hash_table_add(roll->by_name, g_ascii_strdown(name, -1));
	g_hash_table_add(roll->by_vip, key_of(vip));
}

/* Another member; @given and @name, of g_strdup, are taken over. */
static void enter(struct roll *roll, char *given, char *name, struct in_addr vip, uint64_t seen)
{
	make_tables(roll);
	if (roll->count == roll->cap) {
		roll->cap = roll->cap ? 2 * roll->cap : 16;
		roll->members = g_renew(struct roll_member, roll->members, roll->cap);
	}
	put(roll, roll->count++, given, name, vip, seen);
}

/* The place of @member is another one's, who has its address from now on. */
static void replace(struct roll *roll, struct roll_member *member, const char *given,
	const struct roll_ops *ops, void *owner)
{
	char *lower = g_ascii_strdown(member->name, -1);

	g_hash_table_remove(roll->by_given, member->given);
	g_hash_table_remove(roll->by_name, lower);
	g_free(lower);
	g_free(member->given);
	g_free(member->name);
	put(roll, (size_t)(member - roll->members), g_strdup(given),
		make_name(roll, given, ops, owner), member->vip, roll->call);
}

/* Who is gone for longest, whose address may be had by others. */
static struct roll_member *find_oldest(struct roll *roll, const struct roll_ops *ops, void *owner)
{
	struct roll_member *oldest = NULL;

	for (size_t i = 0; i < roll->count; i++) {
		struct roll_member *member = &roll->members[i];

		if (member->seen < roll->call && (!oldest || member->seen < oldest->seen) &&
			!ops->is_vip_taken(owner, member->vip))
			oldest = member;
	}
	return oldest;
}

/* check_room has found that there is an address. */
static void add(struct roll *roll, const char *given, const struct roll_ops *ops, void *owner)
{
	struct in_addr vip;

	if (roll->count < KNOWN_MAX && take_fresh(roll, ops, owner, &vip)) {
		enter(roll, g_strdup(given), make_name(roll, given, ops, owner), vip, roll->call);
		return;
	}
	struct roll_member *oldest = find_oldest(roll, ops, owner);
	if (oldest)
		replace(roll, oldest, given, ops, owner);
}

static int call(struct roll *roll, const GPtrArray *lines, const struct roll_ops *ops, void *owner)
{
	const uint64_t before = roll->call++;
	size_t stayed = 0, was_there = roll->present;

	for (guint i = 0; i < lines->len; i++) {
		size_t place =
			GPOINTER_TO_SIZE(g_hash_table_lookup(roll->by_given, lines->pdata[i]));
		struct roll_member *member = place ? &roll->members[place - 1] : NULL;

		if (!member)
			continue;
		stayed += before > 0 && member->seen == before;
		member->seen = roll->call;
	}
	/* when it is known who has left: theirs may be had */
	for (guint i = 0; i < lines->len; i++)
		if (!g_hash_table_contains(roll->by_given, lines->pdata[i]))
			add(roll, lines->pdata[i], ops, owner);
	roll->present = lines->len;
	return stayed != was_there || stayed != roll->present;
}

int roll_follow(struct roll *roll, const char *text, size_t len, const struct roll_ops *ops,
	void *owner, struct err *err)
{
	GPtrArray *lines = read_lines(text, len, err);
	int result;

	if (!lines)
		return -EINVAL;
	make_tables(roll);
	result = check_room(roll, lines->len, ops, owner, err);
	if (result == 0)
		result = call(roll, lines, ops, owner);
	g_ptr_array_free(lines, TRUE);
	return result;
}

int roll_settle(struct roll *roll, const struct roll_ops *ops, void *owner, struct err *err)
{
	struct roll kept = {.net = roll->net,
		.prefix_len = roll->prefix_len,
		.call = roll->call,
		.present = roll->present};
	int result = check_room(roll, roll->present, ops, owner, err);

	if (result < 0)
		return result;
	GPtrArray *lines = g_ptr_array_new_with_free_func(g_free);
	for (size_t i = 0; i < roll->count; i++) {
		struct roll_member *member = &roll->members[i];

		if (roll_has(roll, member))
			g_ptr_array_add(lines, g_strdup(member->given));
		if (!ops->is_name_taken(owner, member->name) &&
			!ops->is_vip_taken(owner, member->vip))
			enter(&kept, g_strdup(member->given), g_strdup(member->name), member->vip,
				member->seen);
	}
	roll_fini(roll);
	*roll = kept;
	make_tables(roll);
	result = call(roll, lines, ops, owner);
	g_ptr_array_free(lines, TRUE);
	return result;
}

size_t roll_present(const struct roll *roll)
{
	return roll->present;
}

void roll_copy(struct roll *roll, const struct roll *from)
{
	*roll = (struct roll){.net = from->net,
		.prefix_len = from->prefix_len,
		.call = from->call,
		.present = from->present,
		.next = from->next};
	for (size_t i = 0; i < from->count; i++)
		enter(roll, g_strdup(from->members[i].given), g_strdup(from->members[i].name),
			from->members[i].vip, from->members[i].seen);
}

void roll_fini(struct roll *roll)
{
	for (size_t i = 0; i < roll->count; i++) {
		g_free(roll->members[i].given);
		g_free(roll->members[i].name);
	}
	g_free(roll->members);
	if (roll->by_given) {
		g_hash_table_destroy(roll->by_given);
		g_hash_table_destroy(roll->by_name);
		g_hash_table_destroy(roll->by_vip);
	}
	*roll = (struct roll){.net = roll->net, .prefix_len = roll->prefix_len};
}
