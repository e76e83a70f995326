/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/crier - tells the sandbox in which an agent is the names of its mesh */
#include "mesh/agent/crier.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>

#include "control/control.h"

#define WAIT_S    3
#define AT_A_TIME 500 /* fits a message, however long they are */

struct telling {
	int fd, result;
	json_t *names, *patterns;
};

static void send_part(struct telling *telling, bool has_more)
{
	json_t *message = json_pack("{s:o, s:o, s:b}", "names", telling->names, "patterns",
		telling->patterns, "more", has_more);

	if (telling->result == 0)
		telling->result = control_send(telling->fd, message, NULL, 0);
	else
		json_decref(message);
	telling->names = json_array();
	telling->patterns = json_array();
}

static void add(struct telling *telling, json_t *list, const char *name, struct in_addr ip)
{
	char text[INET_ADDRSTRLEN];

	json_array_append_new(
		list, json_pack("[s, s]", name, inet_ntop(AF_INET, &ip, text, sizeof(text))));
	if (json_array_size(telling->names) + json_array_size(telling->patterns) == AT_A_TIME)
		send_part(telling, true);
}

/* A route's last match counts, a table's first one. */
static void add_patterns(struct telling *telling, const struct mesh_config *config)
{
	for (size_t i = config->nroutes; i > 0; i--) {
		char **globs = config->routes[i - 1].globs;

		for (size_t at = 0; globs && globs[at]; at++)
			add(telling, telling->patterns, globs[at], config->me);
	}
}

int crier_tell(int fd, const struct mesh_config *config)
{
	struct telling telling = {fd, 0, json_array(), json_array()};
	struct timeval wait = {.tv_sec = WAIT_S};

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	for (size_t i = 0; i < config->nnames; i++)
		add(&telling, telling.names, config->names[i].name, config->names[i].ip);
	add_patterns(&telling, config);
	send_part(&telling, false);
	json_decref(telling.names);
	json_decref(telling.patterns);
	return telling.result;
}
