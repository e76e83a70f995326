/* SPDX-License-Identifier: Apache-2.0 */
/* unit/manifest_report - read a manifest that must be right, or wrong with these very lines */
#ifndef NSWRAP_TESTS_UNIT_MANIFEST_REPORT_H
#define NSWRAP_TESTS_UNIT_MANIFEST_REPORT_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/manifest/manifest.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define REPORT_BYTES (1 << 18)

struct report {
	char text[REPORT_BYTES];
	size_t len, lines;
};

static inline void on_line(void *told, enum manifest_weight weight, const char *line)
{
	struct report *report = told;

	assert_null(strpbrk(line, "\n\r\t\x1b"));
	assert_int_equal(weight == MANIFEST_WARNING, strstr(line, ": warning: ") != NULL);
	report->lines++;
	report->len += (size_t)snprintf(
		report->text + report->len, REPORT_BYTES - report->len, "%s\n", line);
	assert_true(report->len < REPORT_BYTES);
}

/* On a copy without NUL of exactly the text's size, so that the sanitizers see over-reads */
static inline int parse_bytes(
	const char *text, size_t len, struct manifest *out, struct report *report)
{
	char *copy = malloc(len ? len : 1);
	int rc;

	assert_non_null(copy);
	memcpy(copy, text, len);
	memset(out, 0xa5, sizeof(*out));
	*report = (struct report){.len = 0};
	rc = manifest_parse(copy, len, "m.yaml", out, on_line, report);
	free(copy);
	return rc;
}

/* It is refused with these very lines, and nothing is stored. */
static inline void check_bad_bytes(const char *text, size_t len, const char *wanted)
{
	static struct report report;
	struct manifest manifest, untouched;

	memset(&untouched, 0xa5, sizeof(untouched));
	assert_int_equal(parse_bytes(text, len, &manifest, &report), -EINVAL);
	assert_string_equal(report.text, wanted);
	assert_memory_equal(&manifest, &untouched, sizeof(manifest));
}

static inline void check_bad(const char *text, const char *wanted)
{
	check_bad_bytes(text, strlen(text), wanted);
}

/* It is taken, with these very warnings. */
static inline void parse_warned(
	const char *text, size_t len, const char *wanted, struct manifest *out)
{
	static struct report report;
	int rc = parse_bytes(text, len, out, &report);

	assert_string_equal(report.text, wanted);
	assert_int_equal(rc, 0);
}

static inline void check_warned(const char *text, const char *wanted)
{
	struct manifest manifest;

	parse_warned(text, strlen(text), wanted, &manifest);
	manifest_free(&manifest);
}

static inline struct manifest parse_good(const char *text)
{
	struct manifest manifest;

	parse_warned(text, strlen(text), "", &manifest);
	return manifest;
}

#endif
