/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/teller - an end of a tunnel says how it is, to who asks at its control socket */
#pragma once

#include <jansson.h>
#include <time.h>

#include "control/server.h"

/* Starts as all zero but for the first two, which are the owner's. */
struct teller {
	/* What is so just now, as JSON; the teller adds name, pid and age. NULL: no memory. */
	json_t *(*tell)(void *owner);
	void *owner;

	/* its own */
	struct server server;
	time_t started;
	bool is_open;
};

/*
 * Be found under the first free name of @base, BASE-2... (control/registry). Where no name can be
 * had, as in a sandbox, nobody is told, and that is all: a line at the log's info level.
 */
void teller_open(struct teller *teller, struct loop *loop, const char *base);

/* Fine for all zero. */
void teller_close(struct teller *teller);
