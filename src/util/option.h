/* SPDX-License-Identifier: Apache-2.0 */
/* util/option - command line options, read and explained from one table */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "util/err.h"

/* A word of other programs, "--publish" or "-L" or all of "-it", and what to do instead. */
struct option_habit {
	const char *word, *instead; /* a list of them ends with NULLs */
};

/* One option; a table of them ends with an entry whose name is NULL. */
struct option_def {
	char short_name;  /* 0: none */
	const char *name; /* the long name, without "--" */
	const char *arg; /* NULL: takes none; "[X]", all in one pair of brackets: optional, and then
			  * only as --name=VALUE; "[ADDR:]PORT" is not optional */
	const char *help; /* for the usage text, wrapped there */

	/*
	 * Called once each time the option is given, in order; @value is NULL if it has none, else
	 * it points into argv. @target is @offset bytes into that of option_parse. Returns 0, or
	 * -errno with @err saying what is wrong with @value and what is expected; the option's name
	 * is put in front by option_parse.
	 */
	int (*set)(void *target, const char *value, struct err *err);
	size_t offset;
};

/* Does it take a value? An optional one only as --name=VALUE. */
enum option_takes { OPTION_TAKES_NONE, OPTION_TAKES_ONE, OPTION_TAKES_OPTIONAL };
enum option_takes option_takes(const struct option_def *def);

/* Setters of what many options are: a bool (of options that take no argument), a text that points
 * into argv, a uint64_t with milliseconds (util/parse has their form). */
int option_set_true(void *target, const char *value, struct err *err);
int option_set_false(void *target, const char *value, struct err *err);
int option_set_text(void *target, const char *value, struct err *err);
int option_set_seconds(void *target, const char *value, struct err *err);

/*
 * Read the options in argv[1...]: -a, -ab, -aVALUE, -a VALUE, --name, --name=VALUE, --name VALUE.
 * Long names are not abbreviated. Options end at the first operand ("-" is one) or behind "--".
 * A value may begin with "-". argv is neither changed nor reordered.
 *
 * Returns the index of the first operand (>= 1, argc if there is none), or a negative errno with
 * @err naming the option as it was written: -EINVAL, what a setter returned, or -ECANCELED for -h
 * and --help, which every table has. Options in front of the wrong one have been set by then.
 */
int option_parse(
	const struct option_def *table, int argc, char **argv, void *target, struct err *err);

/* The same, where an option that is not known may be one of @habits (NULL: none): the error says
 * so. */
int option_parse_with(const struct option_def *table, const struct option_habit *habits, int argc,
	char **argv, void *target, struct err *err);

/* Print each option with its help, aligned, no line over 100 columns (if no word is). */
void option_print_usage(FILE *out, const struct option_def *table);

/*
 * The one of @known that @word was probably meant to be: a few letters wrong, missing, too many or
 * swapped, or the same of a beginning. NULL if none is near.
 */
const char *option_nearest(const char *word, const char *const *known, size_t n);
