/* SPDX-License-Identifier: Apache-2.0 */
/* lib/fault - errors of the library: a code and words */
#include "fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "version.h"

const char *nswrap_version(void)
{
	return NSWRAP_VERSION;
}

int nsw_fault(struct nswrap_error *error, int code, const char *format, ...)
{
	va_list args;

	if (!error)
		return -code;
	error->code = code;
	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	/* what the caller was told by others may be in it, and it is one line */
	for (char *at = error->text; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
	return -code;
}

int nsw_fault_sys(struct nswrap_error *error, int code, const char *what)
{
	char text[128];

	/* strerror has state; this is GNU's strerror_r */
	return nsw_fault(error, code, "%s: %s", what, strerror_r(code, text, sizeof(text)));
}

void nsw_fault_none(struct nswrap_error *error)
{
	if (error)
		*error = (struct nswrap_error){0};
}
