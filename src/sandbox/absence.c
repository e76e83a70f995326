/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/absence - for how long nobody has joined a sandbox, which is its end at some time */
#include "sandbox/absence.h"

#include <stdbool.h>

static void wait(struct absence *absence)
{
	const uint64_t part_ms = absence->max_ms / ABSENCE_LOOKS;

	loop_timer_set(absence->loop, &absence->timer, part_ms > 0 ? part_ms : 1);
}

static bool is_alone(const struct absence *absence)
{
	list_each (at, &absence->server->clients)
		if (container_of(at, struct server_client, at)->is_marked)
			return false;
	return true;
}

static void on_look(struct loop_timer *timer)
{
	struct absence *absence = container_of(timer, struct absence, timer);

	absence->alone = is_alone(absence) ? absence->alone + 1 : 0;
	if (absence->alone == ABSENCE_LOOKS)
		absence->on_long(absence->owner);
	else
		wait(absence);
}

void absence_begin(struct absence *absence)
{
	absence->timer.on_expired = on_look;
	if (absence->max_ms > 0)
		wait(absence);
}

void absence_end(struct absence *absence)
{
	if (absence->loop)
		loop_timer_cancel(absence->loop, &absence->timer);
}
