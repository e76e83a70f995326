/* SPDX-License-Identifier: Apache-2.0 */
/* util/log - lines for a person, on stderr */
#include "util/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_CAP_BYTES 2048
#define ESCAPED_BYTES  4 /* \xNN */

static struct {
	enum log_level max_level;
	bool never_waits;
} settings = {.max_level = LOG_NOTICE};

void log_set_level(enum log_level level)
{
	settings.max_level = level;
}

void log_never_wait(void)
{
	settings.never_waits = true;
}

/* The descriptor is shared with others, so it is not made nonblocking. */
static bool has_room(void)
{
	struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};

	return !settings.never_waits || poll(&room, 1, 0) == 1;
}

bool log_wants(enum log_level level)
{
	return level <= settings.max_level;
}

/*
 * Well-formed UTF-8 (RFC 3629): the first byte narrows the range of the second one, which keeps out
 * overlong forms, surrogates, what is past U+10FFFF, and here the control characters
 * U+0080..U+009F.
 */
static const struct {
	uint8_t first_min, first_max, second_min, second_max;
	size_t len;
} utf8_forms[] = {
	{0xc2, 0xc2, 0xa0, 0xbf, 2},
	{0xc3, 0xdf, 0x80, 0xbf, 2},
	{0xe0, 0xe0, 0xa0, 0xbf, 3},
	{0xe1, 0xec, 0x80, 0xbf, 3},
	{0xed, 0xed, 0x80, 0x9f, 3},
	{0xee, 0xef, 0x80, 0xbf, 3},
	{0xf0, 0xf0, 0x90, 0xbf, 4},
	{0xf1, 0xf3, 0x80, 0xbf, 4},
	{0xf4, 0xf4, 0x80, 0x8f, 4},
};

/* Length of the well-formed, printable UTF-8 sequence at @text, 0 if there is none. */
static size_t utf8_len(const uint8_t *text, size_t len)
{
	size_t form = 0, count = sizeof(utf8_forms) / sizeof(utf8_forms[0]);

	while (form < count && text[0] > utf8_forms[form].first_max)
		form++;
	if (form == count || text[0] < utf8_forms[form].first_min || len < utf8_forms[form].len)
		return 0;
	if (text[1] < utf8_forms[form].second_min || text[1] > utf8_forms[form].second_max)
		return 0;
	for (size_t i = 2; i < utf8_forms[form].len; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	return utf8_forms[form].len;
}

char *log_escape(const char *text, size_t len, char *out, size_t cap_bytes)
{
	const uint8_t *in = (const uint8_t *)text;
	size_t used = 0;

	for (size_t i = 0; i < len;) {
		size_t plain = in[i] >= 0x20 && in[i] < 0x7f ? 1 : 0;
		if (!plain && in[i] >= 0x80)
			plain = utf8_len(in + i, len - i);
		size_t need = plain ? plain : ESCAPED_BYTES;
		if (used + need >= cap_bytes)
			break;
		if (plain)
			memcpy(out + used, in + i, plain);
		else
			snprintf(out + used, cap_bytes - used, "\\x%02x", in[i]);
		used += need;
		i += plain ? plain : 1;
	}
	out[used] = '\0';
	return out;
}

void log_line(enum log_level level, const char *format, ...)
{
	char raw[LINE_CAP_BYTES / 2], line[LINE_CAP_BYTES] = "nswrap: ";
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
	if (!has_room() || write(STDERR_FILENO, line, strlen(line)) < 0)
		return; /* nobody is there to be told */
}
