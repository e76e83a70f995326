/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/tenure - of the agents of one host of one mesh the last one stays, and none for ever
 */
#include "mesh/agent/tenure.h"

#include <errno.h>

#include "util/clock.h"
#include "util/list.h"
#include "util/log.h"

#define BEATS    4 /* in which silence is noticed */
#define PAUSE_MS 20

/* --- silence ------------------------------------------------------------------------------ */

static void set_timer(struct tenure *tenure)
{
	loop_timer_set(tenure->loop, &tenure->timer, tenure->silence_s * MS_PER_S / BEATS);
}

static void on_beat(struct loop_timer *timer)
{
	struct tenure *tenure = container_of(timer, struct tenure, timer);

	if (tenure->wire->bytes_in != tenure->heard_bytes) {
		tenure->heard_bytes = tenure->wire->bytes_in;
		tenure->silent = 0;
	} else if (++tenure->silent == BEATS) {
		tenure->on_silence(tenure);
		return;
	}
	set_timer(tenure);
}

static void watch(struct tenure *tenure, uint16_t silence_s)
{
	tenure->timer.on_expired = on_beat;
	tenure->silent = 0;
	tenure->heard_bytes = tenure->wire->bytes_in;
	if (silence_s == tenure->silence_s)
		return;
	tenure->silence_s = silence_s;
	if (silence_s > 0)
		set_timer(tenure);
	else
		loop_timer_cancel(tenure->loop, &tenure->timer);
}

/* --- takeover ----------------------------------------------------------------------------- */

static void on_look(struct loop_io *io, uint32_t events)
{
	struct tenure *tenure = container_of(io, struct tenure, io);

	(void)events;
	if (tenant_shed(&tenure->tenant) == 0)
		return;
	loop_io_mod(tenure->loop, io, 0);
	loop_timer_set(tenure->loop, &tenure->pause, PAUSE_MS);
}

static void on_pause(struct loop_timer *timer)
{
	struct tenure *tenure = container_of(timer, struct tenure, pause);

	loop_io_mod(tenure->loop, &tenure->io, EPOLLIN);
}

/* The socket is another one with another identity, and closed by whoever has the tenant. */
static void overlook(struct tenure *tenure)
{
	if (tenure->io.on_ready) {
		loop_io_del(tenure->loop, &tenure->io);
		loop_timer_cancel(tenure->loop, &tenure->pause);
	}
	tenure->io.on_ready = NULL;
}

static void look_out(struct tenure *tenure)
{
	tenure->pause.on_expired = on_pause;
	tenure->io = (struct loop_io){tenure->tenant.listen_fd, on_look};
	if (tenure->io.fd < 0 || loop_io_add(tenure->loop, &tenure->io, EPOLLIN) < 0)
		tenure->io.on_ready = NULL;
}

static int take_over(struct tenure *tenure, const char *identity, struct err *err)
{
	struct err reason;

	if (tenant_check_identity(identity, err) < 0)
		return -EINVAL;
	overlook(tenure);
	int result = tenant_claim(&tenure->tenant, TENANT_AGENT, identity, &reason);
	look_out(tenure);
	/* it is not for want of this that it cannot serve */
	if (result < 0)
		log_warning("agents of this host are not taken over from: %s", reason.text);
	return result > 0;
}

/* --- both --------------------------------------------------------------------------------- */

int tenure_begin(struct tenure *tenure, const struct mesh_config *config, struct err *err)
{
	int result = config->identity ? take_over(tenure, config->identity, err) : 0;

	if (result >= 0)
		watch(tenure, config->silence_s);
	return result;
}

void tenure_end(struct tenure *tenure)
{
	if (tenure->loop)
		loop_timer_cancel(tenure->loop, &tenure->timer);
	tenure->silence_s = 0;
	overlook(tenure);
	tenant_end(&tenure->tenant);
}
