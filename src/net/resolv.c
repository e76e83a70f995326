/* SPDX-License-Identifier: Apache-2.0 */
/* net/resolv - read the host's resolv.conf and write the guest's */
#include "net/resolv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "util/parse.h"

#define PORT_DNS 53
#define BLANKS   " \t\r\v\f"

static bool is_printable(const char *word)
{
	for (; *word; word++)
		if (*word <= ' ' || *word > '~')
			return false;
	return true;
}

/* @list has single spaces between its words; a word that does not fit is left out. */
static void add_word(char *list, size_t cap_bytes, const char *word)
{
	size_t len = strlen(list);
	const char *gap = len ? " " : "";

	if (is_printable(word) && strlen(gap) + strlen(word) < cap_bytes - len)
		snprintf(list + len, cap_bytes - len, "%s%s", gap, word);
}

static bool parse_scope(const char *text, uint32_t *scope)
{
	unsigned long number = 0;
	int result = parse_uint(text, UINT32_MAX, &number);

	*scope = result == -EINVAL ? if_nametoindex(text) : (uint32_t)number;
	return *scope != 0;
}

static bool parse_server(char *text, struct addr *out)
{
	struct in_addr v4;
	struct in6_addr v6;
	uint32_t scope = 0;

	/* inet_aton, as glibc: "127.1" is an address; it would also take what follows a blank */
	if (inet_aton(text, &v4) == 1) {
		*out = addr_of4(v4, PORT_DNS);
		return true;
	}
	char *percent = strchr(text, '%');
	if (percent)
		*percent = '\0';
	if (inet_pton(AF_INET6, text, &v6) != 1)
		return false;
	if (percent && !parse_scope(percent + 1, &scope))
		return false;
	*out = addr_of6(&v6, PORT_DNS);
	out->v6.sin6_scope_id = scope;
	return true;
}

static void add_server(struct resolv_conf *conf, char *word)
{
	struct addr server;

	word[strcspn(word, "#;")] = '\0';
	if (conf->nservers == RESOLV_SERVERS_MAX || !parse_server(word, &server))
		return;
	conf->servers[conf->nservers++] = server;
	if (server.family == AF_INET)
		conf->has_v4 = true;
	else
		conf->has_v6 = true;
}

static void parse_line(char *line, struct resolv_conf *out)
{
	char *rest, *keyword = strtok_r(line, BLANKS, &rest), *word;

	/* a keyword stands at the very start of its line (resolv.conf(5)) */
	if (keyword != line)
		return;
	bool is_domain = strcmp(keyword, "domain") == 0;
	bool is_search = strcmp(keyword, "search") == 0;
	bool is_options = strcmp(keyword, "options") == 0;
	if (strcmp(keyword, "nameserver") == 0 && (word = strtok_r(NULL, BLANKS, &rest)))
		add_server(out, word);
	if (!is_domain && !is_search && !is_options)
		return;
	for (size_t i = 0; (word = strtok_r(NULL, BLANKS, &rest)) && !strchr("#;", *word); i++) {
		/* a line with no word on it leaves the one before in force */
		if (i == 0 && !is_options)
			out->search[0] = '\0';
		if (is_options)
			add_word(out->options, sizeof(out->options), word);
		else if (i == 0 || is_search)
			add_word(out->search, sizeof(out->search), word);
	}
}

void resolv_parse(char *text, size_t len, struct resolv_conf *out)
{
	char local[] = "127.0.0.1", *end = text + len;

	if (len > RESOLV_TEXT_MAX_BYTES)
		end = text + RESOLV_TEXT_MAX_BYTES;
	*end = '\0';
	*out = (struct resolv_conf){0};
	/* NUL ends a line too, so that it hides nothing */
	for (char *line = text, *line_end; line < end; line = line_end + 1) {
		line_end = strchrnul(line, '\n');
		*line_end = '\0';
		parse_line(line, out);
	}
	if (out->nservers == 0)
		add_server(out, local);
}

/* The end of writing to @out, which is @text. */
static int finish(FILE *out, char *text, size_t cap_bytes)
{
	long len = ftell(out);
	int result = 0;

	/* fmemopen takes a text that leaves no room for its NUL */
	if (fclose(out) != 0 || len < 0 || (size_t)len >= cap_bytes)
		result = -EMSGSIZE;
	if (result < 0 && cap_bytes > 0)
		text[0] = '\0';
	return result;
}

/* The struct may come from elsewhere than resolv_parse: words are looked at again. */
static void put_words(FILE *out, const char *keyword, const char *words)
{
	char *rest, *copy = strdupa(words);
	const char *before = keyword;

	for (char *word = strtok_r(copy, BLANKS, &rest); word;
		word = strtok_r(NULL, BLANKS, &rest)) {
		if (!is_printable(word))
			continue;
		fprintf(out, "%s %s", before, word);
		before = "";
	}
	if (before != keyword)
		fprintf(out, "\n");
}

int resolv_format(
	const struct resolv_conf *host, const struct in_addr *server, char *text, size_t cap_bytes)
{
	FILE *out = fmemopen(text, cap_bytes, "w");
	char addr[INET_ADDRSTRLEN];

	if (!out)
		return -errno;
	fprintf(out, "nameserver %s\n", inet_ntop(AF_INET, server, addr, sizeof(addr)));
	put_words(out, "search", host->search);
	put_words(out, "options", host->options);
	return finish(out, text, cap_bytes);
}
