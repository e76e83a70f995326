/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/errors - what is wrong with a manifest, collected and told in the file's order */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "mesh/manifest/manifest.h"

/* Counted from 1, in characters. Line 0: no place. */
struct place {
	size_t line, column;
};

/* Below, equal or above 0 if @a is before, at or behind @b. */
int errors_compare_places(struct place a, struct place b);

/* Whatever a file says, it cannot fill the screen or the memory with errors. */
#define ERRORS_MAX 1000

#define ERRORS_SUBJECT_BYTES 96

/* Starts as all zero but for the file. */
struct errors {
	const char *file;
	char subject[ERRORS_SUBJECT_BYTES]; /* in front of each text: "host web: ", or "" */
	bool is_quiet;                      /* nothing is collected: it was already */
	bool has_no_memory;

	struct error *list; /* room for ERRORS_MAX */
	size_t count, left_out;
	bool is_wrong; /* one of them, or of those left out, is an error */
};

/* Remember an error; once memory has run out nothing but that. */
void errors_add(struct errors *errors, struct place at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with a warning: the manifest is fine all the same. */
void errors_warn(struct errors *errors, struct place at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* What the next errors are about, such as "host" and "web"; NULL and NULL: nothing special. */
void errors_about(struct errors *errors, const char *kind, const char *name);

/* Tell each of them once and free them. Returns 0 if none was an error, else -EINVAL or -ENOMEM. */
int errors_tell(struct errors *errors, manifest_report report, void *told);
