/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/manager_control - the name of a mesh, and what it can be asked */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "control/registry.h"
#include "control/server.h"
#include "mesh/manager/manager_control.h"
#include "mesh/manager/manager_parts.h"

/* --- questions ---------------------------------------------------------------------------- */

static json_t *answer_reload(struct manager *manager)
{
	json_t *errors = json_array();

	manager_reload(manager, errors);
	return json_pack("{s:b, s:I, s:o}", "ok", 1, "hosts", (json_int_t)manager->manifest.nhosts,
		"errors", errors);
}

static int on_request(struct server_client *client, json_t *request, struct server_answer *answer,
	struct err *err)
{
	struct manager *manager = client->server->owner;
	const char *op = json_string_value(json_object_get(request, "op"));
	json_int_t from = json_integer_value(json_object_get(request, "from"));

	if (!op)
		return err_set(err, EINVAL, "a question is an object with a text \"op\"");
	if (strcmp(op, "status") == 0) {
		answer->message = status_json(manager, from < 0 ? SIZE_MAX : (size_t)from);
	} else if (strcmp(op, "reload") == 0) {
		answer->message = answer_reload(manager);
	} else if (strcmp(op, "stop") == 0) {
		manager_stop(manager);
		answer->message = json_pack("{s:b}", "ok", 1);
	} else {
		return err_set(err, EINVAL, "unknown op");
	}
	return 0;
}

static const struct server_rules rules = {
	.clients_max = 32,
	.strangers = "it is not for another user or for a sandbox",
	.on_request = on_request,
};

/* --- the name ----------------------------------------------------------------------------- */

/* "site" of "/etc/site.yaml"; of stdin nothing. */
static void make_base(const char *path, char *out, size_t cap_bytes)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	const char *dot = strrchr(base, '.');
	size_t len = strlen(base);

	if (dot && dot > base && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0))
		len = (size_t)(dot - base);
	if (strcmp(path, "-") == 0)
		len = 0;
	snprintf(out, cap_bytes, "%.*s", (int)(len < INT_MAX ? len : INT_MAX), base);
}

int mesh_control_open(struct manager *manager, struct err *err)
{
	const struct manager_config *config = manager->config;
	char base[REGISTRY_NAME_MAX + 1];
	struct registry registry;
	int result = registry_open(REGISTRY_MESH, &registry, err);

	if (result < 0)
		return result;
	make_base(config->path, base, sizeof(base));
	result = registry_reserve(&registry, config->name, base, &manager->server.entry, err);
	registry_close(&registry);
	if (result < 0)
		return result;
	return server_open(&manager->server, manager->loop, &rules, manager, err);
}
