/* SPDX-License-Identifier: Apache-2.0 */
/* net/resolv - read the host's resolv.conf and write those of the guest and the net process */
#include "net/resolv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "util/parse.h"

#define PORT_DNS 53

/* A piece of the text; never NUL-terminated */
struct slice {
	const char *text;
	size_t len;
};

struct output {
	char *text;
	size_t len, cap_bytes;
	bool is_full;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* Cut the next line off @rest; false at the end. NUL ends a line too, so that it hides nothing. */
static bool next_line(struct slice *rest, struct slice *line)
{
	size_t len = 0;

	if (rest->len == 0)
		return false;
	while (len < rest->len && rest->text[len] != '\n' && rest->text[len] != '\0')
		len++;
	*line = (struct slice){rest->text, len};
	size_t skip = len < rest->len ? len + 1 : len;
	*rest = (struct slice){rest->text + skip, rest->len - skip};
	return true;
}

static bool next_word(struct slice *line, struct slice *word)
{
	size_t start = 0;

	while (start < line->len && is_blank(line->text[start]))
		start++;
	size_t end = start;
	while (end < line->len && !is_blank(line->text[end]))
		end++;
	*word = (struct slice){line->text + start, end - start};
	*line = (struct slice){line->text + end, line->len - end};
	return word->len > 0;
}

static bool is_word(struct slice word, const char *text)
{
	return word.len == strlen(text) && memcmp(word.text, text, word.len) == 0;
}

static bool is_printable(struct slice word)
{
	for (size_t i = 0; i < word.len; i++)
		if (word.text[i] <= ' ' || word.text[i] > '~')
			return false;
	return true;
}

static bool is_comment(struct slice word)
{
	return word.text[0] == '#' || word.text[0] == ';';
}

/* @list has single spaces between its words; a word that does not fit is left out. */
static void add_word(char *list, size_t cap_bytes, struct slice word)
{
	size_t len = strlen(list);
	size_t gap = len > 0;

	if (!is_printable(word) || word.len + gap >= cap_bytes - len)
		return;
	if (gap)
		list[len++] = ' ';
	memcpy(list + len, word.text, word.len);
	list[len + word.len] = '\0';
}

static bool parse_scope(const char *text, uint32_t *scope)
{
	unsigned long number = 0;
	int result = parse_uint(text, UINT32_MAX, &number);

	*scope = result == -EINVAL ? if_nametoindex(text) : (uint32_t)number;
	return *scope != 0;
}

static bool parse_server(struct slice word, struct addr *out)
{
	char text[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];
	struct in_addr v4;
	struct in6_addr v6;
	uint32_t scope = 0;

	if (word.len >= sizeof(text))
		return false;
	memcpy(text, word.text, word.len);
	text[word.len] = '\0';
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

static void add_server(struct resolv_conf *conf, struct slice word)
{
	struct addr server;
	size_t len = 0;

	while (len < word.len && word.text[len] != '#' && word.text[len] != ';')
		len++;
	word.len = len;
	if (conf->nservers == RESOLV_SERVERS_MAX || !parse_server(word, &server))
		return;
	conf->servers[conf->nservers++] = server;
	if (server.family == AF_INET)
		conf->has_v4 = true;
	else
		conf->has_v6 = true;
}

static void parse_line(struct slice line, struct resolv_conf *out)
{
	struct slice keyword, word;

	/* a keyword stands at the very start of its line (resolv.conf(5)) */
	if (line.len == 0 || is_blank(line.text[0]) || !next_word(&line, &keyword))
		return;
	bool is_domain = is_word(keyword, "domain");
	if (is_word(keyword, "nameserver")) {
		if (next_word(&line, &word))
			add_server(out, word);
	} else if (is_domain || is_word(keyword, "search")) {
		/* a line with no word on it leaves the one before in force */
		for (size_t i = 0; next_word(&line, &word) && !is_comment(word); i++) {
			if (i == 0)
				out->search[0] = '\0';
			if (i == 0 || !is_domain)
				add_word(out->search, sizeof(out->search), word);
		}
	} else if (is_word(keyword, "options")) {
		while (next_word(&line, &word) && !is_comment(word))
			add_word(out->options, sizeof(out->options), word);
	}
}

void resolv_parse(const char *text, size_t len, struct resolv_conf *out)
{
	static const struct slice local = {"127.0.0.1", 9};
	struct slice rest = {text, len < RESOLV_TEXT_MAX_BYTES ? len : RESOLV_TEXT_MAX_BYTES};
	struct slice line;

	*out = (struct resolv_conf){0};
	while (next_line(&rest, &line))
		parse_line(line, out);
	if (out->nservers == 0)
		add_server(out, local);
}

static void put(struct output *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct output *out, const char *format, ...)
{
	va_list args;
	size_t room = out->cap_bytes - out->len;

	va_start(args, format);
	int len = vsnprintf(out->text + out->len, room, format, args);
	va_end(args);
	if (len < 0 || (size_t)len >= room)
		out->is_full = true;
	if (!out->is_full)
		out->len += (size_t)len;
}

static int finish(struct output *out, int result)
{
	if (out->is_full)
		result = -EMSGSIZE;
	if (result < 0 && out->cap_bytes > 0)
		out->text[0] = '\0';
	return result;
}

/* The struct may come from elsewhere than resolv_parse: words are looked at again. */
static void put_words(struct output *out, const char *keyword, const char *words)
{
	struct slice rest = {words, strlen(words)};
	struct slice word;
	const char *before = keyword;

	while (next_word(&rest, &word)) {
		if (!is_printable(word))
			continue;
		put(out, "%s %.*s", before, (int)word.len, word.text);
		before = "";
	}
	if (before != keyword)
		put(out, "\n");
}

int resolv_format_guest(const struct resolv_conf *host, const struct in_addr *dns4,
	const struct in6_addr *dns6, char *text, size_t cap_bytes)
{
	struct output out = {.text = text, .cap_bytes = cap_bytes};
	char addr[INET6_ADDRSTRLEN];
	bool wants_v6 = host->has_v6 && dns6;

	if (host->has_v4 || !wants_v6) {
		inet_ntop(AF_INET, dns4, addr, sizeof(addr));
		put(&out, "nameserver %s\n", addr);
	}
	if (wants_v6) {
		inet_ntop(AF_INET6, dns6, addr, sizeof(addr));
		put(&out, "nameserver %s\n", addr);
	}
	put_words(&out, "search", host->search);
	put_words(&out, "options", host->options);
	return finish(&out, 0);
}

static int put_server(struct output *out, const struct addr *server)
{
	char addr[INET6_ADDRSTRLEN], scope[IF_NAMESIZE];

	if (server->family != AF_INET && server->family != AF_INET6)
		return -EAFNOSUPPORT;
	addr_format_ip(server, addr, sizeof(addr));
	if (server->family == AF_INET || !server->v6.sin6_scope_id) {
		put(out, "nameserver %s\n", addr);
		return 0;
	}
	/* libslirp 4.7.0 understands names only (if_nametoindex of what is behind '%') */
	if (!if_indextoname(server->v6.sin6_scope_id, scope) ||
		!is_printable((struct slice){scope, strlen(scope)}))
		return -ENODEV;
	put(out, "nameserver %s%%%s\n", addr, scope);
	return 0;
}

int resolv_format_net(
	const struct resolv_conf *host, const struct addr *override, char *text, size_t cap_bytes)
{
	struct output out = {.text = text, .cap_bytes = cap_bytes};
	int result = 0;

	if (override)
		return finish(&out, put_server(&out, override));
	for (size_t i = 0; i < host->nservers && result == 0; i++) {
		result = put_server(&out, &host->servers[i]);
		if (result == -ENODEV) /* an interface that went away: the others still serve */
			result = 0;
	}
	return finish(&out, result);
}
