/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/events - tell other programs how a sandbox is doing */
#include "sandbox/events.h"

#include <stdlib.h>
#include <string.h>

#include "util/fd.h"
#include "util/log.h"

#define LAST_MS 1000

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

void events_ready(struct events *events)
{
	ready_tell(&events->ready);
	if (events->manager)
		notifyrelay_tell_ready(events->manager);
	events->manager = NULL;
}

void events_end(struct events *events)
{
	ready_end(&events->ready, LAST_MS);
}
