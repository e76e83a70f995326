/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_login - who a request says its client is */
#include "proxy/http_login.h"

#include <glib.h>

#define TEXT_MAX ((2 * ACCESS_TEXT_MAX + 1 + 2) / 3 * 4) /* USER:PASSWORD as RFC 4648 writes it */

/* "Basic dXNlcjpwYXNz" (RFC 7617). */
static bool is_known(struct http_text value, const struct access *access)
{
	char text[TEXT_MAX + 1];
	size_t len = 0, scheme_len = http_text_token_len(value);
	struct http_text rest =
		http_text_trim((struct http_text){value.at + scheme_len, value.len - scheme_len});

	/* of one letter the decoder says nothing, but that its caller is wrong */
	if (!http_text_is((struct http_text){value.at, scheme_len}, "Basic") || rest.len < 2 ||
		rest.len > TEXT_MAX)
		return false;
	memcpy(text, rest.at, rest.len);
	text[rest.len] = '\0';
	g_base64_decode_inplace(text, &len);
	const char *colon = memchr(text, ':', len);
	bool known = colon && access_is_known(access, text, (size_t)(colon - text), colon + 1,
				      len - (size_t)(colon - text) - 1);
	explicit_bzero(text, sizeof(text));
	return known;
}

bool http_login_is_known(const struct http_head *head, const struct access *access)
{
	const struct http_field *field = http_head_field(head, "Proxy-Authorization", NULL);

	return !access_wants_password(access) || (field && is_known(field->value, access));
}
