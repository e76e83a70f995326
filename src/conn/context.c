/* SPDX-License-Identifier: Apache-2.0 */
/* conn/context - what all connections of a process have in common */
#include "conn/context.h"

#include <errno.h>

#include "conn/inside.h"
#include "conn/names.h"
#include "conn/relay.h"

int context_open(struct conn_context *context, struct loop *loop, struct budget *budget, int door)
{
	*context = (struct conn_context){.loop = loop, .budget = budget};
	context->relays = relay_pool_new(loop, budget);
	if (context->relays)
		context->inside = inside_new(loop, door);
	if (context->inside)
		context->names = names_new(loop);
	return context->names ? 0 : -errno;
}

void context_close(struct conn_context *context)
{
	names_free(context->names);
	relay_pool_free(context->relays);
	inside_free(context->inside);
	*context = (struct conn_context){0};
}
