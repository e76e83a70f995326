/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/program - the arguments and the environment that COMMAND is executed with */
#include "sandbox/program.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proc/command.h"
#include "util/parse.h"

#define PORT_BYTES 6
#define DIGITS_MAX 7 /* of a forward's number; with more it is no placeholder */

struct placeholder {
	size_t len; /* of the text, brackets included; 0: none here */
	bool is_guest;
	unsigned long index; /* from 1 */
};

/* Is there a placeholder at the start of @text? */
static struct placeholder match(const char *text)
{
	static const char guest[] = "guest-port", host[] = "host-port";
	struct placeholder found = {.index = 1};
	const char *rest = text + 1;
	char number[DIGITS_MAX + 1];

	if (text[0] != '{' && text[0] != '<')
		return found;
	found.is_guest = strncmp(rest, guest, strlen(guest)) == 0;
	if (!found.is_guest && strncmp(rest, host, strlen(host)) != 0)
		return found;
	rest += strlen(found.is_guest ? guest : host);
	if (*rest == ':') {
		size_t digits = strspn(++rest, "0123456789");

		if (digits == 0 || digits > DIGITS_MAX)
			return found;
		snprintf(number, sizeof(number), "%.*s", (int)digits, rest);
		if (parse_uint(number, FORWARD_MAX, &found.index) < 0)
			found.index = 0; /* there is no such forward */
		rest += digits;
	}
	if (*rest == (text[0] == '{' ? '}' : '>'))
		found.len = (size_t)(rest + 1 - text);
	return found;
}

int program_check(char *const *argv, size_t count, uint16_t guest_port, struct err *err)
{
	for (; *argv; argv++) {
		for (const char *at = *argv; *at; at++) {
			struct placeholder found = match(at);

			if (count == 0 && guest_port != 0 && found.is_guest && found.index == 1)
				continue;
			if (found.len > 0 && (found.index < 1 || found.index > count))
				return err_set(err, EINVAL, "%.*s in the command: there %s",
					(int)found.len, at,
					count == 0   ? "is no forward (-p, -P or -f)"
					: count == 1 ? "is only one forward"
						     : "are not that many forwards");
		}
	}
	return 0;
}

/* Where the host listens: a path, or the port written to @port. */
static const char *host_text(const struct forward_spec *spec, char port[PORT_BYTES])
{
	if (spec->host.family == AF_UNIX)
		return spec->host.local.sun_path;
	snprintf(port, PORT_BYTES, "%u", addr_port(&spec->host));
	return port;
}

/* @text was checked. Returns NULL when there is no memory. */
static char *expand(const char *text, const struct forward_list *forwards, uint16_t guest_port)
{
	char *out = NULL, port[PORT_BYTES];
	size_t len = 0;
	FILE *stream = open_memstream(&out, &len);

	if (!stream)
		return NULL;
	while (*text) {
		struct placeholder found = match(text);

		if (found.len == 0) {
			fputc(*text++, stream);
			continue;
		}
		const struct forward_spec *spec =
			forwards->count > 0 ? &forwards->items[found.index - 1] : NULL;
		if (found.is_guest)
			fprintf(stream, "%d", spec ? spec->guest_port : guest_port);
		else
			fputs(host_text(spec, port), stream);
		text += found.len;
	}
	if (fclose(stream) == 0)
		return out;
	free(out);
	return NULL;
}

static int make_argv(struct program *program, const struct sandbox_config *config,
	const struct forward_list *forwards, struct err *err)
{
	char *const *given = config->command;

	program->argv = calloc(g_strv_length((char **)given) + 1, sizeof(*program->argv));
	for (size_t i = 0; program->argv && given[i]; i++) {
		program->argv[i] = expand(given[i], forwards, config->guest_port);
		if (!program->argv[i])
			return err_sys(err, ENOMEM, "cannot expand the command");
	}
	return program->argv ? 0 : err_sys(err, ENOMEM, "cannot expand the command");
}

static int make_env(struct program *program, const struct sandbox_config *config, const char *name,
	const struct forward_list *forwards, struct err *err)
{
	char *const *given = config->env;
	const struct forward_spec *first = forwards->count > 0 ? forwards->items : NULL;
	uint16_t guest_port = first ? first->guest_port : config->guest_port;
	size_t given_count = g_strv_length((char **)given);
	size_t count = first ? 3 : guest_port != 0 ? 2 : 1;
	char port[PORT_BYTES];

	program->env = calloc(given_count + count + 1, sizeof(*program->env));
	if (!program->env)
		return err_sys(err, ENOMEM, "cannot make the environment");
	memcpy(program->env, given, given_count * sizeof(*given));
	for (size_t i = 0; i < count; i++)
		program->env[given_count + i] = program->variables[i];
	snprintf(program->variables[0], sizeof(program->variables[0]), "NSWRAP_NAME=%s", name);
	if (count == 1)
		return 0;
	snprintf(program->variables[1], sizeof(program->variables[0]), "NSWRAP_GUEST_PORT=%u",
		guest_port);
	if (!first)
		return 0;
	snprintf(program->variables[2], sizeof(program->variables[0]), "NSWRAP_HOST_PORT=%s",
		host_text(first, port));
	return 0;
}

int program_make(struct program *program, const struct sandbox_config *config, const char *name,
	const struct forward_list *forwards, struct err *err)
{
	if (program_check(config->command, forwards->count, config->guest_port, err) < 0 ||
		make_argv(program, config, forwards, err) < 0)
		return -err->code;
	return make_env(program, config, name, forwards, err);
}

static bool has_variable(char *const *env, const char *name)
{
	size_t len = strlen(name);

	for (; *env; env++)
		if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
			return true;
	return false;
}

/* @value NULL: the pid of COMMAND. */
static int add_variable(struct program *program, const char *name, const char *value)
{
	size_t cap_bytes = strlen(name) + 1 + (value ? strlen(value) + 1 : COMMAND_PID_BYTES);
	size_t count = g_strv_length(program->env);

	if (has_variable(program->env, name))
		return 0;
	char *text = calloc(1, cap_bytes);
	char **env = reallocarray(program->env, count + 2, sizeof(*env));
	if (env)
		program->env = env;
	if (!text || !env) {
		free(text);
		return -ENOMEM;
	}
	snprintf(text, cap_bytes, "%s=%s", name, value ? value : "");
	env[count] = text;
	env[count + 1] = NULL;
	program->service[program->nservice++] = text;
	if (!value)
		program->pid_variables[program->npid_variables++] = text;
	return 0;
}

static int add_listen_fds(struct program *program, const struct sandbox_service *service)
{
	char count[16], *names = NULL;
	size_t len = 0;
	FILE *stream = open_memstream(&names, &len);

	if (!stream)
		return -ENOMEM;
	for (size_t i = 0; i < service->ngiven; i++)
		fprintf(stream, "%s%.*s", i > 0 ? ":" : "", service->given[i].name_len,
			service->given[i].name);
	int result = fclose(stream) == 0 ? 0 : -ENOMEM;
	snprintf(count, sizeof(count), "%zu", service->ngiven);
	if (result == 0)
		result = add_variable(program, "LISTEN_FDS", count);
	if (result == 0)
		result = add_variable(program, "LISTEN_FDNAMES", names);
	if (result == 0)
		result = add_variable(program, "LISTEN_PID", NULL);
	free(names);
	return result;
}

int program_add_service(struct program *program, const struct sandbox_service *service,
	const char *notify_path, struct err *err)
{
	int result = 0;

	if (notify_path[0] != '\0')
		result = add_variable(program, "NOTIFY_SOCKET", notify_path);
	if (result == 0 && notify_path[0] != '\0' && service->watchdog_usec)
		result = add_variable(program, "WATCHDOG_USEC", service->watchdog_usec);
	if (result == 0 && notify_path[0] != '\0' && service->watchdog_usec &&
		service->is_watchdog_named)
		result = add_variable(program, "WATCHDOG_PID", NULL);
	if (result == 0 && service->ngiven > 0)
		result = add_listen_fds(program, service);
	return result < 0 ? err_sys(err, -result, "cannot make the environment") : 0;
}

void program_free(struct program *program)
{
	g_strfreev(program->argv);
	free(program->env);
	for (size_t i = 0; i < program->nservice; i++)
		free(program->service[i]);
	*program = (struct program){0};
}
