/* SPDX-License-Identifier: Apache-2.0 */
/* forward/slirp_driver - the slirp driver: packets of libslirp, and the guest sees who connects */
#include "forward/slirp_driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "forward/splice_tcp.h"
#include "net/slirp.h"
#include "util/fd.h"
#include "util/log.h"

struct slirp_forward {
	struct forward *forward;
	struct loop_io clients_io;    /* on the listener, until the first client waits */
	struct loop_timer wait_timer; /* since then */
	bool is_led;                  /* by libslirp; the two above are not used any more */
};

static void on_client_waiting(struct loop_io *io, uint32_t events)
{
	struct slirp_forward *slirp = container_of(io, struct slirp_forward, clients_io);
	const struct forward_context *context = slirp->forward->context;

	(void)events;
	loop_io_del(context->loop, io); /* the backlog would keep epoll awake */
	loop_timer_set(context->loop, &slirp->wait_timer, context->wait_ms);
}

/* The guest did not listen in time: refuse everyone who waits, and wait for the next one. */
static void on_wait_over(struct loop_timer *timer)
{
	struct slirp_forward *slirp = container_of(timer, struct slirp_forward, wait_timer);
	struct forward *forward = slirp->forward;
	int client, result;
	struct err err;

	while ((client = accept4(forward->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		fd_reset(&client);
	log_info("the guest did not listen on port %u in time", forward->spec.guest_port);
	result = loop_io_add(forward->context->loop, &slirp->clients_io, EPOLLIN);
	if (result == 0)
		return;
	err_sys(&err, -result, "cannot watch a listener");
	forward->context->on_lost(forward->context->owner, forward->id, &err);
}

static void stop(struct slirp_forward *slirp)
{
	const struct forward_context *context = slirp->forward->context;

	loop_timer_cancel(context->loop, &slirp->wait_timer);
	loop_io_del(context->loop, &slirp->clients_io);
	if (slirp->is_led)
		slirp_stack_unlisten(context->slirp, slirp->forward->listen_fd);
	slirp->is_led = false;
}

static void on_clients(void *owner);

static bool can_lead(const struct forward *forward)
{
	struct addr guest = driver_target(forward);

	return guest.family == forward->spec.host.family && forward->target != TARGET_LOOPBACK6;
}

/* Lead to the target, by splice if need be: then @slirp is no more. Nothing is led on error. */
static int lead(struct slirp_forward *slirp, struct err *err)
{
	struct forward *forward = slirp->forward;
	struct addr guest = driver_target(forward);
	char text[FORWARD_TEXT_BYTES];

	stop(slirp);
	spec_format(&forward->spec, text, sizeof(text));
	if (can_lead(forward)) {
		int result = slirp_stack_listen(
			forward->context->slirp, forward->listen_fd, &guest, on_clients, slirp);
		slirp->is_led = result == 0;
		return slirp->is_led ? 0
				     : err_sys(err, -result, "libslirp cannot listen for %s", text);
	}
	log_info("%s is led by splice: libslirp does not lead to where the guest listens", text);
	int result = splice_tcp_driver.open(forward, err);
	if (result < 0)
		return result;
	forward->driver = &splice_tcp_driver;
	free(slirp);
	return 0;
}

static void lead_or_lose(struct slirp_forward *slirp)
{
	const struct forward *forward = slirp->forward;
	struct err err;

	if (lead(slirp, &err) < 0)
		forward->context->on_lost(forward->context->owner, forward->id, &err);
}

static void on_clients(void *owner)
{
	struct slirp_forward *slirp = owner;
	enum forward_target before = slirp->forward->target;

	if (driver_find_target(slirp->forward) && slirp->forward->target != before)
		lead_or_lose(slirp);
}

static int slirp_open(struct forward *forward, struct err *err)
{
	struct slirp_forward *slirp = calloc(1, sizeof(*slirp));
	int result;

	if (!slirp)
		return err_sys(err, ENOMEM, "cannot open a forward");
	slirp->forward = forward;
	slirp->clients_io = (struct loop_io){forward->listen_fd, on_client_waiting};
	slirp->wait_timer.on_expired = on_wait_over;
	forward->state = slirp;
	if (forward->spec.host.family == AF_INET6)
		forward->target = TARGET_OWN6;
	if (forward->has_listened) {
		driver_find_target(forward);
		result = lead(slirp, err);
	} else {
		result = loop_io_add(forward->context->loop, &slirp->clients_io, EPOLLIN);
		if (result < 0)
			err_sys(err, -result, "cannot watch a listener");
	}
	if (result < 0)
		free(slirp);
	return result;
}

static void slirp_close(struct forward *forward)
{
	stop(forward->state);
	free(forward->state);
}

static void slirp_on_guest_listening(struct forward *forward)
{
	lead_or_lose(forward->state);
}

const struct forward_driver slirp_driver = {
	.open = slirp_open,
	.close = slirp_close,
	.on_guest_listening = slirp_on_guest_listening,
};
