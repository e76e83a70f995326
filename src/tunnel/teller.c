/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/teller - an end of a tunnel says how it is, to who asks at its control socket */
#include "tunnel/teller.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "util/log.h"

#define ASKERS_MAX 16

static json_t *on_request(struct server_client *client, json_t *request, struct err *err)
{
	struct teller *teller = client->server->owner;
	const char *op = json_string_value(json_object_get(request, "op"));

	if (!op || strcmp(op, "status") != 0) {
		err_set(err, EINVAL, "unknown op");
		return NULL;
	}
	json_t *told = teller->tell(teller->owner);
	json_t *answer =
		json_pack("{s:b, s:s, s:i, s:I}", "ok", 1, "name", teller->server.entry.name, "pid",
			(int)getpid(), "age", (json_int_t)(time(NULL) - teller->started));
	if (answer && told)
		json_object_update(answer, told);
	json_decref(told);
	return answer;
}

static const struct server_rules rules = {
	.clients_max = ASKERS_MAX,
	.strangers = "it is not for another user or for a sandbox",
	.on_request = on_request,
};

void teller_open(struct teller *teller, struct loop *loop, const char *base)
{
	struct registry registry;
	struct err err = {0};

	teller->started = time(NULL);
	teller->is_open = true;
	server_init(&teller->server);
	int result = registry_open(REGISTRY_TUNNEL, &registry, &err);
	if (result == 0) {
		result = registry_reserve(&registry, NULL, base, &teller->server.entry, &err);
		registry_close(&registry);
	}
	if (result == 0)
		result = server_open(&teller->server, loop, &rules, teller, &err);
	if (result < 0)
		log_info("tunnel: nswrap tunnel status will not show it: %s", err.text);
}

void teller_close(struct teller *teller)
{
	if (teller->is_open)
		server_close(&teller->server);
	teller->is_open = false;
}
