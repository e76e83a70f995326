/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/errand - what a client of a tunnel has its server connect to */
#include "tunnel/errand.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "conn/dial.h"
#include "tunnel/hail.h"
#include "util/log.h"

#define ERRAND_FDS 2

struct errand {
	struct errands *errands;
	struct list at;
	struct loop_io io;
	struct dial dial;
	struct endpoint to;
	enum proto proto;
	unsigned source;
};

/* Returns the lane's descriptor, the caller's. */
static int forget(struct errand *errand)
{
	const struct conn_context *context = errand->errands->context;
	int fd = errand->io.fd;

	dial_cancel(&errand->dial);
	loop_io_del(context->loop, &errand->io);
	list_del(&errand->at);
	budget_give(context->budget, ERRAND_FDS);
	shares_give(&context->budget->shares, SHARES_LED, errand->source);
	free(errand);
	return fd;
}

static void on_lane(struct loop_io *io, uint32_t events)
{
	/* nobody ends one half before HAIL_OPENED */
	if (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP))
		close(forget(container_of(io, struct errand, io)));
}

static void refuse(struct errand *errand, const char *why)
{
	char text[ENDPOINT_TEXT_BYTES];

	log_info("tunnel: %s: %s", endpoint_format(&errand->to, text, sizeof(text)), why);
	hail_send(errand->io.fd, HAIL_REFUSED, why, strlen(why));
	close(forget(errand));
}

static void on_target(struct dial *dial, int result)
{
	struct errand *errand = container_of(dial, struct errand, dial);
	struct errands *errands = errand->errands;
	enum proto proto = errand->proto;
	unsigned source = errand->source;

	if (errands->on_done)
		errands->on_done(errands->owner, result < 0 ? result : 0);
	if (result < 0) {
		refuse(errand, dial_words(result));
		return;
	}
	if (hail_send(errand->io.fd, HAIL_OPENED, NULL, 0) < 0) {
		close(result);
		close(forget(errand));
		return;
	}
	passage_begin(errands->passage, proto, source, result, forget(errand), NULL, 0);
}

void errands_add(struct errands *errands, int fd, const struct endpoint *to, enum proto proto,
	unsigned source)
{
	const struct conn_context *context = errands->context;
	struct errand *errand = calloc(1, sizeof(*errand));
	int result;

	if (!errand) {
		close(fd);
		return;
	}
	*errand = (struct errand){.errands = errands,
		.io = {fd, on_lane},
		.dial.on_done = on_target,
		.to = *to,
		.proto = proto,
		.source = source};
	budget_take(context->budget, ERRAND_FDS);
	shares_take(&context->budget->shares, SHARES_LED, source);
	list_add_last(&errands->all, &errand->at);
	result = loop_io_add(context->loop, &errand->io, EPOLLRDHUP | EPOLLET);
	if (result < 0) {
		close(forget(errand));
		return;
	}
	struct dial_target target = endpoint_target(&errand->to);
	target.proto = proto;
	result = dial_start(&errand->dial, context, &target);
	if (result != -EINPROGRESS)
		on_target(&errand->dial, result);
}

void errands_init(struct errands *errands)
{
	list_init(&errands->all);
}

void errands_fini(struct errands *errands)
{
	while (!list_is_empty(&errands->all))
		close(forget(list_first(&errands->all, struct errand, at)));
}
