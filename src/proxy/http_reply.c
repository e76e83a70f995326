/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_reply - what the HTTP proxy itself answers */
#include "proxy/http_reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/http_forward.h"
#include "util/log.h"

static const char *reason_of(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 407:
		return "Proxy Authentication Required";
	case 408:
		return "Request Timeout";
	case 431:
		return "Request Header Fields Too Large";
	case 501:
		return "Not Implemented";
	case 502:
		return "Bad Gateway";
	case 503:
		return "Service Unavailable";
	case 504:
		return "Gateway Timeout";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Error";
	}
}

/* A string of RFC 8941: printable ASCII, quotes and backslashes with one in front. */
static void quote(const char *text, char *out, size_t cap_bytes)
{
	size_t len = 0;

	for (; *text && len + 3 < cap_bytes; text++) {
		if (*text == '"' || *text == '\\')
			out[len++] = '\\';
		out[len++] = *text >= 0x20 && *text < 0x7f ? *text : '?';
	}
	out[len] = '\0';
}

char *http_reply_format(const struct http_reply *reply, time_t now, size_t *out_len)
{
	char line[600], details[1200], date[HTTP_DATE_BYTES], *text;

	log_escape(reply->line, strlen(reply->line), line, sizeof(line));
	quote(line, details, sizeof(details));
	int len = asprintf(&text,
		"HTTP/1.1 %d %s\r\n"
		"Date: %s\r\n"
		"Proxy-Status: " HTTP_VIA "%s%s; details=\"%s\"\r\n"
		"%s%s"
		"Content-Type: text/plain; charset=utf-8\r\n"
		"Content-Length: %zu\r\n\r\n"
		"%s%s%s",
		reply->status, reason_of(reply->status), http_forward_date(now, date),
		reply->error ? "; error=" : "", reply->error ? reply->error : "", details,
		reply->status == 407
			? "Proxy-Authenticate: Basic realm=\"nswrap\", charset=\"UTF-8\"\r\n"
			: "",
		reply->keeps_client ? "" : "Connection: close\r\n",
		strlen("nswrap: ") + strlen(line) + 1,
		reply->is_head ? "" : "nswrap: ", reply->is_head ? "" : line,
		reply->is_head ? "" : "\n");

	if (len < 0)
		return NULL;
	*out_len = (size_t)len;
	return text;
}
