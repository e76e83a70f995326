/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/events - tell other programs how a sandbox is doing */
#include "sandbox/events.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/log.h"

void events_emit(struct events *events, const char *name, json_t *body)
{
	json_t *event = json_pack("{s:s}", "event", name);

	if (event && body)
		json_object_update(event, body);
	json_decref(body);
	char *text = event && events->info_fd >= 0 ? json_dumps(event, JSON_COMPACT) : NULL;
	json_decref(event);
	if (!text)
		return;
	size_t len = strlen(text);
	text[len] = '\n'; /* in place of the NUL: one write, one line */
	if (fd_tell(events->info_fd, text, len + 1, 0) < 0)
		log_info("nobody reads --info-fd");
	free(text);
}

static void notify(const char *path)
{
	static const char message[] = "READY=1";
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(addr.sun_path))
		return;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	_cleanup_fd_ int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (sock < 0 || sendto(sock, message, sizeof(message) - 1, MSG_NOSIGNAL,
				(struct sockaddr *)&addr, addr_len) < 0)
		log_warning("cannot notify the service manager at %s", path);
}

void events_ready(struct events *events)
{
	if (events->ready_fd >= 0 && fd_tell(events->ready_fd, "READY=1\n", 8, 0) < 0)
		log_info("nobody reads --ready-fd");
	fd_close(&events->ready_fd);
	if (events->notify_socket)
		notify(events->notify_socket);
	events->notify_socket = NULL;
}
