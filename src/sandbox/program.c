/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/program - the arguments and the environment that COMMAND is executed with */
#include "sandbox/program.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/placeholder.h"

/* Put "NAME=VALUE" to *@at, or return -ENOMEM with @err filled. */
__attribute__((format(printf, 3, 4))) static int set(
	char **at, struct err *err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int len = vasprintf(at, format, args);
	va_end(args);
	if (len >= 0)
		return 0;
	*at = NULL;
	return err_sys(err, ENOMEM, "cannot make the environment");
}

static int make_env(struct program *program, char *const *given, const char *name,
	const struct forward_list *forwards, struct err *err)
{
	size_t count = 0;
	int result = 0;

	while (given[count])
		count++;
	char **env = program->env = calloc(count + 4, sizeof(*env));
	if (!env)
		return err_sys(err, ENOMEM, "cannot make the environment");
	for (size_t i = 0; i < count && result == 0; i++)
		result = set(env++, err, "%s", given[i]);
	if (result == 0)
		result = set(env++, err, "NSWRAP_NAME=%s", name);
	if (result < 0 || forwards->count == 0)
		return result;
	const struct forward_spec *first = &forwards->items[0];
	result = set(env++, err, "NSWRAP_GUEST_PORT=%u", first->guest_port);
	if (result == 0 && first->host.family == AF_UNIX)
		result = set(env, err, "NSWRAP_HOST_PORT=%s", first->host.local.sun_path);
	else if (result == 0)
		result = set(env, err, "NSWRAP_HOST_PORT=%u", addr_port(&first->host));
	return result;
}

int program_make(struct program *program, const struct sandbox_config *config, const char *name,
	const struct forward_list *forwards, struct err *err)
{
	program->argv = placeholder_expand_list(config->command, forwards, err);
	return program->argv ? make_env(program, config->env, name, forwards, err) : -err->code;
}

void program_free(struct program *program)
{
	placeholder_free_list(program->argv);
	placeholder_free_list(program->env);
	*program = (struct program){0};
}
