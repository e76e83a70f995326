/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/asked - names that another host's name server is asked for, when ours is */
#include "mesh/agent/asked.h"

#include <errno.h>
#include <stdlib.h>

#include "util/list.h"

/* RFC 9460: may have addresses in them */
#define TYPE_SVCB  64
#define TYPE_HTTPS 65

struct asked {
	struct ways *ways;
	struct list pending;
	size_t count;
};

struct pending {
	struct asked *asked;
	struct list link;
	struct ways_ask ask;
	struct nameserver_question *question;
};

static void drop(struct pending *pending)
{
	list_del(&pending->link);
	pending->asked->count--;
	free(pending);
}

static void on_answer(struct ways_ask *ask, int result, const uint8_t *answer, size_t len)
{
	struct pending *pending = container_of(ask, struct pending, ask);
	struct nameserver_question *question = pending->question;
	const struct reply failed = {.rcode = DNS_SERVFAIL};

	drop(pending);
	if (result == 0)
		nameserver_pass(question, answer, len);
	else
		nameserver_answer(question, &failed);
}

static int on_other(void *owner, struct nameserver_question *question, const struct query *query,
	struct reply *out)
{
	struct asked *asked = owner;
	size_t len;
	const uint8_t *message = nameserver_message(question, &len);

	if (!query->is_inet || !ways_is_asked(asked->ways, query->name))
		return -ENOENT;
	if (query->type == QUERY_AAAA || query->type == TYPE_SVCB || query->type == TYPE_HTTPS) {
		*out = (struct reply){.rcode = DNS_OK};
		return 0;
	}
	struct pending *pending = asked->count < ASKED_MAX && nameserver_may_wait(question)
					  ? calloc(1, sizeof(*pending))
					  : NULL;
	if (!pending)
		return -EAGAIN;
	pending->asked = asked;
	pending->question = question;
	pending->ask.on_answer = on_answer;
	list_add_last(&asked->pending, &pending->link);
	asked->count++;
	int result = ways_ask_start(&pending->ask, asked->ways, query->name, message, len);
	if (result < 0) {
		drop(pending);
		return result == -ENOENT ? -EHOSTUNREACH : result;
	}
	return -EINPROGRESS;
}

const struct nameservice_ops asked_ops = {on_other};

struct asked *asked_new(struct ways *ways)
{
	struct asked *asked = calloc(1, sizeof(*asked));

	if (!asked)
		return NULL;
	asked->ways = ways;
	list_init(&asked->pending);
	return asked;
}

void asked_free(struct asked *asked)
{
	if (!asked)
		return;
	list_each_safe (at, following, &asked->pending) {
		struct pending *pending = container_of(at, struct pending, link);

		ways_ask_cancel(&pending->ask);
		drop(pending);
	}
	free(asked);
}
