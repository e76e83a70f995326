/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_target - what a request to a proxy is for: "http://web:8080/path", or "web:443" */
#include "proxy/http_target.h"

#include <http_parser.h>

#define SCHEME     "http://"
#define SCHEME_LEN (sizeof(SCHEME) - 1)

/* Host and port by the library, which takes HOST:PORT only if there is a port, and a URL whole. */
static int read_host(const char *url, size_t len, bool is_tunnel, struct http_target *out,
	struct http_fault *fault)
{
	struct http_parser_url parts;

	http_parser_url_init(&parts);
	if (http_parser_parse_url(url, len, is_tunnel, &parts) != 0)
		return http_fault_set(fault, 400,
			is_tunnel
				? "its target is no HOST:PORT"
				: "its target has no good host or port: expected http://HOST[:PORT]/...");
	bool has_port = parts.field_set & (1 << UF_PORT);
	struct http_text host = {
		url + parts.field_data[UF_HOST].off, parts.field_data[UF_HOST].len};

	if (host.len == 0 || host.len > HTTP_HOST_MAX)
		return http_fault_set(fault, 400, "its target's host is too long, or missing");
	/* an address of a link has no meaning for who is asked: RFC 6874 is for a user's own tools
	 */
	if (memchr(host.at, '%', host.len))
		return http_fault_set(fault, 400, "its target's host has a '%' in it");
	memcpy(out->host, host.at, host.len);
	out->host[host.len] = '\0';
	out->port = has_port ? parts.port : 80;
	if (out->port == 0)
		return http_fault_set(fault, 400, "its target's port is not 1 to 65535");
	return 0;
}

static int read_url(struct http_text target, struct http_target *out, struct http_fault *fault)
{
	size_t end = SCHEME_LEN;

	while (end < target.len && !strchr("/?#", target.at[end]))
		end++;
	out->authority = (struct http_text){target.at + SCHEME_LEN, end - SCHEME_LEN};
	out->path = (struct http_text){target.at + end, target.len - end};
	if (memchr(out->authority.at, '@', out->authority.len))
		return http_fault_set(
			fault, 400, "its target has a user in it: expected http://HOST[:PORT]/...");
	if (memchr(out->path.at, '#', out->path.len))
		return http_fault_set(fault, 400, "its target has a fragment (#...) in it");
	/* "http://web:/" is allowed by RFC 3986, and means the same as "http://web/" */
	if (out->authority.len > 0 && out->authority.at[out->authority.len - 1] == ':') {
		out->authority.len--;
		end--;
	}
	/* without what follows: the library has its own thoughts about paths, servers have others
	 */
	return read_host(target.at, end, false, out, fault);
}

int http_target_read(struct http_text method, struct http_text target, struct http_target *out,
	struct http_fault *fault)
{
	out->is_tunnel = http_text_equals(method, "CONNECT");
	out->path = (struct http_text){0};
	if (out->is_tunnel) {
		out->authority = target;
		return read_host(target.at, target.len, true, out, fault);
	}
	if (target.len > SCHEME_LEN && strncasecmp(target.at, SCHEME, SCHEME_LEN) == 0)
		return read_url(target, out, fault);
	if (target.at[0] == '/' || target.at[0] == '*')
		return http_fault_set(fault, 400,
			"this is a proxy, and its target is one for a server: expected http://HOST[:PORT]/...");
	if (target.len > 8 && strncasecmp(target.at, "https://", 8) == 0)
		return http_fault_set(fault, 400,
			"its target begins with https://, which takes CONNECT HOST:PORT");
	return http_fault_set(
		fault, 400, "its target is not known here: expected http://HOST[:PORT]/...");
}
