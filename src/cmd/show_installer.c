/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/show_installer - print a script that does by hand what `install` of a manifest does */
#include "cmd/show_installer.h"

#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "cmd/output.h"
#include "mesh/manager/parcel.h"
#include "util/parse.h"

struct show_request {
	const char *file;
};

static const struct option_def options[] = {
	{0, "agent-file", "FILE", "the nswrap-agent to bring (the one beside nswrap)",
		option_set_text, offsetof(struct show_request, file)},
	{.name = NULL},
};

static int run(const struct cmd_call *call)
{
	struct show_request request = {0};
	struct parcel parcel;
	struct utsname own;
	char *machine = NULL;
	struct err err = {0};
	int count = cmd_operands(options, NULL, call, &request, &machine, 1, &err);

	if (count > 1)
		count = err_set(&err, EINVAL, "%s: expected one MACHINE at most",
			PARSE_QUOTED(call->argv[call->argc - 1]));
	if (count < 0)
		return cmd_usage_error(&err);
	if (!machine && uname(&own) == 0)
		machine = own.machine;
	char *const files[] = {(char *)request.file, NULL};
	if (parcel_open(&parcel, machine ? machine : "", files, &err) < 0)
		return cmd_failed(&err);
	int result = parcel_print(&parcel, stdout);
	parcel_free(&parcel);
	if (result < 0)
		err_sys(&err, -result, "cannot print the installer");
	return result < 0 ? cmd_failed(&err) : 0;
}

const struct subcommand show_installer_subcommand = {
	.name = "show-installer",
	.synopsis = "show-installer [--agent-file FILE] [MACHINE]",
	.summary = "print a script that brings nswrap-agent to a host",
	.options = options,
	.run = run,
};
