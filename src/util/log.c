/* SPDX-License-Identifier: Apache-2.0 */
/* util/log - lines for a person, on stderr */
#include "util/log.h"

#include <errno.h>
#include <glib.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/fd.h"

#define LINE_CAP_BYTES 2048
#define ESCAPED_BYTES  4 /* \xNN */

static struct {
	enum log_level max_level;
	int wait_ms; /* -1: for ever */
} settings = {.max_level = LOG_NOTICE, .wait_ms = -1};

void log_set_level(enum log_level level)
{
	settings.max_level = level;
}

void log_wait_at_most(int ms)
{
	settings.wait_ms = ms;
}

bool log_wants(enum log_level level)
{
	return level <= settings.max_level;
}

/* Length of the well-formed, printable UTF-8 sequence at @text, 0 if there is none. */
static size_t utf8_len(const char *text, size_t len)
{
	gunichar character = g_utf8_get_char_validated(text, (gssize)len);

	/* U+0080..U+009F are control characters; those past U+10FFFF are GLib's errors */
	if (character < 0xa0 || character > 0x10ffff)
		return 0;
	return (size_t)(g_utf8_next_char(text) - text);
}

char *log_escape(const char *text, size_t len, char *out, size_t cap_bytes)
{
	size_t used = 0;

	for (size_t i = 0; i < len;) {
		size_t plain = g_ascii_isprint(text[i]) ? 1 : utf8_len(text + i, len - i);
		size_t need = plain ? plain : ESCAPED_BYTES;
		if (used + need >= cap_bytes)
			break;
		if (plain)
			memcpy(out + used, text + i, plain);
		else
			snprintf(out + used, cap_bytes - used, "\\x%02x", (unsigned char)text[i]);
		used += need;
		i += plain ? plain : 1;
	}
	out[used] = '\0';
	return out;
}

void log_line(enum log_level level, const char *format, ...)
{
	char raw[LINE_CAP_BYTES / 2], line[LINE_CAP_BYTES] = LOG_PREFIX;
	size_t prefix = strlen(line);
	va_list args;

	if (!log_wants(level))
		return;
	va_start(args, format);
	int len = vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	if (len < 0)
		return;
	if ((size_t)len >= sizeof(raw))
		len = sizeof(raw) - 1;
	log_escape(raw, (size_t)len, line + prefix, sizeof(line) - prefix - 1);
	strcat(line, "\n");
	if (fd_tell(STDERR_FILENO, line, strlen(line), settings.wait_ms) == -EAGAIN)
		settings.wait_ms = 0;
}
