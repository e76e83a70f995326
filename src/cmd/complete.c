/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/complete - what may stand next on a command line: what shells ask of `nswrap __complete` */
#include "cmd/complete.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "cmd/run.h"

#define NAMES_MAX    256
#define OPERANDS_MAX 8

/* The words, and how far they are understood. */
struct completion {
	FILE *out;
	const struct subcommand *const *all;
	const struct subcommand *sub;
	int count, at; /* of words; those in front of @at are done */
	char *const *words;
	const char *operands[OPERANDS_MAX];
	int noperands;
	bool is_ended; /* by "--" */
	bool is_shell; /* COMMAND is an option's value */
};

/* One word of a synopsis, and where the next one begins. */
struct token {
	const char *at;
	size_t len;
	bool is_many; /* "WORD..." */
};

static bool token_is(const struct token *token, const char *text)
{
	return strlen(text) == token->len && memcmp(token->at, text, token->len) == 0;
}

/* --- what is offered ------------------------------------------------------------------------- */

static void print_names(FILE *out, enum registry_kind kind)
{
	struct registry_found found[NAMES_MAX];
	struct registry registry;
	struct err err;

	if (registry_open(kind, &registry, &err) < 0)
		return;
	registry.only_looks = true;
	ssize_t count = registry_list(&registry, found, NAMES_MAX);
	for (ssize_t i = 0; i < count; i++)
		fprintf(out, "%s\n", found[i].name);
	registry_close(&registry);
}

static void print_subcommands(const struct completion *c)
{
	for (size_t i = 0; c->all[i]; i++)
		fprintf(c->out, "%s\t%s\n", c->all[i]->name, c->all[i]->summary);
}

/* Is it "auto|kernel", which says the words themselves? What it may end with begins with '-'. */
static bool is_words(const struct token *token)
{
	return token->len > 0 && !isupper((unsigned char)token->at[0]) && token->at[0] != '[';
}

static void print_words(FILE *out, const struct token *token, const char *prefix)
{
	for (size_t at = 0; at < token->len;) {
		size_t len = 0;

		while (at + len < token->len && token->at[at + len] != '|')
			len++;
		if (token->at[at] != '-')
			fprintf(out, "%s%.*s\n", prefix, (int)len, token->at + at);
		at += len + 1;
	}
}

/* What @token stands for, each word with @prefix in front: "--network=" */
static void offer(const struct completion *c, const struct token *token, const char *prefix)
{
	static const struct {
		const char *name, *directive;
	} known[] = {{"FILE", ":files"}, {"DIR", ":directories"}, {"VARIABLE", ":variables"},
		{"VARIABLE[=VALUE]", ":variables"}, {"MANIFEST", ":manifests"}};

	if (is_words(token))
		print_words(c->out, token, prefix);
	else if (token_is(token, "SANDBOX"))
		print_names(c->out, REGISTRY_SANDBOX);
	else if (token_is(token, "MESH"))
		print_names(c->out, REGISTRY_MESH);
	else if (token_is(token, "SUBCOMMAND"))
		print_subcommands(c);
	else if (token_is(token, "COMMAND"))
		fprintf(c->out, ":command %d\n", c->count - 1);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (token_is(token, known[i].name))
			fprintf(c->out, "%s\n", known[i].directive);
}

/* --- options --------------------------------------------------------------------------------- */

static const struct option_def *find_option(
	const struct subcommand *sub, char short_name, const char *name, size_t len)
{
	for (const struct option_def *def = sub->options; def && def->name; def++)
		if (name ? strlen(def->name) == len && memcmp(def->name, name, len) == 0
			 : def->short_name == short_name)
			return def;
	return NULL;
}

/* The option in @word whose value is the next word, or NULL. */
static const struct option_def *wants_next(const struct subcommand *sub, const char *word)
{
	if (word[0] != '-' || !word[1])
		return NULL;
	if (word[1] == '-') {
		const struct option_def *def = find_option(sub, 0, word + 2, strlen(word + 2));
		return def && option_takes(def) == OPTION_TAKES_ONE ? def : NULL;
	}
	for (const char *at = word + 1; *at; at++) {
		const struct option_def *def = find_option(sub, *at, NULL, 0);
		if (def && option_takes(def) == OPTION_TAKES_ONE)
			return at[1] ? NULL : def;
	}
	return NULL;
}

static void offer_value(
	const struct completion *c, const struct option_def *def, const char *prefix)
{
	const struct token token = {def->arg, strlen(def->arg), false};

	/* COMMAND is all in one word there */
	if (!token_is(&token, "COMMAND"))
		offer(c, &token, prefix);
}

static void offer_options(const struct completion *c)
{
	for (const struct option_def *def = c->sub->options; def && def->name; def++) {
		fprintf(c->out, "--%s\t%s\n", def->name, def->help);
		if (def->short_name)
			fprintf(c->out, "-%c\t%s\n", def->short_name, def->help);
	}
	fprintf(c->out, "--help\tsay what there is\n-h\tsay what there is\n");
	if (c->sub == &run_subcommand && c->at == 0 && c->count == 1)
		fprintf(c->out, "--version\tsay what this program is made of\n");
}

/* "--network=n" */
static void offer_joined_value(const struct completion *c, const char *word, size_t name_len)
{
	const struct option_def *def = find_option(c->sub, 0, word + 2, name_len);
	char prefix[64];

	if (!def || !def->arg || name_len + sizeof("--=") > sizeof(prefix))
		return;
	snprintf(prefix, sizeof(prefix), "--%.*s=", (int)name_len, word + 2);
	offer_value(c, def, prefix);
}

/* --- operands, by the synopsis --------------------------------------------------------------- */

/* The next word of the line at *@at; quotes and brackets hold together what has blanks. */
static bool next_token(const char **at, struct token *out)
{
	const char *end = *at + strspn(*at, " ");
	bool is_quoted = false;
	int depth = 0;

	*out = (struct token){.at = end};
	for (; *end && *end != '\n' && (*end != ' ' || is_quoted || depth > 0); end++) {
		is_quoted ^= *end == '\'';
		depth += (*end == '[') - (*end == ']');
	}
	*at = end;
	out->len = (size_t)(end - out->at);
	return out->len > 0;
}

/* Takes "..." and brackets off. Returns whether it is an operand: no option in brackets. */
static bool as_operand(struct token *token)
{
	size_t len;

	for (len = token->len + 1; len != token->len;) {
		len = token->len;
		if (len > 3 && memcmp(token->at + len - 3, "...", 3) == 0) {
			token->is_many = true;
			token->len -= 3;
		} else if (len > 2 && token->at[0] == '[' && token->at[len - 1] == ']') {
			token->at++;
			token->len -= 2;
		}
	}
	return token->len > 0 && token->at[0] != '-' && !token_is(token, "OPTION");
}

/* The next operand of the line at *@at; options that stand there and their values are not. */
static bool next_operand(const struct subcommand *sub, const char **at, struct token *out)
{
	while (next_token(at, out)) {
		bool is_bare = out->at[0] == '-';
		char word[32] = "";

		if (token_is(out, "|"))
			return false;
		if (is_bare && out->len < sizeof(word))
			memcpy(word, out->at, out->len);
		if (is_bare && wants_next(sub, word))
			next_token(at, out);
		else if (!is_bare && as_operand(out)) {
			/* "SANDBOX...|--all": one of them, or an option */
			const char *other = memchr(out->at, '|', out->len);
			if (other && other[1] == '-') {
				out->len = (size_t)(other - out->at);
				as_operand(out);
			}
			return true;
		}
	}
	return false;
}

static bool token_has_word(const struct token *token, const char *word)
{
	const size_t len = strlen(word);

	for (const char *at = token->at; at + len <= token->at + token->len; at++) {
		bool begins = at == token->at || at[-1] == '|';
		bool ends = at + len == token->at + token->len || at[len] == '|';
		if (begins && ends && memcmp(at, word, len) == 0)
			return true;
	}
	return false;
}

/* What stands in @line, one of the synopsis, behind the operands so far? */
static bool follow(const struct completion *c, const char *line, struct token *out)
{
	struct token name;

	if (!next_token(&line, &name))
		return false;
	if (name.at[0] == '[' && !as_operand(&name))
		return false;
	if (!token_is(&name, c->sub->name) || !next_operand(c->sub, &line, out))
		return false;
	for (int i = 0; i < c->noperands; i++) {
		if (is_words(out) && !token_has_word(out, c->operands[i]))
			return false;
		if (!out->is_many && !next_operand(c->sub, &line, out))
			return false;
	}
	return true;
}

/* Calls follow for each line. Returns whether COMMAND comes next; offers what does if @offers. */
static bool look_at_synopsis(const struct completion *c, bool offers)
{
	bool is_command = false;

	for (const char *line = c->sub->synopsis; *line;) {
		struct token token = {NULL, 0, false};

		if (follow(c, line, &token)) {
			is_command |= token_is(&token, "COMMAND");
			if (offers)
				offer(c, &token, "");
		}
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return is_command && !c->is_shell;
}

/* --- the words ------------------------------------------------------------------------------- */

/* Goes over those in front of the current one. Returns true if that has been offered something. */
static bool read_words(struct completion *c)
{
	for (; c->at < c->count - 1; c->at++) {
		const char *word = c->words[c->at];
		const struct option_def *def = c->is_ended ? NULL : wants_next(c->sub, word);

		if (!c->is_ended && strcmp(word, "--") == 0) {
			c->is_ended = true;
		} else if (def) {
			c->is_shell |= strcmp(def->name, "shell-command") == 0;
			if (++c->at == c->count - 1) {
				offer_value(c, def, "");
				return true;
			}
		} else if (c->is_ended || word[0] != '-' || !word[1]) {
			if (look_at_synopsis(c, false)) {
				fprintf(c->out, ":command %d\n", c->at);
				return true;
			}
			if (c->noperands < OPERANDS_MAX)
				c->operands[c->noperands++] = word;
		}
	}
	return false;
}

void complete_print(FILE *out, const struct subcommand *const *all, const struct subcommand *named,
	int count, char *const *words)
{
	const bool is_named = named && count > 1;
	struct completion c = {.out = out,
		.all = all,
		.sub = is_named ? named : &run_subcommand,
		.count = count,
		.at = is_named,
		.words = words};
	const char *current = words[count - 1];

	if (read_words(&c))
		return;
	if (current[0] == '-' && !c.is_ended) {
		const char *equals = strchr(current, '=');

		if (current[1] == '-' && equals)
			offer_joined_value(&c, current, (size_t)(equals - current - 2));
		else
			offer_options(&c);
		return;
	}
	if (c.is_shell) {
		fprintf(out, "agent\tbe a host of a mesh beside it\n");
		return;
	}
	if (count == 1) {
		print_subcommands(&c);
		fprintf(out, ":manifests\n");
		/* thousands of programs would hide them */
		if (!*current)
			return;
	}
	look_at_synopsis(&c, true);
}
