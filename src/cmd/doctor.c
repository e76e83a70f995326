/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/doctor - check whether nswrap can work here */
#include "cmd/doctor.h"

#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cmd/defaults.h"
#include "cmd/output.h"
#include "control/control.h"
#include "sandbox/doctor.h"
#include "util/log.h"
#include "util/parse.h"

static const struct option_def options[] = {
	{0, "json", NULL, "print JSON: an array of objects", option_set_true, 0},
	{.name = NULL},
};

static const char *const state_names[] = {
	[DIAGNOSIS_FINE] = "fine",
	[DIAGNOSIS_NOTE] = "note",
	[DIAGNOSIS_WRONG] = "wrong",
};

static void print_line(const struct diagnosis *found)
{
	char line[sizeof(found->what) + sizeof(found->cure) + 2], shown[sizeof(line) * 4];

	snprintf(
		line, sizeof(line), "%s%s%s", found->what, found->cure[0] ? ": " : "", found->cure);
	printf("%-6s%s\n", state_names[found->state],
		log_escape(line, strlen(line), shown, sizeof(shown)));
}

static json_t *to_json(const char *check, const struct diagnosis *found)
{
	return json_pack("{s:s, s:s, s:o, s:o}", "check", check, "state", state_names[found->state],
		"text", control_text(found->what), "cure",
		found->cure[0] ? control_text(found->cure) : json_null());
}

/* Where run gets options from that nobody types, and whether they are right. */
static void check_defaults(struct diagnosis *out)
{
	struct run_options *scratch = run_options_new();
	struct defaults defaults = {0};
	size_t len = 0;
	struct err err;

	if (defaults_read(&defaults, &err) < 0 || defaults_apply(&defaults, scratch, &err) < 0) {
		out->state = DIAGNOSIS_WRONG;
		parse_shown(err.text, out->what, sizeof(out->what));
	} else if (defaults.count > 0) {
		out->state = DIAGNOSIS_NOTE;
		snprintf(out->what, sizeof(out->what), "nswrap run has options that are not typed");
		for (size_t i = 0; i < defaults.count && len < sizeof(out->cure); i++)
			len += (size_t)snprintf(out->cure + len, sizeof(out->cure) - len,
				"%s%s: %s", i > 0 ? ", " : "", defaults.items[i].name,
				defaults.items[i].text);
	} else {
		snprintf(out->what, sizeof(out->what), "no options but those that are typed");
	}
	defaults_free(&defaults);
	run_options_free(scratch);
}

static const struct doctor_check own_checks[] = {{"defaults", check_defaults}, {NULL, NULL}};

/* Returns whether nothing is wrong. */
static bool run_checks(const struct doctor_check *checks, json_t *list, bool is_json)
{
	bool can_run = true;

	for (const struct doctor_check *check = checks; check->name; check++) {
		struct diagnosis found = {0};

		/* a check may fork: nothing must be printed twice */
		fflush(stdout);
		check->run(&found);
		can_run = can_run && found.state != DIAGNOSIS_WRONG;
		if (is_json)
			json_array_append_new(list, to_json(check->name, &found));
		else
			print_line(&found);
	}
	return can_run;
}

static int run(const struct cmd_call *call)
{
	bool is_json = false;
	struct err err;

	if (cmd_operands(options, NULL, call, &is_json, NULL, 0, &err) < 0)
		return cmd_usage_error(&err);
	json_t *list = json_array();
	bool is_fine = run_checks(doctor_checks, list, is_json);
	bool can_run = run_checks(own_checks, list, is_json) && is_fine;
	if (is_json)
		output_json(list);
	json_decref(list);
	return can_run ? 0 : 1;
}

const struct subcommand doctor_subcommand = {
	.name = "doctor",
	.synopsis = "doctor [--json]",
	.summary = "check whether nswrap can work here",
	.options = options,
	.run = run,
};
