/* SPDX-License-Identifier: Apache-2.0 */
/* test_option - how options may be written, what is said about wrong ones, the usage text */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/option.h"
#include "util/parse.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ARGS_MAX     16

/* What was set, in order: "q v p=80 n=" */
struct trace {
	char text[1024];
};

static int note(struct trace *trace, const char *name, const char *value)
{
	size_t used = strlen(trace->text);

	snprintf(trace->text + used, sizeof(trace->text) - used, "%s%s%s%s", used ? " " : "", name,
		value ? "=" : "", value ? value : "");
	return 0;
}

static int set_quiet(void *target, const char *value, struct err *err)
{
	(void)err;
	return note(target, "q", value);
}

static int set_verbose(void *target, const char *value, struct err *err)
{
	(void)err;
	return note(target, "v", value);
}

static int set_port(void *target, const char *value, struct err *err)
{
	uint16_t port;
	int rc = parse_port(value, false, &port, err);

	return rc < 0 ? rc : note(target, "p", value);
}

static int set_shared(void *target, const char *value, struct err *err)
{
	(void)err;
	return note(target, "s", value);
}

static int set_name(void *target, const char *value, struct err *err)
{
	(void)err;
	if (strcmp(value, "silent") == 0)
		return -ENOSPC;
	return note(target, "n", value);
}

static const struct option_def table[] = {
	{'q', "quiet", NULL, "Say nothing.", set_quiet, 0},
	{'v', "verbose", NULL, "Say more.", set_verbose, 0},
	{'p', "port", "[ADDR:]PORT", "Forward a port.", set_port, 0},
	{0, "port-driver", "splice|slirp", "Choose a driver.", set_name, 0},
	{'s', "shared", "[USER,...]", "Let others in.", set_shared, 0},
	{0, "name", "NAME", "Name it.", set_name, 0},
	{.name = NULL},
};

/* option_parse over the words of @line ("''" is an empty one); @trace and @err are filled. */
static int parse_line(const char *line, struct trace *trace, struct err *err)
{
	char copy[1024], *argv[ARGS_MAX + 1] = {NULL}, *save = NULL;
	int argc = 0;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		assert_true(argc < ARGS_MAX);
		argv[argc++] = strcmp(word, "''") == 0 ? word + 2 : word;
	}
	trace->text[0] = '\0';
	*err = (struct err){0};
	return option_parse(table, argc, argv, trace, err);
}

static void test_forms(void **state)
{
	static const struct {
		const char *line, *trace;
		int operand;
	} rows[] = {
		{"x", "", 1},
		{"x -q", "q", 2},
		{"x -qv cmd -q", "q v", 2},
		{"x -qp80 cmd", "q p=80", 2},
		{"x -vvp 80 cmd", "v v p=80", 3},
		{"x -p 80 -p81", "p=80 p=81", 4},
		{"x --port=80 --port 81 --quiet", "p=80 p=81 q", 5},
		{"x --name= --name '' -- -q", "n= n=", 5},
		{"x --name=a=b", "n=a=b", 2},
		{"x --name --quiet", "n=--quiet", 3},
		{"x --name -- -- -q", "n=--", 4},
		{"x -- -q", "", 2},
		{"x --", "", 2},
		{"x - -q", "", 1},
		{"x '' -q", "", 1},
		{"x -q cmd --nonsense", "q", 2},
		{"x --shared bob", "s", 2},
		{"x --shared=bob,eve", "s=bob,eve", 2},
		{"x --shared=", "s=", 2},
		{"x -sq bob", "s q", 2},
		{"x -s bob", "s", 2},
		{"x --port-driver slirp", "n=slirp", 3},
	};
	struct trace trace;
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(parse_line(rows[i].line, &trace, &err), rows[i].operand);
		assert_string_equal(trace.text, rows[i].trace);
		assert_int_equal(err.code, 0);
	}
}

static void test_errors(void **state)
{
#define NO_PORT "\"80x\" is no port: expected a number from 1 to 65535"
	static const struct {
		const char *line, *trace, *text;
	} rows[] = {
		{"x -p 80x", "", "-p 80x: " NO_PORT},
		{"x -q -p80x", "q", "-p80x: " NO_PORT},
		{"x -qvp 80x", "q v", "-p 80x: " NO_PORT},
		{"x --port=80x", "", "--port=80x: " NO_PORT},
		{"x --port 80x", "", "--port 80x: " NO_PORT},
		{"x -p -1", "", "-p -1: \"-1\" is no port: expected a number from 1 to 65535"},
		{"x -p ''", "", "-p \"\": \"\" is no port: expected a number from 1 to 65535"},
		{"x --name silent", "", "--name silent: No space left on device"},
		{"x --prot 80", "", "unknown option --prot; did you mean --port?"},
		{"x --prot=80", "", "unknown option --prot; did you mean --port?"},
		{"x --port-drivr=80", "",
			"unknown option --port-drivr; did you mean --port-driver?"},
		{"x --verb", "", "unknown option --verb; did you mean --verbose?"},
		{"x --frobnicate", "", "unknown option --frobnicate; --help says what there is"},
		{"x --=5", "", "unknown option --; --help says what there is"},
		{"x -x", "", "unknown option -x"},
		{"x -qx", "q", "unknown option -x in -qx"},
		{"x -1", "", "unknown option -1"},
		{"x -\n", "", "unknown option -\\x0a"},
		{"x --a\nb", "", "unknown option --a\\x0ab; --help says what there is"},
		{"x --name", "", "--name needs an argument: NAME"},
		{"x -q -p", "q", "-p needs an argument: [ADDR:]PORT"},
		{"x -vp", "v", "-p needs an argument: [ADDR:]PORT"},
		{"x --quiet=1", "", "--quiet takes no argument, but was given \"1\""},
		{"x --quiet=", "", "--quiet takes no argument, but was given \"\""},
	};
	struct trace trace;
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		int rc = parse_line(rows[i].line, &trace, &err);
		assert_string_equal(err.text, rows[i].text);
		assert_string_equal(trace.text, rows[i].trace);
		assert_int_equal(rc, -err.code);
		assert_int_equal(rc, strstr(rows[i].line, "silent") ? -ENOSPC : -EINVAL);
	}
}

/* -h and --help, wherever an option may stand, but not where it is a value or an operand. */
static void test_help(void **state)
{
	static const char *const asked[] = {
		"x -h", "x --help", "x -q --help cmd", "x -qh", "x -p 80 -h", "x --name n --help"};
	static const char *const not_asked[] = {
		"x -q cmd --help", "x --name --help", "x -- -h", "x --name=-h", "x cmd -h"};
	struct trace trace;
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNT(asked); i++) {
		assert_int_equal(parse_line(asked[i], &trace, &err), -ECANCELED);
		assert_int_equal(err.code, ECANCELED);
	}
	for (size_t i = 0; i < COUNT(not_asked); i++)
		assert_true(parse_line(not_asked[i], &trace, &err) > 0);
}

static void test_habits(void **state)
{
	static const struct option_habit habits[] = {{"--publish", "expected --port"},
		{"-L", "expected -p"}, {"-it", "not needed"}, {"-pi", "not needed either"},
		{NULL, NULL}};
	static const char *const rows[][2] = {
		{"--publish", "unknown option --publish: expected --port"},
		{"--publish=80:80", "unknown option --publish: expected --port"},
		{"-L", "unknown option -L: expected -p"},
		{"-L8080:x:80", "unknown option -L: expected -p"},
		{"-qL", "unknown option -L: expected -p"},
		{"-it", "unknown option -it: not needed"},
		{"-pi", "unknown option -pi: not needed either"},
		{"-i", "unknown option -i"},
		{"-p--publish", "-p--publish: \"--publish\" is no port: "
				"expected a number from 1 to 65535"},
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char *argv[] = {"x", (char *)rows[i][0], "80", NULL};
		struct trace trace = {""};

		assert_int_equal(option_parse_with(table, habits, 3, argv, &trace, &err), -EINVAL);
		assert_string_equal(err.text, rows[i][1]);
	}
}

/* A very long argument leaves room for what is wrong with it. */
static void test_long_argument(void **state)
{
	char line[600], *at = line + sprintf(line, "x -p ");
	struct trace trace;
	struct err err;

	(void)state;
	memset(at, '7', 500);
	at[500] = '\0';
	assert_int_equal(parse_line(line, &trace, &err), -EINVAL);
	assert_non_null(strstr(err.text, "...: \"777"));
	assert_non_null(strstr(err.text, "is no port: expected a number from 1 to 65535"));
	memcpy(line, "x --7", 5);
	assert_int_equal(parse_line(line, &trace, &err), -EINVAL);
	assert_non_null(strstr(err.text, "unknown option --777"));
	assert_int_equal(
		option_parse(table, 2, (char *[]){"x", "-p80x", NULL}, &trace, NULL), -EINVAL);
}

static void test_nearest(void **state)
{
	static const char *const known[] = {"run", "mesh", "agent", "tunnel", "port-driver", "ps"};
	static const struct {
		const char *word, *nearest;
	} rows[] = {
		{"mesh", "mesh"},
		{"mehs", "mesh"},
		{"meshh", "mesh"},
		{"rnu", "run"},
		{"tunel", "tunnel"},
		{"tunnle", "tunnel"},
		{"agnet", "agent"},
		{"prot", "port-driver"},
		{"port", "port-driver"},
		{"sp", "ps"},
		{"", NULL},
		{"x", NULL},
		{"s", NULL},
		{"xyz", NULL},
		{"firefox", NULL},
		{"mesh-mesh-mesh-mesh-mesh-mesh-mesh-mesh-mesh", NULL},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *nearest = option_nearest(rows[i].word, known, COUNT(known));
		if (rows[i].nearest)
			assert_string_equal(nearest ? nearest : "(none)", rows[i].nearest);
		else
			assert_null(nearest);
	}
	assert_null(option_nearest("mesh", known, 0));
}

static void test_usage(void **state)
{
	static const struct option_def usage[] = {
		{'q', "quiet", NULL, "Say nothing.", set_quiet, 0},
		{0, "port", "[ADDR:]PORT",
			"Forward one port of the host to the same port of the sandbox, where the "
			"command listens; may be given more than once.",
			set_port, 0},
		{'s', "shared", "[USER,...]", "Let others in: \xc3\xa4\xc3\xb6\xc3\xbc.",
			set_shared, 0},
		{0, "a-very-long-option-name", "WITH-A-LONG-ARGUMENT", "Below.", set_name, 0},
		{.name = NULL},
	};
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_non_null(out);
	option_print_usage(out, usage);
	fclose(out);
	assert_string_equal(text,
		"  -q, --quiet              Say nothing.\n"
		"      --port [ADDR:]PORT   Forward one port of the host to the same port of the "
		"sandbox, where the\n"
		"                           command listens; may be given more than once.\n"
		"  -s, --shared[=USER,...]  Let others in: \xc3\xa4\xc3\xb6\xc3\xbc.\n"
		"      --a-very-long-option-name WITH-A-LONG-ARGUMENT\n"
		"                           Below.\n");
	free(text);
}

/* Each setter writes the field at its offset, and nothing beside it. */
static void test_setters(void **state)
{
	struct target {
		char before[8];
		bool is_on, is_off;
		const char *text;
		uint64_t wait_ms;
		char behind[8];
	} target, wanted;
	static const struct option_def setters[] = {
		{0, "on", NULL, "", option_set_true, offsetof(struct target, is_on)},
		{0, "off", NULL, "", option_set_false, offsetof(struct target, is_off)},
		{0, "text", "TEXT", "", option_set_text, offsetof(struct target, text)},
		{0, "wait", "SECONDS", "", option_set_seconds, offsetof(struct target, wait_ms)},
		{.name = NULL},
	};
	char *argv[] = {"x", "--on", "--off", "--text=abc", "--wait", "1.5", NULL};
	char *wrong[] = {"x", "--wait", "soon", NULL};
	struct err err = {0};

	(void)state;
	memset(&target, 0x55, sizeof(target));
	target.is_on = false;
	target.is_off = true;
	wanted = target;
	wanted.is_on = true;
	wanted.is_off = false;
	wanted.text = argv[3] + strlen("--text=");
	wanted.wait_ms = 1500;
	assert_int_equal(option_parse(setters, 6, argv, &target, &err), 6);
	assert_memory_equal(&target, &wanted, sizeof(target));
	assert_int_equal(option_parse(setters, 3, wrong, &target, &err), -EINVAL);
	assert_string_equal(err.text, "--wait soon: \"soon\" is no time: "
				      "expected seconds from 0 to 1000000, such as 30 or 1.5");
	assert_memory_equal(&target, &wanted, sizeof(target));
}

/* Words of every length: no line is too wide, and none could have taken the next word. */
static void test_usage_wrap(void **state)
{
	char help[1024] = "";
	struct option_def usage[] = {{'q', "quiet", NULL, help, set_quiet, 0}, {.name = NULL}};

	(void)state;
	for (unsigned int seed = 1; seed <= 200; seed++) {
		char *text = NULL, *save = NULL;
		size_t len, used = 0;
		FILE *out = open_memstream(&text, &len);

		srand(seed);
		while (used < sizeof(help) - 40)
			used += (size_t)sprintf(help + used, "%.*s ", rand() % 20 + 1,
				"abcdefghijklmnopqrstuvwxyz");
		option_print_usage(out, usage);
		fclose(out);
		size_t before = 0;
		for (char *line = strtok_r(text, "\n", &save); line;
			line = strtok_r(NULL, "\n", &save)) {
			assert_true(strlen(line) <= 100);
			size_t indent = strspn(line, " ");
			if (before)
				assert_true(before + 1 + strcspn(line + indent, " ") > 100);
			before = strlen(line);
		}
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_habits),
		cmocka_unit_test(test_long_argument),
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_setters),
		cmocka_unit_test(test_usage_wrap),
	};

	return cmocka_run_group_tests_name("option", tests, NULL, NULL);
}
