/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/via - one question to the name server of another host, through the mesh */
#include "mesh/agent/via.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/list.h"

/* It is not under way any more. */
static void forget(struct via_ask *via)
{
	loop_timer_cancel(via->context->loop, &via->timer);
	dial_cancel(&via->dial);
	ask_cancel(&via->ask);
	free(via->message);
	via->message = NULL;
	budget_give(via->context->budget, 1);
	via->context = NULL;
}

static void on_done(struct ask *ask, int result, const uint8_t *answer, size_t len)
{
	struct via_ask *via = container_of(ask, struct via_ask, ask);

	forget(via);
	via->on_answer(via, result, answer, len);
}

/* Connected, or -errno. Returns 0 or -errno. */
static int go_on(struct via_ask *via, int result)
{
	if (result < 0)
		return result;
	via->ask.on_done = on_done;
	return ask_start(
		&via->ask, via->context->loop, result, via->message, via->len, VIA_TIMEOUT_MS);
}

static void on_dialled(struct dial *dial, int result)
{
	struct via_ask *via = container_of(dial, struct via_ask, dial);

	loop_timer_cancel(via->context->loop, &via->timer);
	result = go_on(via, result);
	if (result == 0)
		return;
	forget(via);
	via->on_answer(via, result, NULL, 0);
}

/* The kernel of the stack would try for two minutes. */
static void on_deadline(struct loop_timer *timer)
{
	struct via_ask *via = container_of(timer, struct via_ask, timer);

	forget(via);
	via->on_answer(via, -ETIMEDOUT, NULL, 0);
}

int via_ask_start(struct via_ask *via, const struct conn_context *context, struct stack *stack,
	const struct addr *server, const uint8_t *message, size_t len)
{
	const struct dial_target target = stack->ops->target(stack, server);

	via->message = malloc(len + 1);
	if (!via->message)
		return -ENOMEM;
	memcpy(via->message, message, len);
	via->len = len;
	via->context = context;
	budget_take(context->budget, 1);
	via->dial.on_done = on_dialled;
	via->timer.on_expired = on_deadline;
	int result = dial_start(&via->dial, context, &target);
	if (result == -EINPROGRESS) {
		loop_timer_set(context->loop, &via->timer, VIA_TIMEOUT_MS);
		return 0;
	}
	result = go_on(via, result);
	if (result < 0)
		forget(via);
	return result;
}

void via_ask_cancel(struct via_ask *via)
{
	if (via->context)
		forget(via);
}
