/* SPDX-License-Identifier: Apache-2.0 */
/* util/trickle - a descriptor whose writer sends crumbs is read less often */
#include "util/trickle.h"

#include <stddef.h>

#include "util/list.h"

static void on_pause_over(struct loop_timer *timer)
{
	struct trickle *trickle = container_of(timer, struct trickle, timer);

	loop_io_mod(trickle->loop, trickle->io, EPOLLIN);
}

void trickle_begin(struct trickle *trickle, struct loop *loop, struct loop_io *io)
{
	*trickle = (struct trickle){.loop = loop, .io = io, .timer = {.on_expired = on_pause_over}};
}

void trickle_note(struct trickle *trickle, bool was_worth_it)
{
	if (was_worth_it) {
		trickle->crumbs -= trickle->crumbs > 0;
		return;
	}
	if (trickle->crumbs < TRICKLE_FREE) {
		trickle->crumbs++;
		return;
	}
	/* a hang-up is reported all the same: then the rest is read at once, and ends it */
	loop_io_mod(trickle->loop, trickle->io, 0);
	loop_timer_set(trickle->loop, &trickle->timer, TRICKLE_MS);
}

void trickle_end(struct trickle *trickle)
{
	if (trickle->loop)
		loop_timer_cancel(trickle->loop, &trickle->timer);
}
