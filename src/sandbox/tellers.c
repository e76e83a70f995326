/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/tellers - agents that joined a sandbox tell it the names of their mesh */
#include "sandbox/tellers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "control/control.h"
#include "util/fd.h"
#include "util/log.h"

struct teller {
	struct tellers *tellers;
	struct list link;
	struct loop_io io;
	struct resolver_told told;
	json_t *names, *patterns; /* of a telling that is not at its end; NULL: none */
};

static void free_teller(struct teller *teller)
{
	struct tellers *tellers = teller->tellers;

	resolver_forget(tellers->resolver, &teller->told);
	loop_io_del(tellers->loop, &teller->io);
	fd_close(&teller->io.fd);
	json_decref(teller->names);
	json_decref(teller->patterns);
	list_del(&teller->link);
	tellers->count--;
	free(teller);
}

/* Returns 0, or -errno with @err filled. */
static int take(struct teller *teller, const json_t *message, struct err *err)
{
	if (!teller->names)
		teller->names = json_array();
	if (!teller->patterns)
		teller->patterns = json_array();
	if (json_array_size(teller->names) + json_array_size(teller->patterns) > RESOLVER_TOLD_MAX)
		return err_set(err, E2BIG, "more than %d names", RESOLVER_TOLD_MAX);
	json_array_extend(teller->names, json_object_get(message, "names"));
	json_array_extend(teller->patterns, json_object_get(message, "patterns"));
	if (json_is_true(json_object_get(message, "more")))
		return 0;
	int result = resolver_tell(
		teller->tellers->resolver, &teller->told, teller->names, teller->patterns, err);
	json_decref(teller->names);
	json_decref(teller->patterns);
	teller->names = teller->patterns = NULL;
	return result;
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct teller *teller = container_of(io, struct teller, io);
	char *text = malloc(CONTROL_MESSAGE_MAX);
	struct err err = {0};

	(void)events;
	ssize_t got = text ? fd_recv(io->fd, text, CONTROL_MESSAGE_MAX, NULL, 0, NULL) : -ENOMEM;
	json_t *message = got > 0 ? control_parse(text, (size_t)got, &err) : NULL;
	free(text);
	if (got == -EAGAIN || got == -ENOMEM)
		return;
	int result = message ? take(teller, message, &err) : -EPIPE;
	json_decref(message);
	if (err.code != 0)
		log_warning("an agent in the sandbox tells no names: %s", err.text);
	if (result < 0)
		free_teller(teller);
}

int tellers_open(struct tellers *tellers, struct err *err)
{
	struct teller *teller;
	int ends[2];

	if (tellers->count == TELLERS_MAX)
		return err_set(err, EMFILE, "%d agents are in the sandbox already", TELLERS_MAX);
	if (fd_pair(ends, 0, err) < 0)
		return -err->code;
	teller = calloc(1, sizeof(*teller));
	if (teller) {
		teller->tellers = tellers;
		teller->io = (struct loop_io){ends[0], on_ready};
		fd_set_nonblock(ends[0], 1);
	}
	if (!teller || loop_io_add(tellers->loop, &teller->io, EPOLLIN) < 0) {
		free(teller);
		fd_close(&ends[0]);
		fd_close(&ends[1]);
		return err_sys(err, ENOMEM, "cannot hear an agent");
	}
	list_add_last(&tellers->list, &teller->link);
	tellers->count++;
	return ends[1];
}

void tellers_init(struct tellers *tellers, struct loop *loop, struct resolver *resolver)
{
	*tellers = (struct tellers){.loop = loop, .resolver = resolver};
	list_init(&tellers->list);
}

void tellers_fini(struct tellers *tellers)
{
	while (!list_is_empty(&tellers->list))
		free_teller(list_first(&tellers->list, struct teller, link));
}
