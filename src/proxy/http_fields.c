/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_fields - which fields of a head are for one connection only */
#include "proxy/http_fields.h"

/* Those for one connection, and those on which it depends where a message ends and whom it is for.
 */
static const char *const staying[] = {"Connection", "Keep-Alive", "Proxy-Connection",
	"Proxy-Authenticate", "Proxy-Authorization", "Proxy-Authentication-Info", "TE", "Upgrade",
	"HTTP2-Settings", "Transfer-Encoding", "Content-Length", "Host", NULL};

/* What must be known before the body: beside those above, who asks and what the body is. */
static const char *const not_trailing[] = {"Trailer", "Authorization", "Cookie", "Set-Cookie",
	"Content-Encoding", "Content-Type", "Content-Range", "Expect", "Max-Forwards",
	"Cache-Control", "WWW-Authenticate", "Range", "If-Match", "If-None-Match",
	"If-Modified-Since", "If-Unmodified-Since", "If-Range", "Location", NULL};

static bool is_one_of(struct http_text name, const char *const *names)
{
	for (; *names; names++)
		if (http_text_is(name, *names))
			return true;
	return false;
}

bool http_fields_stays(const struct http_head *head, struct http_text name)
{
	char text[64];

	if (is_one_of(name, staying))
		return true;
	if (!http_head_field(head, "Connection", NULL))
		return false;
	if (name.len < sizeof(text)) {
		memcpy(text, name.at, name.len);
		text[name.len] = '\0';
		return http_head_lists(head, "Connection", text);
	}
	return false;
}

bool http_fields_may_trail(struct http_text name)
{
	return !is_one_of(name, staying) && !is_one_of(name, not_trailing);
}
