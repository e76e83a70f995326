/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/supervisor_command - the arguments and the environment that COMMAND is executed with */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/placeholder.h"
#include "sandbox/supervisor_parts.h"

/* "NAME=value" for the environment of COMMAND; NULL and @err when memory is short. */
static char *format_variable(const char *name, const char *value, struct err *err)
{
	char *text = NULL;

	if (asprintf(&text, "%s=%s", name, value) < 0) {
		err_sys(err, ENOMEM, "cannot make the environment");
		return NULL;
	}
	return text;
}

static int make_env(struct supervisor *supervisor, struct err *err)
{
	char *const *given = supervisor->config->env;
	char port[8];
	size_t count = 0;

	while (given[count])
		count++;
	char **env = calloc(count + 4, sizeof(*env));
	if (!env)
		return err_sys(err, ENOMEM, "cannot make the environment");
	supervisor->env = env;
	for (size_t i = 0; i < count; i++) {
		env[i] = strdup(given[i]);
		if (!env[i])
			return err_sys(err, ENOMEM, "cannot make the environment");
	}
	env[count] = format_variable("NSWRAP_NAME", supervisor->server.entry.name, err);
	if (!env[count++])
		return -err->code;
	if (supervisor->forwards.count == 0)
		return 0;
	const struct forward_spec *first = &supervisor->forwards.items[0].spec;
	snprintf(port, sizeof(port), "%u", first->guest_port);
	env[count] = format_variable("NSWRAP_GUEST_PORT", port, err);
	if (!env[count++])
		return -err->code;
	snprintf(port, sizeof(port), "%u", addr_port(&first->host));
	bool is_path = first->host.family == AF_UNIX;
	env[count] = format_variable(
		"NSWRAP_HOST_PORT", is_path ? first->host.local.sun_path : port, err);
	return env[count] ? 0 : -err->code;
}

int supervisor_make_command(struct supervisor *supervisor, struct err *err)
{
	struct forward_list list;
	int result = forwards_list(supervisor, &list, err);

	if (result == 0) {
		supervisor->argv = placeholder_expand_list(supervisor->config->command, &list, err);
		result = supervisor->argv ? make_env(supervisor, err) : -err->code;
	}
	spec_list_free(&list);
	return result;
}
