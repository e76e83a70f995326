/* SPDX-License-Identifier: Apache-2.0 */
/* util/err - what went wrong, in words a person can act on */
#include "util/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 3, 0))) static size_t format_text(
	struct err *err, int code, const char *format, va_list args)
{
	err->code = code;
	int len = vsnprintf(err->text, sizeof(err->text), format, args);
	if (len < 0)
		return 0;
	return (size_t)len < sizeof(err->text) ? (size_t)len : sizeof(err->text) - 1;
}

int err_set(struct err *err, int code, const char *format, ...)
{
	va_list args;

	if (err) {
		va_start(args, format);
		format_text(err, code, format, args);
		va_end(args);
	}
	return -code;
}

int err_sys(struct err *err, int code, const char *format, ...)
{
	va_list args;

	if (err) {
		va_start(args, format);
		size_t len = format_text(err, code, format, args);
		va_end(args);
		snprintf(err->text + len, sizeof(err->text) - len, ": %s", strerror(code));
	}
	return -code;
}
