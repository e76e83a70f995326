/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/hosts - the texts of the sandbox's own /etc/hosts and nsswitch.conf */
#include "sandbox/hosts.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BLANKS   " \t\r\v\f"
#define DATABASE "hosts:"

/* Each line without its comment, as words. @on_line gets the first one and the others. */
static void each_line(const char *text, void (*on_line)(void *owner, char *words[]), void *owner)
{
	for (const char *end, *line = text; *line; line = *end ? end + 1 : end) {
		char *words[64], *copy, *rest;
		size_t count = 0;

		end = strchrnul(line, '\n');
		copy = strndup(line, (size_t)(end - line));
		if (!copy)
			return;
		copy[strcspn(copy, "#")] = '\0';
		for (char *word = strtok_r(copy, BLANKS, &rest); word && count < 63;
			word = strtok_r(NULL, BLANKS, &rest))
			words[count++] = word;
		words[count] = NULL;
		if (count > 1)
			on_line(owner, words);
		free(copy);
	}
}

static bool has_name(char *const *words, const char *name)
{
	while (*words && strcasecmp(*words, name) != 0)
		words++;
	return *words;
}

static bool is_localhost(const char *name)
{
	return strcasecmp(name, "localhost") == 0 || strcasecmp(name, "ip6-localhost") == 0 ||
	       strcasecmp(name, "ip6-loopback") == 0;
}

/* --- names of this machine ---------------------------------------------------------------- */

struct own {
	const char *nodename, *first; /* up to its first dot */
	char **names;
	size_t count, max;
};

static void add_own(struct own *own, const char *name)
{
	for (size_t i = 0; i < own->count; i++)
		if (strcasecmp(own->names[i], name) == 0)
			return;
	/* localhost.localdomain stays where it leads, whoever's name it is */
	if (own->count == own->max || is_localhost(name) || !*name ||
		strncasecmp(name, "localhost.", strlen("localhost.")) == 0)
		return;
	own->names[own->count] = strdup(name);
	if (own->names[own->count])
		own->count++;
}

static void on_own_line(void *owner, char *words[])
{
	struct own *own = owner;

	if (!has_name(words + 1, own->nodename) && !has_name(words + 1, own->first))
		return;
	for (size_t i = 1; words[i]; i++)
		add_own(own, words[i]);
}

size_t hosts_own_names(const char *text, const char *nodename, char *out[], size_t max)
{
	char *first = strndup(nodename, strcspn(nodename, "."));
	struct own own = {nodename, first ? first : nodename, out, 0, max};

	add_own(&own, nodename);
	add_own(&own, own.first);
	if (own.count > 0)
		each_line(text, on_own_line, &own);
	free(first);
	return own.count;
}

/* --- hosts -------------------------------------------------------------------------------- */

struct hosts {
	FILE *out;
	GHashTable *names; /* in small letters: those that are ours */
};

static void on_host_line(void *owner, char *words[])
{
	struct hosts *hosts = owner;
	bool has_address = false;

	for (size_t i = 1; words[i]; i++) {
		char *folded = g_ascii_strdown(words[i], -1);
		bool is_ours = is_localhost(folded) || g_hash_table_contains(hosts->names, folded);

		g_free(folded);
		if (is_ours)
			continue;
		fprintf(hosts->out, "%s %s", has_address ? "" : words[0], words[i]);
		has_address = true;
	}
	if (has_address)
		fputc('\n', hosts->out);
}

char *hosts_format(const char *text, const struct hosts_name *names, size_t count)
{
	char *made = NULL, addr[ADDR_TEXT_BYTES];
	size_t size;
	struct hosts hosts = {.out = open_memstream(&made, &size)};

	if (!hosts.out)
		return NULL;
	hosts.names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	fputs("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n", hosts.out);
	for (size_t i = 0; i < count; i++) {
		fprintf(hosts.out, "%s %s\n", addr_format_ip(&names[i].addr, addr, sizeof(addr)),
			names[i].name);
		g_hash_table_add(hosts.names, g_ascii_strdown(names[i].name, -1));
	}
	each_line(text, on_host_line, &hosts);
	g_hash_table_destroy(hosts.names);
	if (fclose(hosts.out) != 0) {
		free(made);
		return NULL;
	}
	return made;
}

/* --- nsswitch.conf ------------------------------------------------------------------------ */

/* The services of a line "hosts: ...", without those that are not for us. */
static void put_services(FILE *out, const char *line, size_t len, bool is_alone)
{
	char *copy = strndup(line, len), *rest;
	bool has_dns = false, is_kept = false;

	fputs(DATABASE " files", out);
	if (!copy)
		return;
	copy[strcspn(copy, "#")] = '\0';
	for (char *word = strtok_r(copy, BLANKS, &rest); word && !is_alone;
		word = strtok_r(NULL, BLANKS, &rest)) {
		if (*word != '[')
			is_kept = strcmp(word, "files") != 0 && strcmp(word, "resolve") != 0 &&
				  strcmp(word, "myhostname") != 0;
		if (is_kept)
			fprintf(out, " %s", word);
		has_dns |= strcmp(word, "dns") == 0;
	}
	fputs(has_dns ? "\n" : " dns\n", out);
	free(copy);
}

char *hosts_format_switch(const char *text, bool is_alone)
{
	char *made = NULL;
	size_t size;
	bool has_hosts = false;
	FILE *out = open_memstream(&made, &size);

	if (!out)
		return NULL;
	for (const char *end, *line = text; *line; line = *end ? end + 1 : end) {
		const char *word = line + strspn(line, BLANKS);

		end = strchrnul(line, '\n');
		if (strncmp(word, DATABASE, strlen(DATABASE)) != 0) {
			fprintf(out, "%.*s\n", (int)(end - line), line);
			continue;
		}
		word += strlen(DATABASE);
		if (!has_hosts)
			put_services(out, word, (size_t)(end - word), is_alone);
		has_hosts = true;
	}
	if (!has_hosts)
		put_services(out, "", 0, is_alone);
	if (fclose(out) != 0) {
		free(made);
		return NULL;
	}
	return made;
}
