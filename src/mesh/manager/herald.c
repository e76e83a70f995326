/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/herald - tells a service manager how the mesh is doing (sd_notify(3)) */
#include "mesh/manager/herald.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/log.h"
#include "util/parse.h"

#define US_PER_MS    1000
#define STATUS_BYTES SDNOTIFY_OWN_BYTES
#define LAST_MS      1000

static void tell(struct herald *herald, enum sdnotify_kind kind, const char *text)
{
	int result = sdnotify_tell(&herald->own, kind, text);

	if (result < 0)
		log_info("cannot tell the service manager at %s: %s", herald->address,
			strerror(-result));
}

static void tell_ready(struct herald *herald)
{
	if (!herald->is_ready)
		tell(herald, SDNOTIFY_READY, "READY=1");
	herald->is_ready = true;
}

static void on_ready_time(struct loop_timer *timer)
{
	tell_ready(container_of(timer, struct herald, ready_timer));
}

static void on_watchdog(struct loop_timer *timer)
{
	struct herald *herald = container_of(timer, struct herald, watchdog_timer);

	tell(herald, SDNOTIFY_WATCHDOG, "WATCHDOG=1");
	loop_timer_set(herald->loop, timer, herald->watchdog_ms);
}

/* As sd_watchdog_enabled(3) says: twice as often as is asked for. 0: not at all. */
static uint64_t watchdog_ms(void)
{
	const char *usec_text = getenv("WATCHDOG_USEC"), *pid_text = getenv("WATCHDOG_PID");
	unsigned long usec, pid;

	if (!usec_text || parse_uint(usec_text, ULONG_MAX, &usec) < 0 || usec == 0)
		return 0;
	if (pid_text && (parse_uint(pid_text, INT_MAX, &pid) < 0 || (pid_t)pid != getpid()))
		return 0;
	return usec / 2 > US_PER_MS ? usec / 2 / US_PER_MS : 1;
}

void herald_begin(struct herald *herald, struct loop *loop)
{
	const char *address = getenv("NOTIFY_SOCKET");

	herald->loop = loop;
	herald->ready_timer.on_expired = on_ready_time;
	herald->watchdog_timer.on_expired = on_watchdog;
	herald->address = address && address[0] != '\0' ? strdup(address) : NULL;
	herald->own = (struct sdnotify){.loop = loop, .address = herald->address};
	herald->watchdog_ms = herald->address ? watchdog_ms() : 0;
	for (size_t i = 0; sdnotify_variables[i]; i++)
		unsetenv(sdnotify_variables[i]);
	if (herald->address)
		loop_timer_set(loop, &herald->ready_timer, HERALD_READY_MS);
	if (herald->watchdog_ms > 0)
		loop_timer_set(loop, &herald->watchdog_timer, herald->watchdog_ms);
}

void herald_tell_hosts(struct herald *herald, size_t nready, size_t nhosts, size_t nuntried)
{
	char text[STATUS_BYTES];

	if (nready != herald->nready || nhosts != herald->nhosts) {
		snprintf(text, sizeof(text), "STATUS=%zu of %zu host%s %s ready", nready, nhosts,
			nhosts == 1 ? "" : "s", nready == 1 ? "is" : "are");
		tell(herald, SDNOTIFY_STATUS, text);
	}
	herald->nready = nready;
	herald->nhosts = nhosts;
	if (nuntried == 0)
		tell_ready(herald);
}

void herald_tell_reload(struct herald *herald)
{
	char text[STATUS_BYTES];

	/* which Type=notify-reload compares with the time of its signal */
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu",
		(unsigned long long)(clock_now_ns() / 1000));
	if (herald->is_ready)
		tell(herald, SDNOTIFY_RELOADING, text);
}

void herald_tell_reloaded(struct herald *herald)
{
	if (herald->is_ready)
		tell(herald, SDNOTIFY_READY, "READY=1");
}

void herald_tell_end(struct herald *herald)
{
	tell(herald, SDNOTIFY_STOPPING, "STOPPING=1");
}

void herald_end(struct herald *herald)
{
	if (!herald->loop)
		return;
	loop_timer_cancel(herald->loop, &herald->ready_timer);
	loop_timer_cancel(herald->loop, &herald->watchdog_timer);
	sdnotify_end(&herald->own, LAST_MS);
	herald->own.address = NULL;
	free(herald->address);
	herald->address = NULL;
}
