/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/cmd - what a subcommand is, and what all of them say alike */
#include "cmd/cmd.h"

#include <string.h>

#include "util/log.h"

#define QUIET (-2) /* a -v behind it does not undo it */

const struct subcommand *cmd_find(const struct subcommand *const *all, const char *name)
{
	for (; *all; all++)
		if (strcmp((*all)->name, name) == 0)
			return *all;
	return NULL;
}

int cmd_usage_error(const struct err *err)
{
	log_error("%s", err->text);
	return EXIT_USAGE;
}

int cmd_failed(const struct err *err)
{
	log_error("%s", err->text);
	return EXIT_NSWRAP_FAILED;
}

int cmd_set_quiet(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	*(int *)target = QUIET;
	return 0;
}

int cmd_set_verbose(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	++*(int *)target;
	return 0;
}

void cmd_set_log_level(int verbosity)
{
	log_set_level(verbosity < 0 ? LOG_ERROR : LOG_NOTICE + verbosity);
}
