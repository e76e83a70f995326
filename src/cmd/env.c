/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/env - the environment of a command: the caller's, with changes */
#include "cmd/env.h"

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proc/sdnotify.h"
#include "util/parse.h"

static int append(struct env_changes *changes, const char *text, struct err *err)
{
	if (changes->count == ENV_CHANGES_MAX)
		return err_set(
			err, EINVAL, "given too often: expected at most %d times", ENV_CHANGES_MAX);
	changes->items[changes->count++] = text;
	return 0;
}

int env_set(void *target, const char *value, struct err *err)
{
	if (value[0] == '=' || value[0] == '\0')
		return err_set(err, EINVAL, "%s names no variable: expected NAME or NAME=VALUE",
			PARSE_QUOTED(value));
	return strchr(value, '=') ? append(target, value, err) : 0;
}

int env_unset(void *target, const char *value, struct err *err)
{
	if (value[0] == '\0' || strchr(value, '='))
		return err_set(err, EINVAL, "%s is no name of a variable: expected NAME",
			PARSE_QUOTED(value));
	return append(target, value, err);
}

static bool has_name(const char *variable, const char *name, size_t len)
{
	return strncmp(variable, name, len) == 0 && variable[len] == '=';
}

static bool is_own(const char *variable)
{
	for (const char *const *name = sdnotify_variables; *name; name++)
		if (has_name(variable, *name, strlen(*name)))
			return true;
	return strncmp(variable, "NSWRAP_", 7) == 0;
}

/* Take the variable of @change away, then put it at the end if it has a value. */
static void apply(char **env, const char *change)
{
	size_t len = strcspn(change, "="), kept = 0;

	for (char **item = env; *item; item++)
		if (!has_name(*item, change, len))
			env[kept++] = *item;
	if (change[len] == '=')
		env[kept++] = (char *)change;
	env[kept] = NULL;
}

char **env_make(const struct env_changes *changes, char *const *more)
{
	size_t used = 0, nmore = more ? g_strv_length((char **)more) : 0;
	char **env = calloc(g_strv_length(environ) + nmore + changes->count + 1, sizeof(*env));

	if (!env)
		return NULL;
	for (char **item = environ; *item; item++)
		if (!is_own(*item))
			env[used++] = *item;
	for (size_t i = 0; i < nmore; i++)
		apply(env, more[i]);
	for (size_t i = 0; i < changes->count; i++)
		apply(env, changes->items[i]);
	return env;
}
