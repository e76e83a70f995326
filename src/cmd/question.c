/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/question - ask a mesh that runs: status, reload, stop */
#include "cmd/question.h"

#include <errno.h>
#include <string.h>

#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/hosts.h"
#include "cmd/output.h"
#include "control/control.h"
#include "control/registry.h"
#include "util/fd.h"
#include "util/log.h"

/* Returns the name of the only mesh, or NULL with @err. */
static const char *only_name(
	const struct registry *registry, char (*names)[REGISTRY_NAME_MAX + 1], struct err *err)
{
	char running[REGISTRY_DESCRIPTION_BYTES];
	ssize_t count = registry_list(registry, names, 2);

	if (count == 1)
		return names[0];
	registry_describe(registry, running, sizeof(running));
	if (count == 0)
		err_set(err, ENOENT, "no mesh is running");
	else
		err_set(err, EINVAL, "which mesh? A NAME is missing (%s)", running);
	return NULL;
}

/* Connect to @name, or if it is NULL to the only mesh. Returns a descriptor, or -errno with @err.
 */
static int connect_mesh(const char *name, struct err *err)
{
	char names[2][REGISTRY_NAME_MAX + 1];
	struct registry registry;
	int result = registry_open(REGISTRY_MESH, &registry, err);

	if (result < 0)
		return result;
	if (!name)
		name = only_name(&registry, names, err);
	result = name ? registry_connect(&registry, name, err) : -err->code;
	registry_close(&registry);
	return result;
}

/* Ask; NULL with @err filled when it does not answer or refuses. */
static json_t *call(int sock, json_t *question, struct err *err)
{
	json_t *answer;

	control_call(sock, "mesh", question, &answer, NULL, err);
	return answer;
}

/* All of it, however many answers it takes. */
static json_t *ask_status(int sock, struct err *err)
{
	json_t *status = NULL, *hosts = NULL;

	for (;;) {
		json_t *part = call(sock,
			json_pack("{s:s, s:I}", "op", "status", "from",
				(json_int_t)json_array_size(hosts)),
			err);
		if (!part) {
			json_decref(status);
			return NULL;
		}
		json_t *more = json_object_get(part, "hosts");
		size_t count = json_array_size(more);
		size_t total = (size_t)json_integer_value(json_object_get(part, "total"));
		if (!status) {
			status = json_incref(part);
			hosts = more;
		} else {
			json_array_extend(hosts, more);
		}
		json_decref(part);
		if (count == 0 || json_array_size(hosts) >= total)
			return status;
	}
}

static int print_status(int sock, bool is_json, struct err *err)
{
	json_t *status = ask_status(sock, err);

	if (!status)
		return cmd_failed(err);
	json_object_del(status, "ok");
	json_object_del(status, "total");
	if (is_json)
		output_json(status);
	else
		hosts_print(status);
	json_decref(status);
	return output_end(err) < 0 ? cmd_failed(err) : 0;
}

/* Every error of the manifest is shown, as --check would show it. */
static int reload(int sock, bool is_json, struct err *err)
{
	json_t *answer = call(sock, json_pack("{s:s}", "op", "reload"), err), *line;
	size_t i;

	(void)is_json;
	if (!answer)
		return cmd_failed(err);
	json_array_foreach(json_object_get(answer, "errors"), i, line)
	{
		log_error("%s", json_string_value(line) ? json_string_value(line) : "?");
	}
	json_decref(answer);
	return i > 0 ? EXIT_USAGE : 0;
}

static int stop(int sock, bool is_json, struct err *err)
{
	(void)is_json;
	client_wake(sock);
	json_t *answer = call(sock, json_pack("{s:s}", "op", "stop"), err);
	/* it may have ended before it could answer: that is what is wanted */
	if (!answer && err->code != EPIPE)
		return cmd_failed(err);
	json_decref(answer);
	client_await_end(sock);
	return 0;
}

static const struct question questions[] = {
	{"status", true, print_status},
	{"reload", false, reload},
	{"stop", false, stop},
};

const struct question *question_find(const char *word)
{
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
		if (strcmp(questions[i].word, word) == 0)
			return &questions[i];
	return NULL;
}

int question_ask(const struct question *question, const char *name, bool is_json)
{
	struct err err = {0};
	_cleanup_fd_ int sock = connect_mesh(name, &err);

	return sock < 0 ? cmd_failed(&err) : question->ask(sock, is_json, &err);
}
