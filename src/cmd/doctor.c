/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/doctor - check whether nswrap can work here */
#include "cmd/doctor.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cmd/output.h"
#include "control/control.h"
#include "sandbox/doctor.h"
#include "util/log.h"

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

static int run(const struct cmd_call *call)
{
	bool is_json = false, can_run = true;
	struct err err = {0};

	if (cmd_operands(options, NULL, call, &is_json, NULL, 0, &err) < 0)
		return cmd_usage_error(&err);
	json_t *list = json_array();
	for (const struct doctor_check *check = doctor_checks; check->name; check++) {
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
	if (is_json)
		output_json(list);
	json_decref(list);
	if (output_end(&err) < 0)
		return cmd_failed(&err);
	return can_run ? 0 : 1;
}

const struct subcommand doctor_subcommand = {
	.name = "doctor",
	.synopsis = "doctor [--json]",
	.summary = "check whether nswrap can work here",
	.options = options,
	.run = run,
};
