/* SPDX-License-Identifier: Apache-2.0 */
/* util/log - lines for a person, on stderr */
#include "util/log.h"

#include <errno.h>
#include <glib.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"

#define LINE_CAP_BYTES 2048
#define ESCAPED_BYTES  4    /* \xNN */
#define FIRST_WAIT_MS  1000 /* who reads may still be starting */

static struct {
	enum log_level max_level;
	int wait_ms; /* -1: for ever */
	int fd;
	bool marks; /* each line begins with its level */
} settings = {.max_level = LOG_NOTICE, .wait_ms = FIRST_WAIT_MS, .fd = STDERR_FILENO};

void log_set_level(enum log_level level)
{
	settings.max_level = level;
}

void log_wait_at_most(int ms)
{
	settings.wait_ms = ms;
}

/* Is it what JOURNAL_STREAM says: device and inode? A program that has another one in its place
 * inherits the variable all the same. */
static bool is_journal(int fd)
{
	const char *told = getenv("JOURNAL_STREAM");
	char own[64];
	struct stat info;

	if (!told || fstat(fd, &info) < 0)
		return false;
	snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)info.st_dev, (uintmax_t)info.st_ino);
	return strcmp(told, own) == 0;
}

void log_set_fd(int fd)
{
	settings.fd = fd;
	settings.marks = is_journal(fd);
}

void log_look(void)
{
	settings.marks = is_journal(settings.fd);
}

void log_mark_lines(void)
{
	settings.marks = true;
}

const char *log_mark(enum log_level level)
{
	/* syslog(3)'s */
	static const char *const marks[] = {"<3>", "<4>", "<5>", "<6>", "<7>"};

	return settings.marks ? marks[level] : "";
}

enum log_level log_read_mark(const char *text, size_t len, bool *has_mark)
{
	*has_mark = len >= LOG_MARK_LEN && text[0] == '<' && text[1] >= '3' && text[1] <= '7' &&
		    text[2] == '>';
	return *has_mark ? (enum log_level)(text[1] - '3') : LOG_ERROR;
}

bool log_wants(enum log_level level)
{
	return level <= settings.max_level;
}

/* Characters that take no place, and belong to none of the types below (Unicode's
 * Default_Ignorable).
 */
static bool is_filler(gunichar character)
{
	static const gunichar fillers[][2] = {{0x34f, 0x34f}, {0x115f, 0x1160}, {0x17b4, 0x17b5},
		{0x180b, 0x180f}, {0x3164, 0x3164}, {0xfe00, 0xfe0f}, {0xffa0, 0xffa0},
		{0xe0000, 0xe0fff}};

	for (size_t i = 0; i < sizeof(fillers) / sizeof(fillers[0]); i++)
		if (character >= fillers[i][0] && character <= fillers[i][1])
			return true;
	return false;
}

/* Does it show where and as what it stands? Not what is for terminals, turns text around (bidi),
 * breaks lines, or cannot be seen. */
static bool is_shown(gunichar character)
{
	switch (g_unichar_type(character)) {
	case G_UNICODE_CONTROL:
	case G_UNICODE_FORMAT:
	case G_UNICODE_UNASSIGNED:
	case G_UNICODE_SURROGATE:
	case G_UNICODE_PRIVATE_USE:
	case G_UNICODE_LINE_SEPARATOR:
	case G_UNICODE_PARAGRAPH_SEPARATOR:
		return false;
	default:
		return !is_filler(character);
	}
}

/* Length of the well-formed, printable UTF-8 sequence at @text, 0 if there is none. */
static size_t utf8_len(const char *text, size_t len)
{
	gunichar character = g_utf8_get_char_validated(text, (gssize)len);

	/* those past U+10FFFF are GLib's errors */
	if (character > 0x10ffff || !is_shown(character))
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

void log_pass(enum log_level level, const char *text)
{
	char line[LINE_CAP_BYTES];
	size_t prefix = (size_t)snprintf(line, sizeof(line), "%s" LOG_PREFIX, log_mark(level));

	log_escape(text, strlen(text), line + prefix, sizeof(line) - prefix - 1);
	strcat(line, "\n");
	if (fd_tell(settings.fd, line, strlen(line), settings.wait_ms) == -EAGAIN)
		settings.wait_ms = 0;
}

void log_line(enum log_level level, const char *format, ...)
{
	char raw[LINE_CAP_BYTES / 2];
	va_list args;

	if (!log_wants(level))
		return;
	va_start(args, format);
	int len = vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	if (len >= 0)
		log_pass(level, raw);
}
