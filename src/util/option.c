/* SPDX-License-Identifier: Apache-2.0 */
/* util/option - command line options, read and explained from one table */
#include "util/option.h"

#include <errno.h>
#include <glib.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "util/parse.h"

#define WORD_MAX         32 /* longer words are not guessed at */
#define NAMES_MAX        64 /* those behind are not guessed at */
#define NO_SCORE         UINT_MAX
#define USAGE_COLUMNS    100
#define USAGE_LEFT_MAX   36 /* a longer option has its help on the next line */
#define USAGE_LEFT_BYTES 256

/* The arguments and how far they are read. */
struct reader {
	const struct option_def *table;
	const struct option_habit *habits;
	int argc, next;
	char **argv;
	void *target;
	struct err *err;
};

/* How an option was written: "-p" "" "80", "-p" " " "80", "--port" "=" "80". */
struct written {
	char name[PARSE_QUOTE_BYTES];
	const char *join, *value;
};

enum option_takes option_takes(const struct option_def *def)
{
	int depth = 0;

	if (!def->arg)
		return OPTION_TAKES_NONE;
	if (def->arg[0] != '[')
		return OPTION_TAKES_ONE;
	for (const char *at = def->arg; *at; at++) {
		depth += (*at == '[') - (*at == ']');
		if (depth == 0) /* "[X]" ends with the bracket that it began with, "[A:]B" not */
			return at[1] ? OPTION_TAKES_ONE : OPTION_TAKES_OPTIONAL;
	}
	return OPTION_TAKES_ONE;
}

int option_set_true(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	*(bool *)target = true;
	return 0;
}

int option_set_false(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	*(bool *)target = false;
	return 0;
}

int option_set_text(void *target, const char *value, struct err *err)
{
	(void)err;
	*(const char **)target = value;
	return 0;
}

int option_set_seconds(void *target, const char *value, struct err *err)
{
	return parse_seconds(value, target, err);
}

/*
 * How many letters are wrong, missing, too many or swapped between @word and @known, or between
 * @word and a beginning of @known, which counts one more. NO_SCORE if that is too many.
 */
static unsigned int typo_score(const char *word, const char *known)
{
	unsigned int cost[WORD_MAX + 1][WORD_MAX + 1];
	size_t rows = strlen(word), columns = strlen(known);

	if (rows > WORD_MAX || columns > WORD_MAX)
		return NO_SCORE;
	for (size_t i = 0; i <= rows; i++) {
		for (size_t j = 0; j <= columns; j++) {
			if (i == 0 || j == 0) {
				cost[i][j] = (unsigned int)(i + j);
				continue;
			}
			unsigned int least = MIN(cost[i - 1][j], cost[i][j - 1]) + 1;
			least = MIN(least, cost[i - 1][j - 1] + (word[i - 1] != known[j - 1]));
			if (i > 1 && j > 1 && word[i - 1] == known[j - 2] &&
				word[i - 2] == known[j - 1])
				least = MIN(least, cost[i - 2][j - 2] + 1);
			cost[i][j] = least;
		}
	}

	unsigned int best = cost[rows][columns];
	for (size_t j = 1; j < columns; j++)
		best = MIN(best, cost[rows][j] + 1);
	return best <= (rows + 2) / 3 && best < rows ? best : NO_SCORE;
}

const char *option_nearest(const char *word, const char *const *known, size_t n)
{
	unsigned int best = NO_SCORE;
	const char *nearest = NULL;

	for (size_t i = 0; i < n; i++) {
		unsigned int score = typo_score(word, known[i]);
		if (score < best) {
			best = score;
			nearest = known[i];
		}
	}
	return nearest;
}

/* What is said of @word of another program, or NULL. */
static const char *find_habit(const struct reader *r, const char *word)
{
	for (const struct option_habit *habit = r->habits; habit && habit->word; habit++)
		if (strcmp(habit->word, word) == 0)
			return habit->instead;
	return NULL;
}

static int wants_help(const struct reader *r)
{
	return err_set(r->err, ECANCELED, "--help says what there is");
}

static int unknown_long(const struct reader *r, const char *name)
{
	const char *names[NAMES_MAX], *nearest;
	char word[PARSE_QUOTE_BYTES + 2];
	size_t count = 0;

	if (strcmp(name, "help") == 0)
		return wants_help(r);
	snprintf(word, sizeof(word), "--%s", name);
	const char *instead = find_habit(r, word);
	if (instead)
		return err_set(r->err, EINVAL, "unknown option %s: %s", word, instead);
	for (; count < NAMES_MAX && r->table[count].name; count++)
		names[count] = r->table[count].name;
	if ((nearest = option_nearest(name, names, count)))
		return err_set(r->err, EINVAL, "unknown option --%s; did you mean --%s?",
			PARSE_SHOWN(name), nearest);
	return err_set(r->err, EINVAL, "unknown option --%s; --help says what there is",
		PARSE_SHOWN(name));
}

static int unknown_short(const struct reader *r, const char *at, const char *cluster)
{
	const char name[] = {*at, '\0'}, word[] = {'-', *at, '\0'};
	bool is_alone = cluster[2] == '\0';
	const char *whole = find_habit(r, cluster), *instead = find_habit(r, word);

	if (*at == 'h')
		return wants_help(r);
	if (whole || instead)
		return err_set(r->err, EINVAL, "unknown option %s: %s", whole ? cluster : word,
			whole ? whole : instead);
	return err_set(r->err, EINVAL, "unknown option -%s%s%s", PARSE_SHOWN(name),
		is_alone ? "" : " in ", is_alone ? "" : PARSE_SHOWN(cluster));
}

/* The option is known, and the value that is joined to it, if any: take the value, set it. */
static int apply(struct reader *r, const struct option_def *def, struct written *w)
{
	struct err inner = {.text = ""};

	if (!w->value && option_takes(def) == OPTION_TAKES_ONE) {
		if (r->next >= r->argc)
			return err_set(
				r->err, EINVAL, "%s needs an argument: %s", w->name, def->arg);
		w->join = " ";
		w->value = r->argv[r->next++];
	}
	int rc = def->set((char *)r->target + def->offset, w->value, &inner);
	if (rc >= 0)
		return 0;
	const char *written = r->argv[r->next - 1]; /* "-ti", where -t takes a value */
	const char *instead = w->value && !*w->join ? find_habit(r, written) : NULL;
	if (instead)
		return err_set(r->err, EINVAL, "unknown option %s: %s", written, instead);
	/* nothing would not be seen */
	const char *shown = w->value && !*w->value ? "\"\"" : PARSE_SHOWN(w->value ? w->value : "");
	return err_set(r->err, -rc, "%s%s%s: %s", w->name, w->value ? w->join : "", shown,
		inner.text[0] ? inner.text : strerror(-rc));
}

static int read_long(struct reader *r)
{
	const char *arg = r->argv[r->next++] + strlen("--"), *equals = strchrnul(arg, '=');
	size_t len = (size_t)(equals - arg);
	struct written w = {.join = "=", .value = *equals ? equals + 1 : NULL};
	const struct option_def *def = r->table;

	while (def->name && (strlen(def->name) != len || memcmp(def->name, arg, len) != 0))
		def++;
	if (!def->name) {
		snprintf(w.name, sizeof(w.name), "%.*s",
			(int)(len < sizeof(w.name) ? len : sizeof(w.name)), arg);
		return unknown_long(r, w.name);
	}
	snprintf(w.name, sizeof(w.name), "--%s", def->name);
	if (w.value && option_takes(def) == OPTION_TAKES_NONE)
		return err_set(r->err, EINVAL, "%s takes no argument, but was given %s", w.name,
			PARSE_QUOTED(w.value));
	return apply(r, def, &w);
}

static int read_cluster(struct reader *r)
{
	const char *cluster = r->argv[r->next++];

	for (const char *at = cluster + 1; *at; at++) {
		struct written w = {.name = {'-', *at, '\0'}, .join = ""};
		const struct option_def *def = r->table;

		while (def->name && def->short_name != *at)
			def++;
		if (!def->name)
			return unknown_short(r, at, cluster);
		bool takes_one = option_takes(def) == OPTION_TAKES_ONE;
		if (takes_one && at[1])
			w.value = at + 1;
		int rc = apply(r, def, &w);
		if (rc < 0 || takes_one)
			return rc;
	}
	return 0;
}

int option_parse(
	const struct option_def *table, int argc, char **argv, void *target, struct err *err)
{
	return option_parse_with(table, NULL, argc, argv, target, err);
}

int option_parse_with(const struct option_def *table, const struct option_habit *habits, int argc,
	char **argv, void *target, struct err *err)
{
	/* cppcheck-suppress ctuuninitvar ; it is filled there */
	struct reader r = {table, habits, argc, 1, argv, target, err};

	while (r.next < argc && argv[r.next][0] == '-' && argv[r.next][1]) {
		if (strcmp(argv[r.next], "--") == 0)
			return r.next + 1;
		int rc = argv[r.next][1] == '-' ? read_long(&r) : read_cluster(&r);
		if (rc < 0)
			return rc;
	}
	return r.next;
}

/* "  -p, --port PORT" */
static int format_left(const struct option_def *def, char *out, size_t cap_bytes)
{
	const char short_text[] = {'-', def->short_name, ',', '\0'};
	const char *join = "", *arg = "";

	if (option_takes(def) == OPTION_TAKES_ONE) {
		join = " ";
		arg = def->arg;
	} else if (option_takes(def) == OPTION_TAKES_OPTIONAL) {
		join = "[=";
		arg = def->arg + 1;
	}
	snprintf(out, cap_bytes, "  %-4s--%s%s%s", def->short_name ? short_text : "", def->name,
		join, arg);
	return (int)g_utf8_strlen(out, -1);
}

static void print_help(FILE *out, const char *help, int indent)
{
	int column = indent;

	for (const char *word = help + strspn(help, " "); *word;) {
		size_t len = strcspn(word, " ");
		int width = (int)g_utf8_strlen(word, (gssize)len);

		if (column > indent && column + 1 + width > USAGE_COLUMNS) {
			fprintf(out, "\n%*s", indent, "");
			column = indent;
		} else if (column > indent) {
			fputc(' ', out);
			column++;
		}
		fwrite(word, 1, len, out);
		column += width;
		word += len;
		word += strspn(word, " ");
	}
	fputc('\n', out);
}

void option_print_usage(FILE *out, const struct option_def *table)
{
	char left[USAGE_LEFT_BYTES];
	int indent = 0;

	for (const struct option_def *def = table; def->name; def++) {
		int width = format_left(def, left, sizeof(left));
		if (width > indent && width <= USAGE_LEFT_MAX)
			indent = width;
	}
	indent += 2;
	for (const struct option_def *def = table; def->name; def++) {
		int width = format_left(def, left, sizeof(left));
		fputs(left, out);
		if (width + 2 > indent)
			fprintf(out, "\n%*s", indent, "");
		else
			fprintf(out, "%*s", indent - width, "");
		print_help(out, def->help, indent);
	}
}
