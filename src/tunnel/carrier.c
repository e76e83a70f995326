/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/carrier - a tunnel's connections over one link: opened, lost, and opened again */
#include "tunnel/carrier.h"

#include <string.h>
#include <unistd.h>

#include "util/fd.h"

static void on_bundle_up(struct bundle *bundle)
{
	struct carrier *carrier = container_of(bundle, struct carrier, bundle);

	carrier->is_up = true;
	carrier->ops->on_up(carrier->owner);
}

static void on_strand(struct bundle *bundle, int fd)
{
	struct carrier *carrier = container_of(bundle, struct carrier, bundle);

	carrier->ops->on_connection(carrier->owner, fd);
}

static void on_bundle_end(struct bundle *bundle, const char *why)
{
	struct carrier *carrier = container_of(bundle, struct carrier, bundle);
	bool was_up = carrier->is_up;

	bundle_close(bundle);
	carrier->is_up = false;
	linkend_close(&carrier->end, why);
	if (was_up)
		carrier->ops->on_down(carrier->owner);
}

static const struct bundle_ops bundle_ops = {
	.on_up = on_bundle_up, .on_strand = on_strand, .on_end = on_bundle_end};

static void on_open(struct linkend *end, int in_fd, int out_fd)
{
	struct carrier *carrier = container_of(end, struct carrier, end);
	int result = fd_set_nonblock(in_fd, 1);

	if (result == 0)
		result = fd_set_nonblock(out_fd, 1);
	carrier->bundle = (struct bundle){.ops = &bundle_ops,
		.loop = end->context->loop,
		.budget = end->context->budget,
		.is_asker = carrier->is_asker,
		.alive_ms = carrier->dead_ms};
	if (result == 0) {
		result = bundle_open(&carrier->bundle, in_fd, out_fd);
	} else {
		close(in_fd);
		if (in_fd != out_fd)
			close(out_fd);
	}
	if (result < 0)
		linkend_close(end, strerror(-result));
}

/* The bundle reads what is left, and its end. */
static void on_over(struct linkend *end)
{
	(void)end;
}

static void on_closed(struct linkend *end, const char *why)
{
	struct carrier *carrier = container_of(end, struct carrier, end);
	bool is_last = linkspec_is_once(end->spec);

	if (!is_last)
		linkend_again(end);
	carrier->ops->on_closed(carrier->owner, why, is_last);
}

static const struct linkend_ops linkend_ops = {on_open, on_over, on_closed};

int carrier_open(struct carrier *carrier, struct err *err)
{
	carrier->end.ops = &linkend_ops;
	carrier->bundle.in.fd = carrier->bundle.out.fd = -1;
	int result = linkend_init(&carrier->end, err);
	if (result == 0)
		linkend_start(&carrier->end);
	return result;
}

int carrier_dial(struct carrier *carrier)
{
	return bundle_dial(&carrier->bundle);
}

void carrier_close(struct carrier *carrier)
{
	if (!carrier->ops)
		return;
	bundle_close(&carrier->bundle);
	linkend_fini(&carrier->end);
}
