/* SPDX-License-Identifier: Apache-2.0 */
/* forward/slirp_driver - the slirp driver: libslirp listens, and the guest sees who connects */
#include "forward/slirp_driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/plan.h"
#include "net/slirp.h"
#include "util/fd.h"
#include "util/log.h"

struct slirp_forward {
	struct forward *forward;
	int listen_fd; /* libslirp's */
	struct loop_timer wait_timer;
};

static void on_client_waiting(void *owner)
{
	struct slirp_forward *slirp = owner;
	const struct forward_context *context = slirp->forward->context;

	loop_timer_set(context->loop, &slirp->wait_timer, context->wait_ms);
}

static void mute(struct slirp_forward *slirp)
{
	slirp_stack_mute(
		slirp->forward->context->slirp, slirp->listen_fd, on_client_waiting, slirp);
}

/* The guest did not listen in time: refuse everyone who waits, and wait for the next one. */
static void on_wait_over(struct loop_timer *timer)
{
	struct slirp_forward *slirp = container_of(timer, struct slirp_forward, wait_timer);
	char discard[1];

	if (slirp->forward->spec.proto == PROTO_UDP) {
		while (recv(slirp->listen_fd, discard, sizeof(discard), MSG_DONTWAIT) >= 0)
			;
	} else {
		int client;

		while ((client = accept4(slirp->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
			fd_reset(&client);
	}
	log_info("the guest did not listen on port %u in time", slirp->forward->spec.guest_port);
	mute(slirp);
}

static int slirp_open(struct forward *forward, struct err *err)
{
	struct slirp_forward *slirp = calloc(1, sizeof(*slirp));
	uint16_t port = forward->spec.guest_port;
	/* where the guest is reached over the TAP */
	struct addr guest = forward->spec.host.family == AF_INET6
				    ? addr_of6(&forward->context->plan->guest6, port)
				    : addr_loopback4(port);
	char text[FORWARD_TEXT_BYTES];

	if (!slirp)
		return err_sys(err, ENOMEM, "cannot open a forward");
	slirp->forward = forward;
	slirp->wait_timer.on_expired = on_wait_over;
	slirp->listen_fd = slirp_stack_listen(
		forward->context->slirp, forward->spec.proto, &forward->spec.host, &guest);
	if (slirp->listen_fd < 0) {
		int code = -slirp->listen_fd;

		free(slirp);
		spec_format(&forward->spec, text, sizeof(text));
		return err_sys(err, code, "libslirp cannot listen for %s", text);
	}
	forward->state = slirp;
	if (!forward->has_listened)
		mute(slirp);
	return 0;
}

static void slirp_close(struct forward *forward)
{
	struct slirp_forward *slirp = forward->state;

	loop_timer_cancel(forward->context->loop, &slirp->wait_timer);
	slirp_stack_unlisten(forward->context->slirp, forward->spec.proto, &forward->spec.host);
	free(slirp);
}

static void slirp_on_guest_listening(struct forward *forward)
{
	struct slirp_forward *slirp = forward->state;

	loop_timer_cancel(forward->context->loop, &slirp->wait_timer);
	slirp_stack_mute(forward->context->slirp, slirp->listen_fd, NULL, NULL);
}

const struct forward_driver slirp_driver = {
	.open = slirp_open,
	.close = slirp_close,
	.on_guest_listening = slirp_on_guest_listening,
};
