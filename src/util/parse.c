/* SPDX-License-Identifier: Apache-2.0 */
/* util/parse - strict readers for numbers, ports and times that people write */
#include "util/parse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/clock.h"
#include "util/log.h"

#define SECONDS_MAX      1000000
#define DECIMALS_MAX     3
#define NUMBER_BYTES     32  /* longer ones are not looked at */
#define SHOWN_SCAN_BYTES 256 /* nothing behind that is shown */
#define ESCAPED_BYTES    4   /* \xNN */

static char *show(const char *text, const char *mark, char *out, size_t cap_bytes)
{
	char escaped[SHOWN_SCAN_BYTES * ESCAPED_BYTES + 1];
	size_t room = cap_bytes - 2 * strlen(mark);
	size_t len = strnlen(text, SHOWN_SCAN_BYTES);
	const char *rest = "";

	log_escape(text, len, escaped, sizeof(escaped));
	if (text[len] || strlen(escaped) >= room) {
		rest = "...";
		room = room < sizeof(escaped) ? room - strlen(rest) : sizeof(escaped);
		log_escape(text, len, escaped, room); /* again: no character is cut in two */
	}
	snprintf(out, cap_bytes, "%s%s%s%s", mark, escaped, rest, mark);
	return out;
}

char *parse_quote(const char *text, char *out, size_t cap_bytes)
{
	return show(text, "\"", out, cap_bytes);
}

char *parse_shown(const char *text, char *out, size_t cap_bytes)
{
	return show(text, "", out, cap_bytes);
}

int parse_uint(const char *text, unsigned long max, unsigned long *out)
{
	unsigned long value = 0;
	bool is_too_big = false;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL; /* rather than -ERANGE, also behind too many digits */
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, (unsigned long)(*text - '0'), &value))
			is_too_big = true;
	}
	if (is_too_big || value > max)
		return -ERANGE;
	*out = value;
	return 0;
}

int parse_port(const char *text, bool zero_ok, uint16_t *out, struct err *err)
{
	unsigned long value;

	if (parse_uint(text, UINT16_MAX, &value) < 0 || (value == 0 && !zero_ok))
		return err_set(err, EINVAL, "%s is no port: expected a number from %d to 65535",
			PARSE_QUOTED(text), zero_ok ? 0 : 1);
	*out = (uint16_t)value;
	return 0;
}

static int read_seconds(const char *text, uint64_t *out_ms)
{
	char whole[NUMBER_BYTES], *decimals;
	unsigned long seconds, fraction = 0;

	if (snprintf(whole, sizeof(whole), "%s", text) >= NUMBER_BYTES)
		return -EINVAL;
	decimals = strchr(whole, '.');
	if (decimals)
		*decimals++ = '\0';
	if (parse_uint(whole, SECONDS_MAX, &seconds) < 0)
		return -EINVAL;
	if (decimals) {
		size_t len = strlen(decimals);

		if (len > DECIMALS_MAX || parse_uint(decimals, 999, &fraction) < 0)
			return -EINVAL;
		for (; len < DECIMALS_MAX; len++)
			fraction *= 10;
	}
	uint64_t ms = seconds * MS_PER_S + fraction;
	if (ms > SECONDS_MAX * MS_PER_S)
		return -EINVAL;
	*out_ms = ms;
	return 0;
}

int parse_seconds(const char *text, uint64_t *out_ms, struct err *err)
{
	if (read_seconds(text, out_ms) < 0)
		return err_set(err, EINVAL,
			"%s is no time: expected seconds from 0 to %d, such as 30 or 1.5",
			PARSE_QUOTED(text), SECONDS_MAX);
	return 0;
}
